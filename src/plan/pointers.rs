//! A type in; the pointers in its values that a plan may follow out, and what each of them leads to.

use super::Followed;
use super::containers::{leads, without_version};
use super::layout::find;
use super::shape::{is_c_string, wide_character};
use crate::dwarf::types::{Aggregate, Heir, Type, TypeId, TypeKind, TypeTable};

/// Aggregates in aggregates that are looked into.
const MAX_DEPTH: u32 = 16;
/// Types that are looked at for one value.
const MAX_TYPES: u32 = 2048;
/// Elements of an array whose pointers are followed.
const MAX_ELEMENTS: u64 = 8;
/// Bytes of the largest type that is considered where a value may be of several.
const MAX_HEIR_BYTES: u64 = 256;
/// Bytes of a text of wide characters, of which the kernel side does not know where they end.
const WIDE_TEXT_BYTES: u16 = 128;
/// Bytes of a pointer that can be followed, and its alignment: the kernel side reads aligned words.
const POINTER_BYTES: u64 = 8;

/// A pointer in a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pointer {
    /// Where in the value it lies.
    pub at: u32,
    /// How to get there, as C writes it: `.names[1]`. Empty if the value is the pointer.
    pub path: String,
    /// What it leads to.
    pub lead: Followed,
}

/// The pointers in the first `size` bytes of a value of type `ty`, which is called `name`, in the order of its members.
#[must_use]
pub fn pointers_in(name: Option<&str>, ty: TypeId, size: u32, types: &TypeTable) -> Vec<Pointer> {
    let mut walk = Walk { types, size: size.into(), found: Vec::new(), fuel: MAX_TYPES, path: String::new() };
    walk.visit(name.unwrap_or_default(), ty, 0, MAX_DEPTH);
    walk.found
}

/// Whether what a pointer points to says more than its address, and how many bytes it has, whatever it really is.
#[must_use]
pub fn followable(to: TypeId, types: &TypeTable) -> Option<u64> {
    let behind = heirs(to, types).filter_map(|(heir, size)| size.checked_sub(heir.at)).max();
    let to = types.resolve(to);
    let is_worth_it = match &to.kind {
        TypeKind::Void | TypeKind::Function | TypeKind::Unsupported(_) => false,
        TypeKind::Aggregate(aggregate) => !aggregate.is_declaration,
        _ => true,
    };
    to.size.max(behind).filter(|size| is_worth_it && *size > 0)
}

/// How many bytes there may be in front of what a pointer points to, whatever it really is.
#[must_use]
pub fn bytes_in_front(to: TypeId, types: &TypeTable) -> u16 {
    let most = heirs(to, types).filter(|(heir, size)| heir.at < *size).map(|(heir, _)| heir.at).max();
    most.and_then(|bytes| u16::try_from(bytes).ok()).unwrap_or(0)
}

/// What a value may really be, and how large that is; without what is too large.
fn heirs(to: TypeId, types: &TypeTable) -> impl Iterator<Item = (&Heir, u64)> {
    let sized = types.heirs(to).iter().filter_map(|heir| Some((heir, types.resolve(heir.ty).size?)));
    sized.filter(|(_, size)| *size <= MAX_HEIR_BYTES)
}

/// The pointers in the first `size` bytes of what a pointer to `ty` leads to, whatever it really is.
#[must_use]
pub fn pointers_of_target(ty: TypeId, size: u32, types: &TypeTable) -> Vec<Pointer> {
    let own = pointers_in(None, ty, size, types);
    let of_heirs = types.heirs(ty).iter().flat_map(|heir| {
        let at = u32::try_from(heir.at).unwrap_or(u32::MAX);
        let found = pointers_in(None, heir.ty, size.saturating_add(at), types);
        found.into_iter().filter_map(move |pointer| moved(pointer, -i64::from(at)))
    });
    without_doubles(own.into_iter().chain(of_heirs))
}

/// The pointers in the last `bytes` bytes in front of what a pointer to `ty` leads to, whatever that is a part of.
#[must_use]
pub fn pointers_in_front(ty: TypeId, bytes: u32, types: &TypeTable) -> Vec<Pointer> {
    without_doubles(types.heirs(ty).iter().flat_map(|heir| {
        let at = u32::try_from(heir.at).unwrap_or(u32::MAX);
        let found = pointers_in(None, heir.ty, at, types);
        found.into_iter().filter_map(move |pointer| moved(pointer, i64::from(bytes) - i64::from(at)))
    }))
}

/// A pointer in something that begins so many bytes further ahead.
fn moved(pointer: Pointer, by: i64) -> Option<Pointer> {
    let at = u32::try_from(i64::from(pointer.at).checked_add(by)?).ok()?;
    Some(Pointer { at, lead: pointer.lead.moved(by)?, ..pointer })
}

/// What several types have at the same place, once.
fn without_doubles(pointers: impl Iterator<Item = Pointer>) -> Vec<Pointer> {
    let mut found: Vec<Pointer> = Vec::new();
    for pointer in pointers {
        if !found.iter().any(|known| known.at == pointer.at && known.lead == pointer.lead) {
            found.push(pointer);
        }
    }
    found
}

/// Whether a `char **` of this name is a list that ends with a NULL, as `argv` is.
#[must_use]
pub fn is_list_of_texts(name: &str, ty: &Type, types: &TypeTable) -> bool {
    let TypeKind::Pointer { to, reference: false } = ty.kind else { return false };
    matches!(name, "argv" | "args" | "envp" | "env" | "environ") && is_c_string(types.resolve(to), types)
}

struct Walk<'a> {
    types: &'a TypeTable,
    size: u64,
    found: Vec<Pointer>,
    fuel: u32,
    path: String,
}

impl Walk<'_> {
    /// Looks into a value at byte `at`; `None` where that was too much.
    fn visit(&mut self, name: &str, ty: TypeId, at: u64, depth: u32) -> Option<()> {
        let ty = self.types.resolve(ty);
        self.fuel = self.fuel.checked_sub(1)?;
        let depth = depth.checked_sub(1)?;
        match &ty.kind {
            TypeKind::Aggregate(aggregate) => self.aggregate(ty, aggregate, at, depth)?,
            TypeKind::Pointer { to, .. } if ty.size == Some(POINTER_BYTES) => {
                let lead = match () {
                    () if is_c_string(ty, self.types) => Some(Followed::CString),
                    () if is_list_of_texts(name, ty, self.types) => Some(Followed::Texts),
                    () if wide_character(*to, self.types).is_some() => Some(Followed::Bytes(WIDE_TEXT_BYTES)),
                    () => followable(*to, self.types).map(|_| Followed::Value(*to)),
                };
                self.add(at, lead);
            }
            TypeKind::Array { of, counts } => self.array(*of, counts, at, depth)?,
            _ => {}
        }
        Some(())
    }

    fn aggregate(&mut self, ty: &Type, aggregate: &Aggregate, at: u64, depth: u32) -> Option<()> {
        if let Some(leads) = leads(ty, aggregate, self.types) {
            for (pointer, lead) in leads {
                self.add_lead(at, pointer, lead);
            }
            return Some(());
        }
        if without_version(base_name(&ty.name)) == "std::variant" {
            self.choice(aggregate, at, depth)?;
        }
        // Of the members of a variant that is not there, pointers lead anywhere: what is read there is not shown.
        let variants = aggregate.variants.iter().flat_map(|part| &part.variants).map(|variant| &variant.member);
        for member in aggregate.members.iter().chain(variants) {
            // Where the methods are is told by its name.
            if member.name.starts_with("_vptr") {
                continue;
            }
            let known = self.path.len();
            if !member.name.is_empty() {
                self.path.push('.');
                self.path.push_str(&member.name);
            }
            let seen = self.visit(&member.name, member.ty, at.checked_add(member.offset)?, depth);
            self.path.truncate(known);
            seen?;
        }
        Some(())
    }

    /// `std::variant`: any of its types at the same place. It may keep plain bytes for them, of which nobody says what they are.
    fn choice(&mut self, aggregate: &Aggregate, at: u64, depth: u32) -> Option<()> {
        let Some(storage) = find(aggregate, "_M_u", self.types) else { return Some(()) };
        let at = at.checked_add(storage.at)?;
        aggregate.parameters.iter().try_for_each(|of| self.visit("", *of, at, depth))
    }

    fn array(&mut self, of: TypeId, counts: &[Option<u64>], at: u64, depth: u32) -> Option<()> {
        // Of an array of arrays, the first row.
        let (count, rows) = (counts.last().copied().flatten()?, counts.len());
        let stride = self.types.resolve(of).size?;
        if !matches!(self.types.resolve(of).kind, TypeKind::Pointer { .. } | TypeKind::Aggregate(_)) {
            return Some(());
        }
        for index in 0..count.min(MAX_ELEMENTS) {
            let known = self.path.len();
            self.path.push_str(&"[0]".repeat(rows - 1));
            self.path.push_str(&format!("[{index}]"));
            let seen = self.visit("", of, at.checked_add(index.checked_mul(stride)?)?, depth);
            self.path.truncate(known);
            seen?;
        }
        Some(())
    }

    /// A pointer of a container that begins at byte `at`.
    fn add_lead(&mut self, at: u64, pointer: u64, lead: Followed) {
        let Some(lead) = i64::try_from(at).ok().and_then(|at| lead.moved(at)) else { return };
        let end = lead.last_word().map_or(0, |word| u64::from(word) + POINTER_BYTES);
        if let Some(at) = at.checked_add(pointer).filter(|_| end <= self.size) {
            self.add(at, Some(lead));
        }
    }

    fn add(&mut self, at: u64, lead: Option<Followed>) {
        let is_within = at.checked_add(POINTER_BYTES).is_some_and(|end| end <= self.size);
        let (Ok(at), Some(lead), true) = (u32::try_from(at), lead, is_within) else { return };
        // Members of a union are the same bytes: one lead of each kind is enough.
        if !self.found.iter().any(|known| known.at == at && known.lead == lead) {
            self.found.push(Pointer { at, path: self.path.clone(), lead });
        }
    }
}

/// A type's name without what the type was given: `std::vector`.
#[must_use]
pub fn base_name(name: &str) -> &str {
    name.split_once('<').map_or(name, |(base, _)| base)
}
