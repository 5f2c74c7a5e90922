//! A record's data in; the bytes of one value out, with the gaps in them and their reasons.

use std::ops::Range;

use lastwords_abi::step::{FAULT, NOT_IN_MEMORY, NULL, PARTIAL, READ, TRUNCATED};

use super::recorded::NOT_WAITED_FOR;
use crate::plan::outputs::Output;
use crate::plan::{PieceSource, Source};
use crate::report::State;

/// Larger values are cut. No plan of ours asks for more: a record has 32 KiB at the most.
const MAX_VALUE_BYTES: usize = 64 << 10;

/// The bytes of a value, some of which may be missing.
#[derive(Debug, Default)]
pub struct Bytes {
    bytes: Vec<u8>,
    gaps: Vec<Gap>,
}

/// Bytes of a value that are not known, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    range: Range<usize>,
    /// How to call it.
    pub state: State,
    /// Why.
    pub reason: String,
}

impl Bytes {
    /// Puts a value together from its pieces, from the lowest byte up.
    pub fn assemble(pieces: &[PieceSource], outputs: &[Output<'_>]) -> Self {
        let mut value = Self::default();
        for piece in pieces {
            let size = (piece.size as usize).min(MAX_VALUE_BYTES - value.bytes.len());
            match &piece.source {
                Source::Step { step, skip } => {
                    let output = outputs.get(*step).copied().unwrap_or_default();
                    value.push_output(&output, *skip as usize, size);
                }
                Source::Constant(bytes) => {
                    value.push(bytes, size, State::Unavailable, "the debug info has only a part of it");
                }
                Source::OptimizedOut => {
                    value.push(&[], size, State::OptimizedOut, "the compiler kept it nowhere at that point");
                }
                Source::Unavailable(reason) => value.push(&[], size, State::Unavailable, reason),
            }
        }
        value
    }

    /// What a step has read, from its first byte on.
    pub fn of_output(output: &Output<'_>, size: usize) -> Self {
        let mut value = Self::default();
        value.push_output(output, 0, size.min(MAX_VALUE_BYTES));
        value
    }

    /// `size` bytes from `at` on, if all of them are known.
    pub fn get(&self, at: usize, size: usize) -> Result<&[u8], Gap> {
        let range = at..at.saturating_add(size);
        if let Some(gap) = self.gaps.iter().find(|gap| gap.range.start < range.end && range.start < gap.range.end) {
            return Err(gap.clone());
        }
        self.bytes.get(range.clone()).ok_or_else(|| Gap {
            range,
            state: State::Unavailable,
            reason: format!("{size} bytes at {at} were expected, {} were recorded in all", self.bytes.len()),
        })
    }

    /// As many bytes of `at..at + size` as are known from the start.
    pub fn known_part(&self, at: usize, size: usize) -> &[u8] {
        let gaps = self.gaps.iter().filter(|gap| gap.range.end > at).map(|gap| gap.range.start.max(at));
        let end = gaps.min().unwrap_or(usize::MAX).min(at.saturating_add(size)).min(self.bytes.len());
        self.bytes.get(at..end).unwrap_or_default()
    }

    fn push_output(&mut self, output: &Output<'_>, skip: usize, size: usize) {
        let known = output.bytes.len();
        let (state, reason) = match output.outcome.map(|outcome| outcome.status) {
            Some(NOT_IN_MEMORY) => (State::Unavailable, NOT_WAITED_FOR.into()),
            Some(FAULT) => (State::Unreadable, "its memory could not be read".into()),
            Some(PARTIAL) => (State::Unreadable, format!("its memory ends after {known} bytes")),
            Some(NULL) => (State::Unavailable, "the pointer to it is NULL".into()),
            Some(TRUNCATED | READ) => (State::Truncated, format!("only its first {known} bytes were recorded")),
            Some(status) => (State::Unavailable, format!("the recorder left it with the unknown status {status}")),
            None => (State::Unavailable, "its record is damaged".into()),
        };
        self.push(output.bytes.get(skip..).unwrap_or_default(), size, state, &reason);
    }

    /// How many of `size` bytes more there is room for.
    pub fn room(&self, size: usize) -> usize {
        size.min(MAX_VALUE_BYTES.saturating_sub(self.bytes.len()))
    }

    /// Appends `size` bytes: those of `known`, then a gap.
    pub fn push(&mut self, known: &[u8], size: usize, state: State, reason: &str) {
        let known = &known[..known.len().min(size)];
        let start = self.bytes.len();
        self.bytes.extend_from_slice(known);
        self.bytes.resize(start + size, 0);
        if known.len() < size {
            self.gaps.push(Gap { range: start + known.len()..start + size, state, reason: reason.into() });
        }
    }
}

#[cfg(test)]
mod tests {
    use lastwords_abi::Step;

    use super::super::tests::Random;
    use super::*;
    use crate::plan::outputs::split;

    /// Guards against a made-up byte: what is not known is a gap, and only that.
    #[test]
    fn a_missing_piece_is_a_gap_and_no_zero() {
        let pieces = [
            PieceSource { size: 4, source: Source::Constant(vec![1, 0, 0, 0]) },
            PieceSource { size: 4, source: Source::OptimizedOut },
            PieceSource { size: 4, source: Source::Step { step: 0, skip: 4 } },
            PieceSource { size: 4, source: Source::Step { step: 7, skip: 0 } },
        ];
        let outputs = [Output { outcome: None, bytes: &[0, 0, 0, 0, 5, 6, 7, 8] }];

        let value = Bytes::assemble(&pieces, &outputs);

        assert_eq!(value.get(0, 4).unwrap(), [1, 0, 0, 0]);
        assert_eq!(value.get(0, 5).unwrap_err().state, State::OptimizedOut);
        assert_eq!(value.get(8, 4).unwrap(), [5, 6, 7, 8]);
        assert_eq!(value.get(12, 1).unwrap_err().reason, "its record is damaged");
        assert_eq!(value.get(16, 1).unwrap_err().state, State::Unavailable);
        assert_eq!(value.get(usize::MAX, 8).unwrap_err().state, State::Unavailable);
        assert_eq!(value.known_part(0, 100), [1, 0, 0, 0]);
        assert_eq!(value.known_part(4, 100), [0; 0]);
    }

    /// Guards against a panic, or 4 GiB of zeros, for a damaged record or plan.
    #[test]
    fn no_data_make_it_panic() {
        let mut random = Random(3);
        for _ in 0..20_000 {
            let mut word = || random.next() as u16 >> random.below(16);
            let steps: [Step; 4] =
                std::array::from_fn(|_| Step { op: word() as u8 % 7, size: word(), ..Step::default() });
            let data: Vec<u8> = (0..random.below(200)).map(|_| random.next() as u8 >> random.below(8)).collect();
            let outputs = split(&steps, &data);
            let pieces: Vec<PieceSource> = (0..5)
                .map(|step| PieceSource {
                    size: random.next() as u32 >> random.below(32),
                    source: Source::Step { step, skip: random.next() as u32 >> random.below(32) },
                })
                .collect();
            let value = Bytes::assemble(&pieces, &outputs);
            assert!(value.bytes.len() <= MAX_VALUE_BYTES);
            let _ = value.get(random.next() as usize >> random.below(64), random.next() as usize >> random.below(64));
            let _ = value.known_part(random.next() as usize >> random.below(64), usize::MAX);
        }
    }
}
