//! The case that started it: the argument of the last call before a null write, in every way a program can be built.

use crate::support::{Compiler, Fixture, Report, runs};

/// Of as many runs, each one must tell the argument.
const RUNS: u64 = 100;

/// Runs the starting case once and looks at all that its report must hold.
pub fn check(fixture: &Fixture, options: &[&str]) -> Report {
    let outcome = fixture.run([&["-f", "test"], options].concat());
    assert_eq!(outcome.signal(), Some(nix::libc::SIGSEGV), "{}", outcome.stderr);
    let report = outcome.report();

    let call = report.crashed_thread().calls_of("test").only();
    assert_eq!(call.exact("str"), "this is a string.");
    assert_eq!(call.arg("str")["type"], "const char *");
    assert_eq!(call.field("symbol"), "test");
    assert_eq!(call.field("line"), fixture.line_of("KEEP int test("));
    assert!(call.field("file").as_str().is_some_and(|file| file.ends_with("fixtures/exp1.c")), "{call:#?}");
    assert_eq!(report.at("/fault/signal"), "SIGSEGV");
    assert_eq!(report.at("/fault/address"), "0x0");
    assert_eq!(report.at("/fault/access"), "write");
    assert_eq!(report.at("/process/args"), &serde_json::json!([fixture.path()]));
    report
}

fn check_all(compiler: Compiler, flags: [&str; 3]) {
    let fixture = Fixture::build("exp1.c").with(compiler, flags);
    for _ in 0..runs(RUNS) {
        // Optimized code makes room on its stack before its first cheap instruction: there the result costs a second trap.
        let report = check(&fixture, &[]);
        let result = serde_json::json!({"type": "int", "value": 0, "state": "exact", "name": null});
        assert_eq!(report.crashed_thread().calls_of("test").only().result(), &result);
    }
}

/// A test for each way to build it. They guard against reading the string while its page is not there yet, against a load bias
/// that is taken from the wrong place, and against placing the probe where -O2 has moved the argument away.
macro_rules! always_told {
    ($($name:ident: $compiler:ident $flags:expr;)*) => {$(
        #[test]
        fn $name() {
            check_all(Compiler::$compiler, $flags);
        }
    )*};
}

always_told! {
    plain: Gcc ["-O0", "-fpie", "-pie"];
    optimized: Gcc ["-O2", "-fpie", "-pie"];
    at_a_fixed_address: Gcc ["-O0", "-fno-pie", "-no-pie"];
    optimized_at_a_fixed_address: Gcc ["-O2", "-fno-pie", "-no-pie"];
    linked_statically: Gcc ["-O0", "-fpie", "-static-pie"];
    optimized_and_linked_statically: Gcc ["-O2", "-fpie", "-static-pie"];
    linked_statically_at_a_fixed_address: Gcc ["-O0", "-fno-pie", "-static"];
    optimized_and_linked_statically_at_a_fixed_address: Gcc ["-O2", "-fno-pie", "-static"];
    built_by_clang: Clang ["-O0", "-fpie", "-pie"];
    built_and_optimized_by_clang: Clang ["-O2", "-fpie", "-pie"];
}

/// Guards against a default selection that leaves the program's own functions out, or takes the C library's in.
#[test]
fn without_a_pattern_the_functions_of_the_program_are_watched() {
    let report = Fixture::build("exp1.c").run_until_death::<&str>([]);

    let functions = report.crashed_thread().calls().functions();
    assert_eq!(functions, ["main", "test"]);
    assert_eq!(report.crashed_thread().calls_of("main").only().field("returned"), &serde_json::Value::Null);
    assert_eq!(report.at("/probes/attached"), 2);
}
