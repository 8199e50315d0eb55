//! Corpora from a mirror, from a local server and from the cache, and corpora that are not available.

use super::*;
use crate::checksum::sha256;
use crate::corpus::archive::tests::{tar_gz, zip};
use crate::corpus::catalogue::Address;
use crate::corpus::catalogue::Counts;
use crate::corpus::fetch::Patience;
use crate::corpus::fetch::tests::{Answer, serve};
use crate::corpus::{Outcome, file_name, files_below};
use std::time::Duration;

/// A MIDI file of one note, of the given pitch.
fn midi_file(pitch: u8) -> Vec<u8> {
    let mut bytes = b"MThd\0\0\0\x06\0\0\0\x01\0\x60MTrk\0\0\0\x0c".to_vec();
    bytes.extend([0, 0x90, pitch, 64, 96, 0x80, pitch, 0, 0, 0xff, 0x2f, 0]);
    bytes
}

fn tunes() -> Vec<(String, Vec<u8>)> {
    (60..64)
        .map(|pitch| (format!("top/tunes/{pitch}.mid"), midi_file(pitch)))
        .collect()
}

fn fingerprint_of(tunes: &[(String, Vec<u8>)]) -> String {
    let digests: Vec<String> = tunes.iter().map(|(_, bytes)| sha256(bytes)).collect();
    fingerprint(digests.iter().map(String::as_str))
}

fn packed(tunes: &[(String, Vec<u8>)]) -> Vec<u8> {
    tar_gz(
        &tunes
            .iter()
            .map(|(name, bytes)| (name.as_str(), bytes.as_slice()))
            .collect::<Vec<_>>(),
    )
}

/// An entry for the four [`tunes`].
fn entry(sources: Vec<Address>) -> Entry {
    Entry {
        name: "tunes".into(),
        title: "Four tunes".into(),
        about: String::new(),
        origin: String::new(),
        licence: String::new(),
        stand_in_for: None,
        synthetic: false,
        excerpts: false,
        format: Format::Midi,
        sources,
        parts: Vec::new(),
        keep: None,
        without: None,
        compose: None,
        fingerprint: fingerprint_of(&tunes()),
        counts: [(
            "all".to_owned(),
            Counts {
                pieces: 4,
                tokens: 8,
                unique_tokens: 8,
            },
        )]
        .into(),
    }
}

fn at_mirror(relative: &str) -> Address {
    Address {
        mirror: Some(relative.into()),
        ..Address::default()
    }
}

fn at_url(url: &str) -> Address {
    Address {
        url: Some(url.into()),
        ..Address::default()
    }
}

/// A folder with a cache and a mirror in it.
struct Case {
    folder: tempfile::TempDir,
    options: OpenOptions,
}

fn case() -> Case {
    let folder = tempfile::tempdir().unwrap();
    let mirror = folder.path().join("mirror");
    fs::create_dir(&mirror).unwrap();
    let patience = Patience {
        attempts: 2,
        pause: Duration::from_millis(1),
        timeout: Duration::from_secs(5),
    };
    let options = OpenOptions {
        threads: 0,
        cache: folder.path().join("cache"),
        mirror: Some(mirror),
        patience,
        progress: false,
    };
    Case { folder, options }
}

impl Case {
    fn put(&self, relative: &str, bytes: &[u8]) {
        let path = self.folder.path().join("mirror").join(relative);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    fn open(&self, entry: &Entry) -> Result<Corpus> {
        open_entry(entry, std::slice::from_ref(entry), &self.options)
    }

    /// The files in the cache, without the lock.
    fn cached(&self) -> Vec<String> {
        let files = files_below(&self.options.cache).unwrap();
        files
            .iter()
            .map(|path| file_name(path))
            .filter(|name| name != ".lock")
            .collect()
    }
}

fn failure(opened: Result<Corpus>) -> CorpusError {
    opened
        .unwrap_err()
        .downcast()
        .expect("an error that callers choose by")
}

#[test]
fn a_corpus_comes_from_the_mirror_once_and_from_the_cache_after() {
    let case = case();
    case.put("d/tunes.tar.gz", &packed(&tunes()));
    let entry = entry(vec![at_mirror("d/tunes.tar.gz")]);
    let first = case.open(&entry).unwrap();
    assert_eq!(
        (first.len(), first.origin.as_str()),
        (4, "mirror d/tunes.tar.gz")
    );
    let digests: Vec<_> = first.sources().map(|source| &source.sha256).collect();
    assert!(digests.is_sorted());
    fs::remove_file(case.folder.path().join("mirror/d/tunes.tar.gz")).unwrap();
    let second = case.open(&entry).unwrap();
    assert_eq!(second.fingerprint, first.fingerprint);
    for index in 0..4 {
        let reading = second.read(index).unwrap();
        assert_eq!(reading.outcome(), Outcome::Ok, "{:?}", reading.remarks);
        let pitch = reading.score.unwrap().tracks[0][0].pitch;
        assert_eq!(second.source(index).name, format!("top/tunes/{pitch}.mid"));
    }
    assert_eq!(case.cached(), ["tunes.tar"]);
}

#[test]
fn packaging_names_and_duplicates_do_not_matter() {
    let mut other: Vec<_> = tunes().into_iter().rev().collect();
    other.push(("copy.mid".into(), midi_file(60)));
    other.push(("readme.txt".into(), b"read me".to_vec()));
    let members: Vec<_> = other
        .iter()
        .map(|(name, bytes)| (name.as_str(), bytes.as_slice()))
        .collect();
    let case = case();
    // The catalogue's path is absent: the file name is found elsewhere below the mirror.
    case.put("elsewhere/tunes.any", &zip(&members));
    let corpus = case.open(&entry(vec![at_mirror("d/tunes.any")])).unwrap();
    assert_eq!((corpus.len(), corpus.left_out.len()), (4, 0));
}

#[test]
fn only_members_under_the_folder_and_with_the_ending_are_pieces() {
    let mut more = tunes();
    more.push(("top/other/70.mid".into(), midi_file(70)));
    more.push(("top/tunes/71.midi".into(), midi_file(71)));
    let case = case();
    case.put("tunes.tar.gz", &packed(&more));
    let mut address = at_mirror("tunes.tar.gz");
    address.under = Some("tunes".into());
    address.ending = vec![".mid".into()];
    assert_eq!(case.open(&entry(vec![address])).unwrap().len(), 4);
    let err = failure(case.open(&Entry {
        name: "more".into(),
        ..entry(vec![at_mirror("tunes.tar.gz")])
    }));
    assert!(
        matches!(&err, CorpusError::Integrity(why) if why.contains("6 pieces with fingerprint")),
        "{err}"
    );
    assert_eq!(case.cached(), ["tunes.tar"]);
}

#[test]
fn the_first_address_that_has_it_is_used_and_named() {
    let case = case();
    let (absent, _) = serve(Vec::new(), vec![Answer::Status(404)]);
    let (url, _) = serve(packed(&tunes()), vec![Answer::Cut(50), Answer::Whole]);
    let corpus = case
        .open(&entry(vec![
            at_mirror("tunes.tar.gz"),
            at_url(&absent),
            at_url(&url),
        ]))
        .unwrap();
    assert_eq!(corpus.origin, format!("url {url}"));
    assert_eq!(
        case.cached(),
        ["tunes.tar"],
        "the download is not kept beside the corpus"
    );
}

#[test]
fn a_corpus_that_cannot_be_had_says_what_was_tried_and_what_would_help() {
    let case = case();
    let (absent, _) = serve(Vec::new(), vec![Answer::Status(404)]);
    let err = failure(case.open(&entry(vec![at_mirror("d/tunes.tar.gz"), at_url(&absent)])));
    assert_eq!(err.exit_code(), 3);
    let text = err.to_string();
    for expected in [
        "corpus 'tunes' is not available",
        "has no d/tunes.tar.gz",
        &absent,
        "404",
        "HARNESS_MIRROR",
        "corpus fetch --from",
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    assert_eq!(case.cached(), [""; 0]);
}

#[test]
fn a_mirror_that_does_not_exist_is_not_passed_over() {
    let mut case = case();
    case.options.mirror = Some(case.folder.path().join("absent"));
    let (url, seen) = serve(packed(&tunes()), vec![Answer::Whole]);
    let err = failure(case.open(&entry(vec![at_url(&url)])));
    assert!(
        err.to_string().contains("is not a directory") && err.exit_code() == 3,
        "{err}"
    );
    assert!(seen.lock().unwrap().is_empty());
}

#[test]
fn a_truncated_archive_is_an_integrity_error_and_leaves_nothing() {
    let whole = packed(&tunes());
    for length in [whole.len() / 3, whole.len() - 1] {
        let case = case();
        case.put("tunes.tar.gz", &whole[..length]);
        let err = failure(case.open(&entry(vec![at_mirror("tunes.tar.gz")])));
        assert!(matches!(err, CorpusError::Integrity(_)), "{err}");
        assert_eq!(case.cached(), [""; 0]);
    }
}

#[test]
fn a_cache_that_cannot_be_written_is_an_error_of_the_disk() {
    let mut case = case();
    case.put("tunes.tar.gz", &packed(&tunes()));
    fs::write(
        case.folder.path().join("cache"),
        "a file where the folder should be",
    )
    .unwrap();
    case.options.cache = case.folder.path().join("cache/below");
    let err = failure(case.open(&entry(vec![at_mirror("tunes.tar.gz")])));
    assert!(
        matches!(&err, CorpusError::Disk(why) if why.contains("HARNESS_DATA")),
        "{err}"
    );
}

#[test]
fn a_selection_takes_pieces_from_its_parts_by_size() {
    let case = case();
    let mut longer = midi_file(99);
    longer.extend([0; 10]);
    let mut all = tunes();
    all.push(("long.mid".into(), longer.clone()));
    case.put("tunes.tar.gz", &packed(&all));
    let part = Entry {
        fingerprint: fingerprint_of(&all),
        ..entry(vec![at_mirror("tunes.tar.gz")])
    };
    let selection = Entry {
        name: "long".into(),
        parts: vec!["tunes".into()],
        keep: Some(catalogue::Keep {
            list: None,
            larger_than: Some(midi_file(60).len() as u64),
        }),
        fingerprint: fingerprint([sha256(&longer).as_str()]),
        ..entry(Vec::new())
    };
    let corpus = open_entry(&selection, &[part, selection.clone()], &case.options).unwrap();
    assert_eq!(
        (corpus.len(), corpus.source(0).name.as_str()),
        (1, "long.mid")
    );
    assert_eq!(case.cached(), ["tunes.tar"]);
}

#[test]
fn the_built_in_corpus_is_what_the_catalogue_says() {
    let corpus = Corpus::open("counterpoint", &case().options).unwrap();
    assert!(corpus.synthetic && corpus.origin == "built in");
    assert_eq!(corpus.read(0).unwrap().outcome(), Outcome::Ok);
}
