//! Files in wrappings, files that are not MIDI, written files, and arbitrary bytes.

use proptest::prelude::*;

use super::*;

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
    let second = vec![
        message(7, NoteKind::On, 127),
        message(1, NoteKind::Off, 127),
    ];
    let score = Score {
        ticks_per_beat: 32_767,
        tracks: vec![first, Vec::new(), second],
        duration: 1_500_000_000,
    };
    let written = write(&score);
    assert_eq!(
        (
            &written.score,
            written.closed_at_end,
            written.without_duration
        ),
        (&score, 0, 0)
    );
    let reading = read(&written.bytes);
    assert_eq!(
        (reading.outcome(), reading.score),
        (Outcome::Ok, Some(score))
    );
}

#[test]
fn every_note_of_a_written_file_has_an_end() {
    let on = |delta, pitch| NoteMessage {
        delta,
        kind: NoteKind::On,
        pitch,
    };
    let off = |delta, pitch| NoteMessage {
        delta,
        kind: NoteKind::Off,
        pitch,
    };
    let messages = vec![
        off(3, 50), // of a key that does not sound
        on(1, 60),
        on(0, 60),  // the same note
        on(10, 60), // struck again
        on(0, 61),
        off(0, 61), // no duration
        off(5, 60),
        on(1, 62), // no end
        on(9, 63), // starts where the piece ends
    ];
    let score = Score {
        ticks_per_beat: 96,
        tracks: vec![messages, vec![on(2, 40)]],
        duration: 29,
    };
    let written = write(&score);
    assert_eq!((written.closed_at_end, written.without_duration), (2, 2));
    let expected = [
        vec![
            on(4, 60),
            off(10, 60),
            on(0, 60),
            off(5, 60),
            on(1, 62),
            off(9, 62),
        ],
        vec![on(2, 40), off(27, 40)],
    ];
    assert_eq!(written.score.tracks, expected);
    assert_eq!(read(&written.bytes).score, Some(written.score));
}

/// How many notes of a file start and end, by the bare messages: a pitch starts when it is silent and ends when it sounds.
fn closed_notes(bytes: &[u8]) -> usize {
    let mut count = 0;
    for track in read(bytes).score.unwrap().tracks {
        let mut sounding = 0u128;
        for message in track {
            let bit = 1 << message.pitch;
            let expected = match message.kind {
                NoteKind::On => 0,
                NoteKind::Off => bit,
            };
            assert_eq!(sounding & bit, expected, "{message:?}");
            sounding ^= bit;
            count += usize::from(message.kind == NoteKind::Off);
        }
        assert_eq!(sounding, 0, "notes sound at the end of a track");
    }
    count
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
    fn scores_survive_writing_and_reading_with_every_note_closed(
        tracks in prop::collection::vec(prop::collection::vec((prop_oneof![Just(0), 0u32..100_000], any::<bool>(), prop_oneof![0u8..128, 60u8..63]), 1..20), 1..18),
        rest in 0u64..10_000,
        ticks_per_beat in 100u16..=32_767,
    ) {
        let message = |(delta, on, pitch)| NoteMessage { delta, kind: if on { NoteKind::On } else { NoteKind::Off }, pitch };
        let tracks: Vec<Vec<_>> = tracks.into_iter().map(|track| track.into_iter().map(message).collect()).collect();
        let length = |track: &Vec<NoteMessage>| track.iter().map(|it| u64::from(it.delta)).sum::<u64>();
        let duration = tracks.iter().map(length).max().unwrap_or(0) + rest;
        let score = Score { ticks_per_beat, tracks, duration };
        let written = write(&score);
        let mut notes = score.notes();
        notes.retain(|note| note.duration > 0);
        prop_assert_eq!(written.score.notes(), &notes[..]);
        prop_assert_eq!(closed_notes(&written.bytes), notes.len());
        let reading = read(&written.bytes);
        if !notes.is_empty() {
            prop_assert_eq!(reading.remarks, vec![]);
        }
        prop_assert_eq!(reading.score.as_ref(), Some(&written.score));
        prop_assert_eq!(write(&written.score).bytes, written.bytes);
    }
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
