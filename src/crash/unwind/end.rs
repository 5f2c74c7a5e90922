//! Why a walk ended.

use std::fmt;

use super::super::memory::Unknown;
use super::super::modules::ModuleProblem;
use crate::address::Avma;

/// Why there are no more frames.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The last frame is the outermost one: nobody called it.
    Outermost,
    /// The thread's registers are not known.
    NoRegisters,
    /// What is to be read next is not known.
    Memory(Unknown),
    /// The return address leads to no code.
    NoCode {
        /// What stands in its place.
        return_address: Avma,
    },
    /// The thread ran where no code is, and the top of its stack holds no return address.
    Wild,
    /// The next frame would be one that has been seen.
    Loop,
    /// There is no call frame information for the code, and nothing on the stack looks like a return address.
    NoTable,
    /// There is none, because the file is not to be had.
    NoFile(ModuleProblem),
    /// The call frame information leads through a register that is not known, since its place on the stack was not captured.
    LostRegister,
    /// The call frame information cannot be followed.
    BadTable,
    /// There are more frames than anybody looks at.
    TooMany,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Outermost => f.write_str("it is the outermost frame"),
            Self::NoRegisters => f.write_str("the registers are not known"),
            Self::Memory(Unknown::Beyond) => f.write_str("the stack pointer is beyond the end of the address space"),
            Self::Memory(unknown) => write!(f, "the stack cannot be followed: {unknown}"),
            Self::NoCode { return_address } => {
                write!(
                    f,
                    "the return address is {return_address}, where no code is: the stack was overwritten, or the code was made at run time"
                )
            }
            Self::Wild => f.write_str("the top of the stack holds no return address"),
            Self::Loop => f.write_str("the next frame would not lie further out: the stack was overwritten"),
            Self::NoTable => {
                f.write_str("there is no call frame information for this code, and no frame pointer leads on")
            }
            Self::NoFile(problem) => write!(f, "there is no call frame information for this code: {problem}"),
            Self::LostRegister => {
                f.write_str("the stack cannot be followed: a register that leads to the next frame is not known")
            }
            Self::BadTable => f.write_str("the call frame information for this code cannot be followed"),
            Self::TooMany => f.write_str("there are more frames than are followed"),
        }
    }
}
