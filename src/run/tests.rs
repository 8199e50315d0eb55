//! A toy run, executed, killed, damaged and resumed: what it leaves must not depend on how it went.

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::checksum::sha256;

fn environment() -> Environment {
    Environment {
        device: "cpu".into(),
        emulated: false,
        hardware: None,
        kernel_path: "portable".into(),
        precision: "f32".into(),
        threads: 1,
    }
}

fn new_run(experiment: &str) -> NewRun {
    NewRun {
        experiment: experiment.into(),
        resolved: "corpus: counterpoint\ntraining:\n  seed: 1\n".into(),
        seed: 1,
        smoke: false,
        environment: environment(),
        command: vec!["run".into(), "toy.yaml".into()],
        concluded_at: None,
    }
}

fn store(folder: &Path) -> Store {
    Store::new(folder.join("runs"), folder.join("records"))
}

/// Stands in for a model: one number, moved by every step.
fn train_step(weight: f32) -> f32 {
    weight * 0.9 + 0.1
}

const LAST_STEP: u64 = 40;

/// Trains until the end, or until `stop` steps have been done; `flush` decides after which steps segments are written.
fn train(run: &mut Run, from: Option<Checkpoint>, stop: u64, flush: impl Fn(u64) -> bool) {
    let (mut step, mut weight) = match &from {
        Some(it) => (it.step, it.arrays[0].as_f32().unwrap()[0]),
        None => (0, 5.0),
    };
    while step < stop.min(LAST_STEP) {
        weight = train_step(weight);
        step += 1;
        let epoch = 1 + step as u32 / 10;
        run.log(step, epoch, "train", "loss", f64::from(weight));
        run.log_timing(step, epoch, "tokens_per_second", step as f64);
        if step % 10 == 0 {
            run.log(step, epoch, "valid", "loss", f64::from(weight) * 2.0);
            let arrays = vec![NamedArray::f32("weight", [1], vec![weight])];
            let state = json!({ "position": step });
            run.save_checkpoint(&Checkpoint {
                step,
                epoch,
                best_step: Some(step),
                arrays,
                state,
            })
            .unwrap();
        }
        if flush(step) {
            run.flush().unwrap();
        }
    }
    if step == LAST_STEP {
        // After the last checkpoint: a resumed run comes here again.
        run.log(step, 5, "test", "loss", f64::from(weight) * 3.0);
        run.save_final(&[NamedArray::f32("weight", [1], vec![weight])])
            .unwrap();
    }
}

/// Trains to the end as [`train`] does, and finishes.
fn train_and_finish(run: &mut Run, from: Option<Checkpoint>, flush: impl Fn(u64) -> bool) {
    train(run, from, LAST_STEP, flush);
    run.finish().unwrap();
}

fn undisturbed(folder: &Path) -> StoredRun {
    let mut run = store(folder).create(new_run("toy")).unwrap();
    train_and_finish(&mut run, None, |_| false);
    store(folder).find(run.id()).unwrap()
}

fn bytes_that_must_match(run: &StoredRun) -> [Vec<u8>; 2] {
    ["metrics.parquet", WEIGHTS].map(|file| fs::read(run.path.join(file)).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn a_run_that_died_any_number_of_times_ends_with_the_same_bytes(
        deaths in prop::collection::vec(0u64..LAST_STEP, 0..5),
        every in 1u64..15,
        damage in any::<bool>(),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let expected = bytes_that_must_match(&undisturbed(folder.path()));
        let store = store(folder.path());
        let mut run = store.create(new_run("toy")).unwrap();
        let id = run.id().to_string();
        let mut checkpoint = None;
        for death in deaths {
            train(&mut run, checkpoint, death, |step| step % every == 0);
            drop(run); // as kill -9 does: what was not flushed is gone, the record says running, the lock is free
            let stored = store.find(&id).unwrap();
            prop_assert_eq!(stored.state(), State::Died);
            fs::write(stored.path.join("metrics/.unfinished-000009.parquet"), "half a segment").unwrap();
            if damage && let Some(step) = checkpoint::Checkpoints::of_run(&stored.path).steps().unwrap().last() {
                fs::write(stored.path.join(format!("checkpoints/step-{step:08}.safetensors")), "torn").unwrap();
            }
            (run, checkpoint) = stored.resume(environment(), vec![], None).unwrap();
        }
        train_and_finish(&mut run, checkpoint, |step| step % every == 0);
        drop(run);
        let stored = store.find(&id).unwrap();
        prop_assert_eq!(stored.state(), State::Finished);
        prop_assert!(expected == bytes_that_must_match(&stored), "bytes differ");
        prop_assert_eq!(stored.verify().unwrap().problems, vec![]);
    }
}

#[test]
fn a_damaged_checkpoint_gives_way_to_the_one_before_and_the_record_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let mut run = store.create(new_run("toy")).unwrap();
    train(&mut run, None, 25, |_| false);
    let path = run.path().join("checkpoints/step-00000020.safetensors");
    drop(run);
    let mut bytes = fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&path, bytes).unwrap();
    let (run, checkpoint) = store
        .find("latest")
        .unwrap()
        .resume(environment(), vec![], None)
        .unwrap();
    assert_eq!(checkpoint.unwrap().step, 10);
    let event = &run.record().events[0].what;
    assert!(
        event.contains("checkpoint 20 was damaged") && event.contains("step 10 was used"),
        "{event}"
    );
    assert!(path.with_extension("damaged").exists());
    // What came after step 10 does not count any more, and what came before is all there.
    let steps: Vec<u64> = store
        .find("latest")
        .unwrap()
        .metrics()
        .unwrap()
        .series("train", "loss")
        .unwrap()
        .iter()
        .map(|it| it.step)
        .collect();
    assert_eq!(steps, (1..=10).collect::<Vec<u64>>());
}

#[test]
fn a_second_process_is_refused_and_a_finished_run_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let mut run = store.create(new_run("toy")).unwrap();
    let stored = store.find(run.id()).unwrap();
    assert_eq!(stored.state(), State::Running);
    let refusal = stored.resume(environment(), vec![], None).unwrap_err();
    assert_eq!(
        refusal.downcast_ref(),
        Some(&RunError::Locked {
            id: stored.id.clone()
        })
    );
    train_and_finish(&mut run, None, |_| false);
    drop(run);
    let before = fs::read(stored.path.join("record.json")).unwrap();
    let refusal = stored.resume(environment(), vec![], None).unwrap_err();
    assert_eq!(
        refusal.downcast_ref(),
        Some(&RunError::Finished {
            id: stored.id.clone()
        })
    );
    assert_eq!(fs::read(stored.path.join("record.json")).unwrap(), before);
}

#[test]
fn a_damaged_segment_is_named_and_nothing_is_touched() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let mut run = store.create(new_run("toy")).unwrap();
    train(&mut run, None, 15, |step| step == 5);
    drop(run);
    let stored = store.find("latest").unwrap();
    let segments = fs::read_dir(stored.path.join("metrics")).unwrap();
    let segment = segments.map(|it| it.unwrap().path()).min().unwrap();
    let mut bytes = fs::read(&segment).unwrap();
    bytes[40] ^= 4;
    fs::write(&segment, bytes).unwrap();
    for error in [
        stored.metrics().unwrap_err(),
        stored.resume(environment(), vec![], None).unwrap_err(),
    ] {
        let message = format!("{error:#}");
        assert!(
            message.contains(&*segment.file_name().unwrap().to_string_lossy()),
            "{message}"
        );
        assert_eq!(RunError::exit_code_of(&error), Some(4));
    }
    assert_eq!(store.find("latest").unwrap().record, stored.record);
    assert_eq!(stored.verify().unwrap().problems.len(), 1);
}

#[test]
fn a_run_whose_last_file_cannot_be_written_keeps_its_metrics_and_is_resumed() {
    let folder = tempfile::tempdir().unwrap();
    let expected = bytes_that_must_match(&undisturbed(folder.path()));
    let store = store(folder.path());
    let mut run = store.create(new_run("toy")).unwrap();
    train(&mut run, None, LAST_STEP, |_| false);
    let full = run.finish_with(|stored| {
        assert_eq!(stored.state(), State::Finished);
        assert_eq!(stored.metrics().unwrap().rows().unwrap().len(), 45);
        Err(std::io::Error::from(std::io::ErrorKind::StorageFull).into())
    });
    run.fail(&full.unwrap_err().to_string()).unwrap();
    drop(run);
    let stored = store.find("latest").unwrap();
    assert_eq!(stored.state(), State::Failed);
    assert_eq!(stored.metrics().unwrap().rows().unwrap().len(), 45);
    let (mut run, checkpoint) = stored.resume(environment(), vec![], None).unwrap();
    train_and_finish(&mut run, checkpoint, |_| false);
    let stored = store.find("latest").unwrap();
    assert!(expected == bytes_that_must_match(&stored), "bytes differ");
    assert_eq!(stored.verify().unwrap().problems, vec![]);
}

#[test]
fn a_lost_segment_is_missed_and_nothing_is_touched() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let mut run = store.create(new_run("toy")).unwrap();
    train(&mut run, None, 15, |step| step == 5);
    drop(run);
    let stored = store.find("latest").unwrap();
    let segments: Vec<_> = fs::read_dir(stored.path.join("metrics"))
        .unwrap()
        .map(|it| it.unwrap().path())
        .collect();
    assert!(segments.len() > 1);
    for segment in segments {
        let bytes = fs::read(&segment).unwrap();
        fs::remove_file(&segment).unwrap();
        for error in [
            stored.metrics().unwrap_err(),
            stored.resume(environment(), vec![], None).unwrap_err(),
        ] {
            let message = format!("{error:#}");
            assert!(message.contains("of at least"), "{message}");
        }
        assert_eq!(stored.verify().unwrap().problems[0].file, "metrics");
        fs::write(&segment, bytes).unwrap();
    }
    assert_eq!(stored.verify().unwrap().problems, vec![]);
    stored.resume(environment(), vec![], None).unwrap();
}

#[test]
fn an_unfinished_runs_experiment_cannot_be_changed_behind_its_back() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let run = store.create(new_run("toy")).unwrap();
    let path = run.path().join("experiment.yaml");
    drop(run);
    let changed = fs::read_to_string(&path).unwrap() + "\n# and more\n";
    fs::write(path, changed).unwrap();
    let stored = store.find("latest").unwrap();
    let error = stored.experiment_yaml().unwrap_err();
    assert_eq!(RunError::exit_code_of(&error), Some(4));
    assert_eq!(stored.verify().unwrap().problems[0].file, "experiment.yaml");
}

#[test]
fn what_stands_in_a_checkpoints_place_is_put_aside() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let mut run = store.create(new_run("toy")).unwrap();
    train(&mut run, None, 25, |_| false);
    let path = run.path().join("checkpoints/step-00000020.safetensors");
    drop(run);
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    let stored = store.find("latest").unwrap();
    let (_run, checkpoint) = stored.resume(environment(), vec![], None).unwrap();
    assert_eq!(checkpoint.unwrap().step, 10);
    assert!(path.with_extension("damaged").is_dir());
}

#[test]
fn the_latest_run_is_not_passed_over_because_it_is_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let paths = ["toy", "other", "toy"].map(|experiment| {
        store
            .create(new_run(experiment))
            .unwrap()
            .path()
            .to_path_buf()
    });
    fs::write(paths[2].join("record.json"), "{").unwrap();
    let error = store.find("latest").unwrap_err();
    assert_eq!(RunError::exit_code_of(&error), Some(4));
    // One that is known not to be the latest is in nobody's way, and neither is a folder that is no run's.
    fs::write(paths[0].join("record.json"), "{").unwrap();
    fs::create_dir(paths[1].with_file_name("notes")).unwrap();
    let last = store.create(new_run("toy")).unwrap();
    assert_eq!(store.find("latest").unwrap().id, last.id());
}

#[test]
fn weights_that_are_not_there_are_answered_with_what_would_make_them() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let stored = undisturbed(folder.path());
    let refusal = || {
        format!(
            "{:#}",
            store.find("toy@1").unwrap().final_weights().unwrap_err()
        )
    };
    stored.publish(&folder.path().join("records")).unwrap();
    fs::remove_file(stored.path.join(WEIGHTS)).unwrap();
    assert!(
        refusal().contains("is gone: put back a copy of it"),
        "{}",
        refusal()
    );
    let run = store.create(new_run("toy")).unwrap();
    assert!(refusal().contains("is running and has no"), "{}", refusal());
    drop(run);
    assert!(
        refusal().contains("has no final.safetensors yet: `harness resume"),
        "{}",
        refusal()
    );
    fs::remove_dir_all(folder.path().join("runs")).unwrap();
    assert!(
        refusal().contains("is a published record") && refusal().contains("harness reproduce"),
        "{}",
        refusal()
    );
}

#[test]
fn many_segments_are_merged_into_one() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let mut run = store.create(new_run("toy")).unwrap();
    for step in 1..80 {
        run.log(step, 1, "train", "batch_loss", step as f64);
        run.flush().unwrap();
    }
    assert!(fs::read_dir(run.path().join("metrics")).unwrap().count() < 30);
    let metrics = store.find(run.id()).unwrap().metrics().unwrap();
    assert_eq!(metrics.series("train", "batch_loss").unwrap().len(), 79);
    assert_eq!(
        metrics.names().unwrap(),
        [("train".to_string(), "batch_loss".to_string())]
    );
}

#[test]
fn every_changed_byte_of_a_finished_run_is_found_by_verify() {
    let folder = tempfile::tempdir().unwrap();
    let stored = undisturbed(folder.path());
    assert_eq!(stored.verify().unwrap().problems, vec![]);
    let names: Vec<String> = stored
        .record
        .files
        .iter()
        .map(|it| it.path.clone())
        .collect();
    assert!(
        names.iter().any(|it| it == "metrics.parquet") && names.iter().any(|it| it == "log"),
        "{names:?}"
    );
    for name in names.iter().map(String::as_str).chain(["record.json"]) {
        let path = stored.path.join(name);
        let whole = fs::read(&path).unwrap();
        let mut bytes = whole.clone();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&path, &bytes).unwrap();
        let found = stored.verify().unwrap();
        assert_eq!(
            found
                .problems
                .iter()
                .map(|it| it.file.as_str())
                .collect::<Vec<&str>>(),
            [name]
        );
        fs::remove_file(&path).unwrap();
        if name != "record.json" {
            assert_eq!(stored.verify().unwrap().problems[0].what, "it is missing");
        }
        fs::write(&path, &whole).unwrap();
    }
    fs::write(stored.path.join("notes.txt"), "mine").unwrap();
    let found = stored.verify().unwrap();
    assert_eq!(
        (found.problems.len(), found.unknown),
        (0, vec!["notes.txt".to_string()])
    );
}

#[test]
fn a_damaged_final_table_is_an_error_that_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let stored = undisturbed(folder.path());
    let path = stored.path.join("metrics.parquet");
    let mut bytes = fs::read(&path).unwrap();
    bytes[60] ^= 255;
    fs::write(&path, bytes).unwrap();
    let error = stored.metrics().unwrap_err();
    assert!(format!("{error:#}").contains("metrics.parquet"));
    assert_eq!(RunError::exit_code_of(&error), Some(4));
}

#[test]
fn a_published_record_is_compact_verifies_and_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let stored = undisturbed(folder.path());
    let store = store(folder.path());
    let published = stored.publish(&folder.path().join("records")).unwrap();
    assert!(published.join("metrics.parquet").exists() && !published.join("checkpoints").exists());
    assert!(!store.find(&stored.id).unwrap().published);
    fs::remove_dir_all(folder.path().join("runs")).unwrap();
    let copy = store.find(&stored.id).unwrap();
    assert!(copy.published);
    let found = copy.verify().unwrap();
    assert_eq!(found.problems, vec![]);
    assert!(found.left_out >= 2, "checkpoints and weights are left out");
    assert_eq!(copy.metrics().unwrap().rows().unwrap().len(), 45);
    // A new run goes on counting where the published ones ended.
    assert_eq!(store.create(new_run("toy")).unwrap().record().number, 2);
}

#[test]
fn runs_are_found_by_every_kind_of_name() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let ids: Vec<String> = ["toy", "toy", "other", "toy"]
        .map(|experiment| store.create(new_run(experiment)).unwrap().id().to_string())
        .to_vec();
    let found = |name: &str| store.find(name).map(|run| run.id);
    assert_eq!(found("latest").unwrap(), ids[3]);
    assert_eq!(found("toy@1").unwrap(), ids[3]);
    assert_eq!(found("toy@3").unwrap(), ids[0]);
    assert_eq!(found("other@1").unwrap(), ids[2]);
    assert_eq!(found(&ids[1]).unwrap(), ids[1]);
    assert_eq!(found("0002").unwrap(), ids[1]);
    assert_eq!(found(&ids[1][5..]).unwrap(), ids[1]);
    assert_eq!(found("other/0001").unwrap(), ids[2]);
    assert_eq!(
        found(
            &folder
                .path()
                .join("runs/toy")
                .join(&ids[0])
                .to_string_lossy()
        )
        .unwrap(),
        ids[0]
    );
    for name in ["toy@4", "toy@0", "toy@x", "nothing", "", "toy"] {
        let error = found(name).unwrap_err();
        assert!(
            matches!(error.downcast_ref(), Some(RunError::Unknown { .. })),
            "{name}: {error}"
        );
    }
    let error = found("0001").unwrap_err();
    assert!(
        matches!(error.downcast_ref(), Some(RunError::Ambiguous { candidates, .. }) if candidates.len() == 2)
    );
}

#[test]
fn broken_folders_are_listed_as_such() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let run = store.create(new_run("toy")).unwrap();
    let toy = folder.path().join("runs/toy");
    fs::create_dir_all(toy.join("0007-abcdef")).unwrap();
    fs::create_dir_all(toy.join("0008-abcdef")).unwrap();
    fs::write(toy.join("0008-abcdef/record.json"), "{ half").unwrap();
    fs::create_dir_all(toy.join(".unfinished-0009-abcdef")).unwrap();
    let listed = store.list().unwrap();
    assert_eq!(
        listed
            .iter()
            .map(|it| it.run.is_ok())
            .collect::<Vec<bool>>(),
        [true, false, false]
    );
    assert_eq!(store.find("toy@3").unwrap().id, run.id());
    assert!(format!("{:#}", store.find("0008").unwrap_err()).contains("record.json"));
    assert_eq!(store.create(new_run("toy")).unwrap().record().number, 9);
}

#[test]
fn another_corpus_is_refused_on_resume() {
    let folder = tempfile::tempdir().unwrap();
    let mut run = store(folder.path()).create(new_run("toy")).unwrap();
    let corpus = |fingerprint: &str| CorpusIdentity {
        name: "counterpoint".into(),
        fingerprint: fingerprint.into(),
        stand_in: None,
        synthetic: true,
        origin: "built in".into(),
        details: json!({ "pieces": 8 }),
    };
    run.set_corpus(corpus("aa")).unwrap();
    drop(run);
    let (mut run, _) = store(folder.path())
        .find("latest")
        .unwrap()
        .resume(environment(), vec![], None)
        .unwrap();
    run.set_corpus(corpus("aa")).unwrap();
    assert!(
        run.set_corpus(corpus("bb"))
            .unwrap_err()
            .to_string()
            .contains("restore the corpus")
    );
    run.fail("another corpus").unwrap();
    let stored = store(folder.path()).find("latest").unwrap();
    assert_eq!(
        (stored.state(), stored.record.reason.as_deref()),
        (State::Failed, Some("another corpus"))
    );
}

#[test]
fn a_record_tells_an_emulated_device_from_one_that_is_there_and_one_without_hardware_is_read() {
    let old = serde_json::to_string(&environment()).unwrap();
    assert!(!old.contains("hardware"), "{old}");
    let mut environment: Environment = serde_json::from_str(&old).unwrap();
    assert_eq!(environment.device_in_words(), "cpu");
    environment.device = "cuda:1".into();
    environment.hardware = Some(crate::device::Hardware {
        name: "Card".into(),
        driver: "580.65, CUDA 13.0".into(),
        memory: 4 << 30,
    });
    let words = environment.device_in_words();
    assert_eq!(words, "cuda:1: Card, 4096 MiB, driver 580.65, CUDA 13.0");
    environment.emulated = true;
    assert_eq!(environment.device_marked(), "cuda:1 (emulated)");
    let text = serde_json::to_string(&environment).unwrap();
    assert_eq!(
        serde_json::from_str::<Environment>(&text).unwrap(),
        environment
    );
}

#[test]
fn a_newer_format_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let stored = undisturbed(folder.path());
    let path = stored.path.join("record.json");
    let text = fs::read_to_string(&path)
        .unwrap()
        .replace("\"format\": 1", "\"format\": 2");
    fs::write(&path, text).unwrap();
    assert!(
        Record::read(&stored.path)
            .unwrap_err()
            .to_string()
            .contains("newer harness")
    );
}

#[test]
fn a_table_by_other_hands_is_read_only_under_a_records_checksum() {
    let folder = tempfile::tempdir().unwrap();
    let mut stored = undisturbed(folder.path());
    let path = stored.path.join("metrics.parquet");
    // The same table without the checksum that harness writes into it.
    let mut bytes = fs::read(&path).unwrap();
    let mark = bytes
        .windows(15)
        .position(|it| it == b"harness-sha256:")
        .unwrap();
    bytes.drain(mark..mark + 15 + 64);
    fs::write(&path, &bytes).unwrap();
    assert!(stored.metrics().is_err());
    let known = stored
        .record
        .files
        .iter_mut()
        .find(|it| it.path == "metrics.parquet")
        .unwrap();
    known.sha256 = sha256(&bytes);
    assert_eq!(stored.metrics().unwrap().rows().unwrap().len(), 45);
    stored.record.files.clear();
    let message = format!("{:#}", stored.metrics().unwrap_err());
    assert!(message.contains("carries no checksum"), "{message}");
}
