//! `lastwords demo`: a run of a program that everybody has, lastwords itself.

use std::path::PathBuf;

use super::error::{Error, FAILURE};
use super::run::{Output, Run, execute};
use crate::demo;
use crate::launch::Ending;
use crate::plan::build::Options;
use crate::plan::select::Selection;
use crate::probe::Settings;
use crate::report::{Redaction, bound};

/// Arguments of `lastwords demo`.
#[derive(Debug, clap::Args)]
pub struct DemoArgs {
    /// Be the program that crashes
    #[arg(long, hide = true)]
    die: bool,
}

/// Runs the subcommand.
///
/// # Errors
/// As `lastwords run`.
pub fn run(args: &DemoArgs, verbose: bool) -> Result<u8, Error> {
    if args.die {
        demo::run_until_death();
        return Ok(FAILURE);
    }
    let program = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("/proc/self/exe"));
    let run = Run {
        program,
        arguments: ["shop", "demo", "--die"].map(Into::into).to_vec(),
        selection: Selection { functions: vec![demo::FUNCTIONS.into()], ..Selection::default() },
        options: Options::default(),
        settings: Settings::default(),
        tier: None,
        budget: None,
        identity: None,
        output: Output::Nowhere,
        redaction: Redaction::default(),
        max_report_bytes: bound::DEFAULT_BYTES,
        flush: false,
        verbose,
    };
    match execute(&run)? {
        Ending::Killed(_) => Ok(0),
        Ending::Exited(status) => Ok(status),
    }
}
