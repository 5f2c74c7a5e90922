//! `lastwords show REPORT`: looks at a report again.

use std::io::{self, Write};
use std::path::PathBuf;

use super::error::Error;
use super::page::fitted;
use crate::render::text::page;
use crate::report::{self, WriteError};

/// The arguments of `lastwords show`.
#[derive(Debug, clap::Args)]
pub struct ShowArgs {
    /// A JSON file that `lastwords run` has written
    report: PathBuf,
}

/// Writes the page about the report to standard output, with colours if that is a terminal that wants them. Returns the exit status.
///
/// # Errors
///
/// If the file is no report that we can read, or if standard output does not take the page.
pub fn run(args: &ShowArgs, verbose: bool) -> Result<u8, Error> {
    let page = fitted(&page(&report::read(&args.report)?, verbose), io::stdout());
    match anstream::stdout().lock().write_all(page.as_bytes()) {
        // The reader has seen enough: `lastwords show report.json | head`.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(0),
        Err(source) => Err(WriteError::Stream { source }.into()),
        Ok(()) => Ok(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards against a remedy that is lost on the way up.
    #[test]
    fn a_file_that_is_not_there_is_named_with_a_hint() {
        let error = run(&ShowArgs { report: "nowhere.json".into() }, false).unwrap_err();

        assert_eq!(error.to_string(), "cannot read `nowhere.json`");
        assert_eq!(
            error.hint().as_deref(),
            Some("`lastwords run` writes reports to `./lastwords/` unless told otherwise: see there")
        );
    }
}
