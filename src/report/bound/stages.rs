//! What is left out of a report that is too large, and in which order.

use serde::Serialize;

use super::bytes_of;
use super::texts::{shorten_names, shorten_texts};
use crate::report::{Output, Report, Thread};

/// Calls of a thread that the page shows even if it did not crash.
const CALLS_OF_OTHERS: usize = 3;
/// Functions without a probe of which the reasons are kept longest.
const SKIPPED: usize = 16;
/// Frames and calls of the thread that crashed which are kept longest.
const NEAREST: usize = 16;
/// Bytes of a stream that are kept longest.
const PENDING_BYTES: usize = 4096;

/// One kind of thing to leave out.
pub struct Stage {
    /// What it is called in the report.
    pub what: &'static str,
    /// Leaves out as much as is in excess, or all that there is; returns how many.
    pub drop: fn(&mut Report, excess: u64) -> u64,
}

/// The least useful first. The thread that crashed comes last.
pub const STAGES: &[Stage] = &[
    Stage { what: "reasons for functions without a probe", drop: |report, excess| skipped(report, SKIPPED, excess) },
    Stage {
        what: "older calls of other threads",
        drop: |report, excess| calls_of_others(report, CALLS_OF_OTHERS, excess),
    },
    Stage {
        what: "variables in frames of other threads",
        drop: |report, excess| variables(each_other(report), 0, excess),
    },
    Stage { what: "outer frames of other threads", drop: frames_of_others },
    Stage { what: "calls of other threads", drop: |report, excess| calls_of_others(report, 0, excess) },
    Stage { what: "other threads", drop: others },
    Stage { what: "output for other files than stdout and stderr", drop: files },
    Stage { what: "modules without a frame", drop: modules },
    Stage { what: "long texts", drop: shorten_texts },
    Stage {
        what: "variables in outer frames",
        drop: |report, excess| variables(each_crashed(report), NEAREST, excess),
    },
    Stage { what: "bytes of unwritten output", drop: |report, excess| pending(report, PENDING_BYTES, excess) },
    Stage { what: "older calls of the thread that crashed", drop: |report, excess| calls(report, NEAREST, excess) },
    Stage { what: "outer frames of the thread that crashed", drop: |report, excess| frames(report, NEAREST, excess) },
    Stage { what: "calls of the thread that crashed", drop: |report, excess| calls(report, 1, excess) },
    Stage { what: "variables in frames", drop: |report, excess| variables(each_crashed(report), 0, excess) },
    Stage { what: "arguments and results", drop: values },
    Stage {
        what: "exceptions",
        drop: |report, excess| drop_last(&mut report.fault.exceptions, 0, &mut Budget(excess)),
    },
    Stage { what: "frames of the thread that crashed", drop: |report, excess| frames(report, 1, excess) },
    Stage { what: "bytes of output", drop: |report, excess| pending(report, 0, excess) },
    Stage { what: "names", drop: |report, _| shorten_names(report) },
    Stage { what: "modules", drop: |report, excess| drop_last(&mut report.modules, 0, &mut Budget(excess)) },
    Stage { what: "functions without a probe", drop: |report, excess| skipped(report, 0, excess) },
];

/// Bytes that are still to be saved.
struct Budget(u64);

impl Budget {
    /// Takes something out of the report; false if enough has been.
    fn take(&mut self, item: &impl Serialize) -> bool {
        let wanted = self.0 > 0;
        self.0 = self.0.saturating_sub(bytes_of(item));
        wanted
    }
}

/// Leaves out items from the end, all but the first `kept` at the most.
fn drop_last<T: Serialize>(items: &mut Vec<T>, kept: usize, budget: &mut Budget) -> u64 {
    let before = items.len();
    let left = items.iter().skip(kept).rev().take_while(|item| budget.take(*item)).count();
    items.truncate(before - left);
    left as u64
}

/// Leaves out items from the beginning, all but the last `kept` at the most.
fn drop_first<T: Serialize>(items: &mut Vec<T>, kept: usize, budget: &mut Budget) -> u64 {
    let most = items.len().saturating_sub(kept);
    let left = items.iter().take(most).take_while(|item| budget.take(*item)).count();
    items.drain(..left);
    left as u64
}

/// The threads that did not crash, the last one first.
fn each_other(report: &mut Report) -> impl Iterator<Item = &mut Thread> {
    report.threads.iter_mut().filter(|thread| !thread.crashed).rev()
}

fn each_crashed(report: &mut Report) -> impl Iterator<Item = &mut Thread> {
    report.threads.iter_mut().filter(|thread| thread.crashed)
}

fn skipped(report: &mut Report, kept: usize, excess: u64) -> u64 {
    drop_last(&mut report.probes.skipped, kept, &mut Budget(excess))
}

fn calls_of_others(report: &mut Report, kept: usize, excess: u64) -> u64 {
    let mut budget = Budget(excess);
    each_other(report).map(|thread| older_calls(thread, kept, &mut budget)).sum()
}

fn calls(report: &mut Report, kept: usize, excess: u64) -> u64 {
    let mut budget = Budget(excess);
    each_crashed(report).map(|thread| older_calls(thread, kept, &mut budget)).sum()
}

/// Leaves out calls of a thread; the frames that they made do not point to them any more.
fn older_calls(thread: &mut Thread, kept: usize, budget: &mut Budget) -> u64 {
    let left = drop_first(&mut thread.calls, kept, budget);
    let first = thread.calls.first().map_or(u64::MAX, |call| call.n);
    for frame in thread.frames.iter_mut().filter(|frame| frame.call.is_some_and(|n| n < first)) {
        frame.call = None;
    }
    left
}

fn frames_of_others(report: &mut Report, excess: u64) -> u64 {
    let mut budget = Budget(excess);
    each_other(report).map(|thread| outer_frames(thread, 1, &mut budget)).sum()
}

fn frames(report: &mut Report, kept: usize, excess: u64) -> u64 {
    let mut budget = Budget(excess);
    each_crashed(report).map(|thread| outer_frames(thread, kept, &mut budget)).sum()
}

fn outer_frames(thread: &mut Thread, kept: usize, budget: &mut Budget) -> u64 {
    let left = drop_last(&mut thread.frames, kept, budget);
    if left > 0 {
        thread.frames_end = Some("the report would be too large with more of them".into());
    }
    left
}

/// Leaves out arguments and local variables of all but the innermost `kept` frames, the outermost ones first.
fn variables<'r>(threads: impl Iterator<Item = &'r mut Thread>, kept: usize, excess: u64) -> u64 {
    let mut budget = Budget(excess);
    let mut left = 0;
    for frame in threads.flat_map(|thread| thread.frames.iter_mut().skip(kept).rev()) {
        let count = frame.args.len() + frame.locals.len();
        if count > 0 && budget.take(&(&frame.args, &frame.locals)) {
            (frame.args, frame.locals) = (Vec::new(), Vec::new());
            left += count as u64;
        }
    }
    left
}

fn others(report: &mut Report, excess: u64) -> u64 {
    // The one that crashed is the first.
    let crashed = report.threads.iter().filter(|thread| thread.crashed).count();
    drop_last(&mut report.threads, crashed, &mut Budget(excess))
}

fn files(report: &mut Report, excess: u64) -> u64 {
    let mut budget = Budget(excess);
    let before = report.output.len();
    report.output.retain(|output| matches!(output.descriptor, 1 | 2) || !budget.take(output));
    (before - report.output.len()) as u64
}

/// Cuts what was pending in each stream down to its first bytes; counts what is left out.
fn pending(report: &mut Report, kept: usize, excess: u64) -> u64 {
    let mut budget = Budget(excess);
    let mut left = 0;
    for output in report.output.iter_mut().rev() {
        let known = output.known();
        if known.len() > kept && budget.take(output) {
            // Not within a character: what was text stays text.
            let kept = output.text.as_ref().map_or(kept, |text| text.floor_char_boundary(kept));
            left += (known.len() - kept) as u64;
            *output = Output::new(output.descriptor, output.bytes, &known[..kept]);
        }
    }
    left
}

fn modules(report: &mut Report, excess: u64) -> u64 {
    let mut budget = Budget(excess);
    let before = report.modules.len();
    let frames = report.threads.iter().flat_map(|thread| &thread.frames);
    let used: Vec<String> = frames.filter_map(|frame| frame.module.clone()).collect();
    report.modules.retain(|module| used.contains(&module.path) || !budget.take(module));
    (before - report.modules.len()) as u64
}

/// Leaves out the values of whole calls, the oldest first.
fn values(report: &mut Report, excess: u64) -> u64 {
    let mut budget = Budget(excess);
    let mut left = 0;
    for call in report.threads.iter_mut().flat_map(|thread| &mut thread.calls) {
        let result = call.returned.as_mut().and_then(|returned| returned.value.as_mut());
        let count = call.args.len() as u64 + u64::from(result.as_ref().is_some_and(|value| !value.value.is_null()));
        if count == 0 || !budget.take(&call.args) {
            continue;
        }
        call.args.clear();
        call.reason = Some("its values are left out: the report would be too large".into());
        if let Some(value) = result {
            value.leave_out();
        }
        left += count;
    }
    left
}
