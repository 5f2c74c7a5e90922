//! Why a file cannot be used as a program.

use std::io;
use std::path::PathBuf;

/// Why a file cannot be used as a program.
#[derive(Debug, thiserror::Error)]
pub enum BinaryError {
    /// There is no such file.
    #[error("cannot find `{}`: there is no such file", path.display())]
    NotFound {
        /// The file.
        path: PathBuf,
    },
    /// A shell would not find it, either.
    #[error("cannot find `{}` in `PATH`", name.display())]
    NotInPath {
        /// The name, without a slash.
        name: PathBuf,
    },
    /// It, or a folder on the way to it, may not be read.
    #[error("cannot read `{}`: permission denied", path.display())]
    PermissionDenied {
        /// The file.
        path: PathBuf,
    },
    /// A folder.
    #[error("cannot use `{}` as a program: it is a directory", path.display())]
    IsDirectory {
        /// The folder.
        path: PathBuf,
    },
    /// A device, a pipe, a socket.
    #[error("cannot use `{}` as a program: it is not a regular file", path.display())]
    NotRegularFile {
        /// The file.
        path: PathBuf,
    },
    /// The system could not read it.
    #[error("cannot read `{}`", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The kernel starts its interpreter instead.
    #[error("cannot record `{}`: it is a script for `{interpreter}`, expected an ELF program", path.display())]
    Script {
        /// The script.
        path: PathBuf,
        /// What follows `#!`, without its arguments.
        interpreter: String,
    },
    /// Neither an ELF file nor a script.
    #[error("cannot use `{}` as a program: expected an ELF file, found {found}", path.display())]
    NotElf {
        /// The file.
        path: PathBuf,
        /// What it begins with.
        found: String,
    },
    /// `ELFCLASS32`.
    #[error("cannot record `{}`: expected a 64-bit program, found a 32-bit one", path.display())]
    Bits32 {
        /// The file.
        path: PathBuf,
    },
    /// `ELFDATA2MSB`.
    #[error("cannot use `{}` as a program: expected little-endian, found big-endian", path.display())]
    BigEndian {
        /// The file.
        path: PathBuf,
    },
    /// Its machine is not this one.
    #[error("cannot use `{}` as a program: expected one for {expected}, found one for {found}", path.display())]
    OtherMachine {
        /// The file.
        path: PathBuf,
        /// This machine.
        expected: String,
        /// `e_machine`.
        found: String,
    },
    /// An object file, a core file.
    #[error("cannot use `{}` as a program: expected an executable or a shared library, found {found}", path.display())]
    NotExecutable {
        /// The file.
        path: PathBuf,
        /// What its `e_type` says.
        found: &'static str,
    },
    /// Its headers point outside of it, or make no sense.
    #[error("cannot read `{}`: the file is truncated or damaged: {what}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        what: String,
    },
    /// One section of it cannot be read.
    #[error("cannot read section `{section}` of `{}`: {reason}", path.display())]
    Section {
        /// The file.
        path: PathBuf,
        /// The section.
        section: String,
        /// What is wrong.
        reason: String,
    },
}

impl BinaryError {
    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NotInPath { name } => {
                Some(format!("for a file in the current directory, write `./{}`", name.display()))
            }
            Self::PermissionDenied { path } => Some(format!(
                "its code and debug info must be read: allow it with `chmod a+r {}`, or run as a user who may",
                path.display()
            )),
            Self::Script { path, interpreter } => {
                Some(format!("`lastwords run -- {interpreter} {}` records the interpreter", path.display()))
            }
            Self::Bits32 { .. } => Some("build it for 64 bits: leave out `-m32`".to_owned()),
            Self::OtherMachine { expected, .. } => {
                Some(format!("build it for {expected}, or run this on its own machine"))
            }
            Self::NotExecutable { found, .. } if *found == "an object file" => {
                Some("link it into a program first".to_owned())
            }
            Self::NotExecutable { .. } => Some("give the program that wrote it".to_owned()),
            Self::Damaged { .. } => Some("build or copy it again".to_owned()),
            _ => None,
        }
    }

    /// The exit status with which a shell would have ended: 127 where there is no such file, 126 where there is one that cannot be
    /// executed, and 2 where it might be executed, but not recorded.
    #[must_use]
    pub fn exit_status(&self) -> u8 {
        match self {
            Self::NotFound { .. } | Self::NotInPath { .. } => 127,
            Self::PermissionDenied { .. }
            | Self::IsDirectory { .. }
            | Self::NotRegularFile { .. }
            | Self::NotElf { .. }
            | Self::BigEndian { .. }
            | Self::OtherMachine { .. }
            | Self::NotExecutable { .. } => 126,
            _ => 2,
        }
    }
}
