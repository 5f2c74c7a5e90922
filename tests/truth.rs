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

fn env(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

#[test]
fn hunt() {
    let flags = std::env::var("HUNT_FLAGS").unwrap_or_default();
    let flags: Vec<_> = flags.split_whitespace().collect();
    let compiler = if std::env::var("HUNT_CC").is_ok_and(|cc| cc == "clang") { Compiler::Clang } else { Compiler::Gcc };
    let language = if std::env::var("HUNT_CPP").is_ok() { "cpp" } else { "c" };
    let mut all = Tally::default();
    if let Ok(fixture) = std::env::var("HUNT_FIXTURE") {
        all.add(printing_fixture(&fixture, compiler, &flags));
    } else {
        let first = env("HUNT_FIRST", 0);
        for seed in first..first + env("HUNT_SEEDS", 3) {
            all.add(random_program(seed, language, compiler, &flags));
        }
    }
    println!(
        "RESULT {compiler:?} {language} {flags:?}: right {} untold {} wrong {}",
        all.right,
        all.untold,
        all.wrong.len()
    );
    for wrong in &all.wrong {
        println!("WRONG {wrong}");
    }
    assert!(all.wrong.is_empty());
}
