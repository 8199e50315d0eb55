//! Where the four voices stand in each chord: of all ways within the rules, the one of least motion.

use std::ops::RangeInclusive;

use rand::Rng;

use super::harmony::{Chord, Key, Mode, Slot};

/// The MIDI pitches of soprano, alto, tenor and bass.
pub type Voicing = [i32; 4];

/// What each voice can sing, soprano first.
pub const RANGES: [RangeInclusive<i32>; 4] = [60..=79, 53..=74, 48..=67, 40..=62];

/// The price of a voicing that no allowed progression leads to; none of those costs as much.
const FORBIDDEN: i32 = 1_000_000;

/// Voicings of one chord that are weighed; the cheapest are kept.
const BREADTH: usize = 40;

/// A voicing of each slot with the least total price, which is how much the voices move and how far they strain good
/// part-writing, plus a little noise; `None` where every way has parallel fifths or octaves.
pub fn voice(slots: &[Slot], rng: &mut impl Rng) -> Option<Vec<Voicing>> {
    let contour = contour(slots, rng);
    let mut columns: Vec<Vec<State>> = Vec::new();
    for (index, (slot, aim)) in slots.iter().zip(contour).enumerate() {
        let mut states = voicings(slot);
        for state in &mut states {
            state.price += rng.gen_range(0..8) + (state.voicing[0] - aim).abs();
            if index + 1 == slots.len() && state.voicing[0].rem_euclid(12) != slot.chord.key.tonic {
                state.price += 30;
            }
        }
        states.sort_by_key(|state| state.price);
        states.truncate(BREADTH);
        if let Some(before) = columns.last() {
            let chord = slots[index - 1].chord;
            let mut cheapest = (0..before.len()).collect::<Vec<_>>();
            cheapest.retain(|index| before[*index].price < FORBIDDEN);
            cheapest.sort_by_key(|index| before[*index].price);
            for state in &mut states {
                let mut best = (i32::MAX, 0);
                for index in &cheapest {
                    let from = &before[*index];
                    // Motion costs something or nothing, never less, so that none of the rest is cheaper.
                    if from.price > best.0 {
                        break;
                    }
                    let price =
                        from.price + motion(chord, &from.voicing, slot.chord, &state.voicing);
                    if (price, *index) < best && !parallel(&from.voicing, &state.voicing) {
                        best = (price, *index);
                    }
                }
                state.from = best.1;
                state.price = FORBIDDEN.min(best.0.saturating_add(state.price));
            }
        }
        columns.push(states);
    }
    let last = columns.last()?;
    let mut at = (0..last.len()).min_by_key(|index| last[*index].price)?;
    if last[at].price >= FORBIDDEN {
        return None;
    }
    let mut voiced = Vec::new();
    for states in columns.iter().rev() {
        voiced.push(states[at].voicing);
        at = states[at].from;
    }
    voiced.reverse();
    Some(voiced)
}

/// Where the soprano aims in each slot: every phrase rises to a summit of its own and sinks again.
fn contour(slots: &[Slot], rng: &mut impl Rng) -> Vec<i32> {
    let mut aims = Vec::new();
    for phrase in slots.split_inclusive(|slot| slot.ends_phrase) {
        let [start, summit, end] =
            [65..=72, 70..=78, 64..=71].map(|range| rng.gen_range::<i32, _>(range));
        let turn = rng.gen_range(25..=75) * phrase.len() as i32 / 100;
        let fall = (phrase.len() as i32 - 1 - turn).max(1);
        aims.extend((0..phrase.len() as i32).map(|at| match at < turn {
            true => start + (summit - start) * at / turn,
            false => summit + (end - summit) * (at - turn) / fall,
        }));
    }
    aims
}

/// Whether any two voices move from one fifth or octave to another, unisons and compound intervals included.
pub fn parallel(from: &Voicing, to: &Voicing) -> bool {
    let both = |high: usize, low: usize| {
        let [before, after] =
            [from, to].map(|voicing| (voicing[high] - voicing[low]).rem_euclid(12));
        before == after && matches!(after, 0 | 7) && from[high] != to[high] && from[low] != to[low]
    };
    (0..4).any(|high| (high + 1..4).any(|low| both(high, low)))
}

struct State {
    voicing: Voicing,
    price: i32,
    /// The state of the slot before that leads here most cheaply.
    from: usize,
}

/// Every complete voicing of a slot's chord, with what is not ideal about it as its price.
fn voicings(slot: &Slot) -> Vec<State> {
    let tones = slot.chord.tones();
    let tone = |pitch: i32| tones.iter().position(|tone| *tone == pitch.rem_euclid(12));
    let mut found = Vec::new();
    for bass in RANGES[3].clone() {
        let inversion = match tone(bass) {
            Some(0) if slot.chord.is_diminished() => 25,
            Some(0) => 0,
            Some(1) if !slot.rooted => 5,
            _ => continue,
        };
        for tenor in RANGES[2]
            .clone()
            .filter(|it| *it > bass && tone(*it).is_some())
        {
            for alto in RANGES[1]
                .clone()
                .filter(|it| (1..=12).contains(&(it - tenor)) && tone(*it).is_some())
            {
                for soprano in RANGES[0]
                    .clone()
                    .filter(|it| (1..=12).contains(&(it - alto)) && tone(*it).is_some())
                {
                    let voicing = [soprano, alto, tenor, bass];
                    if let Some(price) =
                        doubling(slot.chord, voicing.map(|pitch| tone(pitch).unwrap_or(0)))
                    {
                        let spread = (tenor - bass - 12).max(0)
                            + (soprano - 76).max(0) * 2
                            + (44 - bass).max(0);
                        found.push(State {
                            voicing,
                            price: inversion + price + spread,
                            from: 0,
                        });
                    }
                }
            }
        }
    }
    found
}

/// The price of which chord tones are doubled and left out (0 root, 1 third, 2 fifth, 3 seventh); `None` is forbidden.
fn doubling(chord: Chord, tones: [usize; 4]) -> Option<i32> {
    let count = |tone| tones.iter().filter(|it| **it == tone).count();
    let leading = match chord.degree {
        4 => count(1),
        6 => count(0),
        _ => 0,
    };
    let complete = count(0) > 0 && count(1) > 0 && (!chord.seventh || count(3) == 1);
    if !complete || leading > 1 || count(1) > 2 || count(2) > 2 {
        return None;
    }
    let omitted = if count(2) == 0 { 6 } else { 0 };
    let doubled_third = if count(1) == 2 && !chord.is_diminished() {
        4
    } else {
        0
    };
    Some(omitted + doubled_third + if count(2) == 2 { 2 } else { 0 })
}

/// The price of going from one voicing to the next.
fn motion(chord: Chord, from: &Voicing, to_chord: Chord, to: &Voicing) -> i32 {
    let steps: [i32; 4] = std::array::from_fn(|voice| to[voice] - from[voice]);
    let mut price = melody(steps[0]) + inner(steps[1]) + inner(steps[2]) + bass(steps[3]);
    for voice in 0..4 {
        price += tendency(
            chord,
            to_chord,
            from[voice],
            steps[voice],
            matches!(voice, 0 | 3),
        );
        price += augmented_second(chord.key, from[voice], to[voice]);
        // A voice that passes where its neighbour has just been confuses the ear.
        if voice > 0 && (to[voice] > from[voice - 1] || to[voice - 1] < from[voice]) {
            price += 10;
        }
    }
    let perfect = matches!((to[0] - to[3]).rem_euclid(12), 0 | 7);
    if perfect && steps[0].abs() > 2 && steps[0] * steps[3] > 0 {
        price += 15; // direct fifths or octaves of the outer voices
    }
    if steps.iter().all(|step| *step > 0) || steps.iter().all(|step| *step < 0) {
        price += 10;
    }
    price
}

fn inner(step: i32) -> i32 {
    match step.abs() {
        0..=2 => step.abs(),
        3..=4 => 3,
        5 => 5,
        further => 4 * further - 15,
    }
}

fn melody(step: i32) -> i32 {
    match step.abs() {
        0 => 5,
        1 | 2 => 0,
        3 | 4 => 1,
        5 | 7 => 6,
        8 | 9 | 12 => 16,
        _ => 40,
    }
}

fn bass(step: i32) -> i32 {
    match step.abs() {
        0 => 4,
        1 | 2 => 0,
        3 | 4 => 2,
        5 | 7 => 3,
        12 => 6,
        8 | 9 => 12,
        _ => 30,
    }
}

/// Leading notes rise to the tonic and sevenths fall, above all in the outer voices.
fn tendency(from: Chord, to: Chord, pitch: i32, step: i32, outer: bool) -> i32 {
    let class = pitch.rem_euclid(12);
    let mut price = 0;
    if from.key == to.key && matches!(from.degree, 4 | 6) && matches!(to.degree, 0 | 5) {
        let resolved = step == 1 || (!outer && matches!(step, -3 | -4));
        if class == from.key.leading_note() && !resolved {
            price += if outer { 40 } else { 15 };
        }
    }
    if from.seventh && !matches!(step, -2..=0) && from.tones().get(3) == Some(&class) {
        price += 50;
    }
    price
}

/// Between the sixth and the raised seventh degree of minor, which no voice should sing.
fn augmented_second(key: Key, from: i32, to: i32) -> i32 {
    let degrees = [from, to].map(|pitch| (pitch - key.tonic).rem_euclid(12));
    if key.mode == Mode::Minor && matches!(degrees, [8, 11] | [11, 8]) {
        30
    } else {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parallel_fifths_and_octaves_are_found_and_held_ones_are_not() {
        assert!(
            parallel(&[79, 67, 60, 48], &[81, 71, 62, 50]),
            "octaves of tenor and bass"
        );
        assert!(
            parallel(&[76, 67, 64, 48], &[77, 69, 65, 50]),
            "a twelfth of alto and bass"
        );
        assert!(
            !parallel(&[76, 67, 60, 48], &[77, 67, 60, 48]),
            "the octave is held"
        );
        assert!(
            !parallel(&[72, 67, 64, 48], &[71, 67, 62, 55]),
            "an octave becomes a third"
        );
    }

    #[test]
    fn a_leading_note_is_never_doubled() {
        let key = Key {
            tonic: 0,
            mode: Mode::Major,
        };
        let slot = Slot {
            chord: Chord {
                key,
                degree: 4,
                seventh: false,
            },
            beats: 1,
            rooted: true,
            ends_phrase: false,
        };
        let found = voicings(&slot);
        assert!(!found.is_empty());
        for state in found {
            let leading = state
                .voicing
                .iter()
                .filter(|pitch| pitch.rem_euclid(12) == 11)
                .count();
            assert_eq!(leading, 1, "{:?}", state.voicing);
            assert_eq!(state.voicing[3].rem_euclid(12), 7);
        }
    }
}
