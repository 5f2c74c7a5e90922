//! Errors of lastwords itself: one clear message that names what to do, a status that a script can use, nothing left behind.

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use insta::assert_snapshot;
use nix::unistd::User;
use tempfile::TempDir;

use crate::support::{Compiler, Fixture, Lastwords, Outcome};

/// Checks the status and the form of an error, and that nothing came of the run. Returns the message.
fn message(run: Lastwords, status: i32, program: &Path) -> String {
    let reports = run.report_directory();
    let outcome = run.finish();
    assert!(!reports.exists(), "no report, and no folder for one");
    message_of(&outcome, status, program)
}

fn message_of(outcome: &Outcome, status: i32, program: &Path) -> String {
    assert_eq!(outcome.status.code(), Some(status), "{}", outcome.stderr);
    assert_eq!(outcome.stdout, "", "the program has not run");
    let errors = outcome.stderr.lines().filter(|line| line.starts_with("error: ")).count();
    assert_eq!(errors, 1, "{}", outcome.stderr);
    outcome.stderr_without(&[(program, "[PROGRAM]"), (Path::new(env!("CARGO_MANIFEST_DIR")), "[SOURCES]")])
}

fn run<O: AsRef<OsStr>>(program: &Path, options: impl IntoIterator<Item = O>) -> Lastwords {
    Lastwords::run::<O, &str>(options, program, [])
}

/// What is said about a file with this content and this mode.
fn message_about_file(content: &[u8], mode: u32, status: i32) -> String {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let program = directory.path().join("program");
    fs::write(&program, content).expect("a file");
    fs::set_permissions(&program, Permissions::from_mode(mode)).expect("its mode");
    message(run::<&str>(&program, []), status, &program)
}

/// What is said about options with which `exp1` cannot be watched.
fn message_about(options: &[&str]) -> String {
    let fixture = Fixture::build("exp1.c");
    message(fixture.watched(options), 2, &fixture.path())
}

/// A program of this machine, whose header can be damaged.
fn program() -> Vec<u8> {
    fs::read(Fixture::build("exp1.c").path()).expect("a program")
}

/// Programs where the user `nobody` can reach them, which cannot be said of those that were just built.
struct Public {
    directory: TempDir,
    program: PathBuf,
}

impl Public {
    fn with_mode(mode: u32) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).expect("its mode");
        let program = directory.path().join("program");
        fs::write(&program, self::program()).expect("a copy");
        fs::set_permissions(&program, Permissions::from_mode(mode)).expect("its mode");
        Self { directory, program }
    }

    /// What `nobody` is told.
    fn message(&self, status: i32) -> String {
        let lastwords = self.directory.path().join("lastwords");
        fs::copy(env!("CARGO_BIN_EXE_lastwords"), &lastwords).expect("a copy");
        let nobody = User::from_name("nobody").expect("the list of users").expect("the user nobody");
        let run = run::<&str>(&self.program, []).by(&lastwords).for_user(nobody.uid.as_raw(), nobody.gid.as_raw());
        message(run, status, &self.program)
    }
}

#[test]
fn a_script_is_named_as_one() {
    assert_snapshot!(message_about_file(b"#!/bin/sh\nexit 0\n", 0o755, 2), @r"
    error: cannot record `[PROGRAM]`: it is a script for `/bin/sh`, expected an ELF program
    hint: `lastwords run -- /bin/sh [PROGRAM]` records the interpreter
    ");
}

/// A shell would end with 126 for this and all others that the kernel refuses to execute.
#[test]
fn a_text_is_no_program() {
    assert_snapshot!(message_about_file(b"Dear reader,\n", 0o755, 126), @r"
    error: cannot use `[PROGRAM]` as a program: expected an ELF file, found text
    ");
}

#[test]
fn an_empty_file_is_no_program() {
    assert_snapshot!(message_about_file(b"", 0o755, 126), @r"
    error: cannot use `[PROGRAM]` as a program: expected an ELF file, found an empty file
    ");
}

#[test]
fn bytes_are_no_program() {
    assert_snapshot!(message_about_file(b"\x89PNG\r\n", 0o755, 126), @r"
    error: cannot use `[PROGRAM]` as a program: expected an ELF file, found a file that begins with the bytes 89 50 4e 47
    ");
}

/// `EI_CLASS` is 1 in a 32-bit file.
#[test]
fn a_program_of_32_bits_is_refused() {
    let mut content = program();
    content[4] = 1;
    assert_snapshot!(message_about_file(&content, 0o755, 2), @r"
    error: cannot record `[PROGRAM]`: expected a 64-bit program, found a 32-bit one
    hint: build it for 64 bits: leave out `-m32`
    ");
}

/// `e_machine` is 243 for RISC-V.
#[test]
fn a_program_for_another_machine_is_refused() {
    let mut content = program();
    content[18..20].copy_from_slice(&243_u16.to_le_bytes());
    assert_snapshot!(message_about_file(&content, 0o755, 126), @r"
    error: cannot use `[PROGRAM]` as a program: expected one for x86-64, found one for riscv
    hint: build it for x86-64, or run this on its own machine
    ");
}

#[test]
fn a_program_that_is_cut_off_is_refused() {
    assert_snapshot!(message_about_file(&program()[..200], 0o755, 2), @r"
    error: cannot read `[PROGRAM]`: the file is truncated or damaged: its program headers lie outside of it
    hint: build or copy it again
    ");
}

#[test]
fn a_file_that_is_not_linked_is_refused() {
    let object = Fixture::build("exp1.c").with(Compiler::Gcc, ["-c"]);
    assert_snapshot!(message(object.watched::<&str>([]), 126, &object.path()), @r"
    error: cannot use `[PROGRAM]` as a program: expected an executable or a shared library, found an object file
    hint: link it into a program first
    ");
}

/// Guards against probes that stay when the kernel refuses to execute the program at last.
#[test]
fn a_file_that_is_not_executable_is_refused() {
    let public = Public::with_mode(0o644);
    let (outcome, left) = run::<&str>(&public.program, []).finish_alone();
    assert_snapshot!(message_of(&outcome, 126, &public.program), @r"
    error: cannot execute `[PROGRAM]`: Permission denied (os error 13)
    hint: allow it with `chmod +x [PROGRAM]`
    ");
    assert!(left.is_empty(), "left in the kernel: {left:?}");
}

/// Guards against "no such file" about a file that everybody can see.
#[test]
fn a_program_without_its_loader_is_refused() {
    let fixture = Fixture::build("exp1.c").with(Compiler::Gcc, ["-Wl,--dynamic-linker=/nonexistent/ld.so"]);
    assert_snapshot!(message(fixture.watched::<&str>([]), 126, &fixture.path()), @r"
    error: cannot execute `[PROGRAM]`: No such file or directory (os error 2)
    hint: the loader that the program names is not there: see `readelf -l [PROGRAM] | grep interpreter`
    ");
}

#[test]
fn a_directory_is_refused() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    assert_snapshot!(message(run::<&str>(directory.path(), []), 126, directory.path()), @r"
    error: cannot use `[PROGRAM]` as a program: it is a directory
    ");
}

/// A shell would end with 127.
#[test]
fn a_missing_program_is_reported() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let program = directory.path().join("nothing-here");
    assert_snapshot!(message(run::<&str>(&program, []), 127, &program), @r"
    error: cannot find `[PROGRAM]`: there is no such file
    ");
}

/// Guards against starting a file in the current directory, which a shell would not do.
#[test]
fn a_program_that_is_not_in_path_is_reported() {
    let program = Path::new("no-such-program-anywhere");
    assert_snapshot!(message(run::<&str>(program, []), 127, Path::new("[PROGRAM]")), @r"
    error: cannot find `no-such-program-anywhere` in `PATH`
    hint: for a file in the current directory, write `./no-such-program-anywhere`
    ");
}

#[test]
fn a_program_that_cannot_be_read_is_refused() {
    assert_snapshot!(Public::with_mode(0o711).message(126), @r"
    error: cannot read `[PROGRAM]`: permission denied
    hint: its code and debug info must be read: allow it with `chmod a+r [PROGRAM]`, or run as a user who may
    ");
}

/// Guards against an error of the kernel's verifier, or a bare errno, where the user has forgotten sudo.
#[test]
fn without_privileges_the_error_says_what_is_missing() {
    assert_snapshot!(Public::with_mode(0o755).message(2), @r"
    error: cannot load the recorder's maps into the kernel: Operation not permitted (os error 1)
    hint: run it as root (`sudo lastwords ...`), or give it CAP_BPF, CAP_PERFMON and CAP_SYS_ADMIN
    ");
}

#[test]
fn an_unknown_user_is_an_error() {
    assert_snapshot!(message_about(&["--user", "no-such-user"]), @r"
    error: there is no user `no-such-user`
    hint: give a name or a numeric id that `getent passwd` knows
    ");
}

/// Guards against finding out that a report cannot be written when the program has died.
#[test]
fn a_report_that_cannot_be_written_is_an_error_at_once() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("file");
    fs::write(&file, "").expect("a file");
    let said = |option: &str, path: &Path| {
        let program = Fixture::build("exp1.c").path();
        message(run(&program, [option.as_ref(), path.as_os_str()]), 2, &file)
    };
    assert_snapshot!(said("--report-dir", &file), @r"
    error: cannot use the report directory `[PROGRAM]`: Not a directory (os error 20)
    hint: name a directory that can be written with --report-dir, or print the report with --json -
    ");
    assert_snapshot!(said("--report-dir", &file.join("deeper")), @r"
    error: cannot use the report directory `[PROGRAM]/deeper`: Not a directory (os error 20)
    hint: name a directory that can be written with --report-dir, or print the report with --json -
    ");
    assert_snapshot!(said("--json", &file.join("report.json")), @r"
    error: cannot use the report directory `[PROGRAM]`: Not a directory (os error 20)
    hint: name a directory that can be written with --report-dir, or print the report with --json -
    ");
    assert_snapshot!(said("--json", directory.path()).replace(&directory.path().display().to_string(), "[HERE]"), @r"
    error: cannot write the report `[HERE]`: Is a directory (os error 21)
    hint: name another file with --json, or print the report with --json -
    ");
}

/// Guards against a directory that a user makes root write to.
#[test]
fn a_report_directory_behind_a_link_of_another_user_is_an_error() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    fs::set_permissions(directory.path(), Permissions::from_mode(0o777)).expect("its mode");
    let link = directory.path().join("link");
    std::os::unix::fs::symlink("/etc", &link).expect("a link");
    let options = ["--user".as_ref(), "nobody".as_ref(), "--report-dir".as_ref(), link.as_os_str()];
    assert_snapshot!(message(run(&Fixture::build("exp1.c").path(), options), 2, &link), @r"
    error: cannot use the report directory `[PROGRAM]`: `[PROGRAM]` is a symbolic link
    hint: reports for another user go through no links of theirs: give the directory itself
    ");
}

#[test]
fn a_library_that_is_not_loaded_is_an_error() {
    let fixture = Fixture::build("greeted.c").linked_with(&Fixture::build("greeter.c").shared());
    assert_snapshot!(message(fixture.watched(["--lib", "libgreet.so"]), 2, &fixture.path()), @r"
    error: `[PROGRAM]` loads no library `libgreet.so`
    hint: it loads `libgreeter.so`, `libc.so.6`, `ld-linux-x86-64.so.2`; for a library that it opens later, give its path
    ");
    assert_snapshot!(message(fixture.watched(["--lib", "./libgreeter.so"]), 2, &fixture.path()), @r"
    error: cannot find `./libgreeter.so`: there is no such file
    ");
}

/// Guards against running with nothing to watch. A bracket is a part of a name: `operator[]`.
#[test]
fn a_pattern_that_matches_nothing_is_an_error() {
    assert_snapshot!(message_about(&["-f", "te[st"]), @r"
    error: no function matches `te[st` in `[PROGRAM]`
    hint: did you mean `test`?
    ");
    assert_snapshot!(message_about(&["-f", "nothing_like_it"]), @r"
    error: no function matches `nothing_like_it` in `[PROGRAM]`
    hint: `lastwords functions [PROGRAM] -f '*'` lists all there are
    ");
    assert_snapshot!(message_about(&["-f", "sleep"]), @r"
    error: no function matches `sleep` in `[PROGRAM]`
    hint: it is a function of a shared library: name the library with `--lib NAME`
    ");
    assert_snapshot!(message_about(&["--source", "exp2.c"]), @r"
    error: no function of `[PROGRAM]` is declared in a file that matches `exp2.c`
    hint: did you mean `[SOURCES]/fixtures/exp1.c`?
    ");
    assert_snapshot!(message_about(&["--source", "nothing_like_it"]), @r"
    error: no function of `[PROGRAM]` is declared in a file that matches `nothing_like_it`
    hint: `lastwords functions [PROGRAM] -f '*'` lists all there are with their files, where they are built with `-g`
    ");
    assert_snapshot!(message_about(&["--source", "ex[p"]), @r"
    error: cannot read `ex[p` as a pattern for files: unclosed character class; missing ']'
    hint: `*`, `?`, `[a-z]` and `{a,b}` are wildcards; `\[` means the character itself
    ");
    assert_snapshot!(message_about(&["-f", "!test", "-f", "!main"]), @r"
    error: found no function to probe in `[PROGRAM]`
    hint: a function must match one of `-f` and one of `--source`, where they are given, and none of `-f '!...'`
    ");
}

/// Guards against a program that is watched for nothing.
#[test]
fn a_program_without_symbols_is_an_error() {
    let fixture = Fixture::build("exp1.c").with(Compiler::Gcc, ["-s"]);
    assert_snapshot!(message(fixture.watched::<&str>([]), 2, &fixture.path()), @r"
    error: found no function to probe in `[PROGRAM]`
    hint: build it with debug info (`-g`) and do not strip it, or choose functions with `-f`
    ");
}

/// Guards against rings that the kernel refuses with a bare errno.
#[test]
fn more_than_the_kernel_can_map_is_an_error() {
    assert_snapshot!(message_about(&["--threads", "65536", "--calls", "1048576"]), @r"
    error: 65536 rings of 110105544 bytes are more than the kernel can map
    hint: ask for less with --threads, --calls or --string
    ");
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
