//! Stacks at the moment of death: the same functions and lines as in gdb, which had the process in its hands.

use serde_json::Value;

use crate::support::gdb::{self, SIGNAL_FRAME, within_program, without_decoration};
use crate::support::{Compiler, Fixture, Report};

/// The crashed thread's frames, spelled as [`gdb::frames`] are.
fn frames(report: &Report) -> Vec<String> {
    let show = |frame: &Value| match (frame["kind"].as_str(), frame["function"].as_str(), frame["line"].as_u64()) {
        (Some("signal"), ..) => SIGNAL_FRAME.to_owned(),
        // Without the file's own name, a library's lines would be there or not as its debug info is.
        (_, Some(function), Some(line)) if frame["own"] == true => format!("{}:{line}", without_decoration(function)),
        (_, function, _) => without_decoration(function.unwrap_or("??")),
    };
    report.crashed_thread().frames().iter().map(show).collect()
}

fn compare(fixture: &Fixture, kinds: &[&str]) {
    for kind in kinds {
        let fixture = fixture.args([kind]);
        let report = fixture.run_until_death::<&str>([]);
        assert_eq!(within_program(frames(&report)), gdb::frames(&fixture), "{kind} of {fixture:?}");
    }
}

const KINDS: [&str; 8] = ["nested", "inlined", "library", "null-call", "wild-call", "callback", "handler", "abort"];

/// Guards against frames that are lost or made up where a return probe has replaced return addresses, without optimization.
#[test]
fn in_c_they_are_those_of_gdb() {
    compare(&Fixture::build("deaths.c"), &KINDS);
}

#[test]
fn in_optimized_c_they_are_those_of_gdb() {
    compare(&Fixture::build("deaths.c").with(Compiler::Gcc, ["-O2"]), &KINDS);
}

#[test]
fn in_optimized_c_by_clang_they_are_those_of_gdb() {
    compare(&Fixture::build("deaths.c").with(Compiler::Clang, ["-O2"]), &KINDS);
}

#[test]
fn in_a_static_program_they_are_those_of_gdb() {
    compare(&Fixture::build("deaths.c").with(Compiler::Gcc, ["-O2", "-static"]), &KINDS);
}

/// Guards against names of methods, templates and lambdas by which nobody would set a breakpoint.
#[test]
fn in_cpp_they_are_those_of_gdb() {
    for flags in [["-O0"], ["-O2"]] {
        compare(&Fixture::build("deaths.cpp").with(Compiler::Gcc, flags), &["virtual"]);
    }
    // How the library calls a lambda is its own affair, and inlined with optimization.
    let fixture = Fixture::build("deaths.cpp").args(["lambda"]);
    let ours = frames(&fixture.run_until_death::<&str>([]));
    let own: Vec<&String> = ours.iter().filter(|frame| frame.contains(':')).collect();
    let line = fixture.line_of("int applied = apply(");
    assert!(own[0].ends_with(&format!(":{}", line + 1)), "{ours:?}");
    assert_eq!(**own.last().unwrap(), format!("main:{line}"), "{ours:?}");
}

/// Guards against frames of Rust's own machinery in the place of the program's.
#[test]
fn in_rust_they_are_those_of_gdb() {
    for flags in [["-Copt-level=0", "-Cpanic=abort"], ["-Copt-level=2", "-Cpanic=abort"]] {
        compare(&Fixture::build("deaths.rs").with(Compiler::Gcc, flags), &["trait", "closure", "panic"]);
    }
}

/// Guards against a page of a hundred thousand frames, and against a stack overflow that is called a wild pointer.
#[test]
fn an_endless_recursion_is_shown_once() {
    for flags in [["-O0"], ["-O1"]] {
        let fixture = Fixture::build("deaths.c").with(Compiler::Gcc, flags).args(["endless"]);
        let outcome = fixture.run::<&str>([]);
        assert!(outcome.stderr.contains("overflowed its stack: `endless`"), "{}", outcome.stderr);
        let report = outcome.report();
        let frames = report.crashed_thread().frames();

        let repeated: Vec<&Value> = frames.iter().filter(|frame| !frame["repeats"].is_null()).collect();
        assert!(!repeated.is_empty() && frames.len() < 20, "{frames:#?}");
        assert!(repeated.iter().all(|frame| frame["function"] == "endless"), "{frames:#?}");
        let total = report.crashed_thread().calls_total();
        let main = frames.iter().position(|frame| frame["function"] == "main").expect("the outermost frames");
        assert_eq!(frames[main - 1]["function"], "endless", "{total} calls: {frames:#?}");
    }
}

/// Guards against frames that are read from what has overwritten the return address.
#[test]
fn a_smashed_stack_ends_where_it_makes_no_sense() {
    // A file of its own: where another lastwords watches the same file, its return probes are in this process, too.
    let flags = ["-O1", "-fno-stack-protector", "-DUNWATCHED"];
    let fixture = Fixture::build("deaths.c").with(Compiler::Gcc, flags).args(["smash"]);
    let report = fixture.run_until_death(["-f", "nested"]);
    let thread = report.crashed_thread();

    assert_eq!(thread.frames()[0]["function"], "smash");
    let end = thread.frames_end().expect("a reason");
    assert!(end.contains("0x4141414141414141"), "{end}");
    assert_eq!(thread.frames().len(), 1, "{thread:#?}");
}

/// Guards against losing what only we know: where a return was watched, the kernel has kept the address that was overwritten.
#[test]
fn a_watched_call_on_a_smashed_stack_still_knows_its_caller() {
    let fixture = Fixture::build("deaths.c").with(Compiler::Gcc, ["-O1", "-fno-stack-protector"]).args(["smash"]);
    let outcome = fixture.run(["-f", "smash", "--tier", "session", "--returns", "always"]);
    assert!(outcome.stderr.contains("its return address was overwritten: 0x4141414141414141"), "{}", outcome.stderr);
    let report = outcome.report();
    let frames = report.crashed_thread().frames();

    assert_eq!((&frames[0]["function"], &frames[0]["overwritten"]), (&"smash".into(), &"0x4141414141414141".into()));
    assert_eq!((&frames[1]["function"], &frames[1]["found_by"]), (&"main".into(), &"return_probe".into()));
    assert_eq!(frames[1]["line"], fixture.line_of("smash(64 +"));
    assert!(frames.iter().skip(1).all(|frame| frame["overwritten"].is_null()), "{frames:#?}");
}
