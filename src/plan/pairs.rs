//! A function's parameters in; which of them are the lengths of what others point to out.
//!
//! C does not say so, but people do, by names: `const uint8_t *buf, size_t len`. Where they do not, the user can: `--len read:buf=n`.

use super::Followed;
use crate::dwarf::function::{Function, Parameter};
use crate::dwarf::types::{TypeId, TypeKind, TypeTable};

/// Names of lengths in bytes.
const LENGTHS: [&str; 10] = ["len", "length", "size", "n", "nbytes", "nbyte", "count", "sz", "bytes", "num_bytes"];
/// What follows the pointer's name in the name of its length.
const SUFFIXES: [&str; 8] = ["len", "size", "length", "sz", "_len", "_size", "_length", "_sz"];

/// What the user says: in functions of this name, one argument is the length of what another points to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Length {
    /// The function's name, or its last components.
    pub function: String,
    /// The pointer's name.
    pub pointer: String,
    /// The length's name.
    pub length: String,
}

impl Length {
    /// Parses `FUNCTION:POINTER=LENGTH`.
    ///
    /// # Errors
    /// If it is something else.
    pub fn parse(text: &str) -> Result<Self, String> {
        let parts = text.rsplit_once('=').and_then(|(before, length)| {
            let (function, pointer) = before.rsplit_once(':')?;
            let is_whole = [function, pointer, length].iter().all(|part| !part.trim().is_empty());
            is_whole.then(|| [function, pointer, length].map(|part| part.trim().to_owned()))
        });
        let [function, pointer, length] =
            parts.ok_or_else(|| format!("expected FUNCTION:POINTER=LENGTH, found `{text}`"))?;
        Ok(Self { function, pointer, length })
    }

    fn is_about(&self, function: &Function) -> bool {
        let front = function.name.strip_suffix(self.function.as_str());
        function.symbol == self.function || front.is_some_and(|front| front.is_empty() || front.ends_with("::"))
    }
}

/// For each parameter, what it points to if its length is another one.
#[must_use]
pub fn find(function: &Function, lengths: &[Length], types: &TypeTable) -> Vec<Option<Followed>> {
    let parameters = &function.parameters;
    let named = |name: &str| parameters.iter().position(|it| it.name.as_deref() == Some(name));
    let pair = |(index, pointer): (usize, &Parameter)| {
        let to = pointee(pointer, types)?;
        let said = lengths.iter().filter(|length| length.is_about(function));
        let said = said.filter(|length| pointer.name.as_deref() == Some(length.pointer.as_str()));
        if let Some(length) =
            said.filter_map(|length| named(&length.length)).find(|length| is_integer(&parameters[*length], types))
        {
            let element = types.resolve(to).size.unwrap_or(1).max(1);
            return Some(Followed::Paired { length, element: u16::try_from(element).ok()?, of: to });
        }
        let next = parameters.get(index + 1).filter(|next| is_integer(next, types) && is_length_of(next, pointer))?;
        let is_sure = is_bytes(to, types) && next.name.is_some();
        is_sure.then_some(Followed::Paired { length: index + 1, element: 1, of: to })
    };
    parameters.iter().enumerate().map(pair).collect()
}

fn pointee(parameter: &Parameter, types: &TypeTable) -> Option<TypeId> {
    match types.resolve(parameter.ty).kind {
        TypeKind::Pointer { to, reference: false } => Some(to),
        _ => None,
    }
}

/// What has no other structure than its bytes. `char *` is not among it: that is a text, which ends by itself.
fn is_bytes(to: TypeId, types: &TypeTable) -> bool {
    let to = types.resolve(to);
    match to.kind {
        TypeKind::Void => true,
        TypeKind::Integer { .. } | TypeKind::Enumeration { .. } => to.size == Some(1),
        TypeKind::Character { unicode: false, .. } => to.size == Some(1) && to.name != "char",
        _ => false,
    }
}

fn is_integer(parameter: &Parameter, types: &TypeTable) -> bool {
    let ty = types.resolve(parameter.ty);
    matches!(ty.kind, TypeKind::Integer { .. }) && matches!(ty.size, Some(4 | 8))
}

fn is_length_of(length: &Parameter, pointer: &Parameter) -> bool {
    let Some(name) = length.name.as_deref().map(str::to_ascii_lowercase) else { return false };
    let of_pointer = pointer.name.as_deref().is_some_and(|pointer| {
        name.strip_prefix(&pointer.to_ascii_lowercase()).is_some_and(|suffix| SUFFIXES.contains(&suffix))
    });
    of_pointer || LENGTHS.contains(&name.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards against an option that is taken for something else.
    #[test]
    fn what_the_user_says_has_three_parts() {
        let parts = |function: &str, pointer: &str, length: &str| Length {
            function: function.into(),
            pointer: pointer.into(),
            length: length.into(),
        };
        assert_eq!(Length::parse("read:buf=n"), Ok(parts("read", "buf", "n")));
        assert_eq!(Length::parse("net::Peer::send:data=size"), Ok(parts("net::Peer::send", "data", "size")));
        for wrong in ["", "read", "read:buf", "buf=n", "read:=n", ":buf=n", "read:buf="] {
            assert_eq!(Length::parse(wrong), Err(format!("expected FUNCTION:POINTER=LENGTH, found `{wrong}`")));
        }
    }
}
