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

/// The most columns of a line for a terminal.
const WIDTH: usize = 120;
/// What is between two columns of a table.
const GAP: &str = "  ";

/// `rows` under `header`, columns aligned and two spaces apart, each line ended. No line has more than 120 columns: what does not fit is
/// wrapped inside its own column, the widest columns first.
pub fn aligned(header: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = header.iter().map(|it| it.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let gaps = GAP.len() * widths.len().saturating_sub(1);
    // No word is broken while another column has more than one to a line.
    let words = longest_words(header, rows);
    while widths.iter().sum::<usize>() + gaps > WIDTH {
        let breakable = widths.iter_mut().zip(&words);
        let breakable = breakable.filter(|(width, word)| **width > **word);
        let widest = match breakable.map(|(width, _)| width).max() {
            Some(widest) => Some(widest),
            None => widths.iter_mut().max().filter(|it| **it > 1),
        };
        match widest {
            Some(widest) => *widest -= 1,
            None => break,
        }
    }
    let row = |cells: &mut dyn Iterator<Item = &str>| -> String {
        let cells: Vec<Vec<String>> = cells
            .zip(&widths)
            .map(|(cell, width)| wrap(cell, *width))
            .collect();
        let lines = cells.iter().map(Vec::len).max().unwrap_or_default();
        let line = |at: usize| {
            let padded: Vec<String> = cells
                .iter()
                .zip(&widths)
                .map(|(cell, width)| format!("{:<width$}", cell.get(at).map_or("", String::as_str)))
                .collect();
            padded.join(GAP).trim_end().to_string() + "\n"
        };
        (0..lines).map(line).collect()
    };
    let mut text = row(&mut header.iter().copied());
    for cells in rows {
        text += &row(&mut cells.iter().map(String::as_str));
    }
    text
}

/// The length of each column's longest word.
fn longest_words(header: &[&str], rows: &[Vec<String>]) -> Vec<usize> {
    let longest = |cell: &str| {
        let words = cell.split(' ').map(|word| word.chars().count());
        words.max().unwrap_or_default()
    };
    let mut words: Vec<usize> = header.iter().map(|it| longest(it)).collect();
    for row in rows {
        for (word, cell) in words.iter_mut().zip(row) {
            *word = (*word).max(longest(cell));
        }
    }
    words
}

/// `text` in lines of at most 120 columns, each ended.
pub fn wrapped(text: &str) -> String {
    let line = |line: String| line + "\n";
    wrap(text, WIDTH).into_iter().map(line).collect()
}

/// `text` as it is where it has at most `width` characters; else broken between words, and within a word that is longer.
fn wrap(text: &str, width: usize) -> Vec<String> {
    if text.chars().count() <= width {
        return vec![text.to_owned()];
    }
    let (mut lines, mut line, mut length) = (Vec::new(), String::new(), 0);
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let letters: Vec<char> = word.chars().collect();
        if length > 0 && length + 1 + letters.len() <= width {
            line.push(' ');
            line.push_str(word);
            length += 1 + letters.len();
            continue;
        }
        if length > 0 {
            lines.push(std::mem::take(&mut line));
        }
        let mut parts: Vec<String> = letters.chunks(width).map(String::from_iter).collect();
        line = parts.pop().unwrap_or_default();
        length = line.chars().count();
        lines.append(&mut parts);
    }
    lines.push(line);
    lines
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
    fn no_line_has_more_than_120_columns_and_nothing_is_lost() {
        let words = ["word"; 60].join(" ");
        let rows = vec![
            vec!["key".into(), words.clone(), "short".into()],
            vec!["path".into(), "é".repeat(250), words],
        ];
        let table = aligned(&["in", "A", "B"], &rows);
        let longest = table.lines().map(|it| it.chars().count()).max();
        assert!(
            longest.is_some_and(|it| (100..=WIDTH).contains(&it)),
            "{table}"
        );
        assert_eq!(table.matches("word").count(), 120);
        assert_eq!(table.matches('é').count(), 250);
        assert!(table.starts_with("in ") && table.contains("\nkey   word word"));
        let name = "a_name_of_one_word_that_is_wider_than_the_words_beside_it_and_stays_whole";
        let rows = vec![vec![name.into(), ["word"; 14].join(" ")]];
        let table = aligned(&["name", "words"], &rows);
        assert!(
            table.contains(name) && table.lines().count() == 3,
            "{table}"
        );
        let lines = wrapped(&["word"; 60].join(" "));
        assert_eq!(lines.lines().map(str::len).max(), Some(119));
    }

    #[test]
    fn a_bar_in_a_cell_does_not_split_it() {
        assert_eq!(
            markdown(&["a", "b"], &[vec!["x|y".into(), "1".into()]]),
            "| a | b |\n|---|---|\n| x\\|y | 1 |\n"
        );
    }
}
