//! Runs → pages: what a run's record holds, as figures, tables and pages. This room trains nothing and measures nothing anew.
//!
//! ```text
//! record.rs   a run's folder → RunRecord, with what of it could not be read
//! figure/     RunRecord → Drawing (SVG, CSV, places to point at); FIGURES is the list
//! table/      RunRecord → Table; TABLES is the list; claims.rs judges the paper's claims
//! finding.rs  judged claims and records → the findings in words
//! page/       drawings and tables → HTML
//! site.rs     many runs → reports/, its manifest, and whether it is stale
//! ```
//! Everything is a function of the records alone, so that building twice gives the same bytes.

pub mod figure;
pub mod finding;
pub mod page;
pub mod record;
pub mod site;
pub mod table;
pub mod text;

#[cfg(test)]
mod fixture;

use anyhow::{Context, Result};

use crate::run::{StoredRun, write_atomically};
use figure::{Drawing, FIGURES, Section};
use record::RunRecord;

/// The page that a run leaves in its folder.
pub const OWN_PAGE: &str = "report.html";

/// Writes the run's own page into its folder; whatever of the record cannot be read is listed in it.
pub fn write_run_page(stored: &StoredRun) -> Result<()> {
    let run = RunRecord::of(stored.clone());
    let drawings = drawings(&run)?;
    write_atomically(
        &stored.path.join(OWN_PAGE),
        page::own_page(&run, &drawings).as_bytes(),
    )
}

/// Every figure that the run has something for, with its provenance inside.
pub fn drawings(run: &RunRecord) -> Result<Vec<(Section, Drawing)>> {
    let mut drawings = Vec::new();
    for figure in FIGURES {
        let drawn = (figure.draw)(run)
            .with_context(|| format!("failed to draw a figure of {}", run.title()))?;
        drawings.extend(drawn.into_iter().map(|mut drawing| {
            drawing.svg = with_metadata(&drawing, run);
            (figure.section, drawing)
        }));
    }
    Ok(drawings)
}

/// The SVG with its title, description and provenance in its head.
fn with_metadata(drawing: &Drawing, run: &RunRecord) -> String {
    let provenance = format!(
        "{}; corpus fingerprint {}; experiment SHA-256 {}; command: {}",
        run.provenance_line(),
        run.stored
            .record
            .corpus
            .as_ref()
            .map_or("none", |corpus| &corpus.fingerprint),
        run.experiment_hash,
        run.command()
    );
    let head = maud::html! { desc { (drawing.alt) } metadata { (provenance) } }.into_string();
    match drawing.svg.split_once('>') {
        Some((opening, rest)) => format!("{opening}>\n{head}{rest}"),
        None => drawing.svg.clone(),
    }
}
