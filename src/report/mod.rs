//! The published model of a report, and the way into a file and out of it again.
//!
//! Comes in: what [`crate::crash`] found. Goes out: JSON of the form that `docs/report.schema.json` states and `docs/report.md` explains.
//! Fields are in the order in which a person reads them. A reader takes what it knows and ignores the rest, so that a field or a
//! state can be added without a new version of the schema.

pub mod address;
pub mod bound;
pub mod call;
pub mod directory;
mod exception;
pub mod fault;
pub mod frame;
mod handled;
mod output;
pub mod read;
pub mod redact;
pub mod write;

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::{Deserialize, Serialize};

pub use address::{Address, Registers};
pub use bound::Document;
pub use call::{Call, ReturnState, Returned, State, Thread, Value, from_hex, object_of};
pub use directory::{Owner, check as check_directory};
pub use exception::{Exception, ExceptionState};
pub use fault::{Access, Basis, Cause, Fault, FaultInstruction, FaultMapping, Finding, Sender};
pub use frame::{FoundBy, Frame, FrameKind, Gap, Repeats, Source};
pub use handled::{EndedBy, EndedWhen, Handler};
pub use output::Output;
pub use read::{ReadError, read};
pub use redact::Redaction;
pub use write::{WriteError, check_file, print, write, write_to};

/// What a report of this form says of itself in its field `schema`.
pub const SCHEMA: &str = "lastwords/report/1";

/// The last calls of a program that died of a signal, with their arguments.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Report {
    /// Always `lastwords/report/1`.
    #[schemars(extend("const" = SCHEMA))]
    pub schema: String,
    /// What made the report.
    pub tool: Tool,
    /// The process that died.
    pub process: Process,
    /// What it died of.
    pub fault: Fault,
    /// Its threads: the one that crashed first, then by thread id.
    pub threads: Vec<Thread>,
    /// What the program had printed and never got to write, by stream.
    #[serde(default)]
    pub output: Vec<Output>,
    /// Which functions were watched.
    pub probes: Probes,
    /// The bounds of the recorder, and what was lost to them.
    pub recorder: Recorder,
    /// The files that the process had mapped as code.
    pub modules: Vec<Module>,
    /// What is left out, because the report would have been too large with it; empty in nearly all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dropped: Vec<Dropped>,
}

/// What is left out of a report that would have been too large.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Dropped {
    /// What it was.
    pub what: String,
    /// How many.
    pub count: u64,
    /// Which bound it did not fit into.
    pub reason: String,
}

/// What made the report.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Tool {
    /// Version of lastwords.
    pub version: String,
    /// Release of the running kernel, as `uname -r` prints it.
    pub kernel: String,
    /// Which of the kernel's ways to place probes was used.
    pub tier: String,
}

/// The process that died.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Process {
    /// Process id as lastwords saw it.
    pub pid: u32,
    /// The file it executed.
    pub exe: String,
    /// Its arguments, the program's name first.
    pub args: Vec<String>,
    /// Whether there were more or longer arguments than `args` holds.
    pub args_truncated: bool,
    /// Its working directory; `null` where it is not known.
    pub cwd: Option<String>,
    /// GNU build id of `exe`, in hexadecimal; `null` where the file has none.
    pub build_id: Option<String>,
    /// When it began (its last exec, or the fork that made it), in UTC (RFC 3339).
    #[schemars(extend("format" = "date-time"))]
    pub started_at: String,
    /// Nanoseconds from then to the fault.
    pub uptime_ns: u64,
    /// Its real user id; `null` where it is not known.
    pub uid: Option<u32>,
}

/// Which functions were watched.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Probes {
    /// How many functions had a probe.
    pub attached: u64,
    /// Functions that were asked for and had none.
    pub skipped: Vec<Skipped>,
    /// Functions that lost theirs because they were called too often (`--max-overhead`): not all of their calls were recorded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dropped: Vec<DroppedFunction>,
}

/// A function that was called so often that it lost its probe. Times are nanoseconds since `process.started_at`, 0 for what was before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DroppedFunction {
    /// Its demangled name.
    pub function: String,
    /// The linker's name of it.
    pub symbol: String,
    /// It was only its returns that were not watched any more: all of its calls are recorded, unless it is listed once more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub only_returns: bool,
    /// When that was, at the first time: until then all of its calls were recorded.
    pub at_ns: u64,
    /// Its calls until then, of all watched processes.
    pub hits: u64,
    /// Calls a second at that time.
    pub per_second: u64,
    /// How often it was dropped: it may have been tried again in between.
    pub times: u32,
    /// Since when all of its calls are recorded again; `null` if they are not.
    pub back_ns: Option<u64>,
}

/// A function that was asked for and had no probe.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Skipped {
    /// Its demangled name.
    pub function: String,
    /// Why it had none.
    pub reason: String,
}

/// The bounds of the recorder, and what was lost to them. Losses are counted over the whole run: all processes that were watched.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Recorder {
    /// Calls kept of each thread at the most (`--calls`).
    pub calls_kept: u32,
    /// Bytes kept of a string at the most (`--string`).
    pub string_bytes: u32,
    /// Threads that could be recorded at one time (`--threads`).
    pub threads_max: u32,
    /// Bytes of the ring of a thread: older calls are overwritten when it is full, even if there are fewer than `calls_kept`.
    pub ring_bytes: u32,
    /// Threads that found all of `threads_max` in use.
    pub threads_without_ring: u64,
    /// Calls of those threads, which were not recorded.
    pub calls_without_ring: u64,
    /// Calls of other processes that execute the same file, which were not recorded.
    pub calls_of_other_processes: u64,
    /// Descendants that could not be followed, because too many processes were watched.
    pub processes_not_watched: u64,
    /// Deaths that lastwords was not told of, because a buffer was full.
    pub deaths_lost: u64,
    /// Pieces of stacks and of other memory that were not copied when threads died, because the room for them was full.
    #[serde(default)]
    pub memory_lost: u64,
    /// Memory that had to be fetched first (from a file, from swap) could not be recorded with calls: the kernel is older than Linux 6.0.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pages_not_waited_for: bool,
    /// Signals of the chosen set that a handler took.
    pub handled_faults: u64,
    /// Deaths of descendants that executed another file.
    pub deaths_of_other_files: u64,
}

impl From<&crate::plan::Skipped> for Skipped {
    fn from(skipped: &crate::plan::Skipped) -> Self {
        Self { function: skipped.function.clone(), reason: skipped.reason.clone() }
    }
}

/// A file that the process had mapped as code.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Module {
    /// Where the file was.
    pub path: String,
    /// Its GNU build id, in hexadecimal; `null` where it has none or it is not known.
    pub build_id: Option<String>,
    /// The lowest address at which it was mapped.
    pub base: Address,
    /// What the loader added to the addresses in the file, modulo 2^64.
    pub bias: Address,
}

/// The JSON schema of a report as it is written. A reader must allow for more fields and more states.
#[must_use]
pub fn schema() -> serde_json::Value {
    SchemaSettings::draft2020_12().for_serialize().into_generator().into_root_schema_for::<Report>().to_value()
}

#[cfg(test)]
pub mod tests;
