//! The program behaves as if nobody watched: same output, same status, same signal; and afterwards nothing is left.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::process::Stdio;

use crate::support::{Compiler, Finished, Fixture, wait};

/// Runs the program bare and under lastwords with all of its functions watched, and compares.
pub fn check(fixture: &Fixture, options: &[&str]) {
    let Finished { status, stdout, stderr } = fixture.run_bare();
    let outcome = fixture.run(options);
    assert_eq!(outcome.status.code(), status.code(), "{}", outcome.stderr);
    assert_eq!(outcome.stdout, stdout);
    assert!(outcome.stderr.starts_with(&stderr), "expected first:\n{stderr}found:\n{}", outcome.stderr);
    assert_eq!(outcome.signal(), std::os::unix::process::ExitStatusExt::signal(&status));
}

/// Guards against stdin that lastwords reads itself, and against a report or a word about a program that is well.
#[test]
fn a_program_that_is_well_goes_by_unnoticed() {
    let input = "first line\nsecond line\n";
    let run = Fixture::build("quiet.c").args(["one", "two words"]).watched(["-f", "*"]).stdin(input);
    let report_directory = run.report_directory();
    let (outcome, left) = run.finish_alone();

    let expected = "argument 1: one\nargument 2: two words\nterminals: 000\nFIRST LINE\nSECOND LINE\n";
    assert_eq!(outcome.stdout, expected);
    assert_eq!(outcome.stderr, "2 lines\n");
    assert_eq!(outcome.status.code(), Some(7));
    assert!(!report_directory.exists(), "no report, and no folder for one");
    assert!(left.is_empty(), "left in the kernel: {left:?}");
}

/// Guards against probes that outlive a crash.
#[test]
fn a_crash_leaves_nothing_in_the_kernel() {
    let (outcome, left) = Fixture::build("exp1.c").watched(["-f", "test"]).finish_alone();

    assert_eq!(outcome.reports.len(), 1);
    assert!(left.is_empty(), "left in the kernel: {left:?}");
}

/// Guards against a pipe or a terminal where the program was given a file.
#[test]
fn stdout_may_be_a_file() {
    let (mut command, directory) = Fixture::build("quiet.c").args(["one"]).watched(["-f", "*"]).into_parts();
    let path = directory.path().join("stdout");
    command.stdin(Stdio::null()).stdout(File::create(&path).expect("a file")).stderr(Stdio::piped()).process_group(0);
    let finished = wait(command.spawn().expect("lastwords"), "quiet");

    assert_eq!(finished.status.code(), Some(7), "{}", finished.stderr);
    assert_eq!(fs::read_to_string(path).expect("what was printed"), "argument 1: one\nterminals: 000\n");
}

/// A test for each program that depends on its stack: they guard against a changed return address that an unwinder, longjmp or a
/// coroutine trips over.
macro_rules! unchanged {
    ($($name:ident: $fixture:literal $compiler:ident $flags:expr;)*) => {$(
        #[test]
        fn $name() {
            check(&Fixture::build($fixture).with(Compiler::$compiler, $flags), &[]);
        }
    )*};
}

unchanged! {
    exceptions_find_their_handlers: "exceptions.cpp" Gcc ["-O0"];
    exceptions_find_their_handlers_with_optimization: "exceptions.cpp" Gcc ["-O2"];
    exceptions_find_their_handlers_by_clang: "exceptions.cpp" Clang ["-O2"];
    panics_are_caught: "slices.rs" Gcc ["-C", "opt-level=0"];
    panics_are_caught_with_optimization: "slices.rs" Gcc ["-C", "opt-level=2"];
    longjmp_lands: "longjmp.c" Gcc ["-O0"];
    longjmp_lands_with_optimization: "longjmp.c" Gcc ["-O2"];
    coroutines_take_turns: "coroutines.c" Gcc ["-O0"];
    coroutines_take_turns_with_optimization: "coroutines.c" Gcc ["-O2"];
    threads_unwind_when_they_exit: "thread_exit.c" Gcc ["-O0"];
    threads_unwind_when_they_exit_with_optimization: "thread_exit.c" Gcc ["-O2"];
}

/// Guards against a recorder that is confused after exceptions have skipped returns.
#[test]
fn calls_are_exact_after_exceptions() {
    let fixture = Fixture::build("exceptions.cpp").args(["crash"]);
    let report =
        fixture.run_until_death(["-f", "thrower", "-f", "middle", "-f", "outer", "-f", "caught", "--calls", "400"]);
    let thread = report.crashed_thread();

    assert_eq!(thread.calls_total(), 400);
    for function in ["thrower", "middle", "outer", "caught"] {
        assert_eq!(thread.calls_of(function).args("round"), (0..100).collect::<Vec<_>>());
    }
    assert_eq!(thread.calls_of("caught").results(), (0..100).collect::<Vec<_>>());
    for function in ["thrower", "middle", "outer"] {
        assert!(thread.calls_of(function).0.iter().all(|call| call.result().is_null()), "{function} never returned");
    }
}

/// Guards against giving a coroutine's result to the other one's call.
#[test]
fn results_of_coroutines_belong_to_their_calls() {
    let fixture = Fixture::build("coroutines.c").args(["crash"]);
    let report = fixture.run_until_death(["-f", "produce"]);
    let calls = report.crashed_thread().calls_of("produce");

    assert_eq!(calls.len(), 40);
    for call in calls.0 {
        let result = call
            .exact("coroutine")
            .as_i64()
            .zip(call.exact("round").as_i64())
            .map(|(number, round)| number * 100 + round);
        assert_eq!(call.result()["value"].as_i64(), result, "{call:#?}");
    }
}
