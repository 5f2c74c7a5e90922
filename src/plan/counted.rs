//! What a pointer leads to in; where in a record's data the step that follows it finds the address and the number of elements out.

use super::Followed;
use super::steps::{Aim, Count};
use super::tails::{Tail, TailCount};

/// Bytes of a pointer, or of a number beside it.
const WORD_BYTES: u32 = 8;

/// Where what a pointer at `base` leads to is read.
#[must_use]
pub fn aim_at(what: Followed, base: u32) -> Aim {
    match what {
        Followed::Blocks(blocks) => blocks.aim(base.into()),
        Followed::Edges(edges) => edges.aim(base.into()),
        _ => base.into(),
    }
}

/// Where in a record's data the length or the end of what a pointer leads to is, from where bytes of its value are. The outer `None` where
/// there should be one, and it has no place.
#[must_use]
pub fn count_at(what: Followed, offset: impl Fn(u32) -> Option<u32>) -> Option<Option<Count>> {
    let word = |at| offset(at).filter(|at| at.is_multiple_of(WORD_BYTES));
    let count = |at, element| word(at).map(|at| Some(Count { at, size: 8, element, ..Count::default() }));
    match what {
        Followed::Str { length_at } => count(length_at, 1),
        Followed::Counted { length_at, element, .. } => count(length_at, element),
        Followed::Until { end_at, .. } => count(end_at, 0),
        Followed::Places { mask_at, element, .. } => count(mask_at, element),
        Followed::Blocks(blocks) => Some(Some(blocks.count(word)?)),
        Followed::Edges(edges) => Some(Some(edges.count(word)?)),
        Followed::Tail(Tail { element, count: Some(TailCount { at, size, .. }), .. }) => {
            let at = offset(at).filter(|at| at.is_multiple_of(size.into()))?;
            Some(Some(Count { at, size, element, ..Count::default() }))
        }
        Followed::Ring { first_at, length_at, element, .. } => {
            let (at, first) = (word(length_at)?, word(first_at)?);
            Some(Some(Count { at, size: 8, element, first, ..Count::default() }))
        }
        _ => Some(None),
    }
}

/// The same for what was found behind a pointer whose own is `parent`: what is in blocks is counted beside the pointer to their table, and what
/// is below an inner node beside the pointer to the root.
#[must_use]
pub fn count_behind(
    parent: Option<Count>,
    what: Followed,
    offset: impl Fn(u32) -> Option<u32>,
) -> Option<Option<Count>> {
    match what {
        Followed::Block(block) => Some(Some(block.count(parent?))),
        Followed::Edges(edges) if !edges.are_of_root() => Some(Some(parent?)),
        _ => count_at(what, offset),
    }
}
