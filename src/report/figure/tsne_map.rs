//! t-SNE maps of single-note embeddings as the paper draws them: circles are ON, crosses OFF, colour is pitch.
//!
//! Tokens without ON and OFF (chords, keys) take their register's shape instead. Points come from the run and are only drawn here.

use anyhow::Result;

use super::super::record::RunRecord;
use super::super::text::note_name;
use super::axis::{Axis, Panel};
use super::canvas::{Anchor, Canvas, Mark, figure, text_width};
use super::map_csv::{every_map_csv, map_csv, rows_csv};
use super::style::{INK, LABEL, MUTED, SMALL, TICK, WIDTH, scale_colour};
use super::{Drawing, Spot};
use crate::analysis::neighbours::Distances;
use crate::analysis::{MapPoint, NoteRow, Register, TokenKind};
use crate::number::grouped;

const HEIGHT: i32 = 1230;
const RADIUS: i32 = 11;
/// The most labels of points in one map; placed only where they are free of points and of one another.
const MOST_LABELS: usize = 60;

/// One figure for each map of single-note tokens.
pub fn draw(run: &RunRecord) -> Result<Vec<Drawing>> {
    let mut drawings = Vec::new();
    for (map, rows) in &run.notes {
        let Some((seed, placed)) = placed_of(run, map, rows) else {
            continue;
        };
        if placed.len() > 1 {
            drawings.push(draw_map(run, map, rows, seed, &placed)?);
        }
    }
    Ok(drawings)
}

/// The tokens of a map with their places, by the first of its seeds; `None` without that map.
pub(super) fn placed_of<'a>(
    run: &'a RunRecord,
    map: &str,
    rows: &'a [NoteRow],
) -> Option<(u64, Vec<(&'a NoteRow, &'a MapPoint)>)> {
    let seed = run.points.iter().find(|point| point.map == map)?.seed;
    let points = run.points.iter();
    let points = points.filter(|point| point.map == map && point.seed == seed);
    let placed =
        points.filter_map(|point| Some((rows.iter().find(|row| row.token == point.token)?, point)));
    Some((seed, placed.collect()))
}

/// The mark of a token: by its kind, else by its register.
pub(super) fn mark_of(row: &NoteRow) -> Mark {
    match (row.kind, Register::of(row.pitch)) {
        (TokenKind::On, _) | (TokenKind::Note, Register::Middle) => Mark::Circle,
        (TokenKind::Off, _) => Mark::Cross,
        (TokenKind::Note, Register::Low) => Mark::Triangle,
        (TokenKind::Note, Register::High) => Mark::Square,
    }
}

fn draw_map(
    run: &RunRecord,
    map: &str,
    rows: &[NoteRow],
    seed: u64,
    placed: &[(&NoteRow, &MapPoint)],
) -> Result<Drawing> {
    let lowest = placed.iter().map(|(row, _)| row.pitch).min().unwrap_or(0);
    let highest = placed.iter().map(|(row, _)| row.pitch).max().unwrap_or(127);
    let span = f64::from(highest.saturating_sub(lowest).max(1));
    let colour = |pitch: u8| scale_colour(f64::from(pitch - lowest) / span);
    let has_kinds = placed.iter().any(|(row, _)| row.kind != TokenKind::Note);
    let what = describe(map, has_kinds);
    let statistic = |path: &str| run.number(&format!("analysis.{map}.{path}"));
    let mut spots = Vec::new();
    let title = format!("t-SNE of {what} — {}", run.title());
    let svg = figure(HEIGHT, &title, &run.provenance_line(), |canvas| {
        let entries: Vec<_> = legend_entries(placed, has_kinds)
            .into_iter()
            .map(|(mark, name)| (mark, colour(lowest + (span / 2.0) as u8), name))
            .collect();
        let top = canvas.legend(20, 88, &entries)? + 4;
        let panel = equal_panel(placed, (20, top, WIDTH - 200, HEIGHT - 90));
        canvas.frame(
            (panel.left, panel.top),
            (panel.right, panel.bottom),
            MUTED,
            2,
        )?;
        let mid_range = statistic("mid_range.lowest").zip(statistic("mid_range.highest"));
        let mid_range = mid_range.filter(|_| has_kinds);
        colour_bar(canvas, (lowest, highest), mid_range, &panel)?;
        let places: Vec<(i32, i32)> = placed
            .iter()
            .map(|(_, point)| panel.at(point.x, point.y))
            .collect();
        for ((row, _), place) in placed.iter().zip(&places) {
            canvas.mark(mark_of(row), *place, RADIUS, colour(row.pitch))?;
        }
        label_points(canvas, &panel, placed, &places)?;
        let note = match (statistic("map.tsne.kl"), statistic("settings.perplexity")) {
            (Some(kl), Some(perplexity)) => format!(
                "Equal scales; distances between far groups mean little. KL {kl:.3} nats, perplexity {perplexity:.0}{}, seed {seed}",
                statistic("settings.perplexity_asked")
                    .filter(|asked| *asked != perplexity)
                    .map_or(String::new(), |asked| format!(" (asked for: {asked})"))
            ),
            _ => format!("Equal scales; distances between far groups mean little. Seed {seed}"),
        };
        canvas.text((20, HEIGHT - 58), Anchor::Left, SMALL, MUTED, &note)?;
        spots = spots_of(rows, placed, &places);
        Ok(())
    })?;
    let kinds: Vec<String> = legend_entries(placed, has_kinds)
        .into_iter()
        .map(|(_, name)| name)
        .collect();
    let found = |labels: &str| {
        let purity = statistic(&format!("{labels}.tsne.purity"))?;
        let p = statistic(&format!("{labels}.tsne.purity_p"))?;
        Some(format!(
            "{:.0} % of nearest neighbours agree (p {p:.4})",
            100.0 * purity
        ))
    };
    let mut findings = Vec::new();
    for (labels, name) in [
        ("kind_mid_range", "ON or OFF, mid-range notes"),
        ("register", "register"),
    ] {
        findings.extend(found(labels).map(|text| format!("{name}: {text}")));
    }
    let findings = if findings.is_empty() {
        String::new()
    } else {
        format!(" In this map, {}.", findings.join("; "))
    };
    Ok(Drawing {
        name: format!("tsne-{map}"),
        caption: format!(
            "t-SNE map of {what}. Colour is pitch, from {} (dark) to {} (light); {}.{findings}",
            note_name(lowest),
            note_name(highest),
            kinds.join(", ")
        ),
        alt: format!(
            "Map of {} points: {}, coloured by pitch.{findings}",
            placed.len(),
            kinds.join(", ")
        ),
        svg,
        height: HEIGHT,
        csv: map_csv(placed)?,
        more_csv: vec![
            (format!("tsne-{map}-rows"), rows_csv(rows)?),
            (format!("tsne-{map}-maps"), every_map_csv(run, map, rows)?),
        ],
        spots,
    })
}

/// What the tokens of a map are, in words.
pub(super) fn describe(map: &str, has_kinds: bool) -> String {
    match (map, has_kinds) {
        ("most-frequent", true) => {
            "single-note message embeddings, the most frequent token of each note".to_owned()
        }
        ("mean", true) => {
            "single-note message embeddings, the mean over each note's tokens".to_owned()
        }
        ("one-note-chords", _) => "embeddings of one-note chords".to_owned(),
        ("keys", _) => "note embeddings, one a key".to_owned(),
        _ => format!("embeddings of {}", map.replace('-', " ")),
    }
}

/// The marks that a map has, with how many points have each.
pub(super) fn legend_entries(
    placed: &[(&NoteRow, &MapPoint)],
    has_kinds: bool,
) -> Vec<(Mark, String)> {
    let count =
        |wanted: &dyn Fn(&NoteRow) -> bool| placed.iter().filter(|(row, _)| wanted(row)).count();
    let entries = if has_kinds {
        vec![
            (
                Mark::Circle,
                count(&|row| row.kind == TokenKind::On),
                "ON (circle)",
            ),
            (
                Mark::Cross,
                count(&|row| row.kind == TokenKind::Off),
                "OFF (cross)",
            ),
        ]
    } else {
        let register = |register| count(&|row| Register::of(row.pitch) == register);
        vec![
            (Mark::Triangle, register(Register::Low), "low (triangle)"),
            (Mark::Circle, register(Register::Middle), "middle (circle)"),
            (Mark::Square, register(Register::High), "high (square)"),
        ]
    };
    entries
        .into_iter()
        .filter(|(_, count, _)| *count > 0)
        .map(|(mark, count, name)| (mark, format!("{name}: {count}")))
        .collect()
}

/// The panel between left, top, right and bottom in which one unit is as long across as up, the points in its middle.
pub(super) fn equal_panel(
    placed: &[(&NoteRow, &MapPoint)],
    (left, top, right, bottom): (i32, i32, i32, i32),
) -> Panel {
    let range = |values: &dyn Fn(&MapPoint) -> f64| {
        let all = || placed.iter().map(|(_, point)| values(point));
        (
            all().fold(f64::INFINITY, f64::min),
            all().fold(f64::NEG_INFINITY, f64::max),
        )
    };
    let ((x_low, x_high), (y_low, y_high)) = (range(&|point| point.x), range(&|point| point.y));
    let (wide, high) = (f64::from(right - left), f64::from(bottom - top));
    let scale = ((x_high - x_low) / wide)
        .max((y_high - y_low) / high)
        .max(1e-12)
        * 1.14;
    let around = |low: f64, high: f64, length: f64| {
        let middle = (low + high) / 2.0;
        Axis {
            name: String::new(),
            low: middle - length * scale / 2.0,
            high: middle + length * scale / 2.0,
            ticks: Vec::new(),
        }
    };
    Panel {
        left,
        top,
        right,
        bottom,
        x: around(x_low, x_high, wide),
        y: around(y_low, y_high, high),
    }
}

/// Pitch as colour: a bar beside the map, the mid-range marked where labels are judged by it.
fn colour_bar(
    canvas: &Canvas,
    (lowest, highest): (u8, u8),
    mid_range: Option<(f64, f64)>,
    panel: &Panel,
) -> Result<()> {
    let (left, right) = (WIDTH - 166, WIDTH - 126);
    let (top, bottom) = (panel.top + 60, panel.bottom - 20);
    let span = f64::from(highest.saturating_sub(lowest).max(1));
    let height = |pitch: f64| {
        bottom
            - ((pitch - f64::from(lowest) + 0.5) / (span + 1.0) * f64::from(bottom - top)).round()
                as i32
    };
    canvas.text(
        ((left + right) / 2, panel.top + 20),
        Anchor::Centre,
        LABEL,
        INK,
        "pitch",
    )?;
    for pitch in lowest..=highest {
        let share = f64::from(pitch - lowest) / span;
        // Each colour reaches below the ones drawn after it, so that no gap shows between two.
        canvas.bar(
            (left, top),
            (right, height(f64::from(pitch) - 0.5)),
            scale_colour(share),
        )?;
    }
    canvas.frame((left, top), (right, bottom), MUTED, 2)?;
    if let Some((low, high)) = mid_range {
        let (from, to) = (height(low - 0.5), height(high + 0.5));
        canvas.line(vec![(left - 8, from), (left - 8, to)], INK, 5)?;
        canvas.upward_text((left - 22, (from + to) / 2), SMALL, INK, "mid-range")?;
    }
    for pitch in (lowest..=highest).filter(|pitch| pitch % 12 == 0) {
        let y = height(f64::from(pitch));
        canvas.line(vec![(right, y), (right + 8, y)], MUTED, 2)?;
        canvas.text(
            (right + 14, y),
            Anchor::Left,
            TICK,
            MUTED,
            &format!("{pitch} {}", note_name(pitch)),
        )?;
    }
    Ok(())
}

/// Names as many points as fit, the most frequent first, without covering a point or another name.
fn label_points(
    canvas: &Canvas,
    panel: &Panel,
    placed: &[(&NoteRow, &MapPoint)],
    places: &[(i32, i32)],
) -> Result<()> {
    type Box = (i32, i32, i32, i32);
    let overlaps = |a: &Box, b: &Box| a.0 < b.2 && b.0 < a.2 && a.1 < b.3 && b.1 < a.3;
    let mut taken: Vec<Box> = places
        .iter()
        .map(|(x, y)| {
            (
                x - RADIUS - 2,
                y - RADIUS - 2,
                x + RADIUS + 2,
                y + RADIUS + 2,
            )
        })
        .collect();
    let mut order: Vec<usize> = (0..placed.len()).collect();
    order.sort_by_key(|i| (std::cmp::Reverse(placed[*i].0.count), *i));
    let mut drawn = 0;
    for index in order {
        if drawn == MOST_LABELS {
            break;
        }
        let text = note_name(placed[index].0.pitch);
        let (wide, (x, y)) = (text_width(&text, SMALL), places[index]);
        let beside = RADIUS + 5;
        let boxes = [
            (x + beside, y - 11, x + beside + wide, y + 11),
            (x - beside - wide, y - 11, x - beside, y + 11),
            (x - wide / 2, y - beside - 22, x + wide / 2, y - beside),
            (x - wide / 2, y + beside, x + wide / 2, y + beside + 22),
        ];
        let free = boxes.into_iter().find(|it| {
            let inside = it.0 > panel.left + 4
                && it.2 < panel.right - 4
                && it.1 > panel.top + 4
                && it.3 < panel.bottom - 4;
            inside && !taken.iter().any(|other| overlaps(it, other))
        });
        if let Some(place) = free {
            canvas.text(
                (place.0, (place.1 + place.3) / 2),
                Anchor::Left,
                SMALL,
                INK,
                &text,
            )?;
            taken.push(place);
            drawn += 1;
        }
    }
    Ok(())
}

/// What each point tells: its token, its count and its nearest neighbours in the space of the embedding.
fn spots_of(
    rows: &[NoteRow],
    placed: &[(&NoteRow, &MapPoint)],
    places: &[(i32, i32)],
) -> Vec<Spot> {
    let trained: Vec<&[f64]> = rows.iter().map(|row| row.trained.as_slice()).collect();
    let neighbours = Distances::between(&trained).neighbours(5);
    let width = trained.first().map_or(0, |row| row.len());
    placed
        .iter()
        .zip(places)
        .map(|((row, _), (x, y))| {
            let index = rows
                .iter()
                .position(|other| other.token == row.token)
                .unwrap_or(0);
            let near: Vec<&str> = neighbours[index]
                .iter()
                .map(|i| rows[*i].token.as_str())
                .collect();
            Spot {
                x: *x,
                y: *y,
                radius: RADIUS + 5,
                lines: vec![
                    format!(
                        "{} — {} {}",
                        row.token,
                        note_name(row.pitch),
                        row.kind.name()
                    ),
                    format!("seen {} times", grouped(row.count as i64)),
                    format!("nearest in {width} dimensions: {}", near.join(", ")),
                ],
                pitch: Some(row.pitch),
            }
        })
        .collect()
}
