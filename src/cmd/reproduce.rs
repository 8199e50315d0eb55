//! `harness reproduce RUN`: execute a record again and compare.

use std::process::ExitCode;

use anyhow::Result;

/// Arguments of `reproduce`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The run
    run: String,
}

/// Reproduces.
pub fn run(_: &Args) -> Result<ExitCode> { anyhow::bail!("later") }
