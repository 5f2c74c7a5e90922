//! Location lists: an attribute in, its expressions and the addresses at which each holds out (DWARF 5, 2.6.2).

use gimli::{AttributeValue, Expression, RawLocListEntry};

use super::units::{Slice, Units, Value};
use crate::address::Svma;

/// Entries of one location list that are looked at.
const MAX_ENTRIES: usize = 1 << 12;

/// What debug info says of a value at one address.
pub(super) struct Stated<'a> {
    pub(super) expression: Expression<Slice<'a>>,
    pub(super) scope: Scope,
}

/// For which instructions that is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// For all of the function: it is no list.
    Everywhere,
    /// For the address that was asked for.
    Here,
    /// Not for that address, but from this one behind it on.
    From(Svma),
}

/// Where an entry holds.
#[derive(Clone, Copy)]
enum Extent {
    Addresses(u64, u64),
    /// Where no other does (`DW_LLE_default_location`).
    Elsewhere,
}

impl<'a> Units<'a> {
    /// What `value` says at `address`; `None` where it says nothing for that address or any behind it.
    pub(super) fn stated_at(
        &self,
        unit: u32,
        value: Value<'a>,
        address: Svma,
    ) -> Result<Option<Stated<'a>>, &'static str> {
        let everywhere = |expression| Ok(Some(Stated { expression, scope: Scope::Everywhere }));
        match value {
            AttributeValue::Exprloc(expression) => return everywhere(expression),
            AttributeValue::Block(bytes) => return everywhere(Expression(bytes)),
            _ => {}
        }
        let mut default = None;
        let mut later: Option<(u64, Expression<Slice<'a>>)> = None;
        for (extent, expression) in self.entries(unit, value)? {
            match extent {
                Extent::Elsewhere => default = Some(Stated { expression, scope: Scope::Here }),
                // An entry without any address is gcc's: what holds at `begin` before its first assignments there, which no
                // instruction shows. Its list names the assigned value for the same address, behind this one.
                Extent::Addresses(begin, end) if (begin..end.max(begin.saturating_add(1))).contains(&address.0) => {
                    return Ok(Some(Stated { expression, scope: Scope::Here }));
                }
                Extent::Addresses(begin, end) => {
                    if address.0 < begin && begin < end && later.as_ref().is_none_or(|(first, _)| begin < *first) {
                        later = Some((begin, expression));
                    }
                }
            }
        }
        let later = later.map(|(begin, expression)| Stated { expression, scope: Scope::From(Svma(begin)) });
        Ok(default.or(later))
    }

    /// The expression that holds at `address`, and whether that is so in all of the function; `None` where there is none.
    pub(super) fn expression_at(
        &self,
        unit: u32,
        value: Value<'a>,
        address: Svma,
    ) -> Result<Option<(Expression<Slice<'a>>, bool)>, &'static str> {
        match value {
            AttributeValue::Exprloc(expression) => return Ok(Some((expression, true))),
            AttributeValue::Block(bytes) => return Ok(Some((Expression(bytes), true))),
            _ => {}
        }
        let mut default = None;
        for (extent, expression) in self.entries(unit, value)? {
            match extent {
                Extent::Elsewhere => default = Some((expression, false)),
                Extent::Addresses(begin, end) if (begin..end).contains(&address.0) => {
                    return Ok(Some((expression, false)));
                }
                Extent::Addresses(..) => {}
            }
        }
        Ok(default)
    }

    /// The entries of a list. Those of code that the linker dropped lie at addresses that no function has.
    fn entries(&self, unit: u32, value: Value<'a>) -> Result<Vec<(Extent, Expression<Slice<'a>>)>, &'static str> {
        let damaged = |_| "its location list is damaged";
        let (dwarf, unit) = (self.dwarf_of(unit), &self.get(unit).unit);
        let offset = dwarf.attr_locations_offset(unit, value).map_err(damaged)?;
        let list = dwarf.raw_locations(unit, offset.ok_or("its location has an unknown form")?).map_err(damaged)?;
        let address = |index| dwarf.address(unit, index).map_err(damaged);
        let mut base = unit.low_pc;
        let mut entries = Vec::new();
        for entry in list.take(MAX_ENTRIES) {
            let (begin, end, data) = match entry.map_err(damaged)? {
                RawLocListEntry::BaseAddress { addr } => {
                    base = addr;
                    continue;
                }
                RawLocListEntry::BaseAddressx { addr } => {
                    base = address(addr)?;
                    continue;
                }
                RawLocListEntry::DefaultLocation { data } => {
                    entries.push((Extent::Elsewhere, data));
                    continue;
                }
                RawLocListEntry::AddressOrOffsetPair { begin, end, data }
                | RawLocListEntry::OffsetPair { begin, end, data } => {
                    (base.checked_add(begin), base.checked_add(end), data)
                }
                RawLocListEntry::StartEnd { begin, end, data } => (Some(begin), Some(end), data),
                RawLocListEntry::StartLength { begin, length, data } => (Some(begin), begin.checked_add(length), data),
                RawLocListEntry::StartxEndx { begin, end, data } => (Some(address(begin)?), Some(address(end)?), data),
                RawLocListEntry::StartxLength { begin, length, data } => {
                    let begin = address(begin)?;
                    (Some(begin), begin.checked_add(length), data)
                }
            };
            if let (Some(begin), Some(end)) = (begin, end) {
                entries.push((Extent::Addresses(begin, end), data));
            }
        }
        Ok(entries)
    }
}
