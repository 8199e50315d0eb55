//! The music that a run generates when it is trained, and an excerpt of real music to hear beside it.

use anyhow::Result;
use serde_json::{Value, json};

use crate::artifacts;
use crate::batch::Symbols;
use crate::corpus::{catalogue, midi, score::Score};
use crate::encoding::dataset::Dataset;
use crate::encoding::{Encode, Symbol};
use crate::experiment::Experiment;
use crate::generate::generate;
use crate::metric::music;
use crate::model::Network;
use crate::model::backend::Backend;
use crate::random;
use crate::run::Run;
use crate::sample::{self, Origin, Sample};
use crate::training::data::Data;

/// Time steps of an excerpt: 16 bars of eighth notes in four beats.
const EXCERPT_STEPS: usize = 128;
/// The length of the runs of tokens that are looked up in the training data.
const N_GRAM: usize = 8;

/// Generates the experiment's samples, writes them as MIDI and returns what can be measured of them.
pub fn write<B: Backend>(
    run: &mut Run,
    experiment: &Experiment,
    encoding: &dyn Encode,
    dataset: &Dataset,
    data: &Data,
    network: &Network<B>,
) -> Result<Value> {
    let settings = &experiment.samples;
    let mut samples = Vec::new();
    let mut measured = Vec::new();
    for index in 0..u64::from(settings.count) {
        let seed = settings.seed.wrapping_add(index);
        let mut rng = random::stream(seed, "sample");
        let silence = Symbols::Tokens(Vec::new());
        let drawn = generate(
            network,
            &silence,
            settings.length,
            settings.sampling(),
            &mut rng,
        )?;
        let written = midi::write(&score_of(encoding, &drawn, |id| dataset.symbol(id)));
        let file = format!("sample-{seed}.mid");
        run.write_bytes(&format!("samples/{file}"), &written.bytes)?;
        measured.push(measures(&written.score, drawn.tokens(), data));
        samples.push(Sample {
            file,
            origin: Origin::Generated,
            description: format!("{} symbols from silence", settings.length),
            seed: Some(seed),
            temperature: Some(f64::from(settings.temperature)),
            top_k: settings.top_k,
            notes_closed_at_end: written.closed_at_end,
            notes_without_duration: written.without_duration,
            notes: sample::notes(&written.score),
        });
    }
    samples.extend(excerpt(run, encoding, dataset, data)?);
    run.write_bytes(artifacts::SAMPLES, &serde_json::to_vec(&samples)?)?;
    Ok(json!({ "n_gram": N_GRAM, "generated": measured }))
}

/// The score of drawn symbols.
pub fn score_of(
    encoding: &dyn Encode,
    drawn: &Symbols,
    symbol: impl Fn(u32) -> Option<Symbol>,
) -> Score {
    let symbols: Vec<Symbol> = match drawn {
        Symbols::Tokens(tokens) => tokens.iter().filter_map(|&token| symbol(token)).collect(),
        Symbols::Keys(keys) => keys.iter().map(|&keys| Symbol(keys)).collect(),
    };
    encoding.decode(&symbols)
}

/// The beginning of the first held-out piece, where the catalogue says that a record may show it.
fn excerpt(
    run: &mut Run,
    encoding: &dyn Encode,
    dataset: &Dataset,
    data: &Data,
) -> Result<Option<Sample>> {
    let corpus = run.record().corpus.as_ref();
    let may_show = corpus.is_some_and(|corpus| catalogue::may_show(&corpus.name));
    let Some(piece) = data.test.first().filter(|_| may_show) else {
        return Ok(None);
    };
    let symbols = match &piece.symbols {
        Symbols::Tokens(tokens) => {
            Symbols::Tokens(tokens.iter().take(EXCERPT_STEPS).copied().collect())
        }
        Symbols::Keys(keys) => Symbols::Keys(keys.iter().take(EXCERPT_STEPS).copied().collect()),
    };
    let written = midi::write(&score_of(encoding, &symbols, |id| dataset.symbol(id)));
    let file = "excerpt.mid".to_owned();
    run.write_bytes(&format!("samples/{file}"), &written.bytes)?;
    Ok(Some(Sample {
        file,
        origin: Origin::Real,
        description: format!(
            "the first {} symbols of {}, a held-out piece of the corpus",
            symbols.len(),
            piece.name
        ),
        seed: None,
        temperature: None,
        top_k: None,
        notes_closed_at_end: written.closed_at_end,
        notes_without_duration: written.without_duration,
        notes: sample::notes(&written.score),
    }))
}

/// What can be measured of one sample.
fn measures(score: &Score, tokens: &[u32], data: &Data) -> Value {
    let mut measures = json!({
        "pitch_class_entropy": music::pitch_class_entropy(score),
        "scale_consistency": music::scale_consistency(score),
        "polyphony": music::polyphony(score),
        "empty_beat_rate": music::empty_beat_rate(score),
        "pitch_range": music::pitch_range(score),
        "pitches_used": music::pitches_used(score),
    });
    if !tokens.is_empty() {
        let pieces = data.train_pieces();
        measures["n_gram_overlap"] = json!(music::n_gram_overlap(
            tokens,
            pieces.iter().map(|piece| piece.symbols.tokens()),
            N_GRAM
        ));
    }
    measures
}
