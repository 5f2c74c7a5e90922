//! The files that a process had mapped as code when it died.

use std::fs;
use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{Compiler, Fixture, Report, runs};

const RUNS: u64 = 100;

fn host() -> Fixture {
    Fixture::build("plugins.c").with(Compiler::Gcc, ["-ldl"])
}

/// Copies of the plugin that a test may delete and replace.
fn plugins(flags: &[&[&str]]) -> (TempDir, Vec<String>) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let copy = |(number, flags): (usize, &&[&str])| {
        let to = directory.path().join(format!("plugin-{number}.so"));
        fs::copy(Fixture::build("plugin.c").with_flags(Compiler::Gcc, flags).shared().path(), &to).expect("a copy");
        to.display().to_string()
    };
    let paths = flags.iter().enumerate().map(copy).collect();
    (directory, paths)
}

fn innermost(report: &Report) -> [Value; 3] {
    let thread = report.crashed_thread();
    let frames = thread.frames();
    assert!(frames.len() >= 3, "{frames:#?}");
    [0, 1, 2].map(|index| frames[index].clone())
}

/// Guards against a plugin that is not known yet when its process is dead already.
#[test]
fn a_plugin_that_crashes_at_once_has_its_frames_named() {
    let (_directory, paths) = plugins(&[&["-O1"]]);
    let fixture = host().args([&paths[0]]);
    for _ in 0..runs(RUNS) {
        let report = fixture.run_until_death::<&str>([]);

        let frames = innermost(&report);
        let names = frames.each_ref().map(|frame| frame["function"].as_str().unwrap_or("?"));
        assert_eq!(names, ["plugin_inner", "plugin_run", "call"]);
        let plugin = Fixture::build("plugin.c");
        assert_eq!(frames[0]["line"], plugin.line_of("*p = value;"));
        assert_eq!(frames[1]["line"], plugin.line_of("plugin_inner((int *)0"));
        assert_eq!(
            (&frames[0]["module"], &frames[1]["module"]),
            (&paths[0].as_str().into(), &paths[0].as_str().into())
        );
    }
}

/// Guards against reading a file that is not there any more as if it had no functions.
#[test]
fn a_plugin_that_was_deleted_is_said_to_be_gone() {
    let (_directory, paths) = plugins(&[&["-O1"]]);

    let report = host().args([paths[0].as_str(), "-"]).run_until_death::<&str>([]);

    let [inner, outer, _] = innermost(&report);
    assert_eq!((&inner["module"], &inner["function"]), (&paths[0].as_str().into(), &Value::Null));
    let reason = inner["reason"].as_str().expect("a reason");
    assert!(reason.contains("gone"), "{reason}");
    // Without tables, a function that has no frame of its own yet hides its caller: what is shown is said to be a guess.
    assert_eq!(outer["found_by"], "frame_pointer");
}

/// Guards against functions and lines of another build: the wrong ones look just as right.
#[test]
fn a_plugin_that_was_replaced_is_not_taken_for_what_crashed() {
    let (_directory, paths) = plugins(&[&["-O1"], &["-O0"]]);

    let report = host().args(&paths).run_until_death::<&str>([]);

    let inner = &innermost(&report)[0];
    assert_eq!((&inner["module"], &inner["function"]), (&paths[0].as_str().into(), &Value::Null));
    let reason = inner["reason"].as_str().expect("a reason");
    assert!(reason.contains("replaced") && reason.contains("build id"), "{reason}");
    // What was mapped is told by its build id.
    let modules = report.at("/modules").as_array().expect("a list of modules");
    let module = modules.iter().find(|module| module["path"] == paths[0].as_str()).expect("the plugin");
    assert!(reason.contains(module["build_id"].as_str().expect("a build id")), "{reason}");
}

/// Guards against looking for a file where only the process saw it.
#[test]
fn a_plugin_below_another_root_has_its_frames_named() {
    let (_directory, paths) = plugins(&[&["-O1"]]);

    let report = host().args([paths[0].as_str(), "root"]).run_until_death::<&str>([]);

    let [inner, outer, _] = innermost(&report);
    assert_eq!((&inner["module"], &inner["function"]), (&"/plugin-0.so".into(), &"plugin_inner".into()), "{inner:#}");
    assert_eq!(outer["function"], "plugin_run");
}

/// Guards against a list without what nobody asked to watch, and without build ids.
#[test]
fn all_code_is_listed_with_its_build_id() {
    let report = Fixture::build("exp1.c").run_until_death::<&str>([]);

    let modules = report.at("/modules").as_array().expect("a list of modules");
    let name = |module: &Value| {
        let path = Path::new(module["path"].as_str().expect("a path")).to_owned();
        path.file_name().expect("a name").to_string_lossy().into_owned()
    };
    let mut names: Vec<String> = modules.iter().map(name).collect();
    names.sort();
    assert_eq!(names, ["[vdso]", "exp1", "ld-linux-x86-64.so.2", "libc.so.6"]);
    assert!(modules.iter().all(|module| module["build_id"].as_str().is_some_and(|id| id.len() == 40)), "{modules:#?}");
}
