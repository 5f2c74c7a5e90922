//! A fault, the dying thread's registers, code and memory in; what happened, as a person would say it, out.
//!
//! ```text
//! the signal                       told         one clause, from the signal alone
//! the instruction, its operands    scene        what was accessed, through which register
//!   what these are in the source   name         `p->name`
//! one file a kind of fault         pointer, stack, jump, arithmetic, trap, bus, system_call, abort
//! where the bad value came from    history      from recorded calls
//! ```
//!
//! What the process's own registers, memory and code say is *known*. What is only the likely reading of them is *inferred*, and marked so.

mod abort;
mod arithmetic;
mod bus;
mod exception;
mod history;
mod jump;
mod mapping;
mod name;
mod panic;
mod place;
mod pointer;
mod scene;
mod stack;
mod system_call;
mod told;
mod trap;

#[cfg(test)]
mod tests;

use nix::sys::signal::Signal;

use self::scene::Scene;
use super::code::Code;
use super::{RawCall, Snapshot};
use crate::plan::Plan;
use crate::report::{self, Address, Basis, Cause, Exception, Finding, Thread};

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Explanation {
    cause: Cause,
    /// A clause that goes with "was killed by SIGSEGV:".
    sentence: String,
    findings: Vec<Finding>,
}

impl Explanation {
    fn new(cause: Cause, sentence: impl Into<String>) -> Self {
        Self { cause, sentence: sentence.into(), findings: Vec::new() }
    }

    fn known(mut self, text: impl Into<String>) -> Self {
        self.findings.push(known(text));
        self
    }

    fn inferred(mut self, text: impl Into<String>) -> Self {
        self.findings.push(inferred(text));
        self
    }

    fn with(mut self, findings: impl IntoIterator<Item = Finding>) -> Self {
        self.findings.extend(findings);
        self
    }
}

fn known(text: impl Into<String>) -> Finding {
    Finding { text: text.into(), basis: Basis::Known }
}

fn inferred(text: impl Into<String>) -> Finding {
    Finding { text: text.into(), basis: Basis::Inferred }
}

/// What a fault is explained with, besides the snapshot.
#[derive(Clone, Copy)]
pub struct Evidence<'e, 'm> {
    /// The code of the process; `None` where it is not known what was mapped.
    pub code: Option<&'e Code<'m>>,
    /// The thread that the signal struck, as the report has it.
    pub thread: Option<&'e Thread>,
    /// What was watched.
    pub plan: &'e Plan,
    /// Process id as lastwords saw it.
    pub pid: u32,
    /// The instruction that was to run next.
    pub pc: Option<Address>,
    /// The C++ exceptions that the thread was handling, the innermost first.
    pub exceptions: &'e [Exception],
}

/// The report's part about a signal of which nothing else is known, for the process with this id, that began at `started_ns`.
#[must_use]
pub fn by_signal(fault: &lastwords_abi::Fault, pid: u32, started_ns: u64) -> report::Fault {
    told::fault(fault, pid, started_ns, None)
}

/// The report's part about the signal.
#[must_use]
pub fn fault(snapshot: &Snapshot, evidence: Evidence<'_, '_>) -> report::Fault {
    let started_ns = snapshot.event.watched.started_ns;
    let fault = told::fault(&snapshot.fault, evidence.pid, started_ns, evidence.pc);
    let fault = report::Fault { exceptions: evidence.exceptions.to_vec(), ..fault };
    let mapping = mapping::describe(&snapshot.fault);
    let Some(scene) = Scene::new(snapshot, evidence) else { return report::Fault { mapping, ..fault } };
    let instruction = scene.instruction_of_report();
    let access = fault.access.or_else(|| scene.access());
    match explain(&scene) {
        Some(Explanation { cause, sentence, findings }) => report::Fault {
            cause: Some(cause),
            explanation: sentence,
            findings: findings.into_iter().chain(scene.seen_by_somebody()).collect(),
            access,
            instruction,
            mapping,
            ..fault
        },
        None => report::Fault { access, instruction, mapping, ..fault },
    }
}

/// What happened, where more is known than the signal tells.
fn explain(scene: &Scene<'_, '_>) -> Option<Explanation> {
    let sender = told::sender(scene.fault);
    if sender.as_ref().is_some_and(|sender| sender.pid != scene.pid && sender.pid != scene.fault.pid) {
        return Some(Explanation::new(Cause::Sent, told::explanation(scene.fault, scene.pid)));
    }
    match Signal::try_from(scene.fault.signal).ok()? {
        Signal::SIGABRT => abort::explain(scene),
        Signal::SIGSYS => system_call::explain(scene),
        _ if sender.is_some() => None,
        Signal::SIGSEGV => stack::explain(scene)
            .or_else(|| jump::explain(scene))
            .or_else(|| trap::explain(scene))
            .or_else(|| pointer::explain(scene)),
        Signal::SIGBUS => bus::explain(scene),
        Signal::SIGFPE => arithmetic::explain(scene),
        Signal::SIGILL | Signal::SIGTRAP => panic::explain(scene).or_else(|| trap::explain(scene)),
        _ => None,
    }
}

/// The calls of the thread that crashed, oldest first.
fn calls_of(snapshot: &Snapshot) -> &[RawCall] {
    let thread = snapshot.threads.iter().find(|thread| thread.header.tid == snapshot.fault.tid);
    thread.map_or(&[], |thread| &thread.calls)
}
