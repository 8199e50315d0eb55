//! A score: the note messages of one piece, track by track, in ticks.
//!
//! Every reader (MIDI, piano roll, MusicXML, the built-in composer) ends here, and every encoding starts here.

/// A duration or position in ticks; how many make a beat is the score's to say.
pub type Ticks = u32;

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

/// The note messages of one piece.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Score {
    /// Ticks in a beat (a quarter note), at least 1.
    pub ticks_per_beat: u16,
    /// The tracks in file order; tracks without a note message are kept, empty.
    pub tracks: Vec<Vec<NoteMessage>>,
    /// Where the piece ends, in ticks: at or after its last message. Trailing silence counts.
    pub duration: u64,
}
