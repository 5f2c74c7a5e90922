//! `lastwords show REPORT`: looks at a report again.

use std::io::{self, Write};
use std::path::PathBuf;

use crate::render::text::{Options, page};
use crate::report::{self, ReadError};

/// Shows a report again, as it was shown when the program died
#[derive(Clone, Debug, clap::Args)]
pub struct ShowArgs {
    /// The report: a JSON file that `lastwords run` has written
    pub report: PathBuf,
    /// Shows all calls of all threads, registers, and all reasons
    #[arg(short, long)]
    pub verbose: bool,
}

/// Why a report could not be shown.
#[derive(Debug, thiserror::Error)]
pub enum ShowError {
    /// It could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Standard output did not take it.
    #[error("cannot write to standard output")]
    Write(#[source] io::Error),
}

impl ShowError {
    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Read(error) => error.hint(),
            Self::Write(_) => None,
        }
    }
}

/// Writes the page about the report to standard output, with colours if that is a terminal that wants them.
///
/// # Errors
///
/// If the file is no report that we can read, or if standard output does not take the page.
pub fn show(args: &ShowArgs) -> Result<(), ShowError> {
    let report = report::read(&args.report)?;
    let page = page(&report, &Options { verbose: args.verbose, saved_at: None });
    let written = anstream::stdout().lock().write_all(page.as_bytes());
    match written {
        // The reader has seen enough: `lastwords show report.json | head`.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(ShowError::Write),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards against a remedy that is lost on the way up.
    #[test]
    fn a_file_that_is_not_there_is_named_with_a_hint() {
        let args = ShowArgs { report: "nowhere.json".into(), verbose: false };
        let error = show(&args).unwrap_err();

        assert_eq!(error.to_string(), "cannot read `nowhere.json`");
        assert_eq!(
            error.hint().as_deref(),
            Some("`lastwords run` writes reports to `./lastwords/` unless told otherwise: see there")
        );
    }
}
