//! The same tokens three ways, side by side: the trained rows' t-SNE map, that of untrained rows, and the trained rows' principal
//! components. What t-SNE alone puts together shows in the second.

use anyhow::Result;

use super::super::record::RunRecord;
use super::super::text::{note_name, number};
use super::canvas::{Anchor, Canvas, figure};
use super::map_csv::{labels_of, place_of};
use super::style::{INK, LABEL, MUTED, SMALL, TICK, scale_colour};
use super::tsne_map::{describe, equal_panel, legend_entries, mark_of, placed_of};
use super::{Drawing, Spot, csv_text};
use crate::analysis::{MapPoint, NoteRow, TokenKind};

const HEIGHT: i32 = 690;
const RADIUS: i32 = 7;
const TOP: i32 = 182;
const SIDE: i32 = 400;
const GAP: i32 = 20;

/// What the name of such a figure begins with.
pub const PREFIX: &str = "maps-";

/// What each picture is: its ending in the points' map, its name in the statistics, and for readers.
const PICTURES: [(&str, &str, &str); 3] = [
    ("", "tsne", "t-SNE, trained"),
    ("-untrained", "untrained_tsne", "t-SNE, untrained"),
    ("-pca", "pca", "principal components, trained"),
];

/// A token's row and its place in a picture.
type Placed<'a> = Vec<(&'a NoteRow, &'a MapPoint)>;

/// One figure for each map that the run has all three pictures of.
pub fn draw(run: &RunRecord) -> Result<Vec<Drawing>> {
    let mut drawings = Vec::new();
    for (map, rows) in &run.notes {
        let pictures: Vec<Placed> = PICTURES
            .iter()
            .filter_map(|(ending, ..)| Some(placed_of(run, &format!("{map}{ending}"), rows)?.1))
            .collect();
        if pictures.len() == PICTURES.len() {
            drawings.push(draw_pictures(run, map, &pictures)?);
        }
    }
    Ok(drawings)
}

fn draw_pictures(run: &RunRecord, map: &str, pictures: &[Placed]) -> Result<Drawing> {
    let placed = &pictures[0];
    let pitches = || placed.iter().map(|(row, _)| row.pitch);
    let (lowest, highest) = (pitches().min().unwrap_or(0), pitches().max().unwrap_or(127));
    let span = f64::from(highest.saturating_sub(lowest).max(1));
    let colour = |pitch: u8| scale_colour(f64::from(pitch.saturating_sub(lowest)) / span);
    let has_kinds = placed.iter().any(|(row, _)| row.kind != TokenKind::Note);
    let what = describe(map, has_kinds);
    let (labels, of_labels) = if has_kinds {
        ("kind_mid_range", "ON or OFF, mid-range")
    } else {
        ("register", "register")
    };
    let agreement = |space: &str| {
        let statistic = |name: &str| run.number(&format!("analysis.{map}.{labels}.{space}.{name}"));
        let (purity, p) = (statistic("purity")?, statistic("purity_p")?);
        Some(format!("{:.0} % agree (p {})", 100.0 * purity, number(p)))
    };
    let mut spots = Vec::new();
    let title = format!("Trained against untrained — {}", run.title());
    let svg = figure(HEIGHT, &title, &run.provenance_line(), |canvas| {
        let middle = colour(lowest + (span / 2.0) as u8);
        let entries: Vec<_> = legend_entries(placed, has_kinds)
            .into_iter()
            .map(|(mark, name)| (mark, middle, name))
            .collect();
        canvas.legend(20, 88, &entries)?;
        for (index, (placed, (_, space, name))) in pictures.iter().zip(&PICTURES).enumerate() {
            let left = 20 + index as i32 * (SIDE + GAP);
            let panel = equal_panel(placed, (left, TOP, left + SIDE, TOP + SIDE));
            head(canvas, left, name, agreement(space))?;
            canvas.frame((left, TOP), (left + SIDE, TOP + SIDE), MUTED, 2)?;
            for (row, point) in placed {
                let (x, y) = panel.at(point.x, point.y);
                canvas.mark(mark_of(row), (x, y), RADIUS, colour(row.pitch))?;
                spots.push(Spot {
                    x,
                    y,
                    radius: RADIUS + 4,
                    lines: vec![format!("{} — {}, {name}", row.token, note_name(row.pitch))],
                    pitch: Some(row.pitch),
                });
            }
        }
        let note = format!(
            "Agree: nearest neighbours in the picture that share {of_labels}. Colour is pitch. Equal scales within a picture."
        );
        canvas.text((20, HEIGHT - 54), Anchor::Left, SMALL, MUTED, &note)
    })?;
    let found: Vec<String> = PICTURES
        .iter()
        .filter_map(|(_, space, name)| Some(format!("{name}: {}", agreement(space)?)))
        .collect();
    let found = format!("Of nearest neighbours by {of_labels}, {}", found.join("; "));
    let rows = PICTURES
        .iter()
        .zip(pictures)
        .flat_map(|((_, _, name), placed)| {
            placed.iter().map(move |(row, point)| {
                let picture = [(*name).to_owned(), point.seed.to_string()];
                picture
                    .into_iter()
                    .chain(labels_of(row))
                    .chain(place_of(point))
            })
        });
    let csv = csv_text(
        &[
            "picture", "seed", "token", "kind", "pitch", "register", "count", "x", "y",
        ],
        rows,
    )?;
    Ok(Drawing {
        name: format!("{PREFIX}{map}"),
        caption: format!("The same {what}, before training and by principal components. {found}."),
        alt: format!("Three maps of {} points. {found}.", placed.len()),
        svg,
        height: HEIGHT,
        csv,
        more_csv: Vec::new(),
        spots,
    })
}

/// What stands above a picture.
fn head(canvas: &Canvas, left: i32, name: &str, agreement: Option<String>) -> Result<()> {
    canvas.text((left, TOP - 44), Anchor::Left, LABEL - 4.0, INK, name)?;
    match agreement {
        Some(text) => canvas.text((left, TOP - 16), Anchor::Left, TICK - 4.0, MUTED, &text),
        None => Ok(()),
    }
}
