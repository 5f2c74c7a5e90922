//! Types: entries in, descriptions in a [`TypeTable`] out, each entry once.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::OnceLock;

use gimli::{AttributeValue, DwAte, UnitOffset, constants as dw};

use super::heirs::{Derived, Heirs};
use super::spelling::{Speller, is_pointer, qualifier};
use super::types::{Aggregate, Heir, Member, Type, TypeId, TypeKind, TypeTable};
use super::units::{DieRef, Entry, Units};

/// How many pointers are followed from a parameter to a type that is still described. What is further away has a name and no more:
/// through its pointers, one type of a large program leads to nearly all of them.
const MAX_POINTERS: usize = 4;
/// Types that inherit from one at the most: what is captured must be enough for each of them.
const MAX_HEIRS: usize = 32;
/// Classes that are looked at for those that inherit from one.
const MAX_CANDIDATES: usize = 4096;
/// Entries directly below one at the most.
const MAX_CHILDREN: usize = 1 << 16;
/// Typedefs, qualifiers and array types in a row at the most, where a size is looked for.
const MAX_CHAIN: usize = 64;

impl<'a> Units<'a> {
    /// `DW_AT_type`, and from a mere declaration to its type unit (`DW_AT_signature`).
    pub(super) fn type_of(&self, unit: u32, entry: &Entry<'a>) -> Option<DieRef> {
        let die = self.resolve(unit, entry.attr_value(dw::DW_AT_type)?)?;
        let signature = self.entry(die).and_then(|entry| entry.attr_value(dw::DW_AT_signature));
        Some(signature.and_then(|signature| self.resolve(die.unit, signature)).unwrap_or(die))
    }

    /// The entries directly below one, up to the first that cannot be read.
    pub(super) fn children(&self, die: DieRef) -> Vec<(DieRef, Entry<'a>)> {
        let mut found = Vec::new();
        let Ok(mut tree) = self.get(die.unit).unit.entries_tree(Some(UnitOffset(die.offset))) else { return found };
        let Ok(root) = tree.root() else { return found };
        let mut children = root.children();
        while let Ok(Some(child)) = children.next() {
            if found.len() == MAX_CHILDREN {
                break;
            }
            let entry = child.entry();
            found.push((DieRef { unit: die.unit, offset: entry.offset.0 }, entry.clone()));
        }
        found
    }

    /// Elements of each dimension of an array, the outermost first.
    pub(super) fn array_counts(&self, die: DieRef) -> Vec<Option<u64>> {
        let children = self.children(die);
        let dimensions = children.iter().filter(|(_, child)| child.tag == dw::DW_TAG_subrange_type);
        let counts = dimensions.map(|(_, child)| {
            let number = |name| child.attr_value(name).and_then(|value| value.udata_value());
            // In the languages that we know, indexes begin at 0 (DWARF 5, table 7.17).
            let from_bounds = || {
                number(dw::DW_AT_upper_bound)?.checked_add(1)?.checked_sub(number(dw::DW_AT_lower_bound).unwrap_or(0))
            };
            number(dw::DW_AT_count).or_else(from_bounds)
        });
        let counts: Vec<_> = counts.collect();
        if counts.is_empty() { vec![None] } else { counts }
    }

    /// Bytes of a value of the type.
    pub(super) fn size_of(&self, mut die: DieRef) -> Option<u64> {
        let mut times = 1u64;
        for _ in 0..MAX_CHAIN {
            let entry = self.entry(die)?;
            if let Some(size) = entry.attr_value(dw::DW_AT_byte_size).and_then(|value| value.udata_value()) {
                return size.checked_mul(times);
            }
            match entry.tag {
                tag if is_pointer(tag) => {
                    return u64::from(self.get(die.unit).unit.header.address_size()).checked_mul(times);
                }
                dw::DW_TAG_array_type => {
                    times = self
                        .array_counts(die)
                        .into_iter()
                        .try_fold(times, |product, count| product.checked_mul(count?))?;
                }
                dw::DW_TAG_typedef | dw::DW_TAG_template_alias | dw::DW_TAG_enumeration_type => {}
                tag if qualifier(tag).is_some() => {}
                _ => return None,
            }
            die = self.type_of(die.unit, &entry)?;
        }
        None
    }
}

/// Describes types, breadth first.
pub(super) struct TypeBuilder<'t, 'a> {
    pub(super) units: &'t Units<'a>,
    pub(super) table: &'t mut TypeTable,
    speller: Speller<'t, 'a>,
    known: HashMap<DieRef, Known>,
    void: Option<TypeId>,
    queue: VecDeque<(usize, DieRef)>,
    /// Pointers between a parameter and the type that is being described.
    pub(super) pointers: usize,
    heirs: &'t OnceLock<Heirs>,
    /// Types that others may inherit from, and how many pointers away they are.
    bases: Vec<(DieRef, TypeId, usize)>,
}

struct Known {
    id: TypeId,
    is_described: bool,
}

impl<'t, 'a> TypeBuilder<'t, 'a> {
    pub(super) fn new(units: &'t Units<'a>, heirs: &'t OnceLock<Heirs>, table: &'t mut TypeTable) -> Self {
        Self {
            units,
            table,
            speller: Speller::new(units),
            known: HashMap::new(),
            void: None,
            queue: VecDeque::new(),
            pointers: 0,
            heirs,
            bases: Vec::new(),
        }
    }

    /// The type that `entry` has (`DW_AT_type`); none is `void`. It is described later, by [`Self::finish`].
    pub(super) fn type_of(&mut self, unit: u32, entry: &Entry<'a>) -> TypeId {
        match self.units.type_of(unit, entry) {
            Some(die) => self.id_of(die, self.pointers),
            None => self.void(),
        }
    }

    pub(super) fn void(&mut self) -> TypeId {
        let table = &mut self.table;
        *self.void.get_or_insert_with(|| table.push(Type { name: "void".to_owned(), size: None, kind: TypeKind::Void }))
    }

    pub(super) fn id_of(&mut self, die: DieRef, pointers: usize) -> TypeId {
        let known = self.known.entry(die).or_insert_with(|| {
            let kind = TypeKind::Unsupported(format!("it is more than {MAX_POINTERS} pointers away"));
            let ty = Type { name: self.speller.spell(die), size: self.units.size_of(die), kind };
            Known { id: self.table.push(ty), is_described: false }
        });
        if !known.is_described && pointers <= MAX_POINTERS {
            // Nearer types first, so that each is reached by its shortest way.
            if pointers == self.pointers {
                self.queue.push_front((pointers, die))
            } else {
                self.queue.push_back((pointers, die))
            }
        }
        known.id
    }

    /// Describes all types that were asked for, and what they consist of.
    pub(super) fn finish(mut self) {
        self.describe_queued();
        while let Some((die, id, pointers)) = self.bases.pop() {
            self.pointers = pointers;
            self.add_heirs(die, id);
            self.describe_queued();
        }
    }

    /// Describes the types that values of this one may really be of.
    fn add_heirs(&mut self, die: DieRef, id: TypeId) {
        let (units, heirs) = (self.units, self.heirs);
        let heirs = heirs.get_or_init(|| Heirs::collect(units));
        let name = self.table.get(id).name.clone();
        for table in heirs.tables.iter().filter(|table| table.is_for(&name)).take(MAX_HEIRS) {
            let ty = self.id_of(table.of, self.pointers);
            self.table.add_heir(id, Heir { ty, at: 0, table: Some(table.address) });
        }
        let (mut names, mut found) = (HashSet::from([(name, 0)]), 0);
        // Each with the place in it of what all of them inherit from.
        let mut bases = vec![(die, 0)];
        while let Some((base, inner)) = bases.pop() {
            let short = units.entry(base).and_then(|entry| units.name_of(base.unit, &entry));
            let listed = short.and_then(|short| heirs.classes.get(short)).map_or(&[][..], Vec::as_slice);
            let full = self.speller.spell(base);
            for Derived { class, base: of, at } in listed.iter().take(MAX_CANDIDATES) {
                // The same class is described in each unit that needs it.
                let Some(at) = at.checked_add(inner) else { continue };
                if (*of != base && self.speller.spell(*of) != full) || !names.insert((self.speller.spell(*class), at)) {
                    continue;
                }
                found += 1;
                if found > MAX_HEIRS {
                    return;
                }
                let ty = self.id_of(*class, self.pointers);
                self.table.add_heir(id, Heir { ty, at, table: None });
                bases.push((*class, at));
            }
        }
    }

    fn describe_queued(&mut self) {
        while let Some((pointers, die)) = self.queue.pop_front() {
            let Some(known) = self.known.get_mut(&die).filter(|known| !known.is_described) else { continue };
            known.is_described = true;
            let id = known.id;
            self.pointers = pointers;
            let kind = match self.units.entry(die) {
                Some(entry) => {
                    if entry.has_attr(dw::DW_AT_containing_type) || self.table.get(id).name.starts_with("dyn ") {
                        self.bases.push((die, id, pointers));
                    }
                    self.kind(die, &entry)
                }
                None => TypeKind::Unsupported("its description is damaged".to_owned()),
            };
            let described = Type { kind, ..self.table.get(id).clone() };
            self.table.set(id, described);
        }
    }

    fn kind(&mut self, die: DieRef, entry: &Entry<'a>) -> TypeKind {
        match entry.tag {
            dw::DW_TAG_base_type => match (encoding_of(entry), self.units.size_of(die)) {
                // Two of x87's numbers are passed and returned like no structure (psABI, 3.2.3): they stay what they are.
                (Some(dw::DW_ATE_complex_float), Some(size @ (8 | 16))) => self.complex(size / 2),
                (_, size) => base_kind(entry, size),
            },
            tag if is_pointer(tag) => self.pointer(die, entry),
            dw::DW_TAG_typedef | dw::DW_TAG_template_alias => TypeKind::Typedef(self.type_of(die.unit, entry)),
            tag if qualifier(tag).is_some() => TypeKind::Qualified(self.type_of(die.unit, entry)),
            dw::DW_TAG_structure_type | dw::DW_TAG_class_type | dw::DW_TAG_union_type | dw::DW_TAG_interface_type => {
                TypeKind::Aggregate(self.aggregate(die, entry))
            }
            dw::DW_TAG_enumeration_type => self.enumeration(die, entry),
            dw::DW_TAG_array_type => {
                TypeKind::Array { of: self.type_of(die.unit, entry), counts: self.units.array_counts(die) }
            }
            dw::DW_TAG_subroutine_type => TypeKind::Function,
            dw::DW_TAG_ptr_to_member_type => TypeKind::Unsupported("it is a pointer to a member".to_owned()),
            tag => TypeKind::Unsupported(format!("it is described by {tag}")),
        }
    }

    fn pointer(&mut self, die: DieRef, entry: &Entry<'a>) -> TypeKind {
        let to = match self.units.type_of(die.unit, entry) {
            Some(target) => self.id_of(target, self.pointers + 1),
            None => self.void(),
        };
        let name = self.units.name_of(die.unit, entry).unwrap_or_default();
        TypeKind::Pointer { to, reference: entry.tag != dw::DW_TAG_pointer_type || name.starts_with('&') }
    }

    /// Two numbers of `size` bytes each.
    fn complex(&mut self, size: u64) -> TypeKind {
        let name = if size == 4 { "float" } else { "double" }.to_owned();
        let of = self.table.push(Type { name, size: Some(size), kind: TypeKind::Float });
        let part = |name: &str, offset| Member { name: name.to_owned(), offset, ty: of };
        let members = vec![part("real", 0), part("imaginary", size)];
        TypeKind::Aggregate(Aggregate { members, ..Aggregate::default() })
    }

    fn enumeration(&mut self, die: DieRef, entry: &Entry<'a>) -> TypeKind {
        let children = self.units.children(die);
        let values = || {
            let enumerators = children.iter().filter(|(_, child)| child.tag == dw::DW_TAG_enumerator);
            enumerators.filter_map(|(_, child)| Some((child, child.attr(dw::DW_AT_const_value)?)))
        };
        let is_negative = |value: AttributeValue<_>| matches!(value, AttributeValue::Sdata(number) if number < 0);
        let base = self.units.type_of(die.unit, entry).and_then(|base| self.base_encoding(base));
        let stated = base.or_else(|| encoding_of(entry));
        let signed = stated.map_or_else(|| values().any(|(_, value)| is_negative(value.value())), is_signed);
        let enumerators = values().filter_map(|(child, attribute)| {
            let number = |signed: bool| match attribute.value() {
                AttributeValue::Sdata(value) => Some(i128::from(value)),
                value if signed => value.sdata_value().map(i128::from),
                value => value.udata_value().map(i128::from),
            };
            Some((self.units.name_of(die.unit, child)?.to_owned(), number(signed)?))
        });
        TypeKind::Enumeration { signed, enumerators: enumerators.collect() }
    }

    /// The encoding of the number behind typedefs.
    pub(super) fn base_encoding(&self, mut die: DieRef) -> Option<DwAte> {
        for _ in 0..MAX_CHAIN {
            let entry = self.units.entry(die)?;
            if entry.tag == dw::DW_TAG_base_type {
                return encoding_of(&entry);
            }
            die = self.units.type_of(die.unit, &entry)?;
        }
        None
    }
}

fn encoding_of(entry: &Entry) -> Option<DwAte> {
    match entry.attr_value(dw::DW_AT_encoding) {
        Some(AttributeValue::Encoding(encoding)) => Some(encoding),
        _ => None,
    }
}

/// Whether numbers of this encoding have a sign.
pub(super) fn is_signed(encoding: DwAte) -> bool {
    matches!(encoding, dw::DW_ATE_signed | dw::DW_ATE_signed_char)
}

fn base_kind(entry: &Entry, size: Option<u64>) -> TypeKind {
    let Some(encoding) = encoding_of(entry) else { return TypeKind::Unsupported("it has no encoding".to_owned()) };
    match (encoding, size) {
        // Rust's `()` and `!`.
        (_, Some(0)) => TypeKind::Aggregate(Aggregate::default()),
        (dw::DW_ATE_boolean, Some(1)) => TypeKind::Bool,
        (dw::DW_ATE_signed, _) => TypeKind::Integer { signed: true },
        (dw::DW_ATE_unsigned | dw::DW_ATE_boolean, _) => TypeKind::Integer { signed: false },
        (dw::DW_ATE_signed_char | dw::DW_ATE_unsigned_char, _) => {
            TypeKind::Character { unicode: false, signed: is_signed(encoding) }
        }
        (dw::DW_ATE_UTF, _) => TypeKind::Character { unicode: true, signed: false },
        (dw::DW_ATE_float, _) => TypeKind::Float,
        (encoding, _) => TypeKind::Unsupported(format!("its encoding is {encoding}")),
    }
}
