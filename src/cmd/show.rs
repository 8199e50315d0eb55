//! `harness show RUN`: one run.

use std::process::ExitCode;

use anyhow::Result;
use serde_json::{Value, json};

use crate::diff::significant;
use crate::metric::{Direction, metric};
use crate::run::{Metrics, Point, Store, StoredRun, flat_settings};
use crate::text_table::{aligned, print};

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
    let curves = curves(&stored.metrics()?)?;
    let settings = flat_settings(&stored.experiment_yaml()?)?;
    let files = stored.files()?;
    if args.json {
        let numbers =
            |it: &Point| json!({ "step": it.step, "epoch": it.epoch, "value": finite(it.value) });
        let metrics = curves.iter().map(|it| {
            json!({ "split": it.split, "metric": it.name, "best": it.best.as_ref().map(numbers), "last": numbers(&it.last) })
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

    let mut page = aligned(&["run", &stored.id], &facts(&stored));
    for event in &stored.record.events {
        page += &format!("{} {}\n", event.at, event.what);
    }
    let rows: Vec<Vec<String>> = settings
        .into_iter()
        .map(|(key, value)| vec![key, first_line(&value)])
        .collect();
    page += &format!("\n{}", aligned(&["setting", "value"], &rows));
    if !curves.is_empty() {
        let rows: Vec<Vec<String>> = curves.iter().map(Curve::row).collect();
        page += &format!("\n{}", aligned(&["metric", "best", "last", "unit"], &rows));
    }
    let rows: Vec<Vec<String>> = files
        .into_iter()
        .map(|(path, bytes)| vec![path, bytes.to_string()])
        .collect();
    page += &format!("\n{}", aligned(&["file", "bytes"], &rows));
    print(&page)?;
    Ok(ExitCode::SUCCESS)
}

fn facts(run: &StoredRun) -> Vec<Vec<String>> {
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
        add("", format!("fingerprint {}", corpus.fingerprint));
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

impl Curve {
    fn row(&self) -> Vec<String> {
        let kind = metric(&self.name);
        let point = |it: &Point| format!("{} @{}", significant(it.value, 6), it.step);
        vec![
            format!("{}/{} {}", self.split, self.name, kind.direction.arrow()),
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
fn finite(value: f64) -> Value {
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
