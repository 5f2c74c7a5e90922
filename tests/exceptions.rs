//! C++ exceptions that nobody caught: what was thrown, and what it says.

use serde_json::{Value, json};

use crate::support::{Compiler, Fixture, Report};

/// Compilers, runtimes and ways to link them.
const WAYS: [(Compiler, &[&str]); 6] = [
    (Compiler::Gcc, &["-O0"]),
    (Compiler::Gcc, &["-O2"]),
    (Compiler::Gcc, &["-O2", "-static"]),
    (Compiler::Clang, &["-O2"]),
    (Compiler::Clang, &["-O0", "-stdlib=libc++"]),
    (Compiler::Clang, &["-O2", "-stdlib=libc++"]),
];

/// Runs the fixture in each way, with this argument.
fn each_way(mode: &str, check: impl Fn(&Report)) {
    for (compiler, flags) in WAYS {
        println!("{mode}: {compiler:?} {flags:?}");
        let flags = [&["-w", "-pthread"], flags].concat();
        let fixture = Fixture::build("thrown.cpp").with_flags(compiler, &flags).args([mode]);
        let report = fixture.run_until_death::<&str>([]);
        println!("{:#}", report.at("/fault"));
        check(&report);
    }
}

/// Type, state and message of all exceptions.
fn told(report: &Report) -> Value {
    let listed = report.at("/fault").get("exceptions").and_then(Value::as_array).cloned().unwrap_or_default();
    listed.iter().map(|it| json!([it["type"], it["state"], it["text"]["value"]])).collect()
}

fn sentence(report: &Report) -> &str {
    report.at("/fault/explanation").as_str().expect("a sentence")
}

/// Guards against a report that says that a program gave up, and not for what.
#[test]
fn a_standard_exception_is_told_with_its_message() {
    each_way("message", |report| {
        assert_eq!(told(report), json!([["std::runtime_error", "uncaught", "cannot open the shop"]]));
        assert_eq!(
            sentence(report),
            "a C++ exception of type `std::runtime_error` was not caught, thrown by `sell`: cannot open the shop"
        );
    });
    each_way("empty", |report| {
        assert_eq!(told(report), json!([["std::runtime_error", "uncaught", ""]]));
        assert_eq!(report.at("/fault/exceptions/0/text/state"), "exact");
    });
}

/// Guards against members and messages that are those of a base class only.
#[test]
fn a_class_of_the_program_is_told_with_its_members() {
    each_way("derived", |report| {
        let message = "no tea left on the third shelf from above";
        assert_eq!(told(report), json!([["shop::out_of_stock", "uncaught", message]]));
        assert_eq!(
            report.at("/fault/exceptions/0/value/value"),
            &json!({"std::runtime_error": message, "item": 42, "shelf": "the third shelf from above"})
        );
    });
    each_way("second", |report| {
        assert_eq!(told(report), json!([["shop::late", "uncaught", "the train is late"]]));
        assert_eq!(report.at("/fault/exceptions/0/value/value/minutes"), 12);
    });
}

/// Guards against objects without a class taken for objects with one.
#[test]
fn what_is_no_class_is_told_as_what_it_is() {
    each_way("text", |report| assert_eq!(told(report), json!([["char const*", "uncaught", "just a text"]])));
    each_way("number", |report| {
        assert_eq!(told(report), json!([["int", "uncaught", null]]));
        assert_eq!(report.at("/fault/exceptions/0/value/value"), 4711);
    });
    each_way("string", |report| {
        assert_eq!(report.at("/fault/exceptions/0/value/value"), "a text that does not fit into the string itself");
    });
}

/// Guards against a message that is cut without a word.
#[test]
fn a_message_that_is_too_long_says_so() {
    each_way("long", |report| {
        let text = report.at("/fault/exceptions/0/text");
        assert_eq!(text["state"], "truncated", "{text}");
        assert!(
            text["value"].as_str().is_some_and(|text| text.len() > 100 && text.chars().all(|c| c == 'x')),
            "{text}"
        );
    });
}

/// Guards against losing what was thrown where the runtime has unwound the stack before it gave up.
#[test]
fn what_leaves_a_noexcept_function_is_told() {
    each_way("noexcept", |report| {
        assert_eq!(told(report), json!([["std::logic_error", "uncaught", "nobody may see this"]]));
        let sentence = sentence(report);
        assert!(sentence.contains("`noexcept`") && sentence.contains("sell_for_certain"), "{sentence}");
    });
}

/// Guards against the exception that was being handled taken for the one that nobody caught.
#[test]
fn exceptions_in_handlers_come_with_those_that_were_handled() {
    each_way("nested", |report| {
        assert_eq!(
            told(report),
            json!([
                ["std::runtime_error", "uncaught", "the handler failed"],
                ["shop::out_of_stock", "caught", "no tea left on the third shelf from above"]
            ])
        );
    });
    each_way("caught", |report| {
        assert_eq!(
            told(report),
            json!([["shop::out_of_stock", "caught", "no tea left on the third shelf from above"]])
        );
        assert_eq!(sentence(report), "`handle` called `abort`");
    });
}

/// Guards against exceptions of which only the memory is left.
#[test]
fn what_was_handled_long_ago_is_not_told() {
    each_way("after", |report| assert_eq!(told(report), json!([])));
    each_way("plain", |report| {
        assert_eq!(told(report), json!([]));
        assert_eq!(sentence(report), "`main` called `std::terminate`");
    });
}

/// Guards against looking for exceptions in the main thread only, and against the header of one that only refers to another.
#[test]
fn in_other_threads_and_thrown_again() {
    let expected = json!([["std::runtime_error", "uncaught", "cannot open the shop"]]);
    each_way("thread", |report| assert_eq!(told(report), expected));
    each_way("again", |report| assert_eq!(told(report), expected));
}

/// Guards against a message that comes into a report although its type was to be kept out of it.
#[test]
fn redaction_covers_exceptions() {
    let fixture = Fixture::build("thrown.cpp").with_flags(Compiler::Gcc, &["-w", "-pthread", "-O1"]).args(["derived"]);
    let report = fixture.run_until_death(["--redact", "shop::out_of_stock"]);

    assert_eq!(told(&report), json!([["shop::out_of_stock", "uncaught", null]]));
    assert_eq!(report.at("/fault/exceptions/0/value/state"), "redacted");
    assert!(!sentence(&report).contains("tea"), "{}", sentence(&report));
}

/// Guards against a page that does not say what the report knows.
#[test]
fn the_page_says_what_was_thrown() {
    let outcome = Fixture::build("thrown.cpp")
        .with_flags(Compiler::Gcc, &["-w", "-pthread", "-O1"])
        .args(["nested"])
        .run::<&str>([]);
    let page = &outcome.stderr;
    for expected in [
        "a C++ exception of type `std::runtime_error` was not caught, thrown by `handle`: the handler failed",
        "while it handled `shop::out_of_stock`: out_of_stock {std::runtime_error: \"no tea left on the third shelf from above\", \
         item: 42, shelf: \"the third shelf from above\"}",
    ] {
        assert!(page.contains(expected), "no {expected:?} in:\n{page}");
    }
}
