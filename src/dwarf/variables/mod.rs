//! The variables in scope at an address: entries in; names, types and what is said of their places out (DWARF 5, 3.3, 3.5, 4.1).
//!
//! Where they are in a process is told by [`DebugInfo::locate`], which asks a [`FrameState`] for registers and memory. What the probes
//! want to know, where a parameter comes in, is another question: see `location`.

mod call_site;
mod evaluate;
mod prologue;

use gimli::{Expression, constants as dw};

pub(super) use self::call_site::Calls;
pub use self::evaluate::{CallerFrame, FrameState, Missing, Part, Spot};

use super::DebugInfo;
use super::function::{Language, Location, Place, SourceLine};
use super::listing::{MAX_CHAIN, is_flag_set};
use super::type_builder::TypeBuilder;
use super::types::{TypeId, TypeTable};
use super::units::{DieRef, Entry, Slice, Units, Value};
use crate::address::Svma;

/// Blocks and inlined functions within each other at the most.
const MAX_DEPTH: u32 = 128;
/// Variables at one address at the most.
const MAX_VARIABLES: usize = 1 << 12;

/// A parameter or a local variable.
#[derive(Clone, Debug)]
pub struct Variable<'a> {
    /// `None` for a parameter without a name.
    pub name: Option<String>,
    /// Its type.
    pub ty: TypeId,
    /// Where it is declared.
    pub declared: Option<SourceLine>,
    /// A parameter of its function.
    pub is_parameter: bool,
    /// The compiler made it (C++'s `this`).
    pub is_artificial: bool,
    /// The function that it belongs to, which may be inlined: [`super::Activation::die`].
    pub function: DieRef,
    pub(super) described: Described<'a>,
}

/// What debug info says of a variable's place at one address.
#[derive(Clone, Debug)]
pub(super) enum Described<'a> {
    By(Description<'a>),
    /// It always has this value.
    Constant(Vec<u8>),
    OptimizedOut,
    Unsupported(String),
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Description<'a> {
    pub(super) expression: Expression<Slice<'a>>,
    /// The unit that says so.
    pub(super) unit: u32,
    /// It holds for all of the function: nobody has followed the value.
    pub(super) is_everywhere: bool,
    pub(super) body: Body<'a>,
}

/// The function that has the code of a variable's function.
#[derive(Clone, Copy, Debug)]
pub(super) struct Body<'a> {
    pub(super) die: DieRef,
    pub(super) frame_base: Option<Value<'a>>,
}

impl<'a> DebugInfo<'a> {
    /// The variables in scope at `address`: those of the innermost inlined function first, and of each function its parameters first and
    /// the locals of its innermost block last. Their types are added to `types`.
    pub fn variables_at(&self, address: Svma, types: &mut TypeTable) -> Vec<Variable<'a>> {
        let function = self.units.unit_at(address).and_then(|unit| self.units.function_around(unit, address));
        function.map(|(die, _)| self.variables_of(die, address, types)).unwrap_or_default()
    }

    /// The same where it is known which function has the code at `address` (the last of [`Self::activations_at`]): to find that takes longer.
    pub fn variables_of(&self, function: DieRef, address: Svma, types: &mut TypeTable) -> Vec<Variable<'a>> {
        let Some(entry) = self.units.entry(function) else { return Vec::new() };
        if self.units.get(function.unit).language == Language::Assembly {
            return Vec::new();
        }
        let body = Body { die: function, frame_base: entry.attr_value(dw::DW_AT_frame_base) };
        let mut types = TypeBuilder::new(&self.units, &self.heirs, types);
        let mut lister =
            Lister { units: &self.units, types: &mut types, address, body, count: 0, functions: Vec::new() };
        lister.function(function, &entry, 0);
        // Inlined functions were met from the outside in.
        let variables = lister.functions.into_iter().rev().flatten().collect();
        types.finish();
        variables
    }
}

/// Collects the variables of the functions that are executed at one address.
struct Lister<'l, 't, 'a> {
    units: &'l Units<'a>,
    types: &'l mut TypeBuilder<'t, 'a>,
    address: Svma,
    body: Body<'a>,
    count: usize,
    functions: Vec<Vec<Variable<'a>>>,
}

impl<'a> Lister<'_, '_, 'a> {
    /// A function or an inlined one, whose variables make a list of their own.
    fn function(&mut self, die: DieRef, entry: &Entry<'a>, depth: u32) {
        let index = self.functions.len();
        self.functions.push(Vec::new());
        let children = self.units.children(die);
        for (variable, stated) in self.of_function(die, entry, &children) {
            self.add(index, die, variable, stated);
        }
        self.blocks(index, die, &children, depth);
    }

    /// The parameters and the outermost locals, in the order of the source: optimized code leaves some out and refers to the abstract
    /// function for the others.
    fn of_function(
        &self,
        die: DieRef,
        entry: &Entry<'a>,
        children: &[(DieRef, Entry<'a>)],
    ) -> Vec<(DieRef, Entry<'a>)> {
        let mut concrete = self.with_packs(children);
        let origin =
            entry.attr_value(dw::DW_AT_abstract_origin).and_then(|origin| self.units.resolve(die.unit, origin));
        let Some(origin) = origin else { return concrete };
        let mut ordered = Vec::new();
        for (outline, stated) in self.with_packs(&self.units.children(origin)) {
            let is_of = |(die, entry): &(DieRef, Entry<'a>)| self.origin(*die, entry) == Some(outline);
            match concrete.iter().position(is_of) {
                Some(at) => ordered.push(concrete.remove(at)),
                None => ordered.push((outline, stated)),
            }
        }
        ordered.append(&mut concrete);
        ordered
    }

    /// Variables among `children`; those of a C++ parameter pack are below an entry of their own.
    fn with_packs(&self, children: &[(DieRef, Entry<'a>)]) -> Vec<(DieRef, Entry<'a>)> {
        let mut found = Vec::new();
        for (die, child) in children {
            match child.tag {
                dw::DW_TAG_formal_parameter | dw::DW_TAG_variable => found.push((*die, child.clone())),
                dw::DW_TAG_GNU_formal_parameter_pack => {
                    let pack = self.units.children(*die).into_iter();
                    found.extend(pack.filter(|(_, member)| member.tag == dw::DW_TAG_formal_parameter));
                }
                _ => {}
            }
        }
        found
    }

    fn origin(&self, die: DieRef, entry: &Entry<'a>) -> Option<DieRef> {
        self.units.resolve(die.unit, entry.attr_value(dw::DW_AT_abstract_origin)?)
    }

    /// The blocks below an entry that are being executed, and the function that was inlined there.
    fn blocks(&mut self, index: usize, function: DieRef, children: &[(DieRef, Entry<'a>)], depth: u32) {
        if depth >= MAX_DEPTH {
            return;
        }
        for (die, child) in children {
            match child.tag {
                dw::DW_TAG_lexical_block | dw::DW_TAG_try_block | dw::DW_TAG_catch_block if self.is_in(*die, child) => {
                    let children = self.units.children(*die);
                    for (variable, stated) in self.with_packs(&children) {
                        self.add(index, function, variable, stated);
                    }
                    self.blocks(index, function, &children, depth + 1);
                }
                dw::DW_TAG_inlined_subroutine if self.has_address(*die, child) => self.function(*die, child, depth + 1),
                _ => {}
            }
        }
    }

    /// A block without addresses only groups what it contains.
    fn is_in(&self, die: DieRef, block: &Entry<'a>) -> bool {
        let has_code = block.has_attr(dw::DW_AT_low_pc) || block.has_attr(dw::DW_AT_ranges);
        !has_code || self.has_address(die, block)
    }

    fn has_address(&self, die: DieRef, entry: &Entry<'a>) -> bool {
        self.units.covers(die.unit, entry, self.address)
    }

    fn add(&mut self, index: usize, function: DieRef, die: DieRef, entry: Entry<'a>) {
        self.count += 1;
        if self.count > MAX_VARIABLES {
            return;
        }
        let chain = self.units.variable_chain(die, entry);
        let is = |flag| chain.iter().any(|(_, entry)| is_flag_set(entry, flag));
        // `extern int x;` in a block: it is described where it is defined.
        if is(dw::DW_AT_declaration) {
            return;
        }
        let name = chain.iter().find_map(|(die, entry)| self.units.name_of(die.unit, entry)).map(str::to_owned);
        let is_parameter = chain.first().is_some_and(|(_, entry)| entry.tag == dw::DW_TAG_formal_parameter);
        if name.is_none() && !is_parameter {
            return;
        }
        let (is_artificial, described) = (is(dw::DW_AT_artificial), self.described(&chain));
        // A destructor's outline has hidden parameters (`__in_chrg`) that its code may be without.
        if is_parameter
            && is_artificial
            && name.as_deref() != Some("this")
            && matches!(described, Described::OptimizedOut)
        {
            return;
        }
        let typed = chain.iter().find(|(_, entry)| entry.has_attr(dw::DW_AT_type)).or(chain.first());
        let ty = typed.map(|(die, entry)| self.types.type_of(die.unit, entry));
        let variable = Variable {
            name,
            ty: ty.unwrap_or_else(|| self.types.void()),
            declared: self.units.declared(&chain),
            is_parameter,
            is_artificial,
            function,
            described,
        };
        self.functions[index].push(variable);
    }

    /// `DW_AT_location` at the address, or `DW_AT_const_value`.
    fn described(&self, chain: &[(DieRef, Entry<'a>)]) -> Described<'a> {
        let of = |(die, entry): &(DieRef, Entry<'a>)| {
            if let Some(value) = entry.attr_value(dw::DW_AT_location) {
                return Some(self.located(die.unit, value));
            }
            entry.attr_value(dw::DW_AT_const_value).map(|value| constant(Units::constant(value)))
        };
        chain.iter().find_map(of).unwrap_or(Described::OptimizedOut)
    }

    fn located(&self, unit: u32, value: Value<'a>) -> Described<'a> {
        match self.units.expression_at(unit, value, self.address) {
            Ok(Some((expression, _))) if expression.0.is_empty() => Described::OptimizedOut,
            Ok(Some((expression, is_everywhere))) => {
                Described::By(Description { expression, unit, is_everywhere, body: self.body })
            }
            Ok(None) => Described::OptimizedOut,
            Err(reason) => Described::Unsupported(reason.to_owned()),
        }
    }
}

fn constant<'a>(location: Location) -> Described<'a> {
    match location {
        Location::Pieces(pieces) => match pieces.into_iter().next().map(|piece| piece.place) {
            Some(Place::Constant(bytes)) => Described::Constant(bytes),
            _ => Described::OptimizedOut,
        },
        Location::Unsupported(reason) => Described::Unsupported(reason),
        _ => Described::OptimizedOut,
    }
}

impl<'a> Units<'a> {
    /// Whether the code of an entry is at `address`.
    fn covers(&self, unit: u32, entry: &Entry<'a>, address: Svma) -> bool {
        self.ranges_of(unit, entry).take(MAX_RANGES).any(|range| range.contains(&address))
    }

    /// The entry of a variable and its abstract origins.
    fn variable_chain(&self, die: DieRef, entry: Entry<'a>) -> Vec<(DieRef, Entry<'a>)> {
        let mut links = vec![(die, entry)];
        while links.len() < MAX_CHAIN {
            let Some((last, entry)) = links.last() else { break };
            let link = entry.attr_value(dw::DW_AT_abstract_origin).or(entry.attr_value(dw::DW_AT_specification));
            let Some(next) = link.and_then(|link| self.resolve(last.unit, link)) else { break };
            let Some(entry) = self.entry(next) else { break };
            links.push((next, entry));
        }
        links
    }

    fn declared(&self, chain: &[(DieRef, Entry<'a>)]) -> Option<SourceLine> {
        let find = |name| chain.iter().find_map(|(die, entry)| Some((die.unit, entry.attr_value(name)?)));
        let (unit, file) = find(dw::DW_AT_decl_file)?;
        let index = match file {
            gimli::AttributeValue::FileIndex(index) => index,
            file => file.udata_value()?,
        };
        let line = u32::try_from(find(dw::DW_AT_decl_line)?.1.udata_value()?).ok().filter(|line| *line > 0)?;
        Some(SourceLine { file: self.file_path(unit, index)?, line })
    }
}

/// Ranges of one block at the most.
const MAX_RANGES: usize = 256;
