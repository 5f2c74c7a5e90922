//! What the program had printed and never got to write.

use serde_json::json;

use crate::support::{Compiler, Fixture};

/// Runs of each variant: the crash is right behind the print, so nothing may depend on who is faster.
const RUNS: usize = 10;

fn the_line_that_was_never_written_is_told<const N: usize>(flags: [&str; N]) {
    let fixture = Fixture::build("exp1.c").with(Compiler::Gcc, flags);
    for _ in 0..RUNS {
        let report = fixture.run_until_death::<&str>([]);
        let output = report.at("/output");
        assert_eq!(output.as_array().map(Vec::len), Some(1), "{output}");
        assert_eq!(output[0]["stream"], "stdout");
        assert_eq!(output[0]["text"], "this is a string.\n");
        assert_eq!(output[0]["bytes"], json!(18));
        assert_eq!(output[0]["truncated"], json!(false));
    }
}

/// Guards against losing what a pipe made the C library keep back.
#[test]
fn of_a_dynamic_program() {
    the_line_that_was_never_written_is_told(["-O0"]);
}

#[test]
fn of_an_optimized_program_at_a_fixed_address() {
    the_line_that_was_never_written_is_told(["-O2", "-no-pie"]);
}

#[test]
fn of_a_static_program() {
    the_line_that_was_never_written_is_told(["-O2", "-static"]);
}

#[test]
fn of_a_static_program_at_a_variable_address() {
    the_line_that_was_never_written_is_told(["-static-pie"]);
}
