//! `lastwords doctor`: what this machine can do.

use std::fs;

use nix::unistd::User;

use crate::support::Lastwords;

/// Guards against a doctor that finds a machine ill on which all other tests pass.
#[test]
fn a_machine_that_runs_the_tests_is_well() {
    let outcome = Lastwords::new(["doctor"]).finish();

    assert_eq!(outcome.status.code(), Some(0), "{}{}", outcome.stdout, outcome.stderr);
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").expect("the kernel's release");
    assert!(outcome.stdout.contains(release.trim()), "the kernel: {}", outcome.stdout);
    assert!(outcome.stdout.contains("BTF"), "{}", outcome.stdout);
    for class in ["push ", "jcc ", "endbr64 ", "ret ", "return "] {
        let line = outcome.stdout.lines().find(|line| line.trim_start().starts_with(class));
        assert!(line.is_some_and(|line| line.contains(" us  ")), "what a probe on `{class}` costs: {}", outcome.stdout);
    }
}

/// Guards against a doctor that needs what it is to look for, and against finding without advice.
#[test]
fn a_user_without_privileges_is_told_what_to_do() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(directory.path(), mode).expect("its mode");
    let lastwords = directory.path().join("lastwords");
    fs::copy(env!("CARGO_BIN_EXE_lastwords"), &lastwords).expect("a copy");
    let nobody = User::from_name("nobody").expect("the list of users").expect("the user nobody");

    let outcome = Lastwords::new(["doctor"]).by(&lastwords).for_user(nobody.uid.as_raw(), nobody.gid.as_raw()).finish();

    assert_ne!(outcome.status.code(), Some(0), "{}{}", outcome.stdout, outcome.stderr);
    assert!(outcome.stdout.contains("sudo") || outcome.stdout.contains("root"), "what to do: {}", outcome.stdout);
}
