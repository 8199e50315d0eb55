//! Runs of one experiment that differ in nothing but their training seed: what a mean and a verdict are taken over.

use serde_json::Value;

use super::record::RunRecord;
use super::seeds::OverSeeds;
use crate::run::{SettingChange, State, changed_settings};

/// Whether a run was concluded before the end of its training.
fn is_concluded(run: &RunRecord) -> bool {
    run.stored.record.concluded_at.is_some()
}

/// Runs that differ in their training seed alone, and the one of them that figures of a single run show.
#[derive(Debug, Clone)]
pub struct Group<'a> {
    runs: Vec<&'a RunRecord>,
}

impl<'a> Group<'a> {
    /// One run by itself.
    pub fn alone(run: &'a RunRecord) -> Self {
        Self { runs: vec![run] }
    }

    /// The group that stands for an experiment, of all its runs; `None` without any.
    ///
    /// Of the finished runs at full size, those of the experiment as its file has it, else those that the command line changed; of these
    /// those with the most epochs planned (of one that was concluded early: trained), of these the newest decides which settings are
    /// shown; every such run with the same settings and corpus belongs to the group, for each seed the newest, one trained to its end
    /// before one that was not. Without a finished run at full size, the newest finished run stands alone, else the newest.
    pub fn choose(runs: impl Iterator<Item = &'a RunRecord> + Clone) -> Option<Self> {
        let newest = runs.clone().max_by_key(|run| {
            let epochs = run.number(match is_concluded(run) {
                true => "training.epochs",
                false => "experiment.training.epochs",
            });
            let epochs = epochs.unwrap_or(0.0);
            (
                run.counts(),
                run.state == State::Finished,
                run.counts() && !run.is_changed(),
                if run.counts() { epochs as u64 } else { 0 },
                run.stored.record.number,
            )
        })?;
        if !newest.counts() {
            return Some(Self::alone(newest));
        }
        let mut members: Vec<&RunRecord> = runs
            .filter(|run| run.counts() && same_but_for_the_seed(run, newest))
            .collect();
        members.sort_by_key(|run| {
            let record = &run.stored.record;
            (
                record.seed,
                is_concluded(run),
                std::cmp::Reverse(record.number),
            )
        });
        members.dedup_by_key(|run| run.stored.record.seed);
        Some(Self { runs: members })
    }

    /// How many of the runs were concluded before the end of their training.
    pub fn concluded(&self) -> usize {
        self.runs.iter().filter(|run| is_concluded(run)).count()
    }

    /// The run that figures of a single run show: that of the smallest seed.
    pub fn shown(&self) -> &'a RunRecord {
        self.runs[0]
    }

    /// Every run, by seed.
    pub fn runs(&self) -> &[&'a RunRecord] {
        &self.runs
    }

    /// What each run says to a question about a number, by seed; runs that have no answer are left out.
    pub fn over_seeds(&self, answer: impl Fn(&RunRecord) -> Option<f64>) -> OverSeeds {
        self.noted(|run| Some((answer(run)?, String::new())))
    }

    /// The same, each answer with a word on it.
    pub fn noted(&self, answer: impl Fn(&RunRecord) -> Option<(f64, String)>) -> OverSeeds {
        let answered = self.runs.iter().filter_map(|run| {
            let (value, note) = answer(run)?;
            Some((run.stored.record.seed, value, note))
        });
        OverSeeds::new(answered.collect())
    }

    /// The group in a few words, such as `sigmoid run 1` or `sigmoid, 3 seeds`.
    pub fn title(&self) -> String {
        match self.runs[..] {
            [only] => only.title(),
            _ => format!(
                "{}, {} seeds",
                self.shown().stored.record.experiment,
                self.runs.len()
            ),
        }
    }

    /// For captions of what shows the shown run alone: says so where there are others.
    pub fn only_shown(&self) -> String {
        match self.runs.len() {
            1 => String::new(),
            _ => format!(
                " Of training seed {} alone.",
                self.shown().stored.record.seed
            ),
        }
    }

    /// Where numbers of every run come from, in one line.
    pub fn provenance_line(&self) -> String {
        let shown = self.shown();
        if self.runs.len() == 1 {
            return shown.provenance_line();
        }
        let record = &shown.stored.record;
        let ids = distinct(&self.runs, |run| run.stored.record.id.clone());
        let code = distinct(&self.runs, |run| run.stored.record.execution.code.summary());
        format!(
            "runs {}/{{{}}} · harness {} · corpus {}",
            record.experiment,
            ids.join(", "),
            code.join(", "),
            shown.corpus_and_fingerprint(),
        )
    }
}

/// What `of` gives for the runs, each answer once, in order of the first.
pub fn distinct(runs: &[&RunRecord], of: impl Fn(&RunRecord) -> String) -> Vec<String> {
    let mut found = Vec::new();
    for it in runs.iter().map(|run| of(run)) {
        if !found.contains(&it) {
            found.push(it);
        }
    }
    found
}

/// What differs between what two resolved experiments compute, besides the training seed.
pub fn changes(before: &Value, after: &Value) -> Vec<SettingChange> {
    let says_nothing = |key: &str| key.starts_with("tolerances") || key == "training.seed";
    let mut changes = changed_settings(&before.to_string(), &after.to_string())
        .expect("what is JSON is YAML as well");
    changes.retain(|change| !says_nothing(&change.key));
    changes
}

fn same_but_for_the_seed(a: &RunRecord, b: &RunRecord) -> bool {
    let corpus = |run: &RunRecord| {
        let corpus = run.stored.record.corpus.as_ref();
        corpus.map(|corpus| corpus.fingerprint.clone())
    };
    let changed_at = |run: &RunRecord| run.stored.record.changed_at();
    !a.resolved.is_null()
        && changes(&a.resolved, &b.resolved).is_empty()
        && changed_at(a) == changed_at(b)
        && a.is_changed() == b.is_changed()
        && corpus(a) == corpus(b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture::{Options, make_run};
    use crate::report::page::own_page;
    use crate::report::table::hyperparameters;
    use crate::report::verdict::{FigureTests, judge};
    use crate::run::Store;

    fn run(store: &Store, options: Options) -> RunRecord {
        RunRecord::read(&make_run(store, "a", options), false).unwrap()
    }

    fn of(seed: u64, epochs: u32) -> Options {
        Options {
            seed,
            epochs,
            ..Options::default()
        }
    }

    #[test]
    fn a_group_holds_the_newest_run_of_each_seed_with_the_most_epochs() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path().join("runs"), folder.path().join("records"));
        let smoke = Options {
            smoke: true,
            ..of(3, 30)
        };
        let options = [of(2, 30), of(1, 30), of(1, 30), of(1, 20), smoke, of(4, 20)];
        let runs = options.map(|options| run(&store, options));
        let group = Group::choose(runs.iter()).unwrap();
        let members = group.runs().iter().map(|run| run.stored.record.number);
        assert_eq!(members.collect::<Vec<_>>(), [3, 1]);
        assert_eq!(group.shown().stored.record.seed, 1);
        assert_eq!(group.title(), "a, 2 seeds");
        assert_eq!(
            group
                .over_seeds(|run| Some(run.stored.record.seed as f64))
                .mean(),
            Some(1.5)
        );
        // What does not count stands for the experiment only where nothing else does, and never in company.
        let alone = Group::choose([&runs[4]].into_iter()).unwrap();
        assert_eq!(alone.runs().len(), 1);
        assert!(Group::choose(std::iter::empty()).is_none());
    }

    #[test]
    fn a_run_that_the_command_line_changed_stands_for_its_experiment_only_alone_and_judges_no_claim()
     {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path().join("runs"), folder.path().join("records"));
        let changed = Options {
            changed: true,
            ..of(1, 90)
        };
        let runs = [of(1, 30), changed].map(|options| run(&store, options));
        let number = |group: &Group| group.shown().stored.record.number;
        assert_eq!(number(&Group::choose(runs.iter()).unwrap()), 1);
        let alone = Group::choose(runs[1..].iter()).unwrap();
        assert_eq!(number(&alone), 2);
        let verdicts = |group: &Group| -> Vec<String> {
            let tests = FigureTests::of(group.runs().iter().map(|run| (*run, &run.claims[..])));
            judge(&runs[0].claims, Some(group), &tests)
                .into_iter()
                .map(|it| it.verdict)
                .map(|it| format!("{}: {}", it.name(), it.reason().unwrap_or_default()))
                .collect()
        };
        let why = "not comparable: changed on the command line: model.hidden";
        let judged = verdicts(&alone);
        assert_eq!(
            judged.iter().filter(|it| *it == why).count(),
            5,
            "{judged:?}"
        );
        assert!(judged.contains(&"not comparable: another machine".to_owned()));
        assert!(verdicts(&Group::alone(&runs[0])).contains(&"reproduced: ".to_owned()));
        let words = "model.hidden: 64 in place of 128";
        assert_eq!(runs[1].changes_in_words().as_deref(), Some(words));
        let page = own_page(&runs[1], &[]);
        assert!(page.contains("Changed on the command line.") && page.contains(words));
        let settings = hyperparameters::fill(&runs[1]).unwrap();
        let row = settings
            .rows
            .iter()
            .find(|row| row[0].text == "model.hidden");
        let row: Vec<&str> = row.unwrap().iter().map(|cell| cell.text.as_str()).collect();
        let expected = [
            "model.hidden",
            "64",
            "changed on the command line",
            "the file: 128",
        ];
        assert_eq!(row, expected, "the reason of `model` vouches for it");
    }

    #[test]
    fn changes_are_told_without_prose_and_seed() {
        let base = serde_json::json!({"title": "a", "training": {"optimizer": "adam", "early_stopping": 15, "seed": 1}});
        let other = serde_json::json!({"title": "b", "training": {"optimizer": "sgd", "early_stopping": null, "seed": 2}});
        let told: Vec<String> = changes(&base, &other)
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            told,
            [
                "training.early_stopping: 15 → null",
                "training.optimizer: adam → sgd"
            ]
        );
        assert!(changes(&base, &base).is_empty());
    }
}
