//! What the overhead budget leaves of a program's speed: `cargo bench --bench governor` runs, for some seconds each and in turns without
//! lastwords and under `lastwords run` with its default budget, a program that calls a small function 20 million times a second, and sqlite with
//! every function probed. Prints the ratios of the medians: of the time that the work took by the program's own clock, of the processor time that
//! the program used for it, and of the whole command, in which lastwords prepares and reports. With `-- sqlite`, only of that. Needs root and gcc.

mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use support::median;
use xtask::real::Real;

const ROUNDS: usize = 5;
/// In 10 s, at 20 million a second.
const CALLS: u64 = 200_000_000;
/// How many calls tell how long one takes without anything else.
const CALIBRATION: u64 = 10_000_000;
/// What a call is to take, in nanoseconds.
const CALL_NS: f64 = 50.0;
/// Rounds of sqlite's workload that tell how long one takes.
const FEW_ROUNDS: u64 = 400;
/// How long that workload is to run, in seconds.
const SQLITE_SECONDS: f64 = 5.0;

/// A program that writes how many seconds its calls took, and how many of a processor. `work` spins so often.
const PROGRAM: &str = r#"
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
__attribute__((noipa)) int work(int spins) {
    int sum = 0;
    for (int i = 0; i < spins; i++) {
        sum += i;
        __asm__ volatile("" ::: "memory");
    }
    return sum;
}
static double seconds(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}
int main(int argc, char **argv) {
    long calls = atol(argv[1]), sum = 0;
    int spins = atoi(argv[2]);
    double wall = seconds(CLOCK_MONOTONIC), processor = seconds(CLOCK_PROCESS_CPUTIME_ID);
    for (long i = 0; i < calls; i++) sum += work(spins);
    wall = seconds(CLOCK_MONOTONIC) - wall;
    fprintf(stderr, "%.6f %.6f\n", wall, seconds(CLOCK_PROCESS_CPUTIME_ID) - processor);
    return sum == 42;
}
"#;

/// What a run took, in seconds.
struct Took {
    /// By the program's clock.
    own: f64,
    /// Of a processor, by the program.
    processor: f64,
    /// All of it.
    whole: f64,
}

fn main() {
    let folder = std::env::temp_dir().join(format!("lastwords-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder for the program");
    println!("| program | untraced | watched | processor time | whole command |");
    println!("| --- | --- | --- | --- | --- |");
    if !std::env::args().any(|argument| argument == "sqlite") {
        let hot = build(&folder);
        let calls = [CALLS.to_string(), spins(&hot).to_string()];
        compare("20 million calls a second", &[], &hot, &calls, &folder);
    }
    let sqlite = Real::Sqlite.build(Path::new(env!("CARGO_MANIFEST_DIR")), &folder).expect("sqlite");
    let few = run(Command::new(&sqlite).args(["rounds", &FEW_ROUNDS.to_string()]), &folder).own;
    let rounds = (FEW_ROUNDS as f64 / few * SQLITE_SECONDS) as u64;
    compare("sqlite, every function", &["-f", "*"], &sqlite, &["rounds".into(), rounds.to_string()], &folder);
    let _ = std::fs::remove_dir_all(folder);
}

/// Prints a line of the table.
fn compare(name: &str, options: &[&str], program: &Path, arguments: &[String], folder: &Path) {
    let (mut bare, mut watched) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        bare.push(run(Command::new(program).args(arguments), folder));
        let mut lastwords = Command::new(env!("CARGO_BIN_EXE_lastwords"));
        watched.push(run(lastwords.arg("run").args(options).arg("--").arg(program).args(arguments), folder));
    }
    let median_of = |runs: &[Took], part: fn(&Took) -> f64| median(runs.iter().map(part).collect());
    let ratio = |part| median_of(&watched, part) / median_of(&bare, part);
    println!(
        "| {name} | {:.2} s | {:.3} | {:.3} | {:.3} |",
        median_of(&bare, |took| took.own),
        ratio(|took| took.own),
        ratio(|took| took.processor),
        ratio(|took| took.whole)
    );
}

/// How often `work` must spin to take as long as it shall.
fn spins(program: &Path) -> u32 {
    let ns = |spins: u32| {
        let mut command = Command::new(program);
        command.args([CALIBRATION.to_string(), spins.to_string()]);
        run(&mut command, program.parent().expect("a folder")).own / CALIBRATION as f64 * 1e9
    };
    let (none, many) = (ns(0), ns(100));
    ((CALL_NS - none) / (many - none) * 100.0).max(0.0) as u32
}

/// Runs it in this folder to its end, which may be a crash. The program says on stderr what it took.
fn run(command: &mut Command, folder: &Path) -> Took {
    let began = Instant::now();
    let output = command.current_dir(folder).stdin(Stdio::null()).output().expect("a process");
    let whole = began.elapsed().as_secs_f64();
    let said = String::from_utf8_lossy(&output.stderr);
    let figures = said.lines().find_map(|line| {
        let (own, processor) = line.split_once(' ')?;
        Some((own.parse().ok()?, processor.parse().ok()?))
    });
    let (own, processor) = figures.unwrap_or_else(|| panic!("{command:?} failed: {said}"));
    Took { own, processor, whole }
}

fn build(folder: &Path) -> PathBuf {
    let (program, file) = (folder.join("hot"), folder.join("hot.c"));
    std::fs::write(&file, PROGRAM).expect("a source");
    let status = Command::new("gcc").args(["-g", "-O1", "-o"]).arg(&program).arg(&file).status();
    assert!(status.expect("gcc").success(), "gcc failed");
    program
}
