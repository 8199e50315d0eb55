//! Learning curves: a metric on train and held-out pieces, epoch by epoch, the best held-out epoch marked; a thin line for each
//! further training seed.

use anyhow::Result;

use super::super::group::Group;
use super::super::record::{Metric, RunRecord};
use super::super::text::number;
use super::axis::{Axis, Panel};
use super::canvas::{Canvas, Mark, figure};
use super::style::{INK, MUTED, WIDTH, series_colour, series_mark};
use super::{Drawing, Spot, csv_text};
use crate::metric::{Direction, metric};

/// A metric worth a curve.
struct Curve {
    metric: &'static str,
    title: &'static str,
}

const CURVES: [Curve; 3] = [
    Curve {
        metric: "loss",
        title: "Loss",
    },
    Curve {
        metric: "nll_per_step",
        title: "Negative log-likelihood",
    },
    Curve {
        metric: "frame_accuracy",
        title: "Frame accuracy",
    },
];

const HEIGHT: i32 = 860;

/// One curve figure for each metric that the runs measured by epoch.
pub fn draw(group: &Group) -> Result<Vec<Drawing>> {
    let run = group.shown();
    // The loss of a model of keys is its likelihood per step: one figure suffices.
    let has = |metric: &str| run.metrics.iter().any(|row| row.metric == metric);
    let repeated =
        |curve: &&Curve| curve.metric == "loss" && run.models_keys() && has("nll_per_step");
    let curves = CURVES.iter().filter(|curve| !repeated(curve));
    curves
        .filter_map(|curve| draw_curve(group, curve).transpose())
        .collect()
}

/// What one figure shows.
struct Plot<'a> {
    /// The shown run's rows by split.
    series: Vec<Series<'a>>,
    /// Those of the other seeds.
    others: Vec<(u64, Vec<Series<'a>>)>,
    /// The shown run's seed.
    seed: u64,
    /// The shown run's best row on valid.
    best: Option<&'a Metric>,
    /// What models without a network score.
    yardsticks: Vec<(String, f64)>,
    /// The metric's name and unit for the axis.
    axis: String,
    /// The metric's unit.
    unit: &'static str,
}

/// A split's rows.
type Series<'a> = (&'static str, Vec<&'a Metric>);

/// The rows of a run's curve, by split. The test split is scored once, so it is a number in a table and no curve.
fn series_of<'a>(run: &'a RunRecord, curve: &Curve) -> Vec<Series<'a>> {
    let of = |split: &'static str| {
        let rows = run.metrics.iter();
        let rows = rows.filter(|row| {
            row.metric == curve.metric && row.split == split && row.value.is_finite()
        });
        (split, rows.collect::<Vec<&Metric>>())
    };
    let series = ["train", "valid"].into_iter().map(of);
    series.filter(|(_, rows)| !rows.is_empty()).collect()
}

fn draw_curve(group: &Group, curve: &Curve) -> Result<Option<Drawing>> {
    let run = group.shown();
    let seed_of = |run: &RunRecord| run.stored.record.seed;
    let series = series_of(run, curve);
    if series.is_empty() {
        return Ok(None);
    }
    let others: Vec<(u64, Vec<Series>)> = group.runs()[1..]
        .iter()
        .map(|run| (seed_of(run), series_of(run, curve)))
        .collect();
    let unit = run.unit(curve.metric);
    let direction = metric(curve.metric).direction;
    let held_out = series.iter().find(|(split, _)| *split == "valid");
    let plot = Plot {
        best: best_of(held_out.map(|it| it.1.as_slice()), direction),
        yardsticks: near_yardsticks(run, curve, &series),
        axis: with_unit(&curve.title.to_lowercase(), ", ", unit, ""),
        series,
        others,
        seed: seed_of(run),
        unit,
    };
    let mut spots = Vec::new();
    let splits = match (&plot.series[..], plot.best) {
        ([_, _], _) => "train and held-out",
        (_, Some(_)) => "held-out",
        (_, None) => "train",
    };
    let title = format!("{} on {splits} pieces — {}", curve.title, group.title());
    let svg = figure(HEIGHT, &title, &group.provenance_line(), |canvas| {
        spots = paint(canvas, &plot)?;
        Ok(())
    })?;
    let row = |(seed, row): (u64, &Metric)| {
        [
            seed.to_string(),
            row.split.clone(),
            row.epoch.to_string(),
            row.step.to_string(),
            row.metric.clone(),
            row.value.to_string(),
        ]
    };
    let csv = csv_text(
        &["seed", "split", "epoch", "step", "metric", "value"],
        plot.rows().map(row),
    )?;
    let ends = plot.series.iter().filter_map(|(split, rows)| {
        Some(format!(
            "{split} from {} to {}",
            number(rows.first()?.value),
            number(rows.last()?.value)
        ))
    });
    let ends = ends.collect::<Vec<_>>().join("; ");
    let best = plot.best.map(|best| {
        format!(
            " The best held-out epoch is {} with {}.",
            best.epoch,
            number(best.value)
        )
    });
    let best = best.unwrap_or_default();
    let seeds = match plot.others.len() {
        0 => String::new(),
        others => format!(
            " Marked: training seed {}; thin lines: {others} further seeds.",
            plot.seed
        ),
    };
    let part = match group.concluded() {
        0 => "",
        _ => {
            " The last point of a run that was concluded early stands at the epoch that had begun."
        }
    };
    Ok(Some(Drawing {
        name: format!("{}-curve", curve.metric.replace('_', "-")),
        caption: format!(
            "{} by epoch.{seeds}{best}{part} Corpus: {}.",
            with_unit(curve.title, " (", unit, ")"),
            run.corpus_name()
        ),
        alt: format!(
            "{}: {ends}.{seeds}{best}",
            with_unit(curve.title, " in ", unit, "")
        ),
        svg,
        height: HEIGHT,
        csv,
        more_csv: Vec::new(),
        spots,
    }))
}

impl<'a> Plot<'a> {
    /// Every row drawn, with its seed.
    fn rows(&self) -> impl Iterator<Item = (u64, &'a Metric)> {
        let shown = (self.seed, &self.series);
        let others = self.others.iter().map(|(seed, series)| (*seed, series));
        std::iter::once(shown)
            .chain(others)
            .flat_map(|(seed, series)| {
                let rows = series.iter().flat_map(|(_, rows)| rows.iter());
                rows.map(move |row| (seed, *row))
            })
    }
}

/// The yardsticks that do not squeeze the curves when they are drawn as well.
fn near_yardsticks(run: &RunRecord, curve: &Curve, series: &[Series]) -> Vec<(String, f64)> {
    let near = |value: f64| {
        let mut rows = series.iter().flat_map(|(_, rows)| rows.iter());
        rows.any(|row| (row.value - value).abs() < 3.0 * (value.abs() + 0.1))
    };
    let of = |split: &'static str| {
        let yardsticks = run.yardsticks(curve.metric, split).into_iter();
        yardsticks.map(move |(name, value)| (format!("{name}, {split}"), value))
    };
    ["train", "valid"]
        .into_iter()
        .flat_map(of)
        .filter(|(_, value)| near(*value))
        .collect()
}

/// Which mark and colour a split has: the same in every figure, whatever else is drawn.
fn look_of(split: &str) -> usize {
    usize::from(split == "valid")
}

/// Draws legend, axes, curves and marks; returns the places that tell their value.
fn paint(canvas: &Canvas, plot: &Plot) -> Result<Vec<Spot>> {
    let named = |split: &str| {
        if split == "valid" {
            "held out (valid)".to_owned()
        } else {
            split.to_owned()
        }
    };
    let entry = |split| {
        let look = look_of(split);
        (series_mark(look), series_colour(look), named(split))
    };
    let mut entries: Vec<_> = plot.series.iter().map(|(split, _)| entry(split)).collect();
    if !plot.others.is_empty() {
        entries.push((Mark::Line, MUTED, "other seeds".to_owned()));
    }
    if let Some(best) = plot.best {
        entries.push((
            Mark::Hollow,
            INK,
            format!(
                "best held out: {} at epoch {}",
                number(best.value),
                best.epoch
            ),
        ));
    }
    for (index, (name, value)) in plot.yardsticks.iter().enumerate() {
        entries.push((
            Mark::Dashes(dash(index)),
            MUTED,
            format!("{name}: {}", number(*value)),
        ));
    }
    let top = canvas.legend(20, 88, &entries)?;
    let panel = panel(plot, top + 6);
    panel.draw_axes(canvas)?;
    for (index, (_, value)) in plot.yardsticks.iter().enumerate() {
        let (_, height) = panel.at(panel.x.low, *value);
        canvas.dashed(
            (panel.left, height),
            (panel.right, height),
            dash(index),
            MUTED,
        )?;
    }
    for (split, rows) in plot.others.iter().flat_map(|(_, series)| series) {
        if rows.len() > 1 {
            canvas.line(places_of(&panel, rows), series_colour(look_of(split)), 2)?;
        }
    }
    let mut spots = Vec::new();
    for (split, rows) in &plot.series {
        let look = look_of(split);
        let places = places_of(&panel, rows);
        if places.len() > 1 {
            canvas.line(places.clone(), series_colour(look), 5)?;
        }
        // With many epochs, marks are spread so that they do not merge into a band.
        let stride = places.len().div_ceil(25);
        for (i, (place, row)) in places.iter().zip(rows).enumerate() {
            if i % stride == 0 || i + 1 == places.len() {
                canvas.mark(series_mark(look), *place, 8, series_colour(look))?;
            }
            let of_seeds: Vec<String> = plot
                .rows()
                .filter(|(_, other)| other.split == row.split && other.epoch == row.epoch)
                .map(|(seed, other)| format!("seed {seed}: {}", number(other.value)))
                .collect();
            let line = format!(
                "epoch {}: {} {}",
                row.epoch,
                named(split),
                with_unit(&number(row.value), " ", plot.unit, "")
            );
            let lines = match plot.others.is_empty() {
                true => vec![line],
                false => vec![line, of_seeds.join(", ")],
            };
            spots.push(Spot {
                x: place.0,
                y: place.1,
                radius: 14,
                lines,
                pitch: None,
            });
        }
    }
    if let Some(best) = plot.best {
        let (x, y) = panel.at(f64::from(best.epoch), best.value);
        canvas.frame((x - 18, y - 18), (x + 18, y + 18), INK, 4)?;
    }
    Ok(spots)
}

fn places_of(panel: &Panel, rows: &[&Metric]) -> Vec<(i32, i32)> {
    let place = |row: &&Metric| panel.at(f64::from(row.epoch), row.value);
    rows.iter().map(place).collect()
}

/// The panel that holds every row and yardstick, with a margin.
fn panel(plot: &Plot, top: i32) -> Panel {
    let rows = || plot.rows().map(|(_, row)| row);
    let values = || {
        rows()
            .map(|row| row.value)
            .chain(plot.yardsticks.iter().map(|it| it.1))
    };
    let low = values().fold(f64::INFINITY, f64::min);
    let high = values().fold(f64::NEG_INFINITY, f64::max);
    let margin = ((high - low) * 0.08).max(1e-3 * high.abs());
    let first = f64::from(rows().map(|row| row.epoch).min().unwrap_or(0));
    let last = f64::from(rows().map(|row| row.epoch).max().unwrap_or(1)).max(first + 1.0);
    let pad = (0.02 * (last - first)).max(0.1);
    let mut x = Axis::linear("epoch", first - pad, last + pad, 8);
    x.ticks.retain(|(value, _)| value.fract() == 0.0);
    let y = Axis::linear(&plot.axis, low - margin, high + margin, 6);
    Panel {
        left: 150,
        top,
        right: WIDTH - 50,
        bottom: HEIGHT - 140,
        x,
        y,
    }
}

/// How long the dashes of the `index`-th yardstick are, so that they differ without colour.
fn dash(index: usize) -> i32 {
    [20, 6, 40][index % 3]
}

/// `text`, and behind it its unit between `open` and `close` if it has one.
fn with_unit(text: &str, open: &str, unit: &str, close: &str) -> String {
    match unit {
        "" => text.to_owned(),
        unit => format!("{text}{open}{unit}{close}"),
    }
}

fn best_of<'a>(rows: Option<&[&'a Metric]>, direction: Direction) -> Option<&'a Metric> {
    let cost = |row: &Metric| direction.cost(row.value);
    rows?
        .iter()
        .copied()
        .min_by(|a, b| cost(a).total_cmp(&cost(b)))
}
