//! Any error of any subcommand, with what the user can do about it and the status to end with.

use crate::binary::BinaryError;
use crate::launch::LaunchError;
use crate::probe::ProbeError;

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
    /// The recorder.
    #[error(transparent)]
    Probe(#[from] ProbeError),
    /// This build of lastwords has no description of its own functions.
    #[error("this build of lastwords has no debug info of its own")]
    DemoStripped,
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
            Self::Probe(error) => error.hint(),
            Self::DemoStripped => Some("build it with `cargo build --release`, without `strip`".into()),
            Self::Wait(_) => None,
        }
    }

    /// The status to end with.
    #[must_use]
    pub fn exit_status(&self) -> u8 {
        match self {
            Self::Binary(error) => error.exit_status(),
            Self::Launch(error) => error.exit_status(),
            _ => FAILURE,
        }
    }
}
