//! Members of a struct, a class, a union or a Rust enum: their entries in, places and types out.

use gimli::{AttributeValue, Operation, constants as dw};

use super::listing::is_flag_set;
use super::type_builder::{TypeBuilder, is_signed};
use super::types::{Aggregate, Discriminant, Member, Type, TypeId, TypeKind, Variant, VariantPart};
use super::units::{DieRef, Entry};

/// Bytes of the widest discriminant: `#[repr(u128)]`.
const MAX_DISCRIMINANT_BYTES: u64 = 16;
/// Values of one variant's discriminant that are looked at.
const MAX_VALUES: usize = 1024;

impl<'a> TypeBuilder<'_, 'a> {
    pub(super) fn aggregate(&mut self, die: DieRef, entry: &Entry<'a>) -> Aggregate {
        let children = self.units.children(die);
        let convention = entry.attr_value(dw::DW_AT_calling_convention);
        let is_passed = |so| convention == Some(AttributeValue::CallingConvention(so));
        let part = children.iter().find(|(_, child)| child.tag == dw::DW_TAG_variant_part);
        Aggregate {
            members: children.iter().filter_map(|(_, child)| self.member(die.unit, child)).collect(),
            is_union: entry.tag == dw::DW_TAG_union_type,
            is_declaration: is_flag_set(entry, dw::DW_AT_declaration),
            is_passed_by_reference: is_passed(dw::DW_CC_pass_by_reference),
            is_passed_by_value: is_passed(dw::DW_CC_pass_by_value),
            has_destructor: children.iter().any(|(_, child)| self.is_destructor(die.unit, child)),
            variants: part.map(|(part, entry)| self.variant_part(*part, entry)),
            parameters: self.parameters(die.unit, &children),
        }
    }

    /// A destructor that somebody wrote, or the pointer to a table of virtual functions.
    fn is_destructor(&self, unit: u32, child: &Entry<'a>) -> bool {
        /// `DW_DEFAULTED_in_class` (DWARF 5, table 7.24).
        const IN_CLASS: u64 = 1;
        let name = || self.units.name_of(unit, child).unwrap_or_default();
        match child.tag {
            dw::DW_TAG_subprogram => {
                let defaulted = child.attr_value(dw::DW_AT_defaulted).and_then(|value| value.udata_value());
                let is_implicit = is_flag_set(child, dw::DW_AT_artificial) || defaulted == Some(IN_CLASS);
                !is_implicit && name().starts_with('~')
            }
            dw::DW_TAG_member => name().starts_with("_vptr"),
            _ => false,
        }
    }

    /// What a template was given, parameter packs included: as far away as what a pointer points to, since values of it are seldom in the object itself.
    fn parameters(&mut self, unit: u32, children: &[(DieRef, Entry<'a>)]) -> Vec<TypeId> {
        let mut given = Vec::new();
        for (die, child) in children {
            match child.tag {
                dw::DW_TAG_template_type_parameter => given.push(match self.units.type_of(unit, child) {
                    Some(ty) => self.id_of(ty, self.pointers + 1),
                    None => self.void(),
                }),
                dw::DW_TAG_GNU_template_parameter_pack => {
                    given.extend(self.parameters(unit, &self.units.children(*die)))
                }
                _ => {}
            }
        }
        given
    }

    fn member(&mut self, unit: u32, entry: &Entry<'a>) -> Option<Member> {
        let is_base = entry.tag == dw::DW_TAG_inheritance;
        // A static member is a variable elsewhere, declared here (until DWARF 5).
        let is_static = is_flag_set(entry, dw::DW_AT_external) || is_flag_set(entry, dw::DW_AT_declaration);
        if is_static || !is_base && entry.tag != dw::DW_TAG_member {
            return None;
        }
        let ty = self.type_of(unit, entry);
        let name = if is_base {
            self.table.get(ty).name.clone()
        } else {
            self.units.name_of(unit, entry).unwrap_or_default().to_owned()
        };
        if entry.has_attr(dw::DW_AT_bit_size) {
            let (offset, kind) = bit_field(entry, ty, self.table.get(ty).size)
                .unwrap_or_else(|| (0, TypeKind::Unsupported("its bits are not described".to_owned())));
            return Some(Member { name, offset, ty: self.like(ty, kind) });
        }
        match self.member_offset(unit, entry) {
            Some(offset) => Some(Member { name, offset, ty }),
            None => {
                let kind = TypeKind::Unsupported("its place in the object is computed".to_owned());
                Some(Member { name, offset: 0, ty: self.like(ty, kind) })
            }
        }
    }

    /// A type of the same name, and of another kind.
    fn like(&mut self, ty: TypeId, kind: TypeKind) -> TypeId {
        let Type { name, size, .. } = self.table.get(ty).clone();
        let size = match kind {
            TypeKind::BitField { skip, bits, .. } => skip.checked_add(bits).map(|bits| bits.div_ceil(8)),
            _ => size,
        };
        self.table.push(Type { name, size, kind })
    }

    /// `DW_AT_data_member_location`: a number, or in old DWARF an expression that adds one; missing in unions.
    fn member_offset(&self, unit: u32, entry: &Entry<'a>) -> Option<u64> {
        let Some(value) = entry.attr_value(dw::DW_AT_data_member_location) else { return Some(0) };
        if let Some(offset) = value.udata_value() {
            return Some(offset);
        }
        let mut operations = value.exprloc_value()?.operations(self.units.get(unit).unit.encoding());
        match (operations.next().ok()??, operations.next().ok()?) {
            (Operation::PlusConstant { value }, None) => Some(value),
            _ => None,
        }
    }

    fn variant_part(&mut self, die: DieRef, entry: &Entry<'a>) -> VariantPart {
        let discriminant = entry.attr_value(dw::DW_AT_discr).and_then(|value| self.units.resolve(die.unit, value));
        let discriminant = discriminant.and_then(|die| {
            let member = self.units.entry(die)?;
            let ty = self.units.type_of(die.unit, &member)?;
            let (size, signed) = (self.units.size_of(ty)?, self.base_encoding(ty).is_some_and(is_signed));
            Some((Discriminant { offset: self.member_offset(die.unit, &member)?, size }, signed))
        });
        let discriminant = discriminant.filter(|(it, _)| (1..=MAX_DISCRIMINANT_BYTES).contains(&it.size));
        let (size, signed) = discriminant.map_or((MAX_DISCRIMINANT_BYTES, false), |(it, signed)| (it.size, signed));
        let mut variants = Vec::new();
        for (die, entry) in self.units.children(die) {
            if entry.tag != dw::DW_TAG_variant {
                continue;
            }
            let members = self.units.children(die);
            let Some(member) = members.iter().find_map(|(_, member)| self.member(die.unit, member)) else { continue };
            variants.push(Variant { values: values(&entry, size, signed), member });
        }
        VariantPart { discriminant: discriminant.map(|(it, _)| it), variants }
    }
}

/// The first byte that a bit-field touches, and its bits from there on.
fn bit_field(entry: &Entry, of: TypeId, declared_size: Option<u64>) -> Option<(u64, TypeKind)> {
    let number = |name| entry.attr_value(name).and_then(|value| value.udata_value());
    let bits = number(dw::DW_AT_bit_size)?;
    let byte = number(dw::DW_AT_data_member_location).unwrap_or(0);
    let first = match (number(dw::DW_AT_data_bit_offset), number(dw::DW_AT_bit_offset)) {
        (Some(first), _) => first.checked_add(byte.checked_mul(8)?)?,
        // Until DWARF 3, bits were counted from the highest one of their storage unit.
        (None, Some(from_top)) => {
            let storage = number(dw::DW_AT_byte_size).or(declared_size)?.checked_add(byte)?.checked_mul(8)?;
            storage.checked_sub(from_top)?.checked_sub(bits)?
        }
        // The first one of a union.
        (None, None) => byte.checked_mul(8)?,
    };
    Some((first / 8, TypeKind::BitField { of, skip: first % 8, bits }))
}

/// Values of the discriminant, of `size` bytes, that a variant belongs to.
fn values(variant: &Entry, size: u64, signed: bool) -> Vec<(u128, u128)> {
    if let Some(value) = variant.attr_value(dw::DW_AT_discr_value) {
        return bits_of(&value, size).map(|value| (value, value)).into_iter().collect();
    }
    match variant.attr_value(dw::DW_AT_discr_list) {
        Some(AttributeValue::Block(list)) => ranges(list, size, signed),
        Some(AttributeValue::Exprloc(list)) => ranges(list.0, size, signed),
        _ => Vec::new(),
    }
}

/// A constant as `size` bytes have it. Only those of more than 8 bytes are blocks.
fn bits_of<R: gimli::Reader>(value: &AttributeValue<R>, size: u64) -> Option<u128> {
    let number = match value {
        AttributeValue::Block(bytes) => {
            let bytes = bytes.to_slice().ok()?;
            let mut wide = [0; 16];
            wide.get_mut(..bytes.len())?.copy_from_slice(&bytes);
            u128::from_le_bytes(wide)
        }
        AttributeValue::Data16(number) => *number,
        AttributeValue::Sdata(number) => i128::from(*number) as u128,
        other => u128::from(other.udata_value()?),
    };
    Some(number & mask(size))
}

/// All ones in `size` bytes.
fn mask(size: u64) -> u128 {
    u128::MAX >> (128 - 8 * size.clamp(1, MAX_DISCRIMINANT_BYTES))
}

/// `DW_AT_discr_list`: labels and ranges, in LEB128 of the discriminant's kind.
fn ranges<R: gimli::Reader>(mut list: R, size: u64, signed: bool) -> Vec<(u128, u128)> {
    let mut found = Vec::new();
    while found.len() < MAX_VALUES && !list.is_empty() {
        let Ok(kind) = list.read_u8() else { break };
        let mut number = || {
            let number = match signed {
                true => i128::from(list.read_sleb128().ok()?) as u128,
                false => u128::from(list.read_uleb128().ok()?),
            };
            Some(number & mask(size))
        };
        match dw::DwDsc(kind) {
            dw::DW_DSC_label => found.extend(number().map(|value| (value, value))),
            dw::DW_DSC_range => found.extend(number().zip(number())),
            _ => break,
        }
    }
    found
}
