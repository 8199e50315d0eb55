//! The end of a run: the test score, the single-note embeddings with their maps, the corpus figures, and every number that a claim
//! can name, in `statistics.json`.

use std::sync::atomic::AtomicBool;

use anyhow::Result;
use serde_json::{Map, Value, json};

use crate::analysis::analyse_all;
use crate::analysis::single_note::{Tables, played, single_notes};
use crate::artifacts::{self, CorpusPoint, Evaluation, NoteMap};
use crate::corpus::Corpus;
use crate::corpus::split::Split;
use crate::encoding::Encode;
use crate::encoding::dataset::Dataset;
use crate::encoding::statistics::{Statistics, duration_of_bin, statistics};
use crate::experiment::Experiment;
use crate::model::backend::Backend;
use crate::model::parameters;
use crate::run::Run;
use crate::tell;
use crate::training::baselines::baselines;
use crate::training::data::Data;
use crate::training::evaluate::{PieceScore, evaluate};
use crate::training::{Trainer, initial_weights, log_score};

/// Writes all that a finished run says of itself besides its weights and samples. The network is the one to be judged.
#[expect(
    clippy::too_many_arguments,
    reason = "the end of a run draws on everything before it"
)]
pub fn write<B: Backend>(
    run: &mut Run,
    experiment: &Experiment,
    corpus: &Corpus,
    encoding: &dyn Encode,
    dataset: &Dataset,
    data: &Data,
    trainer: &Trainer<B>,
    samples: Value,
    interrupted: &AtomicBool,
) -> Result<()> {
    score_held_out(run, experiment, data, trainer, interrupted)?;
    let counts = statistics(dataset, None);
    run.write_table(
        artifacts::CORPUS_STATISTICS,
        &artifacts::corpus_table(&corpus_points(&counts))?,
    )?;
    let analysis = analyse_embeddings(run, experiment, encoding, dataset, trainer)?;
    let mut unknown = Map::new();
    if let Some(rule) = &data.unknown {
        unknown.insert("epsilon".into(), json!(rule.epsilon));
    }
    let seconds = run.record().seconds();
    run.write_json(
        artifacts::STATISTICS,
        &json!({
            "corpus": corpus_numbers(&counts),
            "catalogue": { "pieces": corpus.len() },
            "vocabulary": { "size": data.vocabulary_size() },
            "unknown": unknown,
            "model": { "parameters": trainer.network.parameters().count() },
            "training": {
                "epochs": whole_or_not(trainer.epochs_trained()),
                "epochs_planned": experiment.training.epochs,
                "steps": trainer.step(),
                "stopped_early": trainer.stopped_early(),
                "best": trainer.best(),
            },
            "baseline": baselines(data),
            "analysis": analysis,
            "samples": samples,
        }),
    )?;
    run.log_timing(trainer.step(), trainer.epoch(), "seconds", seconds);
    Ok(())
}

/// A whole number without a point.
fn whole_or_not(number: f64) -> Value {
    match number.fract() {
        0.0 => json!(number as u64),
        _ => json!(number),
    }
}

/// Scores valid and test piece by piece with the network to be judged; test is scored here and nowhere else.
fn score_held_out<B: Backend>(
    run: &mut Run,
    experiment: &Experiment,
    data: &Data,
    trainer: &Trainer<B>,
    interrupted: &AtomicBool,
) -> Result<()> {
    let mut rows = Vec::new();
    for (split, pieces) in [(Split::Valid, &data.valid), (Split::Test, &data.test)] {
        let scores = evaluate(
            &trainer.network,
            data,
            pieces,
            experiment.evaluation.batch_size,
            interrupted,
            &mut |_| {},
        )?;
        if split == Split::Test && !scores.is_empty() {
            let (step, epoch) = trainer.judged_at();
            log_score(run, step, epoch, split, &scores, data);
        }
        let row = |score: PieceScore| Evaluation {
            split: split.name().to_owned(),
            piece: score.piece,
            steps: score.steps as u64,
            nll: score.density_nll,
        };
        rows.extend(scores.into_iter().map(row));
    }
    run.write_table(artifacts::EVALUATION, &artifacts::evaluation_table(&rows)?)
}

/// Maps the single-note embeddings before and after training, and measures what the paper says of them.
fn analyse_embeddings<B: Backend>(
    run: &mut Run,
    experiment: &Experiment,
    encoding: &dyn Encode,
    dataset: &Dataset,
    trainer: &Trainer<B>,
) -> Result<Value> {
    let Experiment {
        model, training, ..
    } = experiment;
    let trained = trainer.network.parameters().embedding().to_vec();
    let alphabet = trainer.network.alphabet();
    let untrained = parameters::initial_embedding(model, alphabet, &mut initial_weights(training));
    let tables = Tables {
        trained: &trained,
        untrained: &untrained,
        width: model.embedding,
    };
    let kind = experiment.encoding.kind;
    let maps: Vec<NoteMap> = single_notes(kind, encoding, &dataset.vocabulary, &tables);
    let played = played(kind, encoding, &dataset.vocabulary);
    let analysis = analyse_all(&maps, &played, &experiment.analysis)?;
    for lowered in lowered_perplexities(&analysis.statistics) {
        tell!("warning: {lowered}");
        run.event(lowered)?;
    }
    run.write_table(artifacts::EMBEDDINGS, &artifacts::embeddings_table(&maps)?)?;
    run.write_table(artifacts::TSNE, &artifacts::map_table(&analysis.points)?)?;
    Ok(analysis.statistics)
}

/// A line for each map that has too few rows for the perplexity that was asked for.
fn lowered_perplexities(statistics: &Value) -> Vec<String> {
    let maps = statistics.as_object().into_iter().flatten();
    let lowered = maps.filter_map(|(map, statistics)| {
        let setting = |name: &str| statistics["settings"][name].as_f64();
        let (used, asked) = (setting("perplexity")?, setting("perplexity_asked")?);
        (used < asked).then(|| {
            let rows = &statistics["rows"];
            format!(
                "map '{map}' has {rows} rows, too few for the perplexity {asked} that was asked for: it is drawn with {used:.2}"
            )
        })
    });
    lowered.collect()
}

/// The corpus's counts, in all and by split, by the names that claims use.
fn corpus_numbers(counts: &Statistics) -> Value {
    let mut numbers = Map::new();
    numbers.insert("pieces".into(), json!(counts.pieces));
    numbers.insert("tokens".into(), json!(counts.tokens));
    numbers.insert("unique_tokens".into(), json!(counts.unique_tokens));
    numbers.insert("notes".into(), json!(counts.music.notes));
    for split in &counts.splits {
        let unseen_share = split.unseen_tokens as f64 / split.tokens as f64;
        numbers.insert(
            split.split.name().into(),
            json!({
                "pieces": split.pieces,
                "tokens": split.tokens,
                "unique_tokens": split.unique_tokens,
                "unseen_tokens": split.unseen_tokens,
                "unseen_share": unseen_share,
            }),
        );
    }
    Value::Object(numbers)
}

/// The corpus figures as points.
fn corpus_points(counts: &Statistics) -> Vec<CorpusPoint> {
    let mut points = Vec::new();
    let mut add = |figure: &str, x: f64, y: f64| {
        points.push(CorpusPoint {
            figure: figure.into(),
            series: "all".into(),
            x,
            y,
        });
    };
    for point in &counts.rank_frequency {
        add("rank_frequency", point.rank as f64, point.count as f64);
    }
    for point in &counts.vocabulary_growth {
        add(
            "vocabulary_growth",
            point.tokens as f64,
            point.unique_tokens as f64,
        );
    }
    for (pitch, &notes) in counts
        .music
        .pitches
        .iter()
        .enumerate()
        .filter(|(_, notes)| **notes > 0)
    {
        add("pitch", pitch as f64, notes as f64);
    }
    for (voices, &steps) in counts
        .music
        .polyphony
        .iter()
        .enumerate()
        .filter(|(_, steps)| **steps > 0)
    {
        add("polyphony", voices as f64, steps as f64);
    }
    for (bin, &notes) in counts
        .music
        .durations
        .iter()
        .enumerate()
        .filter(|(_, notes)| **notes > 0)
    {
        add("duration", duration_of_bin(bin), notes as f64);
    }
    points
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_perplexity_that_was_lowered_is_told() {
        let map = |used: f64| json!({ "rows": 22, "settings": { "perplexity": used, "perplexity_asked": 30.0 } });
        let statistics = json!({ "mean": map(30.0), "keys": map(7.0), "few": { "rows": 3, "skipped": "…" }, "claims": {} });
        assert_eq!(
            lowered_perplexities(&statistics),
            [
                "map 'keys' has 22 rows, too few for the perplexity 30 that was asked for: it is drawn with 7.00"
            ]
        );
    }
}
