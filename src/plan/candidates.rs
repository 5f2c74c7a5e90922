//! Values that are captured in; the pointers in them that have a place in a record, and could be followed, out.

use super::counted::count_at;
use super::pointers::pointers_in;
use super::reach::Candidate;
use super::shape::is_c_string;
use super::steps::{Count, StepList};
use super::{ArgumentPlan, Followed, PieceSource, Source};
use crate::dwarf::types::TypeTable;

/// Those in argument number `index`. What is the length of what was found beforehand (`pairs`).
pub fn of_argument(
    index: usize,
    arguments: &[ArgumentPlan],
    pairs: &[Option<Followed>],
    steps: &StepList,
    types: &TypeTable,
) -> Vec<Candidate> {
    let paired = pairs.get(index).copied().flatten();
    match paired.and_then(|paired| self::paired(index, arguments, paired, steps, types)) {
        Some(candidate) => vec![candidate],
        None => of_value(index, &arguments[index], steps, types),
    }
}

/// Those in a value, which counts as argument number `index`.
pub fn of_value(index: usize, value: &ArgumentPlan, steps: &StepList, types: &TypeTable) -> Vec<Candidate> {
    let ty = types.resolve(value.ty);
    let is_text = is_c_string(ty, types) || matches!(ty.name.as_str(), "&str" | "&mut str");
    let size = value.pieces.iter().fold(0u32, |size, piece| size.saturating_add(piece.size));
    let place = |at| data_offset(&value.pieces, at, 8, steps);
    let candidate = |pointer: &super::pointers::Pointer| {
        let base = place(pointer.at).filter(|base| base.is_multiple_of(8))?;
        let candidate = Candidate::of_argument(index, pointer.at, base, pointer.lead, count_at(pointer.lead, place)?);
        Some(if is_text { candidate.whole() } else { candidate })
    };
    let pointers = pointers_in(value.name.as_deref(), value.ty, size, types);
    pointers.iter().filter_map(candidate).collect()
}

/// A pointer whose length is another argument.
fn paired(
    index: usize,
    arguments: &[ArgumentPlan],
    what: Followed,
    steps: &StepList,
    types: &TypeTable,
) -> Option<Candidate> {
    let Followed::Paired { length, element, .. } = what else { return None };
    let base = data_offset(&arguments[index].pieces, 0, 8, steps)?;
    let number = arguments.get(length)?;
    let bytes = u16::try_from(types.resolve(number.ty).size?).ok()?;
    let at = data_offset(&number.pieces, 0, bytes.into(), steps)?;
    let count = Count { at, size: bytes, element, ..Count::default() };
    let is_aligned = base.is_multiple_of(8) && matches!(bytes, 1 | 2 | 4 | 8) && at.is_multiple_of(bytes.into());
    is_aligned.then(|| Candidate::of_argument(index, 0, base, what, Some(count)).whole())
}

/// Where in a record's data the `bytes` bytes at `at` of a value are, if they are in one piece.
pub fn data_offset(pieces: &[PieceSource], at: u32, bytes: u32, steps: &StepList) -> Option<u32> {
    let mut start = 0u32;
    for PieceSource { size, source } in pieces {
        let end = start.checked_add(*size)?;
        if (start..end).contains(&at) {
            let Source::Step { step, skip } = source else { return None };
            let is_whole = at.checked_add(bytes)? <= end;
            return is_whole.then(|| steps.data_offset(*step, skip + (at - start))).flatten();
        }
        start = end;
    }
    None
}
