//! The kernel's tracefs: where it is mounted, or else a mount of our own that nobody sees and that ends with us.

use std::ffi::CStr;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};

use nix::libc;

/// Where it may be mounted.
const FOLDERS: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];
/// The file that makes events of uprobes and takes them away (Documentation/trace/uprobetracer.rst).
const DEFINITIONS: &str = "uprobe_events";

/// tracefs.
#[derive(Debug)]
pub struct Tracefs {
    folder: PathBuf,
    /// Held only to be closed.
    _mount: Option<OwnedFd>,
}

impl Tracefs {
    /// tracefs, if this kernel has it and lets us in.
    #[must_use]
    pub fn open() -> Option<Self> {
        let mounted = FOLDERS.iter().map(Path::new).find(|folder| folder.join(DEFINITIONS).exists());
        if let Some(folder) = mounted {
            return Some(Self { folder: folder.to_owned(), _mount: None });
        }
        let mount = mount(c"tracefs").inspect_err(|error| tracing::debug!(%error, "tracefs cannot be mounted")).ok()?;
        Some(Self { folder: PathBuf::from(format!("/proc/self/fd/{}", mount.as_raw_fd())), _mount: Some(mount) })
    }

    /// The definitions of uprobe events, for lines to be added. To open it in the usual way for writing would take all of them away.
    ///
    /// # Errors
    /// As open(2).
    pub fn definitions(&self) -> io::Result<File> {
        OpenOptions::new().read(true).append(true).open(self.folder.join(DEFINITIONS))
    }

    /// The id of an event, by its group and name, as perf_event_open(2) wants it.
    ///
    /// # Errors
    /// As open(2) and read(2).
    pub fn id_of(&self, event: &str) -> io::Result<u64> {
        let id = std::fs::read_to_string(self.folder.join("events").join(event).join("id"))?;
        id.trim().parse().map_err(io::Error::other)
    }
}

/// Mounts a file system nowhere (fsopen(2), Linux 5.2): it can be reached by the descriptor alone.
fn mount(name: &CStr) -> io::Result<OwnedFd> {
    /// `FSOPEN_CLOEXEC`, `FSMOUNT_CLOEXEC`, `FSCONFIG_CMD_CREATE` (include/uapi/linux/mount.h).
    const CLOSE_ON_EXEC: libc::c_long = 1;
    const CREATE: libc::c_long = 6;
    // SAFETY: a text that ends with a NUL, and numbers.
    let context = new_descriptor(unsafe { libc::syscall(libc::SYS_fsopen, name.as_ptr(), CLOSE_ON_EXEC) })?;
    // SAFETY: numbers, and pointers that this command does not look at.
    let made = unsafe { libc::syscall(libc::SYS_fsconfig, context.as_raw_fd(), CREATE, 0usize, 0usize, 0) };
    if made < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: numbers.
    new_descriptor(unsafe { libc::syscall(libc::SYS_fsmount, context.as_raw_fd(), CLOSE_ON_EXEC, 0) })
}

fn new_descriptor(result: libc::c_long) -> io::Result<OwnedFd> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(RawFd::try_from(result).map_err(io::Error::other)?) })
}
