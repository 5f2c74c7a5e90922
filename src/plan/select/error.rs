//! Why nothing can be selected.

use std::path::PathBuf;

use crate::binary::LibraryError;

/// Why functions could not be selected.
#[derive(Debug, thiserror::Error)]
pub enum SelectError {
    /// A pattern for functions that nothing meets.
    #[error("no function matches `{pattern}` in `{}`", binary.display())]
    NoMatch {
        /// As the user wrote it.
        pattern: String,
        /// The program.
        binary: PathBuf,
        /// Names that are nearly the same.
        closest: Vec<String>,
        /// The program imports a function of this name.
        is_imported: bool,
    },
    /// A pattern for source files that nothing meets.
    #[error("no function of `{}` is declared in a file that matches `{pattern}`", binary.display())]
    NoSource {
        /// As the user wrote it.
        pattern: String,
        /// The program.
        binary: PathBuf,
        /// Paths of which the last components are nearly the same.
        closest: Vec<String>,
    },
    /// A pattern for source files that is none.
    #[error("cannot read `{pattern}` as a pattern for files: {reason}")]
    Pattern {
        /// As the user wrote it.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Everything that was asked for cannot be probed.
    #[error("cannot probe `{function}`: {reason}")]
    AllSkipped {
        /// The first of them.
        function: String,
        /// Why.
        reason: String,
    },
    /// The program has no functions that could be meant.
    #[error("found no function to probe in `{}`", binary.display())]
    Nothing {
        /// The program.
        binary: PathBuf,
        /// Each of the user's patterns has found functions, and all of them together leave none.
        by_choice: bool,
    },
    /// A library that cannot be used.
    #[error(transparent)]
    Library(#[from] LibraryError),
}

impl SelectError {
    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoMatch { is_imported: true, .. } => {
                Some("it is a function of a shared library: name the library with `--lib NAME`".to_owned())
            }
            Self::NoMatch { closest, .. } | Self::NoSource { closest, .. } if !closest.is_empty() => {
                let names: Vec<_> = closest.iter().map(|name| format!("`{name}`")).collect();
                Some(format!("did you mean {}?", names.join(" or ")))
            }
            Self::NoMatch { binary, .. } => {
                Some(format!("`lastwords functions {} -f '*'` lists all there are", binary.display()))
            }
            Self::NoSource { binary, .. } => Some(format!(
                "`lastwords functions {} -f '*'` lists all there are with their files, where they are built with `-g`",
                binary.display()
            )),
            Self::Nothing { by_choice: true, .. } => Some(
                "a function must match one of `-f` and one of `--source`, where they are given, and none of `-f '!...'`"
                    .to_owned(),
            ),
            Self::Nothing { .. } => {
                Some("build it with debug info (`-g`) and do not strip it, or choose functions with `-f`".to_owned())
            }
            Self::Library(error) => error.hint(),
            Self::Pattern { .. } => {
                Some("`*`, `?`, `[a-z]` and `{a,b}` are wildcards; `\\[` means the character itself".to_owned())
            }
            Self::AllSkipped { .. } => None,
        }
    }
}
