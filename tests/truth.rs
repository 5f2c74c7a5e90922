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

/// Programs of each kind.
const SEEDS: u64 = 2;

/// Guards against the worst of all: a value that was never passed, told as exact. Frames and calls differ with compiler and options.
#[test]
fn what_is_told_as_exact_is_what_was_passed() {
    let mut all = Tally::default();
    for (compiler, is_cpp, flags) in [
        (Compiler::Gcc, false, &["-O0"][..]),
        (Compiler::Gcc, false, &["-O2", "-gdwarf-4"]),
        (Compiler::Gcc, false, &["-O0", "-fomit-frame-pointer", "-fcf-protection"]),
        (Compiler::Gcc, true, &["-O2"]),
        (Compiler::Clang, false, &["-O0"]),
        (Compiler::Clang, false, &["-O2"]),
        (Compiler::Clang, true, &["-O1"]),
    ] {
        for seed in 0..SEEDS {
            all.add(tally(seed, is_cpp, compiler, flags));
        }
    }
    assert!(all.wrong.is_empty(), "{:#?}", all.wrong);
    // Most of what was passed is told: a test that compares nothing would pass as well.
    assert!(all.right > all.untold, "{} told, {} not", all.right, all.untold);
}
