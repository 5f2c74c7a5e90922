//! Where the debug info of a file is: in itself, or in files that were split off from it.

use std::path::{Path, PathBuf};

use super::headers::Purpose;
use super::note::hexadecimal;
use super::{Binary, BinaryError};

/// Where distributions install split debug info (GDB manual, "Debugging Information in Separate Files").
const DEBUG_ROOT: &str = "/usr/lib/debug";

/// The files that together hold the debug info of one program or library.
#[derive(Clone, Debug)]
pub struct DebugFiles {
    /// The file with `.debug_info`.
    pub main: Binary,
    /// What dwz moved out of several files into a common one (`.gnu_debugaltlink`).
    pub supplementary: Option<Binary>,
}

/// Why debug info that should be there cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum DebugFilesError {
    /// A section of the file that says where it is cannot be read.
    #[error(transparent)]
    Binary(#[from] BinaryError),
    /// The common part is missing.
    #[error("cannot find `{}`, which holds a part of the debug info of `{}`", missing.display(), of.display())]
    SupplementaryMissing {
        /// Where it should be.
        missing: PathBuf,
        /// The file that refers to it.
        of: PathBuf,
    },
}

impl DebugFilesError {
    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Binary(error) => error.hint(),
            Self::SupplementaryMissing { .. } => Some("install the package with the debug symbols again".to_owned()),
        }
    }
}

impl DebugFiles {
    /// The debug info of `binary`; `None` where there is none to be found.
    pub fn find(binary: &Binary) -> Result<Option<Self>, DebugFilesError> {
        Self::find_below(Path::new(DEBUG_ROOT), binary)
    }

    fn find_below(root: &Path, binary: &Binary) -> Result<Option<Self>, DebugFilesError> {
        let main = if has_debug_info(binary) { Some(binary.clone()) } else { separate(root, binary)? };
        let Some(main) = main else { return Ok(None) };
        let supplementary = supplementary(root, &main)?;
        Ok(Some(Self { main, supplementary }))
    }
}

fn has_debug_info(binary: &Binary) -> bool {
    binary.sections.iter().any(|section| section.name == ".debug_info" && !section.range.is_empty())
}

/// Opens `path` if it holds debug info. Whatever else lies there is no error: the search goes on.
fn open(path: &Path) -> Option<Binary> {
    Binary::open_for(path, Purpose::DebugInfo).ok().filter(has_debug_info)
}

fn separate(root: &Path, binary: &Binary) -> Result<Option<Binary>, BinaryError> {
    let by_id = binary.build_id().and_then(|id| open(&path_of_build_id(root, id)?));
    if let Some(found) = by_id.filter(|found| found.build_id() == binary.build_id()) {
        return Ok(Some(found));
    }
    let Some(link) = binary.section(".gnu_debuglink")? else { return Ok(None) };
    let Some((name, checksum)) = parse_debuglink(&link) else { return Ok(None) };
    let real = binary.path().canonicalize().unwrap_or_else(|_| binary.path().to_path_buf());
    let folder = real.parent().unwrap_or(Path::new("/"));
    let below_root = root.join(folder.strip_prefix("/").unwrap_or(folder));
    let candidates = [folder.join(name), folder.join(".debug").join(name), below_root.join(name)];
    Ok(candidates.iter().filter(|path| **path != real).filter_map(|path| open(path)).find(|found| {
        match (binary.build_id(), found.build_id()) {
            (Some(expected), Some(actual)) => expected == actual,
            _ => checksum_of(&found.data) == checksum,
        }
    }))
}

/// `ROOT/.build-id/ab/cdef.debug`
fn path_of_build_id(root: &Path, id: &str) -> Option<PathBuf> {
    let (folder, rest) = id.split_at_checked(2)?;
    Some(root.join(".build-id").join(folder).join(format!("{rest}.debug")))
}

/// `.gnu_debuglink`: a file name, NUL, padding to 4 bytes, CRC-32 of the file.
fn parse_debuglink(section: &[u8]) -> Option<(&str, u32)> {
    let end = section.iter().position(|&byte| byte == 0)?;
    let name = std::str::from_utf8(&section[..end]).ok().filter(|name| !name.is_empty() && !name.contains('/'))?;
    let checksum = section.get((end + 1).next_multiple_of(4)..)?.first_chunk()?;
    Some((name, u32::from_le_bytes(*checksum)))
}

fn checksum_of(bytes: &[u8]) -> u32 {
    let mut checksum = flate2::Crc::new();
    checksum.update(bytes);
    checksum.sum()
}

/// `.gnu_debugaltlink`: a path, relative to the file that holds it, NUL, the build id of the file there.
fn supplementary(root: &Path, main: &Binary) -> Result<Option<Binary>, DebugFilesError> {
    let Some(link) = main.section(".gnu_debugaltlink")? else { return Ok(None) };
    let end = link.iter().position(|&byte| byte == 0).unwrap_or(link.len());
    let name = PathBuf::from(String::from_utf8_lossy(&link[..end]).into_owned());
    let id = hexadecimal(link.get(end + 1..).unwrap_or_default());
    let real = main.path().canonicalize().unwrap_or_else(|_| main.path().to_path_buf());
    let beside = real.parent().unwrap_or(Path::new("/")).join(&name);
    let candidates = [Some(beside.clone()), path_of_build_id(root, &id)];
    let found = candidates.into_iter().flatten().filter_map(|path| open(&path)).find(|found| {
        // Its note lies in a section, not in a segment: such a file has none.
        note_build_id(found).is_some_and(|actual| actual == id)
    });
    let missing = || DebugFilesError::SupplementaryMissing { missing: beside, of: main.path().to_path_buf() };
    found.map(Some).ok_or_else(missing)
}

fn note_build_id(binary: &Binary) -> Option<String> {
    let section = binary.section(".note.gnu.build-id").ok()??;
    super::note::find_build_id(&section, 4)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::binary::fixture::{Fixture, run};

    const SOURCE: &str = "int twice(int n) { return 2 * n; }\nint main(void) { return twice(0); }\n";

    fn split(fixture: &Fixture, into: &str) {
        run("objcopy", &["--only-keep-debug", "program", into], fixture.folder());
        run("objcopy", &["--strip-debug", "--add-gnu-debuglink", into, "program"], fixture.folder());
    }

    /// Guards against programs of distributions that look as if they had no debug info.
    #[test]
    fn debug_info_beside_the_program_is_found_by_its_checksum() {
        let fixture = Fixture::compile("gcc", &["-g", "-Wl,--build-id=none"], SOURCE);
        split(&fixture, "program.debug");

        let binary = Binary::open(&fixture.program()).unwrap();
        let files = DebugFiles::find(&binary).unwrap().unwrap();
        assert_eq!(files.main.path(), fixture.folder().join("program.debug"));
    }

    /// Guards against describing a program by the debug info of another build.
    #[test]
    fn debug_info_of_another_build_is_not_taken() {
        let fixture = Fixture::compile("gcc", &["-g", "-Wl,--build-id=none"], SOURCE);
        split(&fixture, "program.debug");
        run("objcopy", &["--strip-unneeded", "program.debug", "program.debug"], fixture.folder());
        run("gcc", &["-g", "-Wl,--build-id=none", "-O2", "-o", "program.debug", "program.c"], fixture.folder());

        let binary = Binary::open(&fixture.program()).unwrap();
        assert!(DebugFiles::find(&binary).unwrap().is_none());
    }

    /// Guards against a wrong path below `.build-id`.
    #[test]
    fn debug_info_is_found_by_build_id() {
        let fixture = Fixture::compile("gcc", &["-g", "-Wl,--build-id=0xabcdef0123456789"], SOURCE);
        let folder = fixture.folder().join("debug/.build-id/ab");
        std::fs::create_dir_all(&folder).unwrap();
        split(&fixture, "debug/.build-id/ab/cdef0123456789.debug");

        let binary = Binary::open(&fixture.program()).unwrap();
        let files = DebugFiles::find_below(&fixture.folder().join("debug"), &binary).unwrap().unwrap();
        assert_eq!(files.main.path(), folder.join("cdef0123456789.debug"));
    }

    /// Guards against a name that leads out of the folder, and against one that never ends.
    #[test]
    fn a_damaged_link_is_no_link() {
        assert_eq!(parse_debuglink(b"a.debug\0\x01\x02\x03\x04"), Some(("a.debug", 0x0403_0201)));
        assert_eq!(parse_debuglink(b"../a\0\0\0\0\x01\x02\x03\x04"), None);
        assert_eq!(parse_debuglink(b"a.debug"), None);
        assert_eq!(parse_debuglink(b"a.debug\0\x01\x02\x03"), None);
        assert_eq!(parse_debuglink(b""), None);
    }
}
