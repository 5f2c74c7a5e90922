//! What of a type matters to a capture plan: which bytes have a meaning, and which types are text.

use crate::dwarf::types::{Aggregate, Type, TypeId, TypeKind, TypeTable};

/// Aggregates in aggregates that are looked into.
const MAX_DEPTH: u32 = 16;
/// Types that are looked at for one parameter.
const MAX_TYPES: u32 = 4096;

/// What a byte of a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// Nothing.
    Padding,
    /// A part of something.
    Value,
    /// 0 or 1: a `bool`, or an enumeration of two. Compilers clear its other bits when they store it, for good measure.
    OneBit,
}

/// What of a value of some type matters to a plan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    /// What each byte is.
    pub bytes: Vec<Meaning>,
}

impl Shape {
    /// The shape of the first `size` bytes of a type.
    #[must_use]
    pub fn of(ty: TypeId, size: u32, types: &TypeTable) -> Self {
        let shape = Self { bytes: vec![Meaning::Padding; size as usize] };
        let mut outline = Outline { types, shape, fuel: MAX_TYPES };
        if outline.visit(ty, 0, MAX_DEPTH).is_none() {
            // Too much of it to say what is padding.
            outline.shape.bytes.fill(Meaning::Value);
        }
        outline.shape
    }
}

/// `char *`. Only what is called `char` counts as text: `uint8_t *` and `signed char *` are numbers.
#[must_use]
pub fn is_c_string(ty: &Type, types: &TypeTable) -> bool {
    let TypeKind::Pointer { to, reference: false } = ty.kind else { return false };
    let to = types.resolve(to);
    ty.size == Some(8)
        && to.size == Some(1)
        && to.name == "char"
        && matches!(to.kind, TypeKind::Character { unicode: false, .. })
}

/// Bytes of a character of this type, if it is one of C's wide ones: `wchar_t`, `char16_t`, `char32_t`.
#[must_use]
pub fn wide_character(mut ty: TypeId, types: &TypeTable) -> Option<u16> {
    for _ in 0..MAX_DEPTH {
        let named = types.get(ty);
        if matches!(named.name.as_str(), "wchar_t" | "char16_t" | "char32_t") {
            return types
                .resolve(ty)
                .size
                .and_then(|size| u16::try_from(size).ok())
                .filter(|size| matches!(size, 2 | 4));
        }
        match named.kind {
            TypeKind::Typedef(to) | TypeKind::Qualified(to) => ty = to,
            _ => return None,
        }
    }
    None
}

/// Offsets of pointer and length of a `&str`, as rustc describes it.
#[must_use]
pub fn str_parts(ty: &Type, aggregate: &Aggregate, types: &TypeTable) -> Option<(u64, u64)> {
    let member = |name: &str| aggregate.members.iter().find(|member| member.name == name);
    let (pointer, length) = (member("data_ptr")?, member("length")?);
    let is_word = |ty| types.resolve(ty).size == Some(8);
    let is_str = matches!(ty.name.as_str(), "&str" | "&mut str") && is_word(pointer.ty) && is_word(length.ty);
    is_str.then_some((pointer.offset, length.offset))
}

/// How a text of Rust ends that a pointer and a length describe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextKind {
    /// Where its length says.
    Counted,
    /// A byte before: that one is a NUL.
    WithNul,
}

/// Whether a pointer of Rust of this name points to a text: `&str`, `Box<Path>`.
#[must_use]
pub fn text_behind(name: &str) -> Option<TextKind> {
    let pointers = ["&", "mut ", "*const ", "*mut ", "alloc::boxed::Box<"];
    let mut target = name;
    while let Some(rest) = pointers.iter().find_map(|pointer| target.strip_prefix(pointer)) {
        target = rest;
    }
    match target.split([',', '>']).next().unwrap_or(target) {
        "str" | "std::path::Path" | "std::ffi::os_str::OsStr" => Some(TextKind::Counted),
        "core::ffi::c_str::CStr" => Some(TextKind::WithNul),
        _ => None,
    }
}

/// A type of which only 0 and 1 are values.
fn is_one_bit(kind: &TypeKind) -> bool {
    match kind {
        TypeKind::Bool => true,
        TypeKind::Enumeration { enumerators, .. } => {
            !enumerators.is_empty() && enumerators.iter().all(|(_, value)| matches!(value, 0 | 1))
        }
        _ => false,
    }
}

struct Outline<'a> {
    types: &'a TypeTable,
    shape: Shape,
    fuel: u32,
}

impl Outline<'_> {
    /// Marks the bytes of a type at `offset`; `None` where that was too much.
    fn visit(&mut self, ty: TypeId, offset: u64, depth: u32) -> Option<()> {
        let ty = self.types.resolve(ty);
        self.fuel = self.fuel.checked_sub(1)?;
        let depth = depth.checked_sub(1)?;
        match &ty.kind {
            // C++'s empty classes have a size, and nobody copies what is in it.
            TypeKind::Aggregate(aggregate) if aggregate.variants.is_none() && !aggregate.is_declaration => {
                for member in &aggregate.members {
                    self.visit(member.ty, offset.checked_add(member.offset)?, depth)?;
                }
            }
            kind => {
                let meaning = if ty.size == Some(1) && is_one_bit(kind) { Meaning::OneBit } else { Meaning::Value };
                self.mark(offset, ty.size?, meaning);
            }
        }
        Some(())
    }

    fn mark(&mut self, offset: u64, size: u64, meaning: Meaning) {
        let end = self.shape.bytes.len();
        let clamp = |at: u64| usize::try_from(at).map_or(end, |at| at.min(end));
        for byte in &mut self.shape.bytes[clamp(offset)..clamp(offset.saturating_add(size))] {
            // Of the members of a union, the one that says less.
            *byte = if *byte == Meaning::Padding { meaning } else { Meaning::Value };
        }
    }
}
