//! What the user asked the recorder to keep in; its bounds in bytes out.

use std::io;
use std::os::unix::fs::MetadataExt;

use lastwords_abi::exception::STACK_WORDS_BELOW;
use lastwords_abi::layout::CHUNK_BYTES;
use lastwords_abi::record::RECORD_BYTES;
use lastwords_abi::{Config, MAX_DATA_BYTES, Step, align8};

use nix::libc::{SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGSYS, SIGTRAP};

use super::kernel_types::KernelTypes;
use super::{ProbeError, Tier, multi};
use crate::binary::Streams;
use crate::plan::{FunctionPlan, Plan};

/// What the user asked the recorder to keep.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Calls kept per thread.
    pub calls: u32,
    /// Bytes of one thread's ring at the most, where not even one record needs more.
    pub max_ring_bytes: u32,
    /// Threads that can have a ring at the same time.
    pub threads: u32,
    /// Signals that count as a crash.
    pub signals: Vec<i32>,
    /// Bytes of each thread's stack to copy at its death.
    pub stack_bytes: u32,
    /// Whether survived faults are to be told, too.
    pub handled: bool,
    /// How probes are placed; `None` for the best way that this kernel has.
    pub tier: Option<Tier>,
    /// Whether probes wait for pages that are not in memory, where the kernel lets them (Linux 6.0).
    pub waits_for_pages: bool,
    /// Where the program's C library keeps what it has not written yet.
    pub streams: Option<Streams>,
}

/// Signals whose default action is a crash.
pub const CRASHES: [i32; 7] = [SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS];

impl Default for Settings {
    fn default() -> Self {
        Self {
            calls: 64,
            max_ring_bytes: 1 << 20,
            threads: 256,
            signals: CRASHES.to_vec(),
            stack_bytes: 64 * 1024,
            handled: false,
            tier: None,
            waits_for_pages: true,
            streams: None,
        }
    }
}

/// Survived faults that are told of one run: what is left of their memory holds up room that a death may need.
pub const SURVIVED_TOLD: u32 = 16;
/// Stacks that there is room for at the same time. Most are much smaller than what may be copied of them.
const STACKS: u32 = 64;
/// Windows of memory that there is room for at the same time.
const WINDOWS: u32 = 8 * 1024;

impl Settings {
    /// Pages that there is room for.
    pub(super) fn chunks(&self) -> u32 {
        // A stack that begins in the middle of a page needs one more; the thread that aborts has what lies below its stack copied, too.
        let below = (STACK_WORDS_BELOW * 8).div_ceil(CHUNK_BYTES as u32);
        (self.stack_bytes.div_ceil(CHUNK_BYTES as u32) + 1) * STACKS.min(self.threads) + below
    }

    /// Windows that there is room for.
    pub(super) fn windows(&self) -> u32 {
        WINDOWS.min(self.threads * 256)
    }

    /// The bounds for a plan. A ring has room for `calls` records of the largest size, as long as that is not too much: then fewer
    /// may be kept, and the report counts the rest as overwritten.
    pub(super) fn config(&self, plan: &Plan, types: &KernelTypes) -> Result<Config, ProbeError> {
        let data_bytes = plan.functions.iter().map(data_bytes).max().unwrap_or(0);
        let record_bytes = RECORD_BYTES + align8(data_bytes);
        let wanted = u64::from(self.calls.max(1)) * u64::from(record_bytes);
        let most = self.max_ring_bytes.max(record_bytes.next_power_of_two());
        let ring_bytes = u32::try_from(wanted).unwrap_or(most).min(most).next_power_of_two();
        let index_entries = self.calls.max(1).next_power_of_two();
        let (offsets, has_fault_details) = types.task_offsets()?;
        let namespace = std::fs::metadata("/proc/self/ns/pid").map_err(no_namespace)?;
        let streams = self.streams.unwrap_or_default();
        let config = Config {
            signals: self.signals.iter().fold(0, |set, signal| set | 1 << (signal - 1)),
            namespace_device: namespace.dev(),
            namespace_inode: namespace.ino(),
            stream_heads: streams.heads,
            library_name_end: streams.library_name_end,
            abort_message: streams.abort_message.map_or(0, |message| message.0),
            debug_slot: streams.debug_slot.map_or(0, |slot| slot.0),
            lowest_code: streams.lowest_code.0,
            slots: self.threads.max(1),
            index_entries,
            open_sets: index_entries,
            ring_bytes,
            data_bytes,
            stack_bytes: self.stack_bytes,
            thread_tls_base: types.thread_tls_base(),
            has_fault_details: u32::from(has_fault_details),
            survived_told: if self.handled { SURVIVED_TOLD } else { 0 },
            waits_for_pages: u32::from(self.waits_for_pages && multi::can_wait_for_pages()),
            reserved: 0,
            stream: streams.layout,
            offsets,
        };
        let total = u64::from(config.slots) * u64::from(config.slot_bytes());
        if total > i32::MAX as u64 {
            return Err(ProbeError::TooLarge { threads: config.slots, slot_bytes: config.slot_bytes().into() });
        }
        Ok(config)
    }
}

/// Bytes of data in a record of this function at the most.
pub(super) fn data_bytes(function: &FunctionPlan) -> u32 {
    let bytes: u32 = function.steps.iter().map(Step::output_bytes).sum();
    (bytes + function.exit.room_bytes()).min(MAX_DATA_BYTES)
}

fn no_namespace(source: io::Error) -> ProbeError {
    ProbeError::Map { map: "CONFIG", source: Box::new(source) }
}
