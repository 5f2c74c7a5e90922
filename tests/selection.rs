//! Which functions are watched: -f, !, --source, --lib.

use crate::support::{Fixture, Report};

fn functions(report: &Report) -> Vec<&str> {
    report.crashed_thread().calls().functions()
}

fn watched(options: &[&str]) -> Vec<String> {
    let report = Fixture::build("selection.c").run_until_death(options);
    functions(&report).into_iter().map(str::to_owned).collect()
}

/// Guards against a pattern that must match the whole name and matches a part of it, or the other way round.
#[test]
fn patterns_choose_functions() {
    assert_eq!(watched(&["-f", "open_file"]), ["open_file"]);
    assert_eq!(watched(&["-f", "open_*"]), ["open_file", "open_socket"]);
    assert_eq!(watched(&["--function", "*_file"]), ["open_file", "close_file"]);
    assert_eq!(watched(&["-f", "part_*", "-f", "close_file"]), ["close_file", "part_first", "part_second"]);
    assert_eq!(watched(&["-f", "open_*", "-f", "close_*"]), ["open_file", "close_file", "open_socket"]);
}

/// Guards against exclusions that depend on their place on the command line, or choose everything else.
#[test]
fn an_exclamation_mark_excludes() {
    assert_eq!(watched(&["-f", "open_*", "-f", "!*_socket"]), ["open_file"]);
    assert_eq!(watched(&["-f", "!*_socket", "-f", "open_*"]), ["open_file"]);
    assert_eq!(watched(&["-f", "!open_*", "-f", "!main", "-f", "!crash"]), ["close_file", "part_first", "part_second"]);
}

/// Guards against taking the file of the compilation unit for the file of the function.
#[test]
fn a_source_file_chooses_its_functions() {
    assert_eq!(watched(&["--source", "*selection_part.h"]), ["part_first", "part_second"]);
    assert_eq!(watched(&["--source", "*selection_part.h", "-f", "*_second"]), ["part_second"]);
}

/// Guards against a library that is found by its name only, not where the program loads it from, and against a load bias of the
/// wrong file.
#[test]
fn functions_of_a_library_are_watched_on_request() {
    let library = Fixture::build("greeter.c").shared();
    let fixture = Fixture::build("greeted.c").linked_with(&library);

    let report = fixture.run_until_death(["-f", "use_the_library", "-f", "greeter_greet", "--lib", "libgreeter.so"]);
    assert_eq!(functions(&report), ["use_the_library", "greeter_greet"]);
    let call = report.crashed_thread().calls_of("greeter_greet").only();
    assert_eq!(call.exact("name"), "library");
    assert!(call.field("file").as_str().is_some_and(|file| file.ends_with("greeter.c")), "{call:#?}");

    let without = fixture.run_until_death(["-f", "*"]);
    assert!(!functions(&without).iter().any(|name| name.starts_with("greeter")), "{without:#?}");
}

/// Guards against a run that watches nothing: the program must not even start.
#[test]
fn a_pattern_that_matches_nothing_is_an_error_with_the_nearest_name() {
    let outcome = Fixture::build("returns.c").run(["-f", "negat"]);

    assert_eq!(outcome.status.code(), Some(2));
    assert!(outcome.stderr.starts_with("error: "), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("`negat`"), "the pattern: {}", outcome.stderr);
    assert!(outcome.stderr.contains("`negate`"), "the nearest name: {}", outcome.stderr);
    assert_eq!(outcome.stdout, "");
    assert!(outcome.reports.is_empty());
}
