//! What the kernel side and user space share: every record, limit and constant, defined once.
//!
//! Everything here is `repr(C)` without padding bytes, and without `bool`, `Option` or enums: one side writes what the other
//! reads as plain memory. [`layout`] says where the parts of a thread's slot lie; both sides derive their offsets from it.
#![no_std]

pub mod exception;
pub mod layout;
pub mod record;
pub mod step;

pub use layout::{Config, OpenCall, SlotHeader, Target, TaskOffsets};
pub use record::{Counter, Event, Fault, Record, SignalSender, ThreadState, Watched};
pub use step::{Function, Outcome, Step};

/// Version of the layout of slots and records. Raise it when a reader of an older one would misread.
pub const ABI_VERSION: u32 = 2;

/// Steps of one function at the most: the bound of the interpreter's loop.
pub const MAX_STEPS: u32 = 128;
/// Bytes that one string or counted step may copy at the most.
pub const MAX_COPY_BYTES: u32 = 4096;
/// Bytes of captured data in one record at the most.
pub const MAX_DATA_BYTES: u32 = 32 * 1024;
/// Words of the saved registers: x86-64 uses 21 (`struct pt_regs`), aarch64 34 (`struct user_pt_regs`).
pub const REGISTER_WORDS: usize = 34;
/// `TASK_COMM_LEN` of the kernel.
pub const COMM_BYTES: usize = 16;
/// The placeholder for the kernel function `bpf_session_is_return` in the object: user space puts the function's BTF id in its place,
/// since aya-obj 0.3 knows no kernel functions.
pub const KFUNC_SESSION_IS_RETURN: usize = 0x4c57_0001;
/// Bytes kept of a process's arguments.
pub const MAX_ARGS_BYTES: usize = 1024;
/// The value in `THREADS` of a thread that found no free slot.
pub const NO_SLOT: u32 = u32::MAX;

/// What a probe's cookie says: from its lowest bit up, the index of the function (32 bits), which event of it (8 bits), and which generation
/// of probes it belongs to (24 bits).
///
/// Functions are taken out by placing the others' probes anew, in the next *generation*, before the old ones are closed. While both are
/// there, a call meets both. The kernel runs the newer one first (`consumer_add` in kernel/events/uprobes.c puts it in front): where it
/// records the call, the older one finds that in [`SlotHeader::last_entry`] and leaves it at that.
pub mod cookie {
    /// The function was entered.
    pub const ENTRY: u64 = 0;
    /// The function has returned: the kernel's return trampoline was hit.
    pub const RETURN: u64 = 1;
    /// The function is about to return: the probe stands on a `ret` instruction.
    pub const RET_INSTRUCTION: u64 = 2;
    /// The function is about to leave by a jump to another one.
    pub const TAIL_JUMP: u64 = 3;
    /// The function is about to jump back to its first instruction: where that is probed, it is not called there again.
    pub const TURN: u64 = 4;
    /// The same, if the condition in the low four bits of the event holds: as the architecture numbers its conditions.
    pub const TURN_IF: u64 = 16;
    /// What has happened is to be looked up by the address, in the map `SITES`: the probe shares its cookie with others.
    pub const BY_ADDRESS: u64 = 5;
    /// The bits of a condition.
    pub const CONDITION: u64 = 15;

    /// The cookie of `event` at the function with this `index`, in this `generation` of probes.
    #[must_use]
    pub const fn new(event: u64, index: u32, generation: u32) -> u64 {
        (generation as u64) << 40 | event << 32 | index as u64
    }

    /// The index of the function.
    #[must_use]
    pub const fn function(cookie: u64) -> u32 {
        cookie as u32
    }

    /// One of the events above.
    #[must_use]
    pub const fn event(cookie: u64) -> u64 {
        cookie >> 32 & 0xff
    }

    /// The generation of probes.
    #[must_use]
    pub const fn generation(cookie: u64) -> u32 {
        (cookie >> 40) as u32
    }
}

/// `bytes` rounded up to a multiple of eight: the alignment of everything in a record.
#[must_use]
pub const fn align8(bytes: u32) -> u32 {
    (bytes + 7) & !7
}
