//! Files in; an archive out that Linux unpacks as its root file system: "newc" cpio, Documentation/driver-api/early-userspace/buffer-format.rst.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::shell::ChoreError;

const DIRECTORY: u32 = 0o040_000;
const REGULAR_FILE: u32 = 0o100_000;

/// An archive that is being written. Everything keeps the path that it has here.
pub struct Initramfs {
    path: PathBuf,
    out: BufWriter<File>,
    written: BTreeSet<PathBuf>,
}

impl Initramfs {
    /// An empty archive.
    pub fn create(path: &Path) -> Result<Self, ChoreError> {
        let file = File::create(path).map_err(|source| ChoreError::Write { path: path.into(), source })?;
        Ok(Self { path: path.into(), out: BufWriter::new(file), written: BTreeSet::new() })
    }

    /// Adds a file with this content, and the folders above it.
    pub fn add_file(&mut self, path: &Path, mode: u32, content: &[u8]) -> Result<(), ChoreError> {
        let folders: Vec<_> = path.ancestors().skip(1).filter(|folder| folder.parent().is_some()).collect();
        for folder in folders.into_iter().rev() {
            self.add_entry(folder, DIRECTORY | 0o755, &[])?;
        }
        self.add_entry(path, REGULAR_FILE | mode, content)
    }

    /// Adds a program or library, its interpreter, and the libraries that it needs.
    pub fn add_program(&mut self, path: &Path) -> Result<(), ChoreError> {
        self.copy(path)?;
        // Both fail for what needs none; and `ldd` knows nothing of musl's interpreter, which is all that a program with musl needs.
        let interpreter = printed_by(Command::new("readelf").args(["--wide", "--string-dump=.interp"]).arg(path));
        let libraries = printed_by(Command::new("ldd").arg(path));
        for needed in interpreter.lines().chain(libraries.lines()).flat_map(str::split_ascii_whitespace) {
            let needed = Path::new(needed.trim_end_matches(':'));
            if needed.is_absolute() && needed.is_file() {
                self.copy(needed)?;
            }
        }
        Ok(())
    }

    /// Adds all files of a folder; those that are executable with their libraries.
    pub fn add_folder(&mut self, folder: &Path) -> Result<(), ChoreError> {
        let read_error = |source| ChoreError::Read { path: folder.to_owned(), source };
        for entry in fs::read_dir(folder).map_err(read_error)? {
            let path = entry.map_err(read_error)?.path();
            let metadata = path.metadata().map_err(read_error)?;
            if metadata.is_dir() {
                self.add_folder(&path)?;
            } else if metadata.permissions().mode() & 0o111 != 0 {
                self.add_program(&path)?;
            } else {
                self.copy(&path)?;
            }
        }
        Ok(())
    }

    /// Writes the end of the archive.
    pub fn finish(mut self) -> Result<(), ChoreError> {
        self.write_entry("TRAILER!!!", 0, &[])
            .and_then(|()| self.out.flush())
            .map_err(|source| ChoreError::Write { path: self.path, source })
    }

    fn copy(&mut self, path: &Path) -> Result<(), ChoreError> {
        if self.written.contains(path) {
            return Ok(());
        }
        let read_error = |source| ChoreError::Read { path: path.to_owned(), source };
        let mode = path.metadata().map_err(read_error)?.permissions().mode() & 0o777;
        let content = fs::read(path).map_err(read_error)?;
        self.add_file(path, mode, &content)
    }

    fn add_entry(&mut self, path: &Path, mode: u32, content: &[u8]) -> Result<(), ChoreError> {
        if !self.written.insert(path.to_owned()) {
            return Ok(());
        }
        let name = path.strip_prefix("/").unwrap_or(path).display().to_string();
        self.write_entry(&name, mode, content).map_err(|source| ChoreError::Write { path: self.path.clone(), source })
    }

    fn write_entry(&mut self, name: &str, mode: u32, content: &[u8]) -> io::Result<()> {
        // Inode, mode, uid, gid, links, time, size, device (2), device of a special file (2), size of the name, check.
        // Only files with more than one link need a number of their own.
        let (size, name_size) = (content.len(), name.len() + 1);
        let fields = [0, mode as usize, 0, 0, 1, 0, size, 0, 0, 0, 0, name_size, 0];
        write!(self.out, "070701")?;
        fields.iter().try_for_each(|field| write!(self.out, "{field:08x}"))?;
        const HEADER_BYTES: usize = 6 + 13 * 8;
        write!(self.out, "{name}\0")?;
        self.pad(HEADER_BYTES + name_size)?;
        self.out.write_all(content)?;
        self.pad(size)
    }

    /// Name and content are each followed by zeros up to a multiple of four.
    fn pad(&mut self, written: usize) -> io::Result<()> {
        self.out.write_all(&[0; 3][..written.next_multiple_of(4) - written])
    }
}

/// What a program says; nothing where it fails.
fn printed_by(command: &mut Command) -> String {
    command.output().map_or_else(|_| String::new(), |output| String::from_utf8_lossy(&output.stdout).into_owned())
}
