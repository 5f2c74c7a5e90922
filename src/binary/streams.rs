//! Where the C library of a program keeps its streams: what must be known before the program starts, since afterwards there is nobody to ask.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use lastwords_abi::layout::{STREAM_HEADS, StreamLayout};

use super::{Binary, find_library};
use crate::address::Svma;

/// The loader's name of glibc.
const GLIBC: &str = "libc.so.6";
/// How musl's file is called: it is the loader, too.
const MUSL_PREFIX: &str = "ld-musl-";

/// How to find the streams (`FILE`) in a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Streams {
    /// Variables that point to the first stream of a list, in the file of the C library, or of a static program; 0 behind the last one.
    pub heads: [u64; STREAM_HEADS],
    /// What a stream looks like.
    pub layout: StreamLayout,
    /// The last eight bytes of the name by which the loader knows the C library.
    pub library_name_end: u64,
    /// `__abort_msg` of glibc in the same file: a pointer to what it says of an abort.
    pub abort_message: Option<Svma>,
    /// `DT_DEBUG` of the program, which leads to the loader's list of modules; `None` for a static program.
    pub debug_slot: Option<Svma>,
    /// The program's lowest executable address.
    pub lowest_code: Svma,
}

impl Streams {
    /// Of a program that uses glibc or musl; `None` for any other.
    #[must_use]
    pub fn of(program: &Binary) -> Option<Self> {
        let lowest_code = program.lowest_executable_address()?;
        if !program.has_interpreter() {
            return Some(Self { lowest_code, ..Self::in_library(program)? });
        }
        let interpreter = interpreter(program)?;
        let name = interpreter.file_name()?;
        let (library, name) = if name.as_bytes().starts_with(MUSL_PREFIX.as_bytes()) {
            (Binary::open(&interpreter).ok()?, name)
        } else {
            (find_library(GLIBC, program).ok()?, OsStr::new(GLIBC))
        };
        Some(Self {
            library_name_end: u64::from_le_bytes(*name.as_bytes().last_chunk()?),
            debug_slot: Some(program.debug_slot()?),
            lowest_code,
            ..Self::in_library(&library)?
        })
    }

    /// What a C library's own file says, or that of a static program.
    fn in_library(library: &Binary) -> Option<Self> {
        const LIST: &str = "_IO_list_all";
        const ABORT_MESSAGE: &str = "__abort_msg";
        // What musl's list has is what the program has opened itself. It is a local symbol, which a stripped file has not.
        const LISTS: [&str; 3] = ["stdout", "stderr", "ofl_head"];
        if let Some(list) = library.variable(LIST) {
            let abort_message = library.variable(ABORT_MESSAGE);
            return Some(Self {
                heads: [list.0, 0, 0, 0],
                layout: StreamLayout::GLIBC,
                abort_message,
                ..Self::default()
            });
        }
        let mut heads = [0; STREAM_HEADS];
        let lists = LISTS.iter().filter_map(|name| library.variable(name));
        heads.iter_mut().zip(lists).for_each(|(head, list)| *head = list.0);
        (heads[0] != 0).then(|| Self { heads, layout: StreamLayout::MUSL, ..Self::default() })
    }
}

/// The loader that the program asks for.
fn interpreter(program: &Binary) -> Option<PathBuf> {
    let section = program.section(".interp").ok()??;
    let path = section.split(|byte| *byte == 0).next()?;
    Some(Path::new(OsStr::from_bytes(path)).to_path_buf())
}
