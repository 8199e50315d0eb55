//! One `experiments/*.yaml` as a type, checked when it is read. The door of serde_yaml.
//!
//! An experiment file holds only what differs from the written defaults. Each room defines the settings of its own part;
//! this file composes them, so that the resolved experiment spells out every value that a run depends on.

mod explain;
mod find;
mod location;
pub mod overrides;
mod written;

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, anyhow, ensure};
use serde::{Deserialize, Serialize};
use serde_yaml::Value;

use crate::analysis::AnalysisConfig;
use crate::claim::Claim;
use crate::corpus::catalogue;
use crate::corpus::open::unknown;
use crate::corpus::split::SplitConfig;
use crate::encoding::vocabulary::{VocabularyConfig, VocabularySource};
use crate::encoding::{EncodingConfig, EncodingKind};
use crate::exit_code::OrUsage;
use crate::generate::SamplesConfig;
use crate::metric::METRICS;
use crate::model::{ModelConfig, ModelKind};
use crate::run::read_regular;
use crate::tolerance::Tolerance;
use crate::training::{EvaluationConfig, TrainingConfig};
use explain::{explain, hint, located};

pub use find::find;

/// Settings, each with all below it, that say what the numbers of a checkpoint are and which window of which data comes next.
const FIXED_BY_CHECKPOINTS: [&str; 9] = [
    "corpus",
    "encoding",
    "split",
    "vocabulary",
    "model",
    "training.seed",
    "training.batch_size",
    "training.sequence_length",
    "training.optimizer",
];

/// Whether training cannot go on from a checkpoint when the setting `key` is another, such as `model.hidden`.
pub fn is_fixed_by_checkpoints(key: &str) -> bool {
    FIXED_BY_CHECKPOINTS.iter().any(|fixed| covers(fixed, key))
}

/// Whether the dotted key `key` is `setting` or above it.
pub fn covers(key: &str, setting: &str) -> bool {
    setting
        .strip_prefix(key)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// A declarative experiment: what to train on what, how to judge it, and what the paper claims of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Experiment {
    /// The experiment's title in reports.
    #[serde(default)]
    pub title: String,
    /// What the experiment asks, in a sentence.
    #[serde(default)]
    pub question: String,
    /// The experiment that this one varies, as a file beside it: whatever this one does not set is as it is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
    /// A corpus of the catalogue, or a directory or archive of MIDI files.
    #[serde(default)]
    pub corpus: String,
    /// How scores become tokens.
    #[serde(default)]
    pub encoding: EncodingConfig,
    /// Which pieces train, choose and judge.
    #[serde(default)]
    pub split: SplitConfig,
    /// Which pieces the vocabulary is taken from.
    #[serde(default)]
    pub vocabulary: VocabularyConfig,
    /// The network.
    #[serde(default)]
    pub model: ModelConfig,
    /// How it is trained.
    #[serde(default)]
    pub training: TrainingConfig,
    /// How it is scored on held-out pieces.
    #[serde(default)]
    pub evaluation: EvaluationConfig,
    /// How its embeddings are mapped and tested.
    #[serde(default)]
    pub analysis: AnalysisConfig,
    /// The music it generates when it is trained.
    #[serde(default)]
    pub samples: SamplesConfig,
    /// Tolerances of `diff`, by metric name, where the metric's own does not fit.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tolerances: BTreeMap<String, Tolerance>,
    /// What the paper gives for this experiment: dotted key → place in the paper.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub paper: BTreeMap<String, String>,
    /// What was chosen because the paper is silent: dotted key → reason. A key covers all keys below it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub chosen: BTreeMap<String, String>,
    /// What the command line set to another value than the file: dotted key → the file's value. No reason of `paper` or `chosen` is of
    /// these values, whatever key it stands under. Absent in a file, and in records of an older harness, which do not tell it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed_on_command_line: Option<BTreeMap<String, String>>,
    /// The paper's numbers and sentences that this experiment can test.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub claims: Vec<Claim>,
}

impl Experiment {
    /// Reads `path` over its base, applies the overrides (`training.epochs=3`) and checks the result.
    ///
    /// An error names the file, the line, the field and, for a misspelt one, the nearest valid name.
    pub fn load(path: &Path, overrides: &[String]) -> Result<Self> {
        let resolve = |text: &str| {
            let mut experiment = Self::resolve(text, tree(path, text, MOST_BASES)?, overrides)?;
            experiment.changed_on_command_line.get_or_insert_default();
            let corpus = &experiment.corpus;
            let exists = catalogue::find(corpus).is_some() || Path::new(corpus).exists();
            let missing = || anyhow!("corpus: {}", unknown(corpus));
            ensure!(exists, located(missing(), text, overrides));
            written::check(&experiment).map_err(|error| located(error, text, overrides))?;
            Ok(experiment)
        };
        let text = read(path).or_usage()?;
        resolve(&text)
            .with_context(|| format!("in experiment '{}'", path.display()))
            .or_usage()
    }

    /// The same from the text of an experiment that is whole, as a record keeps it: whether its corpus is there, and whether its
    /// claims and reasons name things that there are, is not asked, so that a later harness reads what an earlier one accepted. Only
    /// overrides can be an error of usage.
    pub fn parse(text: &str, overrides: &[String]) -> Result<Self> {
        let experiment = yaml(text).and_then(|tree| Self::resolve(text, tree, overrides));
        match overrides {
            [] => experiment,
            _ => experiment.or_usage(),
        }
    }

    /// `tree` with the overrides. `text` is what errors are located in: all of the tree, or what lies over its base.
    fn resolve(text: &str, mut tree: Value, overrides: &[String]) -> Result<Self> {
        let file = tree.clone();
        for entry in overrides {
            overrides::ensure_whole(entry)?;
            overrides::apply(&mut tree, entry)?;
        }
        let mut experiment: Result<Self> =
            serde_yaml::from_value(tree).map_err(|error| explain(error, text));
        if !overrides.is_empty() {
            experiment =
                experiment.with_context(|| format!("with the overrides {}", overrides.join(", ")));
        }
        let mut experiment = experiment?;
        experiment
            .check()
            .map_err(|error| located(error, text, overrides))?;
        if !overrides.is_empty() {
            let file = serde_yaml::from_value(file).map_err(|error| explain(error, text))?;
            overrides::tell_changes(&file, &mut experiment)?;
        }
        Ok(experiment)
    }

    /// The resolved experiment as YAML, every default spelled out.
    pub fn to_yaml(&self) -> String {
        serde_yaml::to_string(self).expect("an experiment that was read can be written")
    }

    /// What `--smoke` makes of an experiment: the same path through the code, minutes made seconds.
    pub fn smoke(mut self) -> Self {
        self.training.epochs = self.training.epochs.min(2);
        self.training.batch_size = self.training.batch_size.min(10);
        self.training.checkpoint_every = self.training.checkpoint_every.min(5);
        self.analysis = self.analysis.smoke();
        self.samples = self.samples.smoke();
        self
    }

    /// Checks what no type can say. An error begins with the dotted key at fault.
    fn check(&self) -> Result<()> {
        ensure!(!self.title.trim().is_empty(), "title must not be empty");
        ensure!(
            !self.corpus.is_empty(),
            "corpus must name a corpus of `harness corpus list`, or your own MIDI files"
        );
        self.encoding.build()?;
        self.split.check()?;
        self.model.validate()?;
        self.training.validate()?;
        ensure!(
            self.evaluation.every > 0,
            "evaluation.every must be at least 1"
        );
        ensure!(
            self.evaluation.batch_size > 0,
            "evaluation.batch_size must be at least 1"
        );
        self.analysis.validate()?;
        self.samples.validate()?;
        ensure!(
            (self.encoding.kind == EncodingKind::MultiHot)
                == (self.model.kind == ModelKind::Sigmoid),
            "model.kind: the sigmoid model reads the multi-hot encoding and no other model does; set both or neither"
        );
        ensure!(
            self.encoding.kind != EncodingKind::MidiMessage
                || self.vocabulary.from == VocabularySource::Corpus,
            "vocabulary.from must be corpus with encoding.kind midi-message: a note message that the train split never shows would \
             have no likelihood"
        );
        ensure!(
            self.model.embedding >= 2,
            "model.embedding must be at least 2, to be drawn as a map"
        );
        for name in self.tolerances.keys() {
            let known = || METRICS.iter().map(|metric| metric.name);
            ensure!(
                known().any(|it| it == name),
                "tolerances.{name} is of a metric that is not measured{}",
                hint(name, known())
            );
        }
        Ok(())
    }
}

/// The most experiments in a chain of bases; a longer one is taken for a circle.
const MOST_BASES: usize = 8;

/// The most bytes of an experiment's file.
const LARGEST: u64 = 4 << 20;

fn read(path: &Path) -> Result<String> {
    let text = || -> Result<String> { Ok(String::from_utf8(read_regular(path, LARGEST)?)?) };
    text().with_context(|| format!("failed to read experiment '{}'", path.display()))
}

/// The keys and values of an experiment's text, or of as much of one as stands over a base.
fn yaml(text: &str) -> Result<Value> {
    // Some editors put a byte order mark before the first character; the parser takes it for a document of its own.
    let text = text.trim_start_matches('\u{feff}');
    check_shape(text)?;
    let explain = |error| explain(error, text);
    // What is read as an experiment, and not as any YAML, has lines and fields to name.
    serde_yaml::from_str::<Experiment>(text).map_err(explain)?;
    serde_yaml::from_str(text).map_err(explain)
}

/// The experiment of `text`, the content of `path`, laid over its base.
fn tree(path: &Path, text: &str, most_bases: usize) -> Result<Value> {
    let own = yaml(text);
    let own = match most_bases {
        MOST_BASES => own?,
        _ => own.with_context(|| format!("in its base '{}'", path.display()))?,
    };
    let Some(base) = own.get("base").and_then(Value::as_str) else {
        return Ok(own);
    };
    ensure!(
        most_bases > 0,
        "base: more than {MOST_BASES} experiments, each the base of another: is it a circle?"
    );
    let base = path.with_file_name(base);
    let mut below = tree(&base, &read(&base)?, most_bases - 1)?;
    lay_over(&mut below, own);
    Ok(below)
}

/// Sets in `below` what `above` sets: mappings key by key, anything else whole.
fn lay_over(below: &mut Value, above: Value) {
    match (below, above) {
        (Value::Mapping(below), Value::Mapping(above)) => {
            for (key, value) in above {
                lay_over(below.entry(key).or_insert(Value::Null), value);
            }
        }
        (below, above) => *below = above,
    }
}

/// How deep lists and mappings may nest: the parser's own limit, which it reaches only after time that grows with the square.
const DEEPEST: usize = 128;

/// Refuses what is YAML but no experiment, in words that its writer understands.
fn check_shape(text: &str) -> Result<()> {
    let is_empty = |line: &str| line.trim().is_empty() || line.trim_start().starts_with('#');
    ensure!(
        !text.lines().all(is_empty),
        "the file is empty: an experiment has at least a `title` and a `corpus`"
    );
    let (mut depth, mut line) = (0usize, 1);
    for byte in text.bytes() {
        match byte {
            b'\n' => line += 1,
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        ensure!(
            depth <= DEEPEST,
            "line {line}: more than {DEEPEST} brackets are open"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINIMAL: &str = "title: A test\ncorpus: counterpoint\nvocabulary:\n  from: corpus\ntraining:\n  epochs: 3\n";

    #[test]
    fn spells_out_every_default() {
        let experiment = Experiment::parse(MINIMAL, &[]).unwrap();
        let resolved = experiment.to_yaml();
        assert!(resolved.contains("batch_size: 50"), "{resolved}");
        assert_eq!(Experiment::parse(&resolved, &[]).unwrap(), experiment);
    }

    #[test]
    fn a_misspelt_key_names_its_line_and_the_nearest_name() {
        let text = "title: A test\ncorpus: counterpoint\ntraining:\n  epochs: 3\n  batchsize: 4\n";
        let error = format!("{:#}", Experiment::parse(text, &[]).unwrap_err());
        assert!(
            error.contains("training: unknown field `batchsize`"),
            "{error}"
        );
        assert!(error.contains("line 5"), "{error}");
        assert!(error.ends_with("did you mean `batch_size`?"), "{error}");
    }

    #[test]
    fn a_misspelt_kind_names_the_nearest_kind() {
        let text = "title: A test\ncorpus: counterpoint\nencoding:\n  kind: midi-mesage\n";
        let error = format!("{:#}", Experiment::parse(text, &[]).unwrap_err());
        assert!(
            error.contains("line 4") && error.contains("did you mean `midi-message`?"),
            "{error}"
        );
    }

    #[test]
    fn a_value_of_another_kind_says_what_would_be_one() {
        let text = "title: A test\ncorpus: counterpoint\ntraining:\n  epochs: three\n";
        let error = format!("{:#}", Experiment::parse(text, &[]).unwrap_err());
        assert_eq!(
            error,
            "line 4: training.epochs must be a whole number, not \"three\""
        );
        let set = |entry: &str| {
            let error = Experiment::parse(MINIMAL, &[entry.to_owned()]).unwrap_err();
            format!("{error:#}")
        };
        let error = set("training.epochs=-1");
        assert!(
            error.ends_with("the value must be a whole number of at least 0, not -1"),
            "{error}"
        );
        let error = set("training.learning_rate=fast");
        assert!(
            error.ends_with("the value must be a number, not \"fast\""),
            "{error}"
        );
        let error = set("seed=2");
        assert_eq!(
            error,
            "override 'seed=2': there is no setting `seed`; did you mean `training.seed`, `encoding.seed` or `samples.seed`?"
        );
    }

    #[test]
    fn an_impossible_value_names_its_line() {
        let text = "title: A test\ncorpus: counterpoint\ntraining:\n  seed: 1\n  epochs: 0\n";
        let error = format!("{:#}", Experiment::parse(text, &[]).unwrap_err());
        assert_eq!(error, "line 5: training.epochs must be at least 1");
    }

    #[test]
    fn what_is_no_experiment_says_so_in_its_line() {
        let refusal = |text: &str| format!("{:#}", Experiment::parse(text, &[]).unwrap_err());
        for empty in ["", "\u{feff}", "\n# nothing yet\n"] {
            assert!(refusal(empty).starts_with("the file is empty"), "{empty:?}");
        }
        assert!(refusal("just text").starts_with("line 1: invalid type: string"));
        assert_eq!(
            refusal(&format!("{MINIMAL}corpus: muse\n")),
            "line 7: `corpus` stands twice; it was already set in line 2"
        );
        let deep = format!("title: A test\ncorpus: {}\n", "[".repeat(1_000_000));
        assert_eq!(refusal(&deep), "line 2: more than 128 brackets are open");
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_an_experiment() {
        let marked = Experiment::parse(&format!("\u{feff}{MINIMAL}"), &[]).unwrap();
        assert_eq!(marked, Experiment::parse(MINIMAL, &[]).unwrap());
    }

    #[test]
    fn a_variant_says_only_what_it_changes() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("base.yaml"), MINIMAL).unwrap();
        let variant = "title: A variant\nbase: base.yaml\ntraining:\n  batch_size: 7\n";
        std::fs::write(path("variant.yaml"), variant).unwrap();
        let base = Experiment::load(&path("base.yaml"), &[]).unwrap();
        let variant = Experiment::load(&path("variant.yaml"), &[]).unwrap();
        let mut expected = base.clone();
        expected.title = "A variant".to_string();
        expected.base = Some("base.yaml".to_string());
        expected.training.batch_size = 7;
        assert_eq!(variant, expected);

        std::fs::write(path("base.yaml"), "title: A circle\nbase: variant.yaml\n").unwrap();
        let error = format!(
            "{:#}",
            Experiment::load(&path("variant.yaml"), &[]).unwrap_err()
        );
        assert!(error.contains("is it a circle?"), "{error}");
    }
}
