//! The kernel's stack at the choice of a victim in; whether it was a control group or the machine that had no memory left out.
//!
//! The tracepoint `mark_victim` has no word of it, but it is called by those who decide: `out_of_memory`, on behalf of a control group
//! (mm/memcontrol.c) or of the allocator that found no page in the machine (mm/page_alloc.c).

use aya::maps::{HashMap as HashMapMap, MapData};
use lastwords_abi::layout::OOM_STACK_WORDS;

use super::{Recorder, map_mut};

const SYMBOLS_PATH: &str = "/proc/kallsyms";

/// What had no memory left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutOfMemory {
    /// A control group of the process had reached its limit.
    ControlGroup,
    /// The machine, or that part of it that the process may use.
    Machine,
}

/// What the kernel's stack (return addresses, the innermost first) says of who asked for a victim; `None` where it does not tell, or where the
/// kernel does not say what its addresses mean (`kernel.kptr_restrict`).
#[must_use]
pub fn out_of_memory(stack: &[u64]) -> Option<OutOfMemory> {
    if stack.is_empty() {
        return None;
    }
    let symbols =
        std::fs::read_to_string(SYMBOLS_PATH).inspect_err(|error| tracing::debug!(%error, "no symbols")).ok()?;
    let names = names_of(stack, &symbols);
    asked_by(&names)
}

fn asked_by(names: &[&str]) -> Option<OutOfMemory> {
    let decision = names.iter().position(|name| *name == "out_of_memory")?;
    let who = names.get(decision + 1)?;
    if who.starts_with("mem_cgroup") || who.starts_with("try_charge") {
        Some(OutOfMemory::ControlGroup)
    } else if who.starts_with("__alloc_") {
        Some(OutOfMemory::Machine)
    } else {
        None
    }
}

/// The function around each address: the last symbol of the kernel that is not behind it.
fn names_of<'s>(addresses: &[u64], symbols: &'s str) -> Vec<&'s str> {
    let mut best = vec![(0, ""); addresses.len()];
    for line in symbols.lines() {
        let mut fields = line.split_ascii_whitespace();
        let address = fields.next().and_then(|address| u64::from_str_radix(address, 16).ok());
        let (Some(at), Some("t" | "T"), Some(name)) = (address, fields.next(), fields.next()) else { continue };
        for (address, best) in addresses.iter().zip(&mut best) {
            if at <= *address && at > best.0 {
                *best = (at, name);
            }
        }
    }
    best.into_iter().map(|(_, name)| name).collect()
}

impl Recorder {
    /// Where the kernel was when it chose this process.
    pub(super) fn take_oom_stack(&mut self, pid: u32) -> Option<Vec<u64>> {
        let map = map_mut(&mut self.ebpf, "OOM_STACKS").ok()?;
        let mut map: HashMapMap<&mut MapData, u32, [u64; OOM_STACK_WORDS]> = map.try_into().ok()?;
        let stack = map.get(&pid, 0).ok()?;
        let _ = map.remove(&pid);
        Some(stack.into_iter().take_while(|address| *address != 0).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SYMBOLS: &str = "\
        1000 T out_of_memory\n\
        2000 t mem_cgroup_out_of_memory\n\
        2800 d some_data\n\
        3000 t __alloc_pages_slowpath.constprop.0\n\
        4000 T moom_callback\t[module]\n";

    fn asked(stack: &[u64]) -> Option<OutOfMemory> {
        asked_by(&names_of(stack, SYMBOLS))
    }

    /// Guards against a claim that nothing supports: somebody else may ask for a victim, or the stack be cut.
    #[test]
    fn only_who_asked_for_a_victim_tells_what_was_out_of_memory() {
        assert_eq!(asked(&[0x500, 0x1010, 0x2900, 0x3010]), Some(OutOfMemory::ControlGroup));
        assert_eq!(asked(&[0x1010, 0x3010, 0x2010]), Some(OutOfMemory::Machine));
        assert_eq!(asked(&[0x1010, 0x4010]), None);
        assert_eq!(asked(&[0x3010, 0x1010]), None);
        assert_eq!(asked_by(&names_of(&[0x1010, 0x2010], "0 T out_of_memory\n0 t mem_cgroup_out_of_memory\n")), None);
    }
}
