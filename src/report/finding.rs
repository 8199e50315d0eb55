//! Written findings: each sentence of the paper about a figure, answered from the numbers of a record.
//!
//! A finding gives the statistic, its p-value, the space and map in which it was measured, and every seed; its only judgement is the
//! claim's verdict.

use serde_json::Value;

use super::group::Group;
use super::record::{RunRecord, at_path};
use super::table::claims::Judged;
use super::table::geometry::significant;
use super::text::number;
use crate::analysis::CLAIMS;

/// One paragraph of findings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What it is about, with the verdict if there is one.
    pub about: String,
    /// The numbers, in sentences.
    pub text: String,
}

/// What the runs of an experiment found about the paper's figures, and about the layout of pitch.
///
/// `judged` are the claims by `group`. A claim's number and the layout of pitch are told for every seed, what lies behind a claim for the
/// shown run.
pub fn findings(judged: &[Judged], group: Option<&Group>) -> Vec<Finding> {
    let shown = group.map(Group::shown);
    let visual = judged
        .iter()
        .filter(|judged| judged.claim.place.starts_with("Figure"));
    let mut findings: Vec<Finding> = visual
        .map(|judged| Finding {
            about: format!(
                "{}, “{}”: {}",
                judged.claim.place,
                judged.claim.says,
                judged.verdict.name()
            ),
            text: about_claim(judged, shown),
        })
        .collect();
    findings.extend(group.and_then(about_layout));
    findings
}

/// What tests of the layout of pitch found, for every seed; seeds that found the same share a sentence.
fn about_layout(group: &Group) -> Option<Finding> {
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

/// The findings as Markdown, a paragraph each.
pub fn to_markdown(findings: &[Finding]) -> String {
    let paragraph = |it: &Finding| format!("**{}.** {}\n", it.about, it.text);
    findings
        .iter()
        .map(paragraph)
        .collect::<Vec<_>>()
        .join("\n")
}

fn about_claim(judged: &Judged, shown: Option<&RunRecord>) -> String {
    let measured: Vec<String> = judged
        .measured
        .each()
        .map(|(seed, value)| {
            let verdict = judged.by_seed.iter().find(|it| it.0 == seed);
            let verdict = verdict
                .filter(|_| judged.by_seed.len() > 1)
                .map_or(String::new(), |(_, verdict)| {
                    format!(", {}", verdict.name())
                });
            format!("{} (training seed {seed}{verdict})", number(value))
        })
        .collect();
    let (Some(run), Some(metric), false) = (shown, &judged.claim.metric, measured.is_empty())
    else {
        let why = judged.verdict.reason().unwrap_or("nothing was measured");
        return format!("{}.", capitalised(why));
    };
    let mut text = format!("Judged by {metric} = {}", measured.join(", "));
    if let Some(expect) = &judged.claim.expect {
        text.push_str(&format!("; reproduced if {}", expect.describe()));
        for other in [&expect.below_metric, &expect.above_metric]
            .into_iter()
            .flatten()
        {
            let value = run.number(other).map_or("not measured".to_owned(), number);
            text.push_str(&format!(" ({value})"));
        }
    }
    text.push('.');
    if let Some(why) = judged.verdict.reason() {
        text.push_str(&format!(" {}.", capitalised(why)));
    }
    if let Some(labels) = about_labels(metric, run) {
        let seed = match judged.by_seed.len() {
            1 => String::new(),
            _ => format!("Training seed {}: ", run.stored.record.seed),
        };
        text.push_str(&format!(" {seed}{labels}"));
    }
    text
}

/// How the labels that a metric is about keep together: in the embedding's own space, before training, and on the t-SNE maps.
fn about_labels(metric: &str, run: &RunRecord) -> Option<String> {
    let (map, path) = metric.strip_prefix("analysis.")?.split_once('.')?;
    let (labels, _) = path.split_once('.')?;
    let (map, labels) = match map {
        "claims" => (
            run.maps().next()?.0,
            CLAIMS.iter().find(|(claim, _)| *claim == labels)?.1,
        ),
        _ => (map, labels),
    };
    let statistics = run.maps().find(|(name, _)| *name == map)?.1;
    let found = |path: &str| at_path(statistics, path).and_then(Value::as_f64);
    let of = |path: &str| found(&format!("{labels}.{path}")).map_or("–".to_owned(), number);
    let setting = |name: &str| found(&format!("settings.{name}")).map_or("?".to_owned(), number);
    let space = |space: &str| {
        format!(
            "purity {} (chance {}, p {}), silhouette {} (p {})",
            of(&format!("{space}.purity")),
            of(&format!("{space}.purity_chance")),
            of(&format!("{space}.purity_p")),
            of(&format!("{space}.silhouette")),
            of(&format!("{space}.silhouette_p"))
        )
    };
    let dimensions = run
        .number("experiment.model.embedding")
        .map_or("?".to_owned(), number);
    let seeds: Vec<String> = at_path(statistics, "settings.seeds")?
        .as_array()?
        .iter()
        .map(Value::to_string)
        .collect();
    let over_seeds = |statistic: &str| {
        let of = |which: &str| of(&format!("tsne.{statistic}_over_seeds.{which}"));
        format!("{} to {}", of("smallest"), of("largest"))
    };
    let sizes: Vec<String> = at_path(statistics, &format!("{labels}.points"))?
        .as_object()?
        .iter()
        .map(|(label, count)| format!("{count} {label}"))
        .collect();
    Some(format!(
        "Labels {labels} of the map {map} ({}), among {} nearest neighbours in the embedding's {dimensions} dimensions: trained, {}; \
         untrained, {}; p from {} shuffles, seed {}. On the t-SNE maps of seeds {}: purity {}, silhouette {}.",
        sizes.join(", "),
        setting("neighbours"),
        space("trained"),
        space("untrained"),
        setting("permutations"),
        setting("permutation_seed"),
        seeds.join(", "),
        over_seeds("purity"),
        over_seeds("silhouette"),
    ))
}

fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or(String::new(), |first| {
        first.to_uppercase().chain(letters).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture::{Options, make_run};
    use crate::report::table::claims::judge;
    use crate::run::Store;

    fn made(options: Options) -> RunRecord {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path().join("runs"), folder.path().join("records"));
        RunRecord::read(&make_run(&store, "first", options), false).unwrap()
    }

    fn found(group: &Group) -> Vec<Finding> {
        let claims = group.shown().claims.iter();
        let judged: Vec<Judged> = claims.map(|it| judge(it, Some(group))).collect();
        findings(&judged, Some(group))
    }

    #[test]
    fn a_visual_claim_is_told_with_its_numbers_spaces_and_seeds() {
        let run = made(Options::default());
        let found = found(&Group::alone(&run));
        assert_eq!(found.len(), 2);
        assert_eq!(
            found[0].about,
            "Figure 1, “Mid-range notes form clear ON and OFF clusters”: reproduced"
        );
        let number = |path: &str| number(run.number(path).unwrap());
        let labels = "analysis.most-frequent.kind_mid_range";
        for part in [
            "Judged by analysis.claims.on_off_mid_range.p_value = 0.0050 (training seed 1); reproduced if below 0.05.".to_owned(),
            "among 5 nearest neighbours in the embedding's 16 dimensions: trained, purity ".to_owned(),
            format!("trained, purity {}", number(&format!("{labels}.trained.purity"))),
            format!("untrained, purity {}", number(&format!("{labels}.untrained.purity"))),
            "p from 199 shuffles, seed 0.".to_owned(),
            format!("On the t-SNE maps of seeds 0, 1: purity {} to ", number(&format!("{labels}.tsne.purity_over_seeds.smallest"))),
        ] {
            assert!(found[0].text.contains(&part), "{part}\n{}", found[0].text);
        }
        assert!(
            found[1]
                .text
                .starts_with("Training seed 1: Of the 11 tests of the map most-frequent")
        );
    }

    #[test]
    fn runs_that_differ_by_their_seed_alone_are_told_too() {
        let run = made(Options::default());
        let mut again = made(Options::default());
        again.stored.record.seed = 2;
        again.resolved["training"]["seed"] = 2.into();
        let mut other = again.clone();
        other.resolved["training"]["learning_rate"] = 0.1.into();
        other.stored.record.seed = 3;
        // The newest settings stand for the experiment, so the other ones are the oldest.
        other.stored.record.number = 0;
        let runs = [run, again, other];
        let found = found(&Group::choose(runs.iter()).unwrap());
        let both = "= 0.0050 (training seed 1, reproduced), 0.0050 (training seed 2, reproduced); reproduced if below 0.05.";
        assert!(found[0].text.contains(both), "{}", found[0].text);
        assert!(
            found[1]
                .text
                .starts_with("Training seeds 1, 2: Of the 11 tests")
        );
    }

    #[test]
    fn what_was_not_run_says_why_and_nothing_else() {
        let run = made(Options::default());
        let claims: Vec<Judged> = run.claims.iter().map(|it| judge(it, None)).collect();
        let told = findings(&claims, None);
        assert_eq!(
            to_markdown(&told),
            "**Figure 1, “Mid-range notes form clear ON and OFF clusters”: not run.** No finished run.\n"
        );
        let smoke = made(Options {
            smoke: true,
            ..Options::default()
        });
        let found = found(&Group::alone(&smoke));
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].text, "A smoke run's numbers mean nothing.");
    }
}
