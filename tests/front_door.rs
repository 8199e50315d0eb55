//! What a user reaches for between runs: lists, tables, messages, the log and the page of a run, as the binary gives them.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

/// So small that a run takes a second.
const EXPERIMENT: &str = "\
title: A small run
corpus: counterpoint
split: {kind: hash, valid: 0.1, test: 0.1}
vocabulary: {from: corpus}
model: {embedding: 16, hidden: 16}
training: {epochs: 3, batch_size: 20, sequence_length: 40, learning_rate: 0.01, log_every: 5}
analysis: {iterations: 50, seeds: [1], permutations: 99}
samples: {count: 1, length: 60}
";

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("experiments/more")).unwrap();
    fs::write(folder.path().join("experiments/small.yaml"), EXPERIMENT).unwrap();
    fs::write(
        folder.path().join("experiments/more/other.yaml"),
        EXPERIMENT,
    )
    .unwrap();
    folder
}

fn command(folder: &Path, arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_harness"));
    command
        .args(arguments.split(' '))
        .current_dir(folder)
        .env_remove("HARNESS_MIRROR")
        .env_remove("HARNESS_DATA")
        .env_remove("NO_COLOR");
    command
}

/// Runs a command that must end with `code`; its standard output and its standard error.
fn ends_with(code: i32, folder: &Path, arguments: &str) -> (String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = command(folder, arguments).output().unwrap();
    let [out, err] = [stdout, stderr].map(|it| String::from_utf8(it).unwrap());
    assert_eq!(
        status.code(),
        Some(code),
        "harness {arguments}\n{out}\n{err}"
    );
    (out, err)
}

fn succeed(folder: &Path, arguments: &str) -> String {
    ends_with(0, folder, arguments).0
}

/// The first words of the lines below a table's header.
fn first_words(table: &str) -> Vec<&str> {
    let lines = table.lines().skip(1);
    lines.filter_map(|it| it.split(' ').next()).collect()
}

fn assert_fits(table: &str) {
    let widest = table.lines().max_by_key(|it| it.chars().count()).unwrap();
    assert!(widest.chars().count() <= 120, "{widest}");
}

#[test]
fn runs_are_chosen_sorted_and_shown_in_120_columns() {
    let folder = folder();
    let folder = folder.path();
    let (_, none) = ends_with(0, folder, "list");
    assert!(
        none.contains("`harness run quickstart` makes one"),
        "{none}"
    );
    succeed(folder, "run small --smoke");
    succeed(folder, "run other --threads 1");
    let (_, reproduced) = ends_with(0, folder, "reproduce other@1 --threads 1");
    assert!(!reproduced.contains("error"), "{reproduced}");
    let id = |arguments: &str| {
        let listed = succeed(folder, arguments);
        let listed = first_words(&listed);
        listed.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let all = id("list");
    assert_eq!(all.len(), 3);
    assert!(all[0].starts_with("0002") && all[1].starts_with("0001"));
    assert_eq!(id("list --limit 1"), all[..1]);
    assert_eq!(id("list other"), all[..2]);
    assert_eq!(id("list --status finished --sort epochs"), all);
    assert_eq!(id("list --status failed"), Vec::<String>::new());
    assert_eq!(id("list --sort score").len(), 3);
    let (_, unknown) = ends_with(2, folder, "list smal");
    assert!(
        unknown.contains("there are runs of other, small"),
        "{unknown}"
    );
    let listed = succeed(folder, "list");
    assert_fits(&listed);
    assert_eq!(listed.matches("reproduction").count(), 1, "{listed}");
    assert_eq!(listed.matches("smoke").count(), 1, "{listed}");
    assert!(listed.contains(" nats/token "), "{listed}");

    // Published records are listed when they are asked for.
    fs::create_dir_all(folder.join("reports/records/small")).unwrap();
    let run = fs::read_dir(folder.join("runs/small")).unwrap().next();
    fs::rename(
        run.unwrap().unwrap().path(),
        folder.join("reports/records/small/0001-abcdef"),
    )
    .unwrap();
    assert_eq!(id("list"), all[..2]);
    for asked in ["list --published", "list small"] {
        assert_eq!(id(asked), ["0001-abcdef"], "{asked}");
    }
    assert_eq!(id("list --all").len(), 3);
    assert_eq!(succeed(folder, "list --json").lines().count(), 3);

    for arguments in ["show latest", "diff other@1 small@1 --all", "corpus list"] {
        assert_fits(&succeed(folder, arguments));
    }
    let corpus = |run: &str| -> String {
        let shown: Value = serde_json::from_str(&succeed(folder, run)).unwrap();
        shown["record"]["corpus"]["fingerprint"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let fingerprint = corpus("show latest --json");
    let shown = succeed(folder, "show latest");
    assert!(shown.contains(&format!("fingerprint {}…\n", &fingerprint[..12])));
    assert_eq!(fingerprint.len(), 64);
}

#[test]
fn a_run_s_metrics_log_page_and_scores_can_be_read() {
    let folder = folder();
    let folder = folder.path();
    let printed = succeed(folder, "run small --threads 1");
    let run = folder.join(printed.trim());

    let csv = succeed(folder, "metrics latest --csv");
    assert!(csv.starts_with("step,epoch,split,metric,value\n"), "{csv}");
    let chosen = succeed(folder, "metrics latest --csv --split valid --metric loss");
    assert_eq!(chosen.lines().count(), 1 + 3, "{chosen}");
    assert!(
        chosen
            .lines()
            .skip(1)
            .all(|it| it.contains(",valid,loss,") && csv.contains(it))
    );
    let json = succeed(folder, "metrics latest --json");
    assert_eq!(json.lines().count(), csv.lines().count() - 1);
    let first: Value = serde_json::from_str(json.lines().next().unwrap()).unwrap();
    assert!(first["value"].is_number() && first["metric"].is_string());
    assert_fits(&succeed(folder, "metrics latest"));
    let (_, none) = ends_with(2, folder, "metrics latest --metric los");
    assert!(none.contains("it logged test/loss"), "{none}");

    let log = fs::read_to_string(run.join("log")).unwrap();
    assert!((3..=4).contains(&log.matches("tokens/s").count()), "{log}");
    assert_eq!(log.matches(", held out ").count(), 3, "{log}");

    let scored = succeed(folder, "evaluate latest");
    assert!(
        scored.contains(" tokens\n") && scored.contains("test/perplexity"),
        "{scored}"
    );
    let row = scored.lines().find(|it| it.contains("perplexity")).unwrap();
    let cells: Vec<f64> = row
        .split_whitespace()
        .filter_map(|it| it.parse().ok())
        .collect();
    assert_eq!(cells[0], cells[1], "{row}");

    let page = fs::read_to_string(run.join("report.html")).unwrap();
    assert!(page.contains("the tracks of a piece are laid end to end"));
    assert!(!page.contains("http-equiv"));
}

#[cfg(unix)]
#[test]
fn the_page_of_a_running_run_loads_itself_again_until_it_stops() {
    let folder = folder();
    let folder = folder.path();
    let child = command(folder, "run small --threads 1 -S training.epochs=100000")
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn();
    let mut child = child.unwrap();
    let page = || -> Option<String> {
        let run = fs::read_dir(folder.join("runs/small")).ok()?.next()?.ok()?;
        fs::read_to_string(run.path().join("report.html")).ok()
    };
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    let while_running = loop {
        if let Some(page) = page() {
            break page;
        }
        assert!(std::time::Instant::now() < deadline, "no page");
        std::thread::sleep(std::time::Duration::from_millis(50));
    };
    let id = child.id().to_string();
    assert!(Command::new("kill").arg(&id).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let reload = r#"<meta http-equiv="refresh" content="15">"#;
    assert!(while_running.contains(reload));
    assert!(while_running.contains(" — running"), "the state of the run");
    assert!(
        while_running.contains("loss-curve"),
        "its score is not in the page"
    );
    let stopped = page().unwrap();
    assert!(!stopped.contains(reload) && stopped.contains(" — interrupted"));
}

#[test]
fn a_wrong_argument_is_told_in_the_user_s_words_with_what_would_work() {
    let folder = folder();
    let folder = folder.path();
    let text = EXPERIMENT.replace("epochs: 3", "epochs: three");
    fs::write(folder.join("three.yaml"), text).unwrap();
    for (arguments, says) in [
        ("run smal", "did you mean `small`?"),
        (
            "run experiments",
            "is a folder, and an experiment is one file",
        ),
        (
            "run small -S seed=2",
            "there is no setting `seed`; did you mean `training.seed`",
        ),
        (
            "run three.yaml",
            "training.epochs must be a whole number, not \"three\"",
        ),
        (
            "generate x -o a.mid --temperature -1",
            "--temperature is -1: it must be at least 0",
        ),
        (
            "generate x -o a.mid --top-k 0",
            "--top-k is 0: it must be at least 1",
        ),
        (
            "generate x -o nodir/a.mid",
            "there is no folder 'nodir'; make it first",
        ),
        (
            "generate x -o a.wav",
            "generate writes MIDI: 'a.mid' would work",
        ),
        ("corpus fetch", "`harness corpus list` shows the names"),
    ] {
        let (_, told) = ends_with(2, folder, arguments);
        assert!(told.contains(says), "harness {arguments}: {told}");
    }
    let fetched = succeed(folder, "corpus fetch counterpoint");
    assert!(
        fetched.contains("built in, with nothing to fetch"),
        "{fetched}"
    );
    fs::create_dir(folder.join("own")).unwrap();
    fs::write(folder.join("own/a.mid"), "no music").unwrap();
    fs::write(folder.join("own/b.txt"), "a text").unwrap();
    let files = succeed(folder, "corpus stats own --files");
    assert!(
        files.starts_with("outcome   notes  file   what was found\n"),
        "{files}"
    );
    assert!(
        files.contains("skipped       0  b.txt  no MIDI file\n"),
        "{files}"
    );
}

#[cfg(unix)]
#[test]
fn verdicts_have_colours_on_a_terminal_unless_none_are_wanted() {
    let folder = folder();
    let folder = folder.path();
    succeed(folder, "run small --smoke");
    assert!(!succeed(folder, "verify latest").contains('\u{1b}'));
    let script = "
import os, pty, sys
told = []
pty.spawn(sys.argv[1:], lambda fd: told.append(os.read(fd, 1024)) or told[-1])
";
    let on_a_terminal = |colour: Option<&str>| {
        let mut command = Command::new("python3");
        command
            .args([
                "-c",
                script,
                env!("CARGO_BIN_EXE_harness"),
                "verify",
                "latest",
            ])
            .current_dir(folder)
            .env_remove("NO_COLOR");
        command.envs(colour.map(|value| ("NO_COLOR", value)));
        let output = command
            .output()
            .expect("Python 3 is needed to open a terminal");
        String::from_utf8(output.stdout).unwrap()
    };
    let told = on_a_terminal(None);
    assert!(told.contains("is \u{1b}[32mintact\u{1b}[0m"), "{told}");
    assert!(on_a_terminal(Some("")).contains('\u{1b}'));
    let plain = on_a_terminal(Some("1"));
    assert!(
        plain.contains("is intact") && !plain.contains('\u{1b}'),
        "{plain}"
    );
}
