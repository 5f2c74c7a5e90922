//! Reports that are too large.

use super::*;
use crate::report::tests::{small_report, text_value};
use crate::report::{Address, Call, Frame, Module, Output, Report, Skipped, State, Thread};

/// A thread with `calls` calls, the texts of which have `length` bytes.
fn thread(tid: u32, calls: u64, length: usize) -> Thread {
    let call = |n| Call {
        n,
        function: format!("f{n}"),
        args: vec![text_value("text", &"x".repeat(length))],
        ..Call::default()
    };
    let frame = |n| Frame { n: Some(n), call: Some(n), function: Some(format!("g{n}")), ..Frame::default() };
    Thread {
        tid,
        crashed: tid == 1,
        calls: (0..calls).map(call).collect(),
        frames: (0..20).map(frame).collect(),
        calls_total: Some(calls),
        ..Thread::default()
    }
}

fn large_report() -> Report {
    Report { threads: (1..=40).map(|tid| thread(tid, 50, 100)).collect(), ..small_report() }
}

fn fit(report: &Report, most: u64) -> (Report, Document) {
    let mut report = report.clone();
    let document = Document::within(&mut report, most);
    assert!(document.json.len() as u64 <= most, "{} of {most}", document.json.len());
    assert_eq!(serde_json::from_slice::<Report>(&document.json).unwrap(), report, "what is written is what is shown");
    (report, document)
}

/// Guards against a report that says less than it could.
#[test]
fn what_fits_is_left_as_it_is() {
    let report = large_report();
    let whole = json(&report);

    let (same, document) = fit(&report, whole.len() as u64);

    assert_eq!((same, document.json), (report, whole));
}

/// Guards against losing the thread that crashed to others, newer calls to older ones, and any of it without a word.
#[test]
fn the_least_useful_goes_first() {
    let report = large_report();
    let size = json(&report).len() as u64;
    let summary = |most: u64| {
        let (report, _) = fit(&report, most);
        let calls = |threads: &[Thread]| threads.iter().map(|thread| thread.calls.len()).sum::<usize>();
        let (first, others) = report.threads.split_first().unwrap();
        let dropped: Vec<_> =
            report.dropped.iter().map(|dropped| format!("{} {}", dropped.count, dropped.what)).collect();
        let (own, theirs) = (calls(std::slice::from_ref(first)), calls(others));
        format!(
            "{} frames, {own} calls; {} others, {theirs} calls; without {}",
            first.frames.len(),
            others.len(),
            dropped.join(", ")
        )
    };

    insta::assert_snapshot!([size - 1, size / 2, size / 8, 150_000, LEAST_BYTES].map(summary).join("\n"), @r"
    20 frames, 50 calls; 39 others, 1949 calls; without 1 older calls of other threads
    20 frames, 50 calls; 39 others, 117 calls; without 1833 older calls of other threads
    20 frames, 50 calls; 39 others, 117 calls; without 1833 older calls of other threads, 741 outer frames of other threads
    20 frames, 50 calls; 39 others, 117 calls; without 1833 older calls of other threads, 741 outer frames of other threads
    20 frames, 50 calls; 39 others, 0 calls; without 1833 older calls of other threads, 741 outer frames of other threads, 117 calls of other threads
    ");
}

/// Guards against a frame that points to a call which is not there, and against a count that does not add up.
#[test]
fn what_is_left_fits_together() {
    let (report, _) = fit(&Report { threads: vec![thread(1, 4_000, 40)], ..small_report() }, 200_000);
    let thread = &report.threads[0];

    let first = thread.calls[0].n;
    assert!(first > 0 && thread.frames.iter().all(|frame| frame.call.is_none_or(|n| n >= first)));
    let left: u64 =
        report.dropped.iter().filter(|dropped| dropped.what.contains("calls")).map(|dropped| dropped.count).sum();
    assert_eq!(left + thread.calls.len() as u64, 4_000);
    assert_eq!(report.dropped[0].reason, "the report would be larger than 200000 bytes (--max-report)");
}

/// Guards against a text that passes for the whole one.
#[test]
fn a_cut_text_is_marked() {
    let (report, _) = fit(&Report { threads: vec![thread(1, 64, 4_000)], ..small_report() }, LEAST_BYTES);
    let cut = &report.threads[0].calls[0].args[0];

    assert_eq!((cut.value.as_str(), cut.state), (Some(&*"x".repeat(64)), State::Truncated));
    assert_eq!(cut.length, Some(4_000));
    assert!(cut.reason.is_some());
}

/// Guards against a bound that a program can exceed by what it chooses: names, arguments, output, modules.
#[test]
fn any_report_can_be_cut_down_to_the_least() {
    let long = || "ü\u{1}".repeat(1_000);
    let mut worst = large_report();
    worst.process.args = vec![long(); 100];
    worst.process.exe = long();
    worst.fault.explanation = long();
    worst.output = vec![Output::new(1, 1 << 17, &[b'\n'; 1 << 17]), Output::new(2, 1 << 17, &[0xff; 1 << 17])];
    worst.modules =
        (0..1_000).map(|n| Module { path: format!("{n}{}", "/m".repeat(50)), ..Module::default() }).collect();
    worst.probes.skipped = vec![Skipped { function: long(), reason: "no".into() }; 20];
    for frame in &mut worst.threads[0].frames {
        frame.function = Some(long());
        frame.symbol = Some(long());
        frame.module = Some(worst.modules[999].path.clone());
        frame.cfa = Some(Address(1));
    }
    for call in &mut worst.threads[0].calls {
        call.function = long();
        call.symbol = long();
        call.args = vec![text_value(&long(), &long()); 5];
    }

    let (report, document) = fit(&worst, LEAST_BYTES);

    assert_eq!(report.fault.signal, "SIGSEGV");
    assert_eq!(fit(&worst, LEAST_BYTES).1, document, "it is the same each time");
}

/// Guards against frames that are lost to what was in them, and against calls that name frames which are gone.
#[test]
fn what_is_in_frames_goes_before_the_frames() {
    let mut report = Report { threads: vec![thread(1, 20, 0), thread(2, 0, 0)], ..small_report() };
    for frame in report.threads.iter_mut().flat_map(|thread| &mut thread.frames) {
        frame.locals = vec![text_value("text", &"y".repeat(1000))];
    }
    for call in report.threads.iter_mut().flat_map(|thread| &mut thread.calls) {
        call.frame = Some(call.n);
    }
    let size = json(&report).len() as u64;
    let shown = |most: u64| {
        let (report, _) = fit(&report, most);
        let locals = |thread: &Thread| thread.frames.iter().filter(|frame| !frame.locals.is_empty()).count();
        let [first, second] = &report.threads[..] else { panic!("{} threads", report.threads.len()) };
        assert_eq!((first.frames.len(), second.frames.len()), (20, 20));
        (locals(first), locals(second))
    };
    assert_eq!(shown(size - 5_000), (20, 15));
    assert_eq!(shown(size - 15_000), (20, 6));

    let (least, _) = fit(&report, 16 << 10);
    let frames: Vec<_> = least.threads[0].frames.iter().filter_map(|frame| frame.n).collect();
    for call in least.threads[0].calls.iter().filter_map(|call| call.frame) {
        assert!(frames.contains(&call), "{call} in {frames:?}");
    }
}
