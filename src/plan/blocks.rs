//! Queues in blocks (C++'s `std::deque`): where a plan finds their elements. A table of pointers leads to the blocks, all of which have the same
//! size.
//!
//! What says how many elements there are lies beside the pointer to the table, and is needed again for each block.

use super::Followed;
use super::pointers::Pointer;
use super::steps::{Aim, Count};
use crate::dwarf::types::TypeId;

/// Bytes of a pointer.
const POINTER_BYTES: u16 = 8;

/// What is captured of a table of blocks, and how much is in them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Blocks {
    /// The elements.
    pub of: TypeId,
    /// Bytes of an element.
    pub element: u16,
    /// Which of the blocks.
    pub which: Which,
}

/// Which blocks are followed; where in the value lies what says how much is in them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Which {
    /// The one behind that which the pointer leads to the entry of (libstdc++): another pointer leads into the first one.
    Second {
        /// The pointer to the entry of the last block.
        last_at: u32,
        /// The pointer to the end of the elements in that one.
        end_at: u32,
    },
    /// The first two (libc++).
    FirstTwo {
        /// The number of elements, 8 bytes.
        length_at: u32,
        /// The index of the first one, counted from the start of the first block: in one of the two, since a third one would be given back.
        first_at: u32,
        /// Elements of a block.
        in_block: u16,
    },
}

/// A block: which part of it holds elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Block {
    /// The elements.
    pub of: TypeId,
    /// Bytes of an element.
    pub element: u16,
    /// Which of them.
    pub part: Part,
}

/// Elements of a block, as far as a plan can know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// From its start to the end of the elements, if that is in this block.
    ToEnd,
    /// From that of the first index on, as many as there are in all: fewer, if some are in other blocks. What is read too much is not shown.
    FromFirst {
        /// Elements of the blocks before it. Where the first one is among them, it is read from its start on.
        in_front: u16,
    },
}

/// Elements of a block of libc++, by their size: nothing in a queue or in debug info says it (`__deque_block_size` in the header `deque` of
/// libc++ 14 to 19).
#[must_use]
pub fn elements_in_block_of_libcxx(size: u64) -> Option<u64> {
    (size > 0).then_some(if size < 256 { 4096 / size } else { 16 })
}

impl Blocks {
    /// The same in a value that begins so many bytes further ahead, by way of `moved`.
    pub(super) fn moved(self, moved: impl Fn(u32) -> Option<u32>) -> Option<Self> {
        let which = match self.which {
            Which::Second { last_at, end_at } => Which::Second { last_at: moved(last_at)?, end_at: moved(end_at)? },
            Which::FirstTwo { length_at, first_at, in_block } => {
                Which::FirstTwo { length_at: moved(length_at)?, first_at: moved(first_at)?, in_block }
            }
        };
        Some(Self { which, ..self })
    }

    /// The last of the words that it needs.
    pub(super) fn last_word(self) -> u32 {
        match self.which {
            Which::Second { last_at: one, end_at: other } | Which::FirstTwo { length_at: one, first_at: other, .. } => {
                one.max(other)
            }
        }
    }

    /// Bytes of the table that are captured.
    pub(super) fn table_bytes(self) -> u16 {
        match self.which {
            Which::Second { .. } => POINTER_BYTES,
            Which::FirstTwo { .. } => 2 * POINTER_BYTES,
        }
    }

    /// Where the table is read, which `aim` leads to.
    pub(super) fn aim(self, aim: Aim) -> Aim {
        match self.which {
            Which::Second { .. } => Aim { offset: POINTER_BYTES.into(), ..aim },
            Which::FirstTwo { .. } => aim,
        }
    }

    /// How much of the table there is: none without elements. `first` is kept for the blocks.
    pub(super) fn count(self, word: impl Fn(u32) -> Option<u32>) -> Option<Count> {
        let (at, element, first) = match self.which {
            // From behind the first entry to behind the last one is as far as from one to the other.
            Which::Second { last_at, end_at } => (word(last_at)?, 0, word(end_at)?),
            Which::FirstTwo { length_at, first_at, .. } => (word(length_at)?, self.table_bytes(), word(first_at)?),
        };
        Some(Count { at, size: 8, element, first, ..Count::default() })
    }

    /// The pointers in the table.
    pub(super) fn pointers(self) -> Vec<Pointer> {
        let parts: &[_] = match self.which {
            Which::Second { .. } => &[(1, Part::ToEnd)],
            Which::FirstTwo { in_block, .. } => {
                &[(0, Part::FromFirst { in_front: 0 }), (1, Part::FromFirst { in_front: in_block })]
            }
        };
        let places = (0..).step_by(POINTER_BYTES.into());
        let pointer = |(at, (number, part)): (u32, &(u32, Part))| Pointer {
            at,
            path: format!("[{number}]"),
            lead: Followed::Block(Block { of: self.of, element: self.element, part: *part }),
        };
        places.zip(parts).map(pointer).collect()
    }
}

impl Block {
    /// How many elements are read, from where those of its table were counted.
    pub(super) fn count(self, table: Count) -> Count {
        match self.part {
            Part::ToEnd => Count { at: table.first, size: 8, ..Count::default() },
            Part::FromFirst { in_front } => Count { element: self.element, in_front, ..table },
        }
    }
}

#[cfg(test)]
mod tests {
    use lastwords_abi::Step;
    use lastwords_abi::step::RING;

    /// Guards against elements that are looked for in a block in which they are not: the index of the first one counts from the first block on.
    #[test]
    fn an_index_leads_into_the_block_that_it_is_in() {
        let in_block = 170;
        let step = |in_front| Step { op: RING, element: 24, offset: Step::ring_offset(8, in_front), ..Step::default() };
        let read = |in_front, first| step(in_front).address(0x1000, 5, first);
        assert_eq!([step(0).first_at(), step(in_block).first_at()], [8, 8]);
        assert_eq!((read(0, 0), read(0, 3)), (0x1000, 0x1000 + 3 * 24));
        assert_eq!(read(in_block, 3), 0x1000, "the first elements are in the block before");
        assert_eq!(read(in_block, 250), 0x1000 + 80 * 24);
    }
}
