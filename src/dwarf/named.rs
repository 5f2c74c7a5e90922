//! The name of a type in; its description out, wherever in the file that is.

use gimli::{DebuggingInformationEntry, constants as dw};
use rayon::prelude::*;

use super::DebugInfo;
use super::function::Language;
use super::spelling::Speller;
use super::type_builder::TypeBuilder;
use super::types::{TypeId, TypeTable};
use super::units::{DieRef, Units};

impl DebugInfo<'_> {
    /// The C++ type that a demangled symbol calls `name`, added to `types`. Reads through the units until one describes it.
    #[must_use]
    pub fn type_named(&self, name: &str, types: &mut TypeTable) -> Option<TypeId> {
        let numbers: Vec<u32> = self.units.numbers().collect();
        let die = numbers.into_par_iter().find_map_first(|unit| find_in_unit(&self.units, unit, name))?;
        let mut builder = TypeBuilder::new(&self.units, &self.heirs, types);
        let id = builder.id_of(die, 0);
        builder.finish();
        Some(id)
    }
}

fn find_in_unit(units: &Units<'_>, unit: u32, name: &str) -> Option<DieRef> {
    if units.get(unit).language != Language::Cpp {
        return None;
    }
    let (wanted, last) = (comparable(name), last_part(name));
    let mut speller = Speller::new(units);
    let mut raw = units.get(unit).unit.entries_raw(None).ok()?;
    let mut entry = DebuggingInformationEntry::null();
    while !raw.is_empty() {
        // Damage ends the walk: what comes after it cannot be told from anything.
        if !raw.read_entry(&mut entry).ok()? || !is_value_type(entry.tag) || entry.has_attr(dw::DW_AT_declaration) {
            continue;
        }
        let short = units.name_of(unit, &entry).map(without_arguments);
        let die = DieRef { unit, offset: entry.offset.0 };
        if short == Some(last) && comparable(&speller.spell(die)) == wanted {
            return Some(die);
        }
    }
    None
}

fn is_value_type(tag: gimli::DwTag) -> bool {
    matches!(
        tag,
        dw::DW_TAG_structure_type
            | dw::DW_TAG_class_type
            | dw::DW_TAG_union_type
            | dw::DW_TAG_enumeration_type
            | dw::DW_TAG_base_type
    )
}

/// Compilers and demanglers differ in spaces, and debug info leaves out inline namespaces.
fn comparable(name: &str) -> String {
    name.chars()
        .filter(|c| !c.is_whitespace())
        .collect::<String>()
        .replace("::__cxx11::", "::")
        .replace("::__1::", "::")
}

/// `error`, from `shop::error<std::string>`.
fn last_part(name: &str) -> &str {
    let name = without_arguments(name);
    name.rsplit("::").next().unwrap_or(name)
}

fn without_arguments(name: &str) -> &str {
    name.split('<').next().unwrap_or(name)
}
