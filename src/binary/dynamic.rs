//! The dynamic section: what the dynamic linker is told.

use goblin::elf::ProgramHeader;
use goblin::elf::dynamic::{DT_DEBUG, DT_NEEDED, DT_NULL, DT_RPATH, DT_RUNPATH, DT_SONAME, DT_STRSZ, DT_STRTAB, Dyn};
use goblin::elf::program_header::PT_DYNAMIC;
use scroll::Pread;
use scroll::ctx::SizeWith;

use super::segment::LoadSegment;
use super::symbol::{CTX, name_at};
use crate::address::Svma;

/// What the dynamic linker is told about libraries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Dynamic {
    pub(super) needed: Vec<String>,
    pub(super) soname: Option<String>,
    /// `DT_RPATH`, split at colons.
    pub(super) rpath: Vec<String>,
    /// `DT_RUNPATH`, split at colons.
    pub(super) runpath: Vec<String>,
    /// Where the dynamic linker puts the address of its `struct r_debug` (`DT_DEBUG`).
    pub(super) debug_slot: Option<Svma>,
}

impl Dynamic {
    /// What `PT_DYNAMIC` says; nothing where there is none, or where it does not fit the file.
    pub(super) fn parse(bytes: &[u8], programs: &[ProgramHeader], segments: &[LoadSegment]) -> Self {
        let entries = entries(bytes, programs).unwrap_or_default();
        let value_of = |tag| entries.iter().find(|entry| entry.d_tag == tag).map(|entry| entry.d_val);
        let names = value_of(DT_STRTAB).zip(value_of(DT_STRSZ)).and_then(|(address, size)| {
            let range = Svma(address)..Svma(address.checked_add(size)?);
            bytes.get(segments.iter().find_map(|segment| segment.file_range_of(&range))?)
        });
        let names = names.unwrap_or_default();
        let strings = |tag| {
            let values = entries.iter().filter(move |entry| entry.d_tag == tag).map(|entry| entry.d_val);
            values.filter_map(|offset| name_at(names, usize::try_from(offset).ok()?)).map(str::to_owned)
        };
        let folders = |tag| strings(tag).flat_map(|list| split_folders(&list)).collect();
        Self {
            needed: strings(DT_NEEDED).collect(),
            soname: strings(DT_SONAME).next(),
            rpath: folders(DT_RPATH),
            runpath: folders(DT_RUNPATH),
            debug_slot: debug_slot(&entries, programs),
        }
    }
}

/// The folders of a list as the dynamic linker reads it.
pub(super) fn split_folders(list: &str) -> Vec<String> {
    list.split(':').filter(|folder| !folder.is_empty()).map(str::to_owned).collect()
}

/// The address of the value of the entry `DT_DEBUG`.
fn debug_slot(entries: &[Dyn], programs: &[ProgramHeader]) -> Option<Svma> {
    const VALUE_AT: u64 = 8;
    let program = programs.iter().find(|program| program.p_type == PT_DYNAMIC)?;
    let index = entries.iter().position(|entry| entry.d_tag == DT_DEBUG)? as u64;
    let offset = index.checked_mul(Dyn::size_with(&CTX) as u64)?.checked_add(VALUE_AT)?;
    program.p_vaddr.checked_add(offset).map(Svma)
}

fn entries(bytes: &[u8], programs: &[ProgramHeader]) -> Option<Vec<Dyn>> {
    let program = programs.iter().find(|program| program.p_type == PT_DYNAMIC)?;
    let start = usize::try_from(program.p_offset).ok()?;
    let end = start.checked_add(usize::try_from(program.p_filesz).ok()?)?;
    let entries = bytes.get(start..end)?.chunks_exact(Dyn::size_with(&CTX));
    Some(
        entries
            .filter_map(|entry| entry.pread_with(0, CTX).ok())
            .take_while(|entry: &Dyn| entry.d_tag != DT_NULL)
            .collect(),
    )
}
