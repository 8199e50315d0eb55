//! Runs → pages: what a run's record holds, as figures, tables and pages. This room trains nothing and measures nothing anew.
//!
//! ```text
//! record.rs      a run's folder → RunRecord, with what of it could not be read; changed.rs: what the command line changed
//! group.rs       RunRecords that differ in their training seed alone; seeds.rs: their means and intervals
//! effort.rs      how much was trained against how much the paper trained
//! figure/        Group → Drawing (SVG, CSV, places to point at); FIGURES is the list
//! verdict.rs     Group and claims → verdicts and their strength; all figure tests of a report are read together
//! verdicts_json.rs   the verdicts for programs
//! table/         Group → Table; TABLES is the list; claims.rs sets the verdicts
//! finding.rs     Group → what was found beyond the paper, in words
//! experiment.rs  one experiment: its group, drawings and judged claims
//! markdown.rs    experiments → Markdown
//! page/          experiments → HTML
//! site/          many runs → reports/, its manifest, and whether it is stale
//! ```
//! Everything is a function of the records alone, so that building twice gives the same bytes.

pub mod changed;
pub mod effort;
pub mod experiment;
pub mod figure;
pub mod finding;
pub mod group;
pub mod markdown;
pub mod page;
pub mod record;
pub mod seeds;
pub mod site;
pub mod table;
pub mod text;
pub mod verdict;
pub mod verdicts_json;

#[cfg(test)]
pub(crate) mod fixture;

use anyhow::{Context, Result};

use crate::run::{StoredRun, write_atomically};
use figure::{Drawing, FIGURES, Section};
use group::{Group, distinct};
use record::RunRecord;

/// The page that a run leaves in its folder.
pub const OWN_PAGE: &str = "report.html";

/// Writes the run's own page into its folder; whatever of the record cannot be read is listed in it.
pub fn write_run_page(stored: &StoredRun) -> Result<()> {
    let run = RunRecord::of(stored.clone());
    let drawings = drawings(&Group::alone(&run))?;
    write_atomically(
        &stored.path.join(OWN_PAGE),
        page::own_page(&run, &drawings).as_bytes(),
    )
}

/// Every figure that the runs have something for, with its provenance inside.
pub fn drawings(group: &Group) -> Result<Vec<(Section, Drawing)>> {
    let shown = Group::alone(group.shown());
    let mut drawings = Vec::new();
    for figure in FIGURES {
        let drawn_from = if figure.every_seed { group } else { &shown };
        let drawn = (figure.draw)(drawn_from)
            .with_context(|| format!("failed to draw a figure of {}", group.title()))?;
        drawings.extend(drawn.into_iter().map(|mut drawing| {
            drawing.svg = with_metadata(&drawing, drawn_from);
            (figure.section, drawing)
        }));
    }
    Ok(drawings)
}

/// The SVG with its title, description and provenance in its head.
fn with_metadata(drawing: &Drawing, group: &Group) -> String {
    let shown = group.shown();
    let provenance = format!(
        "{}; corpus fingerprint {}; experiment SHA-256 {}; command: {}",
        group.provenance_line(),
        shown
            .stored
            .record
            .corpus
            .as_ref()
            .map_or("none", |corpus| &corpus.fingerprint),
        distinct(group.runs(), |run| run.experiment_hash.clone()).join(", "),
        distinct(group.runs(), RunRecord::command).join("; ")
    );
    let head = maud::html! { desc { (drawing.alt) } metadata { (provenance) } }.into_string();
    match drawing.svg.split_once('>') {
        // Without a size of its own, the drawing fits the window that it is opened in.
        Some((opening, rest)) => format!("{}>\n{head}{rest}", without_size(opening)),
        None => drawing.svg.clone(),
    }
}

/// The opening tag of an SVG without `width` and `height`.
fn without_size(opening: &str) -> String {
    let parts = opening.split(' ');
    let kept: Vec<&str> = parts
        .filter(|part| !part.starts_with("width=") && !part.starts_with("height="))
        .collect();
    kept.join(" ")
}
