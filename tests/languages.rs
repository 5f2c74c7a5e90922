//! C++ and Rust: methods, references, `&str`, and names as their authors write them.

use serde_json::json;

use crate::support::{Compiler, Fixture};

/// Guards against a `this` that is counted wrongly, and against mangled names where a person reads.
fn a_method_is_told_with_its_object(compiler: Compiler, optimization: &str) {
    let fixture = Fixture::build("method.cpp").with(compiler, [optimization]);
    let outcome = fixture.run(["-f", "shop::*"]);
    let addresses: Vec<_> = outcome.stdout.lines().map(str::to_owned).collect();
    let report = outcome.report();
    let calls = report.crashed_thread().calls_of("shop::Till::take");

    assert_eq!(calls.args("amount"), [30, 12]);
    assert_eq!(calls.results(), [30, 42]);
    for call in &calls.0 {
        assert_eq!(call.arg("this")["address"], *addresses[0]);
        assert_eq!(call.arg("this")["state"], "exact");
        assert_eq!(call.field("symbol"), "_ZN4shop4Till4takeEi");
        assert_eq!(call.field("line"), fixture.line_of("int take("));
    }
    assert_eq!(report.crashed_thread().calls_of("shop::greet").only().arg("name")["address"], *addresses[1]);
}

#[test]
fn a_method_is_told_with_its_object_by_gpp() {
    a_method_is_told_with_its_object(Compiler::Gcc, "-O0");
}

#[test]
fn a_method_is_told_with_its_object_by_gpp_optimized() {
    a_method_is_told_with_its_object(Compiler::Gcc, "-O2");
}

#[test]
fn a_method_is_told_with_its_object_by_clangpp() {
    a_method_is_told_with_its_object(Compiler::Clang, "-O0");
}

#[test]
fn a_method_is_told_with_its_object_by_clangpp_optimized() {
    a_method_is_told_with_its_object(Compiler::Clang, "-O2");
}

/// Guards against taking the text of a `&str` up to a NUL that is not there, and against bytes counted as characters.
fn a_str_is_told_as_text(flags: [&str; 2]) {
    let report = Fixture::build("slices.rs").with(Compiler::Gcc, flags).run_until_death(["-f", "slices::*"]);
    let thread = report.crashed_thread();
    let greetings = thread.calls_of("slices::greet");

    assert_eq!(greetings.args("name"), ["Grüße, 世界", ""]);
    assert_eq!(greetings.args("times"), [3, 0]);
    assert_eq!(greetings.0[0].arg("name")["type"], "&str");
    assert_eq!(greetings.0[0].result()["value"], "Grüße, 世界".len() * 3);
    assert_eq!(thread.calls_of("slices::risky").args("number"), [6, 7, 8]);
}

#[test]
fn a_str_is_told_as_text_without_optimization() {
    a_str_is_told_as_text(["-C", "opt-level=0"]);
}

#[test]
fn a_str_is_told_as_text_with_optimization() {
    a_str_is_told_as_text(["-C", "opt-level=2"]);
}

/// Guards against telling that a call has returned through which a panic has passed.
#[test]
fn a_call_left_by_a_panic_has_no_result() {
    let report = Fixture::build("slices.rs").run_until_death(["-f", "slices::passes_on"]);
    let calls = report.crashed_thread().calls_of("slices::passes_on");

    assert_eq!(calls.args("number"), [6, 7, 8]);
    assert_eq!(calls.0[0].result()["value"], 8);
    assert_eq!(calls.0[2].result()["value"], 10);
    assert_eq!(calls.0[1].result(), &json!(null));
    assert_ne!(calls.0[1].field("returned")["state"], "returned");
}
