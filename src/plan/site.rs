//! At which instructions the probes of a function stand.

use super::returns::ReturnPolicy;
use super::{EntrySite, ExitSite, Exits, Skipped};
use crate::address::Svma;
use crate::arch::code::Code;
use crate::arch::{Architecture, CodeExits, Inspection};

/// Where to stand at entry: on the first instruction, or behind a marker there that does nothing. (The kernel executes `endbr64`
/// out of line, which costs 15 times as much as the `push` behind it, which it emulates.)
pub fn entry_site(
    code: &Code<'_>,
    inspection: &Inspection,
    cfa_offset: i64,
    function: &str,
) -> Result<EntrySite, Skipped> {
    let address = Svma(code.entry().0.wrapping_add(inspection.entry.marker_bytes));
    let offset = code.file_offset_of(address);
    match (offset, i32::try_from(cfa_offset)) {
        (Some(offset), Ok(cfa_offset)) => Ok(EntrySite { offset, address, cfa_offset }),
        _ => Err(Skipped { function: function.into(), reason: format!("it has no code behind {}", code.entry()) }),
    }
}

/// How the return of a function is seen, and how it may leave unseen.
#[must_use]
pub fn exits(
    arch: &dyn Architecture,
    code: &Code<'_>,
    inspection: &Inspection,
    entry: &EntrySite,
    policy: ReturnPolicy,
) -> (Exits, Option<String>) {
    // The trampoline takes the place of the word at the stack pointer: that must be the return address.
    let has_return_address = i64::from(entry.cfa_offset) == arch.entry_cfa_offset();
    match (policy, &inspection.exits) {
        (ReturnPolicy::NotAskedFor, _) => (Exits::Unseen("not asked for".into()), None),
        (_, Ok(found)) if found.certain.is_empty() && found.uncertain.is_none() => {
            (Exits::Unseen("it has no instruction that returns".into()), None)
        }
        (ReturnPolicy::Trampoline, _) if has_return_address => (Exits::Trampoline, None),
        (_, Ok(found)) => at_instructions(code, found, entry),
        (_, Err(error)) => (Exits::Unseen(error.to_string()), None),
    }
}

fn at_instructions(code: &Code<'_>, found: &CodeExits, entry: &EntrySite) -> (Exits, Option<String>) {
    let mut unseen = found.uncertain.map(|address| format!("the jump at {address} may leave it"));
    let mut sites = Vec::new();
    for exit in &found.certain {
        if exit.address == entry.address {
            // Which of two probes on one instruction runs first is not defined: its end could come before its beginning.
            unseen.get_or_insert(format!("it leaves at {address}, where it is entered", address = exit.address));
        } else if let Some(offset) = code.file_offset_of(exit.address) {
            sites.push(ExitSite { offset, tail_jump: exit.tail_jump });
        }
    }
    match unseen {
        Some(reason) if sites.is_empty() => (Exits::Unseen(reason), None),
        unseen => (Exits::Instructions(sites), unseen),
    }
}
