//! The copied memory of a dead process in; what its C library had not written yet out.
//!
//! glibc keeps its streams in a list (`_IO_list_all`). What was put into one and not written lies between `_IO_write_base` and
//! `_IO_write_ptr`. The kernel side has copied the same list with the same offsets ([`lastwords_abi::layout::stream`]).

use lastwords_abi::layout::stream::{CHAIN, DESCRIPTOR, WRITE_BASE, WRITE_POINTER};

use super::memory::{Memory, Unknown};
use crate::address::Avma;
use crate::report::Output;

/// Streams that are looked at, at the most: a damaged list may be a circle.
const MAX_STREAMS: usize = 16;
/// More than this is no buffer, but damage.
const MAX_PENDING_BYTES: u64 = 1 << 20;

/// What was pending in each stream of the list whose head is at `list`, in the order of their file descriptors.
#[must_use]
pub fn pending(memory: &Memory, list: Avma) -> Vec<Output> {
    let mut outputs = Vec::new();
    let mut next = memory.word(list);
    for _ in 0..MAX_STREAMS {
        let Ok(stream) = next else { break };
        if stream == 0 {
            break;
        }
        outputs.extend(pending_in(memory, stream).ok().flatten());
        next = memory.word(field(stream, CHAIN));
    }
    outputs.sort_by_key(|output| output.descriptor);
    outputs
}

/// What was pending in one stream; `None` if nothing was.
fn pending_in(memory: &Memory, stream: u64) -> Result<Option<Output>, Unknown> {
    let begin = memory.word(field(stream, WRITE_BASE))?;
    let bytes = memory.word(field(stream, WRITE_POINTER))?.saturating_sub(begin);
    let descriptor = memory.unsigned(field(stream, DESCRIPTOR), 4)? as u32;
    if bytes == 0 || bytes > MAX_PENDING_BYTES {
        return Ok(None);
    }
    let known = memory.known_part(Avma(begin), bytes as usize);
    Ok(Some(Output::new(descriptor.cast_signed(), bytes, known)))
}

fn field(stream: u64, offset: usize) -> Avma {
    Avma(stream.wrapping_add(offset as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: u64 = 0x1000;

    /// A `FILE` at `at`.
    fn stream(memory: &mut Memory, at: u64, pending: [u64; 2], chain: u64, descriptor: u32) {
        let mut bytes = [0; 224];
        let mut put = |offset: usize, value: &[u8]| bytes[offset..offset + value.len()].copy_from_slice(value);
        put(WRITE_BASE, &pending[0].to_le_bytes());
        put(WRITE_POINTER, &pending[1].to_le_bytes());
        put(CHAIN, &chain.to_le_bytes());
        put(DESCRIPTOR, &descriptor.to_le_bytes());
        memory.insert(Avma(at), &bytes);
    }

    /// Guards against output of the wrong stream, and against bytes that were written already.
    #[test]
    fn what_is_between_base_and_pointer_was_never_written() {
        let mut memory = Memory::default();
        memory.insert(Avma(LIST), &0x2000_u64.to_le_bytes());
        stream(&mut memory, 0x2000, [0x5000, 0x5000], 0x3000, 2);
        stream(&mut memory, 0x3000, [0x6000, 0x6006], 0, 1);
        memory.insert(Avma(0x6000), b"hello\nold");

        let outputs = pending(&memory, Avma(LIST));
        assert_eq!(outputs.len(), 1);
        assert_eq!((outputs[0].stream.as_str(), outputs[0].text.as_deref()), ("stdout", Some("hello\n")));
    }

    /// Guards against an endless walk, and against reading what a damaged stream promises.
    #[test]
    fn a_damaged_list_ends() {
        let mut memory = Memory::default();
        memory.insert(Avma(LIST), &0x2000_u64.to_le_bytes());
        stream(&mut memory, 0x2000, [1, u64::MAX], 0x2000, 1);

        assert_eq!(pending(&memory, Avma(LIST)), []);
        assert_eq!(pending(&Memory::default(), Avma(LIST)), []);
    }
}
