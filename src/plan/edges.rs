//! B-trees of Rust: where a plan finds the nodes below the root, in which the smallest elements are.
//!
//! Nothing in a node says whether there are others below it: its height does, which stands beside the pointer to the root. A plan has no
//! conditions, but steps that copy as much as a number says. So for the edges of the node at depth `d` (the root is at 1), a step begins so
//! far in front of them that it gets to them with a number of `d` at the least; in a lower tree, they are zero, and lead nowhere.

use super::Followed;
use super::nodes::Node;
use super::pointers::Pointer;
use super::steps::{Aim, Count};

/// Nodes on the way down that are followed, the root included.
const MAX_DEPTH: u8 = 2;
/// Bytes of the first two edges: below the first one are the smallest elements, and those behind the node's first key below the second one.
const EDGES_BYTES: u16 = 16;
/// Bytes of an edge.
const EDGE_BYTES: u32 = 8;

/// The first edges of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Edges {
    /// Nodes from the root to it, both included.
    depth: u8,
    /// Where in the value the height of the tree lies, 8 bytes.
    height_at: u32,
    /// Where in an inner node its edges lie.
    edges_at: u16,
    /// What is read of a node below: leaves, and the same part of inner ones.
    node: Node,
}

impl Edges {
    /// Those of the root. `None` where nodes are smaller than any could be.
    #[must_use]
    pub fn of_root(height_at: u32, edges_at: u16, node: Node) -> Option<Self> {
        let room = u16::from(MAX_DEPTH - 1) * EDGES_BYTES;
        (edges_at >= room).then_some(Self { depth: 1, height_at, edges_at, node })
    }

    /// The same in a value that begins so many bytes further ahead, by way of `moved`.
    pub(super) fn moved(self, moved: impl Fn(u32) -> Option<u32>) -> Option<Self> {
        Some(Self { height_at: moved(self.height_at)?, ..self })
    }

    /// The word that it needs.
    pub(super) fn last_word(self) -> u32 {
        self.height_at
    }

    /// Bytes that are captured: what is in front of the edges of a node this deep, and they.
    pub(super) fn captured_bytes(self) -> u16 {
        u16::from(self.depth) * EDGES_BYTES
    }

    /// Where they begin.
    pub(super) fn aim(self, node: Aim) -> Aim {
        let in_front = self.captured_bytes() - EDGES_BYTES;
        Aim { offset: i32::from(self.edges_at) - i32::from(in_front), ..node }
    }

    /// Whether the height of the tree lies beside the pointer to the node.
    pub(super) fn are_of_root(self) -> bool {
        self.depth == 1
    }

    /// How much of it there is, by the height of the tree.
    pub(super) fn count(self, word: impl Fn(u32) -> Option<u32>) -> Option<Count> {
        Some(Count { at: word(self.height_at)?, size: 8, element: EDGES_BYTES, ..Count::default() })
    }

    /// The nodes below, and the edges of the first one.
    pub(super) fn pointers(self) -> Vec<Pointer> {
        let first = u32::from(self.captured_bytes() - EDGES_BYTES);
        let node = |number: u32| Pointer {
            at: first + number * EDGE_BYTES,
            path: format!(".edges[{number}]"),
            lead: Followed::Node(self.node),
        };
        let below = (self.depth < MAX_DEPTH)
            .then(|| Pointer { lead: Followed::Edges(Self { depth: self.depth + 1, ..self }), ..node(0) });
        [Some(node(0)), below, Some(node(1))].into_iter().flatten().collect()
    }
}
