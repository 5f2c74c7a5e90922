//! At which instructions the probes of a function stand.
//!
//! Comes in: where its arguments were at the entry, what its code proves, what probes cost here. Goes out: the instruction of the entry
//! block at which the entry is recorded, where the arguments are at that moment, and how the return is seen. An argument that
//! another place could read is never given up for a cheaper one. Nor is the return: where it is expensive, it stands apart, and goes first when the
//! program's budget is broken ([`Returns::Cheap`]).

use super::locate::{Span, Spot};
use super::moves::Moves;
use super::returns::{ReturnPolicy, Returns};
use super::shape::{Meaning, Shape};
use super::{EntrySite, ExitSite, Exits, Obstacle, Skipped, TurnSite};
use crate::address::Svma;
use crate::arch::code::Code;
use crate::arch::cost::{ClassId, Costs};
use crate::arch::{Architecture, Candidate, CodeExits, InspectError, Inspection, Turn};

/// A place is taken in front of a later one unless it costs this much more, in percent: what was measured differs a little each time.
const TOLERANCE_PERCENT: u64 = 25;

/// A return is given up where the entry would be more than this many times as expensive for it. It is the trampoline's and an emulated
/// instruction's cost, with room for what a measurement is off; where a second trap costs little, returns are kept.
const WORTH_OF_RETURN: u64 = 4;

/// Where the probe for the entry of a function may stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum EntryPlace {
    /// On the instruction of the first block at which all can be read, and which costs least
    #[default]
    Best,
    /// On the first instruction
    First,
}

/// The function whose probes are placed.
#[derive(Clone, Copy)]
pub struct Placing<'a> {
    /// The architecture of the code.
    pub arch: &'a dyn Architecture,
    /// Its code.
    pub code: &'a Code<'a>,
    /// What that says.
    pub inspection: &'a Inspection,
    /// CFA minus stack pointer at its entry.
    pub entry_cfa_offset: i64,
    /// What probes cost.
    pub costs: &'a Costs,
    /// Where they may stand.
    pub entry_place: EntryPlace,
    /// Whether its return is asked for.
    pub returns: Returns,
    /// How its return may be seen.
    pub policy: ReturnPolicy,
    /// What the bytes of its arguments are, where that is known.
    pub shapes: &'a [Shape],
    /// What is behind its arguments is read: that must be as the caller left it.
    pub reads_memory: bool,
    /// Only its symbol is known: other code may jump into it.
    pub is_unknown: bool,
}

/// Where its probes stand.
#[derive(Clone, Debug)]
pub struct Placement {
    /// Where the entry is recorded.
    pub entry: EntrySite,
    /// How the return is seen.
    pub exits: Exits,
    /// How it may leave unseen.
    pub unseen_exits: Option<String>,
    /// Where its loop comes back to its first instruction.
    pub turns: Vec<TurnSite>,
    /// Where each argument is at that instruction.
    pub arguments: Vec<Vec<Span>>,
}

/// One way to do it.
struct Choice {
    placement: Placement,
    /// How many arguments can be read, and how many bytes of all.
    readable: (usize, u64),
    sees_return: bool,
    /// Nanoseconds of a call, entry and return.
    cost_ns: u64,
    /// What of that cannot be given up later: probes on the instructions that leave a function can ([`crate::probe`]), the trampoline cannot.
    fixed_ns: u64,
}

fn keep_best<K: Ord>(choices: &mut Vec<Choice>, key: impl Fn(&Choice) -> K) {
    if let Some(best) = choices.iter().map(&key).max() {
        choices.retain(|choice| key(choice) == best);
    }
}

/// Leaves those that cost about as much as the cheapest.
fn keep_cheap(choices: &mut Vec<Choice>, cost_ns: impl Fn(&Choice) -> u64) {
    let least = choices.iter().map(&cost_ns).min().unwrap_or(0);
    choices.retain(|choice| cost_ns(choice) * 100 <= least * (100 + TOLERANCE_PERCENT));
}

impl Placing<'_> {
    /// Places the probes of a function whose arguments were in these places at its entry.
    pub fn place(&self, arguments: &[Vec<Span>], function: &str) -> Result<Placement, Skipped> {
        let Some(turns) = self.turns() else {
            return Err(Skipped { function: function.into(), reason: UNCLEAR_TURNS.into() });
        };
        let mut choices: Vec<Choice> =
            self.candidates().filter_map(|candidate| self.choice(candidate, arguments)).collect();
        let is_cheap = |choice: &&Choice| self.costs.is_cheap(choice.placement.entry.class);
        let readable_cheaply = choices.iter().filter(is_cheap).map(|choice| choice.readable).max();
        keep_best(&mut choices, |choice| choice.readable);
        let least = choices.iter().map(|choice| choice.fixed_ns).min().unwrap_or(0);
        match self.returns {
            Returns::Always => {
                keep_best(&mut choices, |choice| (choice.sees_return, choice.placement.exits == Exits::Trampoline));
            }
            Returns::Cheap => keep_best(&mut choices, |choice| {
                (choice.fixed_ns <= least.saturating_mul(WORTH_OF_RETURN), choice.sees_return)
            }),
            Returns::Never => {}
        }
        keep_cheap(&mut choices, |choice| choice.cost_ns);
        keep_cheap(&mut choices, |choice| choice.fixed_ns);
        let chosen = choices.into_iter().next().ok_or_else(|| Skipped {
            function: function.into(),
            reason: InspectError::NotProbeable(self.code.entry()).to_string(),
        })?;
        let mut placement = Placement { turns, ..chosen.placement };
        placement.entry.obstacle = self.obstacle(placement.entry.class, readable_cheaply >= Some(chosen.readable));
        Ok(placement)
    }

    /// Where its loop comes back to its first instruction, if that can be told from a call.
    fn turns(&self) -> Option<Vec<TurnSite>> {
        let site = |turn: &Turn| {
            let Turn { address, condition, class } = *turn;
            Some(TurnSite { offset: self.code.file_offset_of(address)?, condition, class })
        };
        self.inspection.turns.as_ref()?.iter().map(site).collect()
    }

    /// Whether the instruction at this address jumps back to the first one.
    fn is_turn(&self, address: Svma) -> bool {
        self.inspection.turns.iter().flatten().any(|turn| turn.address == address)
    }

    /// What keeps a function from a cheap entry that has none; whether that `could_read` as much as is read where it stands.
    fn obstacle(&self, class: ClassId, could_read: bool) -> Option<Obstacle> {
        if self.costs.is_cheap(class) {
            return None;
        }
        let is_cheap = |candidate: &Candidate| self.costs.is_cheap(candidate.class);
        Some(match () {
            () if self.entry_place == EntryPlace::First || could_read => Obstacle::Asked,
            () if self.candidates().any(|it| is_cheap(&it)) => Obstacle::Argument,
            () if self.inspection.candidates.iter().any(is_cheap) => Obstacle::Memory,
            () if self.inspection.has_unknown_targets => Obstacle::UnknownTargets,
            () => Obstacle::None,
        })
    }

    /// What each byte of an argument is.
    fn meanings(&self, argument: usize) -> &[Meaning] {
        self.shapes.get(argument).map_or(&[], |shape| &shape.bytes)
    }

    /// The instructions to choose from.
    fn candidates(&self) -> impl Iterator<Item = Candidate> {
        let all = &self.inspection.candidates;
        let deepest = all.iter().map(|candidate| candidate.cfa_offset).max().unwrap_or(0);
        all.iter().copied().filter(move |candidate| {
            let is_entry = candidate.address == self.code.entry();
            let leaves_memory = self.inspection.entry.leaves_memory_until(candidate.address);
            // Code that is known by its symbol only may be jumped into by other code, but not into the middle of its prologue.
            let is_own = !self.is_unknown || candidate.cfa_offset < deepest;
            let is_wanted = self.entry_place == EntryPlace::Best;
            // Which of two probes on one instruction runs first is not defined.
            !self.is_turn(candidate.address)
                && (is_entry || (is_wanted && (leaves_memory || !self.reads_memory) && is_own))
        })
    }

    fn choice(&self, candidate: Candidate, arguments: &[Vec<Span>]) -> Option<Choice> {
        let Candidate { address, class, cfa_offset } = candidate;
        let offset = self.code.file_offset_of(address)?;
        let entry = EntrySite { offset, address, cfa_offset: i32::try_from(cfa_offset).ok()?, class, obstacle: None };
        let moves = Moves {
            arch: self.arch,
            entry: &self.inspection.entry,
            entry_cfa_offset: self.entry_cfa_offset,
            at: candidate,
        };
        let arguments: Vec<Vec<Span>> =
            (0..).zip(arguments).map(|(index, spans)| moves.find_all(spans, self.meanings(index))).collect();
        let is_readable =
            |span: &&Span| matches!(span.spot, Spot::Register { .. } | Spot::Memory { .. } | Spot::Constant(_));
        let whole = arguments.iter().filter(|spans| spans.iter().all(|span| is_readable(&span))).count();
        let bytes = arguments.iter().flatten().filter(is_readable).map(|span| u64::from(span.size)).sum();
        let (exits, unseen_exits) = self.exits(&entry);
        let (entry_ns, exit_ns) = (u64::from(self.costs.of(class)), exit_cost_ns(&exits, self.costs));
        Some(Choice {
            readable: (whole, bytes),
            sees_return: !matches!(exits, Exits::Unseen(_)),
            cost_ns: entry_ns + exit_ns,
            fixed_ns: entry_ns + if exits == Exits::Trampoline { exit_ns } else { 0 },
            placement: Placement { entry, exits, unseen_exits, turns: Vec::new(), arguments },
        })
    }

    /// How the return of a call is seen that was entered there, and how it may leave unseen.
    fn exits(&self, entry: &EntrySite) -> (Exits, Option<String>) {
        // The trampoline takes the place of the word at the stack pointer: that must be the return address.
        // A plain return probe would replace it in each turn of a loop anew, and the kernel keeps 64 of them a thread.
        let has_turns = self.inspection.turns.as_ref().is_none_or(|turns| !turns.is_empty());
        let has_return_address = i64::from(entry.cfa_offset) == self.arch.entry_cfa_offset();
        match (self.policy, &self.inspection.exits) {
            (ReturnPolicy::NotAskedFor, _) => (Exits::Unseen("not asked for".into()), None),
            (_, Ok(found)) if found.certain.is_empty() && found.uncertain.is_none() => {
                (Exits::Unseen("it has no instruction that returns".into()), None)
            }
            (ReturnPolicy::Trampoline, _) if has_return_address && !has_turns => (Exits::Trampoline, None),
            (_, Ok(found)) => at_instructions(self.code, found, entry),
            (_, Err(error)) => (Exits::Unseen(error.to_string()), None),
        }
    }
}

const UNCLEAR_TURNS: &str = "its code may come back to its first instruction in a way that cannot be told from a call";

/// Nanoseconds that the return of a call costs.
#[must_use]
pub fn exit_cost_ns(exits: &Exits, costs: &Costs) -> u64 {
    match exits {
        Exits::Trampoline => costs.trampoline_ns.into(),
        // A call executes one of them, and nobody knows which.
        Exits::Instructions(sites) => {
            let sum: u64 = sites.iter().map(|site| u64::from(costs.of(site.class))).sum();
            sum.checked_div(sites.len() as u64).unwrap_or(0)
        }
        Exits::Unseen(_) => 0,
    }
}

fn at_instructions(code: &Code<'_>, found: &CodeExits, entry: &EntrySite) -> (Exits, Option<String>) {
    let mut unseen = found.uncertain.map(|address: Svma| format!("the jump at {address} may leave it"));
    let mut sites = Vec::new();
    for exit in &found.certain {
        if exit.address == entry.address {
            // Which of two probes on one instruction runs first is not defined: its end could come before its beginning.
            unseen.get_or_insert(format!("it leaves at {address}, where it is entered", address = exit.address));
        } else if let Some(offset) = code.file_offset_of(exit.address) {
            sites.push(ExitSite { offset, tail_jump: exit.tail_jump, class: exit.class });
        }
    }
    match unseen {
        Some(reason) if sites.is_empty() => (Exits::Unseen(reason), None),
        unseen => (Exits::Instructions(sites), unseen),
    }
}
