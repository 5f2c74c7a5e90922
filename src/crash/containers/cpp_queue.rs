//! C++'s queues in blocks: `deque`, as libstdc++ has it.

use super::Place;
use super::cpp_nodes::each_at;
use crate::address::Avma;
use crate::crash::decode::unavailable;
use crate::report::{Address, Value};

/// `std::deque`.
pub fn deque(place: Place<'_>, value: &Value) -> Option<Value> {
    let blocks = Blocks::of(&place)?;
    let count = blocks.count();
    let value = Value { address: Some(Address(blocks.first)), length: count, ..value.clone() };
    let Some(count) = count else { return Some(unavailable(value, "it is damaged, or not set yet".into())) };
    Some(each_at(&place, value, blocks.of, count, |index| blocks.address_of(&place, index).map(Address)))
}

/// Blocks of the same size, of which a map of pointers says where they are.
struct Blocks {
    of: crate::dwarf::types::TypeId,
    size: u64,
    first: u64,
    block: u64,
    end_of_block: u64,
    node: u64,
    last: u64,
    last_block: u64,
    last_node: u64,
}

impl Blocks {
    fn of(place: &Place<'_>) -> Option<Self> {
        let (start, finish) = (place.find("_M_start")?, place.find("_M_finish")?);
        let of = start.member("_M_cur")?.pointee()?;
        let number = |of: &Place<'_>, name| of.member(name)?.number();
        Some(Self {
            of,
            size: place.decoder.types.resolve(of).size.filter(|size| *size > 0)?,
            first: number(&start, "_M_cur")?,
            block: number(&start, "_M_first")?,
            end_of_block: number(&start, "_M_last")?,
            node: number(&start, "_M_node")?,
            last: number(&finish, "_M_cur")?,
            last_block: number(&finish, "_M_first")?,
            last_node: number(&finish, "_M_node")?,
        })
    }

    fn block_bytes(&self) -> Option<u64> {
        self.end_of_block.checked_sub(self.block).filter(|bytes| *bytes > 0 && bytes % self.size == 0)
    }

    /// How many elements there are; `None` where the pointers contradict each other.
    fn count(&self) -> Option<u64> {
        let blocks = self.last_node.checked_sub(self.node)? / 8;
        let bytes = match blocks {
            0 => self.last.checked_sub(self.first)?,
            blocks => {
                let between = (blocks - 1).checked_mul(self.block_bytes()?)?;
                let ends =
                    self.end_of_block.checked_sub(self.first)?.checked_add(self.last.checked_sub(self.last_block)?)?;
                between.checked_add(ends)?
            }
        };
        (bytes < 1 << 47 && bytes % self.size == 0).then_some(bytes / self.size)
    }

    fn address_of(&self, place: &Place<'_>, index: u64) -> Option<u64> {
        let distance = self.first.checked_sub(self.block)?.checked_add(index.checked_mul(self.size)?)?;
        let (number, within) = (distance / self.block_bytes()?, distance % self.block_bytes()?);
        let block = match number {
            0 => self.block,
            number => {
                let word = place.behind.bytes(Avma(self.node.checked_add(number.checked_mul(8)?)?), 8);
                u64::from_le_bytes(word.get(0, 8).ok()?.try_into().ok()?)
            }
        };
        block.checked_add(within)
    }
}
