//! What the program had printed and never got to write.

use serde_json::{Value, json};

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

/// What is said of the streams of `pending.c` with musl, whose `setvbuf` without a buffer leaves stderr unbuffered.
fn pending_with_musl(flags: &[&str]) -> Value {
    let outcome = Fixture::build("pending.c").with_flags(Compiler::Musl, flags).run::<&str>([]);
    assert!(outcome.stderr.starts_with("to stderr"), "it was written: {}", outcome.stderr);
    let report = outcome.report();
    let streams = report.at("/output").as_array().expect("a list of streams");
    streams.iter().map(|output| json!([output["descriptor"], output["text"]])).collect()
}

/// Guards against glibc's streams being looked for where musl's are: they look different, and its `stdout` stands in no list. The list of
/// what the program has opened itself cannot be found where musl's own file has no symbol table, as distributions ship it.
#[test]
fn of_a_program_with_musl() {
    assert_eq!(pending_with_musl(&["-O0"]), json!([[1, "to stdout"]]));
}

/// Guards against losing what the program was about to write to files of its own.
#[test]
fn of_a_static_program_with_musl() {
    assert_eq!(pending_with_musl(&["-O2", "-static"]), json!([[1, "to stdout"], [7, "to a file"]]));
}

/// Guards against output that is lost for whoever reads the pipe, that comes twice, or in the middle of the page.
#[test]
fn flush_writes_it_in_the_place_of_the_program() {
    let outcome = Fixture::build("exp1.c").run(["-f", "test", "--flush"]);
    assert_eq!(outcome.stdout, "this is a string.\n", "{}", outcome.stderr);
    assert!(outcome.stderr.trim_start().starts_with("exp1 (pid "), "{}", outcome.stderr);

    let outcome = Fixture::build("exp1.c").run(["-f", "test"]);
    assert_eq!(outcome.stdout, "", "nobody asked for it");
}

/// Guards against writing to one stream what was meant for the other, or for a file.
#[test]
fn flush_keeps_streams_apart() {
    let outcome = Fixture::build("pending.c").run(["-f", "*", "--flush"]);
    assert_eq!(outcome.stdout, "to stdout", "{}", outcome.stderr);
    assert!(outcome.stderr.contains("to stderr"), "{}", outcome.stderr);
    let page = outcome.stderr.find("pending (pid ").expect("the page");
    assert!(outcome.stderr.find("to stderr").expect("the program's line") < page, "{}", outcome.stderr);

    let report = outcome.report();
    let streams = report.at("/output").as_array().expect("a list of streams");
    let streams: Vec<_> = streams.iter().map(|output| (&output["descriptor"], &output["text"])).collect();
    assert_eq!(json!(streams), json!([[1, "to stdout"], [2, "to stderr"], [7, "to a file"]]));
}
