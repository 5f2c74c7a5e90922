//! Running a command to its end, with a limit.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

/// No fixture needs more than a few seconds, even with 2,000 probes placed one by one. What takes longer hangs.
pub const LIMIT: Duration = Duration::from_secs(60);

/// How a command ended.
#[derive(Debug, PartialEq, Eq)]
pub struct Finished {
    /// Its status or signal.
    pub status: ExitStatus,
    /// What it printed.
    pub stdout: String,
    /// What it complained of.
    pub stderr: String,
}

/// Runs a command in a process group of its own with `stdin` on a pipe, and collects what it prints. A command that exceeds
/// [`LIMIT`] is killed with all that it started, and the test fails.
pub fn finish(command: &mut Command, stdin: &[u8]) -> Finished {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
    let mut pipe = child.stdin.take().expect("a pipe");
    let stdin = stdin.to_vec();
    // From a thread: the command may print so much before it reads that both pipes are full. It may also never read.
    thread::spawn(move || pipe.write_all(&stdin));
    wait(child, &format!("{command:?}"))
}

/// Waits for the end of `child`, which leads a process group, and of all that hold its output open.
pub fn wait(child: Child, what: &str) -> Finished {
    let group = Pid::from_raw(child.id().cast_signed());
    let (sender, receiver) = channel();
    thread::spawn(move || sender.send(child.wait_with_output()));
    match receiver.recv_timeout(LIMIT) {
        Ok(output) => {
            let output = output.expect("the output of a child");
            let text = |bytes| String::from_utf8(bytes).unwrap_or_else(|error| panic!("{what} printed {error}"));
            Finished { status: output.status, stdout: text(output.stdout), stderr: text(output.stderr) }
        }
        Err(RecvTimeoutError::Timeout) => {
            let killed = killpg(group, Signal::SIGKILL);
            panic!("{what} ran for more than {LIMIT:?}; killed: {killed:?}");
        }
        Err(RecvTimeoutError::Disconnected) => panic!("{what}: nobody waits for it"),
    }
}
