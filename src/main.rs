//! The `tidemill` binary.

use std::process::ExitCode;

use clap::Parser;
use tidemill::control::{cli::Cli, failure, run};

/// Rows own text that crosses threads; the system's allocator makes two workers slower than one.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse().checked().unwrap_or_else(|error| error.exit());
    failure::install_panic_hook();
    run::dispatch(cli).unwrap_or_else(|error| {
        failure::print(&error);
        ExitCode::FAILURE
    })
}
