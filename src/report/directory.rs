//! The path of a report directory in; the directory, open, out. What is missing of it is made, for its owner alone.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, openat};
use nix::sys::stat::{Mode, SFlag, fstat, fstatat, mkdirat};
use nix::unistd::{AccessFlags, Gid, Uid, faccessat, fchown};

/// The user who asked for the report, where lastwords runs as another one (sudo).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// To whom the report shall belong.
    pub uid: Uid,
    /// Their group.
    pub gid: Gid,
}

/// Why a directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// It, or a directory above it, could not be opened, made or written to.
    #[error("cannot use the report directory `{}`", path.display())]
    Refused {
        /// The directory.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A symbolic link that the owner of the report could have made leads to it.
    #[error("cannot use the report directory `{}`: `{}` is a symbolic link", path.display(), link.display())]
    Link {
        /// The directory.
        path: PathBuf,
        /// The link.
        link: PathBuf,
    },
}

impl DirectoryError {
    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Refused { .. } => {
                "name a directory that can be written with --report-dir, or print the report with --json -".into()
            }
            Self::Link { .. } => {
                "reports for another user go through no links of theirs: give the directory itself".into()
            }
        })
    }
}

/// Opens `path` for what is to be made in it. What is missing of it is made, accessible to the owner only.
///
/// # Errors
///
/// If it is no directory, or if the operating system refuses to make it.
pub fn open(path: &Path, owner: Option<Owner>) -> Result<OwnedFd, DirectoryError> {
    let failed = |error: Errno| DirectoryError::Refused { path: path.into(), source: error.into() };
    let Descent { mut folder, missing, .. } = descend(path, owner)?;
    for name in missing {
        folder = make(&folder, name, owner).map_err(failed)?;
    }
    Ok(folder)
}

/// Makes sure that `path` can be used, and makes nothing: a program that does not crash leaves no directory behind.
///
/// # Errors
///
/// As [`open`], and if no file can be made in it.
pub fn check(path: &Path, owner: Option<Owner>) -> Result<(), DirectoryError> {
    let Descent { folder, .. } = descend(path, owner)?;
    faccessat(&folder, ".", AccessFlags::W_OK | AccessFlags::X_OK, AtFlags::AT_EACCESS)
        .map_err(|error| DirectoryError::Refused { path: path.into(), source: error.into() })
}

/// How far a path exists.
struct Descent<'a> {
    /// The deepest directory that does.
    folder: OwnedFd,
    /// What of the path is not there, from the top.
    missing: Vec<Component<'a>>,
}

/// Opens one component after the other, so that nothing that is renamed in between leads elsewhere.
fn descend(path: &Path, owner: Option<Owner>) -> Result<Descent<'_>, DirectoryError> {
    let failed = |error: Errno| DirectoryError::Refused { path: path.into(), source: error.into() };
    let mut folder = enter(AT_FDCWD, Component::CurDir, OFlag::O_PATH).map_err(failed)?;
    let mut seen = PathBuf::new();
    let mut components = path.components();
    while let Some(component) = components.next() {
        seen.push(component);
        let may_follow = owner.is_none() || only_root_writes(&folder).map_err(failed)?;
        let flags = if may_follow { OFlag::empty() } else { OFlag::O_NOFOLLOW };
        // To pass through a directory, one need not be allowed to read it.
        folder = match enter(&folder, component, flags | OFlag::O_PATH) {
            Ok(folder) => folder,
            Err(Errno::ENOENT) => {
                return Ok(Descent { folder, missing: [component].into_iter().chain(components).collect() });
            }
            // Of a link that is not to be followed, `O_DIRECTORY` says that it is none.
            Err(Errno::ENOTDIR) if !may_follow && is_link(&folder, component) => {
                return Err(DirectoryError::Link { path: path.into(), link: seen });
            }
            Err(error) => return Err(failed(error)),
        };
    }
    Ok(Descent { folder, missing: vec![] })
}

/// Whether nobody but root can put a link into a directory. We can do more than the user for whom the report is: any other link could
/// lead us where they could not write.
fn only_root_writes(folder: &OwnedFd) -> nix::Result<bool> {
    let found = fstat(folder)?;
    let writable_by_others = Mode::S_IWGRP | Mode::S_IWOTH;
    Ok(found.st_uid == 0 && found.st_mode & writable_by_others.bits() == 0)
}

fn enter(folder: impl std::os::fd::AsFd, name: Component<'_>, flags: OFlag) -> nix::Result<OwnedFd> {
    openat(folder, name.as_os_str(), flags | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
}

fn is_link(folder: &OwnedFd, name: Component<'_>) -> bool {
    fstatat(folder, name.as_os_str(), AtFlags::AT_SYMLINK_NOFOLLOW)
        .is_ok_and(|found| SFlag::from_bits_truncate(found.st_mode & SFlag::S_IFMT.bits()) == SFlag::S_IFLNK)
}

/// Makes a directory and opens it. Where another process has made it in the meantime, it is that one's.
fn make(folder: &OwnedFd, name: Component<'_>, owner: Option<Owner>) -> nix::Result<OwnedFd> {
    let made = match mkdirat(folder, name.as_os_str(), Mode::S_IRWXU) {
        Ok(()) => true,
        Err(Errno::EEXIST) => false,
        Err(error) => return Err(error),
    };
    let folder = enter(folder, name, OFlag::O_NOFOLLOW)?;
    if let (true, Some(owner)) = (made, owner) {
        fchown(&folder, Some(owner.uid), Some(owner.gid))?;
    }
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    use super::super::tests::TemporaryDirectory;
    use super::*;

    /// As `nobody`, for whom root keeps the reports.
    fn nobody() -> Option<Owner> {
        Some(Owner { uid: Uid::from_raw(65534), gid: Gid::from_raw(65534) })
    }

    /// A directory where anybody can put a link.
    fn open_to_all() -> TemporaryDirectory {
        let directory = TemporaryDirectory::make();
        fs::set_permissions(directory.path(), Permissions::from_mode(0o1777)).unwrap();
        directory
    }

    /// Guards against parents that others can look into, or that belong to root where the report does not.
    #[test]
    fn missing_parents_are_made_for_the_owner_alone() {
        let parent = TemporaryDirectory::make();
        let path = parent.path().join("a/./b/c");

        for owner in [None, nobody()] {
            check(&path, owner).unwrap();
            assert!(!parent.path().join("a").exists(), "a check makes nothing");
            open(&path, owner).unwrap();
            open(&path, owner).unwrap();

            for made in path.ancestors().take(3) {
                let found = fs::metadata(made).unwrap();
                let uid = owner.map_or(nix::unistd::geteuid(), |owner| owner.uid);
                assert_eq!((found.mode() & 0o7777, found.uid()), (0o700, uid.as_raw()), "{made:?}");
            }
            fs::remove_dir_all(parent.path().join("a")).unwrap();
        }
    }

    /// Guards against being led elsewhere by a link in place of a directory, when writing for another user.
    #[test]
    fn a_link_that_its_owner_could_have_planted_is_not_followed() {
        let parent = open_to_all();
        let link = parent.path().join("link");
        symlink("/etc", &link).unwrap();

        for path in [link.clone(), link.join("lastwords"), link.join("deep/lastwords")] {
            for result in [check(&path, nobody()), open(&path, nobody()).map(drop)] {
                let error = result.unwrap_err();
                assert_eq!(
                    error.to_string(),
                    format!(
                        "cannot use the report directory `{}`: `{}` is a symbolic link",
                        path.display(),
                        link.display()
                    )
                );
            }
            check(&path, None).unwrap();
        }
    }

    /// Guards against machines whose `/home` is a link.
    #[test]
    fn a_link_that_only_root_can_have_made_is_followed() {
        let (parent, elsewhere) = (TemporaryDirectory::make(), open_to_all());
        fs::set_permissions(parent.path(), Permissions::from_mode(0o755)).unwrap();
        let link = parent.path().join("home");
        symlink(elsewhere.path(), &link).unwrap();

        open(&link.join("user"), nobody()).unwrap();

        assert!(elsewhere.path().join("user").is_dir());
    }

    /// Guards against an error that comes when the program has died.
    #[test]
    fn what_is_no_directory_is_found_out_by_the_check() {
        let parent = TemporaryDirectory::make();
        let file = parent.path().join("file");
        fs::write(&file, "").unwrap();

        for path in [file.clone(), file.join("a")] {
            for error in [check(&path, None).unwrap_err(), open(&path, None).map(drop).unwrap_err()] {
                assert_eq!(error.to_string(), format!("cannot use the report directory `{}`", path.display()));
            }
        }
    }
}
