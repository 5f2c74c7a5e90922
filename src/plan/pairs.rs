//! A function's parameters in; which of them are the lengths of what others point to out.
//!
//! C does not say so, but people do, by names: `const uint8_t *buf, size_t len`. Where they do not, the user can: `--len read:buf=n`. What
//! `--len send:msg.data=n` is about is not a parameter: see `tails`.

use super::Followed;
use crate::dwarf::function::{Function, Parameter};
use crate::dwarf::types::{TypeId, TypeKind, TypeTable};

/// Names of numbers of elements, or of bytes where an element is one: the likeliest first.
const COUNTS: [&str; 5] = ["len", "length", "count", "n", "num"];
/// Names of numbers of bytes.
const SIZES: [&str; 6] = ["nbytes", "nbyte", "num_bytes", "bytes", "size", "sz"];
/// What stands in front of the pointer's name in the name of its length.
const PREFIXES: [&str; 4] = ["n", "n_", "nr_", "num_"];

/// What the user says: in functions of this name, one argument is the length of what another points to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Length {
    /// The function's name, or its last components.
    pub function: String,
    /// The pointer's name; or `msg.data`, an array at the end of what `msg` points to.
    pub pointer: String,
    /// The length's name; that of a member of the same structure, if the other is one.
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

    /// Whether it is about this function.
    #[must_use]
    pub fn is_about(&self, function: &Function) -> bool {
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
        let next = parameters.get(index + 1).filter(|next| is_integer(next, types))?;
        let rank = rank_of_length(next.name.as_deref()?, pointer.name.as_deref(), true);
        (rank.is_some() && is_bytes(to, types)).then_some(Followed::Paired { length: index + 1, element: 1, of: to })
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

/// How likely it is that what has this name counts the elements of what is called `of`, which are bytes or something larger: 0 if it is named
/// after it, more if it is called as any length is. `None` for another name.
#[must_use]
pub fn rank_of_length(name: &str, of: Option<&str>, are_bytes: bool) -> Option<usize> {
    let name = name.to_ascii_lowercase();
    let mut known = COUNTS.iter().chain(SIZES.iter().filter(|_| are_bytes));
    let is_named_after = of.map(str::to_ascii_lowercase).filter(|of| !of.is_empty()).is_some_and(|of| {
        let suffix = name.strip_prefix(&of).map(|suffix| suffix.strip_prefix('_').unwrap_or(suffix));
        let prefix = name.strip_suffix(&of);
        suffix.is_some_and(|suffix| known.clone().any(|known| *known == suffix))
            || prefix.is_some_and(|prefix| PREFIXES.contains(&prefix))
    });
    if is_named_after { Some(0) } else { known.position(|known| *known == name).map(|place| place + 1) }
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
