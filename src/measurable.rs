//! Every number that a run can be asked for by name, so that a claim on a number which nothing measures is caught when it is read.
//!
//! Names are those that a report looks up: dotted paths into `statistics.json`, `<split>.<metric>.<best|last>`,
//! `timings.<metric>.<mean|last>`, `training.hours` and `experiment.<setting>`. A run may still lack a number that has a name
//! here: what is not measured for its encoding, or could not be.

use crate::metric::METRICS;

/// The names as patterns; `{a,b}` is one of a and b. `METRIC` is any name of the registry of metrics.
const NAMES: &[&str] = &[
    "corpus.{pieces,tokens,unique_tokens,notes}",
    "corpus.{train,valid,test}.{pieces,tokens,unique_tokens,unseen_tokens,unseen_share}",
    "catalogue.pieces",
    "vocabulary.size",
    "unknown.epsilon",
    "model.parameters",
    "training.{epochs,epochs_planned,steps,hours}",
    "training.best.{step,epoch,score}",
    "baseline.{unigram,markov}.{valid,test}",
    "baseline.unigram.train_entropy",
    "analysis.{MAP}.{rows,mid_range.lowest,mid_range.highest}",
    "analysis.{MAP}.settings.{perplexity,perplexity_asked,iterations,neighbours,permutations,permutation_seed}",
    "analysis.{MAP}.{kind_mid_range,kind_outside_mid_range,kind}.points.{on,off}",
    "analysis.{MAP}.register.points.{low,middle,high}",
    "analysis.{MAP}.{LABELS}.{SPACE}.{purity,purity_chance,purity_p,silhouette}",
    "analysis.{MAP}.{LABELS}.{trained,untrained}.silhouette_p",
    "analysis.{MAP}.{LABELS}.tsne.{purity,silhouette}_over_seeds.{mean,smallest,largest}",
    "analysis.{MAP}.{kind_mid_range,kind_outside_mid_range,kind}.{SPACE}.centroid_distance_on_off",
    "analysis.{MAP}.register.{SPACE}.centroid_distance_{low_middle,low_high,middle_high}",
    "analysis.{MAP}.map.{tsne,untrained_tsne}.{kl,trustworthiness,continuity}",
    "analysis.{MAP}.map.tsne.{kl,trustworthiness,continuity}_over_seeds.{mean,smallest,largest}",
    "analysis.{MAP}.map.pca.{variance_first,variance_second,trustworthiness,continuity}",
    "analysis.{MAP}.spread.maps",
    "analysis.{MAP}.spread.procrustes.{mean,smallest,largest}",
    "analysis.{MAP}.geometry.pitches.{note,on,off}.{rows,lowest,highest}",
    "analysis.{MAP}.geometry.pitches.on_off.rows",
    "analysis.{MAP}.geometry.{trained,untrained}.tests",
    "analysis.{MAP}.geometry.{trained,untrained}.{note,on,off}.{TEST}.{value,chance,p,p_holm}",
    "analysis.{MAP}.geometry.{trained,untrained}.{note,on,off}.steps.{1,2,3,4,5,6,7,8,9,10,11,12}.{value,chance,p,p_holm}",
    "analysis.{MAP}.geometry.{trained,untrained}.on_off.direction.{value,chance,p,p_holm}",
    "samples.n_gram",
    "{train,valid,test}.{METRIC}.{best,last}",
    "timings.{METRIC}.{mean,last}",
];

/// Every name, `experiment.<setting>` aside.
pub fn names() -> Vec<String> {
    let metrics: Vec<&str> = METRICS.iter().map(|metric| metric.name).collect();
    let written_out = |pattern: &str| {
        pattern
            .replace("MAP", "most-frequent,mean,one-note-chords,keys")
            .replace(
                "LABELS",
                "kind_mid_range,kind_outside_mid_range,kind,register",
            )
            .replace("SPACE", "trained,untrained,pca,untrained_tsne,tsne")
            .replace(
                "TEST",
                "transposition,transposition_within_octaves,octave,fifth,fourth",
            )
            .replace("METRIC", &metrics.join(","))
    };
    NAMES
        .iter()
        .flat_map(|pattern| alternatives(&written_out(pattern)))
        .collect()
}

/// The texts that a pattern stands for.
fn alternatives(pattern: &str) -> Vec<String> {
    let Some((before, rest)) = pattern.split_once('{') else {
        return vec![pattern.to_owned()];
    };
    let (choices, after) = rest
        .split_once('}')
        .expect("each brace of a pattern is closed");
    let tails = alternatives(after);
    choices
        .split(',')
        .flat_map(|choice| {
            tails
                .iter()
                .map(move |tail| format!("{before}{choice}{tail}"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_stands_for_each_of_its_alternatives() {
        let expected = ["a.x.c", "a.x.d", "a.y.c", "a.y.d"];
        assert_eq!(alternatives("a.{x,y}.{c,d}"), expected);
    }

    #[test]
    fn names_are_those_of_the_papers_claims_and_of_the_registry_of_metrics() {
        let names = names();
        for name in [
            "corpus.train.unique_tokens",
            "analysis.keys.register.tsne.silhouette",
            "test.nll_per_step.last",
            "timings.tokens_per_second.mean",
            "training.hours",
        ] {
            assert!(names.iter().any(|it| it == name), "{name}");
        }
        assert!(!names.iter().any(|it| it.contains(['{', '}'])));
    }
}
