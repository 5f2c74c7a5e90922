//! What it takes until a program with much debug info runs: `cargo bench --bench startup` prints how long planning takes, next to what gdb needs until it
//! has a breakpoint on the same function. The program is lastwords itself, as `cargo build` makes it: some 100 MB of debug info. Needs gdb.

mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use lastwords::binary::Binary;
use lastwords::plan::build::{Options, prepare};
use lastwords::plan::select::Selection;

use support::median;

const ROUNDS: usize = 5;
/// One function, and all of one crate.
const PATTERNS: [&str; 2] = ["lastwords::cli::run::execute", "lastwords::*"];

fn main() {
    let program = program();
    println!("`{}`: {} MB of debug info.\n", program.display(), debug_info_bytes(&program) / 1_000_000);
    println!("| pattern | functions | planned | gdb, until it has a breakpoint | ratio |");
    println!("| --- | --- | --- | --- | --- |");
    for pattern in PATTERNS {
        let (mut ours, mut theirs, mut functions) = (Vec::new(), Vec::new(), 0);
        for _ in 0..ROUNDS {
            let start = Instant::now();
            let selection = Selection { functions: vec![pattern.into()], ..Selection::default() };
            let prepared = prepare(Binary::open(&program).expect("a program"), &selection, &Options::default());
            functions = prepared.expect("a plan").plan.functions.len();
            ours.push(start.elapsed().as_secs_f64());
            theirs.push(seconds_of_gdb(&program));
        }
        let (ours, theirs) = (median(ours), median(theirs));
        println!("| `{pattern}` | {functions} | {ours:.2} s | {theirs:.2} s | {:.2} |", ours / theirs);
    }
}

/// lastwords with debug info for everything.
fn program() -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo).args(["build", "--package", "lastwords", "--bin", "lastwords"]).status();
    assert!(built.is_ok_and(|status| status.success()), "`cargo build` failed");
    // target/release/deps/startup-HASH
    let bench = std::env::current_exe().expect("a path");
    bench.ancestors().nth(3).expect("a folder for builds").join("debug/lastwords")
}

fn debug_info_bytes(program: &Path) -> u64 {
    let binary = Binary::open(program).expect("a program");
    let sections = ["info", "abbrev", "str", "line", "line_str", "ranges", "rnglists", "loc", "loclists", "aranges"];
    let sizes = sections.iter().filter_map(|name| binary.section(&format!(".debug_{name}")).ok().flatten());
    sizes.map(|section| section.len() as u64).sum()
}

fn seconds_of_gdb(program: &Path) -> f64 {
    let start = Instant::now();
    let status = Command::new("gdb")
        .args(["-nx", "-batch", "-ex", "set debuginfod enabled off", "-ex", "break lastwords::cli::run::execute"])
        .arg(program)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    assert!(status.is_ok_and(|status| status.success()), "gdb failed");
    start.elapsed().as_secs_f64()
}
