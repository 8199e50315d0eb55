//! `harness report`: regenerate, check or publish.

use std::process::ExitCode;

use anyhow::Result;

use crate::exit_code::GATE;
use crate::report::site::{self, Places};
use crate::text_table::print;

/// Regenerate every figure and table into `reports/` from the runs' records alone.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Use the published records in `reports/records/` alone: the form that is committed
    #[arg(long)]
    published: bool,
    /// Rebuild from exactly the records in `reports/manifest.json`, write nothing, and exit 1 if one is absent or a byte differs
    #[arg(long, conflicts_with_all = ["published", "publish"])]
    check: bool,
    /// Copy the compact records of these runs into `reports/records/` first
    #[arg(long, value_name = "RUN", num_args = 1..)]
    publish: Vec<String>,
}

/// Runs the command in the current directory.
pub fn run(args: &Args) -> Result<ExitCode> {
    let places = Places::default();
    if args.check {
        let stale = site::check(&places)?;
        for line in &stale {
            print(&format!("stale: {line}\n"))?;
        }
        if stale.is_empty() {
            print("the report is fresh\n")?;
        }
        return Ok(if stale.is_empty() {
            ExitCode::SUCCESS
        } else {
            ExitCode::from(GATE)
        });
    }
    for folder in site::publish(&places, &args.publish)? {
        print(&format!("published {}\n", folder.display()))?;
    }
    let written = site::write(&places, args.published)?;
    for (path, why) in &written.broken {
        eprintln!("could not be read: {path}: {why}");
    }
    print(&format!(
        "{}: {} experiments, {} records, {} files\n",
        places.reports.join("index.html").display(),
        written.experiments,
        written.records,
        written.files
    ))?;
    Ok(ExitCode::SUCCESS)
}
