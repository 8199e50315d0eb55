//! The catalogue: every corpus that harness knows by name (`data/corpora.yaml`), built into the program.

use std::collections::{BTreeMap, HashSet};
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use super::CorpusError;

/// What the pieces of a corpus are made of, which decides how they are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// Standard MIDI Files.
    Midi,
    /// One MATLAB file of piano rolls.
    PianoRoll,
    /// MusicXML scores, plain or compressed.
    #[serde(rename = "musicxml")]
    MusicXml,
    /// Composed by harness itself.
    Counterpoint,
}

/// One corpus of the catalogue. `data/corpora.yaml` explains each field.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// The name that commands and experiments use.
    pub name: String,
    /// A heading for tables.
    pub title: String,
    /// What the corpus is.
    pub about: String,
    /// Where it comes from.
    pub origin: String,
    /// Its licence, as far as known.
    pub licence: String,
    /// The corpus of the paper that this one replaces.
    #[serde(default)]
    pub stand_in_for: Option<String>,
    /// Whether it is composed by rule: results on it say nothing about real music.
    #[serde(default)]
    pub synthetic: bool,
    /// Whether records and published reports may hold a short excerpt of its music.
    #[serde(default)]
    pub excerpts: bool,
    /// What its pieces are made of.
    pub format: Format,
    /// Where it is available, in the order tried.
    #[serde(default)]
    pub sources: Vec<Address>,
    /// The corpora that it is selected from.
    #[serde(default)]
    pub parts: Vec<String>,
    /// Which pieces belong to it, where not all do.
    #[serde(default)]
    pub keep: Option<Keep>,
    /// A list of pieces that do not belong to it.
    #[serde(default)]
    pub without: Option<String>,
    /// What to compose.
    #[serde(default)]
    pub compose: Option<Compose>,
    /// SHA-256 over the sorted SHA-256s of its pieces.
    pub fingerprint: String,
    /// The counts that it must have: `all`, and each published split.
    pub counts: BTreeMap<String, Counts>,
}

impl Entry {
    /// Which files belong to the corpus, by their SHA-256 and their length.
    pub(super) fn membership(&self) -> impl Fn(&str, u64) -> bool {
        let listed = |name: &String| -> HashSet<&'static str> {
            let list = list(name).expect("a test checks that the catalogue names known lists");
            list.into_iter().collect()
        };
        let keep = self.keep.as_ref();
        let without = self.without.as_ref().map(listed).unwrap_or_default();
        let only = keep.and_then(|keep| keep.list.as_ref()).map(listed);
        let larger_than = keep.and_then(|keep| keep.larger_than);
        move |digest, bytes| {
            !without.contains(digest)
                && only.as_ref().is_none_or(|only| only.contains(digest))
                && larger_than.is_none_or(|limit| bytes > limit)
        }
    }

    /// Checks that the fingerprint `found` is the one of the catalogue.
    pub(super) fn check(
        &self,
        found: &str,
        pieces: usize,
        origin: &str,
    ) -> Result<(), CorpusError> {
        if found == self.fingerprint {
            return Ok(());
        }
        Err(CorpusError::Integrity(format!(
            "corpus '{}' from {origin} is not what the catalogue describes: {pieces} pieces with fingerprint {found} instead of \
             {}",
            self.name, self.fingerprint
        )))
    }
}

/// One place where a corpus is available: exactly one of `mirror`, `url` and `pip`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Address {
    /// A path below the mirror directory.
    pub mirror: Option<String>,
    /// A public file.
    pub url: Option<String>,
    /// A Python package and version, `name==version`.
    pub pip: Option<String>,
    /// The SHA-256 of the file there, where it is fixed.
    pub sha256: Option<String>,
    /// The folder of the archive that holds the pieces.
    pub under: Option<String>,
    /// How the names of pieces end; empty for MIDI files by name or content.
    #[serde(default)]
    pub ending: Vec<String>,
    /// Whether zips inside the archive are opened too.
    #[serde(default)]
    pub nested: bool,
    /// Whether the project has ever read it from there in full.
    pub fetched: Option<Fetched>,
}

/// Whether an address of the catalogue has ever been tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fetched {
    /// The corpus was read from there, and its fingerprint was right.
    Once,
    /// The address was never tried. Others recorded it.
    Never,
}

/// Which pieces belong to a corpus. All conditions given must hold.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keep {
    /// A list of pieces in `data/`.
    pub list: Option<String>,
    /// Only pieces whose file is larger than so many bytes.
    pub larger_than: Option<u64>,
}

/// What the built-in composer composes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Compose {
    /// The seed of every piece.
    pub seed: u64,
    /// How many pieces.
    pub pieces: usize,
}

/// The counts that `corpus stats` must find.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counts {
    /// Pieces that can be read.
    pub pieces: u64,
    /// Tokens; time steps for piano rolls.
    pub tokens: u64,
    /// Distinct tokens; chords for piano rolls.
    pub unique_tokens: u64,
}

static CATALOGUE: LazyLock<Vec<Entry>> = LazyLock::new(|| {
    serde_yaml::from_str(include_str!("../../data/corpora.yaml"))
        .expect("a test checks that the embedded catalogue parses")
});

/// Every corpus of the catalogue, in its order.
pub fn all() -> &'static [Entry] {
    &CATALOGUE
}

/// The corpus `name`, if the catalogue has it.
pub fn find(name: &str) -> Option<&'static Entry> {
    all().iter().find(|entry| entry.name == name)
}

/// Whether the catalogue allows a short excerpt of the corpus `name` to be shown.
pub fn may_show(name: &str) -> bool {
    find(name).is_some_and(|entry| entry.excerpts || entry.synthetic)
}

/// The known name most similar to `name`, if any is similar.
pub fn nearest(name: &str) -> Option<&'static str> {
    all()
        .iter()
        .map(|entry| {
            (
                strsim::damerau_levenshtein(name, &entry.name),
                entry.name.as_str(),
            )
        })
        .filter(|(distance, known)| *distance <= 1 + known.len() / 4)
        .min()
        .map(|(_, known)| known)
}

/// The SHA-256s of the embedded list `name` (`bach_417`, `malformed`), in its order.
pub fn list(name: &str) -> Option<Vec<&'static str>> {
    let text = match name {
        "bach_417" => include_str!("../../data/bach_417.txt"),
        "malformed" => include_str!("../../data/malformed.txt"),
        _ => return None,
    };
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    Some(
        lines
            .filter_map(|line| line.split_whitespace().next())
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_sha256(text: &str) -> bool {
        text.len() == 64
            && text
                .bytes()
                .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
    }

    #[test]
    fn every_entry_can_be_had_in_exactly_one_way() {
        for entry in all() {
            let ways = [
                !entry.sources.is_empty(),
                !entry.parts.is_empty(),
                entry.compose.is_some(),
            ];
            assert_eq!(ways.iter().filter(|way| **way).count(), 1, "{}", entry.name);
            assert!(is_sha256(&entry.fingerprint), "{}", entry.name);
            assert!(entry.counts.contains_key("all"), "{}", entry.name);
            assert_eq!(
                entry.compose.is_some(),
                entry.format == Format::Counterpoint,
                "{}",
                entry.name
            );
            for part in &entry.parts {
                let part = find(part).expect("a part is an entry");
                assert!(
                    !part.sources.is_empty(),
                    "{}: parts have sources of their own",
                    entry.name
                );
            }
            for listed in entry
                .without
                .iter()
                .chain(entry.keep.iter().filter_map(|keep| keep.list.as_ref()))
            {
                assert!(list(listed).is_some(), "{}", entry.name);
            }
        }
    }

    #[test]
    fn addresses_are_pinned_and_say_whether_they_were_ever_fetched() {
        for (entry, address) in all()
            .iter()
            .flat_map(|entry| entry.sources.iter().map(move |it| (entry, it)))
        {
            let kinds = [&address.mirror, &address.url, &address.pip];
            assert_eq!(
                kinds.iter().filter(|it| it.is_some()).count(),
                1,
                "{}",
                entry.name
            );
            assert_eq!(
                address.mirror.is_none(),
                address.fetched.is_some(),
                "{}",
                entry.name
            );
            assert!(
                address.sha256.as_deref().is_none_or(is_sha256),
                "{}",
                entry.name
            );
            if let Some(url) = &address.url {
                let commit = url
                    .split('/')
                    .any(|part| part.len() == 40 && part.bytes().all(|it| it.is_ascii_hexdigit()));
                assert!(url.starts_with("https://") && commit, "{url}");
            }
        }
    }

    #[test]
    fn names_are_unique_and_a_misspelt_one_has_a_nearest() {
        let mut names: Vec<_> = all().iter().map(|entry| &entry.name).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), all().len());
        assert_eq!(nearest("clasical"), Some("classical"));
        assert_eq!(nearest("mues"), Some("muse"));
        assert_eq!(nearest("zzzzzzzz"), None);
    }

    #[test]
    fn the_lists_have_distinct_digests() {
        for (name, expected) in [("bach_417", 417), ("malformed", 83)] {
            let mut digests = list(name).unwrap();
            assert!(digests.iter().all(|it| is_sha256(it)));
            digests.sort_unstable();
            digests.dedup();
            assert_eq!(digests.len(), expected);
        }
    }
}
