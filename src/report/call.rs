//! Threads, their calls, and the values in them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Address, Frame, Registers};

/// A thread of the process at the moment of its death.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Thread {
    /// Thread id as lastwords saw it.
    pub tid: u32,
    /// Its name as the kernel knows it (at most 15 bytes); `null` where it could not be read.
    pub name: Option<String>,
    /// Whether the signal struck this thread.
    pub crashed: bool,
    /// Its general registers; empty where they could not be read.
    pub registers: Registers,
    /// Where it stood, the innermost frame first.
    pub frames: Vec<Frame>,
    /// Why there are no more frames; `null` if the last one is the outermost.
    pub frames_end: Option<String>,
    /// Its last calls of watched functions, oldest first.
    pub calls: Vec<Call>,
    /// Calls of watched functions since the thread began, or since its last exec; `null` where nobody counted (see `recorder`).
    pub calls_total: Option<u64>,
    /// Those of them that are not in `calls`, because later ones took their place.
    pub calls_overwritten: u64,
}

/// A call of a watched function.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Call {
    /// Number of the call in its thread, from 0, overwritten ones included: the last one has the number `calls_total - 1`.
    pub n: u64,
    /// The function's demangled name, without parameters.
    pub function: String,
    /// The linker's name of it.
    pub symbol: String,
    /// The file that declares it; `null` where no debug info says so.
    pub file: Option<String>,
    /// The line in `file`, from 1.
    pub line: Option<u32>,
    /// When it was entered: nanoseconds since `process.started_at`.
    pub at_ns: u64,
    /// Its arguments as they were at entry, in the order of the source.
    pub args: Vec<Value>,
    /// What became of the call; `null` if, and only if, it had not returned when the process died.
    pub returned: Option<Returned>,
    /// The `n` of the frame in the thread's `frames` that it still had when the process died.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frame: Option<u64>,
    /// The thread's handler of the fault made it: it comes after the fault.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub by_handler: bool,
    /// What is wrong with this record as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What became of a call that was left before the process died, or may have been.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Returned {
    /// What is known of it.
    pub state: ReturnState,
    /// The result. With the state `returned`, `null` means that the function returns nothing; else that there is none to show.
    pub value: Option<Box<Value>>,
    /// Nanoseconds from entry to return, or to the jump that left the function; `null` where the return was not seen.
    pub duration_ns: Option<u64>,
    /// Why it is not known, for the states `unknown` and `unseen`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// How a call was left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReturnState {
    /// It returned to its caller.
    Returned,
    /// Its last act was a jump to another function, whose result went to the caller in its stead.
    TailCall,
    /// Returns of this function are watched, but this one was not seen: the call may have returned, or have been left by a jump or an exception.
    Unknown,
    /// Returns of this function cannot be watched.
    Unseen,
    /// A newer lastwords knows more.
    #[default]
    #[serde(other)]
    #[schemars(skip)]
    Other,
}

/// An argument, a result, or a part of one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Value {
    /// As in the source; `null` for what has no name there.
    pub name: Option<String>,
    /// Its type as the source spells it.
    #[serde(rename = "type")]
    pub ty: String,
    /// What it is, as far as `state` allows: a number, a string, a boolean, a list, or an object of members. `null` with the state
    /// `exact` is a null pointer; with any other state there is nothing to show. Numbers beyond 2^53, NaN and infinities are strings.
    pub value: serde_json::Value,
    /// How far `value` can be trusted.
    pub state: State,
    /// For a pointer, and for what it was followed to: the address it holds. `"0x0"` is NULL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<Address>,
    /// For a string: its length in bytes, where the whole of it is known, however much of it was kept. For a list or a map: how many
    /// elements it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub length: Option<u64>,
    /// For an enumerator: the number behind the name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub number: Option<serde_json::Value>,
    /// For an enum of Rust, and for C++'s `std::variant`: which of its variants it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// For an element of a map: its key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Box<Value>>,
    /// For a pointer: the function or variable that it points to, or into (`table+0x10`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub symbol: Option<String>,
    /// For a character: what it looks like in a source. One of C has it only where it can be printed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The bytes themselves in hexadecimal, where `value` alone would not tell them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<String>,
    /// What a pointer points to, where that was read too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<Box<Value>>,
    /// For one of the last calls of the thread that crashed: what the same pointer leads to at the moment of death, where that is known to be
    /// something else, or cannot be read any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub now: Option<Box<Value>>,
    /// What it was when the call returned (`--after`), where that is known to be something else: of what a pointer among the arguments leads to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Box<Value>>,
    /// For a struct, class or union: its members with their types and states. For a list: its elements, unless all are
    /// exact numbers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<Value>,
    /// For a local variable of a frame: the line that declares it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub declared: Option<u32>,
    /// For an argument of a frame whose call was recorded: what it was when the function was entered, where that differs from what it is
    /// now, or the latter cannot be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_entry: Option<Box<Value>>,
    /// Why `value` is not exact, or what is odd about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Value {
    /// The bytes of a text, as far as they are known.
    #[must_use]
    pub fn text_bytes(&self) -> Option<Vec<u8>> {
        let text = || self.value.as_str().map(|text| text.as_bytes().to_vec());
        self.bytes.as_deref().map_or_else(text, from_hex)
    }

    /// Takes away all that was known of it: there is no room for it in the report.
    pub fn leave_out(&mut self) {
        let (name, ty) = (self.name.take(), std::mem::take(&mut self.ty));
        let reason = Some("it is left out: the report would be too large".into());
        *self = Self { name, ty, state: State::Unavailable, reason, ..Self::default() };
    }
}

/// Bytes from pairs of hexadecimal digits. `None` if they are something else.
#[must_use]
pub fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    if !digits.len().is_multiple_of(2) || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    digits.chunks_exact(2).map(pair).collect()
}

/// Members by their names. Those of a member without a name are told as the source speaks of them: as if they were the whole's own.
#[must_use]
pub fn object_of(members: &[Value]) -> serde_json::Value {
    let mut object = serde_json::Map::new();
    for member in members {
        match (&member.name, &member.value) {
            (Some(name), value) => {
                object.insert(name.clone(), value.clone());
            }
            (None, serde_json::Value::Object(inner)) => {
                object.extend(inner.iter().map(|(name, value)| (name.clone(), value.clone())));
            }
            (None, value) => {
                object.insert("(anonymous)".into(), value.clone());
            }
        }
    }
    object.into()
}

/// How far a value can be trusted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// What the program had when the function was entered, or returned.
    Exact,
    /// Read at the fault, not at the call: the program may have changed it in between.
    Late,
    /// The beginning of it: the rest was beyond a limit, or beyond the end of the memory.
    Truncated,
    /// Its memory could not be read.
    Unreadable,
    /// The compiler kept it nowhere at that point.
    OptimizedOut,
    /// It was in a place that a probe cannot read, or it is of a kind that lastwords cannot decode.
    Unavailable,
    /// Not what is known: what the calling convention suggests where there is no debug info, or a text of which nobody says how long it is.
    Guessed,
    /// The user wants it kept out of the report (`--redact`), or a part of it.
    Redacted,
    /// A newer lastwords knows more.
    #[default]
    #[serde(other)]
    #[schemars(skip)]
    Other,
}
