//! How much a function's probes cost, and how much its calls tell: which functions to do without where all of them cost too much.

use super::capture::Context;
use super::placement::{Placement, exit_cost_ns};
use super::{EntrySite, Exits, TurnSite};
use crate::address::{Avma, Svma};
use crate::arch::Architecture;
use crate::arch::code::{Code, CodeRange};
use crate::arch::cost::Costs;
use crate::arch::instruction::{Instruction, InstructionKind};

/// What the recorder itself takes at an entry or a return, for each 100 ns that the cheapest probe takes: texts and what is behind pointers not
/// counted. The costs of probes are those of an empty program in a loop. `cargo bench --bench recorder` finds a quarter of it; the rest is what a program that
/// does something else between two calls has to fetch into its caches again: with 81, sqlite took 1.12 to 1.15 of its time where probes may take 10 %
/// (`cargo bench --bench governor`). A machine that is slower at the one is slower at the other.
const RECORDER_PERCENT: u64 = 110;
/// A function whose code is no longer than this, and calls nothing, is minor.
const MINOR_CODE_BYTES: usize = 32;
/// Names, or beginnings of them, of functions that mostly hand out a member or compare two.
const MINOR_NAMES: [&str; 2] = ["operator", "get_"];

/// What to judge a function by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weight {
    /// Expected cost of a call, entry and return together, in nanoseconds.
    pub cost_ns: u32,
    /// What of that the trap at the entry takes.
    pub entry_ns: u32,
    /// What of it the return takes.
    pub exit_ns: u32,
    /// What probes take when its loop comes back to its first instruction; 0 if no loop does.
    pub turn_ns: u32,
    /// A tiny leaf function, an accessor or an operator: where two functions cost the same, this one is dropped first.
    pub is_minor: bool,
}

impl Default for Weight {
    fn default() -> Self {
        Self { cost_ns: 2_000, entry_ns: 1_000, exit_ns: 1_000, turn_ns: 0, is_minor: false }
    }
}

/// The weight of the function with this name and code, whose probes stand there.
#[must_use]
pub fn weight(name: &str, code: &Code<'_>, placement: &Placement, context: &Context<'_>) -> Weight {
    let Placement { entry, exits, turns, .. } = placement;
    let entry_ns = context.costs.of(entry.class);
    let of_turn = |turn: &TurnSite| context.costs.of(turn.class).saturating_add(entry_ns);
    Weight {
        cost_ns: cost_ns((entry, exits), context.costs),
        entry_ns,
        exit_ns: return_ns(exits, context.costs),
        turn_ns: turns.iter().map(of_turn).max().unwrap_or(0),
        is_minor: is_minor(name, code, context.arch),
    }
}

/// What a call costs.
fn cost_ns((entry, exits): (&EntrySite, &Exits), costs: &Costs) -> u32 {
    let at_entry = u64::from(costs.of(entry.class)) + recorder_ns(costs);
    u32::try_from(at_entry).unwrap_or(u32::MAX).saturating_add(return_ns(exits, costs))
}

/// What the return of a call costs.
fn return_ns(exits: &Exits, costs: &Costs) -> u32 {
    match exits {
        Exits::Unseen(_) => 0,
        exits => u32::try_from(exit_cost_ns(exits, costs) + recorder_ns(costs)).unwrap_or(u32::MAX),
    }
}

/// What the recorder itself takes at one probe.
fn recorder_ns(costs: &Costs) -> u64 {
    let cheapest = costs.class_ns.iter().copied().min().unwrap_or_default();
    u64::from(cheapest) * RECORDER_PERCENT / 100
}

/// Whether its calls tell little. That it is called in loops is not known beforehand.
fn is_minor(name: &str, code: &Code<'_>, arch: &dyn Architecture) -> bool {
    let name = name.rsplit("::").next().unwrap_or(name);
    MINOR_NAMES.iter().any(|start| name.starts_with(start)) || is_tiny_leaf(code, arch)
}

fn is_tiny_leaf(code: &Code<'_>, arch: &dyn Architecture) -> bool {
    let [range] = code.ranges() else { return false };
    let end = range.address.0.saturating_add(range.bytes.len() as u64);
    if range.bytes.len() > MINOR_CODE_BYTES {
        return false;
    }
    let mut at = range.address;
    while at.0 < end {
        let Some(instruction) = instruction_at(code, at, arch) else { return false };
        if matches!(instruction.kind, InstructionKind::Call(_)) {
            return false;
        }
        at = Svma(at.0.saturating_add(instruction.length.max(1) as u64));
    }
    true
}

fn instruction_at(code: &Code<'_>, address: Svma, arch: &dyn Architecture) -> Option<Instruction> {
    let of_range = |range: &CodeRange<'_>| {
        let distance = usize::try_from(address.0.checked_sub(range.address.0)?).ok()?;
        arch.decode(range.bytes.get(distance..)?, Avma(address.0))
    };
    code.ranges().iter().find_map(of_range)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::FileOffset;
    use crate::arch;
    use crate::arch::cost::{ClassId, SINGLE_STEPPED};
    use crate::plan::ExitSite;

    /// Guards against a budget that is kept on paper only: where the kernel does not emulate, a probe costs fourteen times as much.
    #[test]
    fn the_cost_is_that_of_all_its_probes() {
        let costs = Costs { class_ns: vec![13_000, 1_000], trampoline_ns: 500, is_measured: true };
        let (stepped, emulated) = (SINGLE_STEPPED, ClassId(1));
        let cost = |class, exits: &Exits| {
            let entry = EntrySite { offset: FileOffset(0), address: Svma(0), cfa_offset: 8, class, obstacle: None };
            cost_ns((&entry, exits), &costs)
        };
        let exits = |class| Exits::Instructions(vec![ExitSite { offset: FileOffset(1), tail_jump: false, class }]);

        assert_eq!(cost(emulated, &Exits::Unseen(String::new())), 2_100);
        assert_eq!(cost(emulated, &Exits::Trampoline), 3_700);
        assert_eq!(cost(stepped, &exits(stepped)), 28_200);
        assert_eq!(cost(emulated, &exits(emulated)), 4_200);
    }

    /// Guards against a function that says much and goes first, because it is short or sounds like an accessor.
    #[test]
    fn accessors_operators_and_tiny_leaves_are_minor() {
        let leaf: &[u8] = &[0x8b, 0x07, 0xc3];
        let caller: &[u8] = &[0x50, 0xe8, 0, 0, 0, 0, 0x58, 0xc3];
        let long = [[0x90; 40].as_slice(), &[0xc3]].concat();
        let is_minor = |name: &str, bytes: &[u8]| {
            let range = Svma(0x1000)..Svma(0x1000 + bytes.len() as u64);
            let code = Code::read(&[range], |_| Some((FileOffset(0), bytes))).unwrap();
            super::is_minor(name, &code, arch::host())
        };

        assert!(is_minor("work", leaf));
        assert!(!is_minor("work", caller) && !is_minor("work", &long));
        assert!(is_minor("Shape::operator==", &long) && is_minor("shop::get_price", &long));
        assert!(!is_minor("widget", &long) && !is_minor("operators::run", &long));
    }
}
