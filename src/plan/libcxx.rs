//! libc++'s containers: how a plan reaches what they hold. Names are those of versions 14 to 19.

use super::Followed;
use super::blocks::{Blocks, Which, elements_in_block_of_libcxx};
use super::containers::{BIT_BYTES, Container, Lead};
use super::layout::{Found, element_offset, find, pointee};
use super::nodes::{Links, Node};
use crate::dwarf::types::{Aggregate, TypeId, TypeKind, TypeTable};

/// Bytes of what a `std::function` calls: the pointer to its table of methods, and the first word behind that.
const CALLEE_BYTES: u16 = 16;

impl<'t> Container<'t> {
    /// The same as [`super::containers::leads`] for a type of this name.
    pub(super) fn of_libcxx(&self, name: &str) -> Option<Vec<Lead>> {
        match name {
            "std::basic_string" => self.long_text(),
            "std::basic_string_view" | "std::span" => self.view(&["__data_", "__data"], &["__size_", "__size"]),
            "std::vector" => self.between(&["__begin_"], &["__end_"]).or_else(|| self.bits()),
            "std::deque" => self.blocks_of_libcxx(),
            "std::function" => self.callee(),
            "std::list" => self.linked(&["__end_"]),
            "std::forward_list" => self.linked(&["__before_begin_"]),
            "std::__hash_table" => self.hashed(),
            "std::__tree" => self.sorted(),
            "std::shared_ptr" | "std::weak_ptr" => self.only("__ptr_"),
            _ => None,
        }
    }

    /// `std::vector<bool>`, which says how many bits there are.
    fn bits(&self) -> Option<Vec<Lead>> {
        let (begin, _) = (self.find("__begin_")?.first_pointer(self.types)?, self.find("__size_")?);
        Some(vec![(begin.at, Followed::Bytes(BIT_BYTES))])
    }

    /// A queue in blocks, which a table of pointers leads to.
    fn blocks_of_libcxx(&self) -> Option<Vec<Lead>> {
        let table = self.within(&self.find("__map_")?, "__begin_")?;
        let of = pointee(pointee(table.ty, self.types)?, self.types)?;
        let (first, length) = (self.find("__start_")?, size_in(self.find("__size_")?, self.types)?);
        let (length_at, first_at) = (u32::try_from(length.at).ok()?, u32::try_from(first.at).ok()?);
        let element = self.element(of)?;
        let in_block = u16::try_from(elements_in_block_of_libcxx(element.into())?).ok()?;
        let which = Which::FirstTwo { length_at, first_at, in_block };
        Some(vec![(table.at, Followed::Blocks(Blocks { of, element, which }))])
    }

    /// What a `std::function` calls is in an object, whose class says what it is; a pointer to a function is the first thing in it.
    fn callee(&self) -> Option<Vec<Lead>> {
        let object = callee(self.aggregate, self.types)?;
        Some(vec![(object.at, Followed::Bytes(CALLEE_BYTES))])
    }

    /// A long text; a short one lies in the string itself, and what is then read here is not shown.
    fn long_text(&self) -> Option<Vec<Lead>> {
        let long = self.find("__l")?;
        let pointer = self.within(&long, "__data_")?;
        let of = pointee(pointer.ty, self.types)?;
        Some(vec![self.counted(pointer.at, self.within(&long, "__size_")?.at, of)?])
    }

    /// Nodes that begin with a pointer to the next one, as `head` does.
    fn linked(&self, head: &[&str]) -> Option<Vec<Lead>> {
        let head = self.find_any(head)?;
        let next = self.within(&head, "__next_")?;
        let TypeKind::Aggregate(links) = &self.types.resolve(pointee(next.ty, self.types)?).kind else { return None };
        let next_in_node = find(links, "__next_", self.types)?;
        let (of, size) = (self.parameter(0)?, self.types.resolve(pointee(next.ty, self.types)?).size?);
        let next_in_node = u16::try_from(next_in_node.at).ok()?;
        // Where debug info has the node itself and not only its links, it says where the value is.
        let value_at = find(links, "__value_", self.types).map(|value| value.at);
        let at = value_at.or_else(|| element_offset(size, of, self.types))?;
        let node = Node::new(of, at, Links::list(next_in_node), self.types)?;
        Some(vec![(next.at, Followed::Node(node))])
    }

    fn hashed(&self) -> Option<Vec<Lead>> {
        let first = self.find_any(&["__first_node_", "__p1_"])?.first_pointer(self.types)?;
        let TypeKind::Aggregate(node) = &self.types.resolve(pointee(first.ty, self.types)?).kind else { return None };
        let next = find(node, "__next_", self.types)?;
        // Links lead to links; what nodes they are the links of was given to their type.
        let node = pointee(*node.parameters.first()?, self.types)?;
        let TypeKind::Aggregate(node) = &self.types.resolve(node).kind else { return None };
        let value = find(node, "__value_", self.types)?;
        let of = pair_in(self.parameter(0)?, self.types);
        let next = u16::try_from(next.at).ok()?;
        let node = Node::new(of, value.at, Links::list(next), self.types)?;
        Some(vec![(first.at, Followed::Node(node))])
    }

    /// From the smallest element on. Values lie right behind the color, in what would be padding.
    fn sorted(&self) -> Option<Vec<Lead>> {
        let first = self.find("__begin_node_")?;
        let TypeKind::Aggregate(end) = &self.types.resolve(pointee(first.ty, self.types)?).kind else { return None };
        let left = find(end, "__left_", self.types)?;
        let TypeKind::Aggregate(base) = &self.types.resolve(pointee(left.ty, self.types)?).kind else { return None };
        let link = |name| find(base, name, self.types).and_then(|link: Found<'_>| u16::try_from(link.at).ok());
        let (parent, left, right) = (link("__parent_")?, link("__left_")?, link("__right_")?);
        let links = Links::first_of_tree(parent, left, right);
        let of = pair_in(self.parameter(0)?, self.types);
        let behind_color = u64::from(link("__is_black_")?) + 1;
        let node = Node::new(of, element_offset(behind_color, of, self.types)?, links, self.types)?;
        Some(vec![(first.at, Followed::Node(node))])
    }
}

/// The pointer to what a `std::function` calls.
#[must_use]
pub fn callee<'t>(function: &'t Aggregate, types: &'t TypeTable) -> Option<Found<'t>> {
    let outer = find(function, "__f_", types)?;
    let TypeKind::Aggregate(inner) = &types.resolve(outer.ty).kind else { return None };
    let pointer = find(inner, "__f_", types).filter(|inner| pointee(inner.ty, types).is_some())?;
    Some(Found { at: outer.at.checked_add(pointer.at)?, ..pointer })
}

/// A size itself, or the number in it: sizes share their place with objects that have no size.
fn size_in<'t>(size: Found<'t>, types: &'t TypeTable) -> Option<Found<'t>> {
    match &types.resolve(size.ty).kind {
        TypeKind::Aggregate(pair) => {
            let number = find(pair, "__value_", types)?;
            Some(Found { at: size.at.checked_add(number.at)?, ..number })
        }
        _ => Some(size),
    }
}

/// The pair in `__value_type`, which maps keep their elements in; any other type itself.
fn pair_in(of: TypeId, types: &TypeTable) -> TypeId {
    let inner = |aggregate: &Aggregate| {
        let member = aggregate.members.iter().find(|member| matches!(&*member.name, "__cc" | "__cc_"))?;
        (member.offset == 0).then_some(member.ty)
    };
    match &types.resolve(of).kind {
        TypeKind::Aggregate(aggregate) => inner(aggregate).unwrap_or(of),
        _ => of,
    }
}
