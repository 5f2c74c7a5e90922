//! What a pointer to a base class, or to a trait's object, really points to: the table of its methods says it.

use super::decode::{Decoder, Pointees, Symbols};
use super::pieces::Bytes;
use crate::address::Avma;
use crate::dwarf::types::{Heir, Type, TypeId};
use crate::report::{Address, Value};

/// The type of the object at `address`, which is described as a `to`, and its size. `None` where that is all there is to know.
pub fn class_at(decoder: &Decoder<'_>, behind: &dyn Pointees, to: TypeId, address: Address) -> Option<(TypeId, usize)> {
    let heirs = decoder.types.heirs(to).iter().filter(|heir| heir.table.is_none());
    let mut heirs = heirs.peekable();
    heirs.peek()?;
    // The first word of an object with virtual functions is a pointer to the table of its class (Itanium C++ ABI, 2.4).
    let word = behind.bytes(Avma(address.0), 8);
    let table = u64::from_le_bytes(word.get(0, 8).ok()?.try_into().ok()?);
    let symbol = symbol_of_table(behind.symbols()?, Address(table))?;
    let class = symbol.strip_prefix("vtable for ")?.rsplit_once('+')?.0;
    let heir = heirs.find(|heir| decoder.types.resolve(heir.ty).name == class)?;
    sized(decoder, heir)
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
    const WORD: u64 = 8;
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
