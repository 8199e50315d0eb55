//! TensorBoard's embedding projector: the single-note embeddings as tab-separated values, with what is known of each token.
//!
//! ```text
//! projector/projector_config.pbtxt     what there is: `tensorboard --logdir projector` reads it
//! projector/<map>/metadata.tsv         one line a token: its name, kind, pitch, note, register and count
//! projector/<map>/vectors.tsv          one line a token: its trained embedding
//! projector/<map>/untrained.tsv        the same at initialisation
//! ```

use anyhow::{Result, ensure};

use super::Files;
use crate::analysis::{NoteRow, Register};
use crate::artifacts::NoteMap;
use crate::report::text::note_name;

/// The folder in an export.
pub const FOLDER: &str = "projector";

/// Adds the projector's files of these maps; none where there is no map.
///
/// # Errors
/// When a map cannot name a folder, or a token would break its line.
pub fn add(files: &mut Files, maps: &[NoteMap]) -> Result<()> {
    let mut config = String::new();
    for (map, rows) in maps {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        ensure!(
            !map.is_empty() && map.chars().all(is_plain),
            "the map '{map}' of the embeddings cannot name a folder"
        );
        let metadata = format!("{map}/metadata.tsv");
        for (title, file, vector) in [
            (
                "trained",
                "vectors.tsv",
                (|row| &row.trained) as fn(&NoteRow) -> &Vec<f64>,
            ),
            ("untrained", "untrained.tsv", |row| &row.untrained),
        ] {
            let tensor = format!("{map}/{file}");
            config += &format!(
                "embeddings {{\n  tensor_name: \"{map} {title}\"\n  tensor_path: \"{tensor}\"\n  metadata_path: \"{metadata}\"\n}}\n"
            );
            let text = rows.iter().map(|row| vector_line(vector(row))).collect();
            put(files, &tensor, text);
        }
        put(files, &metadata, metadata_text(rows)?);
    }
    if !config.is_empty() {
        put(files, "projector_config.pbtxt", config);
    }
    Ok(())
}

fn put(files: &mut Files, path: &str, text: String) {
    files.insert(format!("{FOLDER}/{path}"), text.into_bytes());
}

/// One vector. Stored values have 32 bits, so their shortest text in 32 bits loses nothing.
fn vector_line(vector: &[f64]) -> String {
    let values: Vec<String> = vector
        .iter()
        .map(|value| (*value as f32).to_string())
        .collect();
    values.join("\t") + "\n"
}

fn metadata_text(rows: &[NoteRow]) -> Result<String> {
    let mut text = "token\tkind\tpitch\tnote\tregister\tcount\n".to_owned();
    for row in rows {
        ensure!(
            !row.token.contains(['\t', '\n', '\r']),
            "the token '{}' has a tab or line break in its name",
            row.token.escape_debug()
        );
        text += &format!(
            "{}\t{}\t{}\t{}\t{}\t{}\n",
            row.token,
            row.kind.name(),
            row.pitch,
            note_name(row.pitch),
            Register::of(row.pitch).name(),
            row.count
        );
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::TokenKind;

    fn row(token: &str) -> NoteRow {
        NoteRow {
            token: token.into(),
            kind: TokenKind::On,
            pitch: 60,
            count: 4,
            trained: vec![0.5, f64::from(0.1_f32)],
            untrained: vec![-1.0, 0.0],
        }
    }

    #[test]
    fn each_map_has_its_vectors_and_one_line_of_metadata_a_token() {
        let mut files = Files::new();
        add(&mut files, &[("mean".into(), vec![row("a"), row("b")])]).unwrap();
        let text = |path: &str| String::from_utf8(files[path].clone()).unwrap();
        assert_eq!(
            text("projector/mean/metadata.tsv"),
            "token\tkind\tpitch\tnote\tregister\tcount\na\ton\t60\tC4\tmiddle\t4\nb\ton\t60\tC4\tmiddle\t4\n"
        );
        assert_eq!(text("projector/mean/vectors.tsv"), "0.5\t0.1\n0.5\t0.1\n");
        assert_eq!(text("projector/mean/untrained.tsv"), "-1\t0\n-1\t0\n");
        let config = text("projector/projector_config.pbtxt");
        assert_eq!(config.matches("embeddings {").count(), 2);
        assert!(config.contains("tensor_path: \"mean/vectors.tsv\"\n"));
        assert!(config.contains("metadata_path: \"mean/metadata.tsv\"\n"));
    }

    #[test]
    fn no_map_gives_no_file_and_a_token_that_breaks_its_line_is_refused() {
        let mut files = Files::new();
        add(&mut files, &[]).unwrap();
        assert!(files.is_empty());
        assert!(add(&mut files, &[("mean".into(), vec![row("a\tb")])]).is_err());
        assert!(add(&mut files, &[("../mean".into(), vec![row("a")])]).is_err());
    }
}
