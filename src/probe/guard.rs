//! A process that outlives lastwords by a moment: events of tracefs are the one thing that does not hang on a file descriptor.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::fcntl::OFlag;
use nix::libc;
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Pid, fork, pipe2};

/// How often it tries, every tenth of a second: after a kill, the kernel closes what runs the events at its own pace.
const TRIES: u32 = 600;

/// Writes some text into a file when this process is gone, or drops it.
pub struct Guard {
    /// Its other end tells the guard that nobody is left here.
    pipe: Option<OwnedFd>,
    child: Pid,
}

impl Guard {
    /// A guard that writes `text` into `file`.
    pub fn new(file: &File, text: &str) -> io::Result<Self> {
        let (reader, writer) = pipe2(OFlag::O_CLOEXEC)?;
        // SAFETY: the child calls nothing but what signal-safety(7) lists, and never returns.
        match unsafe { fork() }? {
            ForkResult::Parent { child } => Ok(Self { pipe: Some(writer), child }),
            ForkResult::Child => stand_by(reader.as_raw_fd(), file.as_raw_fd(), text.as_bytes()),
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.pipe = None;
        // It has nothing to do any more, and ends.
        let _ = waitpid(self.child, None);
    }
}

/// The guard: everything was allocated before the fork.
fn stand_by(pipe: i32, file: i32, text: &[u8]) -> ! {
    let tenth = libc::timespec { tv_sec: 0, tv_nsec: 100_000_000 };
    let close = |from: i32, to: i32| {
        if from <= to {
            // SAFETY: numbers only. What is closed is the copies of a process that has none of the parent's threads.
            unsafe { libc::syscall(libc::SYS_close_range, from, to, 0) };
        }
    };
    // SAFETY: system calls on numbers, and on buffers that live until the end of this process.
    unsafe {
        // Not in the terminal's group: ^C is for the others.
        libc::setsid();
        libc::prctl(libc::PR_SET_NAME, c"lastwords-guard".as_ptr());
        let (first, second) = (pipe.min(file), pipe.max(file));
        close(0, first - 1);
        close(first + 1, second - 1);
        close(second + 1, i32::MAX);
        let mut byte = 0u8;
        while libc::read(pipe, (&raw mut byte).cast(), 1) < 0 && *libc::__errno_location() == libc::EINTR {}
        for _ in 0..TRIES {
            let written = libc::write(file, text.as_ptr().cast(), text.len());
            if written >= 0 || *libc::__errno_location() == libc::ENOENT {
                break;
            }
            libc::nanosleep(&raw const tenth, std::ptr::null_mut());
        }
        libc::_exit(0)
    }
}
