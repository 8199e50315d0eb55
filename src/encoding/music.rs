//! Histograms of the notes of scores: pitches, polyphony and durations.

use serde::{Deserialize, Serialize};

use crate::corpus::score::Score;

/// Histograms of notes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Music {
    /// Notes (note-ons).
    pub notes: u64,
    /// Notes by MIDI pitch, 128 of them.
    pub pitches: Vec<u64>,
    /// Time steps by the number of pitches that sound, 0 to 128.
    pub polyphony: Vec<u64>,
    /// Notes by duration: [`duration_of_bin`] gives each bin's, in beats.
    pub durations: Vec<u64>,
}

/// Bins per doubling of the duration.
const BINS_PER_OCTAVE: i32 = 4;

/// The bin of one beat; the first stands for 1/64 and less, the last for 64 beats and more.
const BEAT_BIN: i32 = 6 * BINS_PER_OCTAVE;

/// The duration in beats that a bin stands for, the middle of its range on a logarithmic scale.
pub fn duration_of_bin(bin: usize) -> f64 {
    ((bin as f64 - f64::from(BEAT_BIN)) / f64::from(BINS_PER_OCTAVE)).exp2()
}

fn bin_of_duration(beats: f64) -> usize {
    let bin = (beats.log2() * f64::from(BINS_PER_OCTAVE)).round() as i32;
    (bin.clamp(-BEAT_BIN, BEAT_BIN) + BEAT_BIN) as usize
}

impl Default for Music {
    fn default() -> Self {
        Music {
            notes: 0,
            pitches: vec![0; 128],
            polyphony: vec![0; 129],
            durations: vec![0; 2 * BEAT_BIN as usize + 1],
        }
    }
}

impl Music {
    /// Adds a score, its polyphony on a grid of `steps_per_beat`.
    pub fn add(&mut self, score: &Score, steps_per_beat: u32) {
        // Most durations are short and repeat. Counting them in ticks first takes one logarithm per duration.
        let mut by_ticks = vec![0u32; 4096];
        let beats = |ticks: u64| ticks as f64 / f64::from(score.ticks_per_beat.max(1));
        let durations = &mut self.durations;
        let pitches = &mut self.pitches;
        score.each_note(|note| {
            pitches[usize::from(note.pitch & 127)] += 1;
            match by_ticks.get_mut(note.duration as usize) {
                Some(count) => *count += 1,
                None => durations[bin_of_duration(beats(note.duration))] += 1,
            }
        });
        for (ticks, &count) in by_ticks.iter().enumerate().filter(|(_, count)| **count > 0) {
            self.durations[bin_of_duration(beats(ticks as u64))] += u64::from(count);
        }
        self.notes += score.note_ons() as u64;
        for chord in score.chords(steps_per_beat) {
            self.polyphony[chord.count_ones() as usize] += 1;
        }
    }

    /// Adds the counts of another histogram.
    pub fn merge(&mut self, other: &Music) {
        self.notes += other.notes;
        let pairs = [
            (&mut self.pitches, &other.pitches),
            (&mut self.polyphony, &other.polyphony),
            (&mut self.durations, &other.durations),
        ];
        for (sums, parts) in pairs {
            for (sum, part) in sums.iter_mut().zip(parts) {
                *sum += part;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::corpus::score::{NoteKind, NoteMessage};

    #[test]
    fn music_counts_notes_by_pitch_duration_and_what_sounds_together() {
        let message = |delta, kind, pitch| NoteMessage { delta, kind, pitch };
        let (on, off) = (NoteKind::On, NoteKind::Off);
        let track = vec![
            message(0, on, 60),
            message(0, on, 64),
            message(480, off, 60),
            message(480, off, 64),
        ];
        let score = Score {
            ticks_per_beat: 480,
            tracks: vec![track],
            duration: 1440,
        };
        let mut music = Music::default();
        music.add(&score, 1);
        music.merge(&music.clone());
        assert_eq!(
            (music.notes, music.pitches[60], music.pitches[64]),
            (4, 2, 2)
        );
        assert_eq!(music.polyphony[..4], [2, 2, 2, 0]);
        let durations: Vec<_> = (0..49)
            .filter(|&bin| music.durations[bin] > 0)
            .map(duration_of_bin)
            .collect();
        assert_eq!(durations, [1.0, 2.0]);
        assert_eq!((bin_of_duration(0.0), bin_of_duration(1e9)), (0, 48));
    }
}
