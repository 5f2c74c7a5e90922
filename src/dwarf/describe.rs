//! Functions in full: a listed function in, its code, parameters and types out.

use gimli::constants as dw;

use super::DebugInfo;
use super::function::{FrameBase, Function, Location, Parameter, SourceLine};
use super::listing::{Listed, MAX_CHAIN, chain, code_of, is_flag_set};
use super::type_builder::TypeBuilder;
use super::units::{DieRef, Entry, Units};
use crate::address::Svma;
use crate::binary::Binary;

/// Describes `listed`; its types are described when `types` is finished. `None` only for an entry that cannot be read again.
pub(super) fn describe<'a>(info: &DebugInfo<'a>, types: &mut TypeBuilder<'_, 'a>, listed: &Listed) -> Option<Function> {
    let units = &info.units;
    let entry = units.entry(listed.die)?;
    let chain = chain(units, listed.die, &entry);
    let unit = listed.die.unit;
    let base = entry.attr_value(dw::DW_AT_frame_base).and_then(|base| units.frame_base_at(unit, base, listed.entry));
    let typed = chain.iter().find(|(_, entry)| entry.has_attr(dw::DW_AT_type));
    let return_type = typed.map(|(die, entry)| types.type_of(die.unit, entry));
    let describer =
        Describer { units, base, address: listed.entry, behind_marker: behind_marker(info.binary, listed.entry) };
    let parameters =
        describer.parameters(&chain).iter().map(|parameter| describer.parameter(parameter, types)).collect();
    Some(Function {
        name: listed.name.clone(),
        symbol: listed.symbol.clone(),
        ranges: code_of(units, unit, &entry),
        declared: listed.declared.as_ref().map(|(file, line)| SourceLine { file: file.to_path_buf(), line: *line }),
        language: listed.language,
        parameters,
        return_type,
        frame_base: base,
        entry_cfa_offset: info.cfa_offset_at(listed.entry),
        from_symbol_table: false,
    })
}

/// The entries that describe one parameter: that of the code, if there is one, and those that it refers to.
type ParameterChain<'a> = Vec<(DieRef, Entry<'a>)>;

struct Describer<'d, 'a> {
    units: &'d Units<'a>,
    base: Option<FrameBase>,
    address: Svma,
    /// Where clang begins its location lists.
    behind_marker: Svma,
}

/// Bytes of nops at an entry that are looked at.
const MAX_NOP_BYTES: usize = 64;

/// The first instruction of a function that does something.
fn behind_marker(binary: &Binary, entry: Svma) -> Svma {
    let machine = binary.machine();
    let code = binary.constant_at(entry, MAX_NOP_BYTES);
    let mut rest = code.strip_prefix(&machine.entry_marker()).unwrap_or(code);
    while let Some(behind) = machine.nop_length(rest).and_then(|length| rest.get(length..)) {
        rest = behind;
    }
    Svma(entry.0.saturating_add((code.len() - rest.len()) as u64))
}

impl<'a> Describer<'_, 'a> {
    /// The parameters in the order of the source. Optimized code leaves out some, and refers to the abstract function for the others.
    fn parameters(&self, function: &[(DieRef, Entry<'a>)]) -> Vec<ParameterChain<'a>> {
        let mut concrete: Vec<ParameterChain<'a>> =
            function.first().map_or_else(Vec::new, |(die, _)| self.formal(*die));
        let has_abstract = function.first().is_some_and(|(_, entry)| entry.has_attr(dw::DW_AT_abstract_origin));
        // A definition lists its parameters anew: its declaration's count only where it does not.
        let complete = if has_abstract || concrete.is_empty() { function.get(1) } else { None };
        let Some((outline, _)) = complete else { return concrete };
        let in_order = self.formal(*outline).into_iter().map(|stated| {
            let of_this =
                |chain: &ParameterChain| chain.iter().any(|(die, _)| Some(die) == stated.first().map(|(die, _)| die));
            match concrete.iter().position(of_this) {
                Some(at) => concrete.remove(at),
                None => stated,
            }
        });
        // A destructor's outline has hidden parameters (`__in_chrg`) that its code may be without.
        let is_there = |chain: &ParameterChain<'a>| {
            let is_hidden = chain.iter().any(|(_, entry)| is_flag_set(entry, dw::DW_AT_artificial));
            let is_in_code = chain
                .iter()
                .any(|(_, entry)| entry.has_attr(dw::DW_AT_location) || entry.has_attr(dw::DW_AT_const_value));
            !is_hidden || is_in_code || self.name(chain) == Some("this")
        };
        let mut parameters: Vec<_> = in_order.filter(is_there).collect();
        parameters.append(&mut concrete);
        parameters
    }

    /// The formal parameters below an entry; those of a C++ parameter pack are below an entry of their own.
    fn formal(&self, function: DieRef) -> Vec<ParameterChain<'a>> {
        let mut found = Vec::new();
        for (die, child) in self.units.children(function) {
            match child.tag {
                dw::DW_TAG_formal_parameter => found.push(self.chain(die, child)),
                dw::DW_TAG_GNU_formal_parameter_pack => {
                    let pack = self.units.children(die).into_iter();
                    let members = pack.filter(|(_, member)| member.tag == dw::DW_TAG_formal_parameter);
                    found.extend(members.map(|(die, member)| self.chain(die, member)));
                }
                _ => {}
            }
        }
        found
    }

    fn chain(&self, die: DieRef, entry: Entry<'a>) -> ParameterChain<'a> {
        let mut links = vec![(die, entry)];
        while links.len() < MAX_CHAIN {
            let Some((last, entry)) = links.last() else { break };
            let Some(link) = entry.attr_value(dw::DW_AT_abstract_origin) else { break };
            let Some(next) = self.units.resolve(last.unit, link) else { break };
            let Some(entry) = self.units.entry(next) else { break };
            links.push((next, entry));
        }
        links
    }

    fn parameter(&self, chain: &ParameterChain<'a>, types: &mut TypeBuilder<'_, 'a>) -> Parameter {
        let typed = chain.iter().find(|(_, entry)| entry.has_attr(dw::DW_AT_type)).or(chain.first());
        Parameter {
            name: self.name(chain).map(str::to_owned),
            ty: typed.map(|(die, entry)| types.type_of(die.unit, entry)).unwrap_or_else(|| types.void()),
            location: chain
                .iter()
                .find_map(|(die, entry)| self.location(die.unit, entry))
                .unwrap_or(Location::OptimizedOut),
            artificial: chain.iter().any(|(_, entry)| is_flag_set(entry, dw::DW_AT_artificial)),
        }
    }

    fn name(&self, chain: &ParameterChain<'a>) -> Option<&'a str> {
        chain.iter().find_map(|(die, entry)| self.units.name_of(die.unit, entry))
    }

    /// `DW_AT_location`, or `DW_AT_const_value` where the compiler found that it is always the same.
    fn location(&self, unit: u32, entry: &Entry<'a>) -> Option<Location> {
        if let Some(value) = entry.attr_value(dw::DW_AT_location) {
            let location = |address| self.units.location_at(unit, value, self.base, address);
            return Some(match location(self.address) {
                Location::OptimizedOut | Location::Later { .. } => location(self.behind_marker),
                location => location,
            });
        }
        entry.attr_value(dw::DW_AT_const_value).map(Units::constant)
    }
}
