use std::collections::HashSet;

use super::*;
use crate::corpus::catalogue;

/// The scores of the corpus named `counterpoint`.
fn corpus() -> Vec<Score> {
    let asked = catalogue::find("counterpoint").unwrap().compose.unwrap();
    (0..asked.pieces)
        .map(|index| compose(asked.seed, index))
        .collect()
}

/// What sounds in each quarter of a beat.
fn quarter_beats(score: &Score) -> Vec<Voicing> {
    let mut sounding: [Vec<i32>; 4] = Default::default();
    for (pitches, track) in zip(&mut sounding, &score.tracks) {
        for off in track.iter().skip(1).step_by(2) {
            let steps = 4 * off.delta / BEAT;
            pitches.extend((0..steps).map(|_| i32::from(off.pitch)));
        }
    }
    let [soprano, alto, tenor, bass] = &sounding;
    (0..soprano.len())
        .map(|at| [soprano[at], alto[at], tenor[at], bass[at]])
        .collect()
}

#[test]
fn a_seed_and_an_index_determine_the_score() {
    assert_eq!(compose(7, 3), compose(7, 3));
    assert_ne!(compose(7, 3), compose(7, 4));
    assert_ne!(compose(7, 3), compose(8, 3));
}

#[test]
fn every_voice_is_one_line_within_its_range() {
    for score in corpus() {
        assert_eq!(score.tracks.len(), 4);
        for (track, range) in zip(&score.tracks, RANGES) {
            let end: u64 = track.iter().map(|it| u64::from(it.delta)).sum();
            assert_eq!(end, score.duration, "the voices end together");
            for pair in track.chunks(2) {
                assert_eq!([pair[0].kind, pair[1].kind], [NoteKind::On, NoteKind::Off]);
                assert_eq!(pair[0].pitch, pair[1].pitch);
                assert!(pair[0].delta == 0 && pair[1].delta > 0);
                assert!(range.contains(&i32::from(pair[0].pitch)), "{pair:?}");
            }
        }
        let bars = score.duration / u64::from(BEAT) / 4;
        assert!((12..=32).contains(&bars), "{bars} bars of four beats");
    }
}

#[test]
fn no_two_voices_move_in_parallel_fifths_or_octaves_or_cross() {
    for (index, score) in corpus().iter().enumerate() {
        for pair in quarter_beats(score).windows(2) {
            assert!(!parallel(&pair[0], &pair[1]), "piece {index}: {pair:?}");
            assert!(pair[0].is_sorted_by(|high, low| high > low), "{pair:?}");
        }
    }
}

#[test]
fn parallels_are_moving_fifths_and_octaves() {
    let found = |from, to| parallel(&from, &to);
    assert!(found([79, 67, 60, 48], [81, 71, 62, 50]), "octaves");
    assert!(found([76, 67, 64, 48], [77, 69, 65, 50]), "twelfths");
    assert!(!found([76, 67, 60, 48], [77, 67, 60, 48]), "held");
    assert!(!found([72, 67, 64, 48], [71, 67, 62, 55]), "to a third");
}

#[test]
fn every_piece_ends_with_an_authentic_cadence_in_its_first_key() {
    for score in corpus() {
        let chords = quarter_beats(&score);
        let [first, last] = [chords[0], chords[chords.len() - 1]];
        assert_eq!((first[3] - last[3]) % 12, 0, "from tonic to tonic");
        assert_eq!((last[0] - last[3]) % 12, 0, "the soprano ends on the tonic");
        let before = chords.iter().rfind(|chord| chord[3] != last[3]).unwrap();
        assert_eq!((before[3] - last[3]).rem_euclid(12), 7);
    }
}

#[test]
fn dominant_chords_of_minor_raise_the_leading_note() {
    let minor = Key {
        tonic: 9,
        minor: true,
    };
    let tones = |degree, seventh| {
        let (beats, rooted, ends_phrase, aim) = (1, true, false, 70);
        Chord {
            key: minor,
            degree,
            seventh,
            beats,
            rooted,
            ends_phrase,
            aim,
        }
        .tones()
    };
    assert_eq!(tones(0, false), [9, 0, 4]);
    assert_eq!(tones(4, true), [4, 8, 11, 2]);
    assert_eq!(tones(6, false), [8, 11, 2]);
    assert_eq!(tones(2, false), [0, 4, 7]);
    assert_eq!(passing_note(minor, 60, 64), Some(62));
    assert_eq!(passing_note(minor, 65, 68), None, "an augmented second");
    assert_eq!(passing_note(minor, 60, 67), None, "a fifth");
}

#[test]
fn the_catalogue_counts_its_tokens() {
    let scores = corpus();
    let tokens: Vec<_> = scores.iter().flat_map(|it| it.tracks.concat()).collect();
    let unique = tokens.iter().collect::<HashSet<_>>().len();
    let counts = catalogue::find("counterpoint").unwrap().counts["all"];
    let found = (tokens.len() as u64, unique as u64);
    assert_eq!(found, (counts.tokens, counts.unique_tokens));
}
