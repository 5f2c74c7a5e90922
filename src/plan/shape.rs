//! What of a type matters to a capture plan: which bytes have a meaning, and behind which pointers there is text.

use crate::dwarf::types::{Aggregate, Type, TypeId, TypeKind, TypeTable};

/// Aggregates in aggregates that are looked into.
const MAX_DEPTH: u32 = 16;
/// Types that are looked at for one parameter.
const MAX_TYPES: u32 = 4096;

/// Text behind pointers in a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Text {
    /// A NUL-terminated string.
    CString {
        /// Where in the value the pointer lies.
        at: u32,
    },
    /// Rust's `&str`.
    Str {
        /// Where in the value the pointer lies.
        at: u32,
        /// Where in the value the length lies, 8 bytes.
        length_at: u32,
    },
}

/// What of a value of some type matters to a plan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    /// For each byte, whether it has a meaning; the others are padding.
    pub meant: Vec<bool>,
    /// Text behind pointers in it.
    pub texts: Vec<Text>,
    /// It is a `bool`.
    pub is_bool: bool,
}

impl Shape {
    /// The shape of the first `size` bytes of a type.
    #[must_use]
    pub fn of(ty: TypeId, size: u32, types: &TypeTable) -> Self {
        let shape = Self { meant: vec![false; size as usize], ..Self::default() };
        let mut outline = Outline { types, shape, fuel: MAX_TYPES };
        if outline.visit(ty, 0, MAX_DEPTH).is_none() {
            // Too much of it to say what is padding.
            outline.shape.meant.fill(true);
        }
        let resolved = types.resolve(ty);
        outline.shape.is_bool = matches!(resolved.kind, TypeKind::Bool) && resolved.size == Some(1);
        if is_c_string(resolved, types) {
            outline.shape.texts.push(Text::CString { at: 0 });
        }
        outline.shape
    }
}

/// `char *`. Only what is called `char` counts as text: `uint8_t *` and `signed char *` are numbers.
fn is_c_string(ty: &Type, types: &TypeTable) -> bool {
    let TypeKind::Pointer { to, reference: false } = ty.kind else { return false };
    let to = types.resolve(to);
    ty.size == Some(8)
        && to.size == Some(1)
        && to.name == "char"
        && matches!(to.kind, TypeKind::Character { unicode: false, .. })
}

/// Offsets of pointer and length of a `&str`, as rustc describes it.
fn str_parts(ty: &Type, aggregate: &Aggregate, types: &TypeTable) -> Option<(u64, u64)> {
    let member = |name: &str| aggregate.members.iter().find(|member| member.name == name);
    let (pointer, length) = (member("data_ptr")?, member("length")?);
    let is_word = |ty| types.resolve(ty).size == Some(8);
    let is_str = matches!(ty.name.as_str(), "&str" | "&mut str") && is_word(pointer.ty) && is_word(length.ty);
    is_str.then_some((pointer.offset, length.offset))
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
            TypeKind::Aggregate(aggregate) if !aggregate.has_variants && !aggregate.members.is_empty() => {
                if let Some((at, length_at)) = str_parts(ty, aggregate, self.types) {
                    self.add_str(offset.checked_add(at)?, offset.checked_add(length_at)?);
                }
                for member in &aggregate.members {
                    self.visit(member.ty, offset.checked_add(member.offset)?, depth)?;
                }
            }
            _ => self.mark(offset, ty.size?),
        }
        Some(())
    }

    fn mark(&mut self, offset: u64, size: u64) {
        let end = self.shape.meant.len();
        let clamp = |at: u64| usize::try_from(at).map_or(end, |at| at.min(end));
        self.shape.meant[clamp(offset)..clamp(offset.saturating_add(size))].fill(true);
    }

    fn add_str(&mut self, at: u64, length_at: u64) {
        let size = self.shape.meant.len() as u64;
        let fits = |at: u64| at.checked_add(8).is_some_and(|end| end <= size).then(|| u32::try_from(at).ok()).flatten();
        if let (Some(at), Some(length_at)) = (fits(at), fits(length_at)) {
            self.shape.texts.push(Text::Str { at, length_at });
        }
    }
}
