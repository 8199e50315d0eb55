//! Learning curves: a metric on train and held-out pieces, epoch by epoch, the best held-out epoch marked.

use anyhow::Result;

use super::super::record::{Metric, RunRecord};
use super::super::text::number;
use super::style::{self, Anchor, Axis, MUTED, Panel, SMALL, TICK, WIDTH, series_colour, series_mark};
use super::{Drawing, Spot, csv_text};

/// A metric worth a curve: its name, what it is, whether smaller is better.
struct Curve {
    metric: &'static str,
    title: &'static str,
    unit: &'static str,
    smaller_is_better: bool,
}

const CURVES: [Curve; 3] = [
    Curve { metric: "loss", title: "Loss", unit: "nats per token", smaller_is_better: true },
    Curve { metric: "nll_per_step", title: "Negative log-likelihood", unit: "nats per time step", smaller_is_better: true },
    Curve { metric: "frame_accuracy", title: "Frame accuracy", unit: "share of notes", smaller_is_better: false },
];

const SPLITS: [&str; 3] = ["train", "valid", "test"];
const HEIGHT: i32 = 860;

/// One curve figure for each metric that the run measured by epoch.
pub fn draw(run: &RunRecord) -> Result<Vec<Drawing>> {
    CURVES.iter().filter_map(|curve| draw_curve(run, curve).transpose()).collect()
}

fn draw_curve(run: &RunRecord, curve: &Curve) -> Result<Option<Drawing>> {
    let of = |split: &str| -> Vec<&Metric> {
        run.metrics.iter().filter(|row| row.metric == curve.metric && row.split == split && row.value.is_finite()).collect()
    };
    // The test split is scored once, so it is a number in a table and no curve.
    let series: Vec<(&str, Vec<&Metric>)> =
        SPLITS.iter().map(|split| (*split, of(split))).filter(|(split, rows)| !rows.is_empty() && *split != "test").collect();
    let rows = || series.iter().flat_map(|(_, rows)| rows.iter());
    if rows().count() == 0 {
        return Ok(None);
    }
    let yardsticks: Vec<(&str, f64)> = ["train", "valid"]
        .into_iter()
        .flat_map(|split| run.yardsticks(curve.metric, split))
        .filter(|(_, value)| rows().any(|row| (row.value - value).abs() < 3.0 * (value.abs() + 0.1)))
        .collect();
    let values = || rows().map(|row| row.value).chain(yardsticks.iter().map(|it| it.1));
    let (low, high) = (values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max));
    let margin = ((high - low) * 0.08).max(1e-3 * high.abs());
    let first = rows().map(|row| row.epoch).min().unwrap_or(0) as f64;
    let last = rows().map(|row| row.epoch).max().unwrap_or(1) as f64;
    let title = format!("{} on train and held-out pieces — {}", curve.title, run.title());
    let mut spots = Vec::new();
    let best = best_of(series.iter().find(|(split, _)| *split == "valid").map(|it| it.1.as_slice()), curve.smaller_is_better);
    let svg = style::figure(HEIGHT, &title, &run.provenance_line(), |canvas| {
        let named = |split: &str| if split == "valid" { "held out (valid)".to_owned() } else { split.to_owned() };
        let entries: Vec<_> =
            series.iter().enumerate().map(|(i, (split, _))| (series_mark(i), series_colour(i), named(split))).collect();
        let top = canvas.legend(20, 88, &entries)?;
        let mut x = Axis::linear("epoch", first, last.max(first + 1.0), 8);
        x.ticks.retain(|(value, _)| value.fract() == 0.0);
        let y = Axis::linear(&format!("{}, {}", curve.title.to_lowercase(), curve.unit), low - margin, high + margin, 6);
        let panel = Panel { left: 150, top: top + 6, right: WIDTH - 50, bottom: HEIGHT - 140, x, y };
        panel.draw_axes(canvas)?;
        let mut taken: Vec<i32> = Vec::new();
        for (name, value) in &yardsticks {
            let (_, height) = panel.at(first, *value);
            canvas.dashed((panel.left, height), (panel.right, height), MUTED, 3)?;
            // Two yardsticks too near for two lines of text keep the text of the first.
            if taken.iter().all(|other| (other - height).abs() > 30) {
                canvas.text((panel.right - 8, height - 18), Anchor::Right, SMALL, MUTED, &format!("{name}: {}", number(*value)))?;
                taken.push(height);
            }
        }
        for (index, (split, rows)) in series.iter().enumerate() {
            let places: Vec<(i32, i32)> = rows.iter().map(|row| panel.at(row.epoch as f64, row.value)).collect();
            if places.len() > 1 {
                canvas.line(places.clone(), series_colour(index), 5)?;
            }
            // With many epochs, marks are spread so that they do not merge into a band.
            let stride = places.len().div_ceil(25);
            for (i, (place, row)) in places.iter().zip(rows).enumerate() {
                if i % stride == 0 || i + 1 == places.len() {
                    canvas.mark(series_mark(index), *place, 8, series_colour(index))?;
                }
                let line = format!("epoch {}: {} {} {}", row.epoch, named(split), number(row.value), curve.unit);
                spots.push(Spot { x: place.0, y: place.1, radius: 14, lines: vec![line], pitch: None });
            }
        }
        if let Some(best) = best {
            let (x, y) = panel.at(best.epoch as f64, best.value);
            canvas.dashed((x, panel.top), (x, panel.bottom), MUTED, 3)?;
            canvas.outline((x - 16, y - 16), (x + 16, y + 16), style::INK, 3)?;
            let label = format!("best held out: {} at epoch {}", number(best.value), best.epoch);
            let (anchor, shift) = if x > WIDTH / 2 { (Anchor::Right, -14) } else { (Anchor::Left, 14) };
            canvas.text((x + shift, panel.top + 22), anchor, TICK, style::INK, &label)?;
        }
        Ok(())
    })?;
    let csv_rows = series.iter().flat_map(|(_, rows)| rows.iter());
    let csv = csv_text(
        &["split", "epoch", "step", "metric", "value"],
        csv_rows.map(|row| [row.split.clone(), row.epoch.to_string(), row.step.to_string(), row.metric.clone(), row.value.to_string()]),
    )?;
    let ends: Vec<String> = series
        .iter()
        .filter_map(|(split, rows)| Some(format!("{split} from {} to {}", number(rows.first()?.value), number(rows.last()?.value))))
        .collect();
    let best_text = best.map(|best| format!(" The best held-out epoch is {} with {}.", best.epoch, number(best.value))).unwrap_or_default();
    Ok(Some(Drawing {
        name: format!("{}-curve", curve.metric.replace('_', "-")),
        caption: format!("{} ({}) by epoch.{best_text}", curve.title, curve.unit),
        alt: format!("{} in {}: {}.{best_text}", curve.title, curve.unit, ends.join("; ")),
        svg,
        height: HEIGHT,
        csv,
        more_csv: Vec::new(),
        spots,
    }))
}

fn best_of<'a>(rows: Option<&[&'a Metric]>, smaller_is_better: bool) -> Option<&'a Metric> {
    let sign = if smaller_is_better { 1.0 } else { -1.0 };
    rows?.iter().copied().min_by(|a, b| (sign * a.value).total_cmp(&(sign * b.value)))
}
