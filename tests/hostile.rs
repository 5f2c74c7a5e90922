//! Values that are damaged, or change while they are read: each call costs no more than its plan says, and what is told of it is what was there.

use serde_json::{Value, json};

use crate::support::{Compiler, Fixture, Report};

/// The argument `value` (or `link`) of the call of `function` with this label.
fn argument<'r>(report: &'r Report, function: &str, label: &str) -> &'r Value {
    let calls = report.crashed_thread().calls_of(function);
    let call = calls.0.into_iter().find(|call| call.exact("label") == label);
    let call = call.unwrap_or_else(|| panic!("no call `{label}` of {function}"));
    &call.arguments()[1]
}

/// Its state, and the reason, of what it refers to.
fn told(value: &Value) -> (&str, &str) {
    let value = value.get("target").unwrap_or(value);
    (value["state"].as_str().expect("a state"), value["reason"].as_str().unwrap_or_default())
}

fn report(options: &[&str]) -> Report {
    let flags = ["-O0", "-pthread"];
    let options = [&["-f", "!main", "--calls", "1000"], options].concat();
    Fixture::build("hostile.cpp").with(Compiler::Gcc, flags).run_until_death(options)
}

/// Guards against pointers that are followed for ever, into nothing, or through a mapping larger than the memory.
#[test]
fn pointers_to_anywhere_end_somewhere() {
    let report = report(&[]);
    let link = |label| argument(&report, "follow", label);
    let next = |value: &Value| value["target"]["members"][1].clone();
    let back = ("unavailable", "it leads back to what it is in");
    assert_eq!(told(&next(&next(link("cycle")))), back);
    assert_eq!(told(&next(link("self"))), back);
    for (label, address) in [("unmapped", "0xdead0000beef"), ("kernel", "0xffff888000000000")] {
        assert_eq!(told(link(label)), ("unreadable", &*format!("no readable memory is mapped at {address}")));
    }
    assert_eq!(told(link("not canonical")).0, "unreadable");
    assert_eq!(told(link("last byte")).0, "unreadable");
    let huge = link("huge");
    assert_eq!(huge["target"]["members"][0]["value"], "", "{huge:#}");
    assert_eq!(next(huge)["target"]["members"][1]["value"], Value::Null, "{huge:#}");
}

/// Guards against a length that is believed: by the kernel side, or by what reads its records.
#[test]
fn lengths_beyond_all_memory_are_not_believed() {
    let report = report(&[]);
    assert_eq!(
        told(argument(&report, "text", "2^63")),
        ("unavailable", "9223372036854775808 bytes where there is room for 36: it is damaged, or not set yet")
    );
    let texts = |label| argument(&report, "texts", label);
    for label in ["2^63", "negative"] {
        let (state, reason) = told(texts(label));
        assert_eq!(state, "unavailable", "{reason}");
        assert!(reason.ends_with("it is damaged, or not set yet"), "{reason}");
    }
    let (state, reason) = told(texts("huge"));
    assert!(state == "truncated" && reason.starts_with("only its first "), "{state}: {reason}");
    let inner = texts("inner");
    let members = &inner["target"]["members"];
    assert_eq!((&members[0]["state"], &members[1]["value"]), (&"unavailable".into(), &"two".into()), "{inner:#}");
    let number = report.crashed_thread().calls_of("number").only();
    assert_eq!((&number.arg("buf")["state"], number.exact("len")), (&"truncated".into(), "9223372036854775808".into()));
}

/// Guards against a length that is believed of what lies behind a structure, and against a text that is looked for beyond the end of the memory.
#[test]
fn what_lies_behind_a_structure_is_bounded() {
    let report = report(&[]);
    let tail = |function, label| {
        let value = argument(&report, function, label);
        let tail = &value["target"]["members"][1];
        (tail["value"].clone(), told(tail).0.to_owned(), told(tail).1.to_owned())
    };
    let (value, state, reason) = tail("packet", "2^62");
    assert_eq!((value, state.as_str()), (Value::Null, "unavailable"));
    assert_eq!(reason, "4611686018427387904 elements of 1 bytes fit into no memory: it is damaged, or not set yet");
    assert_eq!(tail("packet", "negative").2, "its length is negative");
    let counted = "as many as its member `length` says".to_owned();
    assert_eq!(tail("packet", "none"), (json!([]), "exact".to_owned(), counted.clone()));
    assert_eq!(tail("packet", "some"), (json!([0, 1, 2]), "exact".to_owned(), counted.clone()));
    assert_eq!(tail("packet", "huge"), (json!([]), "exact".to_owned(), counted));
    assert_eq!(told(argument(&report, "packet", "last byte")).0, "unreadable");
    assert_eq!(tail("line", "at the end").1, "unreadable");
    let (value, state, _) = tail("line", "empty");
    assert_eq!((value, state.as_str()), (json!(""), "guessed"));
}

/// Guards against walks that go round and round, and against elements that are told twice.
#[test]
fn damaged_nodes_end_a_walk() {
    let report = report(&["--bytes", "4096"]);
    let map = |label| argument(&report, "map", label);
    let keys = |value: &Value| -> Vec<Value> {
        let members = value["target"]["members"].as_array().cloned().unwrap_or_default();
        members.iter().map(|member| member["key"]["value"].clone()).collect()
    };
    let (own, wild, child, count) = (map("own parent"), map("wild parent"), map("own child"), map("count"));
    assert_eq!((keys(own), told(own).0), (vec![1.into()], "truncated"), "{own:#}");
    assert_eq!((keys(wild), told(wild).0), (vec![1.into()], "truncated"), "{wild:#}");
    assert_eq!((keys(child), told(child).0), (vec![1.into(), 2.into()], "truncated"), "{child:#}");
    assert_eq!((keys(count), told(count).0), (vec![1.into(), 2.into()], "truncated"), "{count:#}");
    let nothing = map("nothing");
    assert_eq!((keys(nothing), told(nothing).0), (vec![], "exact"), "{nothing:#}");
    let circle = argument(&report, "list", "circle");
    let members = circle["target"]["members"].as_array().expect("elements");
    assert_eq!((members.len(), &members[0]["value"], told(circle).0), (1, &"one".into(), "truncated"), "{circle:#}");
}

/// Guards against elements of a queue in blocks that are looked for where none are.
#[test]
fn damaged_blocks_hold_nothing() {
    let report = report(&[]);
    let deque = |label| argument(&report, "deque", label);
    let texts = |label| {
        let members = deque(label)["target"]["members"].as_array().cloned().unwrap_or_default();
        members.iter().map(|member| member["value"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(
        (texts("whole"), told(deque("whole")).0),
        (vec![json!("14"), json!("15"), json!("16"), json!("17")], "exact")
    );
    let two = vec![json!("14"), json!("15")];
    let cut = ("truncated", "only its first 2 of 4 elements were captured");
    assert_eq!((texts("wild block"), told(deque("wild block"))), (two, cut));
    assert_eq!((texts("huge")[..2].to_vec(), told(deque("huge")).0), (vec![json!("14"), json!("15")], "truncated"));
    for label in ["backwards", "between elements", "no room"] {
        assert_eq!(told(deque(label)), ("unavailable", "it is damaged, or not set yet"), "{label}");
    }
}

/// Guards against a record that is torn by a text that changes: lengths and texts of two moments may meet, but each byte is one that was there.
#[test]
fn a_text_that_changes_meanwhile_is_one_that_was_there() {
    let report = report(&[]);
    let calls = report.crashed_thread().calls_of("changing");
    assert_eq!(calls.len(), 500);
    for call in calls.0 {
        let value = &call.arg("value")["target"];
        let text = value["value"].as_str().unwrap_or_else(|| panic!("no text: {value:#}"));
        assert!(matches!(text.len(), 20 | 40), "{value:#}");
        assert!(text.bytes().all(|byte| matches!(byte, b'a' | b'b')), "{value:#}");
    }
}
