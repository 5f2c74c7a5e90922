//! The light pass: units in; the functions that have code, with their names and where they are declared, out.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use gimli::{DebuggingInformationEntry, constants as dw};
use rayon::prelude::*;

use super::function::Language;
use super::names::{Scopes, demangle};
use super::units::{DieRef, Entry, Units};
use crate::address::Svma;
use crate::binary::{Binary, FunctionSymbol};

/// `DW_AT_abstract_origin` and `DW_AT_specification` in a row at the most: compilers make two.
pub(super) const MAX_CHAIN: usize = 16;

/// Ranges of one function at the most: compilers make two.
const MAX_RANGES: usize = 256;

/// A function with code of its own, as far as one must know it to choose.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Demangled, without parameters.
    pub name: String,
    /// The linker's name.
    pub symbol: String,
    /// The file and the line where it is declared.
    pub declared: Option<(Arc<Path>, u32)>,
    /// Which language it is written in.
    pub language: Language,
    /// Its first instruction.
    pub entry: Svma,
    /// The compiler made it: there is nothing in the source (`DW_AT_artificial`).
    pub artificial: bool,
    /// The names of others that share its code: linkers fold functions that are the same (identical code folding).
    pub folded: Vec<String>,
    /// Where it is described.
    pub die: DieRef,
}

/// All functions that have code in `binary`, each entry once, by address.
pub(super) fn list<'a>(units: &Units<'a>, binary: &Binary, symbols: &[FunctionSymbol]) -> Vec<Listed> {
    let numbers: Vec<u32> = units.numbers().collect();
    let in_unit = |unit| Lister { units, binary, symbols, unit, files: HashMap::new(), scopes: None }.list();
    let mut functions: Vec<Listed> = numbers.into_par_iter().flat_map_iter(in_unit).collect();
    // The same code may be described in many units (templates, inline functions): they agree, and the first one will do.
    functions.sort_by_key(|function| function.entry);
    functions.dedup_by(|later, first| {
        let is_same = later.entry == first.entry;
        if is_same && later.name != first.name && !first.folded.contains(&later.name) {
            first.folded.push(std::mem::take(&mut later.name));
        }
        is_same
    });
    functions
}

/// Where the entry of a function is: the ranges of its code, of which the first begins with it.
pub(super) fn code_of<'a>(units: &Units<'a>, unit: u32, entry: &Entry<'a>) -> Vec<std::ops::Range<Svma>> {
    let mut ranges: Vec<_> = units.ranges_of(unit, entry).take(MAX_RANGES).collect();
    let stated = entry.attr_value(dw::DW_AT_entry_pc).and_then(|value| units.address(unit, value));
    if let Some(at) = stated.and_then(|stated| ranges.iter().position(|range| range.start == stated)) {
        ranges[..=at].rotate_right(1);
    }
    ranges
}

/// The entries that describe a function together: itself, its abstract origin, the declaration that it completes.
pub(super) fn chain<'a>(units: &Units<'a>, die: DieRef, entry: &Entry<'a>) -> Vec<(DieRef, Entry<'a>)> {
    let mut chain: Vec<(DieRef, Entry<'a>)> = vec![(die, entry.clone())];
    while chain.len() < MAX_CHAIN {
        let Some((last, entry)) = chain.last() else { break };
        let link = entry.attr_value(dw::DW_AT_abstract_origin).or_else(|| entry.attr_value(dw::DW_AT_specification));
        let Some(next) = link.and_then(|link| units.resolve(last.unit, link)) else { break };
        let Some(entry) = units.entry(next) else { break };
        chain.push((next, entry));
    }
    chain
}

struct Lister<'l, 'a> {
    units: &'l Units<'a>,
    binary: &'l Binary,
    symbols: &'l [FunctionSymbol<'l>],
    unit: u32,
    files: HashMap<(u32, u64), Option<Arc<Path>>>,
    scopes: Option<Scopes>,
}

impl<'a> Lister<'_, 'a> {
    fn list(mut self) -> Vec<Listed> {
        let mut functions = Vec::new();
        // An assembler knows where its functions are, but nothing of their parameters: the symbol table says as much.
        if self.units.get(self.unit).language == Language::Assembly {
            return functions;
        }
        let Ok(mut raw) = self.units.get(self.unit).unit.entries_raw(None) else { return functions };
        let mut entry = DebuggingInformationEntry::null();
        while !raw.is_empty() {
            entry.offset = raw.next_offset();
            // Damage ends the walk: what comes after it cannot be told from anything.
            let Ok(abbreviation) = raw.read_abbreviation() else { break };
            let Some(abbreviation) = abbreviation else { continue };
            if abbreviation.tag() != dw::DW_TAG_subprogram {
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
            functions.extend(self.function(&entry));
        }
        functions
    }

    fn function(&mut self, entry: &Entry<'a>) -> Option<Listed> {
        if !entry.has_attr(dw::DW_AT_low_pc) && !entry.has_attr(dw::DW_AT_ranges) {
            return None;
        }
        let address = code_of(self.units, self.unit, entry).first()?.start;
        // The linker leaves descriptions of what it dropped, with addresses that are 0 or in no code.
        if address == Svma(0) || !self.binary.is_code(address) {
            return None;
        }
        let die = DieRef { unit: self.unit, offset: entry.offset.0 };
        let chain = chain(self.units, die, entry);
        let (name, symbol) = self.name(&chain, address)?;
        let artificial = chain.iter().any(|(_, entry)| is_flag_set(entry, dw::DW_AT_artificial));
        let declared = self.declared(&chain);
        Some(Listed {
            name,
            symbol,
            declared,
            language: self.units.get(self.unit).language,
            entry: address,
            artificial,
            folded: Vec::new(),
            die,
        })
    }

    /// The name for people and the linker's.
    fn name(&mut self, chain: &[(DieRef, Entry<'a>)], address: Svma) -> Option<(String, String)> {
        let units = self.units;
        let linkage = chain.iter().find_map(|(die, entry)| {
            let value =
                entry.attr_value(dw::DW_AT_linkage_name).or_else(|| entry.attr_value(dw::DW_AT_MIPS_linkage_name))?;
            units.string(die.unit, value).filter(|name| !name.is_empty())
        });
        let named = chain.iter().find_map(|(die, entry)| Some((*die, units.name_of(die.unit, entry)?)));
        let stated = linkage.or(named.map(|(_, name)| name));
        let symbol = self.symbol_at(address, stated)?.to_owned();
        if let Some(name) = linkage.and_then(demangle) {
            return Some((name, symbol));
        }
        let Some((die, name)) = named else {
            return Some((demangle(&symbol).unwrap_or_else(|| symbol.clone()), symbol));
        };
        if linkage.is_none() && die.unit == self.unit && self.may_be_nested(chain) {
            // The last of the chain stands where the function is declared: in its class or namespace.
            let declaration =
                chain.iter().rev().find(|(other, _)| other.unit == self.unit).map_or(die, |(other, _)| *other);
            let scopes = self.scopes.get_or_insert_with(|| Scopes::of_unit(units, self.unit));
            return Some((scopes.qualify(declaration.offset, name), symbol));
        }
        Some((name.to_owned(), symbol))
    }

    /// Whether it may be in a namespace or a class: then it has a declaration there, or is not visible from outside.
    fn may_be_nested(&self, chain: &[(DieRef, Entry<'a>)]) -> bool {
        let language = self.units.get(self.unit).language;
        let is_external = chain.iter().any(|(_, entry)| is_flag_set(entry, dw::DW_AT_external));
        matches!(language, Language::Cpp | Language::Rust) && (chain.len() > 1 || !is_external)
    }

    /// The symbol at the function's entry: the one that the debug info states, or else the first that others can see.
    fn symbol_at<'s>(&'s self, address: Svma, stated: Option<&'s str>) -> Option<&'s str> {
        let start = self.symbols.partition_point(|symbol| symbol.address < address);
        let here = || self.symbols[start..].iter().take_while(|symbol| symbol.address == address);
        let same = here().find(|symbol| Some(symbol.name) == stated);
        let global = || here().find(|symbol| symbol.is_global).or_else(|| here().next());
        same.or_else(global).map(|symbol| symbol.name).or(stated)
    }

    fn declared(&mut self, chain: &[(DieRef, Entry<'a>)]) -> Option<(Arc<Path>, u32)> {
        // A declaration in a class has lines of its own: the definition's count, which come first, but each is written only where
        // it differs (DWARF 5, 3.3.8.3), so file and line are looked for apart.
        let find = |name| chain.iter().find_map(|(die, entry)| Some((die.unit, entry.attr_value(name)?)));
        let (unit, file) = find(dw::DW_AT_decl_file)?;
        let index = match file {
            gimli::AttributeValue::FileIndex(index) => index,
            file => file.udata_value()?,
        };
        let units = self.units;
        let path = self.files.entry((unit, index)).or_insert_with(|| units.file_path(unit, index).map(Arc::from));
        let line = find(dw::DW_AT_decl_line)?.1.udata_value()?;
        Some((Arc::clone(path.as_ref()?), u32::try_from(line).ok().filter(|line| *line > 0)?))
    }
}

/// Whether a flag is there and true.
pub(super) fn is_flag_set(entry: &Entry, name: gimli::DwAt) -> bool {
    matches!(entry.attr_value(name), Some(gimli::AttributeValue::Flag(true)))
}
