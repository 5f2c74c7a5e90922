//! What a pointer to a base class, or to a trait's object, really points to: the table of its methods says it.

use super::decode::{Decoder, Pointees, Symbols};
use super::pieces::Bytes;
use crate::address::Avma;
use crate::dwarf::types::{Heir, Member, Type, TypeId, TypeKind};
use crate::report::{Address, Value};

/// Bytes of a pointer.
const WORD_BYTES: usize = 8;
/// Bases of bases that are looked at.
const MAX_BASES: u32 = 32;

/// What a pointer leads to.
pub struct Object {
    /// Where it begins: in front of where the pointer leads to, if that is a base which is not the first.
    pub at: Address,
    /// Its type.
    pub ty: TypeId,
    /// Its bytes.
    pub size: usize,
    /// What is known of it and cannot be told that way.
    pub note: Option<String>,
}

/// The object that a pointer to a `to` of `size` bytes leads to, as far as that can be told.
pub fn object_at(decoder: &Decoder<'_>, behind: &dyn Pointees, to: TypeId, size: usize, address: Address) -> Object {
    let described = |note| Object { at: address, ty: to, size, note };
    let Some((class, before)) = class_of(decoder, behind, to, address) else { return described(None) };
    let types = decoder.types;
    let mut heirs = types.heirs(to).iter().filter(|heir| heir.table.is_none() && heir.at == before);
    let heir = heirs.find(|heir| types.resolve(heir.ty).name == class).and_then(|heir| sized(decoder, heir));
    let at = Address(address.0.wrapping_sub(before));
    match (heir, behind.bytes(Avma(at.0), 1).get(0, 1)) {
        (Some((ty, size)), Ok(_)) => Object { at, ty, size, note: None },
        _ if types.resolve(to).name == class => described(None),
        (Some(_), Err(gap)) => described(Some(format!(
            "it is a part of a `{class}`, which begins {before} bytes before it: {}",
            gap.reason
        ))),
        (None, _) if before == 0 => described(Some(format!("its table of methods is that of `{class}`"))),
        (None, _) => {
            described(Some(format!("its table of methods is that of `{class}`, which begins {before} bytes before it")))
        }
    }
}

/// The class of the object at `address`, and how many bytes in front of it that begins.
fn class_of(decoder: &Decoder<'_>, behind: &dyn Pointees, to: TypeId, address: Address) -> Option<(String, u64)> {
    has_table(decoder, to).then_some(())?;
    let (class, table) = class_by_table(behind, address)?;
    let symbols = behind.symbols()?;
    // Two words in front of the methods is what leads from here to the top of the object (the same, 2.5.2): no loader changes it.
    let to_top = table.checked_sub(2 * WORD_BYTES as u64).and_then(|at| symbols.word_in_file(Avma(at)))?;
    let before = u64::try_from(to_top.cast_signed().checked_neg()?).ok()?;
    Some((class, before))
}

/// The class of the object at `address`, which has virtual functions, and where its table of methods is.
pub fn class_by_table(behind: &dyn Pointees, address: Address) -> Option<(String, u64)> {
    // The first word of such an object is a pointer to the table of its class (Itanium C++ ABI, 2.4).
    let table = behind.word(address.0)?;
    let symbol = symbol_of_table(behind.symbols()?, Address(table))?;
    let class = symbol.strip_prefix("vtable for ")?.rsplit_once('+')?.0;
    Some((class.to_owned(), table))
}

/// Whether values of a type begin with the pointer to a table of methods.
fn has_table(decoder: &Decoder<'_>, mut ty: TypeId) -> bool {
    for _ in 0..MAX_BASES {
        let TypeKind::Aggregate(aggregate) = &decoder.types.resolve(ty).kind else { return false };
        if aggregate.members.iter().any(|member| member.offset == 0 && member.name.starts_with("_vptr")) {
            return true;
        }
        let is_base = |member: &&Member| matches!(decoder.types.resolve(member.ty).kind, TypeKind::Aggregate(_));
        let Some(first) = aggregate.members.iter().filter(is_base).find(|member| member.offset == 0) else {
            return false;
        };
        ty = first.ty;
    }
    false
}

/// The type whose methods for a trait are in the table at `table`.
pub fn type_with_table(
    decoder: &Decoder<'_>,
    symbols: &dyn Symbols,
    object: TypeId,
    table: Address,
) -> Option<(TypeId, usize)> {
    let table = symbols.address_in_file(Avma(table.0))?;
    let heir = decoder.types.heirs(object).iter().find(|heir| heir.table == Some(table))?;
    sized(decoder, heir)
}

fn sized(decoder: &Decoder<'_>, heir: &Heir) -> Option<(TypeId, usize)> {
    Some((heir.ty, usize::try_from(decoder.types.resolve(heir.ty).size?).ok()?))
}

/// A value of this type at an address, below the pointer that led there.
pub fn value_at(
    decoder: &Decoder<'_>,
    behind: &dyn Pointees,
    ty: TypeId,
    address: Address,
    size: usize,
) -> Option<Value> {
    if decoder.is_within(address, ty) {
        return None;
    }
    let bytes: Bytes = behind.bytes(Avma(address.0), size);
    Some(decoder.value_inside(&bytes, behind, address, ty, 1))
}

/// The name for a pointer to an object's table of methods. If it has none, the pointer leads to its end: the word before it belongs to it for
/// certain.
fn symbol_of_table(symbols: &dyn Symbols, address: Address) -> Option<String> {
    const WORD: u64 = WORD_BYTES as u64;
    let symbol = symbols.symbol_at(Avma(address.0.checked_sub(WORD)?))?;
    let (name, offset) = symbol.rsplit_once("+0x").unwrap_or((&symbol, "0"));
    Some(format!("{name}+{:#x}", u64::from_str_radix(offset, 16).ok()?.checked_add(WORD)?))
}

/// The name for what a pointer of this type points to.
pub fn symbol_for(symbols: Option<&dyn Symbols>, ty: &Type, address: Address) -> Option<String> {
    match symbols? {
        symbols if is_vtable(ty) => symbol_of_table(symbols, address),
        symbols => symbols.symbol_at(Avma(address.0)),
    }
}

/// What compilers call the type of a vtable's pointer: its target is a list of code addresses.
pub fn is_vtable(ty: &Type) -> bool {
    ty.name.contains("(**") || ty.name.contains("__vtbl_ptr_type")
}
