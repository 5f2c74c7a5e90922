//! What a death costs: `cargo bench --bench death` prints how long the eBPF programs run at the death of a process of 16 threads, and how long
//! it takes from the fault of each of our fixtures to its complete report on the disk. Needs root, gcc and g++.

mod support;

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime};

use lastwords::binary::{Binary, Streams};
use lastwords::launch::Suspended;
use lastwords::plan::build::{Options, prepare};
use lastwords::plan::select::Selection;
use lastwords::probe::{Ran, Recorder, Settings};
use serde_json::Value;

use support::median;

const THREADS: &str = "16";
const COUNTING: &str = "/proc/sys/kernel/bpf_stats_enabled";
/// No death takes longer, unless something hangs.
const LIMIT: Duration = Duration::from_secs(20);

/// Sources, and with which argument each dies: by every kind of unwinding, of explanation, and of handler.
const FIXTURES: [(&str, &[&str]); 10] = [
    ("exp1.c", &[""]),
    ("crowd.c", &[THREADS]),
    ("deep.c", &["crash"]),
    ("deaths.c", &["nested", "inlined", "library", "wild-call", "callback", "handler", "endless", "smash", "abort"]),
    ("explained.c", &["member", "wild", "freed", "literal", "recursion", "divide", "assert", "double"]),
    ("handled.c", &["abort", "exit", "raise", "default", "alt-abort", "nested"]),
    ("deaths.cpp", &["virtual", "lambda"]),
    ("explained.cpp", &["uncaught", "pure", "method"]),
    ("explained.rs", &["message", "unwrap", "index", "null"]),
    ("overflow.rs", &[""]),
];

/// Has the kernel count how long eBPF programs run, as long as it lives.
struct Counting {
    before: String,
}

impl Counting {
    fn begin() -> Self {
        let before = fs::read_to_string(COUNTING).expect("root, and a kernel that counts");
        fs::write(COUNTING, "1").expect("root");
        Self { before }
    }
}

impl Drop for Counting {
    fn drop(&mut self) {
        // Somebody else may have changed it meanwhile; nothing can be done about that here.
        let _ = fs::write(COUNTING, self.before.trim());
    }
}

/// How often each is measured: `--quick` finds out whether it works.
fn rounds() -> usize {
    if std::env::args().any(|argument| argument == "--quick") { 1 } else { 9 }
}

fn main() {
    let folder = std::env::temp_dir().join(format!("lastwords-bench-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder for the programs");
    in_the_kernel(&build(&folder, "crowd.c", "-O0"));
    println!();
    println!("| program | fault to report on disk | slowest of {} |", rounds());
    println!("| --- | --- | --- |");
    for (source, modes) in FIXTURES {
        for level in ["-O0", "-O2"] {
            let program = build(&folder, source, level);
            modes.iter().for_each(|mode| to_the_disk(&folder, &program, level, mode));
        }
    }
    let _ = fs::remove_dir_all(folder);
}

/// How long the programs run at a death, which is what holds it up.
fn in_the_kernel(program: &Path) {
    let _counting = Counting::begin();
    let prepared = prepare(Binary::open(program).expect("a program"), &Selection::default(), &Options::default());
    let prepared = prepared.expect("a plan");
    let settings = Settings { streams: Streams::of(&prepared.binaries[0]), ..Settings::default() };
    let (mut whole, mut delivered) = (Vec::new(), Vec::new());
    for _ in 0..rounds() {
        let mut recorder = Recorder::load(&prepared.plan, &settings).expect("root, and a kernel that can do it");
        recorder.attach(&prepared.plan).expect("probes");
        let arguments = [program.into(), THREADS.into()];
        let suspended = Suspended::new(program, &arguments, None).expect("a process");
        recorder.watch(suspended.pid().as_raw().cast_unsigned()).expect("a process to watch");
        let running = suspended.start().expect("the program");
        let begin = Instant::now();
        while recorder.next_death().is_none() {
            assert!(begin.elapsed() < LIMIT, "no death is told");
            sleep(Duration::from_millis(1));
        }
        while running.ending().is_none() {
            sleep(Duration::from_millis(1));
        }
        let ran = recorder.tracepoints_ran().expect("figures");
        let milliseconds = |ran: &Ran| ran.time.as_secs_f64() * 1e3;
        whole.push(ran.iter().map(|(_, ran)| milliseconds(ran)).sum());
        delivered
            .push(ran.iter().filter(|(name, _)| *name == "signal_deliver").map(|(_, ran)| milliseconds(ran)).sum());
    }
    println!(
        "Death of a process of {THREADS} threads and the main one: its tracepoints ran {:.2} ms, {:.2} ms of it in `signal_deliver` (all threads together).",
        median(whole),
        median(delivered)
    );
}

/// From the fault, by the report's own account, to the moment at which its file is there.
fn to_the_disk(folder: &Path, program: &Path, level: &str, mode: &str) {
    let mut figures = Vec::new();
    for _ in 0..rounds() {
        let file = folder.join("report.json");
        let _ = fs::remove_file(&file);
        let mut command = Command::new(env!("CARGO_BIN_EXE_lastwords"));
        command.args(["run", "--json"]).arg(&file).arg("--").arg(program).args(mode.split_whitespace());
        let mut lastwords = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("lastwords");
        let begin = Instant::now();
        let (report, seen_at) = loop {
            assert!(begin.elapsed() < LIMIT, "no report is written");
            if let Some(report) = read(&file) {
                break (report, SystemTime::now());
            }
            sleep(Duration::from_micros(200));
        };
        lastwords.wait().expect("lastwords ends");
        figures.push(seen_at.duration_since(fault_at(&report)).expect("a report after its fault").as_secs_f64() * 1e3);
    }
    let slowest = figures.iter().copied().fold(0.0, f64::max);
    let name = program.file_name().unwrap_or_default().display();
    println!("| {name} {level} {mode} | {:.1} ms | {slowest:.1} ms |", median(figures));
}

/// The report, if it is there and complete.
fn read(file: &Path) -> Option<Value> {
    serde_json::from_slice(&fs::read(file).ok()?).ok()
}

fn fault_at(report: &Value) -> SystemTime {
    let started: jiff::Timestamp =
        report["process"]["started_at"].as_str().and_then(|text| text.parse().ok()).expect("a time");
    let after = report["process"]["uptime_ns"].as_u64().expect("a number");
    SystemTime::UNIX_EPOCH
        + Duration::from_nanos(u64::try_from(started.as_nanosecond()).expect("a time after 1970") + after)
}

fn build(folder: &Path, source: &str, level: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(source);
    let program = folder.join(path.file_stem().expect("a name"));
    let (compiler, flags): (_, &[&str]) = match (path.extension().and_then(OsStr::to_str), level) {
        (Some("rs"), "-O0") => ("rustc", &["-g", "--edition=2024", "-Cpanic=abort"]),
        (Some("rs"), _) => ("rustc", &["-g", "--edition=2024", "-Cpanic=abort", "-O"]),
        (Some("cpp"), level) => ("g++", &["-g", "-pthread", level]),
        (_, level) => ("gcc", &["-g", "-pthread", level]),
    };
    let status = Command::new(compiler).args(flags).arg("-o").arg(&program).arg(path).status();
    assert!(status.expect("a compiler").success(), "{compiler} failed");
    program
}
