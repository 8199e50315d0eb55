//! The verdicts for programs: `reports/verdicts.json`, one object a finding or check.

use serde_json::{Value, json};

use super::experiment::{ExperimentReport, Kind};
use super::verdict::{Judged, Scores, SeedJudged, Tested};
use crate::analysis::Spaces;
use crate::claim::ClaimKind;

/// The file's text: a list of objects with `experiment`, `claim`, `says`, `place`, `kind`, `verdict`, `reason`, `strength`,
/// `provisional`, `seeds`, `epochs_share`, `spaces` (of `embedding` and `map`: means of `purity`, `chance` and `lift` over training
/// seeds, the largest `p_holm`), `scores` and `by_seed`. An ablation's objects name what they vary in `ablation_of`.
pub fn render(reports: &[ExperimentReport]) -> String {
    let claims: Vec<Value> = reports
        .iter()
        .flat_map(|report| {
            let told = report
                .judged
                .iter()
                .filter(|it| it.kind() != ClaimKind::Coverage);
            told.map(move |judged| object(report, judged))
        })
        .collect();
    let mut text = serde_json::to_string_pretty(&claims).expect("plain JSON can be written");
    text.push('\n');
    text
}

fn object(report: &ExperimentReport, judged: &Judged) -> Value {
    let strength = &judged.strength;
    let is_finding = judged.kind() == ClaimKind::Finding;
    json!({
        "experiment": report.name,
        "ablation_of": match &report.kind { Kind::Ablation(base) => Some(base), _ => None },
        "claim": judged.claim.id,
        "says": judged.claim.says,
        "place": judged.claim.place,
        "kind": judged.kind().name(),
        "verdict": judged.verdict.name(),
        "reason": judged.verdict.reason(),
        "strength": is_finding.then(|| strength.name()),
        "provisional": is_finding.then_some(&strength.provisional),
        "seeds": strength.seeds,
        "epochs_share": strength.epochs_share,
        "paper": judged.claim.value,
        "measured": judged.measured.mean(),
        "spaces": spaces(judged),
        "by_seed": judged.by_seed.iter().map(of_seed).collect::<Vec<_>>(),
    })
}

/// Each space's means over training seeds, and the largest p-value.
fn spaces(judged: &Judged) -> Option<Value> {
    let found: Vec<Spaces<Tested>> = judged.by_seed.iter().filter_map(|it| it.figure).collect();
    if found.is_empty() {
        return None;
    }
    let of = |space: fn(&Spaces<Tested>) -> &Tested| {
        let mean = |value: fn(&Tested) -> f64| {
            found.iter().map(|it| value(space(it))).sum::<f64>() / found.len() as f64
        };
        json!({
            "purity": mean(|it| it.structure.value),
            "chance": mean(|it| it.structure.chance),
            "lift": mean(|it| it.structure.lift),
            "p_holm": found.iter().map(|it| space(it).p_holm).fold(0.0, f64::max),
        })
    };
    Some(json!({ "embedding": of(|it| &it.embedding), "map": of(|it| &it.map) }))
}

fn of_seed(judged: &SeedJudged) -> Value {
    let tested = |it: &Tested| {
        let found = &it.structure;
        json!({
            "points": found.points, "purity": found.value, "chance": found.chance, "lift": found.lift, "lift_low": found.low,
            "lift_high": found.high, "p": found.p_value, "p_holm": it.p_holm, "structure": it.outcome.name(),
        })
    };
    let scores = |it: Scores| {
        json!({
            "valid": it.valid, "valid_baseline": it.valid_baseline, "test": it.test, "test_baseline": it.test_baseline,
            "plateau": it.plateau,
        })
    };
    json!({
        "seed": judged.seed,
        "run": judged.run,
        "verdict": judged.verdict.name(),
        "embedding": judged.figure.as_ref().map(|it| tested(&it.embedding)),
        "map": judged.figure.as_ref().map(|it| tested(&it.map)),
        "scores": judged.scores.map(scores),
    })
}
