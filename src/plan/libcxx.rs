//! libc++'s containers: how a plan reaches what they hold. Names are those of versions 14 to 19.

use super::Followed;
use super::containers::{Container, Lead};
use super::layout::{Found, element_offset, find, pointee};
use super::nodes::{Links, Node};
use crate::dwarf::types::{Aggregate, TypeId, TypeKind, TypeTable};

impl<'t> Container<'t> {
    /// The same as [`super::containers::leads`] for a type of this name.
    pub(super) fn of_libcxx(&self, name: &str) -> Option<Vec<Lead>> {
        match name {
            "std::basic_string" => self.long_text(),
            "std::basic_string_view" | "std::span" => self.view(&["__data_", "__data"], &["__size_", "__size"]),
            "std::vector" => self.between(&["__begin_"], &["__end_"]),
            "std::list" => self.linked(&["__end_"]),
            "std::forward_list" => self.linked(&["__before_begin_"]),
            "std::__hash_table" => self.hashed(),
            "std::__tree" => self.sorted(),
            "std::shared_ptr" | "std::weak_ptr" => self.only("__ptr_"),
            _ => None,
        }
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
