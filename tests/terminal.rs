//! A controlling terminal is the program's, as it would be without lastwords.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::pty::openpty;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::support::{Fixture, LIMIT};

/// A program under lastwords that has a terminal of its own, with the test at the keyboard.
struct Terminal {
    keyboard: File,
    lines: Receiver<String>,
    child: Child,
    _directory: TempDir,
}

impl Terminal {
    fn start(fixture: &Fixture) -> Self {
        let (lastwords, directory) = fixture.watched(["-f", "*"]).into_parts();
        let pty = openpty(None, None).expect("a pseudoterminal");
        // The other end in the program's hands would keep the terminal open after everybody has left.
        for end in [&pty.master, &pty.slave] {
            fcntl(end, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).expect("a file descriptor");
        }
        let stdio = || Stdio::from(pty.slave.try_clone().expect("the terminal"));
        // setsid executes lastwords in its own place: it leads no process group here.
        let mut command = Command::new("setsid");
        command.arg("--ctty").arg(lastwords.get_program()).args(lastwords.get_args()).current_dir(directory.path());
        let child = command.stdin(stdio()).stdout(stdio()).stderr(stdio()).spawn().expect("setsid");
        drop((command, pty.slave));
        let keyboard = File::from(pty.master);
        let lines = lines_of(keyboard.try_clone().expect("the terminal"));
        Self { keyboard, lines, child, _directory: directory }
    }

    fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).expect("the terminal takes keys");
    }

    /// Waits for a line with this in it.
    fn wait_for(&self, text: &str) {
        while !self
            .lines
            .recv_timeout(LIMIT)
            .unwrap_or_else(|error| panic!("no `{text}` on the terminal: {error}"))
            .contains(text)
        {}
    }

    /// Waits until nobody has the terminal open, then for the status.
    fn finish(mut self) -> (Vec<String>, ExitStatus) {
        let mut rest = vec![];
        while let Ok(line) = self.lines.recv_timeout(LIMIT) {
            rest.push(line);
        }
        (rest, self.child.wait().expect("the status of lastwords"))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // A test that failed leaves nobody behind who would go on to watch the fixture. `setsid` has made it a group's leader.
        if let Ok(None) = self.child.try_wait() {
            let _ = killpg(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGKILL);
            let _ = self.child.wait();
        }
    }
}

/// Reading ends with an error when the last user of the terminal is gone.
fn lines_of(screen: File) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || BufReader::new(screen).lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
    receiver
}

/// Guards against pipes where there was a terminal, and against a program in the background of it, which may not read.
#[test]
fn the_program_has_the_terminal() {
    let mut terminal = Terminal::start(&Fixture::build("quiet.c"));
    terminal.wait_for("terminals: 111");
    terminal.press("hello\n");
    terminal.wait_for("HELLO");
    terminal.press("\u{4}");
    let (rest, status) = terminal.finish();
    assert_eq!(status.code(), Some(7), "{rest:?}");
}

/// Guards against Ctrl-C that ends lastwords only, or neither.
#[test]
fn an_interrupt_ends_both() {
    let mut terminal = Terminal::start(&Fixture::build("patient.c"));
    terminal.wait_for("0x");
    terminal.press("\u{3}");
    let (rest, status) = terminal.finish();
    assert_eq!(status.signal(), Some(nix::libc::SIGINT), "{rest:?}");
}

/// Guards against lastwords that ends at Ctrl-C while its program goes on.
#[test]
fn a_program_may_survive_an_interrupt() {
    let mut terminal = Terminal::start(&Fixture::build("patient.c").args(["deaf"]));
    terminal.wait_for("0x");
    terminal.press("\u{3}");
    terminal.wait_for("interrupted");
    terminal.press("\n");
    terminal.wait_for("tick 1");
    terminal.press("\u{4}");
    let (rest, status) = terminal.finish();
    assert_eq!(status.code(), Some(0), "{rest:?}");
}
