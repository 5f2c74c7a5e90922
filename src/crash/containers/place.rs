//! A part of a value: of a type that debug info describes, at a place among the bytes that are known.

use crate::crash::decode::{Decoder, Pointees};
use crate::dwarf::types::{Aggregate, Type, TypeId, TypeKind};
use crate::report::{Address, Value};

/// Members in members that are looked through.
const MAX_DEPTH: u32 = 12;
/// Members that are looked at for one name.
const MAX_LOOKED_AT: u32 = 256;

/// Where something lies.
#[derive(Clone, Copy)]
pub struct Place<'p> {
    /// The bytes, and the types.
    pub decoder: &'p Decoder<'p>,
    /// The memory that its pointers lead into.
    pub behind: &'p dyn Pointees,
    /// Its type.
    pub id: TypeId,
    /// Its first byte.
    pub at: usize,
    /// Values that it is in.
    pub depth: u32,
}

impl<'p> Place<'p> {
    /// Its type, behind typedefs and qualifiers.
    pub fn ty(&self) -> &'p Type {
        self.decoder.types.resolve(self.id)
    }

    /// Its type's name without what the type was given: `std::vector`.
    pub fn base_name(&self) -> &'p str {
        let name = &self.ty().name;
        name.split_once('<').map_or(name, |(base, _)| base)
    }

    /// What it consists of.
    pub fn aggregate(&self) -> Option<&'p Aggregate> {
        match &self.ty().kind {
            TypeKind::Aggregate(aggregate) => Some(aggregate),
            _ => None,
        }
    }

    /// Another type at another place of the same value.
    pub fn moved(&self, id: TypeId, offset: u64) -> Option<Self> {
        let at = usize::try_from(offset).ok().and_then(|offset| self.at.checked_add(offset))?;
        Some(Self { id, at, ..*self })
    }

    /// All members, base classes and anonymous ones among them.
    pub fn members(&self) -> impl Iterator<Item = (&'p str, Self)> {
        let place = *self;
        let members = self.aggregate().map_or(&[][..], |aggregate| &aggregate.members);
        members.iter().filter_map(move |member| Some((member.name.as_str(), place.moved(member.ty, member.offset)?)))
    }

    /// The member of this name.
    pub fn member(&self, name: &str) -> Option<Self> {
        self.members().find(|(of, _)| *of == name).map(|(_, member)| member)
    }

    /// The member of this name, here or in a member: the outermost first.
    pub fn find(&self, name: &str) -> Option<Self> {
        self.find_by(&mut |of, _| of == name)
    }

    /// The first member that is wanted, here or in a member: the outermost first.
    pub fn find_by(&self, is_wanted: &mut dyn FnMut(&str, &Self) -> bool) -> Option<Self> {
        let mut level = vec![*self];
        let mut left = MAX_LOOKED_AT;
        for _ in 0..MAX_DEPTH {
            let mut next = Vec::new();
            for (name, member) in level.iter().flat_map(Place::members) {
                left = left.checked_sub(1)?;
                if is_wanted(name, &member) {
                    return Some(member);
                }
                next.push(member);
            }
            level = next;
        }
        None
    }

    /// It, or the first pointer among its members.
    pub fn first_pointer(&self) -> Option<Self> {
        let is_pointer = |place: &Self| matches!(place.ty().kind, TypeKind::Pointer { .. });
        if is_pointer(self) { Some(*self) } else { self.find_by(&mut |_, place| is_pointer(place)) }
    }

    /// What the type was given, counted from 0.
    pub fn parameter(&self, index: usize) -> Option<TypeId> {
        self.aggregate()?.parameters.get(index).copied()
    }

    /// The type that a pointer here points to.
    pub fn pointee(&self) -> Option<TypeId> {
        match self.ty().kind {
            TypeKind::Pointer { to, .. } => Some(to),
            _ => None,
        }
    }

    /// The number here, if all of it is known.
    pub fn number(&self) -> Option<u64> {
        let size = self.ty().size.and_then(|size| usize::try_from(size).ok()).filter(|size| (1..=8).contains(size))?;
        let mut word = [0; 8];
        word[..size].copy_from_slice(self.decoder.bytes.get(self.at, size).ok()?);
        Some(u64::from_le_bytes(word))
    }

    /// The 8 bytes at this offset.
    pub fn word(&self, offset: u64) -> Option<u64> {
        let at = usize::try_from(offset).ok().and_then(|offset| self.at.checked_add(offset))?;
        Some(u64::from_le_bytes(self.decoder.bytes.get(at, 8).ok()?.try_into().ok()?))
    }

    /// The address in the first pointer here.
    pub fn address(&self) -> Option<Address> {
        self.first_pointer()?.number().map(Address)
    }

    /// What is here, as a value that says the name and the type of `outer`.
    pub fn as_value(&self, outer: &Value) -> Value {
        let inner = self.decoder.value(None, self.id, self.at, self.depth + 1);
        Value { name: outer.name.clone(), ty: outer.ty.clone(), ..inner }
    }

    /// What is here, under a name.
    pub fn named(&self, name: Option<String>) -> Value {
        self.decoder.value(name, self.id, self.at, self.depth + 1)
    }
}
