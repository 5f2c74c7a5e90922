//! Recorded calls beside frames.

use serde_json::json;

use super::super::entry::join;
use super::*;
use crate::report::tests::{int_value, text_value};
use crate::report::{Address, Call};

fn joined(now: Value, then: Value) -> Option<Value> {
    let mut frames = [Frame { n: Some(2), call: Some(7), args: vec![now], ..Frame::default() }];
    let mut calls = [Call { n: 7, args: vec![then], ..Call::default() }];
    join(&mut frames, &mut calls);
    assert_eq!(calls[0].frame, Some(2));
    assert_eq!(frames[0].args.len(), 1);
    frames[0].args.remove(0).at_entry.map(|value| *value)
}

fn gone(of: Value, state: State) -> Value {
    Value { value: json!(null), state, reason: Some("it is gone".into()), length: None, ..of }
}

/// Guards against an argument that is told twice although it is the same, and against one that has changed without a word.
#[test]
fn only_what_differs_or_is_gone_is_told_again() {
    let four = || int_value(Some("len"), 4);
    assert_eq!(joined(four(), four()), None);
    assert_eq!(joined(int_value(Some("len"), 3), four()), Some(four()));
    assert_eq!(joined(gone(four(), State::OptimizedOut), four()), Some(four()));
    assert_eq!(joined(four(), gone(four(), State::Unavailable)), None, "what was not recorded is not told");

    let bob = || text_value("name", "bob");
    assert_eq!(joined(bob(), bob()), None);
    assert_eq!(joined(text_value("name", ""), bob()), Some(bob()), "the text has changed, not the pointer");
    assert_eq!(joined(gone(bob(), State::Unavailable), bob()), Some(bob()));
    let cut = Value { state: State::Truncated, length: None, ..text_value("name", "bo") };
    assert_eq!(joined(cut.clone(), bob()), None);
    let elsewhere = Value { address: Some(Address(0x1234)), ..cut };
    assert_eq!(joined(elsewhere, bob()), Some(bob()));
}

/// Guards against arguments that take each other's values.
#[test]
fn arguments_are_matched_by_their_names() {
    let mut frames = [
        Frame { call: Some(1), args: vec![int_value(Some("b"), 2)], ..Frame::default() },
        Frame { call: None, args: vec![int_value(Some("a"), 5)], ..Frame::default() },
    ];
    let mut calls = [Call { n: 1, args: vec![int_value(Some("a"), 1), int_value(Some("b"), 3)], ..Call::default() }];

    join(&mut frames, &mut calls);

    let was = |value: &Value| value.at_entry.as_ref().map(|value| value.value.clone());
    let told: Vec<_> = frames[0].args.iter().map(|value| (value.name.as_deref().unwrap(), was(value))).collect();
    assert_eq!(told, [("b", Some(json!(3))), ("a", Some(json!(1)))]);
    assert_eq!(was(&frames[1].args[0]), None);
}
