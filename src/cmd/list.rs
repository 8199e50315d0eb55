//! `harness list`: what runs there are.

use std::cell::OnceCell;
use std::cmp::Ordering;
use std::process::ExitCode;

use anyhow::Result;
use serde_json::{Value, json};

use super::best_on_valid;
use crate::bail_usage;
use crate::run::{Listed, Point, Record, Store};
use crate::tell;
use crate::terminal::coloured;
use crate::text_table::{aligned, print};

/// Arguments of `list`.
#[derive(Debug, clap::Args)]
#[command(after_help = NOTES)]
pub struct Args {
    /// Only runs of this experiment, the published ones among them
    experiment: Option<String>,
    /// Only runs that stand so
    #[arg(long)]
    status: Option<Standing>,
    /// What comes first: the newest, the best held-out score, or the most epochs
    #[arg(long, default_value = "started")]
    sort: Sort,
    /// At most so many
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// The published records, too, that this machine has no run of
    #[arg(long)]
    all: bool,
    /// Only the published records
    #[arg(long, conflicts_with = "all")]
    published: bool,
    /// Print JSON Lines, one object a run, published records among them
    #[arg(long)]
    json: bool,
}

const NOTES: &str = "\
Best held-out is in nats, the lower the better; those per token and those per time step cannot be compared, and are sorted apart.
`harness show RUN` tells all of a run.";

/// How a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Standing {
    Running,
    Died,
    Finished,
    Failed,
    Interrupted,
    /// Its record cannot be read
    Broken,
}

/// What comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Sort {
    Started,
    Score,
    Epochs,
}

/// Lists the runs that were asked for.
///
/// # Errors
/// When a folder cannot be read, or no run is of the experiment that was named; a broken run is listed as such.
pub fn run(args: &Args) -> Result<ExitCode> {
    let store = Store::here();
    let there = match args.published {
        true => store.list_published()?,
        false => store.list()?,
    };
    if let Some(name) = &args.experiment
        && there.iter().all(|it| it.experiment != *name)
    {
        let mut names: Vec<&str> = there.iter().map(|it| it.experiment.as_str()).collect();
        names.dedup();
        match names.is_empty() {
            true => bail_usage!("no run is of '{name}': there are no runs yet"),
            false => bail_usage!(
                "no run is of '{name}'; there are runs of {}",
                names.join(", ")
            ),
        }
    }
    let mut entries: Vec<Entry> = there.iter().map(Entry::of).collect();
    entries.retain(|it| args.wants(it));
    entries.sort_by(|a, b| args.sort.order(a, b));
    entries.truncate(args.limit.unwrap_or(usize::MAX));
    if args.json {
        print(
            &entries
                .iter()
                .map(|it| format!("{}\n", it.json()))
                .collect::<String>(),
        )?;
    } else if entries.is_empty() {
        tell!("{}", why_none(args, &there));
    } else {
        let rows: Vec<Vec<String>> = entries.iter().map(Entry::row).collect();
        print(&coloured(&aligned(&HEADER, &rows)))?;
    }
    Ok(ExitCode::SUCCESS)
}

impl Args {
    fn wants(&self, entry: &Entry) -> bool {
        let listed = entry.listed;
        let named = self.experiment.as_ref();
        let published = self.all || self.published || self.json || named.is_some();
        (published || !listed.published)
            && named.is_none_or(|name| listed.experiment == *name)
            && self.status.is_none_or(|status| {
                let value = clap::ValueEnum::to_possible_value(&status);
                value.is_some_and(|value| value.get_name() == entry.status())
            })
    }
}

/// What to say where no run is listed of those that are `there`.
fn why_none(args: &Args, there: &[Listed]) -> String {
    let local = there.iter().filter(|it| !it.published).count();
    if local == 0 && !args.published {
        let published = match there.len() {
            0 => String::new(),
            records => format!("; `harness list --all` shows the {records} published records"),
        };
        if !args.all && args.experiment.is_none() {
            return format!("there are no runs yet: `harness run quickstart` makes one{published}");
        }
    }
    match there.len() {
        0 => "there are no published records here".to_owned(),
        _ => "no run is as asked for".to_owned(),
    }
}

/// The best held-out score with its metric, if there is one, or why it cannot be read.
type Best = Result<Option<(&'static str, Point)>>;

/// A run that may be listed. Its score is read only when it is asked for.
struct Entry<'a> {
    listed: &'a Listed,
    best: OnceCell<Best>,
}

const HEADER: [&str; 8] = [
    "id",
    "experiment",
    "status",
    "epochs",
    "seed",
    "best held-out",
    "started (UTC)",
    "",
];

impl<'a> Entry<'a> {
    fn of(listed: &'a Listed) -> Self {
        Self {
            listed,
            best: OnceCell::new(),
        }
    }

    fn record(&self) -> Option<&Record> {
        self.listed.run.as_ref().ok().map(|run| &run.record)
    }

    fn status(&self) -> String {
        match &self.listed.run {
            Ok(run) => run.state().to_string(),
            Err(_) => "broken".to_owned(),
        }
    }

    fn best(&self) -> &Best {
        self.best.get_or_init(|| match &self.listed.run {
            Ok(run) => run.metrics().and_then(|it| best_on_valid(&it)),
            Err(_) => Ok(None),
        })
    }

    fn row(&self) -> Vec<String> {
        let listed = self.listed;
        let (id, experiment) = (listed.id.clone(), listed.experiment.clone());
        let run = match &listed.run {
            Ok(run) => run,
            Err(error) => {
                let none = String::new;
                let (status, why) = (self.status(), format!("{error:#}"));
                return vec![id, experiment, status, none(), none(), none(), none(), why];
            }
        };
        let record = &run.record;
        let best = match self.best() {
            Ok(Some((name, point))) => {
                let unit = match *name {
                    "nll_per_step" => "step",
                    _ => "token",
                };
                format!("{} nats/{unit}", three_decimals(point.value))
            }
            Ok(None) => "–".into(),
            Err(_) => "unreadable".into(),
        };
        let device = record.last_execution().environment.device_marked();
        let marks = [
            (device != "cpu", device.as_str()),
            (record.smoke, "smoke"),
            (record.concluded_at.is_some(), "concluded"),
            (record.is_reproduction(), "reproduction"),
            (run.published, "published"),
        ];
        let marks: Vec<&str> = marks
            .into_iter()
            .filter(|(is, _)| *is)
            .map(|(_, mark)| mark)
            .collect();
        vec![
            id,
            experiment,
            self.status(),
            record.epoch.to_string(),
            record.seed.to_string(),
            best,
            to_the_minute(&record.execution.started),
            marks.join(", "),
        ]
    }

    fn json(&self) -> Value {
        let listed = self.listed;
        let run = match &listed.run {
            Ok(run) => run,
            Err(error) => {
                let (id, experiment) = (&listed.id, &listed.experiment);
                return json!({ "id": id, "experiment": experiment, "status": "broken", "reason": format!("{error:#}") });
            }
        };
        let best = match self.best() {
            Ok(best) => best.map(|(name, point)| {
                json!({ "metric": format!("valid/{name}"), "value": point.value, "step": point.step })
            }),
            Err(error) => Some(json!({ "error": format!("{error:#}") })),
        };
        json!({
            "id": run.id,
            "experiment": listed.experiment,
            "number": run.record.number,
            "status": run.state().to_string(),
            "reason": run.record.reason,
            "step": run.record.step,
            "epochs": run.record.epoch,
            "best_held_out": best,
            "seed": run.record.seed,
            "device": run.record.last_execution().environment.device,
            "emulated": run.record.last_execution().environment.emulated,
            "started": run.record.execution.started,
            "heartbeat": run.record.heartbeat,
            "smoke": run.record.smoke,
            "concluded_at": run.record.concluded_at,
            "reproduction": run.record.is_reproduction(),
            "published": run.published,
            "path": run.path,
        })
    }
}

/// A score as far as another seed would not move it. An absurd one, of a run that diverged, is short all the same.
fn three_decimals(value: f64) -> String {
    match value.abs() < 1e6 {
        true => format!("{value:.3}"),
        false => format!("{value:.3e}"),
    }
}

/// `2026-11-22T19:33:49Z` as `2026-11-22 19:33`.
fn to_the_minute(at: &str) -> String {
    at.chars().take(16).collect::<String>().replace('T', " ")
}

impl Sort {
    /// Of two runs that are equal by it, the newer comes first; what is not known comes last.
    fn order(self, a: &Entry, b: &Entry) -> Ordering {
        let by = match self {
            Self::Started => Ordering::Equal,
            Self::Epochs => {
                let epochs = |it: &Entry| it.record().map(|record| record.epoch);
                epochs(b).cmp(&epochs(a))
            }
            Self::Score => match (a.best(), b.best()) {
                (Ok(Some((name_a, a))), Ok(Some((name_b, b)))) => {
                    name_a.cmp(name_b).then(a.value.total_cmp(&b.value))
                }
                (a, b) => {
                    let unknown = |it: &Best| !matches!(it, Ok(Some(_)));
                    unknown(a).cmp(&unknown(b))
                }
            },
        };
        let started = |it: &Entry| {
            let record = it.record();
            record.map(|it| (it.execution.started.clone(), it.sequence))
        };
        by.then_with(|| started(b).cmp(&started(a)))
    }
}
