//! ELF files: a path in; sections, segments, symbols and build id out, and where the debug info is.
//!
//! Everything that a file says is checked when it is used: a damaged file gives errors or less, never a panic.

mod data;
mod debug_file;
mod dynamic;
mod error;
#[cfg(test)]
pub(crate) mod fixture;
mod headers;
mod library;
mod map;
mod note;
mod search;
mod section;
mod segment;
mod streams;
mod symbol;

use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use goblin::elf::ProgramHeader;
use goblin::elf::header::{ET_DYN, Header};
use goblin::elf::program_header::PT_INTERP;
use goblin::elf::section_header::{SHT_DYNSYM, SHT_SYMTAB};
use memmap2::Mmap;

pub use self::debug_file::{DebugFiles, DebugFilesError};
pub use self::error::BinaryError;
pub use self::headers::Machine;
pub use self::library::{LibraryError, find_library};
pub use self::map::SectionBytes;
pub use self::search::find_program;
pub use self::segment::LoadSegment;
pub use self::streams::Streams;
pub use self::symbol::FunctionSymbol;

use self::dynamic::Dynamic;
use self::headers::Purpose;
use self::section::Section;
use self::symbol::CTX;
use crate::address::{FileOffset, Svma};

/// A program or a shared library.
#[derive(Clone, Debug)]
pub struct Binary {
    path: PathBuf,
    data: Arc<Mmap>,
    machine: Machine,
    is_position_independent: bool,
    entry_point: Svma,
    has_interpreter: bool,
    segments: Vec<LoadSegment>,
    sections: Vec<Section>,
    dynamic: Dynamic,
    build_id: Option<String>,
}

impl Binary {
    /// Opens a program or a shared library of this machine.
    pub fn open(path: &Path) -> Result<Self, BinaryError> {
        Self::open_for(path, Purpose::Code)
    }

    fn open_for(path: &Path, purpose: Purpose) -> Result<Self, BinaryError> {
        let data = read(path)?;
        let (header, machine) = headers::parse(path, &data, purpose)?;
        let damaged = |what| BinaryError::Damaged { path: path.to_path_buf(), what };
        let programs = program_headers(&data, &header).map_err(damaged)?;
        let segments: Vec<LoadSegment> = programs.iter().filter_map(LoadSegment::parse).collect();
        let is_complete = |segment: &LoadSegment| {
            segment.offset.0.checked_add(segment.file_size).is_some_and(|end| end <= data.len() as u64)
        };
        // The segments of a file that holds nothing but debug info have sizes, but no contents.
        if purpose == Purpose::Code && !segments.iter().all(is_complete) {
            return Err(damaged("a segment lies outside of it".to_owned()));
        }
        Ok(Self {
            path: path.to_path_buf(),
            machine,
            is_position_independent: header.e_type == ET_DYN,
            entry_point: Svma(header.e_entry),
            has_interpreter: programs.iter().any(|program| program.p_type == PT_INTERP),
            sections: Section::parse_all(&data, &header).map_err(damaged)?,
            dynamic: Dynamic::parse(&data, &programs, &segments),
            build_id: note::build_id(&data, &programs),
            segments,
            data,
        })
    }

    /// The file, as it was named.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The machine that it is for.
    #[must_use]
    pub fn machine(&self) -> Machine {
        self.machine
    }

    /// `NT_GNU_BUILD_ID`, in lower-case hexadecimal.
    #[must_use]
    pub fn build_id(&self) -> Option<&str> {
        self.build_id.as_deref()
    }

    /// `ET_DYN`: the loader chooses where it lies.
    #[must_use]
    pub fn is_position_independent(&self) -> bool {
        self.is_position_independent
    }

    /// Where the program begins (`e_entry`).
    #[must_use]
    pub fn entry_point(&self) -> Svma {
        self.entry_point
    }

    /// The lowest address that is loaded: of a mapped file, its base.
    #[must_use]
    pub fn lowest_address(&self) -> Option<Svma> {
        self.segments.iter().map(|segment| segment.start).min()
    }

    /// It has a dynamic linker: the kernel starts that first (`PT_INTERP`).
    #[must_use]
    pub fn has_interpreter(&self) -> bool {
        self.has_interpreter
    }

    /// The libraries that it wants (`DT_NEEDED`).
    #[must_use]
    pub fn needed(&self) -> &[String] {
        &self.dynamic.needed
    }

    /// Its name as a library (`DT_SONAME`).
    #[must_use]
    pub fn soname(&self) -> Option<&str> {
        self.dynamic.soname.as_deref()
    }

    /// What the loader maps.
    #[must_use]
    pub fn segments(&self) -> &[LoadSegment] {
        &self.segments
    }

    /// Where `address` lies in the file; `None` for an address without file contents.
    #[must_use]
    pub fn file_offset_of(&self, address: Svma) -> Option<FileOffset> {
        self.segments.iter().find_map(|segment| segment.file_offset_of(address))
    }

    /// The lowest address of an executable segment. The kernel's `mm->start_code` minus it is the load bias.
    #[must_use]
    pub fn lowest_executable_address(&self) -> Option<Svma> {
        self.segments.iter().filter(|segment| segment.is_executable).map(|segment| segment.start).min()
    }

    /// The instructions at `range`; `None` unless all of it is code from the file.
    #[must_use]
    pub fn code(&self, range: Range<Svma>) -> Option<&[u8]> {
        let executable = self.segments.iter().filter(|segment| segment.is_executable);
        let mut ranges = executable.filter_map(|segment| segment.file_range_of(&range));
        self.data.get(ranges.next()?)
    }

    /// The bytes from `address` on, at most `length`, that are mapped from the file and cannot be written to.
    #[must_use]
    pub fn constant_at(&self, address: Svma, length: usize) -> &[u8] {
        let constant = self.segments.iter().filter(|segment| !segment.is_writable);
        let found = constant.filter_map(|segment| {
            let rest = segment.start.0.checked_add(segment.file_size)?.checked_sub(address.0)?;
            let length = u64::try_from(length).ok()?.min(rest);
            self.data.get(segment.file_range_of(&(address..Svma(address.0.checked_add(length)?)))?)
        });
        found.into_iter().next().unwrap_or_default()
    }

    /// Whether there is code at `address`.
    #[must_use]
    pub fn is_code(&self, address: Svma) -> bool {
        self.segments.iter().any(|segment| segment.is_executable && segment.file_offset_of(address).is_some())
    }

    /// Functions of both symbol tables, each name at each address once, by address. Those in both tables count as exported.
    #[must_use]
    pub fn function_symbols(&self) -> Vec<FunctionSymbol<'_>> {
        let tables = [SHT_SYMTAB, SHT_DYNSYM].map(|kind| self.symbol_table(kind));
        let mut symbols: Vec<_> = tables.iter().flatten().flat_map(symbol::Table::functions).collect();
        symbols.sort_by_key(|symbol| (symbol.address, symbol.name, !symbol.is_exported));
        symbols.dedup_by_key(|symbol| (symbol.address, symbol.name));
        symbols
    }

    /// Names of symbols that other files must define.
    #[must_use]
    pub fn imports(&self) -> Vec<&str> {
        self.symbol_table(SHT_DYNSYM).map(|table| table.imports().collect()).unwrap_or_default()
    }

    fn symbol_table(&self, kind: u32) -> Option<symbol::Table<'_>> {
        let section = self.sections.iter().find(|section| section.kind == kind)?;
        let names = self.sections.get(section.link as usize)?;
        Some(symbol::Table {
            symbols: self.data.get(section.range.clone())?,
            names: self.data.get(names.range.clone())?,
            is_dynamic: kind == SHT_DYNSYM,
        })
    }

    /// Where a variable lies that is defined here and has a symbol.
    #[must_use]
    pub fn variable(&self, name: &str) -> Option<Svma> {
        [SHT_DYNSYM, SHT_SYMTAB].into_iter().find_map(|kind| self.symbol_table(kind)?.variable(name))
    }

    /// Where the dynamic linker puts the address of its `struct r_debug` (`DT_DEBUG`); `None` in a file that it does not load first.
    #[must_use]
    pub fn debug_slot(&self) -> Option<Svma> {
        self.dynamic.debug_slot
    }

    /// The contents of a section, decompressed; `None` where it is missing or has none.
    pub fn section(&self, name: &str) -> Result<Option<SectionBytes>, BinaryError> {
        let Some(section) = self.sections.iter().find(|section| section.name == name && !section.range.is_empty())
        else {
            return Ok(None);
        };
        let contents = section.decompress(&self.data).map_err(|reason| BinaryError::Section {
            path: self.path.clone(),
            section: name.to_owned(),
            reason,
        })?;
        Ok(Some(match contents {
            Some(bytes) => SectionBytes::Owned(bytes),
            None => SectionBytes::Mapped(Arc::clone(&self.data), section.range.clone()),
        }))
    }

    /// The address of a section.
    #[must_use]
    pub fn section_address(&self, name: &str) -> Option<Svma> {
        self.sections.iter().find(|section| section.name == name).map(|section| section.address)
    }
}

/// The bytes of a regular file.
fn read(path: &Path) -> Result<Arc<Mmap>, BinaryError> {
    let failed = |source: io::Error| {
        let path = path.to_path_buf();
        match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => BinaryError::NotFound { path },
            io::ErrorKind::PermissionDenied => BinaryError::PermissionDenied { path },
            _ => BinaryError::Unreadable { path, source },
        }
    };
    // Asked before it is opened: to open a pipe is to wait for its writer.
    let kind = path.metadata().map_err(failed)?.file_type();
    if kind.is_dir() {
        return Err(BinaryError::IsDirectory { path: path.to_path_buf() });
    }
    if !kind.is_file() {
        return Err(BinaryError::NotRegularFile { path: path.to_path_buf() });
    }
    map::map(&File::open(path).map_err(failed)?).map_err(failed)
}

fn program_headers(bytes: &[u8], header: &Header) -> Result<Vec<ProgramHeader>, String> {
    let offset = usize::try_from(header.e_phoff).map_err(|error| error.to_string())?;
    let headers = ProgramHeader::parse(bytes, offset, usize::from(header.e_phnum), CTX);
    headers.map_err(|_| "its program headers lie outside of it".to_owned())
}

#[cfg(test)]
mod tests;
