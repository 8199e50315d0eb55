//! `harness completions SHELL`: what a shell needs to complete commands and flags.

use std::process::ExitCode;

use anyhow::Result;
use clap::CommandFactory;
use clap_complete::{Shell, generate};

use super::Cli;
use crate::text_table::print;

/// Arguments of `completions`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The shell: harness completions bash > ~/.local/share/bash-completion/completions/harness
    shell: Shell,
}

/// Prints the completions.
pub fn run(args: &Args) -> Result<ExitCode> {
    let mut text = Vec::new();
    generate(args.shell, &mut Cli::command(), "harness", &mut text);
    print(&String::from_utf8_lossy(&text))?;
    Ok(ExitCode::SUCCESS)
}
