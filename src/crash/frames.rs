//! A walked stack in; frames with functions, lines and modules, as a report has them, out.

use super::RawCall;
use super::code::{Code, Function};
use super::fold::{Kept, fold};
use super::unwind::{Backtrace, Beyond, End, FoundBy, RawFrame};
use crate::address::{Avma, Svma};
use crate::plan::select::origin;
use crate::plan::{FunctionPlan, Plan};
use crate::report::{self, Address, FrameKind};
use lastwords_abi::record::{LEFT_BY_TAIL_CALL, RETURNED};

/// Frames at the top in which a runtime or a C library gives up: what comes after is the program itself.
pub const TOP_FRAMES: usize = 24;

/// Frames of a thread that a report keeps, about.
pub const FRAMES_KEPT: usize = 512;

/// A function in a frame: what was inlined has the frame of the function that has its code.
#[derive(Clone, Debug)]
pub struct Placed<'b> {
    /// The frame.
    pub raw: &'b RawFrame,
    /// The function; without a name where nothing is known of the code.
    pub function: Function,
    /// Number of the frame, those left out counted; `None` behind a part of the stack that was not captured.
    pub n: Option<u64>,
    /// This frame and those behind it follow each other more than once.
    pub repeats: Option<report::Repeats>,
    /// What is left out right before.
    pub gap: Option<report::Gap>,
}

/// The frames to keep, the innermost first, with what is executed in them.
#[must_use]
pub fn place<'b>(backtrace: &'b Backtrace, code: &Code<'_>) -> Vec<Placed<'b>> {
    let mut placed = place_stretches(&backtrace.frames, code, true);
    if let Some(beyond) = &backtrace.beyond {
        let mut outermost = place_stretches(&beyond.frames, code, false);
        if let Some(first) = outermost.first_mut() {
            first.gap = Some(gap_before(beyond, &backtrace.frames));
        }
        placed.append(&mut outermost);
    }
    placed
}

/// The frame of the first function whose name is such, among the innermost ones, and which it is.
pub fn innermost_named(frames: &[report::Frame], is_it: impl Fn(&str) -> bool) -> Option<(usize, &report::Frame)> {
    let mut frames = frames.iter().take(TOP_FRAMES).enumerate();
    frames.find(|(_, frame)| frame.function.as_deref().is_some_and(&is_it))
}

/// Why there are no more frames; `None` if the outermost one is there.
#[must_use]
pub fn why_ended(backtrace: &Backtrace) -> Option<String> {
    let end = backtrace.beyond.as_ref().map_or(&backtrace.end, |beyond| &beyond.end);
    (*end != End::Outermost).then(|| end.to_string())
}

fn place_stretches<'b>(frames: &'b [RawFrame], code: &Code<'_>, is_counted: bool) -> Vec<Placed<'b>> {
    let addresses: Vec<Avma> = frames.iter().map(|frame| frame.pc).collect();
    let mut placed = Vec::new();
    let (mut next, mut n) = (0, 0);
    for Kept { frames: kept, times } in fold(&addresses, FRAMES_KEPT) {
        let left_out = count(&frames[next..kept.start], code);
        n += left_out;
        let start = placed.len();
        for raw in &frames[kept.clone()] {
            for function in functions_of(raw, code) {
                placed.push(Placed { raw, function, n: is_counted.then_some(n), repeats: None, gap: None });
                n += 1;
            }
        }
        let round = (placed.len() - start) as u64;
        if let Some(first) = placed.get_mut(start) {
            first.repeats = (times > 1).then_some(report::Repeats { frames: round, times: times as u64 });
            first.gap = (left_out > 0).then(|| report::Gap {
                frames: Some(left_out),
                bytes: None,
                reason: format!("a report keeps about {FRAMES_KEPT} frames of a thread"),
            });
        }
        n += round * (times as u64 - 1);
        next = kept.start + kept.len() * times;
    }
    placed
}

/// How many functions were being executed in these frames.
fn count(frames: &[RawFrame], code: &Code<'_>) -> u64 {
    frames.iter().map(|raw| code.functions_at(raw.lookup_address()).len().max(1) as u64).sum()
}

fn functions_of(raw: &RawFrame, code: &Code<'_>) -> Vec<Function> {
    if raw.is_signal_frame {
        return vec![Function::default()];
    }
    let functions = code.functions_at(raw.lookup_address());
    if functions.is_empty() { vec![Function::default()] } else { functions.to_vec() }
}

/// What was not captured.
fn gap_before(beyond: &Beyond, before: &[RawFrame]) -> report::Gap {
    let frames = frames_missing(beyond, before);
    let reason = match frames {
        Some(_) => {
            "the stack is larger than what was captured; there are so many frames if the recursion goes on as it began"
        }
        None => "the stack is larger than what was captured",
    };
    report::Gap { frames, bytes: Some(beyond.missing_bytes), reason: reason.into() }
}

/// How many frames were not captured, if it is one recursion that goes on behind.
fn frames_missing(beyond: &Beyond, before: &[RawFrame]) -> Option<u64> {
    let addresses: Vec<Avma> = before.iter().map(|frame| frame.pc).collect();
    let recursion = fold(&addresses, usize::MAX).into_iter().rev().find(|kept| kept.times > 1)?;
    let round = &before[recursion.frames.clone()];
    round.iter().find(|frame| frame.pc == beyond.frames[0].pc)?;
    let next = before.get(recursion.frames.end)?;
    let round_bytes = next.cfa?.0.checked_sub(round[0].cfa?.0)?;
    beyond.missing_bytes.checked_mul(round.len() as u64)?.checked_div(round_bytes)
}

/// The number of the recorded call that made the frame with this CFA: the last one of the same function. `None` if that one is known to have
/// been left, or if the frame has not come to the instruction that is probed, and is at `pc`: then it is of a later call, which was not
/// recorded.
#[must_use]
pub fn recorded_call(cfa: Avma, pc: Option<Svma>, function: &Function, calls: &[RawCall], plan: &Plan) -> Option<u64> {
    let is_before_probe = |planned: &FunctionPlan| pc.is_some_and(|pc| planned.is_before_probe(pc));
    let is_same = |planned: &FunctionPlan| match function.entry {
        Some(entry) if entry != Svma(0) => planned.address == entry,
        _ => function.symbol.as_ref() == Some(&planned.symbol),
    };
    let mut later = calls.iter().rev().map(|call| &call.record);
    let record = later
        .find(|record| record.cfa == cfa.0 && plan.functions.get(record.function as usize).is_some_and(is_same))?;
    let is_earlier = plan.functions.get(record.function as usize).is_some_and(is_before_probe);
    (record.flags & (RETURNED | LEFT_BY_TAIL_CALL) == 0 && !is_earlier).then_some(record.sequence)
}

/// The frames as a report has them. `calls` are the thread's recorded calls, of the functions in `plan`.
#[must_use]
pub fn report(placed: &[Placed<'_>], code: &Code<'_>, calls: &[RawCall], plan: &Plan) -> Vec<report::Frame> {
    placed.iter().map(|placed| frame(placed, code, calls, plan)).collect()
}

fn frame(placed: &Placed<'_>, code: &Code<'_>, calls: &[RawCall], plan: &Plan) -> report::Frame {
    let Placed { raw, function, .. } = placed;
    let (module, offset) = code
        .module_at(raw.pc)
        .map(|(module, svma)| (module.mapped.path.to_string_lossy().into_owned(), Address(svma.0)))
        .unzip();
    let kind = match () {
        () if raw.is_signal_frame => FrameKind::Signal,
        () if function.is_inlined => FrameKind::Inlined,
        () => FrameKind::Function,
    };
    let call = raw.cfa.filter(|_| kind == FrameKind::Function);
    let position = function.position.as_ref();
    report::Frame {
        n: placed.n,
        address: raw.pc.into(),
        kind,
        function: function.name.clone(),
        symbol: function.symbol.clone(),
        file: position.map(|position| position.file.to_string_lossy().into_owned()),
        line: position.map(|position| position.line),
        column: position.and_then(|position| position.column),
        module,
        offset,
        own: is_own(raw, function, code),
        source: None,
        found_by: raw.found_by.into(),
        cfa: raw.cfa.map(Address::from),
        call: call.and_then(|cfa| recorded_call(cfa, offset.map(|offset| Svma(offset.0)), function, calls, plan)),
        overwritten: None,
        args: Vec::new(),
        locals: Vec::new(),
        repeats: placed.repeats,
        gap: placed.gap.clone(),
        reason: reason(raw, code),
    }
}

/// Whether it is the program's own code: of no library of the system, and of no library that was compiled into it.
fn is_own(raw: &RawFrame, function: &Function, code: &Code<'_>) -> bool {
    let Some((module, _)) = code.module_at(raw.pc) else { return false };
    let is_start_file = function.symbol.as_deref().is_some_and(origin::is_startup);
    let is_program_source = match &function.position {
        Some(position) => origin::is_program_source(&position.file),
        None => module.file().is_ok_and(|(_, sections)| !sections.has_debug_info()),
    };
    !origin::is_system_library(&module.mapped.path) && !is_start_file && is_program_source
}

/// Why nothing is known of a frame's code.
fn reason(raw: &RawFrame, code: &Code<'_>) -> Option<String> {
    match code.module_at(raw.pc) {
        None => Some("no module was mapped there".into()),
        Some((module, _)) if !module.is_executable(raw.pc) => Some("what was mapped there is no code".into()),
        Some((module, _)) => module.file().err().map(ToString::to_string),
    }
}

impl From<FoundBy> for report::FoundBy {
    fn from(found_by: FoundBy) -> Self {
        match found_by {
            FoundBy::InstructionPointer => Self::InstructionPointer,
            FoundBy::Cfi => Self::Cfi,
            FoundBy::Signal => Self::Signal,
            FoundBy::ReturnAddress => Self::ReturnAddress,
            FoundBy::FramePointer => Self::FramePointer,
            FoundBy::Scan => Self::Scan,
        }
    }
}

#[cfg(test)]
mod tests {
    use lastwords_abi::Record;

    use super::*;
    use crate::crash::tests::function;

    fn call(sequence: u64, function: u32, cfa: u64, flags: u32) -> RawCall {
        RawCall { record: Record { sequence, function, cfa, flags, ..Record::default() }, data: Vec::new() }
    }

    /// Guards against the arguments of an earlier call, or of another function, on a frame.
    #[test]
    fn a_frame_belongs_to_the_last_call_of_its_function_at_its_place() {
        let other = FunctionPlan { address: Svma(0x2000), ..function("other") };
        let plan = Plan { functions: vec![function("test"), other], ..Plan::default() };
        let frame = Function { entry: Some(Svma(0x1139)), ..Function::default() };
        let calls = [call(7, 0, 0x100, RETURNED), call(8, 0, 0x100, 0), call(9, 1, 0x100, 0), call(10, 0, 0x200, 0)];

        assert_eq!(recorded_call(Avma(0x100), None, &frame, &calls, &plan), Some(8));
        assert_eq!(recorded_call(Avma(0x300), None, &frame, &calls, &plan), None);
        // The frame is of a call after the last one that was recorded.
        assert_eq!(recorded_call(Avma(0x100), None, &frame, &calls[..1], &plan), None);
        let by_symbol = Function { symbol: Some("other".into()), ..Function::default() };
        assert_eq!(recorded_call(Avma(0x100), None, &by_symbol, &calls, &plan), Some(9));
    }
}
