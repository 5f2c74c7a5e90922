//! Running commands in sight of the user.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{io, process};

use xtask::real::RealError;
use xtask::stamp::StampError;

/// Why a chore failed.
#[derive(Debug, thiserror::Error)]
pub enum ChoreError {
    /// A command could not be started.
    #[error("cannot run `{program}`: {source}")]
    Start {
        /// The program.
        program: String,
        /// What the operating system said.
        source: io::Error,
    },
    /// A command ended with an error of its own.
    #[error("`{program}` ended with {status}")]
    Failed {
        /// The program.
        program: String,
        /// How it ended.
        status: process::ExitStatus,
    },
    /// A file or folder could not be read.
    #[error("cannot read `{}`: {source}", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A command that succeeded has not made what it should have.
    #[error("expected a {what}, found none")]
    NotBuilt {
        /// What is missing.
        what: String,
    },
    /// Debian has no such kernel.
    #[error("found no package `linux-image-{series}.*-cloud-amd64`")]
    NoKernel {
        /// The series.
        series: String,
    },
    /// Tests failed in a virtual machine.
    #[error("Linux {version}: {reason}")]
    Kernel {
        /// Its kernel.
        version: String,
        /// What happened.
        reason: String,
    },
    /// A file could not be written.
    #[error("cannot write `{}`: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// Something is missing, and this is no machine on which we know how to install it.
    #[error("cannot install {}: expected `apt-get`, found none", packages.join(", "))]
    NoPackageManager {
        /// Names of Debian packages.
        packages: Vec<&'static str>,
    },
    /// A real program could not be built.
    #[error(transparent)]
    Real(#[from] RealError),
    /// The committed object and its sources do not fit.
    #[error(transparent)]
    Stamp(#[from] StampError),
}

impl ChoreError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Stamp(StampError::Read { .. }) => None,
            Self::Stamp(_) => Some("run `cargo xtask ebpf` and commit what it writes"),
            Self::NoKernel { .. } => Some("this needs the package lists of Debian 12"),
            Self::NoPackageManager { .. } => Some("install what these Debian packages hold, and run this again"),
            _ => None,
        }
    }
}

/// Prints the command as a shell would take it, runs it, and waits for it.
pub fn run(command: &mut Command) -> Result<(), ChoreError> {
    eprintln!("+ {}", as_typed(command));
    let program = command.get_program().display().to_string();
    let status = command.status().map_err(|source| ChoreError::Start { program: program.clone(), source })?;
    if status.success() { Ok(()) } else { Err(ChoreError::Failed { program, status }) }
}

/// The same, and what the command has printed.
pub fn output(command: &mut Command) -> Result<String, ChoreError> {
    eprintln!("+ {}", as_typed(command));
    let program = command.get_program().display().to_string();
    let started = command.stderr(process::Stdio::inherit()).output();
    let output = started.map_err(|source| ChoreError::Start { program: program.clone(), source })?;
    match output.status {
        status if status.success() => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        status => Err(ChoreError::Failed { program, status }),
    }
}

/// The root of the workspace that cargo runs us for. (Asked for now and not when this was compiled: two worktrees may share a folder
/// for what they build.)
pub fn root() -> PathBuf {
    let xtask = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    xtask.as_deref().and_then(Path::parent).map_or_else(|| ".".into(), Path::to_owned)
}

/// The cargo that runs us.
pub fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// A command that runs as root: with sudo, unless root asks.
pub fn as_root(program: &str) -> Command {
    if nix::unistd::geteuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("sudo");
    command.arg(program);
    command
}

/// Has cargo run what it builds as root: with sudo, unless root asks.
pub fn run_as_root(cargo: &mut Command) {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("what is run loads eBPF programs: sudo will run it as root");
        cargo.args(["--config", &format!("target.'cfg(all())'.runner = {}", root_runner())]);
    }
}

/// What cargo puts in front of a program, as a list in TOML: sudo would replace `PATH`, and with it the compilers for the fixtures.
fn root_runner() -> String {
    let path = std::env::var("PATH").unwrap_or_default();
    format!("{:?}", ["sudo", "-E", "env", &format!("PATH={path}")])
}

/// A command as a shell would take it.
pub fn as_typed(command: &Command) -> String {
    let variables = command
        .get_envs()
        .filter_map(|(name, value)| Some(format!("{}={}", name.display(), quoted(&value?.display().to_string()))));
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    variables.chain(words.map(|word| quoted(&word.display().to_string()))).collect::<Vec<_>>().join(" ")
}

fn quoted(word: &str) -> String {
    if word.contains([' ', '"', '$']) { format!("'{word}'") } else { word.to_owned() }
}
