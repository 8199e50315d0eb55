//! Standard MIDI Files ⇄ scores.
//!
//! midly parses the files. Its lenient mode drops silently what it does not understand, so the bytes are scanned first
//! (`container` finds header and tracks, `track` reads a track's events), and every irregularity becomes a remark. midly gets a
//! regular file unchanged, and of any other file the repaired bytes.
//!
//! Only note messages are kept, and their delta times include those of all other events. Formats 0, 1 and 2 are read alike: the tracks in file order. With
//! an SMPTE division, where ticks count time and not beats, a beat is half a second (120 a minute, the tempo of a file that
//! names none), so `ticks_per_beat` is frames per second × ticks per frame / 2.

mod container;
mod repair;
mod track;
mod write;

pub use write::{Written, write};

use std::borrow::Cow;

use midly::{MidiMessage, Timing, TrackEventKind};

use super::{Reading, Remark};
use crate::corpus::score::{NoteKind, NoteMessage, Score, Ticks};
use repair::{LineEnds, Repairs};

/// The largest file that is read, in bytes. No piece of music is nearly as large.
pub const MAX_BYTES: usize = 32 << 20;

/// The most tracks that are read of one file. Further ones are left out, with a remark.
pub const MAX_TRACKS: usize = 1024;

/// The longest piece that is read, in beats (nine hours at 120 a minute); later messages are left out, with a remark.
pub const MAX_BEATS: u64 = 65_536;

/// Reads a Standard MIDI File as far as it is readable. Every change is a remark with its byte offset.
///
/// A file with a valid header and no readable note is a repaired one with an empty score. Never panics, and needs memory in
/// proportion to `bytes`.
pub fn read(bytes: &[u8]) -> Reading {
    match clean(bytes) {
        Err(reason) => Reading {
            score: None,
            remarks: vec![reason],
        },
        Ok((file, mut repairs)) => match parse(&file, &mut repairs) {
            Ok(score) => Reading {
                score: Some(score),
                remarks: repairs.into_remarks(),
            },
            Err(error) => Reading {
                score: None,
                remarks: vec![Remark {
                    offset: 0,
                    what: format!("midly refuses the file: {error}"),
                }],
            },
        },
    }
}

/// A file that midly can read completely.
struct CleanFile<'a> {
    /// Header and track chunks.
    bytes: Cow<'a, [u8]>,
    /// For each track how many events and how many note messages the scan saw.
    tracks: Vec<track::Count>,
}

/// Scans and repairs a file, or gives the reason why it cannot be read.
fn clean(bytes: &[u8]) -> Result<(CleanFile<'_>, Repairs), Remark> {
    let first = scan(bytes);
    if !matches!(&first, Ok((_, repairs)) if !repairs.damaged())
        && let Some(restored) = LineEnds::restore(bytes)
        && let Ok((file, mut repairs)) = scan(&restored.bytes)
        && !repairs.damaged()
    {
        let file = CleanFile {
            bytes: Cow::Owned(file.bytes.into_owned()),
            tracks: file.tracks,
        };
        repairs.move_offsets(|offset| restored.offset_as_given(offset));
        repairs.damage(
            restored.first(),
            "a line feed after every carriage return, as a text-mode transfer puts them: taken out",
        );
        return Ok((file, repairs));
    }
    first
}

fn scan(bytes: &[u8]) -> Result<(CleanFile<'_>, Repairs), Remark> {
    let mut repairs = Repairs::default();
    let file = container::scan(bytes, &mut repairs)?;
    Ok((file, repairs))
}

/// Parses a clean file with midly, and keeps its note messages.
fn parse(file: &CleanFile, repairs: &mut Repairs) -> Result<Score, midly::Error> {
    let (header, tracks) = midly::parse(&file.bytes)?;
    let mut score = Score {
        ticks_per_beat: ticks_per_beat(header.timing),
        tracks: Vec::new(),
        duration: 0,
    };
    for (events, expected) in tracks.zip(&file.tracks) {
        let mut messages = Vec::with_capacity(expected.notes);
        let (mut read, mut now, mut last) = (0, 0u64, 0u64);
        for event in events? {
            let event = event?;
            read += 1;
            now += u64::from(event.delta.as_int());
            let TrackEventKind::Midi { message, .. } = event.kind else {
                continue;
            };
            let (kind, key) = match message {
                MidiMessage::NoteOn { key, vel } if vel > 0 => (NoteKind::On, key),
                MidiMessage::NoteOn { key, .. } | MidiMessage::NoteOff { key, .. } => {
                    (NoteKind::Off, key)
                }
                _ => continue,
            };
            // The scan ends a track at MAX_BEATS, so that a time fits 32 bits.
            messages.push(NoteMessage {
                delta: (now - last) as Ticks,
                kind,
                pitch: key.as_int(),
            });
            last = now;
        }
        if read != expected.events {
            repairs.damage(0, "midly gave fewer events of a track than the scan found");
        }
        score.tracks.push(messages);
        score.duration = score.duration.max(now);
    }
    if score.tracks.len() != file.tracks.len() {
        repairs.damage(0, "midly gave fewer tracks than the scan found");
    }
    if score.tracks.iter().all(Vec::is_empty) {
        repairs.note(0, "no note message in the file: read as an empty score");
    }
    Ok(score)
}

/// The ticks of a beat under a file's division; see the module's description for SMPTE.
fn ticks_per_beat(timing: Timing) -> u16 {
    match timing {
        Timing::Metrical(ticks) => ticks.as_int().max(1),
        Timing::Timecode(frames, ticks) => smpte_ticks_per_beat(frames.as_int(), ticks),
    }
}

/// Half a second's ticks, at least 1; 29 frames a second stand for 29.97 and count as 30.
fn smpte_ticks_per_beat(frames_per_second: u8, ticks_per_frame: u8) -> u16 {
    let frames = if frames_per_second == 29 {
        30
    } else {
        u16::from(frames_per_second)
    };
    (frames * u16::from(ticks_per_frame) / 2).max(1)
}

/// Whether a file is meant to be MIDI, by its name or its first bytes (12 are enough).
pub fn is_midi(name: &str, head: &[u8]) -> bool {
    let last = name.rsplit('/').next().unwrap_or(name).to_ascii_lowercase();
    let named = [".mid", ".midi", ".kar", ".rmi"]
        .iter()
        .any(|ending| last.ends_with(ending));
    // "._x.mid" is what some archivers keep of a file's icon.
    !last.starts_with("._")
        && (named
            || head.starts_with(b"MThd")
            || head.starts_with(b"RIFF") && head.get(8..12) == Some(b"RMID"))
}

#[cfg(test)]
mod tests;
