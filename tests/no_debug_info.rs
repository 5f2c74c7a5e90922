//! Programs without debug info: names from the symbol table, and registers that are only guessed to be arguments.

use serde_json::Value;

use crate::support::{Compiler, Fixture};

/// A raw register, however it is written.
fn raw(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| u64::from_str_radix(value.as_str()?.strip_prefix("0x")?, 16).ok())
}

/// Guards against guesses that look like knowledge.
#[test]
fn arguments_are_guessed_from_registers() {
    let fixture = Fixture::build("returns.c").with(Compiler::Gcc, ["-O2"]).stripped();
    let report = fixture.run_until_death(["-f", "add"]);
    let call = report.crashed_thread().calls_of("add").only();

    assert_eq!(call.arguments().len(), 6, "{call:#?}");
    assert!(call.arguments().iter().all(|argument| argument["state"] == "guessed"), "{call:#?}");
    assert_eq!(raw(&call.arguments()[0]["value"]).map(|value| value & 0xffff_ffff), Some(3), "{call:#?}");
    assert_eq!(raw(&call.arguments()[1]["value"]).map(|value| value & 0xffff_ffff), Some(4), "{call:#?}");
    assert_eq!(call.field("file"), &Value::Null);
}

/// Guards against an empty report where nothing says which functions are the program's own.
#[test]
fn a_stripped_program_that_crashes_makes_a_report() {
    let report = Fixture::build("exp1.c").stripped().run_until_death(["-f", "test"]);

    assert_eq!(report.at("/fault/signal"), "SIGSEGV");
    assert_eq!(report.crashed_thread().calls_of("test").len(), 1);
}
