//! What belongs to the program, and what came with the compiler, a library or the system.

use std::path::Path;

/// Folders, wherever they are, that hold what others wrote: Rust's standard library, what cargo downloaded, C++'s standard headers,
/// the compilers' own headers.
const FOREIGN_FOLDERS: [&str; 8] = [
    "/rustlib/",
    "/.cargo/registry/",
    "/registry/src/",
    "/.cargo/git/",
    "/git/checkouts/",
    "/include/c++/",
    "/lib/gcc/",
    "/lib/clang/",
];
/// Where the system's headers begin, and the sources of Rust's standard library and of the crates in it, as its builders name them.
const FOREIGN_ROOTS: [&str; 7] =
    ["/rustc/", "/rust/deps/", "/usr/include/", "/usr/local/include/", "/usr/lib/", "/usr/lib64/", "/nix/store/"];

/// Whether somebody wrote this file for the program: nothing of the standard library, of downloaded crates or of the system.
pub(crate) fn is_program_source(path: &Path) -> bool {
    let path = path.to_string_lossy();
    !FOREIGN_ROOTS.iter().any(|root| path.starts_with(root))
        && !FOREIGN_FOLDERS.iter().any(|folder| path.contains(folder))
}

/// Folders in which systems keep the libraries of their packages.
const SYSTEM_LIBRARIES: [&str; 5] = ["/lib/", "/lib64/", "/usr/lib/", "/usr/lib64/", "/nix/store/"];

/// Whether this module came with the system; so did the kernel's (`[vdso]`).
pub(crate) fn is_system_library(path: &Path) -> bool {
    SYSTEM_LIBRARIES.iter().any(|folder| path.starts_with(folder)) || path.to_string_lossy().starts_with('[')
}

/// What the C runtime's start files bring into every program (`crt1.o`, `crti.o`, `crtbegin.o` of glibc and gcc).
const STARTUP: [&str; 12] = [
    "_start",
    "_init",
    "_fini",
    "__libc_csu_init",
    "__libc_csu_fini",
    "_dl_relocate_static_pie",
    "frame_dummy",
    "register_tm_clones",
    "deregister_tm_clones",
    "__do_global_dtors_aux",
    "__do_global_ctors_aux",
    "__x86.get_pc_thunk.bx",
];

/// Whether the program's start files brought this symbol.
pub(crate) fn is_startup(symbol: &str) -> bool {
    STARTUP.contains(&symbol)
}

/// Whether a function without debug info is one of the standard library, compiled into the program, as its demangled name shows.
pub(super) fn is_standard_name(name: &str) -> bool {
    let path = name.trim_start_matches(['<', '&', '*', '[', '(']);
    let path = path.strip_prefix("mut ").or_else(|| path.strip_prefix("const ")).unwrap_or(path);
    ["std::", "core::", "alloc::", "__gnu_cxx::", "__cxxabiv1::"].iter().any(|namespace| path.starts_with(namespace))
}

/// Whether this symbol is the cold part of a function: it is jumped to, and not called.
pub(super) fn is_cold_part(symbol: &str) -> bool {
    symbol.ends_with(".cold") || symbol.contains(".cold.")
}

/// Which part of a function this symbol is, if gcc has split it (`-fpartial-inlining`): callers that do the rest themselves call `.part.0`, and
/// so does the function as a whole.
pub(super) fn split_part(symbol: &str) -> Option<&str> {
    let (_, number) = symbol.rsplit_once(".part.")?;
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| &symbol[symbol.len() - ".part.".len() - number.len()..])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards against two calls of a function where there was one: its part is called by it.
    #[test]
    fn a_part_of_a_function_is_told_from_the_whole() {
        assert_eq!(split_part("checked.part.0"), Some(".part.0"));
        assert_eq!(split_part("checked.constprop.0.part.12"), Some(".part.12"));
        for whole in ["checked", "checked.part.", "checked.part.0.cold", "checked.isra.0", "a.part.x1"] {
            assert_eq!(split_part(whole), None, "{whole}");
        }
    }

    /// Guards against probing the standard library by default, and against taking a program for a library because of where it was built.
    #[test]
    fn the_program_s_own_sources_are_told_from_others() {
        for path in [
            "/home/me/app/src/main.rs",
            "/work/usr/include/a.h",
            "/usr/src/app/main.c",
            "/build/app-1.0/registry/main.c",
        ] {
            assert!(is_program_source(Path::new(path)), "{path}");
        }
        for path in [
            "/rust/deps/gimli-0.32.3/src/read/line.rs",
            "/rustc/0123/library/core/src/fmt/mod.rs",
            "/home/me/.rustup/toolchains/stable/lib/rustlib/src/rust/library/std/src/rt.rs",
            "/home/me/.cargo/registry/src/index.crates.io-6f17/serde-1.0/src/lib.rs",
            "/opt/cargo/registry/src/index.crates.io-6f17/serde-1.0/src/lib.rs",
            "/home/me/.cargo/git/checkouts/a-1/b/src/lib.rs",
            "/usr/include/c++/12/bits/stl_vector.h",
            "/opt/gcc/include/c++/12/bits/stl_vector.h",
            "/usr/lib/gcc/x86_64-linux-gnu/12/include/emmintrin.h",
        ] {
            assert!(!is_program_source(Path::new(path)), "{path}");
        }
    }
}
