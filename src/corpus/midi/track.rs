//! Reads the events of one track. Each irregularity becomes a remark and a patch.
//!
//! Rules for ambiguous files: a byte with its top bit set where data was due is the status of the next message, as on a MIDI
//! wire, and the message it interrupts is dropped; data with no status to belong to is skipped; running status lasts across meta and
//! system exclusive events. The time of whatever is dropped is kept.

use std::ops::Range;

use super::MAX_BEATS;
use super::repair::Repairs;

/// The bytes that replace a dropped event in a repaired track: an empty text event, which keeps the time before it.
const NOTHING: [u8; 3] = [0xFF, 0x01, 0x00];

/// How much a track holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    /// Events of every kind.
    pub events: usize,
    /// Note-on and note-off messages among them.
    pub notes: usize,
}

/// One track as scanned: where its events lie in the file, and how they must be changed.
#[derive(Debug, Default)]
pub struct Track {
    /// The bytes of its events in the file.
    pub range: Range<usize>,
    /// Non-overlapping, in order of place.
    patches: Vec<Patch>,
    /// What midly must find.
    pub count: Count,
    /// Whether it ends with an end-of-track event.
    pub ended: bool,
    /// Where the bytes that belong to the track end, events or not.
    pub limit: usize,
    /// How many bytes were read to find the end.
    pub walked: usize,
}

/// `replace` in the file becomes `with`.
#[derive(Debug)]
struct Patch {
    replace: Range<usize>,
    with: [u8; 4],
    length: u8,
}

impl Track {
    /// Appends the track's events, as repaired, to `out`.
    pub fn append_to(&self, file: &[u8], out: &mut Vec<u8>) {
        let mut copied = self.range.start;
        for patch in &self.patches {
            out.extend_from_slice(&file[copied..patch.replace.start]);
            out.extend_from_slice(&patch.with[..usize::from(patch.length)]);
            copied = patch.replace.end;
        }
        out.extend_from_slice(&file[copied..self.range.end]);
    }

    fn patch(&mut self, replace: Range<usize>, with: &[u8]) {
        let mut bytes = [0; 4];
        bytes[..with.len()].copy_from_slice(with);
        self.patches.push(Patch {
            replace,
            with: bytes,
            length: with.len() as u8,
        });
    }
}

/// Walks the events of the track chunk whose events are said to lie at `declared`, in `file`.
///
/// Where the chunk's length is wrong, the track ends elsewhere: at its end-of-track event, or where the next chunk begins.
pub fn walk(
    file: &[u8],
    declared: Range<usize>,
    ticks_per_beat: u16,
    repairs: &mut Repairs,
) -> Track {
    let mut walked = 0;
    let mut walk_to = |end: usize| {
        let mut walk = Walk {
            file: &file[..end],
            track: Track::default(),
            repairs: Repairs::default(),
        };
        walk.events(declared.start, MAX_BEATS * u64::from(ticks_per_beat));
        walked += walk.track.range.len();
        (walk.track, walk.repairs)
    };
    let end = declared.end.min(file.len());
    let (mut track, mut found) = walk_to(end);
    let passed = if track.ended { track.range.end } else { end };
    if (found.damaged() || !track.ended)
        && let Some(next) = find_chunk(file, declared.start).filter(|&next| next < passed)
    {
        (track, found) = walk_to(next);
        found.damage(
            next,
            "another chunk begins within a track: the track ends there",
        );
    } else if !track.ended && !is_chunk(file, end) {
        let next = find_chunk(file, end).unwrap_or(file.len());
        let (longer, found_in_longer) = walk_to(next);
        if longer.ended {
            (track, found) = (longer, found_in_longer);
            found.damage(
                end,
                "a track goes on past the length of its chunk: read to its end-of-track event",
            );
        }
    }
    match (track.ended, declared.end > file.len()) {
        (true, true) => found.note(declared.start - 4, "the length of a track reaches past the end of the file: taken up to its end-of-track event"),
        (false, true) => found.damage(file.len(), "the file ends within a track: what is whole is kept"),
        (false, false) if !found.damaged() => found.note(track.range.end, "a track without an end-of-track event: ended with its chunk"),
        _ => {}
    }
    repairs.append(found);
    Track { walked, ..track }
}

/// Whether a chunk, or the end of the file, is at `at`: four printable characters and a length that fits, or `MTrk`.
pub fn is_chunk(file: &[u8], at: usize) -> bool {
    let Some(header) = file.get(at..at + 8) else {
        return at == file.len();
    };
    let length = u32::from_be_bytes([header[4], header[5], header[6], header[7]]) as usize;
    let (tag, rest) = (&header[..4], file.len() - at - 8);
    tag == b"MTrk" || tag.iter().all(|byte| (0x20..0x7F).contains(byte)) && length <= rest
}

/// The first `MTrk` or `MThd` at or after `from`.
pub fn find_chunk(file: &[u8], from: usize) -> Option<usize> {
    let at = file
        .get(from..)?
        .windows(4)
        .position(|tag| tag == b"MTrk" || tag == b"MThd")?;
    Some(from + at)
}

/// A walk along the events of one track, which may reach to the end of `file`.
struct Walk<'a> {
    file: &'a [u8],
    track: Track,
    repairs: Repairs,
}

/// Why an event could not be read.
enum Stop {
    /// The bytes end within it.
    Short,
    /// There is no status for its data, and none follows.
    NoStatus,
}

/// The running status, 0 for none.
#[derive(Clone, Copy)]
struct RunningStatus {
    /// In this reader.
    ours: u8,
    /// In midly, which forgets it at meta and system exclusive events.
    parser: u8,
}

impl Walk<'_> {
    fn events(&mut self, start: usize, longest: u64) {
        let mut at = start;
        let mut ticks = 0;
        let mut status = RunningStatus { ours: 0, parser: 0 };
        while at < self.file.len() && !self.track.ended {
            let (patches, count) = (self.track.patches.len(), self.track.count);
            match self.event(at, &mut status) {
                Ok((next, delta)) if ticks + u64::from(delta) <= longest => {
                    ticks += u64::from(delta);
                    at = next;
                }
                stopped => {
                    self.track.patches.truncate(patches);
                    (self.track.count, self.track.ended) = (count, false);
                    match stopped {
                        Ok(_) => self.repairs.damage(
                            at,
                            format!("a track goes on past {MAX_BEATS} beats: its rest is left out"),
                        ),
                        Err(Stop::Short) => self.repairs.damage(
                            at,
                            "an event is cut short by the end of its track: left out",
                        ),
                        Err(Stop::NoStatus) => {
                            self.repairs.damage(at, "data with no status to belong to, to the end of its track: left out");
                        }
                    }
                    break;
                }
            }
        }
        self.track.range = start..at;
        self.track.limit = self.file.len();
    }

    /// Walks one event at `at`: where the next one begins, and the ticks before this one.
    #[inline]
    fn event(&mut self, at: usize, status: &mut RunningStatus) -> Result<(usize, u32), Stop> {
        let file = self.file;
        let (delta, mut at) = self.delta(at)?;
        loop {
            let first = *file.get(at).ok_or(Stop::Short)?;
            let mut data = at + 1;
            if first < 0x80 {
                if status.ours == 0 {
                    let next = file[at..]
                        .iter()
                        .position(|&byte| byte >= 0x80)
                        .ok_or(Stop::NoStatus)?;
                    self.repairs
                        .damage(at, "data with no status to belong to: skipped");
                    self.track.patch(at..at + next, &[]);
                    at += next;
                    continue;
                }
                if status.ours != status.parser {
                    self.repairs.note(at, "running status used across a meta or system exclusive event: status put in");
                    self.track.patch(at..at, &[status.ours]);
                }
                data = at;
            } else if first >= 0xF0 {
                status.parser = 0;
                let next = self.system_event(at, first)?;
                self.track.count.events += 1;
                return Ok((next, delta));
            } else {
                status.ours = first;
            }
            status.parser = status.ours;
            let length = if status.ours & 0xE0 == 0xC0 { 1 } else { 2 };
            let bytes = file.get(data..data + length).ok_or(Stop::Short)?;
            if let Some(bad) = bytes.iter().position(|&byte| byte >= 0x80) {
                self.repairs.damage(data + bad, "a message is interrupted by a byte over 127: it is dropped, and the byte taken as a status");
                self.drop_patches_from(at);
                self.track.patch(at..data + bad, &[]);
                status.parser = 0;
                at = data + bad;
                continue;
            }
            self.track.count.events += 1;
            self.track.count.notes += usize::from(status.ours < 0xA0);
            return Ok((data + length, delta));
        }
    }

    /// Forgets the patches at or after `at`, whose bytes a wider patch will replace.
    fn drop_patches_from(&mut self, at: usize) {
        while self
            .track
            .patches
            .last()
            .is_some_and(|patch| patch.replace.start >= at)
        {
            self.track.patches.pop();
        }
    }

    /// The time before an event.
    #[inline]
    fn delta(&mut self, at: usize) -> Result<(u32, usize), Stop> {
        let file = self.file;
        match file.get(at) {
            Some(&byte) if byte < 0x80 => return Ok((u32::from(byte), at + 1)),
            None => return Err(Stop::Short),
            _ => {}
        }
        let (value, next) = variable_length(file, at).ok_or(Stop::Short)?;
        if next - at <= 4 {
            return Ok((value as u32, next));
        }
        let shorter = u32::try_from(value).ok().filter(|&value| value < 1 << 28);
        match shorter {
            Some(_) => self
                .repairs
                .note(at, "a time written with more than four bytes: shortened"),
            None => self
                .repairs
                .damage(at, "a time of more than 28 bits: taken as none"),
        }
        let value = shorter.unwrap_or(0);
        let seven_bits = |shift: u32| (value >> shift) as u8 & 0x7F;
        self.track.patch(
            at..next,
            &[
                seven_bits(21) | 0x80,
                seven_bits(14) | 0x80,
                seven_bits(7) | 0x80,
                seven_bits(0),
            ],
        );
        Ok((value, next))
    }

    /// Walks a meta, system exclusive or other system event, whose status byte is at `at`.
    fn system_event(&mut self, at: usize, status: u8) -> Result<usize, Stop> {
        let file = self.file;
        let Some(length_at) = (match status {
            0xFF => Some(at + 2),
            0xF0 | 0xF7 => Some(at + 1),
            _ => None,
        }) else {
            let data = [0, 1, 2, 1]
                .get(usize::from(status & 0x0F))
                .copied()
                .unwrap_or(0);
            let given = file[at + 1..]
                .iter()
                .take(data)
                .take_while(|&&byte| byte < 0x80)
                .count();
            self.repairs
                .damage(at, "a system message that has no place in a file: dropped");
            self.track.patch(at..at + 1 + given, &NOTHING);
            return Ok(at + 1 + given);
        };
        let kind = (status == 0xFF)
            .then(|| file.get(at + 1).copied())
            .flatten();
        let (length, data) = variable_length(file, length_at).ok_or(Stop::Short)?;
        let end = usize::try_from(length)
            .ok()
            .and_then(|length| data.checked_add(length))
            .filter(|&end| end <= file.len());
        if kind == Some(0x2F) {
            self.track.ended = true;
            if end != Some(data) || data != at + 3 {
                self.repairs.note(
                    at,
                    "an end-of-track event with a length: taken as one without",
                );
                self.track.patch(at..data, &[0xFF, 0x2F, 0x00]);
            }
            return Ok(data);
        }
        let end = end.ok_or(Stop::Short)?;
        if data - length_at > 4 {
            self.repairs.damage(
                at,
                "an event's length written with more than four bytes: event dropped",
            );
            self.track.patch(at..end, &NOTHING);
            return Ok(end);
        }
        let payload = &file[data..end];
        match kind {
            Some(0x59) if !is_key_signature(payload) => {
                self.repairs
                    .note(at, "a key signature that there is not: left out");
                self.track.patch(at..end, &NOTHING);
            }
            Some(0x54) if !is_smpte_offset(payload) => {
                self.repairs
                    .note(at, "an SMPTE offset that is no time of day: left out");
                self.track.patch(at..end, &NOTHING);
            }
            _ => {}
        }
        Ok(end)
    }
}

/// Seven sharps to seven flats, major or minor.
fn is_key_signature(payload: &[u8]) -> bool {
    matches!(payload, [sharps, 0 | 1, ..] if (-7..=7).contains(&(*sharps as i8)))
}

/// What midly takes for a time of day; an event of fewer bytes it passes over by itself.
fn is_smpte_offset(payload: &[u8]) -> bool {
    match payload {
        [hour, minute, second, frame, hundredths, ..] => {
            let frames = [24, 25, 29, 30][usize::from(hour >> 5 & 3)];
            hour & 0x1F < 24 && *minute < 60 && *second < 60 && *frame < frames && *hundredths < 100
        }
        _ => true,
    }
}

/// Reads a variable-length number at `at`: the number (as many as 64 bits of it) and where it ends.
fn variable_length(file: &[u8], at: usize) -> Option<(u64, usize)> {
    let mut value = 0u64;
    for (place, &byte) in file.get(at..)?.iter().enumerate() {
        value = value.saturating_mul(128) | u64::from(byte & 0x7F);
        if byte < 0x80 {
            return Some((value, at + place + 1));
        }
    }
    None
}
