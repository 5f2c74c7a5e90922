//! A record and the memory at the moment of death in; what the same pointers lead to now out.
//!
//! The kernel side has copied it for the last calls of the thread that crashed (`ebpf/src/recent.rs`). Only what is known on both sides is
//! compared: a beginning that is the same says nothing of the rest.

use std::ops::Range;

use lastwords_abi::Step;
use lastwords_abi::step::{COUNTED, FAULT, FOLLOW, NULL, OUTCOME_BYTES, READ, STRING};

use super::memory::{Memory, Unknown};
use crate::address::Avma;
use crate::plan::outputs::{Output, output_offset};

/// What a step would read now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Now<'m> {
    /// Nobody knows, or the step follows no pointer.
    #[default]
    Unknown,
    /// Nothing: the pointer is null now.
    Null,
    /// Its memory could not be read.
    Unreadable,
    /// Bytes.
    Bytes {
        /// As many as are known.
        known: &'m [u8],
        /// There are no more of them.
        is_whole: bool,
    },
}

/// What the steps of a function would read now, whose record holds `data`.
#[must_use]
pub fn follow_again<'m>(steps: &[Step], data: &[u8], memory: &'m Memory) -> Vec<Now<'m>> {
    let mut data = data.to_vec();
    // Where `data` is older than what the pointers in it would be now.
    let mut unknown: Vec<Range<usize>> = Vec::new();
    let follow = |(index, step): (usize, &Step)| {
        if !matches!(step.op, FOLLOW | STRING | COUNTED) {
            return Now::Unknown;
        }
        let base = usize::from(step.base)..usize::from(step.base) + size_of::<u64>();
        let is_known = unknown.iter().all(|range| range.end <= base.start || base.end <= range.start);
        let now = match word(&data, base).filter(|_| is_known) {
            None => Now::Unknown,
            Some(0) => Now::Null,
            Some(base) => read(step, Avma(base.wrapping_add_signed(step.offset.into())), &data, memory),
        };
        if step.op == FOLLOW
            && let Some(start) = output_offset(steps, index).and_then(|start| start.checked_add(OUTCOME_BYTES))
        {
            let range = start as usize..start as usize + usize::from(step.size);
            match (now, data.get_mut(range.clone())) {
                (Now::Bytes { known, is_whole: true }, Some(place)) => place.copy_from_slice(known),
                _ => unknown.push(range),
            }
        }
        now
    };
    steps.iter().enumerate().map(follow).collect()
}

fn read<'m>(step: &Step, from: Avma, data: &[u8], memory: &'m Memory) -> Now<'m> {
    let limit = usize::from(step.size);
    let wanted = match step.op {
        FOLLOW => limit,
        STRING => limit + 1,
        _ => match count(step, data) {
            Some(bytes) => bytes.min(limit),
            None => return Now::Unknown,
        },
    };
    let known = memory.known_part(from, wanted);
    if step.op == STRING
        && let Some(end) = known.iter().position(|&byte| byte == 0)
    {
        return Now::Bytes { known: &known[..end], is_whole: true };
    }
    match memory.bytes(from, wanted) {
        Err(Unknown::Unreadable(at)) if at == from => Now::Unreadable,
        Err(_) if known.is_empty() => Now::Unknown,
        Err(_) => Now::Bytes { known, is_whole: false },
        Ok(known) if step.op == STRING => Now::Bytes { known: &known[..limit], is_whole: false },
        Ok(known) => Now::Bytes { known, is_whole: step.op == FOLLOW || count(step, data) == Some(wanted) },
    }
}

/// The bytes that a counted step is about.
fn count(step: &Step, data: &[u8]) -> Option<usize> {
    let at = usize::from(step.count);
    let mut word = [0; 8];
    let size = usize::from(step.count_size).min(word.len());
    word[..size].copy_from_slice(data.get(at..at + size)?);
    usize::try_from(u64::from_le_bytes(word)).ok()?.checked_mul(usize::from(step.element))
}

fn word(data: &[u8], range: Range<usize>) -> Option<u64> {
    data.get(range)?.try_into().ok().map(u64::from_le_bytes)
}

impl Now<'_> {
    /// Whether this is known not to be what the step has read then.
    #[must_use]
    pub fn differs_from(&self, then: &Output<'_>) -> bool {
        let Some(outcome) = then.outcome else { return false };
        match (*self, outcome.status) {
            (Self::Unknown, _) | (Self::Null, NULL) | (Self::Unreadable, FAULT) => false,
            (Self::Null | Self::Unreadable, _) | (Self::Bytes { .. }, FAULT | NULL) => true,
            (Self::Bytes { known, is_whole }, status) => {
                let common = known.len().min(then.bytes.len());
                known[..common] != then.bytes[..common]
                    || (known.len() > common && status == READ)
                    || (then.bytes.len() > common && is_whole)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use lastwords_abi::Outcome;
    use lastwords_abi::step::{PARTIAL, REGISTER, TRUNCATED};

    use super::*;

    const TEXT: u64 = 0x5000;

    fn steps() -> [Step; 2] {
        let register = Step { op: REGISTER, size: 8, ..Step::default() };
        [register, Step { op: STRING, size: 8, base: 0, ..Step::default() }]
    }

    /// What the string at `TEXT` is now, of which the memory holds these bytes.
    fn now(memory: &[u8]) -> (Memory, Vec<u8>) {
        let mut known = Memory::default();
        known.insert(Avma(TEXT), memory);
        (known, TEXT.to_le_bytes().to_vec())
    }

    fn differs(status: u16, then: &[u8], memory: &[u8]) -> bool {
        let (memory, data) = now(memory);
        let outcome = Outcome { status, reserved: 0, length: then.len() as u32 };
        follow_again(&steps(), &data, &memory)[1].differs_from(&Output { outcome: Some(outcome), bytes: then })
    }

    /// Guards against a change that is only a tail which nobody knows, on either side.
    #[test]
    fn only_what_is_known_then_and_now_is_compared() {
        assert!(!differs(READ, b"alice", b"alice\0xyz"));
        assert!(differs(READ, b"alice", b"alicf\0"));
        assert!(differs(READ, b"alice", b"ali\0"));
        assert!(differs(READ, b"ali", b"alice"));
        // The rest was not captured now, or not recorded then.
        assert!(!differs(READ, b"alice", b"ali"));
        assert!(differs(READ, b"alice", b"bli"));
        assert!(!differs(TRUNCATED, b"alicealx", b"alicealxyz\0"));
        assert!(!differs(PARTIAL, b"ali", b"alice\0"));
        assert!(differs(TRUNCATED, b"alicealx", b"alice\0"));
        assert!(!differs(READ, b"alice", b""));
        assert!(differs(FAULT, b"", b"a\0"));
    }

    /// Guards against memory that is said to be gone although nobody looked.
    #[test]
    fn unreadable_is_what_could_not_be_read() {
        let (mut memory, data) = now(b"");
        assert_eq!(follow_again(&steps(), &data, &memory)[1], Now::Unknown);
        memory.mark_unreadable(Avma(TEXT)..Avma(TEXT + 16));
        assert_eq!(follow_again(&steps(), &data, &memory)[1], Now::Unreadable);
        assert_eq!(follow_again(&steps(), &[0; 8], &memory)[1], Now::Null);
        assert_eq!(follow_again(&steps(), &[], &memory)[1], Now::Unknown);
    }

    /// Guards against following an old pointer where there is a new one, or where nobody knows whether there is.
    #[test]
    fn pointers_behind_pointers_are_those_of_now() {
        let follow = Step { op: FOLLOW, size: 8, base: 0, ..Step::default() };
        let string = Step { op: STRING, size: 8, base: 16, ..Step::default() };
        let steps = [Step { op: REGISTER, size: 8, ..Step::default() }, follow, string];
        let data = [TEXT.to_le_bytes(), [0; 8], 0x6000_u64.to_le_bytes()].concat();
        let mut memory = Memory::default();
        memory.insert(Avma(0x6000), b"old\0");
        assert_eq!(follow_again(&steps, &data, &memory)[2], Now::Unknown);

        memory.insert(Avma(TEXT), &0x7000_u64.to_le_bytes());
        memory.insert(Avma(0x7000), b"new\0");
        assert_eq!(follow_again(&steps, &data, &memory)[2], Now::Bytes { known: b"new", is_whole: true });

        let mut memory = Memory::default();
        memory.insert(Avma(TEXT), &[0; 8]);
        assert_eq!(follow_again(&steps, &data, &memory)[2], Now::Null);
    }
}
