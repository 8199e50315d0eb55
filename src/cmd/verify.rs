//! `harness verify RUN`: whether a run's files are still what was written.

use std::process::ExitCode;

use anyhow::Result;
use serde_json::json;

use crate::exit_code::INTEGRITY;
use crate::run::{Store, StoredRun, Verification};
use crate::terminal::coloured;
use crate::text_table::print;

/// Arguments of `verify`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The run
    run: String,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Hashes every file of a run again.
///
/// # Errors
/// When the run is not found or a folder cannot be read. Damaged files are no error but exit code 4.
pub fn run(args: &Args) -> Result<ExitCode> {
    let stored = Store::here().find(&args.run)?;
    let found = stored.verify()?;
    let intact = found.problems.is_empty();
    if args.json {
        let problems: Vec<_> = found
            .problems
            .iter()
            .map(|it| json!({ "file": it.file, "what": it.what }))
            .collect();
        let report = json!({
            "id": stored.id,
            "intact": intact,
            "complete": found.complete,
            "files": found.intact,
            "problems": problems,
            "unknown": found.unknown,
            "left_out": found.left_out,
        });
        print(&format!("{report}\n"))?;
    } else {
        print(&coloured(&page(&found, &stored)))?;
    }
    Ok(if intact {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(INTEGRITY)
    })
}

fn page(found: &Verification, stored: &StoredRun) -> String {
    let mut page = String::new();
    for problem in &found.problems {
        page += &format!("{problem}\n");
    }
    for file in &found.unknown {
        page += &format!("{file}: not in the record\n");
    }
    let intact = found.problems.is_empty();
    let verdict = if intact { "intact" } else { "DAMAGED" };
    page += &format!(
        "run {} is {verdict}: {} files as they were written",
        stored.id, found.intact
    );
    if !intact {
        page += &format!(", {} not", found.problems.len());
    }
    if found.left_out > 0 {
        page += &format!("; {} left out of the published record", found.left_out);
    }
    if !found.complete {
        page += &format!(
            "; the run is {}, so only its checkpoints and metrics have checksums yet",
            stored.state()
        );
    }
    page + "\n"
}
