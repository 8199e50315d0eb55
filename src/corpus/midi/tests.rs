mod corpora;
mod whole_file;

use super::*;
use crate::corpus::Outcome;

const NAME: &[u8] = b"\0\xFF\x03\x04Name";
const END: &[u8] = b"\0\xFF\x2F\0";
/// C for 96 ticks, E for 48.
const NOTES: &[u8] = b"\0\x90\x3C\x40\x60\x3C\0\0\x40\x40\x30\x80\x40\0";

fn chunk(tag: &[u8; 4], parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    [&tag[..], &(body.len() as u32).to_be_bytes(), &body].concat()
}

fn header(format: u16, tracks: u16, division: u16) -> Vec<u8> {
    let fields = [format, tracks, division].map(u16::to_be_bytes).concat();
    chunk(b"MThd", &[&fields])
}

fn track(parts: &[&[u8]]) -> Vec<u8> {
    chunk(b"MTrk", parts)
}

/// A regular file of one track made of `parts`.
fn file(parts: &[&[u8]]) -> Vec<u8> {
    [header(0, 1, 96), track(parts)].concat()
}

/// One letter and two numbers a message: `+60 0` is an On of pitch 60 at once, `-60 96` its end 96 ticks later.
fn text(messages: &[NoteMessage]) -> String {
    let sign = |kind| if kind == NoteKind::On { '+' } else { '-' };
    let message = |it: &NoteMessage| format!("{}{} {}", sign(it.kind), it.pitch, it.delta);
    messages.iter().map(message).collect::<Vec<_>>().join(", ")
}

/// The tracks as text, and the remarks as `offset: what`.
fn read_as_text(bytes: &[u8]) -> (Vec<String>, Vec<String>) {
    let reading = read(bytes);
    let tracks = reading
        .score
        .iter()
        .flat_map(|score| &score.tracks)
        .map(|track| text(track))
        .collect();
    (
        tracks,
        reading
            .remarks
            .iter()
            .map(|remark| format!("{}: {}", remark.offset, remark.what))
            .collect(),
    )
}

fn reads_as(bytes: &[u8], tracks: &[&str], remarks: &[&str]) {
    let (found, stated) = read_as_text(bytes);
    assert_eq!(
        (found, stated),
        (
            tracks.iter().map(|it| it.to_string()).collect(),
            remarks.iter().map(|it| it.to_string()).collect()
        )
    );
}

const TUNE: &str = "+60 0, -60 96, +64 0, -64 48";

#[test]
fn reads_a_regular_file_as_it_stands() {
    let bytes = [
        header(1, 2, 480),
        track(&[NAME, b"\x83\x60\xFF\x51\x03\x07\xA1\x20", END]),
        track(&[b"\x05\xB0\x07\x7F", NOTES, END]),
    ]
    .concat();
    reads_as(&bytes, &["", "+60 5, -60 96, +64 0, -64 48"], &[]);
    let reading = read(&bytes);
    assert_eq!(reading.outcome(), Outcome::Ok);
    let score = reading.score.unwrap();
    assert_eq!((score.ticks_per_beat, score.duration), (480, 480));
}

#[test]
fn adds_the_time_of_dropped_messages_to_the_next_note() {
    reads_as(
        &file(&[
            b"\x07\xC0\x01\x03\x90\x3C\x40",
            b"\x81\x00\xE0\0\x40\x02\xFF\x01\x01a\x04\x90\x3C\0",
            END,
        ]),
        &["+60 10, -60 134"],
        &[],
    );
}

#[test]
fn reads_every_format_and_skips_chunks_of_other_kinds() {
    for format in 0..3 {
        let bytes = [
            header(format, 1, 96),
            chunk(b"XFIH", &[b"abc"]),
            track(&[NOTES, END]),
            chunk(b"XFKM", &[]),
        ]
        .concat();
        reads_as(&bytes, &[TUNE], &[]);
    }
    reads_as(
        &[header(7, 1, 96), track(&[NOTES, END])].concat(),
        &[TUNE],
        &["8: format 7 is none: read as format 1"],
    );
}

#[test]
fn a_beat_of_an_smpte_division_is_half_a_second() {
    for (division, ticks) in [(0xE728, 500), (0xE250, 1200), (0xE304, 60), (0xE808, 96)] {
        let reading = read(&[header(0, 1, division), track(&[NOTES, END])].concat());
        assert_eq!(
            (reading.outcome(), reading.score.unwrap().ticks_per_beat),
            (Outcome::Ok, ticks)
        );
    }
    let reading = read(&[header(0, 1, 0x8180), track(&[NOTES, END])].concat());
    assert_eq!(
        (reading.outcome(), reading.score.unwrap().ticks_per_beat),
        (Outcome::Repaired, 8128)
    );
    let reading = read(&[header(0, 1, 0), track(&[NOTES, END])].concat());
    assert_eq!(
        (reading.outcome(), reading.score.unwrap().ticks_per_beat),
        (Outcome::Repaired, 480)
    );
}

#[test]
fn running_status_lasts_across_meta_events() {
    let across = "31: running status used across a meta or system exclusive event: status put in (2 times, first here)";
    reads_as(
        &file(&[
            b"\0\x90\x3C\x40\x01\xFF\x01\0\x01\x3C\0\x01\xF0\x01\xF7\x01\x3E\x01",
            END,
        ]),
        &["+60 0, -60 2, +62 2"],
        &[across],
    );
}

#[test]
fn takes_a_byte_over_127_for_the_status_of_the_next_message() {
    let interrupted = "a message is interrupted by a byte over 127: it is dropped, and the byte taken as a status";
    reads_as(
        &file(&[NOTES, b"\x05\x90\x30\x91\x3C\x40\x06\x3C\0", END]),
        &[&format!("{TUNE}, +60 5, -60 6")],
        &[&format!("39: {interrupted}")],
    );
    reads_as(
        &file(&[NOTES, b"\x05\x90\x30\xFF\x2F\0"]),
        &[TUNE],
        &[&format!("39: {interrupted}")],
    );
}

#[test]
fn skips_data_without_a_status_and_system_messages() {
    reads_as(
        &file(&[b"\x05\x20\x54\x90\x3C\x40", END]),
        &["+60 5"],
        &["23: data with no status to belong to: skipped"],
    );
    reads_as(
        &file(&[b"\x05\xF2\x01\x02\x06\xF8\x07\x90\x3C\x40", END]),
        &["+60 18"],
        &["23: a system message that has no place in a file: dropped (2 times, first here)"],
    );
}

#[test]
fn reads_past_meta_events_that_make_no_sense() {
    let signature = "a key signature that there is not: left out";
    reads_as(
        &file(&[
            b"\0\xFF\x59\0\0\xFF\x59\x02\x0A\0\0\xFF\x59\x02\xFD\xFF",
            NOTES,
            END,
        ]),
        &[TUNE],
        &[&format!("23: {signature} (3 times, first here)")],
    );
    let offset = "an SMPTE offset that is no time of day: left out";
    reads_as(
        &file(&[b"\x02\xFF\x54\x05\x3F\0\0\0\0", NOTES, END]),
        &["+60 2, -60 96, +64 0, -64 48"],
        &[&format!("23: {offset}")],
    );
    reads_as(&file(&[b"\0\xFF\x00\0\0\xFF\x21\0\0\xFF\x51\x01a\0\xFF\x58\0\0\xFF\x54\0\0\xFF\x7F\0\0\xFF\x66\x01a", NOTES, END]), &[TUNE], &[]);
}

#[test]
fn shortens_long_times_and_refuses_absurd_ones() {
    reads_as(
        &file(&[b"\x80\x80\x80\x81\x05\x90\x3C\x40", END]),
        &["+60 133"],
        &["22: a time written with more than four bytes: shortened"],
    );
    reads_as(
        &file(&[b"\xFF\xFF\xFF\xFF\x05\x90\x3C\x40", END]),
        &["+60 0"],
        &["22: a time of more than 28 bits: taken as none"],
    );
    let bytes = file(&[NOTES, b"\x8F\xFF\xFF\x7F\x90\x3C\x40", END]);
    reads_as(
        &bytes,
        &[TUNE],
        &["36: a track goes on past 65536 beats: its rest is left out"],
    );
}

#[test]
fn keeps_what_is_whole_of_a_file_cut_short() {
    let whole = file(&[NOTES, END]);
    let short = "an event is cut short by the end of its track: left out";
    let ends = "the file ends within a track: what is whole is kept";
    reads_as(
        &whole[..whole.len() - 6],
        &["+60 0, -60 96, +64 0"],
        &[&format!("32: {short}"), &format!("34: {ends}")],
    );
    reads_as(
        &whole[..whole.len() - 4],
        &[TUNE],
        &[&format!("36: {ends}")],
    );
    let none = "no note message in the file: read as an empty score";
    reads_as(
        &whole[..14],
        &[],
        &[
            &format!("0: {none}"),
            "14: the header says 1 tracks, the file has 0",
        ],
    );
    for length in 0..14 {
        assert_eq!(
            read(&whole[..length]).outcome(),
            Outcome::Rejected,
            "{length} bytes"
        );
    }
}

#[test]
fn a_valid_header_without_a_note_is_an_empty_score() {
    let reading = read(&file(&[NAME, END]));
    assert_eq!(
        (reading.outcome(), reading.score.unwrap().messages()),
        (Outcome::Repaired, 0)
    );
}

#[test]
fn finds_tracks_whose_lengths_are_wrong() {
    let two = |first: &[u8]| [&header(1, 2, 96), first, &track(&[NOTES, END])].concat();
    let with_length = |length: u32| [b"MTrk", &length.to_be_bytes()[..], NOTES, END].concat();
    let past = "a track goes on past the length of its chunk: read to its end-of-track event";
    reads_as(
        &two(&with_length(14)),
        &[TUNE, TUNE],
        &[&format!("36: {past}")],
    );
    reads_as(
        &two(&with_length(16)),
        &[TUNE, TUNE],
        &[&format!("38: {past}")],
    );
    reads_as(
        &two(&with_length(30)),
        &[TUNE, TUNE],
        &["40: the length of a track is wrong: it ends with its end-of-track event"],
    );
    reads_as(
        &two(&with_length(9999)),
        &[TUNE, TUNE],
        &[
            "18: the length of a track reaches past the end of the file: taken up to its end-of-track event",
        ],
    );
    let no_end = [&b"MTrk\0\0\0\x0E"[..], NOTES].concat();
    reads_as(
        &two(&no_end),
        &[TUNE, TUNE],
        &["36: a track without an end-of-track event: ended with its chunk"],
    );
    let over_the_next = [&b"MTrk\0\0\0\x11"[..], NOTES].concat();
    reads_as(
        &two(&over_the_next),
        &[TUNE, TUNE],
        &["36: another chunk begins within a track: the track ends there"],
    );
}

#[test]
fn finds_the_tracks_among_other_bytes() {
    let bytes = [
        header(1, 2, 96),
        track(&[NOTES, END]),
        b"??\0\xFF".to_vec(),
        track(&[NOTES, END]),
        vec![0x1A; 5],
    ]
    .concat();
    let between = "40: no chunk where a track should begin: skipped to the next one";
    reads_as(
        &bytes,
        &[TUNE, TUNE],
        &[between, "70: 5 bytes after the last track: left out"],
    );
    let bytes = [header(1, 1, 96), track(&[NOTES, END]), track(&[NOTES, END])].concat();
    reads_as(
        &bytes,
        &[TUNE],
        &["40: more tracks than the header says: left out"],
    );
    let bytes = [header(1, 0, 96), track(&[NOTES, END]), track(&[NOTES, END])].concat();
    reads_as(
        &bytes,
        &[TUNE, TUNE],
        &["10: the header says that there is no track: all that there are are read"],
    );
    for declared in [2, 1024, 1025, 65535] {
        let bytes = [header(1, declared, 96), track(&[NOTES, END])].concat();
        let says = format!("40: the header says {declared} tracks, the file has 1");
        reads_as(&bytes, &[TUNE], &[&says]);
    }
    let bytes = [file(&[NOTES, END]), file(&[NOTES, END])].concat();
    reads_as(
        &bytes,
        &[TUNE],
        &["40: a second MIDI file begins in this one: left out"],
    );
}

#[test]
fn of_very_many_tracks_the_first_are_read_and_the_true_number_is_told() {
    let remarks = |declared: u16, present: usize| {
        let tracks = track(&[NOTES, END]).repeat(present);
        let (tracks, remarks) = read_as_text(&[header(1, declared, 96), tracks].concat());
        assert_eq!(tracks.len(), present.min(MAX_TRACKS));
        remarks
    };
    let end = 14 + MAX_TRACKS * track(&[NOTES, END]).len();
    assert_eq!(remarks(1024, 1024), [""; 0]);
    assert_eq!(
        remarks(1025, 1024),
        [format!(
            "{end}: the header says 1025 tracks, the file has 1024"
        )]
    );
    assert_eq!(
        remarks(1025, 1025),
        [format!(
            "{end}: the header says 1025 tracks, of which no more than 1024 are read: the others are left out"
        )]
    );
    assert_eq!(
        remarks(0, 1025),
        [
            "10: the header says that there is no track: all that there are are read".to_owned(),
            format!("{end}: more than 1024 tracks: the others are left out")
        ]
    );
}
