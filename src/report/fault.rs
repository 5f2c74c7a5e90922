//! What the process died of.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Address, EndedBy, Exception, Handler};

/// The signal that killed the process.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Fault {
    /// Name of the signal: `SIGSEGV`.
    pub signal: String,
    /// Its number on this architecture.
    pub signal_number: i32,
    /// Name of the code that came with it: `SEGV_MAPERR`; `null` where there was none.
    pub code: Option<String>,
    /// The number of that code (`si_code`).
    pub code_number: Option<i32>,
    /// The address that could not be accessed, or of the instruction that failed; `null` where the signal carries none.
    pub address: Option<Address>,
    /// What was tried at `address`; `null` where it is not known.
    pub access: Option<Access>,
    /// The instruction that was to run next in `thread`; `null` where the registers could not be read.
    pub pc: Option<Address>,
    /// Id of the thread that the signal struck.
    pub thread: u32,
    /// What happened, as a clause that goes with "the process was killed by `signal`:".
    pub explanation: String,
    /// What kind of fault it was; `null` where the signal alone is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// The instruction at `pc`; absent where its bytes could not be had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instruction: Option<FaultInstruction>,
    /// What is mapped at `address`, or right below it where nothing is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mapping: Option<FaultMapping>,
    /// What else is known of it, or can be inferred: the most telling first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Finding>,
    /// C++ exceptions that the thread was handling when it aborted: the innermost first, which may be the reason for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exceptions: Vec<Exception>,
    /// Nanoseconds since `process.started_at`.
    pub at_ns: u64,
    /// Who sent it, where a process did.
    pub sender: Option<Sender>,
    /// The program's own handler of it, where it had one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handler: Option<Handler>,
    /// What ended the process after `handler` had been called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_by: Option<EndedBy>,
    /// The program went on: it did not die of this (`--handled`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub survived: bool,
}

/// A kind of fault.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// An access through a null pointer.
    NullPointer,
    /// A small number was used as a pointer.
    SmallInteger,
    /// Text was used as a pointer.
    TextAsPointer,
    /// An address that no memory can have.
    NotCanonical,
    /// An address at which nothing is mapped.
    Unmapped,
    /// A write to what may only be read.
    ReadOnly,
    /// An access that the mapping does not permit at all.
    Forbidden,
    /// The stack had no room left.
    StackOverflow,
    /// A call, jump or return to where no code is.
    BadCodePointer,
    /// An address that the instruction wants to be a multiple of something.
    Misaligned,
    /// An access to a mapped file beyond its end.
    BeyondFile,
    /// A division by zero.
    DivisionByZero,
    /// A division whose quotient is too large.
    DivisionOverflow,
    /// An instruction that stands for "never to be reached".
    TrapInstruction,
    /// An instruction that the processor does not know, or not here.
    IllegalInstruction,
    /// An instruction that is for the kernel only.
    PrivilegedInstruction,
    /// A breakpoint instruction.
    Breakpoint,
    /// A system call that is not permitted.
    SystemCall,
    /// `abort`, without a known reason.
    Abort,
    /// A failed assertion.
    Assertion,
    /// The C library found its heap damaged.
    HeapCorruption,
    /// A function found its stack frame overwritten.
    StackSmashing,
    /// A C++ exception that nobody caught, or another reason for `std::terminate`.
    Terminate,
    /// A Rust panic that aborts.
    Panic,
    /// Another process sent the signal.
    Sent,
    /// A newer lastwords knows more.
    #[default]
    #[serde(other)]
    #[schemars(skip)]
    Other,
}

/// An instruction that failed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FaultInstruction {
    /// Where it is.
    pub address: Address,
    /// As an assembler would write it.
    pub text: String,
    /// Its bytes in hexadecimal.
    pub bytes: String,
}

/// A mapping of the process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FaultMapping {
    /// Its first address.
    pub start: Address,
    /// Behind its last address.
    pub end: Address,
    /// As /proc/PID/maps writes them: `r-xp`.
    pub permissions: String,
    /// Name of the file that it is of, without directories; `null` for memory of no file.
    pub file: Option<String>,
    /// Bytes of that file.
    pub file_bytes: Option<u64>,
    /// Byte of that file that lies at `start`.
    pub file_offset: Option<u64>,
    /// Whether `fault.address` lies in it; else it lies behind its end.
    pub contains_address: bool,
}

/// Something that helps to understand a fault.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// A clause for people.
    pub text: String,
    /// How far it can be trusted.
    pub basis: Basis,
}

/// What a finding rests on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// The process's own registers, memory and code say so.
    Known,
    /// It is the likely reading of them: there may be another.
    Inferred,
    /// A newer lastwords knows more.
    #[default]
    #[serde(other)]
    #[schemars(skip)]
    Other,
}

/// What was tried at an address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// To read from it.
    Read,
    /// To write to it.
    Write,
    /// To execute the code there.
    Execute,
    /// A newer lastwords knows more.
    #[default]
    #[serde(other)]
    #[schemars(skip)]
    Other,
}

/// A process that sent a signal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Sender {
    /// Its process id, as the process that died saw it; 0 where it could not see it.
    pub pid: u32,
    /// Its real user id, likewise.
    pub uid: u32,
    /// The name of the thread that sent it (at most 15 bytes); `null` where it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}
