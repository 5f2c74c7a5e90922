//! What a pointer leads to in; the pointers in that, and what it costs to follow them, out.

use lastwords_abi::MAX_COPY_BYTES;
use lastwords_abi::step::OUTCOME_BYTES;

use super::Followed;
use super::nodes::{Links, Node};
use super::pointers::{Pointer, bytes_in_front, followable, pointers_in, pointers_in_front, pointers_of_target};
use super::reach::{FIRST_TEXT_BYTES, MAX_ELEMENTS, POINTER_BYTES, text_price};
use super::tails::{NamedTail, tail_of};
use crate::dwarf::types::{TypeId, TypeTable};

/// Pointers in a row that are looked at to see what an element costs.
const COST_LEVELS: u32 = 2;

/// The pointers in the first `captured` bytes of what a pointer leads to.
#[must_use]
pub fn pointers_behind(what: Followed, captured: u32, types: &TypeTable) -> Vec<Pointer> {
    match what {
        Followed::Value(ty) => {
            let beside = [tail_behind(ty, captured, types), front_of(ty, types)].into_iter().flatten();
            pointers_of_target(ty, captured, types).into_iter().chain(beside).collect()
        }
        Followed::Front { of, bytes } => pointers_in_front(of, bytes.into(), types),
        Followed::Texts => {
            let text =
                |entry: u32| Pointer { at: entry * POINTER_BYTES, path: format!("[{entry}]"), lead: Followed::CString };
            (0..captured / POINTER_BYTES).map(text).collect()
        }
        Followed::Node(node) => pointers_of_node(&node, captured, types),
        Followed::Blocks(blocks) => blocks.pointers(),
        Followed::Edges(edges) => edges.pointers(),
        _ => what
            .elements()
            .map_or_else(Vec::new, |(of, element)| pointers_of_elements(of, element.into(), captured, types)),
    }
}

/// The tail of a structure of which so many bytes are captured, if it is known how much to capture of it.
fn tail_behind(ty: TypeId, captured: u32, types: &TypeTable) -> Option<Pointer> {
    let NamedTail { tail, path, .. } = tail_of(ty, types)?;
    let is_counted = tail.count.is_none_or(|count| count.at.saturating_add(count.size.into()) <= captured);
    is_counted.then(|| Some(Pointer { at: tail.at, path, lead: tail.followed(types)? }))?
}

/// What may lie in front of a value, as a lead of the pointer to it.
fn front_of(ty: TypeId, types: &TypeTable) -> Option<Pointer> {
    let bytes = bytes_in_front(ty, types);
    (bytes > 0).then(|| Pointer { at: 0, path: String::new(), lead: Followed::Front { of: ty, bytes } })
}

/// What an element costs with some of what it leads to: two elements of a container in it.
#[must_use]
pub fn element_price(of: TypeId, element: u32, types: &TypeTable) -> u32 {
    price(of, element, COST_LEVELS, types)
}

fn price(of: TypeId, element: u32, levels: u32, types: &TypeTable) -> u32 {
    let behind = pointers_in(None, of, element, types).into_iter().map(|pointer| {
        match (pointer.lead, pointer.lead.elements()) {
            _ if levels == 0 => 0,
            (_, Some((of, element))) => {
                OUTCOME_BYTES + 2 * price(of, element.into(), levels - 1, types).min(MAX_COPY_BYTES)
            }
            (Followed::Value(ty), _) => {
                let size =
                    followable(ty, types).map_or(0, |size| u32::try_from(size).unwrap_or(u32::MAX).min(MAX_COPY_BYTES));
                OUTCOME_BYTES + price(ty, size, levels - 1, types).min(MAX_COPY_BYTES)
            }
            (Followed::Node(node), _) => OUTCOME_BYTES + u32::from(node.bytes),
            _ => text_price(FIRST_TEXT_BYTES),
        }
    });
    behind.take(MAX_ELEMENTS as usize).fold(element, u32::saturating_add).max(1)
}

fn pointers_of_elements(of: TypeId, element: u32, captured: u32, types: &TypeTable) -> Vec<Pointer> {
    let inner = pointers_in(None, of, element, types);
    let moved = |index: u32| {
        inner.iter().filter_map(move |pointer| {
            let start = index.checked_mul(element)?;
            let (at, lead) = (start.checked_add(pointer.at)?, pointer.lead.moved(start.into())?);
            Some(Pointer { at, path: format!("[{index}]{}", pointer.path), lead })
        })
    };
    (0..captured.checked_div(element).unwrap_or(0)).flat_map(moved).collect()
}

/// What the node holds comes before the nodes behind it.
fn pointers_of_node(node: &Node, captured: u32, types: &TypeTable) -> Vec<Pointer> {
    let start = u32::from(node.at);
    let inner = pointers_in(None, node.of, captured.saturating_sub(start), types).into_iter();
    // The root of Rust's trees has nobody above it.
    let held = inner.filter(|pointer| node.links != Links::None || !pointer.path.starts_with(".parent"));
    let held = held.filter_map(|pointer| {
        Some(Pointer { at: pointer.at.checked_add(start)?, lead: pointer.lead.moved(start.into())?, ..pointer })
    });
    let link = |(at, links): (u16, Links)| Pointer {
        at: at.into(),
        path: format!("[{at:+}]"),
        lead: Followed::Node(Node { links, ..*node }),
    };
    held.chain(node.links.followed().into_iter().map(link)).collect()
}
