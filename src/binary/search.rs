//! Programs by name: what a shell would start.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// The file that a shell would start for `name`: with a slash it is a path, without one it is searched in `PATH`. What is not found
/// there stays as it is; to open it then says so.
#[must_use]
pub fn find_program(name: &OsStr) -> PathBuf {
    find_in(name, std::env::var_os("PATH").as_deref())
}

fn find_in(name: &OsStr, search_path: Option<&OsStr>) -> PathBuf {
    let name_as_path = PathBuf::from(name);
    if name.as_bytes().contains(&b'/') {
        return name_as_path;
    }
    let folders = search_path.map(std::env::split_paths).into_iter().flatten();
    folders.map(|folder| folder.join(name)).find(|path| is_executable(path)).unwrap_or(name_as_path)
}

fn is_executable(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards against starting another program than the shell would: a file without the execute bit is passed over.
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
        assert_eq!(find("tool"), folder.path().join("second/tool"));
        assert_eq!(find("./tool"), Path::new("./tool"));
        assert_eq!(find("nosuch"), Path::new("nosuch"));
        assert_eq!(find_in(OsStr::new("tool"), None), Path::new("tool"));
    }
}
