//! `harness diff A B`: two runs, or two groups of runs, compared.

use std::process::ExitCode;

use anyhow::Result;

use crate::diff::{At, Comparison, Options, compare, to_csv, to_json, to_markdown, to_text};
use crate::exit_code::{GATE, USAGE};
use crate::run::{Store, StoredRun};
use crate::tell;
use crate::terminal::coloured;
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
    /// End with exit code 1 if a metric regressed, and with 2 if that cannot be judged; see below
    #[arg(long, value_name = "GATE")]
    fail_on: Option<Gate>,
}

const NOTES: &str = "\
Δ is B − A. Values of a record are compared exactly, unless its experiment gives tolerances
(tolerances.METRIC.absolute and .relative). With two runs a side or more, better and worse are told by an exact
Mann-Whitney test across runs, Holm-corrected over the metrics compared (loss and perplexity are one), at 5 %; runs that
repeat another's experiment, seed and corpus count once. Options stand before `--`. With one run a side nothing is tested; the bootstrap
over held-out pieces is evaluation noise. ± is half of the 95 % interval of the mean by Student's t. Values of other corpora, splits,
encodings or vocabularies are not comparable.

--fail-on regression ends with 1 if a test says that a metric is worse, or a metric became NaN; with 2, and a word why, if none is but a
metric is worse without a test (one run on a side) or not comparable; else with 0. --fail-on untested-regression counts what is worse
without a test as a regression, too: for runs that should be the same to the last bit.

  harness diff muse_truncated@2 muse_truncated@1
  harness diff --only 'valid/*' --fail-on regression 0001 0002 0003 -- 0004 0005 0006";

/// What makes the exit code 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Gate {
    /// A metric that a test says is worse, or that became NaN
    Regression,
    /// The same, and any metric that is worse where one run on a side allows no test
    UntestedRegression,
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
            tell!(
                "error: {count} runs and no `--`: give two runs A B, or two groups A1 A2 … -- B1 B2 …"
            );
            return Ok(ExitCode::from(USAGE));
        }
        groups => groups,
    };
    if let Some(option) = b.iter().find(|name| name.starts_with('-')) {
        tell!(
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
        coloured(&to_text(&comparison, args.all))
    })?;
    Ok(args
        .fail_on
        .map_or(ExitCode::SUCCESS, |gate| gate.judge(&comparison)))
}

impl Gate {
    /// How the process ends. What cannot be judged is no regression, and no success either.
    fn judge(self, comparison: &Comparison) -> ExitCode {
        let (mut regressions, mut untested) =
            (comparison.regressions(), comparison.untested_regressions());
        if self == Self::UntestedRegression {
            regressions.append(&mut untested);
        }
        if !regressions.is_empty() {
            tell!("regressed: {}", regressions.join(", "));
            return ExitCode::from(GATE);
        }
        let others = comparison.not_comparable();
        if !others.is_empty() {
            tell!(
                "error: not judged, since the runs do not predict the same: {}",
                others.join(", ")
            );
        }
        if !untested.is_empty() {
            tell!(
                "error: not judged, since one run on a side allows no test, though worse: {} (--fail-on untested-regression counts it)",
                untested.join(", ")
            );
        }
        match others.is_empty() && untested.is_empty() {
            true => ExitCode::SUCCESS,
            false => ExitCode::from(USAGE),
        }
    }
}
