//! A type in; the pointers in its values that a plan may follow out, and what each of them leads to.

use super::Followed;
use super::shape::{is_c_string, str_parts};
use crate::dwarf::types::{Aggregate, Type, TypeId, TypeKind, TypeTable};

/// Aggregates in aggregates that are looked into.
const MAX_DEPTH: u32 = 16;
/// Types that are looked at for one value.
const MAX_TYPES: u32 = 2048;
/// Elements of an array whose pointers are followed.
const MAX_ELEMENTS: u64 = 8;
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

/// Whether what a pointer points to says more than its address, and how many bytes it has.
#[must_use]
pub fn followable(to: TypeId, types: &TypeTable) -> Option<u64> {
    let to = types.resolve(to);
    let is_worth_it = match &to.kind {
        TypeKind::Void | TypeKind::Function | TypeKind::Unsupported(_) => false,
        TypeKind::Aggregate(aggregate) => !aggregate.is_declaration,
        _ => true,
    };
    to.size.filter(|size| is_worth_it && *size > 0)
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
        if let Some(counted) = Counted::of(ty, aggregate, self.types) {
            self.add_counted(at, &counted);
            return Some(());
        }
        // Of the members of a variant that is not there, pointers lead anywhere: what is read there is not shown.
        let variants = aggregate.variants.iter().flat_map(|part| &part.variants).map(|variant| &variant.member);
        for member in aggregate.members.iter().chain(variants) {
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

    fn add(&mut self, at: u64, lead: Option<Followed>) {
        let is_within = at.checked_add(POINTER_BYTES).is_some_and(|end| end <= self.size);
        let (Ok(at), Some(lead), true) = (u32::try_from(at), lead, is_within) else { return };
        // Members of a union are the same bytes: one lead of each kind is enough.
        if !self.found.iter().any(|known| known.at == at && known.lead == lead) {
            self.found.push(Pointer { at, path: self.path.clone(), lead });
        }
    }

    fn add_counted(&mut self, at: u64, counted: &Counted) {
        let within = |offset: u64| {
            let at = at.checked_add(offset).filter(|at| at.saturating_add(POINTER_BYTES) <= self.size)?;
            u32::try_from(at).ok()
        };
        let lead = match counted.extent {
            Extent::Length { at, element: 1 } => within(at).map(|length_at| Followed::Str { length_at }),
            Extent::Length { at, element } => within(at).map(|length_at| Followed::Counted { length_at, element }),
            Extent::End { at } => within(at).map(|end_at| Followed::Until { end_at }),
        };
        if let Some(at) = at.checked_add(counted.pointer_at) {
            self.add(at, lead);
        }
    }
}

/// A pair of a pointer and how far it reaches.
struct Counted {
    pointer_at: u64,
    extent: Extent,
}

enum Extent {
    Length { at: u64, element: u16 },
    End { at: u64 },
}

impl Counted {
    /// Of the types that are such a pair by the names of their members: Rust's slices, texts and vectors as rustc describes them, C++'s as
    /// libstdc++ has them.
    fn of(ty: &Type, aggregate: &Aggregate, types: &TypeTable) -> Option<Self> {
        let length = |pointer_at, at, element| Some(Self { pointer_at, extent: Extent::Length { at, element } });
        if let Some((pointer_at, length_at)) = str_parts(ty, aggregate, types) {
            return length(pointer_at, length_at, 1);
        }
        let direct = |name| member(aggregate, name, types);
        if let (Some((pointer_at, pointer)), Some((length_at, _))) = (direct("data_ptr"), direct("length")) {
            return length(pointer_at, length_at, pointee_bytes(pointer, types)?);
        }
        let text = path(aggregate, &["_M_dataplus", "_M_p"], types);
        if let (Some((pointer_at, pointer)), Some((length_at, _))) = (text, direct("_M_string_length")) {
            return length(pointer_at, length_at, pointee_bytes(pointer, types)?);
        }
        if let Some((begin, _)) = path(aggregate, &["_M_impl", "_M_start"], types) {
            let end = path(aggregate, &["_M_impl", "_M_finish"], types)?.0;
            return Some(Self { pointer_at: begin, extent: Extent::End { at: end } });
        }
        if let (Some((buffer_at, buffer)), Some((length_at, _)), true) =
            (direct("buf"), direct("len"), is_rust_vector(&ty.name))
        {
            let pointer_at = first_pointer(buffer, types, MAX_DEPTH)?.0;
            // Since Rust 1.83 the buffer of a vector is one of bytes, whatever it holds: its type argument tells.
            let element = aggregate.parameters.first().and_then(|of| types.resolve(*of).size);
            let element = element.and_then(|size| u16::try_from(size).ok()).filter(|size| *size > 0);
            return length(buffer_at.checked_add(pointer_at)?, length_at, element?);
        }
        None
    }
}

/// A member's offset and type.
fn member<'t>(aggregate: &Aggregate, name: &str, types: &'t TypeTable) -> Option<(u64, &'t Type)> {
    let found = aggregate.members.iter().find(|member| member.name == name)?;
    Some((found.offset, types.resolve(found.ty)))
}

/// The same of a member of a member; unnamed members (base classes) are looked into.
fn path<'t>(aggregate: &Aggregate, names: &[&str; 2], types: &'t TypeTable) -> Option<(u64, &'t Type)> {
    let (outer_at, outer) = member(aggregate, names[0], types).or_else(|| {
        aggregate.members.first().and_then(|base| {
            let TypeKind::Aggregate(inner) = &types.resolve(base.ty).kind else { return None };
            let (at, found) = member(inner, names[0], types)?;
            Some((base.offset.checked_add(at)?, found))
        })
    })?;
    let TypeKind::Aggregate(outer) = &outer.kind else { return None };
    let inner = member(outer, names[1], types).or_else(|| {
        outer.members.iter().find_map(|base| {
            let TypeKind::Aggregate(inner) = &types.resolve(base.ty).kind else { return None };
            let (at, found) = member(inner, names[1], types)?;
            Some((base.offset.checked_add(at)?, found))
        })
    });
    let (at, found) = inner?;
    Some((outer_at.checked_add(at)?, found))
}

/// The first pointer in a value.
fn first_pointer<'t>(ty: &'t Type, types: &'t TypeTable, depth: u32) -> Option<(u64, &'t Type)> {
    let depth = depth.checked_sub(1)?;
    match &ty.kind {
        TypeKind::Pointer { .. } => Some((0, ty)),
        TypeKind::Aggregate(aggregate) => aggregate.members.iter().find_map(|member| {
            let (at, found) = first_pointer(types.resolve(member.ty), types, depth)?;
            Some((member.offset.checked_add(at)?, found))
        }),
        _ => None,
    }
}

fn pointee_bytes(pointer: &Type, types: &TypeTable) -> Option<u16> {
    let TypeKind::Pointer { to, .. } = pointer.kind else { return None };
    types.resolve(to).size.and_then(|size| u16::try_from(size).ok()).filter(|size| *size > 0)
}

fn is_rust_vector(name: &str) -> bool {
    name.split('<').next().is_some_and(|path| path == "Vec" || path.ends_with("::Vec"))
}
