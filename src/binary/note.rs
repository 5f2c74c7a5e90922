//! Notes: segments in, the build id out.

use std::fmt::Write as _;

use goblin::elf::ProgramHeader;
use goblin::elf::program_header::PT_NOTE;
use scroll::{LE, Pread};

/// `NT_GNU_BUILD_ID`
const NT_GNU_BUILD_ID: u32 = 3;
/// Bytes of a note's header: the sizes of name and description, and the type.
const HEADER_BYTES: usize = 12;

/// The build id in lower-case hexadecimal.
pub(super) fn build_id(bytes: &[u8], programs: &[ProgramHeader]) -> Option<String> {
    programs.iter().filter(|program| program.p_type == PT_NOTE).find_map(|program| {
        let start = usize::try_from(program.p_offset).ok()?;
        let end = start.checked_add(usize::try_from(program.p_filesz).ok()?)?;
        // Notes are aligned to 4 bytes; only `.note.gnu.property` has 8, in a segment of its own (gABI, "Note Section").
        let align = if program.p_align == 8 { 8 } else { 4 };
        find_build_id(bytes.get(start..end)?, align)
    })
}

pub(super) fn find_build_id(mut notes: &[u8], align: usize) -> Option<String> {
    while notes.len() >= HEADER_BYTES {
        let [name_size, size, kind]: [u32; 3] =
            [0, 4, 8].map(|offset| notes.pread_with(offset, LE).unwrap_or_default());
        let name = notes.get(HEADER_BYTES..)?.get(..name_size as usize)?;
        let start = (HEADER_BYTES + name.len()).next_multiple_of(align);
        let description = notes.get(start..)?.get(..size as usize)?;
        if kind == NT_GNU_BUILD_ID && name == b"GNU\0" {
            return Some(hexadecimal(description));
        }
        notes = notes.get((start + description.len()).next_multiple_of(align)..)?;
    }
    None
}

/// `bytes` as lower-case hexadecimal digits.
pub(super) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string does not fail");
        text
    })
}
