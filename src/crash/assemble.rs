//! All that is known of a death in; its report out.

use lastwords_abi::layout::RECENT_CALLS;
use lastwords_abi::record::ThreadState;
use lastwords_abi::{Counter, Fault};
use nix::sys::signal::Signal;

use super::decode::{Meaning, Symbols};
use super::exceptions::{self, Scope};
use super::explain::Evidence;
use super::recent::Moment;
use super::text::Text;
use super::variables::{Bounds, Variables, entry};
use super::{
    Context, RawCall, RegisterNames, Snapshot, ThreadHistory, at_return, decode, dropped, explain, frames, overwritten,
    returned, streams, unprobed, unwind,
};
use crate::address::Avma;
use crate::dwarf::function::SourceLine;
use crate::plan::Plan;
use crate::report::{
    Address, Call, Exception, Frame, Probes, Process, Recorder, Registers, Report, ReturnState, Returned, SCHEMA,
    Thread,
};

/// The report about the process that left this snapshot, and was watched by this plan.
#[must_use]
pub fn assemble(snapshot: &Snapshot, plan: &Plan, context: Context<'_>) -> Report {
    let process = process(snapshot, &context);
    let probes = Probes {
        dropped: dropped::listed(&context.dropped, plan, snapshot.event.watched.started_ns),
        ..context.probes.clone()
    };
    let threads = threads(snapshot, plan, &context);
    let crashed = threads.iter().find(|thread| thread.crashed);
    let exceptions = crashed.map(|thread| exceptions(snapshot, &context, thread)).unwrap_or_default();
    let evidence = Evidence {
        code: context.code,
        thread: crashed,
        exceptions: &exceptions,
        plan,
        pid: process.pid,
        pc: program_counter(&snapshot.fault.thread, &context),
    };
    Report {
        schema: SCHEMA.into(),
        fault: explain::fault(snapshot, evidence),
        process,
        threads,
        output: streams::pending(
            snapshot.memory_at_end.as_ref().unwrap_or(&snapshot.memory),
            Avma(snapshot.fault.stream_list),
            &context.config,
        ),
        recorder: recorder(snapshot, &context),
        tool: context.tool,
        probes,
        modules: context.modules,
        dropped: Vec::new(),
    }
}

/// The C++ exceptions that the thread which crashed was handling.
fn exceptions(snapshot: &Snapshot, context: &Context<'_>, thread: &Thread) -> Vec<Exception> {
    let state = &snapshot.fault.thread;
    let Some(code) = context.code.filter(|_| snapshot.fault.signal == Signal::SIGABRT as i32) else {
        return Vec::new();
    };
    let scope = Scope { code, memory: &snapshot.memory, text_bytes: context.string_bytes as usize };
    exceptions::in_flight(scope, &state.registers, register(state, context.registers.stack_pointer), &thread.frames)
}

fn process(snapshot: &Snapshot, context: &Context<'_>) -> Process {
    let fault = &snapshot.fault;
    let mut process = context.process.clone();
    process.pid = seen_or_global(snapshot.event.watched.ns_pid, snapshot.event.pid);
    process.uptime_ns = fault.at_ns.saturating_sub(snapshot.event.watched.started_ns);
    process.uid.get_or_insert(fault.uid);
    if fault.args_bytes != 0 {
        (process.args, process.args_truncated) = arguments_of_program(fault);
    }
    process
}

/// The program's own arguments, each of which ends with a NUL, and whether there are more than were kept.
fn arguments_of_program(fault: &Fault) -> (Vec<String>, bool) {
    let bytes = &fault.args[..fault.args.len().min(fault.args_bytes as usize)];
    let is_truncated = fault.args_bytes as usize > bytes.len();
    let bytes = bytes.strip_suffix(b"\0").unwrap_or(bytes);
    (bytes.split(|&byte| byte == 0).map(|argument| Text::new(argument).text).collect(), is_truncated)
}

/// An id as lastwords' own pid namespace sees it; the kernel's own where it has none there.
fn seen_or_global(seen: u32, global: u32) -> u32 {
    if seen == 0 { global } else { seen }
}

/// The threads, the crashed one first, then by id.
fn threads(snapshot: &Snapshot, plan: &Plan, context: &Context<'_>) -> Vec<Thread> {
    let at_end = snapshot.memory_at_end.as_ref().unwrap_or(&snapshot.memory);
    let variables = [&snapshot.memory, at_end]
        .map(|memory| context.code.map(|code| Variables::new(code, memory, context.string_bytes)));
    let variables = variables.each_ref().map(Option::as_ref);
    let walk = Walk { snapshot, plan, context, calls: &[], stack_end: 0, crashed: false, variables };
    let mut threads: Vec<Thread> = snapshot.threads.iter().map(|history| thread(history, walk)).collect();
    if !threads.iter().any(|thread| thread.crashed) {
        threads.push(thread_without_ring(walk));
    }
    threads.sort_by_key(|thread| (!thread.crashed, thread.tid));
    threads
}

fn thread(history: &ThreadHistory, walk: Walk<'_, '_>) -> Thread {
    let Walk { snapshot, plan, context, .. } = walk;
    let header = &history.header;
    let crashed = header.tid == snapshot.fault.tid;
    // The fault has the state at the very signal; the slot has it too, unless the copy of it was taken too early.
    let state = if crashed && snapshot.fault.thread.at_ns != 0 { &snapshot.fault.thread } else { &header.death };
    let stack_pointer = register(state, context.registers.stack_pointer);
    // Calls that a handler made are on its own part of the stack, where the thread stood in the end.
    let has_handler = crashed && snapshot.fault.handler != 0;
    let before_handler = if has_handler { snapshot.fault.calls.saturating_sub(header.first) } else { u64::MAX };
    let (before, after) =
        history.calls.split_at(history.calls.partition_point(|call| call.record.sequence < before_handler));
    let pushed = context.registers.return_address_bytes;
    let mut left = returned::left_frames(before, stack_pointer, pushed);
    left.extend(returned::left_frames(after, register(&header.death, context.registers.stack_pointer), pushed));
    let started_ns = snapshot.event.watched.started_ns;
    let older = history.calls.len().saturating_sub(RECENT_CALLS as usize);
    let calls = history.calls.iter().zip(left).enumerate().map(|(index, (raw, is_left))| {
        let now = (crashed && index >= older).then_some(Moment { memory: &snapshot.memory, stack_pointer });
        let mut call = call(raw, plan, context, started_ns, is_left, now);
        if let Some((state, reason)) = dropped::missed_return(&raw.record, &context.dropped) {
            returned::forget(&mut call.returned, state, reason);
        }
        Call { by_handler: raw.record.sequence >= before_handler, ..call }
    });
    let calls_of_frames = dropped::with_known_end(&history.calls, &context.dropped);
    let walk = Walk { calls: &calls_of_frames, stack_end: header.death.stack_end, crashed, ..walk };
    let mut thread = Thread {
        calls: calls.collect(),
        calls_total: Some(header.calls),
        calls_overwritten: header.calls.saturating_sub(history.calls.len() as u64),
        ..thread_in_state(seen_or_global(header.ns_tid, header.tid), state, &walk)
    };
    entry::join(&mut thread.frames, &mut thread.calls);
    unprobed::add(&mut thread, plan, state.at_ns.saturating_sub(started_ns));
    thread
}

/// What frames are found with.
#[derive(Clone, Copy)]
struct Walk<'a, 'c> {
    snapshot: &'a Snapshot,
    plan: &'a Plan,
    context: &'a Context<'c>,
    calls: &'a [RawCall],
    crashed: bool,
    /// Where the stack ends, if it was not copied whole; 0 if that is not known.
    stack_end: u64,
    /// Of the thread that crashed, and of the others.
    variables: [Option<&'a Variables<'a, 'c>>; 2],
}

impl Walk<'_, '_> {
    /// The frames of a thread, the innermost first, and why there are no more.
    fn frames(&self, state: &ThreadState, bounds: Bounds) -> (Vec<Frame>, Option<String>) {
        let Some(code) = self.context.code.filter(|_| state.at_ns != 0) else {
            let innermost = program_counter(state, self.context).map(|pc| frame(pc, self.context));
            return (innermost.into_iter().collect(), None);
        };
        let registers = unwind::Registers::from_words(&state.registers, code.arch);
        let at_end = self.snapshot.memory_at_end.as_ref().filter(|_| !self.crashed);
        let memory = at_end.unwrap_or(&self.snapshot.memory);
        let end = (self.stack_end != 0).then_some(Avma(self.stack_end));
        let stack = unwind::Stack { registers: &registers, memory, end };
        let backtrace = unwind::unwind(stack, code);
        let placed = frames::place(&backtrace, code);
        let mut frames = frames::report(&placed, code, self.calls, self.plan);
        overwritten::mark(&mut frames, memory, code);
        if let Some(variables) = self.variables[usize::from(!self.crashed)] {
            variables.fill(&mut frames, &placed, &backtrace, bounds);
        }
        (frames, frames::why_ended(&backtrace))
    }
}

/// The crashed thread, if it has found no free slot: its calls were not recorded.
fn thread_without_ring(walk: Walk<'_, '_>) -> Thread {
    let fault = &walk.snapshot.fault;
    let walk = Walk { crashed: true, ..walk };
    thread_in_state(seen_or_global(fault.ns_tid, fault.tid), &fault.thread, &walk)
}

/// A thread without its calls.
fn thread_in_state(tid: u32, state: &ThreadState, walk: &Walk<'_, '_>) -> Thread {
    let crashed = walk.crashed;
    let is_known = state.at_ns != 0;
    let (frames, frames_end) = walk.frames(state, if crashed { Bounds::CRASHED } else { Bounds::OTHER });
    Thread {
        tid,
        name: is_known.then(|| Text::until_nul(&state.comm).text),
        crashed,
        registers: registers(state, &walk.context.registers),
        frames,
        frames_end,
        ..Thread::default()
    }
}

/// A word of the saved registers, if there are any.
fn register(state: &ThreadState, word: usize) -> Option<u64> {
    (state.at_ns != 0).then(|| state.registers.get(word).copied())?
}

fn registers(state: &ThreadState, names: &RegisterNames<'_>) -> Registers {
    let named =
        names.general.iter().filter_map(|(name, word)| Some(((*name).into(), Address(register(state, *word)?))));
    Registers(named.collect())
}

fn program_counter(state: &ThreadState, context: &Context<'_>) -> Option<Address> {
    register(state, context.registers.program_counter).map(Address)
}

/// The innermost frame, whose instruction is this one.
fn frame(pc: Address, context: &Context<'_>) -> Frame {
    let symbol = (context.symbolize)(context.bias.to_svma(Avma(pc.0)));
    let (file, line) = file_and_line(symbol.as_ref().and_then(|symbol| symbol.line.as_ref()));
    let (function, symbol) = symbol.map(|symbol| (symbol.name, symbol.symbol)).unzip();
    Frame { n: Some(0), address: pc, function, symbol, file, line, ..Frame::default() }
}

pub(super) fn file_and_line(place: Option<&SourceLine>) -> (Option<String>, Option<u32>) {
    place.map(|place| (place.file.to_string_lossy().into_owned(), place.line)).unzip()
}

/// One call; `now` is the memory in which to follow its pointers again.
fn call(
    raw: &RawCall,
    plan: &Plan,
    context: &Context<'_>,
    started_ns: u64,
    is_left: bool,
    now: Option<Moment<'_>>,
) -> Call {
    let record = &raw.record;
    let meaning = Meaning { types: &plan.types, symbols: context.code.map(|code| code as &dyn Symbols) };
    let at_ns = record.entered_ns.saturating_sub(started_ns);
    let Some(function) = plan.functions.get(record.function as usize) else {
        let reason = Some(format!("its record is damaged: there is no function {}", record.function));
        let returned = Some(Returned { state: ReturnState::Unknown, reason: reason.clone(), ..Returned::default() });
        return Call { n: record.sequence, at_ns, returned, reason, ..Call::default() };
    };
    let (file, line) = file_and_line(function.declared.as_ref());
    let args = match now {
        Some(moment) => decode::arguments_then_and_now(function, meaning, &raw.data, moment),
        None => decode::arguments(function, meaning, &raw.data),
    };
    Call {
        n: record.sequence,
        function: function.name.clone(),
        symbol: function.symbol.clone(),
        file,
        line,
        at_ns,
        args: at_return::with_changes(args, raw, function, meaning),
        returned: returned::returned(raw, function, meaning, is_left),
        frame: None,
        by_handler: false,
        reason: None,
    }
}

fn recorder(snapshot: &Snapshot, context: &Context<'_>) -> Recorder {
    let count = |counter: u32| snapshot.counters[counter as usize];
    Recorder {
        calls_kept: context.calls_kept,
        string_bytes: context.string_bytes,
        threads_max: context.config.slots,
        ring_bytes: context.config.ring_bytes,
        threads_without_ring: count(Counter::THREADS_WITHOUT_SLOT),
        calls_without_ring: count(Counter::CALLS_WITHOUT_SLOT),
        calls_of_other_processes: count(Counter::CALLS_OF_OTHERS),
        processes_not_watched: count(Counter::PROCESSES_NOT_WATCHED),
        deaths_lost: count(Counter::DEATHS_LOST),
        memory_lost: count(Counter::MEMORY_LOST),
        pages_not_waited_for: context.config.waits_for_pages == 0,
        handled_faults: count(Counter::HANDLED_FAULTS),
        deaths_of_other_files: count(Counter::DEATHS_OF_OTHER_FILES),
    }
}
