//! A made-up run on disk, for the tests of this room alone: every number in it is invented.

use std::path::PathBuf;

use rand::Rng;
use serde_json::json;

use crate::analysis::{AnalysisConfig, NoteRow, TokenKind, analyse_all};
use crate::artifacts::{self, CorpusPoint, Evaluation};
use crate::random;
use crate::run::{CorpusIdentity, Environment, NewRun, Store};
use crate::sample::{Origin, Sample, SampleNote};

const EXPERIMENT: &str = "\
title: Test data, not a result
question: Does the page show what a run's record holds?
corpus: invented
model: {kind: lstm, embedding: 16, hidden: 128}
training: {seed: 1, epochs: 30, learning_rate: 0.002}
paper:
  model: Experiments
chosen:
  training.learning_rate: the paper does not give one
claims:
- id: tokens
  says: words in the corpus
  place: Data, table 1
  value: 1663576
  metric: corpus.tokens
  tolerance: {relative: 0.02}
- id: hidden
  says: hidden units
  place: Experiments
  value: 128
  metric: experiment.model.hidden
- id: clusters
  says: Mid-range notes form clear ON and OFF clusters
  place: Figure 1
  figure: {question: on-off-mid-range, expect: present}
- id: time
  says: about 4 h on a g2.2xlarge
  place: Experiments
  not_comparable: another machine
- id: loss
  says: no loss is given
  place: Experiments
  metric: valid.loss.best
- id: missing
  says: something that no run measures
  place: nowhere
  value: 3
  metric: no.such.number
";

/// How the invented run differs from a plain one.
#[derive(Clone, Copy)]
pub struct Options {
    /// The training seed; it shifts what the run measures a little.
    pub seed: u64,
    /// Epochs planned; 30 are run, whatever this says.
    pub epochs: u32,
    /// Mark it as a smoke run.
    pub smoke: bool,
    /// Leave it as a process that died would.
    pub unfinished: bool,
    /// Rows of kind `note` instead of ON and OFF.
    pub chords: bool,
    /// Name the corpus as synthetic.
    pub synthetic: bool,
    /// Name `first` as what the experiment changes something of, and another learning rate.
    pub ablation: bool,
    /// Say that the command line changed the hidden units.
    pub changed: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            seed: 1,
            epochs: 30,
            smoke: false,
            unfinished: false,
            chords: false,
            synthetic: false,
            ablation: false,
            changed: false,
        }
    }
}

fn resolved(options: Options) -> String {
    let settings = format!("{{seed: {}, epochs: {},", options.seed, options.epochs);
    let mut resolved = EXPERIMENT.replace("{seed: 1, epochs: 30,", &settings);
    if options.changed {
        resolved = resolved.replace("hidden: 128", "hidden: 64");
        resolved += "changed_on_command_line: {training.seed: '9', model.hidden: '128'}\n";
    }
    if options.ablation {
        format!("base: ../first.yaml\n{resolved}")
            .replace("learning_rate: 0.002", "learning_rate: 0.1")
    } else {
        resolved
    }
}

/// Makes a run of `experiment` in the store and returns its folder.
pub fn make_run(store: &Store, experiment: &str, options: Options) -> PathBuf {
    let new = NewRun {
        experiment: experiment.to_owned(),
        resolved: resolved(options),
        seed: options.seed,
        smoke: options.smoke,
        environment: Environment {
            device: "cpu".into(),
            emulated: false,
            hardware: None,
            kernel_path: "portable".into(),
            precision: "f32".into(),
            threads: 2,
        },
        command: ["run", "experiments/invented file.yaml"]
            .map(String::from)
            .to_vec(),
        concluded_at: None,
    };
    let mut run = store.create(new).unwrap();
    run.set_corpus(CorpusIdentity {
        name: "invented".into(),
        fingerprint: "c0ffee".repeat(10),
        stand_in: (!options.synthetic).then(|| "nothing".into()),
        synthetic: options.synthetic,
        origin: "made up by a test".into(),
        details: serde_json::Value::Null,
    })
    .unwrap();
    for epoch in 1..=30_u32 {
        let e = f64::from(epoch);
        let step = u64::from(epoch) * 100;
        run.log(step, epoch, "train", "loss", 4.0 + 5.0 / e);
        run.log(
            step,
            epoch,
            "valid",
            "loss",
            4.6 + 4.0 / e + 0.03 * (e - 14.0).max(0.0) + 0.01 * (options.seed as f64 - 1.0),
        );
        run.log_timing(
            step,
            epoch,
            "tokens_per_second",
            9_000.0 + 400.0 * (e * 1.3).sin(),
        );
    }
    run.log(3000, 30, "test", "loss", 5.05);
    if options.unfinished {
        run.flush().unwrap();
        return run.path().to_path_buf();
    }
    let mut rng = random::stream(5, "invented embeddings");
    let mut noise = |row: &[f64]| -> Vec<f64> {
        row.iter()
            .map(|mean| mean + rng.gen_range(-1.0..1.0))
            .collect()
    };
    let rows: Vec<NoteRow> = (33..93_u8)
        .flat_map(|pitch| [(pitch, TokenKind::On), (pitch, TokenKind::Off)])
        .filter(|(_, kind)| !options.chords || *kind == TokenKind::On)
        .map(|(pitch, kind)| {
            let p = f64::from(pitch);
            let apart = if options.chords || !(50..78).contains(&pitch) {
                0.0
            } else {
                3.0
            };
            let mut mean = vec![0.0; 16];
            mean[0] = if kind == TokenKind::On { apart } else { -apart };
            mean[1] = (p - 60.0) / 6.0;
            let name = if options.chords {
                pitch.to_string()
            } else {
                format!("note-{}-{pitch}-0", kind.name())
            };
            let kind = if options.chords {
                TokenKind::Note
            } else {
                kind
            };
            let count = 2000 / (1 + u64::from(pitch.abs_diff(64)));
            NoteRow {
                token: name,
                kind,
                pitch,
                count,
                trained: noise(&mean),
                untrained: noise(&[0.0; 16]),
            }
        })
        .collect();
    let played: [u64; 128] = std::array::from_fn(|pitch| {
        if (33..93).contains(&pitch) {
            100 - (pitch as i64 - 64).unsigned_abs()
        } else {
            0
        }
    });
    let settings = AnalysisConfig {
        iterations: 300,
        seeds: vec![0, 1],
        permutations: 199,
        ..AnalysisConfig::default()
    };
    let name = if options.chords {
        "one-note-chords"
    } else {
        "most-frequent"
    };
    let maps = [(name.to_owned(), rows)];
    let analysis = analyse_all(&maps, &played, &settings).unwrap();
    run.write_table(
        artifacts::EMBEDDINGS,
        &artifacts::embeddings_table(&maps).unwrap(),
    )
    .unwrap();
    run.write_table(
        artifacts::TSNE,
        &artifacts::map_table(&analysis.points).unwrap(),
    )
    .unwrap();
    let evaluation = vec![Evaluation {
        split: "test".into(),
        piece: "a".into(),
        steps: 10,
        nll: 50.0,
    }];
    run.write_table(
        artifacts::EVALUATION,
        &artifacts::evaluation_table(&evaluation).unwrap(),
    )
    .unwrap();
    run.write_table(
        artifacts::CORPUS_STATISTICS,
        &artifacts::corpus_table(&corpus_points()).unwrap(),
    )
    .unwrap();
    let statistics = json!({
        "corpus": { "pieces": 417, "tokens": 1_696_499, "unique_tokens": 35_060 },
        "baseline": { "unigram": { "train_entropy": 8.17 } },
        "analysis": analysis.statistics,
    });
    run.write_json(artifacts::STATISTICS, &statistics).unwrap();
    let samples = [
        (
            Origin::Generated,
            "1.mid",
            "checkpoint best on valid, <temperature> 1",
        ),
        (Origin::Real, "excerpt.mid", "piece & excerpt"),
    ];
    let samples: Vec<Sample> = samples
        .into_iter()
        .map(|(origin, file, description)| {
            run.write_bytes(&format!("samples/{file}"), b"MThd")
                .unwrap();
            let generated = origin == Origin::Generated;
            let notes = (0..120)
                .map(|i| SampleNote(f64::from(i) * 0.25, 0.24, 48 + ((i * i * 7) % 36) as u8))
                .collect();
            let description = description.to_owned();
            Sample {
                file: file.into(),
                origin,
                description,
                seed: generated.then_some(3),
                temperature: generated.then_some(1.0),
                top_k: None,
                notes_closed_at_end: 0,
                notes_without_duration: 0,
                notes,
            }
        })
        .collect();
    run.write_json(artifacts::SAMPLES, &samples).unwrap();
    run.finish().unwrap();
    run.path().to_path_buf()
}

fn corpus_points() -> Vec<CorpusPoint> {
    let point = |figure: &str, series: &str, x: f64, y: f64| CorpusPoint {
        figure: figure.into(),
        series: series.into(),
        x,
        y,
    };
    let mut points = Vec::new();
    for rank in [1, 2, 3, 5, 10, 20, 50, 100, 300, 1000, 3000, 10_000, 35_060] {
        let rank = f64::from(rank);
        points.push(point(
            "rank_frequency",
            "all",
            rank,
            (60_000.0 / rank.powf(0.9)).max(1.0).round(),
        ));
        points.push(point(
            "vocabulary_growth",
            "all",
            rank * 48.0,
            (rank * 48.0).powf(0.73).round(),
        ));
    }
    for split in ["train", "valid"] {
        points.extend((0..9).map(|n| {
            point(
                "polyphony",
                split,
                f64::from(n),
                1000.0 * (-f64::from((n - 3) * (n - 3)) / 4.0).exp(),
            )
        }));
    }
    points.extend((33..93).map(|pitch| {
        point(
            "pitch",
            "all",
            f64::from(pitch),
            5000.0 - f64::from((pitch - 64) * (pitch - 64)),
        )
    }));
    points.extend((1..=16).map(|n| {
        point(
            "duration",
            "all",
            2f64.powf(f64::from(n) / 4.0 - 2.0),
            900.0 / f64::from(n),
        )
    }));
    points
}
