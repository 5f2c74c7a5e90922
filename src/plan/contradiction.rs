//! Arguments that cannot all be where debug info says they are.
//!
//! clang describes a parameter by what is assigned to it before the function's first instruction: after `a = b`, both are in the
//! register of `b` at the entry, and after swapping them, each is in the other's. Calling conventions hand out registers in one
//! order, and each of them once. Where debug info breaks that rule, nobody can tell which of its statements are true.

use std::collections::BTreeSet;

use super::locate::{Span, Spot};
use crate::arch::Architecture;
use crate::arch::symbolic::WORD_BYTES;
use crate::dwarf::function::Language;

const REASON: &str = "the debug info contradicts itself about which registers the arguments came in";

/// Takes back what was found of a function's arguments, if it cannot all be true.
pub fn withdraw(arguments: &mut [Vec<Span>], arch: &dyn Architecture, language: Language) {
    let claims: Vec<_> = arguments.iter().map(|spans| claims_of(spans, arch)).collect();
    // Go and others have conventions of their own.
    let has_known_order = matches!(language, Language::C | Language::Cpp | Language::Rust);
    if are_disjoint(&claims) && (!has_known_order || are_in_order(&claims, arch)) {
        return;
    }
    for span in arguments.iter_mut().flatten() {
        if matches!(span.spot, Spot::Register { .. } | Spot::Memory { .. }) {
            span.spot = Spot::Unavailable(REASON.into());
        }
    }
}

/// What came in here can be one argument only.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Claim {
    /// One byte of a register.
    Register(u16, u32),
    /// One byte of the stack.
    Stack(i64),
}

fn claims_of(spans: &[Span], arch: &dyn Architecture) -> Vec<Claim> {
    let mut claims = Vec::new();
    for Span { size, spot } in spans {
        match *spot {
            Spot::Register { register, skip } => {
                claims.extend((0..*size).map(|byte| Claim::Register(register, skip + byte)));
            }
            Spot::Memory { register, offset } if register == arch.stack_pointer() => {
                claims.extend((0..*size).map(|byte| Claim::Stack(offset.saturating_add(byte.into()))));
            }
            Spot::Memory { register, .. } => {
                claims.extend((0..WORD_BYTES as u32).map(|byte| Claim::Register(register, byte)));
            }
            Spot::Constant(_) | Spot::OptimizedOut | Spot::Unavailable(_) => {}
        }
    }
    claims
}

fn are_disjoint(claims: &[Vec<Claim>]) -> bool {
    let mut taken = BTreeSet::new();
    claims.iter().all(|of_argument| {
        let own: BTreeSet<_> = of_argument.iter().copied().collect();
        let is_free = taken.is_disjoint(&own);
        taken.extend(own);
        is_free
    })
}

/// Whether one of the orders fits. One that is not the usual must fit from the first argument and the first register on.
fn are_in_order(claims: &[Vec<Claim>], arch: &dyn Architecture) -> bool {
    let registers = |claims: &[Claim]| -> Vec<u16> {
        let registers = claims.iter().filter_map(|claim| match claim {
            Claim::Register(register, _) => Some(*register),
            Claim::Stack(_) => None,
        });
        registers.collect()
    };
    let first = claims.first().and_then(|claims| registers(claims).first().copied());
    let all: Vec<u16> = claims.iter().flat_map(|claims| registers(claims)).collect();
    arch.argument_orders().iter().any(|order| {
        let is_usual = *order == arch.argument_registers();
        let places = all.iter().filter_map(|register| order.iter().position(|of_order| of_order == register));
        (is_usual || first == order.first().copied()) && places.is_sorted()
    })
}
