//! Compilation units: sections in; units by number, and references between their entries, out.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::OnceLock;

use gimli::{
    AbbreviationsCacheStrategy, AttributeValue, DebugInfoOffset, DebugTypeSignature, DwLang, Dwarf, DwarfSections,
    EndianSlice, LittleEndian, UnitOffset, UnitType, constants as dw,
};
use rayon::prelude::*;

use super::function::Language;
use crate::address::Svma;
use crate::binary::SectionBytes;

pub(super) type Slice<'a> = EndianSlice<'a, LittleEndian>;
pub(super) type Entry<'a> = gimli::DebuggingInformationEntry<Slice<'a>>;
pub(super) type Value<'a> = AttributeValue<Slice<'a>>;
type Header<'a> = gimli::UnitHeader<Slice<'a>>;

/// A debugging information entry, by its unit's number and its place in the unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DieRef {
    pub(super) unit: u32,
    pub(super) offset: usize,
}

/// A unit, and what its root says about all of it.
#[derive(Debug)]
pub(super) struct Unit<'a> {
    pub(super) unit: gimli::Unit<Slice<'a>>,
    pub(super) language: Language,
    /// What compiled it (`DW_AT_producer`).
    pub(super) compiler: Compiler,
    /// Its entries are in another file (split DWARF).
    pub(super) is_split: bool,
    is_supplementary: bool,
    is_partial: bool,
}

/// All units of a file, those in `.debug_info` first.
#[derive(Debug)]
pub(super) struct Units<'a> {
    dwarf: Dwarf<Slice<'a>>,
    units: Vec<Unit<'a>>,
    /// Which of them are in `.debug_info`, by ascending offset.
    main: Range<usize>,
    /// Which of them are in the supplementary file's `.debug_info`, by ascending offset.
    supplementary: Range<usize>,
    signatures: HashMap<DebugTypeSignature, DieRef>,
    /// The code of those in `main`, by address.
    pub(super) by_address: OnceLock<Vec<(Range<Svma>, u32)>>,
    /// Units that could not be read.
    pub(super) damaged: usize,
}

impl<'a> Units<'a> {
    /// Reads the roots of all units.
    pub(super) fn parse(
        sections: &'a DwarfSections<SectionBytes>,
        supplementary: Option<&'a DwarfSections<SectionBytes>>,
    ) -> Self {
        let mut dwarf = sections.borrow_with_sup(supplementary, |bytes| Slice::new(bytes, LittleEndian));
        dwarf.populate_abbreviations_cache(AbbreviationsCacheStrategy::Duplicates);
        let (info, damaged) = headers(dwarf.units().map(Result::ok));
        let (types, damaged_types) = headers(dwarf.type_units().map(Result::ok));
        let sup_units = dwarf.sup().map(|sup| headers(sup.units().map(Result::ok)));
        let (sup, damaged_sup) = sup_units.unwrap_or_default();

        let mut all = Self {
            units: Vec::new(),
            main: 0..0,
            supplementary: 0..0,
            signatures: HashMap::new(),
            by_address: OnceLock::new(),
            damaged: damaged + damaged_types + damaged_sup,
            dwarf,
        };
        all.main = all.add(info, false);
        all.add(types, false);
        all.supplementary = all.add(sup, true);
        all.signatures = all.type_signatures();
        all.name_common_language();
        all
    }

    fn add(&mut self, headers: Vec<Header<'a>>, is_supplementary: bool) -> Range<usize> {
        let dwarf = if is_supplementary { self.dwarf.sup().unwrap_or(&self.dwarf) } else { &self.dwarf };
        let count = headers.len();
        let parsed: Vec<_> =
            headers.into_par_iter().filter_map(|header| Unit::parse(dwarf, header, is_supplementary)).collect();
        self.damaged += count - parsed.len();
        let start = self.units.len();
        self.units.extend(parsed);
        start..self.units.len()
    }

    /// What dwz took out of several units does not say its language any more: it is nearly always that of all of them.
    fn name_common_language(&mut self) {
        let common = self.units.iter().map(|unit| unit.language).find(|language| *language != Language::Other);
        for unit in self.units.iter_mut().filter(|unit| unit.is_partial) {
            unit.language = common.unwrap_or(unit.language);
        }
    }

    fn type_signatures(&self) -> HashMap<DebugTypeSignature, DieRef> {
        let numbered = (0u32..).zip(&self.units);
        let signed = numbered.filter_map(|(unit, parsed)| match parsed.unit.header.type_() {
            UnitType::Type { type_signature, type_offset } => {
                Some((type_signature, DieRef { unit, offset: type_offset.0 }))
            }
            _ => None,
        });
        signed.collect()
    }

    /// Numbers of the units that may have functions.
    pub(super) fn numbers(&self) -> Range<u32> {
        0..u32::try_from(self.main.end).unwrap_or(u32::MAX)
    }

    pub(super) fn get(&self, unit: u32) -> &Unit<'a> {
        &self.units[unit as usize]
    }

    /// The file that `unit` is in.
    pub(super) fn dwarf_of(&self, unit: u32) -> &Dwarf<Slice<'a>> {
        let sup = if self.get(unit).is_supplementary { self.dwarf.sup() } else { None };
        sup.unwrap_or(&self.dwarf)
    }

    /// The entry itself; `None` where the reference leads nowhere.
    pub(super) fn entry(&self, die: DieRef) -> Option<Entry<'a>> {
        self.get(die.unit).unit.entry(UnitOffset(die.offset)).ok()
    }

    /// Where an attribute in `unit` that refers to an entry leads.
    pub(super) fn resolve(&self, unit: u32, value: Value<'a>) -> Option<DieRef> {
        match value {
            AttributeValue::UnitRef(UnitOffset(offset)) => Some(DieRef { unit, offset }),
            AttributeValue::DebugInfoRef(offset) if self.get(unit).is_supplementary => {
                self.find(&self.supplementary, offset)
            }
            AttributeValue::DebugInfoRef(offset) => self.find(&self.main, offset),
            AttributeValue::DebugInfoRefSup(offset) => self.find(&self.supplementary, offset),
            AttributeValue::DebugTypesRef(signature) => self.signatures.get(&signature).copied(),
            _ => None,
        }
    }

    fn find(&self, among: &Range<usize>, offset: DebugInfoOffset) -> Option<DieRef> {
        let units = &self.units[among.clone()];
        let starts_after = |unit: &Unit| unit.unit.header.debug_info_offset().is_some_and(|start| start.0 <= offset.0);
        let index = among.start + units.partition_point(starts_after).checked_sub(1)?;
        let offset = offset.to_unit_offset(&self.units[index].unit.header)?;
        Some(DieRef { unit: u32::try_from(index).ok()?, offset: offset.0 })
    }

    /// A string attribute of an entry in `unit`.
    pub(super) fn string(&self, unit: u32, value: Value<'a>) -> Option<&'a str> {
        let string = self.dwarf_of(unit).attr_string(&self.get(unit).unit, value).ok()?;
        std::str::from_utf8(string.slice()).ok()
    }

    /// `DW_AT_name`
    pub(super) fn name_of(&self, unit: u32, entry: &Entry<'a>) -> Option<&'a str> {
        self.string(unit, entry.attr_value(dw::DW_AT_name)?).filter(|name| !name.is_empty())
    }

    /// An address attribute of an entry in `unit`.
    pub(super) fn address(&self, unit: u32, value: Value<'a>) -> Option<Svma> {
        self.dwarf_of(unit).attr_address(&self.get(unit).unit, value).ok()?.map(Svma)
    }

    /// The code of an entry, from `DW_AT_low_pc` and `DW_AT_high_pc` or `DW_AT_ranges` (DWARF 5, 2.17), without empty ranges.
    pub(super) fn ranges_of(&self, unit: u32, entry: &Entry<'a>) -> impl Iterator<Item = Range<Svma>> + use<'a> {
        let list = entry.attr_value(dw::DW_AT_ranges);
        let single = if list.is_none() { self.single_range(unit, entry) } else { None };
        let list = list.and_then(|list| self.dwarf_of(unit).attr_ranges(&self.get(unit).unit, list).ok().flatten());
        let listed = list.into_iter().flatten().map_while(Result::ok).map(|range| Svma(range.begin)..Svma(range.end));
        single.into_iter().chain(listed).filter(|range| range.start < range.end)
    }

    fn single_range(&self, unit: u32, entry: &Entry<'a>) -> Option<Range<Svma>> {
        let start = self.address(unit, entry.attr_value(dw::DW_AT_low_pc)?)?;
        let high = entry.attr_value(dw::DW_AT_high_pc)?;
        let end = match high.udata_value() {
            Some(size) => Svma(start.0.checked_add(size)?),
            None => self.address(unit, high)?,
        };
        Some(start..end)
    }
}

impl<'a> Unit<'a> {
    fn parse(dwarf: &Dwarf<Slice<'a>>, header: Header<'a>, is_supplementary: bool) -> Option<Self> {
        let unit = dwarf.unit(header).ok()?;
        let root = unit.entry(unit.header.root_offset()).ok()?;
        let language = match root.attr_value(dw::DW_AT_language) {
            Some(AttributeValue::Language(language)) => language_of(language),
            _ => Language::Other,
        };
        let is_split =
            unit.dwo_id.is_some() || root.has_attr(dw::DW_AT_dwo_name) || root.has_attr(dw::DW_AT_GNU_dwo_name);
        let producer = root.attr_value(dw::DW_AT_producer).and_then(|producer| dwarf.attr_string(&unit, producer).ok());
        let compiler = Compiler::of(producer.map(|producer| producer.slice()).unwrap_or_default());
        let is_partial = root.tag == dw::DW_TAG_partial_unit;
        Some(Self { unit, language, compiler, is_split, is_supplementary, is_partial })
    }
}

/// Compilers whose location lists are made differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compiler {
    /// gcc's family, with optimization.
    GccOptimizing,
    /// gcc's family, without optimization, or told not to say (`-gno-record-gcc-switches`).
    Gcc,
    /// Any other: those of LLVM.
    Other,
}

impl Compiler {
    /// From a producer: `GNU C17 12.2.0 -mtune=generic -march=x86-64 -g -O2`.
    fn of(producer: &[u8]) -> Self {
        if !producer.starts_with(b"GNU ") {
            return Self::Other;
        }
        match producer.split(|byte| *byte == b' ').rfind(|word| word.starts_with(b"-O")) {
            None | Some(b"-O0") => Self::Gcc,
            Some(_) => Self::GccOptimizing,
        }
    }
}

/// The headers up to the first one that cannot be read, and whether there was one.
fn headers<'a>(iter: impl Iterator<Item = Option<Header<'a>>>) -> (Vec<Header<'a>>, usize) {
    let mut headers = Vec::new();
    for header in iter {
        let Some(header) = header else { return (headers, 1) };
        headers.push(header);
    }
    (headers, 0)
}

fn language_of(language: DwLang) -> Language {
    match language {
        dw::DW_LANG_C89 | dw::DW_LANG_C | dw::DW_LANG_C99 | dw::DW_LANG_C11 | dw::DW_LANG_C17 => Language::C,
        dw::DW_LANG_C_plus_plus
        | dw::DW_LANG_C_plus_plus_03
        | dw::DW_LANG_C_plus_plus_11
        | dw::DW_LANG_C_plus_plus_14
        | dw::DW_LANG_C_plus_plus_17
        | dw::DW_LANG_C_plus_plus_20 => Language::Cpp,
        dw::DW_LANG_Rust => Language::Rust,
        dw::DW_LANG_Go => Language::Go,
        dw::DW_LANG_Mips_Assembler => Language::Assembly,
        _ => Language::Other,
    }
}
