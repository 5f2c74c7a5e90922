//! lastwords dies, the program lives.

use std::os::unix::process::ExitStatusExt;
use std::time::Instant;

use nix::sys::signal::{Signal, kill};

use crate::support::{LIMIT, Session, events};

/// Waits until the code of `tick` in memory is that of the file, for as long as a run may take.
fn wait_until_code_is_restored(session: &Session) {
    let begin = Instant::now();
    let file = session.code_in_file();
    while session.code_in_memory() != file {
        assert!(begin.elapsed() < LIMIT, "a probe is still in `tick`");
        // The kernel removes probes some time after the last reference to them is gone, and tells nobody.
        std::thread::yield_now();
    }
}

fn check_kill(options: &[&str]) {
    let mut session = Session::start(options);
    assert_eq!(session.tick(), "tick 1");
    assert_ne!(session.code_in_memory(), session.code_in_file(), "`tick` has a probe, or this test proves nothing");

    session.signal_lastwords(Signal::SIGKILL);

    assert_eq!(session.wait_for_lastwords().signal(), Some(nix::libc::SIGKILL));
    assert_eq!(session.tick(), "tick 2");
    wait_until_code_is_restored(&session);
    let begin = Instant::now();
    while events().contains(&session.lastwords()) {
        assert!(begin.elapsed() < LIMIT, "an event is still defined");
        std::thread::yield_now();
    }
    assert_eq!(session.tick(), "tick 3");
    session.end();
}

/// Guards against a program that dies with lastwords, and against a probe that nobody listens to any more.
#[test]
fn the_program_survives_the_death_of_lastwords() {
    check_kill(&["-f", "tick"]);
}

/// Guards against the same where probes are those of an event, whose definition hangs on no file descriptor.
#[test]
fn the_program_survives_the_death_of_lastwords_on_the_oldest_tier() {
    check_kill(&["-f", "tick", "--tier", "single"]);
}

/// Guards against eBPF objects that the program inherits: a probe would live as long as the program.
#[test]
fn the_program_inherits_no_file_of_lastwords() {
    let mut session = Session::start(&["-f", "tick"]);
    assert_eq!(session.tick(), "tick 1");

    let foreign: Vec<_> = session.open_files().into_iter().filter(|file| !file.starts_with("pipe:")).collect();

    // stderr is that of the tests.
    assert!(
        foreign.iter().all(|file| !file.contains("bpf") && !file.contains("perf") && !file.contains("anon_inode")),
        "{foreign:?}"
    );
    session.end();
}

/// Guards against lastwords ending before the program does, when somebody asks it to end politely: the signal is passed on.
#[test]
fn a_request_to_end_reaches_the_program() {
    let mut session = Session::start(&["-f", "tick"]);
    assert_eq!(session.tick(), "tick 1");

    session.signal_lastwords(Signal::SIGTERM);

    assert_eq!(session.wait_for_lastwords().signal(), Some(nix::libc::SIGTERM));
    assert!(kill(session.program, None).is_err(), "the program has ended, too");
}
