//! What the committed eBPF object was built from. Comes in: the folder `ebpf/`. Goes out: a [`Stamp`], or in which way object,
//! sources and stamp disagree.
//!
//! The object can be built only with a toolchain that most machines lack. So it is committed, with a stamp that tells anyone, with
//! no toolchain at all, whether somebody changed the sources and forgot it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{fs, io};

use sha2::{Digest, Sha256};

/// The object, in `ebpf/`.
pub const OBJECT: &str = "lastwords.bpf.o";
/// Its stamp, beside it.
pub const STAMP: &str = "lastwords.bpf.stamp";

const COMMENT: &str = "# Written by `cargo xtask ebpf`: what lastwords.bpf.o is and what it was built from.";

/// Why a stamp could not be made or does not fit.
#[derive(Debug, thiserror::Error)]
pub enum StampError {
    /// A file could not be read.
    #[error("cannot read `{}`: {source}", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The sources are not those that the object was built from.
    #[error("`{OBJECT}` was built from other sources than those in ebpf/")]
    SourcesChanged,
    /// The object is not the one that the stamp was written for.
    #[error("`{OBJECT}` is not the object that `{STAMP}` was written for")]
    ObjectChanged,
}

/// Digests of the sources and of what was built from them.
#[derive(Debug, PartialEq, Eq)]
pub struct Stamp {
    sources: String,
    object: String,
}

impl Stamp {
    /// The stamp of what lies in the folder `ebpf` now.
    ///
    /// # Errors
    ///
    /// If a source or the object cannot be read.
    pub fn of(ebpf: &Path) -> Result<Self, StampError> {
        let object = read(&ebpf.join(OBJECT))?;
        Ok(Self { sources: digest_of_sources(ebpf)?, object: hex(&Sha256::digest(object)) })
    }

    /// The stamp as a file.
    #[must_use]
    pub fn to_text(&self) -> String {
        format!("{COMMENT}\nsources {}\nobject {}\n", self.sources, self.object)
    }
}

/// Whether the stamp in the folder `ebpf` fits the sources and the object there.
///
/// # Errors
///
/// If it does not, or if one of them cannot be read.
pub fn check(ebpf: &Path) -> Result<(), StampError> {
    let found = Stamp::of(ebpf)?;
    let path = ebpf.join(STAMP);
    let written = fs::read_to_string(&path).map_err(|source| StampError::Read { path, source })?;
    let says = |key: &str, digest: &str| written.lines().any(|line| line == format!("{key} {digest}"));
    if !says("sources", &found.sources) {
        return Err(StampError::SourcesChanged);
    }
    if !says("object", &found.object) {
        return Err(StampError::ObjectChanged);
    }
    Ok(())
}

/// One digest for all that decides what the object is: each file's name and content, in the order of the names.
fn digest_of_sources(ebpf: &Path) -> Result<String, StampError> {
    let mut names = vec![PathBuf::from("Cargo.toml"), PathBuf::from("Cargo.lock")];
    collect_files(ebpf, Path::new("src"), &mut names)?;
    names.sort();
    let mut digest = Sha256::new();
    for name in names {
        let content = read(&ebpf.join(&name))?;
        // With its length in front, no byte can wander from one file to the next.
        digest.update(format!("{}\n{}\n", name.display(), content.len()));
        digest.update(content);
    }
    Ok(hex(&digest.finalize()))
}

/// Adds the names of all files below `ebpf/folder`, relative to `ebpf`.
fn collect_files(ebpf: &Path, folder: &Path, names: &mut Vec<PathBuf>) -> Result<(), StampError> {
    let read_error = |source| StampError::Read { path: ebpf.join(folder), source };
    for entry in fs::read_dir(ebpf.join(folder)).map_err(read_error)? {
        let entry = entry.map_err(read_error)?;
        let name = folder.join(entry.file_name());
        if entry.file_type().map_err(read_error)?.is_dir() {
            collect_files(ebpf, &name, names)?;
        } else {
            names.push(name);
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>, StampError> {
    fs::read(path).map_err(|source| StampError::Read { path: path.into(), source })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes all that is written to it");
        text
    })
}
