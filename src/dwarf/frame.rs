//! Call frame information: sections in, where the caller's frame is at an address out (DWARF 5, 6.4).

use std::collections::HashMap;
use std::collections::hash_map::Entry::{Occupied, Vacant};
use std::hash::Hash;
use std::sync::OnceLock;

use gimli::{
    BaseAddresses, CieOrFde, DebugFrame, EhFrame, EhFrameHdr, EhFrameOffset, FrameDescriptionEntry, LittleEndian,
    ParsedEhFrameHdr, UnwindContext, UnwindSection,
};

use super::units::Slice;
use super::unwind::{CfaRule, UnwindRow};
use crate::address::Svma;
use crate::binary::{Binary, Machine, SectionBytes};

/// The sections with call frame information: `.eh_frame` of the program, `.debug_frame` of its debug info.
#[derive(Clone, Debug, Default)]
pub(super) struct FrameSections {
    eh_frame: SectionBytes,
    eh_frame_hdr: SectionBytes,
    debug_frame: SectionBytes,
    addresses: [Option<Svma>; 4],
}

impl FrameSections {
    /// What cannot be read counts as missing: frames then have no known size, which is data.
    pub(super) fn load(binary: &Binary, debug_file: &Binary) -> Self {
        let read = |file: &Binary, name| file.section(name).ok().flatten().unwrap_or_default();
        let addresses = [".eh_frame", ".eh_frame_hdr", ".text", ".got"].map(|name| binary.section_address(name));
        Self {
            eh_frame: read(binary, ".eh_frame"),
            eh_frame_hdr: read(binary, ".eh_frame_hdr"),
            debug_frame: read(debug_file, ".debug_frame"),
            addresses,
        }
    }
}

/// Call frame information by address.
#[derive(Debug)]
pub(super) struct Frames<'a> {
    eh_frame: Indexed<EhFrame<Slice<'a>>>,
    eh_frame_address: Svma,
    /// The linker's own index of `.eh_frame`.
    header: Option<ParsedEhFrameHdr<Slice<'a>>>,
    debug_frame: Indexed<DebugFrame<Slice<'a>>>,
    bases: BaseAddresses,
    stack_pointer: u16,
}

impl<'a> Frames<'a> {
    pub(super) fn parse(sections: &'a FrameSections, machine: Machine) -> Self {
        let [eh_frame, header, text, got] = sections.addresses.map(|address| address.unwrap_or_default().0);
        let bases =
            BaseAddresses::default().set_eh_frame(eh_frame).set_eh_frame_hdr(header).set_text(text).set_got(got);
        let mut debug_frame = DebugFrame::new(&sections.debug_frame, LittleEndian);
        debug_frame.set_address_size(8);
        let mut eh_section = EhFrame::new(&sections.eh_frame, LittleEndian);
        eh_section.set_address_size(8);
        Self {
            eh_frame: Indexed::new(eh_section),
            eh_frame_address: Svma(eh_frame),
            header: EhFrameHdr::new(&sections.eh_frame_hdr, LittleEndian).parse(&bases, 8).ok(),
            debug_frame: Indexed::new(debug_frame),
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
        match self.row_at(address)?.cfa {
            CfaRule::Register(register, offset) if register == self.stack_pointer => Some(offset),
            _ => None,
        }
    }

    /// DWARF number of the stack pointer.
    pub(super) fn stack_pointer(&self) -> u16 {
        self.stack_pointer
    }

    /// How to get from `address` to its caller.
    pub(super) fn row_at(&self, address: Svma) -> Option<UnwindRow<'a>> {
        let listed = self.in_header(address);
        let described = listed.and_then(|description| self.eh_frame.row_of(&self.bases, &description, address));
        described
            .or_else(|| self.eh_frame.row_at(&self.bases, address))
            .or_else(|| self.debug_frame.row_at(&self.bases, address))
    }

    /// The description of `address` that the linker's index leads to: without it, all of the section would have to be read first.
    fn in_header(&self, address: Svma) -> Option<FrameDescriptionEntry<Slice<'a>>> {
        let table = self.header.as_ref()?.table()?;
        let pointer = table.lookup(address.0, &self.bases).ok()?;
        let offset = pointer.direct().ok()?.checked_sub(self.eh_frame_address.0)?;
        let offset = EhFrameOffset(usize::try_from(offset).ok()?);
        let found = self.eh_frame.section.fde_from_offset(&self.bases, offset, EhFrame::cie_from_offset).ok()?;
        found.contains(address.0).then_some(found)
    }
}

/// A section whose frame descriptions can be found without walking all of it for each address.
#[derive(Debug)]
struct Indexed<S> {
    section: S,
    /// First address, end and offset in the section of each description, by address.
    entries: OnceLock<Vec<(u64, u64, usize)>>,
}

impl<S> Indexed<S> {
    fn new(section: S) -> Self {
        Self { section, entries: OnceLock::new() }
    }

    /// Walks the section, once. Damage ends the walk.
    fn entries<'a>(&self, bases: &BaseAddresses) -> &[(u64, u64, usize)]
    where
        S: UnwindSection<Slice<'a>>,
        S::Offset: Hash,
    {
        self.entries.get_or_init(|| {
            let mut entries = Vec::new();
            let mut common = HashMap::new();
            let mut iter = self.section.entries(bases);
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
            entries
        })
    }

    fn row_at<'a>(&self, bases: &BaseAddresses, address: Svma) -> Option<UnwindRow<'a>>
    where
        S: UnwindSection<Slice<'a>>,
        S::Offset: Hash,
    {
        let entries = self.entries(bases);
        let after = entries.partition_point(|&(start, ..)| start <= address.0);
        let &(_, end, offset) = entries.get(after.checked_sub(1)?)?;
        (address.0 < end).then_some(())?;
        let description = self.section.fde_from_offset(bases, offset.into(), S::cie_from_offset).ok()?;
        self.row_of(bases, &description, address)
    }

    fn row_of<'a>(
        &self,
        bases: &BaseAddresses,
        description: &FrameDescriptionEntry<Slice<'a>>,
        address: Svma,
    ) -> Option<UnwindRow<'a>>
    where
        S: UnwindSection<Slice<'a>>,
    {
        let mut context = UnwindContext::new();
        let row = description.unwind_info_for_address(&self.section, bases, &mut context, address.0).ok()?;
        UnwindRow::of(&self.section, description, row)
    }
}
