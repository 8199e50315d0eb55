//! Functional harmony: a form of phrases, each a walk through the chords of a key that ends in a cadence.

use rand::Rng;

use super::{chance, choose};

/// Major, or minor with its leading note raised in dominant chords.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Major,
    Minor,
}

/// A key: the pitch class of its tonic, 0 to 11, and its mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    pub tonic: i32,
    pub mode: Mode,
}

/// A chord of a key; degree 0 is the tonic triad, 4 the dominant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chord {
    pub key: Key,
    pub degree: usize,
    pub seventh: bool,
}

/// One chord of a chorale.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    pub chord: Chord,
    /// How long it lasts.
    pub beats: u32,
    /// Whether its root must be in the bass, as in a cadence.
    pub rooted: bool,
    /// Whether a phrase ends with it.
    pub ends_phrase: bool,
}

impl Key {
    /// Whether `pitch` belongs to the key's scale; minor is natural minor.
    pub fn contains(self, pitch: i32) -> bool {
        self.scale().contains(&(pitch - self.tonic).rem_euclid(12))
    }

    /// The pitch class of the leading note.
    pub fn leading_note(self) -> i32 {
        (self.tonic + 11) % 12
    }

    fn scale(self) -> [i32; 7] {
        match self.mode {
            Mode::Major => [0, 2, 4, 5, 7, 9, 11],
            Mode::Minor => [0, 2, 3, 5, 7, 8, 10],
        }
    }

    fn dominant(self) -> Key {
        Key {
            tonic: (self.tonic + 7) % 12,
            mode: self.mode,
        }
    }

    fn relative(self) -> Key {
        match self.mode {
            Mode::Major => Key {
                tonic: (self.tonic + 9) % 12,
                mode: Mode::Minor,
            },
            Mode::Minor => Key {
                tonic: (self.tonic + 3) % 12,
                mode: Mode::Major,
            },
        }
    }
}

impl Chord {
    /// The pitch classes of root, third, fifth and, if there is one, seventh.
    pub fn tones(self) -> Vec<i32> {
        let scale = self.key.scale();
        // The seventh degree is raised in the dominant and in the chord on the leading note itself.
        let raised = self.key.mode == Mode::Minor && matches!(self.degree, 4 | 6);
        let tone = |step: usize| {
            let degree = (self.degree + step) % 7;
            (self.key.tonic + scale[degree] + i32::from(raised && degree == 6)) % 12
        };
        let steps: &[usize] = if self.seventh {
            &[0, 2, 4, 6]
        } else {
            &[0, 2, 4]
        };
        steps.iter().map(|step| tone(*step)).collect()
    }

    /// Whether its fifth is diminished, so that its root does not belong in the bass.
    pub fn is_diminished(self) -> bool {
        let tones = self.tones();
        (tones[2] - tones[0]).rem_euclid(12) == 6
    }
}

/// The chords of one chorale: four to eight phrases, the first and the last in the home key.
pub fn plan(rng: &mut impl Rng) -> Vec<Slot> {
    let mode = choose(rng, &[(3, Mode::Major), (2, Mode::Minor)]);
    let home = Key {
        tonic: rng.gen_range(0..12),
        mode,
    };
    let metre = choose(rng, &[(3, 4), (1, 3)]);
    let mut phrases: Vec<Vec<Slot>> = Vec::new();
    for phrase in 0..rng.gen_range(3..=5u32) {
        let key = match phrase {
            0 => home,
            _ => choose(
                rng,
                &[(3, home), (2, home.dominant()), (2, home.relative())],
            ),
        };
        let cadence = choose(
            rng,
            &[
                (4, Cadence::Authentic),
                (4, Cadence::Half),
                (1, Cadence::Deceptive),
                (1, Cadence::Plagal),
            ],
        );
        phrases.push(self::phrase(key, metre, cadence, rng));
    }
    // Bar form: the first two phrases come twice, as in most chorales.
    if chance(rng, 60) {
        let stollen = phrases[..2].to_vec();
        phrases.splice(0..0, stollen);
    }
    phrases.push(phrase(home, metre, Cadence::Authentic, rng));
    phrases.concat()
}

#[derive(Debug, Clone, Copy)]
enum Cadence {
    Authentic,
    Half,
    Deceptive,
    Plagal,
}

fn phrase(key: Key, metre: u32, cadence: Cadence, rng: &mut impl Rng) -> Vec<Slot> {
    let beats = rhythm(metre, rng);
    let ending: &[usize] = match cadence {
        Cadence::Authentic => &[4, 0],
        Cadence::Half => &[4],
        Cadence::Deceptive => &[4, 5],
        Cadence::Plagal => &[3, 0],
    };
    let degrees = walk(beats.len(), ending, rng);
    let mut slots = Vec::new();
    for (index, (degree, beats)) in degrees.iter().zip(&beats).enumerate() {
        let next = degrees.get(index + 1);
        let seventh = match (degree, next) {
            (4, Some(0 | 5)) => chance(rng, 50),
            (1, Some(4)) => chance(rng, 30),
            _ => false,
        };
        slots.push(Slot {
            chord: Chord {
                key,
                degree: *degree,
                seventh,
            },
            beats: *beats,
            rooted: index + ending.len() >= degrees.len() || index == 0,
            ends_phrase: next.is_none(),
        });
    }
    slots
}

/// Ways to fill a bar with chords of so many beats, each with its weight.
type Patterns = [(u32, &'static [u32])];

/// The lengths, in beats, of the chords of a phrase of four bars.
fn rhythm(metre: u32, rng: &mut impl Rng) -> Vec<u32> {
    let (bars, last): (&Patterns, &Patterns) = match metre {
        4 => (
            &[
                (6, &[1, 1, 1, 1]),
                (2, &[2, 1, 1]),
                (2, &[1, 1, 2]),
                (1, &[2, 2]),
            ],
            &[(3, &[1, 1, 2]), (2, &[2, 2]), (2, &[1, 3]), (1, &[4])],
        ),
        _ => (
            &[(4, &[1, 1, 1]), (4, &[2, 1]), (1, &[1, 2])],
            &[(3, &[3]), (2, &[1, 2])],
        ),
    };
    let mut beats = Vec::new();
    for _ in 0..3 {
        beats.extend(choose(rng, bars));
    }
    beats.extend(choose(rng, last));
    beats
}

/// How readily one degree (row) is followed by another (column), in functional harmony.
const FOLLOWS: [[u128; 7]; 7] = [
    [1, 4, 1, 6, 6, 4, 2],
    [0, 1, 0, 1, 8, 0, 2],
    [0, 1, 0, 4, 0, 5, 0],
    [3, 3, 0, 1, 7, 0, 2],
    [8, 0, 0, 0, 2, 3, 0],
    [0, 5, 1, 5, 3, 0, 0],
    [8, 0, 0, 0, 0, 1, 0],
];

/// A walk of `length` degrees that begins on the tonic and ends with `ending`, drawn as often as the products of
/// [`FOLLOWS`] say among all such walks.
fn walk(length: usize, ending: &[usize], rng: &mut impl Rng) -> Vec<usize> {
    let free = length - ending.len();
    // ways[i][d]: the summed weight of all ways on from degree d at place i.
    let mut ways = vec![[0u128; 7]; free];
    for place in (0..free).rev() {
        for degree in 0..7 {
            ways[place][degree] = match ways.get(place + 1) {
                Some(next) => (0..7).map(|to| FOLLOWS[degree][to] * next[to]).sum(),
                None => FOLLOWS[degree][ending[0]],
            };
        }
    }
    let mut degrees = vec![0];
    for next in &ways[1..] {
        let from = degrees[degrees.len() - 1];
        let weight = |to: usize| FOLLOWS[from][to] * next[to];
        let mut drawn = rng.gen_range(0..(0..7).map(weight).sum());
        let to = (0..7).find(|to| {
            let found = drawn < weight(*to);
            drawn = drawn.saturating_sub(weight(*to));
            found
        });
        degrees.push(to.expect("the draw is below the sum of the weights"));
    }
    degrees.extend(ending);
    degrees
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random;

    #[test]
    fn dominant_chords_of_minor_raise_the_leading_note() {
        let key = Key {
            tonic: 9,
            mode: Mode::Minor,
        };
        let tones = |degree, seventh| {
            Chord {
                key,
                degree,
                seventh,
            }
            .tones()
        };
        assert_eq!(tones(0, false), [9, 0, 4]);
        assert_eq!(tones(4, true), [4, 8, 11, 2]);
        assert_eq!(tones(6, false), [8, 11, 2]);
        assert_eq!(tones(2, false), [0, 4, 7]);
    }

    #[test]
    fn walks_start_on_the_tonic_keep_to_the_table_and_end_as_asked() {
        let mut rng = random::stream(1, "walks");
        for ending in [&[4usize, 0][..], &[4], &[4, 5], &[3, 0]] {
            for length in 7..=16 {
                let degrees = walk(length, ending, &mut rng);
                assert_eq!(degrees.len(), length);
                assert_eq!(degrees[0], 0);
                assert!(degrees.ends_with(ending));
                assert!(
                    degrees.windows(2).all(|pair| FOLLOWS[pair[0]][pair[1]] > 0),
                    "{degrees:?}"
                );
            }
        }
    }
}
