//! Call frame information: sections in, where the caller's frame is at an address out (DWARF 5, 6.4).

use std::collections::HashMap;
use std::collections::hash_map::Entry::{Occupied, Vacant};
use std::hash::Hash;

use gimli::{BaseAddresses, CfaRule, CieOrFde, DebugFrame, EhFrame, LittleEndian, UnwindContext, UnwindSection};

use super::units::Slice;
use crate::address::Svma;
use crate::binary::{Binary, Machine, SectionBytes};

/// The sections with call frame information: `.eh_frame` of the program, `.debug_frame` of its debug info.
#[derive(Clone, Debug, Default)]
pub(super) struct FrameSections {
    eh_frame: SectionBytes,
    debug_frame: SectionBytes,
    addresses: [Option<Svma>; 3],
}

impl FrameSections {
    /// What cannot be read counts as missing: frames then have no known size, which is data.
    pub(super) fn load(binary: &Binary, debug_file: &Binary) -> Self {
        let read = |file: &Binary, name| file.section(name).ok().flatten().unwrap_or_default();
        let addresses = [".eh_frame", ".text", ".got"].map(|name| binary.section_address(name));
        Self { eh_frame: read(binary, ".eh_frame"), debug_frame: read(debug_file, ".debug_frame"), addresses }
    }
}

/// Call frame information by address.
#[derive(Debug)]
pub(super) struct Frames<'a> {
    eh_frame: Indexed<EhFrame<Slice<'a>>>,
    debug_frame: Indexed<DebugFrame<Slice<'a>>>,
    bases: BaseAddresses,
    stack_pointer: u16,
}

impl<'a> Frames<'a> {
    pub(super) fn parse(sections: &'a FrameSections, machine: Machine) -> Self {
        let [eh_frame, text, got] = sections.addresses.map(|address| address.unwrap_or_default().0);
        let bases = BaseAddresses::default().set_eh_frame(eh_frame).set_text(text).set_got(got);
        let mut debug_frame = DebugFrame::new(&sections.debug_frame, LittleEndian);
        debug_frame.set_address_size(8);
        let mut eh_section = EhFrame::new(&sections.eh_frame, LittleEndian);
        eh_section.set_address_size(8);
        Self {
            eh_frame: Indexed::new(eh_section, &bases),
            debug_frame: Indexed::new(debug_frame, &bases),
            bases,
            // DWARF register numbers: x86-64 psABI, figure 3.36; DWARF for the Arm 64-bit Architecture, 4.1.
            stack_pointer: match machine {
                Machine::X86_64 => 7,
                Machine::Aarch64 => 31,
            },
        }
    }

    /// CFA minus stack pointer at `address`; `None` where it is not known, or not of this form.
    pub(super) fn cfa_offset_at(&self, address: Svma) -> Option<i64> {
        let rule =
            self.eh_frame.cfa_at(&self.bases, address).or_else(|| self.debug_frame.cfa_at(&self.bases, address))?;
        match rule {
            CfaRule::RegisterAndOffset { register, offset } if register.0 == self.stack_pointer => Some(offset),
            _ => None,
        }
    }
}

/// A section whose frame descriptions can be found without walking all of it for each address.
#[derive(Debug)]
struct Indexed<S> {
    section: S,
    /// First address, end and offset in the section of each description, by address.
    entries: Vec<(u64, u64, usize)>,
}

impl<S> Indexed<S> {
    /// Walks the section once. Damage ends the walk.
    fn new<'a>(section: S, bases: &BaseAddresses) -> Self
    where
        S: UnwindSection<Slice<'a>>,
        S::Offset: Hash,
    {
        let mut entries = Vec::new();
        let mut common = HashMap::new();
        let mut iter = section.entries(bases);
        while let Ok(Some(entry)) = iter.next() {
            let CieOrFde::Fde(partial) = entry else { continue };
            let description = partial.parse(|section, bases, offset| match common.entry(offset) {
                Occupied(known) => Ok(Clone::clone(known.get())),
                Vacant(new) => Ok(new.insert(section.cie_from_offset(bases, offset)?).clone()),
            });
            if let Ok(description) = description {
                entries.push((description.initial_address(), description.end_address(), partial.offset()));
            }
        }
        entries.sort_unstable();
        Self { section, entries }
    }

    fn cfa_at<'a>(&self, bases: &BaseAddresses, address: Svma) -> Option<CfaRule<usize>>
    where
        S: UnwindSection<Slice<'a>>,
    {
        let after = self.entries.partition_point(|&(start, ..)| start <= address.0);
        let &(_, end, offset) = self.entries.get(after.checked_sub(1)?)?;
        (address.0 < end).then_some(())?;
        let description = self.section.fde_from_offset(bases, offset.into(), S::cie_from_offset).ok()?;
        let mut context = UnwindContext::new();
        let row = description.unwind_info_for_address(&self.section, bases, &mut context, address.0).ok()?;
        Some(row.cfa().clone())
    }
}
