//! Learning curves: a metric on train and held-out pieces, epoch by epoch, the best held-out epoch marked.

use anyhow::Result;

use super::super::record::{Metric, RunRecord};
use super::super::text::number;
use super::style::{
    self, Axis, Canvas, INK, MUTED, Mark, Panel, WIDTH, series_colour, series_mark,
};
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

/// One curve figure for each metric that the run measured by epoch.
pub fn draw(run: &RunRecord) -> Result<Vec<Drawing>> {
    // The loss of a model of keys is its likelihood per step: one figure suffices.
    let has = |metric: &str| run.metrics.iter().any(|row| row.metric == metric);
    let repeated =
        |curve: &&Curve| curve.metric == "loss" && run.models_keys() && has("nll_per_step");
    let curves = CURVES.iter().filter(|curve| !repeated(curve));
    curves
        .filter_map(|curve| draw_curve(run, curve).transpose())
        .collect()
}

/// What one figure shows.
struct Plot<'a> {
    /// Rows by split.
    series: Vec<(&'static str, Vec<&'a Metric>)>,
    /// The best row on valid.
    best: Option<&'a Metric>,
    /// What models without a network score.
    yardsticks: Vec<(String, f64)>,
    /// The metric's name and unit for the axis.
    axis: String,
    /// The metric's unit.
    unit: &'static str,
}

fn draw_curve(run: &RunRecord, curve: &Curve) -> Result<Option<Drawing>> {
    // The test split is scored once, so it is a number in a table and no curve.
    let of = |split: &'static str| {
        let rows = run.metrics.iter();
        let rows = rows.filter(|row| {
            row.metric == curve.metric && row.split == split && row.value.is_finite()
        });
        (split, rows.collect::<Vec<&Metric>>())
    };
    let series: Vec<_> = ["train", "valid"]
        .into_iter()
        .map(of)
        .filter(|(_, rows)| !rows.is_empty())
        .collect();
    if series.is_empty() {
        return Ok(None);
    }
    let unit = run.unit(curve.metric);
    let direction = metric(curve.metric).direction;
    let held_out = series.iter().find(|(split, _)| *split == "valid");
    let plot = Plot {
        best: best_of(held_out.map(|it| it.1.as_slice()), direction),
        yardsticks: near_yardsticks(run, curve, &series),
        axis: with_unit(&curve.title.to_lowercase(), ", ", unit, ""),
        series,
        unit,
    };
    let mut spots = Vec::new();
    let splits = match (&plot.series[..], plot.best) {
        ([_, _], _) => "train and held-out",
        (_, Some(_)) => "held-out",
        (_, None) => "train",
    };
    let title = format!("{} on {splits} pieces — {}", curve.title, run.title());
    let svg = style::figure(HEIGHT, &title, &run.provenance_line(), |canvas| {
        spots = paint(canvas, &plot)?;
        Ok(())
    })?;
    let rows = plot.series.iter().flat_map(|(_, rows)| rows.iter());
    let cells = |row: &&Metric| {
        [
            row.split.clone(),
            row.epoch.to_string(),
            row.step.to_string(),
            row.metric.clone(),
            row.value.to_string(),
        ]
    };
    let csv = csv_text(
        &["split", "epoch", "step", "metric", "value"],
        rows.map(cells),
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
    Ok(Some(Drawing {
        name: format!("{}-curve", curve.metric.replace('_', "-")),
        caption: format!(
            "{} by epoch.{best} Corpus: {}.",
            with_unit(curve.title, " (", unit, ")"),
            run.corpus_name()
        ),
        alt: format!(
            "{}: {ends}.{best}",
            with_unit(curve.title, " in ", unit, "")
        ),
        svg,
        height: HEIGHT,
        csv,
        more_csv: Vec::new(),
        spots,
    }))
}

/// The yardsticks that do not squeeze the curves when they are drawn as well.
fn near_yardsticks(
    run: &RunRecord,
    curve: &Curve,
    series: &[(&str, Vec<&Metric>)],
) -> Vec<(String, f64)> {
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
    let mut spots = Vec::new();
    for (split, rows) in &plot.series {
        let look = look_of(split);
        let places: Vec<(i32, i32)> = rows
            .iter()
            .map(|row| panel.at(f64::from(row.epoch), row.value))
            .collect();
        if places.len() > 1 {
            canvas.line(places.clone(), series_colour(look), 5)?;
        }
        // With many epochs, marks are spread so that they do not merge into a band.
        let stride = places.len().div_ceil(25);
        for (i, (place, row)) in places.iter().zip(rows).enumerate() {
            if i % stride == 0 || i + 1 == places.len() {
                canvas.mark(series_mark(look), *place, 8, series_colour(look))?;
            }
            let line = format!(
                "epoch {}: {} {}",
                row.epoch,
                named(split),
                with_unit(&number(row.value), " ", plot.unit, "")
            );
            spots.push(Spot {
                x: place.0,
                y: place.1,
                radius: 14,
                lines: vec![line],
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

/// The panel that holds every row and yardstick, with a margin.
fn panel(plot: &Plot, top: i32) -> Panel {
    let rows = || plot.series.iter().flat_map(|(_, rows)| rows.iter());
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
