//! What a training takes of a CUDA device's memory, and whether the device has it: asked before a corpus is read where the catalogue
//! tells how large the vocabulary will be, and again when it is known.

use anyhow::Result;

use crate::corpus::catalogue::{self, Format};
use crate::device::Device;
use crate::encoding::EncodingKind;
use crate::encoding::vocabulary::VocabularySource;
use crate::ensure_usage;
use crate::experiment::Experiment;
use crate::model::memory::{Footprint, Sizes};
use crate::training::data::alphabet;
use crate::training::evaluate::WINDOW;

/// What training `experiment` with a vocabulary of so many tokens takes.
pub fn footprint(experiment: &Experiment, vocabulary: usize) -> Footprint {
    let Experiment {
        model,
        training,
        evaluation,
        ..
    } = experiment;
    let sizes = Sizes {
        alphabet: alphabet(model.kind, vocabulary),
        slots: training.optimizer().slots(),
        window: training.batch_size * training.sequence_length,
        evaluation: evaluation.batch_size * WINDOW,
    };
    Footprint::of(model, sizes)
}

/// The size of the vocabulary as far as the catalogue tells it: not for a truncated one, nor for files of the user's own.
pub fn expected_vocabulary(experiment: &Experiment) -> Option<usize> {
    let entry = catalogue::find(&experiment.corpus)?;
    let encoding = &experiment.encoding;
    let counted = match encoding.kind {
        EncodingKind::MidiMessage => entry.format != Format::PianoRoll,
        EncodingKind::Chord => {
            entry.format == Format::PianoRoll && encoding.polyphony_limit.is_none()
        }
        EncodingKind::MultiHot => true, // The 88 keys, whatever the corpus.
    };
    let part = match experiment.vocabulary.from {
        VocabularySource::Corpus => "all",
        VocabularySource::Train => "train",
    };
    let counts = entry.counts.get(part).or(match encoding.kind {
        EncodingKind::MultiHot => entry.counts.get("all"),
        _ => None,
    })?;
    counted.then_some(counts.unique_tokens as usize)
}

/// Checks that a device can hold it; passes where the driver does not say how much memory is free.
///
/// # Errors
/// When it cannot.
pub fn ensure_fits(footprint: &Footprint, device: &Device) -> Result<()> {
    device
        .free_memory()
        .map_or(Ok(()), |free| ensure_below(footprint, free))
}

fn ensure_below(footprint: &Footprint, free: u64) -> Result<()> {
    ensure_usage!(
        footprint.needed() as u64 <= free,
        "the training needs {footprint}, and of the device's memory {} MiB are free: a smaller training.batch_size, model.hidden or \
         vocabulary would need less, and --device cpu none of it",
        free >> 20
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn experiment(name: &str) -> Experiment {
        let path = format!("experiments/{name}.yaml");
        Experiment::load(Path::new(&path), &[]).unwrap()
    }

    #[test]
    fn the_catalogue_tells_the_vocabulary_where_nothing_is_cut_at_random() {
        let expected = |name| expected_vocabulary(&experiment(name));
        assert_eq!(expected("muse_piano_roll"), Some(39_289));
        assert_eq!(expected("quickstart"), Some(345));
        assert_eq!(expected("bach_midi"), Some(35_060));
        assert_eq!(expected("muse_truncated"), None);
        assert!(expected("sigmoid").is_some());
    }

    #[test]
    fn too_little_memory_is_refused_with_both_numbers() {
        let need = footprint(&experiment("classical_midi"), 132_437);
        assert!(need.needed() < 4 << 30, "{need}: the paper's card had 4 GB");
        assert!(ensure_below(&need, 4 << 30).is_ok());
        let error = ensure_below(&need, 100 << 20).unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("the training needs {need}")),
            "{error}"
        );
        assert!(error.contains("100 MiB are free"), "{error}");
    }
}
