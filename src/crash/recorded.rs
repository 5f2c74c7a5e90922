//! What a call's steps have read behind pointers in; memory by address, as it was at the entry of the call, out.

use std::collections::BTreeMap;

use lastwords_abi::step::{FAULT, NOT_IN_MEMORY, NULL, PARTIAL, READ, RING, STRING, TRUNCATED};
use lastwords_abi::{MAX_STEPS, Step};

use super::memory::{Memory, Unknown};
use crate::address::Avma;
use crate::plan::Limits;
use crate::plan::outputs::Output;
use crate::report::State;

/// Memory of some moment, by address.
pub trait Held {
    /// As many of `length` bytes from `at` on as are known.
    fn known_part(&self, at: Avma, length: usize) -> &[u8];
    /// Why the byte at `at` is not known. `None` where nobody tried to read it, or not that far.
    fn end_at(&self, at: Avma) -> Option<End>;
    /// How to say that nobody tried to read further than `known` bytes.
    fn cut(&self, known: usize) -> String;
    /// How to say that nobody tried to read what a pointer leads to, by a plan with these bounds.
    fn missed(&self, limits: Limits) -> String;
    /// How to say that there was nothing to be read at `at`.
    fn gone(&self, at: Avma) -> String;
}

/// How to say that a kernel before Linux 6.0 was asked.
pub const NOT_WAITED_FOR: &str =
    "it was not in memory, or is not mapped: before Linux 6.0, probes cannot wait for a page";

/// Why memory is not known from some address on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It could not be read.
    Unreadable,
    /// It could not be read without waiting, and this kernel does not wait.
    NotInMemory,
    /// A status that this reader does not know.
    Status(u16),
    /// The record ends before.
    Damaged,
}

/// What a call's record holds.
#[derive(Debug, Default)]
pub struct Recorded {
    memory: Memory,
    ends: BTreeMap<u64, End>,
    /// There are as many steps as a plan may have.
    is_full: bool,
}

impl Recorded {
    /// Of the steps of a function, whose record holds `data`, which are these outputs.
    pub fn new(steps: &[Step], data: &[u8], outputs: &[Output<'_>]) -> Self {
        let mut recorded = Self { is_full: steps.len() >= MAX_STEPS as usize, ..Self::default() };
        for (step, output) in steps.iter().zip(outputs) {
            let word = |at: usize| {
                data.get(at..).and_then(|data| data.first_chunk()).map_or(0, |word| u64::from_le_bytes(*word))
            };
            let base = word(step.base.into());
            let first = if step.op == RING { word(step.first_at().into()) } else { 0 };
            if step.follows() && base != 0 {
                recorded.add(step, Avma(step.address(base, word(step.count.into()), first)), output);
            }
        }
        recorded
    }

    fn add(&mut self, step: &Step, at: Avma, output: &Output<'_>) {
        self.memory.insert(at, output.bytes);
        let end = at.0.wrapping_add(output.bytes.len() as u64);
        let reason = match output.outcome.map(|outcome| outcome.status) {
            Some(READ) if step.op == STRING => return self.memory.insert(Avma(end), &[0]),
            Some(READ | NULL | TRUNCATED) => return,
            Some(FAULT | PARTIAL) => End::Unreadable,
            Some(NOT_IN_MEMORY) => End::NotInMemory,
            Some(status) => End::Status(status),
            None => End::Damaged,
        };
        self.ends.entry(end).or_insert(reason);
    }
}

impl Held for Recorded {
    fn known_part(&self, at: Avma, length: usize) -> &[u8] {
        self.memory.known_part(at, length)
    }

    fn end_at(&self, at: Avma) -> Option<End> {
        self.ends.get(&at.0).copied()
    }

    fn cut(&self, known: usize) -> String {
        format!("only its first {known} bytes were recorded")
    }

    fn missed(&self, limits: Limits) -> String {
        match self.is_full {
            true => format!("there was no room for it in this call (it follows {MAX_STEPS} pointers at the most)"),
            false => format!("there was no room for it in this call (--bytes {})", limits.reach_bytes),
        }
    }

    fn gone(&self, at: Avma) -> String {
        format!("no readable memory is mapped at {at}")
    }
}

/// The memory at the moment of death.
impl Held for Memory {
    fn known_part(&self, at: Avma, length: usize) -> &[u8] {
        Self::known_part(self, at, length)
    }

    fn end_at(&self, at: Avma) -> Option<End> {
        match self.bytes(at, 1) {
            Err(Unknown::Unreadable(_)) => Some(End::Unreadable),
            Ok(_) | Err(Unknown::NotCaptured(_) | Unknown::Beyond) => None,
        }
    }

    fn cut(&self, known: usize) -> String {
        format!("only its first {known} bytes were captured at the moment of death")
    }

    fn missed(&self, _: Limits) -> String {
        "it was not captured at the moment of death".into()
    }

    fn gone(&self, _: Avma) -> String {
        "at the moment of death its memory was unmapped, protected or not resident".into()
    }
}

impl End {
    /// What to say of a thing of which `known` bytes are there.
    pub fn of(end: Option<Self>, at: Avma, known: usize, held: &impl Held) -> (State, String) {
        match end {
            Some(Self::Unreadable) if known == 0 => (State::Unreadable, held.gone(at)),
            Some(Self::Unreadable) => (State::Truncated, format!("memory ends after {known} bytes")),
            Some(Self::NotInMemory) if known == 0 => (State::Unavailable, NOT_WAITED_FOR.into()),
            Some(Self::NotInMemory) => (State::Truncated, format!("only its first {known} bytes were in memory")),
            Some(Self::Status(status)) => {
                (State::Unavailable, format!("the recorder left it with the unknown status {status}"))
            }
            Some(Self::Damaged) => (State::Unavailable, "its record is damaged".into()),
            None => (State::Truncated, held.cut(known)),
        }
    }
}
