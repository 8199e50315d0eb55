//! The user's own corpora: MIDI files below a directory, in an archive, or one by one.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::Result;
use rayon::prelude::*;

use super::archive::{self, Wanted};
use super::catalogue::Format;
use super::open::{file_name, roll_pieces};
use super::{
    Corpus, CorpusError, LeftOut, Piece, Place, Source, WhyLeftOut, files_below, fingerprint,
    make_names_unique, mat,
};
use crate::checksum::sha256;

/// The most bytes of a user's own archive that are held in memory.
const HELD: usize = 1 << 30;

/// Whether a file is meant to be MIDI, by its name or its first bytes (12 are enough).
pub fn is_midi(name: &str, head: &[u8]) -> bool {
    let last = name.rsplit('/').next().unwrap_or(name).to_ascii_lowercase();
    let named = [".mid", ".midi", ".kar", ".rmi"]
        .iter()
        .any(|ending| last.ends_with(ending));
    // "._x.mid" is what some archivers keep of a file's icon.
    !last.starts_with("._")
        && (named
            || head.starts_with(b"MThd")
            || head.starts_with(b"RIFF") && head.get(8..12) == Some(b"RMID"))
}

/// The MIDI files below `folder`, which the user calls `name`.
pub fn open_directory(name: &str, folder: &Path) -> Result<Corpus> {
    let relative = |path: &Path| {
        let inside = path.strip_prefix(folder).unwrap_or(path);
        inside
            .components()
            .map(|part| part.as_os_str().to_string_lossy())
            .collect::<Vec<_>>()
            .join("/")
    };
    // Read, hashed and let go: a large folder does not fit into memory.
    let examine = |path: PathBuf| -> Option<(String, PathBuf, Result<String, String>)> {
        let name = relative(&path);
        let head = match first_bytes(&path) {
            Ok(head) => head,
            Err(err) => return is_midi(&name, &[]).then(|| (name, path, Err(err.to_string()))),
        };
        if !is_midi(&name, &head) {
            return None;
        }
        let digest = read_score(&path)
            .map(|bytes| sha256(&bytes))
            .map_err(|err| err.to_string());
        Some((name, path, digest))
    };
    let files = files_below(folder).map_err(|err| unreadable(name, err))?;
    let found: Vec<_> = files.into_par_iter().filter_map(examine).collect();
    let mut pieces = Vec::new();
    let mut unreadable = Vec::new();
    for (name, path, digest) in found {
        match digest {
            Ok(sha256) => pieces.push(Piece {
                source: Source {
                    name,
                    sha256,
                    split: None,
                },
                place: Place::File(path),
            }),
            Err(why) => unreadable.push(LeftOut {
                name,
                why: WhyLeftOut::Unreadable(why),
            }),
        }
    }
    own(
        name,
        &format!("directory {name}"),
        Format::Midi,
        pieces,
        unreadable,
    )
}

/// The MIDI file, archive of MIDI files or piano rolls at `path`, which the user calls `name`.
pub fn open_file(name: &str, path: &Path) -> Result<Corpus> {
    let kind = fs::metadata(path).map_err(|err| unreadable(name, err))?;
    if !kind.is_file() {
        // Opening a pipe would wait for someone to write to it.
        return Err(CorpusError::Unknown(format!(
            "'{name}' is no corpus: it is a pipe, socket or device, and only files and directories are read"
        ))
        .into());
    }
    let all_bytes = || read_score(path).map_err(|err| unreadable(name, err));
    let head = first_bytes(path).map_err(|err| unreadable(name, err))?;
    if archive::is_archive(&head) {
        let (mut pieces, mut left_out) = (Vec::new(), Vec::new());
        let mut held = 0;
        let wanted = Wanted {
            member: &is_midi,
            nested: false,
        };
        archive::visit(path, &wanted, &mut |name, bytes| {
            let bytes = match bytes {
                Ok(bytes) => bytes,
                Err(why) => {
                    let why = WhyLeftOut::Unreadable(format!("{why:#}"));
                    left_out.push(LeftOut { name, why });
                    return Ok(());
                }
            };
            held += bytes.len();
            anyhow::ensure!(
                held <= HELD,
                "it holds more than {} MiB of MIDI files: unpack it, and name the folder",
                HELD >> 20
            );
            let source = Source {
                name,
                sha256: sha256(&bytes),
                split: None,
            };
            pieces.push(Piece {
                source,
                place: Place::Held(bytes),
            });
            Ok(())
        })
        .map_err(|err| {
            CorpusError::Integrity(format!("failed to read the archive '{name}': {err:#}"))
        })?;
        own(
            name,
            &format!("archive {name}"),
            Format::Midi,
            pieces,
            left_out,
        )
    } else if head.starts_with(b"MATLAB 5.0") {
        let pieces = roll_pieces(mat::read(&all_bytes()?).map_err(|err| {
            CorpusError::Integrity(format!("failed to read the piano rolls '{name}': {err:#}"))
        })?);
        own(
            name,
            &format!("file {name}"),
            Format::PianoRoll,
            pieces,
            Vec::new(),
        )
    } else if is_midi(name, &head) {
        let sha256 = sha256(&all_bytes()?);
        let source = Source {
            name: file_name(path),
            sha256,
            split: None,
        };
        let pieces = vec![Piece {
            source,
            place: Place::File(path.into()),
        }];
        own(
            name,
            &format!("file {name}"),
            Format::Midi,
            pieces,
            Vec::new(),
        )
    } else {
        Err(CorpusError::Unknown(format!(
            "'{name}' is no corpus: a directory, a tar, tar.gz or zip archive of MIDI files, a MIDI file or a .mat would be"
        ))
        .into())
    }
}

/// The error for a path that is there but cannot be read.
pub fn unreadable(name: &str, err: impl std::fmt::Display) -> CorpusError {
    CorpusError::Unavailable(format!("failed to read '{name}': {err}"))
}

/// A corpus of the user's own: ordered, and each content once.
fn own(
    name: &str,
    origin: &str,
    format: Format,
    mut found: Vec<Piece>,
    mut left_out: Vec<LeftOut>,
) -> Result<Corpus> {
    let mut pieces: Vec<Piece> = Vec::new();
    if format == Format::PianoRoll {
        pieces = found;
    } else {
        found.sort_by(|a, b| {
            (&a.source.sha256, &a.source.name).cmp(&(&b.source.sha256, &b.source.name))
        });
        for piece in found {
            match pieces.last() {
                Some(last) if last.source.sha256 == piece.source.sha256 => {
                    left_out.push(LeftOut {
                        name: piece.source.name,
                        why: WhyLeftOut::Duplicate(pieces.len() - 1),
                    });
                }
                _ => pieces.push(piece),
            }
        }
    }
    make_names_unique(&mut pieces);
    if pieces.is_empty() && left_out.is_empty() {
        return Err(CorpusError::Unavailable(format!("there is no MIDI file in '{name}'")).into());
    }
    Ok(Corpus {
        name: name.into(),
        title: name.into(),
        synthetic: false,
        stand_in_for: None,
        licence: "the user's own".into(),
        format,
        fingerprint: fingerprint(pieces.iter().map(|piece| piece.source.sha256.as_str())),
        origin: origin.into(),
        left_out,
        packs: Vec::new(),
        pieces,
    })
}

/// The bytes of a file that may be a score.
fn read_score(path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = File::open(path)?;
    file.take(archive::MEMBER + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > archive::MEMBER {
        return Err(archive::too_large());
    }
    Ok(bytes)
}

/// The first bytes of a file, enough to tell what it is.
fn first_bytes(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut head = Vec::new();
    File::open(path)?.take(512).read_to_end(&mut head)?;
    Ok(head)
}

#[cfg(test)]
mod tests {
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
}
