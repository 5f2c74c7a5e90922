//! Shared libraries: a name in, the file that the dynamic linker would load for it out (ld.so(8)).
//!
//! Not followed: the loader's cache (its folders are read from /etc/ld.so.conf instead) and `glibc-hwcaps` folders, which hold
//! variants for newer processors.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::dynamic::split_folders;
use super::{Binary, BinaryError};

/// Folders that the dynamic linker searches last.
const DEFAULT_FOLDERS: [&str; 6] =
    ["/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64", "/usr/lib64", "/lib", "/usr/lib"];
/// Libraries of one program at the most.
const MAX_LIBRARIES: usize = 4096;
/// Nested `include` lines of /etc/ld.so.conf at the most.
const MAX_INCLUDES: usize = 8;

/// Why a library cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LibraryError {
    /// Nothing has this name.
    #[error("`{}` loads no library `{name}`", program.display())]
    NotFound {
        /// As the user gave it.
        name: String,
        /// The program.
        program: PathBuf,
        /// Libraries that the program loads when it starts.
        loaded: Vec<String>,
    },
    /// It was found and cannot be read.
    #[error(transparent)]
    Binary(#[from] BinaryError),
}

impl LibraryError {
    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NotFound { loaded, .. } if loaded.is_empty() => {
                Some("it loads none at all when it starts; for a library that it opens later, give its path".to_owned())
            }
            Self::NotFound { loaded, .. } => Some(format!(
                "it loads {}; for a library that it opens later, give its path",
                loaded.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
            )),
            Self::Binary(error) => error.hint(),
        }
    }
}

/// The library that `name` means to `program`: a path, or the name of a library that it loads (`libz.so.1`, `libz.so`, `libz` or `z`),
/// or else of any file in the folders that the dynamic linker searches.
pub fn find_library(name: &str, program: &Binary) -> Result<Binary, LibraryError> {
    if name.contains('/') {
        return Ok(Binary::open(Path::new(name))?);
    }
    let loaded = loaded_libraries(program);
    let is_meant = |file: Option<&str>| file.is_some_and(|file| matches(name, file));
    if let Some((_, library)) =
        loaded.iter().find(|(needed, library)| is_meant(Some(needed)) || is_meant(library.soname()))
    {
        return Ok(library.clone());
    }
    let folders = search_folders(program, &[]);
    let names = [name.to_owned(), format!("{name}.so"), format!("lib{name}.so")];
    names.iter().find_map(|file| open_in(&folders, file)).ok_or_else(|| LibraryError::NotFound {
        name: name.to_owned(),
        program: program.path().to_path_buf(),
        loaded: loaded.into_iter().map(|(needed, _)| needed).collect(),
    })
}

/// Whether the user who wrote `name` means the file `file`: `libz.so.1` is meant by itself, `libz.so`, `libz` and `z`.
fn matches(name: &str, file: &str) -> bool {
    let stem = file.split_once(".so").map_or(file, |(stem, _)| stem);
    let after = |prefix: &str| file.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    after(name) || stem == name || stem.strip_prefix("lib") == Some(name)
}

/// What the dynamic linker loads with `program`, breadth first: each name, and the file that it stands for.
fn loaded_libraries(program: &Binary) -> Vec<(String, Binary)> {
    let mut loaded: Vec<(String, Binary)> = Vec::new();
    let mut seen: HashSet<String> = HashSet::new();
    let mut next = 0;
    let mut object = program.clone();
    loop {
        let folders = search_folders(&object, &program.dynamic.rpath);
        for needed in object.needed() {
            if loaded.len() < MAX_LIBRARIES && seen.insert(needed.clone()) {
                let found =
                    if needed.contains('/') { Binary::open(Path::new(needed)).ok() } else { open_in(&folders, needed) };
                loaded.extend(found.map(|library| (needed.clone(), library)));
            }
        }
        let Some((_, library)) = loaded.get(next) else { return loaded };
        object = library.clone();
        next += 1;
    }
}

/// The first file of this name that is a library of this machine: the dynamic linker passes over others.
fn open_in(folders: &[PathBuf], file: &str) -> Option<Binary> {
    folders.iter().find_map(|folder| Binary::open(&folder.join(file)).ok())
}

/// Where the dynamic linker searches what `object` needs; `inherited` is the `DT_RPATH` of the program.
fn search_folders(object: &Binary, inherited: &[String]) -> Vec<PathBuf> {
    let dynamic = &object.dynamic;
    let origin = object.path().canonicalize().ok().and_then(|path| path.parent().map(Path::to_path_buf));
    let expand = |folder: &String| expand_origin(folder, origin.as_deref());
    // DT_RPATH counts only where there is no DT_RUNPATH.
    let rpath = if dynamic.runpath.is_empty() { [dynamic.rpath.as_slice(), inherited].concat() } else { Vec::new() };
    let environment = std::env::var("LD_LIBRARY_PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = rpath.iter().filter_map(expand).collect();
    folders.extend(split_folders(&environment).iter().filter_map(expand));
    folders.extend(dynamic.runpath.iter().filter_map(expand));
    configured_folders(Path::new("/etc/ld.so.conf"), 0, &mut folders);
    folders.extend(DEFAULT_FOLDERS.map(PathBuf::from));
    folders
}

/// `$ORIGIN` is the folder of the object. `$LIB` and `$PLATFORM` depend on how the dynamic linker was built: not known here.
fn expand_origin(folder: &str, origin: Option<&Path>) -> Option<PathBuf> {
    let origin = origin.and_then(Path::to_str).unwrap_or_default();
    let expanded = folder.replace("${ORIGIN}", origin).replace("$ORIGIN", origin);
    (!expanded.contains('$')).then(|| PathBuf::from(expanded))
}

/// The folders of /etc/ld.so.conf and of the files that it includes (`include /etc/ld.so.conf.d/*.conf`).
fn configured_folders(file: &Path, depth: usize, folders: &mut Vec<PathBuf>) {
    let Ok(text) = std::fs::read_to_string(file) else { return };
    for line in text.lines().map(|line| line.split('#').next().unwrap_or_default().trim()) {
        match line.strip_prefix("include").map(str::trim) {
            Some(pattern) if depth < MAX_INCLUDES => {
                for included in files_matching(&file.with_file_name(pattern)) {
                    configured_folders(&included, depth + 1, folders);
                }
            }
            Some(_) => {}
            None if line.starts_with('/') => folders.push(PathBuf::from(line)),
            None => {}
        }
    }
}

/// Files that match a path of which the last component may have one `*`, in the order of their names.
fn files_matching(pattern: &Path) -> Vec<PathBuf> {
    let name = pattern.file_name().and_then(OsStr::to_str).unwrap_or_default();
    let Some((start, end)) = name.split_once('*') else { return vec![pattern.to_path_buf()] };
    let folder = pattern.parent().unwrap_or(Path::new("/"));
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let is_match = |path: &PathBuf| {
        let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
        name.strip_prefix(start).is_some_and(|rest| rest.ends_with(end))
    };
    let mut files: Vec<PathBuf> = entries.filter(is_match).collect();
    files.sort();
    files
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::binary::fixture::{Fixture, run};

    /// Guards against `-lz` style names that find nothing, and against `lib` finding every library.
    #[test]
    fn a_library_is_meant_by_its_short_names() {
        for name in ["libz.so.1", "libz.so", "libz", "z"] {
            assert!(matches(name, "libz.so.1"), "{name}");
        }
        for name in ["lib", "libz.so.2", "so", "", "zz"] {
            assert!(!matches(name, "libz.so.1"), "{name}");
        }
    }

    /// Guards against searching only the system's folders: programs find their own libraries through `$ORIGIN`.
    #[test]
    fn a_library_is_found_through_the_run_path() {
        let fixture = Fixture::new();
        fixture.write("area.c", "int area(int side) { return side * side; }\n");
        fixture.write("main.c", "int area(int); int main(void) { return area(0); }\n");
        std::fs::create_dir(fixture.folder().join("private")).unwrap();
        let library = "private/libarea.so";
        run("gcc", &["-shared", "-fPIC", "-Wl,-soname,libarea.so", "-o", library, "area.c"], fixture.folder());
        run("gcc", &["main.c", "-o", "program", library, "-Wl,-rpath,$ORIGIN/private"], fixture.folder());

        let program = Binary::open(&fixture.program()).unwrap();
        let found = find_library("area", &program).unwrap();
        assert_eq!(found.path().canonicalize().unwrap(), fixture.folder().canonicalize().unwrap().join(library));
        assert!(find_library("c", &program).unwrap().path().ends_with("libc.so.6"));
    }

    /// Guards against an error that does not say what could have been meant.
    #[test]
    fn a_library_that_is_not_there_is_an_error_with_those_that_are() {
        let fixture = Fixture::compile("gcc", &[], "int main(void) { return 0; }\n");
        let error = find_library("nosuch", &Binary::open(&fixture.program()).unwrap()).unwrap_err();
        let loads = "it loads `libc.so.6`, `ld-linux-x86-64.so.2`; for a library that it opens later, give its path";
        assert_eq!(error.hint().as_deref(), Some(loads));
    }
}
