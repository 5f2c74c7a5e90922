//! The budget kept: hits are read, functions that break it lose their probes, and get them back.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use aya::Ebpf;
use aya::maps::{HashMap as HashMapMap, MapData};
use lastwords_abi::Watched;
use lastwords_abi::step::{FIRST_GENERATION, MUTED};
use nix::time::{ClockId, clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;

use super::attach::Group;
use super::governor::{Budget, Governor, Hot, Verdict};
use super::{ProbeError, Recorder, Tier};
use crate::plan::Plan;

/// Between two looks at the hits while watched functions are called, and while none is: a budget that is broken is seen within 50 ms.
const BUSY_LOOK: Duration = Duration::from_millis(10);
const QUIET_LOOK: Duration = Duration::from_millis(40);
/// A call that had begun to be recorded when its function was dropped has ended that by then.
const STRAGGLER_NS: u64 = 100_000_000;

/// A function that broke the budget. All times are of `CLOCK_MONOTONIC`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dropped {
    /// Its index in the plan.
    pub function: usize,
    /// When it was dropped first.
    pub at_ns: u64,
    /// Its calls until then.
    pub hits: u64,
    /// Calls a second then.
    pub per_second: u64,
    /// How often it was dropped.
    pub times: u32,
    /// When it was dropped last.
    pub last_ns: u64,
    /// Since when it is recorded again, if it is.
    pub back_ns: Option<u64>,
}

impl Dropped {
    /// Whether a call that was entered at `entered_ns` and has not returned, as far as is known, may have returned without being seen.
    #[must_use]
    pub fn may_have_missed_return(&self, entered_ns: u64) -> bool {
        entered_ns <= self.last_ns.saturating_add(STRAGGLER_NS)
    }
}

/// What is needed to keep a budget.
pub(super) struct Oversight {
    governor: Governor,
    budget: Budget,
    /// Of the probes that were placed last.
    generation: u32,
    dropped: BTreeMap<usize, Dropped>,
    processors: Processors,
}

impl Recorder {
    /// From now on, [`Self::govern`] keeps the probes within this budget.
    pub fn keep_within(&mut self, budget: Budget, plan: &Plan) {
        let weights = plan.functions.iter().map(|function| function.weight);
        let governor = Governor::new(budget, weights, now_ns());
        let processors = Processors::default();
        let generation = FIRST_GENERATION;
        self.oversight = Some(Oversight { governor, budget, generation, dropped: BTreeMap::new(), processors });
    }

    /// When to call [`Self::govern`] next; `None` where there is no budget.
    #[must_use]
    pub fn next_look(&self) -> Option<Duration> {
        let oversight = self.oversight.as_ref()?;
        Some(if oversight.governor.is_quiet() { QUIET_LOOK } else { BUSY_LOOK })
    }

    /// Looks at the hits. Returns what was dropped or taken back.
    pub fn govern(&mut self, plan: &Plan) -> Vec<Dropped> {
        let Some(mut oversight) = self.oversight.take() else { return Vec::new() };
        let now_ns = now_ns();
        let Oversight { governor, processors, .. } = &mut oversight;
        let used = || processors.used(&watched_pids(&self.ebpf), now_ns);
        let Verdict { drop, take_back } = governor.look(now_ns, |function| self.live.hits(function), used);
        let changed: Vec<usize> = drop.iter().map(|hot| hot.function).chain(take_back.iter().copied()).collect();
        self.take_out(&drop, &mut oversight, plan);
        self.take_back(&take_back, &mut oversight, plan);
        let changes = changed.iter().filter_map(|function| oversight.dropped.get(function).copied()).collect();
        self.oversight = Some(oversight);
        changes
    }

    /// All functions that were dropped so far.
    #[must_use]
    pub fn dropped(&self) -> Vec<Dropped> {
        self.oversight.iter().flat_map(|oversight| oversight.dropped.values().copied()).collect()
    }

    /// What the probes are kept within, if anything.
    #[must_use]
    pub fn budget(&self) -> Option<Budget> {
        self.oversight.as_ref().map(|oversight| oversight.budget)
    }

    /// Mutes the functions at once, and then takes their probes away: those that hang on the same links are placed anew before.
    fn take_out(&mut self, hot: &[Hot], oversight: &mut Oversight, plan: &Plan) {
        for hot in hot {
            self.live.set_generation(hot.function, MUTED);
        }
        let now_ns = now_ns();
        for &Hot { function, per_second } in hot {
            let hits = self.live.hits(function);
            let first = Dropped { function, at_ns: now_ns, hits, per_second, times: 0, last_ns: now_ns, back_ns: None };
            let dropped = oversight.dropped.entry(function).or_insert(first);
            *dropped = Dropped { times: dropped.times + 1, last_ns: now_ns, back_ns: None, ..*dropped };
        }
        let functions: BTreeSet<usize> = hot.iter().map(|hot| hot.function).collect();
        let Some(mut links) = self.links.take() else { return };
        let is_concerned = |group: &mut Group| group.functions.iter().any(|function| functions.contains(function));
        for group in links.groups.extract_if(.., is_concerned).collect::<Vec<_>>() {
            let kept: Vec<usize> =
                group.functions.iter().copied().filter(|function| !functions.contains(function)).collect();
            self.links = Some(links);
            let replaced = kept.is_empty() || told(self.place(kept, oversight, plan));
            links = self.links.take().unwrap_or_default();
            if replaced {
                self.closing.begin(group.links);
            } else {
                links.groups.push(group);
            }
        }
        self.links = Some(links);
    }

    /// Gives functions their probes back, in groups of their own.
    fn take_back(&mut self, functions: &[usize], oversight: &mut Oversight, plan: &Plan) {
        let mut by_object: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for &function in functions {
            by_object.entry(plan.functions[function].object).or_default().push(function);
        }
        for functions in by_object.into_values() {
            if !told(self.place(functions.clone(), oversight, plan)) {
                continue;
            }
            let now_ns = now_ns();
            for function in functions {
                oversight.dropped.entry(function).and_modify(|dropped| dropped.back_ns = Some(now_ns));
            }
        }
    }

    /// Places the probes of these functions in the next generation, and puts that in charge of them.
    fn place(&mut self, functions: Vec<usize>, oversight: &mut Oversight, plan: &Plan) -> Result<(), ProbeError> {
        let mut links = self.links.take().unwrap_or_default();
        oversight.generation += 1;
        let generation = oversight.generation;
        // Returns of calls that are open now are seen by a link for returns, and not by a session, which did not see them enter.
        let tier = if self.attached.tier == Tier::Single { Tier::Single } else { Tier::Multi };
        let added = self.with_attacher(|attacher| attacher.add(&mut links, plan, functions.clone(), generation, tier));
        self.links = Some(links);
        added?;
        for function in functions {
            self.live.set_generation(function, generation);
        }
        Ok(())
    }
}

/// Whether it worked; if not, says so.
fn told(result: Result<(), ProbeError>) -> bool {
    result.inspect_err(|error| tracing::warn!(%error, "functions that cost too much keep their probes")).is_ok()
}

/// How much processor time the watched processes have used.
#[derive(Default)]
struct Processors {
    asked_ns: u64,
    used_ns: HashMap<u32, u64>,
}

impl Processors {
    /// On how many processors these processes have run at once since this was asked last; 1 at the least.
    fn used(&mut self, pids: &[u32], now_ns: u64) -> f64 {
        let used_ns: HashMap<u32, u64> = pids.iter().filter_map(|&pid| Some((pid, processor_time_ns(pid)?))).collect();
        let since = |(pid, used_ns): (&u32, &u64)| used_ns.saturating_sub(*self.used_ns.get(pid).unwrap_or(used_ns));
        let used: u64 = used_ns.iter().map(since).sum();
        let elapsed_ns = now_ns.saturating_sub(self.asked_ns).max(1);
        (self.used_ns, self.asked_ns) = (used_ns, now_ns);
        (used as f64 / elapsed_ns as f64).max(1.0)
    }
}

fn processor_time_ns(pid: u32) -> Option<u64> {
    let clock = clock_getcpuclockid(Pid::from_raw(pid.cast_signed())).ok()?;
    nanoseconds(clock)
}

fn now_ns() -> u64 {
    nanoseconds(ClockId::CLOCK_MONOTONIC).unwrap_or(0)
}

fn nanoseconds(clock: ClockId) -> Option<u64> {
    u64::try_from(Duration::from(clock_gettime(clock).ok()?).as_nanos()).ok()
}

/// The processes that are recorded.
fn watched_pids(ebpf: &Ebpf) -> Vec<u32> {
    let Some(map) = ebpf.map("WATCHED") else { return Vec::new() };
    let Ok(map) = HashMapMap::<&MapData, u32, super::WatchedBytes>::try_from(map) else { return Vec::new() };
    let watched = map.iter().filter_map(|entry| Some(entry.ok()?.1.0));
    watched.filter(|watched: &Watched| watched.executes_target == 1).map(|watched| watched.ns_pid).collect()
}
