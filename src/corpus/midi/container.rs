//! Where a MIDI file's header and tracks lie, also inside RIFF RMID and MacBinary wrappers and where chunks are damaged.

use std::borrow::Cow;
use std::ops::Range;

use super::repair::Repairs;
use super::track::{Track, find_chunk, is_chunk, walk};
use super::{CleanFile, MAX_BYTES, MAX_TRACKS, Remark, smpte_ticks_per_beat};

/// The fields of a header chunk, as midly accepts them.
struct Header {
    format: u16,
    division: u16,
    /// As many tracks as the file says it has; `None` if it says that there are none.
    tracks: Option<u16>,
    /// Where the header chunk ends.
    end: usize,
}

/// Finds header and tracks, walks the tracks' events, and gives the bytes that midly is to read. What is irregular goes to `repairs`.
pub fn scan<'a>(bytes: &'a [u8], repairs: &mut Repairs) -> Result<CleanFile<'a>, Remark> {
    if bytes.len() > MAX_BYTES {
        let what = format!(
            "a file of {} bytes: no more than {MAX_BYTES} are read",
            bytes.len()
        );
        return Err(Remark {
            offset: MAX_BYTES,
            what,
        });
    }
    let place = unwrap(bytes, repairs)?;
    let file = &bytes[..place.end];
    let header = read_header(file, place.start, repairs)?;
    let tracks = walk_tracks(file, &header, repairs);
    let count = tracks.iter().map(|track| track.count).collect();
    let bytes = if repairs.is_empty() {
        Cow::Borrowed(&file[place.start..])
    } else {
        Cow::Owned(rebuild(file, &header, &tracks))
    };
    Ok(CleanFile {
        bytes,
        tracks: count,
    })
}

/// Where the MIDI file lies in the bytes of a file that may wrap it.
fn unwrap(bytes: &[u8], repairs: &mut Repairs) -> Result<Range<usize>, Remark> {
    const HEADER: &[u8] = b"MThd";
    if bytes.starts_with(HEADER) {
        return Ok(0..bytes.len());
    }
    let Some(start) = bytes.windows(HEADER.len()).position(|tag| tag == HEADER) else {
        return Err(Remark {
            offset: 0,
            what: format!("not a Standard MIDI File: {}", describe(bytes)),
        });
    };
    let length = |at: usize, read: fn([u8; 4]) -> u32| {
        let length = bytes
            .get(at..at + 4)
            .map_or(0, |field| read([field[0], field[1], field[2], field[3]]));
        start.saturating_add(length as usize)
    };
    let (what, end) = if bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"RMID") {
        (
            "wrapped as RIFF RMID: the MIDI file within is read".to_owned(),
            length(start.max(4) - 4, u32::from_le_bytes),
        )
    } else if start == 128 && bytes[0] == 0 {
        (
            "wrapped as MacBinary: the MIDI file within is read".to_owned(),
            length(83, u32::from_be_bytes),
        )
    } else {
        (
            format!("{start} bytes before the header: skipped"),
            bytes.len(),
        )
    };
    repairs.note(0, what);
    // A wrapper that says less than a header's length says nothing.
    let end = if end < start + 14 {
        bytes.len()
    } else {
        end.min(bytes.len())
    };
    Ok(start..end)
}

/// What a file without a MIDI header may be.
fn describe(bytes: &[u8]) -> &'static str {
    match bytes {
        [] => "an empty file",
        [b'P', b'K', 3, 4, ..] => "a zip archive; unpack it and read what is inside",
        [0x1F, 0x8B, ..] => "gzip data; unpack it first",
        [b'C', b'A', b'K', b'E', b'W', b'A', b'L', b'K', ..] => {
            "a Cakewalk project; export it as MIDI"
        }
        [b'C', b'T', b'M', b'F', ..] => "a Creative Music File",
        [b'R', b'I', b'F', b'F', ..] => "a RIFF file of another kind",
        _ if bytes.iter().all(|&byte| byte == 0) => "zeros alone",
        _ if find_chunk(bytes, 0).is_some() => {
            "there are track chunks, but no MThd header to say how long a beat is"
        }
        // A version of 0, a file name of 1 to 63 characters, two zeros in places of their own: how MacBinary is told.
        [0, 1..=63, ..] if bytes.len() >= 128 && bytes[74] == 0 && bytes[82] == 0 => {
            "a MacBinary file that holds something else"
        }
        _ => "there is no MThd header in it",
    }
}

fn read_header(file: &[u8], start: usize, repairs: &mut Repairs) -> Result<Header, Remark> {
    let field = |at: usize| {
        file.get(start + at..start + at + 2)
            .map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
    };
    let (Some(high), Some(low), Some(mut format), Some(tracks), Some(mut division)) =
        (field(4), field(6), field(8), field(10), field(12))
    else {
        return Err(Remark {
            offset: file.len(),
            what: "the file ends within its header".to_owned(),
        });
    };
    let mut length = usize::from(high) << 16 | usize::from(low);
    if length < 6 {
        repairs.damage(start + 4, format!("a header of {length} bytes: taken as 6"));
        length = 6;
    }
    let end = start + 8 + length;
    if end > file.len() {
        let what = format!("the header is damaged: it says that it has {length} bytes");
        return Err(Remark {
            offset: start + 4,
            what,
        });
    }
    if format > 2 {
        repairs.note(
            start + 8,
            format!("format {format} is none: read as format 1"),
        );
        format = 1;
    }
    if tracks == 0 {
        repairs.damage(
            start + 10,
            "the header says that there is no track: all that there are are read",
        );
    }
    if division == 0 {
        repairs.damage(start + 12, "a beat of 0 ticks: taken as 480");
        division = 480;
    }
    if division & 0x8000 != 0 {
        let (frames, ticks) = (((division >> 8) as u8 as i8).unsigned_abs(), division as u8);
        if !matches!(frames, 24 | 25 | 29 | 30) || ticks == 0 {
            repairs.damage(start + 12, format!("an SMPTE division of {frames} frames of {ticks} ticks is none: taken by its numbers"));
            division = smpte_ticks_per_beat(frames, ticks);
        }
    }
    Ok(Header {
        format,
        division,
        tracks: (tracks > 0).then_some(tracks),
        end,
    })
}

/// Walks the tracks that the header says there are, skipping chunks of other kinds, as the standard demands.
fn walk_tracks(file: &[u8], header: &Header, repairs: &mut Repairs) -> Vec<Track> {
    let ticks_per_beat = match header.division {
        smpte if smpte & 0x8000 != 0 => {
            smpte_ticks_per_beat(((smpte >> 8) as u8 as i8).unsigned_abs(), smpte as u8)
        }
        ticks => ticks,
    };
    let declared = header.tracks.map(usize::from);
    let wanted = declared.unwrap_or(MAX_TRACKS).min(MAX_TRACKS);
    let mut tracks = Vec::with_capacity(wanted.min(64));
    let mut at = header.end;
    let mut walked = 0;
    while tracks.len() < wanted && at < file.len() {
        // Chunks that all claim the rest of the file would otherwise take the square of its length.
        if walked > 16 * file.len() {
            repairs.damage(
                at,
                "track chunks reach over each other again and again: the rest is left out",
            );
            break;
        }
        if file
            .get(at..at + 8)
            .is_some_and(|chunk| chunk.starts_with(b"MTrk"))
        {
            let declared = at + 8..chunk_end(file, at);
            let track = walk(file, declared.clone(), ticks_per_beat, repairs);
            walked += track.walked;
            at = end_of_track_chunk(file, &track, declared.end, repairs);
            tracks.push(track);
        } else if is_chunk(file, at) && !file[at..].starts_with(b"MThd") {
            at = chunk_end(file, at);
        } else {
            match find_chunk(file, at) {
                Some(next) if file[next..].starts_with(b"MTrk") && next + 8 <= file.len() => {
                    repairs.damage(
                        at,
                        "no chunk where a track should begin: skipped to the next one",
                    );
                    at = next;
                }
                _ => break,
            }
        }
    }
    state_missing(file, at, declared, tracks.len(), repairs);
    tracks
}

/// States where the tracks that were read, up to `at`, are not those that the header declares, and what follows them.
fn state_missing(
    file: &[u8],
    at: usize,
    declared: Option<usize>,
    found: usize,
    repairs: &mut Repairs,
) {
    let next = find_chunk(file, at).is_some_and(|next| file[next..].starts_with(b"MTrk"));
    match declared {
        Some(declared) if found == MAX_TRACKS && declared > found && next => {
            return repairs.damage(
                at,
                format!("the header says {declared} tracks, of which no more than {MAX_TRACKS} are read: the others are left out"),
            );
        }
        Some(declared) if declared > found => repairs.damage(
            at.min(file.len()),
            format!("the header says {declared} tracks, the file has {found}"),
        ),
        None if found == MAX_TRACKS && next => {
            return repairs.damage(
                at,
                format!("more than {MAX_TRACKS} tracks: the others are left out"),
            );
        }
        _ => {}
    }
    state_rest(file, at, repairs);
}

/// Where the chunk at `at` says that it ends.
fn chunk_end(file: &[u8], at: usize) -> usize {
    let length = u32::from_be_bytes([file[at + 4], file[at + 5], file[at + 6], file[at + 7]]);
    (at + 8).saturating_add(length as usize)
}

/// Where the next chunk should be, after a track that should have ended at `declared_end`.
fn end_of_track_chunk(
    file: &[u8],
    track: &Track,
    declared_end: usize,
    repairs: &mut Repairs,
) -> usize {
    if !track.ended {
        return track.limit;
    }
    let end = track.range.end;
    if end >= declared_end || declared_end > file.len() {
        return end;
    }
    let next_is_here = file[end..].starts_with(b"MTrk");
    if next_is_here || !is_chunk(file, declared_end) {
        repairs.note(
            end,
            "the length of a track is wrong: it ends with its end-of-track event",
        );
        return end;
    }
    repairs.note(end, "bytes after the end of a track: left out");
    declared_end
}

/// States what follows the last track, unless it is nothing but chunks of other kinds.
fn state_rest(file: &[u8], mut at: usize, repairs: &mut Repairs) {
    let is_other = |at| is_chunk(file, at) && !matches!(&file[at..at + 4], b"MTrk" | b"MThd");
    while at < file.len() && is_other(at) {
        at = chunk_end(file, at);
    }
    if at >= file.len() {
        return;
    }
    match find_chunk(file, at) {
        Some(next) if file[next..].starts_with(b"MThd") => {
            repairs.note(next, "a second MIDI file begins in this one: left out")
        }
        Some(next) => repairs.note(next, "more tracks than the header says: left out"),
        None => repairs.note(
            at,
            format!("{} bytes after the last track: left out", file.len() - at),
        ),
    }
}

/// The file as it should have been: the header, and the tracks as repaired.
fn rebuild(file: &[u8], header: &Header, tracks: &[Track]) -> Vec<u8> {
    let mut out = Vec::with_capacity(file.len() + 14);
    out.extend_from_slice(b"MThd\0\0\0\x06");
    for field in [header.format, tracks.len() as u16, header.division] {
        out.extend_from_slice(&field.to_be_bytes());
    }
    for track in tracks {
        out.extend_from_slice(b"MTrk");
        let length_at = out.len();
        out.extend_from_slice(&[0; 4]);
        track.append_to(file, &mut out);
        let length = (out.len() - length_at - 4) as u32;
        out[length_at..length_at + 4].copy_from_slice(&length.to_be_bytes());
    }
    out
}
