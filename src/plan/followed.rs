//! What a pointer leads to, as far as a plan cares: how much of it there is, and where it says so.

use super::blocks::{Block, Blocks};
use super::edges::Edges;
use super::nodes::Node;
use super::tails::Tail;
use crate::dwarf::types::TypeId;

/// What a pointer was followed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Followed {
    /// A NUL-terminated string.
    CString,
    /// Bytes of a length that the value holds at this offset (Rust's `&str` and `String`, C++'s `std::string`).
    Str {
        /// Where in the value's bytes the length lies, 8 bytes.
        length_at: u32,
    },
    /// As many elements as a number in the same value says.
    Counted {
        /// Where in the value that number lies, 8 bytes.
        length_at: u32,
        /// Bytes of an element.
        element: u16,
        /// Its type.
        of: TypeId,
    },
    /// What lies between the pointer and an end that the same value holds (C++'s `std::vector`).
    Until {
        /// Where in the value the end lies.
        end_at: u32,
        /// Bytes of an element.
        element: u16,
        /// Its type.
        of: TypeId,
    },
    /// As many elements as another argument says: a pointer and its length.
    Paired {
        /// Index of that argument in [`FunctionPlan::arguments`](super::FunctionPlan::arguments).
        length: usize,
        /// Bytes of an element.
        element: u16,
        /// Its type.
        of: TypeId,
    },
    /// A queue in a ring: as many elements as the value says, from the one on whose index it holds too (Rust's `VecDeque`).
    Ring {
        /// Where in the value that index lies, 8 bytes.
        first_at: u32,
        /// Where in the value the number of elements lies, 8 bytes.
        length_at: u32,
        /// Bytes of an element.
        element: u16,
        /// Its type.
        of: TypeId,
    },
    /// The places of a hash table, in front of the pointer (Rust's `HashMap`).
    Places {
        /// Where in the value their number lies, 8 bytes, minus 1.
        mask_at: u32,
        /// Bytes of a place.
        element: u16,
        /// What is in one that is not empty.
        of: TypeId,
    },
    /// The table of a queue in blocks (C++'s `std::deque`).
    Blocks(Blocks),
    /// A block that such a table leads to.
    Block(Block),
    /// What leads from a node of a B-tree to those below (Rust's `BTreeMap`).
    Edges(Edges),
    /// So many bytes.
    Bytes(u16),
    /// A node of a container (C++'s `std::map`).
    Node(Node),
    /// A value of this type.
    Value(TypeId),
    /// Pointers to texts, the last of which is NULL (`argv`).
    Texts,
    /// What lies in front of a base class, in objects of classes that inherit from it as from a second one.
    Front {
        /// The base class.
        of: TypeId,
        /// As much as any of them has there.
        bytes: u16,
    },
    /// The elements behind a structure: no pointer of their own leads to them.
    Tail(Tail),
}

impl Followed {
    /// The same, found in a value that begins so many bytes further ahead. `None` for what is not there.
    #[must_use]
    pub fn moved(self, by: i64) -> Option<Self> {
        let moved = |offset: u32| u32::try_from(i64::from(offset).checked_add(by)?).ok();
        Some(match self {
            Self::Str { length_at } => Self::Str { length_at: moved(length_at)? },
            Self::Counted { length_at, element, of } => Self::Counted { length_at: moved(length_at)?, element, of },
            Self::Until { end_at, element, of } => Self::Until { end_at: moved(end_at)?, element, of },
            Self::Ring { first_at, length_at, element, of } => {
                Self::Ring { first_at: moved(first_at)?, length_at: moved(length_at)?, element, of }
            }
            Self::Places { mask_at, element, of } => Self::Places { mask_at: moved(mask_at)?, element, of },
            Self::Blocks(blocks) => Self::Blocks(blocks.moved(moved)?),
            Self::Edges(edges) => Self::Edges(edges.moved(moved)?),
            Self::CString
            | Self::Paired { .. }
            | Self::Value(_)
            | Self::Texts
            | Self::Bytes(_)
            | Self::Node(_)
            | Self::Block(_)
            | Self::Front { .. }
            | Self::Tail(_) => self,
        })
    }

    /// The last of the words beside the pointer that it needs.
    #[must_use]
    pub fn last_word(self) -> Option<u32> {
        match self {
            Self::Str { length_at } | Self::Counted { length_at, .. } => Some(length_at),
            Self::Until { end_at, .. } => Some(end_at),
            Self::Ring { first_at, length_at, .. } => Some(first_at.max(length_at)),
            Self::Places { mask_at, .. } => Some(mask_at),
            Self::Blocks(blocks) => Some(blocks.last_word()),
            Self::Edges(edges) => Some(edges.last_word()),
            _ => None,
        }
    }

    /// Elements that lie next to each other: their type, and the bytes of each.
    #[must_use]
    pub fn elements(self) -> Option<(TypeId, u16)> {
        match self {
            Self::Counted { element, of, .. }
            | Self::Until { element, of, .. }
            | Self::Paired { element, of, .. }
            | Self::Ring { element, of, .. }
            | Self::Places { element, of, .. }
            | Self::Block(Block { element, of, .. })
            | Self::Tail(Tail { element, of, count: Some(_), .. }) => Some((of, element)),
            _ => None,
        }
    }
}
