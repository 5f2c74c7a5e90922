//! The budget kept: hits are read, functions that break it lose their probes, and get them back.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use aya::Ebpf;
use aya::maps::{HashMap as HashMapMap, MapData};
use lastwords_abi::Watched;
use lastwords_abi::step::{FIRST_GENERATION, MUTED};
use nix::time::{ClockId, clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;

use super::attach::{Group, Placement};
use super::governor::{Budget, Governor, Hot, Verdict};
use super::relink::{Placed, Swap};
use super::{Recorder, Tier};
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
    /// Functions that are muted, and still have probes.
    to_take_out: BTreeSet<usize>,
    /// Functions that are to get probes again.
    to_take_back: BTreeSet<usize>,
    dropped: BTreeMap<usize, Dropped>,
    processors: Processors,
}

impl Recorder {
    /// From now on, [`Self::govern`] keeps the probes within this budget.
    pub fn keep_within(&mut self, budget: Budget, plan: &Plan) {
        let weights = plan.functions.iter().map(|function| function.weight);
        self.oversight = Some(Oversight {
            governor: Governor::new(budget, weights, now_ns()),
            budget,
            generation: FIRST_GENERATION,
            to_take_out: BTreeSet::new(),
            to_take_back: BTreeSet::new(),
            dropped: BTreeMap::new(),
            processors: Processors::default(),
        });
    }

    /// When to call [`Self::govern`] next; `None` where there is no budget.
    #[must_use]
    pub fn next_look(&self) -> Option<Duration> {
        let oversight = self.oversight.as_ref()?;
        let is_quiet = oversight.governor.is_quiet() && !self.relinking.is_under_way();
        Some(if is_quiet { QUIET_LOOK } else { BUSY_LOOK })
    }

    /// Looks at the hits. Returns what was dropped or taken back.
    pub fn govern(&mut self, plan: &Plan) -> Vec<Dropped> {
        let Some(mut oversight) = self.oversight.take() else { return Vec::new() };
        let mut changed = Vec::new();
        for swap in self.relinking.ended() {
            changed.extend(self.install(swap, &mut oversight));
        }
        let now_ns = now_ns();
        let Oversight { governor, processors, .. } = &mut oversight;
        let used = || processors.used(&watched_pids(&self.ebpf), now_ns);
        let Verdict { drop, take_back } = governor.look(now_ns, |function| self.live.hits(function), used);
        self.mute(&drop, &mut oversight);
        changed.extend(drop.iter().map(|hot| hot.function));
        oversight.to_take_back.extend(take_back);
        if !self.relinking.is_under_way() {
            changed.extend(self.relink(&mut oversight, plan));
        }
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

    /// Mutes the functions at once; their probes go with the next change of links.
    fn mute(&self, hot: &[Hot], oversight: &mut Oversight) {
        for hot in hot {
            self.live.set_generation(hot.function, MUTED);
        }
        let now_ns = now_ns();
        for &Hot { function, per_second } in hot {
            let hits = self.live.hits(function);
            let first = Dropped { function, at_ns: now_ns, hits, per_second, times: 0, last_ns: now_ns, back_ns: None };
            let dropped = oversight.dropped.entry(function).or_insert(first);
            *dropped = Dropped { times: dropped.times + 1, last_ns: now_ns, back_ns: None, ..*dropped };
            oversight.to_take_back.remove(&function);
            oversight.to_take_out.insert(function);
        }
    }

    /// Begins to change the links as is wanted by now, in the next generation: functions that hang together with one that goes are placed anew,
    /// and those that come back get a group of their own. Returns those that are back already.
    fn relink(&mut self, oversight: &mut Oversight, plan: &Plan) -> Vec<usize> {
        if oversight.to_take_out.is_empty() && oversight.to_take_back.is_empty() {
            return Vec::new();
        }
        oversight.generation += 1;
        let generation = oversight.generation;
        let out = std::mem::take(&mut oversight.to_take_out);
        let mut swaps = Vec::new();
        let is_concerned = |group: &mut Group| group.functions.iter().any(|function| out.contains(function));
        let concerned = self.links.iter_mut().flat_map(|links| links.groups.extract_if(.., is_concerned));
        for old in concerned {
            let kept: Vec<usize> = old.functions.iter().copied().filter(|function| !out.contains(function)).collect();
            if kept.is_empty() {
                self.closing.begin(old.links);
            } else {
                swaps.push(Swap { old: Some(old), new: Placement::new(plan, kept, generation) });
            }
        }
        let mut by_object: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for function in std::mem::take(&mut oversight.to_take_back) {
            by_object.entry(plan.functions[function].object).or_default().push(function);
        }
        let back = by_object.into_values().map(|functions| Placement::new(plan, functions, generation));
        swaps.extend(back.map(|new| Swap { old: None, new }));
        if self.attached.tier == Tier::Single {
            let swaps = swaps.into_iter().map(|Swap { old, new }| Swap { old, new: new.by_single(&mut self.ebpf) });
            let placed: Vec<Swap<Placed>> = swaps.collect();
            return placed.into_iter().flat_map(|swap| self.install(swap, oversight)).collect();
        }
        if !swaps.is_empty() {
            self.relinking.begin(swaps, &self.programs);
        }
        Vec::new()
    }

    /// Puts new links in charge, and closes what they replace. Returns the functions that are back.
    fn install(&mut self, Swap { old, new }: Swap<Placed>, oversight: &mut Oversight) -> Vec<usize> {
        let links = self.links.get_or_insert_default();
        let group = match new {
            Ok(group) => group,
            Err(error) => {
                tracing::warn!(%error, "functions that cost too much keep their probes");
                links.groups.extend(old);
                return Vec::new();
            }
        };
        let now_ns = now_ns();
        let mut back = Vec::new();
        // Others have become too hot while this was placed.
        let wanted = group.functions.iter().filter(|function| !oversight.to_take_out.contains(function));
        for &function in wanted {
            self.live.set_generation(function, group.generation);
            if old.is_none() {
                oversight.dropped.entry(function).and_modify(|dropped| dropped.back_ns = Some(now_ns));
                back.push(function);
            }
        }
        links.groups.push(group);
        if let Some(old) = old {
            self.closing.begin(old.links);
        }
        back
    }
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
