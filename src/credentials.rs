//! Work that is done with the rights of another user: under sudo, lastwords may read what the one who called it may not, and what it
//! reads for them ends up in their report.

use std::io;
use std::ptr::null;

use nix::errno::Errno;
use nix::libc::{SYS_setgroups, gid_t, syscall};
use nix::unistd::{Gid, Uid, setfsgid, setfsuid};

/// Does `work` with the file system rights of this user and this group, and no others.
///
/// # Errors
/// If the rights cannot be given up: then nothing was done.
pub fn with_rights_of<T: Send>(uid: Uid, gid: Gid, work: impl FnOnce() -> T + Send) -> io::Result<T> {
    // Credentials belong to a thread, as far as the kernel is concerned; this one ends with the work.
    std::thread::scope(|scope| {
        let worker = std::thread::Builder::new().name("reader".into()).spawn_scoped(scope, || {
            restrict(uid, gid)?;
            Ok(work())
        })?;
        worker.join().unwrap_or_else(|_| Err(io::Error::other("the work was not finished")))
    })
}

/// Gives up the rights of the calling thread. Changing the user takes its capabilities for files away, too (capabilities(7)).
fn restrict(uid: Uid, gid: Gid) -> io::Result<()> {
    // SAFETY: an empty list is not read. The C library's `setgroups` would change all threads: only this one is meant.
    Errno::result(unsafe { syscall(SYS_setgroups, 0usize, null::<gid_t>()) })?;
    setfsgid(gid);
    setfsuid(uid);
    // They return what was before, and nothing tells of a failure but asking again (setfsuid(2)).
    if setfsgid(gid) == gid && setfsuid(uid) == uid { Ok(()) } else { Err(io::ErrorKind::PermissionDenied.into()) }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    /// Guards against a report that shows its reader what only root may read: by its mode, by its group, and by its directory.
    #[test]
    fn only_what_the_user_may_read_is_read() {
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let file = |mode| {
            let path = directory.path().join(format!("{mode:o}"));
            fs::write(&path, "text").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            path
        };
        let paths = [file(0o644), file(0o640), file(0o600)];

        let nobody = || (Uid::from_raw(65_534), Gid::from_raw(65_534));
        let read = || paths.iter().map(|path| fs::read_to_string(path).is_ok()).collect::<Vec<_>>();
        assert_eq!(with_rights_of(nobody().0, nobody().1, read).unwrap(), [true, false, false]);
        assert_eq!(read(), [true, true, true]);
    }
}
