//! One address: which function and which line it belongs to.

use std::ops::Range;

use gimli::{DebuggingInformationEntry, constants as dw};

use super::units::Units;
use crate::address::Svma;

/// Ranges of one unit at the most: there may be one for each function.
const MAX_RANGES: usize = 1 << 20;
/// Ranges before an address that are looked at for one that reaches it.
const MAX_OVERLAP: usize = 64;

impl Units<'_> {
    /// The unit whose code `address` is in.
    pub(super) fn unit_at(&self, address: Svma) -> Option<u32> {
        let index = self.by_address.get_or_init(|| self.index_by_address());
        let after = index.partition_point(|(range, _)| range.start <= address);
        // Ranges may overlap in a damaged or oddly linked file: the nearest few are enough for all others.
        let near = index[..after].iter().rev().take(MAX_OVERLAP);
        near.filter(|(range, _)| range.contains(&address)).map(|&(_, unit)| unit).next()
    }

    /// The code of all units, by address.
    fn index_by_address(&self) -> Vec<(Range<Svma>, u32)> {
        let ranges_of = |unit| {
            let parsed = &self.get(unit).unit;
            let root = parsed.entry(parsed.header.root_offset()).ok();
            let ranges = root.map(|root| self.ranges_of(unit, &root).take(MAX_RANGES));
            ranges.into_iter().flatten().map(move |range| (range, unit))
        };
        let mut index: Vec<_> = self.numbers().flat_map(ranges_of).collect();
        index.sort_by_key(|(range, unit)| (range.start, range.end, *unit));
        index
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
