mod music21;

use std::io::Write;

use super::super::Outcome;
use super::*;
use proptest::prelude::*;

const BEAT: u32 = TICKS_PER_BEAT as u32;

fn note(step: &str, octave: u32, duration: u32, more: &str) -> String {
    let pitch = format!("<pitch><step>{step}</step><octave>{octave}</octave></pitch>");
    format!("<note>{pitch}<duration>{duration}</duration>{more}</note>")
}

fn tie(kind: &str) -> String {
    format!("<tie type=\"{kind}\"/>")
}

fn document(parts: &[&[String]]) -> String {
    let measures = |part: &[String]| {
        part.iter()
            .map(|it| format!("<measure>{it}</measure>"))
            .collect::<String>()
    };
    let parts = parts
        .iter()
        .map(|part| format!("<part id=\"P\">{}</part>", measures(part)))
        .collect::<String>();
    format!("<score-partwise version=\"4.0\">{parts}</score-partwise>")
}

fn score(parts: &[&[String]]) -> Score {
    let reading = read(document(parts).as_bytes());
    assert_eq!(reading.remarks, []);
    reading.score.unwrap()
}

/// Each note as (pitch, start, end) in quarters of a beat.
fn sounding(score: &Score, track: usize) -> Vec<(u8, u32, u32)> {
    let mut now = 0;
    let mut notes: Vec<(u8, u32, u32)> = Vec::new();
    for message in &score.tracks[track] {
        now += message.delta;
        match message.kind {
            NoteKind::On => notes.push((message.pitch, now * 4 / BEAT, 0)),
            NoteKind::Off => {
                let open = notes
                    .iter_mut()
                    .find(|note| note.0 == message.pitch && note.2 == 0);
                open.unwrap().2 = now * 4 / BEAT;
            }
        }
    }
    notes
}

fn divisions(number: u32) -> String {
    format!("<attributes><divisions>{number}</divisions></attributes>")
}

#[test]
fn voices_chords_and_gaps_fall_where_they_are_written() {
    let chord = note("E", 4, 2, "<chord/>");
    let voice = "<backup><duration>4</duration></backup><forward><duration>1</duration></forward>";
    let measure = [
        divisions(2),
        note("C", 4, 2, ""),
        chord,
        note("D", 4, 2, ""),
        voice.into(),
        note("B", 3, 3, ""),
    ];
    let score = score(&[&[measure.concat()]]);
    assert_eq!(
        sounding(&score, 0),
        [(60, 0, 4), (64, 0, 4), (59, 2, 8), (62, 4, 8)]
    );
    assert_eq!(score.duration, 2 * u64::from(BEAT));
}

#[test]
fn tied_notes_become_one_also_across_measures() {
    let first = [
        divisions(1),
        note("C", 4, 1, ""),
        note("G", 4, 3, &tie("start")),
    ]
    .concat();
    let second = note("G", 4, 4, &(tie("stop") + &tie("start")));
    let third = [note("G", 4, 1, &tie("stop")), note("G", 4, 3, "")].concat();
    assert_eq!(
        sounding(&score(&[&[first, second, third]]), 0),
        [(60, 0, 4), (67, 4, 36), (67, 36, 48)]
    );
}

#[test]
fn each_staff_of_each_part_is_a_track() {
    let two = [
        note("C", 5, 4, "<staff>1</staff>"),
        "<backup><duration>4</duration></backup>".into(),
    ];
    let two = [
        divisions(1),
        two.concat(),
        note("C", 3, 4, "<staff>2</staff>"),
    ]
    .concat();
    let score = score(&[&[two], &[note("E", 4, 4, "")]]);
    let tracks = [0, 1, 2].map(|track| sounding(&score, track));
    assert_eq!(
        tracks,
        [vec![(72, 0, 16)], vec![(48, 0, 16)], vec![(64, 0, 16)]]
    );
}

#[test]
fn a_transposing_instrument_sounds_as_it_does_and_a_concert_score_as_written() {
    let transpose = "<attributes><transpose><chromatic>-2</chromatic><octave-change>-1</octave-change></transpose></attributes>";
    let text = document(&[&[transpose.to_owned() + &note("C", 5, 4, "")]]);
    assert_eq!(
        sounding(&read(text.as_bytes()).score.unwrap(), 0),
        [(58, 0, 16)]
    );
    let concert = text.replace("<part ", "<defaults><concert-score/></defaults><part ");
    assert_eq!(
        sounding(&read(concert.as_bytes()).score.unwrap(), 0),
        [(72, 0, 16)]
    );
}

#[test]
fn measures_are_as_long_as_their_fullest_part_and_silent_ones_as_their_time_signature_says() {
    let time = "<attributes><divisions>1</divisions><time><beats>3</beats><beat-type>4</beat-type></time></attributes>";
    let rest = "<note><rest measure=\"yes\"/><duration>4</duration></note>".to_owned();
    let pickup = time.to_owned() + &note("C", 4, 1, "");
    let above = [pickup, rest.clone(), note("D", 4, 3, "")];
    let below = [time.to_owned(), rest.clone(), note("E", 4, 3, "")];
    let score = score(&[&above, &below]);
    assert_eq!(sounding(&score, 0), [(60, 0, 4), (62, 16, 28)]);
    assert_eq!(sounding(&score, 1), [(64, 16, 28)]);
    assert_eq!(score.duration, 7 * u64::from(BEAT));
}

#[test]
fn repeats_sound_in_every_part_though_one_part_writes_them() {
    let barline = |direction| format!("<barline><repeat direction=\"{direction}\"/></barline>");
    let above = [
        divisions(1) + &note("C", 4, 4, ""),
        note("D", 4, 4, "") + &barline("backward"),
        note("E", 4, 4, ""),
    ];
    let below = [
        divisions(1) + &note("C", 3, 4, ""),
        note("D", 3, 4, ""),
        note("E", 3, 4, ""),
    ];
    let score = score(&[&above, &below]);
    let pitches = |track| {
        sounding(&score, track)
            .iter()
            .map(|note| note.0)
            .collect::<Vec<_>>()
    };
    assert_eq!(pitches(0), [60, 62, 60, 62, 64]);
    assert_eq!(pitches(1), [48, 50, 48, 50, 52]);
}

#[test]
fn endings_are_read_from_barlines() {
    let start = |number| {
        format!("<barline location=\"left\"><ending number=\"{number}\" type=\"start\"/></barline>")
    };
    let stop = "<ending number=\"1\" type=\"stop\"/>";
    let first = start(1)
        + &note("D", 4, 4, "")
        + &format!("<barline>{stop}<repeat direction=\"backward\"/></barline>");
    let second = start(2) + &note("E", 4, 4, "") + &format!("<barline>{stop}</barline>");
    let score = score(&[&[
        divisions(1) + &note("C", 4, 4, ""),
        first,
        second,
        note("F", 4, 4, ""),
    ]]);
    assert_eq!(
        sounding(&score, 0)
            .iter()
            .map(|note| note.0)
            .collect::<Vec<_>>(),
        [60, 62, 60, 64, 65]
    );
}

#[test]
fn a_tie_reaches_into_the_second_ending_too() {
    let start = |number| {
        format!("<barline location=\"left\"><ending number=\"{number}\" type=\"start\"/></barline>")
    };
    let stop = "<ending number=\"1\" type=\"stop\"/>";
    let repeat = format!("<barline>{stop}<repeat direction=\"backward\"/></barline>");
    let first = start(1) + &note("C", 4, 2, &tie("stop")) + &note("D", 4, 2, "") + &repeat;
    let second = start(2) + &note("C", 4, 4, "");
    let score = score(&[&[
        divisions(1) + &note("C", 4, 4, &tie("start")),
        first,
        second,
    ]]);
    assert_eq!(
        sounding(&score, 0),
        [(60, 0, 24), (62, 24, 32), (60, 32, 64)]
    );
}

#[test]
fn parts_within_measures_are_read_as_measures_within_parts() {
    let part = |id: &str, note: String| format!("<part id=\"{id}\">{note}</part>");
    let first = part("A", note("C", 4, 4, "")) + &part("B", note("C", 3, 4, ""));
    let second = part("B", note("D", 3, 4, "")) + &part("A", note("D", 4, 4, ""));
    let text = format!(
        "<score-timewise><measure>{first}</measure><measure>{second}</measure></score-timewise>"
    );
    let score = read(text.as_bytes()).score.unwrap();
    assert_eq!(sounding(&score, 0), [(60, 0, 16), (62, 16, 32)]);
    assert_eq!(sounding(&score, 1), [(48, 0, 16), (50, 16, 32)]);
}

#[test]
fn what_is_left_out_is_remarked_once_a_kind() {
    let grace = "<note><grace/><pitch><step>C</step><octave>4</octave></pitch></note>";
    let text = document(&[&[[
        divisions(1),
        note("C", 4, 4, ""),
        grace.into(),
        grace.into(),
    ]
    .concat()]]);
    let reading = read(text.as_bytes());
    assert_eq!(reading.outcome(), Outcome::Repaired);
    assert_eq!(
        reading.remarks,
        [Remark {
            offset: text.find("<note><grace").unwrap(),
            what: "grace notes were left out (2)".into()
        }]
    );
    assert_eq!(reading.score.unwrap().tracks[0].len(), 2);
}

fn package(container: &str, document: &str) -> Vec<u8> {
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default();
    for (name, text) in [
        ("META-INF/container.xml", container),
        ("score.xml", document),
    ] {
        archive.start_file(name, options).unwrap();
        archive.write_all(text.as_bytes()).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

const CONTAINER: &str =
    "<container><rootfiles><rootfile full-path=\"score.xml\"/></rootfiles></container>";

#[test]
fn a_package_reads_as_its_document_and_a_declared_dtd_is_harmless() {
    let doctype = "<?xml version=\"1.0\"?><!DOCTYPE score-partwise PUBLIC \"-//Recordare//DTD MusicXML 2.0 Partwise//EN\" \"http://www.musicxml.org/dtds/partwise.dtd\">";
    let text = doctype.to_owned() + &document(&[&[note("C", 4, 4, "")]]);
    let plain = read(text.as_bytes());
    assert_eq!(plain.outcome(), Outcome::Ok);
    assert_eq!(read(&package(CONTAINER, &text)), plain);
    let wide = [0xfeff]
        .into_iter()
        .chain(text.encode_utf16())
        .flat_map(u16::to_le_bytes)
        .collect::<Vec<_>>();
    assert_eq!(read(&wide), plain);
}

fn rejection(bytes: &[u8]) -> String {
    let reading = read(bytes);
    assert_eq!(reading.score, None);
    reading.remarks[0].what.clone()
}

#[test]
fn rejections_say_why() {
    let html = "not MusicXML: the document is a <html>, not a <score-partwise> or <score-timewise>";
    assert_eq!(rejection(b"<html/>"), html);
    assert_eq!(
        rejection(&package("<container/>", "")),
        "META-INF/container.xml names no score"
    );
    let text = document(&[&[
        divisions(1),
        "<attributes><divisions>0</divisions></attributes>".into(),
    ]]);
    assert!(
        rejection(text.as_bytes())
            .ends_with("beats divided by '0'; a whole number from 1 expected")
    );
    assert!(rejection(b"MThd").starts_with("not well-formed XML: "));
}

#[test]
fn a_document_that_multiplies_itself_is_refused() {
    let bomb = "<!DOCTYPE a [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;&a;\">]><score-partwise>&b;</score-partwise>";
    assert!(rejection(bomb.as_bytes()).contains("entities"));
    let endless = document(&[&[
        "<attributes><time><beats>1024</beats><beat-type>1</beat-type></time></attributes>".into(),
        String::new(),
    ]]);
    assert!(read(endless.as_bytes()).score.is_some());
    let long = document(&[&[divisions(1) + &note("C", 4, 999_999_999, "")]]);
    assert!(rejection(long.as_bytes()).starts_with("the piece is longer than 65536 beats"));
}

#[test]
fn elements_a_million_deep_do_not_overflow_the_stack() {
    let deep = "<a>".repeat(1_000_000) + &"</a>".repeat(1_000_000);
    assert!(rejection(deep.as_bytes()).starts_with("not MusicXML"));
}

/// Documents of plausible elements in any order.
fn soup() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just(note("C", 4, 1, "")),
        Just(note("G", 9, 3, "<chord/>")),
        Just(note("B", 4, 2, &tie("stop"))),
        Just(note("B", 4, 2, &tie("start"))),
        Just("<note><rest/><duration>4</duration></note>".to_owned()),
        Just("<note><grace/></note>".to_owned()),
        Just("<backup><duration>3</duration></backup>".to_owned()),
        Just("<forward><duration>1.5</duration></forward>".to_owned()),
        Just("</measure><measure>".to_owned()),
        Just("<barline location=\"left\"><repeat direction=\"forward\"/></barline>".to_owned()),
        Just("<barline><repeat direction=\"backward\" times=\"3\"/></barline>".to_owned()),
        Just("<barline location=\"left\"><ending type=\"start\" number=\"1,2\"/></barline>".to_owned()),
        Just("<barline><ending type=\"stop\" number=\"2\"/></barline>".to_owned()),
        (0u32..9).prop_map(divisions),
        (0u32..9).prop_map(|beats| {
            format!("<attributes><time><beats>{beats}</beats><beat-type>8</beat-type></time></attributes>")
        }),
    ];
    prop::collection::vec(piece, 0..40).prop_map(|pieces| document(&[&[pieces.concat()]]))
}

proptest! {
    #[test]
    fn no_order_of_elements_panics(text in soup()) {
        if let Some(score) = read(text.as_bytes()).score {
            let messages = score.tracks.iter().flatten();
            let ons = messages.clone().filter(|it| it.kind == NoteKind::On).count();
            prop_assert_eq!(ons * 2, messages.count());
        }
    }

    #[test]
    fn mutated_files_never_panic(text in soup(), changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        for mut bytes in [package(CONTAINER, &text), text.into_bytes()] {
            for (at, byte) in &changes {
                let at = at.index(bytes.len());
                bytes[at] = *byte;
            }
            let _ = read(&bytes);
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = read(&bytes);
        let _ = read(&[b"PK\x03\x04", &bytes[..]].concat());
    }
}
