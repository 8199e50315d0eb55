//! SHA-256, and how it is written: lower-case hexadecimal.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use sha2::{Digest, Sha256};

/// The SHA-256 of `bytes`, in hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// The SHA-256 of a file's bytes, in hexadecimal, and how many bytes there are.
pub fn sha256_of_file(path: &Path) -> io::Result<(String, u64)> {
    let (mut file, mut digest, mut length) = (File::open(path)?, Sha256::new(), 0);
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok((hex(&digest.finalize()), length)),
            count => {
                digest.update(&buffer[..count]);
                length += count as u64;
            }
        }
    }
}

/// Characters of a checksum that are enough for a reader to tell two apart.
const TOLD: usize = 12;

/// `text` for a reader: the beginning of it where it is a checksum or a commit, else all of it.
pub fn shortened(text: &str) -> String {
    let is_hex = text.len() >= 40 && text.bytes().all(|it| it.is_ascii_hexdigit());
    match text.get(..TOLD) {
        Some(beginning) if is_hex => format!("{beginning}…"),
        _ => text.to_owned(),
    }
}

/// `bytes` in lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|digit| char::from(DIGITS[usize::from(digit)]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_of_abc_is_the_published_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("abc");
        std::fs::write(&path, "abc").unwrap();
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256_of_file(&path).unwrap(), (expected.to_string(), 3));
        assert_eq!(sha256(b"abc"), expected);
    }
}
