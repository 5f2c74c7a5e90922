//! A program that has just crashed: what a snapshot of it would hold, taken by `ptrace` while it stands at its last signal.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::sys::ptrace::{self, Options};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::address::{Avma, LoadBias};
use crate::arch;
use crate::binary::Binary;
use crate::crash::code::Code;
use crate::crash::memory::Memory;
use crate::crash::modules::{Mapped, ModuleMap, Segment, VDSO};
use crate::crash::unwind::{Backtrace, Registers, Stack, unwind};

/// Bytes of a stack that are captured by default.
const STACK_BYTES: u64 = 64 << 10;
/// Bytes below the stack pointer that are in use (psABI, 3.2.2).
const RED_ZONE_BYTES: u64 = 128;
/// Bytes below the end of the main thread's stack that are captured too.
const OUTER_BYTES: u64 = 16 << 10;
const PAGE_BYTES: u64 = 4096;

/// What is left of a process.
pub struct Dead {
    /// Registers of the threads, those of the crashed one first.
    pub threads: Vec<Registers>,
    pub memory: Memory,
    pub modules: ModuleMap,
    /// Where the main thread's stack ended.
    pub stack_end: Avma,
}

/// A line of /proc/PID/maps.
struct Mapping {
    range: Range<u64>,
    flags: String,
    offset: u64,
    path: String,
}

impl Dead {
    /// Runs `program` until its first deadly signal.
    pub fn of(program: &Path) -> Self {
        Self::at_signal(program, 1)
    }

    /// Runs `program` until its deadly signal number `which`, from 1.
    pub fn at_signal(program: &Path, which: usize) -> Self {
        Self::with_memory(program, which, &[])
    }

    /// The same, with all of its memory that is called so in /proc/PID/maps: `[heap]`.
    pub fn with_memory(program: &Path, which: usize, wanted: &[&str]) -> Self {
        let (leader, crashed) = run_until_signal(program, which);
        let mappings = mappings(leader);
        let mut tids = vec![crashed];
        tids.extend(stop_others(leader, crashed));
        let threads: Vec<Registers> = tids.iter().map(|tid| registers(*tid)).collect();
        let main_stack = mappings.iter().find(|mapping| mapping.path == "[stack]").expect("a stack").range.clone();
        let mut memory = Memory::default();
        let mem = File::open(format!("/proc/{leader}/mem")).expect("the memory of the process");
        for thread in &threads {
            let sp = thread.stack_pointer(arch::host()).expect("a stack pointer").0;
            copy(&mem, sp.saturating_sub(RED_ZONE_BYTES)..sp.saturating_add(STACK_BYTES), &mut memory);
        }
        copy(&mem, main_stack.end - OUTER_BYTES..main_stack.end, &mut memory);
        for mapping in mappings.iter().filter(|mapping| wanted.contains(&mapping.path.as_str())) {
            copy(&mem, mapping.range.clone(), &mut memory);
        }
        let modules = ModuleMap::new(modules(&mappings), &[]);
        end(leader);
        Self { threads, memory, modules, stack_end: Avma(main_stack.end) }
    }

    pub fn code(&self) -> Code<'_> {
        Code::new(&self.modules, arch::host())
    }

    /// The frames of thread `number`, the crashed one being 0.
    pub fn backtrace(&self, number: usize) -> Backtrace {
        let stack = Stack { registers: &self.threads[number], memory: &self.memory, end: Some(self.stack_end) };
        unwind(stack, &self.code())
    }
}

/// Starts the program and returns the process, and the thread that stands at the signal.
fn run_until_signal(program: &Path, which: usize) -> (Pid, Pid) {
    // It stops before it becomes the program, so that there is time to seize it.
    let mut shell = Command::new("sh");
    shell.args(["-c", "kill -STOP $$; exec \"$0\""]).arg(program);
    shell.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let leader = Pid::from_raw(shell.spawn().expect("a shell").id().cast_signed());
    waitpid(leader, Some(WaitPidFlag::WUNTRACED)).expect("a stopped shell");
    ptrace::seize(leader, Options::PTRACE_O_TRACECLONE | Options::PTRACE_O_EXITKILL).expect("to be its tracer");
    nix::sys::signal::kill(leader, Signal::SIGCONT).expect("to let it go on");
    let mut seen = 0;
    loop {
        // Other tests have children too, each in its own thread.
        let flags = WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD;
        let status = waitpid(None, Some(flags)).expect("news of the program");
        let (tid, signal) = match status {
            WaitStatus::Stopped(tid, signal) => {
                seen += usize::from(is_deadly(signal));
                if is_deadly(signal) && seen == which {
                    return (leader, tid);
                }
                (tid, Some(signal))
            }
            WaitStatus::PtraceEvent(tid, ..) => (tid, None),
            WaitStatus::Exited(tid, _) if tid == leader => panic!("`{}` did not crash: {status:?}", program.display()),
            WaitStatus::Exited(..) => continue,
            _ => panic!("`{}` did not crash as expected: {status:?}", program.display()),
        };
        let _ = ptrace::cont(tid, signal);
    }
}

/// Kills the process and waits for all of its threads: the leader's end is told after that of the others.
fn end(leader: Pid) {
    let _ = nix::sys::signal::kill(leader, Signal::SIGKILL);
    while let Ok(status) = waitpid(None, Some(WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD)) {
        if matches!(status, WaitStatus::Signaled(tid, ..) if tid == leader) {
            break;
        }
    }
}

fn is_deadly(signal: Signal) -> bool {
    matches!(signal, Signal::SIGSEGV | Signal::SIGBUS | Signal::SIGILL | Signal::SIGFPE | Signal::SIGABRT)
}

/// Stops the other threads and returns their ids.
fn stop_others(leader: Pid, crashed: Pid) -> Vec<Pid> {
    let tasks = std::fs::read_dir(format!("/proc/{leader}/task")).expect("its threads");
    let ids = tasks.map(|task| task.expect("a thread").file_name().to_string_lossy().parse().expect("a thread id"));
    let mut others: Vec<Pid> = ids.map(Pid::from_raw).filter(|tid| *tid != crashed).collect();
    others.sort();
    for &tid in &others {
        ptrace::interrupt(tid).expect("to stop a thread");
        waitpid(tid, Some(WaitPidFlag::__WALL)).expect("a stopped thread");
    }
    others
}

/// In the order of `struct pt_regs`, as the kernel gives them.
fn registers(tid: Pid) -> Registers {
    let r = ptrace::getregs(tid).expect("its registers");
    let words = [
        r.r15, r.r14, r.r13, r.r12, r.rbp, r.rbx, r.r11, r.r10, r.r9, r.r8, r.rax, r.rcx, r.rdx, r.rsi, r.rdi,
        r.orig_rax, r.rip, r.cs, r.eflags, r.rsp, r.ss,
    ];
    Registers::from_words(&words, arch::host())
}

/// Copies what can be read, page by page.
fn copy(mem: &File, range: Range<u64>, memory: &mut Memory) {
    let mut at = range.start;
    while at < range.end {
        let next = (at / PAGE_BYTES + 1).saturating_mul(PAGE_BYTES).min(range.end);
        let mut page = vec![0; (next - at) as usize];
        match mem.read_exact_at(&mut page, at) {
            Ok(()) => memory.insert(Avma(at), &page),
            Err(_) => memory.mark_unreadable(Avma(at)..Avma(next)),
        }
        at = next;
    }
}

fn mappings(pid: Pid) -> Vec<Mapping> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/maps")).expect("its mappings");
    let parse = |line: &str| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let (start, end) = fields[0].split_once('-')?;
        let number = |digits| u64::from_str_radix(digits, 16).ok();
        Some(Mapping {
            range: number(start)?..number(end)?,
            flags: fields[1].to_owned(),
            offset: number(fields[2])?,
            path: fields.get(5).copied().unwrap_or_default().to_owned(),
        })
    };
    text.lines().filter_map(parse).collect()
}

fn modules(mappings: &[Mapping]) -> Vec<Mapped> {
    let mut modules: Vec<Mapped> = Vec::new();
    for mapping in mappings.iter().filter(|mapping| mapping.path.starts_with('/') || mapping.path == VDSO) {
        let path = PathBuf::from(&mapping.path);
        let segment = Segment {
            range: Avma(mapping.range.start)..Avma(mapping.range.end),
            is_executable: mapping.flags.contains('x'),
        };
        match modules.iter_mut().find(|module| module.path == path) {
            Some(module) => module.segments.push(segment),
            None if mapping.offset == 0 => {
                let binary = Binary::open(&path).ok();
                let lowest = binary.as_ref().and_then(Binary::lowest_address).unwrap_or_default().0;
                let bias = LoadBias(mapping.range.start.wrapping_sub(lowest & !(PAGE_BYTES - 1)));
                let build_id = binary.and_then(|binary| binary.build_id().map(str::to_owned));
                modules.push(Mapped { path, open_at: None, bias, segments: vec![segment], build_id });
            }
            None => {}
        }
    }
    modules
}
