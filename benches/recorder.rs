//! What a recorded call costs: `cargo xtask bench recorder` prints medians of interleaved runs, as ratios to an empty uprobe at the
//! same instruction, and what attaching and detaching 1 to 50,000 functions takes. `--quick` measures little: whether it works. Other arguments are parts of
//! the names of what to measure, such as `string` or `attach`. Needs root, gcc, g++, rustc and Linux 6.6.
//! Other programs on the machine matter little: of each run, the quarter of its calls counts that was faster than the rest.

mod support;
#[path = "support/watched.rs"]
mod watched;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use lastwords::binary::Binary;
use lastwords::plan::build::{Options, Prepared, prepare};
use lastwords::plan::returns::Returns;
use lastwords::plan::select::Selection;
use lastwords::probe::{Recorder, Settings};

use support::median;

/// How much is measured.
#[derive(Clone, Copy)]
struct Effort {
    rounds: usize,
    calls: u32,
}

impl Effort {
    fn asked() -> Self {
        let is_quick = std::env::args().any(|argument| argument == "--quick");
        if is_quick { Self { rounds: 1, calls: 10_000 } } else { Self { rounds: 7, calls: 300_000 } }
    }
}

const FUNCTIONS: [usize; 4] = [1, 1_000, 10_000, 50_000];

/// A program that prints how many nanoseconds a call of `work` took it, with its own clock: the lower quartile of batches. It is given how many
/// calls, and a file.
const C: &str = r#"
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
DECLARATIONS
__attribute__((noipa)) int work(PARAMETERS) { return BODY; }
enum { BATCH = 500 };
static int compare(const void *a, const void *b) {
    long x = *(const long *)a, y = *(const long *)b;
    return (x > y) - (x < y);
}
int main(int argc, char **argv) {
    long batches = atol(argv[1]) / BATCH, sum = 0;
    long *times = (long *)calloc(batches, sizeof *times);
    PREPARATION
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

/// The same.
const RUST: &str = r#"
DECLARATIONS
#[inline(never)] fn work(PARAMETERS) -> usize { BODY }
fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let batches: usize = arguments[1].parse::<usize>().unwrap() / 500;
    PREPARATION
    let mut sum = 0;
    let mut times = Vec::new();
    for _ in 0..batches {
        let start = std::time::Instant::now();
        for _ in 0..500 { sum += work(ARGUMENTS); }
        times.push(start.elapsed().as_nanos());
    }
    times.sort_unstable();
    std::fs::write(&arguments[2], format!("{:.2}", times[batches / 4] as f64 / 500.0)).unwrap();
    std::process::exit((sum == 42).into());
}
"#;

/// What is called.
#[derive(Clone, Copy, Default)]
struct Case {
    name: &'static str,
    language: Language,
    declarations: &'static str,
    parameters: &'static str,
    body: &'static str,
    preparation: &'static str,
    arguments: &'static str,
}

#[derive(Clone, Copy, Default)]
enum Language {
    #[default]
    C,
    Cpp,
    Rust,
}

const CASES: [Case; 9] = [
    Case { name: "none", parameters: "void", body: "1", ..EMPTY },
    Case { name: "one int", parameters: "int a", body: "a", arguments: "i", ..EMPTY },
    Case { name: "two ints", parameters: "int a, int b", body: "a + b", arguments: "i, 2 * i", ..EMPTY },
    Case {
        name: "20-byte string",
        parameters: "const char *s",
        body: "s[0]",
        arguments: "\"a string of 20 bytes\"",
        ..EMPTY
    },
    Case {
        name: "two ints, 20-byte string",
        parameters: "int a, int b, const char *s",
        body: "a + b + s[0]",
        arguments: "i, 2 * i, \"a string of 20 bytes\"",
        ..EMPTY
    },
    Case {
        name: "six longs",
        parameters: "long a, long b, long c, long d, long e, long f",
        body: "a + f",
        arguments: "i, i, i, i, i, i",
        ..EMPTY
    },
    Case {
        name: "struct of 64 bytes behind a pointer",
        declarations: "struct rec { long numbers[8]; };",
        parameters: "const struct rec *r",
        body: "r->numbers[0]",
        preparation: "struct rec rec = {{1}};",
        arguments: "&rec",
        ..EMPTY
    },
    Case {
        name: "`std::string` of 20 bytes",
        language: Language::Cpp,
        declarations: "#include <string>",
        parameters: "const std::string &s",
        body: "s.size()",
        preparation: "std::string s = \"a string of 20 bytes\";",
        arguments: "s",
    },
    Case {
        name: "`Vec<String>` of 4",
        language: Language::Rust,
        declarations: "",
        parameters: "list: &Vec<String>",
        body: "list.len()",
        preparation: "let list: Vec<String> = [\"one\", \"two\", \"three\", \"four\"].map(String::from).to_vec();",
        arguments: "&list",
    },
];
const EMPTY: Case = Case {
    name: "",
    language: Language::C,
    declarations: "",
    parameters: "",
    body: "",
    preparation: "",
    arguments: "",
};

impl Case {
    fn source(&self) -> String {
        let program = if matches!(self.language, Language::Rust) { RUST } else { C };
        program
            .replace("DECLARATIONS", self.declarations)
            .replace("PARAMETERS", self.parameters)
            .replace("BODY", self.body)
            .replace("PREPARATION", self.preparation)
            .replace("ARGUMENTS", self.arguments)
    }
}

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
    let effort = Effort::asked();
    let names: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let is_asked = |name: &str| names.is_empty() || names.iter().any(|asked| name.contains(asked.as_str()));
    for case in CASES.into_iter().filter(|case| is_asked(case.name)) {
        per_call(case.name, &build(&folder, "calls", case.language, &case.source()), effort);
    }
    if is_asked("attach and detach") {
        attach_and_detach(&folder, effort);
    }
    let _ = std::fs::remove_dir_all(folder);
}

fn per_call(name: &str, program: &Path, effort: Effort) {
    let kinds = [Watched::Nothing, Watched::Floor, Watched::Entries, Watched::EntriesAndReturns];
    let mut figures = [const { Vec::new() }; 4];
    for _ in 0..effort.rounds {
        for (kind, figures) in kinds.iter().zip(&mut figures) {
            figures.push(run(program, *kind, effort.calls));
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
fn run(program: &Path, what: Watched, calls: u32) -> f64 {
    let returns = if what == Watched::Entries { Returns::Never } else { Returns::Always };
    let prepared = plan(program, "work", returns);
    let mut recorder = load(&prepared);
    match what {
        Watched::Nothing => {}
        Watched::Floor => recorder.attach_floor(&prepared.plan).expect("probes that do nothing"),
        Watched::Entries | Watched::EntriesAndReturns => {
            recorder.attach(&prepared.plan).expect("probes");
        }
    }
    let output = program.with_extension("out");
    watched::run(&mut recorder, program, &[program.into(), calls.to_string().into(), output.clone().into()]);
    std::fs::read_to_string(&output).expect("its figure").trim().parse().expect("a number")
}

/// What it takes to plan, attach and detach so many functions, entry and return.
fn attach_and_detach(folder: &Path, effort: Effort) {
    println!("\n| functions | planned | attached | detached | bytes a thread |");
    println!("| --- | --- | --- | --- | --- |");
    for count in FUNCTIONS {
        let functions: String = (0..count).map(|n| format!("int f{n}(int a) {{ return a + {n}; }}\n")).collect();
        let program = build(folder, "many", Language::C, &format!("{functions}int main(void) {{ return 0; }}"));
        let (mut planned, mut attached, mut detached) = (Vec::new(), Vec::new(), Vec::new());
        let mut slot_bytes = 0;
        for _ in 0..effort.rounds {
            let milliseconds = |since: Instant| since.elapsed().as_secs_f64() * 1e3;
            let start = Instant::now();
            let prepared = plan(&program, "f*", Returns::Always);
            planned.push(milliseconds(start));
            let mut recorder = load(&prepared);
            slot_bytes = recorder.config().slot_bytes();
            let start = Instant::now();
            recorder.attach(&prepared.plan).expect("probes");
            attached.push(milliseconds(start));
            detached.push(recorder.detach().as_secs_f64() * 1e3);
        }
        let [planned, attached, detached] = [planned, attached, detached].map(median);
        println!("| {count} | {planned:.0} ms | {attached:.0} ms | {detached:.0} ms | {slot_bytes} |");
    }
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

fn build(folder: &Path, name: &str, language: Language, source: &str) -> PathBuf {
    let (compiler, flags, extension) = match language {
        Language::C => ("gcc", &["-g", "-O0"][..], "c"),
        Language::Cpp => ("g++", &["-g", "-O0", "-std=c++17"][..], "cpp"),
        Language::Rust => ("rustc", &["-g", "--edition=2024"][..], "rs"),
    };
    let (program, file) = (folder.join(name), folder.join(format!("{name}.{extension}")));
    std::fs::write(&file, source).expect("a source");
    let status = Command::new(compiler).args(flags).arg("-o").arg(&program).arg(&file).status();
    assert!(status.expect("a compiler").success(), "{compiler} failed");
    program
}
