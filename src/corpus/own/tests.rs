//! Corpora of the user's own: folders, archives and single files.

use super::*;
use crate::corpus::archive::tests::{tar_gz, zip};

const A: &[u8] = b"MThd first";
const B: &[u8] = b"MThd second";

fn names(corpus: &Corpus) -> Vec<&str> {
    let mut names: Vec<_> = corpus
        .sources()
        .map(|source| source.name.as_str())
        .collect();
    names.sort();
    names
}

fn open(path: &Path) -> Result<Corpus> {
    Corpus::open(
        path.to_str().unwrap(),
        &crate::corpus::OpenOptions::from_environment(),
    )
}

#[test]
fn a_directory_and_its_archives_are_the_same_corpus() {
    let folder = tempfile::tempdir().unwrap();
    let tunes = folder.path().join("tunes");
    fs::create_dir_all(tunes.join("deep/er")).unwrap();
    for (name, bytes) in [
        ("a.MID", A),
        ("deep/er/without_extension", B),
        ("z copy.midi", A),
        ("notes.txt", b"no"),
    ] {
        fs::write(tunes.join(name), bytes).unwrap();
    }
    let directory = open(&tunes).unwrap();
    assert_eq!(names(&directory), ["a.MID", "deep/er/without_extension"]);
    assert_eq!(
        directory.fingerprint,
        fingerprint([sha256(A).as_str(), sha256(B).as_str()])
    );
    let [left_out] = directory.left_out.as_slice() else {
        panic!("{:?}", directory.left_out)
    };
    assert_eq!(left_out.name, "z copy.midi");
    let WhyLeftOut::Duplicate(of) = left_out.why else {
        panic!("{left_out:?}")
    };
    assert_eq!(directory.source(of).name, "a.MID");
    for bytes in [
        tar_gz(&[("q/a.mid", A), ("b", B), ("c.pdf", b"c")]),
        zip(&[("b.kar", B), ("a.rmi", A)]),
    ] {
        let path = folder.path().join("packed");
        fs::write(&path, bytes).unwrap();
        let archive = open(&path).unwrap();
        assert_eq!(archive.fingerprint, directory.fingerprint);
        assert_eq!(archive.bytes(0).unwrap(), directory.bytes(0).unwrap());
    }
}

#[test]
fn a_piece_that_changes_after_it_was_opened_is_an_integrity_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.mid");
    fs::write(&path, A).unwrap();
    let corpus = open(folder.path()).unwrap();
    corpus.read(0).unwrap();
    fs::write(&path, B).unwrap();
    let err = corpus.read(0).unwrap_err();
    assert!(
        matches!(err.downcast_ref(), Some(CorpusError::Integrity(_))),
        "{err}"
    );
}

#[test]
fn what_cannot_be_read_is_left_out_and_said() {
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("nowhere", folder.path().join("broken.mid")).unwrap();
    fs::write(folder.path().join("a.mid"), A).unwrap();
    let corpus = open(folder.path()).unwrap();
    assert_eq!(names(&corpus), ["a.mid"]);
    assert_eq!(corpus.left_out[0].name, "broken.mid");
    assert!(
        matches!(&corpus.left_out[0].why, WhyLeftOut::Unreadable(why) if why.contains("No such file"))
    );
}

#[test]
fn a_member_that_is_too_large_or_damaged_is_left_out_and_the_others_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let large = vec![0; archive::MEMBER as usize + 1];
    let mut packed = zip(&[("a.mid", A), ("large.mid", &large), ("b.mid", B)]);
    // The checksum of the last member, in its own header and in the archive's directory.
    let checksum = crc_of(&packed, "b.mid");
    for at in (0..packed.len() - 4)
        .filter(|at| packed[*at..*at + 4] == checksum)
        .collect::<Vec<_>>()
    {
        packed[at] ^= 1;
    }
    let path = folder.path().join("own.zip");
    fs::write(&path, packed).unwrap();
    let corpus = open(&path).unwrap();
    assert_eq!(names(&corpus), ["a.mid"]);
    let why: Vec<(&str, String)> = corpus
        .left_out
        .iter()
        .map(|it| (it.name.as_str(), format!("{:?}", it.why)))
        .collect();
    assert!(
        why[0].0 == "large.mid" && why[0].1.contains("larger than 64 MiB"),
        "{why:?}"
    );
    assert!(
        why[1].0 == "b.mid" && why[1].1.contains("checksum"),
        "{why:?}"
    );
    // A file of a folder has the same limit.
    fs::create_dir(folder.path().join("own")).unwrap();
    let file = File::create(folder.path().join("own/large.mid")).unwrap();
    file.set_len(1 << 40).unwrap();
    let corpus = open(&folder.path().join("own")).unwrap();
    assert!(
        matches!(&corpus.left_out[0].why, WhyLeftOut::Unreadable(why) if why.contains("larger than 64 MiB"))
    );
}

/// The checksum that the zip `packed` gives for its member `name`.
fn crc_of(packed: &[u8], name: &str) -> [u8; 4] {
    let mut zip = ::zip::ZipArchive::new(std::io::Cursor::new(packed)).unwrap();
    zip.by_name(name).unwrap().crc32().to_le_bytes()
}

#[test]
fn a_pipe_is_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pipe");
    let made = std::process::Command::new("mkfifo")
        .arg(&path)
        .status()
        .unwrap();
    assert!(made.success());
    let error = open(&path).unwrap_err();
    assert!(error.to_string().contains("is a pipe"), "{error}");
}

#[test]
fn names_that_lead_nowhere_and_folders_without_music_say_so() {
    let folder = tempfile::tempdir().unwrap();
    let code = |path: &Path| {
        let err = open(path).unwrap_err();
        (
            err.downcast_ref::<CorpusError>()
                .map(CorpusError::exit_code),
            err.to_string(),
        )
    };
    let (exit, text) = code(folder.path());
    assert!(
        exit == Some(3) && text.starts_with("there is no MIDI file"),
        "{text}"
    );
    let (exit, text) = code(Path::new("clasical"));
    assert!(
        exit == Some(2) && text.ends_with("did you mean 'classical'?"),
        "{text}"
    );
    let path = folder.path().join("letter.txt");
    fs::write(&path, "dear").unwrap();
    let (exit, text) = code(&path);
    assert!(exit == Some(2) && text.contains("is no corpus"), "{text}");
}
