//! Values as their authors wrote them: in the report, and on the page.

use serde_json::{Value, json};

use crate::support::{Compiler, Fixture, Report, without_addresses};

/// The locals of the innermost frame of the program itself.
fn locals(report: &Report) -> &Vec<Value> {
    let mut frames = report.at("/threads/0/frames").as_array().expect("a list of frames").iter();
    frames.find(|frame| frame["own"] == true).and_then(|frame| frame["locals"].as_array()).expect("a list of locals")
}

/// One of them.
fn local<'r>(report: &'r Report, name: &str) -> &'r Value {
    let found = locals(report).iter().find(|local| local["name"] == name);
    found.unwrap_or_else(|| panic!("no `{name}` in {:#?}", locals(report)))
}

/// The value of one that must be exact.
fn exact(report: &Report, name: &str) -> Value {
    let local = local(report, name);
    assert_eq!(local["state"], "exact", "{local:#}");
    local["value"].clone()
}

/// Checks lines of the page, in which `*` stands for any address.
fn page_has(page: &str, lines: &[&str]) {
    let page: Vec<String> = page.lines().map(|line| without_addresses(line.trim())).collect();
    for line in lines {
        assert!(page.iter().any(|shown| shown == line), "no line `{line}` in\n{}", page.join("\n"));
    }
}

fn of_c(compiler: Compiler) {
    let outcome = Fixture::build("values.c").with(compiler, ["-O0"]).run(["-v"]);
    page_has(
        &outcome.stderr,
        &[
            "flags = flags {ready: 1, level: -3, kind: 4000}",
            "number = number {whole: 513, bytes: [1, 2, 0, 0]}",
            "ops = ops {open: * <opener>, data: * <table+0x4>}",
            r#"first = node {id: 1, name: "alice", next: * → node {id: 2, name: "bob", next: NULL}}"#,
            r#"names = ["a", "b, c"]"#,
            "buffer = <32 bytes: 01 02 00 00 00 00 00 00 …>",
        ],
    );
    let report = outcome.report();
    assert_eq!(exact(&report, "flags"), json!({ "ready": 1, "level": -3, "kind": 4000 }));
    assert_eq!(exact(&report, "number"), json!({ "whole": 513, "bytes": [1, 2, 0, 0] }));
    let ops = local(&report, "ops");
    assert_eq!((&ops["members"][0]["symbol"], &ops["members"][1]["symbol"]), (&json!("opener"), &json!("table+0x4")));
    assert_eq!(local(&report, "first")["members"][2]["target"]["value"]["name"], "bob");
}

/// Guards against bit-fields without their sign, unions with one face, and addresses of functions that nobody can read.
#[test]
fn of_c_by_gcc() {
    of_c(Compiler::Gcc);
}

#[test]
fn of_c_by_clang() {
    of_c(Compiler::Clang);
}

/// Guards against containers that are told by what they are made of.
#[test]
fn of_cpp() {
    let outcome = Fixture::build("values.cpp").with(Compiler::Gcc, ["-O0", "-std=c++17"]).run(["-v"]);
    page_has(
        &outcome.stderr,
        &[
            r#"named = Named {Point: Point {x: 3, y: 4}, name: "corner"}"#,
            r#"view = "view""#,
            "some = 3",
            "none = nullopt",
            r#"either = std::string("or")"#,
            "pair = (1, 99 'c')",
            "list = [1, 2, 3]",
            "nobody = NULL",
            "empty = {}",
        ],
    );
    let report = outcome.report();
    assert_eq!(exact(&report, "named"), json!({ "Point": { "x": 3, "y": 4 }, "name": "corner" }));
    assert_eq!((exact(&report, "some"), exact(&report, "none")), (json!(3), json!(null)));
    assert_eq!(exact(&report, "either"), "or");
    assert_eq!(local(&report, "either")["variant"], "std::string");
    assert_eq!(exact(&report, "pair"), json!([1, 99]));
    assert_eq!(exact(&report, "list"), json!([1, 2, 3]));
}

/// Guards against enums without their variant, and `Some(None)` that becomes `None`.
#[test]
fn of_rust() {
    let outcome = Fixture::build("values.rs").run(["-v"]);
    page_has(
        &outcome.stderr,
        &[
            "some = Some(7)",
            "none = None",
            "nested = Some(None)",
            r#"bad = Err("no way")"#,
            "circle = Shape::Circle {r: 2}",
            "pair = Shape::Pair(1, -2)",
            "dot = Shape::Dot",
            r#"tuple = (1, "x", 'c')"#,
            "slice = [2, 3]",
            r#"path = "b/c""#,
            "cell = 3",
            "list = [1, 2, 3]",
            "function = * <values::crash>",
        ],
    );
    let report = outcome.report();
    assert_eq!((exact(&report, "some"), exact(&report, "none")), (json!(7), json!(null)));
    assert_eq!(exact(&report, "nested"), json!({ "Some": null }));
    assert_eq!(exact(&report, "bad"), json!({ "Err": "no way" }));
    assert_eq!(exact(&report, "circle"), json!({ "Circle": { "r": 2 } }));
    assert_eq!((exact(&report, "pair"), exact(&report, "dot")), (json!({ "Pair": [1, -2] }), json!("Dot")));
    assert_eq!(local(&report, "circle")["variant"], "Circle");
    assert_eq!(exact(&report, "tuple"), json!([1, "x", "c"]));
    assert_eq!(local(&report, "list")["length"], 3);
}
