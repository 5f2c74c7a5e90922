//! One address: the function whose code it is in, and the functions that were inlined there, with their lines (DWARF 5, 3.3.8).

use gimli::{AttributeValue, DebuggingInformationEntry, constants as dw};

use super::function::{Language, SourcePosition};
use super::listing::{chain, code_of};
use super::names::{Scopes, demangle};
use super::units::{DieRef, Entry, Units};
use crate::address::Svma;

/// Functions inlined into each other at one address at the most.
const MAX_DEPTH: usize = 128;

/// A function that is being executed at an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Activation {
    /// Demangled, without parameters; `None` where debug info does not name it.
    pub name: Option<String>,
    /// What the linker calls it, as far as debug info says so.
    pub symbol: Option<String>,
    /// Where it stands: for all but the innermost, at the call that was inlined.
    pub position: Option<SourcePosition>,
    /// Its code was inlined into the next one's.
    pub is_inlined: bool,
    /// Its first instruction; `None` for an inlined one.
    pub entry: Option<Svma>,
    /// Where it is described.
    pub die: DieRef,
}

impl<'a> Units<'a> {
    /// What is being executed at `address`, which is in `unit`: the innermost function first, the one that has the code last.
    pub(super) fn activations_at(&self, unit: u32, address: Svma) -> Vec<Activation> {
        // An assembler knows where its functions are, but calls them by names that the symbol table may know better.
        if self.get(unit).language == Language::Assembly {
            return Vec::new();
        }
        let entries = self.entries_around(unit, address);
        let mut position = self.position_of(unit, address);
        let mut activations = Vec::new();
        for entry in entries.iter().rev() {
            let is_inlined = entry.tag == dw::DW_TAG_inlined_subroutine;
            let here = position.take();
            if is_inlined {
                position = self.call_position(unit, entry);
            }
            activations.push(self.activation(unit, entry, here, is_inlined));
        }
        activations
    }

    /// The function of `unit` with code at `address`.
    pub(super) fn function_around(&self, unit: u32, address: Svma) -> Option<(DieRef, Entry<'a>)> {
        let entry = self.entries_around(unit, address).into_iter().next()?;
        Some((DieRef { unit, offset: entry.offset.0 }, entry))
    }

    /// The entry of the function with code at `address`, and those of the inlined functions below it that have, outermost first.
    fn entries_around(&self, unit: u32, address: Svma) -> Vec<Entry<'a>> {
        let Ok(mut raw) = self.get(unit).unit.entries_raw(None) else { return Vec::new() };
        let mut found: Vec<Entry<'a>> = Vec::new();
        let mut function_depth = 0;
        let mut entry = DebuggingInformationEntry::null();
        while !raw.is_empty() && found.len() < MAX_DEPTH {
            let depth = raw.next_depth();
            if !found.is_empty() && depth <= function_depth {
                break;
            }
            entry.offset = raw.next_offset();
            let Ok(abbreviation) = raw.read_abbreviation() else { break };
            let Some(abbreviation) = abbreviation else { continue };
            let wanted = if found.is_empty() { dw::DW_TAG_subprogram } else { dw::DW_TAG_inlined_subroutine };
            if abbreviation.tag() != wanted {
                if raw.skip_attributes(abbreviation.attributes()).is_err() {
                    break;
                }
                continue;
            }
            entry.tag = abbreviation.tag();
            entry.has_children = abbreviation.has_children();
            if raw.read_attributes(abbreviation.attributes(), &mut entry.attrs).is_err() {
                break;
            }
            if self.ranges_of(unit, &entry).take(MAX_RANGES).any(|range| range.contains(&address)) {
                if found.is_empty() {
                    function_depth = depth;
                }
                found.push(entry.clone());
            }
        }
        found
    }

    fn activation(
        &self,
        unit: u32,
        entry: &Entry<'a>,
        position: Option<SourcePosition>,
        is_inlined: bool,
    ) -> Activation {
        let die = DieRef { unit, offset: entry.offset.0 };
        let chain = chain(self, die, entry);
        let (name, symbol) = self.names_of(&chain);
        let entry = if is_inlined { None } else { code_of(self, unit, entry).first().map(|range| range.start) };
        Activation { name, symbol, position, is_inlined, entry, die }
    }

    /// The name for people and the linker's.
    fn names_of(&self, chain: &[(DieRef, Entry<'a>)]) -> (Option<String>, Option<String>) {
        let linkage = chain.iter().find_map(|(die, entry)| {
            let value =
                entry.attr_value(dw::DW_AT_linkage_name).or_else(|| entry.attr_value(dw::DW_AT_MIPS_linkage_name))?;
            self.string(die.unit, value).filter(|name| !name.is_empty())
        });
        if let Some(name) = linkage.and_then(demangle) {
            return (Some(name), linkage.map(str::to_owned));
        }
        let Some((die, name)) = chain.iter().find_map(|(die, entry)| Some((*die, self.name_of(die.unit, entry)?)))
        else {
            return (linkage.map(str::to_owned), linkage.map(str::to_owned));
        };
        let symbol = linkage.unwrap_or(name).to_owned();
        // What has no linkage name is C, or visible in its own unit only: then it may still be in a namespace.
        if linkage.is_none() && matches!(self.get(die.unit).language, Language::Cpp | Language::Rust) {
            let declared =
                chain.iter().rev().find(|(other, _)| other.unit == die.unit).map_or(die, |(other, _)| *other);
            return (Some(Scopes::of_unit(self, die.unit).qualify(declared.offset, name)), Some(symbol));
        }
        (Some(name.to_owned()), Some(symbol))
    }

    /// Where the call stood that was inlined (DWARF 5, 3.3.8.2).
    fn call_position(&self, unit: u32, entry: &Entry<'a>) -> Option<SourcePosition> {
        let number = |name| match entry.attr_value(name)? {
            AttributeValue::FileIndex(index) => Some(index),
            value => value.udata_value(),
        };
        let small = |name| number(name).and_then(|value| u32::try_from(value).ok()).filter(|value| *value > 0);
        Some(SourcePosition {
            file: self.file_path(unit, number(dw::DW_AT_call_file)?)?,
            line: small(dw::DW_AT_call_line)?,
            column: small(dw::DW_AT_call_column),
        })
    }
}

/// Ranges of one function at the most.
const MAX_RANGES: usize = 256;
