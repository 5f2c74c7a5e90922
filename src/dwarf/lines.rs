//! Source files and lines: an index or an address in, a path and a line out (DWARF 5, 6.2).

use std::ffi::OsStr;
use std::num::NonZeroU64;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use gimli::ColumnType;

use super::function::{SourceLine, SourcePosition};
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
        self.position_of(unit, address).map(|position| SourceLine { file: position.file, line: position.line })
    }

    /// The line and the column of `address`, which is in `unit`.
    pub(super) fn position_of(&self, unit: u32, address: Svma) -> Option<SourcePosition> {
        let mut rows = self.get(unit).unit.line_program.clone()?.rows();
        // A row holds from its address up to that of the next one in its sequence.
        let mut last: Option<LineRow> = None;
        for _ in 0..MAX_ROWS {
            let (_, row) = rows.next_row().ok()??;
            if let Some(last) = last.filter(|last| (last.address..row.address()).contains(&address.0)) {
                let file = self.file_path(unit, last.file)?;
                // No line: the compiler made this code for no line in particular.
                let line = u32::try_from(last.line?.get()).ok()?;
                return Some(SourcePosition { file, line, column: last.column });
            }
            last = (!row.end_sequence()).then(|| LineRow::of(row));
        }
        None
    }
}

/// What is kept of a row of a line table.
#[derive(Clone, Copy)]
struct LineRow {
    address: u64,
    file: u64,
    line: Option<NonZeroU64>,
    column: Option<u32>,
}

impl LineRow {
    fn of(row: &gimli::LineRow) -> Self {
        let column = match row.column() {
            ColumnType::LeftEdge => None,
            ColumnType::Column(column) => u32::try_from(column.get()).ok(),
        };
        Self { address: row.address(), file: row.file_index(), line: row.line(), column }
    }
}

fn as_path(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}
