//! Every file in `experiments/` is read, and says of every value whether the paper gave it or why it was chosen.

use std::path::{Path, PathBuf};

use harness::experiment::{Experiment, covers};
use harness::run::{explains, flat_settings};
use walkdir::WalkDir;

fn experiment_files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments");
    let mut files: Vec<PathBuf> = WalkDir::new(folder)
        .into_iter()
        .map(|entry| entry.expect("the folder can be listed").into_path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "yaml")
        })
        .collect();
    files.sort();
    files
}

#[test]
fn every_experiment_is_read_as_it_stands_and_as_it_resolves() {
    let files = experiment_files();
    assert!(files.len() >= 7, "{files:?}");
    for path in files {
        let experiment = Experiment::load(&path, &[]).unwrap_or_else(|error| panic!("{error:#}"));
        let resolved = Experiment::parse(&experiment.to_yaml(), &[])
            .unwrap_or_else(|error| panic!("{error:#}"));
        assert_eq!(resolved, experiment, "{}", path.display());
    }
}

#[test]
fn every_value_is_the_papers_or_chosen_for_a_reason() {
    for path in experiment_files() {
        let experiment = Experiment::load(&path, &[]).unwrap();
        let explained: Vec<&String> = experiment
            .paper
            .keys()
            .chain(experiment.chosen.keys())
            .collect();
        let settings = flat_settings(&experiment.to_yaml()).unwrap();
        let settings = settings.keys().filter(|key| !explains(key));
        for key in settings.filter(|key| !covers("tolerances", key)) {
            assert!(
                explained.iter().any(|explained| covers(explained, key)),
                "{}: neither `paper` nor `chosen` says where {key} is from",
                path.display()
            );
        }
    }
}

#[test]
fn the_papers_hyperparameters_are_the_papers() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments");
    let table = [
        ("bach_midi", "bach", 50, 50, 50),
        ("classical_midi", "classical_truncated", 15, 25, 25),
        ("muse_piano_roll", "muse", 800, 50, 50),
        ("muse_truncated", "muse", 100, 50, 50),
    ];
    for (name, corpus, epochs, batch_size, sequence_length) in table {
        let experiment = Experiment::load(&folder.join(format!("{name}.yaml")), &[]).unwrap();
        let (model, training) = (&experiment.model, &experiment.training);
        assert_eq!(experiment.corpus, corpus);
        assert_eq!(
            (model.hidden, model.embedding, model.layers),
            (128, 128, 2),
            "{name}"
        );
        let found = (
            training.epochs,
            training.batch_size,
            training.sequence_length,
        );
        assert_eq!(found, (epochs, batch_size, sequence_length), "{name}");
    }
}
