//! What an export says of a corpus in place of its data: what it is, its licence, and how to get it.

use std::collections::BTreeMap;

use crate::corpus::catalogue::{self, Address, Counts, Entry};
use crate::run::CorpusIdentity;

/// What is known of a corpus.
#[derive(Debug, Clone, PartialEq)]
pub struct CorpusNote {
    /// The name that commands and experiments use.
    pub name: String,
    /// A heading.
    pub title: String,
    /// What it is, in sentences.
    pub about: String,
    /// Where it comes from.
    pub origin: String,
    /// Its licence, as far as known.
    pub licence: String,
    /// How to get it, in sentences.
    pub fetch: String,
    /// SHA-256 over its pieces.
    pub fingerprint: String,
    /// Public files that it is read from.
    pub addresses: Vec<PublicFile>,
    /// What must be counted in it: `all`, and each published split.
    pub counts: BTreeMap<String, Counts>,
}

/// A public file that a corpus is read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublicFile {
    /// Its address.
    pub url: &'static str,
    /// Its SHA-256, where that is fixed.
    pub sha256: Option<&'static str>,
}

impl CorpusNote {
    /// What the catalogue knows.
    pub fn of_entry(entry: &'static Entry) -> Self {
        let stand_in = entry.stand_in_for.as_ref();
        let stand_in = stand_in.map(|original| format!(" It stands in for {original}."));
        let synthetic = match entry.synthetic {
            true => " It is synthetic.",
            false => "",
        };
        let addresses = entry.sources.iter().filter_map(|source| {
            Some(PublicFile {
                url: source.url.as_deref()?,
                sha256: source.sha256.as_deref(),
            })
        });
        Self {
            name: entry.name.clone(),
            title: entry.title.clone(),
            about: entry.about.clone() + &stand_in.unwrap_or_default() + synthetic,
            origin: entry.origin.clone(),
            licence: entry.licence.clone(),
            fetch: how_to_fetch(entry),
            fingerprint: entry.fingerprint.clone(),
            addresses: addresses.collect(),
            counts: entry.counts.clone(),
        }
    }

    /// What a record says: of a corpus of the catalogue what that knows, of another the little that was recorded.
    pub fn of_record(identity: &CorpusIdentity) -> Self {
        let entry = catalogue::find(&identity.name);
        if let Some(entry) = entry.filter(|it| it.fingerprint == identity.fingerprint) {
            return Self::of_entry(entry);
        }
        let detail = |key: &str| identity.details.get(key).and_then(|it| it.as_str());
        Self {
            name: identity.name.clone(),
            title: detail("title").unwrap_or(&identity.name).to_owned(),
            about: "A corpus that is not in the catalogue of this harness.".to_owned(),
            origin: identity.origin.clone(),
            licence: detail("licence").unwrap_or("not recorded").to_owned(),
            fetch: "The record does not say how to get it.".to_owned(),
            fingerprint: identity.fingerprint.clone(),
            addresses: Vec::new(),
            counts: BTreeMap::new(),
        }
    }

    /// All of it in one text.
    pub fn in_full(&self) -> String {
        format!(
            "{}. {} Origin: {}. Licence: {}. No data of the corpus is here. {} Fingerprint ({FINGERPRINT}): {}.",
            self.title, self.about, self.origin, self.licence, self.fetch, self.fingerprint
        )
    }
}

/// What a fingerprint is.
pub const FINGERPRINT: &str = "SHA-256 over the sorted SHA-256s of the pieces";

fn how_to_fetch(entry: &Entry) -> String {
    let name = &entry.name;
    if entry.compose.is_some() {
        return "harness composes it itself from a fixed seed.".to_owned();
    }
    if !entry.parts.is_empty() {
        let parts = entry.parts.join(" and ");
        return format!("`harness corpus fetch {name}` selects it from {parts}.");
    }
    let places: Vec<String> = entry.sources.iter().filter_map(public_place).collect();
    format!(
        "`harness corpus fetch {name}` gets it from {}, and checks the fingerprint.",
        places.join(", or ")
    )
}

/// The place of a source in words; a path below a mirror is nothing to others.
fn public_place(source: &Address) -> Option<String> {
    let package = source
        .pip
        .as_ref()
        .map(|it| format!("the Python package {it}"));
    source.url.clone().or(package)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_corpus_of_the_catalogue_says_its_licence_and_how_to_get_it() {
        for entry in catalogue::all() {
            let text = CorpusNote::of_entry(entry).in_full();
            assert!(text.contains(&entry.licence), "{text}");
            assert!(text.contains("No data of the corpus is here."), "{text}");
            let how = match entry.compose {
                Some(_) => "composes it itself".to_owned(),
                None => format!("harness corpus fetch {}", entry.name),
            };
            assert!(text.contains(&how) && !text.contains("from ,"), "{text}");
        }
    }

    #[test]
    fn a_corpus_of_another_content_under_a_known_name_is_not_described_as_the_known_one() {
        let known = catalogue::find("muse").unwrap();
        let mut identity = CorpusIdentity {
            name: "muse".into(),
            fingerprint: known.fingerprint.clone(),
            stand_in: None,
            synthetic: false,
            origin: "a folder".into(),
            details: serde_json::Value::Null,
        };
        assert_eq!(
            CorpusNote::of_record(&identity),
            CorpusNote::of_entry(known)
        );
        identity.fingerprint = "0".repeat(64);
        let other = CorpusNote::of_record(&identity);
        assert_eq!(
            (other.origin.as_str(), other.licence.as_str()),
            ("a folder", "not recorded")
        );
        assert!(other.addresses.is_empty() && other.counts.is_empty());
    }
}
