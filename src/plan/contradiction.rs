//! Arguments that cannot all be where debug info says they are.
//!
//! clang describes a parameter by what is assigned to it before the function's first instruction: after `a = b`, both are in the
//! register of `b` at the entry, and after swapping them, each is in the other's. Calling conventions hand out registers in one
//! order, each of them once, and then the stack. Where debug info breaks that rule, nobody can tell which of its statements are
//! true. The rule is a witness here, never a source: nothing is read from a place that debug info does not name.

use std::collections::BTreeSet;

use super::locate::{Span, Spot};
use crate::arch::Architecture;
use crate::arch::symbolic::WORD_BYTES;
use crate::dwarf::function::{Function, Language};
use crate::dwarf::types::{Type, TypeKind, TypeTable};

const REASON: &str = "the debug info contradicts itself about where the arguments came in";

/// Takes back what was found of a function's arguments, if it cannot all be true.
pub fn withdraw(found: &mut [Vec<Span>], function: &Function, types: &TypeTable, arch: &dyn Architecture) {
    let arguments: Vec<_> = function
        .parameters
        .iter()
        .zip(&*found)
        .map(|(parameter, spans)| Argument {
            claims: claims_of(spans, arch),
            need: Need::of(types.resolve(parameter.ty), function.language),
        })
        .collect();
    // Go and others have conventions of their own.
    let has_known_order = matches!(function.language, Language::C | Language::Cpp | Language::Rust);
    let hidden = hidden_arguments(function, types);
    let fits = |order: &&[u16]| fits(&arguments, order, *order == arch.argument_registers(), hidden);
    let are_in_their_bytes = found.iter().all(|spans| are_in_their_bytes(spans, function.language));
    if are_in_their_bytes && are_disjoint(&arguments) && (!has_known_order || arch.argument_orders().iter().any(fits)) {
        return;
    }
    for span in found.iter_mut().flatten() {
        if matches!(span.spot, Spot::Register { .. } | Spot::Memory { .. }) {
            span.spot = Spot::Unavailable(REASON.into());
        }
    }
}

/// No convention has more registers.
const MAX_HIDDEN: usize = 16;

struct Argument {
    claims: Vec<Claim>,
    need: Need,
}

/// What came in here can be one argument only.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Claim {
    /// One byte of a register.
    Register(u16, u32),
    /// One byte of the stack.
    Stack(i64),
}

/// What a calling convention gives to an argument of some type.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Need {
    /// One integer register, or the stack when there is no more.
    Word,
    /// So many integer registers at the most. It may lie on the stack while there are some.
    UpTo(usize),
}

impl Need {
    fn of(ty: &Type, language: Language) -> Self {
        match (&ty.kind, ty.size) {
            (_, Some(0)) | (TypeKind::Float, _) => Self::UpTo(0),
            (
                TypeKind::Integer { .. }
                | TypeKind::Bool
                | TypeKind::Character { .. }
                | TypeKind::Enumeration { .. }
                | TypeKind::Pointer { .. },
                Some(1..=8),
            ) => Self::Word,
            // psABI section 3.2.3: up to two words come in registers, and C++ passes references to larger or unusual ones. Rust
            // has a register for each of two members, however small.
            (_, Some(1..=8)) if language != Language::Rust => Self::UpTo(1),
            _ => Self::UpTo(2),
        }
    }

    fn registers(self) -> usize {
        match self {
            Self::Word => 1,
            Self::UpTo(registers) => registers,
        }
    }
}

/// Registers for what debug info does not list: where to put a large result, the table of a base class's constructor, and
/// whatever rustc passes.
fn hidden_arguments(function: &Function, types: &TypeTable) -> usize {
    if function.language == Language::Rust {
        return MAX_HIDDEN;
    }
    let result = function.return_type.map(|ty| Need::of(types.resolve(ty), function.language));
    let may_be_in_memory = matches!(result, Some(Need::UpTo(1..)));
    let is_method = function.parameters.first().is_some_and(|first| first.artificial);
    usize::from(may_be_in_memory) + usize::from(is_method)
}

fn claims_of(spans: &[Span], arch: &dyn Architecture) -> Vec<Claim> {
    let mut claims = Vec::new();
    let mut pointers = BTreeSet::new();
    for Span { size, spot } in spans {
        match *spot {
            Spot::Register { register, skip } => {
                claims.extend((0..*size).map(|byte| Claim::Register(register, skip + byte)));
            }
            Spot::Memory { register, offset } if register == arch.stack_pointer() => {
                claims.extend((0..*size).map(|byte| Claim::Stack(offset.saturating_add(byte.into()))));
            }
            Spot::Memory { register, .. } if pointers.insert(register) => {
                claims.extend((0..WORD_BYTES as u32).map(|byte| Claim::Register(register, byte)));
            }
            Spot::Memory { .. }
            | Spot::Vector { .. }
            | Spot::Constant(_)
            | Spot::OptimizedOut
            | Spot::Unavailable(_) => {}
        }
    }
    claims
}

fn are_disjoint(arguments: &[Argument]) -> bool {
    let mut taken = BTreeSet::new();
    arguments.iter().flat_map(|argument| &argument.claims).all(|claim| taken.insert(*claim))
}

/// Whether the bytes of values are where they must be in registers: those of C have the memory's order (psABI section 3.2.3); Rust may
/// begin a new register with each member.
fn are_in_their_bytes(spans: &[Span], language: Language) -> bool {
    let mut at = 0;
    spans.iter().all(|Span { size, spot }| {
        let byte = at % WORD_BYTES as u32;
        at += size;
        match *spot {
            Spot::Register { skip, .. } => skip == byte || (skip == 0 && language == Language::Rust),
            _ => true,
        }
    })
}

/// Whether a convention with this order of registers may have placed the arguments so. One that is not the usual must fit from
/// the first argument and the first register on, if any of them is known; it may give registers to floats, too.
fn fits(arguments: &[Argument], order: &[u16], is_usual: bool, hidden: usize) -> bool {
    let place = |claim: &Claim| match claim {
        Claim::Register(register, _) => order.iter().position(|of_order| of_order == register),
        Claim::Stack(_) => None,
    };
    let first = arguments.first().and_then(|argument| argument.claims.iter().find_map(place));
    let has_registers =
        arguments.iter().flat_map(|argument| &argument.claims).any(|claim| matches!(claim, Claim::Register(..)));
    if !is_usual && has_registers && first != Some(0) {
        return false;
    }
    // How many registers may be taken, which one at least is taken, and what lies on the stack.
    let (mut most, mut last, mut top) = (hidden, 0, i64::MIN);
    for Argument { claims, need } in arguments {
        let mut places = claims.iter().filter_map(place).collect::<Vec<_>>();
        places.dedup();
        // Two words of one argument come in neighbours.
        if places.windows(2).any(|pair| pair[1] != pair[0] + 1) {
            return false;
        }
        for claim in claims {
            match (place(claim), claim) {
                (Some(place), _) if place < last || place >= most + need.registers().max(1) => return false,
                (Some(place), _) => last = place,
                (None, Claim::Stack(offset)) if *offset < top => return false,
                (None, Claim::Stack(offset)) => {
                    top = *offset;
                    if *need == Need::Word {
                        if most < order.len() {
                            return false;
                        }
                        // All registers are taken.
                        last = order.len();
                    }
                }
                (None, Claim::Register(..)) => {}
            }
        }
        most += if is_usual { need.registers() } else { 2 };
    }
    true
}
