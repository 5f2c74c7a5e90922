//! Arguments of every scalar type of C in every position, from two compilers, with and without optimization, in two versions of
//! DWARF. The fixture computes its values by a rule; so does this file.

use std::ops::RangeInclusive;

use serde_json::{Value, json};

use crate::support::{Compiler, Fixture, Report, number};

/// `pattern` of the fixture.
const PATTERN: u64 = 0x9e37_79b9_7f4a_7c15;
const WORDS: [&str; 9] = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine"];

/// The value at position `p`: 1 to 9.
type Rule = fn(u64) -> Value;

fn bits(p: u64) -> u64 {
    PATTERN.wrapping_mul(p)
}

/// The integer of type `$integer` that the fixture passes at position `p`.
macro_rules! low_bits {
    ($integer:ty) => {
        |p| number(i128::from(bits(p) as $integer))
    };
}

/// Functions of the fixture, their type as the source spells it, and their values.
const EXACT: [(&str, &str, Rule); 17] = [
    ("nine_char", "char", |p| number(i128::from(b'a') + i128::from(p))),
    ("nine_schar", "signed char", low_bits!(i8)),
    ("nine_uchar", "unsigned char", low_bits!(u8)),
    ("nine_short", "short", low_bits!(i16)),
    ("nine_ushort", "unsigned short", low_bits!(u16)),
    ("nine_int", "int", low_bits!(i32)),
    ("nine_uint", "unsigned int", low_bits!(u32)),
    ("nine_long", "long", low_bits!(i64)),
    ("nine_ulong", "unsigned long", low_bits!(u64)),
    ("nine_llong", "long long", low_bits!(i64)),
    ("nine_ullong", "unsigned long long", low_bits!(u64)),
    ("nine_int128", "__int128", |p| number(i128::from(bits(p) as i64) << 32)),
    ("nine_bool", "_Bool", |p| json!(bits(p) % 2 == 1)),
    ("nine_color", "enum color", |p| json!(["RED", "GREEN", "BLUE"][p as usize % 3])),
    // 1 has no name.
    ("nine_level", "enum level", |p| [json!("LOW"), json!("HIGH"), json!(1)][p as usize % 3].clone()),
    ("nine_user_id", "user_id", low_bits!(u32)),
    ("nine_text", "const char *", |p| json!(WORDS[p as usize - 1])),
];

/// Arguments for which the debug info of optimized code has no place at the entry: gdb says `<optimized out>` of them, too.
const NOWHERE: [(&str, RangeInclusive<u64>); 2] = [
    // In two registers.
    ("nine_int128", 1..=3),
    // On the stack, by clang.
    ("nine_bool", 7..=9),
];

fn check(compiler: Compiler, flags: [&str; 2]) {
    let fixture = Fixture::build("arguments.c").with(compiler, flags);
    let report = fixture.run_until_death(["-f", "nine_*", "-f", "mixed", "-f", "ten_doubles"]);

    for (function, ty, rule) in EXACT {
        let call = report.crashed_thread().calls_of(function).only();
        for p in 1..=9 {
            let argument = call.arg(&format!("a{p}"));
            let may_be_nowhere =
                flags[0] == "-O2" && NOWHERE.iter().any(|(name, at)| *name == function && at.contains(&p));
            check_value(argument, &rule(p), may_be_nowhere, &format!("{function} at position {p}"));
            assert_eq!(argument["type"], ty, "{function}");
        }
    }
    check_pointers(&report, "nine_pointer");
    check_pointers(&report, "nine_callback");
    check_floats(&report);
    check_mixed(&report);
}

/// The right value, or none where the debug info has none.
fn check_value(argument: &Value, expected: &Value, may_be_nowhere: bool, what: &str) {
    if may_be_nowhere && argument["state"] == "optimized_out" {
        assert_eq!(argument["value"], Value::Null, "{what}");
    } else {
        assert_eq!((&argument["value"], &argument["state"]), (expected, &json!("exact")), "{what}: {argument:#}");
    }
}

/// A pointer that points nowhere is as exact as any other: only what is behind it cannot be read.
fn check_pointers(report: &Report, function: &str) {
    let call = report.crashed_thread().calls_of(function).only();
    for p in 1..=9 {
        let argument = call.arg(&format!("a{p}"));
        assert_eq!(argument["address"], format!("{:#x}", bits(p)), "{function} at position {p}");
    }
}

/// Either the right value or none.
fn check_float(argument: &Value, value: f64, on_stack: bool) {
    if argument["state"] == "unavailable" && !on_stack {
        assert_eq!(argument["value"], Value::Null, "{argument:#}");
    } else {
        assert_eq!((&argument["state"], &argument["value"]), (&json!("exact"), &json!(value)), "{argument:#}");
    }
}

fn check_floats(report: &Report) {
    for function in ["nine_float", "nine_double"] {
        let call = report.crashed_thread().calls_of(function).only();
        for p in 1..=9_u8 {
            check_float(call.arg(&format!("a{p}")), f64::from(p) * -1.25, p == 9);
        }
    }
    let call = report.crashed_thread().calls_of("ten_doubles").only();
    for p in 1..=10_u8 {
        check_float(call.arg(&format!("a{p}")), f64::from(p) - 0.75, p > 8);
    }
}

fn check_mixed(report: &Report) {
    let call = report.crashed_thread().calls_of("mixed").only();
    let exact = [
        ("a", json!(109)),
        ("c", json!(-300)),
        ("e", json!(-70000)),
        ("g", json!(-5_000_000_000_i64)),
        ("h", json!(true)),
        ("i", json!("ninth")),
        ("j", json!(4_000_000_000_u32)),
        ("l", json!(12)),
    ];
    for (name, value) in exact {
        assert_eq!(call.exact(name), value, "`{name}` of mixed");
    }
    for (name, value) in [("b", 0.5), ("d", 1.5), ("f", 2.5), ("k", 3.5)] {
        check_float(call.arg(name), value, false);
    }
}

/// A test for each compiler, optimization and version of DWARF. They guard against locations that are guessed from the calling
/// convention, signs that get lost, and arguments on the stack that are counted from the wrong end.
macro_rules! arguments_are_exact {
    ($($name:ident: $compiler:ident $flags:expr;)*) => {$(
        #[test]
        fn $name() {
            check(Compiler::$compiler, $flags);
        }
    )*};
}

arguments_are_exact! {
    by_gcc_in_dwarf_4: Gcc ["-O0", "-gdwarf-4"];
    by_gcc_in_dwarf_5: Gcc ["-O0", "-gdwarf-5"];
    by_gcc_optimized_in_dwarf_4: Gcc ["-O2", "-gdwarf-4"];
    by_gcc_optimized_in_dwarf_5: Gcc ["-O2", "-gdwarf-5"];
    by_clang_in_dwarf_4: Clang ["-O0", "-gdwarf-4"];
    by_clang_in_dwarf_5: Clang ["-O0", "-gdwarf-5"];
    by_clang_optimized_in_dwarf_4: Clang ["-O2", "-gdwarf-4"];
    by_clang_optimized_in_dwarf_5: Clang ["-O2", "-gdwarf-5"];
}
