//! Real programs to try things on: sqlite and zstd, built with gcc -O2 -g from the sources that two crates bring along.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, io};

use serde_json::Value;

/// Why a program could not be built.
#[derive(Debug, thiserror::Error)]
pub enum RealError {
    /// A command could not be started, or a file not be read or written.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// What the operating system said.
        source: io::Error,
    },
    /// A command failed.
    #[error("`{command}` failed: {stderr}")]
    Failed {
        /// The command.
        command: String,
        /// What it said.
        stderr: String,
    },
    /// The crate is not among those of `fixtures/real`.
    #[error("`fixtures/real` names no crate `{0}`")]
    NoCrate(&'static str),
}

/// A program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Real {
    /// sqlite's amalgamation.
    Sqlite,
    /// zstd's library.
    Zstd,
}

impl Real {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Sqlite, Self::Zstd];

    /// Its name, and that of its workload in `fixtures/real`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Zstd => "zstd",
        }
    }

    /// Builds it into `folder`, if it is not there. `root` is the folder of this project.
    ///
    /// # Errors
    /// If its sources cannot be had, or gcc does not build them.
    pub fn build(self, root: &Path, folder: &Path) -> Result<PathBuf, RealError> {
        let workload = root.join("fixtures/real").join(self.name()).with_extension("c");
        let (crate_name, includes, globs): (_, &[&str], &[&str]) = match self {
            Self::Sqlite => ("libsqlite3-sys", &["sqlite3"], &["sqlite3/sqlite3.c"]),
            Self::Zstd => (
                "zstd-sys",
                &["zstd/lib"],
                &["zstd/lib/common", "zstd/lib/compress", "zstd/lib/decompress", "zstd/lib/dictBuilder"],
            ),
        };
        let sources = crate_folder(root, crate_name)?;
        let stamp = fs::metadata(&workload)
            .and_then(|metadata| metadata.modified())
            .map_err(|source| RealError::Io { what: format!("cannot read `{}`", workload.display()), source })?;
        let program = folder.join(self.name());
        if fs::metadata(&program).and_then(|metadata| metadata.modified()).is_ok_and(|built| built > stamp) {
            return Ok(program);
        }
        let failed = |what: String| move |source| RealError::Io { what, source };
        fs::create_dir_all(folder).map_err(failed(format!("cannot make `{}`", folder.display())))?;
        let mut command = Command::new("gcc");
        command.args(["-O2", "-g", "-w"]).arg(&workload);
        for include in includes {
            command.arg("-I").arg(sources.join(include));
        }
        for glob in globs {
            let path = sources.join(glob);
            command.args(if path.is_dir() { sources_in(&path)? } else { vec![path] });
        }
        // Two tests may build it at the same time.
        let draft = folder.join(format!("{}.{}", self.name(), std::process::id()));
        run(command.args(["-lm", "-lpthread", "-ldl", "-o"]).arg(&draft))?;
        fs::rename(&draft, &program).map_err(failed(format!("cannot make `{}`", program.display())))?;
        Ok(program)
    }
}

/// C and assembly in a folder, in a fixed order.
fn sources_in(folder: &Path) -> Result<Vec<PathBuf>, RealError> {
    let failed = |source| RealError::Io { what: format!("cannot read `{}`", folder.display()), source };
    let entries: Vec<_> = fs::read_dir(folder).map_err(failed)?.collect::<Result<_, _>>().map_err(failed)?;
    let paths = entries.into_iter().map(|entry| entry.path());
    let mut paths: Vec<PathBuf> =
        paths.filter(|path| path.extension().is_some_and(|extension| extension == "c" || extension == "S")).collect();
    paths.sort();
    Ok(paths)
}

/// Where cargo has put a crate. It downloads what is not there yet.
fn crate_folder(root: &Path, name: &'static str) -> Result<PathBuf, RealError> {
    let manifest = root.join("fixtures/real/Cargo.toml");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["metadata", "--locked", "--format-version", "1", "--manifest-path"]).arg(&manifest);
    let output = run(&mut command)?;
    let metadata: Value = serde_json::from_slice(&output).unwrap_or_default();
    let packages = metadata["packages"].as_array().into_iter().flatten();
    let manifest = packages.filter(|package| package["name"] == name).find_map(|it| it["manifest_path"].as_str());
    let folder = manifest.and_then(|manifest| Path::new(manifest).parent());
    folder.map(Path::to_owned).ok_or(RealError::NoCrate(name))
}

fn run(command: &mut Command) -> Result<Vec<u8>, RealError> {
    let text = format!("{command:?}");
    let output = command.output().map_err(|source| RealError::Io { what: format!("cannot run `{text}`"), source })?;
    match output.status.success() {
        true => Ok(output.stdout),
        false => Err(RealError::Failed { command: text, stderr: String::from_utf8_lossy(&output.stderr).into_owned() }),
    }
}
