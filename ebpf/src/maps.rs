//! The maps. User space sets the number of entries of those marked so, and the size of a slot, before it loads them.

use aya_ebpf::bindings::BPF_F_MMAPABLE;
use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, HashMap, RingBuf};
use lastwords_abi::layout::{self, Chunk, OOM_STACK_WORDS, Window};
use lastwords_abi::{Config, Counter, Event, Fault, Function, SlotHeader, Step, Target, Watched};

/// Read through [`config!`]: user space replaces it before the verifier sees it.
#[unsafe(no_mangle)]
pub static CONFIG: Config = Config::ZERO;

/// What a new entry of [`FAULTS`] holds: too large for the stack of 512 bytes.
#[unsafe(no_mangle)]
pub static EMPTY_FAULT: Fault = Fault::ZERO;

/// One field of [`CONFIG`], as a constant that the verifier knows and the compiler does not.
macro_rules! config {
    ($($field:tt)+) => {
        $crate::maps::constant(&raw const $crate::maps::CONFIG.$($field)+)
    };
}
pub(crate) use config;

/// Reads a field of [`CONFIG`], for [`config!`].
#[inline(always)]
pub fn constant<T: Copy>(field: *const T) -> T {
    // SAFETY: the macro passes a field of a static of plain numbers.
    unsafe { core::ptr::read_volatile(field) }
}

/// Each function, by the index in the cookie. Entries: set by user space, which reads the hits and sets generations through a mapping.
#[map]
pub static FUNCTIONS: Array<Function> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// What happens at an address of the program, where probes share a cookie: by the distance from its lowest code, a cookie without its generation.
/// Entries: set by user space.
#[map]
pub static SITES: HashMap<u64, u64> = HashMap::with_max_entries(1, 0);

/// The steps of all functions. Entries: set by user space.
#[map]
pub static STEPS: Array<Step> = Array::with_max_entries(1, 0);

/// One slot a thread. Entries and size of an entry: set by user space, which reads them through a mapping.
#[map]
pub static SLOTS: Array<SlotHeader> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// Top of the stack of free slots: number of the slot plus 1 in the low half, a tag against reuse (ABA) in the high one.
#[map]
pub static FREE_SLOTS: Array<u64> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// Pieces of the stacks of dying threads. Entries: set by user space.
#[map]
pub static CHUNKS: Array<Chunk> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// Top of the stack of free chunks, as [`FREE_SLOTS`].
#[map]
pub static FREE_CHUNKS: Array<u64> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// What the registers and stacks of dying threads point to. Entries: set by user space.
#[map]
pub static WINDOWS: Array<Window> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// Top of the stack of free windows, as [`FREE_SLOTS`].
#[map]
pub static FREE_WINDOWS: Array<u64> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// Kernel-global thread id to slot. Entries: set by user space. Not an LRU map: that would evict the quiet thread.
#[map]
pub static THREADS: HashMap<u32, u32> = HashMap::with_max_entries(1, 0);

/// By the low bits of a thread's kernel-global id: the slot that such a thread used last. Whether it is this thread's, the slot itself says. A
/// look here costs less than one into [`THREADS`].
#[map]
pub static RECENT_SLOTS: Array<u32> = Array::with_max_entries(layout::RECENT_SLOTS, 0);

/// The processes that are followed, by kernel-global process id.
#[map]
pub static WATCHED: HashMap<u32, Watched> = HashMap::with_max_entries(8192, 0);

/// The processes that die of a signal, by kernel-global process id, until user space has read their rings.
#[map]
pub static FAULTS: HashMap<u32, Fault> = HashMap::with_max_entries(256, 0);

/// The last fault of each thread that went to a handler, by kernel-global thread id, as long as the thread may still die of it.
#[map]
pub static HANDLED: HashMap<u32, Fault> = HashMap::with_max_entries(256, 0);

/// Faults that were survived, by [`Fault::at_ns`], until user space has read them.
#[map]
pub static SURVIVED: HashMap<u64, Fault> = HashMap::with_max_entries(64, 0);

/// Where the kernel was when it chose a process to be killed for lack of memory, by kernel-global process id: return addresses, the
/// innermost first.
#[map]
pub static OOM_STACKS: HashMap<u32, [u64; OOM_STACK_WORDS]> = HashMap::with_max_entries(64, 0);

/// Which program is watched.
#[map]
pub static TARGET: Array<Target> = Array::with_max_entries(1, 0);

/// What was lost, by [`Counter`].
#[map]
pub static COUNTERS: Array<u64> = Array::with_max_entries(Counter::COUNT, 0);

/// Deaths, for user space to wake up on: an [`Event`] each.
#[map]
pub static EVENTS: RingBuf = RingBuf::with_byte_size(64 * 1024, 0);

/// Adds one to a [`Counter`].
#[inline(always)]
pub fn count(counter: u32) {
    if let Some(value) = COUNTERS.get_ptr_mut(counter) {
        add(value, 1);
    }
}

/// The value of a [`Counter`].
#[inline(always)]
pub fn counted(counter: u32) -> u64 {
    COUNTERS.get(counter).copied().unwrap_or(0)
}

/// Sends an event; false if there was no room for it.
#[inline(always)]
pub fn send(event: &Event) -> bool {
    EVENTS.output::<Event>(*event, 0).is_ok()
}

/// Adds to a number that several processors write. `AtomicU64::fetch_add` does not exist on this target.
#[inline(always)]
pub fn add(to: *mut u64, amount: u64) {
    use core::intrinsics::{AtomicOrdering, atomic_xadd};
    // SAFETY: a pointer from a map lookup, aligned to 8.
    unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(to, amount) };
}

/// Replaces `old` by `new`; false if something else stood there.
#[inline(always)]
pub fn compare_exchange(at: *mut u64, old: u64, new: u64) -> bool {
    use core::intrinsics::{AtomicOrdering, atomic_cxchg};
    // SAFETY: a pointer from a map lookup, aligned to 8.
    unsafe { atomic_cxchg::<u64, { AtomicOrdering::SeqCst }, { AtomicOrdering::SeqCst }>(at, old, new).1 }
}
