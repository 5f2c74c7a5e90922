//! A type in; if it is a container of a standard library, how a plan reaches what it holds out.
//!
//! Types are recognised by their names and the members that debug info says they have; offsets are those of the debug info. What is known
//! here beyond it is said at its place.

use super::Followed;
use super::blocks::{Blocks, Which};
use super::edges::Edges;
use super::layout::{Found, element_offset, find, pointee};
use super::nodes::{Links, Node};
use super::pointers::{base_name, followable};
use super::shape::{str_parts, text_behind};
use crate::dwarf::types::{Aggregate, Type, TypeId, TypeKind, TypeTable};

/// Control bytes of a hash table that are captured: those of one group, which every table has at least
/// (<https://abseil.io/about/design/swisstables>, which hashbrown follows).
pub(super) const CONTROL_BYTES: u16 = 16;

/// Bytes of a `std::vector<bool>`.
pub(super) const BIT_BYTES: u16 = 32;

/// A pointer in a container, and what it leads to: both counted from the start of the container.
pub type Lead = (u64, Followed);

/// How to get to what a container holds. `None` for a type that is none, and whose members are looked at one by one.
#[must_use]
pub fn leads(ty: &Type, aggregate: &Aggregate, types: &TypeTable) -> Option<Vec<Lead>> {
    let container = Container { ty, aggregate, types };
    if let Some(slice) = container.slice() {
        return Some(vec![slice]);
    }
    if let Some(pointer) = trait_object(aggregate, types) {
        return Some(
            vec![pointer]
                .into_iter()
                .filter_map(|(at, to)| followable(to, types).map(|_| (at, Followed::Value(to))))
                .collect(),
        );
    }
    let name = without_version(base_name(&ty.name));
    let found = match name.as_str() {
        "Vec" | "alloc::vec::Vec" => container.rust_vector(),
        "alloc::collections::vec_deque::VecDeque" => container.rust_queue(),
        "alloc::collections::btree::map::BTreeMap" => container.rust_tree(),
        "hashbrown::raw::RawTable" => container.rust_table(),
        "std::basic_string" => container.text(),
        "std::basic_string_view" => container.view(&["_M_str"], &["_M_len"]),
        "std::span" => container.view(&["_M_ptr"], &["_M_extent_value"]),
        "std::vector" => container.between(&["_M_start"], &["_M_finish"]),
        "std::deque" => container.blocks(),
        "std::list" => container.chain("_M_node", "_M_next"),
        "std::forward_list" => container.chain("_M_head", "_M_next"),
        "std::_Hashtable" => container.hash_nodes(),
        "std::_Rb_tree" => container.tree(),
        "std::shared_ptr" | "std::weak_ptr" => container.only("_M_ptr"),
        _ => None,
    };
    found.or_else(|| container.of_libcxx(&name))
}

/// libstdc++ has types of its new interface in an inline namespace (`std::__cxx11::basic_string`), libc++ has all of them in one.
#[must_use]
pub fn without_version(name: &str) -> String {
    let rest = ["std::__cxx11::", "std::__1::"].iter().find_map(|version| name.strip_prefix(version));
    rest.map_or_else(|| name.to_owned(), |rest| format!("std::{rest}"))
}

/// `&dyn Trait`, `Box<dyn Trait>`: where the pointer to the object lies, and what it points to as far as the source says.
#[must_use]
pub fn trait_object(aggregate: &Aggregate, types: &TypeTable) -> Option<(u64, TypeId)> {
    let member = |name: &str| aggregate.members.iter().find(|member| member.name == name);
    let (pointer, _) = (member("pointer")?, member("vtable")?);
    let to = pointee(pointer.ty, types)?;
    types.get(to).name.starts_with("dyn ").then_some((pointer.offset, to))
}

/// Where in a `std::basic_string` the pointer to its characters lies, and their type.
///
/// clang leaves out what the member `_M_dataplus` is made of (it is described where libstdc++ was built). It has room for one pointer.
#[must_use]
pub fn text_pointer(string: &Aggregate, types: &TypeTable) -> Option<(u64, TypeId)> {
    if let Some(pointer) = find(string, "_M_p", types) {
        return Some((pointer.at, pointee(pointer.ty, types)?));
    }
    let (holder, length) = (find(string, "_M_dataplus", types)?, find(string, "_M_string_length", types)?);
    let has_one_word = types.resolve(holder.ty).size.is_none() && length.at.checked_sub(holder.at) == Some(8);
    has_one_word.then_some((holder.at, *string.parameters.first()?))
}

/// Where in an inner node of a B-tree of Rust the pointers to those below it lie. Their type is that which a leaf's parent has.
#[must_use]
pub fn edges_in_node(leaf: TypeId, types: &TypeTable) -> Option<u64> {
    let TypeKind::Aggregate(leaf) = &types.resolve(leaf).kind else { return None };
    let inner = find(leaf, "parent", types)?.variant("Some", types)?.first_pointer(types)?;
    let TypeKind::Aggregate(inner) = &types.resolve(pointee(inner.ty, types)?).kind else { return None };
    Some(find(inner, "edges", types)?.at)
}

/// A type that may be a container.
pub(super) struct Container<'t> {
    pub(super) ty: &'t Type,
    pub(super) aggregate: &'t Aggregate,
    pub(super) types: &'t TypeTable,
}

impl<'t> Container<'t> {
    pub(super) fn find(&self, name: &str) -> Option<Found<'t>> {
        find(self.aggregate, name, self.types)
    }

    /// The first of these that is there.
    pub(super) fn find_any(&self, names: &[&str]) -> Option<Found<'t>> {
        names.iter().find_map(|name| self.find(name))
    }

    /// A member of a member.
    pub(super) fn within(&self, outer: &Found<'t>, name: &str) -> Option<Found<'t>> {
        let TypeKind::Aggregate(inner) = &self.types.resolve(outer.ty).kind else { return None };
        let found = find(inner, name, self.types)?;
        Some(Found { at: outer.at.checked_add(found.at)?, ..found })
    }

    pub(super) fn parameter(&self, index: usize) -> Option<TypeId> {
        self.aggregate.parameters.get(index).copied()
    }

    /// Bytes of an element that a step can count.
    pub(super) fn element(&self, of: TypeId) -> Option<u16> {
        self.types.resolve(of).size.and_then(|size| u16::try_from(size).ok()).filter(|size| *size > 0)
    }

    pub(super) fn counted(&self, pointer: u64, length: u64, of: TypeId) -> Option<Lead> {
        let (length_at, element) = (u32::try_from(length).ok()?, self.element(of)?);
        Some((
            pointer,
            if element == 1 { Followed::Str { length_at } } else { Followed::Counted { length_at, element, of } },
        ))
    }

    /// `&str`, `&[T]`, `Box<[T]>`, `&Path`: rustc describes all of them as a pair of `data_ptr` and `length`.
    fn slice(&self) -> Option<Lead> {
        if let Some((pointer, length)) = str_parts(self.ty, self.aggregate, self.types) {
            return Some((pointer, Followed::Str { length_at: u32::try_from(length).ok()? }));
        }
        let member = |name: &str| self.aggregate.members.iter().find(|member| member.name == name);
        let (pointer, length) = (member("data_ptr")?, member("length")?);
        if text_behind(&self.ty.name).is_some() {
            return Some((pointer.offset, Followed::Str { length_at: u32::try_from(length.offset).ok()? }));
        }
        self.counted(pointer.offset, length.offset, pointee(pointer.ty, self.types)?)
    }

    /// Since Rust 1.83 the buffer of a vector is one of bytes, whatever it holds: its type argument tells.
    fn rust_vector(&self) -> Option<Vec<Lead>> {
        let pointer = self.within(&self.find("buf")?, "ptr")?.first_pointer(self.types)?;
        Some(vec![self.counted(pointer.at, self.find("len")?.at, self.parameter(0)?)?])
    }

    /// A queue in a ring: what it holds begins at `head`, and goes on at the start of its buffer.
    fn rust_queue(&self) -> Option<Vec<Lead>> {
        let pointer = self.within(&self.find("buf")?, "ptr")?.first_pointer(self.types)?;
        let of = self.parameter(0)?;
        let (first_at, length_at) = (self.find("head")?.at, self.find("len")?.at);
        let (first_at, length_at) = (u32::try_from(first_at).ok()?, u32::try_from(length_at).ok()?);
        let ring = Followed::Ring { first_at, length_at, element: self.element(of)?, of };
        Some(vec![(pointer.at, ring), self.counted(pointer.at, length_at.into(), of)?])
    }

    /// Its root, which is all of a small tree, and the nodes below in which its smallest elements are.
    fn rust_tree(&self) -> Option<Vec<Lead>> {
        let root = self.find("root")?.variant("Some", self.types)?;
        let pointer = self.within(&root, "node")?.first_pointer(self.types)?;
        let of = pointee(pointer.ty, self.types)?;
        let bytes = u16::try_from(self.types.resolve(of).size?).ok()?;
        let node = Node { of, at: 0, bytes, links: Links::None };
        let edges = self.edges(&root, node).map(|edges| (pointer.at, Followed::Edges(edges)));
        Some([Some((pointer.at, Followed::Node(node))), edges].into_iter().flatten().collect())
    }

    /// Those of the root, if it is an inner node.
    fn edges(&self, root: &Found<'t>, leaf: Node) -> Option<Edges> {
        let height = self.within(root, "height")?;
        let edges_at = edges_in_node(leaf.of, self.types)?;
        Edges::of_root(u32::try_from(height.at).ok()?, u16::try_from(edges_at).ok()?, leaf)
    }

    /// Before the control bytes, one for each place, lie the elements, the first one nearest.
    fn rust_table(&self) -> Option<Vec<Lead>> {
        let of = self.parameter(0)?;
        let control = self.find("ctrl")?.first_pointer(self.types)?;
        let mask_at = u32::try_from(self.find("bucket_mask")?.at).ok()?;
        let places = Followed::Places { mask_at, element: self.element(of)?, of };
        Some(vec![(control.at, Followed::Bytes(CONTROL_BYTES)), (control.at, places)])
    }

    /// `std::string`: both of libstdc++'s. Before C++11 the length lay in front of the text, and a NUL is there for certain.
    fn text(&self) -> Option<Vec<Lead>> {
        let (pointer_at, of) = text_pointer(self.aggregate, self.types)?;
        match self.find("_M_string_length") {
            Some(length) => Some(vec![self.counted(pointer_at, length.at, of)?]),
            None => (self.element(of) == Some(1)).then(|| vec![(pointer_at, Followed::CString)]),
        }
    }

    /// A pointer and a length.
    pub(super) fn view(&self, pointer: &[&str], length: &[&str]) -> Option<Vec<Lead>> {
        let (pointer, length) = (self.find_any(pointer)?, self.find_any(length)?);
        Some(vec![self.counted(pointer.at, length.at, pointee(pointer.ty, self.types)?)?])
    }

    /// What lies between two pointers.
    pub(super) fn between(&self, start: &[&str], end: &[&str]) -> Option<Vec<Lead>> {
        let [start, end] = [start, end].map(|names| self.find_any(names));
        let (start, end) = (start?.first_pointer(self.types)?, end?.first_pointer(self.types)?);
        let of = pointee(start.ty, self.types)?;
        let end_at = u32::try_from(end.at).ok()?;
        // Of bits, the last word is begun at most: its end would have to be rounded up.
        if self.find("_M_offset").is_some() {
            return Some(vec![(start.at, Followed::Bytes(BIT_BYTES))]);
        }
        Some(vec![(start.at, Followed::Until { end_at, element: self.element(of)?, of })])
    }

    /// A queue in blocks: what the first one holds, or as much behind that as if it went on there; and what is in the one behind it.
    fn blocks(&self) -> Option<Vec<Lead>> {
        let mut leads = self.between(&["_M_start"], &["_M_finish"])?;
        let (start, finish) = (self.find("_M_start")?, self.find("_M_finish")?);
        let [last, end] = ["_M_node", "_M_cur"].map(|name| self.within(&finish, name));
        let (last_at, end_at) = (u32::try_from(last?.at).ok()?, u32::try_from(end?.at).ok()?);
        let (_, Followed::Until { element, of, .. }) = *leads.first()? else { return None };
        let which = Which::Second { last_at, end_at };
        leads.push((self.within(&start, "_M_node")?.at, Followed::Blocks(Blocks { of, element, which })));
        Some(leads)
    }

    /// Nodes of which each begins with a pointer to the next one, or with what `head` is the first of.
    fn chain(&self, head: &str, next: &str) -> Option<Vec<Lead>> {
        let head = self.find(head)?;
        let next = self.within(&head, next)?;
        self.nodes_from(next, self.parameter(0)?)
    }

    fn hash_nodes(&self) -> Option<Vec<Lead>> {
        let next = self.within(&self.find("_M_before_begin")?, "_M_nxt")?;
        self.nodes_from(next, self.parameter(1)?)
    }

    fn nodes_from(&self, first: Found<'t>, of: TypeId) -> Option<Vec<Lead>> {
        let links = self.types.resolve(pointee(first.ty, self.types)?).size?;
        let node = Node::new(of, element_offset(links, of, self.types)?, Links::list(0), self.types)?;
        Some(vec![(first.at, Followed::Node(node))])
    }

    /// From the smallest element on.
    fn tree(&self) -> Option<Vec<Lead>> {
        let header = self.find("_M_header")?;
        let of = self.parameter(1)?;
        let link = |name| self.within(&header, name).and_then(|link| u16::try_from(link.at - header.at).ok());
        let (parent, left, right) = (link("_M_parent")?, link("_M_left")?, link("_M_right")?);
        let links = self.types.resolve(header.ty).size?;
        let links_of_first = Links::first_of_tree(parent, left, right);
        let node = Node::new(of, element_offset(links, of, self.types)?, links_of_first, self.types)?;
        Some(vec![(header.at.checked_add(left.into())?, Followed::Node(node))])
    }

    /// Only what this pointer leads to.
    pub(super) fn only(&self, name: &str) -> Option<Vec<Lead>> {
        let pointer = self.find(name)?;
        let to = pointee(pointer.ty, self.types)?;
        let lead = followable(to, self.types).map(|_| (pointer.at, Followed::Value(to)));
        Some(lead.into_iter().collect())
    }
}
