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

/// Guards against a change of a whole structure where one member has changed, and against one that is missed because it is behind a pointer.
#[test]
fn members_behind_pointers_have_changed_one_by_one() {
    let fixture = Fixture::build("renamed.c");
    let outcome = fixture.run(["-f", "greet"]);
    assert!(outcome.stderr.contains("name: \"alice\" (now NULL)"), "{}", outcome.stderr);
    let report = outcome.report();
    let calls = report.crashed_thread().calls_of("greet");
    let changes = |call: usize| {
        let mut found = Vec::new();
        collect(calls.0[call].arg("r"), "r", &mut found);
        found
    };
    assert_eq!(changes(0), ["r.*.name: \"alice\", now null exact", "r.*.owner.*.age: 30, now 31 exact"]);
    assert_eq!(changes(1), [""; 0]);
    let gone = "r.*: {\"id\":3,\"name\":\"eve\",\"owner\":null}, now null unreadable";
    assert_eq!(changes(2), [gone]);
}

/// Every value with a `now`, by the way to it.
fn collect(value: &Value, path: &str, found: &mut Vec<String>) {
    if let Some(now) = value.get("now") {
        let state = now["state"].as_str().expect("a state");
        found.push(format!("{path}: {}, now {} {state}", value["value"], now["value"]));
    }
    if let Some(target) = value.get("target") {
        collect(target, &format!("{path}.*"), found);
    }
    for member in value["members"].as_array().into_iter().flatten() {
        collect(member, &format!("{path}.{}", member["name"].as_str().unwrap_or("?")), found);
    }
}
