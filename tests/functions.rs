//! `lastwords functions`: what would be watched, before anything runs.

use crate::support::{Compiler, Fixture, Lastwords};

fn listed(fixture: &Fixture, options: &[&str]) -> String {
    let program = fixture.path();
    let outcome = Lastwords::new([&["functions", program.to_str().expect("a path")], options].concat()).finish();
    assert_eq!(outcome.status.code(), Some(0), "{}", outcome.stderr);
    outcome.stdout
}

/// The one line about a function.
fn line_about<'a>(list: &'a str, function: &str) -> &'a str {
    let lines: Vec<_> = list.lines().filter(|line| line.contains(function)).collect();
    assert_eq!(lines.len(), 1, "`{function}` in:\n{list}");
    lines[0]
}

/// Guards against a list that differs from what `run` does.
#[test]
fn functions_are_listed_with_their_places_and_parameters() {
    let fixture = Fixture::build("returns.c");
    let list = listed(&fixture, &["-f", "add", "-f", "nap"]);

    let add = line_about(&list, "add");
    assert!(add.contains("add(a: int, b: int) -> int"), "{add}");
    assert!(add.contains(&format!("returns.c:{}", fixture.line_of("KEEP int add("))), "{add}");
    assert!(line_about(&list, "nap").contains("milliseconds: int"));
    assert!(!list.contains("sum_to"), "{list}");
}

/// Guards against promising what a probe cannot read.
#[test]
fn what_cannot_be_read_is_listed_with_the_reason() {
    let fixture = Fixture::build("arguments.c").with(Compiler::Gcc, ["-O2"]);
    let list = listed(&fixture, &["-f", "nine_double"]);

    assert!(list.contains("xmm0"), "{list}");
    assert!(!list.contains("xmm8"), "the ninth is on the stack: {list}");
}

/// Guards against the C library and the compiler's own functions in the default selection.
#[test]
fn by_default_the_functions_of_the_program_are_listed() {
    let list = listed(&Fixture::build("exp1.c").with(Compiler::Gcc, ["-static"]), &[]);

    assert!(list.contains("main") && list.contains("test"), "{list}");
    assert!(!list.contains("printf") && !list.contains("_start"), "{list}");
}

/// Guards against an empty list that reads as "all is well".
#[test]
fn a_pattern_that_matches_nothing_is_an_error() {
    let program = Fixture::build("returns.c").path();
    let outcome = Lastwords::new(["functions", program.to_str().expect("a path"), "-f", "negat"]).finish();

    assert_eq!(outcome.status.code(), Some(2));
    assert!(outcome.stderr.contains("`negate`"), "{}", outcome.stderr);
}
