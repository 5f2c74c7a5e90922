use serde_json::json;

use super::*;
use crate::report::tests::{int_value, small_report, text_value};
use crate::report::{Address, Basis, Finding};

const SECRET: &str = "hunter2";

fn of(name: &str, ty: &str, value: Value) -> Value {
    Value { name: Some(name.into()), ty: ty.into(), ..value }
}

fn structure(name: &str, ty: &str, members: Vec<Value>) -> Value {
    let object = members.iter().map(|member| (member.name.clone().unwrap_or_default(), member.value.clone()));
    let value = Json::Object(object.collect());
    Value { members, ..of(name, ty, Value { value, state: State::Exact, ..Value::default() }) }
}

/// A report with these arguments of its one call, after redaction by one pattern.
fn redacted(pattern: &str, args: Vec<Value>) -> Report {
    let mut report = small_report();
    report.threads[0].calls[0].args = args;
    Redaction::new(&[pattern.into()]).apply(&mut report);
    report
}

fn arg(report: &Report) -> &Value {
    &report.threads[0].calls[0].args[0]
}

/// Guards against a value that is hidden in one place and told in the struct around it.
#[test]
fn what_is_named_is_gone_from_all_that_holds_it() {
    let inner = structure("login", "struct login", vec![int_value(Some("id"), 7), text_value("token", SECRET)]);
    let outer = structure("session", "struct session", vec![int_value(Some("n"), 1), inner]);
    for pattern in ["token", "tok*"] {
        let report = redacted(pattern, vec![outer.clone()]);
        assert_eq!(arg(&report).value, json!({ "n": 1, "login": { "id": 7, "token": null } }));
        assert_eq!((arg(&report).state, arg(&report).reason.as_deref()), (State::Redacted, Some("`login`: redacted")));
        let token = &arg(&report).members[1].members[1];
        let expected = Value { state: State::Redacted, ..of("token", "const char *", Value::default()) };
        assert_eq!(*token, expected, "no address, no length, no reason");
    }
    for pattern in ["test", "session", "struct session"] {
        let report = redacted(pattern, vec![outer.clone()]);
        assert_eq!((arg(&report).state, arg(&report).members.len()), (State::Redacted, 0), "{pattern}");
    }
    assert_eq!(redacted("toke", vec![outer.clone()]).threads[0].calls[0].args, [outer]);
}

/// Guards against a type that is only found where it stands alone.
#[test]
fn a_type_is_meant_wherever_its_name_stands() {
    let types =
        ["app::Token", "const struct Token *", "std::vector<app::Token, std::allocator<app::Token> >", "&mut [Token]"];
    for ty in types {
        assert_eq!(arg(&redacted("Token", vec![of("t", ty, int_value(None, 1))])).state, State::Redacted, "{ty}");
    }
    for ty in ["Tokens", "struct BigToken"] {
        assert_eq!(arg(&redacted("Token", vec![of("t", ty, int_value(None, 1))])).state, State::Exact, "{ty}");
    }
}

/// Guards against the same bytes by another name, in a sentence, or as numbers.
#[test]
fn what_holds_a_text_that_was_taken_away_goes_too() {
    let mut report = small_report();
    let bytes = json!(b"(hunter2)");
    let list = Value { value: bytes, state: State::Exact, ..of("raw", "unsigned char[9]", Value::default()) };
    let both = structure("both", "union both", vec![text_value("key", "k"), int_value(Some("number"), 107)]);
    let near = text_value("near", "hunter");
    report.threads[0].calls[0].args =
        vec![text_value("token", SECRET), text_value("s", "is hunter2!"), list, near.clone(), both];
    report.fault.explanation = "aborted: \"hunter2\" at 0x402010, not 0x4020105".into();
    report.fault.findings = vec![Finding { text: "it was hunter2".into(), basis: Basis::Known }];
    report.process.args.push("--token=hunter2".into());

    Redaction::new(&["token".into(), "key".into()]).apply(&mut report);

    let states: Vec<State> = report.threads[0].calls[0].args.iter().map(|arg| arg.state).collect();
    let gone = State::Redacted;
    assert_eq!(states, [gone, gone, gone, State::Exact, gone]);
    assert_eq!(report.threads[0].calls[0].args[4].members, [], "members of a union are the same bytes");
    assert_eq!(report.fault.explanation, "aborted: \"<redacted>\" at <redacted>, not 0x4020105");
    assert_eq!(report.fault.findings[0].text, "it was <redacted>");
    assert_eq!(report.process.args.last().unwrap(), "--token=<redacted>");
    assert!(!serde_json::to_string(&report).unwrap().contains(SECRET));
}

/// Guards against what hangs on a value and is forgotten: behind pointers, then and now, at the entry, in results and frames.
#[test]
fn what_hangs_on_a_value_is_looked_through() {
    let mut report = small_report();
    let secret = || Some(Box::new(text_value("token", SECRET)));
    let with = |value: Value| Value { name: Some("x".into()), ty: "int *".into(), state: State::Exact, ..value };
    report.threads[0].calls[0].args = vec![
        with(Value { target: secret(), ..Value::default() }),
        with(Value { now: secret(), ..Value::default() }),
        with(Value { after: secret(), ..Value::default() }),
        with(Value { at_entry: secret(), ..Value::default() }),
    ];
    report.threads[0].calls[0].returned.as_mut().unwrap().value = secret();
    report.threads[0].frames[0].locals = vec![text_value("token", SECRET)];
    report.threads[0].frames[0].args = vec![text_value("token", SECRET)];

    Redaction::new(&["token".into()]).apply(&mut report);

    let json = serde_json::to_string(&report).unwrap();
    assert_eq!(json.matches("\"redacted\"").count(), 7);
    assert!(!json.contains(SECRET) && !json.contains(&Address(0x40_2010).to_string()));
}

/// Guards against an element of a map, or of an enum, that stands in the JSON of the whole in another form.
#[test]
fn where_it_is_not_known_how_a_part_is_told_the_whole_has_no_json() {
    let mut element = text_value("", SECRET);
    element.name = None;
    element.key = Some(Box::new(text_value("", "token")));
    let map = Value {
        value: json!({ "token": SECRET }),
        members: vec![element],
        state: State::Exact,
        ..of("headers", "std::map<int, int>", Value::default())
    };
    let variant = Value {
        value: json!({ "Login": { "token": SECRET } }),
        variant: Some("Login".into()),
        ..structure("event", "app::Event", vec![text_value("token", SECRET)])
    };
    let report = redacted("token", vec![map, variant]);
    let args = &report.threads[0].calls[0].args;
    assert_eq!((&args[0].value, &args[1].value), (&Json::Null, &Json::Null));
    assert_eq!(args[0].members[0].key.as_ref().unwrap().value, "token", "the key is no secret");
    assert!(!serde_json::to_string(&report).unwrap().contains(SECRET));
}
