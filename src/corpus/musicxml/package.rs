//! The XML text of a MusicXML file: as it stands, or out of the zip archive of an `.mxl`.

use std::io::{Cursor, Read};

use anyhow::{Context, Result, bail, ensure};
use roxmltree::Document;
use zip::ZipArchive;

/// The XML of one score.
pub struct Text {
    pub text: String,
    /// Where the document's bytes begin in the file, and its name, if it was in a package.
    pub inside: Option<(usize, String)>,
}

/// Most bytes of XML text; large symphonies take a few tens of millions.
const MOST_BYTES: u64 = 256 << 20;

/// The XML text in the file `bytes`.
pub fn text(bytes: &[u8]) -> Result<Text> {
    if !bytes.starts_with(b"PK") {
        ensure!(
            bytes.len() as u64 <= MOST_BYTES,
            "{} bytes are more than {MOST_BYTES}",
            bytes.len()
        );
        return Ok(Text {
            text: decode(bytes)?,
            inside: None,
        });
    }
    let mut archive = ZipArchive::new(Cursor::new(bytes))
        .context("failed to open the .mxl package as a zip archive")?;
    let (container, _) = member(&mut archive, "META-INF/container.xml")?;
    let container = decode(&container)?;
    ensure!(
        !container.contains("<!ENTITY"),
        "META-INF/container.xml declares entities"
    );
    let container =
        Document::parse(&container).context("META-INF/container.xml is not well-formed XML")?;
    // The first root file is the score; others are renderings of it.
    let name = container.descendants().find_map(|node| {
        node.has_tag_name("rootfile")
            .then(|| node.attribute("full-path"))
            .flatten()
    });
    let name = name.context("META-INF/container.xml names no score")?;
    let (document, start) = member(&mut archive, name)?;
    Ok(Text {
        text: decode(&document)?,
        inside: Some((start, name.to_owned())),
    })
}

/// The bytes of a member, and where it begins in the file.
fn member(archive: &mut ZipArchive<Cursor<&[u8]>>, name: &str) -> Result<(Vec<u8>, usize)> {
    let file = archive
        .by_name(name)
        .with_context(|| format!("failed to find '{name}' in the .mxl package"))?;
    let start = file.data_start().unwrap_or(0) as usize;
    let mut bytes = Vec::new();
    let read = file.take(MOST_BYTES + 1).read_to_end(&mut bytes);
    read.with_context(|| format!("failed to unpack '{name}' at byte {start}"))?;
    ensure!(
        bytes.len() as u64 <= MOST_BYTES,
        "'{name}' at byte {start} inflates to more than {MOST_BYTES} bytes"
    );
    Ok((bytes, start))
}

/// UTF-8, UTF-16 with a byte order mark, or Latin-1 where the XML declaration says so.
fn decode(bytes: &[u8]) -> Result<String> {
    let wide = |unit: fn([u8; 2]) -> u16| {
        let units = bytes[2..]
            .chunks_exact(2)
            .map(|pair| unit([pair[0], pair[1]]))
            .collect::<Vec<_>>();
        String::from_utf16(&units).context("the text is marked as UTF-16 and is not")
    };
    let beginning = bytes[..bytes.len().min(120)].to_ascii_lowercase();
    let declares = |encoding: &[u8]| {
        beginning
            .windows(encoding.len())
            .any(|window| window == encoding)
    };
    match bytes {
        [0xff, 0xfe, ..] => wide(u16::from_le_bytes),
        [0xfe, 0xff, ..] => wide(u16::from_be_bytes),
        [0xef, 0xbb, 0xbf, rest @ ..] => utf_8(rest),
        _ if declares(b"encoding=\"iso-8859-1\"") || declares(b"encoding='iso-8859-1'") => {
            Ok(bytes.iter().map(|byte| char::from(*byte)).collect())
        }
        _ => utf_8(bytes),
    }
}

fn utf_8(bytes: &[u8]) -> Result<String> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text.to_owned()),
        Err(error) => bail!("the text is not UTF-8 at byte {}", error.valid_up_to()),
    }
}
