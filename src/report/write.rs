//! A report in; a file out that is whole or not there, and that nobody else can read.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use jiff::{Span, Timestamp};
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, renameat};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, fchown, unlinkat};

use super::Report;
use super::bound::Document;
use super::directory::{self, DirectoryError, Owner};
use crate::credentials::with_rights_of;

/// Why a report could not be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The directory cannot be used.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
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
        match self {
            Self::Directory(error) => error.hint(),
            Self::File { .. } => Some("name another file with --json, or print the report with --json -".into()),
            Self::Stream { .. } => None,
        }
    }
}

/// Writes `document` to a new file in `directory`, which is made if it is missing, and returns the file's path.
///
/// The file is complete when it gets its name, `PROG-PID-TIME.json`. Both it and new directories are accessible to their owner only.
/// All steps go through the directory's descriptor, so that nothing planted under the names in between is followed.
///
/// # Errors
///
/// If the operating system refuses one of the steps; nothing is left behind then but the directory.
pub fn write(document: &Document, directory: &Path, owner: Option<Owner>) -> Result<PathBuf, WriteError> {
    let name = &document.file_name;
    let path = directory.join(name);
    let folder = directory::open(directory, owner)?;
    write_in(&folder, name, document, owner).map_err(|source| WriteError::File { path: path.clone(), source })?;
    Ok(path)
}

/// Writes `document` to the file at `path`, in place of what is there.
///
/// # Errors
///
/// As [`write`].
pub fn write_to(document: &Document, path: &Path, owner: Option<Owner>) -> Result<(), WriteError> {
    let failed = |source| WriteError::File { path: path.into(), source };
    if is_special(path) {
        return write_through(path, document, owner).map_err(failed);
    }
    let (directory, name) = split(path)?;
    let folder = directory::open(directory, owner)?;
    write_in(&folder, name, document, owner).map_err(failed)
}

/// Whether what is at `path` takes what is written to it, and must not be replaced: `/dev/null`, `/dev/stderr`, a pipe.
fn is_special(path: &Path) -> bool {
    let is_of_system = ["/dev", "/proc"].iter().any(|root| path.starts_with(root));
    is_of_system || path.metadata().is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir())
}

/// Writes to something that is no file, with the rights of the user who asked.
fn write_through(path: &Path, document: &Document, owner: Option<Owner>) -> io::Result<()> {
    let work = || File::options().write(true).open(path)?.write_all(&document.json);
    match owner {
        None => work(),
        Some(Owner { uid, gid }) => with_rights_of(uid, gid, work)?,
    }
}

/// Makes sure that a report can be written to the file at `path`, before there is one.
///
/// # Errors
///
/// If there is a directory in its place, or if its directory can neither be used nor made.
pub fn check_file(path: &Path, owner: Option<Owner>) -> Result<(), WriteError> {
    if is_special(path) && path.exists() && !path.is_dir() {
        return Ok(());
    }
    let (directory, _) = split(path)?;
    directory::check(directory, owner)?;
    if path.is_dir() {
        return Err(WriteError::File { path: path.into(), source: Errno::EISDIR.into() });
    }
    Ok(())
}

/// The directory of a file, and its name there.
fn split(path: &Path) -> Result<(&Path, &str), WriteError> {
    let failed = || WriteError::File { path: path.into(), source: Errno::EINVAL.into() };
    let name = path.file_name().and_then(|name| name.to_str()).ok_or_else(failed)?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Ok((directory, name))
}

/// Writes `document` to a stream that is open already.
///
/// # Errors
///
/// If the stream cannot be written.
pub fn print(document: &Document, stream: &mut dyn Write) -> Result<(), WriteError> {
    let written = stream.write_all(&document.json).and_then(|()| stream.flush());
    written.map_err(|source| WriteError::Stream { source })
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

fn write_in(folder: &OwnedFd, name: &str, document: &Document, owner: Option<Owner>) -> io::Result<()> {
    let (mut file, unfinished) = create_unfinished(folder, name)?;
    if let Some(owner) = owner {
        fchown(&file, Some(owner.uid), Some(owner.gid))?;
    }
    file.write_all(&document.json)?;
    // Whoever sees the name sees all of the file. It need not outlive a power failure: waiting for the disk would take longer than
    // all the rest.
    renameat(folder, unfinished.name.as_str(), folder, name)?;
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

/// `PROG-PID-TIME.json`, TIME being the moment of the fault in UTC: `exp1-4711-20261123T131336Z.json`. Of a fault that was survived:
/// `PROG-PID-TIME-survived-NANOSECONDS.json`, those being `fault.at_ns`.
pub(super) fn file_name(report: &Report) -> String {
    let process = &report.process;
    let program = Path::new(&process.exe).file_name().map_or("unknown".into(), |name| name.to_string_lossy());
    // 40 characters of at most 4 bytes each: a file name may have 255 bytes, and the temporary one is longer than this one.
    let is_plain = |c: char| c.is_alphanumeric() || "._+-".contains(c);
    let program: String = program.chars().take(40).map(|c| if is_plain(c) { c } else { '_' }).collect();
    let time = time_of_fault(report).unwrap_or_else(Timestamp::now);
    // A process can survive more than one fault a second, and die in the same one.
    let survived = if report.fault.survived { format!("-survived-{}", report.fault.at_ns) } else { String::new() };
    format!("{program}-{}-{}{survived}.json", process.pid, time.strftime("%Y%m%dT%H%M%SZ"))
}

fn time_of_fault(report: &Report) -> Option<Timestamp> {
    let started: Timestamp = report.process.started_at.parse().ok()?;
    let uptime = Span::new().try_nanoseconds(i64::try_from(report.process.uptime_ns).ok()?).ok()?;
    started.checked_add(uptime).ok()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
    use std::thread;

    use super::super::tests::{TemporaryDirectory, small_report};
    use super::*;

    fn document() -> Document {
        Document::within(&mut small_report(), u64::MAX)
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    /// Guards against a report that other users can read, and against files left behind.
    #[test]
    fn the_report_is_whole_private_and_alone() {
        let parent = TemporaryDirectory::make();
        let directory = parent.path().join("lastwords");

        let path = write(&document(), &directory, None).unwrap();

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

        let path = write(&document(), directory.path(), None).unwrap();

        assert_eq!(path, planted);
        assert!(!path.is_symlink());
        assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
    }

    /// Guards against `--json /dev/null` as root, which would leave the machine without one.
    #[test]
    fn what_is_no_file_is_written_to_and_stays() {
        let directory = TemporaryDirectory::make();
        let pipe = directory.path().join("pipe");
        nix::unistd::mkfifo(&pipe, Mode::S_IRWXU).unwrap();
        let reader = thread::spawn({
            let pipe = pipe.clone();
            move || fs::read(pipe).unwrap()
        });

        check_file(&pipe, None).unwrap();
        write_to(&document(), &pipe, None).unwrap();

        assert_eq!(reader.join().unwrap(), document().json);
        assert!(pipe.symlink_metadata().unwrap().file_type().is_fifo());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        assert!(is_special(Path::new("/dev/null")) && is_special(Path::new("/dev/stdout")));
    }

    /// Guards against a file name that a program chooses: no separator, no escape sequence, bounded.
    #[test]
    fn the_program_cannot_choose_another_directory_by_its_name() {
        let mut report = small_report();
        report.process.exe = format!("/tmp/a\u{1b}[31m b{}", "é".repeat(300));

        let name = file_name(&report);

        assert_eq!(name, format!("a__31m_b{}-4711-20261123T131338Z.json", "é".repeat(32)));
    }

    /// Guards against a run that finds out when the program has died.
    #[test]
    fn a_file_that_cannot_be_written_is_found_out_by_the_check() {
        let parent = TemporaryDirectory::make();
        let file = parent.path().join("file");
        fs::write(&file, "").unwrap();

        check_file(&file, None).unwrap();
        check_file(&parent.path().join("new/report.json"), None).unwrap();
        for path in [parent.path().to_owned(), file.join("report.json"), "/".into(), "..".into()] {
            let error = check_file(&path, None).unwrap_err();
            assert!(error.to_string().starts_with("cannot "), "{error}");
            assert!(error.hint().is_some(), "{error}");
        }
    }
}
