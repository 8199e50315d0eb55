//! Whole exports, of made-up runs.

use std::path::PathBuf;

use serde_json::json;

use super::file_kind::is_input;
use super::*;
use crate::report::fixture::{Options, make_run};
use crate::run::Problem;

fn store(folder: &Path) -> Store {
    Store::new(folder.join("runs"), folder.join("reports/records"))
}

fn json_of(path: PathBuf) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// The entity `id` of the crate in `folder`.
fn entity(folder: &Path, id: &str) -> Value {
    let crate_ = json_of(folder.join("ro-crate-metadata.json"));
    let graph = crate_["@graph"].as_array().unwrap();
    let found = graph.iter().find(|it| it["@id"] == id);
    found.unwrap_or_else(|| panic!("no entity {id}")).clone()
}

fn exported(options: Options, folder: &Path) -> (PathBuf, Exported) {
    let run = make_run(&store(folder), "first", options);
    let target = folder.join("export");
    let exported = export_run(StoredRun::open(&run, false).unwrap(), &target).unwrap();
    (target, exported)
}

fn damage(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_crate_says_what_was_run_on_what_and_what_came_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let (target, _) = exported(Options::default(), folder.path());
    let run = store(folder.path()).find("first@1").unwrap();

    let root = entity(&target, "./");
    assert_eq!(
        root["conformsTo"]["@id"],
        "https://w3id.org/ro/wfrun/process/0.5"
    );
    let action = entity(&target, root["mentions"]["@id"].as_str().unwrap());
    assert_eq!(action["@type"], "CreateAction");
    assert_eq!(
        action["actionStatus"],
        "http://schema.org/CompletedActionStatus"
    );
    let ended = run.record.ended.as_ref().unwrap().replace('Z', "+00:00");
    assert_eq!(action["endTime"], json!(ended));
    assert!(
        action["description"]
            .as_str()
            .unwrap()
            .contains("harness run 'experiments/invented file.yaml'")
    );

    let software = entity(&target, action["instrument"]["@id"].as_str().unwrap());
    assert_eq!(
        software["softwareVersion"],
        json!(run.record.execution.code.summary())
    );
    let inputs = action["object"].as_array().unwrap();
    assert!(inputs.contains(&json!({ "@id": "experiment.yaml" })));
    let corpus = inputs
        .iter()
        .find(|it| it["@id"].as_str().unwrap().starts_with("#corpus-"));
    let corpus = entity(&target, corpus.unwrap()["@id"].as_str().unwrap());
    let fingerprint = entity(&target, corpus["identifier"]["@id"].as_str().unwrap());
    assert_eq!(fingerprint["value"], json!("c0ffee".repeat(10)));

    let outputs = action["result"].as_array().unwrap();
    for file in &run.record.files {
        let is_left_out = !target.join(&file.path).is_file();
        let id = match is_left_out {
            true => format!("#{}", file.path),
            false => file.path.clone(),
        };
        assert_eq!(entity(&target, &id)["sha256"], json!(file.sha256), "{id}");
        let listed = if is_input(&file.path) {
            inputs
        } else {
            outputs
        };
        assert!(listed.contains(&json!({ "@id": id })), "{id}");
    }
    assert!(
        !outputs.contains(&json!({ "@id": "croissant.json" })),
        "the export is no work of the run"
    );
}

#[test]
fn a_croissant_describes_every_column_of_every_table() {
    let folder = tempfile::tempdir().unwrap();
    let (target, _) = exported(Options::default(), folder.path());
    let croissant = json_of(target.join("croissant.json"));
    let sets = croissant["recordSet"].as_array().unwrap();
    let mut tables: Vec<String> = fs::read_dir(&target)
        .unwrap()
        .map(|it| it.unwrap().file_name().to_string_lossy().into_owned())
        .filter_map(|name| Some(name.strip_suffix(".parquet")?.to_owned()))
        .collect();
    tables.sort();
    let mut described: Vec<&str> = sets.iter().map(|it| it["@id"].as_str().unwrap()).collect();
    described.sort_unstable();
    assert_eq!(described, tables);
    for set in sets {
        for field in set["field"].as_array().unwrap() {
            assert!(
                !field["description"].as_str().unwrap().is_empty(),
                "{field}"
            );
        }
    }
    let metrics = sets.iter().find(|it| it["@id"] == "metrics").unwrap();
    let fields = metrics["field"].as_array().unwrap();
    let kinds: Vec<(&str, &str)> = fields
        .iter()
        .map(|it| {
            (
                it["@id"].as_str().unwrap(),
                it["dataType"].as_str().unwrap(),
            )
        })
        .collect();
    let expected = [
        ("metrics/step", "sc:Integer"),
        ("metrics/epoch", "sc:Integer"),
        ("metrics/split", "sc:Text"),
        ("metrics/metric", "sc:Text"),
        ("metrics/value", "sc:Float"),
    ];
    assert_eq!(kinds, expected);
}

#[test]
fn music_of_a_corpus_stays_behind_and_synthetic_music_does_not() {
    for synthetic in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let options = Options {
            synthetic,
            ..Options::default()
        };
        let (target, exported) = exported(options, folder.path());
        let excerpts = ["samples.json", "samples/excerpt.mid"];
        for file in excerpts {
            assert_eq!(target.join(file).exists(), synthetic, "{file}");
            let is_named = exported
                .left_out
                .iter()
                .any(|(left_out, _)| left_out == file);
            assert_eq!(is_named, !synthetic, "{file}");
        }
        let samples = fs::read_dir(target.join("samples")).unwrap().count();
        assert!(
            samples > usize::from(synthetic),
            "the model's own samples are exported"
        );
    }
}

#[test]
fn the_same_run_gives_the_same_bytes_and_an_old_folder_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (target, exported) = exported(Options::default(), folder.path());
    let again = folder.path().join("again");
    let run = || store(folder.path()).find("first@1").unwrap();
    assert_eq!(export_run(run(), &again).unwrap(), exported);
    let paths = crate::run::files_below(&target).unwrap();
    assert_eq!(paths, crate::run::files_below(&again).unwrap());
    for path in paths {
        assert_eq!(
            fs::read(target.join(&path)).unwrap(),
            fs::read(again.join(&path)).unwrap(),
            "{path}"
        );
    }
    let refused = export_run(run(), &again).unwrap_err().to_string();
    assert!(refused.contains("is not empty"), "{refused}");
}

#[test]
fn the_check_notices_a_changed_byte_in_every_file() {
    let folder = tempfile::tempdir().unwrap();
    let (target, exported) = exported(Options::default(), folder.path());
    let whole = check(&target).unwrap();
    assert_eq!((whole.problems, whole.intact), (vec![], exported.files - 1));
    assert!(
        whole.stated > exported.files,
        "crate and Croissant both state checksums"
    );
    for path in crate::run::files_below(&target).unwrap() {
        let bytes = fs::read(target.join(&path)).unwrap();
        damage(&target.join(&path));
        assert!(!check(&target).unwrap().problems.is_empty(), "{path}");
        fs::remove_file(target.join(&path)).unwrap();
        match check(&target) {
            Ok(checked) => assert!(!checked.problems.is_empty(), "{path}"),
            Err(error) => assert!(path == SUMS, "{error:#}"),
        }
        fs::write(target.join(&path), bytes).unwrap();
    }
    fs::write(target.join("note.txt"), "mine").unwrap();
    let checked = check(&target).unwrap();
    assert_eq!(
        (checked.problems, checked.unknown),
        (vec![], vec!["note.txt".to_owned()])
    );
}

#[test]
fn the_check_compares_what_crate_and_croissant_state_though_the_sums_agree() {
    let folder = tempfile::tempdir().unwrap();
    let (target, _) = exported(Options::default(), folder.path());
    damage(&target.join("metrics.parquet"));
    let mut files = Files::new();
    for path in crate::run::files_below(&target).unwrap() {
        let bytes = fs::read(target.join(&path)).unwrap();
        files.insert(path, bytes);
    }
    files.remove(SUMS);
    seal(&mut files);
    fs::write(target.join(SUMS), &files[SUMS]).unwrap();
    let problem = |file: &str| Problem {
        file: file.into(),
        what: "it states another checksum of metrics.parquet".into(),
    };
    assert_eq!(
        check(&target).unwrap().problems,
        [problem("croissant.json"), problem("ro-crate-metadata.json")]
    );
}

#[test]
fn an_unfinished_run_is_exported_as_one_that_failed_with_the_rows_that_it_has() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options {
        unfinished: true,
        ..Options::default()
    };
    let (target, _) = exported(options, folder.path());
    let root = entity(&target, "./");
    let action = entity(&target, root["mentions"]["@id"].as_str().unwrap());
    assert_eq!(
        action["actionStatus"],
        "http://schema.org/FailedActionStatus"
    );
    assert!(action["error"].as_str().unwrap().starts_with("died: "));
    let run = store(folder.path()).find("first@1").unwrap();
    let table = crate::run::Table::from_parquet(&fs::read(target.join("metrics.parquet")).unwrap())
        .unwrap();
    assert_eq!(table.height(), run.metrics().unwrap().table().height());
    assert!(table.height() > 0 && !target.join("metrics").exists());
    assert_eq!(check(&target).unwrap().problems, []);
}

#[test]
fn a_damaged_run_is_not_exported() {
    let folder = tempfile::tempdir().unwrap();
    let run = make_run(&store(folder.path()), "first", Options::default());
    damage(&run.join("statistics.json"));
    let target = folder.path().join("export");
    let error = export_run(StoredRun::open(&run, false).unwrap(), &target).unwrap_err();
    assert!(
        matches!(error.downcast_ref(), Some(RunError::Corrupt { .. })),
        "{error:#}"
    );
    assert!(!target.exists());
}

#[test]
fn all_published_records_make_one_crate_of_crates() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let target = folder.path().join("export");
    assert!(
        export_published(&store, &target).is_err(),
        "there is no record"
    );
    for experiment in ["first", "second"] {
        let run = make_run(&store, experiment, Options::default());
        StoredRun::open(&run, false)
            .unwrap()
            .publish(store.records())
            .unwrap();
    }
    make_run(&store, "third", Options::default());
    assert_eq!(export_published(&store, &target).unwrap().runs, 2);
    assert_eq!(check(&target).unwrap().problems, []);

    let names: Vec<String> = store
        .list_published()
        .unwrap()
        .iter()
        .map(|it| format!("{}/{}/", it.experiment, it.id))
        .collect();
    let actions = entity(&target, "./")["mentions"]
        .as_array()
        .unwrap()
        .clone();
    let results: Vec<Value> = actions
        .iter()
        .map(|it| entity(&target, it["@id"].as_str().unwrap())["result"]["@id"].clone())
        .collect();
    assert_eq!(json!(results), json!(names));
    let tables = json_of(target.join("croissant.json"))["distribution"]
        .as_array()
        .unwrap()
        .clone();
    let tables: Vec<&Value> = tables.iter().map(|it| &it["contentUrl"]).collect();
    assert_eq!(
        json!(tables),
        json!(
            names
                .iter()
                .map(|it| format!("{it}metrics.parquet"))
                .collect::<Vec<_>>()
        )
    );
    for entry in catalogue::all() {
        let corpus = json_of(target.join(format!("corpora/{}.croissant.json", entry.name)));
        assert_eq!(corpus["license"], json!(entry.licence));
    }

    damage(&target.join(&names[1]).join("metrics.parquet"));
    let damaged: Vec<String> = check(&target)
        .unwrap()
        .problems
        .into_iter()
        .map(|it| it.file)
        .collect();
    let nested = |file: &str| format!("{}{file}", names[1]);
    let expected = [
        nested("metrics.parquet"),
        "croissant.json".to_owned(),
        nested("croissant.json"),
        nested("ro-crate-metadata.json"),
    ];
    assert_eq!(damaged, expected);
}
