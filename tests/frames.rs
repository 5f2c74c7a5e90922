//! What the frames of a crash have in them: arguments and locals as they were at the death, and at the entry.

use serde_json::{Value, json};

use crate::support::{Compiler, Fixture, Report};

/// The one frame of a function in the crashed thread.
fn frame<'r>(report: &'r Report, function: &str) -> &'r Value {
    let frames = report.at("/threads/0/frames").as_array().expect("a list of frames");
    let mut found = frames.iter().filter(|frame| frame["function"] == function);
    found.next().unwrap_or_else(|| panic!("no frame of `{function}` in {frames:#?}"))
}

/// What is said of an argument or a local.
fn named<'r>(frame: &'r Value, list: &str, name: &str) -> &'r Value {
    let values = frame[list].as_array().unwrap_or_else(|| panic!("no {list} in {frame:#}"));
    let found = values.iter().rfind(|value| value["name"] == name);
    found.unwrap_or_else(|| panic!("no `{name}` in {frame:#}"))
}

fn exact(frame: &Value, list: &str, name: &str) -> Value {
    let value = named(frame, list, name);
    assert_eq!(value["state"], "exact", "{frame:#}");
    value["value"].clone()
}

fn has_all_its_values(compiler: Compiler, optimization: &str) {
    let fixture = Fixture::build("frames.c").with(compiler, [optimization]);
    let report = fixture.run_until_death::<&str>([]);
    let calls = report.crashed_thread();

    let spoil = frame(&report, "spoil");
    let r = named(spoil, "args", "r");
    assert_eq!(r["target"]["value"]["name"], "alice", "{spoil:#}");
    assert_eq!(r["target"]["value"]["id"], 7);
    assert_eq!(r["target"]["value"]["weight"], -1.5);
    assert_eq!(r["at_entry"], json!(null), "it has not changed");
    // With both values where they differ.
    assert_eq!(named(spoil, "args", "len")["at_entry"]["value"], 4, "{spoil:#}");
    assert_ne!(named(spoil, "args", "len")["value"], 4, "{spoil:#}");
    assert_eq!(named(spoil, "args", "name")["at_entry"]["value"], "bob");
    assert_ne!(named(spoil, "args", "name")["value"], "bob");
    assert_eq!(spoil["call"], *calls.calls_of("spoil").only().field("n"));
    assert_eq!(calls.calls_of("spoil").only().field("frame"), &spoil["n"]);

    // Its code is in `by_value`, and so is the call: what was recorded belongs there.
    let inlined = frame(&report, "inlined");
    assert_eq!((&inlined["kind"], &inlined["call"]), (&json!("inlined"), &json!(null)));
    assert_eq!(inlined["args"].as_array().map(Vec::len), Some(2));
    assert_eq!(exact(inlined, "args", "twice"), 21);
    assert_eq!(exact(inlined, "locals", "doubled"), 42);

    let by_value = frame(&report, "by_value");
    assert_eq!(exact(by_value, "args", "r")["id"], 7);
    assert_eq!(by_value["call"], *calls.calls_of("by_value").only().field("n"));

    let main = frame(&report, "main");
    assert_eq!(exact(main, "locals", "key"), "bob");
    assert_eq!(calls.calls_of("main").only().field("frame"), &main["n"]);
}

/// Guards against values of another frame, and against the arguments at entry for those at the crash.
#[test]
fn a_frame_has_all_its_values_by_gcc() {
    has_all_its_values(Compiler::Gcc, "-O0");
}

#[test]
fn a_frame_has_all_its_values_by_gcc_optimized() {
    has_all_its_values(Compiler::Gcc, "-O2");
}

#[test]
fn a_frame_has_all_its_values_by_clang() {
    has_all_its_values(Compiler::Clang, "-O0");
}

/// Guards against `<optimized out>` where a debugger has to say it: the call was recorded.
fn a_dropped_argument_is_told_as_it_came(compiler: Compiler) {
    let fixture = Fixture::build("frames.c").with(compiler, ["-O2", "-DDROP"]);
    let outcome = fixture.run::<&str>([]);
    let page = outcome.stderr.clone();
    let report = outcome.report();

    let spoil = frame(&report, "spoil");
    for (name, was) in [("len", json!(4)), ("name", json!("bob"))] {
        let argument = named(spoil, "args", name);
        assert_eq!((&argument["state"], &argument["value"]), (&json!("optimized_out"), &json!(null)), "{spoil:#}");
        assert_eq!((&argument["at_entry"]["state"], &argument["at_entry"]["value"]), (&json!("exact"), &was));
    }
    assert!(page.contains(r#"spoil(len = 4 (at entry), name = "bob" (at entry), r = 0x"#), "{page}");
}

#[test]
fn a_dropped_argument_is_told_as_it_came_by_gcc() {
    a_dropped_argument_is_told_as_it_came(Compiler::Gcc);
}

#[test]
fn a_dropped_argument_is_told_as_it_came_by_clang() {
    a_dropped_argument_is_told_as_it_came(Compiler::Clang);
}

/// Guards against a `this` without its object, and closures without what they have captured.
fn a_method_has_its_object(compiler: Compiler) {
    let report = Fixture::build("frames.cpp").with(compiler, ["-O0"]).run_until_death::<&str>([]);

    let area = frame(&report, "Shape::area");
    let this = named(area, "args", "this");
    assert_eq!(this["target"]["value"]["Base"]["number"], 2, "{area:#}");
    assert_eq!(this["target"]["value"]["width"], 1.5);
    assert_eq!(exact(area, "args", "name"), "square");
    assert_eq!(exact(area, "args", "exact"), true);
    assert_eq!(exact(area, "locals", "scaled"), 6);
    let closure = report.at("/threads/0/frames/0");
    assert_eq!(exact(closure, "args", "more"), 5);
    let main = frame(&report, "main");
    assert_eq!(exact(main, "locals", "counter"), 4);
    assert_eq!(exact(main, "locals", "shape")["Base"]["number"], 2);
}

#[test]
fn a_method_has_its_object_by_gpp() {
    a_method_has_its_object(Compiler::Gcc);
}

#[test]
fn a_method_has_its_object_by_clangpp() {
    a_method_has_its_object(Compiler::Clang);
}

/// Guards against texts of Rust that are shown as pointers, or cut at a byte that is no NUL.
#[test]
fn rust_has_its_values() {
    let report = Fixture::build("frames.rs").run_until_death::<&str>([]);

    let lost = frame(&report, "frames::lost");
    assert_eq!(exact(lost, "args", "point"), json!({ "x": 3, "y": 4 }), "{lost:#}");
    assert_eq!(exact(lost, "args", "name"), "Grüße");
    assert_eq!(exact(lost, "args", "flag"), true);
    assert_eq!(exact(lost, "locals", "doubled"), 6);
    assert_eq!(exact(lost, "locals", "pair"), json!([7, -8]));
    let main = frame(&report, "frames::main");
    assert_eq!(exact(main, "locals", "letter"), "é");
}
