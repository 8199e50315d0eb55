//! What must hold of every reader of outside bytes, whatever the bytes: no panic, no memory beyond what they need, and what was
//! read survives writing. One function a reader; `tests/malformed.rs` and the fuzz targets call them.

use harness::corpus::{mat, midi, musicxml};
use harness::experiment::Experiment;
use harness::run::Table;

/// A Standard MIDI File.
pub fn midi(bytes: &[u8]) {
    let Some(score) = midi::read(bytes).score else {
        return;
    };
    let again = midi::read(&midi::write(&score))
        .score
        .expect("what is written can be read");
    assert_eq!(
        again.notes(),
        score.notes(),
        "the notes changed on the way through a file"
    );
    assert!(
        score.tracks.is_empty() || again == score,
        "the score changed on the way through a file"
    );
}

/// A MATLAB file of piano rolls.
pub fn mat(bytes: &[u8]) {
    if let Ok(rolls) = mat::read(bytes) {
        let steps: usize = rolls.iter().map(|roll| roll.steps.len()).sum();
        assert!(steps <= mat::MOST_INFLATED);
    }
}

/// MusicXML, plain or packed.
pub fn musicxml(bytes: &[u8]) {
    let Some(score) = musicxml::read(bytes).score else {
        return;
    };
    let again = midi::read(&midi::write(&score))
        .score
        .expect("what is written can be read");
    assert_eq!(
        again.notes(),
        score.notes(),
        "the notes changed on the way through a file"
    );
}

/// An experiment.
pub fn experiment(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Ok(experiment) = Experiment::parse(text, &[]) {
        let resolved = experiment.to_yaml();
        let again = Experiment::parse(&resolved, &[]).expect("what is written can be read");
        assert_eq!(
            again.to_yaml(),
            resolved,
            "an experiment changed on the way through YAML"
        );
    }
}

/// A table of a run. (A coverage-guided fuzzer reads the checksum that is expected off the comparison, and so gets past it.)
pub fn parquet(bytes: &[u8]) {
    if let Ok(table) = Table::from_parquet(bytes) {
        let written = table
            .to_parquet()
            .expect("a table that was read can be written");
        let again = Table::from_parquet(&written).expect("what is written can be read");
        assert_eq!(again.column_names(), table.column_names());
        assert_eq!(again.height(), table.height());
    }
}
