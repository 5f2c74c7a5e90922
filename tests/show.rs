//! Reports as files and on the terminal: written once, read again.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::support::{Fixture, Lastwords, Outcome, Report, reports_in};

fn show(file: &Path) -> Outcome {
    Lastwords::new(["show", file.to_str().expect("a path")]).finish()
}

/// Runs the starting case with reports in a directory that outlives the run.
fn report_of_exp1() -> (tempfile::TempDir, std::path::PathBuf, Outcome) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let reports = directory.path().join("deep/reports");
    let outcome = Fixture::build("exp1.c").run(["--report-dir".as_ref(), reports.as_os_str()]);
    let files = reports_in(&reports);
    assert_eq!(files.len(), 1, "{files:?}\n{}", outcome.stderr);
    (directory, files[0].clone(), outcome)
}

/// Guards against files that others can read, half-written ones, and names that say nothing.
#[test]
fn a_report_is_one_private_file_with_a_telling_name() {
    let (_directory, file, _) = report_of_exp1();
    let report = Report::read(&file);

    assert_eq!(report.at("/schema"), "lastwords/report/1");
    assert_eq!(fs::metadata(&file).expect("the report").mode() & 0o7777, 0o600);
    let name = file.file_name().and_then(|name| name.to_str()).expect("a name");
    assert!(name.starts_with(&format!("exp1-{}-", report.pid())) && name.ends_with(".json"), "{name}");
}

/// Guards against a page that is lost with stdout, and against one that differs when the report is shown again.
#[test]
fn the_page_is_on_stderr_and_can_be_shown_again() {
    let (_directory, file, outcome) = report_of_exp1();
    assert!(outcome.stderr.contains("test(str = \"this is a string.\")"), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("SIGSEGV"), "{}", outcome.stderr);

    let shown = show(&file);

    assert_eq!(shown.status.code(), Some(0), "{}", shown.stderr);
    assert!(shown.stdout.contains("test(str = \"this is a string.\")"), "{}", shown.stdout);
    assert!(
        outcome.stderr.contains(shown.stdout.trim()),
        "run said:\n{}\nshow said:\n{}",
        outcome.stderr,
        shown.stdout
    );
}

/// Guards against anything but the report on stdout.
#[test]
fn the_report_can_go_to_stdout() {
    let outcome = Fixture::build("exp1.c").run(["-f", "test", "--json", "-"]);
    // The program's own line stays in its buffer: stdout is a pipe.
    let report = Report::parse(&outcome.stdout);
    assert_eq!(report.crashed_thread().calls_of("test").args("str"), ["this is a string."]);
}

/// Guards against a file with other rights than those in the report directory.
#[test]
fn the_report_can_go_to_a_file() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("last.json");
    Fixture::build("exp1.c").run(["--json".as_ref(), file.as_os_str()]);

    assert_eq!(Report::read(&file).at("/fault/signal"), "SIGSEGV");
    assert_eq!(fs::metadata(&file).expect("the report").mode() & 0o7777, 0o600);
}

/// Guards against a terminal that obeys a string of the program that crashed.
#[test]
fn control_characters_do_not_reach_the_terminal() {
    let outcome = Fixture::build("strings.c").run(["-f", "take"]);
    assert!(outcome.stderr.contains("tab\\tnewline"), "{}", outcome.stderr);
    assert!(!outcome.stderr.contains('\u{1b}'), "{}", outcome.stderr.escape_debug());
}

/// Guards against a panic or a blank page for a file that is no report.
#[test]
fn what_is_no_report_is_an_error() {
    let (directory, file, _) = report_of_exp1();
    let whole = fs::read_to_string(&file).expect("the report");
    let other = directory.path().join("other.json");
    let half = &whole[..whole.len() / 2];
    let nested = "[".repeat(100_000);
    for content in ["", "{}", "null", half, &nested, "{\"schema\": \"lastwords/report/999\"}"] {
        fs::write(&other, content).expect("a file");
        let outcome = show(&other);
        assert_eq!(outcome.status.code(), Some(2), "{}", outcome.stderr);
        assert!(outcome.stderr.starts_with("error: "), "{}", outcome.stderr);
        assert_eq!(outcome.stdout, "");
    }
    assert_eq!(show(&directory.path().join("missing.json")).status.code(), Some(2));
}
