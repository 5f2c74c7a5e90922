//! One address: which function and which line it belongs to.

use gimli::{DebuggingInformationEntry, constants as dw};

use super::units::Units;
use crate::address::Svma;

/// Ranges of one unit at the most: there may be one for each function.
const MAX_RANGES: usize = 1 << 20;

impl Units<'_> {
    /// The unit whose code `address` is in.
    pub(super) fn unit_at(&self, address: Svma) -> Option<u32> {
        self.numbers().find(|&unit| {
            let parsed = &self.get(unit).unit;
            let root = parsed.entry(parsed.header.root_offset()).ok();
            root.is_some_and(|root| self.ranges_of(unit, &root).take(MAX_RANGES).any(|range| range.contains(&address)))
        })
    }

    /// The entry of the function of this unit whose code `address` is in.
    pub(super) fn function_at(&self, unit: u32, address: Svma) -> Option<Svma> {
        let mut raw = self.get(unit).unit.entries_raw(None).ok()?;
        let mut entry = DebuggingInformationEntry::null();
        while !raw.is_empty() {
            let is_entry = raw.read_entry(&mut entry).ok()?;
            if is_entry && entry.tag == dw::DW_TAG_subprogram {
                let ranges = super::listing::code_of(self, unit, &entry);
                if ranges.iter().any(|range| range.contains(&address)) {
                    return ranges.first().map(|range| range.start);
                }
            }
        }
        None
    }
}
