//! What values of each kind look like: in the report, and on the page.

use serde_json::{Value, json};

use crate::support::{Compiler, Fixture, Outcome, without_addresses};

fn run(compiler: Compiler, options: &[&str]) -> Outcome {
    let fixture = Fixture::build("formats.c").with(compiler, ["-O0"]);
    fixture.run(["-f", "!main", "-f", "!crash"].iter().chain(options))
}

/// What the first argument of a function points to.
fn pointee<'r>(outcome: &'r Outcome, function: &str) -> &'r Value {
    let thread = outcome.reports[0].crashed_thread();
    &thread.calls_of(function).only().field("args")[0]["target"]
}

/// The page's lines about calls, without their addresses.
fn lines(outcome: &Outcome) -> Vec<String> {
    outcome.stderr.lines().map(|line| without_addresses(line.trim_end())).collect()
}

/// Guards against numbers that JSON readers round, members in another order, and values of one kind that look like those of another.
#[test]
fn json_is_as_natural_as_it_can_be() {
    for compiler in [Compiler::Gcc, Compiler::Clang] {
        let outcome = run(compiler, &[]);
        let numbers = &pointee(&outcome, "numbers")["value"];
        let expected = json!({
            "yes": true,
            "small": -1,
            "byte": 200,
            "low": "-9223372036854775808",
            "high": "18446744073709551615",
            "safe": 9_007_199_254_740_992_u64,
            "wide": "1267650600228229401496703205376",
            "quarter": 0.25,
            "tenth": 0.1,
            "nan": "NaN",
            "infinite": "-inf",
            "extended": 1.5,
            "point": { "real": 1.0, "imaginary": 2.0 },
        });
        // As text, so that the order counts.
        assert_eq!(numbers.to_string(), expected.to_string(), "{compiler:?}");
        let mut kinds = pointee(&outcome, "kinds")["value"].clone();
        assert!(kinds["call"].as_str().expect("an address").starts_with("0x"));
        kinds["call"] = json!("0x");
        let expected = json!({
            "letter": 233,
            "character": 120,
            "newline": 10,
            "color": "GREEN",
            "unknown": 3,
            "mode": "READ|EXEC",
            "odd": 9,
            "id": 77,
            "name": "ab",
            "grid": [[1, 2, 3], [4, 5, 6]],
            "inner": [{ "z": 1, "a": 2 }, { "z": 3, "a": 4 }],
            "low": 5,
            "high": -2,
            "call": "0x",
            "nothing": null,
            "something": "0x5000",
            "whole": 513,
            "parts": "\u{1}\u{2}",
        });
        assert_eq!(kinds.to_string(), expected.to_string(), "{compiler:?}");
    }
}

/// Guards against members without a type, a state, or the address or name that goes with them.
#[test]
fn every_part_has_a_type_and_a_state_and_an_address_where_it_holds_one() {
    let outcome = run(Compiler::Gcc, &[]);
    let parts = pointee(&outcome, "kinds")["members"].as_array().expect("members");
    assert!(parts.iter().all(|part| part["state"] == "exact" && part["type"].is_string()), "{parts:#?}");
    let part = |name: &str| parts.iter().find(|part| part["name"] == name).expect("a member");
    assert_eq!((&part("letter")["text"], &part("character")["text"]), (&json!("'é'"), &json!("'x'")));
    assert_eq!((&part("mode")["number"], &part("id")["type"]), (&json!(5), &json!("id_t_")));
    assert_eq!((&part("call")["symbol"], &part("call")["address"]), (&json!("twice"), &part("call")["value"]));
    assert_eq!((&part("nothing")["address"], &part("something")["address"]), (&json!("0x0"), &json!("0x5000")));
    let items = &pointee(&outcome, "counted")["members"][1];
    assert_eq!((&items["value"], &items["state"]), (&json!([7, 8, 9]), &json!("exact")));
    assert_eq!(items["reason"], "as many as its member `count` says");
}

/// Guards against a page on which a value looks like its JSON.
#[test]
fn the_page_is_compact() {
    let lines = lines(&run(Compiler::Gcc, &[]));
    let rec = r#"rec(r = * → node {id: 7, name: "alice", next: * → node {id: 8, name: "bob", next: NULL}}, n = 2) = 9"#;
    assert!(lines.iter().any(|line| line.contains(rec)), "{}", lines.join("\n"));
    let kinds = "call: * <twice>, nothing: NULL, something: 0x5000, {whole: 513, parts: \"\\u{1}\\u{2}\"}}) = 5";
    assert!(lines.iter().any(|line| line.contains(kinds)), "{}", lines.join("\n"));
}

/// Guards against calls of a page's width on one line where there was room for more.
#[test]
fn a_verbose_page_breaks_what_is_wide() {
    let lines = lines(&run(Compiler::Gcc, &["-v"]));
    let at = lines.iter().position(|line| line.ends_with(" rec(")).expect("a call of `rec`");
    let indent = lines[at].find("rec(").expect("its name");
    let shown: Vec<&str> = lines[at + 1..at + 8].iter().map(|line| &line[indent..]).collect();
    let expected = [
        "  r = * → node {",
        "    id: 7,",
        r#"    name: "alice","#,
        r#"    next: * → node {id: 8, name: "bob", next: NULL}"#,
        "  },",
        "  n = 2",
    ];
    assert_eq!(shown[..6], expected);
    assert!(shown[6].starts_with(") = 9   in "), "{}", shown[6]);
    assert!(lines.iter().any(|line| line.contains("  twice(n = 1) = 2   in ")), "{}", lines.join("\n"));
}
