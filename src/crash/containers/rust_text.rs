//! Rust's texts that own their bytes: `String`, `OsString`, `PathBuf`. All of them are a `Vec<u8>` inside.

use super::Place;
use super::elements::text_at;
use super::rust_list::parts_of_vec;
use crate::report::Value;

/// The text.
pub fn owned(place: Place<'_>, value: &Value) -> Option<Value> {
    let vec = place.find_by(&mut |_, member| member.base_name() == "alloc::vec::Vec")?;
    let parts = parts_of_vec(&vec)?;
    let is_bytes = place.decoder.types.resolve(parts.of).size == Some(1);
    is_bytes.then(|| text_at(&place, value, parts.address, parts.length))
}

/// `CString`: a slice that ends with a NUL.
pub fn c_string(place: Place<'_>, value: &Value) -> Option<Value> {
    let slice = place.member("inner")?;
    let (pointer, length) = (slice.member("data_ptr")?.address()?, slice.member("length")?.number()?);
    Some(text_at(&place, value, pointer, length.saturating_sub(1)))
}
