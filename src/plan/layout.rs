//! Where members lie in values, by their names.

use crate::dwarf::types::{Aggregate, TypeId, TypeKind, TypeTable};

/// Members in members that are looked through.
const MAX_DEPTH: u32 = 12;
/// Members that are looked at for one name.
const MAX_LOOKED_AT: u32 = 256;
/// Types in types that are looked at for an alignment.
const MAX_TYPES: u32 = 256;

/// A member somewhere in a value.
#[derive(Clone, Copy, Debug)]
pub struct Found<'t> {
    /// As in the source.
    pub name: &'t str,
    /// Bytes from the start of the value.
    pub at: u64,
    /// Its type.
    pub ty: TypeId,
}

impl<'t> Found<'t> {
    /// It, or the first pointer among its members.
    #[must_use]
    pub fn first_pointer(self, types: &'t TypeTable) -> Option<Self> {
        let is_pointer = |found: &Found<'_>| matches!(types.resolve(found.ty).kind, TypeKind::Pointer { .. });
        if is_pointer(&self) {
            return Some(self);
        }
        let TypeKind::Aggregate(aggregate) = &types.resolve(self.ty).kind else { return None };
        let found = find_by(aggregate, types, is_pointer)?;
        Some(Found { at: self.at.checked_add(found.at)?, ..found })
    }

    /// What it holds as this variant of an enum of Rust.
    #[must_use]
    pub fn variant(self, name: &str, types: &'t TypeTable) -> Option<Self> {
        let TypeKind::Aggregate(aggregate) = &types.resolve(self.ty).kind else { return None };
        let member = aggregate.variants.as_ref()?.variants.iter().map(|variant| &variant.member);
        let member = member.into_iter().find(|member| member.name == name)?;
        Some(Found { name: &member.name, at: self.at.checked_add(member.offset)?, ty: member.ty })
    }
}

/// The member of this name, here or in a member: the outermost first.
#[must_use]
pub fn find<'t>(aggregate: &'t Aggregate, name: &str, types: &'t TypeTable) -> Option<Found<'t>> {
    find_by(aggregate, types, |found| found.name == name)
}

fn find_by<'t>(
    aggregate: &'t Aggregate,
    types: &'t TypeTable,
    is_wanted: impl Fn(&Found<'t>) -> bool,
) -> Option<Found<'t>> {
    let mut left = MAX_LOOKED_AT;
    let mut level = vec![(0u64, aggregate)];
    for _ in 0..MAX_DEPTH {
        let mut next = Vec::new();
        for (start, aggregate) in level {
            for member in &aggregate.members {
                left = left.checked_sub(1)?;
                let found = Found { name: &member.name, at: start.checked_add(member.offset)?, ty: member.ty };
                if is_wanted(&found) {
                    return Some(found);
                }
                if let TypeKind::Aggregate(inner) = &types.resolve(member.ty).kind {
                    next.push((found.at, inner));
                }
            }
        }
        level = next;
    }
    None
}

/// The type that a pointer points to.
#[must_use]
pub fn pointee(pointer: TypeId, types: &TypeTable) -> Option<TypeId> {
    match types.resolve(pointer).kind {
        TypeKind::Pointer { to, .. } => Some(to),
        _ => None,
    }
}

/// Where an element lies in a node of C++ that begins with `links` bytes: at the next multiple of its alignment.
#[must_use]
pub fn element_offset(links: u64, of: TypeId, types: &TypeTable) -> Option<u64> {
    links.checked_next_multiple_of(alignment(of, types, &mut { MAX_TYPES }))
}

/// The alignment of a type: that of the widest number in it (psABI, 3.1.2). `fuel` bounds how many types are looked at.
fn alignment(ty: TypeId, types: &TypeTable, fuel: &mut u32) -> u64 {
    let ty = types.resolve(ty);
    *fuel = fuel.saturating_sub(1);
    match &ty.kind {
        _ if *fuel == 0 => 1,
        TypeKind::Aggregate(aggregate) => {
            aggregate.members.iter().map(|member| alignment(member.ty, types, fuel)).max().unwrap_or(1)
        }
        TypeKind::Array { of, .. } => alignment(*of, types, fuel),
        _ => ty.size.filter(|size| size.is_power_of_two() && *size <= 16).unwrap_or(1),
    }
}
