//! What harness says and how it ends where something is not as it should be: nobody reads its progress, files are gone, runs cannot be
//! compared, an experiment is not what its file says.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use harness::corpus::{counterpoint, midi};
use harness::kernel::KernelPath;

/// So small that a run takes a second, and long enough for other kernels to part from each other.
const EXPERIMENT: &str = "\
title: A small run
corpus: counterpoint
split: {kind: hash, valid: 0.1, test: 0.1}
vocabulary: {from: corpus}
model: {embedding: 16, hidden: 16}
training: {epochs: 4, batch_size: 20, sequence_length: 20, learning_rate: 0.05, log_every: 5}
analysis: {iterations: 50, seeds: [1], permutations: 99}
samples: {count: 1, length: 60}
chosen:
  corpus: composed by rule; it is no one's music
  training: quick
";

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("small.yaml"), EXPERIMENT).unwrap();
    folder
}

fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_harness"));
    command
        .args(arguments)
        .current_dir(folder)
        .env_remove("HARNESS_MIRROR")
        .env_remove("HARNESS_DATA");
    command
}

/// Runs a command that must end with `code`; its standard output and its standard error.
fn ends_with(code: i32, folder: &Path, arguments: &[&str]) -> (String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = command(folder, arguments).output().unwrap();
    let [out, err] = [stdout, stderr].map(|it| String::from_utf8(it).unwrap());
    assert_eq!(
        status.code(),
        Some(code),
        "harness {arguments:?}\n{out}\n{err}"
    );
    (out, err)
}

/// Trains, and returns the run's folder.
fn train(folder: &Path, arguments: &[&str]) -> PathBuf {
    let arguments = [&["run", "small.yaml", "--threads", "1"], arguments].concat();
    let (out, _) = ends_with(0, folder, &arguments);
    folder.join(out.trim())
}

fn read(path: PathBuf) -> String {
    fs::read_to_string(path).unwrap()
}

#[cfg(unix)]
#[test]
fn a_run_ends_as_it_should_whoever_reads_its_progress() {
    let folder = folder();
    let folder = folder.path();
    let full = fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let run = || command(folder, &["run", "small.yaml", "--threads", "1"]);
    let status = run().stderr(full).status().unwrap();
    assert!(status.success(), "a full standard error: {status}");

    let mut child = run()
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stderr.take());
    let status = child.wait().unwrap();
    assert!(status.success(), "a closed standard error: {status}");

    // A terminal that goes away while the bar is drawn on it, of which the run is told by nothing but its writes.
    let script = "
import os, pty, subprocess, sys
terminal, line = pty.openpty()
child = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=line, start_new_session=True)
os.close(line)
os.read(terminal, 1)
os.close(terminal)
sys.exit(child.wait())
";
    let status = Command::new("python3")
        .args(["-c", script, env!("CARGO_BIN_EXE_harness")])
        .args(["run", "small.yaml", "--threads", "1"])
        .current_dir(folder)
        .status()
        .expect("Python 3 is needed to open a terminal");
    assert!(status.success(), "a closed terminal: {status}");
    let (listed, _) = ends_with(0, folder, &["list", "--json"]);
    assert_eq!(
        listed.matches("\"status\":\"finished\"").count(),
        3,
        "{listed}"
    );
}

#[test]
fn a_record_is_executed_again_on_its_own_kernels_and_on_others_it_is_equivalent() {
    let folder = folder();
    let folder = folder.path();
    let available = KernelPath::ALL.into_iter().filter(|it| it.is_available());
    let paths: Vec<&str> = available.map(KernelPath::name).collect();
    let run = train(folder, &["--kernel-path", "plain"]);
    let id = run.file_name().unwrap().to_str().unwrap();
    let again = |arguments: &[&str]| {
        let arguments = [&["reproduce", id, "--threads", "1"], arguments].concat();
        ends_with(0, folder, &arguments).0
    };
    let told = again(&[]);
    assert!(told.contains("identical: "), "{told}");
    assert!(told.contains("recorded on plain; runs on plain"), "{told}");
    for path in paths.iter().filter(|path| **path != "plain") {
        let told = again(&["--kernel-path", path]);
        assert!(
            told.contains("\nequivalent: ")
                && told.contains("computed otherwise: kernels: plain → "),
            "{path}: {told}"
        );
        assert!(
            told.contains(&format!("recorded on plain; runs on {path}")),
            "{told}"
        );
        // It is chaos that was judged: by values alone these runs are not the same.
        let (out, _) = ends_with(
            0,
            folder,
            &["diff", id, "latest", "--json", "--only", "train/batch_loss"],
        );
        let compared: serde_json::Value = serde_json::from_str(&out).unwrap();
        let of = |side: &str| compared["metrics"][0][side].as_f64().unwrap();
        assert!((of("a") / of("b") - 1.0).abs() > 1e-3, "{out}");
    }
    // A path that this processor has not: the record says so, and another stands in.
    let record = read(run.join("record.json"));
    let elsewhere = record.replace("\"kernel_path\": \"plain\"", "\"kernel_path\": \"sve9\"");
    assert_ne!(record, elsewhere);
    fs::write(run.join("record.json"), elsewhere).unwrap();
    let told = again(&["--kernel-path", "plain"]);
    assert!(
        told.contains("equivalent") || told.contains("identical"),
        "{told}"
    );
    let told = again(&[]);
    assert!(
        told.contains(&format!("recorded on sve9; runs on {}", paths[0])),
        "{told}"
    );
    // A training that is not the same is not equivalent, on whatever path.
    let yaml = read(run.join("experiment.yaml"));
    fs::write(
        folder.join("small.yaml"),
        yaml.replace("learning_rate: 0.05", "learning_rate: 0.051"),
    )
    .unwrap();
    let other = train(folder, &["--kernel-path", paths[0]]);
    for file in ["metrics.parquet", "final.safetensors"] {
        fs::copy(other.join(file), run.join(file)).unwrap();
    }
    let record = read(run.join("record.json"));
    let checksum = |run: &Path, file: &str| {
        let record: serde_json::Value =
            serde_json::from_str(&read(run.join("record.json"))).unwrap();
        let files = record["files"].as_array().unwrap().clone();
        let found = files.into_iter().find(|it| it["path"] == file).unwrap();
        found["sha256"].as_str().unwrap().to_owned()
    };
    let forged = ["metrics.parquet", "final.safetensors"]
        .iter()
        .fold(record, |record, file| {
            record.replace(&checksum(&run, file), &checksum(&other, file))
        });
    fs::write(run.join("record.json"), forged).unwrap();
    let arguments = ["reproduce", id, "--threads", "1"];
    let (told, _) = ends_with(1, folder, &arguments);
    assert!(
        told.contains("differs beyond what computing otherwise explains"),
        "{told}"
    );
    assert!(told.contains("step 5, "), "{told}");
}

/// A folder with one piece of MIDI that the split by hash gives to train.
fn music(folder: &Path) {
    fs::create_dir(folder.join("midi")).unwrap();
    let bytes = midi::write(&counterpoint::compose(7, 0));
    fs::write(folder.join("midi/a.mid"), bytes.bytes).unwrap();
}

#[test]
fn an_experiment_that_the_command_line_changed_says_so_and_so_does_one_that_holds_nothing_out() {
    let folder = folder();
    let folder = folder.path();
    music(folder);
    let changes = ["-S", "corpus=midi", "-S", "training.batch_size=2"];
    let arguments = [&["run", "small.yaml", "--threads", "1"], &changes[..]].concat();
    let (out, err) = ends_with(0, folder, &arguments);
    for split in ["valid", "test"] {
        assert!(
            err.contains(&format!("warning: the {split} split of 'midi' is empty")),
            "{err}"
        );
    }
    let run = folder.join(out.trim());
    let recorded: serde_yaml::Value =
        serde_yaml::from_str(&read(run.join("experiment.yaml"))).unwrap();
    assert_eq!(
        recorded["title"],
        "A small run, changed on the command line"
    );
    assert_eq!(
        recorded["changed_on_command_line"]["corpus"],
        "counterpoint"
    );
    assert_eq!(
        recorded["changed_on_command_line"]["training.batch_size"],
        "20"
    );
    assert!(recorded["chosen"].get("corpus").is_none(), "{recorded:?}");
    let page = read(run.join("report.html"));
    for told in [
        "Changed on the command line.",
        "corpus: midi in place of counterpoint",
        "Nothing held out.",
        "what is judged are the last weights",
        "the valid split of &#39;midi&#39; is empty",
    ] {
        let plain = told.replace("&#39;", "'");
        assert!(page.contains(told) || page.contains(&plain), "{told}");
    }
    assert!(!page.contains("no one&#39;s music") && !page.contains("no one's music"));
    let (shown, _) = ends_with(0, folder, &["show", "latest"]);
    assert!(
        shown.contains("on the command line: corpus, which is counterpoint in the file"),
        "{shown}"
    );
}

#[test]
fn what_cannot_be_trained_is_a_wrong_configuration_and_leaves_no_run() {
    let folder = folder();
    let folder = folder.path();
    music(folder);
    let refused = |changes: &[&str], says: &str| {
        let changes = changes.iter().flat_map(|change| ["-S", *change]);
        let arguments: Vec<&str> = ["run", "small.yaml"].into_iter().chain(changes).collect();
        let (_, err) = ends_with(2, folder, &arguments);
        assert!(err.contains(says), "{err}");
        assert!(!folder.join("runs").exists(), "{says}");
    };
    refused(
        &["corpus=midi", "split.kind=published"],
        "no published split; use split.kind: hash",
    );
    refused(&["split.kind=published"], "no published split");
    refused(
        &["training.batch_size=9999"],
        "too few for one batch of 9999 x 20",
    );
    refused(
        &["corpus=midi", "split.valid=0.5", "split.test=0.4999"],
        "too few for one batch",
    );
}

#[test]
fn what_is_gone_is_named_and_what_is_a_run_s_own_is_not_written_over() {
    let folder = folder();
    let folder = folder.path();
    let first = train(folder, &[]);
    let second = train(folder, &["-S", "training.seed=2"]);
    let name = |run: &Path| run.file_name().unwrap().to_str().unwrap().to_owned();
    let (first_id, second_id) = (name(&first), name(&second));

    let weights = first.join("final.safetensors");
    let before = fs::read(&weights).unwrap();
    let target = weights.to_str().unwrap();
    let sample = first.join("samples/sample-1.mid");
    for arguments in [
        [
            "generate",
            &first_id,
            "--force",
            "-o",
            sample.to_str().unwrap(),
        ],
        ["evaluate", &first_id, "--force", "-o", target],
    ] {
        let (_, err) = ends_with(2, folder, &arguments);
        assert!(err.contains("lies in the folder of a run"), "{err}");
    }
    assert_eq!(fs::read(&weights).unwrap(), before);

    let evaluation = second.join("evaluation.parquet");
    fs::remove_file(&evaluation).unwrap();
    let (told, _) = ends_with(0, folder, &["diff", &first_id, &second_id]);
    assert!(
        told.contains(&format!("'evaluation.parquet' of run {second_id} is gone")),
        "{told}"
    );

    fs::remove_file(second.join("record.json")).unwrap();
    for arguments in [
        &["show", &second_id][..],
        &["show", second.to_str().unwrap()],
        &["verify", "latest"],
    ] {
        let (_, err) = ends_with(4, folder, arguments);
        assert!(err.contains("record.json' is damaged: it is gone"), "{err}");
    }
    let (_, err) = ends_with(4, folder, &["report"]);
    assert!(
        err.contains(&second_id) && err.contains("record.json"),
        "{err}"
    );
}

#[cfg(unix)]
#[test]
fn a_primer_is_a_file() {
    let folder = folder();
    let folder = folder.path();
    let run = train(folder, &["-S", "training.epochs=1"]);
    let pipe = folder.join("pipe");
    assert!(
        Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    let run = run.file_name().unwrap().to_str().unwrap();
    for primer in ["/dev/zero", pipe.to_str().unwrap(), "."] {
        let arguments = ["generate", run, "-o", "a.mid", "--primer", primer];
        let (_, err) = ends_with(2, folder, &arguments);
        assert!(
            err.contains("it is no file but a folder, a pipe or a device"),
            "{err}"
        );
    }
}

#[test]
fn runs_on_other_data_are_not_comparable_and_a_gate_says_what_it_cannot_judge() {
    let folder = folder();
    let folder = folder.path();
    let short = ["-S", "training.epochs=1"];
    train(folder, &short);
    train(folder, &[&short[..], &["-S", "split.valid=0.3"]].concat());
    train(
        folder,
        &[&short[..], &["-S", "training.learning_rate=0.0001"]].concat(),
    );
    let diff = |code: i32, runs: [&str; 2], more: &[&str]| {
        ends_with(code, folder, &[&["diff", runs[0], runs[1]], more].concat())
    };
    let others = ["small@3", "small@2"];
    let (told, _) = diff(0, others, &[]);
    assert!(
        told.contains("not comparable, not of the same predictions: split.valid differ: "),
        "{told}"
    );
    assert!(
        !told.contains("improved") && !told.contains("regressed"),
        "{told}"
    );
    let (json, _) = diff(0, others, &["--json"]);
    let compared: serde_json::Value = serde_json::from_str(&json).unwrap();
    let loss = &compared["metrics"][0];
    assert_eq!(
        (&loss["metric"], &loss["verdict"]),
        (&"loss".into(), &"not_comparable".into())
    );
    assert!(
        loss["delta"].is_null() && loss["delta_percent"].is_null(),
        "{loss}"
    );
    let (_, err) = diff(2, others, &["--fail-on", "regression"]);
    assert!(
        err.contains("not judged, since the runs do not predict the same: test/loss"),
        "{err}"
    );

    let worse = ["small@3", "small@1"];
    let (_, err) = diff(2, worse, &["--fail-on", "regression"]);
    assert!(
        err.contains("one run on a side allows no test, though worse: test/loss"),
        "{err}"
    );
    let (_, err) = diff(1, worse, &["--fail-on", "untested-regression"]);
    assert!(err.contains("regressed: test/loss"), "{err}");
    diff(
        0,
        ["small@1", "small@3"],
        &["--fail-on", "untested-regression"],
    );
}

#[test]
fn a_test_score_stands_at_the_step_of_the_weights_that_were_scored() {
    let folder = folder();
    let folder = folder.path();
    // A rate at which the best epoch is not the last.
    let run = train(
        folder,
        &[
            "-S",
            "training.learning_rate=0.3",
            "-S",
            "training.epochs=6",
        ],
    );
    let statistics: serde_json::Value =
        serde_json::from_str(&read(run.join("statistics.json"))).unwrap();
    let best = statistics["training"]["best"]["step"].as_u64().unwrap();
    assert!(
        best < statistics["training"]["steps"].as_u64().unwrap(),
        "{statistics}"
    );
    let (json, _) = ends_with(0, folder, &["show", "latest", "--json"]);
    let shown: serde_json::Value = serde_json::from_str(&json).unwrap();
    let metrics = shown["metrics"].as_array().unwrap();
    let test = metrics.iter().find(|it| it["split"] == "test").unwrap();
    assert_eq!(
        (&test["last"]["step"], &test["weights_of_step"]),
        (&best.into(), &best.into())
    );
    let (told, _) = ends_with(0, folder, &["show", "latest"]);
    assert!(
        told.contains(&format!("(weights of step {best}, best on valid)")),
        "{told}"
    );
}
