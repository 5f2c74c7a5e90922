//! Errors of lastwords itself: one clear message that names what to do, a status that a script can use, nothing left behind.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nix::unistd::User;

use crate::support::{Fixture, Lastwords};

/// Checks the status and the form of an error, and compares the message with the one that was agreed on.
fn check(run: Lastwords, status: i32, snapshot: &str, program: &Path) {
    let reports = run.report_directory();
    let outcome = run.finish();
    assert_eq!(outcome.status.code(), Some(status), "{}", outcome.stderr);
    assert_eq!(outcome.stdout, "");
    let first = outcome.stderr.lines().filter(|line| line.starts_with("error: ")).count();
    assert_eq!(first, 1, "one error: {}", outcome.stderr);
    assert!(!reports.exists(), "nothing is left behind");
    insta::assert_snapshot!(snapshot, outcome.stderr_without(&[(program, "[PROGRAM]")]));
}

/// Runs a file with this content and this mode.
fn check_file(content: &[u8], mode: u32, status: i32, snapshot: &str) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let program = directory.path().join("program");
    fs::write(&program, content).expect("a file");
    fs::set_permissions(&program, Permissions::from_mode(mode)).expect("its mode");
    check(Lastwords::run::<&str, &str>([], &program, []), status, snapshot, &program);
}

/// A program of this machine, whose header can be damaged.
fn program() -> Vec<u8> {
    fs::read(Fixture::build("exp1.c").path()).expect("a program")
}

#[test]
fn a_script_is_named_as_one() {
    check_file(b"#!/bin/sh\nexit 0\n", 0o755, 2, "script");
}

#[test]
fn a_text_is_no_program() {
    check_file(b"Dear reader,\n", 0o755, 2, "text");
}

#[test]
fn an_empty_file_is_no_program() {
    check_file(b"", 0o755, 2, "empty");
}

/// `EI_CLASS` is 1 in a 32-bit file.
#[test]
fn a_program_of_32_bits_is_refused() {
    let mut content = program();
    content[4] = 1;
    check_file(&content, 0o755, 2, "32_bits");
}

/// `e_machine` is 243 for RISC-V.
#[test]
fn a_program_for_another_machine_is_refused() {
    let mut content = program();
    content[18..20].copy_from_slice(&243_u16.to_le_bytes());
    check_file(&content, 0o755, 2, "other_machine");
}

#[test]
fn a_program_that_is_cut_off_is_refused() {
    check_file(&program()[..200], 0o755, 2, "cut_off");
}

/// A shell would end with 126.
#[test]
fn a_file_that_is_not_executable_is_refused() {
    check_file(&program(), 0o644, 126, "not_executable");
}

/// A shell would end with 126.
#[test]
fn a_directory_is_refused() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    check(Lastwords::run::<&str, &str>([], directory.path(), []), 126, "directory", directory.path());
}

/// A shell would end with 127.
#[test]
fn a_missing_program_is_reported() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let program = directory.path().join("nothing-here");
    check(Lastwords::run::<&str, &str>([], &program, []), 127, "missing", &program);
}

/// A shell would end with 127.
#[test]
fn a_program_that_is_not_in_path_is_reported() {
    let program = Path::new("no-such-program-anywhere");
    check(Lastwords::run::<&str, &str>([], program, []), 127, "not_in_path", program);
}

/// Guards against an error of the kernel's verifier, or a bare errno, where the user has forgotten sudo.
#[test]
fn without_privileges_the_error_says_what_is_missing() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).expect("its mode");
    // The user `nobody` may not enter the folders that these were built in.
    let lastwords = directory.path().join("lastwords");
    let program = directory.path().join("program");
    fs::copy(env!("CARGO_BIN_EXE_lastwords"), &lastwords).expect("a copy");
    fs::copy(Fixture::build("exp1.c").path(), &program).expect("a copy");
    let nobody = User::from_name("nobody").expect("the list of users").expect("the user nobody");
    let run = Lastwords::run::<&str, &str>([], &program, [])
        .by(&lastwords)
        .for_user(nobody.uid.as_raw(), nobody.gid.as_raw());
    check(run, 2, "no_privileges", &program);
}

/// Guards against finding out that a report cannot be written when the program has died.
#[test]
fn a_report_directory_that_cannot_be_one_is_an_error_at_once() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("file");
    fs::write(&file, "").expect("a file");
    let program = Fixture::build("exp1.c").path();
    let run = Lastwords::run::<_, &str>(["--report-dir".as_ref(), file.as_os_str()], &program, []);
    check(run, 2, "report_directory", &file);
}

#[test]
fn a_library_that_is_not_loaded_is_an_error() {
    let fixture = Fixture::build("greeted.c").linked_with(&Fixture::build("greeter.c").shared());
    check(fixture.watched(["--lib", "libgreet.so"]), 2, "library", &fixture.path());
}

#[test]
fn a_pattern_that_is_no_pattern_is_an_error() {
    let fixture = Fixture::build("exp1.c");
    check(fixture.watched(["-f", "te[st"]), 2, "pattern", &fixture.path());
}

/// Guards against bounds that are cut in silence.
#[test]
fn bounds_that_cannot_be_kept_are_errors() {
    for (option, value) in
        [("--string", "4097"), ("--calls", "0"), ("--threads", "0"), ("--calls", "many"), ("--tier", "best")]
    {
        let outcome = Fixture::build("exp1.c").run([option, value]);
        assert_eq!(outcome.status.code(), Some(2), "{option} {value}");
        assert!(outcome.stderr.contains(option) && outcome.stderr.contains(value), "{}", outcome.stderr);
        assert_eq!(outcome.stdout, "");
    }
}

#[test]
fn a_run_without_a_program_is_an_error() {
    let outcome = Lastwords::new(["run"]).finish();
    assert_eq!(outcome.status.code(), Some(2));
    assert!(outcome.stderr.starts_with("error: "), "{}", outcome.stderr);
}
