//! Small programs, compiled for one test in a folder that goes away with it.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// A folder with a program.
pub(crate) struct Fixture(TempDir);

impl Fixture {
    /// An empty folder.
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    /// A program of this source text, made by `gcc`, `clang`, `g++`, `clang++` or `rustc` with these options.
    pub(crate) fn compile(compiler: &str, options: &[&str], source: &str) -> Self {
        let fixture = Self::new();
        let file = match compiler {
            "rustc" => "program.rs",
            compiler if compiler.ends_with("++") => "program.cpp",
            _ => "program.c",
        };
        fixture.write(file, source);
        run(compiler, &[options, &["-o", "program", file]].concat(), fixture.folder());
        fixture
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.folder().join(name), text).expect("a file in a temporary folder");
    }

    pub(crate) fn folder(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn program(&self) -> PathBuf {
        self.folder().join("program")
    }
}

/// Runs a tool that must succeed.
pub(crate) fn run(tool: &str, arguments: &[&str], folder: &Path) {
    let output = Command::new(tool).args(arguments).current_dir(folder).output();
    let output = output.unwrap_or_else(|error| panic!("cannot run `{tool}`: {error}"));
    assert!(output.status.success(), "`{tool} {arguments:?}` failed: {}", String::from_utf8_lossy(&output.stderr));
}
