//! Where results come back (psABI section 3.2.3), as far as a probe can see it: two integer registers.

use crate::arch::ReturnPlace;
use crate::dwarf::function::Language;
use crate::dwarf::types::{Aggregate, Type, TypeId, TypeKind, TypeTable};

/// Larger results are written to memory that the caller provides.
const MAX_REGISTER_BYTES: u64 = 16;
/// Aggregates in aggregates that are looked into.
const MAX_DEPTH: u32 = 16;
/// Types in an aggregate of 16 bytes that are looked at.
const MAX_TYPES: u32 = 256;

/// Where a result of this type is when the function returns.
pub fn return_place(ty: TypeId, language: Language, types: &TypeTable) -> Option<ReturnPlace> {
    let resolved = types.resolve(ty);
    if matches!(resolved.kind, TypeKind::Void) || resolved.size == Some(0) {
        return None;
    }
    let Some(size) = resolved.size else {
        return Some(unavailable(format!("the size of `{}` is not known", resolved.name)));
    };
    Some(match &resolved.kind {
        TypeKind::Integer { .. }
        | TypeKind::Bool
        | TypeKind::Character { .. }
        | TypeKind::Enumeration { .. }
        | TypeKind::Pointer { .. } => integer(size),
        TypeKind::Float => unavailable(format!("in register {}", float_register(resolved))),
        TypeKind::Aggregate(aggregate) => match language {
            Language::C => c_aggregate(ty, size, types),
            Language::Rust => rust_aggregate(resolved, aggregate, size, types),
            // A class with a destructor or a copy constructor of its own comes back in memory, however small it is
            // (Itanium C++ ABI, section 3.1.3.1); its type does not say so.
            _ => unavailable("a class: whether it comes back in registers is not known".into()),
        },
        TypeKind::Unsupported(reason) => unavailable(reason.clone()),
        _ => unavailable(format!("how a `{}` comes back is not known", resolved.name)),
    })
}

fn unavailable(reason: String) -> ReturnPlace {
    ReturnPlace::Unavailable(reason)
}

fn integer(size: u64) -> ReturnPlace {
    match u32::try_from(size) {
        Ok(size) if u64::from(size) <= MAX_REGISTER_BYTES => ReturnPlace::Integer { size },
        _ => unavailable("in memory that the caller provides".into()),
    }
}

/// `long double` is the only type that comes back on the x87 stack; `__float128` has its size and does not.
fn float_register(float: &Type) -> &'static str {
    let is_x87 = float.size.is_some_and(|size| size >= 10) && float.name.contains("long double");
    if is_x87 { "st0" } else { "xmm0" }
}

/// Rust's own ABI passes a pair of scalars as the psABI passes two integers: `&str` and other slices, `&dyn Trait`.
fn rust_aggregate(ty: &Type, aggregate: &Aggregate, size: u64, types: &TypeTable) -> ReturnPlace {
    let is_word = |ty| {
        let ty = types.resolve(ty);
        ty.size == Some(8) && matches!(ty.kind, TypeKind::Pointer { .. } | TypeKind::Integer { .. })
    };
    let is_pointer = ["&", "*const ", "*mut "].iter().any(|prefix| ty.name.starts_with(prefix));
    let is_pair = matches!(&aggregate.members[..], [a, b] if is_word(a.ty) && is_word(b.ty));
    if is_pointer && is_pair && size == MAX_REGISTER_BYTES && aggregate.variants.is_none() {
        return ReturnPlace::Integer { size: MAX_REGISTER_BYTES as u32 };
    }
    unavailable("Rust does not promise where a result of this type is".into())
}

/// The class of eight bytes of an aggregate. INTEGER wins over SSE where both are in the same eight bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    None,
    Sse,
    Integer,
}

fn c_aggregate(ty: TypeId, size: u64, types: &TypeTable) -> ReturnPlace {
    if size > MAX_REGISTER_BYTES {
        return unavailable("in memory that the caller provides".into());
    }
    let mut classifier = Classifier { types, classes: [Class::None; 2], fuel: MAX_TYPES };
    if let Err(reason) = classifier.classify(ty, 0, MAX_DEPTH) {
        return unavailable(reason.into());
    }
    let classes = classifier.classes;
    match &classes[..size.div_ceil(8) as usize] {
        [Class::Integer] | [Class::Integer, Class::Integer] => integer(size),
        [Class::Sse, ..] if !classes.contains(&Class::Integer) => unavailable("in register xmm0".into()),
        [..] if classes.contains(&Class::Integer) => unavailable("partly in register xmm0".into()),
        _ => unavailable("nothing in it has a value".into()),
    }
}

struct Classifier<'a> {
    types: &'a TypeTable,
    classes: [Class; 2],
    /// Types that may still be looked at: damaged debug info can nest without end.
    fuel: u32,
}

impl Classifier<'_> {
    fn classify(&mut self, ty: TypeId, offset: u64, depth: u32) -> Result<(), &'static str> {
        let resolved = self.types.resolve(ty);
        self.fuel = self.fuel.checked_sub(1).ok_or("its type has too many members")?;
        let depth = depth.checked_sub(1).ok_or("its type is nested too deeply")?;
        match &resolved.kind {
            TypeKind::Aggregate(aggregate) => aggregate
                .members
                .iter()
                .try_for_each(|member| self.classify(member.ty, offset.saturating_add(member.offset), depth)),
            TypeKind::Array { of, counts } => {
                let element = self.types.resolve(*of).size.filter(|&size| size > 0).ok_or("an element has no size")?;
                let count = counts.iter().try_fold(1u64, |all, count| all.checked_mul((*count)?)).unwrap_or(0);
                (0..count.min(MAX_REGISTER_BYTES)).try_for_each(|index| {
                    self.classify(*of, offset.saturating_add(index.saturating_mul(element)), depth)
                })
            }
            TypeKind::Float if float_register(resolved) == "st0" => Err("in register st0"),
            TypeKind::Float => self.scalar(Class::Sse, offset, resolved.size),
            TypeKind::Unsupported(_) => Err("the type of a member is not understood"),
            _ => self.scalar(Class::Integer, offset, resolved.size),
        }
    }

    fn scalar(&mut self, class: Class, offset: u64, size: Option<u64>) -> Result<(), &'static str> {
        let size = size.filter(|&size| size > 0).ok_or("the size of a member is not known")?;
        if !offset.is_multiple_of(size) {
            return Err("in memory that the caller provides: its members are not aligned");
        }
        for eight in offset / 8..offset.saturating_add(size).div_ceil(8) {
            let slot = usize::try_from(eight).ok().and_then(|eight| self.classes.get_mut(eight));
            let slot = slot.ok_or("its members reach beyond its size")?;
            if *slot != Class::Integer {
                *slot = class;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dwarf::types::Member;

    fn scalar(types: &mut TypeTable, name: &str, size: u64, kind: TypeKind) -> TypeId {
        types.push(Type { name: name.into(), size: Some(size), kind })
    }

    fn aggregate(types: &mut TypeTable, name: &str, size: u64, members: &[(u64, TypeId)]) -> TypeId {
        let members = members.iter().map(|&(offset, ty)| Member { name: String::new(), offset, ty }).collect();
        let kind = TypeKind::Aggregate(Aggregate { members, ..Aggregate::default() });
        types.push(Type { name: name.into(), size: Some(size), kind })
    }

    /// Guards against showing rax as the result of a function whose result is elsewhere.
    #[test]
    fn results_are_looked_for_where_the_psabi_puts_them() {
        let types = &mut TypeTable::default();
        let int = scalar(types, "int", 4, TypeKind::Integer { signed: true });
        let wide = scalar(types, "__int128", 16, TypeKind::Integer { signed: true });
        let long = scalar(types, "long", 8, TypeKind::Integer { signed: true });
        let float = scalar(types, "float", 4, TypeKind::Float);
        let extended = scalar(types, "long double", 16, TypeKind::Float);
        let quad = scalar(types, "_Float128", 16, TypeKind::Float);
        let void = types.push(Type { name: "void".into(), size: None, kind: TypeKind::Void });
        let pair = aggregate(types, "pair", 16, &[(0, long), (8, int)]);
        let mixed = aggregate(types, "mixed", 8, &[(0, int), (4, float)]);
        let split = aggregate(types, "split", 16, &[(0, float), (8, long)]);
        let floats = aggregate(types, "floats", 8, &[(0, float), (4, float)]);
        let big = aggregate(types, "big", 24, &[(0, long), (8, long), (16, long)]);
        let packed = aggregate(types, "packed", 9, &[(0, int), (1, long)]);
        let unavailable = |reason: &str| Some(ReturnPlace::Unavailable(reason.into()));
        let integer = |size| Some(ReturnPlace::Integer { size });
        let cases = [
            (void, None),
            (int, integer(4)),
            (wide, integer(16)),
            (float, unavailable("in register xmm0")),
            (extended, unavailable("in register st0")),
            (quad, unavailable("in register xmm0")),
            (pair, integer(16)),
            (mixed, integer(8)),
            (split, unavailable("partly in register xmm0")),
            (floats, unavailable("in register xmm0")),
            (big, unavailable("in memory that the caller provides")),
            (packed, unavailable("in memory that the caller provides: its members are not aligned")),
        ];
        for (ty, expected) in cases {
            assert_eq!(return_place(ty, Language::C, types), expected, "{}", types.get(ty).name);
        }
    }

    /// Guards against taking the pointer in rax for the value of a C++ class that is returned in memory (`std::unique_ptr`).
    #[test]
    fn classes_and_rust_structs_are_not_guessed() {
        let types = &mut TypeTable::default();
        let long = scalar(types, "usize", 8, TypeKind::Integer { signed: false });
        let slice = aggregate(types, "&[u32]", 16, &[(0, long), (8, long)]);
        let pair = aggregate(types, "Pair", 16, &[(0, long), (8, long)]);
        assert_eq!(return_place(slice, Language::Rust, types), Some(ReturnPlace::Integer { size: 16 }));
        for language in [Language::Rust, Language::Cpp] {
            assert!(matches!(return_place(pair, language, types), Some(ReturnPlace::Unavailable(_))), "{language:?}");
        }
    }

    /// Guards against a type of damaged debug info that holds itself.
    #[test]
    fn a_type_without_end_ends() {
        let types = &mut TypeTable::default();
        let own = types.push(Type { name: "own".into(), size: Some(8), kind: TypeKind::Void });
        let member = || Member { name: String::new(), offset: 0, ty: own };
        let members = vec![member(), member(), member()];
        let kind = TypeKind::Aggregate(Aggregate { members, ..Aggregate::default() });
        types.set(own, Type { name: "own".into(), size: Some(8), kind });
        assert!(matches!(return_place(own, Language::C, types), Some(ReturnPlace::Unavailable(_))));
    }
}
