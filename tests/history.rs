//! Exactness of the history: nothing lost, nothing doubled, at full speed. The fixture's calls are a pure function of a seed.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::{Fixture, Thread, runs};

/// Of as many runs, each one must be exact: half of them with one thread, half with eight.
const RUNS: u64 = 200;
/// As the fixture has it.
const MAX_THREADS: u64 = 64;
/// As the fixture has it.
const LAST_CALL_BELOW: u64 = 3000;
const TEXTS: [&str; 4] = ["", "one", "two words", "a text that is somewhat longer than the others"];

/// splitmix64, as in the fixture.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }
}

/// A call as the fixture makes it: the function and the values of its arguments.
type Expected = (&'static str, Vec<Value>);

fn expected_call(random: u64) -> Expected {
    match random % 3 {
        0 => ("feed_byte", vec![json!((random >> 8) as u8)]),
        1 => ("feed_pair", vec![json!((random >> 32) as u32), json!((random >> 8) as i32)]),
        _ => ("feed_text", vec![json!(TEXTS[(random >> 8 & 3) as usize]), json!((random >> 16) as u16)]),
    }
}

/// How many calls a thread had begun and ended when the process died, from the file that the fixture maps.
fn counts(file: &Path, thread: u64) -> (u64, u64) {
    let bytes = fs::read(file).expect("the fixture's counts");
    let at = |index: usize| u64::from_ne_bytes(bytes[index * 8..][..8].try_into().expect("eight bytes"));
    let index = usize::try_from(thread).expect("a small number") * 2;
    (at(index), at(index + 1))
}

/// The thread that dies has made as many calls as its seed says.
pub fn check_counts(file: &Path, threads: u64, seed: u64) {
    let last_call = Random(!seed).next() % LAST_CALL_BELOW;
    assert_eq!(counts(file, seed % threads), (last_call, last_call));
}

/// One run: for each thread, the report holds its last calls, all of them, and how many there were in all.
pub fn check(threads: u64, seed: u64, kept: u64, options: &[&str]) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("counts");
    let fixture = Fixture::build("history.c").args([threads.to_string(), seed.to_string(), file.display().to_string()]);
    // Where all instructions are emulated, functions are dropped for what they cost: that is `governor`'s subject.
    let report = fixture.run_until_death([&["-f", "feed_*", "--max-overhead", "off"], options].concat());

    let crashed = seed % threads;
    assert_eq!(report.crashed_thread().tid(), report.thread(&format!("feeder-{crashed}")).tid());
    for number in 0..threads {
        let (begun, ended) = counts(&file, number);
        if begun == 0 {
            continue;
        }
        let thread = report.thread(&format!("feeder-{number}"));
        // A thread that was killed between counting and calling has counted one call too many.
        assert!(
            (ended..=begun).contains(&thread.calls_total()),
            "{ended} to {begun} calls, not {}",
            thread.calls_total()
        );
        if number == crashed {
            assert_eq!(thread.calls_total(), Random(!seed).next() % LAST_CALL_BELOW);
        }
        check_thread(thread, Random((seed * MAX_THREADS).wrapping_add(number)), kept);
    }
}

fn check_thread(thread: Thread<'_>, mut random: Random, kept: u64) {
    let total = thread.calls_total();
    let kept = kept.min(total);
    let all: Vec<_> = (0..total).map(|_| expected_call(random.next())).collect();
    let first = usize::try_from(total - kept).expect("a small number");
    let found: Vec<_> = thread.calls().0.iter().map(|call| (call.function(), exact_values(call.arguments()))).collect();
    assert_eq!(found, all[first..]);

    let numbers: Vec<_> = thread.calls().0.iter().map(|call| call.field("n").clone()).collect();
    assert_eq!(numbers, (total - kept..total).collect::<Vec<_>>());
    assert_eq!(thread.calls_overwritten(), total - kept);
    assert!(thread.calls().0.is_sorted_by_key(|call| call.field("at_ns").as_u64()), "calls are in the order of time");
}

fn exact_values(arguments: &[Value]) -> Vec<Value> {
    arguments.iter().inspect(|value| assert_eq!(value["state"], "exact")).map(|value| value["value"].clone()).collect()
}

/// Guards against a record that is torn, lost or written twice where the ring begins a new lap.
#[test]
fn one_thread_keeps_its_last_calls_exactly() {
    for seed in 0..runs(RUNS / 2) {
        check(1, seed, 64, &[]);
    }
}

/// Guards against threads that share a ring, and against a ring that goes on after the crash.
#[test]
fn each_of_eight_threads_keeps_its_last_calls_exactly() {
    for seed in 0..runs(RUNS / 2) {
        check(8, seed, 64, &[]);
    }
}

/// Guards against a bound that is off by one, or taken from a power of two beside it.
#[test]
fn as_many_calls_are_kept_as_were_asked_for() {
    for kept in [1, 2, 33, 100, 1000] {
        check(2, kept, kept, &["--calls", &kept.to_string()]);
    }
}

/// Guards against losses that nobody mentions: more threads than rings.
#[test]
fn threads_without_a_ring_are_counted() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("counts");
    let arguments = ["8".to_owned(), "0".to_owned(), file.display().to_string()];
    let report = Fixture::build("history.c").args(arguments).run_until_death([
        "-f",
        "feed_*",
        "--threads",
        "3",
        "--max-overhead",
        "off",
    ]);

    // One that was killed between counting and its first call has made none.
    let counts: Vec<_> = (0..8).map(|number| counts(&file, number)).collect();
    let had_begun = counts.iter().filter(|(begun, _)| *begun > 0).count() as u64;
    let had_calls = counts.iter().filter(|(_, ended)| *ended > 0).count() as u64;
    let recorded = report.threads().into_iter().filter(|thread| thread.calls().len() > 0).count() as u64;
    assert!((had_calls.min(3)..=had_begun.min(3)).contains(&recorded), "{recorded} of {counts:?}");
    assert!(report.at("/recorder/threads_without_ring").as_u64() >= Some(had_calls.saturating_sub(3)), "{report:#?}");
    assert_eq!(report.at("/recorder/threads_max"), 3);
}
