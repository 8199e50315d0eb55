//! What can be said of music without hearing it: plain functions of a score, and of its tokens beside the training data.
//!
//! They describe, they do not judge: compare a sample's numbers with those of held-out pieces. The definitions follow
//! MusPy where it has them (Dong et al., "MusPy: A Toolkit for Symbolic Music Generation", ISMIR 2020), in ticks instead
//! of its time steps.

use rustc_hash::FxHashMap;

use crate::corpus::score::Score;

/// Entropy of the pitch classes, in bits: −Σ p(c) log₂ p(c) over the share p of each class among the notes.
///
/// 0 for one class, at most log₂ 12 ≈ 3.585. NaN without a note. Source: Wu & Yang, "The Jazz Transformer on the Front
/// Line", ISMIR 2020; MusPy `pitch_class_entropy`.
pub fn pitch_class_entropy(score: &Score) -> f64 {
    let counts = pitch_classes(score);
    let total = counts.iter().sum::<u64>() as f64;
    let shares = counts
        .iter()
        .filter(|count| **count > 0)
        .map(|count| *count as f64 / total);
    let entropy = -shares.map(|share| share * share.log2()).sum::<f64>();
    if total > 0.0 {
        entropy.max(0.0)
    } else {
        f64::NAN
    }
}

/// The largest share of the notes that lies in any one of the twelve major scales (and so in its relative natural minor).
///
/// NaN without a note. Source: Mogren, "C-RNN-GAN", 2016; MusPy `scale_consistency`.
pub fn scale_consistency(score: &Score) -> f64 {
    const MAJOR: [usize; 7] = [0, 2, 4, 5, 7, 9, 11];
    let counts = pitch_classes(score);
    let in_scale = |root: usize| {
        MAJOR
            .iter()
            .map(|step| counts[(root + step) % 12])
            .sum::<u64>()
    };
    let most = (0..12).map(in_scale).max().unwrap_or(0);
    most as f64 / counts.iter().sum::<u64>() as f64
}

/// How many different pitches sound at once, on average over the time in which any does.
///
/// NaN without a note. Source: MusPy `polyphony`.
pub fn polyphony(score: &Score) -> f64 {
    let (mut pitches, mut sounding) = (0u64, 0u64);
    sweep(score, |duration, count| {
        pitches += duration * count;
        sounding += if count > 0 { duration } else { 0 };
    });
    pitches as f64 / sounding as f64
}

/// The share of the beats in which no note sounds.
///
/// NaN for a score of no duration; the last beat may be cut short. Source: Dong et al., "MuseGAN", AAAI 2018; MusPy
/// `empty_beat_rate`.
pub fn empty_beat_rate(score: &Score) -> f64 {
    let beat = u64::from(score.ticks_per_beat);
    let beats = score.duration.div_ceil(beat);
    let mut notes = score.notes();
    notes.retain(|note| note.duration > 0);
    notes.sort_unstable_by_key(|note| note.onset);
    // Beats that sound, counted from left to right; those before `counted` are dealt with.
    let (mut sounding, mut counted) = (0, 0);
    for note in notes {
        let first = (note.onset / beat).max(counted);
        let end = (note.onset + note.duration).div_ceil(beat);
        sounding += end.saturating_sub(first);
        counted = counted.max(end);
    }
    beats.saturating_sub(sounding) as f64 / beats as f64
}

/// Semitones from the lowest to the highest pitch; 0 without a note. Source: MusPy `pitch_range`.
pub fn pitch_range(score: &Score) -> u32 {
    let pitches = pitches(score);
    if pitches == 0 {
        0
    } else {
        127 - pitches.leading_zeros() - pitches.trailing_zeros()
    }
}

/// Different pitches that occur. Source: MusPy `n_pitches_used`.
pub fn pitches_used(score: &Score) -> u32 {
    pitches(score).count_ones()
}

/// Different pitch classes that occur, at most 12. Source: MusPy `n_pitch_classes_used`.
pub fn pitch_classes_used(score: &Score) -> u32 {
    pitch_classes(score)
        .iter()
        .filter(|count| **count > 0)
        .count() as u32
}

/// How alike the rhythms of neighbouring measures are: 1 − mean over them of the share of grid places at which one has
/// an onset and the other none.
///
/// The grid has four places a beat, onsets go to the nearest; measures of `beats` beats are counted from the beginning,
/// and one that is cut short at the end is left out. NaN with fewer than two measures. 1 means one rhythm throughout.
/// Source: Wu & Yang, ISMIR 2020 (grooving pattern similarity); MusPy `groove_consistency`.
pub fn groove_consistency(score: &Score, beats: u32) -> f64 {
    const PLACES: u64 = 4;
    let beat = u64::from(score.ticks_per_beat);
    let places = PLACES * u64::from(beats);
    let measures = score
        .duration
        .checked_div(beat * u64::from(beats))
        .unwrap_or(0);
    if measures < 2 {
        return f64::NAN;
    }
    let mut onsets = score
        .notes()
        .iter()
        .map(|note| (note.onset * PLACES + beat / 2) / beat)
        .collect::<Vec<_>>();
    onsets.sort_unstable();
    onsets.dedup();
    onsets.retain(|place| *place < measures * places);
    // A place differs where it has an onset and the same place of the measure before has none, or the other way round.
    let has = |place: u64| onsets.binary_search(&place).is_ok();
    let unlike_before = onsets
        .iter()
        .filter(|place| **place >= places && !has(**place - places))
        .count();
    let unlike_after = onsets
        .iter()
        .filter(|place| **place + places < measures * places && !has(**place + places))
        .count();
    1.0 - (unlike_before + unlike_after) as f64 / (places * (measures - 1)) as f64
}

/// The share of the sample's n-grams (runs of `n` tokens, each place counted) that stand anywhere in the training pieces.
///
/// Near 1 for long n means copying. NaN where the sample is shorter than `n` or `n` is 0. The training tokens are passed
/// over once; memory is that of the sample's n-grams, not of the training data's. Source: our choice, after the n-gram
/// novelty of text generation (McCoy et al., "How much do language models copy from their training data?", TACL 2023).
pub fn n_gram_overlap<'a>(
    sample: &[u32],
    training: impl IntoIterator<Item = &'a [u32]>,
    n: usize,
) -> f64 {
    if n == 0 || sample.len() < n {
        return f64::NAN;
    }
    // For each n-gram of the sample, how often it occurs there; those found in training are taken out.
    let mut unseen: FxHashMap<&[u32], usize> = FxHashMap::default();
    for n_gram in sample.windows(n) {
        *unseen.entry(n_gram).or_default() += 1;
    }
    let mut seen = 0;
    for piece in training {
        for n_gram in piece.windows(n) {
            seen += unseen.remove(n_gram).unwrap_or(0);
        }
    }
    seen as f64 / (sample.len() - n + 1) as f64
}

/// Notes of each pitch class, C first.
fn pitch_classes(score: &Score) -> [u64; 12] {
    let mut counts = [0; 12];
    score.each_note(|note| counts[usize::from(note.pitch) % 12] += 1);
    counts
}

/// The pitches that occur: bit p is MIDI pitch p.
fn pitches(score: &Score) -> u128 {
    let mut pitches = 0;
    score.each_note(|note| pitches |= 1 << (note.pitch & 127));
    pitches
}

/// Visits the score from one change to the next: how long nothing changes, and how many different pitches sound.
fn sweep(score: &Score, mut visit: impl FnMut(u64, u64)) {
    let mut changes = Vec::new();
    score.each_note(|note| {
        changes.push((note.onset, note.pitch, 1));
        changes.push((note.onset + note.duration, note.pitch, -1));
    });
    changes.sort_unstable();
    let mut voices = [0i32; 128];
    let (mut now, mut count) = (0, 0);
    for (tick, pitch, change) in changes {
        visit(tick - now, count);
        now = tick;
        let voices = &mut voices[usize::from(pitch & 127)];
        let before = *voices > 0;
        *voices += change;
        match (before, *voices > 0) {
            (false, true) => count += 1,
            (true, false) => count -= 1,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::corpus::score::{NoteKind, NoteMessage, Ticks};

    const BEAT: Ticks = 480;

    /// One track a note: (pitch, onset, end) in quarters of a beat; the score lasts `beats`.
    fn score(notes: &[(u8, u32, u32)], beats: u32) -> Score {
        let track = |&(pitch, onset, end): &(u8, u32, u32)| {
            let message = |kind, quarters| NoteMessage {
                delta: quarters * BEAT / 4,
                kind,
                pitch,
            };
            vec![
                message(NoteKind::On, onset),
                message(NoteKind::Off, end - onset),
            ]
        };
        let tracks = notes.iter().map(track).collect();
        Score {
            ticks_per_beat: BEAT as u16,
            tracks,
            duration: u64::from(beats * BEAT),
        }
    }

    fn close(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-12, "{a} is not {b}");
    }

    #[test]
    fn a_score_without_notes_has_no_shares() {
        let silence = score(&[], 4);
        assert!(pitch_class_entropy(&silence).is_nan());
        assert!(scale_consistency(&silence).is_nan());
        assert!(polyphony(&silence).is_nan());
        assert_eq!(empty_beat_rate(&silence), 1.0);
        assert_eq!(
            (
                pitch_range(&silence),
                pitches_used(&silence),
                pitch_classes_used(&silence)
            ),
            (0, 0, 0)
        );
        assert!(empty_beat_rate(&score(&[], 0)).is_nan());
    }

    #[test]
    fn entropy_counts_octaves_as_one_class() {
        close(
            pitch_class_entropy(&score(&[(60, 0, 4), (72, 0, 4)], 1)),
            0.0,
        );
        // Shares ½, ¼, ¼: 1½ bits.
        close(
            pitch_class_entropy(&score(&[(60, 0, 4), (48, 0, 4), (64, 0, 4), (67, 0, 4)], 1)),
            1.5,
        );
    }

    #[test]
    fn the_best_scale_holds_all_but_the_strange_note() {
        // D major but for one C natural: D E F sharp G A in it.
        let notes = [62, 64, 66, 67, 69, 61, 60].map(|pitch| (pitch, 0, 4));
        close(scale_consistency(&score(&notes, 1)), 6.0 / 7.0);
        close(scale_consistency(&score(&notes[..6], 1)), 1.0);
    }

    #[test]
    fn polyphony_leaves_silence_out_and_counts_a_doubled_pitch_once() {
        // One beat of two pitches, one of one, one of silence; the doubling of 64 changes nothing.
        let notes = [(60, 0, 8), (64, 0, 4), (64, 2, 4)];
        close(polyphony(&score(&notes, 3)), 1.5);
    }

    #[test]
    fn a_beat_is_empty_if_nothing_sounds_in_it() {
        // A note over the first beat's end and another in the fourth beat: the third is empty.
        let notes = [(60, 3, 6), (62, 13, 14), (64, 3, 4)];
        close(empty_beat_rate(&score(&notes, 4)), 0.25);
        close(empty_beat_rate(&score(&notes, 8)), 0.625);
    }

    #[test]
    fn pitches_are_counted_and_spanned() {
        let some = score(&[(40, 0, 4), (52, 0, 4), (52, 4, 8), (79, 0, 4)], 2);
        assert_eq!(
            (
                pitch_range(&some),
                pitches_used(&some),
                pitch_classes_used(&some)
            ),
            (39, 3, 2)
        );
    }

    #[test]
    fn groove_compares_neighbouring_measures_place_by_place() {
        let same = [(60, 0, 1), (60, 4, 5), (60, 8, 9), (60, 12, 13)];
        close(groove_consistency(&score(&same, 4), 2), 1.0);
        // The second measure's second onset comes one place late: 2 of 8 places differ.
        let late = [(60, 0, 1), (60, 4, 5), (60, 8, 9), (60, 13, 14)];
        close(groove_consistency(&score(&late, 4), 2), 0.75);
        assert!(groove_consistency(&score(&late, 4), 4).is_nan());
        assert!(groove_consistency(&score(&late, 4), 0).is_nan());
    }

    #[test]
    fn n_grams_are_found_in_any_piece_but_not_across_two() {
        let overlap = |sample: &[u32], n| n_gram_overlap(sample, [&[1, 2, 3, 4][..], &[5, 6]], n);
        close(overlap(&[1, 2, 3], 2), 1.0);
        close(overlap(&[4, 5, 6], 2), 0.5);
        // 1-2 twice, 2-1 never.
        close(overlap(&[1, 2, 1, 2], 2), 2.0 / 3.0);
        close(overlap(&[2, 3, 4, 5], 3), 0.5);
        assert!(overlap(&[1], 2).is_nan());
        assert!(overlap(&[1], 0).is_nan());
    }
}
