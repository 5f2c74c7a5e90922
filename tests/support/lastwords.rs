//! One run of the program `lastwords`.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use tempfile::TempDir;

use super::Report;
use super::leftovers::{Loaded, left_since, what_is_loaded};
use super::process::{Finished, finish};

/// Held for writing by a test that looks at the state of the whole machine.
static MACHINE: RwLock<()> = RwLock::new(());

/// Keeps tests that look at the whole machine waiting.
pub fn share_machine() -> RwLockReadGuard<'static, ()> {
    MACHINE.read().unwrap_or_else(PoisonError::into_inner)
}

/// A run that has not started yet.
#[derive(Debug)]
pub struct Lastwords {
    command: Command,
    directory: TempDir,
    stdin: Vec<u8>,
}

impl Lastwords {
    /// `lastwords ARGUMENTS`, in an empty directory.
    pub fn new<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Self {
        assert!(nix::unistd::geteuid().is_root(), "whole-program tests need root: run `cargo xtask test`");
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut command = Command::new(env!("CARGO_BIN_EXE_lastwords"));
        command.args(arguments).current_dir(directory.path());
        // The tests themselves may run under sudo.
        for variable in ["SUDO_UID", "SUDO_GID", "SUDO_USER", "SUDO_COMMAND"] {
            command.env_remove(variable);
        }
        Self { command, directory, stdin: vec![] }
    }

    /// `lastwords run OPTIONS -- PROGRAM ARGUMENTS`. Reports go to the directory where it runs, which is a new one.
    pub fn run<O: AsRef<OsStr>, A: AsRef<OsStr>>(
        options: impl IntoIterator<Item = O>,
        program: &Path,
        arguments: impl IntoIterator<Item = A>,
    ) -> Self {
        let mut run = Self::new(["run"]);
        run.command.args(options).arg("--").arg(program).args(arguments);
        run
    }

    /// With this on stdin, and then its end.
    pub fn stdin(self, stdin: &str) -> Self {
        Self { stdin: stdin.into(), ..self }
    }

    /// With a variable in its environment.
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// As another user. The temporary directory, which is the current one, becomes his.
    pub fn for_user(mut self, uid: u32, gid: u32) -> Self {
        std::os::unix::fs::chown(self.directory.path(), Some(uid), Some(gid)).expect("root may give a directory away");
        self.command.uid(uid).gid(gid);
        self
    }

    /// By another copy of the program `lastwords`.
    pub fn by(mut self, program: &Path) -> Self {
        let mut command = Command::new(program);
        command.args(self.command.get_args()).current_dir(self.directory.path());
        for (name, value) in self.command.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        self.command = command;
        self
    }

    /// Where reports go by default: the folder `lastwords` in the directory where it runs.
    pub fn report_directory(&self) -> PathBuf {
        self.directory.path().join("lastwords")
    }

    /// The command as it is so far, and the directory that must outlive it.
    pub fn into_parts(self) -> (Command, TempDir) {
        (self.command, self.directory)
    }

    /// Runs it to its end.
    pub fn finish(mut self) -> Outcome {
        let _shared = share_machine();
        self.finish_now()
    }

    /// Runs it to its end while no other test runs lastwords; tells what is left in the kernel afterwards.
    pub fn finish_alone(mut self) -> (Outcome, Loaded) {
        let _exclusive = MACHINE.write().unwrap_or_else(PoisonError::into_inner);
        let before = what_is_loaded();
        (self.finish_now(), left_since(&before))
    }

    fn finish_now(&mut self) -> Outcome {
        let Finished { status, stdout, stderr } = finish(&mut self.command, &self.stdin);
        let files = reports_in(&self.report_directory());
        let reports = files.iter().map(|file| Report::read(file)).collect();
        Outcome { status, stdout, stderr, reports, directory: self.directory.path().to_owned() }
    }
}

/// What came of a run.
#[derive(Debug)]
pub struct Outcome {
    /// How lastwords ended.
    pub status: ExitStatus,
    /// What the program, or lastwords for it, wrote to stdout.
    pub stdout: String,
    /// What the program and lastwords wrote to stderr.
    pub stderr: String,
    /// The reports that it wrote, in the order of their names.
    pub reports: Vec<Report>,
    directory: PathBuf,
}

impl Outcome {
    /// The one report of the run.
    pub fn report(mut self) -> Report {
        assert_eq!(
            self.reports.len(),
            1,
            "reports of one death; lastwords ended with {} and said:\n{}",
            self.status,
            self.stderr
        );
        self.reports.remove(0)
    }

    /// The signal that killed lastwords, as it killed the program.
    pub fn signal(&self) -> Option<i32> {
        self.status.signal()
    }

    /// What is left of a message when paths of this machine are taken out: the same everywhere.
    pub fn stderr_without(&self, paths: &[(&Path, &str)]) -> String {
        paths
            .iter()
            .fold(self.stderr.replace(&self.directory.display().to_string(), "[DIRECTORY]"), |text, (path, name)| {
                text.replace(&path.display().to_string(), name)
            })
    }
}

/// The report files in a directory, if it exists.
pub fn reports_in(directory: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = match fs::read_dir(directory) {
        Ok(entries) => entries.map(|entry| entry.expect("an entry of the report directory").path()).collect(),
        Err(_) => vec![],
    };
    files.sort();
    files
}
