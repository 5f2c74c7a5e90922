//! Programs by name: what a shell would start.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::BinaryError;

/// The file that a shell would start for `name`: with a slash it is a path, without one it is searched in `PATH`.
///
/// # Errors
/// If there is none in `PATH`. Whether a path leads anywhere is found out by opening it.
pub fn find_program(name: &OsStr) -> Result<PathBuf, BinaryError> {
    find_in(name, std::env::var_os("PATH").as_deref())
}

fn find_in(name: &OsStr, search_path: Option<&OsStr>) -> Result<PathBuf, BinaryError> {
    if name.as_bytes().contains(&b'/') {
        return Ok(name.into());
    }
    let folders = search_path.map(std::env::split_paths).into_iter().flatten();
    let found = folders.map(|folder| folder.join(name)).find(|path| is_executable(path));
    found.ok_or_else(|| BinaryError::NotInPath { name: name.into() })
}

fn is_executable(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards against starting another program than the shell would: a file without the execute bit is passed over, and one in the
    /// current directory is not looked for.
    #[test]
    fn a_name_without_a_slash_is_searched_in_the_path() {
        let folder = tempfile::tempdir().unwrap();
        for (name, mode) in [("first/tool", 0o644), ("second/tool", 0o755)] {
            let file = folder.path().join(name);
            std::fs::create_dir(file.parent().unwrap()).unwrap();
            std::fs::write(&file, "").unwrap();
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        }
        let search_path = std::env::join_paths(["first", "second"].map(|name| folder.path().join(name))).unwrap();
        let find = |name: &str| find_in(OsStr::new(name), Some(&search_path));
        assert_eq!(find("tool").unwrap(), folder.path().join("second/tool"));
        assert_eq!(find("./tool").unwrap(), Path::new("./tool"));
        assert!(matches!(find("Cargo.toml"), Err(BinaryError::NotInPath { .. })));
        assert!(matches!(find_in(OsStr::new("tool"), None), Err(BinaryError::NotInPath { .. })));
    }
}
