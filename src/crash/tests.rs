//! A report from hand-made bytes, and what the tests of this module share.

use std::path::PathBuf;

use lastwords_abi::layout::PoolHeader;
use lastwords_abi::record::{RETURNED, ThreadState};
use lastwords_abi::step::{READ, REGISTER, STRING};
use lastwords_abi::{COMM_BYTES, Config, Event, Outcome, REGISTER_WORDS, Step, Watched, align8};
use nix::libc;
use serde_json::json;

use super::memory::Memory;
use super::*;
use crate::address::FileOffset;
use crate::arch::cost::SINGLE_STEPPED;
use crate::dwarf::types::{Type, TypeId, TypeKind, TypeTable};
use crate::plan::{
    ArgumentPlan, EntrySite, ExitPlan, Exits, Follow, Followed, FunctionPlan, Limits, PieceSource, Plan, ReturnPlan,
    Source,
};
use crate::report::{Address, Report, ReturnState, State};

/// A generator of numbers that are the same in every run (splitmix64).
pub struct Random(pub u64);

impl Random {
    /// The next number.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

/// An outcome and the bytes behind it.
pub fn output(status: u16, length: u32, bytes: &[u8]) -> Vec<u8> {
    let outcome = Outcome { status, reserved: 0, length };
    [&outcome.status.to_ne_bytes()[..], &[0, 0], &outcome.length.to_ne_bytes(), bytes].concat()
}

/// The output of a string step.
pub fn string_output(status: u16, text: &[u8]) -> Vec<u8> {
    let mut bytes = text.to_vec();
    bytes.resize(align8(text.len() as u32) as usize, 0xee);
    output(status, text.len() as u32, &bytes)
}

/// Adds `int`.
pub fn int(types: &mut TypeTable) -> TypeId {
    types.push(Type { name: "int".into(), size: Some(4), kind: TypeKind::Integer { signed: true } })
}

/// Adds a pointer of this name.
pub fn pointer(types: &mut TypeTable, name: &str, to: TypeId) -> TypeId {
    types.push(Type { name: name.into(), size: Some(8), kind: TypeKind::Pointer { to, reference: false } })
}

/// Adds C's `char`.
pub fn char_type(types: &mut TypeTable) -> TypeId {
    let kind = TypeKind::Character { unicode: false, signed: true };
    types.push(Type { name: "char".into(), size: Some(1), kind })
}

/// A function without parameters.
pub fn function(name: &str) -> FunctionPlan {
    FunctionPlan {
        name: name.into(),
        symbol: name.into(),
        declared: Some(SourceLine { file: PathBuf::from("/home/me/exp1.c"), line: 7 }),
        object: 0,
        address: Svma(0x1139),
        entry: EntrySite {
            offset: FileOffset(0x1139),
            address: Svma(0x1139),
            cfa_offset: 8,
            class: SINGLE_STEPPED,
            obstacle: None,
        },
        exits: Exits::Trampoline,
        unseen_exits: None,
        turns: Vec::new(),
        steps: Vec::new(),
        arguments: Vec::new(),
        returns: None,
        exit: results(),
        has_debug_info: true,
        limits: Limits::default(),
        weight: crate::plan::Weight::default(),
    }
}

/// A result of `size` bytes in the first result register.
pub fn in_first_register(ty: TypeId, size: u32) -> ReturnPlan {
    let pieces = vec![PieceSource { size, source: Source::Step { step: 0, skip: 0 } }];
    let value = ArgumentPlan { name: None, ty, pieces, follows: Vec::new(), guessed: false };
    ReturnPlan { value, condition: None }
}

/// What keeps the result registers.
pub fn results() -> ExitPlan {
    let step = |register| Step { op: REGISTER, register, size: 8, ..Step::default() };
    ExitPlan { steps: vec![step(10), step(12)], after: Vec::new() }
}

/// `int test(const char *str)`, and its plan.
fn plan_of_test() -> Plan {
    let mut types = TypeTable::default();
    let (int, char_type) = (int(&mut types), char_type(&mut types));
    let string = pointer(&mut types, "const char *", char_type);
    let steps = vec![
        Step { op: REGISTER, register: 14, size: 8, ..Step::default() },
        Step { op: STRING, size: 256, base: 0, ..Step::default() },
    ];
    let argument = ArgumentPlan {
        name: Some("str".into()),
        ty: string,
        pieces: vec![PieceSource { size: 8, source: Source::Step { step: 0, skip: 0 } }],
        follows: vec![Follow { at: 0, step: 1, what: Followed::CString, behind: Vec::new() }],
        guessed: false,
    };
    let returns = Some(in_first_register(int, 4));
    let function = FunctionPlan { steps, arguments: vec![argument], returns, ..function("test") };
    Plan { functions: vec![function], types, ..Plan::default() }
}

/// Registers that were saved at time 10,000: word 16 is `rip`, word 19 `rsp`.
fn state(comm: &[u8]) -> ThreadState {
    let mut registers = [0; REGISTER_WORDS];
    (registers[16], registers[19]) = (0x55_0000_1156, 0x7ffd_0000);
    let mut padded = [0; COMM_BYTES];
    padded[..comm.len()].copy_from_slice(comm);
    ThreadState { at_ns: 10_000, registers, tls_base: 0, stack_end: 0, comm: padded }
}

fn history(tid: u32, ns_tid: u32, calls: Vec<RawCall>, total: u64) -> ThreadHistory {
    let header = SlotHeader {
        pool: PoolHeader { state: 2, next_free: 0 },
        pid: 70_000,
        tid,
        ns_pid: 40,
        ns_tid,
        calls: total,
        first: 0,
        head: 0,
        last_entry: 0,
        death: state(b"worker"),
        registers: [0; REGISTER_WORDS],
        turn_cfa: 0,
        turn_function: 0,
    };
    ThreadHistory { header, calls }
}

fn snapshot() -> Snapshot {
    let data = [&0x55_0000_2010_u64.to_ne_bytes()[..], &string_output(READ, b"this is a string.")].concat();
    let record = Record {
        sequence: 3,
        entered_ns: 5_000,
        returned_ns: 6_500,
        cfa: 0x7ffd_0000,
        flags: RETURNED,
        data_bytes: data.len() as u32,
        ..Record::default()
    };
    let mut fault = Fault {
        at_ns: 10_000,
        trap: 14,
        error_code: 6,
        pid: 70_000,
        tid: 70_001,
        ns_tid: 41,
        signal: libc::SIGSEGV,
        code: 1,
        uid: 1000,
        args_bytes: 14,
        thread: state(b"exp1"),
        ..Fault::ZERO
    };
    fault.args[..14].copy_from_slice(b"./exp1\0--fast\0");
    let watched =
        Watched { started_ns: 1_000, start_code: 0x55_0000_1000, ns_pid: 40, executes_target: 1, ..Watched::default() };
    Snapshot {
        fault,
        event: Event { pid: 70_000, exit_code: 11, watched, ..Event::default() },
        threads: vec![history(70_000, 40, Vec::new(), 0), history(70_001, 41, vec![RawCall { record, data }], 4)],
        counters: [1, 2, 3, 4, 5, 6, 7, 8, 0, 0],
        memory: Memory::default(),
        memory_at_end: None,
    }
}

fn report_of(snapshot: &Snapshot) -> Report {
    let symbolize = |address: Svma| {
        let line = SourceLine { file: "/home/me/exp1.c".into(), line: 14 };
        (address == Svma(0x1156)).then(|| Symbol { name: "main".into(), symbol: "main".into(), line: Some(line) })
    };
    let context = Context {
        tool: report::Tool::default(),
        process: report::Process { exe: "/home/me/exp1".into(), ..Default::default() },
        config: Config { slots: 64, ring_bytes: 4096, ..Config::ZERO },
        calls_kept: 64,
        string_bytes: 256,
        probes: report::Probes::default(),
        dropped: Vec::new(),
        modules: Vec::new(),
        registers: RegisterNames {
            general: &[("rip", 16), ("rsp", 19), ("nonsense", 99)],
            program_counter: 16,
            stack_pointer: 19,
            return_address_bytes: 8,
        },
        bias: LoadBias(0x55_0000_0000),
        code: None,
        symbolize: &symbolize,
    };
    assemble(snapshot, &plan_of_test(), context)
}

/// Guards against any part of the way from a slot to the report that is mixed up: the case that started it.
#[test]
fn the_last_call_is_in_the_report_with_its_argument() {
    let report = report_of(&snapshot());

    let crashed = &report.threads[0];
    assert_eq!((crashed.tid, crashed.crashed, crashed.name.as_deref()), (41, true, Some("exp1")));
    assert_eq!((crashed.calls_total, crashed.calls_overwritten), (Some(4), 3));
    assert_eq!(crashed.registers.0, [("rip".into(), Address(0x55_0000_1156)), ("rsp".into(), Address(0x7ffd_0000))]);
    assert_eq!(crashed.frames[0].function.as_deref(), Some("main"));
    assert_eq!(crashed.frames[0].line, Some(14));
    let call = &crashed.calls[0];
    assert_eq!((call.n, call.function.as_str(), call.line, call.at_ns), (3, "test", Some(7), 4_000));
    assert_eq!(call.args[0].value, json!("this is a string."));
    assert_eq!((call.args[0].state, call.args[0].address), (State::Exact, Some(Address(0x55_0000_2010))));
    let returned = call.returned.as_ref().unwrap();
    assert_eq!((returned.state, returned.duration_ns), (ReturnState::Returned, Some(1_500)));
    assert_eq!(returned.value.as_ref().unwrap().value, json!(0));

    assert_eq!((report.threads[1].tid, report.threads[1].name.as_deref()), (40, Some("worker")));
    assert_eq!((report.process.pid, report.process.uptime_ns, report.process.uid), (40, 9_000, Some(1000)));
    assert_eq!(report.process.args, ["./exp1", "--fast"]);
    assert!(!report.process.args_truncated);
    assert_eq!((report.fault.thread, report.fault.pc), (41, Some(Address(0x55_0000_1156))));
    assert_eq!((report.recorder.threads_without_ring, report.recorder.deaths_of_other_files), (1, 7));
}

/// Guards against a report without the thread that crashed, when there was no ring for it.
#[test]
fn a_crashed_thread_without_a_ring_is_there() {
    let mut snapshot = snapshot();
    snapshot.threads.pop();

    let report = report_of(&snapshot);

    let crashed = &report.threads[0];
    assert_eq!((crashed.tid, crashed.crashed, crashed.calls_total), (41, true, None));
    assert_eq!(crashed.frames.len(), 1);
}

/// Guards against registers of zeros, and a frame at 0x0, for a thread that was not seen dying.
#[test]
fn what_was_not_captured_is_left_out() {
    let mut snapshot = snapshot();
    snapshot.fault.thread.at_ns = 0;
    snapshot.fault.args_bytes = 0;
    for thread in &mut snapshot.threads {
        thread.header.death.at_ns = 0;
    }

    let report = report_of(&snapshot);

    let crashed = &report.threads[0];
    assert!(crashed.registers.0.is_empty() && crashed.frames.is_empty() && crashed.name.is_none());
    assert_eq!((report.fault.pc, report.process.args.len()), (None, 0));
}

/// Guards against a record of a function that does not exist: it is said so, and nothing is taken for its name.
#[test]
fn a_call_of_no_function_says_so() {
    let mut snapshot = snapshot();
    snapshot.threads[1].calls[0].record.function = 7;

    let call = &report_of(&snapshot).threads[0].calls[0];

    assert_eq!(call.reason.as_deref(), Some("its record is damaged: there is no function 7"));
    assert!(call.function.is_empty() && call.args.is_empty());
    // `null` would say that it had not returned.
    assert_eq!(call.returned.as_ref().unwrap().state, ReturnState::Unknown);
}
