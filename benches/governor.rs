//! What the overhead budget leaves of a program's speed: `cargo bench --bench governor` runs one that calls a small function 20 million times a
//! second, for about 10 s, without lastwords and under `lastwords run` with its defaults, and prints the ratio of the medians. Needs root and gcc.

mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use support::median;

const ROUNDS: usize = 3;
/// In 10 s, at 20 million a second.
const CALLS: u64 = 200_000_000;
/// How many calls tell how long one takes without anything else.
const CALIBRATION: u64 = 10_000_000;
/// What a call is to take, in nanoseconds.
const CALL_NS: f64 = 50.0;

/// A program that writes how many seconds its calls took, with its own clock. `work` spins so often.
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
int main(int argc, char **argv) {
    long calls = atol(argv[1]), sum = 0;
    int spins = atoi(argv[2]);
    struct timespec a, b;
    clock_gettime(CLOCK_MONOTONIC, &a);
    for (long i = 0; i < calls; i++) sum += work(spins);
    clock_gettime(CLOCK_MONOTONIC, &b);
    if (!freopen(argv[3], "w", stdout)) return 1;
    printf("%.9f\n", (b.tv_sec - a.tv_sec) + (b.tv_nsec - a.tv_nsec) / 1e9);
    return sum == 42;
}
"#;

fn main() {
    let folder = std::env::temp_dir().join(format!("lastwords-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder for the program");
    let program = build(&folder);
    let spins = calibrate(&program);
    let (mut bare, mut watched) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        bare.push(seconds(Command::new(&program), &program, CALLS, spins));
        let mut lastwords = Command::new(env!("CARGO_BIN_EXE_lastwords"));
        lastwords.args(["run", "--"]).arg(&program).current_dir(&folder);
        watched.push(seconds(lastwords, &program, CALLS, spins));
    }
    let (bare, watched) = (median(bare), median(watched));
    let millions = CALLS as f64 / bare / 1e6;
    println!("| calls | untraced | watched | ratio |");
    println!("| --- | --- | --- | --- |");
    println!("| {millions:.1} million a second | {bare:.2} s | {watched:.2} s | {:.3} |", watched / bare);
    let _ = std::fs::remove_dir_all(folder);
}

/// How often `work` must spin to take as long as it shall.
fn calibrate(program: &Path) -> u32 {
    let ns = |spins| seconds(Command::new(program), program, CALIBRATION, spins) / CALIBRATION as f64 * 1e9;
    let (none, many) = (ns(0), ns(100));
    ((CALL_NS - none) / (many - none) * 100.0).max(0.0) as u32
}

/// Seconds that the calls took.
fn seconds(mut command: Command, program: &Path, calls: u64, spins: u32) -> f64 {
    let output = program.with_extension("out");
    let arguments = [calls.to_string(), spins.to_string(), output.display().to_string()];
    let status = command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status();
    assert!(status.expect("a process").success(), "{command:?} failed");
    std::fs::read_to_string(&output).expect("its figure").trim().parse().expect("a number")
}

fn build(folder: &Path) -> PathBuf {
    let (program, file) = (folder.join("hot"), folder.join("hot.c"));
    std::fs::write(&file, PROGRAM).expect("a source");
    let status = Command::new("gcc").args(["-g", "-O1", "-o"]).arg(&program).arg(&file).status();
    assert!(status.expect("gcc").success(), "gcc failed");
    program
}
