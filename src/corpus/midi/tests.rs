use std::collections::{BTreeMap, HashSet};
use std::io::Read;

use proptest::prelude::*;

use super::*;
use crate::corpus::Outcome;
use crate::mirror;

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

#[test]
fn unwraps_rmid_and_mac_binary() {
    let inner = file(&[NOTES, END]);
    let le = |length: usize| (length as u32).to_le_bytes();
    let rmid = [
        b"RIFF",
        &le(12 + inner.len() + 12)[..],
        b"RMIDdata",
        &le(inner.len()),
        &inner,
        b"LIST\x04\0\0\0INFO",
    ]
    .concat();
    reads_as(
        &rmid,
        &[TUNE],
        &["0: wrapped as RIFF RMID: the MIDI file within is read"],
    );
    let mut mac = vec![0; 128];
    mac[83..87].copy_from_slice(&(inner.len() as u32).to_be_bytes());
    let mac = [mac, inner.clone(), vec![0; 88]].concat();
    reads_as(
        &mac,
        &[TUNE],
        &["0: wrapped as MacBinary: the MIDI file within is read"],
    );
    reads_as(
        &[b"hello", &inner[..]].concat(),
        &[TUNE],
        &["0: 5 bytes before the header: skipped"],
    );
}

#[test]
fn undoes_a_text_mode_transfer() {
    let whole = file(&[b"\0\xFF\x01\x02\x0D\x0D", NOTES, b"\x0D\xFF\x2F\0"]);
    let sent: Vec<u8> = whole
        .iter()
        .flat_map(|&byte| {
            if byte == b'\r' {
                vec![b'\r', b'\n']
            } else {
                vec![byte]
            }
        })
        .collect();
    reads_as(
        &sent,
        &[TUNE],
        &[
            "27: a line feed after every carriage return, as a text-mode transfer puts them: taken out",
        ],
    );
}

#[test]
fn says_what_a_file_is_that_is_not_midi() {
    let reason = |bytes: &[u8]| read(bytes).remarks[0].what.clone();
    assert_eq!(reason(b""), "not a Standard MIDI File: an empty file");
    assert_eq!(
        reason(b"PK\x03\x04...."),
        "not a Standard MIDI File: a zip archive; unpack it and read what is inside"
    );
    assert_eq!(reason(&[0; 99]), "not a Standard MIDI File: zeros alone");
    assert_eq!(
        reason(b"MThd\x06\x01\x0Bx\0\0\0\x06\0\0\0\0"),
        "the header is damaged: it says that it has 100731768 bytes"
    );
}

#[test]
fn a_written_score_reads_back_as_the_same() {
    let message = |delta, kind, pitch| NoteMessage { delta, kind, pitch };
    let first = vec![
        message(0, NoteKind::On, 60),
        message(1_000_000_000, NoteKind::Off, 60),
    ];
    let second = vec![message(7, NoteKind::On, 127), message(0, NoteKind::Off, 0)];
    let score = Score {
        ticks_per_beat: 32_767,
        tracks: vec![first, Vec::new(), second],
        duration: 1_500_000_000,
    };
    let reading = read(&write(&score));
    assert_eq!(
        (reading.outcome(), reading.score),
        (Outcome::Ok, Some(score))
    );
}

/// The scan and midly agree on every event, whatever the bytes.
fn assert_midly_reads_all_of_it(bytes: &[u8]) {
    for remark in read(bytes).remarks {
        assert!(!remark.what.contains("midly"), "{}", remark.what);
        assert!(
            remark.offset <= bytes.len(),
            "offset {} of {}",
            remark.offset,
            bytes.len()
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        assert_midly_reads_all_of_it(&bytes);
        assert_midly_reads_all_of_it(&file(&[&bytes]));
        assert_midly_reads_all_of_it(&[header(1, 3, 96), bytes].concat());
    }

    #[test]
    fn bytes_like_midi_never_panic(
        bytes in prop::collection::vec(prop::sample::select(&b"\0\x01\x05\x0A\x0D\x2F\x3C\x51\x54\x59\x7F\x80\x90\xC0\xE7\xF0\xF2\xF7\xF8\xFFMTrkMThd"[..]), 0..200),
    ) {
        assert_midly_reads_all_of_it(&file(&[&bytes, END]));
        assert_midly_reads_all_of_it(&[header(1, 3, 96), track(&[NOTES, END]), b"MTrk\0\0\0".to_vec(), bytes].concat());
    }

    #[test]
    fn mutated_files_never_panic(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8), cut in any::<prop::sample::Index>()) {
        let mut bytes = [header(1, 3, 96), track(&[NAME, NOTES, END]), chunk(b"XFIH", &[b"abc"]), track(&[NOTES, NOTES, END]), track(&[NOTES, END])].concat();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        assert_midly_reads_all_of_it(&bytes);
        assert_midly_reads_all_of_it(&bytes[..cut.index(bytes.len())]);
    }

    #[test]
    fn scores_survive_writing_and_reading(
        tracks in prop::collection::vec(prop::collection::vec((0u32..100_000, any::<bool>(), 0u8..128), 1..20), 1..18),
        rest in 0u64..10_000,
        ticks_per_beat in 100u16..=32_767,
    ) {
        let message = |(delta, on, pitch)| NoteMessage { delta, kind: if on { NoteKind::On } else { NoteKind::Off }, pitch };
        let tracks: Vec<Vec<_>> = tracks.into_iter().map(|track| track.into_iter().map(message).collect()).collect();
        let length = |track: &Vec<NoteMessage>| track.iter().map(|it| u64::from(it.delta)).sum::<u64>();
        let duration = tracks.iter().map(length).max().unwrap_or(0) + rest;
        let score = Score { ticks_per_beat, tracks, duration };
        let reading = read(&write(&score));
        prop_assert_eq!(reading.remarks, vec![]);
        prop_assert_eq!(reading.score, Some(score));
    }
}

/// The members of an archive of the local mirror, by name; `None`, and the test counts as skipped, where it is not at hand.
fn archive(path: &str) -> Option<BTreeMap<String, Vec<u8>>> {
    let archive = std::fs::File::open(mirror::file(path)?).unwrap();
    let mut members = BTreeMap::new();
    for entry in tar::Archive::new(flate2::read::GzDecoder::new(archive))
        .entries()
        .unwrap()
    {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().to_string_lossy().into_owned();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        if name.to_lowercase().ends_with(".mid") {
            members.insert(name, bytes);
        }
    }
    Some(members)
}

/// Pieces, note messages and distinct note messages of an archive, all of whose files must be readable.
fn counts(members: &BTreeMap<String, Vec<u8>>) -> (usize, usize, usize) {
    let mut unique = rustc_hash::FxHashSet::default();
    let mut messages = 0;
    for (name, bytes) in members {
        let reading = read(bytes);
        let score = reading
            .score
            .unwrap_or_else(|| panic!("{name}: {:?}", reading.remarks));
        messages += score.messages();
        unique.extend(score.tracks.into_iter().flatten());
    }
    (members.len(), messages, unique.len())
}

/// Each `MTrk` claims all the file, and none of them ends.
#[test]
fn chunks_that_reach_over_each_other_take_no_forever() {
    let notes = [b"\0\x90\x3C\x40".to_vec(), b"\0\x3C\x40".repeat(10_000)].concat();
    let chunks = [b"MTrk\x7F\0\0\0", &notes[..]].concat().repeat(500);
    let reading = read(&[header(1, 500, 96), chunks].concat());
    let last = &reading.remarks.last().unwrap().what;
    assert!(reading.score.unwrap().tracks.len() > 10, "{last}");
}

#[test]
fn counts_of_real_corpora_are_those_of_mido() {
    for (path, expected) in [
        ("bach/jsbach-net.tar.gz", (333, 1_984_547, 43_606)),
        ("bach/chorales.tar.gz", (494, 481_966, 2_868)),
        ("classical/piano-midi-de.tar.gz", (337, 1_588_826, 18_163)),
        ("classical/asap-scores.tar.gz", (235, 1_363_214, 14_771)),
        (
            "classical/classical-mixed.tar.gz",
            (4_479, 26_239_491, 169_672),
        ),
    ] {
        if let Some(members) = archive(path) {
            assert_eq!(counts(&members), expected, "{path}");
        }
    }
}

#[test]
fn the_bach_stand_in_has_the_known_counts() {
    let (Some(mut members), Some(chorales), Some(list)) = (
        archive("bach/jsbach-net.tar.gz"),
        archive("bach/chorales.tar.gz"),
        mirror::file("bach/bach-417.txt"),
    ) else {
        return;
    };
    members.extend(chorales);
    let list = std::fs::read_to_string(list).unwrap();
    let listed: HashSet<&str> = list
        .lines()
        .map(|line| line.rsplit(':').next().unwrap().trim())
        .collect();
    members.retain(|name, _| listed.contains(name.as_str()));
    assert_eq!(counts(&members), (417, 1_696_499, 35_060));
}

/// Files of the malformed archive that begin with a header: note-ons read, and what must have been repaired.
const DAMAGED: &[(&str, usize, &str)] = &[
    (
        "beethoven-anhang_14_3",
        1392,
        "a key signature that there is not",
    ),
    (
        "buxehude-buxethude_buxwv138_prelude",
        1626,
        "a key signature that there is not",
    ),
    (
        "buxehude-buxethude_buxwv161_passcaglia",
        1941,
        "a key signature that there is not",
    ),
    (
        "haendel-concertos_grossos_hwv319-330_op06-concerto_grosso_op6_n05_2mov",
        2503,
        "a byte over 127",
    ),
    (
        "haendel-concertos_grossos_hwv319-330_op06-concerto_grosso_op6_n05_3mov",
        3212,
        "a byte over 127",
    ),
    (
        "haendel-concertos_grossos_hwv319-330_op06-concerto_grosso_op6_n05_4mov",
        570,
        "a byte over 127",
    ),
    (
        "haendel-hwv006_agrippina_overture",
        3508,
        "a key signature that there is not",
    ),
    (
        "mendelsonn-organ_sonata_n1",
        4578,
        "a key signature that there is not",
    ),
    (
        "mendelsonn-organ_sonata_n4",
        5060,
        "a key signature that there is not",
    ),
    (
        "mozart-piano_sonatas-nueva_carpeta-k281_piano_sonata_n03_3mov",
        2789,
        "a key signature that there is not",
    ),
    (
        "unknown_artist-a_h-beet_51_a",
        12028,
        "a line feed after every carriage return",
    ),
    (
        "unknown_artist-a_h-beet_51_s",
        12028,
        "a line feed after every carriage return",
    ),
    (
        "unknown_artist-a_h-beet_52",
        8383,
        "a line feed after every carriage return",
    ),
    (
        "unknown_artist-a_h-beet_52_s",
        8383,
        "a line feed after every carriage return",
    ),
    (
        "unknown_artist-a_h-beet_53",
        6500,
        "a line feed after every carriage return",
    ),
    (
        "unknown_artist-a_h-beet_53_s",
        6500,
        "a line feed after every carriage return",
    ),
    (
        "unknown_artist-a_h-beet_54",
        37226,
        "a line feed after every carriage return",
    ),
    (
        "unknown_artist-a_h-beet_54_s",
        37226,
        "a line feed after every carriage return",
    ),
    (
        "unknown_artist-a_h-bouree_32",
        2114,
        "no chunk where a track should begin",
    ),
    (
        "unknown_artist-a_h-brass",
        2043,
        "a second MIDI file begins in this one",
    ),
    (
        "unknown_artist-a_h-exodus",
        1605,
        "bytes after the end of a track",
    ),
    (
        "unknown_artist-a_h-f_20_a_min",
        3193,
        "a track goes on past the length of its chunk",
    ),
    (
        "unknown_artist-a_h-god_rest",
        3766,
        "a key signature that there is not",
    ),
    (
        "unknown_artist-p_z-schumann",
        20,
        "the file ends within a track",
    ),
    (
        "unknown_artist-p_z-tribal_america",
        5560,
        "bytes after the end of a track",
    ),
    (
        "unknown_artist-p_z-variations_paganini",
        1845,
        "bytes after the end of a track",
    ),
    (
        "unknown_artist-varios-5th_3rd_mv",
        6500,
        "a key signature that there is not",
    ),
];

#[test]
fn every_malformed_file_has_a_stated_outcome() {
    let Some(members) = archive("classical/malformed.tar.gz") else {
        return;
    };
    let mut classes: BTreeMap<(&str, Outcome), usize> = BTreeMap::new();
    for (name, bytes) in &members {
        let reading = read(bytes);
        let notes = reading.score.as_ref().map_or(0, Score::note_ons);
        let states = |what: &str| {
            reading
                .remarks
                .iter()
                .any(|remark| remark.what.contains(what))
        };
        let stem = name.rsplit('/').next().unwrap().trim_end_matches(".mid");
        let class = match DAMAGED.iter().find(|(file, ..)| *file == stem) {
            Some((_, expected, what)) => {
                assert!(
                    states(what) && notes == *expected,
                    "{name}: {notes} notes, {:?}",
                    reading.remarks
                );
                "damaged"
            }
            None if states("wrapped as RIFF RMID") => "RIFF RMID",
            None if states("wrapped as MacBinary") => "MacBinary",
            None => "other",
        };
        assert_eq!(reading.outcome() == Outcome::Rejected, notes == 0, "{name}");
        *classes.entry((class, reading.outcome())).or_default() += 1;
    }
    let expected = [
        (("MacBinary", Outcome::Repaired), 16),
        (("RIFF RMID", Outcome::Repaired), 11),
        (("damaged", Outcome::Repaired), 27),
        // 24 without a header, a Cakewalk project, a Creative Music File, a zip, zeros alone, and one that lost all its zeros.
        (("other", Outcome::Rejected), 29),
    ];
    assert_eq!(classes, BTreeMap::from(expected));
}
