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
use super::parts::{Part, Parts};
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
    /// It was only its returns that were not watched any more.
    pub only_returns: bool,
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
        match self.back_ns {
            // All of its calls are recorded, without their returns.
            None if self.only_returns => true,
            Some(back_ns) if self.only_returns => entered_ns <= back_ns,
            _ => entered_ns <= self.last_ns.saturating_add(STRAGGLER_NS),
        }
    }
}

/// What is needed to keep a budget.
pub(super) struct Oversight {
    governor: Governor,
    budget: Budget,
    /// What the governor decides about.
    parts: Parts,
    /// Of the probes that were placed last.
    generation: u32,
    /// Parts that are muted, and still have probes.
    to_take_out: Vec<usize>,
    /// Parts that are to get probes again.
    to_take_back: BTreeSet<usize>,
    /// The programs of new links were loaded.
    is_prepared: bool,
    /// By the number of the part.
    dropped: BTreeMap<usize, Dropped>,
    processors: Processors,
}

impl Recorder {
    /// From now on, [`Self::govern`] keeps the probes within this budget.
    pub fn keep_within(&mut self, budget: Budget, plan: &Plan) {
        let parts = Parts::of(plan);
        let weights = (0..parts.count()).map(|number| parts.weight(number, plan));
        self.oversight = Some(Oversight {
            governor: Governor::new(budget, weights, now_ns()),
            budget,
            parts,
            generation: FIRST_GENERATION,
            to_take_out: Vec::new(),
            to_take_back: BTreeSet::new(),
            is_prepared: self.attached.tier == Tier::Single,
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
        for swap in self.relinking.placed() {
            changed.extend(self.install(swap, &mut oversight));
        }
        let now_ns = now_ns();
        let Oversight { governor, processors, parts, .. } = &mut oversight;
        let used = || processors.used(&watched_pids(&self.ebpf), now_ns);
        let Verdict { drop, take_back } = governor.look(now_ns, |number| self.live.used(parts.get(number)), used);
        self.mute(&drop, &mut oversight);
        changed.extend(drop.iter().map(|hot| hot.part));
        take_back.into_iter().for_each(|number| oversight.take_back(number, now_ns));
        if !oversight.is_prepared && oversight.governor.is_strained() {
            oversight.is_prepared = true;
            self.relinking.prepare(&self.programs);
        }
        if !self.relinking.is_under_way() {
            changed.extend(self.relink(&mut oversight, plan));
        }
        let changes = changed.iter().filter_map(|part| oversight.dropped.get(part).copied()).collect();
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

    /// Mutes these parts at once; their probes go with the next change of links.
    fn mute(&self, hot: &[Hot], oversight: &mut Oversight) {
        for hot in hot {
            self.live.set_generation(oversight.parts.get(hot.part), MUTED);
        }
        let now_ns = now_ns();
        for &Hot { part: number, per_second } in hot {
            let part = oversight.parts.get(number);
            let (function, only_returns) = (part.function(), matches!(part, Part::Returns(_)));
            let hits = self.live.hits(function);
            let first = Dropped {
                function,
                only_returns,
                at_ns: now_ns,
                hits,
                per_second,
                times: 0,
                last_ns: now_ns,
                back_ns: None,
            };
            let dropped = oversight.dropped.entry(number).or_insert(first);
            *dropped = Dropped { times: dropped.times + 1, last_ns: now_ns, back_ns: None, ..*dropped };
            // What leaves a function that is not recorded means nothing, and costs most.
            let returns = oversight.parts.returns_of(function).filter(|_| !only_returns);
            for number in std::iter::once(number).chain(returns) {
                oversight.to_take_back.remove(&number);
                oversight.to_take_out.push(number);
            }
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
        let out: HashMap<usize, usize> = out.into_iter().zip(0..).collect();
        let mut swaps = Vec::new();
        let is_concerned = |group: &mut Group| group.parts.iter().any(|part| out.contains_key(part));
        let concerned = self.links.iter_mut().flat_map(|links| links.groups.extract_if(.., is_concerned));
        let mut concerned: Vec<Group> = concerned.collect();
        // Until its group is replaced, a part keeps its traps: the hottest first.
        concerned.sort_by_key(|group| group.parts.iter().filter_map(|part| out.get(part)).min().copied());
        for old in concerned {
            let kept: Vec<usize> = old.parts.iter().copied().filter(|it| !out.contains_key(it)).collect();
            if kept.is_empty() {
                self.closing.begin(old.links);
            } else {
                swaps.push(Swap { old: Some(old), new: Placement::new(plan, &oversight.parts, kept, generation) });
            }
        }
        let mut by_object: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for number in std::mem::take(&mut oversight.to_take_back) {
            let object = plan.functions[oversight.parts.get(number).function()].object;
            by_object.entry(object).or_default().push(number);
        }
        let parts = &oversight.parts;
        let back = by_object.into_values().map(|back| Placement::new(plan, parts, back, generation));
        swaps.extend(back.map(|new| Swap { old: None, new }));
        if self.attached.tier == Tier::Single {
            let swaps = swaps
                .into_iter()
                .map(|Swap { old, new }| Swap { old, new: new.by_single(&mut self.ebpf, &mut self.traced) });
            let placed: Vec<Swap<Placed>> = swaps.collect();
            return placed.into_iter().flat_map(|swap| self.install(swap, oversight)).collect();
        }
        if !swaps.is_empty() {
            self.relinking.begin(swaps, &self.programs);
        }
        Vec::new()
    }

    /// Puts new links in charge, and closes what they replace. Returns the parts that are back.
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
        let wanted = group.parts.iter().filter(|number| !oversight.to_take_out.contains(number));
        // Returns first, which have the highest numbers: a call that is entered in between would seem never to have returned.
        for &number in wanted.rev() {
            self.live.set_generation(oversight.parts.get(number), group.generation);
            if old.is_none() {
                oversight.dropped.entry(number).and_modify(|dropped| dropped.back_ns = Some(now_ns));
                back.push(number);
            }
        }
        links.groups.push(group);
        if let Some(old) = old {
            self.closing.begin(old.links);
        }
        back
    }
}

impl Oversight {
    /// A part is to get its probes again, a function with its returns unless those are too expensive on their own.
    fn take_back(&mut self, number: usize, now_ns: u64) {
        let is_out = |number: usize| self.dropped.get(&number).is_some_and(|dropped| dropped.back_ns.is_none());
        match self.parts.get(number) {
            Part::Function(index) => {
                let returns = self.parts.returns_of(index).filter(|&returns| !is_out(returns));
                self.to_take_back.extend(std::iter::once(number).chain(returns));
            }
            // They come back with their function.
            Part::Returns(index) if is_out(index) => {
                self.dropped.entry(number).and_modify(|dropped| dropped.back_ns = Some(now_ns));
            }
            Part::Returns(_) => {
                self.to_take_back.insert(number);
            }
        }
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
