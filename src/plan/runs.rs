//! Plans of functions in; their steps as the kernel side has them out: what is the same for several functions is there once.

use std::fmt;

use lastwords_abi::Step;
use lastwords_abi::record::RESULT_BYTES;
use lastwords_abi::step::{RING, WORD};

use super::{ExitPlan, FunctionPlan};

/// The steps of all functions of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StepRuns {
    /// The steps.
    pub steps: Vec<Step>,
    /// For each function, the first of its own.
    pub first: Vec<u32>,
    /// Steps that the functions have, each counted as often as a function has it.
    pub planned: usize,
}

impl StepRuns {
    /// Those of these functions.
    #[must_use]
    pub fn of(functions: &[FunctionPlan]) -> Self {
        Self::share(functions.iter().map(|function| run_of(&function.steps, &function.exit)))
    }

    /// Each run of steps once, and not at all where another one begins with it. The order is that of the runs, whatever order the functions have.
    fn share(runs: impl Iterator<Item = Vec<Step>>) -> Self {
        let mut runs: Vec<(Vec<Step>, usize)> = runs.zip(0..).collect();
        // From the last one down: what others begin with comes right behind them.
        runs.sort_unstable_by(|one, other| other.cmp(one));
        let mut shared = Self { first: vec![0; runs.len()], ..Self::default() };
        let mut first = 0;
        for (run, function) in runs {
            shared.planned += run.len();
            if !shared.steps[first..].starts_with(&run) {
                first = shared.steps.len();
                shared.steps.extend(run);
            }
            // `STEPS` is indexed by 32 bits.
            shared.first[function] = u32::try_from(first).unwrap_or(u32::MAX);
        }
        shared
    }
}

/// `12 in 3 functions, 4 stored`.
impl fmt::Display for StepRuns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { steps, first, planned } = self;
        write!(f, "{planned} in {} functions, {} stored", first.len(), steps.len())
    }
}

/// The steps at the entry of a function, and behind them those at its return.
fn run_of(entry: &[Step], exit: &ExitPlan) -> Vec<Step> {
    let room = exit.room_bytes();
    let at_entry = entry.iter().map(|step| placed(*step, room));
    let exits = exit.kernel_steps().iter();
    let at_exit = exits.map(|step| if step.op == WORD { placed(*step, RESULT_BYTES + room) } else { *step });
    at_entry.chain(at_exit).collect()
}

/// A step whose offsets, if it has any, count from so many bytes further ahead.
fn placed(step: Step, ahead: u32) -> Step {
    if !step.follows() && step.op != WORD {
        return step;
    }
    // Plans keep all of a record within 32 KiB.
    let ahead = u16::try_from(ahead).unwrap_or(u16::MAX);
    let offset = match step.op {
        RING => Step::ring_offset(step.first_at().saturating_add(ahead), step.elements_in_front()),
        _ => step.offset,
    };
    Step { base: step.base.saturating_add(ahead), count: step.count.saturating_add(ahead), offset, ..step }
}

#[cfg(test)]
mod tests {
    use lastwords_abi::step::{FOLLOW, REGISTER, STRING};

    use super::*;

    fn register(word: u8) -> Step {
        Step { op: REGISTER, register: word, size: 8, ..Step::default() }
    }

    fn follow(base: u16, size: u16) -> Step {
        Step { op: FOLLOW, base, size, ..Step::default() }
    }

    /// Guards against a function that runs the steps of another one, and against steps that are stored twice.
    #[test]
    fn each_function_has_its_steps_and_equal_ones_are_there_once() {
        let [a, b] = [register(14), register(13)];
        let mut runs = [
            vec![a, follow(0, 24)],
            vec![b],
            vec![a],
            vec![],
            vec![a, b],
            vec![a, follow(0, 24)],
            vec![a, follow(0, 24), follow(8, 24)],
            vec![a, follow(0, 32)],
        ];
        let shared = StepRuns::share(runs.iter().cloned());

        for (run, first) in runs.iter().zip(&shared.first) {
            assert_eq!(shared.steps[*first as usize..][..run.len()], run[..]);
        }
        assert_eq!(shared.to_string(), "13 in 8 functions, 8 stored");
        runs.reverse();
        let of_others = StepRuns::share(runs.into_iter());
        assert_eq!(of_others.steps, shared.steps, "whatever the order");
        assert!(of_others.first.iter().rev().eq(&shared.first));
    }

    /// Guards against steps that read at the wrong place: a record has room for the return in front of what the entry captures.
    #[test]
    fn offsets_count_from_behind_the_room_for_the_return() {
        let word = |base| Step { op: WORD, base, size: 8, ..Step::default() };
        let string = Step { op: STRING, base: 16, size: 64, ..Step::default() };
        let exit = ExitPlan { steps: vec![register(10), register(12), word(0), string], ..ExitPlan::default() };
        // A pointer; an outcome, a text of 64 bytes and its NUL, rounded up; and what a text may be read too far.
        assert_eq!(exit.room_bytes(), 8 + 80 + 8);

        let run = run_of(&[register(14), follow(0, 24)], &exit);

        // Those of the return count from the result registers, which are right in front of the room.
        let again = Step { count: 112, ..word(112) };
        assert_eq!(run, [register(14), Step { count: 96, ..follow(96, 24) }, again, string]);
        assert_eq!(run_of(&[register(14)], &ExitPlan::default()), [register(14)]);
        let ring = |base, first_at| Step {
            op: RING,
            base,
            count: base,
            offset: Step::ring_offset(first_at, 170),
            ..Step::default()
        };
        assert_eq!(run_of(&[register(14), ring(0, 8)], &exit)[1], ring(96, 104), "an index has a place too");
    }
}
