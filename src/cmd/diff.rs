//! `harness diff A B`: two runs, or two groups of runs, compared.

use std::process::ExitCode;

use anyhow::Result;

use crate::diff::{At, Options, compare, to_csv, to_json, to_markdown, to_text};
use crate::exit_code::{GATE, USAGE};
use crate::run::{Store, StoredRun};
use crate::text_table::print;

/// Arguments of `diff`.
#[derive(Debug, clap::Args)]
#[command(after_help = NOTES)]
pub struct Args {
    /// The two runs A and B; or, before and after `--`, two groups of runs
    #[arg(required = true, value_name = "RUN")]
    a: Vec<String>,
    /// The runs of group B
    #[arg(last = true, value_name = "RUN")]
    b: Vec<String>,
    /// Which value of each curve: best, last, or a step
    #[arg(long, default_value = "best", value_name = "best|last|STEP")]
    at: At,
    /// Only metrics whose name or split/name matches, such as 'valid/*'
    #[arg(long, value_name = "GLOB")]
    only: Option<String>,
    /// Unchanged metrics and what the clock said, too
    #[arg(long)]
    all: bool,
    /// Print one JSON object
    #[arg(long, group = "format")]
    json: bool,
    /// Print Markdown
    #[arg(long, group = "format")]
    md: bool,
    /// Print the metrics as CSV
    #[arg(long, group = "format")]
    csv: bool,
    /// End with exit code 1 if a metric regressed or became NaN
    #[arg(long, value_name = "GATE")]
    fail_on: Option<Gate>,
}

const NOTES: &str = "\
Δ is B − A. Values of a record are compared exactly, unless its experiment gives tolerances
(tolerances.METRIC.absolute and .relative). With two runs a side or more, better and worse are told by an exact
Mann-Whitney test across runs, Holm-corrected over the metrics compared (loss and perplexity are one), at 5 %; runs that
repeat another's experiment, seed and corpus count once. Options stand before `--`. With one run a side nothing is tested; the bootstrap over held-out pieces is evaluation noise.

  harness diff muse_truncated@2 muse_truncated@1
  harness diff --only 'valid/*' --fail-on regression 0001 0002 0003 -- 0004 0005 0006";

/// What makes the exit code 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Gate {
    /// A metric that regressed or became NaN
    Regression,
}

/// Compares.
///
/// # Errors
/// When a run is not found, or its files cannot be read.
pub fn run(args: &Args) -> Result<ExitCode> {
    let (a, b) = match (&args.a[..], &args.b[..]) {
        ([a, b], []) => (std::slice::from_ref(a), std::slice::from_ref(b)),
        (runs, []) => {
            let count = runs.len();
            eprintln!(
                "error: {count} runs and no `--`: give two runs A B, or two groups A1 A2 … -- B1 B2 …"
            );
            return Ok(ExitCode::from(USAGE));
        }
        groups => groups,
    };
    if let Some(option) = b.iter().find(|name| name.starts_with('-')) {
        eprintln!(
            "error: '{option}' stands after `--`, where only the runs of group B do: put options before it, as in \
             `harness diff {option} A1 A2 -- B1 B2`"
        );
        return Ok(ExitCode::from(USAGE));
    }
    let store = Store::here();
    let find = |names: &[String]| {
        names
            .iter()
            .map(|name| store.find(name))
            .collect::<Result<Vec<StoredRun>>>()
    };
    let comparison = compare(
        &find(a)?,
        &find(b)?,
        &Options {
            at: args.at,
            only: args.only.clone(),
        },
    )?;
    print(&if args.json {
        format!("{}\n", to_json(&comparison))
    } else if args.csv {
        to_csv(&comparison)?
    } else if args.md {
        to_markdown(&comparison, args.all)
    } else {
        to_text(&comparison, args.all)
    })?;
    let failed = args.fail_on == Some(Gate::Regression) && comparison.has_regressed();
    Ok(if failed {
        ExitCode::from(GATE)
    } else {
        ExitCode::SUCCESS
    })
}
