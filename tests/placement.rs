//! Where the probes of entries stand: what is read there is what was there at the first instruction.

use std::path::{Path, PathBuf};

use lastwords::binary::Binary;
use lastwords::crash::decode::{Meaning, arguments};
use lastwords::crash::ring::read_slot;
use lastwords::dwarf::{DebugInfo, DebugSections};
use lastwords::launch::Suspended;
use lastwords::plan::build::{Options, Prepared, prepare};
use lastwords::plan::capture::Limits;
use lastwords::plan::placement::EntryPlace;
use lastwords::plan::returns::Returns;
use lastwords::plan::select::Selection;
use lastwords::plan::{Exits, FunctionPlan, Plan};
use lastwords::probe::{Recorder, Settings, calibrate};
use lastwords::report::State;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde_json::json;
use xtask::real::Real;

use crate::support::{Compiler, Fixture, Report, share_machine};

fn meaning(plan: &Plan) -> Meaning<'_> {
    Meaning { types: &plan.types, symbols: None }
}

/// sqlite or zstd, with all functions.
fn real(program: Real) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("real");
    program.build(Path::new(env!("CARGO_MANIFEST_DIR")), &folder).expect("a program from crates")
}

fn prepared(program: &Path, entry_place: EntryPlace, returns: Returns) -> Prepared {
    let limits = Limits { string_bytes: 32, value_bytes: 256, depth: 1, reach_bytes: 64 };
    let options = Options { limits, returns, entry_place, costs: Some(calibrate::costs()), ..Options::default() };
    let selection = Selection { functions: vec!["*".into()], ..Selection::default() };
    prepare(Binary::open(program).expect("a program"), &selection, &options).expect("a plan")
}

/// Two probes for each function: one on its first instruction, one at the chosen place, where that is another.
struct Twice {
    first: Prepared,
    best: Prepared,
    plan: Plan,
    /// For each function of `plan`: its index in `first` and in `best`, and whether it stands at the chosen place.
    origins: Vec<(usize, usize, bool)>,
}

impl Twice {
    fn of(program: &Path, returns: Returns) -> Self {
        let first = prepared(program, EntryPlace::First, returns);
        let best = prepared(program, EntryPlace::Best, returns);
        let mut plan = Plan { objects: best.plan.objects.clone(), ..Plan::default() };
        let mut origins = Vec::new();
        for (chosen, function) in best.plan.functions.iter().enumerate() {
            let at = first.plan.functions.iter().position(|other| other.address == function.address);
            let Some(at) = at.filter(|&at| first.plan.functions[at].entry.address != function.entry.address) else {
                continue;
            };
            for (function, is_best) in [(&first.plan.functions[at], false), (function, true)] {
                plan.functions.push(FunctionPlan { exits: Exits::Unseen("not asked for".into()), ..function.clone() });
                origins.push((at, chosen, is_best));
            }
        }
        Self { first, best, plan, origins }
    }

    /// Runs a part of the workload; how many calls were compared, and of how many functions.
    fn compare(&self, program: &Path, part: &str) -> (usize, usize) {
        let settings =
            Settings { calls: 1 << 18, max_ring_bytes: 1 << 25, threads: 1, stack_bytes: 0, ..Settings::default() };
        let mut recorder = Recorder::load(&self.plan, &settings).expect("a recorder");
        recorder.attach(&self.plan).expect("probes");
        let suspended = Suspended::new(program, &[program.into(), part.into()], None).expect("a process");
        recorder.watch(suspended.pid().as_raw().cast_unsigned()).expect("a process to watch");
        let _running = suspended.start().expect("the program");
        let death = loop {
            if let Some(death) = recorder.next_death() {
                break death;
            }
            let mut events = [PollFd::new(recorder.events(), PollFlags::POLLIN)];
            poll(&mut events, PollTimeout::NONE).expect("an event");
        };
        assert_eq!(death.fault.signal, nix::libc::SIGABRT, "the workload of {part} failed");
        let config = recorder.config();
        let (header, calls) = read_slot(&death.slots[0], config, u32::MAX).expect("a slot");
        assert_eq!(header.calls, calls.len() as u64, "{part}: the ring is too small for all of its calls");

        let mut compared = std::collections::BTreeSet::new();
        let (pairs, rest) = calls.as_chunks();
        assert!(rest.is_empty(), "{part}: a call was recorded at one of its places only");
        for [before, after] in pairs {
            let origin = |function: u32| self.origins[function as usize];
            let ((at, chosen, false), (_, also, true)) =
                (origin(before.record.function), origin(after.record.function))
            else {
                let name = |function: u32| &self.plan.functions[function as usize].name;
                let names = [before, after].map(|call| name(call.record.function));
                panic!("{part}: a call was not recorded at both of its places: {names:?}")
            };
            let name = &self.best.plan.functions[chosen].name;
            assert_eq!((chosen, before.record.cfa), (also, after.record.cfa), "{part}: frames of {name}");
            let then = arguments(&self.first.plan.functions[at], meaning(&self.first.plan), &before.data);
            let now = arguments(&self.best.plan.functions[chosen], meaning(&self.best.plan), &after.data);
            assert_eq!(then.len(), now.len());
            for (then, now) in then.iter().zip(&now) {
                // What is in a vector register at the entry may be in memory at the chosen place, and never the other way round.
                let is_gain = then.state == State::Unavailable && now.state != State::Unavailable;
                assert!(then == now || is_gain, "{part}: {name}: {then:#?} became {now:#?}");
            }
            compared.insert(name);
        }
        (pairs.len(), compared.len())
    }
}

fn compare(program: Real, parts: &[&str], least_calls: usize, least_functions: usize) {
    let _machine = share_machine();
    let path = real(program);
    for returns in [Returns::Cheap, Returns::Never] {
        let twice = Twice::of(&path, returns);
        for part in parts {
            let (calls, functions) = twice.compare(&path, part);
            assert!(
                calls > least_calls && functions > least_functions,
                "{part}: {calls} calls of {functions} functions were compared"
            );
        }
    }
}

/// Guards against a frame that is somewhere else than the code says: call frame information is an independent witness.
#[test]
fn frames_are_where_call_frame_information_has_them() {
    for program in Real::ALL {
        let path = real(program);
        let prepared = prepared(&path, EntryPlace::Best, Returns::Never);
        let sections = DebugSections::load(&prepared.binaries[0]).expect("debug info");
        let info = DebugInfo::parse(&prepared.binaries[0], &sections);
        let moved = prepared.plan.functions.iter().filter(|function| function.entry.address != function.address);
        let told = moved.filter_map(|function| Some((function, info.cfa_offset_at(function.entry.address)?)));
        let told: Vec<_> = told.collect();
        assert!(told.len() > 150, "{} functions of {}", told.len(), program.name());
        for (function, cfa_offset) in told {
            assert_eq!(i64::from(function.entry.cfa_offset), cfa_offset, "{}", function.name);
        }
    }
}

/// Guards against arguments that were overwritten, or moved, or changed behind their pointers, in front of the chosen instruction; and
/// against one that some calls execute more often than once, or not at all.
#[test]
fn arguments_of_sqlite_are_the_same_at_the_chosen_instruction() {
    compare(Real::Sqlite, &["select", "change", "functions"], 5_000, 150);
}

/// Guards against the same where code is unrolled, vectorized and has indirect jumps.
#[test]
fn arguments_of_zstd_are_the_same_at_the_chosen_instruction() {
    compare(Real::Zstd, &["fast", "strong", "pieces"], 200, 30);
}

/// Guards against a call that is recorded twice, or under a name that is not its own, where functions share code or are left by jumps; and
/// against floats that are told wrong, or not told though the code has stored them.
#[test]
fn calls_are_recorded_once_whatever_the_code_looks_like() {
    let nops = "-fpatchable-function-entry=5";
    for (compiler, level, flag) in [
        (Compiler::Gcc, "-O0", "-fcf-protection=none"),
        (Compiler::Gcc, "-O2", "-fcf-protection=full"),
        (Compiler::Gcc, "-O2", nops),
        (Compiler::Clang, "-O2", "-fcf-protection=none"),
        // One nop of 5 bytes, of which the kernel makes a call while it is probed.
        (Compiler::Clang, "-O2", nops),
    ] {
        let fixture = Fixture::build("placed.c").with(compiler, [level, flag]).args(["abort"]);
        let functions = ["shared_body", "chosen", "last_in_line", "passes_on", "only_jumps", "tiny", "scaled", "first"];
        let report = fixture.run_until_death(functions.iter().flat_map(|function| ["-f", function]));
        let thread = report.crashed_thread();

        assert_eq!(thread.calls_of("shared_body").args("a"), [1, 3], "{level}");
        assert_eq!(thread.calls_of("chosen").args("a"), [5], "{level}");
        let last = thread.calls_of("last_in_line");
        assert_eq!((last.args("a"), last.args("text")), (vec![json!(7), json!(7)], vec![json!("six"), json!("seven")]));
        assert_eq!(thread.calls_of("passes_on").only().exact("text"), "six", "{level}");
        assert_eq!(thread.calls_of("only_jumps").only().exact("a"), 7, "{level}");
        let tiny = thread.calls_of("tiny").args("a");
        assert!(tiny.ends_with(&[json!(998), json!(999), json!(8)]), "{level} {flag}: {tiny:?}");
        assert_eq!(thread.calls_of("first").only().exact("add"), 10, "{level}");
        let scaled = thread.calls_of("scaled").only();
        assert_eq!(scaled.exact("n"), 9);
        for (name, value, register) in [("weight", 2.5, "in register xmm0"), ("factor", 0.25, "in register xmm1")] {
            let told = scaled.arg(name);
            match level {
                "-O0" => assert_eq!((&told["value"], &told["state"]), (&json!(value), &json!("exact"))),
                _ => assert_eq!((&told["state"], &told["reason"]), (&json!("unavailable"), &json!(register))),
            }
        }
    }
}

/// Guards against losing the very call that crashed, where it dies in front of the instruction that is probed, and against an older call of
/// the same function on its frame.
#[test]
fn a_call_that_dies_before_its_probe_is_told() {
    let fixture = Fixture::build("placed.c").with(Compiler::Gcc, ["-O2"]).args(["early"]);
    let report = fixture.run_until_death(["-f", "first", "-f", "tiny", "--returns", "never"]);
    let thread = report.crashed_thread();
    let calls = thread.calls_of("first");

    assert_eq!((calls.args("add"), thread.calls_total()), (vec![json!(10), json!(11)], 1003));
    let last = calls.0.last().expect("a call");
    assert_eq!(last.field("reason"), "it died in front of the instruction that is probed: told from its frame");
    assert_eq!((last.arg("item")["address"].as_str(), last.field("frame")), (Some("0x0"), &json!(0)));
    assert_eq!(thread.frames()[0]["call"], 1002);
    assert!(calls.0[0].field("frame").is_null());
}

/// What gcc has taken apart must be there: otherwise nothing is tested.
fn split(end: &str) -> Report {
    let fixture = Fixture::build("split.c").with(Compiler::Gcc, ["-O2"]).args([end]);
    let symbols = Binary::open(&fixture.path()).expect("a program");
    let symbols: Vec<_> = symbols.function_symbols().iter().map(|symbol| symbol.name.to_owned()).collect();
    for part in ["checked", "checked.part.0", "risky", "risky.cold"] {
        assert!(symbols.iter().any(|symbol| symbol == part), "{part} among {symbols:?}");
    }
    let functions = ["checked", "inlines*", "risky"];
    fixture.run_until_death(functions.iter().flat_map(|function| ["-f", function]))
}

/// Guards against a call that is there twice, once for the function and once for the part of it that gcc has split off; and against a part that
/// is not recorded, or without its arguments, where callers have the other part in themselves.
#[test]
fn a_part_that_is_called_on_its_own_is_told_from_its_function() {
    let report = split("part");
    let thread = report.crashed_thread();

    assert_eq!(thread.calls_of("checked").args("number"), [7, 400]);
    assert_eq!(thread.calls_of("checked.part.0").args("number"), [200, 400, 301]);
    assert_eq!(thread.calls_of("inlines").args("number"), [5, 200]);
    // The whole ends where its part does, to which it has jumped.
    let ended = |function: &str| thread.calls_of(function).0[1].field("returned")["state"].clone();
    assert_eq!((ended("checked"), ended("checked.part.0")), (json!("returned"), json!("returned")));
    let frames: Vec<_> = thread.frames().iter().map(|frame| (&frame["symbol"], &frame["call"])).collect();
    let last = thread.calls_total() - 1;
    assert!(frames.contains(&(&json!("checked.part.0"), &json!(last))), "{frames:?}");
}

/// Guards against a cold part that is taken for a function of its own: it is jumped to, with whatever is in the registers.
#[test]
fn a_call_that_dies_in_the_cold_part_of_its_function_is_that_function_s() {
    let report = split("cold");
    let thread = report.crashed_thread();

    assert_eq!(thread.calls_of("risky").args("number"), [1, 2000]);
    assert_eq!(thread.calls().functions().iter().filter(|name| name.starts_with("risky")).count(), 2);
    let last = thread.calls_of("risky").0.pop().expect("a call");
    assert_eq!(last.exact("why"), "too large");
    let frame = &thread.frames()[last.field("frame").as_u64().expect("its frame") as usize];
    assert_eq!(frame["function"], "risky");
}

/// Guards against a function that was never called: a linker has given its code to another one.
#[test]
fn a_call_of_folded_code_names_all_whom_it_may_have_been_meant_for() {
    let flags = ["-O2", "-ffunction-sections", "-fuse-ld=gold", "-Wl,--icf=all"];
    let fixture = Fixture::build("folded.c").with(Compiler::Gcc, flags);
    for (asked, name) in [("cats", "cats or dogs"), ("dogs", "dogs or cats")] {
        let report = fixture.run_until_death(["-f", asked]);
        let calls = report.crashed_thread().calls();
        assert_eq!((calls.functions(), calls.args("number")), (vec![name; 2], vec![json!(1), json!(2)]));
    }
}
