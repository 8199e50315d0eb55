//! Toy runs compared.

use std::path::Path;

use crate::artifacts::{EVALUATION, Evaluation, evaluation_table};
use crate::run::{CorpusIdentity, Environment, NewRun, Store, StoredRun};

use super::*;

/// A finished run whose curves are given as (step, split, metric, value), with these settings.
fn toy(
    folder: &Path,
    seed: u64,
    settings: &str,
    rows: &[(u64, &str, &str, f64)],
    pieces: &[(&str, u64, f64)],
) -> StoredRun {
    let store = Store::new(folder.join("runs"), folder.join("records"));
    let environment = Environment {
        device: "cpu".into(),
        emulated: false,
        hardware: None,
        kernel_path: "portable".into(),
        precision: "f32".into(),
        threads: 1,
    };
    let resolved = format!("training:\n  seed: {seed}\n{settings}");
    let new = NewRun {
        experiment: "toy".into(),
        resolved,
        seed,
        smoke: false,
        environment,
        command: vec!["run".into()],
        concluded_at: None,
    };
    let mut run = store.create(new).unwrap();
    let (name, fingerprint) = ("counterpoint".to_string(), "f00d".to_string());
    let origin = "built in".to_string();
    run.set_corpus(CorpusIdentity {
        name,
        fingerprint,
        stand_in: None,
        synthetic: true,
        origin,
        details: Default::default(),
    })
    .unwrap();
    for (step, split, metric, value) in rows {
        run.log(*step, 1, split, metric, *value);
    }
    run.log_timing(9, 1, "tokens_per_second", 100.0 * seed as f64);
    if !pieces.is_empty() {
        let rows = pieces.iter().map(|(piece, steps, nll)| Evaluation {
            split: "valid".into(),
            piece: (*piece).into(),
            steps: *steps,
            nll: *nll,
        });
        let table = evaluation_table(&rows.collect::<Vec<_>>()).unwrap();
        run.write_table(EVALUATION, &table).unwrap();
    }
    run.finish().unwrap();
    store.find(run.id()).unwrap()
}

fn at(at: At) -> Options {
    Options { at, only: None }
}

fn verdicts(comparison: &Comparison) -> Vec<(String, &'static str)> {
    comparison
        .measurements
        .iter()
        .map(|it| (format!("{}/{}", it.split, it.metric), it.verdict.text()))
        .collect()
}

#[test]
fn every_piece_that_one_run_alone_scored_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let rows = [(1, "valid", "loss", 3.0)];
    let a = toy(folder.path(), 1, "", &rows, &[("1", 2, 8.0), ("2", 3, 9.0)]);
    let b = toy(folder.path(), 2, "", &rows, &[("2", 3, 7.5), ("3", 5, 7.5)]);
    let comparison = compare(&[a], &[b], &at(At::Best)).unwrap();
    let alone = "2 pieces of valid were scored by one run alone and are left out of its noise";
    assert!(
        comparison.notes.iter().any(|note| note == alone),
        "{:?}",
        comparison.notes
    );
}

#[test]
fn a_tolerance_that_cannot_be_read_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let rows = [(1, "valid", "loss", 3.0)];
    let a = toy(folder.path(), 1, "", &rows, &[]);
    let wrong = "tolerances:\n  loss:\n    absolute: much\n";
    let b = toy(folder.path(), 2, wrong, &rows, &[]);
    let error = compare(&[a], &[b], &at(At::Best)).unwrap_err();
    assert!(format!("{error:#}").contains("tolerances"), "{error:#}");
}

#[test]
fn two_runs_are_compared_on_one_page() {
    let folder = tempfile::tempdir().unwrap();
    let a = toy(
        folder.path(),
        1,
        "tolerances:\n  gradient_norm:\n    relative: 0.5\n",
        &[
            (1, "train", "batch_loss", 5.0),
            (2, "train", "batch_loss", 4.0),
            (1, "valid", "loss", 3.0),
            (2, "valid", "loss", 3.5),
            (2, "valid", "frame_accuracy", 0.25),
            (2, "train", "learning_rate", 0.01),
            (2, "train", "gradient_norm", 1.0),
            (2, "test", "perplexity", 30.0),
        ],
        &[("x", 2, 8.0), ("y", 3, 9.0), ("z", 5, 10.0)],
    );
    let b = toy(
        folder.path(),
        2,
        "tolerances:\n  gradient_norm:\n    relative: 0.5\n",
        &[
            (1, "train", "batch_loss", 5.0),
            (2, "train", "batch_loss", 4.0000000001),
            (1, "valid", "loss", 3.2),
            (2, "valid", "loss", 2.7),
            (2, "valid", "frame_accuracy", 0.2),
            (2, "train", "learning_rate", 0.01),
            (2, "train", "gradient_norm", 1.4),
            (2, "test", "loss", f64::NAN),
        ],
        &[("x", 2, 7.0), ("y", 3, 7.5), ("z", 5, 7.5)],
    );
    let (a, b) = (vec![a], vec![b]);
    let comparison = compare(&a, &b, &at(At::Best)).unwrap();
    let page = to_text(&comparison, false)
        .replace(&a[0].id, "0001-aaaaaa")
        .replace(&b[0].id, "0002-bbbbbb");
    let expected = "\
Runs
   run          experiment  seed  state
A  0001-aaaaaa  toy         1     finished at step 2
B  0002-bbbbbb  toy         2     finished at step 2

What differs
in          key            A  B
experiment  training.seed  1  2

Metrics at best, each by itself (↓ lower is better, ↑ higher is better, · neither: the last)
metric                  A       B                Δ       Δ %           verdict
test/loss ↓             –       NaN @2           –       –             added
test/perplexity ↓       30 @2   –                –       –             removed
valid/loss ↓            3 @1    2.7 @2           -0.3    -10 %         improved
valid/frame_accuracy ↑  0.25 @2 0.2 @2           -0.05   -20 %         regressed
";
    let squeezed = |text: &str| text.split_whitespace().collect::<Vec<&str>>().join(" ");
    assert!(squeezed(&page).starts_with(&squeezed(expected)), "{page}");
    assert!(page.contains("4.0000000001"), "{page}");
    assert!(page.contains("no change in 2 of 7 metrics"), "{page}");
    assert!(
        page.contains("part first at step 1, in valid/loss: 3 against 3.2"),
        "{page}"
    );
    // Each piece costs 0.5 nats less per step, whichever pieces are drawn.
    assert!(
        squeezed(&page).contains("valid 3 -0.5 -0.5 to -0.5"),
        "{page}"
    );
    assert!(page.contains("evaluation noise only"), "{page}");
    // One run a side: what is worse is told, and no regression.
    assert_eq!(comparison.regressions(), [] as [&str; 0]);
    assert_eq!(comparison.untested_regressions(), ["valid/frame_accuracy"]);
    assert!(
        page.contains("no test that this is more than chance"),
        "{page}"
    );
    assert!(to_text(&comparison, true).contains("within the tolerance"));
    assert!(to_text(&comparison, true).contains("tokens_per_second"));
    assert!(to_markdown(&comparison, false).contains("| experiment | training.seed | 1 | 2 |"));

    let json: serde_json::Value = serde_json::from_str(&to_json(&comparison).to_string()).unwrap();
    let loss = &json["metrics"][0];
    assert_eq!(
        (&loss["b"], &loss["b_reason"]),
        (&serde_json::Value::Null, &"NaN".into())
    );
    assert_eq!(
        (&loss["a"], &loss["a_reason"]),
        (&serde_json::Value::Null, &"not measured".into())
    );
    assert_eq!(json["differences"][0]["key"], "training.seed");
    let csv = to_csv(&comparison).unwrap();
    assert_eq!(csv.lines().count(), 8);
    assert!(
        csv.contains("valid,loss,nats per token,lower,1,3,1,2.7,"),
        "{csv}"
    );
}

#[test]
fn the_value_can_be_the_last_or_that_of_a_step() {
    let folder = tempfile::tempdir().unwrap();
    let curve = |shift: f64| {
        [
            (1, "valid", "loss", 3.0 + shift),
            (2, "valid", "loss", 4.0 - shift),
        ]
    };
    let (a, b) = (
        vec![toy(folder.path(), 1, "", &curve(0.0), &[])],
        vec![toy(folder.path(), 2, "", &curve(0.5), &[])],
    );
    // Nothing to compare is no verdict: a gate on a mistyped pattern must not pass.
    let verdict = |options: Options| {
        let comparison = compare(&a, &b, &options).ok()?;
        verdicts(&comparison).first().map(|it| it.1)
    };
    assert_eq!(verdict(at(At::Best)), Some("regressed"));
    assert_eq!(verdict(at(At::Last)), Some("improved"));
    assert_eq!(verdict(at(At::Step(1))), Some("regressed"));
    assert_eq!(verdict(at(At::Step(3))), None);
    assert_eq!(
        verdict(Options {
            at: At::Best,
            only: Some("valid/*".into())
        }),
        Some("regressed")
    );
    assert_eq!(
        verdict(Options {
            at: At::Best,
            only: Some("los".into())
        }),
        None
    );
    assert_eq!("best".parse(), Ok(At::Best));
    assert_eq!("12".parse(), Ok(At::Step(12)));
    assert!("worst".parse::<At>().is_err());
}

#[test]
fn a_run_compared_with_itself_has_not_changed() {
    let folder = tempfile::tempdir().unwrap();
    let a = vec![toy(
        folder.path(),
        1,
        "",
        &[(1, "valid", "loss", f64::NAN), (2, "train", "loss", 1.0)],
        &[],
    )];
    let comparison = compare(&a, &a, &at(At::Best)).unwrap();
    assert_eq!(comparison.differences, vec![]);
    let curves = comparison.curves.as_ref().unwrap();
    assert_eq!((curves.shared, &curves.first_difference), (2, &None));
    assert_eq!(
        verdicts(&comparison),
        [
            ("valid/loss".to_string(), "NaN"),
            ("train/loss".to_string(), "no change")
        ]
    );
    assert!(comparison.regressions().is_empty() && comparison.untested_regressions().is_empty());
}

#[test]
fn curves_without_a_common_step_are_not_called_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let runs = [(1, 2), (2, 3)].map(|(seed, step)| {
        let rows = [(1, "train", "loss", 1.0), (step, "test", "loss", 2.0)];
        vec![toy(folder.path(), seed, "", &rows, &[])]
    });
    let options = Options {
        only: Some("test/*".into()),
        ..at(At::Last)
    };
    let comparison = compare(&runs[0], &runs[1], &options).unwrap();
    assert_eq!(comparison.curves.as_ref().unwrap().shared, 0);
    let page = to_text(&comparison, false);
    assert!(
        page.contains("no step at which both have a value"),
        "{page}"
    );
}

#[test]
fn groups_are_judged_by_an_exact_test() {
    let folder = tempfile::tempdir().unwrap();
    let group = |first: u64, values: &[f64]| -> Vec<StoredRun> {
        let runs = values.iter().zip(first..);
        runs.map(|(loss, seed)| {
            toy(
                folder.path(),
                seed,
                "",
                &[
                    (1, "valid", "loss", *loss),
                    (1, "valid", "perplexity", loss.exp()),
                    (1, "valid", "nll_per_step", *loss),
                    (1, "valid", "frame_accuracy", 0.5),
                ],
                &[],
            )
        })
        .collect()
    };
    let (a, b) = (
        group(1, &[3.0, 3.1, 3.2, 3.3, 3.4]),
        group(11, &[2.0, 2.1, 2.2, 2.3, 2.4]),
    );
    let comparison = compare(&a, &b, &at(At::Best)).unwrap();
    assert_eq!(verdicts(&comparison)[0].1, "improved");
    let test = comparison.measurements[0].test.unwrap();
    // 2 of the 252 ways to choose 5 of 10, and two tests: perplexity and the equal nats per step say what the loss says.
    assert!((test.p - 2.0 / 252.0).abs() < 1e-12 && (test.p_holm - 4.0 / 252.0).abs() < 1e-12);
    for (at, metric) in [(1, "perplexity"), (2, "nll_per_step")] {
        let row = &comparison.measurements[at];
        assert_eq!(row.metric, metric);
        assert_eq!(row.test.unwrap().p_holm, test.p_holm);
    }
    assert_eq!(test.smallest_p, test.p);
    let interval = test.interval.unwrap();
    assert!(
        interval.low > -1.3 && interval.high < -0.7 && interval.low < -1.0 && interval.high > -1.0
    );
    assert_eq!(verdicts(&comparison)[3].1, "no change");
    assert_eq!(comparison.differences[0].a, ["1", "2", "3", "4", "5"]);

    // Three a side cannot show anything at 5 %, however far apart they lie.
    let comparison = compare(&a[..3], &b[..3], &at(At::Best)).unwrap();
    assert_eq!(verdicts(&comparison)[0].1, "inconclusive");
    let reason = comparison.measurements[0].reason.as_deref().unwrap();
    assert!(
        reason.contains("n = 3 and 3 cannot give p below 0.10"),
        "{reason}"
    );
    assert!(to_text(&comparison, false).contains("(n = 3)"));

    // One run against three has no test at all.
    let comparison = compare(&a[..1], &b[..3], &at(At::Best)).unwrap();
    assert_eq!(verdicts(&comparison)[0].1, "inconclusive");
    assert_eq!(comparison.measurements[0].test, None);
    assert!(
        compare(&a[..2], &a[1..], &at(At::Best))
            .unwrap_err()
            .to_string()
            .contains("both sides")
    );
}

#[test]
fn a_repetition_is_no_further_observation() {
    let folder = tempfile::tempdir().unwrap();
    let one =
        |seed: u64, loss: f64| toy(folder.path(), seed, "", &[(1, "valid", "loss", loss)], &[]);
    let a = vec![one(1, 3.0), one(1, 3.0), one(2, 3.1)];
    let b = vec![one(3, 2.0), one(4, 2.1)];
    let comparison = compare(&a, &b, &at(At::Best)).unwrap();
    assert_eq!(comparison.a.len(), 2);
    assert!(
        comparison.notes.iter().any(|it| it.contains("repeats run")),
        "{:?}",
        comparison.notes
    );
    assert!((comparison.measurements[0].test.unwrap().p - 1.0 / 3.0).abs() < 1e-12);
}

#[test]
fn patterns_match_names_with_or_without_their_split() {
    for (glob, expected) in [
        ("loss", true),
        ("valid/*", true),
        ("*ss", true),
        ("l?ss", true),
        ("train/*", false),
        ("", false),
    ] {
        assert_eq!(covers_glob(glob, "valid", "loss"), expected, "{glob}");
    }
}

#[test]
fn the_first_difference_is_by_step_then_name() {
    let row = |step: u64, metric: &str, value: f64| crate::run::Row {
        step,
        epoch: 1,
        split: "train".into(),
        metric: metric.into(),
        value,
    };
    let a = [
        row(2, "loss", 1.0),
        row(1, "loss", f64::NAN),
        row(3, "loss", 3.0),
    ];
    let b = [
        row(1, "loss", f64::NAN),
        row(2, "loss", 1.0),
        row(3, "loss", 3.5),
        row(3, "aaa", 0.0),
    ];
    let found = first_difference(&a, &b, |_, a, b| curve::same_bits(a, b)).unwrap();
    assert_eq!(
        (found.step, found.metric.as_str(), found.a, found.b),
        (3, "aaa", None, Some(0.0))
    );
    assert_eq!(
        first_difference(&a, &a, |_, a, b| curve::same_bits(a, b)),
        None
    );
    assert_eq!(
        first_difference(&a, &b[..3], |_, a, b| a.is_nan() || (a - b).abs() < 1.0),
        None
    );
}
