//! `harness corpus`: what corpora there are, getting them, counting them, and checking that they are what they should be.

mod stats;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Subcommand;
use serde_json::json;

use crate::corpus::catalogue::{self, Entry, Fetched};
use crate::corpus::split::Split;
use crate::corpus::{Corpus, CorpusError, OpenOptions, open};
use crate::ensure_usage;
use crate::number::grouped;
use crate::tell;
use crate::text_table::{aligned, print};

/// The arguments of `harness corpus`.
#[derive(Debug, clap::Args)]
#[command(after_help = ABOUT)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

const ABOUT: &str = "\
Corpora are kept in data/cache, or in the directory that HARNESS_DATA names. HARNESS_MIRROR names a directory of archives that is
asked before any download.";

#[derive(Debug, Subcommand)]
enum Command {
    /// List the corpora of the catalogue
    List {
        /// Print JSON Lines
        #[arg(long)]
        json: bool,
    },
    /// Get corpora into the cache
    Fetch {
        /// Names of the catalogue
        names: Vec<String>,
        /// Every corpus of the catalogue; those that cannot be had are named at the end
        #[arg(long, conflicts_with = "names")]
        all: bool,
        /// A directory of archives to look in before any download (instead of HARNESS_MIRROR)
        #[arg(long, value_name = "DIR")]
        from: Option<PathBuf>,
        /// Replace what is cached
        #[arg(long)]
        again: bool,
    },
    /// Count the pieces and tokens of a corpus
    Stats(stats::Args),
    /// Check cached corpora: every piece's SHA-256, the fingerprint, and the counts of the catalogue
    Verify {
        /// Names of the catalogue; every cached corpus if none is given
        names: Vec<String>,
        /// Print JSON Lines
        #[arg(long)]
        json: bool,
    },
}

/// Runs `harness corpus`.
pub fn run(args: &Args) -> Result<ExitCode> {
    let options = OpenOptions::from_environment();
    match &args.command {
        Command::List { json } => list(*json, &options),
        Command::Fetch {
            names,
            all,
            from,
            again,
        } => {
            let mirror = from.clone().or_else(|| options.mirror.clone());
            fetch(names, *all, *again, &OpenOptions { mirror, ..options })
        }
        Command::Stats(args) => stats::run(args, &options),
        Command::Verify { names, json } => verify(names, *json, &options),
    }
}

fn list(json: bool, options: &OpenOptions) -> Result<ExitCode> {
    if json {
        for entry in catalogue::all() {
            let counts = entry.counts["all"];
            let line = json!({
                "name": entry.name, "title": entry.title, "about": entry.about, "pieces": counts.pieces,
                "tokens": counts.tokens, "unique_tokens": counts.unique_tokens, "synthetic": entry.synthetic,
                "stand_in_for": entry.stand_in_for, "origin": entry.origin, "licence": entry.licence,
                "cached": open::is_cached(entry, options), "origin_fetched": origin_fetched(entry),
                "fingerprint": entry.fingerprint,
            });
            print(&format!("{line}\n"))?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let header = ["name", "pieces", "    tokens", " unique", "here", "what"];
    let mut rows = Vec::new();
    for entry in catalogue::all() {
        let counts = entry.counts["all"];
        let here = match open::is_cached(entry, options) {
            _ if entry.compose.is_some() => "built in",
            true => "cached",
            false => "–",
        };
        let synthetic = if entry.synthetic { ", synthetic" } else { "" };
        rows.push(vec![
            entry.name.clone(),
            format!("{:>6}", grouped(counts.pieces)),
            format!("{:>10}", grouped(counts.tokens)),
            format!("{:>7}", grouped(counts.unique_tokens)),
            here.to_owned(),
            format!("{}{synthetic}", entry.title),
        ]);
        let mut more = |what: String| {
            let mut cells = vec![String::new(); header.len() - 1];
            cells.push(what);
            rows.push(cells);
        };
        if let Some(paper) = &entry.stand_in_for {
            more(format!("a stand-in for {paper}"));
        }
        more(format!("licence: {}", entry.licence));
    }
    print(&aligned(&header, &rows))?;
    Ok(ExitCode::SUCCESS)
}

/// Whether the corpus was ever had from its public origin; nothing for a corpus that has none of its own.
fn origin_fetched(entry: &Entry) -> Option<bool> {
    let mut public = entry
        .sources
        .iter()
        .filter_map(|address| address.fetched)
        .peekable();
    public.peek()?;
    Some(public.any(|it| it == Fetched::Once))
}

fn fetch(names: &[String], all: bool, again: bool, options: &OpenOptions) -> Result<ExitCode> {
    ensure_usage!(
        all || !names.is_empty(),
        "which corpus? `harness corpus list` shows the names, as in `harness corpus fetch muse`; --all gets every one"
    );
    let every: Vec<String> = catalogue::all()
        .iter()
        .map(|entry| entry.name.clone())
        .collect();
    let mut failures = Vec::new();
    for name in if all { &every } else { names } {
        let before = match catalogue::find(name) {
            Some(entry) if entry.compose.is_some() => "built in, with nothing to fetch: ",
            Some(entry) if !again && open::is_cached(entry, options) => "in the cache already: ",
            _ => "",
        };
        match Corpus::fetch(name, again, options) {
            Ok(corpus) => {
                let (pieces, fingerprint, origin) = (
                    grouped(corpus.len() as u64),
                    &corpus.fingerprint,
                    &corpus.origin,
                );
                print(&format!(
                    "{name}: {before}{pieces} pieces, {origin}, fingerprint {fingerprint}\n"
                ))?;
            }
            // What befalls one corpus need not befall the next; a full disk does.
            Err(error) if all && !matches!(error.downcast_ref(), Some(CorpusError::Disk(_))) => {
                tell!("error: {error:#}");
                failures.push((name.as_str(), error));
            }
            Err(error) => return Err(error),
        }
    }
    if failures.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    let names = failures
        .iter()
        .map(|(name, _)| *name)
        .collect::<Vec<_>>()
        .join(", ");
    let worst = failures
        .iter()
        .filter_map(|(_, error)| error.downcast_ref::<CorpusError>())
        .map(CorpusError::exit_code)
        .max();
    let what = format!("could not fetch {names}");
    Err(match worst {
        Some(4) => CorpusError::Integrity(what).into(),
        Some(_) => CorpusError::Unavailable(what).into(),
        None => anyhow::anyhow!(what),
    })
}

fn verify(names: &[String], json: bool, options: &OpenOptions) -> Result<ExitCode> {
    let mut entries = Vec::new();
    for name in names {
        match catalogue::find(name) {
            Some(entry) => entries.push(entry),
            None => bail!(open::unknown(name)),
        }
    }
    if names.is_empty() {
        entries.extend(
            catalogue::all()
                .iter()
                .filter(|entry| open::is_cached(entry, options)),
        );
    }
    let mut wrong = Vec::new();
    for entry in entries {
        let corpus = Corpus::open(&entry.name, options)?;
        let counts = stats::counts(&corpus)?;
        for (split, expected) in &entry.counts {
            let only = Split::ALL.into_iter().find(|it| it.name() == split);
            let found = counts(only);
            let good = found == *expected;
            if !good {
                wrong.push(format!("{} {split}", entry.name));
            }
            if json {
                let line = json!({
                    "name": entry.name, "split": split, "good": good, "fingerprint": corpus.fingerprint,
                    "pieces": found.pieces, "tokens": found.tokens, "unique_tokens": found.unique_tokens,
                    "expected": {
                        "pieces": expected.pieces, "tokens": expected.tokens, "unique_tokens": expected.unique_tokens,
                    },
                });
                print(&format!("{line}\n"))?;
                continue;
            }
            let written = |it: &catalogue::Counts| {
                let [pieces, tokens, unique] =
                    [it.pieces, it.tokens, it.unique_tokens].map(grouped);
                format!("{pieces} pieces, {tokens} tokens, {unique} unique")
            };
            let verdict = if good {
                "good".into()
            } else {
                format!("WRONG: the catalogue has {}", written(expected))
            };
            print(&format!(
                "{:<20} {split:<6} {}: {verdict}\n",
                entry.name,
                written(&found)
            ))?;
        }
    }
    if wrong.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    let wrong = wrong.join(", ");
    bail!(CorpusError::Integrity(format!(
        "the fingerprint is right but the counts are not: {wrong}; reading them has changed"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_that_was_never_fetched_is_marked() {
        let fetched = |name| origin_fetched(catalogue::find(name).unwrap());
        assert_eq!(fetched("classical"), Some(false));
        assert_eq!(fetched("music21_bach"), Some(true));
        assert_eq!(fetched("counterpoint"), None);
    }
}
