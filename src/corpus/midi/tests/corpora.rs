//! The files of real corpora, and the malformed ones.

use std::collections::{BTreeMap, HashSet};
use std::io::Read;

use super::*;
use crate::mirror;

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
