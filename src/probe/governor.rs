//! Hits in, and what each costs; which functions to take out of the probes, and which to take back, out.
//!
//! Probes may take a share of the time. Their estimated time is charged to an account that grows by that share of the time that passes, up
//! to the share of [`PERIOD_NS`]: so a short burst, or a short program, costs nobody a function. Once the account is overdrawn, the most
//! expensive functions are dropped until what is left fits. Nothing here asks the system for anything.

use crate::plan::weight::Weight;

/// The budget is one of this time: what was not used in it is lost.
const PERIOD_NS: f64 = 1e9;
/// The part of a full account that one holds again after functions were dropped: others may be hot now, and are found out faster.
const AFTER_DROP: f64 = 0.1;
/// The part of the budget that functions that stay may need at their present rates: without the probes of others they are called more often.
const HEADROOM: f64 = 0.5;
/// How much of the time before a look counts in rates as much as the time after it.
const FADING: f64 = 0.5;
/// How long a function stays out at first. Each time it is dropped again doubles that.
const FIRST_PAUSE_NS: u64 = 1_000_000_000;
/// How long it stays out at the most.
const LONGEST_PAUSE_NS: u64 = 64 * FIRST_PAUSE_NS;
/// How long a function that was taken back is dropped as soon as it takes the whole budget, whatever the account holds.
const TRIAL_NS: u64 = 250_000_000;
/// Functions that are taken back at once.
const TAKEN_BACK_AT_ONCE: usize = 64;

/// How much of the time probes may take.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Budget {
    /// Part of the time of the watched threads: more than 0, less than 1.
    pub share: f64,
    /// Whether functions that were dropped are taken back later.
    pub retry: bool,
}

impl Default for Budget {
    fn default() -> Self {
        Self { share: 0.1, retry: true }
    }
}

/// What is to be done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Functions to take out, the most expensive first.
    pub drop: Vec<Hot>,
    /// Functions to take back.
    pub take_back: Vec<usize>,
}

/// A function that is called too often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hot {
    /// Its index.
    pub function: usize,
    /// Calls a second in the last while.
    pub per_second: u64,
}

/// Watches over the budget.
#[derive(Debug)]
pub struct Governor {
    budget: Budget,
    functions: Vec<Watch>,
    account_ns: f64,
    /// When hits were looked at last.
    looked_ns: u64,
    /// The time that rates are over.
    window_ns: f64,
}

/// What is known of one function.
#[derive(Clone, Debug)]
struct Watch {
    weight: Weight,
    /// When it was looked at last.
    hits: u64,
    /// In the last while: see [`FADING`].
    recent: f64,
    /// How often it was dropped.
    drops: u32,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It is probed.
    In,
    /// It is probed again, and on trial until then.
    OnTrial { until_ns: u64 },
    /// It is not probed, and not to be before then.
    Out { until_ns: u64 },
}

impl Watch {
    /// Time of its probes in the last while.
    fn spent_ns(&self) -> f64 {
        self.recent * f64::from(self.weight.cost_ns)
    }

    /// What is dropped first: what costs most. Where two cost about the same (within a factor of two), the one that tells less.
    fn order(&self) -> (i32, bool, u64) {
        let spent = self.spent_ns().max(1.0);
        (spent.log2() as i32, self.weight.is_minor, spent as u64)
    }
}

impl Governor {
    /// For functions with these weights, from now on.
    #[must_use]
    pub fn new(budget: Budget, weights: impl IntoIterator<Item = Weight>, now_ns: u64) -> Self {
        let watch = |weight| Watch { weight, hits: 0, recent: 0.0, drops: 0, state: State::In };
        let functions = weights.into_iter().map(watch).collect();
        Self { budget, functions, account_ns: PERIOD_NS * budget.share, looked_ns: now_ns, window_ns: 0.0 }
    }

    /// Whether no function was called in the last while.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.functions.iter().all(|function| function.recent < 1.0)
    }

    /// Looks at the hits. `processors` is asked only where it matters: on how many at once the watched threads have run, 1 at the least.
    pub fn look(&mut self, now_ns: u64, hits: impl Fn(usize) -> u64, processors: impl FnOnce() -> f64) -> Verdict {
        let elapsed_ns = now_ns.saturating_sub(self.looked_ns) as f64;
        self.looked_ns = now_ns;
        self.window_ns = self.window_ns * FADING + elapsed_ns;
        let spent_ns = self.count(hits);
        let full_ns = PERIOD_NS * self.budget.share;
        let mut allowed_ns = elapsed_ns * self.budget.share;
        let mut processors_used = 1.0;
        if spent_ns > allowed_ns {
            processors_used = processors().max(1.0);
            allowed_ns *= processors_used;
        }
        self.account_ns = (self.account_ns + allowed_ns - spent_ns).min(full_ns);
        let drop = if self.account_ns < 0.0 {
            self.account_ns = full_ns * AFTER_DROP;
            self.most_expensive(self.window_ns * processors_used)
        } else {
            self.failed_trials(now_ns, self.window_ns * processors_used)
        };
        let drop: Vec<Hot> = drop.into_iter().map(|function| self.put_out(function, now_ns)).collect();
        let may_take_back = self.budget.retry && drop.is_empty() && self.account_ns >= full_ns;
        let take_back = if may_take_back { self.due(now_ns) } else { Vec::new() };
        for &function in &take_back {
            self.functions[function].state = State::OnTrial { until_ns: now_ns.saturating_add(TRIAL_NS) };
        }
        Verdict { drop, take_back }
    }

    /// Counts what was called since the last look. Returns the time that took.
    fn count(&mut self, hits: impl Fn(usize) -> u64) -> f64 {
        let mut spent_ns = 0.0;
        for (index, watch) in self.functions.iter_mut().enumerate() {
            let hits = hits(index);
            let new = hits.saturating_sub(watch.hits) as f64;
            watch.hits = hits;
            // What was still on its way when a function was dropped cannot be saved any more.
            if !matches!(watch.state, State::Out { .. }) {
                watch.recent = watch.recent * FADING + new;
                spent_ns += new * f64::from(watch.weight.cost_ns);
            }
        }
        spent_ns
    }

    /// Which functions to drop so that what is left can be expected to fit in.
    fn most_expensive(&self, time_ns: f64) -> Vec<usize> {
        let mut running: Vec<usize> =
            (0..self.functions.len()).filter(|&index| self.functions[index].recent > 0.0).collect();
        running.sort_by_key(|&index| std::cmp::Reverse(self.functions[index].order()));
        let spent_ns = |index: usize| self.functions[index].spent_ns();
        let mut left_ns: f64 = running.iter().map(|&index| spent_ns(index)).sum();
        let mut count = 0;
        while count < running.len() && (count == 0 || left_ns > time_ns * self.budget.share * HEADROOM) {
            left_ns -= spent_ns(running[count]);
            count += 1;
        }
        running.truncate(count);
        running
    }

    /// Functions on trial that take the whole budget alone.
    fn failed_trials(&mut self, now_ns: u64, time_ns: f64) -> Vec<usize> {
        let mut failed = Vec::new();
        for (index, watch) in self.functions.iter_mut().enumerate() {
            let State::OnTrial { until_ns } = watch.state else { continue };
            if watch.spent_ns() > time_ns * self.budget.share {
                failed.push(index);
            } else if now_ns >= until_ns {
                watch.state = State::In;
            }
        }
        failed
    }

    fn put_out(&mut self, function: usize, now_ns: u64) -> Hot {
        let watch = &mut self.functions[function];
        let per_second = (watch.recent * 1e9 / self.window_ns.max(1.0)) as u64;
        watch.recent = 0.0;
        let pause_ns = FIRST_PAUSE_NS.checked_shl(watch.drops).unwrap_or(LONGEST_PAUSE_NS).min(LONGEST_PAUSE_NS);
        watch.drops = (watch.drops + 1).min(30);
        watch.state = State::Out { until_ns: now_ns.saturating_add(pause_ns) };
        Hot { function, per_second }
    }

    /// Functions that have been out for long enough, those that were dropped least first.
    fn due(&self, now_ns: u64) -> Vec<usize> {
        let is_due =
            |&index: &usize| matches!(self.functions[index].state, State::Out { until_ns } if until_ns <= now_ns);
        let mut due: Vec<usize> = (0..self.functions.len()).filter(is_due).collect();
        due.sort_by_key(|&index| (self.functions[index].drops, index));
        due.truncate(TAKEN_BACK_AT_ONCE);
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    /// Functions that cost 1 µs a call, and a clock.
    struct Program {
        governor: Governor,
        hits: Vec<u64>,
        now_ns: u64,
        processors: f64,
    }

    impl Program {
        fn new(functions: usize, retry: bool) -> Self {
            let weight = Weight { cost_ns: 1_000, is_minor: false };
            Self::with_weights(&vec![weight; functions], retry)
        }

        fn with_weights(weights: &[Weight], retry: bool) -> Self {
            let governor = Governor::new(Budget { share: 0.1, retry }, weights.iter().copied(), 0);
            Self { governor, hits: vec![0; weights.len()], now_ns: 0, processors: 1.0 }
        }

        /// 10 ms in which each function is called so often.
        fn pass(&mut self, calls: &[u64]) -> Verdict {
            self.now_ns += 10 * MS;
            for (hits, calls) in self.hits.iter_mut().zip(calls) {
                *hits += calls;
            }
            self.governor.look(self.now_ns, |function| self.hits[function], || self.processors)
        }

        /// Passes until something is dropped: when, and what.
        fn pass_until_dropped(&mut self, calls: &[u64], limit_ms: u64) -> Option<(u64, Vec<usize>)> {
            while self.now_ns < limit_ms * MS {
                let dropped: Vec<usize> = self.pass(calls).drop.iter().map(|hot| hot.function).collect();
                if !dropped.is_empty() {
                    return Some((self.now_ns / MS, dropped));
                }
            }
            None
        }
    }

    /// Guards against a budget that lets somebody through, and against one that a burst breaks.
    #[test]
    fn what_takes_more_than_the_budget_of_a_second_is_dropped() {
        // 80 % of the time: the 100 ms of a second last for 1/0.7 of that.
        assert_eq!(Program::new(2, true).pass_until_dropped(&[8_000, 10], 10_000), Some((150, vec![0])));
        // 11 %, 10 % and 9 %.
        assert_eq!(Program::new(1, true).pass_until_dropped(&[1_100], 60_000), Some((10_010, vec![0])));
        assert_eq!(Program::new(1, true).pass_until_dropped(&[1_000], 60_000), None);
        assert_eq!(Program::new(1, true).pass_until_dropped(&[900], 60_000), None);
        // All of the time for 100 ms, and then nothing for a second.
        let mut program = Program::new(1, true);
        for _ in 0..5 {
            assert_eq!(program.pass_until_dropped(&[10_000], program.now_ns / MS + 100), None);
            assert_eq!(program.pass_until_dropped(&[0], program.now_ns / MS + 1_000), None);
        }
    }

    /// Guards against a budget of one processor for a program that uses many.
    #[test]
    fn the_budget_is_one_of_all_processors_that_are_used() {
        let mut program = Program { processors: 4.0, ..Program::new(1, true) };
        assert_eq!(program.pass_until_dropped(&[3_900], 60_000), None);
        let mut program = Program { processors: 4.0, ..Program::new(1, true) };
        assert!(program.pass_until_dropped(&[4_100], 60_000).is_some());
    }

    /// Guards against dropping what costs little, and against stopping before the rest fits into half of the budget.
    #[test]
    fn the_most_expensive_ones_go_first() {
        let dropped = Program::new(4, true).pass_until_dropped(&[100, 4_000, 300, 2_000], 10_000);
        assert_eq!(dropped.map(|(_, functions)| functions), Some(vec![1, 3]));
    }

    /// Guards against keeping an accessor in the place of a function that tells something.
    #[test]
    fn of_two_that_cost_about_the_same_the_minor_one_goes() {
        let major = Weight { cost_ns: 1_000, is_minor: false };
        let minor = Weight { is_minor: true, ..major };
        let first = |weights: [Weight; 2], calls: [u64; 2]| {
            Program::with_weights(&weights, true).pass_until_dropped(&calls, 60_000).map(|(_, functions)| functions[0])
        };
        assert_eq!(first([major, minor], [1_000, 900]), Some(1));
        assert_eq!(first([major, minor], [4_000, 900]), Some(0));
        assert_eq!(first([minor, Weight { cost_ns: 14_000, ..major }], [2_000, 900]), Some(1));
    }

    /// Guards against a function that is lost for good, and against one that is let in again and again at the price of the budget.
    #[test]
    fn a_function_comes_back_on_trial_after_longer_and_longer_pauses() {
        let mut program = Program::new(1, true);
        let mut back = Vec::new();
        let mut is_in = true;
        while program.now_ns < 20_000 * MS {
            // As hot as ever whenever it is in.
            let verdict = program.pass(&[if is_in { 9_000 } else { 0 }]);
            is_in = (is_in || !verdict.take_back.is_empty()) && verdict.drop.is_empty();
            back.extend(verdict.take_back.iter().map(|_| program.now_ns / 1_000 / MS));
        }
        assert_eq!(back, [1, 3, 7, 15]);

        let mut program = Program::new(1, false);
        program.pass_until_dropped(&[9_000], 1_000).expect("it is hot");
        assert!((0..10_000).all(|_| program.pass(&[0]) == Verdict::default()));
    }

    /// Guards against a rate that is that of another time.
    #[test]
    fn the_rate_is_that_of_the_last_while() {
        let mut program = Program::new(1, true);
        program.pass_until_dropped(&[100], 5_000);
        let mut rate = None;
        while rate.is_none() {
            rate = program.pass(&[5_000]).drop.first().map(|hot| hot.per_second);
        }
        assert!((490_000..=500_000).contains(&rate.expect("a rate")), "{rate:?}");
    }
}
