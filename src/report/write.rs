//! A report in; a file out that is whole or not there, and that nobody else can read.

use std::fs::{DirBuilder, File};
use std::io::{self, BufWriter, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use jiff::{Span, Timestamp};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, openat, renameat};
use nix::sys::stat::Mode;
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchown, unlinkat};

use super::Report;

/// The user who asked for the report, where lastwords runs as another one (sudo).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// To whom the report shall belong.
    pub uid: Uid,
    /// Their group.
    pub gid: Gid,
}

/// Why a report could not be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The directory could not be made or opened.
    #[error("cannot use the report directory `{}`", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The file could not be made, written, given to its owner, or named.
    #[error("cannot write the report `{}`", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// Standard output could not be written.
    #[error("cannot write the report to standard output")]
    Stream {
        /// What the operating system said.
        source: io::Error,
    },
}

impl WriteError {
    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let (Self::Directory { source, .. } | Self::File { source, .. } | Self::Stream { source }) = self;
        match (source.kind(), self) {
            (io::ErrorKind::NotFound, Self::Directory { .. }) => Some("make its parent directory first".into()),
            (io::ErrorKind::NotADirectory, Self::Directory { path, .. }) if path.is_symlink() => {
                Some("under sudo, symbolic links are not followed: give the directory itself with --report-dir".into())
            }
            (io::ErrorKind::NotFound, Self::File { .. }) | (_, Self::Stream { .. }) => None,
            _ => {
                Some("name a directory that can be written with --report-dir, or print the report with --json -".into())
            }
        }
    }
}

/// Writes `report` to a new file in `directory`, which is made if it is missing, and returns the file's path.
///
/// The file is complete when it gets its name, `PROG-PID-TIME.json`. Both it and a new directory are accessible to their owner only.
/// All steps go through the directory's descriptor, so that nothing planted under the names in between is followed.
///
/// # Errors
///
/// If the operating system refuses one of the steps; nothing is left behind then but the directory.
pub fn write(report: &Report, directory: &Path, owner: Option<Owner>) -> Result<PathBuf, WriteError> {
    let name = file_name(report);
    let path = directory.join(&name);
    let folder =
        open_directory(directory, owner).map_err(|source| WriteError::Directory { path: directory.into(), source })?;
    write_in(&folder, &name, report, owner).map_err(|source| WriteError::File { path: path.clone(), source })?;
    Ok(path)
}

/// Writes `report` to the file at `path`, in place of what is there.
///
/// # Errors
///
/// As [`write`].
pub fn write_to(report: &Report, path: &Path, owner: Option<Owner>) -> Result<(), WriteError> {
    let failed = |source| WriteError::File { path: path.into(), source };
    let name = path.file_name().and_then(|name| name.to_str()).ok_or_else(|| failed(Errno::EINVAL.into()))?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let folder =
        open_directory(directory, owner).map_err(|source| WriteError::Directory { path: directory.into(), source })?;
    write_in(&folder, name, report, owner).map_err(failed)
}

/// Writes `report` to a stream that is open already.
///
/// # Errors
///
/// If the stream cannot be written.
pub fn print(report: &Report, stream: &mut dyn Write) -> Result<(), WriteError> {
    serialize(report, stream).map_err(|source| WriteError::Stream { source })
}

/// Makes sure that reports can be written to `directory` before there are any.
///
/// # Errors
///
/// If the directory can neither be used nor made.
pub fn check_directory(directory: &Path, owner: Option<Owner>) -> Result<(), WriteError> {
    let failed = |source| WriteError::Directory { path: directory.into(), source };
    let parent = directory.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match std::fs::metadata(directory) {
        Ok(found) if !found.is_dir() => Err(failed(Errno::ENOTDIR.into())),
        Ok(_) => open_directory(directory, owner).map(|_| ()).map_err(failed),
        // Made when the first report is: a program that does not crash leaves no directory behind.
        Err(_) => std::fs::metadata(parent).map(|_| ()).map_err(failed),
    }
}

fn serialize(report: &Report, stream: &mut dyn Write) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *stream, report)?;
    stream.write_all(b"\n")?;
    stream.flush()
}

/// Opens `path`, making it first where it is missing.
fn open_directory(path: &Path, owner: Option<Owner>) -> io::Result<OwnedFd> {
    let made = match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => true,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
        Err(error) => return Err(error),
    };
    let mut flags = OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    if owner.is_some() {
        // We can do more than the user who controls the place: a link could lead us where they could not write.
        flags |= OFlag::O_NOFOLLOW;
    }
    let folder = openat(AT_FDCWD, path, flags, Mode::empty())?;
    if let (true, Some(owner)) = (made, owner) {
        fchown(&folder, Some(owner.uid), Some(owner.gid))?;
    }
    Ok(folder)
}

/// Removes the file under its temporary name unless it has got its final one.
struct Unfinished<'a> {
    folder: &'a OwnedFd,
    name: String,
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        // After the rename there is nothing of this name.
        let _ = unlinkat(self.folder, self.name.as_str(), UnlinkatFlags::NoRemoveDir);
    }
}

fn write_in(folder: &OwnedFd, name: &str, report: &Report, owner: Option<Owner>) -> io::Result<()> {
    let (file, unfinished) = create_unfinished(folder, name)?;
    if let Some(owner) = owner {
        fchown(&file, Some(owner.uid), Some(owner.gid))?;
    }
    let mut writer = BufWriter::new(&file);
    serialize(report, &mut writer)?;
    drop(writer);
    file.sync_all()?;
    renameat(folder, unfinished.name.as_str(), folder, name)?;
    // The name is on the disk when the directory is. Some file systems cannot sync one: the report is no worse for it.
    let _ = nix::unistd::fsync(folder);
    Ok(())
}

/// A new file under a temporary name. One that is there already was left by a lastwords that was killed, or was planted: never touched.
fn create_unfinished<'a>(folder: &'a OwnedFd, name: &str) -> io::Result<(File, Unfinished<'a>)> {
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    for attempt in 0..100 {
        let temporary = format!(".{name}.{}-{attempt}.tmp", std::process::id());
        match openat(folder, temporary.as_str(), flags, Mode::S_IRUSR | Mode::S_IWUSR) {
            Ok(file) => return Ok((File::from(file), Unfinished { folder, name: temporary })),
            Err(Errno::EEXIST) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Errno::EEXIST.into())
}

/// `PROG-PID-TIME.json`, TIME being the moment of the fault in UTC: `exp1-4711-20261123T131336Z.json`.
fn file_name(report: &Report) -> String {
    let process = &report.process;
    let program = Path::new(&process.exe).file_name().map_or("unknown".into(), |name| name.to_string_lossy());
    // 40 characters of at most 4 bytes each: a file name may have 255 bytes, and the temporary one is longer than this one.
    let is_plain = |c: char| c.is_alphanumeric() || "._+-".contains(c);
    let program: String = program.chars().take(40).map(|c| if is_plain(c) { c } else { '_' }).collect();
    let time = time_of_fault(report).unwrap_or_else(Timestamp::now);
    format!("{program}-{}-{}.json", process.pid, time.strftime("%Y%m%dT%H%M%SZ"))
}

fn time_of_fault(report: &Report) -> Option<Timestamp> {
    let started: Timestamp = report.process.started_at.parse().ok()?;
    let uptime = Span::new().try_nanoseconds(i64::try_from(report.process.uptime_ns).ok()?).ok()?;
    started.checked_add(uptime).ok()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::super::tests::{TemporaryDirectory, small_report};
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    /// Guards against a report that other users can read, and against files left behind.
    #[test]
    fn the_report_is_whole_private_and_alone() {
        let parent = TemporaryDirectory::make();
        let directory = parent.path().join("lastwords");

        let path = write(&small_report(), &directory, None).unwrap();

        assert_eq!(path, directory.join("exp1-4711-20261123T131338Z.json"));
        assert_eq!((mode(&directory), mode(&path)), (0o700, 0o600));
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 1);
        assert_eq!(super::super::read(&path).unwrap(), small_report());
    }

    /// Guards against writing through a link that somebody planted under the report's name.
    #[test]
    fn a_planted_link_is_replaced_and_not_followed() {
        let directory = TemporaryDirectory::make();
        let victim = directory.path().join("victim");
        fs::write(&victim, "precious").unwrap();
        let planted = directory.path().join("exp1-4711-20261123T131338Z.json");
        symlink(&victim, &planted).unwrap();

        let path = write(&small_report(), directory.path(), None).unwrap();

        assert_eq!(path, planted);
        assert!(!path.is_symlink());
        assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
    }

    /// Guards against being led elsewhere by a link in place of the directory, when writing for another user.
    #[test]
    fn a_linked_directory_is_refused_when_the_report_is_for_another_user() {
        let parent = TemporaryDirectory::make();
        let link = parent.path().join("lastwords");
        symlink("/etc", &link).unwrap();

        let owner = Owner { uid: nix::unistd::getuid(), gid: nix::unistd::getgid() };
        let error = write(&small_report(), &link, Some(owner)).unwrap_err();

        assert_eq!(
            error.hint().as_deref(),
            Some("under sudo, symbolic links are not followed: give the directory itself with --report-dir")
        );
    }

    /// Guards against a file name that a program chooses: no separator, no escape sequence, bounded.
    #[test]
    fn the_program_cannot_choose_another_directory_by_its_name() {
        let mut report = small_report();
        report.process.exe = format!("/tmp/a\u{1b}[31m b{}", "é".repeat(300));

        let name = file_name(&report);

        assert_eq!(name, format!("a__31m_b{}-4711-20261123T131338Z.json", "é".repeat(32)));
    }

    /// Guards against messages without a remedy.
    #[test]
    fn a_missing_parent_is_named() {
        let parent = TemporaryDirectory::make();
        let error = write(&small_report(), &parent.path().join("a/b"), None).unwrap_err();
        assert!(error.to_string().starts_with("cannot use the report directory `"));
        assert_eq!(error.hint().as_deref(), Some("make its parent directory first"));
    }
}
