//! The program: everything is in the library.

use std::process::ExitCode;

use clap::Parser;
use lastwords::cli::Cli;
use lastwords::launch::end_like;

fn main() -> ExitCode {
    let ending = Cli::parse().run();
    ExitCode::from(end_like(ending))
}
