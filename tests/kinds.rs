//! A value of every kind that C, C++ and Rust have: what is told of it as the argument of a call that was recorded, next to what gdb tells.
//!
//! The table stands in the fixtures (`fixtures/kinds.*`): above each function what is to be told of its argument.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::support::{Compiler, Fixture, Report, gdb};

/// One function of a fixture.
struct Kind {
    function: String,
    /// What is to be told of its argument.
    expected: String,
    /// What gdb is to print at its entry.
    gdb: Option<String>,
}

/// The table in a fixture's comments.
fn table(source: &str) -> Vec<Kind> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(source);
    let text = fs::read_to_string(file).expect("a fixture");
    let mut kinds = Vec::new();
    let (mut expected, mut expression) = (None, None);
    for line in text.lines() {
        if let Some(told) = line.strip_prefix("// -> ") {
            (expected, expression) = (Some(told.to_owned()), Some("value".to_owned()));
        } else if let Some(asked) = line.strip_prefix("// gdb: ") {
            expression = (asked != "-").then(|| asked.to_owned());
        } else if !line.starts_with('#')
            && let Some(expected) = expected.take()
        {
            kinds.push(Kind { function: function_in(line), expected, gdb: expression.take() });
        }
    }
    assert!(kinds.len() > 10, "{source}");
    kinds
}

/// The name of the function that a line declares.
fn function_in(line: &str) -> String {
    let name = match line.strip_prefix("kind!(") {
        Some(rest) => rest.split(',').next().unwrap_or(rest),
        None => {
            let before = line.split(['(', '<']).next().unwrap_or(line);
            let before = if line.starts_with("KEEP") { line.split('(').next().unwrap_or(line) } else { before };
            before.rsplit(' ').next().unwrap_or(before)
        }
    };
    name.to_owned()
}

/// A value in a line: `&` stands for a pointer that was followed, and what is not exact has its state and reason.
fn told(value: &Value) -> String {
    let is_exact = value["state"] == "exact";
    if let Some(target) = value.get("target").filter(|_| is_exact) {
        let is_reference = value["type"].as_str().is_some_and(|ty| ty.ends_with('&') || ty.starts_with('&'));
        let (ty, of) = (value["type"].as_str().unwrap_or_default(), target["type"].as_str().unwrap_or_default());
        // What it really is, where that is something else than the source says.
        let dynamic = if ["Square", "Field", "Terraced"].iter().any(|class| of.ends_with(class)) {
            format!("{of} ")
        } else {
            String::new()
        };
        return format!(
            "{}{dynamic}{}",
            if is_reference || ty.starts_with("alloc::boxed") { "" } else { "&" },
            told(target)
        );
    }
    if let Some(symbol) = value["symbol"].as_str() {
        return format!("<{symbol}>");
    }
    let content = content(value);
    let content = match value["variant"].as_str() {
        Some(variant) if value["value"].is_null() && value["members"].is_null() => variant.to_owned(),
        Some(variant) if content.starts_with('{') => format!("{variant} {content}"),
        Some(variant) if content.starts_with('(') => format!("{variant}{content}"),
        Some(variant) if value["value"].is_string() && value["members"].is_null() => variant.to_owned(),
        _ => content,
    };
    // What is exact, and odd or inferred.
    let content = match value["reason"].as_str() {
        Some(reason) if is_exact => format!("{content} ({reason})"),
        _ => content,
    };
    match is_exact || value.get("members").is_some() && value["state"] != "truncated" {
        true => content,
        // Of a value that has members, they say it.
        false => format!(
            "{content}<{}: {}>",
            value["state"].as_str().expect("a state"),
            value["reason"].as_str().unwrap_or("no reason")
        ),
    }
}

fn content(value: &Value) -> String {
    let members = value["members"].as_array();
    let named = |it: &Value| {
        let name = it["name"].as_str().unwrap_or_default();
        // Compilers have names of their own for that one.
        format!("{}: {}", if name.starts_with("_vptr") { "_vptr" } else { name }, told(it))
    };
    let keyed = |it: &Value| format!("{}: {}", told(&it["key"]), told(it));
    let is_tuple = |members: &Vec<Value>| {
        members.iter().all(|it| it["name"].as_str().is_some_and(|name| name.parse::<u8>().is_ok()))
    };
    let joined = |parts: Vec<String>| parts.join(", ");
    match (&value["value"], members) {
        (_, Some(members)) if is_tuple(members) => format!("({})", joined(members.iter().map(told).collect())),
        (_, Some(members)) if members.iter().all(|it| it.get("key").is_some()) => {
            format!("{{{}}}", joined(members.iter().map(keyed).collect()))
        }
        (Value::Array(_), Some(members)) => format!("[{}]", joined(members.iter().map(told).collect())),
        (_, Some(members)) => format!("{{{}}}", joined(members.iter().map(named).collect())),
        (Value::Null, None) if value["state"] != "exact" => String::new(),
        (Value::Null, None) => "NULL".to_owned(),
        (Value::Array(parts), None) => format!("[{}]", joined(parts.iter().map(Value::to_string).collect())),
        (value, None) => value.to_string(),
    }
}

/// `*` stands for an address.
fn without_addresses(told: &str) -> String {
    let (mut kept, mut rest) = (String::new(), told);
    while let Some((before, behind)) = rest.split_once("at 0x") {
        kept = kept + before + "at 0x*";
        rest = behind.trim_start_matches(|digit: char| digit.is_ascii_hexdigit());
    }
    kept + rest
}

/// What is told of the first argument of each function, by the last part of its name.
fn arguments(report: &Report) -> HashMap<String, String> {
    let calls = report.crashed_thread().calls();
    let named = calls.0.iter().filter_map(|call| {
        let name = gdb::without_decoration(call.function());
        Some((name, told(call.arguments().first()?)))
    });
    named.collect()
}

/// Numbers and texts in the order in which they stand, without what each side adds in its own way.
fn numbers_and_texts(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let is_number = |text: &str| text.trim_start_matches('-').starts_with(|first: char| first.is_ascii_digit());
        let length = match first {
            '"' => {
                let end = rest[1..].find('"').map_or(rest.len(), |end| end + 2);
                found.push(rest[..end].to_owned());
                end
            }
            // Each side counts in its own way how far into it.
            '<' if rest.starts_with("<vtable for ") => {
                rest.find(['>', '}']).filter(|end| rest[*end..].starts_with('>')).map_or(1, |end| end + 1)
            }
            // Names, in which digits may be too, and the `i` behind an imaginary number.
            _ if first.is_alphabetic() || first == '_' => {
                rest.find(|it: char| !it.is_alphanumeric() && it != '_').unwrap_or(rest.len())
            }
            _ if is_number(rest) => {
                let is_address = rest.starts_with("0x");
                let is_part = |it: char| it.is_ascii_digit() || it == '.' || is_address && it.is_alphanumeric();
                let end = rest[1..].find(|it| !is_part(it)).map_or(rest.len(), |end| end + 1);
                if !is_address {
                    found.push(rest[..end].to_owned());
                }
                end
            }
            _ => first.len_utf8(),
        };
        rest = &rest[length..];
    }
    found
}

/// Each kind as it is expected, and, if it can be asked, as gdb has it. `fewer` are those that this compiler leaves nothing of, or of which its
/// debug info does not say where they are.
fn everything_is_told(source: &str, compiler: Compiler, flags: &[&str], fewer: &[&str], asks_gdb: bool) {
    let standard = if source.ends_with(".cpp") { &["-std=c++20"][..] } else { &[] };
    let fixture = Fixture::build(source).with_flags(compiler, &[standard, flags].concat());
    let pattern = if source.ends_with(".rs") { "kinds::*" } else { "!main" };
    let lengths = ["--len", "many:values=count", "--len", "flexible_said:value.stops=width"];
    let options = [&["-f", pattern, "--calls", "200", "--bytes", "2048"], &lengths[..]].concat();
    let report = fixture.run_until_death(options);
    let told = arguments(&report);
    let kinds = table(source);
    let mut wrong = Vec::new();
    for Kind { function, expected, .. } in kinds.iter().filter(|kind| !fewer.contains(&kind.function.as_str())) {
        match told.get(function) {
            Some(told) if without_addresses(told) == *expected => {}
            Some(told) => wrong.push(format!("{function}\n     told: {told}\n expected: {expected}")),
            None => wrong.push(format!("{function} was not recorded")),
        }
    }
    assert!(wrong.is_empty(), "{} {flags:?}:\n{}", fixture.path().display(), wrong.join("\n"));

    if !asks_gdb {
        return;
    }
    let asked: Vec<_> = kinds.iter().filter_map(|kind| Some((kind.function.as_str(), kind.gdb.as_deref()?))).collect();
    let asked: Vec<_> = asked.into_iter().filter(|(function, _)| !fewer.contains(function)).collect();
    for ((function, _), printed) in asked.iter().zip(gdb::arguments(&fixture, &asked)) {
        let ours = numbers_and_texts(&told[*function]);
        assert_eq!(ours, numbers_and_texts(&printed), "{function} of {source} {flags:?}: gdb says {printed}");
    }
}

macro_rules! kinds {
    ($($(#[$about:meta])* $name:ident: $source:literal, $compiler:ident, $flags:expr, $fewer:expr, $asks_gdb:expr;)*) => {
        $($(#[$about])* #[test] fn $name() {
            everything_is_told($source, Compiler::$compiler, &$flags, &$fewer, $asks_gdb);
        })*
    };
}

kinds! {
    /// Guards against values of C that are told wrongly, or not at all.
    c_by_gcc: "kinds.c", Gcc, ["-O0", "-gdwarf-5"], ["real"], true;
    c_by_gcc_with_dwarf_4: "kinds.c", Gcc, ["-O0", "-gdwarf-4"], ["real"], true;
    c_by_gcc_optimized: "kinds.c", Gcc, ["-O2", "-gdwarf-5"], ["real", "large"], true;
    c_by_gcc_optimized_with_dwarf_4: "kinds.c", Gcc, ["-O2", "-gdwarf-4"], ["real", "large"], true;
    c_by_clang: "kinds.c", Clang, ["-O0", "-gdwarf-5"], ["real"], true;
    c_by_clang_with_dwarf_4: "kinds.c", Clang, ["-O0", "-gdwarf-4"], ["real"], true;
    c_by_clang_optimized: "kinds.c", Clang, ["-O2", "-gdwarf-5"], ["real", "by_value", "large"], true;
    c_by_clang_optimized_with_dwarf_4: "kinds.c", Clang, ["-O2", "-gdwarf-4"], ["real", "by_value", "large"], true;
    /// Guards against containers of C++ that are told without what they hold.
    cpp_by_gpp: "kinds.cpp", Gcc, ["-O0", "-gdwarf-5"], [], true;
    cpp_by_gpp_with_dwarf_4: "kinds.cpp", Gcc, ["-O0", "-gdwarf-4"], [], true;
    cpp_by_gpp_optimized: "kinds.cpp", Gcc, ["-O2", "-gdwarf-5"], [], true;
    cpp_by_gpp_optimized_with_dwarf_4: "kinds.cpp", Gcc, ["-O2", "-gdwarf-4"], [], true;
    /// clang leaves out the inside of `std::string`, and gdb then tells nothing of it.
    cpp_by_clangpp_with_dwarf_4: "kinds.cpp", Clang, ["-O0", "-gdwarf-4"], [], false;
    cpp_by_clangpp_with_all_types: "kinds.cpp", Clang, ["-O0", "-gdwarf-5", "-fstandalone-debug"], [], true;
    cpp_by_clangpp_optimized: "kinds.cpp", Clang, ["-O2", "-gdwarf-5"], [], true;
    cpp_by_clangpp_optimized_with_dwarf_4: "kinds.cpp", Clang, ["-O2", "-gdwarf-4"], [], false;
    /// Guards against libstdc++ being taken for the only library. gdb has no printers for the other one.
    cpp_with_libcxx: "kinds.cpp", Clang, ["-O0", "-gdwarf-5", "-stdlib=libc++"], [], false;
    cpp_with_libcxx_and_dwarf_4: "kinds.cpp", Clang, ["-O0", "-gdwarf-4", "-stdlib=libc++"], [], false;
    cpp_with_libcxx_optimized: "kinds.cpp", Clang, ["-O2", "-gdwarf-5", "-stdlib=libc++"], [], false;
    cpp_with_libcxx_and_dwarf_4_optimized: "kinds.cpp", Clang, ["-O2", "-gdwarf-4", "-stdlib=libc++"], [], false;
    /// The same for Rust. Of optimized code, gdb stops in what was inlined into a function, and knows no arguments there.
    rust: "kinds.rs", Gcc, ["-C", "opt-level=0", "-C", "dwarf-version=5"], [], true;
    rust_with_dwarf_4: "kinds.rs", Gcc, ["-C", "opt-level=0", "-C", "dwarf-version=4"], [], true;
    rust_optimized: "kinds.rs", Gcc, ["-C", "opt-level=2", "-C", "dwarf-version=5"], [], false;
    rust_optimized_with_dwarf_4: "kinds.rs", Gcc, ["-C", "opt-level=2", "-C", "dwarf-version=4"], [], false;
}

/// Guards against a derived object that is told without its front, and against saying nothing of it where there was no room.
#[test]
fn a_part_of_an_object_says_what_it_is_a_part_of() {
    let fixture = Fixture::build("kinds.cpp").with_flags(Compiler::Gcc, &["-std=c++20", "-O0"]);
    let report = fixture.run_until_death(["-f", "second_base", "--bytes", "72"]);
    let told = &arguments(&report)["second_base"];
    let expected = "{_vptr: <vtable for Field+0x30>, size: 11} (it is a part of a `Field`, which begins 16 bytes before it: \
                    there was no room for it in this call (--bytes 72))";
    assert_eq!(told, expected);
}
