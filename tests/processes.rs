//! Processes that make other processes, and threads that come and go: each report has one process's calls and no other's.

use nix::libc::SIGSEGV;

use crate::support::{Fixture, Outcome, Report};

fn run(mode: &str, options: &[&str]) -> Outcome {
    Fixture::build("processes.c").args([mode]).run([&["-f", "step"], options].concat())
}

/// The pid that the process called `who` printed.
fn pid_of(stdout: &str, who: &str) -> u64 {
    let line = stdout.lines().find_map(|line| line.strip_prefix(who)?.strip_prefix(' '));
    line.and_then(|pid| pid.parse().ok()).unwrap_or_else(|| panic!("no pid of {who} in:\n{stdout}"))
}

/// The report has these steps of the process called `who`, and nothing else.
fn check_steps<const N: usize>(report: &Report, stdout: &str, who: &str, numbers: [i32; N]) {
    assert_eq!(report.pid(), pid_of(stdout, who));
    let thread = report.crashed_thread();
    assert_eq!(thread.tid(), report.pid());
    assert_eq!(thread.calls_of("step").args("number"), numbers);
    assert!(thread.calls().args("who").iter().all(|name| name == who), "{report:#?}");
    assert_eq!(thread.calls_total(), N as u64);
    assert_eq!(thread.calls_overwritten(), 0);
}

/// A forked child dies, its parent goes on.
pub fn check_fork(options: &[&str]) {
    let outcome = run("fork", options);
    assert_eq!(outcome.status.code(), Some(0), "{}", outcome.stderr);
    let stdout = outcome.stdout.clone();
    assert!(stdout.ends_with(&format!("child died of {SIGSEGV}\n")), "{stdout}");
    check_steps(&outcome.report(), &stdout, "child", [10, 11, 12, 13, 14]);
}

/// Guards against a child that is not followed, that dies of SIGTRAP, or whose report has its parent's pid or calls.
#[test]
fn a_forked_child_has_a_report_of_its_own() {
    check_fork(&[]);
}

/// A child that executes the program again dies.
fn check_exec(mode: &str) {
    let outcome = run(mode, &[]);
    assert_eq!(outcome.status.code(), Some(0), "{}", outcome.stderr);
    let stdout = outcome.stdout.clone();
    assert!(stdout.ends_with(&format!("child died of {SIGSEGV}\n")), "{stdout}");
    let report = outcome.report();
    check_steps(&report, &stdout, "victim", [20, 21, 22, 23, 24]);
    assert_eq!(report.at("/process/args/1"), "victim");
}

/// Guards against calls from before the exec in the report of what came after it.
#[test]
fn a_child_that_executes_the_program_has_a_report_of_its_own() {
    check_exec("exec");
}

/// Guards against mixing up a child that shares its parent's memory with its parent.
#[test]
fn a_child_of_vfork_has_a_report_of_its_own() {
    check_exec("vfork");
}

/// Guards against the same with the way that the C library prefers.
#[test]
fn a_spawned_child_has_a_report_of_its_own() {
    check_exec("spawn");
}

/// Guards against a second death that is lost, or told with the first one's calls.
#[test]
fn two_deaths_make_two_reports() {
    let outcome = run("both", &[]);
    assert_eq!(outcome.signal(), Some(SIGSEGV), "{}", outcome.stderr);
    assert_eq!(outcome.reports.len(), 2, "{}", outcome.stderr);
    let of =
        |who| outcome.reports.iter().find(|report| report.pid() == pid_of(&outcome.stdout, who)).expect("a report");
    check_steps(of("child"), &outcome.stdout, "child", [10, 11, 12, 13, 14]);
    check_steps(of("parent"), &outcome.stdout, "parent", [1, 2, 3]);
}

/// Guards against a report about a process that is none of ours: its calls were never watched.
#[test]
fn the_death_of_another_program_makes_no_report() {
    let outcome = run("other", &[]);
    assert_eq!(outcome.status.code(), Some(0), "{}", outcome.stderr);
    assert!(outcome.stdout.ends_with(&format!("child died of {SIGSEGV}\n")), "{}", outcome.stdout);
    assert!(outcome.reports.is_empty(), "{:#?}", outcome.reports);
}

/// Guards against rings that are not given back, and against one that still has the calls of its last owner.
#[test]
fn short_lived_threads_leave_no_trace() {
    let outcome = run("threads", &["--threads", "16"]);
    let stdout = outcome.stdout.clone();
    let report = outcome.report();

    check_steps(&report, &stdout, "main", [1, 2, 3]);
    assert_eq!(report.threads().len(), 1, "{report:#?}");
    assert_eq!(report.at("/recorder/threads_without_ring"), 0);
}

/// Guards against calls that are told of the wrong thread.
#[test]
fn each_of_ten_threads_has_its_own_calls() {
    let outcome = run("ten", &[]);
    assert_eq!(outcome.signal(), Some(SIGSEGV), "{}", outcome.stderr);
    let report = outcome.report();

    assert_eq!(report.crashed_thread().tid(), report.thread("worker-4").tid());
    for number in 1..=10 {
        let name = format!("worker-{number}");
        let calls = report.thread(&name).calls_of("step");
        assert_eq!(calls.args("number"), (100 * number..=101 * number).collect::<Vec<i32>>());
        assert!(calls.args("who").iter().all(|who| *who == name), "{calls:#?}");
    }
}
