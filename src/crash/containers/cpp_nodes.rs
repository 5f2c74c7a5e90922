//! C++'s containers of nodes, as libstdc++ has them: trees, hash tables and lists. Walks are bounded, and end at a node that was there before.

use std::collections::HashSet;

use serde_json::Value as Json;

use super::Place;
use crate::address::Avma;
use crate::crash::decode::{Pointees, list as as_list, with_parts};
use crate::dwarf::types::TypeId;
use crate::plan::layout::element_offset;
use crate::report::{Address, State, Value};

/// Nodes of a tree on the way to its next element.
const MAX_HEIGHT: usize = 128;
/// Why a walk ends early, where nothing is wrong with the container.
const NOT_KNOWN: &str = "was not captured";

/// What one node holds.
pub struct Entry(pub Value);

impl Entry {
    /// The value of type `of` that lies `offset` bytes into a node; `None` where nothing of it is known.
    pub fn read(place: &Place<'_>, of: TypeId, node: Address, offset: u64) -> Option<Self> {
        let size = usize::try_from(place.decoder.types.resolve(of).size?).ok()?;
        let at = Address(node.0.checked_add(offset)?);
        let bytes = place.behind.bytes(Avma(at.0), size);
        if bytes.known_part(0, size).is_empty() && size > 0 || place.decoder.is_within(at, of) {
            return None;
        }
        let inner = place.decoder.inside(&bytes, place.behind, at, of);
        let value = inner.value(None, of, 0, place.depth + 1);
        place.decoder.parts.set(inner.parts.get());
        Some(Self(value))
    }
}

/// `std::map`.
pub fn map(place: Place<'_>, value: &Value) -> Option<Value> {
    let walk = tree(place)?;
    Some(walk.told(as_map, value))
}

/// `std::set`.
pub fn set(place: Place<'_>, value: &Value) -> Option<Value> {
    let walk = tree(place)?;
    Some(walk.told(as_set, value))
}

/// `std::unordered_map`.
pub fn hash_map(place: Place<'_>, value: &Value) -> Option<Value> {
    Some(hash_table(place)?.told(as_map, value))
}

/// `std::unordered_set`.
pub fn hash_set(place: Place<'_>, value: &Value) -> Option<Value> {
    Some(hash_table(place)?.told(as_set, value))
}

/// `std::list`.
pub fn list(place: Place<'_>, value: &Value) -> Option<Value> {
    let head = place.find("_M_node")?;
    let count = head.find("_M_size")?.number()?;
    let next = head.find("_M_next")?;
    let of = place.parameter(0)?;
    Some(chain(place, next, of, count)?.told(as_set, value))
}

/// `std::forward_list`, which does not say how long it is.
pub fn forward_list(place: Place<'_>, value: &Value) -> Option<Value> {
    let next = place.find("_M_head")?.find("_M_next")?;
    let mut walk = chain(place, next, place.parameter(0)?, u64::MAX)?;
    walk.count = walk.entries.len() as u64;
    if walk.ends_at_null {
        walk.problem = None;
    }
    if walk.count == place.behind.max_elements() {
        let told = walk.told(as_set, value);
        let reason = Some(format!("only its first {} elements are shown", told.length.unwrap_or(0)));
        return Some(Value { length: None, state: State::Truncated, reason, ..told });
    }
    let is_cut = walk.problem.is_some();
    let told = walk.told(as_set, value);
    Some(if is_cut { Value { length: None, ..told } } else { told })
}

/// What a walk has found.
struct Walk {
    entries: Vec<Entry>,
    count: u64,
    /// Why it ended before its end.
    problem: Option<String>,
    /// It ended at NULL, where a list ends that does not say how long it is.
    ends_at_null: bool,
}

impl Walk {
    fn told(self, tell: fn(Value, Vec<Entry>, u64) -> Value, value: &Value) -> Value {
        let Self { entries, count, problem, .. } = self;
        let got = entries.len();
        let told = tell(Value { length: Some(count), ..value.clone() }, entries, count);
        match problem {
            Some(problem) if got == 0 => {
                Value { state: State::Unavailable, value: Json::Null, reason: Some(problem), ..told }
            }
            Some(problem) => Value {
                state: State::Truncated,
                reason: Some(format!("only {got} of {count} elements: {problem}")),
                ..told
            },
            None => told,
        }
    }
}

/// A red-black tree in order, from the smallest element on, as an iterator goes: plans record it in that order too.
fn tree(place: Place<'_>) -> Option<Walk> {
    let header = place.find("_M_header")?;
    let count = place.find("_M_node_count")?.number()?;
    let of = place.find_by(&mut |_, member| member.base_name() == "std::_Rb_tree")?.parameter(1)?;
    let [parent, left, right] = ["_M_parent", "_M_left", "_M_right"].map(|name| header.member(name));
    let offset_of = |link: Place<'_>| (link.at - header.at) as u64;
    let links = TreeLinks { place, parent: offset_of(parent?), left: offset_of(left?), right: offset_of(right?) };
    let offset = element_offset(header.ty().size?, of, place.decoder.types)?;
    let mut walk = Walk { entries: Vec::new(), count, problem: None, ends_at_null: false };
    let wanted = count.min(place.behind.max_elements()) as usize;
    let (mut seen, mut at) = (HashSet::new(), header.member("_M_left")?.number()?);
    while walk.entries.len() < wanted {
        if at == 0 || !seen.insert(at) {
            walk.problem = Some(format!("the tree is damaged: it leads to {at:#x}"));
            break;
        }
        let Some(entry) = Entry::read(&place, of, Address(at), offset) else {
            walk.problem = Some(format!("the node at {at:#x} {NOT_KNOWN}"));
            break;
        };
        walk.entries.push(entry);
        if walk.entries.len() < wanted {
            match links.next(at) {
                Ok(next) => at = next,
                Err(problem) => {
                    walk.problem = Some(problem);
                    break;
                }
            }
        }
    }
    Some(walk)
}

/// How the nodes of a tree hang together.
struct TreeLinks<'p> {
    place: Place<'p>,
    parent: u64,
    left: u64,
    right: u64,
}

impl TreeLinks<'_> {
    fn link(&self, node: u64, offset: u64) -> Result<u64, String> {
        let link = node.checked_add(offset).and_then(|at| word(self.place.behind, at));
        link.ok_or_else(|| format!("the node at {node:#x} {NOT_KNOWN}"))
    }

    /// The node with the next greater element: the leftmost one below the right child, or else the first one above that has this on its left.
    fn next(&self, node: u64) -> Result<u64, String> {
        let mut at = self.link(node, self.right)?;
        if at != 0 {
            for _ in 0..MAX_HEIGHT {
                match self.link(at, self.left)? {
                    0 => return Ok(at),
                    left => at = left,
                }
            }
            return Err("the tree is damaged: it has no end".into());
        }
        let mut below = node;
        for _ in 0..MAX_HEIGHT {
            let above = self.link(below, self.parent)?;
            if self.link(above, self.right)? != below {
                return Ok(above);
            }
            below = above;
        }
        Err("the tree is damaged: it has no end".into())
    }
}

fn hash_table(place: Place<'_>) -> Option<Walk> {
    let count = place.find("_M_element_count")?.number()?;
    let of = place.find_by(&mut |_, member| member.base_name() == "std::_Hashtable")?.parameter(1)?;
    let next = place.find("_M_before_begin")?.find("_M_nxt")?;
    chain(place, next, of, count)
}

/// Nodes of which each begins with what `first` is the first of: a base class with a pointer to the next one.
fn chain(place: Place<'_>, first: Place<'_>, of: TypeId, count: u64) -> Option<Walk> {
    let base = first.pointee()?;
    let offset = element_offset(place.decoder.types.resolve(base).size?, of, place.decoder.types)?;
    let mut walk = Walk { entries: Vec::new(), count, problem: None, ends_at_null: false };
    let wanted = count.min(place.behind.max_elements()) as usize;
    let (mut seen, mut node) = (HashSet::new(), first.number()?);
    while walk.entries.len() < wanted {
        if node == 0 || !seen.insert(node) {
            walk.ends_at_null = node == 0;
            walk.problem = Some(format!("the list is damaged: it leads to {node:#x}"));
            break;
        }
        // The pointer to the next one is the first member of the base class, as it is in the head.
        let (entry, next) = (Entry::read(&place, of, Address(node), offset), word(place.behind, node));
        let (Some(entry), Some(next)) = (entry, next) else {
            walk.problem = Some(format!("the node at {node:#x} {NOT_KNOWN}"));
            break;
        };
        walk.entries.push(entry);
        node = next;
    }
    Some(walk)
}

fn word(behind: &dyn Pointees, at: u64) -> Option<u64> {
    let bytes = behind.bytes(Avma(at), 8);
    Some(u64::from_le_bytes(bytes.get(0, 8).ok()?.try_into().ok()?))
}

/// A list of elements.
pub fn as_set(value: Value, entries: Vec<Entry>, count: u64) -> Value {
    as_list(value, entries.into_iter().map(|Entry(value)| value).collect(), count)
}

/// Pairs of key and value: an object where all keys are texts, a list of pairs elsewhere.
pub fn as_map(value: Value, entries: Vec<Entry>, count: u64) -> Value {
    let mut elements = Vec::new();
    for Entry(pair) in entries {
        let Ok([key, held]) = <[Value; 2]>::try_from(pair.members) else { continue };
        elements.push(Value { name: None, key: Some(Box::new(Value { name: None, ..key })), ..held });
    }
    let shown = elements.len() as u64;
    let json = map_json(&elements);
    let mut value = with_parts(Value { value: json, ..value }, elements);
    if shown < count && value.state == State::Exact {
        value.state = State::Truncated;
        value.reason = Some(format!("only {shown} of its {count} elements are shown"));
    }
    value
}

fn map_json(elements: &[Value]) -> Json {
    let key = |element: &Value| element.key.as_ref().map(|key| key.value.clone()).unwrap_or_default();
    let is_text =
        |element: &Value| key(element).is_string() && element.key.as_ref().is_some_and(|key| key.length.is_some());
    if elements.iter().all(is_text) {
        let named = |element: &Value| (key(element).as_str().unwrap_or_default().to_owned(), element.value.clone());
        let object: serde_json::Map<_, _> = elements.iter().map(named).collect();
        // A multimap may have a key twice.
        if object.len() == elements.len() {
            return Json::Object(object);
        }
    }
    elements.iter().map(|element| Json::Array(vec![key(element), element.value.clone()])).collect()
}
