//! Where results come back: in which of the two integer registers, in memory, or where no probe can see them (psABI section 3.2.3).

mod rust;

use crate::arch::{ResultPart, ResultSpot, ReturnPlace};
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
    Some(match (&resolved.kind, language) {
        (
            TypeKind::Integer { .. }
            | TypeKind::Bool
            | TypeKind::Character { .. }
            | TypeKind::Enumeration { .. }
            | TypeKind::Pointer { .. },
            _,
        ) => integers(size),
        (TypeKind::Float, _) => unavailable(format!("in register {}", float_register(resolved))),
        (TypeKind::Aggregate(aggregate), _) if aggregate.is_declaration => {
            unavailable(format!("`{}` is only declared", resolved.name))
        }
        (TypeKind::Aggregate(_), Language::C | Language::Cpp | Language::Rust)
        | (TypeKind::Array { .. }, Language::Rust)
            if size > MAX_REGISTER_BYTES =>
        {
            ReturnPlace::Memory { size, certain: true }
        }
        (TypeKind::Aggregate(_), Language::C) => c_aggregate(ty, size, types),
        (TypeKind::Aggregate(aggregate), Language::Cpp) => class(ty, aggregate, size, types),
        (TypeKind::Aggregate(_) | TypeKind::Array { .. }, Language::Rust) => rust::return_place(ty, size, types),
        (TypeKind::Unsupported(reason), _) => unavailable(reason.clone()),
        _ => unavailable(format!("how a `{}` comes back is not known", resolved.name)),
    })
}

fn unavailable(reason: String) -> ReturnPlace {
    ReturnPlace::Unavailable(reason)
}

/// In rax, or in both.
fn integers(size: u64) -> ReturnPlace {
    if size > MAX_REGISTER_BYTES {
        return unavailable("no register is as large as it".into());
    }
    let classes = [Class::Integer; 2];
    ReturnPlace::Registers { parts: parts(&classes[..size.div_ceil(8) as usize], size), certain: true }
}

/// `long double` is the only type that comes back on the x87 stack; `__float128` has its size and does not.
fn float_register(float: &Type) -> &'static str {
    let is_x87 = float.size.is_some_and(|size| size >= 10) && float.name.contains("long double");
    if is_x87 { "st0" } else { "xmm0" }
}

/// A class comes back in memory, however small it is, if copying or destroying it is more than moving bytes (Itanium C++ ABI, section
/// 3.1.3.1). clang's debug info says which it is from DWARF 5 on; else its members suggest it.
fn class(ty: TypeId, aggregate: &Aggregate, size: u64, types: &TypeTable) -> ReturnPlace {
    if aggregate.is_passed_by_reference {
        return ReturnPlace::Memory { size, certain: true };
    }
    if !aggregate.is_passed_by_value && has_destructor(ty, types, MAX_DEPTH) {
        return ReturnPlace::Memory { size, certain: false };
    }
    match c_aggregate(ty, size, types) {
        ReturnPlace::Registers { parts, .. } => ReturnPlace::Registers { parts, certain: aggregate.is_passed_by_value },
        other => other,
    }
}

/// Whether a class, or a part of it, has a destructor.
fn has_destructor(ty: TypeId, types: &TypeTable, depth: u32) -> bool {
    match &types.resolve(ty).kind {
        TypeKind::Aggregate(aggregate) => {
            aggregate.has_destructor
                || depth > 0 && aggregate.members.iter().any(|member| has_destructor(member.ty, types, depth - 1))
        }
        TypeKind::Array { of, .. } => depth > 0 && has_destructor(*of, types, depth - 1),
        _ => false,
    }
}

/// The class of eight bytes of an aggregate. INTEGER wins over SSE where both are in the same eight bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    None,
    Sse,
    Integer,
}

/// Why an aggregate has no classes.
enum Unclassified {
    /// Its class is MEMORY.
    Memory,
    /// It is another one that is not read, or not known.
    Because(&'static str),
}

fn c_aggregate(ty: TypeId, size: u64, types: &TypeTable) -> ReturnPlace {
    match classes_of(ty, size, types) {
        Ok(classes) if classes.iter().all(|class| *class == Class::None) => {
            unavailable("nothing in it has a value".into())
        }
        Ok(classes) => ReturnPlace::Registers { parts: parts(&classes, size), certain: true },
        Err(Unclassified::Memory) => ReturnPlace::Memory { size, certain: true },
        Err(Unclassified::Because(reason)) => unavailable(reason.into()),
    }
}

/// The classes of all eight bytes of a small aggregate.
fn classes_of(ty: TypeId, size: u64, types: &TypeTable) -> Result<Vec<Class>, Unclassified> {
    let mut classifier = Classifier { types, classes: [Class::None; 2], fuel: MAX_TYPES };
    classifier.classify(ty, 0, MAX_DEPTH)?;
    let count = size.div_ceil(8).min(MAX_REGISTER_BYTES / 8);
    Ok(classifier.classes[..count as usize].to_vec())
}

/// Each eight bytes in the next register of its kind.
fn parts(classes: &[Class], size: u64) -> Vec<ResultPart> {
    let mut registers = Registers::default();
    let part = |(index, class): (usize, &Class)| {
        let spot = registers.next(*class);
        let size = size.saturating_sub(index as u64 * 8).min(8) as u32;
        ResultPart { size, spot }
    };
    classes.iter().enumerate().map(part).collect()
}

/// Registers that are handed out so far.
#[derive(Default)]
struct Registers {
    words: usize,
    vectors: u32,
}

impl Registers {
    fn next(&mut self, class: Class) -> ResultSpot {
        match class {
            Class::Integer => {
                self.words += 1;
                ResultSpot::Word(self.words - 1)
            }
            Class::Sse => {
                self.vectors += 1;
                ResultSpot::Unavailable(format!("in register xmm{}", self.vectors - 1))
            }
            Class::None => ResultSpot::Unavailable("nothing in it has a value".into()),
        }
    }
}

struct Classifier<'a> {
    types: &'a TypeTable,
    classes: [Class; 2],
    /// Types that may still be looked at: damaged debug info can nest without end.
    fuel: u32,
}

impl Classifier<'_> {
    fn classify(&mut self, ty: TypeId, offset: u64, depth: u32) -> Result<(), Unclassified> {
        use Unclassified::Because;
        let resolved = self.types.resolve(ty);
        self.fuel = self.fuel.checked_sub(1).ok_or(Because("its type has too many members"))?;
        let depth = depth.checked_sub(1).ok_or(Because("its type is nested too deeply"))?;
        match &resolved.kind {
            TypeKind::Aggregate(aggregate) => {
                let part = aggregate.variants.as_ref();
                if let Some(discriminant) = part.and_then(|part| part.discriminant) {
                    self.scalar(Class::Integer, offset.saturating_add(discriminant.offset), Some(discriminant.size))?;
                }
                let variants = part.iter().flat_map(|part| &part.variants).map(|variant| &variant.member);
                let mut members = aggregate.members.iter().chain(variants);
                members.try_for_each(|member| self.classify(member.ty, offset.saturating_add(member.offset), depth))
            }
            TypeKind::Array { of, counts } => {
                let element = self.types.resolve(*of).size.filter(|&size| size > 0);
                let element = element.ok_or(Because("an element has no size"))?;
                let count = counts.iter().try_fold(1u64, |all, count| all.checked_mul((*count)?)).unwrap_or(0);
                (0..count.min(MAX_REGISTER_BYTES)).try_for_each(|index| {
                    self.classify(*of, offset.saturating_add(index.saturating_mul(element)), depth)
                })
            }
            TypeKind::Float if float_register(resolved) == "st0" => Err(Because("in register st0")),
            TypeKind::Float => self.scalar(Class::Sse, offset, resolved.size),
            TypeKind::Unsupported(_) => Err(Because("the type of a member is not understood")),
            TypeKind::BitField { .. } => self.mark(Class::Integer, offset, resolved.size),
            _ => self.scalar(Class::Integer, offset, resolved.size),
        }
    }

    fn scalar(&mut self, class: Class, offset: u64, size: Option<u64>) -> Result<(), Unclassified> {
        let is_aligned = size.is_some_and(|size| size > 0 && offset.is_multiple_of(size));
        if size.is_some() && !is_aligned { Err(Unclassified::Memory) } else { self.mark(class, offset, size) }
    }

    fn mark(&mut self, class: Class, offset: u64, size: Option<u64>) -> Result<(), Unclassified> {
        let size = size.ok_or(Unclassified::Because("the size of a member is not known"))?;
        for eight in offset / 8..offset.saturating_add(size).div_ceil(8) {
            let slot = usize::try_from(eight).ok().and_then(|eight| self.classes.get_mut(eight));
            let slot = slot.ok_or(Unclassified::Because("its members reach beyond its size"))?;
            if *slot != Class::Integer {
                *slot = class;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::dwarf::types::Member;

    pub fn scalar(types: &mut TypeTable, name: &str, size: u64, kind: TypeKind) -> TypeId {
        types.push(Type { name: name.into(), size: Some(size), kind })
    }

    pub fn aggregate(types: &mut TypeTable, name: &str, size: u64, members: &[(u64, TypeId)]) -> TypeId {
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
        let integer = |size| Some(integers(size));
        let memory = |size| Some(ReturnPlace::Memory { size, certain: true });
        let in_vector = |size| ResultPart { size, spot: ResultSpot::Unavailable("in register xmm0".into()) };
        let half = vec![in_vector(8), ResultPart { size: 8, spot: ResultSpot::Word(0) }];
        let cases = [
            (void, None),
            (int, integer(4)),
            (wide, integer(16)),
            (float, unavailable("in register xmm0")),
            (extended, unavailable("in register st0")),
            (quad, unavailable("in register xmm0")),
            (pair, integer(16)),
            (mixed, integer(8)),
            (split, Some(ReturnPlace::Registers { parts: half, certain: true })),
            (floats, Some(ReturnPlace::Registers { parts: vec![in_vector(8)], certain: true })),
            (big, memory(24)),
            (packed, memory(9)),
        ];
        for (ty, expected) in cases {
            assert_eq!(return_place(ty, Language::C, types), expected, "{}", types.get(ty).name);
        }
    }

    /// Guards against taking the pointer in rax for the value of a C++ class that is returned in memory (`std::unique_ptr`), or the other way round.
    #[test]
    fn classes_come_back_as_debug_info_says_or_suggests() {
        let types = &mut TypeTable::default();
        let long = scalar(types, "long", 8, TypeKind::Integer { signed: true });
        let mut class = |known: fn(&mut Aggregate)| {
            let mut aggregate =
                Aggregate { members: vec![Member { name: "p".into(), offset: 0, ty: long }], ..Aggregate::default() };
            known(&mut aggregate);
            types.push(Type { name: "class".into(), size: Some(8), kind: TypeKind::Aggregate(aggregate) })
        };
        let by_reference = class(|it| it.is_passed_by_reference = true);
        let by_value = class(|it| it.is_passed_by_value = true);
        let destroyed = class(|it| it.has_destructor = true);
        let plain = class(|_| {});
        let holder = aggregate(types, "holder", 8, &[(0, destroyed)]);
        let memory = |certain| Some(ReturnPlace::Memory { size: 8, certain });
        let registers = |certain| match integers(8) {
            ReturnPlace::Registers { parts, .. } => Some(ReturnPlace::Registers { parts, certain }),
            other => panic!("{other:?}"),
        };
        let cases = [
            (by_reference, memory(true)),
            (by_value, registers(true)),
            (destroyed, memory(false)),
            (holder, memory(false)),
            (plain, registers(false)),
        ];
        for (ty, expected) in cases {
            assert_eq!(return_place(ty, Language::Cpp, types), expected);
        }
        assert!(matches!(return_place(plain, Language::Go, types), Some(ReturnPlace::Unavailable(_))));
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
