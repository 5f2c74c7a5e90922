//! Deaths at inconvenient moments: two at the same time, in a child, in the first instruction; and stacks that are larger than what is kept.

use nix::libc::{SIGFPE, SIGSEGV};
use serde_json::{Value, json};

use crate::support::{Compiler, Fixture, Report, Thread, runs};

fn functions<'r>(thread: Thread<'r>) -> Vec<&'r str> {
    thread.frames().iter().map(|frame| frame["function"].as_str().unwrap_or("?")).collect()
}

/// The thread that has this function on its stack.
fn thread_in<'r>(report: &'r Report, function: &str) -> Thread<'r> {
    let threads = report.threads();
    let found = threads.iter().find(|thread| functions(**thread).contains(&function));
    *found.unwrap_or_else(|| panic!("no thread in `{function}`: {threads:#?}"))
}

/// Guards against two reports of one death, one that mixes both crashes, none at all, and a thread whose stack is missing because it was
/// about to crash itself.
#[test]
fn two_threads_that_crash_at_the_same_time_make_one_report() {
    for mode in ["write", "divide", "both"] {
        let fixture = Fixture::build("together.c").args([mode]);
        for _ in 0..runs(5) {
            let outcome = fixture.run::<&str>([]);
            // Which of the two gets to end the process is the kernel's affair.
            assert!(outcome.signal().is_some_and(|signal| [SIGSEGV, SIGFPE].contains(&signal)), "{}", outcome.stderr);
            let report = outcome.report();
            let crashed = report.crashed_thread();
            let (writer, divider) = (thread_in(&report, "write_to_null"), thread_in(&report, "divide_by_zero"));
            assert!(functions(writer).windows(2).any(|pair| pair == ["write_to_null", "writer"]), "{mode}");
            assert!(functions(divider).windows(2).any(|pair| pair == ["divide_by_zero", "divider"]), "{mode}");
            let expected = if crashed.tid() == writer.tid() { "SIGSEGV" } else { "SIGFPE" };
            assert_eq!(report.at("/fault/signal"), expected, "{mode}");
            assert_eq!(report.threads().len(), 3, "{mode}");
        }
    }
}

/// Guards against a program that is dead before anybody looks: each of these crashes within its first instructions.
#[test]
fn a_crash_right_after_the_start_is_told() {
    for (function, flags) in [
        ("main", &[][..]),
        ("main", &["-O2"]),
        ("main", &["-static"]),
        ("begin", &["-DCONSTRUCTOR"]),
        ("begin", &["-DCONSTRUCTOR", "-static"]),
        ("_start", &["-DNO_LIBRARY", "-nostdlib", "-static"]),
    ] {
        let fixture = Fixture::build("at_once.c").with_flags(Compiler::Gcc, flags);
        for _ in 0..runs(5) {
            let outcome = fixture.run::<&str>([]);
            assert_eq!(outcome.signal(), Some(SIGSEGV), "{flags:?}: {}", outcome.stderr);
            let report = outcome.report();
            assert_eq!(report.at("/fault/address"), "0x0", "{flags:?}");
            let frames = report.crashed_thread().frames();
            let written = frames.iter().find(|frame| frame["function"] == function);
            let line = written.map(|frame| frame["line"].clone());
            assert!(line.is_some_and(|line| line.as_u64().is_some()), "{flags:?}: {frames:#?}");
        }
    }
}

/// The frame of `outer`, and why frames end, with this much of the stack.
fn outer_with(stack: &str) -> (Option<Value>, Report) {
    let report = Fixture::build("wide.c").run_until_death(["--stack", stack]);
    let outer = report.crashed_thread().frames().iter().find(|frame| frame["function"] == "outer").cloned();
    (outer, report)
}

/// Guards against `--stack` that changes nothing, and against a stack that ends without a word where the copy of it does.
#[test]
fn what_is_beyond_the_kept_stack_is_said_to_be_missing() {
    let (outer, report) = outer_with("512");
    let mark = &outer.expect("a frame of `outer`")["locals"][0];
    assert_eq!((&mark["name"], &mark["value"], &mark["state"]), (&json!("mark"), &json!(12345), &json!("exact")));
    assert_eq!(report.crashed_thread().frames_end(), None);

    for stack in ["0", "4", "64"] {
        let (outer, report) = outer_with(stack);
        assert_eq!(outer, None, "--stack {stack}");
        let thread = report.crashed_thread();
        let end = thread.frames_end().unwrap_or_else(|| panic!("--stack {stack}: {thread:#?}"));
        assert!(end.starts_with("the stack cannot be followed: "), "--stack {stack}: {end}");
    }
}
