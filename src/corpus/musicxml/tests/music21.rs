//! The scores that music21 carries, compared with its own conversions.

use super::*;
use crate::corpus::midi;
use crate::mirror;

/// The members of the archive of that name among the corpora, by stem; `None`, and the test counts as skipped, where it is not at hand.
fn members(name: &str, ending: &str) -> Option<BTreeMap<String, Vec<u8>>> {
    let archive = std::fs::read(mirror::file(name)?).unwrap();
    let mut members = BTreeMap::new();
    let mut keep = |path: &str, member: &mut dyn std::io::Read| {
        let stem = path
            .rsplit('/')
            .next()
            .and_then(|name| name.rsplit_once('.'))
            .filter(|(_, it)| ending.contains(it));
        if let Some((stem, _)) = stem {
            let mut bytes = Vec::new();
            member.read_to_end(&mut bytes).unwrap();
            members.insert(stem.to_owned(), bytes);
        }
    };
    if name.ends_with(".whl") {
        let mut zip = zip::ZipArchive::new(std::io::Cursor::new(archive)).unwrap();
        for index in 0..zip.len() {
            let mut file = zip.by_index(index).unwrap();
            let path = file.name().unwrap().into_owned();
            if path.starts_with("music21/corpus/bach/") {
                keep(&path, &mut file);
            }
        }
    } else {
        let mut tar = tar::Archive::new(flate2::read::GzDecoder::new(&archive[..]));
        for entry in tar.entries().unwrap() {
            let mut entry = entry.unwrap();
            let path = entry.path().unwrap().to_string_lossy().into_owned();
            keep(&path, &mut entry);
        }
    }
    Some(members)
}

/// Pieces in which music21's own conversion differs, and why we keep ours.
const UNLIKE_MUSIC21: [(&str, &str); 6] = [
    (
        "bwv171.6",
        "its parts' measures differ in length: music21 lets the trumpets run ahead from there",
    ),
    (
        "bwv248.23-2",
        "ties in the second voice: music21 strikes four of the tied notes again",
    ),
    (
        "bwv248.9-1",
        "a tie in the second voice: music21 strikes the tied note again",
    ),
    ("bwv299", "two grace notes, which music21 plays for no time"),
    ("bwv315", "a grace note, which music21 plays for no time"),
    (
        "bwv846",
        "ties in the second voice: music21 strikes two of the tied notes again",
    ),
];

#[test]
fn the_bach_scores_of_music21_sound_as_music21_converts_them() {
    let scores = members("music21-10.5.1-py3-none-any.whl", "mxl xml");
    let conversions = members("bach/music21-bach.tar.gz", "mid");
    let (Some(scores), Some(conversions)) = (scores, conversions) else {
        return;
    };
    assert_eq!((scores.len(), conversions.len()), (410, 410));
    let mut unlike = Vec::new();
    let (mut tokens, mut unique) = (0, std::collections::HashSet::new());
    for (name, bytes) in &scores {
        let ours = read(bytes).score.unwrap();
        let theirs = midi::read(&conversions[name]).score.unwrap();
        assert_eq!(ours.ticks_per_beat, theirs.ticks_per_beat);
        let sounding = |score: &Score| {
            score
                .tracks
                .iter()
                .filter(|it| !it.is_empty())
                .cloned()
                .collect::<Vec<_>>()
        };
        if sounding(&ours) != sounding(&theirs) {
            unlike.push(name.as_str());
        }
        tokens += ours.tracks.iter().map(Vec::len).sum::<usize>();
        unique.extend(ours.tracks.into_iter().flatten());
    }
    assert_eq!(unlike, UNLIKE_MUSIC21.map(|(name, _)| name));
    assert_eq!((tokens, unique.len()), (249_110, 952));
}
