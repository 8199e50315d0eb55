//! Paper against measured: findings with their strength, the figure tests behind them, and reader checks.

use maud::{Markup, html};

use super::super::seeds::RULE;
use super::super::text::number;
use super::super::verdict::{Judged, Scores, SeedJudged, Tested};
use super::{Cell, Table};
use crate::analysis::{BOUND, LEVEL};
use crate::claim::{ClaimKind, Verdict};

/// A question that a table of claims answers.
type Fill = fn(&[Judged]) -> Option<Table>;

/// The tables of an experiment's judged claims, in page order.
pub const TABLES: [(&str, Fill); 3] = [
    ("Findings", findings),
    ("The figure tests behind them", figure_tests),
    ("Reader checks", checks),
];

/// The sentences of the paper, each with its verdict and strength; `None` if there are none.
pub fn findings(judged: &[Judged]) -> Option<Table> {
    let row = |it: &Judged| {
        vec![
            Cell::text(&it.claim.says).with_detail(it.claim.note.clone()),
            Cell::text(&it.claim.place),
            measured_cell(it),
            verdict_cell(it),
            strength_cell(it),
        ]
    };
    let rows: Vec<Vec<Cell>> = of_kind(judged, ClaimKind::Finding).map(row).collect();
    let corpus = judged
        .iter()
        .find_map(|it| it.corpus.as_ref())
        .map(|corpus| format!(" Corpus: {corpus}."))
        .unwrap_or_default();
    let caption = format!(
        "What the paper says and what was found. A sentence about a figure is judged by its lift over chance, in the embedding's space \
         and on the drawn maps, for every training seed: structure is present if it is significant (p below {LEVEL} after Holm's \
         correction over all figure tests of the report) and the lift at least {BOUND}; absent if the lift's whole 95 % interval lies \
         below {BOUND}; a sentence that only one of them bears is partly reproduced if the other bears the contrary, and inconclusive \
         if not. A sentence about learning is judged on valid and on test. {RULE}.{corpus}"
    );
    (!rows.is_empty()).then_some(Table {
        name: "findings",
        caption,
        columns: vec!["the paper says", "where", "measured", "verdict", "strength"],
        rows,
    })
}

/// The numbers behind each sentence about a figure, by seed and space; `None` if none was tested.
pub fn figure_tests(judged: &[Judged]) -> Option<Table> {
    let mut rows = Vec::new();
    for it in judged {
        let Some(sentence) = &it.claim.figure else {
            continue;
        };
        for seed in &it.by_seed {
            let Some(spaces) = &seed.figure else { continue };
            for (space, tested) in spaces.named() {
                rows.push(test_row(sentence.question.labels(), seed, space, tested));
            }
        }
    }
    let caption = "Purity: the share of a point's nearest neighbours with its own label (for “nearer the centre”: how often a point of the \
                   first kind lies nearer the centre than one of the second). Lift: (purity − chance) / (1 − chance). The map is the \
                   t-SNE maps of all seeds together. A p of 0.0001 is the smallest that 9,999 shuffles can give.";
    (!rows.is_empty()).then_some(Table {
        name: "figure-tests",
        caption: caption.to_owned(),
        columns: vec![
            "labels",
            "seed",
            "space",
            "points",
            "purity",
            "chance",
            "lift",
            "95 % interval",
            "p",
            "p, Holm",
            "structure",
        ],
        rows,
    })
}

fn test_row(labels: &str, seed: &SeedJudged, space: &str, tested: &Tested) -> Vec<Cell> {
    let found = &tested.structure;
    let share = |value: f64| Cell {
        text: format!("{value:.3}").replace('-', "−"),
        number: Some(value),
        ..Cell::default()
    };
    let whole = |value: u64| Cell {
        text: value.to_string(),
        number: Some(value as f64),
        ..Cell::default()
    };
    vec![
        Cell::text(labels),
        whole(seed.seed),
        Cell::text(space),
        whole(found.points as u64),
        share(found.value),
        share(found.chance),
        share(found.lift),
        Cell::text(format!("{:.2} to {:.2}", found.low, found.high).replace('-', "−")),
        Cell::number(Some(found.p_value)),
        Cell::number(Some(tested.p_holm)),
        Cell::text(tested.outcome.name()),
    ]
}

/// The numbers that say whether the same data were read; `None` if there are none.
pub fn checks(judged: &[Judged]) -> Option<Table> {
    let row = |it: &Judged| {
        let claim = &it.claim;
        let difference = claim
            .value
            .zip(it.measured.mean())
            .filter(|(paper, measured)| *paper != 0.0 && paper != measured)
            .map(|(paper, measured)| {
                format!("{:+.2} %", 100.0 * (measured - paper) / paper).replace('-', "−")
            });
        let allowed = match &claim.tolerance {
            _ if claim.not_comparable.is_some() => "–".to_owned(),
            Some(tolerance) => tolerance.describe(),
            None => "the same".to_owned(),
        };
        vec![
            Cell::text(&claim.says).with_detail(claim.note.clone()),
            Cell::text(&claim.place),
            Cell::number(claim.value),
            it.measured.cell().with_detail(difference),
            Cell::text(allowed),
            verdict_cell(it),
        ]
    };
    let rows: Vec<Vec<Cell>> = of_kind(judged, ClaimKind::Check).map(row).collect();
    (!rows.is_empty()).then_some(Table {
        name: "checks",
        caption: "Whether the same data were read in the same way. These rows say nothing of the model. A number is close within five times \
                  what is allowed."
            .to_owned(),
        columns: vec!["the paper says", "where", "paper", "measured", "allowed", "verdict"],
        rows,
    })
}

/// The claims of a kind.
pub fn of_kind(judged: &[Judged], kind: ClaimKind) -> impl Iterator<Item = &Judged> {
    judged.iter().filter(move |it| it.kind() == kind)
}

/// What was measured: of a figure the mean lift in each space, of learning the mean scores, else the number.
pub fn measured_cell(judged: &Judged) -> Cell {
    let seeds = || judged.by_seed.iter();
    let lifts: Vec<[f64; 2]> = seeds()
        .filter_map(|it| Some(it.figure?.named().map(|(_, tested)| tested.structure.lift)))
        .collect();
    if !lifts.is_empty() {
        let mean = |space: usize| {
            let sum: f64 = lifts.iter().map(|it| it[space]).sum();
            format!("{:.2}", sum / lifts.len() as f64).replace('-', "−")
        };
        return Cell::text(format!(
            "lift {} in the embedding, {} on the map",
            mean(0),
            mean(1)
        ))
        .with_detail((lifts.len() > 1).then(|| format!("means of {} seeds", lifts.len())));
    }
    let scores: Vec<Scores> = seeds().filter_map(|it| it.scores).collect();
    match scores.is_empty() {
        true => judged.measured.cell(),
        false => scores_cell(
            &scores,
            judged
                .claim
                .learning
                .as_ref()
                .map_or("", |it| it.baseline.in_words()),
        ),
    }
}

/// The mean scores of some seeds on valid and on test, beside those of a baseline.
pub fn scores_cell(scores: &[Scores], baseline: &str) -> Cell {
    let mean = |of: fn(&Scores) -> f64| scores.iter().map(of).sum::<f64>() / scores.len() as f64;
    let both = |valid: f64, test: f64| format!("valid {}, test {}", number(valid), number(test));
    let first = &scores[0];
    let beside = both(first.valid_baseline, first.test_baseline);
    Cell::text(both(mean(|it| it.valid), mean(|it| it.test)))
        .with_detail((scores.len() > 1).then(|| format!("means of {} seeds", scores.len())))
        .with_detail(Some(format!("{baseline}: {beside}")))
}

/// The verdict, and each seed's where they disagree.
pub fn verdict_cell(judged: &Judged) -> Cell {
    let mut cell = bare_verdict_cell(&judged.verdict);
    let first = judged.by_seed.first().map(|it| it.verdict.name());
    if judged
        .by_seed
        .iter()
        .any(|it| Some(it.verdict.name()) != first)
    {
        let line = |it: &SeedJudged| format!("seed {}: {}", it.seed, it.verdict.name());
        cell.each_seed = judged.by_seed.iter().map(line).collect();
    }
    cell
}

/// A verdict as a cell.
pub fn bare_verdict_cell(verdict: &Verdict) -> Cell {
    let class = match verdict {
        Verdict::Reproduced => "verdict reproduced",
        Verdict::Close | Verdict::Partly => "verdict close",
        Verdict::Differs => "verdict differs",
        _ => "verdict open",
    };
    Cell {
        text: verdict.name().to_owned(),
        class,
        ..Cell::default()
    }
    .with_detail(verdict.reason().map(str::to_owned))
}

/// How much stands behind a verdict.
fn strength_cell(judged: &Judged) -> Cell {
    let strength = &judged.strength;
    if judged.by_seed.is_empty() {
        return Cell::text("–");
    }
    let share = strength
        .epochs_share
        .map(|share| format!("{} of the epochs", percent(share)));
    Cell::text(strength.name())
        .with_detail(Some(strength.provisional.join("; ")))
        .with_detail(share)
        .with_detail(judged.corpus_word.map(str::to_owned))
}

/// A share as a percentage with as many digits as it needs not to read as zero.
pub fn percent(share: f64) -> String {
    match 100.0 * share {
        percent if percent >= 10.0 => format!("{percent:.0} %"),
        percent => format!("{percent:.1} %"),
    }
}

/// Findings and checks, each counted apart, as a list for a page.
pub fn counters(judged: &[Judged]) -> Markup {
    let of = |kind| tally(of_kind(judged, kind));
    let provisional = of_kind(judged, ClaimKind::Finding)
        .filter(|it| !it.strength.provisional.is_empty())
        .count();
    html! {
        strong { "Findings: " } (of(ClaimKind::Finding)) @if provisional > 0 { " (" (provisional) " provisional)" }
        ". " strong { "Reader checks: " } (of(ClaimKind::Check)) "."
    }
}

/// A tally of one kind of claim, such as `3 reproduced, 1 not run`, in the verdicts' order.
pub fn tally<'a>(judged: impl Iterator<Item = &'a Judged>) -> String {
    let names = [
        "reproduced",
        "close",
        "partly",
        "differs",
        "inconclusive",
        "not learned yet",
        "not comparable",
        "not run",
        "paper gives no number",
    ];
    let mut counts = [0_usize; 9];
    for it in judged {
        let place = names.iter().position(|name| *name == it.verdict.name());
        counts[place.expect("every verdict's name is in the list")] += 1;
    }
    let parts: Vec<String> = names
        .iter()
        .zip(counts)
        .filter(|(_, count)| *count > 0)
        .map(|(name, count)| format!("{count} {name}"))
        .collect();
    match parts.is_empty() {
        true => "none".to_owned(),
        false => parts.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture::{Options, make_run};
    use crate::report::group::Group;
    use crate::report::record::RunRecord;
    use crate::report::verdict::{FigureTests, judge};
    use crate::run::Store;

    fn judged(options: &[Options]) -> Vec<Judged> {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path().join("runs"), folder.path().join("records"));
        let runs: Vec<RunRecord> = options
            .iter()
            .map(|it| RunRecord::read(&make_run(&store, "first", *it), false).unwrap())
            .collect();
        let group = Group::choose(runs.iter()).unwrap();
        let tests = FigureTests::of(group.runs().iter().map(|run| (*run, &run.claims[..])));
        assert_eq!(tests.family(), 2 * group.runs().len());
        judge(&group.shown().claims, Some(&group), &tests)
    }

    #[test]
    fn a_sentence_about_a_figure_stands_with_its_tests_and_strength() {
        let judged = judged(&[Options::default()]);
        let table = findings(&judged).unwrap();
        assert_eq!(table.rows.len(), 1);
        assert_eq!(table.rows[0][3].text, "reproduced");
        assert_eq!(table.rows[0][4].text, "provisional");
        let detail = table.rows[0][4].detail.clone().unwrap();
        assert!(detail.starts_with("1 training seed"), "{detail}");
        let tests = figure_tests(&judged).unwrap();
        assert_eq!(tests.rows.len(), 2);
        assert_eq!(tests.rows[0][2].text, "embedding");
        assert_eq!(tests.rows[1][10].text, "present");
    }

    #[test]
    fn three_seeds_that_agree_are_established() {
        let seeds = [1, 2, 3].map(|seed| Options {
            seed,
            ..Options::default()
        });
        let judged = judged(&seeds);
        let clusters = of_kind(&judged, ClaimKind::Finding).next().unwrap();
        assert_eq!(clusters.verdict, Verdict::Reproduced);
        assert_eq!(
            (clusters.strength.seeds, clusters.strength.name()),
            (3, "established")
        );
    }

    #[test]
    fn checks_are_counted_apart_from_findings() {
        let judged = judged(&[Options::default()]);
        let count = |kind| tally(of_kind(&judged, kind));
        assert_eq!(count(ClaimKind::Finding), "1 reproduced");
        let checked = count(ClaimKind::Check);
        assert!(checked.starts_with("2 reproduced"), "{checked}");
        assert_eq!(
            checks(&judged).unwrap().rows.len(),
            of_kind(&judged, ClaimKind::Check).count()
        );
    }
}
