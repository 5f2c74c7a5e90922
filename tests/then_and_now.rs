//! What the last calls' pointers lead to at the moment of death.

use serde_json::{Value, json};

use crate::support::{Fixture, Report};

fn report() -> Report {
    Fixture::build("then_and_now.c").run_until_death(["-f", "greet"])
}

/// Guards against a change that is not told, against one that nobody can know of, and against `now` at what is the same.
#[test]
fn what_has_changed_since_is_told() {
    let report = report();
    let calls = report.crashed_thread().calls();
    let names: Vec<&Value> = calls.0.iter().map(|call| call.arg("name")).collect();
    let then_and_now: Vec<Value> =
        names[10..].iter().map(|name| json!([name["value"], name["now"]["value"], name["now"]["state"]])).collect();

    let tail = "x".repeat(256);
    assert_eq!(
        json!(then_and_now),
        json!([
            [null, null, null],
            ["alice", "bob", "exact"],
            ["whole", "whol", "exact"],
            ["sho", "short", "exact"],
            [tail, null, null],
            ["gone", null, "unreadable"],
            ["constant", null, null],
        ])
    );
    assert!(names.iter().all(|name| name["value"] != "constant" || name.get("now").is_none()));
}

/// Guards against a page that looks as if nothing had changed.
#[test]
fn the_page_has_both() {
    let outcome = Fixture::build("then_and_now.c").run(["-f", "greet"]);
    for line in [
        "greet(name = \"alice\" (now \"bob\"))",
        "greet(name = \"gone\" (now <unreadable",
        "greet(name = \"constant\")",
    ] {
        assert!(outcome.stderr.contains(line), "{line}: {}", outcome.stderr);
    }
}
