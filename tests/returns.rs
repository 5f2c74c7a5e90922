//! What functions returned, and how long they took.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Compiler, Fixture};

/// One run: results, durations, recursion, and calls that never returned.
pub fn check(compiler: Compiler, flags: [&str; 1], options: &[&str]) {
    let functions = ["add", "negate", "is_even", "name_of", "half", "nothing", "nap", "sum_to", "sink_to"];
    let patterns = functions.iter().flat_map(|function| ["-f", function]);
    let fixture = Fixture::build("returns.c").with(compiler, flags);
    let options = options.iter().copied().chain(["--returns", "always"]);
    let report = fixture.run_until_death(patterns.chain(options));
    let thread = report.crashed_thread();
    let only = |function| thread.calls_of(function).only();

    assert_eq!((only("add").exact("a"), only("add").exact("b")), (json!(3), json!(4)));
    assert_eq!(only("add").result()["value"], 7);
    assert_eq!(only("add").result()["state"], "exact");
    assert_eq!(only("negate").result()["value"], -5);
    assert_eq!(only("is_even").result()["value"], true);
    assert_eq!(only("nothing").result(), &Value::Null);
    // A double comes back in xmm0: its value is not known, and its return is.
    assert_eq!(only("half").result()["state"], "unavailable");
    assert!(only("half").duration_ns().is_some());

    let nap = Duration::from_nanos(only("nap").duration_ns().expect("a duration"));
    assert!((Duration::from_millis(20)..Duration::from_secs(5)).contains(&nap), "nap(20) took {nap:?}");

    let sums = thread.calls_of("sum_to");
    assert_eq!(sums.args("number"), (0..=10).rev().collect::<Vec<_>>());
    assert_eq!(sums.results(), (0..=10).rev().map(|number| number * (number + 1) / 2).collect::<Vec<i32>>());
    assert!(
        sums.0.is_sorted_by(|outer, inner| outer.duration_ns() >= inner.duration_ns()),
        "an outer call takes longer"
    );

    let sinking = thread.calls_of("sink_to");
    assert_eq!(sinking.args("depth"), [5, 4, 3, 2, 1]);
    assert!(sinking.0.iter().all(|call| call.field("returned").is_null()), "{sinking:#?}");
}

/// Guards against results that go to the wrong call, and durations that are measured from another one's entry.
#[test]
fn results_and_durations_belong_to_their_calls() {
    check(Compiler::Gcc, ["-O0"], &[]);
}

/// Guards against the same where functions end by jumps and have no frame.
#[test]
fn results_and_durations_belong_to_their_calls_with_optimization() {
    check(Compiler::Gcc, ["-O2"], &[]);
}

/// Guards against the same with another compiler's exits.
#[test]
fn results_and_durations_belong_to_their_calls_by_clang() {
    check(Compiler::Clang, ["-O2"], &[]);
}

/// Guards against a result for a call that longjmp left, or for the wrong one after it.
#[test]
fn a_call_left_by_longjmp_has_no_result() {
    let report = Fixture::build("longjmp.c").run_until_death(["-f", "after", "-f", "dive", "--calls", "256"]);
    let thread = report.crashed_thread();

    assert_eq!(thread.calls_of("after").results(), (1..=50).collect::<Vec<i32>>());
    let dives = thread.calls_of("dive");
    assert_eq!(dives.len(), 150);
    assert!(
        dives.0.iter().all(|call| call.result().is_null() && call.field("returned")["state"] != "returned"),
        "{dives:#?}"
    );
}
