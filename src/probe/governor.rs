//! Hits in, and what they cost; which functions to take out of the probes, and which to take back, out.
//!
//! Probes may take a share of the time. Their estimated time is charged to an account that grows by that share of the time that passes, up
//! to the share of [`PERIOD_NS`]: so a short burst, or a short program, costs nobody a function. While the account is overdrawn, the most
//! expensive functions are dropped until what is left fits, look by look: those that are left may be called more often then. Nothing here
//! asks the system for anything. What is said of functions goes for each of their [parts](super::parts), by whose numbers they go here.

use crate::plan::weight::Weight;

/// The budget is one of this time: what was not used in it is lost.
const PERIOD_NS: f64 = 1e9;
/// The part of the budget that functions which stay may need at their present rates, since without the probes of others they may be called more
/// often; and those which come back, at the rates that they had.
const HEADROOM: f64 = 0.5;
/// The part of a full account that is left when dropping functions is prepared.
const STRAINED: f64 = 0.75;
/// The part of the time that is the program's own at the least, whatever probes are estimated to have taken.
const LEAST_OWN: f64 = 0.02;
/// Rates over less time mean nothing.
const LEAST_LOOK_NS: f64 = 5e6;
/// How much of the time before a look counts in rates as much as the time after it.
const FADING: f64 = 0.5;
/// How long a function stays out at first. Each time it is dropped again doubles that.
const FIRST_PAUSE_NS: u64 = 1_000_000_000;
/// How long it stays out at the most.
const LONGEST_PAUSE_NS: u64 = 64 * FIRST_PAUSE_NS;
/// How long functions that were taken back are dropped as soon as there is no room for them in the budget, whatever the account holds.
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
    /// What to take out, the most expensive first.
    pub drop: Vec<Hot>,
    /// Numbers of what to take back.
    pub take_back: Vec<usize>,
}

/// What is called too often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hot {
    /// Its number.
    pub part: usize,
    /// Calls a second in the last while.
    pub per_second: u64,
}

/// What a function has taken until now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// Its calls.
    pub hits: u64,
    /// Nanoseconds on top of what every call costs.
    pub extra_ns: u64,
}

/// Watches over the budget.
#[derive(Debug)]
pub struct Governor {
    budget: Budget,
    parts: Vec<Watch>,
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
    used: Used,
    /// Calls in the last while: see [`FADING`].
    recent: f64,
    /// Time of its probes in the last while.
    spent_ns: f64,
    /// When it was dropped: the part of the time that its probes would have taken without those of others.
    expected: f64,
    /// How often it was dropped.
    drops: u32,
    state: State,
}

/// How the program and its probes have shared some time.
#[derive(Clone, Copy, Debug)]
struct Pace {
    /// All of it.
    time_ns: f64,
    /// All probes.
    spent_ns: f64,
    /// The program itself.
    own_ns: f64,
}

impl Pace {
    /// The part of the time that these probes would take alone, if the program gets as far in its own time without the others, and calls the
    /// functions of these as often in it.
    fn share_of(self, probes_ns: f64) -> f64 {
        probes_ns / (self.own_ns + probes_ns)
    }
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
    /// What is dropped first: what costs most. Where two cost about the same (within a factor of two), the one that tells less.
    fn order(&self) -> (i32, bool, u64) {
        let spent = self.spent_ns.max(1.0);
        (spent.log2() as i32, self.weight.is_minor, spent as u64)
    }
}

impl Governor {
    /// For functions with these weights, from now on.
    #[must_use]
    pub fn new(budget: Budget, weights: impl IntoIterator<Item = Weight>, now_ns: u64) -> Self {
        let watch = |weight| Watch {
            weight,
            used: Used::default(),
            recent: 0.0,
            spent_ns: 0.0,
            expected: 0.0,
            drops: 0,
            state: State::In,
        };
        let parts = weights.into_iter().map(watch).collect();
        Self { budget, parts, account_ns: PERIOD_NS * budget.share, looked_ns: now_ns, window_ns: 0.0 }
    }

    /// Whether no function was called in the last while, and as much may be spent as ever.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.account_ns >= self.full_ns() && self.parts.iter().all(|part| part.recent < 1.0)
    }

    /// The budget of a whole period.
    fn full_ns(&self) -> f64 {
        PERIOD_NS * self.budget.share
    }

    /// Whether most of what may be spent at once is spent: functions may have to be dropped soon.
    #[must_use]
    pub fn is_strained(&self) -> bool {
        self.account_ns < self.full_ns() * STRAINED
    }

    /// Looks at what was used. `processors` is asked only where it matters: on how many at once the watched threads have run, 1 at the least.
    pub fn look(&mut self, now_ns: u64, used: impl Fn(usize) -> Used, processors: impl FnOnce() -> f64) -> Verdict {
        let elapsed_ns = now_ns.saturating_sub(self.looked_ns) as f64;
        if elapsed_ns < LEAST_LOOK_NS {
            return Verdict::default();
        }
        self.looked_ns = now_ns;
        self.window_ns = self.window_ns * FADING + elapsed_ns;
        let spent_ns = self.count(used);
        let full_ns = self.full_ns();
        let mut allowed_ns = elapsed_ns * self.budget.share;
        let mut processors_used = 1.0;
        if spent_ns > allowed_ns {
            processors_used = processors().max(1.0);
            allowed_ns *= processors_used;
        }
        self.account_ns = (self.account_ns + allowed_ns - spent_ns).clamp(-full_ns, full_ns);
        let pace = self.pace(self.window_ns * processors_used);
        let drop = if self.account_ns < 0.0 {
            self.most_expensive(self.running(), pace, self.budget.share * HEADROOM)
        } else {
            self.failed_trials(now_ns, pace)
        };
        let drop: Vec<Hot> = drop.into_iter().map(|part| self.put_out(part, pace, now_ns)).collect();
        if !drop.is_empty() {
            self.forget_rates();
        }
        let may_take_back = self.budget.retry && drop.is_empty() && self.account_ns >= full_ns;
        let take_back = if may_take_back { self.due(pace, now_ns) } else { Vec::new() };
        for &part in &take_back {
            self.parts[part].state = State::OnTrial { until_ns: now_ns.saturating_add(TRIAL_NS) };
        }
        Verdict { drop, take_back }
    }

    /// Counts what was called since the last look. Returns the time that took.
    fn count(&mut self, used: impl Fn(usize) -> Used) -> f64 {
        let mut spent_ns = 0.0;
        for (index, watch) in self.parts.iter_mut().enumerate() {
            let used = used(index);
            let calls = used.hits.saturating_sub(watch.used.hits) as f64;
            let extra_ns = used.extra_ns.saturating_sub(watch.used.extra_ns) as f64;
            watch.used = used;
            // Of what was dropped, calls that were on their way cannot be saved any more, nor traps that were not taken away yet.
            let new_ns = calls * f64::from(watch.weight.cost_ns) + extra_ns;
            spent_ns += new_ns;
            if !matches!(watch.state, State::Out { .. }) {
                watch.recent = watch.recent * FADING + calls;
                watch.spent_ns = watch.spent_ns * FADING + new_ns;
            }
        }
        spent_ns
    }

    /// How the program and its probes have shared the last while, in which it had so much time.
    fn pace(&self, time_ns: f64) -> Pace {
        let spent_ns: f64 = self.parts.iter().map(|part| part.spent_ns).sum();
        Pace { time_ns, spent_ns, own_ns: (time_ns - spent_ns).max(time_ns * LEAST_OWN) }
    }

    /// Functions that were called in the last while.
    fn running(&self) -> Vec<usize> {
        (0..self.parts.len()).filter(|&index| self.parts[index].recent > 0.0).collect()
    }

    /// Which of these functions to drop so that what is left of all can be expected to take no more than a share.
    fn most_expensive(&self, mut candidates: Vec<usize>, pace: Pace, share: f64) -> Vec<usize> {
        candidates.sort_by_key(|&index| std::cmp::Reverse(self.parts[index].order()));
        let (mut left_ns, mut count) = (pace.spent_ns, 0);
        while count < candidates.len() && left_ns > pace.time_ns * share {
            left_ns -= self.parts[candidates[count]].spent_ns;
            count += 1;
        }
        candidates.truncate(count);
        candidates
    }

    /// Functions on trial for which there is no room in the budget, the most expensive first.
    fn failed_trials(&mut self, now_ns: u64, pace: Pace) -> Vec<usize> {
        let mut on_trial = Vec::new();
        for (index, watch) in self.parts.iter_mut().enumerate() {
            match watch.state {
                State::OnTrial { until_ns } if now_ns < until_ns => on_trial.push(index),
                State::OnTrial { .. } => watch.state = State::In,
                State::In | State::Out { .. } => {}
            }
        }
        on_trial.retain(|&index| self.parts[index].recent > 0.0);
        self.most_expensive(on_trial, pace, self.budget.share)
    }

    /// Begins the last while anew: what was called in it, was called by a program that had more probes.
    fn forget_rates(&mut self) {
        self.window_ns = 0.0;
        for watch in &mut self.parts {
            (watch.recent, watch.spent_ns) = (0.0, 0.0);
        }
    }

    fn put_out(&mut self, part: usize, pace: Pace, now_ns: u64) -> Hot {
        let watch = &mut self.parts[part];
        let per_second = (watch.recent * 1e9 / self.window_ns.max(1.0)) as u64;
        watch.expected = pace.share_of(watch.spent_ns);
        let pause_ns = FIRST_PAUSE_NS.checked_shl(watch.drops).unwrap_or(LONGEST_PAUSE_NS).min(LONGEST_PAUSE_NS);
        watch.drops = (watch.drops + 1).min(30);
        watch.state = State::Out { until_ns: now_ns.saturating_add(pause_ns) };
        Hot { part, per_second }
    }

    /// Functions that have been out for long enough, those that were dropped least first: as many as can be expected to fit in if they are called
    /// as often as then, or else one, for it may have cooled down.
    fn due(&self, pace: Pace, now_ns: u64) -> Vec<usize> {
        let is_due = |&index: &usize| matches!(self.parts[index].state, State::Out { until_ns } if until_ns <= now_ns);
        let mut due: Vec<usize> = (0..self.parts.len()).filter(is_due).collect();
        due.sort_by_key(|&index| (self.parts[index].drops, index));
        let mut free = self.budget.share * HEADROOM - pace.share_of(pace.spent_ns);
        let fit = due.iter().take(TAKEN_BACK_AT_ONCE).take_while(|&&index| {
            free -= self.parts[index].expected;
            free >= 0.0
        });
        let count = fit.count().max(1);
        due.truncate(count);
        due
    }
}

#[cfg(test)]
mod tests;
