//! The same crashes in a debugger: it must see the same variables, and the same numbers in them.

use std::collections::BTreeMap;
use std::process::Command;

use super::*;

/// Names in a frame and what numbers they have, where they are numbers.
type Numbers = BTreeMap<String, Vec<Option<i64>>>;

fn gdb(fixture: &Fixture, commands: &[&str]) -> String {
    let settings = ["set debuginfod enabled off", "set width 0", "set print entry-values no", "set language c"];
    let commands = settings.iter().chain(commands).flat_map(|command| ["-ex", command]);
    let mut gdb = Command::new("gdb");
    gdb.args(["-nx", "-batch"]).args(commands).arg(fixture.program()).current_dir(fixture.folder());
    String::from_utf8_lossy(&gdb.output().expect("gdb").stdout).into_owned()
}

/// The frames up to `main`: names of the functions, and what is in them.
fn frames_of_gdb(fixture: &Fixture) -> Vec<(String, Numbers)> {
    // By way of a core file: of a live process, gdb leaves out inlined functions that are at their first instruction.
    gdb(fixture, &["run", "generate-core-file core"]);
    let text = gdb(fixture, &["core-file core", r"echo \nThe frames:\n", "backtrace -full"]);
    let (_, frames) = text.split_once("\nThe frames:\n").unwrap_or_else(|| panic!("no frames: {text}"));
    let mut found: Vec<(String, Numbers)> = Vec::new();
    for line in frames.lines() {
        if let Some(frame) = line.strip_prefix('#') {
            found.push(frame_of_gdb(frame));
        } else if let (Some((_, numbers)), Some((name, value))) =
            (found.last_mut(), line.trim_start().split_once(" = "))
        {
            numbers.entry(name.to_owned()).or_default().push(value.parse().ok());
        }
    }
    up_to_main(found)
}

/// `1  0x000055555555517a in middle (n=1, text=0x1234 "a, b") at program.c:6`
fn frame_of_gdb(line: &str) -> (String, Numbers) {
    let text = line.split_once(char::is_whitespace).expect("a number").1.trim_start();
    let text = text.strip_prefix("0x").and_then(|text| text.split_once(" in ")).map_or(text, |(_, text)| text);
    let (name, rest) = text.split_once(" (").unwrap_or((text, ""));
    let arguments = rest.rsplit_once(')').map_or(rest, |(arguments, _)| arguments);
    let mut numbers = Numbers::new();
    for argument in split_outside(arguments) {
        if let Some((name, value)) = argument.split_once('=') {
            numbers.entry(name.to_owned()).or_default().push(value.parse().ok());
        }
    }
    (last_part(name), numbers)
}

/// The parts between the commas that are in no text and no bracket.
fn split_outside(text: &str) -> Vec<&str> {
    let (mut depth, mut quoted, mut start, mut parts) = (0, false, 0, Vec::new());
    for (at, character) in text.char_indices() {
        match character {
            '"' => quoted = !quoted,
            '{' | '(' | '<' if !quoted => depth += 1,
            '}' | ')' | '>' if !quoted => depth -= 1,
            ',' if !quoted && depth == 0 => {
                parts.push(text[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(text[start..].trim());
    parts
}

/// Without its class, its parameters and qualifiers, and generic arguments.
fn last_part(name: &str) -> String {
    let mut depth = 0;
    let kept = name.chars().filter(|&character| {
        depth += i32::from(matches!(character, '<' | '('));
        let is_kept = depth == 0;
        depth -= i32::from(matches!(character, '>' | ')'));
        is_kept
    });
    let kept: String = kept.collect();
    let last = kept.rsplit("::").next().unwrap_or(&kept);
    last.split(' ').next().unwrap_or(last).to_owned()
}

fn up_to_main(frames: Vec<(String, Numbers)>) -> Vec<(String, Numbers)> {
    let last = frames.iter().position(|(name, _)| name == "main");
    let last = last.unwrap_or_else(|| panic!("no `main` in {frames:#?}"));
    frames[..=last].to_vec()
}

fn frames_of_ours(fixture: &Fixture) -> Vec<(String, Numbers)> {
    let numbers = |frame: &Frame| {
        let mut numbers = Numbers::new();
        for value in frame.args.iter().chain(&frame.locals) {
            // What a slot holds before it is set is another number in each run, and has its reason.
            let is_set = value.state == State::Exact && value.reason.is_none();
            let number = value.value.as_i64().filter(|_| is_set && value.text.is_none());
            numbers.entry(value.name.clone().unwrap_or_default()).or_default().push(number);
        }
        numbers
    };
    let frames = frames_of(fixture);
    up_to_main(frames.iter().map(|it| (last_part(it.function.as_deref().unwrap_or("?")), numbers(it))).collect())
}

/// Compares names in all frames, and numbers where both have some. Returns how many those were.
fn compare(compiler: &str, options: &[&str], source: &str) -> usize {
    let fixture = Fixture::compile(compiler, options, source);
    let (ours, theirs) = (frames_of_ours(&fixture), frames_of_gdb(&fixture));
    let names = |frames: &[(String, Numbers)]| {
        let names = frames.iter().map(|(function, numbers)| {
            // Once each: where a function was inlined, gdb lists some a second time, without a value.
            format!("{function}: {}", numbers.keys().map(String::as_str).collect::<Vec<_>>().join(" "))
        });
        names.collect::<Vec<_>>()
    };
    assert_eq!(names(&ours), names(&theirs), "{compiler} {options:?}");
    let mut same = 0;
    for ((function, ours), (_, theirs)) in ours.iter().zip(&theirs) {
        for ((name, ours), (_, theirs)) in ours.iter().zip(theirs) {
            let sorted = |numbers: &[Option<i64>]| {
                let mut sorted: Vec<i64> = numbers.iter().copied().flatten().collect();
                sorted.sort_unstable();
                sorted
            };
            // A hidden variable is listed in another order.
            let (ours, theirs) = (sorted(ours), sorted(theirs));
            if ours.len() == theirs.len() {
                assert_eq!(ours, theirs, "`{name}` of {function}, {compiler} {options:?}");
                same += ours.len();
            }
        }
    }
    same
}

/// Guards against values that look right and are not what everybody else sees.
#[test]
fn numbers_in_c_are_those_of_gdb() {
    let ways: [(&str, &[&str]); 5] = [
        ("gcc", &["-g", "-O0"]),
        ("gcc", &["-g", "-O2"]),
        ("gcc", &["-g", "-O1", "-gdwarf-4", "-fno-pie", "-no-pie"]),
        ("clang", &["-g", "-O0"]),
        ("clang", &["-g", "-O2"]),
    ];
    for (compiler, options) in ways {
        let same = compare(compiler, options, sources::C) + compare(compiler, options, sources::KEPT);
        println!("{compiler} {options:?}: {same}");
        assert!(same >= 8, "{compiler} {options:?}: {same}");
    }
}

/// Guards against methods, closures and slices whose variables are not found.
#[test]
fn numbers_in_cpp_and_rust_are_those_of_gdb() {
    for options in [["-g", "-O0"], ["-g", "-O2"]] {
        compare("g++", &options, sources::CPP);
        compare("clang++", &options, sources::CPP);
    }
    compare("rustc", &["-g"], sources::RUST);
    compare("rustc", &["-g", "-Copt-level=2"], sources::RUST);
}
