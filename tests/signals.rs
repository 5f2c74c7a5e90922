//! Deaths by signals, and signals that are no deaths.

use nix::libc::{SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGINT, SIGKILL, SIGQUIT, SIGSEGV, SIGSYS, SIGTERM, SIGTRAP};

use crate::support::{Fixture, Outcome};

fn run(mode: &str) -> Outcome {
    Fixture::build("signals.c").args([mode]).run(["-f", "about_to"])
}

/// Guards against a signal that is not seen, or that lastwords ends of in another way than the program.
#[test]
fn each_fatal_signal_makes_a_report() {
    let fatal = [
        ("SEGV", SIGSEGV),
        ("BUS", SIGBUS),
        ("FPE", SIGFPE),
        ("ILL", SIGILL),
        ("TRAP", SIGTRAP),
        ("ABRT", SIGABRT),
        ("SYS", SIGSYS),
    ];
    for (mode, signal) in fatal {
        let outcome = run(mode);
        assert_eq!(outcome.signal(), Some(signal), "{mode}: {}", outcome.stderr);
        let report = outcome.report();
        assert_eq!(report.at("/fault/signal"), &format!("SIG{mode}"));
        assert_eq!(report.crashed_thread().calls_of("about_to").args("mode"), [mode]);
    }
}

/// Guards against reports of deaths that nobody calls a crash.
#[test]
fn a_program_that_is_told_to_end_makes_no_report() {
    for (mode, signal) in [("TERM", SIGTERM), ("KILL", SIGKILL), ("INT", SIGINT), ("QUIT", SIGQUIT)] {
        let outcome = run(mode);
        assert_eq!(outcome.signal(), Some(signal), "{mode}: {}", outcome.stderr);
        assert!(outcome.reports.is_empty(), "{mode}: {:#?}", outcome.reports);
    }
}

/// Guards against a report of a fault that the program has dealt with.
#[test]
fn a_survived_signal_makes_no_report() {
    for (mode, status) in [("survive", 5), ("ignored", 0)] {
        let outcome = run(mode);
        assert_eq!(outcome.status.code(), Some(status), "{mode}: {}", outcome.stderr);
        assert!(outcome.reports.is_empty(), "{mode}: {:#?}", outcome.reports);
    }
}

/// Guards against details of another fault than the one that killed.
#[test]
fn the_fault_is_told_with_its_address_and_access() {
    let report = run("SEGV").report();
    assert_eq!(report.at("/fault/address"), "0x10");
    assert_eq!(report.at("/fault/access"), "write");
    assert_eq!(report.at("/fault/code"), "SEGV_MAPERR");

    let outcome = run("BUS");
    let mapped = outcome.stdout.trim_end().to_owned();
    assert_eq!(outcome.report().at("/fault/address"), &mapped);
}

/// Guards against handlers that hide a death: restoring the default action and returning is a common one.
#[test]
fn a_fault_that_kills_after_its_handler_makes_a_report() {
    let outcome = run("reraise");
    assert_eq!(outcome.signal(), Some(SIGSEGV), "{}", outcome.stderr);
    let report = outcome.report();
    assert_eq!(report.at("/fault/address"), "0x10");
    assert_eq!(report.crashed_thread().calls_of("about_to").args("mode"), ["reraise"]);

    let outcome = run("handler-abort");
    assert_eq!(outcome.signal(), Some(SIGABRT), "{}", outcome.stderr);
    let report = outcome.report();
    assert_eq!(report.at("/fault/signal"), "SIGSEGV");
    assert_eq!(report.at("/fault/ended_by/signal"), "SIGABRT");
}

/// Guards against another status than the program's own.
#[test]
fn a_handler_that_exits_decides_on_the_status() {
    assert_eq!(run("handler-exit").status.code(), Some(6));
}

/// Guards against a recorder that needs the program's stack.
#[test]
fn a_full_stack_makes_a_report() {
    let fixture = Fixture::build("signals.c").args(["overflow"]);
    let outcome = fixture.run(["-f", "overflow"]);
    assert_eq!(outcome.signal(), Some(SIGSEGV), "{}", outcome.stderr);
    let report = outcome.report();
    let thread = report.crashed_thread();
    let total = i64::try_from(thread.calls_total()).expect("a small number");

    assert_eq!(thread.calls_of("overflow").args("depth"), (total - 64..total).collect::<Vec<_>>());
}
