//! The steps of one function while they are being collected: each thing is captured once, and the bounds are kept.

use lastwords_abi::step::{COUNTED, FOLLOW, MEMORY, OUTCOME_BYTES, REGISTER, RING, STRING, WORD};
use lastwords_abi::{MAX_DATA_BYTES, MAX_STEPS, Step};

/// The steps so far.
#[derive(Clone, Debug)]
pub struct StepList {
    steps: Vec<Step>,
    data_bytes: u32,
    most_bytes: u32,
}

impl Default for StepList {
    fn default() -> Self {
        Self { steps: Vec::new(), data_bytes: 0, most_bytes: MAX_DATA_BYTES }
    }
}

/// What a step reads: what lies at a pointer that was captured, or so many bytes behind that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Aim {
    /// Where in a record's data the pointer lies.
    pub base: u32,
    /// What is added to it.
    pub offset: i32,
}

impl From<u32> for Aim {
    fn from(base: u32) -> Self {
        Self { base, offset: 0 }
    }
}

impl Aim {
    fn step(self, op: u8, size: u32) -> Option<Step> {
        let (base, size) = (u16::try_from(self.base).ok()?, u16::try_from(size).ok()?);
        Some(Step { op, base, size, offset: self.offset, ..Step::default() })
    }
}

/// How much a counted step copies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Where in a record's data the number lies.
    pub at: u32,
    /// Its bytes: 1, 2, 4 or 8.
    pub size: u16,
    /// Bytes of what it counts; 0 if it is the address where the copy ends.
    pub element: u16,
    /// Where in a record's data the index of the first one lies, for what does not begin at the pointer.
    pub first: u32,
    /// How many of them lie elsewhere, in front of what the pointer leads to.
    pub in_front: u16,
}

impl Count {
    fn step(self, step: Step) -> Option<Step> {
        Some(Step { count: u16::try_from(self.at).ok()?, element: self.element, count_size: self.size, ..step })
    }
}

/// Whether the output of a step may be shorter than [`Step::output_bytes`]: what follows it has no fixed place.
#[must_use]
pub fn has_variable_output(step: &Step) -> bool {
    matches!(step.op, STRING | COUNTED)
}

impl StepList {
    /// Captures the 8 bytes of a saved register.
    pub fn register(&mut self, word: u8) -> Option<usize> {
        self.push(Step { op: REGISTER, register: word, size: 8, ..Step::default() })
    }

    /// Captures again the 8 bytes at `base` of what was captured at the entry.
    pub fn word(&mut self, base: u32) -> Option<usize> {
        self.push(Step { op: WORD, base: u16::try_from(base).ok()?, size: 8, ..Step::default() })
    }

    /// Captures memory at a saved register + offset.
    pub fn memory(&mut self, word: u8, offset: i64, size: u32) -> Option<usize> {
        let (offset, size) = (i32::try_from(offset).ok()?, u16::try_from(size).ok()?);
        self.push(Step { op: MEMORY, register: word, offset, size, ..Step::default() })
    }

    /// Captures the string that a pointer leads to.
    pub fn string(&mut self, aim: impl Into<Aim>, limit: u32) -> Option<usize> {
        self.push(aim.into().step(STRING, limit)?)
    }

    /// Captures `size` bytes of what a pointer leads to.
    pub fn follow(&mut self, aim: impl Into<Aim>, size: u32) -> Option<usize> {
        self.push(aim.into().step(FOLLOW, size)?)
    }

    /// Captures what a pointer leads to: as much as is counted.
    pub fn counted(&mut self, aim: impl Into<Aim>, count: Count, limit: u32) -> Option<usize> {
        // Whole elements only.
        let size = limit - limit.checked_rem(count.element.into()).unwrap_or(0);
        self.push(count.step(aim.into().step(COUNTED, size)?)?)
    }

    /// None yet, for another event of the same record: what is left of its bytes, `most` of them.
    #[must_use]
    pub fn for_the_rest(&self, most: u32) -> Self {
        Self { most_bytes: MAX_DATA_BYTES.saturating_sub(self.data_bytes).min(most), ..Self::default() }
    }

    /// Captures elements into a place of `size` bytes, in which pointers can be followed; `op` says where they lie.
    pub fn elements(&mut self, op: u8, aim: impl Into<Aim>, count: Count, size: u32) -> Option<usize> {
        let step = count.step(aim.into().step(op, size)?)?;
        let offset = match op {
            RING => Step::ring_offset(u16::try_from(count.first).ok()?, count.in_front),
            _ => step.offset,
        };
        self.push(Step { offset, ..step })
    }

    /// Bytes that a step copies, or may copy at the most.
    #[must_use]
    pub fn size(&self, step: usize) -> Option<u32> {
        self.steps.get(step).map(|step| step.size.into())
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.steps.len()
    }

    /// Where in a record's data byte `skip` of a step's captured bytes is. `None` where that depends on the record.
    #[must_use]
    pub fn data_offset(&self, step: usize, skip: u32) -> Option<u32> {
        let in_front = if matches!(self.steps.get(step)?.op, REGISTER | WORD) { 0 } else { OUTCOME_BYTES };
        super::outputs::output_offset(&self.steps, step)?.checked_add(in_front)?.checked_add(skip)
    }

    /// The steps.
    #[must_use]
    pub fn into_steps(self) -> Vec<Step> {
        self.steps
    }

    /// The index of the step, which may be an earlier one. `None` where it would go beyond a bound, or a step with a fixed place
    /// would stand behind one without.
    fn push(&mut self, step: Step) -> Option<usize> {
        if let Some(index) = self.steps.iter().position(|known| *known == step) {
            return Some(index);
        }
        let is_late = !has_variable_output(&step) && self.steps.last().is_some_and(has_variable_output);
        let data_bytes = self.data_bytes.checked_add(step.output_bytes())?;
        if is_late || self.steps.len() >= MAX_STEPS as usize || data_bytes > self.most_bytes {
            return None;
        }
        self.data_bytes = data_bytes;
        self.steps.push(step);
        Some(self.steps.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards against a plan that the kernel's interpreter cannot run to its end.
    #[test]
    fn the_bounds_are_kept() {
        let mut list = StepList::default();
        assert!((0..MAX_STEPS).all(|offset| list.memory(14, i64::from(offset), 8).is_some()));
        assert_eq!(list.memory(14, 1000, 8), None);
        assert_eq!(list.memory(14, 0, 8), Some(0), "what is captured already costs nothing");

        let mut list = StepList::default();
        let first = list.register(14).and_then(|step| list.data_offset(step, 0)).unwrap();
        // Outcome, 4,096 bytes and a NUL, rounded up: 4,112. Seven fit into 32 KiB behind the register.
        let strings = (0..10).filter(|skip| list.string(first + skip, 4096).is_some()).count();
        assert_eq!(strings, 7);
        assert_eq!(list.register(13), None, "its place would depend on the strings in front of it");
    }
}
