//! Figures of the corpus: histograms of polyphony, pitch and duration, and curves on logarithmic axes.

use anyhow::Result;

use super::super::record::{CorpusPoint, RunRecord};
use super::super::text::{axis_number, note_name, number};
use super::axis::{Axis, Panel};
use super::canvas::{self, Mark};
use super::style::{WIDTH, series_colour, series_mark};
use super::{Drawing, Spot, csv_text};
use crate::number::grouped;

const HEIGHT: i32 = 780;

/// A histogram that a run may have recorded.
struct Histogram {
    figure: &'static str,
    title: &'static str,
    x: &'static str,
    y: &'static str,
    caption: &'static str,
    describe: fn(f64) -> String,
    /// The width of a bar's place on the axis.
    step: f64,
    /// Where a value lies on the axis.
    place: fn(f64) -> f64,
    /// The number at a place of the axis.
    tick: fn(f64) -> String,
}

const HISTOGRAMS: [Histogram; 3] = [
    Histogram {
        figure: "polyphony",
        title: "Polyphony",
        x: "notes that sound together",
        y: "share of time steps",
        caption: "How many notes sound together.",
        describe: |x| format!("{x} notes"),
        step: 1.0,
        place: |x| x,
        tick: axis_number,
    },
    Histogram {
        figure: "pitch",
        title: "Pitch",
        x: "MIDI pitch (60 is middle C)",
        y: "share of notes",
        caption: "How often each pitch is played.",
        describe: |x| format!("pitch {x} ({})", note_name(x as u8)),
        step: 1.0,
        place: |x| x,
        tick: axis_number,
    },
    Histogram {
        figure: "duration",
        title: "Duration",
        x: "duration in beats, doubling",
        y: "share of notes",
        caption: "How long notes last, four bars to a doubling; the outermost bars also hold all shorter and longer notes.",
        describe: |x| format!("{} beats", number(x)),
        step: 0.25,
        place: f64::log2,
        tick: |place| {
            if place < 0.0 {
                format!("1/{}", 2f64.powf(-place))
            } else {
                axis_number(2f64.powf(place))
            }
        },
    },
];

/// The histograms that the run recorded.
pub fn draw(run: &RunRecord) -> Result<Vec<Drawing>> {
    HISTOGRAMS
        .iter()
        .filter_map(|it| draw_histogram(run, it).transpose())
        .collect()
}

/// The series of one corpus figure, in the order in which they were recorded.
fn series_of<'a>(run: &'a RunRecord, figure: &str) -> Vec<(&'a str, Vec<&'a CorpusPoint>)> {
    let mut series: Vec<(&str, Vec<&CorpusPoint>)> = Vec::new();
    for point in run
        .corpus
        .iter()
        .filter(|point| point.figure == figure && point.x.is_finite() && point.y.is_finite())
    {
        match series.iter_mut().find(|(name, _)| *name == point.series) {
            Some((_, points)) => points.push(point),
            None => series.push((&point.series, vec![point])),
        }
    }
    series
}

/// Every point drawn; `share` is its part of its series' sum, which a histogram's bars show.
fn corpus_csv(series: &[(&str, Vec<&CorpusPoint>)]) -> Result<String> {
    let points = series.iter().flat_map(|(_, points)| {
        let total: f64 = points.iter().map(|point| point.y).sum();
        points.iter().map(move |point| (point, point.y / total))
    });
    let row = |(point, share): (&&CorpusPoint, f64)| {
        [
            point.series.clone(),
            point.x.to_string(),
            point.y.to_string(),
            share.to_string(),
        ]
    };
    csv_text(&["series", "x", "y", "share"], points.map(row))
}

fn draw_histogram(run: &RunRecord, histogram: &Histogram) -> Result<Option<Drawing>> {
    let series = series_of(run, histogram.figure);
    if series.is_empty() {
        return Ok(None);
    }
    let totals: Vec<f64> = series
        .iter()
        .map(|(_, points)| points.iter().map(|point| point.y).sum::<f64>().max(1e-300))
        .collect();
    let mut places: Vec<f64> = series
        .iter()
        .flat_map(|(_, points)| points.iter().map(|point| (histogram.place)(point.x)))
        .collect();
    places.retain(|place| place.is_finite());
    places.sort_by(f64::total_cmp);
    places.dedup();
    if places.is_empty() {
        return Ok(None);
    }
    let step = histogram.step;
    let (low, high) = (
        places[0] - step / 2.0,
        places[places.len() - 1] + step / 2.0,
    );
    let shares = series
        .iter()
        .zip(&totals)
        .flat_map(|((_, points), total)| points.iter().map(move |point| point.y / total));
    let highest = shares.fold(0.0, f64::max);
    let title = format!("{} — {}", histogram.title, run.corpus_name());
    let mut spots = Vec::new();
    let svg = canvas::figure(HEIGHT, &title, &run.provenance_line(), |canvas| {
        let entries: Vec<_> = series
            .iter()
            .enumerate()
            .map(|(i, (name, _))| (bar_mark(i), series_colour(i), (*name).to_owned()))
            .collect();
        let top = canvas.legend(20, 88, &entries)?;
        let mut x = Axis::linear(histogram.x, low, high, 12);
        x.ticks.retain(|(place, _)| place.fract() == 0.0);
        x.ticks
            .iter_mut()
            .for_each(|(place, text)| *text = (histogram.tick)(*place));
        let y = Axis::linear(histogram.y, 0.0, highest * 1.06, 5);
        let panel = Panel {
            left: 170,
            top: top + 6,
            right: WIDTH - 50,
            bottom: HEIGHT - 140,
            x,
            y,
        };
        panel.draw_axes(canvas)?;
        let width = f64::from(panel.right - panel.left) * step / (high - low);
        let bar = (width * 0.86 / series.len() as f64).max(1.0);
        for (index, ((name, points), total)) in series.iter().zip(&totals).enumerate() {
            for point in points {
                let (centre, top) = panel.at((histogram.place)(point.x), point.y / total);
                let left = f64::from(centre) - width * 0.43 + bar * index as f64;
                let (left, right) = (
                    left.round() as i32,
                    ((left + bar).round() as i32).max(left.round() as i32 + 1),
                );
                if point.y > 0.0 {
                    let (from, to) = ((left, top.min(panel.bottom - 1)), (right, panel.bottom));
                    match bar_mark(index) {
                        Mark::Hollow if bar > 8.0 => {
                            canvas.frame(from, to, series_colour(index), 4)?
                        }
                        _ => canvas.bar(from, to, series_colour(index))?,
                    }
                    let share = format!(
                        "{name}: {} %, {}",
                        number(100.0 * point.y / total),
                        number(point.y)
                    );
                    let lines = vec![(histogram.describe)(point.x), share];
                    spots.push(Spot {
                        x: (left + right) / 2,
                        y: top,
                        radius: 12,
                        lines,
                        pitch: None,
                    });
                }
            }
        }
        Ok(())
    })?;
    let tops: Vec<String> = series
        .iter()
        .filter_map(|(name, points)| {
            let most = points.iter().max_by(|a, b| a.y.total_cmp(&b.y))?;
            Some(format!(
                "in {name} most often {}",
                (histogram.describe)(most.x)
            ))
        })
        .collect();
    Ok(Some(Drawing {
        name: histogram.figure.to_owned(),
        caption: format!("{} Corpus: {}.", histogram.caption, run.corpus_name()),
        alt: format!("Bars: {}; {}.", histogram.y, tops.join("; ")),
        svg,
        height: HEIGHT,
        csv: corpus_csv(&series)?,
        more_csv: Vec::new(),
        spots,
    }))
}

/// Every second series has hollow bars, so that two are told apart without colour.
fn bar_mark(index: usize) -> Mark {
    if index.is_multiple_of(2) {
        Mark::Square
    } else {
        Mark::Hollow
    }
}

/// A figure with two logarithmic axes that a run may have recorded.
pub struct LogLog {
    /// Its name in `corpus_statistics.parquet`.
    pub figure: &'static str,
    /// Heading.
    pub title: &'static str,
    /// What is counted across.
    pub x: &'static str,
    /// What is counted upwards.
    pub y: &'static str,
    /// What it shows.
    pub caption: &'static str,
}

/// Draws curves on logarithmic axes, if the run recorded any point above 0.
pub fn draw_log_log(run: &RunRecord, figure: &LogLog) -> Result<Vec<Drawing>> {
    let mut series = series_of(run, figure.figure);
    series
        .iter_mut()
        .for_each(|(_, points)| points.retain(|point| point.x >= 1.0 && point.y >= 1.0));
    series.retain(|(_, points)| !points.is_empty());
    if series.is_empty() {
        return Ok(Vec::new());
    }
    let points = || series.iter().flat_map(|(_, points)| points.iter());
    let largest_x = points().map(|point| point.x).fold(1.0, f64::max);
    let largest_y = points().map(|point| point.y).fold(1.0, f64::max);
    let title = format!("{} — {}", figure.title, run.corpus_name());
    let mut spots = Vec::new();
    let svg = canvas::figure(HEIGHT, &title, &run.provenance_line(), |canvas| {
        let entries: Vec<_> = series
            .iter()
            .enumerate()
            .map(|(i, (name, _))| (series_mark(i), series_colour(i), (*name).to_owned()))
            .collect();
        let top = canvas.legend(20, 88, &entries)?;
        let x = Axis::logarithmic(figure.x, 0.85, largest_x * 1.1);
        let y = Axis::logarithmic(figure.y, 0.85, largest_y * 1.2);
        let panel = Panel {
            left: 150,
            top: top + 6,
            right: WIDTH - 50,
            bottom: HEIGHT - 140,
            x,
            y,
        };
        panel.draw_axes(canvas)?;
        for (index, (name, points)) in series.iter().enumerate() {
            let places: Vec<(i32, i32)> = points
                .iter()
                .map(|point| panel.at(point.x.log10(), point.y.log10()))
                .collect();
            if places.len() > 1 {
                canvas.line(places.clone(), series_colour(index), 5)?;
            }
            let mut last = i32::MIN / 2;
            for (place, point) in places.iter().zip(points) {
                if place.0 - last >= 70 {
                    last = place.0;
                    canvas.mark(series_mark(index), *place, 8, series_colour(index))?;
                    let lines = vec![format!(
                        "{name}: {} {}, {} {}",
                        grouped(point.x as i64),
                        figure.x,
                        grouped(point.y as i64),
                        figure.y
                    )];
                    spots.push(Spot {
                        x: place.0,
                        y: place.1,
                        radius: 16,
                        lines,
                        pitch: None,
                    });
                }
            }
        }
        Ok(())
    })?;
    let ends: Vec<String> = series
        .iter()
        .filter_map(|(name, points)| {
            let (first, last) = (points.first()?, points.last()?);
            Some(format!(
                "{name} from {} at {} to {} at {}",
                number(first.y),
                number(first.x),
                number(last.y),
                number(last.x)
            ))
        })
        .collect();
    Ok(vec![Drawing {
        name: figure.figure.replace('_', "-"),
        caption: format!("{} Corpus: {}.", figure.caption, run.corpus_name()),
        alt: format!("{} against {}: {}.", figure.y, figure.x, ends.join("; ")),
        svg,
        height: HEIGHT,
        csv: corpus_csv(&series)?,
        more_csv: Vec::new(),
        spots,
    }])
}
