//! `harness metrics RUN`: every value that a run logged, as a table.

use std::process::ExitCode;

use anyhow::{Context, Result};
use serde_json::json;

use super::show::finite;
use crate::bail_usage;
use crate::run::{Row, Store};
use crate::text_table::{aligned, print};

/// Arguments of `metrics`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The run
    run: String,
    /// Only values of this split: train, valid or test
    #[arg(long)]
    split: Option<String>,
    /// Only values of this metric, such as loss
    #[arg(long)]
    metric: Option<String>,
    /// Print CSV, with every digit
    #[arg(long, group = "format")]
    csv: bool,
    /// Print JSON Lines, one object a value
    #[arg(long, group = "format")]
    json: bool,
}

const HEADER: [&str; 5] = ["step", "epoch", "split", "metric", "value"];

/// Prints the values, by step, split and metric.
///
/// # Errors
/// When the run is not found or damaged, or it logged nothing that was asked for.
pub fn run(args: &Args) -> Result<ExitCode> {
    let metrics = Store::here().find(&args.run)?.metrics()?;
    let is = |wanted: &Option<String>, name: &str| wanted.as_ref().is_none_or(|it| it == name);
    let mut rows = metrics.rows()?;
    rows.retain(|row| is(&args.split, &row.split) && is(&args.metric, &row.metric));
    if rows.is_empty() && (args.split.is_some() || args.metric.is_some()) {
        let names = metrics.names()?.into_iter();
        let names: Vec<String> = names
            .map(|(split, name)| format!("{split}/{name}"))
            .collect();
        bail_usage!(
            "run {} logged no such value; it logged {}",
            args.run,
            names.join(", ")
        );
    }
    print(&if args.csv {
        to_csv(&rows)?
    } else if args.json {
        let line = |row: &Row| {
            let Row {
                step,
                epoch,
                split,
                metric,
                value,
            } = row;
            let value = finite(*value);
            format!(
                "{}\n",
                json!({ "step": step, "epoch": epoch, "split": split, "metric": metric, "value": value })
            )
        };
        rows.iter().map(line).collect()
    } else {
        aligned(&HEADER, &rows.iter().map(cells).collect::<Vec<_>>())
    })?;
    Ok(ExitCode::SUCCESS)
}

fn cells(row: &Row) -> Vec<String> {
    vec![
        row.step.to_string(),
        row.epoch.to_string(),
        row.split.clone(),
        row.metric.clone(),
        row.value.to_string(),
    ]
}

fn to_csv(rows: &[Row]) -> Result<String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(HEADER).context("failed to write CSV")?;
    for row in rows {
        writer
            .write_record(cells(row))
            .context("failed to write CSV")?;
    }
    let bytes = writer.into_inner().context("failed to write CSV")?;
    String::from_utf8(bytes).context("failed to write CSV")
}
