//! Faults that go to a handler: which of them the program dies of, and what is told of those.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::Stdio;

use nix::libc::{SIGABRT, SIGKILL, SIGSEGV, SIGTERM};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::support::{Fixture, Outcome, Report, runs, share_machine};

const WATCHED: [&str; 4] = ["-f", "about_to", "-f", "cleanup"];

fn fixture(mode: &str) -> Fixture {
    Fixture::build("handled.c").args([mode])
}

fn run(mode: &str, options: &[&str]) -> Outcome {
    fixture(mode).run(WATCHED.iter().chain(options))
}

/// A million, or fewer where each instruction is emulated.
fn many() -> u64 {
    if runs(2) < 2 { 20_000 } else { 1_000_000 }
}

fn run_many(mode: &str, options: &[&str]) -> Outcome {
    fixture(mode).args([mode.to_owned(), many().to_string()]).run(WATCHED.iter().chain(options))
}

fn functions(frames: &Value) -> Vec<&str> {
    let frames = frames.as_array().expect("frames");
    frames
        .iter()
        .map(|frame| if frame["kind"] == "signal" { "signal" } else { frame["function"].as_str().unwrap_or("?") })
        .collect()
}

/// What every report about the fixture's first fault must say.
fn check_first_fault(report: &Report, mode: &str) {
    assert_eq!(report.at("/fault/signal"), "SIGSEGV", "{mode}");
    assert_eq!(report.at("/fault/address"), "0x10", "{mode}");
    assert_eq!(report.at("/fault/access"), "write", "{mode}");
    assert_eq!(report.at("/fault/handler/function"), "on_fault", "{mode}");
    assert_eq!(report.at("/fault/handler/memory_is_of_fault"), true, "{mode}");
    let thread = report.crashed_thread();
    assert_eq!(functions(thread.field("frames"))[..2], ["fault", "main"], "{mode}");
    assert_eq!(thread.calls_of("about_to").args("what"), [mode]);
    assert!(thread.calls_of("about_to").only().field("by_handler").is_null(), "{mode}");
    assert_eq!(thread.calls_of("cleanup").only().field("by_handler"), true, "{mode}");
}

/// Guards against a report about the handler's way out instead of what it began with, and against another status.
#[test]
fn the_first_fault_is_reported_when_its_handler_kills_the_process() {
    for (mode, signal, when) in [
        ("abort", SIGABRT, "in_handler"),
        ("threads", SIGABRT, "in_handler"),
        ("alt-abort", SIGABRT, "in_handler"),
        ("unblock-raise", SIGSEGV, "in_handler"),
        ("kill", SIGKILL, "in_handler"),
        ("nested", SIGSEGV, "in_handler"),
        ("raise", SIGSEGV, "after_handler"),
        ("reset", SIGSEGV, "after_handler"),
        ("default", SIGSEGV, "after_handler"),
    ] {
        let outcome = run(mode, &[]);
        assert_eq!(outcome.signal(), Some(signal), "{mode}: {}", outcome.stderr);
        let report = outcome.report();
        check_first_fault(&report, mode);
        assert_eq!(report.at("/fault/ended_by/signal_number"), signal, "{mode}");
        assert_eq!(report.at("/fault/ended_by/when"), when, "{mode}");
        assert_eq!(report.at("/fault/ended_by/status"), &Value::Null, "{mode}");
    }
}

/// Guards against a crash that passes for an ordinary failure because a handler turned it into an exit status.
#[test]
fn the_first_fault_is_reported_when_its_handler_exits() {
    for (mode, status) in
        [("exit", 3), ("lib-exit", 4), ("fork", 3), ("alt-exit", 3), ("nodefer-exit", 3), ("other-exits", 3)]
    {
        let outcome = run(mode, &[]);
        assert_eq!(outcome.status.code(), Some(status), "{mode}: {}", outcome.stderr);
        let report = outcome.report();
        check_first_fault(&report, mode);
        assert_eq!(report.at("/fault/ended_by/status"), status, "{mode}");
        assert_eq!(report.at("/fault/ended_by/signal"), &Value::Null, "{mode}");
        assert_eq!(report.at("/fault/ended_by/when"), "in_handler", "{mode}");
    }
}

/// Guards against `abort` looking like two deaths, or like one that nobody tried to handle: its handler returns, and `abort` raises again.
#[test]
fn an_abort_whose_handler_returns_is_one_chain() {
    let outcome = run("abort-returns", &[]);
    assert_eq!(outcome.signal(), Some(SIGABRT), "{}", outcome.stderr);
    let report = outcome.report();
    assert_eq!(report.at("/fault/signal"), "SIGABRT");
    assert_eq!(report.at("/fault/handler/function"), "on_fault");
    assert_eq!(report.at("/fault/ended_by/signal_number"), SIGABRT);
    assert_eq!(report.at("/fault/ended_by/when"), "after_handler");
    let thread = report.crashed_thread();
    let frames = functions(thread.field("frames"));
    assert!(frames.windows(2).any(|pair| pair == ["abort", "main"]), "{frames:?}");
    assert_eq!(thread.calls_of("cleanup").only().field("by_handler"), true);
}

/// Guards against a full stack whose frames, or whose handler's, are lost where the thread is not the main one.
#[test]
fn an_overflow_in_a_thread_is_told_with_all_threads() {
    let outcome = run("overflow", &[]);
    assert_eq!(outcome.signal(), Some(SIGABRT), "{}", outcome.stderr);
    let report = outcome.report();
    assert_eq!(report.at("/fault/signal"), "SIGSEGV");
    assert_eq!(report.at("/fault/cause"), "stack_overflow");
    assert_eq!(report.at("/fault/handler/function"), "on_fault");
    assert_eq!(report.at("/fault/ended_by/when"), "in_handler");
    let thread = report.crashed_thread();
    let frames = functions(thread.field("frames"));
    assert_eq!(frames[0], "overflow");
    assert!(frames.contains(&"overflow_in_thread"), "{frames:?}");
    // The innermost one stands at another instruction.
    assert_eq!(thread.field("frames")[1]["repeats"]["frames"], 1, "{frames:?}");
    let ended = functions(report.at("/fault/ended_by/frames"));
    let handler = ended.iter().position(|name| *name == "on_fault").expect("the handler");
    assert_eq!(ended[handler..handler + 3], ["on_fault", "signal", "overflow"]);
    let waiting =
        report.threads().iter().filter(|thread| functions(thread.field("frames")).contains(&"wait_forever")).count();
    assert_eq!((waiting, report.threads().len()), (2, 4));
}

/// Guards against losing what was in the buffers because the process did not die of a signal.
#[test]
fn what_an_exit_from_a_handler_left_unwritten_is_told() {
    assert_eq!(run("exit", &[]).report().at("/output/0/text"), "not written");
    // `exit` writes it.
    let outcome = run("lib-exit", &[]);
    assert_eq!(outcome.stdout, "not written");
    assert_eq!(outcome.report().at("/output"), &json!([]));
}

/// Guards against calling every program that fails after a survived fault a crash.
#[test]
fn a_survived_fault_makes_no_report_however_the_program_ends() {
    for (mode, status) in
        [("survive", 1), ("plain-longjmp", 1), ("nodefer-survive", 1), ("thread-survives", 1), ("exit0", 0)]
    {
        let outcome = run(mode, &[]);
        assert_eq!(outcome.status.code(), Some(status), "{mode}: {}", outcome.stderr);
        assert!(outcome.reports.is_empty(), "{mode}: {:#?}", outcome.reports);
        assert!(!outcome.stderr.contains("SIGSEGV"), "{mode}: {}", outcome.stderr);
    }
}

/// Guards against an old fault that takes the blame for a later death.
#[test]
fn a_crash_after_a_survived_fault_is_the_one_that_is_reported() {
    let outcome = run("survive-then-crash", &[]);
    assert_eq!(outcome.signal(), Some(SIGABRT), "{}", outcome.stderr);
    let report = outcome.report();
    assert_eq!(report.at("/fault/signal"), "SIGABRT");
    assert_eq!(report.at("/recorder/handled_faults"), 1);
    assert!(report.at("/fault").get("handler").is_none());
    assert_eq!(report.crashed_thread().calls_of("about_to").args("what"), ["survive-then-crash", "go on"]);
}

/// Guards against a handler's crash of which only one half is shown: the handler's frames, and what it had interrupted on another stack.
#[test]
fn a_crash_in_a_handler_shows_both_stacks() {
    let report = run("nested", &[]).report();
    assert_eq!(report.at("/fault/ended_by/address"), "0x20");
    let frames = functions(report.at("/fault/ended_by/frames"));
    assert_eq!(frames[..5], ["fault", "on_fault", "signal", "fault", "main"]);

    let report = run("alt-usr1", &[]).report();
    assert_eq!(report.at("/fault/address"), "0x20");
    let frames = functions(report.crashed_thread().field("frames"));
    assert_eq!(frames[..3], ["fault", "on_usr1", "signal"]);
    assert_eq!(frames[4..6], ["raise", "main"]);
}

/// Guards against a slow or full recorder where faults are everyday events, and against the state of another fault than the last.
#[test]
fn a_million_handled_faults_pass_by() {
    let outcome = run_many("million", &[]);
    let printed = format!("{} faults\n", many());
    assert_eq!((outcome.status.code(), &outcome.stdout), (Some(0), &printed), "{}", outcome.stderr);
    assert!(outcome.reports.is_empty());

    let outcome = run_many("million-then-exit", &[]);
    assert_eq!(outcome.status.code(), Some(3), "{}", outcome.stderr);
    let report = outcome.report();
    assert_eq!(report.at("/recorder/handled_faults"), many());
    assert_eq!(report.at("/fault/handler/function"), "skip");
    assert_eq!(report.at("/threads/0/registers/rdx"), &format!("{:#x}", many() - 1));
    assert_eq!(functions(report.crashed_thread().field("frames"))[..3], ["skipped_fault", "million", "main"]);
}

/// Guards against Rust's own handler hiding the overflow behind its abort.
#[test]
fn an_overflow_in_rust_is_a_fault_and_not_an_abort() {
    let outcome = Fixture::build("overflow.rs").run(["-f", "deeper"]);
    assert_eq!(outcome.signal(), Some(SIGABRT), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("has overflowed its stack"), "{}", outcome.stderr);
    let report = outcome.report();
    assert_eq!(report.at("/fault/signal"), "SIGSEGV");
    assert_eq!(report.at("/fault/ended_by/signal"), "SIGABRT");
    assert_eq!(report.at("/fault/ended_by/when"), "in_handler");
    let flags = report.at("/fault/handler/flags");
    assert!(flags.as_array().is_some_and(|flags| flags.contains(&json!("SA_ONSTACK"))), "{flags}");
    let frames = functions(report.crashed_thread().field("frames"));
    // Which of the two meets the end of the stack depends on where that begins.
    assert!(frames[..2].iter().any(|frame| frame.ends_with("deeper")), "{frames:?}");
}

/// Guards against reports that nobody asked for not being there when somebody does, and against more of them than anybody reads.
#[test]
fn survived_faults_are_reported_on_request() {
    let outcome = run("survive", &["--handled"]);
    assert_eq!(outcome.status.code(), Some(1), "{}", outcome.stderr);
    let report = outcome.report();
    assert_eq!(report.at("/fault/survived"), true);
    assert_eq!(report.at("/fault/address"), "0x10");
    assert_eq!(report.at("/fault/handler/function"), "on_fault");
    let thread = report.crashed_thread();
    assert_eq!(functions(thread.field("frames"))[..2], ["fault", "main"]);
    assert_eq!(thread.calls_of("about_to").args("what"), ["survive"]);

    let outcome = run_many("million", &["--handled"]);
    let printed = format!("{} faults\n", many());
    assert_eq!((outcome.status.code(), &outcome.stdout), (Some(0), &printed), "{}", outcome.stderr);
    // The last one is told by the end of the process.
    assert_eq!(outcome.reports.len(), 17);
    assert!(outcome.reports.iter().all(|report| report.at("/fault/survived") == true));
    let untold = format!("{} more faults were survived", many() - 17);
    assert!(outcome.stderr.contains(&untold), "{}", outcome.stderr);
}

/// Sends a signal to the fixture as soon as it waits for one. Returns what came of it.
fn struck_by(signal: Signal, options: &[&str]) -> (i32, String, Vec<Report>) {
    let _machine = share_machine();
    let run = fixture("wait").watched(WATCHED.iter().chain(options));
    let reports = run.report_directory();
    let (mut command, _directory) = run.into_parts();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let mut child = command.spawn().expect("lastwords");
    let mut line = String::new();
    let stdout = child.stdout.take().expect("a pipe");
    BufReader::new(stdout).read_line(&mut line).expect("the program's pid");
    kill(Pid::from_raw(line.trim().parse().expect("a pid")), signal).expect("the program runs");
    let output = child.wait_with_output().expect("lastwords ends");
    let signal = std::os::unix::process::ExitStatusExt::signal(&output.status).expect("a signal");
    let reports = crate::support::reports_in(&reports).iter().map(|file| Report::read(file)).collect();
    (signal, String::from_utf8(output.stderr).expect("text"), reports)
}

/// The name of the thread that runs this test, as the kernel has it.
fn own_name() -> String {
    let name = std::fs::read_to_string("/proc/thread-self/comm").expect("a name");
    name.trim_end().to_owned()
}

/// Guards against blaming the program for a signal that came from outside.
#[test]
fn a_signal_from_outside_is_told_with_its_sender() {
    let (signal, stderr, reports) = struck_by(Signal::SIGSEGV, &[]);
    assert_eq!((signal, reports.len()), (SIGSEGV, 1), "{stderr}");
    let sender = reports[0].at("/fault/sender");
    assert_eq!(sender["pid"], std::process::id());
    assert_eq!(sender["name"], own_name());
    assert!(stderr.contains(&format!("(\"{}\") of user 0 sent it", own_name())), "{stderr}");
}

/// Guards against `--on` that is not listened to, in either direction.
#[test]
fn which_signals_are_a_crash_can_be_chosen() {
    for (sent, number, options, reported) in [
        (Signal::SIGTERM, SIGTERM, &[][..], false),
        (Signal::SIGTERM, SIGTERM, &["--on", "TERM"], true),
        (Signal::SIGTERM, SIGTERM, &["--on", "+sigterm"], true),
        (Signal::SIGKILL, SIGKILL, &["--on", "9"], true),
        (Signal::SIGKILL, SIGKILL, &["--on", "TERM"], false),
        (Signal::SIGSEGV, SIGSEGV, &["--on", "-SEGV"], false),
    ] {
        let (signal, stderr, reports) = struck_by(sent, options);
        assert_eq!((signal, reports.len()), (number, usize::from(reported)), "{options:?}: {stderr}");
        if let Some(report) = reports.first() {
            assert_eq!(report.at("/fault/signal_number"), number);
            assert_eq!(report.at("/fault/sender/name"), &own_name());
            assert_eq!(report.crashed_thread().calls_of("about_to").args("what"), ["wait"]);
            assert_eq!(functions(report.crashed_thread().field("frames")).last(), Some(&"_start"));
        }
    }
}

/// Guards against a death by SIGKILL that nobody can explain.
#[test]
fn who_sent_a_kill_is_told_to_those_who_ask() {
    let (signal, stderr, reports) = struck_by(Signal::SIGKILL, &["-v"]);
    assert_eq!((signal, reports.len()), (SIGKILL, 0), "{stderr}");
    let expected = format!("was killed by SIGKILL, which \"{}\" (pid {}, user 0) sent", own_name(), std::process::id());
    assert!(stderr.contains(&expected), "{stderr}");
}
