//! Fixtures: a source file and how to build it in, a program out. Each combination is built once and kept until it changes.
//!
//! They are kept where `LASTWORDS_FIXTURES` says: `cargo xtask kernels` has them built here and run on machines without a compiler.

use std::collections::BTreeSet;
use std::collections::hash_map::DefaultHasher;
use std::ffi::OsStr;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, io};

use super::process::{Finished, finish};
use super::{Lastwords, Outcome, Report};

/// Which family of compilers builds a fixture. The file's extension says which member of it.
#[derive(Clone, Copy, Debug, Hash)]
pub enum Compiler {
    /// gcc and g++.
    Gcc,
    /// clang and clang++.
    Clang,
    /// gcc with musl in the place of glibc; C only.
    Musl,
}

/// A program from `fixtures/`, and the arguments that it will be given. Built when it is first needed.
#[derive(Clone, Debug)]
pub struct Fixture {
    source: String,
    /// What a generated fixture consists of; `None` for a file in `fixtures/`.
    generated: Option<String>,
    compiler: Compiler,
    flags: Vec<String>,
    output: String,
    strip: bool,
    arguments: Vec<String>,
}

impl Fixture {
    /// The file `source` in `fixtures/`, built with gcc (or rustc) for debugging, without optimization.
    pub fn build(source: &str) -> Self {
        let stem = Path::new(source).file_stem().and_then(OsStr::to_str).expect("the name of a source file");
        Self {
            source: source.to_owned(),
            generated: None,
            compiler: Compiler::Gcc,
            flags: vec![],
            output: stem.to_owned(),
            strip: false,
            arguments: vec![],
        }
    }

    /// A program whose source, in C, the test has made.
    pub fn generated(name: &str, content: String) -> Self {
        Self { generated: Some(content), ..Self::build(name) }
    }

    /// Built by this compiler, with flags behind the ones for debugging.
    pub fn with<const N: usize>(self, compiler: Compiler, flags: [&str; N]) -> Self {
        self.with_flags(compiler, &flags)
    }

    /// The same with any number of flags.
    pub fn with_flags(self, compiler: Compiler, flags: &[&str]) -> Self {
        Self { compiler, flags: flags.iter().map(|&flag| flag.to_owned()).collect(), ..self }
    }

    /// As a shared library: `libNAME.so`.
    pub fn shared(mut self) -> Self {
        self.output = format!("lib{}.so", self.output);
        self.flags.extend(["-shared".into(), "-fPIC".into(), format!("-Wl,-soname,{}", self.output)]);
        self
    }

    /// Linked with a library, which it will find where it was built.
    pub fn linked_with(mut self, library: &Fixture) -> Self {
        let library = library.path();
        let folder = library.parent().expect("a library lies in a folder");
        self.flags.push(library.display().to_string());
        self.flags.push(format!("-Wl,-rpath,{}", folder.display()));
        self
    }

    /// Without debug info; the symbol table stays.
    pub fn stripped(self) -> Self {
        Self { strip: true, ..self }
    }

    /// With arguments for its next runs.
    pub fn args<A: ToString>(&self, arguments: impl IntoIterator<Item = A>) -> Self {
        Self { arguments: arguments.into_iter().map(|argument| argument.to_string()).collect(), ..self.clone() }
    }

    /// The name of its source file.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The arguments of its next runs.
    pub fn arguments(&self) -> &[String] {
        &self.arguments
    }

    /// The number of the first line in its source that holds `text`.
    pub fn line_of(&self, text: &str) -> usize {
        let content = fs::read_to_string(folder().join(&self.source)).expect("a source file");
        1 + content
            .lines()
            .position(|line| line.contains(text))
            .unwrap_or_else(|| panic!("no `{text}` in {}", self.source))
    }

    /// The built program.
    pub fn path(&self) -> PathBuf {
        let folder = cache().join(format!("{:016x}", self.key()));
        let path = folder.join(&self.output);
        if !path.exists() {
            fs::create_dir_all(&folder).expect("a folder for fixtures");
            self.compile(&folder, &path);
        }
        path
    }

    /// Runs it without lastwords.
    pub fn run_bare(&self) -> Finished {
        finish(Command::new(self.path()).args(&self.arguments), b"")
    }

    /// `lastwords run OPTIONS -- PROGRAM ARGUMENTS`, not started yet.
    pub fn watched<O: AsRef<OsStr>>(&self, options: impl IntoIterator<Item = O>) -> Lastwords {
        Lastwords::run(options, &self.path(), &self.arguments)
    }

    /// Runs it under lastwords.
    pub fn run<O: AsRef<OsStr>>(&self, options: impl IntoIterator<Item = O>) -> Outcome {
        self.watched(options).finish()
    }

    /// Runs it under lastwords, and expects one report.
    pub fn run_until_death<O: AsRef<OsStr>>(&self, options: impl IntoIterator<Item = O>) -> Report {
        self.run(options).report()
    }

    /// Equal for equal sources and flags.
    fn key(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.generated.hash(&mut hasher);
        let files =
            fs::read_dir(folder()).expect("fixtures/").map(|entry| entry.expect("an entry of fixtures/").path());
        // In whatever order a file system has them.
        for file in files.collect::<BTreeSet<_>>() {
            let is_source = self.generated.is_none() && file.file_name() == Some(OsStr::new(&self.source));
            if is_source || file.extension() == Some(OsStr::new("h")) {
                fs::read(&file).expect("a source file").hash(&mut hasher);
            }
        }
        (self.command(), &self.flags, &self.output, self.strip).hash(&mut hasher);
        hasher.finish()
    }

    /// The compiler, and the flags for all fixtures in its language.
    fn command(&self) -> (&'static str, &'static [&'static str]) {
        let language = Path::new(&self.source).extension().and_then(OsStr::to_str);
        match (language, self.compiler) {
            (Some("rs"), _) => ("rustc", &["--edition=2024", "-g", "-C", "debug-assertions=off"]),
            (Some("cpp"), Compiler::Gcc | Compiler::Musl) => ("g++", &["-g", "-std=c++17"]),
            (Some("cpp"), Compiler::Clang) => ("clang++", &["-g", "-std=c++17"]),
            (_, Compiler::Gcc) => ("gcc", &["-g", "-std=gnu11"]),
            (_, Compiler::Clang) => ("clang", &["-g", "-std=gnu11"]),
            (_, Compiler::Musl) => ("musl-gcc", &["-g", "-std=gnu11"]),
        }
    }

    fn compile(&self, folder: &Path, path: &Path) {
        let scratch = tempfile::tempdir_in(folder).expect("a temporary folder");
        let source = match &self.generated {
            None => self::folder().join(&self.source),
            Some(content) => {
                let source = folder.join(&self.source);
                fs::write(&source, content).expect("a source file");
                source
            }
        };
        let output = scratch.path().join(&self.output);
        let (compiler, flags) = self.command();
        let mut command = Command::new(compiler);
        if self.generated.is_some() {
            command.arg("-I").arg(self::folder());
        }
        successful(command.args(flags).arg("-o").arg(&output).arg(&source).args(&self.flags));
        if self.strip {
            successful(Command::new("strip").arg("--strip-debug").arg(&output));
        }
        // A test that runs beside this one may have been faster and run its program by now: that file must stay the same one.
        match fs::hard_link(&output, path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                panic!("cannot keep {}: {error}", path.display())
            }
            _ => {}
        }
    }
}

/// Where built fixtures are.
fn cache() -> PathBuf {
    let asked = std::env::var_os("LASTWORDS_FIXTURES").map(PathBuf::from);
    asked.unwrap_or_else(|| Path::new(env!("CARGO_TARGET_TMPDIR")).join("fixtures"))
}

/// Where the sources of fixtures are.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

fn successful(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
