//! What a recorded call costs, beside what other tools take for the same: `cargo bench --bench compare` prints a table of medians of
//! interleaved runs, each as nanoseconds a call over the untraced function and as a ratio to an empty uprobe on the function's first
//! instruction. Needs root, gcc and Linux 6.6; tools that are not installed have no row, and each bpftrace that `PATH` leads to has rows of its own.

mod support;
#[path = "support/watched.rs"]
mod watched;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use lastwords::binary::Binary;
use lastwords::plan::build::{Options, prepare};
use lastwords::plan::placement::EntryPlace;
use lastwords::plan::returns::Returns;
use lastwords::plan::select::Selection;
use lastwords::probe::{Recorder, Settings, calibrate};

use support::median;

const ROUNDS: usize = 5;
/// For tools that stop the program at each call.
const FEW_CALLS: u32 = 2_000;
const CALLS: u32 = 200_000;

/// A program that prints how many nanoseconds a call of `work` took it, with its own clock.
const PROGRAM: &str = r#"
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
__attribute__((noipa)) int work(int a, int b, const char *s) { return BODY; }
int main(int argc, char **argv) {
    long calls = atol(argv[1]), sum = 0;
    struct timespec a, b;
    clock_gettime(CLOCK_MONOTONIC, &a);
    for (long i = 0; i < calls; i++) sum += work(i, 2 * i, "a string of 22 letters");
    clock_gettime(CLOCK_MONOTONIC, &b);
    FILE *out = fopen(argv[2], "w");
    if (!out) return 1;
    fprintf(out, "%.2f\n", ((b.tv_sec - a.tv_sec) * 1e9 + (b.tv_nsec - a.tv_nsec)) / calls);
    fclose(out);
    return sum == 42;
}
"#;

const LEAF: &str = "-DBODY=a+b+s[0]";
const BRANCH: &str = "-DBODY=s?a+b+s[0]:0";

/// What the first instruction is, and how to have it so. Instructions such as `xor` are executed out of line and single-stepped; in a leaf
/// without branches nothing else comes behind them.
const ENTRIES: [(&str, &[&str]); 4] = [
    ("`push`", &["-O0", LEAF, "-fcf-protection=none"]),
    ("`xor`, then a branch", &["-O2", BRANCH, "-fcf-protection=none"]),
    ("`lea`, then nothing else", &["-O2", LEAF, "-fcf-protection=none"]),
    (
        "a 5-byte `nop`",
        &["-O2", LEAF, "-fcf-protection=none", "-fno-pic", "-no-pie", "-pg", "-mfentry", "-mnop-mcount"],
    ),
];

/// Has one run of the program watched; false if it cannot.
type Watch = Box<dyn Fn(&Program, u32) -> bool>;

/// A row: its name, how many calls are made, and what watches them.
type Row = (String, u32, Watch);

/// All rows. The first two are what the others are compared with.
fn rows() -> Vec<Row> {
    let row = |name: &str, calls, watch: fn(&Program, u32) -> bool| (name.to_owned(), calls, Box::new(watch) as Watch);
    let mut rows = vec![
        row("untraced", CALLS, untraced),
        row("empty uprobe", CALLS, empty),
        row("lastwords, entry", CALLS, |program, calls| lastwords(program, calls, Returns::Never)),
        row("lastwords, entry and return", CALLS, |program, calls| lastwords(program, calls, Returns::Always)),
    ];
    rows.extend(each_bpftrace().iter().flat_map(|tool| rows_of_bpftrace(tool)));
    rows.extend([
        row("perf probe and record", CALLS, perf),
        row("uftrace, patching", CALLS, uftrace),
        row("uftrace, patching, no arguments", CALLS, uftrace_without_arguments),
        row("ltrace -x", FEW_CALLS, ltrace),
        row("gdb dprintf", FEW_CALLS, gdb),
    ]);
    rows
}

/// Every bpftrace in the folders of `PATH`: a newer one may stand beside the distribution's.
fn each_bpftrace() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).filter_map(|folder| folder.join("bpftrace").canonicalize().ok());
    let mut tools = Vec::new();
    found.for_each(|tool| {
        if !tools.contains(&tool) {
            tools.push(tool);
        }
    });
    tools
}

fn rows_of_bpftrace(tool: &Path) -> Vec<Row> {
    let version = Command::new(tool).arg("--version").output().map(|output| output.stdout).unwrap_or_default();
    let version = String::from_utf8_lossy(&version).trim().to_owned();
    let row = |name: &str, action: &'static str, on_return: &'static str| {
        let tool = tool.to_owned();
        let watch = move |program: &Program, calls: u32| bpftrace(&tool, program, calls, action, on_return);
        (format!("{version}, {name}"), CALLS, Box::new(watch) as Watch)
    };
    let into_map = "{ @[tid] = (arg0, arg1, str(arg2)); }";
    vec![
        row("into a map", into_map, ""),
        row("printf", r#"{ printf("%d %d %s\n", arg0, arg1, str(arg2)); }"#, ""),
        row("map, entry and return", into_map, "{ @result[tid] = retval; }"),
    ]
}

/// A built program, and where it writes its figure.
struct Program {
    path: PathBuf,
    figure: PathBuf,
}

fn main() {
    let folder = std::env::temp_dir().join(format!("lastwords-compare-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder for the programs");
    // Tools and programs leave files where they run (`gmon.out`).
    std::env::set_current_dir(&folder).expect("that folder");
    let programs: Vec<_> =
        ENTRIES.iter().enumerate().map(|(number, (_, flags))| build(&folder, number, flags)).collect();
    let rows = rows();
    // figures[row][entry]
    let mut figures = vec![vec![Vec::new(); programs.len()]; rows.len()];
    for _ in 0..ROUNDS {
        for ((_, calls, watch), figures) in rows.iter().zip(&mut figures) {
            for (program, figures) in programs.iter().zip(figures) {
                figures.extend(run(program, *calls, watch));
            }
        }
    }
    let of_tool = |figures: Vec<f64>| (!figures.is_empty()).then(|| median(figures));
    let medians: Vec<Vec<Option<f64>>> =
        figures.into_iter().map(|entries| entries.into_iter().map(of_tool).collect()).collect();
    println!("| | {} |", ENTRIES.map(|(name, _)| format!("entry is {name}")).join(" | "));
    println!("| --- |{}", " --- |".repeat(ENTRIES.len()));
    for ((name, ..), row) in rows.iter().zip(&medians).skip(1) {
        if row.iter().any(Option::is_some) {
            let cells =
                row.iter().enumerate().map(|(entry, figure)| cell(*figure, medians[0][entry], medians[1][entry]));
            println!("| {name} | {} |", cells.collect::<Vec<_>>().join(" | "));
        }
    }
    let _ = fs::remove_dir_all(folder);
}

/// The cost over the untraced call, and its ratio to the empty uprobe's.
fn cell(figure: Option<f64>, untraced: Option<f64>, empty: Option<f64>) -> String {
    match (figure, untraced, empty) {
        (Some(figure), Some(untraced), Some(empty)) => {
            format!("{:.0} ns, {:.2}", figure - untraced, (figure - untraced) / (empty - untraced))
        }
        _ => "-".into(),
    }
}

/// Nanoseconds a call; none if the tool is not there, or fails.
fn run(program: &Program, calls: u32, watch: &Watch) -> Option<f64> {
    let _ = fs::remove_file(&program.figure);
    if !watch(program, calls) {
        return None;
    }
    fs::read_to_string(&program.figure).ok()?.trim().parse().ok()
}

fn untraced(program: &Program, calls: u32) -> bool {
    succeeds(Command::new(&program.path).arg(calls.to_string()).arg(&program.figure))
}

fn empty(program: &Program, calls: u32) -> bool {
    let options = Options { returns: Returns::Never, entry_place: EntryPlace::First, ..Options::default() };
    with_probes(program, calls, &options, true)
}

fn lastwords(program: &Program, calls: u32, returns: Returns) -> bool {
    let options = Options { returns, costs: Some(calibrate::costs()), ..Options::default() };
    with_probes(program, calls, &options, false)
}

fn with_probes(program: &Program, calls: u32, options: &Options, does_nothing: bool) -> bool {
    let selection = Selection { functions: vec!["work".into()], ..Selection::default() };
    let prepared = prepare(Binary::open(&program.path).expect("a program"), &selection, options).expect("a plan");
    let settings = Settings { threads: 16, ..Settings::default() };
    let mut recorder = Recorder::load(&prepared.plan, &settings).expect("root: see `lastwords doctor`");
    if does_nothing {
        recorder.attach_floor(&prepared.plan).expect("probes that do nothing");
    } else {
        recorder.attach(&prepared.plan).expect("probes");
    }
    let arguments = [program.path.clone().into(), calls.to_string().into(), program.figure.clone().into()];
    watched::run(&mut recorder, &program.path, &arguments);
    true
}

/// What to do at each entry, and at each return if that is not empty.
fn bpftrace(tool: &Path, program: &Program, calls: u32, on_entry: &str, on_return: &str) -> bool {
    let path = program.path.display();
    let mut script = format!("uprobe:{path}:work {on_entry}");
    if !on_return.is_empty() {
        script += &format!(" uretprobe:{path}:work {on_return}");
    }
    let command = format!("{path} {calls} {}", program.figure.display());
    succeeds(Command::new(tool).args(["-o", "/dev/null", "-e", &script, "-c", &command]))
}

fn perf(program: &Program, calls: u32) -> bool {
    let name = program.path.file_name().unwrap_or_default().display().to_string();
    let event = format!("probe_{name}:work");
    let definition = "work a=%di:s32 b=%si:s32 s=+0(%dx):string";
    if !succeeds(Command::new("perf").args(["probe", "-q", "-x"]).arg(&program.path).args(["--add", definition])) {
        return false;
    }
    let data = program.path.with_extension("data");
    let recorded = succeeds(
        Command::new("perf")
            .args(["record", "-q", "-e", &event, "-o"])
            .arg(data)
            .arg(&program.path)
            .arg(calls.to_string())
            .arg(&program.figure),
    );
    succeeds(Command::new("perf").args(["probe", "-q", "-d", &event])) && recorded
}

fn uftrace(program: &Program, calls: u32) -> bool {
    uftrace_with(program, calls, &["-A", "work@arg1/i32,arg2/i32,arg3/s"])
}

fn uftrace_without_arguments(program: &Program, calls: u32) -> bool {
    uftrace_with(program, calls, &[])
}

fn uftrace_with(program: &Program, calls: u32, options: &[&str]) -> bool {
    let data = program.path.with_extension("uftrace");
    succeeds(
        Command::new("uftrace")
            .args(["record", "-P", "work", "--no-pager", "-d"])
            .arg(data)
            .args(options)
            .arg(&program.path)
            .arg(calls.to_string())
            .arg(&program.figure),
    )
}

fn ltrace(program: &Program, calls: u32) -> bool {
    let mut command = Command::new("ltrace");
    succeeds(
        command.args(["-o", "/dev/null", "-x", "work"]).arg(&program.path).arg(calls.to_string()).arg(&program.figure),
    )
}

fn gdb(program: &Program, calls: u32) -> bool {
    let message = r#"dprintf work,"%d %d %s\n",a,b,s"#;
    let mut command = Command::new("gdb");
    command.args(["-batch", "-ex", message, "-ex", "run", "--args"]);
    succeeds(command.arg(&program.path).arg(calls.to_string()).arg(&program.figure))
}

fn succeeds(command: &mut Command) -> bool {
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

fn build(folder: &Path, number: usize, flags: &[&str]) -> Program {
    let path = folder.join(format!("calls{number}"));
    let source = path.with_extension("c");
    fs::write(&source, PROGRAM).expect("a source");
    let status = Command::new("gcc").args(["-g", "-o"]).arg(&path).arg(&source).args(flags).status();
    assert!(status.expect("gcc").success(), "gcc failed");
    Program { figure: path.with_extension("figure"), path }
}
