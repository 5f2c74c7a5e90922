//! A program that runs under a recorder.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use lastwords::launch::{Ending, Suspended};
use lastwords::probe::Recorder;

/// Runs a program to its end, which must be an exit; `arguments` begin with its name.
pub fn run(recorder: &mut Recorder, program: &Path, arguments: &[OsString]) {
    let suspended = Suspended::new(program, arguments, None).expect("a process");
    recorder.watch(suspended.pid().as_raw().cast_unsigned()).expect("a process to watch");
    let running = suspended.start().expect("the program");
    loop {
        match running.ending() {
            Some(Ending::Exited(_)) => break,
            Some(Ending::Killed(signal)) => panic!("the program was killed by {signal}"),
            None => std::thread::sleep(Duration::from_millis(1)),
        }
    }
}
