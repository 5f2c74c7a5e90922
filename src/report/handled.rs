//! A fault that went to a handler of the program, and what came of it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Address, Frame, Sender};

/// The program's own handler of the signal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Handler {
    /// Where it is.
    pub address: Address,
    /// Its name; `null` where it is not known.
    pub function: Option<String>,
    /// The flags that it was installed with: `SA_ONSTACK` and the like.
    pub flags: Vec<String>,
    /// How often the same instruction faulted again, because the handler returned to it and nothing had changed.
    #[serde(default)]
    pub repeated: u64,
    /// Whether memory was copied at the fault. If not (it is, once in 10 ms), stacks and values are what the end had left of them.
    #[serde(default)]
    pub memory_is_of_fault: bool,
}

/// What ended the process after its fault had gone to a handler.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EndedBy {
    /// Name of the signal that killed it; `null` if it exited.
    pub signal: Option<String>,
    /// The number of that signal.
    pub signal_number: Option<i32>,
    /// The status that it exited with; `null` if a signal killed it.
    pub status: Option<i32>,
    /// What could not be accessed, where that signal carries an address.
    pub address: Option<Address>,
    /// Who sent that signal, where a process did.
    pub sender: Option<Sender>,
    /// How far the handler had come.
    pub when: EndedWhen,
    /// The frame of the handler was not found on the stack: stack pointer and blocked signals suggest `when`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub inferred: bool,
    /// Id of the thread that ended it; `null` where it is not known.
    pub thread: Option<u32>,
    /// Nanoseconds since `process.started_at`; `null` where it is not known. What other threads than the one that faulted left, their
    /// registers, stacks and memory, is from this moment.
    pub at_ns: Option<u64>,
    /// Where the thread with the fault stood then, the innermost frame first: in the handler, behind it a frame of the kind `signal`, and
    /// what that had interrupted. Empty where its memory was gone.
    pub frames: Vec<Frame>,
}

/// How far a handler had come when the process ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EndedWhen {
    /// It was still running.
    InHandler,
    /// It had returned to the instruction that faulted, which nothing had changed for.
    AfterHandler,
    /// A newer lastwords knows more.
    #[default]
    #[serde(other)]
    #[schemars(skip)]
    Other,
}
