//! The built-in corpus: four-part chorales composed by rule, so that everything runs without a download.
//!
//! It is synthetic and is called so wherever its name appears. A chorale is planned in three steps, each a file:
//! phrases of functional harmony that end in cadences (`harmony`), the voicing of least motion that keeps the rules of
//! part-writing (`voicing`), and passing notes, neighbours, suspensions and ties (`surface`). There are only integers
//! and one named random stream a piece, so that a seed gives the same bytes on every machine.

mod harmony;
mod surface;
mod voicing;

use rand::Rng;

use super::score::Score;
use crate::random;
use harmony::Slot;
use voicing::Voicing;

/// Pieces of the corpus named `counterpoint`.
pub const PIECES: usize = 120;

/// The seed of the corpus named `counterpoint`.
pub const SEED: u64 = 1;

/// Ticks in a beat of every piece.
pub const TICKS_PER_BEAT: u16 = 480;

/// The chorale `index` of `seed`: four tracks, soprano first, none of which ever sounds two notes at once.
pub fn compose(seed: u64, index: usize) -> Score {
    let mut rng = random::stream(seed, &format!("counterpoint/{index}"));
    let chorale = plan(&mut rng);
    surface::perform(&chorale, &mut rng)
}

/// A chorale before its ornaments: one chord a slot, and where the four voices stand in it.
struct Chorale {
    slots: Vec<Slot>,
    voicings: Vec<Voicing>,
}

fn plan(rng: &mut impl Rng) -> Chorale {
    // Almost every plan can be voiced within the rules; one that cannot is thrown away.
    loop {
        let slots = harmony::plan(rng);
        if let Some(voicings) = voicing::voice(&slots, rng) {
            return Chorale { slots, voicings };
        }
    }
}

/// True in `percent` of a hundred cases.
fn chance(rng: &mut impl Rng, percent: u32) -> bool {
    rng.gen_range(0..100u32) < percent
}

/// One of `choices`, as often as its weight says.
fn choose<T: Copy>(rng: &mut impl Rng, choices: &[(u32, T)]) -> T {
    let mut drawn = rng.gen_range(0..choices.iter().map(|(weight, _)| weight).sum());
    for (weight, choice) in choices {
        if drawn < *weight {
            return *choice;
        }
        drawn -= weight;
    }
    unreachable!("the draw is below the sum of the weights")
}

#[cfg(test)]
mod tests {
    use super::super::score::NoteKind;
    use super::*;

    fn plans() -> impl Iterator<Item = Chorale> {
        (0..PIECES).map(|index| plan(&mut random::stream(SEED, &format!("counterpoint/{index}"))))
    }

    #[test]
    fn the_same_seed_and_index_give_the_same_score_and_others_give_others() {
        assert_eq!(compose(7, 3), compose(7, 3));
        assert_ne!(compose(7, 3), compose(7, 4));
        assert_ne!(compose(7, 3), compose(8, 3));
    }

    #[test]
    fn the_first_notes_are_the_same_on_every_machine() {
        let score = compose(SEED, 0);
        let first = score
            .tracks
            .iter()
            .map(|track| [0, 1, 2, 3].map(|at| (track[at].delta, track[at].pitch)));
        let expected = [
            [(0, 70), (960, 70), (0, 67), (480, 67)],
            [(0, 63), (960, 63), (0, 62), (480, 62)],
            [(0, 55), (960, 55), (0, 55), (960, 55)],
            [(0, 51), (960, 51), (0, 46), (480, 46)],
        ];
        assert!(first.eq(expected));
    }

    #[test]
    fn every_voice_is_one_line_within_its_range() {
        for index in 0..PIECES {
            let score = compose(SEED, index);
            assert_eq!(score.tracks.len(), 4);
            for (track, range) in score.tracks.iter().zip(voicing::RANGES) {
                let ends = track
                    .iter()
                    .map(|message| u64::from(message.delta))
                    .sum::<u64>();
                assert_eq!(ends, score.duration, "the voices end together");
                for pair in track.chunks(2) {
                    let [on, off] = pair else {
                        panic!("an odd number of messages")
                    };
                    assert_eq!(
                        (on.kind, off.kind, on.pitch),
                        (NoteKind::On, NoteKind::Off, off.pitch)
                    );
                    assert!(off.delta > 0);
                    // A neighbour note may reach one step beyond.
                    let pitch = i32::from(on.pitch);
                    assert!(
                        range.start() - 2 <= pitch && pitch <= range.end() + 2,
                        "{index}: {pitch} in {range:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn no_two_voices_move_in_parallel_fifths_or_octaves() {
        for (index, chorale) in plans().enumerate() {
            for pair in chorale.voicings.windows(2) {
                assert!(
                    !voicing::parallel(&pair[0], &pair[1]),
                    "piece {index}: {pair:?}"
                );
            }
        }
    }

    #[test]
    fn every_piece_ends_with_dominant_and_tonic_in_root_position_of_its_first_key() {
        for chorale in plans() {
            let [.., dominant, tonic] = &chorale.slots[..] else {
                panic!("too short")
            };
            let [.., before, last] = &chorale.voicings[..] else {
                panic!("too short")
            };
            let home = chorale.slots[0].chord.key;
            assert_eq!((dominant.chord.degree, tonic.chord.degree), (4, 0));
            assert_eq!((dominant.chord.key, tonic.chord.key), (home, home));
            assert_eq!((before[3] - last[3]).rem_euclid(12), 7);
            assert_eq!(last[3].rem_euclid(12), home.tonic);
        }
    }

    #[test]
    fn the_corpus_has_the_size_of_a_small_experiment() {
        let scores = (0..PIECES)
            .map(|index| compose(SEED, index))
            .collect::<Vec<_>>();
        let tokens = scores
            .iter()
            .flat_map(|score| score.tracks.iter().flatten());
        let unique = tokens
            .clone()
            .collect::<std::collections::HashSet<_>>()
            .len();
        assert_eq!((tokens.count(), unique), (68_842, 419));
        for score in &scores {
            let bars = score.duration / u64::from(TICKS_PER_BEAT) / 4;
            assert!((12..=32).contains(&bars), "{bars} bars of four beats");
        }
    }
}
