//! C++'s containers of nodes: trees, hash tables and lists. Nodes are found as by a plan; walks are bounded, and end at a node that was there before.

use std::collections::HashSet;

use serde_json::Value as Json;

use super::Place;
use crate::address::Avma;
use crate::crash::decode::{list as as_list, unavailable, with_parts};
use crate::dwarf::types::TypeId;
use crate::plan::Followed;
use crate::plan::containers::leads;
use crate::plan::nodes::{Links, Node, Tree};
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
        Some(Self(place.decoder.value_inside(&bytes, place.behind, at, of, place.depth + 1)))
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
    let count = place.find("_M_node")?.find("_M_size")?.number()?;
    Some(walk_of(place, count)?.told(as_set, value))
}

/// `std::forward_list`, which does not say how long it is.
pub fn forward_list(place: Place<'_>, value: &Value) -> Option<Value> {
    place.find("_M_head")?;
    Some(walk_of(place, u64::MAX)?.told_without_count(place, value))
}

/// What a walk has found.
pub struct Walk {
    entries: Vec<Entry>,
    count: u64,
    /// Why it ended before its end.
    problem: Option<String>,
    /// It ended at NULL, where a list ends that does not say how long it is.
    ends_at_null: bool,
}

impl Walk {
    /// Of a container with `count` elements, the first of which is in the node at `first`. `None` where nodes have no links.
    pub fn from(place: Place<'_>, first: u64, node: &Node, count: u64) -> Option<Self> {
        let mut walk = Self { entries: Vec::new(), count, problem: None, ends_at_null: false };
        match node.links {
            Links::List { next, .. } => walk.along(place, first, node, next.into()),
            Links::Up { tree, .. } => walk.through(place, first, node, tree),
            Links::None | Links::Down { .. } => return None,
        }
        Some(walk)
    }

    fn along(&mut self, place: Place<'_>, first: u64, layout: &Node, next_at: u64) {
        let wanted = self.count.min(place.behind.max_elements()) as usize;
        let (mut seen, mut node) = (HashSet::new(), first);
        while self.entries.len() < wanted {
            if node == 0 || !seen.insert(node) {
                self.ends_at_null = node == 0;
                self.problem = Some(format!("the list is damaged: it leads to {node:#x}"));
                break;
            }
            let next = node.checked_add(next_at).and_then(|at| place.behind.word(at));
            let (Some(entry), Some(next)) = (Entry::read(&place, layout.of, Address(node), layout.at.into()), next)
            else {
                self.problem = Some(format!("the node at {node:#x} {NOT_KNOWN}"));
                break;
            };
            self.entries.push(entry);
            node = next;
        }
    }

    /// A red-black tree in order, from the smallest element on, as an iterator goes: plans record it in that order too.
    fn through(&mut self, place: Place<'_>, first: u64, layout: &Node, tree: Tree) {
        let links = TreeLinks { place, tree };
        let wanted = self.count.min(place.behind.max_elements()) as usize;
        let (mut seen, mut at) = (HashSet::new(), first);
        while self.entries.len() < wanted {
            if at == 0 || !seen.insert(at) {
                self.problem = Some(format!("the tree is damaged: it leads to {at:#x}"));
                return;
            }
            let Some(entry) = Entry::read(&place, layout.of, Address(at), layout.at.into()) else {
                self.problem = Some(format!("the node at {at:#x} {NOT_KNOWN}"));
                return;
            };
            self.entries.push(entry);
            if self.entries.len() < wanted {
                match links.next(at) {
                    Ok(next) => at = next,
                    Err(problem) => {
                        self.problem = Some(problem);
                        return;
                    }
                }
            }
        }
    }

    /// A list that does not say how long it is.
    pub fn told_without_count(mut self, place: Place<'_>, value: &Value) -> Value {
        self.count = self.entries.len() as u64;
        if self.ends_at_null {
            self.problem = None;
        }
        let is_cut = self.problem.is_some();
        let is_full = self.count == place.behind.max_elements();
        let count = self.count;
        let told = self.told(as_set, value);
        match is_full {
            true => {
                let reason = Some(format!("only its first {count} elements are shown"));
                Value { length: None, state: State::Truncated, reason, ..told }
            }
            false if is_cut => Value { length: None, ..told },
            false => told,
        }
    }

    /// A list or a map.
    pub fn told(self, tell: fn(Value, Vec<Entry>, u64) -> Value, value: &Value) -> Value {
        let Self { entries, count, problem, .. } = self;
        let got = entries.len();
        let told = tell(Value { length: Some(count), ..value.clone() }, entries, count);
        ended_early(told, got, count, problem)
    }
}

/// A container of `count` elements as it was told, of which `problem` left `got` to be known.
pub fn ended_early(told: Value, got: usize, count: u64, problem: Option<String>) -> Value {
    match problem {
        Some(problem) if got == 0 => unavailable(Value { value: Json::Null, ..told }, problem),
        Some(problem) => Value {
            state: State::Truncated,
            reason: Some(format!("only {got} of {count} elements: {problem}")),
            ..told
        },
        None => told,
    }
}

fn tree(place: Place<'_>) -> Option<Walk> {
    let count = place.find("_M_node_count")?.number()?;
    let tree = place.find_by(&mut |_, member| member.base_name() == "std::_Rb_tree")?;
    walk_of(tree, count)
}

/// A walk from where a plan would begin it.
fn walk_of(place: Place<'_>, count: u64) -> Option<Walk> {
    let lead = leads(place.ty(), place.aggregate()?, place.decoder.types)?.into_iter().next()?;
    let (first_at, Followed::Node(node)) = lead else { return None };
    Walk::from(place, place.word(first_at)?, &node, count)
}

/// How the nodes of a tree hang together.
struct TreeLinks<'p> {
    place: Place<'p>,
    tree: Tree,
}

impl TreeLinks<'_> {
    fn link(&self, node: u64, offset: u16) -> Result<u64, String> {
        let link = node.checked_add(offset.into()).and_then(|at| self.place.behind.word(at));
        link.ok_or_else(|| format!("the node at {node:#x} {NOT_KNOWN}"))
    }

    /// The node with the next greater element: the leftmost one below the right child, or else the first one above that has this on its left.
    fn next(&self, node: u64) -> Result<u64, String> {
        let mut at = self.link(node, self.tree.right)?;
        if at != 0 {
            for _ in 0..MAX_HEIGHT {
                match self.link(at, self.tree.left)? {
                    0 => return Ok(at),
                    left => at = left,
                }
            }
            return Err("the tree is damaged: it has no end".into());
        }
        let mut below = node;
        for _ in 0..MAX_HEIGHT {
            let above = self.link(below, self.tree.parent)?;
            if self.link(above, self.tree.right)? != below {
                return Ok(above);
            }
            below = above;
        }
        Err("the tree is damaged: it has no end".into())
    }
}

fn hash_table(place: Place<'_>) -> Option<Walk> {
    let table = place.find_by(&mut |_, member| member.base_name() == "std::_Hashtable")?;
    walk_of(table, place.find("_M_element_count")?.number()?)
}

/// `value` as the list of `count` elements of type `of` that lie where `at` says, one by one.
pub fn each_at(place: &Place<'_>, value: Value, of: TypeId, count: u64, at: impl Fn(u64) -> Option<Address>) -> Value {
    let wanted = count.min(place.behind.max_elements());
    let entries: Vec<_> = (0..wanted).map_while(|index| Entry::read(place, of, at(index)?, 0)).collect();
    let shown = entries.len() as u64;
    let told = as_set(value, entries, count);
    match shown {
        0 if count > 0 => unavailable(Value { value: Json::Null, ..told }, "it was not captured".into()),
        _ if shown < wanted => Value {
            state: State::Truncated,
            reason: Some(format!("only its first {shown} of {count} elements were captured")),
            ..told
        },
        _ => told,
    }
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
