//! Findings beyond the paper, in words: what tests of the layout of pitch found, for every seed.

use super::group::Group;
use super::table::geometry::significant;

/// One paragraph of findings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What it is about.
    pub about: String,
    /// The numbers, in sentences.
    pub text: String,
}

/// What tests of the layout of pitch found, for every seed; seeds that found the same share a sentence. `None` if nothing was tested.
pub fn about_layout(group: &Group) -> Option<Finding> {
    let mut told: Vec<(String, Vec<String>)> = Vec::new();
    for run in group.runs().iter().filter(|run| run.counts()) {
        let Some(text) = significant(run) else {
            continue;
        };
        let seed = run.stored.record.seed.to_string();
        match told.iter_mut().find(|(other, _)| *other == text) {
            Some((_, seeds)) => seeds.push(seed),
            None => told.push((text, vec![seed])),
        }
    }
    let paragraph = |(text, seeds): &(String, Vec<String>)| {
        let plural = if seeds.len() > 1 { "s" } else { "" };
        format!("Training seed{plural} {}: {text}", seeds.join(", "))
    };
    let text: Vec<String> = told.iter().map(paragraph).collect();
    (!text.is_empty()).then(|| Finding {
        about: "Beyond the paper, layout of pitch".to_owned(),
        text: text.join(" "),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture::{Options, make_run};
    use crate::report::record::RunRecord;
    use crate::run::Store;

    #[test]
    fn the_layout_of_pitch_is_told_for_every_seed() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path().join("runs"), folder.path().join("records"));
        let made = |seed| {
            let options = Options {
                seed,
                ..Options::default()
            };
            RunRecord::read(&make_run(&store, "first", options), false).unwrap()
        };
        let runs = [made(1), made(2)];
        let found = about_layout(&Group::choose(runs.iter()).unwrap()).unwrap();
        assert!(
            found
                .text
                .starts_with("Training seeds 1, 2: Of the 11 tests of the map most-frequent"),
            "{}",
            found.text
        );
    }
}
