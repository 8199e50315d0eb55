//! What must hold of every reader of outside bytes, whatever the bytes: no panic, no memory beyond what they need, and what was
//! read survives writing. One function a reader, which says whether there was something to read; `tests/malformed.rs` and the fuzz
//! targets call them.

use harness::corpus::score::Score;
use harness::corpus::{mat, midi, musicxml};
use harness::experiment::Experiment;
use harness::run::Table;

/// A Standard MIDI File.
pub fn midi(bytes: &[u8]) -> bool {
    let Some(score) = midi::read(bytes).score else {
        return false;
    };
    survives_writing(&score);
    true
}

/// A score whose notes are those of its file, but for notes without a duration.
fn survives_writing(score: &Score) {
    let written = midi::write(score);
    let again = midi::read(&written.bytes).score;
    let again = again.expect("what is written can be read");
    assert_eq!(again, written.score, "the file is not what it says");
    let mut notes = score.notes();
    let before = notes.len();
    notes.retain(|note| note.duration > 0);
    assert_eq!(again.notes(), notes, "the notes changed");
    assert_eq!(before - notes.len(), written.without_duration);
}

/// A MATLAB file of piano rolls.
pub fn mat(bytes: &[u8]) -> bool {
    let Ok(rolls) = mat::read(bytes) else {
        return false;
    };
    let steps: usize = rolls.iter().map(|roll| roll.steps.len()).sum();
    assert!(steps <= mat::MOST_INFLATED, "more steps than bytes");
    true
}

/// MusicXML, plain or packed.
pub fn musicxml(bytes: &[u8]) -> bool {
    let Some(score) = musicxml::read(bytes).score else {
        return false;
    };
    survives_writing(&score);
    true
}

/// An experiment.
pub fn experiment(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let Ok(experiment) = Experiment::parse(&text, &[]) else {
        return false;
    };
    let resolved = experiment.to_yaml();
    let again = Experiment::parse(&resolved, &[]).expect("what is written can be read");
    assert_eq!(again.to_yaml(), resolved, "the experiment changed");
    true
}

/// A table of a run.
pub fn parquet(bytes: &[u8]) -> bool {
    let Ok(table) = Table::from_parquet(bytes) else {
        return false;
    };
    let written = table.to_parquet().expect("a table can be written");
    assert!(written == bytes, "the table changed");
    true
}
