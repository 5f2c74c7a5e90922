//! The copied memory of a dead process in; what its C library had not written yet out.
//!
//! glibc keeps its streams in a list (`_IO_list_all`), musl those that the program has opened; its `stdout` and `stderr` stand alone. What
//! was put into one and not written lies between two of its pointers. The kernel side has copied the same lists with the same
//! offsets ([`StreamLayout`]).

use lastwords_abi::Config;
use lastwords_abi::layout::StreamLayout;

use super::memory::{Memory, Unknown};
use crate::address::Avma;
use crate::report::Output;

/// Streams that are looked at, at the most: a damaged list may be a circle.
const MAX_STREAMS: usize = 16;
/// More than this is no buffer, but damage.
const MAX_PENDING_BYTES: u64 = 1 << 20;

/// What was pending in each stream, in the order of their file descriptors. The first list's head was at `list`.
#[must_use]
pub fn pending(memory: &Memory, list: Avma, config: &Config) -> Vec<Output> {
    let mut outputs = Vec::new();
    let bias = list.0.wrapping_sub(config.stream_heads[0]);
    for head in config.stream_heads.iter().take_while(|head| **head != 0) {
        let mut next = memory.word(Avma(head.wrapping_add(bias)));
        for _ in 0..MAX_STREAMS {
            let Ok(stream) = next else { break };
            if stream == 0 {
                break;
            }
            outputs.extend(pending_in(memory, stream, &config.stream).ok().flatten());
            next = memory.word(field(stream, config.stream.chain));
        }
    }
    outputs.sort_by_key(|output| output.descriptor);
    outputs
}

/// What was pending in one stream; `None` if nothing was.
fn pending_in(memory: &Memory, stream: u64, layout: &StreamLayout) -> Result<Option<Output>, Unknown> {
    let begin = memory.word(field(stream, layout.write_base))?;
    let bytes = memory.word(field(stream, layout.write_pointer))?.saturating_sub(begin);
    let descriptor = memory.unsigned(field(stream, layout.descriptor), 4)? as u32;
    if bytes == 0 || bytes > MAX_PENDING_BYTES {
        return Ok(None);
    }
    let known = memory.known_part(Avma(begin), bytes as usize);
    Ok(Some(Output::new(descriptor.cast_signed(), bytes, known)))
}

fn field(stream: u64, offset: u32) -> Avma {
    Avma(stream.wrapping_add(offset.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: u64 = 0x1000;
    const GLIBC: StreamLayout = StreamLayout::GLIBC;

    /// One list, which is where the file says.
    fn config() -> Config {
        Config { stream_heads: [LIST, 0, 0, 0], stream: GLIBC, ..Config::default() }
    }

    /// A `FILE` at `at`.
    fn stream(memory: &mut Memory, at: u64, pending: [u64; 2], chain: u64, descriptor: u32) {
        let mut bytes = [0; 224];
        let mut put = |offset: u32, value: &[u8]| bytes[offset as usize..][..value.len()].copy_from_slice(value);
        put(GLIBC.write_base, &pending[0].to_le_bytes());
        put(GLIBC.write_pointer, &pending[1].to_le_bytes());
        put(GLIBC.chain, &chain.to_le_bytes());
        put(GLIBC.descriptor, &descriptor.to_le_bytes());
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

        let outputs = pending(&memory, Avma(LIST), &config());
        assert_eq!(outputs.len(), 1);
        assert_eq!((outputs[0].stream.as_str(), outputs[0].text.as_deref()), ("stdout", Some("hello\n")));
    }

    /// Guards against an endless walk, and against reading what a damaged stream promises.
    #[test]
    fn a_damaged_list_ends() {
        let mut memory = Memory::default();
        memory.insert(Avma(LIST), &0x2000_u64.to_le_bytes());
        stream(&mut memory, 0x2000, [1, u64::MAX], 0x2000, 1);

        assert_eq!(pending(&memory, Avma(LIST), &config()), []);
        assert_eq!(pending(&Memory::default(), Avma(LIST), &config()), []);
    }
}
