//! Containers of nodes: how far a plan walks from one node to the next.
//!
//! A plan has no loops: each node that it may come to is a step of its own, and where there is no such node, the step finds NULL.

use crate::dwarf::types::{TypeId, TypeTable};

/// Nodes of a list, the first one included.
const LIST_NODES: u8 = 8;
/// How often a walk goes up from the smallest element of a tree.
const TREE_RISES: u8 = 2;

/// A node, and what is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Node {
    /// What it holds.
    pub of: TypeId,
    /// Where in the node that lies.
    pub at: u16,
    /// Bytes of the node.
    pub bytes: u16,
    /// Where to go from there.
    pub links: Links,
}

/// Pointers to other nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Links {
    /// None is followed.
    None,
    /// To the next one, for so many more.
    List {
        /// Where in the node it lies.
        next: u16,
        /// Nodes that are still to come.
        left: u8,
    },
    /// In a tree that is walked in order: what is greater than this node lies below its right child, and above it.
    Up {
        /// Where the links lie.
        tree: Tree,
        /// How often the walk has gone up so far.
        risen: u8,
    },
    /// In the part of a tree below a node: both children, so many levels deep.
    Down {
        /// Where the links lie.
        tree: Tree,
        /// Levels that are still to come.
        levels: u8,
    },
}

/// Where in a node of a tree its links lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tree {
    /// The node above.
    pub parent: u16,
    /// The one with smaller elements.
    pub left: u16,
    /// The one with greater elements.
    pub right: u16,
}

impl Links {
    /// Those of the first node of a list.
    #[must_use]
    pub fn list(next: u16) -> Self {
        Self::List { next, left: LIST_NODES - 1 }
    }

    /// Those of the leftmost node of a tree.
    #[must_use]
    pub fn first_of_tree(parent: u16, left: u16, right: u16) -> Self {
        Self::Up { tree: Tree { parent, left, right }, risen: 0 }
    }

    /// Where in a node the pointers to follow lie, and the links of the nodes that they lead to.
    #[must_use]
    pub fn followed(self) -> Vec<(u16, Self)> {
        match self {
            Self::None | Self::List { left: 0, .. } | Self::Down { levels: 0, .. } => Vec::new(),
            Self::List { next, left } => vec![(next, Self::List { next, left: left - 1 })],
            // A red-black tree: below the leftmost node there is a red leaf at the most, below its parent's right child one black level
            // with red nodes above and below it.
            Self::Up { tree, risen } => {
                let below = (tree.right, Self::Down { tree, levels: if risen == 1 { 2 } else { risen.min(1) } });
                let above = (risen < TREE_RISES).then_some((tree.parent, Self::Up { tree, risen: risen + 1 }));
                [Some(below), above].into_iter().flatten().collect()
            }
            Self::Down { tree, levels } => {
                [tree.left, tree.right].map(|child| (child, Self::Down { tree, levels: levels - 1 })).into()
            }
        }
    }
}

impl Node {
    /// A node that holds an `of` at byte `at`. `None` where it is too large.
    #[must_use]
    pub fn new(of: TypeId, at: u64, links: Links, types: &TypeTable) -> Option<Self> {
        let bytes = u16::try_from(at.checked_add(types.resolve(of).size?)?).ok()?;
        Some(Self { of, at: u16::try_from(at).ok()?, bytes, links })
    }
}
