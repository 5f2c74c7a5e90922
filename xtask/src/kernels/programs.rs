//! What runs on every kernel: built by cargo, run here, packed for the machines.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::initramfs::Initramfs;
use crate::shell::{self, ChoreError};

/// Unit tests of what talks to the kernel.
const UNIT_TESTS: &str = "probe::";
/// Whole-program tests of what depends on the kernel. Those of its tiers come on top.
const WHOLE_PROGRAM_TESTS: [&str; 11] = [
    "starting_case::",
    "strings::",
    "returns::",
    "history::",
    "processes::",
    "frames::",
    "handled::",
    "output::",
    "then_and_now::",
    "hostile::",
    "exceptions::exceptions_in",
];
/// What is left of them where there is little time: of each topic, what depends on the kernel most.
const BRIEF_TESTS: [&str; 14] = [
    "starting_case::plain",
    "starting_case::optimized_and_linked_statically",
    "strings::",
    "returns::results_and_durations_belong_to_their_calls",
    "history::each_of_eight_threads",
    "processes::a_forked_child",
    "processes::a_child_that_executes",
    "handled::the_first_fault_is_reported_when_its_handler_exits",
    "handled::a_signal_from_outside",
    "output::of_a_dynamic_program",
    "then_and_now::what_has_changed",
    "hostile::pointers_to_anywhere",
    "hostile::what_lies_behind",
    "exceptions::the_page",
];
/// The same of the tests of a tier.
const BRIEF_TESTS_OF_TIER: [&str; 3] =
    ["tells_results_and_arguments_in_depth", "watches_many_functions", "leaves_nothing_in_the_kernel"];
/// Of the tests that run one thing a hundred times. Where all instructions are emulated, they would take an hour.
const RUNS: &str = "1";

/// What cargo has built.
pub struct Programs {
    /// Its folder for everything.
    pub target: PathBuf,
    lastwords: PathBuf,
    unit_tests: PathBuf,
    whole_program_tests: PathBuf,
}

/// Which tests run.
#[derive(Clone, Copy)]
pub enum Choice<'a> {
    /// All that depend on the kernel.
    All,
    /// Some of each topic.
    Brief,
    /// Those whose names contain one of these.
    Named(&'a [String]),
}

/// A test binary with its arguments and environment.
pub struct TestRun {
    program: PathBuf,
    arguments: Vec<String>,
    environment: Vec<(&'static str, String)>,
}

impl Programs {
    /// Builds lastwords and its tests.
    pub fn build() -> Result<Self, ChoreError> {
        let messages = shell::output(shell::cargo().current_dir(shell::root()).args([
            "test",
            "--package=lastwords",
            "--lib",
            "--test=whole_program",
            "--no-run",
            "--message-format=json-render-diagnostics",
        ]))?;
        let artifacts: Vec<Value> = messages.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let executable = |kind: &str, name: &str| {
            let is_it = |artifact: &&Value| {
                artifact["target"]["kind"][0] == kind
                    && artifact["target"]["name"] == name
                    && artifact["executable"].is_string()
            };
            let path = artifacts.iter().find(is_it).and_then(|artifact| artifact["executable"].as_str());
            path.map(PathBuf::from).ok_or_else(|| ChoreError::NotBuilt { what: format!("{kind} `{name}`") })
        };
        let lastwords = executable("bin", "lastwords")?;
        Ok(Self {
            // It lies in `debug/`.
            target: lastwords.ancestors().nth(2).unwrap_or(Path::new(".")).to_owned(),
            lastwords,
            unit_tests: executable("lib", "lastwords")?,
            whole_program_tests: executable("test", "whole_program")?,
        })
    }

    /// The tests for a kernel that has these tiers.
    pub fn tests(&self, fixtures: &Path, tiers: &[&str], choice: Choice<'_>) -> Vec<TestRun> {
        let environment = vec![
            ("LASTWORDS_FIXTURES", fixtures.display().to_string()),
            ("LASTWORDS_TIERS", tiers.join(",")),
            ("LASTWORDS_RUNS", RUNS.to_owned()),
        ];
        let run = |program: &Path, arguments| TestRun {
            program: program.to_owned(),
            arguments,
            environment: environment.clone(),
        };
        let (topics, of_tier): (&[&str], &[&str]) = match choice {
            Choice::Named(filters) => return vec![run(&self.whole_program_tests, filters.to_vec())],
            Choice::All => (&WHOLE_PROGRAM_TESTS, &[""]),
            Choice::Brief => (&BRIEF_TESTS, &BRIEF_TESTS_OF_TIER),
        };
        let of_tiers = tiers.iter().flat_map(|tier| of_tier.iter().map(move |test| format!("tiers::{tier}::{test}")));
        let of_programs = topics.iter().map(|&topic| topic.to_owned()).chain(of_tiers).collect();
        vec![run(&self.unit_tests, vec![UNIT_TESTS.to_owned()]), run(&self.whole_program_tests, of_programs)]
    }

    /// Makes the root file system of a machine that runs these tests.
    pub fn pack(&self, tests: &[TestRun], fixtures: &Path, image: &Path) -> Result<(), ChoreError> {
        let mut root = Initramfs::create(image)?;
        // The tests and fixtures run some that are on every machine.
        for program in ["/bin/busybox", "/bin/sh", "/bin/true"] {
            root.add_program(Path::new(program))?;
        }
        for program in [&self.lastwords, &self.unit_tests, &self.whole_program_tests] {
            root.add_program(program)?;
        }
        root.add_folder(fixtures)?;
        // The tests look at the sources to know whether a fixture is as new as they are.
        root.add_folder(&shell::root().join("fixtures"))?;
        root.add_file(Path::new("/init"), 0o755, init(tests).as_bytes())?;
        root.finish()
    }
}

/// What a machine says last, followed by 0 if all tests have passed.
pub const VERDICT: &str = "xtask: tests ended with ";

/// The first process of a machine.
fn init(tests: &[TestRun]) -> String {
    let tests: String = tests.iter().map(|test| format!("{} || status=1\n", test.to_shell())).collect();
    format!(
        "#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /tmp /applets
/bin/busybox --install -s /applets
export PATH=/applets HOME=/tmp RUST_TEST_THREADS=2
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tracefs tracefs /sys/kernel/tracing
status=0
{tests}echo '{VERDICT}'$status
poweroff -f
"
    )
}

impl TestRun {
    /// To run here, as root.
    pub fn to_process(&self) -> Command {
        let mut command = shell::as_root("env");
        command.current_dir(shell::root());
        command.args(self.environment.iter().map(|(name, value)| format!("{name}={value}")));
        command.arg(&self.program).args(&self.arguments);
        command
    }

    /// For a machine's shell.
    fn to_shell(&self) -> String {
        let environment = self.environment.iter().map(|(name, value)| format!("{name}={}", quoted(value)));
        let program = quoted(&self.program.display().to_string());
        let arguments = self.arguments.iter().map(|argument| quoted(argument));
        environment.chain([program]).chain(arguments).collect::<Vec<_>>().join(" ")
    }
}

fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}
