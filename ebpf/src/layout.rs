//! Where things lie in a thread's slot, and what user space tells the programs before they are loaded.
//!
//! ```text
//! slot: SlotHeader | index: u64 × index_entries | open calls: OpenCall × open_sets × OPEN_WAYS | ring | slack
//! ```
//!
//! The *index* holds, for call number `n`, at entry `n % index_entries`, the position of its record. A *position* only grows; the
//! record lies at `position % ring_bytes` in the ring. A record that begins before the end of the ring may reach into the slack
//! behind it, so that it is never split; the next one then begins a new lap. The record at a position is whole as long as the
//! ring's head is at most `ring_bytes` ahead of it.

use crate::record::{RECORD_BYTES, ThreadState};
use crate::{COMM_BYTES, MAX_COPY_BYTES, MAX_DATA_BYTES, REGISTER_WORDS, align8};

/// Calls that share a set of the table of open calls.
pub const OPEN_WAYS: u32 = 4;

/// Entries of the map `RECENT_SLOTS`: a power of two.
pub const RECENT_SLOTS: u32 = 4096;

/// Nobody uses the slot.
pub const SLOT_FREE: u32 = 0;
/// A living thread writes to it.
pub const SLOT_LIVE: u32 = 1;
/// Its thread has ended with its process by a fatal signal; user space gives it back.
pub const SLOT_ENDED: u32 = 2;

/// The head of a thread's slot.
#[repr(C)]
#[derive(Clone, Copy)]
#[cfg_attr(feature = "user", derive(Debug))]
pub struct SlotHeader {
    /// How free slots are chained.
    pub pool: PoolHeader,
    /// Kernel-global process id of the owner; 0 without one.
    pub pid: u32,
    /// Kernel-global thread id of the owner.
    pub tid: u32,
    /// As lastwords' own pid namespace sees it.
    pub ns_pid: u32,
    /// As lastwords' own pid namespace sees it.
    pub ns_tid: u32,
    /// Calls recorded in this slot, those of earlier owners included: numbers never come twice, so that nothing an earlier owner left
    /// in index and table of open calls is taken for the present one's.
    pub calls: u64,
    /// What `calls` was when the owner began.
    pub first: u64,
    /// Position of the next record.
    pub head: u64,
    /// The cookie of the probe that recorded the last call.
    pub last_entry: u64,
    /// The registers at the death of the thread.
    pub death: ThreadState,
    /// The registers at the probe that runs now: the interpreter's scratch.
    pub registers: [u64; REGISTER_WORDS],
    /// The frame that is about to come back to the first instruction of its function.
    pub turn_cfa: u64,
    /// Index of that function plus 1; 0 if there is none.
    pub turn_function: u64,
}

/// A call that has not returned, as far as is known.
#[repr(C)]
#[derive(Clone, Copy, Default)]
#[cfg_attr(feature = "user", derive(Debug))]
pub struct OpenCall {
    /// Canonical frame address of the call.
    pub cfa: u64,
    /// Its number plus 1; 0 where the entry is free.
    pub number: u64,
    /// Index of its function.
    pub function: u32,
    /// Zero.
    pub reserved: u32,
}

/// Offsets in the kernel's own structures, from its BTF, in bytes.
#[repr(C)]
#[derive(Clone, Copy, Default)]
#[cfg_attr(feature = "user", derive(Debug))]
pub struct TaskOffsets {
    /// `task_struct.pid`
    pub task_pid: u32,
    /// `task_struct.tgid`
    pub task_tgid: u32,
    /// `task_struct.signal`
    pub task_signal: u32,
    /// `task_struct.exit_code`
    pub task_exit_code: u32,
    /// `task_struct.mm`
    pub task_mm: u32,
    /// `task_struct.thread.error_code`
    pub thread_error_code: u32,
    /// `task_struct.thread.trap_nr`
    pub thread_trap: u32,
    /// `task_struct.thread.cr2`
    pub thread_fault_register: u32,
    /// `signal_struct.live`
    pub signal_live: u32,
    /// `mm_struct.start_code`
    pub mm_start_code: u32,
    /// `mm_struct.arg_start`
    pub mm_arg_start: u32,
    /// `mm_struct.arg_end`
    pub mm_arg_end: u32,
    /// `mm_struct.start_stack`
    pub mm_start_stack: u32,
    /// `task_struct.utask`
    pub task_utask: u32,
    /// `uprobe_task.return_instances`
    pub utask_returns: u32,
    /// `return_instance.stack`
    pub return_stack: u32,
    /// `return_instance.orig_ret_vaddr`
    pub return_address: u32,
    /// `return_instance.next`
    pub return_next: u32,
    /// `return_instance.func`
    pub return_function: u32,
    /// `k_sigaction.sa.sa_handler`
    pub action_handler: u32,
    /// `k_sigaction.sa.sa_flags`
    pub action_flags: u32,
    /// `task_struct.blocked`
    pub task_blocked: u32,
    /// `task_struct.sas_ss_sp`
    pub task_alt_stack: u32,
    /// `task_struct.sas_ss_size`
    pub task_alt_stack_bytes: u32,
    /// `signal_struct.flags`
    pub signal_flags: u32,
    /// `signal_struct.group_exit_code`
    pub signal_exit_code: u32,
    /// `linux_binprm.file`
    pub binprm_file: u32,
    /// `file.f_inode`
    pub file_inode: u32,
    /// `inode.i_ino`
    pub inode_number: u32,
    /// `inode.i_sb`
    pub inode_super_block: u32,
    /// `super_block.s_dev`
    pub super_block_device: u32,
    /// `vm_area_struct.vm_start`
    pub vma_start: u32,
    /// `vm_area_struct.vm_end`
    pub vma_end: u32,
    /// `vm_area_struct.vm_flags`
    pub vma_flags: u32,
    /// `vm_area_struct.vm_file`
    pub vma_file: u32,
    /// `vm_area_struct.vm_pgoff`
    pub vma_page_offset: u32,
    /// `inode.i_size`
    pub inode_bytes: u32,
    /// `file.f_path.dentry`
    pub file_dentry: u32,
    /// `dentry.d_name.name`
    pub dentry_name: u32,
}

impl TaskOffsets {
    /// Nothing looked up yet.
    pub const ZERO: Self = Self {
        task_pid: 0,
        task_tgid: 0,
        task_signal: 0,
        task_exit_code: 0,
        task_mm: 0,
        thread_error_code: 0,
        thread_trap: 0,
        thread_fault_register: 0,
        signal_live: 0,
        mm_start_code: 0,
        mm_arg_start: 0,
        mm_arg_end: 0,
        mm_start_stack: 0,
        task_utask: 0,
        utask_returns: 0,
        return_stack: 0,
        return_address: 0,
        return_next: 0,
        return_function: 0,
        action_handler: 0,
        action_flags: 0,
        task_blocked: 0,
        task_alt_stack: 0,
        task_alt_stack_bytes: 0,
        signal_flags: 0,
        signal_exit_code: 0,
        binprm_file: 0,
        file_inode: 0,
        inode_number: 0,
        inode_super_block: 0,
        super_block_device: 0,
        vma_start: 0,
        vma_end: 0,
        vma_flags: 0,
        vma_file: 0,
        vma_page_offset: 0,
        inode_bytes: 0,
        file_dentry: 0,
        dentry_name: 0,
    };
}

/// What user space decides before the programs are loaded. The verifier sees these as constants.
#[repr(C)]
#[derive(Clone, Copy, Default)]
#[cfg_attr(feature = "user", derive(Debug))]
pub struct Config {
    /// Signals that count as a crash: bit `n - 1` for signal `n`.
    pub signals: u64,
    /// Device of lastwords' pid namespace (`stat /proc/self/ns/pid`), as the kernel encodes it.
    pub namespace_device: u64,
    /// Inode of lastwords' pid namespace.
    pub namespace_inode: u64,
    /// Where the C library keeps pointers to its streams, each the first of a list: addresses as in its file, or in that of a static
    /// program. Those that are not there are 0, and behind the others.
    pub stream_heads: [u64; STREAM_HEADS],
    /// The last eight bytes of the name by which the loader knows the C library.
    pub library_name_end: u64,
    /// Where glibc keeps a pointer to the message of an abort (`__abort_msg`): as `stream_heads`; 0 where it is not known.
    pub abort_message: u64,
    /// Where the program's dynamic section has the address of `struct r_debug` (`DT_DEBUG`), as in its file; 0 for a static one.
    pub debug_slot: u64,
    /// The program's lowest executable address, as in its file: `mm->start_code` without the bias.
    pub lowest_code: u64,
    /// Threads that can have a ring.
    pub slots: u32,
    /// Entries of the index: a power of two, at least the calls to keep.
    pub index_entries: u32,
    /// Sets of the table of open calls: a power of two.
    pub open_sets: u32,
    /// Bytes of a ring: a power of two, at least one largest record.
    pub ring_bytes: u32,
    /// Bytes of the data of the largest record.
    pub data_bytes: u32,
    /// Bytes of each stack to copy at the death of its thread.
    pub stack_bytes: u32,
    /// Offset of the thread's `thread.fsbase`, the base of its thread-local storage; 0 where there is none.
    pub thread_tls_base: u32,
    /// Whether these kernel structures have an address of the last page fault and the like: 0 or 1.
    pub has_fault_details: u32,
    /// Survived faults that user space wants to be told of, at the most.
    pub survived_told: u32,
    /// Whether probes may wait for pages that are not in memory: 0 or 1.
    pub waits_for_pages: u32,
    /// Zero.
    pub reserved: u32,
    /// What a stream looks like.
    pub stream: StreamLayout,
    /// Offsets in kernel structures.
    pub offsets: TaskOffsets,
}

impl Config {
    /// What the object holds until user space puts its own in.
    pub const ZERO: Self = Self {
        signals: 0,
        namespace_device: 0,
        namespace_inode: 0,
        stream_heads: [0; STREAM_HEADS],
        library_name_end: 0,
        abort_message: 0,
        debug_slot: 0,
        lowest_code: 0,
        slots: 0,
        index_entries: 0,
        open_sets: 0,
        ring_bytes: 0,
        data_bytes: 0,
        stack_bytes: 0,
        thread_tls_base: 0,
        has_fault_details: 0,
        survived_told: 0,
        waits_for_pages: 0,
        reserved: 0,
        stream: StreamLayout::GLIBC,
        offsets: TaskOffsets::ZERO,
    };

    /// Where the table of open calls begins in a slot.
    #[must_use]
    pub const fn open_offset(&self) -> u32 {
        open_offset(self.index_entries)
    }

    /// Where the ring begins in a slot.
    #[must_use]
    pub const fn ring_offset(&self) -> u32 {
        ring_offset(self.index_entries, self.open_sets)
    }

    /// Bytes of a slot.
    #[must_use]
    pub const fn slot_bytes(&self) -> u32 {
        self.ring_offset() + self.ring_bytes + RECORD_BYTES + align8(self.data_bytes) + MAX_OUTPUT_BYTES
    }
}

/// Where the index begins in a slot.
pub const INDEX_OFFSET: u32 = size_of::<SlotHeader>() as u32;

/// Bytes that one step may write at the most. The slack behind a ring has room for one more than a record needs: the verifier bounds
/// the place and the size of a copy apart from each other.
pub const MAX_OUTPUT_BYTES: u32 = MAX_COPY_BYTES + 16;

/// Where the table of open calls begins in a slot.
#[must_use]
pub const fn open_offset(index_entries: u32) -> u32 {
    INDEX_OFFSET + index_entries * 8
}

/// Where the ring begins in a slot.
#[must_use]
pub const fn ring_offset(index_entries: u32, open_sets: u32) -> u32 {
    open_offset(index_entries) + open_sets * OPEN_WAYS * size_of::<OpenCall>() as u32
}

/// Which program is watched: the one entry of the map `TARGET`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
#[cfg_attr(feature = "user", derive(Debug))]
pub struct Target {
    /// `i_ino` of the file that the first process executes; valid once `known` is 1.
    pub inode: u64,
    /// `s_dev` of its file system.
    pub device: u32,
    /// Process id, in lastwords' own pid namespace, of the process whose next exec begins it all.
    pub ns_pid: u32,
    /// 1 once that exec has happened.
    pub known: u32,
    /// Zero.
    pub reserved: u32,
}

/// The head of an entry of a pool (slots, chunks, windows): how free entries are chained.
#[repr(C)]
#[derive(Clone, Copy, Default)]
#[cfg_attr(feature = "user", derive(Debug))]
pub struct PoolHeader {
    /// [`SLOT_FREE`] or another of those constants.
    pub state: u32,
    /// The next entry in the stack of free ones, plus 1; 0 ends it.
    pub next_free: u32,
}

/// A piece of a dying process's memory, in front of its bytes.
#[repr(C)]
#[derive(Clone, Copy, Default)]
#[cfg_attr(feature = "user", derive(Debug))]
pub struct MemoryHeader {
    /// How free entries are chained.
    pub pool: PoolHeader,
    /// Kernel-global process id.
    pub pid: u32,
    /// Kernel-global thread id of the thread that copied it.
    pub tid: u32,
    /// Where it was.
    pub address: u64,
    /// Bytes that are valid.
    pub length: u32,
    /// One of the constants below.
    pub kind: u32,
    /// [`Fault::at_ns`](crate::Fault::at_ns) of the handled fault at which it was copied; 0 if that was at the end.
    pub moment_ns: u64,
}

/// The bytes are what the process had in memory.
pub const AS_IN_MEMORY: u32 = 0;
/// The bytes are a return address in whose place the kernel had put its trampoline.
pub const RETURN_ADDRESS: u32 = 1;
/// There are no bytes: from `address` on, `length` of them could not be read, up to the end of the page. It is not there, not resident or protected.
pub const UNREADABLE: u32 = 2;

/// Calls of a dying thread whose pointers are followed again.
pub const RECENT_CALLS: u32 = 16;

/// A piece of a stack: a page, or what is left of one.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Chunk {
    /// What it is.
    pub header: MemoryHeader,
    /// Its bytes.
    pub bytes: [u8; CHUNK_BYTES],
}

/// What lies around an address that a register or the top of the stack holds.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Window {
    /// What it is.
    pub header: MemoryHeader,
    /// Its bytes.
    pub bytes: [u8; WINDOW_BYTES],
}

/// Bytes of a [`Chunk`]: a page, which is there or not as a whole.
pub const CHUNK_BYTES: usize = 4096;
/// Bytes of a [`Window`].
pub const WINDOW_BYTES: usize = 256;
/// Bytes of a window in front of the address.
pub const WINDOW_BEFORE_BYTES: u64 = 32;
/// Return addresses that are kept of the kernel's own stack where it chooses a process to be killed for lack of memory.
pub const OOM_STACK_WORDS: usize = 24;

/// Lists of streams of one C library at the most.
pub const STREAM_HEADS: usize = 4;

/// The part of a C library's `FILE` that says what was never written: offsets in bytes.
#[repr(C)]
#[derive(Clone, Copy, Default)]
#[cfg_attr(feature = "user", derive(Debug, PartialEq, Eq))]
pub struct StreamLayout {
    /// Points to the first byte that was not written.
    pub write_base: u32,
    /// Points behind the last one.
    pub write_pointer: u32,
    /// Points to the next stream.
    pub chain: u32,
    /// The file descriptor.
    pub descriptor: u32,
}

impl StreamLayout {
    /// `_IO_write_base`, `_IO_write_ptr`, `_chain`, `_fileno` (libio/bits/types/struct_FILE.h; part of its binary interface, the same on
    /// all 64-bit machines).
    pub const GLIBC: Self = Self { write_base: 32, write_pointer: 40, chain: 104, descriptor: 112 };
    /// `wbase`, `wpos`, `next`, `fd` (src/internal/stdio_impl.h). Not part of any interface, but the same since musl 0.9, on all 64-bit
    /// machines.
    pub const MUSL: Self = Self { write_base: 56, write_pointer: 40, chain: 112, descriptor: 120 };
}

/// Words at the top of the stack that windows are opened for.
pub const WINDOW_STACK_WORDS: u32 = 128;

/// Which set of the table of open calls belongs to a frame.
#[must_use]
pub const fn open_set(cfa: u64, sets: u32) -> u32 {
    // Fibonacci hashing: neighbouring frames differ in few bits.
    ((cfa >> 3).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u32 & (sets - 1)
}

const _: () = assert!(size_of::<SlotHeader>() == 24 + 32 + size_of::<ThreadState>() + 8 * REGISTER_WORDS + 16);
const _: () = assert!(size_of::<SlotHeader>().is_multiple_of(8) && COMM_BYTES.is_multiple_of(8));
const _: () = assert!(size_of::<OpenCall>() == 24);
const _: () = assert!(size_of::<Target>() == 24);
const _: () = assert!(size_of::<MemoryHeader>() == 40);
const _: () = assert!(size_of::<Chunk>() == 40 + CHUNK_BYTES && size_of::<Window>() == 40 + WINDOW_BYTES);
const _: () = assert!(size_of::<Config>() == 148 + size_of::<TaskOffsets>());
const _: () = assert!(MAX_DATA_BYTES.is_multiple_of(8));
