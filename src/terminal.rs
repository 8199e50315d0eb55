//! What is said on standard error: progress, notices and errors. Nobody may be listening (a closed pipe, a full disk, a terminal that
//! is gone), and that must never end the work that is told of: what cannot be written is dropped. Nothing else writes there.
//! And the colours of verdicts on standard output, where that is a terminal.

use std::fmt;
use std::io::{IsTerminal, Write, stderr, stdout};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Says a line on standard error, as [`tell`](fn@crate::terminal::tell) does: `tell!("run {id} in {folder}")`.
#[macro_export]
macro_rules! tell {
    ($($text:tt)*) => {
        $crate::terminal::tell(format_args!($($text)*))
    };
}

/// Says `line` on standard error, in one write so that no other process's text comes between; what cannot be written is dropped.
pub fn tell(line: fmt::Arguments) {
    let _ = stderr().write_all(format!("{line}\n").as_bytes());
}

/// A bar on standard error that `template` describes; `None` where that is no terminal. indicatif, too, drops what cannot be written.
///
/// # Panics
/// If the template is none.
pub fn bar(template: &str) -> Option<ProgressBar> {
    stderr().is_terminal().then(|| {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        bar.set_style(ProgressStyle::with_template(template).expect("templates are constant"));
        bar
    })
}

const RED: &str = "31";
const GREEN: &str = "32";
const YELLOW: &str = "33";

/// The words that say how something stands, each with its colour.
const VERDICTS: [(&str, &str); 13] = [
    ("improved", GREEN),
    ("regressed", RED),
    ("NaN", RED),
    ("inconclusive", YELLOW),
    ("not comparable", YELLOW),
    ("finished", GREEN),
    ("running", GREEN),
    ("failed", RED),
    ("died", RED),
    ("broken", RED),
    ("interrupted", YELLOW),
    ("intact", GREEN),
    ("DAMAGED", RED),
];

/// `text` with its verdicts in colour where standard output is a terminal, unless the variable `NO_COLOR` is set and not empty. A verdict
/// is one that stands in a cell of its own, or after "is"; a sentence about verdicts stays as it is.
pub fn coloured(text: &str) -> String {
    let unwanted = std::env::var_os("NO_COLOR").is_some_and(|it| !it.is_empty());
    match stdout().is_terminal() && !unwanted {
        true => in_colour(text),
        false => text.to_owned(),
    }
}

fn in_colour(text: &str) -> String {
    let mut coloured = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let before = &text[..text.len() - rest.len()];
        let begins =
            before.is_empty() || ["\n", "  ", " is "].iter().any(|it| before.ends_with(it));
        let verdict = VERDICTS.iter().find(|(word, _)| {
            let after = rest.strip_prefix(word).filter(|_| begins);
            after.is_some_and(|after| {
                after.is_empty()
                    || [":", "\n", "  ", " at "]
                        .iter()
                        .any(|it| after.starts_with(it))
            })
        });
        let length = match verdict {
            Some((word, colour)) => {
                coloured += &format!("\u{1b}[{colour}m{word}\u{1b}[0m");
                word.len()
            }
            None => {
                coloured.push(first);
                first.len_utf8()
            }
        };
        rest = &rest[length..];
    }
    coloured
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_is_coloured_and_a_sentence_about_one_is_not() {
        let page = "loss  3  improved\nrun 1 is DAMAGED: 2\nstatus  finished at step 2\none run a side: improved and\n";
        assert_eq!(
            in_colour(page),
            "loss  3  \u{1b}[32mimproved\u{1b}[0m\nrun 1 is \u{1b}[31mDAMAGED\u{1b}[0m: 2\nstatus  \u{1b}[32mfinished\u{1b}[0m at step 2\none run a side: improved and\n"
        );
    }
}
