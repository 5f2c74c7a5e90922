//! C++'s queues in blocks: `deque`, of both libraries. A table of pointers says where the blocks are, which have the same size.

use super::Place;
use super::cpp_nodes::each_at;
use super::libcxx::number_in;
use crate::crash::decode::unavailable;
use crate::dwarf::types::TypeId;
use crate::plan::blocks::elements_in_block_of_libcxx;
use crate::plan::layout::pointee;
use crate::report::{Address, Value};

/// Bytes of a pointer.
const POINTER_BYTES: u64 = 8;
/// No process has more memory than this (psABI, 3.3.3).
const MEMORY_BYTES: u64 = 1 << 47;

/// `std::deque` of libstdc++.
pub fn deque(place: Place<'_>, value: &Value) -> Option<Value> {
    let ends = Ends::of(&place)?;
    Some(told(&place, value, ends.of, ends.blocks()))
}

/// `std::deque` of libc++.
pub fn deque_of_libcxx(place: Place<'_>, value: &Value) -> Option<Value> {
    let table = place.find("__map_")?;
    let (begin, end) = (table.member("__begin_")?, table.member("__end_")?);
    let of = pointee(begin.pointee()?, place.decoder.types)?;
    let size = place.decoder.types.resolve(of).size.filter(|size| *size > 0)?;
    let count = number_in(&place.find("__size_")?)?;
    let (begin, end, first) = (begin.number()?, end.number()?, place.find("__start_")?.number()?);
    Some(told(&place, value, of, blocks_of_libcxx((begin, end), first, count, size)))
}

fn told(place: &Place<'_>, value: &Value, of: TypeId, blocks: Option<Blocks>) -> Value {
    let Some(blocks) = blocks else { return unavailable(value.clone(), "it is damaged, or not set yet".into()) };
    let value = Value { address: blocks.first_block.map(Address), length: Some(blocks.count), ..value.clone() };
    each_at(place, value, of, blocks.count, |index| blocks.address_of(place, index).map(Address))
}

/// Blocks of elements.
struct Blocks {
    /// Where the pointer to the first block lies.
    table: u64,
    /// That pointer, if it is known without the table.
    first_block: Option<u64>,
    /// Bytes of a block.
    bytes: u64,
    /// Bytes of the first block in front of the first element.
    front: u64,
    /// Bytes of an element.
    size: u64,
    /// How many elements there are.
    count: u64,
}

impl Blocks {
    fn address_of(&self, place: &Place<'_>, index: u64) -> Option<u64> {
        let distance = self.front.checked_add(index.checked_mul(self.size)?)?;
        let (number, within) = (distance.checked_div(self.bytes)?, distance.checked_rem(self.bytes)?);
        let entry = || place.behind.word(self.table.checked_add(number.checked_mul(POINTER_BYTES)?)?);
        self.first_block.filter(|_| number == 0).or_else(entry)?.checked_add(within)
    }
}

/// What libc++ says of a queue whose table of blocks has these ends.
fn blocks_of_libcxx((begin, end): (u64, u64), first: u64, count: u64, size: u64) -> Option<Blocks> {
    let in_block = elements_in_block_of_libcxx(size)?;
    let bytes = in_block.checked_mul(size)?;
    let room = (end.checked_sub(begin)? / POINTER_BYTES).checked_mul(in_block)?;
    let is_possible = room < MEMORY_BYTES && first.checked_add(count)? <= room;
    is_possible.then_some(Blocks {
        table: begin,
        first_block: None,
        bytes,
        front: first.checked_mul(size)?,
        size,
        count,
    })
}

/// What libstdc++ says of a queue: where it begins and ends, each with the block and the entry of the table.
struct Ends {
    of: TypeId,
    size: u64,
    first: u64,
    block: u64,
    end_of_block: u64,
    node: u64,
    last: u64,
    last_block: u64,
    last_node: u64,
}

impl Ends {
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

    /// `None` where the pointers contradict each other.
    fn blocks(&self) -> Option<Blocks> {
        let bytes = self.end_of_block.checked_sub(self.block);
        let bytes = bytes.filter(|bytes| *bytes > 0 && bytes % self.size == 0)?;
        let front = self.first.checked_sub(self.block)?;
        let entries = self.last_node.checked_sub(self.node)? / POINTER_BYTES;
        let all = entries.checked_mul(bytes)?.checked_add(self.last.checked_sub(self.last_block)?)?;
        let held = all.checked_sub(front).filter(|held| *held < MEMORY_BYTES && held % self.size == 0)?;
        let first_block = Some(self.block);
        Some(Blocks { table: self.node, first_block, bytes, front, size: self.size, count: held / self.size })
    }
}
