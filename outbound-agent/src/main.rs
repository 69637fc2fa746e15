//! The `outbound` binary: arguments in, exit code out.

use std::process::ExitCode;

use clap::Parser as _;
use outbound_agent::cli::Cli;
use outbound_agent::command;

fn main() -> ExitCode {
    command::dispatch(Cli::parse())
}
