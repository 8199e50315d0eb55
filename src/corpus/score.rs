//! A score: the note messages of one piece, track by track, in ticks.
//!
//! Every reader (MIDI, piano roll, MusicXML, the built-in composer) ends here, and every encoding starts here.
//!
//! A chord is a set of sounding pitches, a `u128` whose bit p stands for MIDI pitch p; 0 is silence.

/// A duration or position in ticks. Each score has its own number of ticks per beat.
pub type Ticks = u32;

/// The default number of steps per beat in a piano roll: sixteenth notes. Chosen by this project.
pub const STEPS_PER_BEAT: u32 = 4;

/// The ticks of one step of a piano roll that becomes a score; with [`STEPS_PER_BEAT`], 480 ticks make a beat.
pub const TICKS_PER_STEP: Ticks = 120;

/// The keys of a piano.
pub const KEYS: usize = 88;

/// The MIDI pitch of a piano's lowest key; that of its highest is 108.
pub const LOWEST_KEY: u8 = 21;

/// All keys of a piano, as a chord.
pub const PIANO: u128 = ((1 << KEYS) - 1) << LOWEST_KEY;

/// The tempo at which scores are written, drawn and played. They have none of their own.
pub const BEATS_PER_MINUTE: f64 = 120.0;

/// Whether a message starts or ends a note. A note-on of velocity 0 is an `Off`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NoteKind {
    /// The note starts to sound.
    On,
    /// The note ends.
    Off,
}

/// One note message, and the time since the note message before it in the same track.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NoteMessage {
    /// Ticks since the track's previous note message (since its beginning, for the first).
    pub delta: Ticks,
    /// On or off.
    pub kind: NoteKind,
    /// MIDI pitch, 0 to 127; 60 is middle C.
    pub pitch: u8,
}

/// One note: a key held for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Note {
    /// When it starts, in ticks from the beginning of the piece.
    pub onset: u64,
    /// MIDI pitch, 0 to 127.
    pub pitch: u8,
    /// The track it belongs to.
    pub track: usize,
    /// How long it sounds, in ticks.
    pub duration: u64,
}

/// The note messages of one piece.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Score {
    /// Ticks in a beat (a quarter note), 1 to 32,767.
    pub ticks_per_beat: u16,
    /// The tracks in file order; tracks without a note message are kept, empty.
    pub tracks: Vec<Vec<NoteMessage>>,
    /// Where the piece ends, in ticks: at or after its last message. Trailing silence counts.
    pub duration: u64,
}

impl Score {
    /// A score of one track that holds each pitch as long as successive chords contain it.
    ///
    /// Silence at the end counts: the score lasts `chords.len() * ticks_per_step`.
    /// [`Score::chords`] with `ticks_per_beat / ticks_per_step` steps a beat gives the same chords back.
    pub fn from_chords(chords: &[u128], ticks_per_step: Ticks, ticks_per_beat: u16) -> Score {
        let mut track = Vec::new();
        let (mut sounding, mut last) = (0u128, 0usize);
        for (step, &chord) in chords.iter().chain(&[0]).enumerate() {
            let mut push = |kind, pitches| {
                for pitch in pitches_of(pitches) {
                    let delta = Ticks::try_from(step - last)
                        .unwrap_or(Ticks::MAX)
                        .saturating_mul(ticks_per_step);
                    track.push(NoteMessage { delta, kind, pitch });
                    last = step;
                }
            };
            push(NoteKind::Off, sounding & !chord);
            push(NoteKind::On, chord & !sounding);
            sounding = chord;
        }
        Score {
            ticks_per_beat,
            tracks: vec![track],
            duration: chords.len() as u64 * u64::from(ticks_per_step),
        }
    }

    /// The chords on a grid of `steps_per_beat` steps a beat: what sounds in each step, all tracks together.
    ///
    /// Onsets and ends go to the nearest grid line, and every note sounds for at least one step.
    /// Memory is 32 bytes a step; the readers limit a piece's length (see [`crate::corpus::midi::MAX_BEATS`]).
    pub fn chords(&self, steps_per_beat: u32) -> Vec<u128> {
        let (beat, steps) = (
            u64::from(self.ticks_per_beat.max(1)),
            u64::from(steps_per_beat),
        );
        let nearest = |tick: u64| ((tick * steps + beat / 2) / beat) as usize;
        // One row of bits a pitch, so that a long note takes few operations, however many there are.
        let words = nearest(self.end()) / 64 + 1;
        let mut rows = vec![0u64; 128 * words];
        let mut length = nearest(self.duration);
        self.each_note(|note| {
            let start = nearest(note.onset);
            let end = nearest(note.onset + note.duration).max(start + 1);
            length = length.max(end);
            let row = &mut rows[usize::from(note.pitch & 127) * words..][..words];
            set_bits(row, start, end);
        });
        let mut chords = vec![0; length];
        for (pitch, row) in rows.chunks_exact(words).enumerate() {
            for (word, &bits) in row.iter().enumerate() {
                let mut rest = bits;
                while rest != 0 {
                    chords[word * 64 + rest.trailing_zeros() as usize] |= 1 << pitch;
                    rest &= rest - 1;
                }
            }
        }
        chords
    }

    /// The end of the piece in ticks: its duration, or its last message if that comes later.
    fn end(&self) -> u64 {
        let length = |track: &Vec<NoteMessage>| track.iter().map(|it| u64::from(it.delta)).sum();
        self.tracks.iter().map(length).fold(self.duration, u64::max)
    }

    /// The notes, by onset, then pitch, then track.
    pub fn notes(&self) -> Vec<Note> {
        let mut notes = Vec::with_capacity(self.note_ons());
        self.each_note(|note| notes.push(note));
        notes.sort_unstable();
        notes
    }

    /// Visits every note, track by track, in the order in which the notes end.
    ///
    /// A pitch of a track is one key: an `On` while it sounds ends the note and starts another, an `Off` ends it, an
    /// `Off` of a silent key and a second `On` at the same tick do nothing, and what still sounds at the end of the piece ends there.
    pub fn each_note(&self, mut visit: impl FnMut(Note)) {
        const SILENT: u64 = u64::MAX;
        for (track, messages) in self.tracks.iter().enumerate() {
            let mut onsets = [SILENT; 128];
            let mut now = 0;
            for message in messages {
                now += u64::from(message.delta);
                let onset = &mut onsets[usize::from(message.pitch & 127)];
                if *onset != SILENT && !(message.kind == NoteKind::On && *onset == now) {
                    visit(Note {
                        onset: *onset,
                        pitch: message.pitch,
                        track,
                        duration: now - *onset,
                    });
                }
                *onset = if message.kind == NoteKind::On {
                    now
                } else {
                    SILENT
                };
            }
            let end = self.duration.max(now);
            for (pitch, &onset) in onsets.iter().enumerate() {
                if onset != SILENT {
                    visit(Note {
                        onset,
                        pitch: pitch as u8,
                        track,
                        duration: end - onset,
                    });
                }
            }
        }
    }

    /// How many note messages the score has, on and off.
    pub fn messages(&self) -> usize {
        self.tracks.iter().map(Vec::len).sum()
    }

    /// How many messages start a note.
    pub fn note_ons(&self) -> usize {
        self.tracks
            .iter()
            .flatten()
            .filter(|message| message.kind == NoteKind::On)
            .count()
    }
}

/// Sets the bits from `start` up to and without `end`, of which there is at least one.
fn set_bits(row: &mut [u64], start: usize, end: usize) {
    let (first, last) = (start / 64, (end - 1) / 64);
    let (from, to) = (!0 << (start % 64), !0 >> (63 - (end - 1) % 64));
    if first == last {
        row[first] |= from & to;
    } else {
        row[first] |= from;
        row[first + 1..last].fill(!0);
        row[last] |= to;
    }
}

/// The pitches of a chord, ascending.
pub fn pitches_of(mut chord: u128) -> impl Iterator<Item = u8> {
    std::iter::from_fn(move || {
        let pitch = (chord != 0).then(|| chord.trailing_zeros() as u8);
        chord &= chord.wrapping_sub(1);
        pitch
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn chord(pitches: &[u8]) -> u128 {
        pitches.iter().fold(0, |chord, pitch| chord | 1 << pitch)
    }

    fn on(delta: Ticks, pitch: u8) -> NoteMessage {
        NoteMessage {
            delta,
            kind: NoteKind::On,
            pitch,
        }
    }

    fn off(delta: Ticks, pitch: u8) -> NoteMessage {
        NoteMessage {
            delta,
            kind: NoteKind::Off,
            pitch,
        }
    }

    #[test]
    fn a_held_pitch_is_one_long_note() {
        let steps = [chord(&[60, 64]), chord(&[60, 67]), 0, chord(&[60]), 0, 0];
        let score = Score::from_chords(&steps, 120, 480);
        assert_eq!(
            score.tracks,
            [vec![
                on(0, 60),
                on(0, 64),
                off(120, 64),
                on(0, 67),
                off(120, 60),
                off(0, 67),
                on(120, 60),
                off(120, 60)
            ]]
        );
        assert_eq!(score.duration, 720);
        assert_eq!(score.chords(4), steps);
    }

    #[test]
    fn a_key_struck_again_ends_the_note_before() {
        let track = vec![
            on(0, 60),
            on(0, 60),
            on(10, 60),
            off(5, 60),
            off(1, 60),
            on(4, 62),
        ];
        let score = Score {
            ticks_per_beat: 10,
            tracks: vec![track],
            duration: 30,
        };
        let note = |onset, pitch, duration| Note {
            onset,
            pitch,
            track: 0,
            duration,
        };
        assert_eq!(
            score.notes(),
            [note(0, 60, 10), note(10, 60, 5), note(20, 62, 10)]
        );
        assert_eq!((score.messages(), score.note_ons()), (6, 4));
    }

    #[test]
    fn notes_go_to_the_nearest_grid_line_and_sound_at_least_one_step() {
        let track = vec![on(3, 60), off(1, 60), on(56, 62), off(62, 62)];
        let score = Score {
            ticks_per_beat: 120,
            tracks: vec![track],
            duration: 130,
        };
        assert_eq!(score.chords(2), [chord(&[60]), chord(&[62])]);
    }

    #[test]
    fn long_notes_and_notes_at_the_very_end_are_on_the_grid() {
        let track = vec![on(1, 60), off(200, 60), on(0, 62)];
        let score = Score {
            ticks_per_beat: 1,
            tracks: vec![track],
            duration: 201,
        };
        let chords = score.chords(1);
        assert_eq!(
            (chords.len(), chords[0], chords[201]),
            (202, 0, chord(&[62]))
        );
        assert!(chords[1..201].iter().all(|&it| it == chord(&[60])));
        // A score whose duration is too short is read to its last message.
        assert_eq!(
            Score {
                duration: 0,
                ..score
            }
            .chords(1),
            chords
        );
    }

    #[test]
    fn an_empty_score_has_no_chords() {
        assert_eq!(Score::from_chords(&[], 120, 480).chords(4), [0u128; 0]);
        assert_eq!(Score::from_chords(&[0, 0], 120, 480).chords(4), [0, 0]);
    }

    proptest! {
        #[test]
        fn chords_come_back_from_a_score(steps in prop::collection::vec(any::<u128>(), 0..40), per_beat in 1u16..9) {
            let score = Score::from_chords(&steps, 30, 30 * per_beat);
            prop_assert_eq!(score.chords(u32::from(per_beat)), steps);
        }
    }
}
