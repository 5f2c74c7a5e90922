//! The watched program's own process: started in suspense, so that probes are in place before its first instruction, and otherwise
//! left alone.
//!
//! Everything after `fork` and before `execve` is made of system calls and memory that was prepared before.

use std::ffi::{CString, OsStr, OsString};
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::ptr;

use nix::fcntl::OFlag;
use nix::libc;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Gid, Pid, Uid, User, fork, getgrouplist, pipe2};

/// Why a program could not be started.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// The kernel refused to execute the file.
    #[error("cannot execute `{}`", program.display())]
    Execute {
        /// The file.
        program: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A name or an argument has a NUL byte in it.
    #[error("`{}` has a NUL byte in it", text.display())]
    Nul {
        /// Which.
        text: OsString,
    },
    /// There is no user of this name.
    #[error("there is no user `{name}`")]
    NoUser {
        /// As the user wrote it.
        name: String,
    },
    /// The system cannot make another process.
    #[error("cannot create a process")]
    Fork {
        /// What the system said.
        source: io::Error,
    },
}

impl LaunchError {
    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Execute { program, source } if source.kind() == io::ErrorKind::NotFound => Some(format!(
                "the loader that the program names is not there: see `readelf -l {} | grep interpreter`",
                program.display()
            )),
            Self::Execute { program, source } if source.kind() == io::ErrorKind::PermissionDenied => {
                Some(match program.metadata() {
                    Ok(file) if file.permissions().mode() & 0o111 == 0 => {
                        format!("allow it with `chmod +x {}`", program.display())
                    }
                    _ => {
                        "the user who is to run it (see --user) may not, or its file system is mounted `noexec`".into()
                    }
                })
            }
            Self::NoUser { .. } => Some("give a name or a numeric id that `getent passwd` knows".into()),
            _ => None,
        }
    }

    /// The status that a shell would end with.
    #[must_use]
    pub fn exit_status(&self) -> u8 {
        match self {
            Self::Execute { .. } => 126,
            _ => 2,
        }
    }
}

/// Who the program runs as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// User id.
    pub uid: Uid,
    /// Group id.
    pub gid: Gid,
    groups: Vec<libc::gid_t>,
    /// What the environment says of the user: `USER`, `LOGNAME`, `HOME`.
    environment: Vec<(OsString, OsString)>,
}

impl Identity {
    /// The user that `--user` names, or the one who called sudo, or `None` to stay who we are.
    ///
    /// # Errors
    /// If there is no such user.
    pub fn choose(asked: Option<&str>) -> Result<Option<Self>, LaunchError> {
        if let Some(name) = asked {
            return Self::named(name).map(Some);
        }
        let sudo = std::env::var("SUDO_UID").ok().filter(|_| Uid::effective().is_root());
        match sudo {
            Some(uid) if uid != "0" => Self::named(&uid).map(Some),
            _ => Ok(None),
        }
    }

    fn named(name: &str) -> Result<Self, LaunchError> {
        let unknown = || LaunchError::NoUser { name: name.to_owned() };
        let user = match name.parse() {
            Ok(uid) => User::from_uid(Uid::from_raw(uid)),
            Err(_) => User::from_name(name),
        };
        let user = user.ok().flatten().ok_or_else(unknown)?;
        let login = CString::new(user.name.as_str()).map_err(|_| unknown())?;
        let groups = getgrouplist(&login, user.gid).unwrap_or_else(|_| vec![user.gid]);
        let environment =
            [("USER", user.name.clone().into()), ("LOGNAME", user.name.into()), ("HOME", user.dir.into())];
        Ok(Self {
            uid: user.uid,
            gid: user.gid,
            groups: groups.into_iter().map(Gid::as_raw).collect(),
            environment: environment.into_iter().map(|(name, value)| (name.into(), value)).collect(),
        })
    }
}

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// With this status.
    Exited(u8),
    /// By this signal.
    Killed(Signal),
}

/// A process that waits to become the program. Dropped, it never will.
pub struct Suspended {
    program: PathBuf,
    pid: Pid,
    go: Option<std::fs::File>,
    errors: std::fs::File,
}

/// The program, running.
#[derive(Clone, Copy, Debug)]
pub struct Running {
    pid: Pid,
}

impl Suspended {
    /// Makes the process.
    ///
    /// # Errors
    /// If an argument cannot be passed on, or the system has no process left.
    pub fn new(program: &Path, arguments: &[OsString], identity: Option<&Identity>) -> Result<Self, LaunchError> {
        let image = Image::new(program, arguments, identity)?;
        let failed = |error: nix::Error| LaunchError::Fork { source: error.into() };
        let (wait, go) = pipe2(OFlag::O_CLOEXEC).map_err(failed)?;
        let (errors, report) = pipe2(OFlag::O_CLOEXEC).map_err(failed)?;
        // SAFETY: the child makes only async-signal-safe calls (signal-safety(7)) until it executes or exits.
        match unsafe { fork() }.map_err(failed)? {
            ForkResult::Child => {
                // The child's own copy of the writing end would keep it waiting for ever after the parent's death.
                // SAFETY: close(2) and _exit(2) are async-signal-safe, and the child returns from neither.
                unsafe {
                    libc::close(go.as_raw_fd());
                    image.become_program(wait.as_raw_fd(), report.as_raw_fd())
                }
            }
            ForkResult::Parent { child } => {
                Ok(Self { program: program.to_owned(), pid: child, go: Some(into_file(go)), errors: into_file(errors) })
            }
        }
    }

    /// Its process id, as this process sees it.
    #[must_use]
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Lets it go. Returns when it executes the program.
    ///
    /// # Errors
    /// If the kernel refuses to execute the file.
    pub fn start(mut self) -> Result<Running, LaunchError> {
        if let Some(mut go) = self.go.take() {
            // A child that was killed while it waited is noticed as a program that was: by its ending.
            let _ = go.write_all(&[1]);
        }
        let mut errno = [0; 4];
        match self.errors.read_exact(&mut errno) {
            Ok(()) => {
                let _ = waitpid(self.pid, None);
                let source = io::Error::from_raw_os_error(i32::from_ne_bytes(errno));
                Err(LaunchError::Execute { program: std::mem::take(&mut self.program), source })
            }
            Err(_) => Ok(Running { pid: self.pid }),
        }
    }
}

impl Drop for Suspended {
    fn drop(&mut self) {
        if let Some(go) = self.go.take() {
            // End of file instead of the word to go: the child exits.
            drop(go);
            let _ = waitpid(self.pid, None);
        }
    }
}

impl Running {
    /// Its process id, as this process sees it.
    #[must_use]
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// How it ended, if it has.
    #[must_use]
    pub fn ending(&self) -> Option<Ending> {
        match waitpid(self.pid, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(_, status)) => Some(Ending::Exited(status as u8)),
            Ok(WaitStatus::Signaled(_, signal, _)) => Some(Ending::Killed(signal)),
            Ok(_) | Err(nix::Error::EINTR) => None,
            Err(_) => Some(Ending::Exited(2)),
        }
    }

    /// Passes a signal on.
    pub fn signal(&self, signal: Signal) {
        let _ = nix::sys::signal::kill(self.pid, signal);
    }
}

/// Everything that the child needs, prepared before the fork.
struct Image<'a> {
    program: CString,
    _arguments: Vec<CString>,
    _environment: Vec<CString>,
    argument_pointers: Vec<*const libc::c_char>,
    environment_pointers: Vec<*const libc::c_char>,
    identity: Option<&'a Identity>,
}

impl<'a> Image<'a> {
    fn new(program: &Path, arguments: &[OsString], identity: Option<&'a Identity>) -> Result<Self, LaunchError> {
        let text = |text: &OsStr| CString::new(text.as_bytes()).map_err(|_| LaunchError::Nul { text: text.to_owned() });
        let arguments = arguments.iter().map(|argument| text(argument)).collect::<Result<Vec<_>, _>>()?;
        let environment = environment(identity).iter().map(|entry| text(entry)).collect::<Result<Vec<_>, _>>()?;
        let pointers = |strings: &[CString]| strings.iter().map(|s| s.as_ptr()).chain([ptr::null()]).collect();
        Ok(Self {
            program: text(program.as_os_str())?,
            argument_pointers: pointers(&arguments),
            environment_pointers: pointers(&environment),
            _arguments: arguments,
            _environment: environment,
            identity,
        })
    }

    /// Waits for a byte, then executes the program. If that fails, its errno goes to `report`.
    ///
    /// # Safety
    /// Only in a child of `fork`.
    unsafe fn become_program(&self, wait: i32, report: i32) -> ! {
        // SAFETY: system calls on memory that was prepared before the fork.
        unsafe {
            let mut byte = 0u8;
            loop {
                match libc::read(wait, (&raw mut byte).cast(), 1) {
                    1 => break,
                    -1 if *libc::__errno_location() == libc::EINTR => {}
                    // End of file: the program is never to start.
                    _ => libc::_exit(0),
                }
            }
            sigpipe::restore();
            if self.take_identity() {
                libc::execve(
                    self.program.as_ptr(),
                    self.argument_pointers.as_ptr(),
                    self.environment_pointers.as_ptr(),
                );
            }
            let errno = (*libc::__errno_location()).to_ne_bytes();
            libc::write(report, errno.as_ptr().cast(), errno.len());
            libc::_exit(127)
        }
    }

    /// The system calls themselves: glibc's wrappers would signal threads that the child does not have.
    ///
    /// # Safety
    /// Only in a child of `fork`.
    unsafe fn take_identity(&self) -> bool {
        let Some(identity) = self.identity else { return true };
        // SAFETY: system calls on memory that was prepared before the fork.
        unsafe {
            libc::syscall(libc::SYS_setgroups, identity.groups.len(), identity.groups.as_ptr()) == 0
                && libc::syscall(libc::SYS_setgid, identity.gid.as_raw()) == 0
                && libc::syscall(libc::SYS_setuid, identity.uid.as_raw()) == 0
        }
    }
}

fn environment(identity: Option<&Identity>) -> Vec<OsString> {
    let replaced = identity.map_or(&[][..], |identity| &identity.environment);
    let kept = std::env::vars_os().filter(|(name, _)| !replaced.iter().any(|(other, _)| other == name));
    kept.chain(replaced.iter().cloned())
        .map(|(mut entry, value)| {
            entry.push("=");
            entry.push(value);
            entry
        })
        .collect()
}

fn into_file(fd: OwnedFd) -> std::fs::File {
    fd.into()
}

/// SIGPIPE as it was before Rust's runtime ignored it: the program must inherit what its caller meant it to.
mod sigpipe {
    use std::sync::atomic::{AtomicBool, Ordering};

    use nix::libc;

    static WAS_IGNORED: AtomicBool = AtomicBool::new(false);

    /// Runs before `main`, and so before the runtime changes the signal's action.
    #[used]
    #[unsafe(link_section = ".init_array")]
    static REMEMBER: extern "C" fn() = remember;

    extern "C" fn remember() {
        // SAFETY: asks for the action and changes nothing.
        let ignored = unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            libc::sigaction(libc::SIGPIPE, std::ptr::null(), &raw mut action) == 0
                && action.sa_sigaction == libc::SIG_IGN
        };
        WAS_IGNORED.store(ignored, Ordering::Relaxed);
    }

    /// Puts the action back. Async-signal-safe.
    pub fn restore() {
        let action = if WAS_IGNORED.load(Ordering::Relaxed) { libc::SIG_IGN } else { libc::SIG_DFL };
        // SAFETY: signal(2) with one of the two constants.
        unsafe { libc::signal(libc::SIGPIPE, action) };
    }
}

/// Ends this process as the program ended: with its status, or killed by the same signal, without a core file of its own.
#[must_use]
pub fn end_like(ending: Ending) -> u8 {
    match ending {
        Ending::Exited(status) => status,
        Ending::Killed(signal) => {
            let _ = nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_CORE, 0, 0);
            // A core_pattern that is a pipe ignores the limit (core(5)), but not this.
            let _ = nix::sys::prctl::set_dumpable(false);
            // SAFETY: the default action has no handler that could be wrong.
            let _ = unsafe { nix::sys::signal::signal(signal, nix::sys::signal::SigHandler::SigDfl) };
            let _ = nix::sys::signal::SigSet::from(signal).thread_unblock();
            let _ = nix::sys::signal::raise(signal);
            // A signal whose default action does not kill: as a shell would say it.
            128 + signal as u8
        }
    }
}
