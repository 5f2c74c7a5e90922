//! The page as a reader sees it without colours.

use serde_json::json;

use super::*;
use crate::report::tests::{int_value, small_report, text_value};
use crate::report::{Address, Call, Frame, ReturnState, Returned, Skipped, State, Value};

fn shown(report: &Report, verbose: bool) -> String {
    anstream::adapter::strip_str(&page(report, verbose)).to_string()
}

fn call(n: u64, args: Vec<Value>, returned: Option<Returned>) -> Call {
    Call { n, function: "f".into(), at_ns: n * 1_000_000, args, returned, ..Call::default() }
}

fn returned(state: ReturnState, duration_ns: Option<u64>, reason: &str) -> Option<Returned> {
    let reason = (!reason.is_empty()).then(|| reason.into());
    Some(Returned { state, duration_ns, reason, value: None })
}

/// Guards against a first screen that does not tell what happened.
#[test]
fn the_page_tells_all_in_its_first_lines() {
    let page = shown(&small_report(), false);

    insta::assert_snapshot!(page, @r#"
    exp1 (pid 4711) was killed by SIGSEGV: wrote to address 0x0, where no memory is mapped (a null pointer)
      rax was 0x0

    exp1.c:14, in main:
        13 |     char *p = NULL;
      > 14 |     *p = 'x';
        15 |     sleep(60);

    Thread 4711 "exp1" crashed:
      #0 main, exp1.c:14 (0x401156)

    Its only call of a watched function:
      #0  +1.234567s  test(str = "this is a string.") = 0   in 12.3 µs   exp1.c:7
    "#);
}

/// Guards against a value that looks like what the program had and is not.
#[test]
fn every_value_that_is_not_exact_is_marked() {
    let mut report = small_report();
    let of = |state, value, reason: &str| Value {
        name: Some("p".into()),
        state,
        value,
        reason: (!reason.is_empty()).then(|| reason.into()),
        ..Value::default()
    };
    let invalid = Value { bytes: Some("636166e9".into()), ..text_value("s", "caf\\xe9") };
    let character = Value { text: Some("'a'".into()), ..int_value(Some("c"), 97) };
    let odd_bool = Value { reason: Some("neither false (0) nor true (1), but 2".into()), ..int_value(Some("b"), 2) };
    let structure = Value {
        value: json!({"x": 1, "y": null}),
        state: State::OptimizedOut,
        members: vec![int_value(Some("x"), 1), of(State::OptimizedOut, json!(null), "why")],
        ..int_value(Some("point"), 0)
    };
    let to_int = Value {
        value: json!("0x1000"),
        address: Some(Address(0x1000)),
        target: Some(Box::new(int_value(None, 7))),
        ..int_value(Some("q"), 0)
    };
    let values = vec![
        text_value("s", ""),
        text_value("s", "say \"hi\"\n\u{1b}[31m"),
        invalid,
        of(State::Exact, json!(null), ""),
        of(State::Truncated, json!("only the beg"), "only its first 12 bytes were recorded"),
        of(State::Unreadable, json!(null), "no readable memory is mapped at 0xdead"),
        of(State::OptimizedOut, json!(null), "the compiler kept it nowhere at that point"),
        of(State::Unavailable, json!(null), "in register xmm0"),
        Value { bytes: Some("0011".into()), ..of(State::Unavailable, json!(null), "not decoded") },
        of(State::Guessed, json!(7), ""),
        of(State::Late, json!(7), ""),
        of(State::Other, json!(7), ""),
        character,
        odd_bool,
        structure,
        to_int,
    ];
    report.threads[0].calls = values.into_iter().map(|value| call(0, vec![value], None)).collect();

    let page = shown(&report, false);
    let lines: Vec<&str> =
        page.lines().filter_map(|line| line.split("f(").nth(1)?.strip_suffix(")   had not returned")).collect();
    insta::assert_snapshot!(lines.join("\n"), @r#"
    s = ""
    s = "say \"hi\"\n\u{1b}[31m"
    s = "caf\xe9"
    p = NULL
    p = "only the beg"…
    p = <unreadable: no readable memory is mapped at 0xdead>
    p = <optimized out>
    p = <unavailable: in register xmm0>
    p = <bytes 0011: not decoded>
    p = 7 (a guess)
    p = 7 (read at the fault)
    p = <of an unknown state: 7>
    c = 97 'a'
    b = 2 (neither false (0) nor true (1), but 2)
    point = int {x: 1, p: <optimized out>}
    q = 0x1000 → 7
    "#);
}

/// Guards against a call that is shown as finished, or as unfinished, without our knowing it.
#[test]
fn what_became_of_a_call_is_said() {
    let mut report = small_report();
    report.threads[0].calls = vec![
        call(9, Vec::new(), returned(ReturnState::Returned, Some(850), "")),
        call(10, Vec::new(), returned(ReturnState::TailCall, Some(20_100_000), "")),
        call(11, Vec::new(), returned(ReturnState::Unknown, None, "its frame is gone")),
        call(12, Vec::new(), returned(ReturnState::Unseen, None, "it never returns")),
        call(13, Vec::new(), None),
    ];
    report.threads[0].calls_total = Some(14);
    report.threads[0].calls_overwritten = 9;
    report.recorder.threads_without_ring = 1;
    report.recorder.calls_without_ring = 120;
    report.probes.skipped = vec![Skipped { function: "g".into(), reason: "its code is shared".into() }];

    let page = shown(&report, true);
    insta::assert_snapshot!(page, @r#"
    exp1 (pid 4711) was killed by SIGSEGV: wrote to address 0x0, where no memory is mapped (a null pointer)
      rax was 0x0

    exp1.c:14, in main:
        13 |     char *p = NULL;
      > 14 |     *p = 'x';
        15 |     sleep(60);

    Thread 4711 "exp1" crashed:
      #0 main, exp1.c:14 (0x401156)
             *p = 'x';
         rip 0x0000000000401156     rsp 0x000000007ffd0000

    Its last 5 of 14 calls of watched functions, oldest first:
      #9   +0.009000s  f()   in 850 ns
      #10  +0.010000s  f()   left by a jump to another function after 20.1 ms
      #11  +0.011000s  f()   <return not seen: its frame is gone>
      #12  +0.012000s  f()   <returns are not watched: it never returns>
      #13  +0.013000s  f()   had not returned

    What is missing
      9 older calls were overwritten by later ones (--calls keeps more)
      1 thread had no ring, and 120 calls were not recorded (--threads 64 is the limit)
      1 function was not watched:
        g: its code is shared
    "#);
}

/// Guards against a page of thousands of lines for a program of a hundred threads.
#[test]
fn other_threads_are_folded() {
    let mut report = small_report();
    for tid in 0..10 {
        let calls = (0..5).map(|n| call(n, Vec::new(), None)).collect();
        report.threads.push(Thread {
            tid,
            name: Some("w\u{7}".into()),
            calls,
            calls_total: Some(40),
            ..Thread::default()
        });
    }
    let frame = |function: &str, own| Frame { function: Some(function.into()), own, ..Frame::default() };
    let serve = Frame { file: Some("/home/me/srv.c".into()), line: Some(31), ..frame("serve", true) };
    let frames = vec![frame("poll", false), serve];
    report.threads.push(Thread { tid: 98, frames: frames.clone(), ..Thread::default() });
    report.threads.push(Thread { tid: 99, frames, ..Thread::default() });
    report.threads.push(Thread { tid: 100, ..Thread::default() });

    let page = shown(&report, false);

    let from = page.find("\nThread 7").unwrap();
    insta::assert_snapshot!(&page[from..], @r#"

    Thread 7 "w\u{7}"; last 3 of 40 calls:
      #2  +0.002000s  f()   had not returned
      #3  +0.003000s  f()   had not returned
      #4  +0.004000s  f()   had not returned

    2 more threads with calls (-v shows them)

    2 threads without a recorded call, in poll, called by serve, srv.c:31 (98, 99)
    1 thread without a recorded call, without a known stack (100)
    "#);
    assert_eq!(shown(&report, true).matches("had not returned").count(), 50);
}

/// Guards against a report that writes to the reader's terminal, wherever in it the text stands.
#[test]
fn no_text_of_a_report_reaches_the_terminal_raw() {
    const EVIL: &str = "\u{1b}]0;evil\u{7}\u{9b}2J";
    fn poison(value: &mut serde_json::Value) {
        match value {
            serde_json::Value::String(text) if !text.starts_with("0x") && !is_state(text) => *text = EVIL.into(),
            serde_json::Value::Array(all) => all.iter_mut().for_each(poison),
            serde_json::Value::Object(all) => all.values_mut().for_each(poison),
            _ => {}
        }
    }
    fn is_state(text: &str) -> bool {
        ["exact", "returned", "write"].contains(&text)
    }
    let mut report = small_report();
    report.probes.skipped = vec![Skipped { function: "g".into(), reason: "x".into() }];
    report.threads[0].calls[0].reason = Some("x".into());
    report.threads.push(Thread { crashed: false, ..report.threads[0].clone() });
    let mut poisoned = serde_json::to_value(&report).unwrap();
    poison(&mut poisoned);
    let poisoned: Report = serde_json::from_value(poisoned).unwrap();

    for verbose in [false, true] {
        let page = shown(&poisoned, verbose);
        assert!(!page.contains(|c: char| c.is_control() && c != '\n'), "{page:?}");
        assert!(page.contains("evil"));
        let coloured = super::page(&poisoned, verbose);
        assert!(!coloured.contains("\u{1b}]") && !coloured.contains('\u{9b}') && !coloured.contains('\u{7}'));
    }
}
