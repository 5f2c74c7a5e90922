//! What the process died of.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Address, EndedBy, Handler};

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
