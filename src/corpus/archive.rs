//! Archives: reads the members of a tar, tar.gz or zip file one by one. It never writes to a path that a member names.
//!
//! An archive is not trusted: one that unpacks to far more than its size, has too many members, or names a path outside
//! itself is refused. Links and devices are skipped.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufReader, Cursor, Read, Seek};
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail, ensure};
use flate2::read::MultiGzDecoder;

/// An archive may always unpack to this much; beyond it, to [`RATIO`] times its size, and never to more than [`TOTAL`].
const FREE: u64 = 64 << 20;
const RATIO: u64 = 100;
const TOTAL: u64 = 8 << 30;
/// The largest member that is read.
pub const MEMBER: u64 = 64 << 20;
/// The most members that an archive may have.
const MEMBERS: u64 = 200_000;
/// How deep zips inside zips are opened.
const DEPTH: usize = 3;
/// How many bytes of a member `wanted` sees.
const HEAD: u64 = 12;

/// What to read from an archive.
pub struct Wanted<'a> {
    /// Whether a member is wanted, by its path in the archive and its first bytes (at most 12).
    pub member: &'a dyn Fn(&str, &[u8]) -> bool,
    /// Whether zips inside the archive are opened too; their members' paths go on from the zip's own, without `.zip`.
    pub nested: bool,
}

/// Whether the first bytes of a file are those of an archive that can be read here.
pub fn is_archive(head: &[u8]) -> bool {
    is_gzip(head) || is_zip(head) || is_tar(head)
}

/// Calls `visit` with the path and the bytes of each wanted member of the archive at `path`, in its order. A member that cannot be
/// read comes with the reason, if the others can still be read: it is too large, or it is damaged, encrypted or packed in an unknown
/// way in a zip.
///
/// Fails if the file is not an archive, is damaged or truncated, or exceeds the limits.
pub fn visit(path: &Path, wanted: &Wanted, visit: Visit) -> Result<()> {
    let mut file = File::open(path)?;
    let packed = file.metadata()?.len();
    let mut head = Vec::new();
    (&mut file).take(512).read_to_end(&mut head)?;
    file.rewind()?;
    let budget = Budget::new(packed.saturating_mul(RATIO).clamp(FREE, TOTAL), MEMBERS);
    let reader = BufReader::with_capacity(1 << 16, file);
    if is_gzip(&head) {
        let unpacked = BufReader::with_capacity(1 << 16, budget.meter(MultiGzDecoder::new(reader)));
        visit_tar(unpacked, &budget, wanted, visit)
    } else if is_zip(&head) {
        visit_zip(reader, "", 1, &budget, wanted, visit)
    } else if is_tar(&head) {
        visit_tar(reader, &budget, wanted, visit)
    } else {
        bail!("not a tar, tar.gz or zip archive")
    }
}

fn is_gzip(head: &[u8]) -> bool {
    head.starts_with(&[0x1f, 0x8b])
}

fn is_zip(head: &[u8]) -> bool {
    head.starts_with(b"PK\x03\x04") || head.starts_with(b"PK\x05\x06")
}

fn is_tar(head: &[u8]) -> bool {
    head.get(257..262) == Some(b"ustar")
}

/// Receives each wanted member: its path, and its bytes or why they cannot be read.
pub type Visit<'a> = &'a mut dyn FnMut(String, Result<Vec<u8>>) -> Result<()>;

fn visit_tar(reader: impl Read, budget: &Budget, wanted: &Wanted, visit: Visit) -> Result<()> {
    let mut archive = tar::Archive::new(reader);
    for entry in archive.entries()? {
        let mut entry = entry.context("damaged tar archive")?;
        budget.count_member()?;
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let name = checked_name(&String::from_utf8_lossy(&entry.path_bytes()))?;
        // In a tar, a member begins where the one before ends: after a damaged one, nothing can be read.
        let bytes = read_member(&mut entry, &name, wanted)
            .with_context(|| format!("failed to unpack '{name}'"))?;
        take_member(bytes, name, 1, budget, wanted, visit)?;
    }
    // Reads the rest too, to detect a damaged end.
    io::copy(&mut archive.into_inner(), &mut io::sink()).context("damaged end of the archive")?;
    Ok(())
}

fn visit_zip(
    reader: impl Read + Seek,
    prefix: &str,
    depth: usize,
    budget: &Budget,
    wanted: &Wanted,
    visit: Visit,
) -> Result<()> {
    let mut archive = zip::ZipArchive::new(reader).context("damaged zip archive")?;
    for index in 0..archive.len() {
        budget.count_member()?;
        let name = archive
            .name_for_index(index)
            .with_context(|| format!("member {index} of the zip"))?;
        let name = name.context("a member's name is not text")?;
        let name = checked_name(&format!("{prefix}{name}"))?;
        let bytes = match archive.by_index(index) {
            Ok(member) if !member.is_file() => continue,
            Ok(member) if member.size() > MEMBER && (wanted.member)(&name, &[]) => Err(too_large()),
            Ok(member) => read_member(&mut budget.meter(member), &name, wanted),
            Err(_) if !(wanted.member)(&name, &[]) => continue,
            Err(error) => Err(error.into()),
        };
        match bytes {
            Err(error) if budget.is_spent() => {
                return Err(error.context(format!("failed to unpack '{name}'")));
            }
            Err(error) => visit(name, Err(error))?,
            Ok(bytes) => take_member(bytes, name, depth, budget, wanted, visit)?,
        }
    }
    Ok(())
}

/// The bytes of the member `name`, at most one more than the limit. `None` if it is not wanted.
fn read_member(reader: &mut dyn Read, name: &str, wanted: &Wanted) -> Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    reader.take(HEAD).read_to_end(&mut bytes)?;
    if !is_inner(name, &bytes, wanted) && !(wanted.member)(name, &bytes) {
        return Ok(None);
    }
    reader.take(MEMBER + 1 - HEAD).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

/// Whether a member is a zip that has to be opened.
fn is_inner(name: &str, head: &[u8], wanted: &Wanted) -> bool {
    wanted.nested && is_zip(head) && name.to_ascii_lowercase().ends_with(".zip")
}

/// Passes a wanted member to `visit`, or opens it if it is a nested zip.
fn take_member(
    bytes: Option<Vec<u8>>,
    name: String,
    depth: usize,
    budget: &Budget,
    wanted: &Wanted,
    visit: Visit,
) -> Result<()> {
    let Some(bytes) = bytes else { return Ok(()) };
    if bytes.len() as u64 > MEMBER {
        return visit(name, Err(too_large()));
    }
    if !is_inner(&name, &bytes, wanted) {
        return visit(name, Ok(bytes));
    }
    ensure!(depth < DEPTH, "'{name}' is a zip inside {depth} others");
    let prefix = format!("{}/", &name[..name.len() - ".zip".len()]);
    let inner = Cursor::new(bytes);
    visit_zip(inner, &prefix, depth + 1, budget, wanted, visit)
        .with_context(|| format!("failed to unpack '{name}'"))
}

/// The error for a file of more than [`MEMBER`] bytes.
pub fn too_large() -> anyhow::Error {
    anyhow!(
        "it is larger than {} MiB, more than any score",
        MEMBER >> 20
    )
}

/// The member's path with `/` between its parts; an error if it leads outside the archive.
fn checked_name(name: &str) -> Result<String> {
    let slashed = name.replace('\\', "/");
    let parts: Vec<&str> = slashed
        .split('/')
        .filter(|part| !matches!(*part, "" | "."))
        .collect();
    let outside = slashed.starts_with('/')
        || parts.contains(&"..")
        || parts.first().is_some_and(|it| it.ends_with(':'));
    ensure!(
        !outside && !slashed.contains('\0'),
        "refused: its member {name:?} names a path outside the archive"
    );
    Ok(parts.join("/"))
}

/// How much may still be unpacked.
struct Budget {
    bytes: Cell<u64>,
    members: Cell<u64>,
    spent: Cell<bool>,
}

impl Budget {
    fn new(bytes: u64, members: u64) -> Self {
        Budget {
            bytes: Cell::new(bytes),
            members: Cell::new(members),
            spent: Cell::new(false),
        }
    }

    /// Whether the limit was exceeded.
    fn is_spent(&self) -> bool {
        self.spent.get()
    }

    fn count_member(&self) -> Result<()> {
        ensure!(
            self.members.get() > 0,
            "refused: it has more than {MEMBERS} members"
        );
        self.members.set(self.members.get() - 1);
        Ok(())
    }

    /// `inner`, whose bytes count against this budget.
    fn meter<R: Read>(&self, inner: R) -> Metered<'_, R> {
        Metered {
            inner,
            budget: self,
        }
    }
}

struct Metered<'a, R> {
    inner: R,
    budget: &'a Budget,
}

impl<R: Read> Read for Metered<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        let Some(left) = self.budget.bytes.get().checked_sub(count as u64) else {
            self.budget.spent.set(true);
            return Err(io::Error::other(format!(
                "refused: it unpacks to more than {RATIO} times its size, or more than {} GiB",
                TOTAL >> 30
            )));
        };
        self.budget.bytes.set(left);
        Ok(count)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::io::Write;

    /// A tar.gz of the given members.
    pub fn tar_gz(members: &[(&str, &[u8])]) -> Vec<u8> {
        let mut tar = tar::Builder::new(flate2::write::GzEncoder::new(
            Vec::new(),
            flate2::Compression::fast(),
        ));
        for (name, bytes) in members {
            let mut header = tar::Header::new_ustar();
            // Written to the field itself: `set_path` refuses the names that the reader must refuse.
            header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            header.set_cksum();
            tar.append(&header, *bytes).unwrap();
        }
        tar.into_inner().unwrap().finish().unwrap()
    }

    /// A zip of the given members.
    pub fn zip(members: &[(&str, &[u8])]) -> Vec<u8> {
        let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
        for (name, bytes) in members {
            zip.start_file(*name, zip::write::SimpleFileOptions::default())
                .unwrap();
            zip.write_all(bytes).unwrap();
        }
        zip.finish().unwrap().into_inner()
    }

    fn members(archive: &[u8], nested: bool) -> Result<Vec<(String, Vec<u8>)>> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), archive).unwrap();
        let mut found = Vec::new();
        let wanted = Wanted {
            member: &|name, _| name.ends_with(".mid"),
            nested,
        };
        visit(file.path(), &wanted, &mut |name, bytes| {
            found.push((name, bytes?));
            Ok(())
        })?;
        Ok(found)
    }

    #[test]
    fn tar_gz_and_zip_give_the_wanted_members_in_order() {
        let content: &[(&str, &[u8])] = &[
            ("d/b.mid", b"bb"),
            ("d/readme", b"no"),
            ("./a.mid", b"a long first piece"),
        ];
        let expected = vec![
            ("d/b.mid".into(), b"bb".to_vec()),
            ("a.mid".into(), b"a long first piece".to_vec()),
        ];
        assert_eq!(members(&tar_gz(content), false).unwrap(), expected);
        assert_eq!(members(&zip(content), false).unwrap(), expected);
    }

    #[test]
    fn zips_inside_are_opened_only_when_asked() {
        let inner = zip(&[("x.mid", b"x")]);
        let outer = zip(&[("in/suite.zip", &inner), ("y.mid", b"y")]);
        let names = |nested| {
            members(&outer, nested)
                .unwrap()
                .into_iter()
                .map(|it| it.0)
                .collect::<Vec<_>>()
        };
        assert_eq!(names(false), ["y.mid"]);
        assert_eq!(names(true), ["in/suite/x.mid", "y.mid"]);
        let deep = (0..4).fold(inner, |inner, _| zip(&[("deeper.zip", &inner)]));
        assert!(
            format!("{:#}", members(&deep, true).unwrap_err()).contains("a zip inside 3 others")
        );
    }

    #[test]
    fn a_path_outside_the_archive_is_refused() {
        for name in [
            "../evil.mid",
            "a/../../evil.mid",
            "/etc/evil.mid",
            "C:\\evil.mid",
        ] {
            let err = members(&tar_gz(&[(name, b"x")]), false).unwrap_err();
            assert!(
                err.to_string().contains("outside the archive"),
                "{name}: {err}"
            );
        }
    }

    #[test]
    fn links_are_passed_over() {
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_path("link.mid").unwrap();
        header.set_link_name("/etc/passwd").unwrap();
        header.set_size(0);
        header.set_cksum();
        tar.append(&header, &[][..]).unwrap();
        assert_eq!(members(&tar.into_inner().unwrap(), false).unwrap(), []);
    }

    #[test]
    fn a_bomb_is_refused() {
        let zeros = vec![0; FREE as usize + 1];
        for bomb in [
            tar_gz(&[("zeros.bin", &zeros)]),
            zip(&[("zeros.mid", &zeros)]),
        ] {
            let err = format!("{:#}", members(&bomb, false).unwrap_err());
            assert!(
                err.contains("refused") || err.contains("larger than"),
                "{err}"
            );
        }
    }

    #[test]
    fn truncated_and_foreign_files_are_errors() {
        let content = tar_gz(&[("a.mid", &[7; 5000]), ("b.mid", b"b")]);
        for length in [0, 1, 20, content.len() / 2, content.len() - 1] {
            assert!(
                members(&content[..length], false).is_err(),
                "{length} bytes"
            );
        }
        let err = members(b"MThd is no archive", false).unwrap_err();
        assert_eq!(err.to_string(), "not a tar, tar.gz or zip archive");
    }
}
