//! Rust's ordered maps: B-trees, whose leaves and inner nodes debug info describes.

use super::Place;
use super::cpp_nodes::{Entry, as_map, as_set, ended_early};
use crate::address::Avma;
use crate::dwarf::types::{TypeId, TypeKind};
use crate::plan::containers::edges_in_node;
use crate::plan::layout::find;
use crate::report::{Address, Value};

/// Inner nodes above each other: of 6 keys at least in each, more than there is memory for.
const MAX_HEIGHT: u64 = 24;

/// `BTreeMap<K, V>`.
pub fn map(place: Place<'_>, value: &Value) -> Option<Value> {
    told(place, value, true)
}

/// `BTreeSet<T>`: a map to nothing.
pub fn set(place: Place<'_>, value: &Value) -> Option<Value> {
    told(place.member("map")?, value, false)
}

fn told(place: Place<'_>, value: &Value, has_values: bool) -> Option<Value> {
    let count = place.member("length")?.number()?;
    let value = Value { length: Some(count), ..value.clone() };
    let none = |value| if has_values { as_map(value, Vec::new(), 0) } else { as_set(value, Vec::new(), 0) };
    if count == 0 {
        return Some(none(value));
    }
    let (root, height, nodes) = root(&place, has_values)?;
    let wanted = count.min(place.behind.max_elements()) as usize;
    let mut walk = Walk { place, nodes, entries: Vec::new(), wanted };
    let problem = walk.visit(root, height).err();
    let got = walk.entries.len();
    let told = if has_values { as_map(value, walk.entries, count) } else { as_set(value, walk.entries, count) };
    let early = format!("it is damaged: it has {got} elements");
    Some(ended_early(told, got, count, problem.or((got < wanted).then_some(early))))
}

/// The root, the inner nodes from there to a leaf, and what nodes look like.
fn root(place: &Place<'_>, has_values: bool) -> Option<(u64, u64, Nodes)> {
    let types = place.decoder.types;
    let root = place.member("root")?;
    let option = types.resolve(root.id);
    let TypeKind::Aggregate(option) = &option.kind else { return None };
    let some = &option.variants.as_ref()?.variants.iter().find(|variant| variant.member.name == "Some")?.member;
    let some = root.moved(some.ty, some.offset)?;
    let node = some.find("node")?.first_pointer()?;
    let (height, leaf) = (some.find("height")?.number().filter(|height| *height <= MAX_HEIGHT)?, node.pointee()?);
    let TypeKind::Aggregate(members) = &types.resolve(leaf).kind else { return None };
    let offset = |name| find(members, name, types);
    let (key, held) = (place.parameter(0)?, place.parameter(1).filter(|_| has_values));
    let edges = edges_in_node(leaf, types);
    let (keys, values) = (offset("keys")?.at, offset("vals").map(|values| values.at));
    let nodes = Nodes { key, held, keys, values, length: offset("len")?.at, edges };
    Some((node.number()?, height, nodes))
}

/// Where in a node its parts lie.
struct Nodes {
    key: TypeId,
    held: Option<TypeId>,
    keys: u64,
    values: Option<u64>,
    length: u64,
    edges: Option<u64>,
}

struct Walk<'p> {
    place: Place<'p>,
    nodes: Nodes,
    entries: Vec<Entry>,
    wanted: usize,
}

impl Walk<'_> {
    /// What is in a node and below it, in order; the reason why not all of it is known.
    fn visit(&mut self, node: u64, height: u64) -> Result<(), String> {
        /// Keys in a node (`CAPACITY` of the standard library is 11).
        const MAX_KEYS: u64 = 64;
        let unknown = || format!("the node at {node:#x} was not captured");
        let length = self.number(node, self.nodes.length, 2).ok_or_else(unknown)?;
        if length > MAX_KEYS {
            return Err(format!("the node at {node:#x} is damaged: it has {length} keys"));
        }
        for index in 0..=length {
            if height > 0 {
                let edges = self.nodes.edges.ok_or("debug info does not describe its inner nodes")?;
                let below = self.number(node, edges + index * 8, 8).ok_or_else(unknown)?;
                self.visit(below, height - 1)?;
            }
            if self.entries.len() >= self.wanted {
                break;
            }
            if index < length {
                let entry = self.entry(node, index).ok_or_else(unknown)?;
                self.entries.push(entry);
            }
        }
        Ok(())
    }

    fn number(&self, node: u64, offset: u64, size: usize) -> Option<u64> {
        let bytes = self.place.behind.bytes(Avma(node.checked_add(offset)?), size);
        let mut word = [0; 8];
        word[..size].copy_from_slice(bytes.get(0, size).ok()?);
        Some(u64::from_le_bytes(word))
    }

    fn entry(&self, node: u64, index: u64) -> Option<Entry> {
        let key = self.part(self.nodes.key, node.checked_add(self.nodes.keys)?, index)?;
        let Some(held) = self.nodes.held else { return Some(Entry(key)) };
        let held = self.part(held, node.checked_add(self.nodes.values?)?, index)?;
        Some(Entry(Value { members: vec![key, held], ..Value::default() }))
    }

    /// One element of an array in a node.
    fn part(&self, of: TypeId, array: u64, index: u64) -> Option<Value> {
        let size = self.place.decoder.types.resolve(of).size?;
        let at = Address(array.checked_add(index.checked_mul(size)?)?);
        let bytes = self.place.behind.bytes(Avma(at.0), usize::try_from(size).ok()?);
        Some(self.place.decoder.value_inside(&bytes, self.place.behind, at, of, self.place.depth + 1))
    }
}
