//! What the kernel side writes: calls, faults, processes that are watched, events.

use crate::{COMM_BYTES, MAX_ARGS_BYTES, REGISTER_WORDS};

/// The call has returned; `returned_ns` and `value` are valid.
pub const RETURNED: u32 = 1 << 0;
/// The function was left by a jump to another one: `returned_ns` is when, and there is no value of its own.
pub const LEFT_BY_TAIL_CALL: u32 = 1 << 1;
/// The recorder had to forget that this call was open: whether it has returned is not known.
pub const RETURN_UNKNOWN: u32 = 1 << 2;

/// One call, in front of its captured data.
#[repr(C)]
#[derive(Clone, Copy, Default)]
#[cfg_attr(feature = "user", derive(Debug))]
pub struct Record {
    /// Number of the call in its thread, from 0.
    pub sequence: u64,
    /// `CLOCK_MONOTONIC` at entry.
    pub entered_ns: u64,
    /// `CLOCK_MONOTONIC` when it returned or was left.
    pub returned_ns: u64,
    /// Canonical frame address: the stack pointer before the call instruction pushed the return address.
    pub cfa: u64,
    /// Index of the function.
    pub function: u32,
    /// Bytes of captured data that follow.
    pub data_bytes: u32,
    /// The constants above.
    pub flags: u32,
    /// Zero.
    pub reserved: u32,
    /// The two registers for integer results: rax, rdx on x86-64. What is captured at the return stands right behind them.
    pub value: [u64; RESULT_WORDS],
}

/// Registers for integer results.
pub const RESULT_WORDS: usize = 2;
/// Bytes of [`Record::value`].
pub const RESULT_BYTES: u32 = size_of::<[u64; RESULT_WORDS]>() as u32;

/// Bytes of a [`Record`] without its data.
pub const RECORD_BYTES: u32 = size_of::<Record>() as u32;

/// A signal is about to kill a process: what `signal_deliver` knew, in the map `FAULTS` by kernel-global process id.
#[repr(C)]
#[derive(Clone, Copy)]
#[cfg_attr(feature = "user", derive(Debug))]
pub struct Fault {
    /// `CLOCK_MONOTONIC` of the delivery.
    pub at_ns: u64,
    /// `si_addr` for the signals of the hardware.
    pub address: u64,
    /// `thread.error_code`: what kind of access failed (x86: bits of the page fault).
    pub error_code: u64,
    /// `thread.trap_nr`.
    pub trap: u64,
    /// `thread.cr2`: the address of the last page fault.
    pub fault_register: u64,
    /// Where glibc's list of streams was; 0 where it was not found.
    pub stream_list: u64,
    /// Where glibc's pointer to its last message was (`__abort_msg`); 0 where it was not found.
    pub abort_message: u64,
    /// What is mapped at `address`, or right below it where nothing is.
    pub mapping: Mapping,
    /// The program's handler of the signal; 0 for the default action.
    pub handler: u64,
    /// `sa_flags` of that handler.
    pub handler_flags: u64,
    /// Where the thread's alternate signal stack begins; 0 if it has none.
    pub alt_stack: u64,
    /// How large that is.
    pub alt_stack_bytes: u64,
    /// [`SlotHeader::calls`](crate::SlotHeader::calls) of the thread.
    pub calls: u64,
    /// Of a handled fault: the thread's stack pointer at its end, 0 before that.
    pub end_stack_pointer: u64,
    /// Of a handled fault: the signals that the thread blocked at its end, bit `n - 1` for signal `n`.
    pub end_blocked: u64,
    /// Of a handled fault: the first of the chunks that were copied with it, plus 1.
    pub chunks: u32,
    /// The same of windows.
    pub windows: u32,
    /// Of a handled fault: how often the same instruction faulted again.
    pub repeated: u32,
    /// Of a handled fault: 1 if memory was copied with it.
    pub has_memory: u32,
    /// Kernel-global process id.
    pub pid: u32,
    /// Kernel-global thread id.
    pub tid: u32,
    /// The thread id as lastwords' own pid namespace sees it.
    pub ns_tid: u32,
    /// Signal number.
    pub signal: i32,
    /// `si_code`.
    pub code: i32,
    /// `si_pid` where a process sent the signal.
    pub sender_pid: u32,
    /// `si_uid` where a process sent the signal.
    pub sender_uid: u32,
    /// What `info` was: [`INFO_PRESENT`], or one of the kernel's two stand-ins.
    pub info: u32,
    /// `si_syscall`, for SIGSYS.
    pub syscall: u32,
    /// `si_arch`, for SIGSYS: `AUDIT_ARCH_X86_64` and the like.
    pub syscall_arch: u32,
    /// Real user id of the process, as the root user namespace sees it.
    pub uid: u32,
    /// Bytes of the arguments: more than `args` holds where they were cut; 0 where they could not be read.
    pub args_bytes: u32,
    /// Who sent the last signal that may have been this one.
    pub sender: SignalSender,
    /// The faulting thread: its own slot has the same, if it has one.
    pub thread: ThreadState,
    /// The program's arguments as they are in its memory, each with a NUL behind it.
    pub args: [u8; MAX_ARGS_BYTES],
}

impl Fault {
    /// Nothing known yet.
    pub const ZERO: Self = Self {
        at_ns: 0,
        address: 0,
        error_code: 0,
        trap: 0,
        fault_register: 0,
        stream_list: 0,
        abort_message: 0,
        mapping: Mapping::NOT_ASKED,
        handler: 0,
        handler_flags: 0,
        alt_stack: 0,
        alt_stack_bytes: 0,
        calls: 0,
        end_stack_pointer: 0,
        end_blocked: 0,
        chunks: 0,
        windows: 0,
        repeated: 0,
        has_memory: 0,
        pid: 0,
        tid: 0,
        ns_tid: 0,
        signal: 0,
        code: 0,
        sender_pid: 0,
        sender_uid: 0,
        info: 0,
        syscall: 0,
        syscall_arch: 0,
        uid: 0,
        args_bytes: 0,
        args: [0; MAX_ARGS_BYTES],
        sender: SignalSender { signal: 0, ns_pid: 0, pid: 0, uid: 0, comm: [0; COMM_BYTES] },
        thread: ThreadState {
            at_ns: 0,
            registers: [0; REGISTER_WORDS],
            tls_base: 0,
            stack_end: 0,
            comm: [0; COMM_BYTES],
        },
    };
}

/// Nobody looked, or the kernel was too busy to say.
pub const MAPPING_UNKNOWN: u32 = 0;
/// The rest of a [`Mapping`] is valid.
pub const MAPPING_FOUND: u32 = 1;
/// Nothing is mapped there.
pub const MAPPING_NONE: u32 = 2;

/// Bytes kept of the name of a mapped file.
pub const FILE_NAME_BYTES: usize = 64;

/// One mapping of a process: `struct vm_area_struct`.
#[repr(C)]
#[derive(Clone, Copy)]
#[cfg_attr(feature = "user", derive(Debug))]
pub struct Mapping {
    /// What was asked for: an address within the mapping, if there is one.
    pub asked: u64,
    /// `vm_start`
    pub start: u64,
    /// `vm_end`
    pub end: u64,
    /// `vm_flags`
    pub flags: u64,
    /// `vm_pgoff` of a file's mapping: pages of the file before it.
    pub page_offset: u64,
    /// `i_size`: the bytes of the file.
    pub file_bytes: u64,
    /// One of the constants above.
    pub state: u32,
    /// Whether it is of a file: 0 or 1.
    pub is_file: u32,
    /// The file's name, without directories, with a NUL behind it.
    pub name: [u8; FILE_NAME_BYTES],
}

impl Mapping {
    /// Before anybody has looked.
    pub const NOT_ASKED: Self = Self {
        asked: 0,
        start: 0,
        end: 0,
        flags: 0,
        page_offset: 0,
        file_bytes: 0,
        state: MAPPING_UNKNOWN,
        is_file: 0,
        name: [0; FILE_NAME_BYTES],
    };
}

/// The signal came with a siginfo.
pub const INFO_PRESENT: u32 = 0;
/// `SEND_SIG_NOINFO`: from user space, without details.
pub const INFO_NONE: u32 = 1;
/// `SEND_SIG_PRIV`: from the kernel.
pub const INFO_KERNEL: u32 = 2;

/// A process that is watched, in the map `WATCHED` by kernel-global process id.
#[repr(C)]
#[derive(Clone, Copy, Default)]
#[cfg_attr(feature = "user", derive(Debug))]
pub struct Watched {
    /// `CLOCK_MONOTONIC` of its last exec, or of the fork that made it.
    pub started_ns: u64,
    /// `mm->start_code`: where its lowest executable segment was loaded.
    pub start_code: u64,
    /// Process id as lastwords' own pid namespace sees it; 0 until it has made a call or died.
    pub ns_pid: u32,
    /// 1 while it executes the probed file, 0 after an exec of another.
    pub executes_target: u32,
    /// Its threads that have a handled fault in `HANDLED`.
    pub handled: u64,
    /// `CLOCK_MONOTONIC` of the last time that memory was copied at a handled fault.
    pub copied_ns: u64,
    /// 1 once the kernel has chosen it to be killed for lack of memory.
    pub is_oom_victim: u32,
    /// Zero.
    pub reserved: u32,
    /// Who sent it the last signal that may kill it.
    pub sender: SignalSender,
}

/// A process that sent a signal: `signal_generate` runs in its context, when it still exists.
#[repr(C)]
#[derive(Clone, Copy, Default)]
#[cfg_attr(feature = "user", derive(Debug))]
pub struct SignalSender {
    /// Signal number; 0 if nobody sent one.
    pub signal: i32,
    /// As lastwords' own pid namespace sees it; 0 where it does not.
    pub ns_pid: u32,
    /// Kernel-global process id.
    pub pid: u32,
    /// Real user id, as the root user namespace sees it.
    pub uid: u32,
    /// Name of the thread that sent it.
    pub comm: [u8; COMM_BYTES],
}

/// What goes through the ring buffer `EVENTS`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
#[cfg_attr(feature = "user", derive(Debug))]
pub struct Event {
    /// Kernel-global process id.
    pub pid: u32,
    /// As `wait(2)` reports it: the signal in the low seven bits.
    pub exit_code: u32,
    /// One of the constants below.
    pub kind: u32,
    /// Kernel-global thread id of the thread that survived a fault.
    pub tid: u32,
    /// [`Fault::at_ns`] of the fault that was survived.
    pub moment_ns: u64,
    /// What was known of the process.
    pub watched: Watched,
}

/// A watched process has ended: a signal that counts was delivered to it, or it has a handled fault, or was killed by SIGKILL.
pub const ENDED: u32 = 0;
/// A watched process has survived a fault: the map `SURVIVED` has it.
pub const SURVIVED: u32 = 1;

/// The registers of one thread as the kernel saved them, and which thread that is.
#[repr(C)]
#[derive(Clone, Copy)]
#[cfg_attr(feature = "user", derive(Debug))]
pub struct ThreadState {
    /// `CLOCK_MONOTONIC` of the snapshot; 0 if none was taken.
    pub at_ns: u64,
    /// The saved registers, in the order of the architecture's `pt_regs`.
    pub registers: [u64; REGISTER_WORDS],
    /// Where its thread-local storage is (`thread.fsbase` on x86-64).
    pub tls_base: u64,
    /// Below this the outermost part of the stack was copied, if the stack was too deep to be copied whole; 0 if it was not.
    pub stack_end: u64,
    /// The thread's name.
    pub comm: [u8; COMM_BYTES],
}

/// Indexes of the map `COUNTERS`.
pub struct Counter;

impl Counter {
    /// Threads that found no free slot.
    pub const THREADS_WITHOUT_SLOT: u32 = 0;
    /// Calls of such threads.
    pub const CALLS_WITHOUT_SLOT: u32 = 1;
    /// Calls of processes that run the same file and are not watched.
    pub const CALLS_OF_OTHERS: u32 = 2;
    /// Processes that could not be followed because the map of them was full.
    pub const PROCESSES_NOT_WATCHED: u32 = 3;
    /// Deaths that could not be told to user space because a buffer was full.
    pub const DEATHS_LOST: u32 = 4;
    /// Signals of the chosen set that a handler took.
    pub const HANDLED_FAULTS: u32 = 5;
    /// Deaths of descendants that execute another file.
    pub const DEATHS_OF_OTHER_FILES: u32 = 6;
    /// Pieces of stacks and windows of memory that found no room.
    pub const MEMORY_LOST: u32 = 7;
    /// Survived faults that user space was told of.
    pub const SURVIVED_TOLD: u32 = 8;
    /// Survived faults that it wanted to be told of, and was not: there were too many.
    pub const SURVIVED_NOT_TOLD: u32 = 9;
    /// How many there are.
    pub const COUNT: u32 = 10;
}

/// The signal in a wait status (`WTERMSIG`).
pub const SIGNAL_BITS: u32 = 0x7f;

const _: () = assert!(size_of::<Record>() == 64);
const _: () = assert!(core::mem::offset_of!(Record, value) as u32 + RESULT_BYTES == RECORD_BYTES);
const _: () = assert!(size_of::<Fault>() == 208 + size_of::<Mapping>() + size_of::<ThreadState>() + MAX_ARGS_BYTES);
const _: () = assert!(size_of::<Watched>() == 80);
const _: () = assert!(size_of::<Event>() == 104);
const _: () = assert!(size_of::<SignalSender>() == 32);
const _: () = assert!(size_of::<Mapping>() == 56 + FILE_NAME_BYTES);
const _: () = assert!(size_of::<ThreadState>() == 24 + 8 * REGISTER_WORDS + COMM_BYTES);
