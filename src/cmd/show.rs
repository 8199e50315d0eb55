//! `harness show RUN`: one run.

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::Result;
use serde_json::{Value, json};

use super::best_on_valid;
use crate::checksum::shortened;
use crate::diff::significant;
use crate::metric::{Direction, metric};
use crate::number::grouped;
use crate::run::{Metrics, Point, Store, StoredRun, flat_settings};
use crate::terminal::coloured;
use crate::text_table::{aligned, print, wrapped};

/// Arguments of `show`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The run
    run: String,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Shows what a run is, what it measured and what it left.
///
/// # Errors
/// When the run is not found, or its files cannot be read.
pub fn run(args: &Args) -> Result<ExitCode> {
    let stored = Store::here().find(&args.run)?;
    let metrics = stored.metrics()?;
    let (curves, best) = (curves(&metrics)?, best_on_valid(&metrics)?);
    let scored = Scored {
        best: best.map(|(_, best)| best.step),
    };
    let settings = flat_settings(&stored.experiment_yaml()?)?;
    let files = stored.files()?;
    if args.json {
        let numbers =
            |it: &Point| json!({ "step": it.step, "epoch": it.epoch, "value": finite(it.value) });
        let metrics = curves.iter().map(|it| {
            let mut shown = json!({ "split": it.split, "metric": it.name, "best": it.best.as_ref().map(numbers), "last": numbers(&it.last) });
            if it.split == TEST {
                shown["weights_of_step"] = scored.step(it).into();
            }
            shown
        });
        let shown = json!({
            "id": stored.id,
            "state": stored.state().to_string(),
            "published": stored.published,
            "path": stored.path,
            "settings": settings,
            "metrics": metrics.collect::<Vec<Value>>(),
            "files": files.iter().map(|(path, bytes)| json!({ "path": path, "bytes": bytes })).collect::<Vec<Value>>(),
            "record": stored.record,
        });
        print(&format!("{shown}\n"))?;
        return Ok(ExitCode::SUCCESS);
    }

    let mut page = aligned(&["run", &stored.id], &facts(&stored, &settings));
    for event in &stored.record.events {
        page += &wrapped(&format!("{} {}", event.at, event.what));
    }
    let rows: Vec<Vec<String>> = settings
        .into_iter()
        .map(|(key, value)| vec![key, first_line(&value)])
        .collect();
    page += &format!("\n{}", aligned(&["setting", "value"], &rows));
    if !curves.is_empty() {
        let rows: Vec<Vec<String>> = curves.iter().map(|it| it.row(&scored)).collect();
        page += &format!("\n{}", aligned(&["metric", "best", "last", "unit"], &rows));
    }
    let rows: Vec<Vec<String>> = files
        .into_iter()
        .map(|(path, bytes)| vec![path, grouped(bytes)])
        .collect();
    page += &format!("\n{}", aligned(&["file", "bytes"], &rows));
    print(&coloured(&page))?;
    Ok(ExitCode::SUCCESS)
}

fn facts(run: &StoredRun, settings: &BTreeMap<String, String>) -> Vec<Vec<String>> {
    let record = &run.record;
    let mut rows: Vec<Vec<String>> = Vec::new();
    let mut add = |key: &str, value: String| rows.push(vec![key.to_string(), value]);
    add(
        "experiment",
        format!(
            "{} (number {}, seed {})",
            record.experiment, record.number, record.seed
        ),
    );
    let reason = record
        .reason
        .as_ref()
        .map(|it| format!(": {it}"))
        .unwrap_or_default();
    add("status", format!("{}{reason}", run.state()));
    if record.smoke {
        add(
            "smoke",
            "yes: the numbers only show that the path works".into(),
        );
    }
    add(
        "reached",
        format!("step {}, epoch {}", record.step, record.epoch),
    );
    for (key, file) in settings {
        if let Some(key) = key.strip_prefix("changed_on_command_line.") {
            add(
                "changed",
                format!("on the command line: {key}, which is {file} in the file"),
            );
        }
    }
    if let Some(step) = record.concluded_at {
        add(
            "concluded",
            format!("at step {step}, before the end of the training that was planned"),
        );
    }
    if let Some(corpus) = &record.corpus {
        let synthetic = if corpus.synthetic { ", synthetic" } else { "" };
        let stand_in = corpus
            .stand_in
            .as_ref()
            .map(|it| format!(", stands in for {it}"))
            .unwrap_or_default();
        add("corpus", format!("{}{synthetic}{stand_in}", corpus.name));
        add("", format!("from {}", corpus.origin));
        add(
            "",
            format!("fingerprint {}", shortened(&corpus.fingerprint)),
        );
    }
    // What a resumed execution has in common with the one before is not told again.
    let mut before: Vec<String> = Vec::new();
    for (index, it) in record.executions().enumerate() {
        let (environment, from) = (&it.environment, it.from_step.unwrap_or(0));
        let began = if index == 0 { "started" } else { "resumed" };
        add(
            began,
            format!("{} at step {from}, worked {:.1} s", it.started, it.seconds),
        );
        let told = vec![
            format!("device {}", environment.device_in_words()),
            format!("kernels {}", environment.kernel_path),
            format!("precision {}", environment.precision),
            format!("threads {}", environment.threads),
            format!("code {}", it.code.summary()),
            format!("harness {}", it.command.join(" ")),
        ];
        for line in told.iter().filter(|line| !before.contains(line)) {
            add("", line.clone());
        }
        before = told;
    }
    add(
        "ended",
        record
            .ended
            .clone()
            .unwrap_or_else(|| format!("– (last sign of life {})", record.heartbeat)),
    );
    add("folder", run.path.display().to_string());
    rows
}

/// A metric's curve in two points.
struct Curve {
    split: String,
    name: String,
    best: Option<Point>,
    last: Point,
}

/// Digits of a value: other seeds move the fourth.
const DIGITS: usize = 5;

/// The split that is scored once, with the weights that a run keeps.
const TEST: &str = "test";

/// Which weights a run keeps, and scores on test.
struct Scored {
    /// The step of those that are best on valid; `None` where nothing is held out.
    best: Option<u64>,
}

impl Scored {
    /// The step of the weights that the test split was scored with. Records of an older harness have their scores on it at the last step
    /// of the training, whatever the weights.
    fn step(&self, test: &Curve) -> u64 {
        self.best.unwrap_or(test.last.step)
    }
}

impl Curve {
    fn row(&self, scored: &Scored) -> Vec<String> {
        let kind = metric(&self.name);
        let point = |it: &Point| format!("{} @{}", significant(it.value, DIGITS), it.step);
        let name = format!("{}/{} {}", self.split, self.name, kind.direction.arrow());
        if self.split == TEST {
            let which = match scored.best {
                Some(_) => "best on valid",
                None => "the last",
            };
            let value = significant(self.last.value, DIGITS);
            let weights = format!("{value} (weights of step {}, {which})", scored.step(self));
            return vec![name, weights, "–".into(), kind.unit.to_string()];
        }
        vec![
            name,
            self.best.as_ref().map_or_else(|| "–".into(), point),
            point(&self.last),
            kind.unit.to_string(),
        ]
    }
}

fn curves(metrics: &Metrics) -> Result<Vec<Curve>> {
    let mut curves = Vec::new();
    for (split, name) in metrics.names()? {
        let points = metrics.series(&split, &name)?;
        let direction = metric(&name).direction;
        let better = |best: Point, point: Point| {
            if direction.is_better(point.value, best.value) {
                point
            } else {
                best
            }
        };
        let numbers = points
            .iter()
            .copied()
            .filter(|it| !it.value.is_nan() && direction != Direction::Neutral);
        if let Some(last) = points.last().copied() {
            curves.push(Curve {
                split,
                name,
                best: numbers.reduce(better),
                last,
            });
        }
    }
    Ok(curves)
}

/// A number as JSON, or why it is none.
pub(super) fn finite(value: f64) -> Value {
    if value.is_finite() {
        value.into()
    } else {
        json!({ "null": value.to_string() })
    }
}

fn first_line(value: &str) -> String {
    let line = value.lines().next().unwrap_or_default();
    if value.lines().count() > 1 {
        format!("{line} …")
    } else {
        line.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_score_on_test_is_told_with_the_weights_that_it_is_of_wherever_a_record_puts_it() {
        let test = Curve {
            split: TEST.into(),
            name: "loss".into(),
            best: None,
            last: Point {
                step: 20,
                epoch: 2,
                value: 5.5,
            },
        };
        let told = |best| test.row(&Scored { best })[1].clone();
        assert_eq!(told(Some(10)), "5.5 (weights of step 10, best on valid)");
        assert_eq!(told(None), "5.5 (weights of step 20, the last)");
    }
}
