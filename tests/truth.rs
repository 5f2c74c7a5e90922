//! Whatever a report tells as exact is what the program passed: random programs, for which it is known beforehand, and fixtures that
//! print it, from several compilers with the options that change frames and calls.

mod program;
mod random;
mod types;
mod value;

use serde_json::Value;

use self::program::{Call, Program};
use self::value::{Tally, Truth};
use crate::support::{Compiler, Fixture, Report};

/// Compares the calls of a report with those that the program made.
fn compare(what: &str, report: &Report, mut calls: Vec<Call>) -> Tally {
    // The kernel refuses probes on a few instructions.
    let skipped = report.at("/probes/skipped").as_array().expect("a list");
    calls.retain(|call| !skipped.iter().any(|skipped| last_name(&skipped["function"]) == last_name_of(&call.function)));
    let is_known = |function: &Value| calls.iter().any(|call| last_name_of(&call.function) == last_name(function));
    let told: Vec<_> =
        report.crashed_thread().calls().0.into_iter().filter(|call| is_known(call.field("function"))).collect();
    let functions: Vec<_> = calls.iter().map(|call| last_name_of(&call.function)).collect();
    let told_functions: Vec<_> = told.iter().map(|call| last_name(call.field("function"))).collect();
    assert_eq!(told_functions, functions, "{what}");
    let mut tally = Tally::default();
    for (told, call) in told.iter().zip(&calls) {
        for (name, truth) in &call.arguments {
            let argument = told.arguments().iter().find(|argument| argument["name"] == **name);
            let argument = argument.unwrap_or_else(|| panic!("{what}: no argument `{name}` in {told:#?}"));
            tally.compare(&format!("{what}: `{name}` of {}", call.function), argument, truth);
        }
    }
    tally
}

fn last_name(function: &Value) -> &str {
    last_name_of(function.as_str().expect("a function's name"))
}

/// A name without its namespaces and classes, and without the arguments of its template.
fn last_name_of(function: &str) -> &str {
    let name = function.rsplit("::").next().unwrap_or(function);
    name.split(['<', '[']).next().unwrap_or(name)
}

/// The random program of this seed.
fn random_program(seed: u64, language: &str, compiler: Compiler, flags: &[&str]) -> Tally {
    let Program { source, calls } = Program::random(seed, language == "cpp");
    let fixture = Fixture::generated(&format!("truth_{seed}.{language}"), source).with_flags(compiler, flags);
    let report = fixture.run_until_death(["-f", "fn_*", "--calls", "1000"]);
    compare(&format!("{} {flags:?}", fixture.path().display()), &report, calls)
}

/// A fixture that prints what it passes.
fn printing_fixture(source: &str, compiler: Compiler, flags: &[&str]) -> Tally {
    let fixture = Fixture::build(source).with_flags(compiler, flags);
    let outcome = fixture.run(["--calls", "1000"]);
    let calls: Vec<_> = outcome.stdout.lines().map(call_of_line).collect();
    assert!(calls.len() > 10, "{}", outcome.stdout);
    compare(&format!("{} {flags:?}", fixture.path().display()), &outcome.report(), calls)
}

fn call_of_line(line: &str) -> Call {
    let json: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("no JSON: {error}: {line}"));
    let Truth::Members(arguments) = Truth::of_json(&json["args"]) else { panic!("no arguments: {line}") };
    Call { function: json["function"].as_str().expect("a function's name").to_owned(), arguments }
}

/// Programs of each kind.
const SEEDS: u64 = 2;

/// Guards against the worst of all: a value that was never passed, told as exact. Frames and calls differ with compiler and options.
#[test]
fn what_is_told_as_exact_is_what_was_passed() {
    let mut all = Tally::default();
    for (compiler, language, flags) in [
        (Compiler::Gcc, "c", &["-O0"][..]),
        (Compiler::Gcc, "c", &["-O2", "-gdwarf-4"]),
        (Compiler::Gcc, "c", &["-O0", "-fomit-frame-pointer", "-fcf-protection"]),
        (Compiler::Gcc, "cpp", &["-O2"]),
        (Compiler::Clang, "c", &["-O0"]),
        (Compiler::Clang, "c", &["-O2"]),
        (Compiler::Clang, "cpp", &["-O1"]),
    ] {
        for seed in 0..SEEDS {
            all.add(random_program(seed, language, compiler, flags));
        }
        all.add(printing_fixture(&format!("truth.{language}"), compiler, flags));
    }
    assert!(all.wrong.is_empty(), "{:#?}", all.wrong);
    // Most of what was passed is told: a test that compares nothing would pass as well.
    assert!(all.right > all.untold, "{} told, {} not", all.right, all.untold);
}

/// The same of rustc's programs.
#[test]
fn what_is_told_as_exact_is_what_rust_passed() {
    let mut all = Tally::default();
    for level in ["opt-level=0", "opt-level=2"] {
        all.add(printing_fixture("truth.rs", Compiler::Gcc, &["-C", level]));
    }
    assert!(all.wrong.is_empty(), "{:#?}", all.wrong);
}
