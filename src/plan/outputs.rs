//! A record's data apart again: what each step wrote.
//!
//! ```text
//! REGISTER, WORD      8 bytes
//! MEMORY, FOLLOW,     Outcome | size bytes, of which Outcome.length are valid | up to a multiple of 8
//! ELEMENTS, PLACES, RING
//! STRING, COUNTED     Outcome | Outcome.length bytes                          | up to a multiple of 8
//! ```

use lastwords_abi::step::{COUNTED, ELEMENTS, FOLLOW, MEMORY, OUTCOME_BYTES, PLACES, REGISTER, RING, STRING, WORD};
use lastwords_abi::{Outcome, Step, align8};

use super::steps::has_variable_output;

/// What a step wrote.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Output<'a> {
    /// What became of it. `None` for a register, which can always be read, and where the record ends before this step.
    pub outcome: Option<Outcome>,
    /// The bytes that are valid; all 8 of a register. Empty where the record ends before this step.
    pub bytes: &'a [u8],
}

/// What each of a function's steps wrote: as many outputs as steps, whatever the data is.
#[must_use]
pub fn split<'a>(steps: &[Step], data: &'a [u8]) -> Vec<Output<'a>> {
    let mut rest = Some(data);
    steps
        .iter()
        .map(|step| match rest.and_then(|data| take(step, data)) {
            Some((output, behind)) => {
                rest = Some(behind);
                output
            }
            None => {
                rest = None;
                Output::default()
            }
        })
        .collect()
}

/// Where the output of a step begins in a record's data, its `Outcome` included. `None` where that depends on the record.
#[must_use]
pub fn output_offset(steps: &[Step], index: usize) -> Option<u32> {
    let before = steps.get(..index)?;
    if index >= steps.len() || before.iter().any(has_variable_output) {
        return None;
    }
    before.iter().try_fold(0u32, |offset, step| offset.checked_add(step.output_bytes()))
}

/// The output of one step at the start of `data`, and what is behind it.
fn take<'a>(step: &Step, data: &'a [u8]) -> Option<(Output<'a>, &'a [u8])> {
    if matches!(step.op, REGISTER | WORD) {
        let (bytes, behind) = data.split_at_checked(step.output_bytes() as usize)?;
        return Some((Output { outcome: None, bytes }, behind));
    }
    let (outcome, data) = data.split_at_checked(OUTCOME_BYTES as usize)?;
    let outcome = parse_outcome(outcome)?;
    let limit = u32::from(step.size);
    let room = match step.op {
        MEMORY | FOLLOW | ELEMENTS | PLACES | RING => align8(limit),
        STRING | COUNTED if outcome.length <= limit => align8(outcome.length),
        _ => return None,
    };
    let (bytes, behind) = data.split_at_checked(room as usize)?;
    let bytes = bytes.get(..outcome.length.min(limit) as usize)?;
    Some((Output { outcome: Some(outcome), bytes }, behind))
}

fn parse_outcome(bytes: &[u8]) -> Option<Outcome> {
    let (status, bytes) = bytes.split_first_chunk()?;
    let (reserved, bytes) = bytes.split_first_chunk()?;
    let (length, _) = bytes.split_first_chunk()?;
    Some(Outcome {
        status: u16::from_ne_bytes(*status),
        reserved: u16::from_ne_bytes(*reserved),
        length: u32::from_ne_bytes(*length),
    })
}

#[cfg(test)]
mod tests {
    use lastwords_abi::step::{FAULT, READ, TRUNCATED};

    use super::*;

    fn outcome(status: u16, length: u32) -> Outcome {
        Outcome { status, reserved: 0, length }
    }

    fn bytes(outcome: Outcome) -> Vec<u8> {
        let mut bytes = outcome.status.to_ne_bytes().to_vec();
        bytes.extend(outcome.reserved.to_ne_bytes());
        bytes.extend(outcome.length.to_ne_bytes());
        bytes
    }

    fn step(op: u8, size: u16) -> Step {
        Step { op, size, ..Step::default() }
    }

    fn steps() -> [Step; 4] {
        [step(REGISTER, 8), step(MEMORY, 12), step(STRING, 256), step(COUNTED, 256)]
    }

    fn data() -> Vec<u8> {
        [
            7u64.to_ne_bytes().to_vec(),
            bytes(outcome(READ, 12)),
            b"hello world!\0\0\0\0".to_vec(),
            bytes(outcome(TRUNCATED, 3)),
            b"abc.....".to_vec(),
            bytes(outcome(FAULT, 0)),
        ]
        .concat()
    }

    /// Guards against reading one argument's bytes as another's: fixed outputs keep their size, variable ones do not.
    #[test]
    fn each_step_gets_what_it_wrote() {
        let data = data();
        let outputs = split(&steps(), &data);
        assert_eq!(outputs[0], Output { outcome: None, bytes: &7u64.to_ne_bytes() });
        assert_eq!(outputs[1], Output { outcome: Some(outcome(READ, 12)), bytes: b"hello world!" });
        assert_eq!(outputs[2], Output { outcome: Some(outcome(TRUNCATED, 3)), bytes: b"abc" });
        assert_eq!(outputs[3], Output { outcome: Some(outcome(FAULT, 0)), bytes: b"" });
        let offsets: Vec<_> = (0..5).map(|index| output_offset(&steps(), index)).collect();
        assert_eq!(offsets, [Some(0), Some(8), Some(32), None, None]);
    }

    /// Guards against a panic, and against values made of what is not there, in a record that was cut or damaged.
    #[test]
    fn short_or_damaged_data_has_no_outputs() {
        let whole = data();
        for length in 0..whole.len() {
            let outputs = split(&steps(), &whole[..length]);
            assert_eq!(outputs.len(), 4);
            assert_eq!(outputs[3], Output::default(), "{length}");
        }
        let too_long = [bytes(outcome(READ, u32::MAX)), vec![0; 64]].concat();
        assert_eq!(split(&[step(STRING, 16), step(REGISTER, 8)], &too_long), [Output::default(); 2]);
        assert_eq!(split(&[step(99, 16)], &too_long), [Output::default()]);
        assert_eq!(split(&[step(MEMORY, 16)], &too_long)[0].bytes.len(), 16);
    }
}
