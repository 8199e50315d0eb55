//! The metrics of a run: rows in memory, segments on disk, one canonical table at the end.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use polars::prelude::{ChunkCompareIneq, UniqueKeepStrategy};

use super::disk::{create_folder, read_file, sync_folder, write_atomically};
use super::error::RunError;
use super::record::Execution;
use super::table::Table;
use crate::checksum::sha256;

/// One measured value.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Optimizer steps completed when it was measured.
    pub step: u64,
    /// Epochs begun, from 1; 0 before training.
    pub epoch: u32,
    /// `train`, `valid` or `test`.
    pub split: String,
    /// The metric's name, see [`crate::metric::METRICS`].
    pub metric: String,
    /// The value.
    pub value: f64,
}

/// One value of one metric's curve.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// Optimizer steps completed.
    pub step: u64,
    /// Epochs begun.
    pub epoch: u32,
    /// The value.
    pub value: f64,
}

/// Every metric of a run, sorted by step, split and metric, one value each.
#[derive(Debug, Clone)]
pub struct Metrics {
    table: Table,
}

const KEY: [&str; 3] = ["step", "split", "metric"];

impl Metrics {
    /// The metrics in a table of columns `step, epoch, split, metric, value`; of rows with the same step, split and metric the last counts.
    pub fn from_table(table: Table) -> Result<Self> {
        let keys: Vec<String> = KEY.map(String::from).to_vec();
        let frame = table
            .frame
            .unique_stable(Some(&keys), UniqueKeepStrategy::Last, None)
            .context("not a table of metrics")?;
        let metrics = Self {
            table: Table { frame }.sorted_by(&KEY)?,
        };
        // The columns that are not keys are looked at once here, so that later reads cannot fail on them.
        metrics.rows().context("not a table of metrics")?;
        Ok(metrics)
    }

    /// Every row, in order.
    pub fn rows(&self) -> Result<Vec<Row>> {
        let (steps, epochs) = (self.table.u64s("step")?, self.table.u32s("epoch")?);
        let (splits, metrics) = (self.table.texts("split")?, self.table.texts("metric")?);
        let values = self.table.f64s("value")?;
        let mut rows = Vec::with_capacity(values.len());
        for ((((step, epoch), split), metric), value) in steps
            .into_iter()
            .zip(epochs)
            .zip(splits)
            .zip(metrics)
            .zip(values)
        {
            rows.push(Row {
                step,
                epoch,
                split,
                metric,
                value,
            });
        }
        Ok(rows)
    }

    /// The curve of `metric` on `split`, by step; empty if it was never measured.
    pub fn series(&self, split: &str, metric: &str) -> Result<Vec<Point>> {
        let chosen = self
            .table
            .rows_where("split", split)?
            .rows_where("metric", metric)?;
        let (steps, epochs, values) = (
            chosen.u64s("step")?,
            chosen.u32s("epoch")?,
            chosen.f64s("value")?,
        );
        let points = steps.into_iter().zip(epochs).zip(values);
        Ok(points
            .map(|((step, epoch), value)| Point { step, epoch, value })
            .collect())
    }

    /// Which metrics there are, as (split, metric), sorted.
    pub fn names(&self) -> Result<Vec<(String, String)>> {
        let keys: Vec<String> = ["split", "metric"].map(String::from).to_vec();
        let frame = self
            .table
            .frame
            .unique_stable(Some(&keys), UniqueKeepStrategy::First, None);
        let names = Table {
            frame: frame.context("failed to list the metrics")?,
        }
        .sorted_by(&["split", "metric"])?;
        Ok(names
            .texts("split")?
            .into_iter()
            .zip(names.texts("metric")?)
            .collect())
    }

    /// The table `step, epoch, split, metric, value`, in canonical order.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// The canonical Parquet file: its bytes depend on the rows alone, not on how they came together.
    pub fn to_parquet(&self) -> Result<Vec<u8>> {
        table_of(&self.rows()?)?.to_parquet()
    }
}

fn table_of(rows: &[Row]) -> Result<Table> {
    Table::new()
        .with(
            "step",
            rows.iter().map(|row| row.step).collect::<Vec<u64>>(),
        )?
        .with(
            "epoch",
            rows.iter().map(|row| row.epoch).collect::<Vec<u32>>(),
        )?
        .with(
            "split",
            rows.iter()
                .map(|row| row.split.clone())
                .collect::<Vec<String>>(),
        )?
        .with(
            "metric",
            rows.iter()
                .map(|row| row.metric.clone())
                .collect::<Vec<String>>(),
        )?
        .with(
            "value",
            rows.iter().map(|row| row.value).collect::<Vec<f64>>(),
        )
}

/// Beyond so many segments they are merged into one.
const MOST_SEGMENTS: usize = 64;

/// The rows of a running run: a buffer, and what was flushed from it as `NNNNNN-<checksum>.parquet`.
///
/// A segment's checksum is part of its name, so that a segment is either whole and known to be, or absent.
#[derive(Debug)]
pub(super) struct Segments {
    folder: PathBuf,
    pub(super) next: u32,
    count: usize,
    buffer: Vec<Row>,
}

impl Segments {
    /// The segments in `folder`, which is made if it is missing.
    pub fn open(folder: PathBuf) -> Result<Self> {
        create_folder(&folder)?;
        let segments = list(&folder)?;
        let next = segments.last().map_or(1, |(number, _)| number + 1);
        Ok(Self {
            folder,
            next,
            count: segments.len(),
            buffer: Vec::new(),
        })
    }

    /// The number of the segment that will be written next.
    pub fn next(&self) -> u32 {
        self.next
    }

    /// Keeps `row` until the next flush.
    pub fn push(&mut self, row: Row) {
        self.buffer.push(row);
    }

    /// Writes what was kept as a new segment. After a failure nothing is lost: the next flush tries again.
    pub fn flush(&mut self) -> Result<()> {
        if !self.buffer.is_empty() {
            self.write(&table_of(&self.buffer)?)?;
            self.buffer.clear();
        }
        Ok(())
    }

    /// How many segments there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Where there are many segments, writes all of them as one more, which counts alone from now on. The others are returned, to be
    /// removed once the record knows.
    pub fn merge(&mut self, executions: &[&Execution]) -> Result<Vec<PathBuf>> {
        if self.count <= MOST_SEGMENTS {
            return Ok(Vec::new());
        }
        let old = list(&self.folder)?;
        let merged = load(&self.folder, executions, self.count)?;
        self.write(&table_of(&merged.rows()?)?)?;
        self.count = 1;
        Ok(old.into_iter().map(|(_, path)| path).collect())
    }

    /// Removes segments that a merged one holds.
    pub fn remove(&self, merged: &[PathBuf]) -> Result<()> {
        for path in merged {
            fs::remove_file(path)
                .with_context(|| format!("failed to remove '{}'", path.display()))?;
        }
        Ok(sync_folder(&self.folder)?)
    }

    fn write(&mut self, table: &Table) -> Result<()> {
        let bytes = table.to_parquet()?;
        let name = format!("{:06}-{}.parquet", self.next, &sha256(&bytes)[..16]);
        write_atomically(&self.folder.join(name), &bytes)?;
        self.next += 1;
        self.count += 1;
        Ok(())
    }
}

/// The metrics that the segments in `folder` hold, given who wrote them: what an execution logged after the
/// checkpoint that a later one continued from was computed again, and does not count. Fewer than `at_least` are damage.
pub(super) fn load(folder: &Path, executions: &[&Execution], at_least: usize) -> Result<Metrics> {
    let segments = list(folder)?;
    if segments.len() < at_least {
        let reason = format!("it has {} of at least {at_least} segments", segments.len());
        return Err(damaged(folder, &reason).into());
    }
    let mut frame = table_of(&[])?.frame;
    for (number, path) in segments {
        let later = executions
            .iter()
            .skip(1)
            .filter(|it| it.first_segment > number);
        let limit = later
            .map(|it| it.from_step)
            .min_by_key(|from| from.map_or(0, |step| step + 1));
        let segment = read(&path)?;
        let kept = match limit {
            None => segment.frame,
            Some(None) => continue,
            Some(Some(step)) => {
                let steps = segment
                    .frame
                    .column("step")
                    .and_then(|it| it.u64().cloned());
                let mask = steps
                    .with_context(|| format!("'{}' is not a metrics segment", path.display()))?
                    .lt_eq(step);
                segment
                    .frame
                    .filter(&mask)
                    .context("failed to choose rows")?
            }
        };
        frame
            .vstack_mut(&kept)
            .map_err(|error| damaged(&path, &format!("it is not a metrics segment: {error}")))?;
    }
    frame.rechunk_mut();
    Metrics::from_table(Table { frame })
        .with_context(|| format!("failed to read the segments in '{}'", folder.display()))
}

fn read(path: &Path) -> Result<Table> {
    let bytes = read_file(path)?;
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let checksum = stem
        .split_once('-')
        .map(|(_, checksum)| checksum)
        .unwrap_or_default();
    if sha256(&bytes)[..16] != *checksum {
        return Err(damaged(path, "its bytes do not have the checksum in its name").into());
    }
    Table::from_intact_parquet(&bytes).map_err(|error| damaged(path, &format!("{error:#}")).into())
}

fn damaged(path: &Path, reason: &str) -> RunError {
    let advice = "put back a copy of what it was, or start the experiment anew with `harness run`; nothing was touched";
    RunError::Corrupt {
        file: path.to_path_buf(),
        reason: format!("{reason}; {advice}"),
    }
}

/// The segments in `folder` by number. Whatever is not named as a segment is none.
pub(super) fn list(folder: &Path) -> Result<Vec<(u32, PathBuf)>> {
    let mut found = Vec::new();
    if !folder.exists() {
        return Ok(found);
    }
    for entry in
        fs::read_dir(folder).with_context(|| format!("failed to list '{}'", folder.display()))?
    {
        let path = entry
            .with_context(|| format!("failed to list '{}'", folder.display()))?
            .path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let number = name
            .strip_suffix(".parquet")
            .and_then(|stem| stem.split_once('-'))
            .map(|(number, _)| number);
        if let Some(number) = number.and_then(|number| number.parse().ok()) {
            found.push((number, path));
        }
    }
    found.sort();
    Ok(found)
}
