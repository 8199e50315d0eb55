//! The built-in corpus: four-part chorales composed by rule, so that everything runs without a download.
//!
//! It is synthetic, and every record says so. A chorale is composed in three steps: phrases of functional harmony that end in
//! cadences (`harmony`), a voicing of each chord by the rules of part-writing (`part_writing`), then passing notes and ties
//! (`perform`). Each piece has its own random stream, so a seed gives the same bytes on every machine.

use std::iter::zip;
use std::ops::RangeInclusive;

use rand::Rng;
use rand::distributions::{Distribution, WeightedIndex};
use rand::seq::SliceRandom;

use super::score::{NoteKind, NoteMessage, Score, Ticks};
use crate::random;

const TICKS_PER_BEAT: u16 = 480;
const BEAT: Ticks = TICKS_PER_BEAT as Ticks;

/// The ranges of soprano, alto, tenor and bass, in MIDI pitches.
const RANGES: [RangeInclusive<i32>; 4] = [60..=79, 55..=74, 48..=67, 40..=60];

/// The pitches of soprano, alto, tenor and bass.
type Voicing = [i32; 4];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Key {
    /// The pitch class of the tonic.
    tonic: i32,
    minor: bool,
}

/// One chord of a chorale. Degree 0 is the tonic triad, 4 the dominant.
#[derive(Debug, Clone, Copy)]
struct Chord {
    key: Key,
    degree: usize,
    seventh: bool,
    beats: u32,
    /// Whether it opens a phrase or belongs to a cadence: its root is in the bass.
    rooted: bool,
    ends_phrase: bool,
    /// The pitch that the soprano is drawn to.
    aim: i32,
}

/// Chorale `index` of `seed`: four tracks, soprano first, each of which sounds one note at a time.
pub fn compose(seed: u64, index: usize) -> Score {
    let mut rng = random::stream(seed, &format!("counterpoint/{index}"));
    loop {
        let chords = harmony(&mut rng);
        // A progression that cannot be voiced without parallels is rare, and is replaced by another.
        if let Some(voicings) = part_writing(&chords, &mut rng) {
            return perform(&chords, &voicings, &mut rng);
        }
    }
}

impl Key {
    /// The scale as semitones above the tonic. `raised`: with the leading note of harmonic minor.
    fn scale(self, raised: bool) -> [i32; 7] {
        match self.minor {
            false => [0, 2, 4, 5, 7, 9, 11],
            true => [0, 2, 3, 5, 7, 8, 10 + i32::from(raised)],
        }
    }

    fn semitones_above_tonic(self, pitch: i32) -> i32 {
        (pitch - self.tonic).rem_euclid(12)
    }
}

impl Chord {
    /// The pitch classes of root, third, fifth and, if there is one, seventh.
    fn tones(&self) -> Vec<i32> {
        let scale = self.key.scale(self.is_dominant());
        let tone = |third| (self.key.tonic + scale[(self.degree + 2 * third) % 7]) % 12;
        (0..3 + usize::from(self.seventh)).map(tone).collect()
    }

    /// Whether it contains the leading note, which wants to rise to the tonic.
    fn is_dominant(&self) -> bool {
        matches!(self.degree, 4 | 6)
    }
}

/// How often each degree (column) comes before another (row). The tonic may come before any.
const BEFORE: [[u32; 7]; 7] = [
    [0, 0, 0, 2, 6, 0, 2],
    [3, 0, 0, 2, 0, 4, 0],
    [1, 0, 0, 0, 0, 1, 0],
    [4, 0, 1, 0, 0, 3, 0],
    [3, 4, 0, 4, 0, 1, 0],
    [3, 0, 1, 0, 2, 0, 0],
    [1, 2, 0, 2, 0, 0, 0],
];

/// Authentic, half, deceptive and plagal cadences: how often, and their degrees.
const CADENCES: [(u32, &[usize]); 4] = [(4, &[4, 0]), (4, &[4]), (1, &[4, 5]), (1, &[3, 0])];

/// The beats of the chords of one bar: four quarters, then three. The last of each ends a phrase.
const BARS: [[&[u32]; 4]; 2] = [
    [&[1, 1, 1, 1], &[2, 1, 1], &[1, 1, 2], &[1, 3]],
    [&[1, 1, 1], &[1, 1, 1], &[2, 1], &[3]],
];

/// The chords of one chorale: phrases of four bars, the first and the last in the home key.
fn harmony(rng: &mut impl Rng) -> Vec<Chord> {
    let tonic = rng.gen_range(0..12);
    let minor = rng.gen_ratio(2, 5);
    let home = Key { tonic, minor };
    let dominant = Key {
        tonic: (tonic + 7) % 12,
        minor,
    };
    let relative = Key {
        tonic: (tonic + if minor { 3 } else { 9 }) % 12,
        minor: !minor,
    };
    let bars = BARS[usize::from(rng.gen_ratio(1, 4))];
    let mut phrases = Vec::new();
    for number in 0..rng.gen_range(3..=5u32) {
        let keys = [(3, home), (2, dominant), (2, relative)];
        let key = if number == 0 { home } else { draw(&keys, rng) };
        let cadence = draw(&CADENCES, rng);
        phrases.push(phrase(key, bars, cadence, rng));
    }
    // Bar form: most chorales repeat the first two phrases.
    if rng.gen_ratio(3, 5) {
        phrases.splice(0..0, phrases[..2].to_vec());
    }
    phrases.push(phrase(home, bars, CADENCES[0].1, rng));
    phrases.concat()
}

fn phrase(key: Key, bars: [&[u32]; 4], cadence: &[usize], rng: &mut impl Rng) -> Vec<Chord> {
    let mut beats = Vec::new();
    for _ in 0..3 {
        beats.extend(*bars[..3].choose(rng).expect("there are three"));
    }
    beats.extend(bars[3]);
    // Backwards from the cadence, so that it is always prepared.
    let mut degrees: Vec<usize> = cadence.iter().rev().copied().collect();
    while degrees.len() + 1 < beats.len() {
        let weights = WeightedIndex::new(BEFORE[degrees[degrees.len() - 1]]);
        degrees.push(weights.expect("no row is empty").sample(rng));
    }
    degrees.push(0);
    degrees.reverse();
    let (count, height) = (beats.len(), rng.gen_range(4..=12));
    let chord = |at: usize| {
        let seventh = match (degrees[at], degrees.get(at + 1)) {
            (4, Some(0 | 5)) => rng.gen_ratio(1, 2),
            (1, Some(4)) => rng.gen_ratio(1, 3),
            _ => false,
        };
        Chord {
            key,
            degree: degrees[at],
            seventh,
            beats: beats[at],
            rooted: at == 0 || at + cadence.len() >= count,
            ends_phrase: at + 1 == count,
            // An arch: every phrase rises to its middle and sinks again.
            aim: 67 + height * 4 * (at * (count - at)) as i32 / (count * count) as i32,
        }
    };
    (0..count).map(chord).collect()
}

/// One of `choices`, as often as its weight says.
fn draw<T: Copy>(choices: &[(u32, T)], rng: &mut impl Rng) -> T {
    let drawn = choices.choose_weighted(rng, |(weight, _)| *weight);
    drawn.expect("the weights are positive").1
}

/// A voicing of each chord, each the cheapest after the one before; `None` if every one has parallel fifths or octaves.
fn part_writing(chords: &[Chord], rng: &mut impl Rng) -> Option<Vec<Voicing>> {
    let mut voicings: Vec<Voicing> = Vec::new();
    for (index, chord) in chords.iter().enumerate() {
        let ends_piece = index + 1 == chords.len();
        let mut best = None;
        for to in possible_voicings(chord) {
            let mut price = 2 * (to[0] - chord.aim).abs() + rng.gen_range(0..8);
            price += 5 * i32::from(to[3] % 12 != chord.tones()[0]);
            price += 6 * i32::from(!to.iter().any(|pitch| pitch % 12 == chord.tones()[2]));
            if ends_piece && to[0] % 12 != chord.key.tonic {
                continue;
            }
            if let Some(from) = voicings.last() {
                if parallel(from, &to) {
                    continue;
                }
                price += price_of_motion(&chords[index - 1], from, chord, &to);
            }
            best = best.into_iter().chain([(price, to)]).min();
        }
        voicings.push(best?.1);
    }
    Some(voicings)
}

/// The voicings of a chord with root, third and seventh, the last two and the leading note not doubled.
fn possible_voicings(chord: &Chord) -> Vec<Voicing> {
    let tones = chord.tones();
    let diminished = (tones[2] - tones[0]).rem_euclid(12) == 6;
    let basses = match (chord.rooted, diminished) {
        (true, _) => &tones[..1],
        (false, true) => &tones[1..2],
        (false, false) => &tones[..2],
    };
    let sung = |voice: usize, range: RangeInclusive<i32>| {
        let pitches = RANGES[voice].clone().filter(move |it| range.contains(it));
        pitches.filter(|pitch| tones.contains(&(pitch % 12)))
    };
    let mut found = Vec::new();
    for bass in sung(3, 0..=127).filter(|pitch| basses.contains(&(pitch % 12))) {
        for tenor in sung(2, bass + 1..=bass + 19) {
            for alto in sung(1, tenor + 1..=tenor + 12) {
                for soprano in sung(0, alto + 1..=alto + 12) {
                    let voicing = [soprano, alto, tenor, bass];
                    let count = |tone| voicing.iter().filter(|it| **it % 12 == tone).count();
                    // A diminished chord doubles its third, and not its root.
                    let most = if diminished { [1, 2] } else { [3, 1] };
                    if (1..=most[0]).contains(&count(tones[0]))
                        && (1..=most[1]).contains(&count(tones[1]))
                        && tones.get(3).is_none_or(|seventh| count(*seventh) == 1)
                    {
                        found.push(voicing);
                    }
                }
            }
        }
    }
    found
}

/// Whether two voices move from one fifth or octave to another, unisons and compound intervals included.
fn parallel(from: &Voicing, to: &Voicing) -> bool {
    let both = |high: usize, low: usize| {
        let [before, after] = [from, to].map(|it| (it[high] - it[low]).rem_euclid(12));
        before == after && matches!(after, 0 | 7) && from[high] != to[high] && from[low] != to[low]
    };
    (0..4).any(|high| (high + 1..4).any(|low| both(high, low)))
}

/// How far the step from one voicing to the next strains good part-writing.
fn price_of_motion(before: &Chord, from: &Voicing, chord: &Chord, to: &Voicing) -> i32 {
    let resolves = before.is_dominant() && before.key == chord.key && matches!(chord.degree, 0 | 5);
    let mut price = 0;
    for voice in 0..4 {
        let step = to[voice] - from[voice];
        let outer = matches!(voice, 0 | 3);
        let comfortable = [2, 2, 2, 7][voice];
        price += step.abs().min(comfortable) / 2 + 4 * (step.abs() - comfortable).max(0);
        price += 4 * i32::from(outer && step == 0);
        let degrees = [from, to].map(|it| before.key.semitones_above_tonic(it[voice]));
        let unresolved = resolves && degrees[0] == 11 && step != 1;
        price += if outer { 40 } else { 10 } * i32::from(unresolved);
        let seventh = before.tones().get(3) == Some(&(from[voice] % 12));
        price += 40 * i32::from(seventh && !matches!(step, -2..=0));
        let augmented_second = before.key.minor && matches!(degrees, [8, 11] | [11, 8]);
        price += 40 * i32::from(augmented_second);
        let overlaps = voice > 0 && (to[voice] > from[voice - 1] || to[voice - 1] < from[voice]);
        price += 10 * i32::from(overlaps);
    }
    price
}

/// The chorale with its passing notes and ties.
fn perform(chords: &[Chord], voicings: &[Voicing], rng: &mut impl Rng) -> Score {
    let passing_percent = rng.gen_range(30..=75);
    let tied_percent = rng.gen_range(20..=70);
    let dotted_percent = rng.gen_range(0..=25);
    let mut lines: [Vec<(i32, Ticks)>; 4] = Default::default();
    let mut tied = [false; 4];
    for (index, (chord, from)) in zip(chords, voicings).enumerate() {
        let next = voicings.get(index + 1).filter(|_| !chord.ends_phrase);
        let to = next.unwrap_or(from);
        let mut end = *from;
        for voice in [0, 3, 1, 2] {
            let passing = passing_note(chord.key, from[voice], to[voice]);
            if let Some(pitch) = passing.filter(|_| rng.gen_ratio(passing_percent, 100)) {
                let mut moved = end;
                moved[voice] = pitch;
                let ordered = moved.windows(2).all(|pair| pair[0] > pair[1]);
                if ordered && !parallel(from, &moved) && !parallel(&moved, to) {
                    end = moved;
                }
            }
        }
        let length = chord.beats * BEAT;
        let last_part = match chord.beats {
            1 if rng.gen_ratio(dotted_percent, 100) => BEAT / 4,
            1 => BEAT / 2,
            _ => BEAT,
        };
        for (voice, line) in lines.iter_mut().enumerate() {
            let moves = end[voice] != from[voice];
            let first_part = length - if moves { last_part } else { 0 };
            match line.last_mut().filter(|_| tied[voice]) {
                Some((_, ticks)) => *ticks += first_part,
                None => line.push((from[voice], first_part)),
            }
            if moves {
                line.push((end[voice], last_part));
            }
            let stays = next.is_some_and(|next| next[voice] == from[voice]);
            tied[voice] = stays && !tied[voice] && rng.gen_ratio(tied_percent, 100);
        }
    }
    Score {
        ticks_per_beat: TICKS_PER_BEAT,
        tracks: lines.iter().map(|line| messages(line)).collect(),
        duration: chords.iter().map(|it| u64::from(it.beats * BEAT)).sum(),
    }
}

/// The note of the scale between two notes a third apart.
fn passing_note(key: Key, from: i32, to: i32) -> Option<i32> {
    let scale = key.scale(
        [from, to]
            .iter()
            .any(|it| key.semitones_above_tonic(*it) == 11),
    );
    let mut between = (from.min(to) + 1..from.max(to)).filter(|_| (to - from).abs() <= 4);
    between.find(|pitch| {
        let near = (pitch - from).abs() <= 2 && (to - pitch).abs() <= 2;
        near && scale.contains(&key.semitones_above_tonic(*pitch))
    })
}

fn messages(line: &[(i32, Ticks)]) -> Vec<NoteMessage> {
    let note = |(pitch, ticks): &(i32, Ticks)| {
        [(NoteKind::On, 0), (NoteKind::Off, *ticks)].map(|(kind, delta)| NoteMessage {
            delta,
            kind,
            pitch: *pitch as u8,
        })
    };
    line.iter().flat_map(note).collect()
}

#[cfg(test)]
mod tests;
