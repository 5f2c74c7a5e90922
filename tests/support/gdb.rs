//! What gdb says of the same death.

use std::process::Command;

use super::Fixture;

/// What stands for a frame that the kernel made.
pub const SIGNAL_FRAME: &str = "<signal handler called>";

/// The crashed thread's frames as gdb has them, `function:line`, from the innermost one with a line to `main`.
pub fn frames(fixture: &Fixture) -> Vec<String> {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let gdb = |commands: &[&str]| {
        let settings = ["set debuginfod enabled off", "set print frame-arguments none"];
        let mut gdb = Command::new("gdb");
        gdb.args(["-nx", "-batch"]).current_dir(directory.path());
        gdb.args(settings.iter().chain(commands).flat_map(|command| ["-ex", command]));
        let output = gdb.arg("--args").arg(fixture.path()).args(fixture.arguments()).output().expect("gdb");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    // By way of a core file: of a living process, gdb leaves out inlined functions that are at their first instruction.
    gdb(&["handle SIGUSR1 nostop noprint pass", "run", "generate-core-file core"]);
    let output = gdb(&["core-file core", r"echo \nThe frames:\n", "backtrace"]);
    let (_, frames) = output.split_once("\nThe frames:\n").expect("a core file");
    let frames = frames.lines().filter(|line| line.starts_with('#'));
    within_program(frames.map(|line| frame(line, fixture.source())).collect())
}

/// Frames from the innermost one with a line in a file of the program's up to `main`: what is around them depends on whether the debug
/// info of the C library is installed.
pub fn within_program(frames: Vec<String>) -> Vec<String> {
    let last = frames
        .iter()
        .rposition(|frame| frame.starts_with("main:"))
        .unwrap_or_else(|| panic!("no `main` in {frames:#?}"));
    let first = frames.iter().position(|frame| frame.contains(':')).unwrap_or_default();
    frames[first..=last].iter().filter(|frame| frame.contains(':') || *frame == SIGNAL_FRAME).cloned().collect()
}

/// `#1  0x000055555555517a in middle (n=...) at program.c:6` is `middle:6`, for a function of the program's source.
fn frame(line: &str, source: &str) -> String {
    let text = line.split_once(char::is_whitespace).expect("a number").1.trim_start();
    let text = text.strip_prefix("0x").and_then(|text| text.split_once(" in ")).map_or(text, |(_, text)| text);
    if text.starts_with(SIGNAL_FRAME) {
        return SIGNAL_FRAME.to_owned();
    }
    let name = without_decoration(text.split(" (").next().unwrap_or(text));
    match text.rsplit_once(':') {
        Some((before, number)) if before.ends_with(source) => format!("{name}:{number}"),
        _ => name,
    }
}

/// The last part of a name, without what each side writes in its own way: generic arguments, `impl` blocks, parameters of lambdas.
pub fn without_decoration(name: &str) -> String {
    let mut depth = 0;
    let kept = name.chars().filter(|&character| {
        depth += i32::from(matches!(character, '<' | '{' | '('));
        let is_kept = depth == 0;
        depth -= i32::from(matches!(character, '>' | '}' | ')'));
        is_kept
    });
    let kept: String = kept.collect();
    kept.trim_end_matches("::").rsplit("::").next().unwrap_or_default().to_owned()
}

/// What gdb prints for an expression at the entry of each of these functions, the first time each is called.
pub fn arguments(fixture: &Fixture, asked: &[(&str, &str)]) -> Vec<String> {
    let mut commands = vec![
        "set debuginfod enabled off".to_owned(),
        "set print elements 0".to_owned(),
        "set print repeats 0".to_owned(),
        "set print address off".to_owned(),
        "set breakpoint pending on".to_owned(),
    ];
    let is_rust = fixture.source().ends_with(".rs");
    for (number, (function, expression)) in asked.iter().enumerate() {
        let place = if is_rust { format!("kinds::{function}") } else { (*function).to_owned() };
        commands.push(format!("tbreak -qualified {place}"));
        commands.push(format!("commands\nsilent\necho \\n[{number}]\nprint {expression}\ncontinue\nend"));
    }
    commands.push("run".to_owned());
    let directory = tempfile::tempdir().expect("a temporary directory");
    let script = directory.path().join("script");
    std::fs::write(&script, commands.join("\n")).expect("a script for gdb");
    let program = if is_rust { "rust-gdb" } else { "gdb" };
    let mut gdb = Command::new(program);
    gdb.args(["-nx", "-batch", "-x"]).arg(&script).arg(fixture.path()).current_dir(directory.path());
    let output = gdb.output().expect("gdb");
    let output = String::from_utf8_lossy(&output.stdout).into_owned();
    let printed = |number: usize| {
        let (_, rest) = output.split_once(&format!("[{number}]$")).unwrap_or_else(|| panic!("no {number}: {output}"));
        let (_, value) = rest.split_once(" = ").expect("a value");
        without_types(value.lines().next().unwrap_or_default())
    };
    (0..asked.len()).map(printed).collect()
}

/// `std::vector of length 2, capacity 2 = {1, 2}` is `{1, 2}`: what stands before a `=` is the name of a type or a member, how much there is of it,
/// or its number. Only keys of maps are kept.
fn without_types(value: &str) -> String {
    let value = match value.strip_prefix('(').and_then(|rest| rest.split_once(") ")) {
        Some((_, value)) => value,
        None => value,
    };
    let value = value.replace("Vec(size=0)", "");
    let is_map = value.starts_with("std::map") || value.starts_with("std::unordered_map");
    let mut kept = String::new();
    for part in value.split_inclusive(" = ") {
        let Some(name) = part.strip_suffix(" = ") else {
            kept.push_str(&without_empty(part));
            continue;
        };
        let start = name
            .rfind("std::")
            .or_else(|| name.rfind(['{', ',']))
            .map_or(0, |at| at + usize::from(!name[at..].starts_with('s')));
        kept.push_str(&without_empty(&name[..start]));
        let key =
            name.rsplit_once('[').map(|(_, key)| key.trim_end_matches(']')).filter(|_| is_map && name.ends_with(']'));
        kept.push_str(key.unwrap_or_default());
        kept.push(' ');
    }
    kept
}

/// What holds nothing is told by its type alone.
fn without_empty(text: &str) -> String {
    let mut kept = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("std::") {
        kept.push_str(&rest[..at]);
        let empty = &rest[at..];
        let end = empty.find("capacity 0").map(|end| end + "capacity 0".len());
        let end = end.or_else(|| empty.find(" elements").map(|end| end + " elements".len()));
        rest = &empty[end.unwrap_or(empty.len())..];
    }
    kept + rest
}
