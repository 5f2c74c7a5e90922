//! Any error of any subcommand, with what the user can do about it and the status to end with.

use super::functions::FunctionsError;
use crate::binary::BinaryError;
use crate::launch::LaunchError;
use crate::plan::select::SelectError;
use crate::probe::ProbeError;
use crate::report::{ReadError, WriteError};

/// What a shell says when a command was used wrongly, and what lastwords ends with when it could not do its work.
pub const FAILURE: u8 = 2;

/// Any error of any subcommand.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The program's file.
    #[error(transparent)]
    Binary(#[from] BinaryError),
    /// Starting the program.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// What to probe.
    #[error(transparent)]
    Select(#[from] SelectError),
    /// A list that cannot be made.
    #[error(transparent)]
    Functions(#[from] FunctionsError),
    /// A report that cannot be shown.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Where reports are to go.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The recorder.
    #[error(transparent)]
    Probe(#[from] ProbeError),
    /// Waiting for the program.
    #[error("cannot wait for the program")]
    Wait(#[source] std::io::Error),
}

impl Error {
    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Binary(error) => error.hint(),
            Self::Launch(error) => error.hint(),
            Self::Select(error) => error.hint(),
            Self::Functions(error) => error.hint(),
            Self::Read(error) => error.hint(),
            Self::Write(error) => error.hint(),
            Self::Probe(error) => error.hint(),
            Self::Wait(_) => None,
        }
    }

    /// The status to end with.
    #[must_use]
    pub fn exit_status(&self) -> u8 {
        match self {
            Self::Binary(error) => error.exit_status(),
            Self::Launch(error) => error.exit_status(),
            Self::Functions(error) => error.exit_status(),
            _ => FAILURE,
        }
    }
}
