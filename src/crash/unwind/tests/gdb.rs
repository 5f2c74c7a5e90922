//! The same crashes in a debugger: it must see the same frames.

use std::process::Command;

use super::kinds::{ABORTING, BAD_CALLS, HANDLER, INLINED, NESTED};
use super::languages::{CPP, RUST};
use super::*;

const SIGNAL: &str = "signal handler called";

/// `name:line` of the frames, as gdb has them when the program has died.
fn frames_of_gdb(crash: &Crash, signals: usize) -> Vec<String> {
    let program = crash.fixture.program();
    let gdb = |commands: &[&str]| {
        let settings = ["set debuginfod enabled off", "set print frame-arguments none"];
        let commands = settings.iter().chain(commands).flat_map(|command| ["-ex", command]);
        let mut gdb = Command::new("gdb");
        gdb.args(["-nx", "-batch"]).args(commands).arg(&program).current_dir(crash.fixture.folder());
        gdb.output().expect("gdb")
    };
    // By way of a core file: of a live process, gdb leaves out inlined functions that are at their first instruction.
    let mut commands = vec!["handle SIGUSR1 nostop noprint pass", "run"];
    commands.extend((1..signals).map(|_| "continue"));
    commands.push("generate-core-file core");
    gdb(&commands);
    let output = gdb(&["core-file core", r"echo \nThe frames:\n", "backtrace"]);
    let text = String::from_utf8_lossy(&output.stdout);
    let (_, frames) = text.split_once("\nThe frames:\n").expect("a core file");
    frames.lines().filter(|line| line.starts_with('#')).map(frame_of_gdb).collect()
}

/// `#1  0x000055555555517a in middle (n=...) at program.c:6` is `middle:6`.
fn frame_of_gdb(line: &str) -> String {
    let text = line.split_once(char::is_whitespace).expect("a number").1.trim_start();
    let text = text.strip_prefix("0x").and_then(|text| text.split_once(" in ")).map_or(text, |(_, text)| text);
    let number = text.rsplit_once(':').filter(|_| text.contains(" at ")).map_or("", |(_, number)| number);
    if text.starts_with("<signal handler called>") {
        return SIGNAL.to_owned();
    }
    let name = without_decoration(text.split(" (").next().unwrap_or(text));
    match number {
        "" => name,
        number => format!("{name}:{number}"),
    }
}

/// Ours, spelled the same way.
fn frames_of_ours(crash: &Crash) -> Vec<String> {
    let frames = crash.frames(0);
    let name = |frame: &Frame| match frame.kind {
        FrameKind::Signal => SIGNAL.to_owned(),
        // gdb leaves out the function that a closure is in.
        _ => without_decoration(
            frame.function.as_deref().map_or("??", |name| name.strip_prefix("main::").unwrap_or(name)),
        ),
    };
    let show = |frame: &Frame| match frame.line {
        Some(line) => format!("{}:{line}", name(frame)),
        None => name(frame),
    };
    frames.iter().map(show).collect()
}

/// The name without what each side writes in its own way: generic arguments, `impl` blocks, aliases inside of the C library.
fn without_decoration(name: &str) -> String {
    let mut depth = 0;
    let kept = name.chars().filter(|&character| {
        depth += i32::from(matches!(character, '<' | '{'));
        let is_kept = depth == 0;
        depth -= i32::from(matches!(character, '>' | '}'));
        is_kept
    });
    let kept: String = kept.collect();
    kept.trim_start_matches("__GI_").trim_start_matches('_').to_owned()
}

/// The frames that are the same everywhere: what is around `main` depends on whether the debug info of the C library is installed.
fn between_abort_and_main(frames: Vec<String>) -> Vec<String> {
    let is_main = |frame: &String| frame.split(':').next() == Some("main") || frame.starts_with("program::main:");
    let last = frames.iter().position(is_main).unwrap_or_else(|| panic!("no `main` in {frames:#?}"));
    // gdb makes up a frame for a tail call on the way from `abort` to the kernel.
    let first = frames.iter().position(|frame| frame.starts_with("abort")).unwrap_or(0);
    frames[first..=last].to_vec()
}

fn compare(compiler: &str, options: &[&str], source: &'static str, signals: usize) {
    let fixture = Fixture::compile(compiler, options, source);
    let crash = Crash { source, dead: Dead::at_signal(&fixture.program(), signals), fixture };
    let [ours, theirs] = [frames_of_ours(&crash), frames_of_gdb(&crash, signals)].map(between_abort_and_main);
    assert_eq!(ours, theirs, "{compiler} {options:?}");
}

/// Guards against frames that look right and are not what everybody else sees.
#[test]
fn frames_in_c_are_those_of_gdb() {
    let ways: [(&str, &[&str]); 3] = [("gcc", &["-g", "-O0"]), ("gcc", &["-g", "-O2"]), ("clang", &["-g", "-O2"])];
    for (compiler, options) in ways {
        compare(compiler, options, NESTED, 1);
        compare(compiler, options, INLINED, 1);
        compare(compiler, &[options, &["-DTARGET=0"]].concat(), BAD_CALLS, 1);
        compare(compiler, &[options, &["-DFLAGS=SA_ONSTACK"]].concat(), HANDLER, 1);
        compare(compiler, options, ABORTING, 2);
    }
}

/// Guards against names that differ from those that people set breakpoints by.
#[test]
fn frames_in_cpp_and_rust_are_those_of_gdb() {
    compare("g++", &["-g", "-O0"], CPP, 1);
    compare("g++", &["-g", "-O2"], CPP, 1);
    compare("rustc", &["-g"], RUST, 1);
    compare("rustc", &["-g", "-Copt-level=2"], RUST, 1);
}
