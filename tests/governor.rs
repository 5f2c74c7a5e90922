//! The overhead budget: hot functions lose their probes, all others keep their history, and the report says which is which.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Value, json};
use xtask::real::Real;

use crate::support::{Call, Compiler, Fixture, Lastwords, Report, Thread};

/// What is watched: not `main`, whose return would be pending all the time.
const FUNCTIONS: [&str; 8] = ["-f", "hot_*", "-f", "warm", "-f", "feed", "-f", "fed"];
const COOL: [&str; 4] = ["-f", "cool", "-f", "nest"];
/// The hot functions in the order in which the fixture calls them.
const HOT: [&str; 5] = ["hot_0", "hot_1", "hot_2", "hot_3", "warm"];

/// The fixture, in a file that only this `test` watches: probes are in the file, for all processes, and it looks for them in itself.
fn hot(test: &str, feeders: u32, mode: &str) -> Fixture {
    let only_here = format!("-DFOR_{test}");
    Fixture::build("hot.c").with_flags(Compiler::Gcc, &["-pthread", &only_here]).args([&feeders.to_string(), mode])
}

fn options<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&FUNCTIONS[..], &COOL[..], more].concat()
}

fn dropped(report: &Report) -> &[Value] {
    report.at("/probes/dropped").as_array().expect("a list of functions")
}

/// No call of a feeder is missing, and none is there twice: it has counted them itself.
fn check_feeder(thread: Thread<'_>) {
    let total = thread.calls_of("fed").only().exact("total").as_u64().expect("a number");
    assert_eq!(
        thread.calls_total(),
        total + 1,
        "calls that were recorded; the fixture has counted {total} and one more"
    );
    let last = thread.calls_of("feed").args("number");
    assert_eq!(last, (total - last.len() as u64..total).collect::<Vec<_>>());
    assert_eq!(last.len() as u64, total.min(63));
}

/// While functions are dropped and taken back, two threads go on calling another one.
pub fn check_feeders(tier: &str, options_of_tier: &[&str]) {
    let more = [&["--max-overhead", "5", "--probe-hot", "retry"], options_of_tier].concat();
    let report = hot(tier, 2, "retry").run_until_death(options(&more));

    check_feeder(report.thread("feeder-0"));
    check_feeder(report.thread("feeder-1"));
    let names: Vec<_> = dropped(&report).iter().map(|function| &function["function"]).collect();
    assert_eq!(names, HOT);
}

/// Guards against a function that is watched at any price, and against one that is gone without a word.
#[test]
fn hot_functions_are_dropped_and_the_report_says_so() {
    let outcome = hot("never", 0, "never").run(options(&["-v", "--max-overhead", "10", "--probe-hot", "never"]));
    let said = outcome.stderr.clone();
    let report = outcome.report();

    let hits: Vec<_> = dropped(&report).iter().map(|function| function["hits"].as_u64().expect("a number")).collect();
    for (function, name) in dropped(&report).iter().zip(HOT) {
        assert_eq!([&function["function"], &function["symbol"]], [name; 2]);
        assert_eq!((&function["times"], &function["back_ns"]), (&json!(1), &json!(null)));
        assert!(function["per_second"].as_u64() > Some(0), "{function}");
        let note = format!("lastwords: not watching `{name}` any more: {} calls a second", function["per_second"]);
        assert!(said.contains(&note), "{said}");
        let line = format!("  calls of {name} from +");
        assert!(said.lines().any(|said| said.starts_with(&line)), "{said}");
    }
    assert_eq!(hits.len(), HOT.len());
    assert!(dropped(&report).is_sorted_by_key(|function| function["at_ns"].as_u64()), "{report:#?}");
    let thread = report.crashed_thread();
    assert_eq!(thread.calls_of("cool").args("number").last(), Some(&json!(3)));
    // Whatever was hit is recorded. One call of each function may have been on its way when that was read.
    let recorded = thread.calls_total() - 3;
    let hits: u64 = hits.iter().sum();
    assert!((hits..=hits + HOT.len() as u64).contains(&recorded), "{hits} hits, {recorded} calls");
}

/// Guards against a budget that cannot be switched off, and against a report that has something to say of it then.
#[test]
fn without_a_budget_nothing_is_dropped() {
    let report = Fixture::build("exp1.c").run_until_death(["--max-overhead", "off"]);

    assert_eq!(report.at("/probes").get("dropped"), None);
}

/// Guards against a function that is lost for good because of its first second.
#[test]
fn a_function_that_has_cooled_down_is_watched_again() {
    let report = hot("retry", 0, "retry").run_until_death(options(&["--max-overhead", "10", "--probe-hot", "retry"]));

    let warm = dropped(&report).iter().find(|function| function["function"] == "warm").expect("it was dropped");
    assert!(warm["back_ns"].as_u64() > warm["at_ns"].as_u64(), "{warm}");
    let thread = report.crashed_thread();
    let last = thread.calls_of("warm").0.pop().expect("a call");
    assert_eq!((last.exact("number"), &last.result()["value"]), (json!(4711), &json!(4711)));
    assert_eq!(thread.calls().functions().last(), Some(&"cool"));
}

/// Guards against a call that seems to be running, and against its arguments on a frame: other calls at the same place may have followed.
#[test]
fn a_call_that_was_open_when_its_function_was_dropped_has_no_known_end() {
    let report = hot("nest", 0, "nest").run_until_death(options(&["--max-overhead", "10", "--probe-hot", "never"]));

    assert_eq!(dropped(&report).iter().map(|function| &function["function"]).collect::<Vec<_>>(), ["nest"]);
    let thread = report.crashed_thread();
    let open = thread.calls().only();
    assert_eq!(open.exact("number"), -1);
    let returned = open.field("returned");
    assert_eq!(returned["state"], "unknown");
    assert!(returned["reason"].as_str().expect("a reason").contains("lost its probes"), "{returned}");
    let frame = thread.frames().iter().find(|frame| frame["function"] == "nest").expect("a frame");
    assert_eq!(frame["call"], json!(null));
}

/// Guards against a number that means something else than it seems to.
#[test]
fn a_budget_of_nothing_is_refused() {
    let outcome = hot("never", 0, "never").run(["--max-overhead", "0"]);

    assert_eq!(outcome.status.code(), Some(2));
    assert!(outcome.stderr.contains("expected a percentage, or `off` for no limit"), "{}", outcome.stderr);
}

/// sqlite's rounds with every function probed but these, to their crash.
fn sqlite_without(functions: &BTreeSet<String>, options: &[&str]) -> Report {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("real");
    let program = Real::Sqlite.build(Path::new(env!("CARGO_MANIFEST_DIR")), &folder).expect("a program from crates");
    let excluded = functions.iter().flat_map(|name| ["-f".into(), format!("!{name}")]);
    let options = ["-f", "*", "--calls", "1000", "--depth", "0", "--max-report", "16M"]
        .iter()
        .chain(options)
        .map(|&option| option.to_owned());
    Lastwords::run(options.chain(excluded), &program, ["rounds", "1500"]).finish().report()
}

/// The last calls of functions other than these: which, and the numbers and texts that they were given.
fn last_calls(report: &Report, dropped: &BTreeSet<String>) -> Vec<String> {
    let is_kept = |call: &Call<'_>| !dropped.contains(call.function());
    // Addresses differ from run to run, and so does what lies behind bytes that do not end with a NUL.
    let is_same =
        |text: &str| !text.starts_with("0x") && text.bytes().all(|byte| matches!(byte, b' '..=b'~' if byte != b'\\'));
    let told = |argument: &Value| match &argument["value"] {
        _ if argument["state"] != "exact" => String::new(),
        Value::Number(number) => format!("{number} "),
        Value::String(text) if is_same(text) => format!("{text} "),
        _ => String::new(),
    };
    let calls = report.crashed_thread().calls().0.into_iter().filter(is_kept);
    calls.map(|call| format!("{} {}", call.function(), call.arguments().iter().map(told).collect::<String>())).collect()
}

/// Guards against a budget that costs more than the hot functions: a call that is lost, or there twice, while others lose their probes or get
/// them back. What was never dropped is compared with a run in which nothing else was probed.
#[test]
fn what_sqlite_did_last_is_there_but_for_what_was_dropped() {
    let report = sqlite_without(&BTreeSet::new(), &["--probe-hot", "never"]);
    let name = |function: &&Value| function["symbol"].as_str().expect("a name").to_owned();
    let has_no_calls = |function: &&Value| function.get("only_returns").is_none();
    let dropped_there: BTreeSet<String> = dropped(&report).iter().filter(has_no_calls).map(|it| name(&it)).collect();
    assert!(dropped_there.contains("sqlite3VdbeExec") && dropped_there.len() > 100, "{dropped_there:?}");
    let reference = sqlite_without(&dropped_there, &["--max-overhead", "off", "--returns", "never"]);

    let (found, expected) = (last_calls(&report, &dropped_there), last_calls(&reference, &dropped_there));
    let common = found.len().min(expected.len());
    assert!(common > 900, "{} and {} calls", found.len(), expected.len());
    for (found, expected) in found.iter().rev().zip(expected.iter().rev()) {
        assert_eq!(found, expected);
    }
}

/// Guards against calls that are lost for the sake of their results, and against a call that seems to be running because nobody watched its return.
#[test]
fn results_that_cost_more_than_their_calls_go_first() {
    let fixture = Fixture::build("framed.c").with(Compiler::Gcc, ["-O2", "-fcf-protection=none"]);
    let outcome = fixture.run(["-v", "-f", "framed", "-f", "told", "--probe-hot", "never"]);
    let said = outcome.stderr.clone();
    let report = outcome.report();

    let first = &dropped(&report)[0];
    assert_eq!((&first["function"], &first["only_returns"]), (&json!("framed"), &json!(true)));
    assert!(said.contains("lastwords: not watching the returns of `framed` any more: "), "{said}");
    let thread = report.crashed_thread();
    // Where a second trap costs little, the calls may have had to go with them.
    if dropped(&report).len() == 1 {
        let total = thread.calls_of("told").only().exact("calls").as_u64().expect("a number");
        assert_eq!(thread.calls_total(), total + 1);
        let returned = thread.calls_of("framed").0.pop().expect("a call").field("returned");
        assert_eq!((&returned["state"], &returned["value"]), (&json!("unseen"), &json!(null)));
        assert!(returned["reason"].as_str().expect("a reason").contains("cost too much"), "{returned}");
    }
}
