//! Whole reports, of made-up runs.

use std::collections::BTreeMap;

use super::*;
use crate::report::fixture::{Options, make_run};

fn places(folder: &Path) -> Places {
    Places {
        runs: folder.join("runs"),
        experiments: folder.join("experiments"),
        records: folder.join("reports/records"),
        output: folder.join("reports"),
    }
}

fn store(places: &Places) -> Store {
    Store::new(&places.runs, &places.records)
}

fn bytes_of(places: &Places) -> BTreeMap<String, Vec<u8>> {
    let manifest = Manifest::read(&places.output).unwrap();
    let read = |path: &String| fs::read(places.output.join(path)).unwrap();
    manifest
        .files
        .keys()
        .map(|path| (path.clone(), read(path)))
        .collect()
}

#[test]
fn building_twice_gives_the_same_bytes_and_the_check_names_what_is_stale() {
    let folder = tempfile::tempdir().unwrap();
    let places = places(folder.path());
    make_run(&store(&places), "first", Options::default());
    make_run(
        &store(&places),
        "second",
        Options {
            chords: true,
            ..Options::default()
        },
    );
    let written = write(&places, false).unwrap();
    assert_eq!((written.experiments, written.records), (2, 2));
    let before = bytes_of(&places);
    fs::remove_dir_all(&places.output).unwrap();
    write(&places, false).unwrap();
    assert_eq!(before, bytes_of(&places));
    assert_eq!(check(&places).unwrap(), [] as [&str; 0]);
    fs::write(places.output.join("first/README.md"), "other").unwrap();
    fs::remove_file(
        places
            .output
            .join("second/figures/tsne-one-note-chords.png"),
    )
    .unwrap();
    assert_eq!(
        check(&places).unwrap(),
        [
            "first/README.md differs",
            "second/figures/tsne-one-note-chords.png is absent"
        ]
    );
    // A later run is not part of what the manifest lists, so it does not make the report stale.
    write(&places, false).unwrap();
    make_run(&store(&places), "third", Options::default());
    assert_eq!(check(&places).unwrap(), [] as [&str; 0]);
    fs::remove_dir_all(places.runs.join("first")).unwrap();
    assert!(
        check(&places)
            .unwrap()
            .iter()
            .any(|line| line.starts_with("record first/") && line.ends_with("is absent"))
    );
}

#[test]
fn published_reports_use_published_records_alone() {
    let folder = tempfile::tempdir().unwrap();
    let places = places(folder.path());
    let run = make_run(&store(&places), "first", Options::default());
    make_run(&store(&places), "second", Options::default());
    let id = run.file_name().unwrap().to_str().unwrap().to_owned();
    publish(&places, &[id]).unwrap();
    let written = write(&places, true).unwrap();
    assert_eq!((written.experiments, written.records), (1, 1));
    let page = fs::read_to_string(places.output.join("first/index.html")).unwrap();
    assert!(
        !page.contains("Real excerpt"),
        "a real excerpt of an unknown corpus is published"
    );
    assert_eq!(check(&places).unwrap(), [] as [&str; 0]);
    // Without the local runs the published form is the same.
    let before = bytes_of(&places);
    fs::remove_dir_all(&places.runs).unwrap();
    write(&places, true).unwrap();
    assert_eq!(before, bytes_of(&places));
}

#[test]
fn missing_and_broken_runs_are_listed() {
    let folder = tempfile::tempdir().unwrap();
    let places = places(folder.path());
    fs::create_dir_all(&places.experiments).unwrap();
    let file = "title: Never run\nclaims:\n- {id: a, says: words, place: Data, value: 5, metric: corpus.tokens}\n";
    fs::write(places.experiments.join("never.yaml"), file).unwrap();
    fs::write(places.experiments.join("no_yaml.yaml"), "title: [").unwrap();
    let file = "title: Odd\nclaims:\n- {id: a, claims: words}\n";
    fs::write(places.experiments.join("odd.yaml"), file).unwrap();
    let run = make_run(&store(&places), "broken", Options::default());
    fs::write(run.join("tsne.parquet"), "not a table").unwrap();
    make_run(
        &store(&places),
        "died",
        Options {
            unfinished: true,
            ..Options::default()
        },
    );
    let lost = make_run(&store(&places), "lost", Options::default());
    fs::write(lost.join("record.json"), "{").unwrap();
    let written = write(&places, false).unwrap();
    assert_eq!(written.broken.len(), 3);
    let read = |path: &str| fs::read_to_string(places.output.join(path)).unwrap();
    assert!(read("index.html").contains("Could not be read"));
    assert!(read("index.html").contains("experiments/no_yaml.yaml"));
    assert!(read("index.html").contains("its claims cannot be read"));
    assert!(read("broken/index.html").contains("tsne.parquet cannot be read"));
    assert!(!places.output.join("died").exists());
    assert!(
        read("index.html").contains("Runs without a page") && read("README.md").contains("| died/")
    );
    let row = "| words | Data | 5 | – | the same | not run (no finished run) |";
    assert!(read("README.md").contains(row), "{}", read("README.md"));
}

/// The objects of `verdicts.json` of one experiment.
fn verdicts_of(places: &Places, experiment: &str) -> Vec<serde_json::Value> {
    let bytes = fs::read(places.output.join("verdicts.json")).unwrap();
    let all: Vec<serde_json::Value> = serde_json::from_slice(&bytes).unwrap();
    let of_experiment = all.into_iter().filter(|it| it["experiment"] == experiment);
    of_experiment.collect()
}

#[test]
fn smoke_and_synthetic_runs_never_fill_the_table() {
    let folder = tempfile::tempdir().unwrap();
    let places = places(folder.path());
    make_run(
        &store(&places),
        "smoke",
        Options {
            smoke: true,
            ..Options::default()
        },
    );
    make_run(
        &store(&places),
        "made",
        Options {
            synthetic: true,
            ..Options::default()
        },
    );
    make_run(&store(&places), "real", Options::default());
    write(&places, false).unwrap();
    let tally = |name: &str| {
        let claims = verdicts_of(&places, name);
        let of = |verdict: &str| claims.iter().filter(|it| it["verdict"] == verdict).count();
        (of("reproduced"), of("not run"), of("not comparable"))
    };
    assert_eq!(tally("smoke"), (0, 5, 1));
    assert_eq!(tally("made"), (0, 0, 6));
    assert_eq!(tally("real"), (3, 1, 1));
}

#[test]
fn a_finding_stands_in_verdicts_json_with_its_strength_and_spaces() {
    let folder = tempfile::tempdir().unwrap();
    let places = places(folder.path());
    make_run(&store(&places), "first", Options::default());
    write(&places, false).unwrap();
    let claims = verdicts_of(&places, "first");
    let finding = claims.iter().find(|it| it["kind"] == "finding").unwrap();
    assert_eq!(finding["claim"], "clusters");
    assert_eq!(finding["verdict"], "reproduced");
    assert_eq!(finding["strength"], "provisional");
    assert_eq!(finding["seeds"], 1);
    assert_eq!(finding["epochs_share"], 1.0);
    for space in ["embedding", "map"] {
        let found = &finding["spaces"][space];
        let number = |name: &str| found[name].as_f64().unwrap();
        let lift = (number("purity") - number("chance")) / (1.0 - number("chance"));
        assert!(
            (number("lift") - lift).abs() < 1e-12 && lift > 0.5,
            "{found}"
        );
        // 9,999 shuffles give 0.0001 at least, and two tests are read together.
        assert_eq!(number("p_holm"), 0.0002);
    }
}

#[test]
fn no_path_leaves_the_report() {
    assert!(is_ours("a/figures/b.svg") && is_ours("index.html"));
    assert!(
        !is_ours("../a")
            && !is_ours("a/../b")
            && !is_ours("records/a")
            && !is_ours("/a")
            && !is_ours("")
    );
}

#[test]
fn seeds_are_averaged_and_ablations_stand_apart() {
    let folder = tempfile::tempdir().unwrap();
    let places = places(folder.path());
    for seed in [2, 1] {
        let of_seed = Options {
            seed,
            ..Options::default()
        };
        make_run(&store(&places), "first", of_seed);
    }
    let variant = Options {
        ablation: true,
        ..Options::default()
    };
    make_run(&store(&places), "variant", variant);
    write(&places, false).unwrap();
    let read = |path: &str| fs::read_to_string(places.output.join(path)).unwrap();
    // The best held-out losses are 0.01 apart, so the half width is 12.706 · 0.005.
    let results = read("first/README.md");
    assert!(
        results.contains("± 0.064; seed 1: 4.886 (epoch 14); seed 2: 4.896 (epoch 14)"),
        "{results}"
    );
    let verdicts = read("README.md");
    assert!(
        verdicts.contains("| reproduced | provisional (2 training seeds; "),
        "{verdicts}"
    );
    assert!(read("first/index.html").contains("in the means; shown in figures"));
    assert!(read("first/figures/loss-curve.csv").contains("\n2,valid,30,"));
    let (paper, ablations) = verdicts.split_once("## Ablations").unwrap();
    assert!(
        ablations.contains("| first | training.learning_rate: 0.002 → 0.1 |"),
        "{ablations}"
    );
    assert!(!paper.contains("variant"));
}
