//! One experiment as a report sees it: what it is to the paper, its runs, and what they come to.

use serde_json::Value;

use super::effort::Effort;
use super::figure::{Drawing, Section, map_comparison};
use super::finding::{Finding, about_layout};
use super::group::Group;
use super::record::RunRecord;
use super::verdict::Judged;

/// What an experiment is to the paper.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// It tests claims of the paper.
    Paper,
    /// It changes something of another experiment, whose name this is.
    Ablation(String),
    /// It has nothing of the paper's to test.
    Other,
}

/// One experiment: its runs, figures and judged claims.
pub struct ExperimentReport<'a> {
    /// The experiment's name.
    pub name: &'a str,
    /// What it is to the paper.
    pub kind: Kind,
    /// Its title, from a run or from its file.
    pub title: String,
    /// What it asks.
    pub question: Option<String>,
    /// The runs shown in full; none if there is no readable run.
    pub group: Option<Group<'a>>,
    /// The figures.
    pub drawings: Vec<(Section, Drawing)>,
    /// Every readable run, newest first.
    pub runs: Vec<&'a RunRecord>,
    /// The resolved experiment, from a run or from its file; null if neither can be read.
    pub resolved: Value,
    /// Its claims, judged; of an ablation, those of the experiment that it changes, by its own runs.
    pub judged: Vec<Judged>,
}

/// The experiments whose claims are the paper's own to judge: ablations test the same sentences, but of a variant of ours.
pub fn of_the_paper<'a>(
    reports: &'a [ExperimentReport<'a>],
) -> impl Iterator<Item = &'a ExperimentReport<'a>> + Clone {
    reports.iter().filter(|report| report.kind == Kind::Paper)
}

impl ExperimentReport<'_> {
    /// The figure that stands for it: its embeddings trained beside untrained, of the first map.
    pub fn figure(&self) -> Option<&Drawing> {
        let drawings = self.drawings.iter().map(|(_, drawing)| drawing);
        drawings
            .into_iter()
            .find(|it| it.name.starts_with(map_comparison::PREFIX))
    }

    /// Whether a report gives it a page: only a finished run at full size has something to show.
    pub fn has_page(&self) -> bool {
        let group = self.group.as_ref();
        group.is_some_and(|group| group.shown().counts())
    }

    /// What its runs found beyond the paper, in words.
    pub fn beyond(&self) -> Option<Finding> {
        about_layout(self.group.as_ref()?)
    }

    /// What was spent on it, beside the paper's; `None` without a finished run at full size.
    pub fn effort(&self) -> Option<Effort<'_>> {
        let group = self.group.as_ref().filter(|it| it.shown().counts())?;
        Some(Effort::of(group, self.judged.iter().map(|it| &it.claim)))
    }
}
