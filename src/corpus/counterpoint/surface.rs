//! From chords to music: passing notes, neighbours, suspensions, ties and breaths, then the score.

use rand::Rng;

use super::super::score::{NoteKind, NoteMessage, Score, Ticks};
use super::harmony::{Key, Mode, Slot};
use super::voicing::parallel;
use super::{Chorale, TICKS_PER_BEAT, chance};

const BEAT: Ticks = TICKS_PER_BEAT as Ticks;

/// The chorale with its ornaments, as a score of four tracks.
pub fn perform(chorale: &Chorale, rng: &mut impl Rng) -> Score {
    let habits = Habits {
        motion: rng.gen_range(30..=75),
        dotted: rng.gen_range(0..=25),
        tied: rng.gen_range(20..=70),
        suspended: rng.gen_range(10..=40),
        breathes: chance(rng, 35),
    };
    let joints = ornaments(chorale, &habits, rng);
    let tracks = (0..4).map(|voice| messages(&line(chorale, &joints, voice, habits.breathes)));
    let tracks = tracks.collect::<Vec<_>>();
    let duration = tracks[0]
        .iter()
        .map(|message| u64::from(message.delta))
        .sum();
    Score {
        ticks_per_beat: TICKS_PER_BEAT,
        tracks,
        duration,
    }
}

/// How a piece likes to be sung, in percent where it is a number.
struct Habits {
    motion: u32,
    dotted: u32,
    tied: u32,
    suspended: u32,
    breathes: bool,
}

/// What a voice does between a slot and the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ornament {
    /// Sings the next note when it comes.
    Plain,
    /// Leads there through this pitch, which takes the end of the slot.
    Through(i32),
    /// Holds its note on, the same in both chords.
    Tie,
    /// Holds its note into the next chord and resolves late.
    Suspension,
}

/// The end of a slot: how long its last part is, and what each voice does with it.
struct Joint {
    tail: Ticks,
    voices: [Ornament; 4],
}

impl Joint {
    /// The pitches that sound just before the next chord.
    fn pitches(&self, chord: &[i32; 4]) -> [i32; 4] {
        std::array::from_fn(|voice| match self.voices[voice] {
            Ornament::Through(pitch) => pitch,
            _ => chord[voice],
        })
    }

    fn suspends(&self) -> bool {
        self.voices.contains(&Ornament::Suspension)
    }
}

fn ornaments(chorale: &Chorale, habits: &Habits, rng: &mut impl Rng) -> Vec<Joint> {
    let mut joints: Vec<Joint> = Vec::new();
    for (index, pair) in chorale.voicings.windows(2).enumerate() {
        let (slot, next) = (&chorale.slots[index], &chorale.slots[index + 1]);
        let [from, to] = [&pair[0], &pair[1]];
        let tail = match slot.beats {
            1 if chance(rng, habits.dotted) => BEAT / 4,
            1 => BEAT / 2,
            _ => BEAT,
        };
        let mut joint = Joint {
            tail,
            voices: [Ornament::Plain; 4],
        };
        if slot.ends_phrase {
            joints.push(joint);
            continue;
        }
        let last = index + 2 == chorale.slots.len();
        let busy = joints.last().is_some_and(Joint::suspends);
        for voice in 0..3 {
            let fits = suspends(from[voice], to[voice], to[3]) && !last && !joint.suspends();
            if fits && !busy && chance(rng, habits.suspended) {
                joint.voices[voice] = Ornament::Suspension;
            }
        }
        for voice in [0, 3, 1, 2] {
            let tied_before = joints
                .last()
                .is_some_and(|before| before.voices[voice] == Ornament::Tie);
            if joint.voices[voice] != Ornament::Plain {
                continue;
            }
            let through = between(slot.chord.key, from[voice], to[voice], rng);
            if let Some(pitch) =
                through.filter(|_| !busy && !joint.suspends() && chance(rng, habits.motion))
            {
                joint.voices[voice] = Ornament::Through(pitch);
                let middle = joint.pitches(from);
                let crossed = middle.windows(2).any(|pair| pair[0] <= pair[1]);
                if crossed || parallel(from, &middle) || parallel(&middle, to) {
                    joint.voices[voice] = Ornament::Plain;
                }
            }
            let same = from[voice] == to[voice] && joint.voices[voice] == Ornament::Plain;
            if same && !tied_before && next.chord != slot.chord && chance(rng, habits.tied) {
                joint.voices[voice] = Ornament::Tie;
            }
        }
        joints.push(joint);
    }
    joints
}

/// Whether a voice that falls by a step makes a fourth, seventh or ninth over the new bass if it falls late.
fn suspends(from: i32, to: i32, bass: i32) -> bool {
    matches!(from - to, 1 | 2) && matches!((from - bass).rem_euclid(12), 1 | 2 | 5 | 10 | 11)
}

/// A pitch that leads from one chord note to the next: between two a third apart, or beside one that stays.
fn between(key: Key, from: i32, to: i32, rng: &mut impl Rng) -> Option<i32> {
    let candidates: Vec<i32> = match (to - from).abs() {
        3 | 4 => (from.min(to) + 1..from.max(to))
            .filter(|pitch| (pitch - from).abs() <= 2)
            .collect(),
        // Neighbours are rarer than passing notes.
        0 if chance(rng, 35) => {
            let side = if chance(rng, 50) { 1 } else { -1 };
            vec![from + side, from + 2 * side]
        }
        _ => Vec::new(),
    };
    candidates
        .into_iter()
        .find(|pitch| (to - pitch).abs() <= 2 && in_melody(key, *pitch, from, to))
}

/// Whether a melody from `from` to `to` in that key can go through `pitch`: minor raises its sixth and seventh degree
/// on the way to the tonic.
fn in_melody(key: Key, pitch: i32, from: i32, to: i32) -> bool {
    let degree = |pitch: i32| (pitch - key.tonic).rem_euclid(12);
    let ends = [degree(from), degree(to)];
    match (key.mode, degree(pitch)) {
        (Mode::Minor, 8 | 10) if ends.contains(&11) => false,
        (Mode::Minor, 9) => ends == [7, 11] || ends == [11, 7],
        (Mode::Minor, 10) if ends == [0, 0] => false,
        (Mode::Minor, 11) => ends == [0, 0],
        _ => key.contains(pitch),
    }
}

/// One note of a voice, from tick to tick.
struct Note {
    pitch: i32,
    start: Ticks,
    end: Ticks,
}

fn line(chorale: &Chorale, joints: &[Joint], voice: usize, breathes: bool) -> Vec<Note> {
    let mut notes: Vec<Note> = Vec::new();
    let mut start = 0;
    let mut before = Ornament::Plain;
    for (index, (slot, voicing)) in chorale.slots.iter().zip(&chorale.voicings).enumerate() {
        let Slot {
            beats, ends_phrase, ..
        } = *slot;
        let end = start + beats * BEAT;
        let pitch = voicing[voice];
        match (before, notes.last_mut()) {
            (Ornament::Tie, Some(held)) => held.end = end,
            (Ornament::Suspension, Some(held)) => {
                held.end = start
                    + if beats == 1 || ends_phrase {
                        BEAT / 2
                    } else {
                        BEAT
                    };
                let start = held.end;
                notes.push(Note { pitch, start, end });
            }
            _ => notes.push(Note { pitch, start, end }),
        }
        let joint = joints.get(index);
        before = joint.map_or(Ornament::Plain, |joint| joint.voices[voice]);
        if let (Ornament::Through(through), Some(joint), Some(note)) =
            (before, joint, notes.last_mut())
        {
            note.end = end - joint.tail;
            notes.push(Note {
                pitch: through,
                start: end - joint.tail,
                end,
            });
        }
        // The last chord of the piece is held, so that the voices end together.
        if let Some(note) = notes
            .last_mut()
            .filter(|_| breathes && ends_phrase && beats > 1 && joint.is_some())
        {
            note.end -= BEAT;
        }
        start = end;
    }
    notes
}

fn messages(notes: &[Note]) -> Vec<NoteMessage> {
    let mut now = 0;
    let mut messages = Vec::new();
    for note in notes {
        let pitch = note.pitch as u8;
        messages.push(NoteMessage {
            delta: note.start - now,
            kind: NoteKind::On,
            pitch,
        });
        messages.push(NoteMessage {
            delta: note.end - note.start,
            kind: NoteKind::Off,
            pitch,
        });
        now = note.end;
    }
    messages
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random;

    const C_MAJOR: Key = Key {
        tonic: 0,
        mode: Mode::Major,
    };
    const A_MINOR: Key = Key {
        tonic: 9,
        mode: Mode::Minor,
    };

    #[test]
    fn a_third_is_filled_with_the_scale() {
        let mut rng = random::stream(1, "between");
        assert_eq!(between(C_MAJOR, 60, 64, &mut rng), Some(62));
        assert_eq!(between(C_MAJOR, 67, 64, &mut rng), Some(65));
        assert_eq!(
            between(A_MINOR, 64, 68, &mut rng),
            Some(66),
            "F sharp leads to G sharp"
        );
        assert_eq!(
            between(A_MINOR, 65, 68, &mut rng),
            None,
            "an augmented second stays empty"
        );
        assert_eq!(between(C_MAJOR, 60, 67, &mut rng), None);
    }

    #[test]
    fn a_suspension_needs_a_dissonance_that_falls_by_step() {
        assert!(suspends(60, 59, 43), "4-3 over G");
        assert!(!suspends(60, 62, 43), "it does not fall");
        assert!(!suspends(64, 62, 43), "a sixth is a consonance");
    }
}
