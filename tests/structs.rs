//! What is behind pointers when a function is entered: structures, lists, texts, lengths; each as the program had set it before it was changed.

use serde_json::{Value, json};

use crate::support::{Call, Compiler, Fixture, Report};

/// A value in a line: `&` stands for a pointer that was followed, and what is not exact has its state and reason.
fn told(value: &Value) -> String {
    let is_exact = value["state"] == "exact";
    if let Some(target) = value.get("target") {
        assert!(is_exact, "a pointer that was followed is known: {value:#}");
        return format!("&{}", told(target));
    }
    let members = value["members"].as_array();
    let content = match (&value["value"], members) {
        (Value::Object(_), Some(members)) => {
            let members: Vec<_> =
                members.iter().map(|it| format!("{}: {}", it["name"].as_str().unwrap_or("?"), told(it))).collect();
            return format!("{{{}}}", members.join(", "));
        }
        (Value::Array(_), Some(members)) => format!("[{}]", members.iter().map(told).collect::<Vec<_>>().join(", ")),
        (Value::Null, _) => "NULL".to_owned(),
        (value, _) => value.to_string(),
    };
    match is_exact {
        true => content,
        false => {
            format!("<{}: {}>", value["state"].as_str().expect("a state"), value["reason"].as_str().expect("a reason"))
        }
    }
}

fn report(compiler: Compiler, flags: [&str; 1], options: &[&str]) -> Report {
    let options = [&["--len", "sum:values=many", "-f", "!main"], options].concat();
    Fixture::build("structs.c").with(compiler, flags).run_until_death(options)
}

/// The record of the call of `take` with this label.
fn record(report: &Report, label: &str) -> String {
    let calls = report.crashed_thread().calls_of("take");
    told(
        calls
            .0
            .iter()
            .find(|call| call.exact("label") == label)
            .unwrap_or_else(|| panic!("no call `{label}`"))
            .arg("r"),
    )
}

fn only<'a>(report: &'a Report, function: &str) -> Call<'a> {
    report.crashed_thread().calls_of(function).only()
}

/// Guards against values from after the call, against one structure taken for another, and against pointers that are followed for ever.
fn everything_is_told_as_it_was(compiler: Compiler, flags: [&str; 1]) {
    let report = report(compiler, flags, &[]);
    let deeper = "&<unavailable: it is deeper than --depth 3>";
    let nested = "&{id: 7, name: \"first\", middle: &{inner: &{code: 42, label: \"deepest\"}, counts: [1,2,3]}, \
                  next: &{id: 8, name: \"second\", middle: NULL, next: &{id: 9, name: \"last\", middle: NULL, next: NULL}}}";
    let link = |id: u32, name: &str, next: &str| format!("&{{id: {id}, name: {name}, middle: NULL, next: {next}}}");
    let one_of = |third: String| link(1, "\"one\"", &link(2, "\"two\"", &third));
    assert_eq!(record(&report, "nested"), nested);
    assert_eq!(record(&report, "chain"), one_of(link(3, "\"\"", deeper)));
    let cycle = one_of("&<unavailable: it leads back to what it is in>".into());
    assert_eq!(record(&report, "cycle"), cycle);
    let no_name = "<unreadable: no readable memory is mapped at 0xdead0000>";
    assert_eq!(
        record(&report, "wild"),
        link(1, no_name, "&<unreadable: no readable memory is mapped at 0xdead0000beef>")
    );
    assert_eq!(record(&report, "null"), "NULL");

    let place = "&&{id: 9, name: \"last\", middle: NULL, next: NULL}";
    assert_eq!(told(only(&report, "through").arg("place")), place);
    let count = only(&report, "count");
    assert_eq!((told(count.arg("counter")), told(count.arg("unset"))), ("&17".into(), "NULL".into()));
    assert_eq!(told(only(&report, "list").arg("argv")), "&[\"prog\", \"-v\", \"a file\"]");
    let number = "&{whole: 67305985, parts: [1,2,3,4]}";
    assert_eq!(told(only(&report, "convert").arg("number")), number);
    assert_eq!(told(only(&report, "sum").arg("values")), "&[5, 6, 7]");
}

#[test]
fn everything_is_told_as_it_was_by_gcc() {
    everything_is_told_as_it_was(Compiler::Gcc, ["-O0"]);
}

#[test]
fn everything_is_told_as_it_was_by_gcc_optimized() {
    everything_is_told_as_it_was(Compiler::Gcc, ["-O2"]);
}

#[test]
fn everything_is_told_as_it_was_by_clang() {
    everything_is_told_as_it_was(Compiler::Clang, ["-O0"]);
}

#[test]
fn everything_is_told_as_it_was_by_clang_optimized() {
    everything_is_told_as_it_was(Compiler::Clang, ["-O2"]);
}

/// Guards against a structure that looks whole although its second page is not there, and against losing the part that is.
#[test]
fn a_structure_that_runs_out_of_memory_is_told_as_far_as_it_goes() {
    let report = report(Compiler::Gcc, ["-O0"], &[]);
    let wide = only(&report, "torn").arg("wide");
    assert_eq!(told(wide), "&{front: \"at the edge\", back: <unreadable: its memory ends after 20 bytes>}");
    assert_eq!(wide["target"]["state"], "unreadable", "{wide:#}");
}

/// Guards against bytes that are read beyond their length, or not up to it; against NULL with a length; against an empty one.
#[test]
fn a_pointer_and_its_length_are_told_as_bytes() {
    let report = report(Compiler::Gcc, ["-O0"], &[]);
    let calls = report.crashed_thread().calls_of("send_all");
    let buffers: Vec<Value> = calls
        .0
        .iter()
        .map(|call| {
            let buffer = call.arg("buf");
            json!([buffer["value"], buffer["length"], buffer["bytes"], buffer["state"]])
        })
        .collect();
    let expected = [
        json!(["plain", 5, null, "exact"]),
        json!(["\u{1}\u{2}\\xff\u{0}", 4, "0102ff00", "exact"]),
        json!([null, null, null, "exact"]),
        json!(["", 0, null, "exact"]),
    ];
    assert_eq!(buffers, expected);
}

/// Guards against following what nobody knows the size of, and against calling code data.
#[test]
fn what_has_no_size_is_an_address_only() {
    let report = report(Compiler::Gcc, ["-O0"], &[]);
    let hide = only(&report, "hide");
    for argument in ["opaque", "anything", "callback"] {
        assert_eq!(hide.arg(argument).get("target"), None, "{argument}");
        assert_eq!(hide.arg(argument)["value"], hide.arg(argument)["address"], "{argument}");
    }
}

/// Guards against bounds that are not kept, or not told.
#[test]
fn what_is_beyond_a_bound_says_so() {
    let shallow = report(Compiler::Gcc, ["-O0"], &["--depth", "1"]);
    let deeper = "&<unavailable: it is deeper than --depth 1>";
    assert_eq!(record(&shallow, "nested"), format!("&{{id: 7, name: \"first\", middle: {deeper}, next: {deeper}}}"));

    let narrow = report(Compiler::Gcc, ["-O0"], &["--bytes", "64"]);
    let no_room = "unavailable: there was no room for it in this call (--bytes 64)";
    let expected = format!("&{{id: 7, name: <{no_room}>, middle: &<{no_room}>, next: &<{no_room}>}}");
    assert_eq!(record(&narrow, "nested"), expected);

    let none = report(Compiler::Gcc, ["-O0"], &["--bytes", "0"]);
    assert_eq!(record(&none, "nested"), "&<unavailable: there was no room for it in this call (--bytes 0)>");
    assert_eq!(record(&none, "null"), "NULL");
}
