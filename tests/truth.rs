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

/// What is asked of all values together: none that is exact and wrong, and at least so many in a hundred that are exact. What
/// optimizers have dropped, and floats in registers, cannot be read.
fn demand(tally: &Tally, percent: usize) {
    let Tally { right, untold, wrong } = tally;
    println!("{right} values are exact, {untold} are not told");
    assert!(wrong.is_empty(), "exact and wrong:\n{}", wrong.join("\n"));
    assert!(right * 100 >= (right + untold) * percent, "only {right} of {} values are exact", right + untold);
}

/// Options that change frames, calls, or how debug info tells of them; each is tried on programs of its own.
const OPTIONS: [&str; 16] = [
    "-O0 -gdwarf-4",
    "-O0 -gdwarf-5 -fomit-frame-pointer",
    "-O0 -fcf-protection -mcmodel=large",
    "-O0 -fstack-protector-all -fstack-clash-protection",
    "-O0 -mavx2 -mstackrealign -no-pie",
    "-O0 -finstrument-functions",
    "-O0 -fsanitize=address",
    "-O1 -gdwarf-4",
    "-O1 -gdwarf-5 -fstack-clash-protection",
    "-O2 -gdwarf-4 -fcf-protection",
    "-O2 -gdwarf-5",
    "-O2 -fno-omit-frame-pointer -static",
    "-O2 -mavx2 -mstackrealign",
    "-O2 -fsanitize=undefined",
    "-O3 -march=haswell",
    "-Os",
];
/// The same for gcc alone.
const OPTIONS_OF_GCC: [&str; 6] = [
    "-O0 -pg",
    "-O2 -pg -mfentry",
    "-O2 -gno-variable-location-views",
    "-O2 -gno-record-gcc-switches -fno-var-tracking-assignments",
    "-O2 -fzero-call-used-regs=all",
    "-Og -flto",
];

/// Programs for each of them. To look for what nobody has thought of yet, set the variable to 50 and wait for an hour.
fn rounds() -> u64 {
    std::env::var("LASTWORDS_TRUTH_ROUNDS").map_or(1, |rounds| rounds.parse().expect("a number of rounds"))
}

fn random_programs(language: &str, compiler: Compiler, options: &[&str], percent: usize) {
    let mut all = Tally::default();
    for (number, options) in (0..).zip(options) {
        let flags: Vec<_> = options.split(' ').chain(["-w"]).collect();
        for round in 0..rounds() {
            all.add(random_program(1000 * round + number, language, compiler, &flags));
        }
    }
    demand(&all, percent);
}

/// Guards against values that look right and are not: see `src/plan/traps.rs` for those that were.
#[test]
fn random_c_by_gcc_is_told_truly() {
    random_programs("c", Compiler::Gcc, &[&OPTIONS[..], &OPTIONS_OF_GCC].concat(), 70);
}

/// The same.
#[test]
fn random_c_by_clang_is_told_truly() {
    random_programs("c", Compiler::Clang, &OPTIONS, 62);
}

/// The same.
#[test]
fn random_cpp_by_gpp_is_told_truly() {
    random_programs("cpp", Compiler::Gcc, &[&OPTIONS[..], &OPTIONS_OF_GCC].concat(), 70);
}

/// The same.
#[test]
fn random_cpp_by_clangpp_is_told_truly() {
    random_programs("cpp", Compiler::Clang, &OPTIONS, 62);
}

/// Guards against the same in what no random program has: other calling conventions, references that the source does not show,
/// constructors, thunks, nested functions.
#[test]
fn unusual_parameters_are_told_truly() {
    let mut all = Tally::default();
    for compiler in [Compiler::Gcc, Compiler::Clang] {
        for level in ["-O0", "-O1", "-O2"] {
            all.add(printing_fixture("truth.c", compiler, &[level, "-w"]));
            all.add(printing_fixture("truth.cpp", compiler, &[level, "-w"]));
        }
    }
    demand(&all, 85);
}

/// The same for Rust, whose optimizer finds nearly every argument of such a program to be a constant.
#[test]
fn arguments_of_rust_are_told_truly() {
    demand(&printing_fixture("truth.rs", Compiler::Gcc, &["-C", "opt-level=0"]), 85);
    demand(&printing_fixture("truth.rs", Compiler::Gcc, &["-C", "opt-level=2"]), 40);
}
