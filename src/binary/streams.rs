//! Where the C library of a program keeps its streams: what must be known before the program starts, since afterwards there is nobody to ask.

use super::{Binary, find_library};
use crate::address::Svma;

/// How to find the list of streams (`FILE`) in a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Streams {
    /// `_IO_list_all` in the file of libc, or of a static program.
    pub list: Svma,
    /// `__abort_msg` in the same file: a pointer to what glibc says of an abort.
    pub abort_message: Option<Svma>,
    /// `DT_DEBUG` of the program, which leads to the loader's list of modules; `None` for a static program.
    pub debug_slot: Option<Svma>,
    /// The program's lowest executable address.
    pub lowest_code: Svma,
}

impl Streams {
    /// Of a program that uses glibc; `None` for any other.
    #[must_use]
    pub fn of(program: &Binary) -> Option<Self> {
        const LIST: &str = "_IO_list_all";
        const ABORT_MESSAGE: &str = "__abort_msg";
        let lowest_code = program.lowest_executable_address()?;
        if !program.has_interpreter() {
            let abort_message = program.variable(ABORT_MESSAGE);
            return Some(Self { list: program.variable(LIST)?, abort_message, debug_slot: None, lowest_code });
        }
        let libc = find_library("libc.so.6", program).ok()?;
        Some(Self {
            list: libc.variable(LIST)?,
            abort_message: libc.variable(ABORT_MESSAGE),
            debug_slot: Some(program.debug_slot()?),
            lowest_code,
        })
    }
}
