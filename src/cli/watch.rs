//! Staying out of the program's way until it ends: signals that were meant for it are passed on, deaths are collected.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator::backend::SignalDelivery;
use signal_hook::iterator::exfiltrator::raw::WithRawSiginfo;

use crate::launch::{Ending, Running};
use crate::probe::{Death, Mapping, MappingLog, Recorder};

/// The signals that would end lastwords before the program.
pub struct Signals(SignalDelivery<UnixStream, WithRawSiginfo>);

impl Signals {
    /// Takes them over. To be called when the program's process exists already: what was ignored before stays ignored in it.
    ///
    /// # Errors
    /// If the system has no file descriptor left.
    pub fn take() -> io::Result<Self> {
        let (read, write) = UnixStream::pair()?;
        read.set_nonblocking(true)?;
        let signals = [SIGCHLD, SIGINT, SIGQUIT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2];
        SignalDelivery::with_pipe(read, write, WithRawSiginfo, signals).map(Self)
    }

    /// Passes on what was sent to lastwords alone. What the terminal sends goes to the whole process group: the program has it already.
    fn pass_on(&mut self, running: Running) {
        for info in self.0.pending() {
            let by_a_process = info.si_code <= 0;
            if info.si_signo != libc::SIGCHLD
                && by_a_process
                && let Ok(signal) = Signal::try_from(info.si_signo)
            {
                running.signal(signal);
            }
        }
    }
}

/// Waits until the program ends. Each death of it or of a descendant on the way is handed over. `look` is called each time that it has asked
/// for, and whenever else there is something to do.
///
/// # Errors
/// If the system cannot wait.
pub fn until_end(
    running: Running,
    mut signals: Signals,
    recorder: &mut Recorder,
    mappings: &mut Option<MappingLog>,
    mut look: impl FnMut(&mut Recorder) -> Option<Duration>,
    mut on_death: impl FnMut(Death, Vec<Mapping>, &Recorder),
) -> io::Result<Ending> {
    loop {
        let ending = running.ending();
        // A death is told before the process can be waited for: after the ending, nothing of it is still to come.
        while let Some(death) = recorder.next_death() {
            let mapped = mappings.as_mut().map(|log| log.of_process(death.event.watched.ns_pid));
            on_death(death, mapped.unwrap_or_default().0, recorder);
        }
        if let Some(ending) = ending {
            return Ok(ending);
        }
        let next_look = look(recorder).and_then(|after| PollTimeout::try_from(after).ok());
        let on_mappings = mappings.iter().flat_map(MappingLog::descriptors);
        let descriptors = [signals.0.get_read().as_fd(), recorder.events()].into_iter().chain(on_mappings);
        let mut ready: Vec<PollFd<'_>> = descriptors.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
        match poll(&mut ready, next_look.unwrap_or(PollTimeout::NONE)) {
            Ok(_) | Err(nix::Error::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        drop(ready);
        signals.pass_on(running);
        mappings.iter_mut().for_each(MappingLog::drain);
    }
}
