//! A structure in; the elements that lie behind it, in an array without a size at its end (C's flexible array member), and what counts them, out.
//!
//! C does not say how many there are. A member that is called as a length is believed, as with pointers (`pairs`), and so is the user:
//! `--len send:msg.data=n`. Where there is none, characters are read up to a NUL, and told as a guess.

use super::Followed;
use super::pairs::{Length, rank_of_length};
use crate::dwarf::function::Function;
use crate::dwarf::types::{Aggregate, Member, TypeId, TypeKind, TypeTable};

/// Structures in structures whose last members are looked at.
const MAX_DEPTH: u32 = 16;

/// An array that goes on behind the structure which it is the last member of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tail {
    /// Where it begins, from the start of the structure.
    pub at: u32,
    /// Its type.
    pub array: TypeId,
    /// Type of an element.
    pub of: TypeId,
    /// Bytes of an element.
    pub element: u16,
    /// What tells how many there are. `None` where nobody knows.
    pub count: Option<TailCount>,
}

/// A tail, and what it is called.
pub struct NamedTail {
    /// It.
    pub tail: Tail,
    /// How to get to it from the structure, as C writes it: `.header.data`.
    pub path: String,
    /// The name of the member that counts its elements.
    pub counted_by: Option<String>,
}

/// The number of elements of a [`Tail`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TailCount {
    /// Where in the structure it lies.
    pub at: u32,
    /// Bytes of it: 1, 2, 4 or 8.
    pub size: u16,
    /// Whether it may be negative.
    pub signed: bool,
    /// The user says so; otherwise it is the member's name that does.
    pub is_said: bool,
}

impl Tail {
    /// The characters of a text, of which only the end may tell how many there are.
    #[must_use]
    pub fn is_text(&self, types: &TypeTable) -> bool {
        let element = types.resolve(self.of);
        element.name == "char" && matches!(element.kind, TypeKind::Character { unicode: false, .. })
    }

    /// What can be captured of it. `None` where nobody knows how much.
    #[must_use]
    pub fn followed(self, types: &TypeTable) -> Option<Followed> {
        (self.count.is_some() || self.is_text(types)).then_some(Followed::Tail(self))
    }
}

/// The last member of a structure, or of the structure that is its last member, and so on.
struct Last<'t> {
    path: String,
    /// Where the structure begins that it belongs to.
    at: u64,
    id: TypeId,
    aggregate: &'t Aggregate,
    member: &'t Member,
}

/// The tail of a structure. None of a Rust type: its arrays have the sizes that they say.
#[must_use]
pub fn tail_of(ty: TypeId, types: &TypeTable) -> Option<NamedTail> {
    let last = last_member(ty, types)?;
    let TypeKind::Array { of, counts } = &types.resolve(last.member.ty).kind else { return None };
    let is_rust = types.get(last.member.ty).name.starts_with('[');
    let element = u16::try_from(types.resolve(*of).size?).ok().filter(|size| *size > 0 && !is_rust)?;
    // Elements that go on behind themselves do not lie next to each other.
    let count = count_of(&last, element == 1, types).filter(|_| !is_open(*of, types));
    let is_tail = match counts.as_slice() {
        [None | Some(0)] => true,
        // One element may be just that: only what is certainly counted is more.
        [Some(1)] => count.is_some_and(|counted| counted.rank == 0),
        _ => false,
    };
    let at = u32::try_from(last.at.checked_add(last.member.offset)?).ok().filter(|_| is_tail)?;
    let counted_by = count.map(|counted| counted.member.name.clone());
    let tail = Tail { at, array: last.member.ty, of: *of, element, count: count.map(|counted| counted.count) };
    Some(NamedTail { tail, path: last.path, counted_by })
}

/// Whether something lies behind values of this type that belongs to them.
fn is_open(ty: TypeId, types: &TypeTable) -> bool {
    let array = last_member(ty, types).map(|last| &types.resolve(last.member.ty).kind);
    matches!(array, Some(TypeKind::Array { counts, .. }) if matches!(counts.as_slice(), [None | Some(0), ..]))
}

fn last_member(ty: TypeId, types: &TypeTable) -> Option<Last<'_>> {
    let (mut path, mut at, mut id) = (String::new(), 0u64, ty);
    for _ in 0..MAX_DEPTH {
        let TypeKind::Aggregate(aggregate) = &types.resolve(id).kind else { return None };
        let member = aggregate.members.last().filter(|_| !aggregate.is_union && aggregate.variants.is_none())?;
        if !member.name.is_empty() {
            path = format!("{path}.{}", member.name);
        }
        if matches!(types.resolve(member.ty).kind, TypeKind::Array { .. }) {
            let is_before = |other: &Member| other.offset <= member.offset;
            return aggregate.members.iter().all(is_before).then_some(Last { path, at, id, aggregate, member });
        }
        (at, id) = (at.checked_add(member.offset)?, member.ty);
    }
    None
}

/// A member that counts elements.
#[derive(Clone, Copy)]
struct Counted<'t> {
    member: &'t Member,
    count: TailCount,
    /// How likely that is: 0 is certain.
    rank: usize,
}

/// The member that counts the elements: the one that the user names, or the one that is likeliest by its name.
fn count_of<'t>(last: &Last<'t>, are_bytes: bool, types: &TypeTable) -> Option<Counted<'t>> {
    let said = types.said_length(last.id);
    let rank = |member: &Member| match said {
        Some(said) => (member.name == said).then_some(0),
        None => rank_of_length(&member.name, Some(&last.member.name), are_bytes),
    };
    let count = |member: &'t Member| {
        let ty = types.resolve(member.ty);
        let signed = match ty.kind {
            TypeKind::Integer { signed } => signed,
            // `uint8_t`.
            TypeKind::Character { unicode: false, signed } if ty.name != "char" => signed,
            _ => return None,
        };
        let size = ty.size.and_then(|size| u16::try_from(size).ok()).filter(|size| matches!(size, 1 | 2 | 4 | 8))?;
        let at = u32::try_from(last.at.checked_add(member.offset)?).ok()?;
        let count = TailCount { at, size, signed, is_said: said.is_some() };
        Some(Counted { member, count, rank: rank(member)? })
    };
    last.aggregate.members.iter().filter_map(count).min_by_key(|counted| counted.rank)
}

/// Notes what the user says of structures that parameters of these functions point to.
pub fn note_lengths<'f>(functions: impl Iterator<Item = &'f Function>, lengths: &[Length], types: &mut TypeTable) {
    let in_structures: Vec<(&Length, &str, &str)> = lengths
        .iter()
        .filter_map(|length| length.pointer.split_once('.').map(|(argument, array)| (length, argument, array)))
        .collect();
    if in_structures.is_empty() {
        return;
    }
    for function in functions {
        for (length, argument, array) in in_structures.iter().filter(|(length, ..)| length.is_about(function)) {
            let parameters = function.parameters.iter().filter(|it| it.name.as_deref() == Some(*argument));
            for parameter in parameters {
                let TypeKind::Pointer { to, .. } = types.resolve(parameter.ty).kind else { continue };
                let last = last_member(to, types).filter(|last| last.path.strip_prefix('.') == Some(*array));
                if let Some(id) = last.map(|last| last.id) {
                    types.say_length(id, length.length.clone());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dwarf::types::Type;

    /// The types of a structure whose members are numbers of 8 bytes with these names, and then an array of elements of this size.
    struct Structure {
        types: TypeTable,
        id: TypeId,
    }

    impl Structure {
        fn new(names: &[&str], element: u64, count: Option<u64>) -> Self {
            let mut types = TypeTable::default();
            let mut push = |name: &str, size, kind| types.push(Type { name: name.into(), size, kind });
            let number = push("long", Some(8), TypeKind::Integer { signed: true });
            let of = push("element", Some(element), TypeKind::Integer { signed: false });
            let array = push("element[]", Some(0), TypeKind::Array { of, counts: vec![count] });
            let member =
                |(place, name): (usize, &&str)| Member { name: (*name).into(), offset: place as u64 * 8, ty: number };
            let mut members: Vec<Member> = names.iter().enumerate().map(member).collect();
            members.push(Member { name: "items".into(), offset: members.len() as u64 * 8, ty: array });
            let kind = TypeKind::Aggregate(Aggregate { members, ..Aggregate::default() });
            let id = push("struct s", Some(names.len() as u64 * 8), kind);
            Self { types, id }
        }

        /// What counts the elements; the outer `None` for a structure that has none behind it.
        fn counted_by(&self) -> Option<Option<String>> {
            tail_of(self.id, &self.types).map(|named| named.counted_by)
        }
    }

    /// Guards against a number that is taken for a length because of its name, and against the wrong one of two.
    #[test]
    fn the_likeliest_name_counts() {
        let of = |names: &[&str], element, count| Structure::new(names, element, count).counted_by();
        let by = |name: &str| Some(Some(name.to_owned()));
        assert_eq!(of(&["size", "len"], 1, None), by("len"));
        assert_eq!(of(&["len", "items_size"], 1, None), by("items_size"));
        assert_eq!(of(&["size"], 1, Some(0)), by("size"));
        // In elements, or in bytes? Nobody knows.
        assert_eq!(of(&["size"], 4, None), Some(None));
        assert_eq!(of(&["size", "nr_items"], 4, None), by("nr_items"));
        assert_eq!(of(&["width"], 4, None), Some(None));
        // An array of one may be what it says.
        assert_eq!(of(&["len"], 4, Some(1)), None);
        assert_eq!(of(&["items_len"], 4, Some(1)), by("items_len"));
        assert_eq!(of(&["items_len"], 4, Some(2)), None);
    }

    /// Guards against what the user says being less than a name.
    #[test]
    fn what_the_user_says_counts_before_all_names() {
        for count in [None, Some(1)] {
            let mut structure = Structure::new(&["len", "width"], 4, count);
            structure.types.say_length(structure.id, "width".into());
            let named = tail_of(structure.id, &structure.types).unwrap();
            assert_eq!(named.counted_by.as_deref(), Some("width"));
            let count = TailCount { at: 8, size: 8, signed: true, is_said: true };
            assert_eq!((named.path.as_str(), named.tail.at, named.tail.count), (".items", 16, Some(count)));
            structure.types.say_length(structure.id, "nothing of this name".into());
            assert!(structure.counted_by().is_none_or(|by| by.is_none()));
        }
    }

    /// Guards against elements that go on behind themselves, and against endless recursion.
    #[test]
    fn elements_without_a_size_are_not_counted() {
        let mut structure = Structure::new(&["len"], 8, None);
        let TypeKind::Aggregate(aggregate) = structure.types.get(structure.id).kind.clone() else { unreachable!() };
        let array = aggregate.members[1].ty;
        let kind = TypeKind::Array { of: structure.id, counts: vec![None] };
        structure.types.set(array, Type { name: "struct s[]".into(), size: None, kind });

        assert_eq!(structure.counted_by(), Some(None));
    }
}
