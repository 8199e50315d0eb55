//! Piano rolls of a run's samples, generated ones and real excerpts alike, on one scale.

use anyhow::Result;

use super::super::record::RunRecord;
use super::super::text::{note_name, number};
use super::axis::{Axis, Panel};
use super::canvas::figure;
use super::style::{WIDTH, series_colour};
use super::{Drawing, csv_text};
use crate::sample::{Origin, Sample};

/// The longest stretch that is drawn, in seconds.
const LONGEST: f64 = 40.0;
const HEIGHT: i32 = 620;

const LEFT: i32 = 130;
const RIGHT: i32 = WIDTH - 40;
const TOP: i32 = 76;
const BOTTOM: i32 = HEIGHT - 136;

/// One piano roll a sample; all share the pitch range and the time scale, so that they compare.
pub fn draw(run: &RunRecord) -> Result<Vec<Drawing>> {
    let samples = run.samples.iter();
    samples.map(|sample| draw_sample(run, sample)).collect()
}

/// The lowest and highest pitch that every piano roll of the run shows.
fn pitches_drawn(run: &RunRecord) -> (u8, u8) {
    let notes = || run.samples.iter().flat_map(|sample| &sample.notes);
    let pitches = || notes().map(|note| note.pitch());
    let low = pitches().min().unwrap_or(48).saturating_sub(2);
    let high = pitches().max().unwrap_or(72).saturating_add(2).min(127);
    (low, high)
}

/// How many seconds every piano roll of the run shows.
fn seconds_drawn(run: &RunRecord) -> f64 {
    let notes = run.samples.iter().flat_map(|sample| &sample.notes);
    notes
        .map(|note| note.onset() + note.duration())
        .fold(1.0, f64::max)
        .min(LONGEST)
}

/// Where notes lie in the run's piano rolls, for a page: left, right, top, bottom, the seconds between left and right, and the
/// lowest and highest pitch.
pub fn panel_of(run: &RunRecord) -> String {
    let (low, high) = pitches_drawn(run);
    format!(
        "{LEFT} {RIGHT} {TOP} {BOTTOM} {} {low} {high}",
        seconds_drawn(run)
    )
}

/// Why music of several voices is heard as one, where that is so.
fn how_it_sounds(run: &RunRecord, sample: &Sample) -> &'static str {
    match (run.resolved_text("encoding.kind"), &sample.origin) {
        (Some("midi-message"), Origin::Real) => {
            " Its voices come one after another, not together: as in the paper, the tracks of a piece are laid end to end."
        }
        (Some("midi-message"), Origin::Generated) => {
            " The model read the tracks of each piece laid end to end, as in the paper, and writes one voice after another."
        }
        _ => "",
    }
}

fn draw_sample(run: &RunRecord, sample: &Sample) -> Result<Drawing> {
    let ((low, high), end) = (pitches_drawn(run), seconds_drawn(run));
    let synthetic = run
        .stored
        .record
        .corpus
        .as_ref()
        .is_some_and(|corpus| corpus.synthetic);
    let (origin, colour) = match sample.origin {
        Origin::Generated => ("Generated", series_colour(0)),
        Origin::Real if synthetic => ("Excerpt of the synthetic corpus", series_colour(1)),
        Origin::Real => ("Real excerpt", series_colour(1)),
    };
    let seed = sample
        .seed
        .map(|seed| format!(", seed {seed}"))
        .unwrap_or_default();
    let temperature = sample
        .temperature
        .map(|it| format!(", temperature {it}"))
        .unwrap_or_default();
    let title = format!("{origin}{seed}{temperature}: {}", sample.description);
    let drawn: Vec<_> = sample
        .notes
        .iter()
        .filter(|note| note.onset() < end)
        .collect();
    let svg = figure(HEIGHT, &title, &run.provenance_line(), |canvas| {
        let x = Axis::linear("seconds", 0.0, end, 10);
        let octaves = (low..=high)
            .filter(|pitch| pitch % 12 == 0)
            .map(|pitch| (f64::from(pitch), note_name(pitch)))
            .collect();
        let y = Axis {
            name: "pitch".to_owned(),
            low: f64::from(low) - 0.5,
            high: f64::from(high) + 0.5,
            ticks: octaves,
        };
        let panel = Panel {
            left: LEFT,
            top: TOP,
            right: RIGHT,
            bottom: BOTTOM,
            x,
            y,
        };
        panel.draw_axes(canvas)?;
        for note in &drawn {
            let pitch = f64::from(note.pitch());
            let until = (note.onset() + note.duration()).min(end);
            let (left, top) = panel.at(note.onset(), pitch + 0.42);
            let (right, bottom) = panel.at(until, pitch - 0.42);
            // A gap of one unit keeps repeated notes apart.
            canvas.bar(
                (left, top),
                ((right - 1).max(left + 2), bottom.max(top + 2)),
                colour,
            )?;
        }
        Ok(())
    })?;
    let csv = csv_text(
        &["onset_seconds", "duration_seconds", "pitch"],
        drawn.iter().map(|note| {
            [
                note.onset().to_string(),
                note.duration().to_string(),
                note.pitch().to_string(),
            ]
        }),
    )?;
    let stem = sample
        .file
        .rsplit_once('.')
        .map_or(sample.file.as_str(), |(stem, _)| stem);
    let shown = if drawn.len() < sample.notes.len() {
        format!(", the first {} s of it drawn", number(end))
    } else {
        String::new()
    };
    Ok(Drawing {
        name: format!("piano-roll-{stem}"),
        caption: format!(
            "{title}; {} notes{shown}.{}",
            sample.notes.len(),
            how_it_sounds(run, sample)
        ),
        alt: format!(
            "Piano roll of {} notes{}.",
            drawn.len(),
            match (
                drawn.iter().map(|note| note.pitch()).min(),
                drawn.iter().map(|note| note.pitch()).max()
            ) {
                (Some(lowest), Some(highest)) =>
                    format!(" from {} to {}", note_name(lowest), note_name(highest)),
                _ => String::new(),
            }
        ),
        svg,
        height: HEIGHT,
        csv,
        more_csv: Vec::new(),
        // A page has the notes for its player, and makes the places from them.
        spots: Vec::new(),
    })
}
