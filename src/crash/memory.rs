//! What was copied of a process's memory at its death: ranges in; words and bytes out, or the reason why they are not known.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use crate::address::Avma;

/// Copied memory, by address.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    /// Bytes by their first address. Ranges neither overlap nor touch.
    ranges: BTreeMap<u64, Vec<u8>>,
    /// What could not be read even then, by its first address.
    unreadable: BTreeMap<u64, u64>,
    /// Where return addresses are that the kernel watched, and what lay in their places.
    watched_returns: BTreeMap<u64, Option<u64>>,
}

/// Why bytes of the process are not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// Nothing of it was copied: it lies outside of what a report takes.
    NotCaptured(Avma),
    /// There was no readable memory.
    Unreadable(Avma),
    /// No such address: it is beyond the end of the address space.
    Beyond,
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotCaptured(at) => write!(f, "the memory at {at} was not captured"),
            Self::Unreadable(at) => write!(f, "no readable memory is mapped at {at}"),
            Self::Beyond => f.write_str("it lies beyond the end of the address space"),
        }
    }
}

impl Memory {
    /// Adds bytes that were copied from `start` on. Where some of them are known already, those stay.
    pub fn insert(&mut self, start: Avma, bytes: &[u8]) {
        let Some(end) = start.0.checked_add(bytes.len() as u64) else { return };
        for (at, found) in self.watched_returns.range_mut(start.0..end) {
            let place = (at - start.0) as usize;
            *found =
                bytes.get(place..place + 8).and_then(|word| Some(u64::from_le_bytes(word.try_into().ok()?))).or(*found);
        }
        let mut at = start.0;
        while at < end {
            if let Some(known_until) = self.range_with(at).map(|range| range.end.0) {
                at = known_until;
                continue;
            }
            let next = self.ranges.range(at..).next().map_or(end, |(&next, _)| next.min(end));
            // Both lie within `bytes`, whose length is a `usize`.
            let part = &bytes[(at - start.0) as usize..(next - start.0) as usize];
            self.append(at, part);
            at = next;
        }
    }

    /// Adds a return address in whose place the kernel had put its trampoline, before the stack that it lay on is added.
    pub fn insert_return_address(&mut self, at: Avma, bytes: &[u8]) {
        self.insert(at, bytes);
        self.watched_returns.insert(at.0, None);
    }

    /// What lay in the place of a return address that the kernel watched: its trampoline's address, unless it was overwritten.
    #[must_use]
    pub fn in_place_of_return_address(&self, at: Avma) -> Option<u64> {
        self.watched_returns.get(&at.0).copied().flatten()
    }

    /// Adds bytes of which none are known, joined to the ranges that they touch.
    fn append(&mut self, at: u64, bytes: &[u8]) {
        let behind = self.ranges.remove(&(at + bytes.len() as u64));
        let before =
            self.ranges.range_mut(..at).next_back().filter(|(start, range)| **start + range.len() as u64 == at);
        let range = match before {
            Some((_, range)) => range,
            None => self.ranges.entry(at).or_default(),
        };
        range.extend_from_slice(bytes);
        range.extend(behind.into_iter().flatten());
    }

    /// Notes that there was nothing to be read at these addresses.
    pub fn mark_unreadable(&mut self, range: Range<Avma>) {
        if range.start < range.end {
            let end = self.unreadable.entry(range.start.0).or_default();
            *end = (*end).max(range.end.0);
        }
    }

    /// Puts a word back that was replaced in the process by somebody else: the kernel puts the address of a trampoline in the place of
    /// return addresses that it watches. Returns whether it was captured.
    pub fn restore_word(&mut self, at: Avma, word: u64) -> bool {
        let Some((&start, bytes)) = self.ranges.range_mut(..=at.0).next_back() else { return false };
        let offset = usize::try_from(at.0 - start).unwrap_or(usize::MAX);
        let place = offset.checked_add(size_of::<u64>()).and_then(|end| bytes.get_mut(offset..end));
        place.map(|place| place.copy_from_slice(&word.to_le_bytes())).is_some()
    }

    /// The captured range that `at` is in.
    #[must_use]
    pub fn range_around(&self, at: Avma) -> Option<Range<Avma>> {
        self.range_with(at.0)
    }

    fn range_with(&self, at: u64) -> Option<Range<Avma>> {
        let (&start, bytes) = self.ranges.range(..=at).next_back()?;
        let end = start + bytes.len() as u64;
        (at < end).then_some(Avma(start)..Avma(end))
    }

    /// `length` bytes from `at` on.
    pub fn bytes(&self, at: Avma, length: usize) -> Result<&[u8], Unknown> {
        at.0.checked_add(length as u64).ok_or(Unknown::Beyond)?;
        let known = self.known_part(at, length);
        if known.len() < length { Err(self.why_unknown(Avma(at.0 + known.len() as u64))) } else { Ok(known) }
    }

    /// As many of `length` bytes from `at` on as are known.
    #[must_use]
    pub fn known_part(&self, at: Avma, length: usize) -> &[u8] {
        let found = self.ranges.range(..=at.0).next_back().and_then(|(&start, bytes)| {
            let bytes = bytes.get(usize::try_from(at.0 - start).ok()?..)?;
            Some(&bytes[..bytes.len().min(length)])
        });
        found.unwrap_or_default()
    }

    /// The word at `at`.
    pub fn word(&self, at: Avma) -> Result<u64, Unknown> {
        self.unsigned(at, 8)
    }

    /// The number of `size` bytes, at most 8, at `at`.
    pub fn unsigned(&self, at: Avma, size: u8) -> Result<u64, Unknown> {
        let mut word = [0; 8];
        let size = usize::from(size).min(word.len());
        word[..size].copy_from_slice(self.bytes(at, size)?);
        Ok(u64::from_le_bytes(word))
    }

    fn why_unknown(&self, at: Avma) -> Unknown {
        let around = self.unreadable.range(..=at.0).next_back();
        match around.filter(|(_, end)| at.0 < **end) {
            Some(_) => Unknown::Unreadable(at),
            None => Unknown::NotCaptured(at),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards against reads that stop at the border of two copies, and against a second copy over the first.
    #[test]
    fn ranges_that_touch_or_overlap_read_as_one() {
        let mut memory = Memory::default();
        memory.insert(Avma(0x1010), &[2; 16]);
        memory.insert(Avma(0x1030), &[4; 8]);
        memory.insert(Avma(0x1000), &[1; 0x40]);

        let expected = [[1; 16], [2; 16], [1; 16], [4, 4, 4, 4, 4, 4, 4, 4, 1, 1, 1, 1, 1, 1, 1, 1]].concat();
        assert_eq!(memory.bytes(Avma(0x1000), 0x40), Ok(&expected[..]));
        assert_eq!(memory.range_around(Avma(0x103f)), Some(Avma(0x1000)..Avma(0x1040)));
        assert_eq!(memory.ranges.len(), 1);
        assert_eq!(memory.word(Avma(0x1034)), Ok(0x0101_0101_0404_0404));
    }

    /// Guards against zeros for what was not captured, and against a reason that is not the right one.
    #[test]
    fn what_is_not_known_has_a_reason() {
        let mut memory = Memory::default();
        memory.insert(Avma(0x1000), &[1; 12]);
        memory.mark_unreadable(Avma(0x2000)..Avma(0x3000));

        assert_eq!(memory.word(Avma(0x1008)), Err(Unknown::NotCaptured(Avma(0x100c))));
        assert_eq!(memory.unsigned(Avma(0x1008), 4), Ok(0x0101_0101));
        assert_eq!(memory.known_part(Avma(0x1008), 8), [1; 4]);
        assert_eq!(memory.word(Avma(0x2ff8)), Err(Unknown::Unreadable(Avma(0x2ff8))));
        assert_eq!(memory.word(Avma(0x3000)), Err(Unknown::NotCaptured(Avma(0x3000))));
        assert_eq!(memory.word(Avma(u64::MAX - 3)), Err(Unknown::Beyond));
        memory.insert(Avma(u64::MAX - 3), &[0; 8]);
        assert_eq!(memory.known_part(Avma(u64::MAX - 3), 8), [0; 0]);
    }

    /// Guards against a backtrace that ends at the kernel's return trampoline.
    #[test]
    fn a_word_that_somebody_replaced_can_be_put_back() {
        let mut memory = Memory::default();
        memory.insert(Avma(0x1000), &[0; 16]);

        assert!(memory.restore_word(Avma(0x1008), 0x40_1234));
        assert!(!memory.restore_word(Avma(0x100c), 1) && !memory.restore_word(Avma(0xff8), 1));

        assert_eq!((memory.word(Avma(0x1000)), memory.word(Avma(0x1008))), (Ok(0), Ok(0x40_1234)));
    }
}
