//! Where a process has its root directory, if that is not ours: a container, a chroot, a mount namespace. The paths that the kernel tells
//! begin there, and the way there is gone with the process.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::fcntl::OFlag;

/// Another root directory, held.
#[derive(Clone, Debug)]
pub struct Root(Arc<File>);

impl Root {
    /// The root of a living process; `None` if it is ours. Nothing else is held: a file system that the program unmounts must not be busy.
    pub(super) fn of_process(pid: u32) -> io::Result<Option<Self>> {
        let process = PathBuf::from(format!("/proc/{pid}"));
        let own = Path::new("/proc/self");
        let namespace = |process: &Path| process.join("ns/mnt").metadata().map(|of| of.ino());
        let directory = |process: &Path| process.join("root").metadata().map(|of| (of.dev(), of.ino()));
        if namespace(&process)? == namespace(own)? && directory(&process)? == directory(own)? {
            return Ok(None);
        }
        let path = OFlag::O_PATH | OFlag::O_DIRECTORY;
        let root = OpenOptions::new().read(true).custom_flags(path.bits()).open(process.join("root"))?;
        Ok(Some(Self(Arc::new(root))))
    }

    /// Where we find what lies at this path below it. The kernel tells paths without symbolic links, which would lead out of it.
    #[must_use]
    pub fn path_of(&self, path: &Path) -> PathBuf {
        let below = path.strip_prefix("/").unwrap_or(path);
        PathBuf::from(format!("/proc/self/fd/{}", self.0.as_raw_fd())).join(below)
    }
}
