//! What is said on standard error: progress, notices and errors. Nobody may be listening (a closed pipe, a full disk, a terminal that
//! is gone), and that must never end the work that is told of: what cannot be written is dropped. Nothing else writes there.

use std::fmt;
use std::io::{IsTerminal, Write, stderr};

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
