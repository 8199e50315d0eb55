//! `harness report`: regenerate, check or publish.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;

use crate::exit_code::{GATE, INTEGRITY};
use crate::report::site::{self, Manifest, Places};
use crate::run::{RunError, Store};
use crate::tell;
use crate::text_table::print;

/// Regenerate every figure and table from the runs' records alone: into `runs/report/`, or `reports/` with `--published`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Use the published records in `reports/records/` alone: the form that is committed
    #[arg(long)]
    published: bool,
    /// Write the report into this folder instead
    #[arg(short, long, value_name = "FOLDER")]
    output: Option<PathBuf>,
    /// Rebuild from exactly the records in the report's `manifest.json`, write nothing, and exit 1 if one is absent or a byte differs;
    /// with `--published`, also if the report was built from other records than the published ones
    #[arg(long, conflicts_with = "publish")]
    check: bool,
    /// Copy the compact records of these runs into `reports/records/` first
    #[arg(long, value_name = "RUN", num_args = 1..)]
    publish: Vec<String>,
}

/// Runs the command in the current directory. A record whose files are not what was written ends it with exit code 4, whatever
/// else there is to say: its page is drawn without them.
pub fn run(args: &Args) -> Result<ExitCode> {
    let mut places = Places::here(args.published);
    if let Some(output) = &args.output {
        places.output = output.clone();
    }
    if args.check {
        let mut stale = site::check(&places)?;
        let manifest = Manifest::read(&places.output)?;
        if args.published && manifest.form != "published" {
            stale.push(
                "manifest.json: the report is of local runs, not of the published records"
                    .to_owned(),
            );
        }
        for line in &stale {
            print(&format!("stale: {line}\n"))?;
        }
        if stale.is_empty() {
            print("the report is fresh\n")?;
        }
        let used = |run: &str| manifest.records.iter().any(|record| record.run == run);
        let damaged = name_damaged(&places, manifest.form == "published", &used, &[])?;
        return Ok(match (damaged, stale.is_empty()) {
            (true, _) => ExitCode::from(INTEGRITY),
            (false, false) => ExitCode::from(GATE),
            (false, true) => ExitCode::SUCCESS,
        });
    }
    for folder in site::publish(&places, &args.publish)? {
        print(&format!("published {}\n", folder.display()))?;
    }
    let written = site::write(&places, args.published)?;
    for (path, why) in &written.broken {
        tell!("could not be read: {path}: {why}");
    }
    let damaged = name_damaged(&places, args.published, &|_| true, &written.broken)?;
    print(&format!(
        "{}: {} experiments, {} records, {} files\n",
        places.output.join("index.html").display(),
        written.experiments,
        written.records,
        written.files
    ))?;
    Ok(if damaged {
        ExitCode::from(INTEGRITY)
    } else {
        ExitCode::SUCCESS
    })
}

/// Names on standard error each damaged file of the records that are `used`, but for runs that were `told` of, and says whether there
/// is any.
fn name_damaged(
    places: &Places,
    published: bool,
    used: &dyn Fn(&str) -> bool,
    told: &[(String, String)],
) -> Result<bool> {
    let store = Store::new(&places.runs, &places.records);
    let records = match published {
        true => store.list_published()?,
        false => store.list()?,
    };
    let mut any = false;
    for listed in records {
        let name = format!("{}/{}", listed.experiment, listed.id);
        if !used(&name) {
            continue;
        }
        match listed.run {
            Ok(run) => {
                for problem in run.verify_compact()?.problems {
                    any = true;
                    let file = run.path.join(&problem.file);
                    tell!("damaged: {}: {}", file.display(), problem.what);
                }
            }
            Err(error) if RunError::exit_code_of(&error) == Some(INTEGRITY) => {
                any = true;
                if told.iter().all(|(run, _)| *run != name) {
                    tell!("damaged: {error:#}");
                }
            }
            Err(_) => {}
        }
    }
    Ok(any)
}
