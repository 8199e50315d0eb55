//! How fast a run went: tokens a second over its steps. What the clock says differs from run to run.

use anyhow::Result;

use super::super::record::{Metric, RunRecord};
use super::super::text::number;
use super::axis::{Axis, Panel};
use super::canvas::{Mark, figure};
use super::style::{WIDTH, series_colour};
use super::{Drawing, Spot, csv_text};
use crate::number::grouped;

const HEIGHT: i32 = 660;

/// Tokens a second by step, if the run recorded at least two.
pub fn draw(run: &RunRecord) -> Result<Vec<Drawing>> {
    let rows: Vec<&Metric> = run
        .timings
        .iter()
        .filter(|row| {
            row.metric == "tokens_per_second" && row.split == "train" && row.value.is_finite()
        })
        .collect();
    let [first, .., last] = rows[..] else {
        return Ok(Vec::new());
    };
    let highest = rows.iter().map(|row| row.value).fold(0.0, f64::max);
    let title = format!("Speed of training — {}", run.title());
    let mut spots = Vec::new();
    let svg = figure(HEIGHT, &title, &run.provenance_line(), |canvas| {
        let x = Axis::linear(
            "training step",
            first.step as f64,
            (last.step as f64).max(first.step as f64 + 1.0),
            8,
        );
        let y = Axis::linear("tokens a second", 0.0, highest * 1.08, 5);
        let panel = Panel {
            left: 150,
            top: 84,
            right: WIDTH - 50,
            bottom: HEIGHT - 140,
            x,
            y,
        };
        panel.draw_axes(canvas)?;
        let places: Vec<(i32, i32)> = rows
            .iter()
            .map(|row| panel.at(row.step as f64, row.value))
            .collect();
        if places.len() > 1 {
            canvas.line(places.clone(), series_colour(0), 4)?;
        }
        let stride = places.len().div_ceil(120);
        for (place, row) in places.iter().zip(&rows).step_by(stride) {
            if places.len() <= 60 {
                canvas.mark(Mark::Circle, *place, 6, series_colour(0))?;
            }
            let lines = vec![format!(
                "step {}: {} tokens a second",
                row.step,
                grouped(row.value.round() as i64)
            )];
            spots.push(Spot {
                x: place.0,
                y: place.1,
                radius: 14,
                lines,
                pitch: None,
            });
        }
        Ok(())
    })?;
    let csv = csv_text(
        &["step", "tokens_per_second"],
        rows.iter()
            .map(|row| [row.step.to_string(), row.value.to_string()]),
    )?;
    let mean = rows.iter().map(|row| row.value).sum::<f64>() / rows.len() as f64;
    Ok(vec![Drawing {
        name: "speed".to_owned(),
        caption: format!(
            "Tokens a second while training, {} on average. Device: {}.",
            number(mean.round()),
            run.device()
        ),
        alt: format!(
            "Tokens a second by training step, {} on average, {} at most.",
            number(mean.round()),
            number(highest.round())
        ),
        svg,
        height: HEIGHT,
        csv,
        more_csv: Vec::new(),
        spots,
    }])
}
