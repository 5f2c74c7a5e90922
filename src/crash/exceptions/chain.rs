//! Words of a thread in; the exception objects that live, the innermost first, out.
//!
//! Memory of exceptions that are gone may still look like some. What tells them apart is the number of references, which is the first field of an
//! exception that the runtime allocates: 0 when it is destroyed, and what an allocator writes into free memory is an address. Those of which
//! nobody has caught any are left out, too: `std::terminate` is called for exceptions that the runtime has caught itself.

use lastwords_abi::exception::{
    CLASSES, Class, DEPENDENT, MAX_EXCEPTIONS, POINTERS, STACK_WORDS, STACK_WORDS_BELOW, before,
};

use crate::address::Avma;
use crate::crash::memory::Memory;

/// Handlers that may have one exception caught, and references to one: below this, no number is an address.
const MAX_COUNT: u64 = 1 << 16;
/// Where in front of the object the memory begins that the runtime has allocated for it.
const FIRST: u64 = 128;

/// An exception that lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thrown {
    /// The object, behind the runtime's header.
    pub object: Avma,
    /// Its `std::type_info`.
    pub type_info: Avma,
    /// The object whose handler was running when this one was caught.
    next: Option<Avma>,
}

/// The exceptions that these words lead to, or the stack: what is in use of it, and what returned calls have left below.
pub fn living(memory: &Memory, registers: &[u64], stack_pointer: Option<u64>) -> Vec<Thrown> {
    let top = stack_pointer.unwrap_or(u64::MAX) & !7;
    let in_use = (0..u64::from(STACK_WORDS)).map_while(|word| top.checked_add(word * 8));
    let below = (1..=u64::from(STACK_WORDS_BELOW)).map_while(|word| top.checked_sub(word * 8));
    let stack = in_use.chain(below).filter_map(|at| memory.word(Avma(at)).ok());
    let mut found: Vec<Thrown> = Vec::new();
    for word in registers.iter().copied().chain(stack) {
        let mut next = POINTERS.iter().find_map(|distance| thrown_at(memory, Avma(word.checked_add(*distance)?)));
        // What it leads to, to the end of the chain or to what is known.
        while let Some(thrown) = next.filter(|it| found.len() < MAX_EXCEPTIONS && !is_known(&found, it.object)) {
            found.push(thrown);
            next = thrown.next.and_then(|object| thrown_at(memory, object));
        }
    }
    in_order(found)
}

fn is_known(found: &[Thrown], object: Avma) -> bool {
    found.iter().any(|thrown| thrown.object == object)
}

/// Those that no other leads to come first, each followed by what it leads to.
fn in_order(found: Vec<Thrown>) -> Vec<Thrown> {
    let is_outer = |thrown: &Thrown| found.iter().any(|other| other.next == Some(thrown.object));
    let mut ordered: Vec<Thrown> = Vec::new();
    // A circle has no beginning: what is left comes in the order in which it was found.
    for first in found.iter().filter(|thrown| !is_outer(thrown)).chain(&found) {
        let mut next = Some(*first);
        while let Some(thrown) = next.filter(|it| !is_known(&ordered, it.object)) {
            ordered.push(thrown);
            next = found.iter().find(|it| Some(it.object) == thrown.next).copied();
        }
    }
    ordered
}

/// The exception whose object would lie at `object`, if there is one that lives.
fn thrown_at(memory: &Memory, object: Avma) -> Option<Thrown> {
    let class = word_before(memory, object, before::UNWIND_HEADER)?;
    let kind = CLASSES.into_iter().find(|it| it.number == class & !0xff)?;
    let handlers = memory.unsigned(Avma(object.0.checked_sub(before::HANDLER_COUNT)?), 4).ok()? as u32;
    if !is_count(handlers.cast_signed().unsigned_abs().into()) {
        return None;
    }
    let next = word_before(memory, object, before::NEXT)?.checked_add(kind.header_bytes);
    let next = next.filter(|next| *next != kind.header_bytes).map(Avma);
    let object = match class & 0xff {
        0 => object,
        // One that was thrown once more, maybe in another thread, refers to the object of the first time.
        DEPENDENT => Avma(word_before(memory, object, kind.primary)?),
        _ => return None,
    };
    let type_info = Avma(word_before(memory, object, before::TYPE)?);
    is_referred_to(memory, object, kind).then_some(Thrown { object, type_info, next })
}

fn word_before(memory: &Memory, object: Avma, distance: u64) -> Option<u64> {
    memory.word(Avma(object.0.checked_sub(distance)?)).ok()
}

fn is_count(number: u64) -> bool {
    (1..MAX_COUNT).contains(&number)
}

/// Whether somebody has the exception: who frees memory leaves the last number there, 0, or puts addresses and marks of its own into the first two
/// words (`struct tcache_entry` of glibc).
fn is_referred_to(memory: &Memory, object: Avma, kind: Class) -> bool {
    let is_first = kind.references == FIRST;
    let count = word_before(memory, object, kind.references);
    count.is_some_and(is_count) && (!is_first || word_before(memory, object, FIRST - 8) == Some(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STACK: u64 = 0x7ffd_0000;
    const FIRST: u64 = 0x10_1000;
    const SECOND: u64 = 0x10_2000;
    const TYPE: u64 = 0x40_0000;

    /// An exception of libstdc++ with its object at `object`, caught by so many handlers.
    fn exception(memory: &mut Memory, object: u64, handlers: i32, next: u64) {
        let mut header = [0u8; 128];
        let mut put = |before: u64, bytes: &[u8]| {
            let at = header.len() - before as usize;
            header[at..at + bytes.len()].copy_from_slice(bytes);
        };
        put(before::TYPE, &TYPE.to_le_bytes());
        put(before::NEXT, &next.to_le_bytes());
        put(before::HANDLER_COUNT, &handlers.to_le_bytes());
        put(before::UNWIND_HEADER, &CLASSES[0].number.to_le_bytes());
        put(CLASSES[0].references, &1u64.to_le_bytes());
        memory.insert(Avma(object - 128), &header);
    }

    fn found(memory: &Memory, registers: &[u64]) -> Vec<u64> {
        living(memory, registers, Some(STACK)).iter().map(|thrown| thrown.object.0).collect()
    }

    /// Guards against the exception that is being handled told before the one that ended it all, whichever is found first.
    #[test]
    fn the_innermost_comes_first() {
        let mut memory = Memory::default();
        exception(&mut memory, FIRST, 1, 0);
        exception(&mut memory, SECOND, 1, FIRST - 112);

        assert_eq!(found(&memory, &[FIRST, SECOND - 32]), [SECOND, FIRST]);
        memory.insert(Avma(STACK), &(SECOND - 128).to_le_bytes());
        assert_eq!(found(&memory, &[]), [SECOND, FIRST]);
    }

    /// Guards against an exception that is lost because its handler does not use it: optimized code keeps no pointer to it then.
    #[test]
    fn the_unwinder_s_frames_lead_to_what_it_has_thrown() {
        let mut memory = Memory::default();
        exception(&mut memory, FIRST, 1, 0);
        memory.insert(Avma(STACK - 3000), &[FIRST.to_le_bytes(), 0u64.to_le_bytes()].concat());
        assert_eq!(found(&memory, &[]), [FIRST]);
    }

    /// Guards against exceptions that were handled long ago: what is left of them looks the same but for one number.
    #[test]
    fn what_was_destroyed_is_not_told() {
        let mut memory = Memory::default();
        exception(&mut memory, FIRST, 0, 0);
        exception(&mut memory, SECOND, -1, 0);
        assert_eq!(found(&memory, &[FIRST, SECOND]), [SECOND]);

        // Destroyed, then free memory at an address that is small, as in a static program.
        for first_words in [[0, 0], [0x4c5, 0x1234_5678_9abc_def0], [0x5641_d4bc, 0]] {
            memory.restore_word(Avma(SECOND - 128), first_words[0]);
            memory.restore_word(Avma(SECOND - 120), first_words[1]);
            assert_eq!(found(&memory, &[SECOND]), [0u64; 0], "{first_words:x?}");
        }
    }

    /// Guards against an endless walk, and against a panic at numbers that no address can be.
    #[test]
    fn damaged_headers_end_the_walk() {
        let mut memory = Memory::default();
        exception(&mut memory, FIRST, 1, SECOND - 112);
        exception(&mut memory, SECOND, 1, FIRST - 112);
        assert_eq!(found(&memory, &[FIRST, 0, 31, 112, u64::MAX, u64::MAX - 40]), [FIRST, SECOND]);

        let mut memory = Memory::default();
        exception(&mut memory, FIRST, 1, u64::MAX);
        exception(&mut memory, SECOND, i32::MIN, 0);
        assert_eq!(found(&memory, &[FIRST, SECOND]), [FIRST]);
        assert_eq!(found(&Memory::default(), &[FIRST]), [0u64; 0]);
    }

    /// Guards against the header of `std::rethrow_exception` told as an exception of its own.
    #[test]
    fn one_that_was_thrown_again_is_the_first_one() {
        let mut memory = Memory::default();
        exception(&mut memory, FIRST, 0, 0);
        exception(&mut memory, SECOND, 1, 0);
        memory.restore_word(Avma(SECOND - before::UNWIND_HEADER), CLASSES[0].number | DEPENDENT);
        memory.restore_word(Avma(SECOND - CLASSES[0].primary), FIRST);

        let again = living(&memory, &[SECOND], None);
        assert_eq!((again[0].object, again[0].type_info), (Avma(FIRST), Avma(TYPE)));
    }
}
