//! What a recorded call costs: `cargo bench --bench recorder` prints medians of interleaved runs, as ratios to an empty uprobe at
//! the same instruction (the `push` of code at -O0), and what attaching and detaching 2,000 functions takes. Needs root, gcc and Linux 6.6.
//! Other programs on the machine matter little: of each run, the quarter of its calls counts that was faster than the rest.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use lastwords::binary::Binary;
use lastwords::launch::{Ending, Suspended};
use lastwords::plan::build::{Options, Prepared, prepare};
use lastwords::plan::returns::Returns;
use lastwords::plan::select::Selection;
use lastwords::probe::{Recorder, Settings};

const ROUNDS: usize = 7;
const CALLS: u32 = 300_000;
const FUNCTIONS: usize = 2_000;

/// A program that prints how many nanoseconds a call of `work` took it, with its own clock: the lower quartile of batches.
const PROGRAM: &str = r#"
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
__attribute__((noipa)) int work(PARAMETERS) { return BODY; }
enum { BATCH = 500 };
static int compare(const void *a, const void *b) {
    long x = *(const long *)a, y = *(const long *)b;
    return (x > y) - (x < y);
}
int main(int argc, char **argv) {
    long batches = atol(argv[1]) / BATCH, sum = 0;
    long *times = calloc(batches, sizeof *times);
    for (long batch = 0; batch < batches; batch++) {
        struct timespec a, b;
        clock_gettime(CLOCK_MONOTONIC, &a);
        for (long i = 0; i < BATCH; i++) sum += work(ARGUMENTS);
        clock_gettime(CLOCK_MONOTONIC, &b);
        times[batch] = (b.tv_sec - a.tv_sec) * 1000000000L + (b.tv_nsec - a.tv_nsec);
    }
    qsort(times, batches, sizeof *times, compare);
    if (!freopen(argv[2], "w", stdout)) return 1;
    printf("%.2f\n", (double)times[batches / 4] / BATCH);
    return sum == 42;
}
"#;

/// What is watched in a run.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Watched {
    Nothing,
    Floor,
    Entries,
    EntriesAndReturns,
}

fn main() {
    let folder = std::env::temp_dir().join(format!("lastwords-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder for the programs");
    println!("| arguments | untraced | empty uprobe | entry | entry and return | entry / empty | both / empty |");
    println!("| --- | --- | --- | --- | --- | --- | --- |");
    for (name, parameters, body, arguments) in [
        ("none", "void", "1", ""),
        ("two ints", "int a, int b", "a + b", "i, 2 * i"),
        (
            "two ints, 20-byte string",
            "int a, int b, const char *s",
            "a + b + s[0]",
            "i, 2 * i, \"a string of 20 bytes\"",
        ),
        ("six longs", "long a, long b, long c, long d, long e, long f", "a + f", "i, i, i, i, i, i"),
    ] {
        let source = PROGRAM.replace("PARAMETERS", parameters).replace("BODY", body).replace("ARGUMENTS", arguments);
        per_call(name, &build(&folder, "calls", &source));
    }
    attach_and_detach(&folder);
    let _ = std::fs::remove_dir_all(folder);
}

fn per_call(name: &str, program: &Path) {
    let kinds = [Watched::Nothing, Watched::Floor, Watched::Entries, Watched::EntriesAndReturns];
    let mut figures = [const { Vec::new() }; 4];
    for _ in 0..ROUNDS {
        for (kind, figures) in kinds.iter().zip(&mut figures) {
            figures.push(run(program, *kind));
        }
    }
    let [bare, floor, entry, both] = figures.map(median);
    // The call itself is not the probe's cost.
    let ratio = |figure: f64| (figure - bare) / (floor - bare);
    println!(
        "| {name} | {bare:.1} ns | {floor:.0} ns | {entry:.0} ns | {both:.0} ns | {:.2} | {:.2} |",
        ratio(entry),
        ratio(both)
    );
}

/// Nanoseconds a call.
fn run(program: &Path, watched: Watched) -> f64 {
    let returns = if watched == Watched::Entries { Returns::Never } else { Returns::Always };
    let prepared = plan(program, "work", returns);
    let mut recorder = load(&prepared);
    match watched {
        Watched::Nothing => {}
        Watched::Floor => recorder.attach_floor(&prepared.plan).expect("probes that do nothing"),
        Watched::Entries | Watched::EntriesAndReturns => {
            recorder.attach(&prepared.plan, None).expect("probes");
        }
    }
    let output = program.with_extension("out");
    let suspended = Suspended::new(program, &[program.into(), CALLS.to_string().into(), output.clone().into()], None);
    let suspended = suspended.expect("a process");
    recorder.watch(suspended.pid().as_raw().cast_unsigned()).expect("a process to watch");
    let running = suspended.start().expect("the program");
    loop {
        match running.ending() {
            Some(Ending::Exited(_)) => break,
            Some(Ending::Killed(signal)) => panic!("the program was killed by {signal}"),
            None => std::thread::sleep(Duration::from_millis(1)),
        }
    }
    std::fs::read_to_string(&output).expect("its figure").trim().parse().expect("a number")
}

fn attach_and_detach(folder: &Path) {
    let functions: String = (0..FUNCTIONS).map(|n| format!("int f{n}(int a) {{ return a + {n}; }}\n")).collect();
    let program = build(folder, "many", &format!("{functions}int main(void) {{ return 0; }}"));
    let prepared = plan(&program, "f*", Returns::Always);
    let (mut attach, mut detach) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let mut recorder = load(&prepared);
        let start = Instant::now();
        recorder.attach(&prepared.plan, None).expect("probes");
        attach.push(start.elapsed().as_secs_f64() * 1e3);
        detach.push(recorder.detach().as_secs_f64() * 1e3);
    }
    let slot_bytes = load(&prepared).config().slot_bytes();
    println!(
        "\n{FUNCTIONS} functions, entry and return: attached in {:.1} ms, detached in {:.1} ms; {slot_bytes} bytes a thread.",
        median(attach),
        median(detach)
    );
}

fn plan(program: &Path, function: &str, returns: Returns) -> Prepared {
    let selection = Selection { functions: vec![function.into()], ..Selection::default() };
    let options = Options { returns, ..Options::default() };
    prepare(Binary::open(program).expect("a program"), &selection, &options).expect("a plan")
}

fn load(prepared: &Prepared) -> Recorder {
    let settings = Settings { threads: 16, ..Settings::default() };
    Recorder::load(&prepared.plan, &settings).expect("root, and a kernel that can do it: see `lastwords doctor`")
}

fn build(folder: &Path, name: &str, source: &str) -> PathBuf {
    let (program, file) = (folder.join(name), folder.join(format!("{name}.c")));
    std::fs::write(&file, source).expect("a source");
    let status = Command::new("gcc").args(["-g", "-O0", "-o"]).arg(&program).arg(&file).status();
    assert!(status.expect("gcc").success(), "gcc failed");
    program
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}
