//! What was mapped where an access failed.

use lastwords_abi::Fault;
use lastwords_abi::record::MAPPING_FOUND;

use crate::crash::text::Text;
use crate::report::{Address, FaultMapping};

/// `vm_flags` (include/linux/mm.h).
pub const VM_READ: u64 = 1;
pub const VM_WRITE: u64 = 2;
pub const VM_EXEC: u64 = 4;
const VM_SHARED: u64 = 8;

const PAGE_BYTES: u64 = 4096;

/// The mapping as a report has it; `None` where none was found.
pub fn describe(fault: &Fault) -> Option<FaultMapping> {
    let mapping = &fault.mapping;
    let is_file = mapping.is_file != 0;
    (mapping.state == MAPPING_FOUND).then(|| FaultMapping {
        start: Address(mapping.start),
        end: Address(mapping.end),
        permissions: permissions(mapping.flags),
        file: is_file.then(|| Text::until_nul(&mapping.name).text),
        file_bytes: is_file.then_some(mapping.file_bytes),
        file_offset: is_file.then(|| mapping.page_offset.saturating_mul(PAGE_BYTES)),
        contains_address: (mapping.start..mapping.end).contains(&fault.address),
    })
}

fn permissions(flags: u64) -> String {
    let letter = |flag: u64, letter: char| if flags & flag != 0 { letter } else { '-' };
    let sharing = if flags & VM_SHARED != 0 { 's' } else { 'p' };
    [letter(VM_READ, 'r'), letter(VM_WRITE, 'w'), letter(VM_EXEC, 'x'), sharing].iter().collect()
}

/// Whether the address lies in a mapping that permits nothing at all; `None` where the mapping is not known.
pub fn permits_nothing(fault: &Fault) -> Option<bool> {
    let mapping = describe(fault).filter(|mapping| mapping.contains_address)?;
    Some(mapping.permissions.starts_with("---"))
}

/// How far behind the end of a mapping the address lies, if nothing else lies in between.
pub fn behind_end(fault: &Fault) -> Option<(FaultMapping, u64)> {
    let mapping = describe(fault)?;
    let distance = fault.address.checked_sub(mapping.end.0)?;
    (distance < PAGE_BYTES).then_some((mapping, distance))
}
