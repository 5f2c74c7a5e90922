//! Whatever a report tells as exact is what the program passed: random programs, for which it is known beforehand, from several
//! compilers with the options that change frames and calls.

mod program;
mod random;
mod types;
mod value;

use self::program::{Call, Program};
use self::value::Tally;
use crate::support::{Compiler, Fixture};

/// Compares a report of the program of this seed with what the program does.
fn tally(seed: u64, is_cpp: bool, compiler: Compiler, flags: &[&str]) -> Tally {
    let Program { source, mut calls } = Program::random(seed, is_cpp);
    let extension = if is_cpp { "cpp" } else { "c" };
    let fixture = Fixture::generated(&format!("truth_{seed}.{extension}"), source).with_flags(compiler, flags);
    let report = fixture.run_until_death(["-f", "fn_*", "--calls", "1000"]);
    let told = report.crashed_thread().calls();
    // The kernel refuses probes on a few instructions.
    let skipped = report.at("/probes/skipped").as_array().expect("a list");
    let is_skipped = |call: &Call| skipped.iter().any(|skipped| skipped["function"] == *call.function);
    calls.retain(|call| !is_skipped(call));
    let functions: Vec<_> = calls.iter().map(|call| call.function.as_str()).collect();
    assert_eq!(told.functions(), functions, "{flags:?} {}", fixture.path().display());
    let mut tally = Tally::default();
    for (told, call) in told.0.iter().zip(&calls) {
        for (name, truth) in &call.arguments {
            let what =
                format!("{} {name} [{compiler:?} {flags:?} seed {seed} {}]", call.function, fixture.path().display());
            let argument = told.arguments().iter().find(|argument| argument["name"] == **name);
            tally.compare(&what, argument.unwrap_or(&serde_json::Value::Null), truth);
        }
    }
    tally
}

fn env(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

#[test]
fn hunt() {
    let flags = std::env::var("HUNT_FLAGS").unwrap_or_default();
    let flags: Vec<_> = flags.split_whitespace().collect();
    let compiler = if std::env::var("HUNT_CC").is_ok_and(|cc| cc == "clang") { Compiler::Clang } else { Compiler::Gcc };
    let is_cpp = std::env::var("HUNT_CPP").is_ok();
    let mut all = Tally::default();
    let first = env("HUNT_FIRST", 0);
    for seed in first..first + env("HUNT_SEEDS", 3) {
        all.add(tally(seed, is_cpp, compiler, &flags));
    }
    println!(
        "RESULT {compiler:?} {is_cpp} {flags:?}: right {} untold {} wrong {}",
        all.right,
        all.untold,
        all.wrong.len()
    );
    for wrong in &all.wrong {
        println!("WRONG {wrong}");
    }
    assert!(all.wrong.is_empty());
}
