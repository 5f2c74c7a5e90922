//! Exact sentences, from hand-made evidence: code and registers in memory, frames by their names. What they say of variables, files and mappings is
//! tested on whole programs (`tests/explain.rs`).

use lastwords_abi::record::{INFO_PRESENT, MAPPING_FOUND, Mapping, ThreadState};
use lastwords_abi::{COMM_BYTES, Counter, Event, Fault, REGISTER_WORDS, Watched};
use nix::libc::{SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGSYS, SIGTRAP};

use super::*;
use crate::address::Avma;
use crate::arch;
use crate::crash::memory::Memory;
use crate::crash::modules::ModuleMap;
use crate::crash::signal::{SI_KERNEL, SI_TKILL};
use crate::report::{FoundBy, Frame};

const PC: u64 = 0x40_1000;
const SP: u64 = 0x7ffd_0000_1000;
const PID: u32 = 41;
/// Words of `struct pt_regs`.
const RAX: usize = 10;
const RCX: usize = 11;
const RIP: usize = 16;
const RSP: usize = 19;

/// A moment without modules: the code is known from memory only.
struct Moment {
    fault: Fault,
    memory: Memory,
    frames: Vec<Frame>,
}

impl Moment {
    /// A fault at an instruction with these bytes.
    fn at(code: &[u8], signal: i32, si_code: i32) -> Self {
        let mut registers = [0; REGISTER_WORDS];
        (registers[RIP], registers[RSP]) = (PC, SP);
        let thread = ThreadState { at_ns: 1, registers, tls_base: 0, stack_end: 0, comm: [0; COMM_BYTES] };
        let fault = Fault { signal, code: si_code, pid: 70_000, thread, info: INFO_PRESENT, ..Fault::ZERO };
        let mut memory = Memory::default();
        memory.insert(Avma(PC), code);
        memory.insert(Avma(SP), &[0; 64]);
        Self { fault, memory, frames: Vec::new() }
    }

    /// A page fault at `address`; `error_code` as the processor has it.
    fn page_fault(code: &[u8], address: u64, si_code: i32, error_code: u64) -> Self {
        let mut moment = Self::at(code, SIGSEGV, si_code);
        let Fault { thread, .. } = moment.fault;
        let trap = told::PAGE_FAULT;
        moment.fault = Fault { address, fault_register: address, trap, error_code, thread, ..moment.fault };
        moment
    }

    fn with(mut self, register: usize, value: u64) -> Self {
        self.fault.thread.registers[register] = value;
        self
    }

    fn in_functions(mut self, names: &[&str]) -> Self {
        let frame = |name: &&str| Frame { function: Some((*name).into()), ..Frame::default() };
        self.frames = names.iter().map(frame).collect();
        self
    }

    fn report(self) -> report::Fault {
        let modules = ModuleMap::default();
        let code = Code::new(&modules, arch::host());
        let event = Event { pid: 70_000, watched: Watched::default(), ..Event::default() };
        let counters = [0; Counter::COUNT as usize];
        let snapshot = Snapshot {
            fault: self.fault,
            event,
            threads: Vec::new(),
            counters,
            memory: self.memory,
            memory_at_end: None,
        };
        let thread = Thread { crashed: true, frames: self.frames, ..Thread::default() };
        let plan = Plan::default();
        let evidence = Evidence {
            code: Some(&code),
            thread: Some(&thread),
            plan: &plan,
            pid: PID,
            exceptions: &[],
            pc: Some(Address(PC)),
        };
        fault(&snapshot, evidence)
    }

    fn told(self) -> (Option<Cause>, String) {
        let report = self.report();
        (report.cause, report.explanation)
    }
}

fn says(cause: Cause, sentence: &str) -> (Option<Cause>, String) {
    (Some(cause), sentence.to_owned())
}

/// `mov dword ptr [rax+0x18], 1`
const STORE: [u8; 7] = [0xc7, 0x40, 0x18, 1, 0, 0, 0];
/// `mov rax, [rax]`
const LOAD: [u8; 3] = [0x48, 0x8b, 0x00];
const WRITE: u64 = 6;
const READ: u64 = 4;
const MAPERR: i32 = 1;
const ACCERR: i32 = 2;

/// Guards against one wrong word for pointers that are wrong in different ways.
#[test]
fn bad_pointers_are_told_apart() {
    assert_eq!(
        Moment::page_fault(&STORE, 0x18, MAPERR, WRITE).told(),
        says(Cause::NullPointer, "wrote to address 0x18 through a null pointer: rax was 0")
    );
    assert_eq!(
        Moment::page_fault(&LOAD, 0x2a, MAPERR, READ).with(RAX, 0x2a).told(),
        says(
            Cause::SmallInteger,
            "read from address 0x2a: the pointer in rax holds the small number 42 (0x2a) and no address"
        )
    );
    let text = u64::from_le_bytes(*b"password");
    assert_eq!(
        Moment::at(&LOAD, SIGSEGV, SI_KERNEL).with(RAX, text).told(),
        says(
            Cause::TextAsPointer,
            "read from address 0x64726f7773736170: the pointer in rax holds the text \"password\" and no address"
        )
    );
    assert_eq!(
        Moment::at(&LOAD, SIGSEGV, SI_KERNEL).with(RAX, 0xdead_beef_dead_beef).told(),
        says(
            Cause::NotCanonical,
            "read from address 0xdeadbeefdeadbeef, which no memory can have (it is not canonical); the pointer in rax holds \
             0xdeadbeefdeadbeef"
        )
    );
    assert_eq!(
        Moment::page_fault(&LOAD, 0x7f00_1234_5678, MAPERR, READ).with(RAX, 0x7f00_1234_5678).told(),
        says(Cause::Unmapped, "read from address 0x7f0012345678, where no memory is mapped")
    );
    assert_eq!(
        Moment::page_fault(&STORE, 0x5000_0018, ACCERR, WRITE).with(RAX, 0x5000_0000).told(),
        says(Cause::ReadOnly, "wrote to address 0x50000018, which is read-only")
    );
}

/// Guards against operands that are left out, and against an inference that passes for a fact.
#[test]
fn findings_say_what_they_rest_on() {
    let report = Moment::page_fault(&LOAD, 0x2a, MAPERR, READ).with(RAX, 0x2a).report();

    assert_eq!(
        report.findings,
        [
            inferred("it may also be the address of a member, taken through a null pointer"),
            known("`mov rax, [rax]` reads 8 bytes at 0x2a; rax was 0x2a"),
        ]
    );
    let instruction = report.instruction.unwrap();
    assert_eq!((instruction.address, instruction.text.as_str()), (Address(PC), "mov rax, [rax]"));
    assert_eq!(instruction.bytes, "488b00");
}

/// Guards against an operand that is blamed although the address of the signal is another one.
#[test]
fn an_operand_elsewhere_is_not_to_blame() {
    let report = Moment::page_fault(&LOAD, 0x7f00_0000_0000, MAPERR, READ).with(RAX, 0x1000).report();

    assert_eq!(report.explanation, "read from address 0x7f0000000000, where no memory is mapped");
    assert_eq!(report.findings, []);
}

/// Guards against a mapping that is told for one that contains the address.
#[test]
fn the_end_of_a_mapping_is_told() {
    let mut moment = Moment::page_fault(&LOAD, 0x7f00_0000_2005, MAPERR, READ).with(RAX, 0x7f00_0000_2005);
    moment.fault.mapping = Mapping {
        start: 0x7f00_0000_1000,
        end: 0x7f00_0000_2000,
        flags: 3,
        state: MAPPING_FOUND,
        ..Mapping::NOT_ASKED
    };
    let report = moment.report();

    let mapping = report.mapping.unwrap();
    assert_eq!((mapping.permissions.as_str(), mapping.contains_address, mapping.file), ("rw-p", false, None));
    assert_eq!(
        report.findings[0],
        inferred(
            "the address lies 5 bytes behind the end of the mapping from 0x7f0000001000 to 0x7f0000002000: it may have run over that"
        )
    );
}

/// Guards against a misaligned access that is taken for a bad pointer.
#[test]
fn misaligned_vectors_are_told() {
    let movaps = [0x0f, 0x29, 0x00];
    assert_eq!(
        Moment::at(&movaps, SIGSEGV, SI_KERNEL).with(RAX, 0x7f00_0000_0008).told(),
        says(
            Cause::Misaligned,
            "wrote to address 0x7f0000000008, which is no multiple of 16: this instruction accesses aligned memory only"
        )
    );
}

/// Guards against an overflow that is told as a division by zero.
#[test]
fn divisions_name_their_divisor() {
    let idiv_ecx = [0xf7, 0xf9];
    let of = |divisor: u64| Moment::at(&idiv_ecx, SIGFPE, 1).with(RCX, divisor).told();

    assert_eq!(of(0x1_0000_0000), says(Cause::DivisionByZero, "divided an integer by zero: the divisor in rcx is 0"));
    assert_eq!(
        of(0xffff_ffff),
        says(
            Cause::DivisionOverflow,
            "divided the smallest integer of 32 bits by -1, whose quotient is too large: the divisor in rcx is -1"
        )
    );
    assert_eq!(
        of(2),
        says(
            Cause::DivisionOverflow,
            "divided an integer by 2, and the quotient was too large for 32 bits: the divisor in rcx is 2"
        )
    );
}

/// Guards against guesses about instructions that fail by themselves.
#[test]
fn instructions_that_always_fail_are_told() {
    assert_eq!(
        Moment::at(&[0x0f, 0x0b], SIGILL, 2).told(),
        says(Cause::TrapInstruction, "reached `ud2`, which stands where code must never get to")
    );
    assert_eq!(
        Moment::at(&[0xf4], SIGSEGV, SI_KERNEL).told(),
        says(Cause::PrivilegedInstruction, "executed `hlt`, which is for the kernel only")
    );
    assert_eq!(
        Moment::at(&[0x06], SIGILL, 2).told(),
        says(Cause::IllegalInstruction, "the processor refused the bytes at 0x401000, which are no instruction")
    );
    // Its file is not known: what the signal tells must do.
    let (cause, sentence) = Moment::at(&[0x90], SIGTRAP, SI_KERNEL).told();
    assert_eq!(
        (cause, sentence.as_str()),
        (None, "it hit a breakpoint instruction (a failed check, or `__builtin_trap`)")
    );
}

/// Guards against a jump to nowhere that is told as an access.
#[test]
fn a_jump_to_nowhere_is_told() {
    let mut moment = Moment::page_fault(&[], 0x1234, MAPERR, 0x14).with(RIP, 0x1234);
    moment.frames = vec![Frame { address: Address(0x1234), found_by: FoundBy::InstructionPointer, ..Frame::default() }];
    assert_eq!(moment.told(), says(Cause::BadCodePointer, "jumped to address 0x1234, where no memory is mapped"));
}

/// Guards against a full stack that is told as a bad pointer, and against a bad pointer near the stack that is told as an overflow.
#[test]
fn a_full_stack_is_told() {
    // push rbp
    let overflow = |captured: u64| {
        let mut moment = Moment::page_fault(&[0x55], SP - 0x8008, MAPERR, WRITE).with(RSP, SP - 0x8000);
        moment.memory.insert(Avma(captured), &[0; 0x1000]);
        moment.in_functions(&["dig"]).told()
    };
    assert_eq!(
        overflow(SP - 0x7000),
        says(
            Cause::StackOverflow,
            "overflowed its stack: `dig` needed memory at 0x7ffcffff8ff8, below the end of the stack"
        )
    );
    assert_eq!(overflow(SP - 0x9000).0, Some(Cause::Unmapped));
}

/// Guards against a system call that is told by another architecture's numbers.
#[test]
fn system_calls_have_the_names_of_their_architecture() {
    const AUDIT_ARCH_X86_64: u32 = 0xc000_003e;
    let of = |syscall, syscall_arch| {
        let mut moment = Moment::at(&[0x90], SIGSYS, 1);
        (moment.fault.syscall, moment.fault.syscall_arch) = (syscall, syscall_arch);
        moment.told().1
    };
    assert_eq!(of(110, AUDIT_ARCH_X86_64), "made the system call `getppid` (110), which its seccomp filter forbids");
    assert_eq!(of(110, 0x4000_0003), "made the system call number 110, which its seccomp filter forbids");
    assert_eq!(of(9999, AUDIT_ARCH_X86_64), "made the system call number 9999, which its seccomp filter forbids");
}

/// Guards against a file's end that is invented.
#[test]
fn the_end_of_a_mapped_file_is_told() {
    let of = |file_bytes| {
        let mut moment = Moment::at(&LOAD, SIGBUS, 2).with(RAX, 0x7f00_0000_1010);
        moment.fault.address = 0x7f00_0000_1010;
        let mut name = [0; lastwords_abi::record::FILE_NAME_BYTES];
        name[..5].copy_from_slice(b"a.bin");
        moment.fault.mapping = Mapping {
            start: 0x7f00_0000_0000,
            end: 0x7f00_0000_2000,
            flags: 1,
            page_offset: 1,
            file_bytes,
            state: MAPPING_FOUND,
            is_file: 1,
            name,
            ..Mapping::NOT_ASKED
        };
        moment.told()
    };
    assert_eq!(
        of(0x1800),
        says(
            Cause::BeyondFile,
            "read from address 0x7f0000001010, which is beyond the end of the mapped file a.bin: byte 8208 of 6144 bytes"
        )
    );
    assert_eq!(of(0x9000).0, None);
}

fn abort(names: &[&str], message: &str) -> (Option<Cause>, String) {
    let mut moment = Moment::at(&[0x90], SIGABRT, SI_TKILL).in_functions(names);
    moment.fault.sender_pid = PID;
    if !message.is_empty() {
        moment.fault.abort_message = 0x5000;
        moment.memory.insert(Avma(0x5000), &0x6000_u64.to_le_bytes());
        let size = u32::try_from(message.len() + 1).unwrap().to_le_bytes();
        moment.memory.insert(Avma(0x6000), &[&size[..], message.as_bytes(), b"\0"].concat());
    }
    moment.told()
}

/// Guards against the wrong reason for giving up.
#[test]
fn aborts_have_reasons() {
    let assertion = "prog: src/a.c:12: check: Assertion `count > 0' failed.\n";
    assert_eq!(
        abort(&["raise", "abort", "__assert_fail_base", "__assert_fail", "check", "main"], assertion),
        says(Cause::Assertion, "the assertion `count > 0` failed in `check` (a.c:12)")
    );
    assert_eq!(
        abort(
            &["raise", "abort", "__libc_message", "malloc_printerr", "_int_free", "free", "release"],
            "double free or corruption (out)\n"
        ),
        says(
            Cause::HeapCorruption,
            "aborted by the C library: double free or corruption (out), found in a call from `release`"
        )
    );
    assert_eq!(
        abort(
            &["raise", "abort", "__libc_message", "__fortify_fail", "__stack_chk_fail", "smash", "main"],
            "*** stack smashing detected ***: terminated\n"
        ),
        says(Cause::StackSmashing, "aborted by the C library: stack smashing detected, in `smash`")
    );
    assert_eq!(abort(&["raise", "abort", "give_up", "main"], ""), says(Cause::Abort, "`give_up` called `abort`"));
    // Whoever raises the signal has not aborted.
    assert_eq!(abort(&["raise", "main"], "").0, None);
}

/// Guards against an exception that is told as a plain abort.
#[test]
fn the_end_of_a_cpp_program_is_told() {
    let ends = ["raise", "abort", "std::terminate"];
    assert_eq!(
        abort(&[&ends[..], &["__cxa_throw", "sell", "main"]].concat(), ""),
        says(Cause::Terminate, "a C++ exception was not caught, thrown by `sell`")
    );
    assert_eq!(
        abort(&[&ends[..], &["__cxa_pure_virtual", "fill"]].concat(), ""),
        says(Cause::Terminate, "called a pure virtual method: its object was not whole, or not any more")
    );
    assert_eq!(abort(&[&ends[..], &["main"]].concat(), ""), says(Cause::Terminate, "`main` called `std::terminate`"));
}

/// Guards against a panic that is told as an abort of the standard library.
#[test]
fn a_panic_is_told_with_the_function_that_panicked() {
    let names = [
        "raise",
        "abort",
        "std::process::abort",
        "__rustc::rust_panic",
        "std::panicking::rust_panic_with_hook",
        "core::panicking::panic_fmt",
        "core::option::unwrap_failed",
        "shop::first",
    ];
    assert_eq!(
        abort(&names, ""),
        says(Cause::Panic, "panicked in `shop::first`: `unwrap` was called on a `None` value")
    );
}

/// Guards against an explanation of what somebody else has sent.
#[test]
fn a_signal_from_outside_is_not_explained_by_the_code() {
    let mut moment = Moment::at(&STORE, SIGSEGV, 0);
    moment.fault.sender_pid = 7;
    assert_eq!(moment.told(), says(Cause::Sent, "process 7 of user 0 sent it"));
}
