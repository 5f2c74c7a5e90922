//! A program that runs under lastwords while the test does something to one of them: `fixtures/patient.c`.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::FileExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::sync::RwLockReadGuard;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use super::Fixture;
use super::lastwords::share_machine;
use super::process::LIMIT;

/// Bytes of `tick` that are looked at: its whole body.
const CODE_BYTES: usize = 48;

/// A `patient` that has started and said who it is.
pub struct Session {
    lastwords: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    /// The program's pid.
    pub program: Pid,
    tick: u64,
    _directory: TempDir,
    _machine: RwLockReadGuard<'static, ()>,
}

impl Session {
    /// Starts it and waits for its first line.
    pub fn start(options: &[&str]) -> Self {
        let machine = share_machine();
        let (mut command, directory) = Fixture::build("patient.c").watched(options).into_parts();
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);
        let mut lastwords = command.spawn().expect("lastwords");
        let stdin = lastwords.stdin.take();
        let lines = lines_of(lastwords.stdout.take().expect("a pipe"));
        let first = lines.recv_timeout(LIMIT).expect("the first line of patient");
        let (pid, tick) = first.split_once(" 0x").expect("a pid and an address");
        Self {
            lastwords,
            stdin,
            lines,
            program: Pid::from_raw(pid.parse().expect("a pid")),
            tick: u64::from_str_radix(tick, 16).expect("an address"),
            _directory: directory,
            _machine: machine,
        }
    }

    /// Lets the program call `tick` and waits for its answer.
    pub fn tick(&mut self) -> String {
        self.stdin.as_mut().expect("stdin is open").write_all(b"\n").expect("patient reads");
        self.lines.recv_timeout(LIMIT).expect("an answer of patient")
    }

    /// Sends a signal to lastwords, not to the program.
    pub fn signal_lastwords(&self, signal: Signal) {
        kill(Pid::from_raw(self.lastwords.id().cast_signed()), signal).expect("lastwords runs");
    }

    /// The process id of lastwords.
    pub fn lastwords(&self) -> u32 {
        self.lastwords.id()
    }

    /// Waits for the end of lastwords.
    pub fn wait_for_lastwords(&mut self) -> std::process::ExitStatus {
        self.lastwords.wait().expect("the status of lastwords")
    }

    /// The code of `tick` as the processor sees it.
    pub fn code_in_memory(&self) -> Vec<u8> {
        let memory = File::open(format!("/proc/{}/mem", self.program)).expect("the program's memory");
        let mut code = vec![0; CODE_BYTES];
        memory.read_exact_at(&mut code, self.tick).expect("the code of tick");
        code
    }

    /// The code of `tick` as it is in the file.
    pub fn code_in_file(&self) -> Vec<u8> {
        let maps = fs::read_to_string(format!("/proc/{}/maps", self.program)).expect("the program's mappings");
        let hex = |text: &str| u64::from_str_radix(text, 16).expect("a hexadecimal number");
        let offset = maps.lines().find_map(|line| {
            let mut fields = line.split_ascii_whitespace();
            let (start, end) = fields.next()?.split_once('-')?;
            let in_file = hex(fields.nth(1)?);
            (hex(start)..hex(end)).contains(&self.tick).then(|| self.tick - hex(start) + in_file)
        });
        let mut code = vec![0; CODE_BYTES];
        let file = File::open(Fixture::build("patient.c").path()).expect("the program");
        file.read_exact_at(&mut code, offset.expect("the mapping of tick")).expect("the code of tick");
        code
    }

    /// Files that the program has open, as the kernel names them.
    pub fn open_files(&self) -> Vec<String> {
        let folder = fs::read_dir(format!("/proc/{}/fd", self.program)).expect("the program's files");
        folder
            .map(|entry| fs::read_link(entry.expect("an open file").path()).expect("its name").display().to_string())
            .collect()
    }

    /// Ends the program by the end of its stdin, and waits until nobody holds its stdout open.
    pub fn end(mut self) {
        self.stdin = None;
        assert_eq!(self.lines.recv_timeout(LIMIT), Err(RecvTimeoutError::Disconnected), "patient ends in silence");
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.stdin = None;
        // By now it has ended, unless the test failed; the status has been taken, or nobody wants it.
        let _ = self.lastwords.kill();
        let _ = self.lastwords.wait();
    }
}

/// Lines as they come, so that waiting for one can have a limit.
fn lines_of(stdout: ChildStdout) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    receiver
}
