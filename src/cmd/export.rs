//! `harness export`: a run, or all published ones, for other tools.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;

use crate::exit_code::INTEGRITY;
use crate::export::{self, Checked, Exported};
use crate::run::Store;
use crate::text_table::print;

/// Write a run in forms that other tools read: Process Run Crate, Croissant, TensorBoard's projector and CITATION.cff. No data of a corpus
/// is written.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The run
    #[arg(required_unless_present_any = ["published", "check"])]
    run: Option<String>,
    /// Export every published record in `reports/records/`
    #[arg(long, conflicts_with = "run")]
    published: bool,
    /// The folder to write, new or empty
    #[arg(short, long, value_name = "FOLDER", required_unless_present = "check")]
    output: Option<PathBuf>,
    /// Hash the files of an export again, and exit 4 if one differs from what the export says of it
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["run", "published", "output"])]
    check: Option<PathBuf>,
}

/// Exports or checks.
///
/// # Errors
/// When the run is not found or damaged, or a folder cannot be read or written. A damaged export is no error but exit code 4.
pub fn run(args: &Args) -> Result<ExitCode> {
    if let Some(folder) = &args.check {
        let checked = export::check(folder)?;
        print(&verdict(&checked, folder))?;
        return Ok(match checked.problems.is_empty() {
            true => ExitCode::SUCCESS,
            false => ExitCode::from(INTEGRITY),
        });
    }
    let folder = args.output.as_deref().expect("clap requires it");
    let store = Store::here();
    let exported = match &args.run {
        Some(name) => export::export_run(store.find(name)?, folder)?,
        None => export::export_published(&store, folder)?,
    };
    print(&page(&exported, folder))?;
    Ok(ExitCode::SUCCESS)
}

fn page(exported: &Exported, folder: &Path) -> String {
    let mut page = String::new();
    for (file, why) in &exported.left_out {
        page += &format!("left out: {file} ({why})\n");
    }
    let runs = match exported.runs {
        1 => "1 run".to_owned(),
        runs => format!("{runs} runs"),
    };
    let folder = folder.display();
    page + &format!(
        "{folder}: {runs}, {} files; `harness export --check {folder}` checks them\n",
        exported.files
    )
}

fn verdict(checked: &Checked, folder: &Path) -> String {
    let mut page = String::new();
    for problem in &checked.problems {
        page += &format!("{problem}\n");
    }
    for file in &checked.unknown {
        page += &format!("{file}: no part of the export\n");
    }
    let verdict = match checked.problems.is_empty() {
        true => "intact",
        false => "DAMAGED",
    };
    page + &format!(
        "{} is {verdict}: {} files as they were exported, {} checksums in crates and Croissants hold\n",
        folder.display(),
        checked.intact,
        checked.stated
    )
}
