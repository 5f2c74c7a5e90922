//! Programs of all kinds, and files that are none.

use std::os::unix::fs::PermissionsExt as _;

use super::fixture::{Fixture, run};
use super::*;

const SOURCE: &str = "
    #include <stdio.h>
    int twice(int n) { return 2 * n; }
    static int thrice(int n) { return 3 * n; }
    int main(int argc, char **argv) { (void)argv; return puts(\"\") == twice(argc) + thrice(argc); }
";

fn error_of(name: &str, contents: &[u8]) -> BinaryError {
    let fixture = Fixture::new();
    let path = fixture.folder().join(name);
    std::fs::write(&path, contents).unwrap();
    Binary::open(&path).unwrap_err()
}

fn symbol<'a>(binary: &'a Binary, name: &str) -> FunctionSymbol<'a> {
    *binary.function_symbols().iter().find(|symbol| symbol.name == name).unwrap()
}

/// Guards against offsets that are right only for one kind of executable.
#[test]
fn addresses_code_and_offsets_agree_in_all_kinds_of_executables() {
    for options in [["-O0", "-pie"], ["-O0", "-no-pie"], ["-O0", "-static"], ["-O0", "-static-pie"]] {
        let fixture = Fixture::compile("gcc", &options, SOURCE);
        let binary = Binary::open(&fixture.program()).unwrap();
        let twice = symbol(&binary, "twice");
        let end = Svma(twice.address.0 + twice.size);
        let code = binary.code(twice.address..end).unwrap();
        let offset = usize::try_from(binary.file_offset_of(twice.address).unwrap().0).unwrap();
        assert_eq!(code, &std::fs::read(fixture.program()).unwrap()[offset..offset + code.len()], "{options:?}");
        // Compiled without optimization, it begins with `push %rbp`.
        assert_eq!(code[0], 0x55, "{options:?}");
        assert!(binary.lowest_executable_address().unwrap() <= twice.address, "{options:?}");
        assert_eq!(
            binary.is_position_independent(),
            options[1].ends_with("pie") && options[1] != "-no-pie",
            "{options:?}"
        );
        assert_eq!(binary.has_interpreter(), !options[1].contains("static"), "{options:?}");
    }
}

/// Guards against mixing up what a file defines and what it wants.
#[test]
fn symbols_say_what_is_defined_and_what_is_imported() {
    let fixture = Fixture::compile("gcc", &["-Wl,--build-id=0x0123abcd"], SOURCE);
    let binary = Binary::open(&fixture.program()).unwrap();
    assert!(symbol(&binary, "twice").is_global);
    assert!(!symbol(&binary, "thrice").is_global);
    assert!(binary.function_symbols().iter().all(|symbol| symbol.name != "puts"));
    assert!(binary.imports().contains(&"puts"));
    assert_eq!(binary.needed(), ["libc.so.6"]);
    assert_eq!(binary.soname(), None);
    assert_eq!(binary.build_id(), Some("0123abcd"));
}

/// Guards against one error for everything, and against a status that a script cannot tell from another.
#[test]
fn what_is_no_program_is_refused_by_its_own_error() {
    let folder = Fixture::new();
    let missing = Binary::open(&folder.folder().join("missing")).unwrap_err();
    assert!(matches!(missing, BinaryError::NotFound { .. }));
    assert_eq!(missing.exit_status(), 127);
    let directory = Binary::open(folder.folder()).unwrap_err();
    assert!(matches!(directory, BinaryError::IsDirectory { .. }));
    assert_eq!(directory.exit_status(), 126);
    assert!(matches!(Binary::open(Path::new("/dev/null")).unwrap_err(), BinaryError::NotRegularFile { .. }));

    let text = error_of("notes", b"hello\n");
    assert!(text.to_string().ends_with("expected an ELF file, found text"), "{text}");
    assert!(error_of("empty", b"").to_string().ends_with("found an empty file"));
    assert!(
        error_of("zip", b"PK\x03\x04").to_string().ends_with("found a file that begins with the bytes 50 4b 03 04")
    );

    let script = error_of("script", b"#!/usr/bin/env -S LANG=C python3 -u\nprint()\n");
    assert_eq!(script.exit_status(), 2);
    assert!(script.hint().unwrap().starts_with("`lastwords run -- python3 "), "{:?}", script.hint());
    let script = error_of("script", b"#! /bin/sh\n");
    assert!(script.hint().unwrap().starts_with("`lastwords run -- /bin/sh "), "{:?}", script.hint());
}

/// Guards against reading a file of another class, order or machine as if it were ours.
#[test]
fn elf_files_of_other_kinds_are_refused_by_their_own_error() {
    let fixture = Fixture::compile("gcc", &["-c"], SOURCE);
    let object = std::fs::read(fixture.program()).unwrap();
    let with = |at: usize, byte: u8| {
        let mut bytes = object.clone();
        bytes[at] = byte;
        error_of("program", &bytes)
    };
    assert!(with(0, 0x7f).to_string().ends_with("expected an executable or a shared library, found an object file"));
    assert!(with(16, 4).to_string().ends_with("found a core file"));
    assert!(with(4, 1).to_string().ends_with("expected a 64-bit program, found a 32-bit one"));
    assert!(with(5, 2).to_string().ends_with("expected little-endian, found big-endian"));
    assert!(with(18, 0xf3).to_string().ends_with("found one for riscv"));
}

/// Guards against "not found" for a file that is there.
#[test]
fn a_file_that_may_not_be_read_says_so() {
    let fixture = Fixture::compile("gcc", &[], SOURCE);
    std::fs::set_permissions(fixture.program(), std::fs::Permissions::from_mode(0o111)).unwrap();
    // Root may read everything, but not a thread that looks at files as somebody else (setfsuid(2)).
    let path = fixture.program();
    let open_as_nobody = move || {
        nix::unistd::setfsuid(nix::unistd::Uid::from_raw(65534));
        Binary::open(&path).unwrap_err()
    };
    let error = std::thread::spawn(open_as_nobody).join().unwrap();
    assert!(matches!(error, BinaryError::PermissionDenied { .. }), "{error}");
    assert_eq!(error.exit_status(), 126);
}

/// Guards against a panic, an endless loop or a huge allocation on a file that was cut off or overwritten.
#[test]
fn damaged_files_give_errors_or_less() {
    let fixture = Fixture::compile("gcc", &["-g"], SOURCE);
    let whole = std::fs::read(fixture.program()).unwrap();
    let path = fixture.folder().join("damaged");
    let look_at = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        let Ok(binary) = Binary::open(&path) else { return };
        for symbol in binary.function_symbols() {
            let _ = binary.code(symbol.address..Svma(symbol.address.0.wrapping_add(symbol.size)));
        }
        let _ = (binary.imports(), binary.section(".debug_info"), DebugFiles::find(&binary));
    };
    for length in (0..whole.len()).step_by(97) {
        look_at(&whole[..length]);
    }
    // Each byte of the file header and of the program headers, and some of each kind of table.
    let header = 64 + 56 * 13;
    for at in (0..header).chain((header..whole.len()).step_by(31)) {
        let mut bytes = whole.clone();
        bytes[at] = !bytes[at];
        look_at(&bytes);
    }
}

/// Guards against debug info that is not seen because it is compressed, and against trusting the size that it claims.
#[test]
fn compressed_sections_are_decompressed_and_bounded() {
    let fixture = Fixture::compile("gcc", &["-g"], SOURCE);
    let plain = Binary::open(&fixture.program()).unwrap().section(".debug_info").unwrap().unwrap().to_vec();
    for format in ["zlib", "zstd"] {
        let option = format!("--compress-debug-sections={format}");
        run("objcopy", &[&option, "program", format], fixture.folder());
        let path = fixture.folder().join(format);
        let binary = Binary::open(&path).unwrap();
        assert_eq!(binary.section(".debug_info").unwrap().unwrap().to_vec(), plain, "{format}");

        let start = binary.sections.iter().find(|section| section.name == ".debug_info").unwrap().range.start;
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[start + 8..start + 16].copy_from_slice(&u64::MAX.to_le_bytes());
        std::fs::write(&path, &bytes).unwrap();
        assert!(Binary::open(&path).unwrap().section(".debug_info").is_err(), "{format}");
    }
}
