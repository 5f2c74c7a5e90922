//! Source files and lines: an index or an address in, a path and a line out (DWARF 5, 6.2).

use std::ffi::OsStr;
use std::num::NonZeroU64;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::function::SourceLine;
use super::units::{Units, Value};
use crate::address::Svma;

/// Rows of one unit's line table that are looked at.
const MAX_ROWS: usize = 1 << 24;

impl<'a> Units<'a> {
    /// The path of a file by its index in `unit`'s line table, made absolute with the compilation directory.
    pub(super) fn file_path(&self, unit: u32, index: u64) -> Option<PathBuf> {
        let header = self.get(unit).unit.line_program.as_ref()?.header();
        // Before DWARF 5, indexes begin at 1 and 0 means that no file is known.
        if header.version() < 5 && index == 0 {
            return None;
        }
        let file = header.file(index)?;
        let name = self.path(unit, file.path_name())?;
        let compiled_in = self.get(unit).unit.comp_dir.map_or(Path::new(""), |folder| as_path(folder.slice()));
        // Folder 0 is the compilation directory itself; the others are relative to it.
        let listed = if file.directory_index() == 0 { None } else { file.directory(header) };
        let folder = listed.and_then(|folder| self.path(unit, folder)).unwrap_or_default();
        // `collect` leaves out `.`; `..` stays, since what it means depends on symbolic links.
        Some(compiled_in.join(folder).join(name).components().collect())
    }

    fn path(&self, unit: u32, value: Value<'a>) -> Option<PathBuf> {
        let string = self.dwarf_of(unit).attr_string(&self.get(unit).unit, value).ok()?;
        Some(as_path(string.slice()).to_path_buf())
    }

    /// The line of `address`, which is in `unit`.
    pub(super) fn line_of(&self, unit: u32, address: Svma) -> Option<SourceLine> {
        let mut rows = self.get(unit).unit.line_program.clone()?.rows();
        // A row holds from its address up to that of the next one in its sequence.
        let mut last: Option<(u64, u64, Option<NonZeroU64>)> = None;
        for _ in 0..MAX_ROWS {
            let (_, row) = rows.next_row().ok()??;
            if let Some((_, file, line)) = last.filter(|(start, ..)| (*start..row.address()).contains(&address.0)) {
                // No line: the compiler made this code for no line in particular.
                return Some(SourceLine { file: self.file_path(unit, file)?, line: u32::try_from(line?.get()).ok()? });
            }
            last = (!row.end_sequence()).then_some((row.address(), row.file_index(), row.line()));
        }
        None
    }
}

fn as_path(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}
