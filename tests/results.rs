//! What functions return, in depth, and what has become of their arguments by then (`--after`).

use serde_json::json;

use crate::support::{Compiler, Fixture, Outcome, without_addresses};

/// The calls on the page, without numbers, times, places, and what has changed since.
fn calls(outcome: &Outcome) -> Vec<String> {
    let call = |line: &str| {
        let (_, call) = line.trim_start().strip_prefix('#')?.split_once("s  ")?;
        let end = call.rfind("   ").unwrap_or(call.len());
        let call = &call[..end];
        let call = without_now(call);
        let call = call.rsplit_once("   in ").map_or(call.as_str(), |(call, _)| call);
        Some(without_names(&without_addresses(call)).trim_end().to_owned())
    };
    unbroken(&outcome.stderr).iter().filter_map(|line| call(line)).collect()
}

/// The lines of calls; those of a call that has more than one are joined.
fn unbroken(page: &str) -> Vec<String> {
    let mut calls: Vec<String> = Vec::new();
    for line in page.lines() {
        let text = line.trim_start();
        match calls.last_mut() {
            _ if text.starts_with('#') && text.contains(" +0.") => calls.push(text.to_owned()),
            Some(call) if line.starts_with("      ") => {
                let is_tight = call.ends_with(['(', '{', '[']) || text.starts_with([')', '}', ']']);
                call.push_str(if is_tight { "" } else { " " });
                call.push_str(text);
            }
            _ => {}
        }
    }
    calls
}

/// Names of what addresses lead to are another matter: see `formats`.
fn without_names(call: &str) -> String {
    let mut parts = call.split("* <");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |call, part| call + "*" + part.split_once('>').map_or("", |(_, behind)| behind))
}

/// What has changed after that, too, is another matter: see `then_and_now`.
fn without_now(call: &str) -> String {
    let mut call = call.to_owned();
    while let Some(at) = call.find(" (now ") {
        let (mut depth, mut is_text, mut is_escaped) = (0, false, false);
        let end = call[at..].char_indices().find_map(|(index, character)| {
            // Memory that was freed since may hold brackets as well.
            is_text ^= character == '"' && !is_escaped;
            is_escaped = character == '\\' && !is_escaped;
            depth += i32::from(character == '(' && !is_text) - i32::from(character == ')' && !is_text);
            (index > 1 && depth == 0).then_some(at + index + 1)
        });
        call.replace_range(at..end.expect("a bracket that closes"), "");
    }
    call
}

fn run(fixture: &Fixture, options: &[&str]) -> Outcome {
    fixture.run(["-v", "-f", "!main", "-f", "!crash", "--after", "--returns", "always"].iter().chain(options))
}

fn has_calls(outcome: &Outcome, expected: &[&str]) {
    let calls = calls(outcome);
    for call in expected {
        assert!(calls.iter().any(|shown| shown == call), "no call `{call}` in\n{}", calls.join("\n"));
    }
}

const OF_C: [&str; 11] = [
    r#"text_of(n = 1) = "some text""#,
    "text_of(n = 0) = NULL",
    r#"name_of(n = 1) = * → name {given: "alice", length: 5}"#,
    "name_of(n = 0) = NULL",
    r#"pair_of(n = 4) = pair {first: 4, second: * → name {given: "alice", length: 5}}"#,
    "mixed_of(n = 3) = mixed {weight: <unavailable: in register xmm0>, count: 3}",
    "small_of(n = -2) = small {a: -2, b: 98 'b'}",
    "bits_of(n = 5) = bits {low: 5, high: -5}",
    "wide_of(n = 1) = 18446744073709551623",
    "double_of(n = 3) = <unavailable: in register xmm0>",
    r#"large_of(id = 6) = large {id: 6, text: "in it", name: * → name {given: "alice", length: 5}, numbers: [1, 2, 3]}"#,
];

const AFTER_IN_C: [&str; 9] = [
    r#"fill(fd = 0, buf = "" ⇒ "hello", n = 16) = 5"#,
    r#"receive(fd = 5, data = "hello\0\0\0\0\0\0\0\0\0\0\0" ⇒ "HELLO" (as many bytes as it returned), size = 16) = 5"#,
    r#"receive(fd = 3, data = "HELLO\0\0\0\0\0\0\0\0\0\0\0", size = 16) = 3"#,
    r#"rename_to(name = "before" ⇒ "after", to = "after")"#,
    r#"advance(counter = * → counter {n: 1 ⇒ 2, label: "first", next: NULL ⇒ * → counter {n: 3, label: "last", next: NULL}}, other = * → counter {n: 7, label: "other", next: NULL}) = 7"#,
    "put(out = * → 1 ⇒ 2, n = 2)",
    "put(out = NULL, n = 2)",
    r#"replace(place = * → NULL ⇒ * → name {given: "alice", length: 5})"#,
    r#"leave_alone(counter = * → counter {n: 2, label: "first", next: * → counter {n: 3, label: "last", next: NULL}})"#,
];

fn of_c(compiler: Compiler, flags: [&str; 1]) -> Outcome {
    let outcome = run(&Fixture::build("results.c").with(compiler, flags), &[]);
    has_calls(&outcome, &OF_C);
    has_calls(&outcome, &AFTER_IN_C);
    outcome
}

/// Guards against rax for the value of a result that is in memory, against results whose pointers lead nowhere, and against arguments as they were only.
#[test]
fn of_c_by_gcc() {
    let outcome = of_c(Compiler::Gcc, ["-O0"]);
    let report = &outcome.reports[0];
    let thread = report.crashed_thread();
    let buffer = thread.calls_of("fill").only().arg("buf");
    assert_eq!((&buffer["value"], &buffer["after"]["value"]), (&json!(""), &json!("hello")));
    assert_eq!(buffer["after"].get("name"), Some(&json!(null)));
    let counter = &thread.calls_of("advance").only().arg("counter")["target"];
    assert_eq!((&counter["members"][0]["value"], &counter["members"][0]["after"]["value"]), (&json!(1), &json!(2)));
    assert_eq!(counter["members"][1].get("after"), None, "what has not changed is not repeated");
    assert_eq!(thread.calls_of("floats_of").only().result()["members"][2]["reason"], "in register xmm1");
    assert_eq!(thread.calls_of("long_double_of").only().result()["reason"], "in register st0");
}

#[test]
fn of_c_by_gcc_optimized() {
    of_c(Compiler::Gcc, ["-O2"]);
}

#[test]
fn of_c_by_clang() {
    of_c(Compiler::Clang, ["-O0"]);
}

#[test]
fn of_c_by_clang_optimized() {
    of_c(Compiler::Clang, ["-O2"]);
}

/// Guards against reading again what nobody asked for.
#[test]
fn without_being_asked_for_nothing_is_read_again() {
    let outcome = Fixture::build("results.c").run(["-v", "-f", "fill", "-f", "rename_to"]);
    assert!(!outcome.stderr.contains('⇒'), "{}", outcome.stderr);
    let report = outcome.report();
    assert_eq!(report.crashed_thread().calls_of("fill").only().arg("buf").get("after"), None);
}

/// A few functions, by some tier. Guards against a return probe that cannot fault pages in: the text that is returned was never touched.
pub fn check(options: &[&str]) {
    let few = ["-v", "--after", "--returns", "always", "-f", "text_of", "-f", "large_of", "-f", "receive"];
    let outcome = Fixture::build("results.c").run(few.iter().chain(options));
    let of_these = |call: &&&str| ["text_of", "large_of", "receive"].iter().any(|name| call.starts_with(name));
    let expected: Vec<&str> = OF_C.iter().chain(&AFTER_IN_C).filter(of_these).copied().collect();
    assert_eq!(expected.len(), 5);
    has_calls(&outcome, &expected);
}

const OF_CPP: [&str; 11] = [
    r#"short_text[abi:cxx11](n = 3) = "xxx""#,
    r#"long_text[abi:cxx11]() = "a text that does not fit into the object""#,
    r#"view() = "viewed""#,
    "list(n = 1) = [1, 2, 3]",
    "owned() = * → Point {x: 1, y: 2}",
    "maybe(is = true) = 3",
    "maybe(is = false) = nullopt",
    "point(x = 6) = Point {x: 6, y: -6}",
    "reference() = * → Point {x: 8, y: 9}",
    "handle() = Handle {number: * → 42}",
    "weighed() = Weighed {weight: <unavailable: in register xmm0>, count: 7}",
];

fn of_cpp(compiler: Compiler, flags: &[&str]) {
    let outcome = run(&Fixture::build("results.cpp").with_flags(compiler, flags), &["--source", "results.cpp"]);
    has_calls(&outcome, &OF_CPP);
    let after = ["push(list = * → [1, 2] ⇒ [1, 2, 3], n = 3)", "move_by(point = * → Point {x: 1 ⇒ 11, y: 2}, by = 10)"];
    has_calls(&outcome, &after);
    let derived = outcome.reports[0].crashed_thread().calls_of("derived").only().result();
    assert_eq!((&derived["value"]["Base"]["id"], &derived["value"]["more"]), (&json!(4), &json!(5)));
}

/// Guards against classes that are looked for in registers and are in memory, and the other way round.
#[test]
fn of_cpp_by_gcc() {
    of_cpp(Compiler::Gcc, &["-O0"]);
    of_cpp(Compiler::Gcc, &["-O0", "-gdwarf-4"]);
}

#[test]
fn of_cpp_by_gcc_optimized() {
    of_cpp(Compiler::Gcc, &["-O2"]);
}

#[test]
fn of_cpp_by_clang() {
    of_cpp(Compiler::Clang, &["-O0", "-fstandalone-debug"]);
    of_cpp(Compiler::Clang, &["-O0", "-fstandalone-debug", "-gdwarf-4"]);
}

/// Guards against two scalars that are taken for one word, and against what rustc hands back in memory.
#[test]
fn of_rust() {
    let outcome = run(&Fixture::build("results.rs"), &["--source", "results.rs"]);
    has_calls(
        &outcome,
        &[
            r#"results::text(n = 2) = "a texta text""#,
            r#"results::slice(n = 7) = "text""#,
            "results::list(n = 1) = [1, 2]",
            "results::id(n = 6) = Id(6)",
            "results::some(n = 4) = Some(4)",
            "results::some(n = 0) = None",
            "results::result(n = 3) = Ok(3)",
            "results::result(n = 0) = Err(99)",
            r#"results::boxed(n = 5) = Some(* → Big {id: 5, name: "in a box"})"#,
            "results::boxed(n = 0) = None",
            r#"results::big(n = 8) = Big {id: 8, name: "in a box"}"#,
            "results::shape(n = 0) = Shape::Dot",
            "results::shape(n = 1) = Shape::Circle {r: 2}",
            r#"results::shape(n = 2) = Shape::Named(* → Big {id: 2, name: "in a box"})"#,
            "results::pair(n = 1) = (1, 700)",
            "results::float(n = 1) = <unavailable: in register xmm0>",
            "results::both(n = 1) = (<unavailable: in register xmm0>, 5)",
            "results::four(n = 1) = [1, 2, 3, 4]",
            "results::blocks(n = 7) = (7, 8, 9)",
            "results::wide(n = 1) = 18446744073709551617",
        ],
    );
    let after = [
        r#"results::append(text = * → "one" ⇒ "one and two", more = * → " and two")"#,
        "results::push(list = * → [1, 2] ⇒ [1, 2, 3])",
        "results::bump(n = * → 41 ⇒ 42)",
        "results::sort(list = [3, 1, 2] ⇒ [1, 2, 3])",
    ];
    has_calls(&outcome, &after);
}

/// Guards against what lies in rax where the compiler knows all callers and does not put the address of the result there.
#[test]
fn of_rust_optimized() {
    let outcome = run(&Fixture::build("results.rs").with_flags(Compiler::Gcc, &["-O"]), &["--source", "results.rs"]);
    has_calls(
        &outcome,
        &[
            r#"results::big(n = 8) = Big {id: 8, name: "in a box"}"#,
            r#"results::boxed(n = 5) = Some(* → Big {id: 5, name: "in a box"})"#,
            "results::some(n = 4) = Some(4)",
            "results::result(n = 0) = Err(99)",
            "results::shape(n = 0) = <unavailable: whether it came back in registers or in memory is not known>",
        ],
    );
}
