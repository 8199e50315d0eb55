//! The `harness` binary: read the arguments, call one command, print the error chain.

use std::process::ExitCode;

use clap::Parser;
use harness::cmd::{self, Cli};
use harness::tell;

fn main() -> ExitCode {
    match Cli::parse().run() {
        Ok(code) => code,
        Err(error) => {
            tell!("error: {error:#}");
            cmd::exit_code(&error)
        }
    }
}
