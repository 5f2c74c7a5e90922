//! Bounds that the user sets are kept, and what does not fit is said.

use crate::support::{Fixture, Lastwords};

/// Guards against a report that is larger than what was asked for, and against one that says nothing of what it left out.
#[test]
fn a_report_stays_within_its_bound() {
    let fixture = Fixture::build("crowd.c").args([40]);
    let most = 100 << 10;

    let outcome = fixture.run(["-f", "*", "--max-report", "100K", "--json", "-"]);

    assert!(outcome.stdout.len() <= most, "{} bytes", outcome.stdout.len());
    assert!(outcome.stderr.contains("(--max-report)"), "{}", outcome.stderr);
    let report = crate::support::Report::parse(&outcome.stdout);
    assert!(report.at("/dropped/0/count").as_u64().is_some_and(|count| count > 0), "{:#}", report.at("/dropped"));
    let whole = fixture.run_until_death(["-f", "*"]);
    assert_eq!(report.crashed_thread().calls().len(), whole.crashed_thread().calls().len());
}

/// Guards against finding out after the death that no report can be as small as that.
#[test]
fn a_bound_that_no_report_can_keep_is_refused() {
    let outcome = Lastwords::new(["run", "--max-report", "1K", "--", "true"]).finish();

    assert_eq!(outcome.status.code(), Some(2));
    assert!(outcome.stderr.contains("a report may need 64K: expected that or more, found `1K`"), "{}", outcome.stderr);
}

/// The functions of the crashed thread's frames, innermost first, and the bytes that are left out.
fn stack_of(mode: &str) -> (Vec<String>, u64, crate::support::Report) {
    let report = Fixture::build("deep.c").args([mode]).run_until_death(["-f", "begin_here"]);
    let thread = report.threads().into_iter().position(|_| true).expect("a thread");
    let frames = report.at(&format!("/threads/{thread}/frames")).as_array().expect("a list of frames").clone();
    let functions = frames.iter().map(|frame| frame["function"].as_str().unwrap_or("?").to_owned()).collect();
    let missing = frames.iter().filter_map(|frame| frame["gap"]["bytes"].as_u64()).sum();
    (functions, missing, report)
}

/// Guards against a deep stack of a second thread whose outer end nobody sees, and against frames of it that are taken from elsewhere.
#[test]
fn the_outer_end_of_a_deep_stack_is_there() {
    for mode in ["crash", "overflow"] {
        let (functions, missing, report) = stack_of(mode);
        assert_eq!(
            functions.iter().find(|function| !function.starts_with("crash")).map(String::as_str),
            Some("descend")
        );
        let outer: Vec<&str> =
            functions.iter().map(String::as_str).skip_while(|&function| function != "begin_here").collect();
        assert_eq!(outer.get(..2), Some(&["begin_here", "worker"][..]), "{mode}: {functions:?}");
        assert!(missing > 100_000, "{mode}: {missing} bytes are missing");
        assert!(report.at("/threads/0/frames_end").is_null(), "{}", report.at("/threads/0/frames_end"));
    }
}

/// Guards against threads that are lost to the bounds of the pools, or whose stacks are taken for those of others.
#[test]
fn each_of_64_threads_has_its_stack() {
    let report = Fixture::build("crowd.c").args([63]).run_until_death(["-f", "wait_here"]);
    let threads = report.at("/threads").as_array().expect("a list of threads");
    let functions = |thread: &serde_json::Value| -> Vec<String> {
        let frames = thread["frames"].as_array().expect("a list of frames");
        frames.iter().filter_map(|frame| frame["function"].as_str().map(str::to_owned)).collect()
    };

    assert_eq!(threads.len(), 64);
    assert_eq!(functions(&threads[0])[0], "main");
    for thread in &threads[1..] {
        let functions = functions(thread);
        let at = functions.iter().position(|function| function == "wait_here");
        assert_eq!(at.and_then(|at| functions.get(at + 1)).map(String::as_str), Some("worker"), "{functions:?}");
    }
}
