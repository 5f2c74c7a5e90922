//! What came of a fault that went to a handler.

use super::escape::plain;
use crate::report::{EndedBy, EndedWhen, Fault};

/// What the signal did to the process: the verb of the first line.
#[must_use]
pub fn verb(fault: &Fault) -> &'static str {
    match (&fault.ended_by, fault.survived) {
        (_, true) => "survived",
        (Some(ended_by), false) if !is_same_death(fault, ended_by) => "died of",
        (_, false) => "was killed by",
    }
}

/// Whether the handler stepped aside, and the same fault killed the process: all programs in Rust have such a one.
fn is_same_death(fault: &Fault, ended_by: &EndedBy) -> bool {
    ended_by.when == EndedWhen::AfterHandler && ended_by.signal.as_ref() == Some(&fault.signal)
}

/// The sentence about the handler, if one was called; on a page that is not `verbose`, if that made a difference.
#[must_use]
pub fn sentence(fault: &Fault, verbose: bool) -> Option<String> {
    let handler = fault.handler.as_ref()?;
    if !verbose && fault.ended_by.as_ref().is_some_and(|ended_by| is_same_death(fault, ended_by)) {
        return None;
    }
    let name = handler.function.as_deref().map_or_else(|| handler.address.to_string(), plain);
    let Some(ended_by) = &fault.ended_by else { return Some(format!("Its handler {name} dealt with it.")) };
    let when = match ended_by.when {
        EndedWhen::InHandler => "before that had returned",
        EndedWhen::AfterHandler => "after that had returned to the same instruction",
        EndedWhen::Other => "at a time that a newer lastwords knows of",
    };
    let doubt = if ended_by.inferred { " (as its stack pointer suggests)" } else { "" };
    Some(format!("Its handler {name} was called, and the process {} {when}{doubt}.", end(ended_by)))
}

/// `exited with status 3`, `was killed by SIGSEGV at address 0x20`
fn end(ended_by: &EndedBy) -> String {
    let Some(signal) = &ended_by.signal else {
        return format!("exited with status {}", ended_by.status.unwrap_or_default());
    };
    let at = ended_by.address.map(|address| format!(" at address {address}")).unwrap_or_default();
    format!("was killed by {}{at}", plain(signal))
}
