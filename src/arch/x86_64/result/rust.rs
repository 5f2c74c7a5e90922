//! Where results of Rust functions come back.
//!
//! Rust promises nothing, but debug info tells what decides it in rustc (`rustc_target::callconv`, `rustc_abi::BackendRepr`): a type that is one scalar comes
//! back as that; one that is two scalars, in two registers, however small they are; any other of up to eight bytes in rax, as it is in memory, and
//! of more than 16 in memory. What is in between is in memory too (Rust 1.95), but need not be: there the call itself must tell. `extern "C"` is
//! the psABI's way; where the two differ, and the type may be C's, nothing is claimed.

use super::{Class, MAX_DEPTH, MAX_TYPES, Registers, ReturnPlace, Unclassified, classes_of, parts, unavailable};
use crate::arch::ResultPart;
use crate::dwarf::types::{Type, TypeId, TypeKind, TypeTable};

/// Where a result of up to 16 bytes is.
pub fn return_place(ty: TypeId, size: u64, types: &TypeTable) -> ReturnPlace {
    let mut leaves = Leaves { types, found: Vec::new(), fuel: MAX_TYPES };
    let is_known = leaves.visit(ty, 0, MAX_DEPTH).is_some();
    leaves.found.sort_by_key(|leaf| leaf.offset);
    match &leaves.found[..] {
        [leaf] if is_known && leaf.offset == 0 && leaf.size == size => match leaf.class {
            Class::Sse => unavailable("in register xmm0".into()),
            _ => super::integers(size),
        },
        [first, second] if is_known && is_pair(*first, *second, size) => pair(*first, *second, size, types.resolve(ty)),
        _ => block(ty, size, types),
    }
}

/// A number, or a pointer, in a value.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Leaf {
    offset: u64,
    size: u64,
    class: Class,
}

/// All scalars in a value, in whatever variant.
struct Leaves<'a> {
    types: &'a TypeTable,
    found: Vec<Leaf>,
    fuel: u32,
}

impl Leaves<'_> {
    /// Adds those of a type at `offset`; `None` if there is something else in it.
    fn visit(&mut self, ty: TypeId, offset: u64, depth: u32) -> Option<()> {
        let resolved = self.types.resolve(ty);
        self.fuel = self.fuel.checked_sub(1)?;
        let depth = depth.checked_sub(1)?;
        let size = resolved.size?;
        match &resolved.kind {
            _ if size == 0 => {}
            TypeKind::Aggregate(aggregate) if !aggregate.is_declaration => {
                let part = aggregate.variants.as_ref();
                if let Some(discriminant) = part.and_then(|part| part.discriminant) {
                    self.add(offset.checked_add(discriminant.offset)?, discriminant.size, Class::Integer);
                }
                let variants = part.iter().flat_map(|part| &part.variants).map(|variant| &variant.member);
                for member in aggregate.members.iter().chain(variants) {
                    self.visit(member.ty, offset.checked_add(member.offset)?, depth)?;
                }
            }
            TypeKind::Float => self.add(offset, size, Class::Sse),
            TypeKind::Integer { .. }
            | TypeKind::Bool
            | TypeKind::Character { .. }
            | TypeKind::Enumeration { .. }
            | TypeKind::Pointer { .. } => self.add(offset, size, Class::Integer),
            _ => return None,
        }
        Some(())
    }

    fn add(&mut self, offset: u64, size: u64, class: Class) {
        let leaf = Leaf { offset, size, class };
        if !self.found.contains(&leaf) {
            self.found.push(leaf);
        }
    }
}

/// Whether two scalars are laid out as rustc lays out a pair: the second at its own alignment, nothing behind it but padding.
fn is_pair(first: Leaf, second: Leaf, size: u64) -> bool {
    let is_scalar = |leaf: Leaf| matches!(leaf.size, 1 | 2 | 4 | 8);
    let align = first.size.max(second.size);
    let end = second.offset.checked_add(second.size).map(|end| end.next_multiple_of(align.max(1)));
    is_scalar(first)
        && is_scalar(second)
        && first.offset == 0
        && second.offset == first.size.next_multiple_of(second.size)
        && end == Some(size)
}

fn pair(first: Leaf, second: Leaf, size: u64, ty: &Type) -> ReturnPlace {
    let has_variants = matches!(&ty.kind, TypeKind::Aggregate(aggregate) if aggregate.variants.is_some());
    // C knows neither enums with members nor tuples.
    let is_of_rust_only = has_variants || ty.name.starts_with('(');
    if second.offset < 8 && !is_of_rust_only {
        return unavailable(
            "whether it is in one register or in two cannot be told: Rust and `extern \"C\"` differ".into(),
        );
    }
    let mut registers = Registers::default();
    let mut part =
        |from: u64, to: u64, class| ResultPart { size: to.saturating_sub(from) as u32, spot: registers.next(class) };
    let end = second.offset + second.size;
    let all = [
        part(0, first.size, first.class),
        part(first.size, second.offset, Class::None),
        part(second.offset, end, second.class),
        part(end, size, Class::None),
    ];
    ReturnPlace::Registers { parts: all.into_iter().filter(|part| part.size > 0).collect(), certain: true }
}

/// What is neither: a block of memory in registers, or in memory.
fn block(ty: TypeId, size: u64, types: &TypeTable) -> ReturnPlace {
    match classes_of(ty, size, types) {
        Ok(classes) if classes.contains(&Class::Sse) => {
            return unavailable("whether it is in a general register or in xmm0 cannot be told".into());
        }
        Err(Unclassified::Because(reason)) => return unavailable(reason.into()),
        Ok(_) | Err(Unclassified::Memory) => {}
    }
    if size > 8 {
        return ReturnPlace::Memory { size, certain: false };
    }
    ReturnPlace::Registers { parts: parts(&[Class::Integer], size), certain: true }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{aggregate, scalar};
    use super::*;
    use crate::arch::ResultSpot;

    /// Where the bytes of a result are: `rax[4] rdx[4]`.
    fn place(ty: TypeId, types: &TypeTable) -> String {
        let size = types.resolve(ty).size.unwrap();
        match return_place(ty, size, types) {
            ReturnPlace::Registers { parts, certain } => {
                let name = |spot: &ResultSpot| match spot {
                    ResultSpot::Word(word) => ["rax", "rdx"][*word].to_owned(),
                    ResultSpot::Unavailable(reason) => {
                        reason.replace("in register ", "").replace("nothing in it has a value", "-")
                    }
                };
                let parts: Vec<String> =
                    parts.iter().map(|part| format!("{}[{}]", name(&part.spot), part.size)).collect();
                assert!(certain);
                parts.join(" ")
            }
            ReturnPlace::Memory { certain, .. } => if certain { "memory" } else { "perhaps memory" }.into(),
            ReturnPlace::Unavailable(reason) => reason,
        }
    }

    /// Guards against two scalars that are taken for one word, as they lie in memory, and against one ABI that is taken for the other.
    #[test]
    fn scalars_pairs_and_blocks_come_back_in_their_own_ways() {
        let types = &mut TypeTable::default();
        let integer = TypeKind::Integer { signed: false };
        let byte = scalar(types, "u8", 1, integer.clone());
        let half = scalar(types, "u32", 4, integer.clone());
        let word = scalar(types, "usize", 8, integer);
        let double = scalar(types, "f64", 8, TypeKind::Float);
        let array = TypeKind::Array { of: byte, counts: vec![Some(12)] };
        let array = scalar(types, "[u8; 12]", 12, array);
        let wrapped = aggregate(types, "Id", 8, &[(0, word)]);
        let cases = [
            (wrapped, "rax[8]"),
            (aggregate(types, "Float", 8, &[(0, double)]), "in register xmm0"),
            (aggregate(types, "&str", 16, &[(0, word), (8, word)]), "rax[8] rdx[8]"),
            (aggregate(types, "Named", 16, &[(0, byte), (8, word)]), "rax[1] -[7] rdx[8]"),
            (aggregate(types, "Tail", 16, &[(0, word), (8, byte)]), "rax[8] rdx[1] -[7]"),
            (aggregate(types, "(u32, u32)", 8, &[(0, half), (4, half)]), "rax[4] rdx[4]"),
            (
                aggregate(types, "Two", 8, &[(0, half), (4, half)]),
                "whether it is in one register or in two cannot be told: Rust and `extern \"C\"` differ",
            ),
            (aggregate(types, "Mixed", 16, &[(0, double), (8, word)]), "xmm0[8] rax[8]"),
            (aggregate(types, "Floats", 16, &[(0, double), (8, double)]), "xmm0[8] xmm1[8]"),
            (aggregate(types, "Three", 8, &[(0, half), (4, byte), (5, byte)]), "rax[8]"),
            (aggregate(types, "Four", 16, &[(0, word), (8, half), (12, byte)]), "perhaps memory"),
            (array, "perhaps memory"),
        ];
        for (ty, expected) in cases {
            assert_eq!(place(ty, types), expected, "{}", types.get(ty).name);
        }
    }
}
