//! Functions that jump back to their first instruction: a turn of a loop is no call.

use serde_json::json;

use crate::support::{Compiler, Fixture, Report};

/// The conditions of the fixture: all that a jump can have. Under each, a function is called twice with this `by`.
const CASES: [(&str, i64); 16] = [
    ("o", 1),
    ("no", 1),
    ("b", 3),
    ("ae", 3),
    ("e", 3),
    ("ne", 3),
    ("be", 3),
    ("a", 3),
    ("s", -3),
    ("ns", 3),
    ("p", 1),
    ("np", 2),
    ("l", -3),
    ("ge", 3),
    ("le", -3),
    ("g", 3),
];

fn turns() -> Fixture {
    Fixture::build("turns.c").with(Compiler::Gcc, ["-O2", "-fcf-protection=none"])
}

fn check(report: &Report) {
    let thread = report.crashed_thread();
    let mut expected = 0;
    for (condition, by) in CASES {
        let calls = thread.calls_of(&format!("if_{condition}"));
        assert_eq!(calls.args("by"), [json!(by), json!(by)], "if_{condition}");
        expected += 2;
    }
    assert_eq!(thread.calls_of("always").args("by"), [2]);
    assert_eq!(thread.calls_of("last_of").len(), 3);
    assert_eq!(thread.calls_of("falls_to").args("limit"), [10, 90]);
    // Executed more often than called: otherwise nothing was tested.
    for call in thread.calls_of("executed").0 {
        assert!(call.exact("times").as_i64() > Some(2), "{}", call.exact("function"));
    }
    assert_eq!(thread.calls_of("executed").len(), CASES.len());
    assert_eq!(thread.calls_total(), expected + 1 + 3 + 2 + CASES.len() as u64);
}

const FUNCTIONS: [&str; 10] = ["-f", "if_*", "-f", "always", "-f", "last_of", "-f", "falls_to", "-f", "executed"];

/// Guards against a loop of a million turns that is a million calls, and against a call that is taken for a turn: of the same frame, after the
/// condition of a jump did not hold.
#[test]
fn a_turn_of_a_loop_is_no_call() {
    check(&turns().run_until_death(FUNCTIONS));
}

/// Guards against results of turns, and against a call without one: it is left at one of its returns, once.
#[test]
fn a_function_that_is_a_loop_has_one_result_a_call() {
    let report = turns().run_until_death(FUNCTIONS);

    assert_eq!(report.crashed_thread().calls_of("last_of").results(), [3, 3, 3]);
}
