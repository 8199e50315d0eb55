//! Rows of text as an aligned table for a terminal, or as a Markdown table.

use std::io::{ErrorKind, Write, stdout};

use anyhow::{Context, Result};

/// Writes `text` to standard output. That its reader has gone away, as in `harness show RUN | head`, is no error.
pub fn print(text: &str) -> Result<()> {
    match stdout()
        .write_all(text.as_bytes())
        .and_then(|()| stdout().flush())
    {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(error).context("failed to write to standard output")
        }
        _ => Ok(()),
    }
}

/// `rows` under `header`, columns aligned and two spaces apart, each line ended.
pub fn aligned(header: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = header.iter().map(|it| it.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: &mut dyn Iterator<Item = &str>| -> String {
        let padded: Vec<String> = cells
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        padded.join("  ").trim_end().to_string() + "\n"
    };
    let mut text = line(&mut header.iter().copied());
    for row in rows {
        text += &line(&mut row.iter().map(String::as_str));
    }
    text
}

/// `rows` under `header` as a Markdown table, each line ended.
pub fn markdown(header: &[&str], rows: &[Vec<String>]) -> String {
    let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    let mut text = line(header.iter().map(ToString::to_string).collect());
    text += &format!("|{}\n", "---|".repeat(header.len()));
    for row in rows {
        text += &line(
            row.iter()
                .map(|cell| cell.replace('|', "\\|").replace('\n', " "))
                .collect(),
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = vec![
            vec!["valid/loss".into(), "−1".into()],
            vec!["x".into(), String::new()],
        ];
        assert_eq!(
            aligned(&["metric", "Δ"], &rows),
            "metric      Δ\nvalid/loss  −1\nx\n"
        );
    }

    #[test]
    fn a_bar_in_a_cell_does_not_split_it() {
        assert_eq!(
            markdown(&["a", "b"], &[vec!["x|y".into(), "1".into()]]),
            "| a | b |\n|---|---|\n| x\\|y | 1 |\n"
        );
    }
}
