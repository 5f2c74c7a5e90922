//! The frames of a thread's stack.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Address, Value};

/// A function that was being executed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Frame {
    /// Number of the frame, from 0 for the innermost. Frames that are left out count; `null` where it is not known how many they are.
    pub n: Option<u64>,
    /// The instruction that was to run next in it. In all but the innermost, that is behind the call.
    pub address: Address,
    /// What kind of frame it is.
    #[serde(default)]
    pub kind: FrameKind,
    /// The function, demangled; `null` where it is not known.
    pub function: Option<String>,
    /// The linker's name of that function.
    pub symbol: Option<String>,
    /// Source file.
    pub file: Option<String>,
    /// Line in it, from 1.
    pub line: Option<u32>,
    /// Column in that line, from 1.
    pub column: Option<u32>,
    /// The file that the code is from.
    pub module: Option<String>,
    /// `address` as `module` itself has it, before it was loaded.
    pub offset: Option<Address>,
    /// Whether it is code that somebody wrote for this program, as far as its source and its module tell, and not a library's.
    #[serde(default)]
    pub own: bool,
    /// The source around `line`, for the program's own frames of the crashed thread, where the file was there and could be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// How the frame was found.
    #[serde(default)]
    pub found_by: FoundBy,
    /// Canonical frame address: the stack pointer before the call that made the frame.
    pub cfa: Option<Address>,
    /// The `n` of the call in the thread's `calls` that made this frame, where it was recorded.
    pub call: Option<u64>,
    /// What lay on the stack in the place of its return address, where that is not what the call had put there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overwritten: Option<Address>,
    /// The function's arguments as they were at the death, in the order of the source, as far as debug info tells.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<Value>,
    /// Its local variables that were in scope, those of the innermost block last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub locals: Vec<Value>,
    /// This frame and those behind it follow each other again and again: a recursion.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repeats: Option<Repeats>,
    /// What is left out between the frame before and this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gap: Option<Gap>,
    /// Why nothing is known of its code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Lines of a source file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Source {
    /// Number of the first of `lines`, from 1.
    pub first: u32,
    /// The lines, without their ends.
    pub lines: Vec<String>,
    /// The file was changed after the program was built: these may be other lines than those of the program.
    #[serde(default)]
    pub changed: bool,
}

/// A kind of frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FrameKind {
    /// A function.
    #[default]
    Function,
    /// A function whose code was inlined into that of the next frame; both have one frame on the stack.
    Inlined,
    /// The kernel's: the frame before is a signal handler, and the next one is what the signal interrupted.
    Signal,
    /// A newer lastwords knows more.
    #[serde(other)]
    #[schemars(skip)]
    Other,
}

/// How a frame was found, from the surest way to the least sure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FoundBy {
    /// It is where the thread stood.
    #[default]
    InstructionPointer,
    /// By the call frame information of the frame before.
    Cfi,
    /// By the registers that the kernel saved when a signal came.
    Signal,
    /// By the word at the top of the stack, where the call had put it.
    ReturnAddress,
    /// The return address on the stack was overwritten; the kernel had kept it, because the return was watched.
    ReturnProbe,
    /// By the chain of frame pointers.
    FramePointer,
    /// By a word on the stack that looks like a return address: it may be a left-over.
    Scan,
    /// A newer lastwords knows more.
    #[serde(other)]
    #[schemars(skip)]
    Other,
}

/// A recursion, shown once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Repeats {
    /// How many frames belong together, this one included.
    pub frames: u64,
    /// How often they follow each other.
    pub times: u64,
}

/// Frames that are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Gap {
    /// How many; `null` where it is not known.
    pub frames: Option<u64>,
    /// How many bytes of the stack were not captured; `null` if all of it was.
    pub bytes: Option<u64>,
    /// Why they are left out.
    pub reason: String,
}
