//! Which types a value may really be of that is described as a base class, or as a trait's object: units in; classes with virtual functions by the
//! names of their bases, and Rust's tables of methods by their traits, out.

use std::collections::HashMap;

use gimli::{DebuggingInformationEntry, Operation, constants as dw};
use rayon::prelude::*;

use super::function::Language;
use super::units::{DieRef, Entry, Units};
use crate::address::Svma;

/// What rustc calls a table of methods, and its type.
const TABLE: &str = "::{vtable}";

/// All of a file.
#[derive(Debug, Default)]
pub(super) struct Heirs {
    /// Classes by the names of what they inherit from, without namespaces.
    pub(super) classes: HashMap<String, Vec<Derived>>,
    /// Rust's tables.
    pub(super) tables: Vec<MethodTable>,
}

/// A class and one of its bases.
#[derive(Clone, Copy, Debug)]
pub(super) struct Derived {
    /// The class.
    pub(super) class: DieRef,
    /// What it inherits from.
    pub(super) base: DieRef,
    /// Where in its objects that lies.
    pub(super) at: u64,
}

/// The methods of one type for one trait.
#[derive(Clone, Debug)]
pub(super) struct MethodTable {
    /// `<kinds::Square as kinds::Shape>::{vtable}`.
    pub(super) name: String,
    /// Where it lies.
    pub(super) address: Svma,
    /// The type whose methods they are.
    pub(super) of: DieRef,
}

impl MethodTable {
    /// Whether it may be one for objects of `dyn TRAIT`: what the trait was given is spelled in two ways, and left out here.
    pub(super) fn is_for(&self, object: &str) -> bool {
        let Some(wanted) = object.strip_prefix("dyn ") else { return false };
        let end = wanted.find(['<', '+', ' ']).unwrap_or(wanted.len());
        let wanted = format!(" as {}", &wanted[..end]);
        let found = self.name.rfind(&wanted).map(|at| &self.name[at + wanted.len()..]);
        found.is_some_and(|behind| behind.starts_with(['<', '>']))
    }
}

impl Heirs {
    /// Walks through all units.
    pub(super) fn collect(units: &Units<'_>) -> Self {
        let numbers: Vec<u32> = units.numbers().collect();
        let found: Vec<Self> = numbers.into_par_iter().map(|unit| Self::in_unit(units, unit)).collect();
        let mut all = Self::default();
        for Self { classes, tables } in found {
            classes.into_iter().for_each(|(base, heirs)| all.classes.entry(base).or_default().extend(heirs));
            all.tables.extend(tables);
        }
        all
    }

    fn in_unit(units: &Units<'_>, unit: u32) -> Self {
        let mut heirs = Self::default();
        let language = units.get(unit).language;
        if !matches!(language, Language::Cpp | Language::Rust) {
            return heirs;
        }
        let Ok(mut raw) = units.get(unit).unit.entries_raw(None) else { return heirs };
        let mut entry = DebuggingInformationEntry::null();
        while !raw.is_empty() {
            let depth = raw.next_depth();
            entry.offset = raw.next_offset();
            // Damage ends the walk: what comes after it cannot be told from anything.
            let Ok(abbreviation) = raw.read_abbreviation() else { break };
            let Some(abbreviation) = abbreviation else { continue };
            let has = |name| abbreviation.attributes().iter().any(|attribute| attribute.name() == name);
            let is_wanted = match (language, abbreviation.tag()) {
                (Language::Cpp, dw::DW_TAG_structure_type | dw::DW_TAG_class_type) => has(dw::DW_AT_containing_type),
                (Language::Rust, dw::DW_TAG_variable) => depth == 1 && has(dw::DW_AT_location),
                _ => false,
            };
            let read = match is_wanted {
                true => raw.read_attributes(abbreviation.attributes(), &mut entry.attrs),
                false => raw.skip_attributes(abbreviation.attributes()),
            };
            match (read, is_wanted) {
                (Err(_), _) => break,
                (Ok(()), false) => {}
                (Ok(()), true) if language == Language::Cpp => {
                    heirs.add_class(units, DieRef { unit, offset: entry.offset.0 })
                }
                (Ok(()), true) => heirs.tables.extend(table(units, unit, &entry)),
            }
        }
        heirs
    }

    /// Virtual bases are left out: where they lie depends on the object.
    fn add_class(&mut self, units: &Units<'_>, class: DieRef) {
        for (die, child) in units.children(class).iter().filter(|(_, child)| child.tag == dw::DW_TAG_inheritance) {
            let at = child.attr_value(dw::DW_AT_data_member_location).and_then(|at| at.udata_value());
            let base = units.type_of(die.unit, child);
            let name = base.and_then(|base| Some(units.name_of(base.unit, &units.entry(base)?)?.to_owned()));
            if let (Some(at), Some(base), Some(name)) = (at, base, name) {
                self.classes.entry(name).or_default().push(Derived { class, base, at });
            }
        }
    }
}

fn table<'a>(units: &Units<'a>, unit: u32, entry: &Entry<'a>) -> Option<MethodTable> {
    let name = units.name_of(unit, entry).filter(|name| name.ends_with(TABLE))?;
    let mut place = entry.attr_value(dw::DW_AT_location)?.exprloc_value()?.operations(units.get(unit).unit.encoding());
    let address = match place.next().ok()?? {
        Operation::Address { address } => Svma(address),
        Operation::AddressIndex { index } => units.address(unit, gimli::AttributeValue::DebugAddrIndex(index))?,
        _ => return None,
    };
    let ty = units.type_of(unit, entry)?;
    let of = units.resolve(ty.unit, units.entry(ty)?.attr_value(dw::DW_AT_containing_type)?)?;
    Some(MethodTable { name: name.to_owned(), address, of })
}
