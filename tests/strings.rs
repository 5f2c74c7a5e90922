//! Strings that are hard to read, each told as what it is.

use serde_json::{Value, json};

use crate::support::{Compiler, Fixture, Report};

/// The `text` of the call with this label.
fn text<'a>(report: &'a Report, label: &str) -> &'a Value {
    let calls = report.crashed_thread().calls_of("take");
    calls.0.iter().find(|call| call.exact("label") == label).unwrap_or_else(|| panic!("no call `{label}`")).arg("text")
}

/// The first `length` letters of the long string.
fn alphabet(length: usize) -> String {
    ('a'..='z').cycle().take(length).collect()
}

fn report(options: &[&str]) -> Report {
    Fixture::build("strings.c").with(Compiler::Gcc, ["-O2"]).run_until_death([&["-f", "take"], options].concat())
}

/// Guards against a string that is empty because its page was not there, cut at a page, or read past its end.
#[test]
fn a_string_that_can_be_read_is_exact() {
    let report = report(&[]);
    let exact = [
        ("short", "short"),
        ("empty", ""),
        ("edge", "edge"),
        ("half resident", "first second"),
        ("controls", "tab\tnewline\nescape\u{1b}[31mquote\"backslash\\"),
        ("utf8", "Grüße"),
    ];
    for (label, value) in exact {
        let text = text(&report, label);
        assert_eq!((&text["value"], &text["state"]), (&json!(value), &json!("exact")), "{label}: {text:#}");
    }
}

/// Guards against a limit that cuts in silence.
#[test]
fn a_long_string_is_truncated_where_the_limit_is() {
    for (options, kept) in [(&[][..], 256), (&["--string", "16"], 16), (&["--string", "4096"], 4096)] {
        let report = report(options);
        let text = text(&report, "long");
        assert_eq!((&text["value"], &text["state"]), (&json!(alphabet(kept)), &json!("truncated")), "{options:?}");
    }
}

/// Guards against a limit that is off by one: `short` has five bytes.
#[test]
fn a_string_as_long_as_the_limit_is_whole() {
    let exactly = report(&["--string", "5"]);
    assert_eq!(text(&exactly, "short")["state"], "exact");
    assert_eq!(text(&exactly, "short")["value"], "short");
    let one_less = report(&["--string", "4"]);
    // Its label is cut, too: it is the first call.
    let first = one_less.crashed_thread().calls_of("take").0[0].arg("text");
    assert_eq!((&first["value"], &first["state"]), (&json!("shor"), &json!("truncated")), "{first:#}");
}

/// Guards against NULL as an error, or as an empty string.
#[test]
fn null_is_null() {
    let report = report(&[]);
    let text = text(&report, "null");
    assert_eq!((&text["value"], &text["state"], &text["address"]), (&json!(null), &json!("exact"), &json!("0x0")));
}

/// Guards against an empty string, or the last one's bytes, where nothing could be read; and against reading kernel memory.
#[test]
fn a_wild_pointer_is_unreadable() {
    let report = report(&[]);
    let addresses =
        [("wild", "0xdead0000beef"), ("non-canonical", "0xdeadbeefdeadbeef"), ("kernel", "0xffffffff81000000")];
    for (label, address) in addresses {
        let text = text(&report, label);
        assert_eq!((&text["value"], &text["state"]), (&json!(null), &json!("unreadable")), "{label}: {text:#}");
        assert_eq!(text["address"], address, "{label}");
    }
    for label in ["protected", "unmapped"] {
        let text = text(&report, label);
        assert_eq!((&text["value"], &text["state"]), (&json!(null), &json!("unreadable")), "{label}: {text:#}");
    }
}

/// Guards against losing what could be read, and against taking the end of memory for the end of the string.
#[test]
fn a_string_that_runs_out_of_memory_is_told_as_far_as_it_goes() {
    let report = report(&[]);
    let text = text(&report, "torn");
    assert_eq!((&text["value"], &text["state"]), (&json!("torn"), &json!("truncated")), "{text:#}");
    assert!(text["reason"].is_string(), "{text:#}");
}

/// Guards against bytes that get lost because they are no text.
#[test]
fn what_is_no_utf8_is_told_with_its_bytes() {
    let report = report(&[]);
    let latin1 = text(&report, "latin1");
    assert_eq!((&latin1["value"], &latin1["bytes"]), (&json!("caf\\xe9!"), &json!("636166e921")), "{latin1:#}");
    let cut = text(&report, "cut character");
    assert_eq!((&cut["value"], &cut["bytes"]), (&json!("\\xe4\\xb8"), &json!("e4b8")), "{cut:#}");
    assert_eq!((&latin1["state"], &cut["state"]), (&json!("exact"), &json!("exact")));
}
