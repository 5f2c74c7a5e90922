//! The kinds of crashes.

use super::*;

pub const NESTED: &str = "\
static volatile int *volatile nowhere;
__attribute__((noinline)) void crash(int n) {
    *nowhere = n; // writes
}
__attribute__((noinline)) int middle(int n) {
    crash(n + 1); // calls crash
    return n;
}
int main(void) {
    return middle(1) + 1; // calls middle
}
";

/// Guards against a wrong line (the one behind the call), a frame too many or too few, in any way to describe frames.
#[test]
fn nested_calls_have_their_lines() {
    for (compiler, options) in WAYS {
        let crash = Crash::of(compiler, options, NESTED);

        let expected = ["crash: writes", "middle: calls crash", "main: calls middle"];
        assert_eq!(crash.shown(0, "main"), expected, "{compiler} {options:?}");
        assert_eq!(crash.dead.backtrace(0).end, End::Outermost, "{compiler} {options:?}");
    }
}

/// Guards against a stack that ends at the first function without a table.
#[test]
fn frame_pointers_lead_on_where_there_is_no_table() {
    let options = ["-O0", "-fno-asynchronous-unwind-tables", "-Wl,--no-eh-frame-hdr"];
    let crash = Crash::of("gcc", &options, NESTED);

    assert_eq!(crash.shown(0, "main"), ["crash", "middle [FramePointer]", "main [FramePointer]"]);
}

/// Guards against a CFA that is not the stack pointer before the call: recorded calls could not be matched with their frames.
#[test]
fn each_frame_has_the_stack_pointer_of_its_caller() {
    let crash = Crash::of("gcc", &["-g", "-O0"], NESTED);
    let frames = crash.dead.backtrace(0).frames;

    for (frame, caller) in frames.iter().zip(&frames[1..]) {
        assert_eq!(frame.cfa, caller.registers.stack_pointer(crate::arch::host()));
        let slot = Avma(frame.cfa.unwrap().0 - 8);
        assert_eq!(crash.dead.memory.word(slot), Ok(caller.pc.0));
    }
}

/// Guards against callee-saved registers of the wrong frame: locals are read from them.
#[test]
fn registers_that_were_saved_are_restored() {
    let source = "\
static volatile int *volatile nowhere;
__attribute__((noinline)) long crash(long n) {
    register long mine asm(\"rbx\") = n + 1;
    asm volatile(\"\" : \"+r\"(mine));
    *nowhere = 1;
    asm volatile(\"\" : \"+r\"(mine));
    return mine;
}
int main(void) {
    register long mine asm(\"rbx\") = 0x1122334455667788;
    asm volatile(\"\" : \"+r\"(mine));
    long result = crash(7);
    asm volatile(\"\" : \"+r\"(mine));
    return (int)(mine + result);
}
";
    let crash = Crash::of("gcc", &["-g", "-O2"], source);
    let frames = crash.dead.backtrace(0).frames;

    // DWARF number 3: psABI, figure 3.36.
    assert_eq!((frames[0].registers.get(3), frames[1].registers.get(3)), (Some(8), Some(0x1122_3344_5566_7788)));
    // rax is not for the callee to keep.
    assert_eq!(frames[1].registers.get(0), None);
}

pub const INLINED: &str = "\
static volatile int *volatile nowhere;
static inline __attribute__((always_inline)) void innermost(int n) {
    *nowhere = n; // writes
}
static inline __attribute__((always_inline)) void between(int n) {
    innermost(n + 1); // calls innermost
}
__attribute__((noinline)) int outer(int n) {
    between(n + 1); // calls between
    return n;
}
int main(void) {
    return outer(1) + 1; // calls outer
}
";

/// Guards against a line of an inlined function under the name of the one that it was inlined into.
#[test]
fn inlined_functions_have_frames_of_their_own() {
    for options in [["-g", "-O0"], ["-g", "-O2"]] {
        let crash = Crash::of("gcc", &options, INLINED);

        let expected = [
            "innermost: writes (inlined)",
            "between: calls innermost (inlined)",
            "outer: calls between",
            "main: calls outer",
        ];
        assert_eq!(crash.shown(0, "main"), expected);
        let frames = crash.frames(0);
        assert_eq!(frames.iter().map(|frame| frame.n.unwrap()).collect::<Vec<_>>()[..4], [0, 1, 2, 3]);
        assert_eq!(frames[0].cfa, frames[2].cfa);
    }
}

const OVERFLOW: &str = "\
__attribute__((noinline)) int pong(volatile int n);
__attribute__((noinline)) int ping(volatile int n) {
    volatile char buffer[40] = {0};
    buffer[n % 40] = 1;
    return pong(n + 1) + buffer[0]; // calls pong
}
int pong(volatile int n) {
    return ping(n + 1) + n; // calls ping
}
int main(void) {
    return ping(1) + 1; // starts it
}
";

/// Guards against a hundred thousand frames, and against a stack overflow of which nobody sees how it began.
#[test]
fn a_stack_overflow_shows_its_recursion_once_and_how_it_began() {
    for (compiler, options) in [("gcc", ["-g", "-O0"]), ("gcc", ["-g", "-O1"]), ("clang", ["-g", "-O0"])] {
        let crash = Crash::of(compiler, &options, OVERFLOW);
        let frames = crash.frames(0);

        assert!(frames.len() < 60, "{}", frames.len());
        let recursion = frames.iter().find(|frame| frame.repeats.is_some()).unwrap();
        let repeats = recursion.repeats.unwrap();
        assert_eq!(repeats.frames, 2);
        assert!(repeats.times > 200, "{repeats:?}");
        let gap = frames.iter().find_map(|frame| frame.gap.as_ref());
        let gap = gap.unwrap_or_else(|| panic!("{compiler} {options:?}: {:?}", crash.dead.backtrace(0).end));
        // 8 MiB of stack, at most 160 bytes a frame.
        assert!(gap.bytes.unwrap() > 7 << 20 && gap.frames.unwrap() > 50_000, "{gap:?}");
        let shown = crash.shown(0, "main");
        assert_eq!(shown[shown.len() - 2..], ["ping: calls pong", "main: starts it"]);
    }
}

pub const BAD_CALLS: &str = "\
typedef void (*function)(void);
static char data[64];
function volatile target = (function)TARGET;
__attribute__((noinline)) int call(int n) {
    target(); // calls
    return n;
}
int main(void) {
    return call(1) + 1; // calls call
}
";

/// Guards against losing the caller where the program has jumped to nowhere: it is all that one wants to know.
#[test]
fn a_call_through_a_bad_pointer_shows_the_caller() {
    for target in ["-DTARGET=0", "-DTARGET=0x123456789000", "-DTARGET=&data"] {
        for level in ["-O0", "-O2"] {
            let crash = Crash::of("gcc", &["-g", level, target], BAD_CALLS);

            let expected = ["?", "call: calls [ReturnAddress]", "main: calls call"];
            assert_eq!(crash.shown(0, "main"), expected, "{target} {level}");
            assert!(crash.frames(0)[0].reason.is_some());
        }
    }
}

pub const HANDLER: &str = "\
#define _GNU_SOURCE
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>
static volatile int *volatile nowhere;
static void handler(int signal) {
    *nowhere = signal; // writes
}
__attribute__((noinline)) int work(int n) {
    kill(getpid(), SIGUSR1); // signals
    return n;
}
int main(void) {
    struct sigaction action = { .sa_handler = handler, .sa_flags = FLAGS };
    stack_t stack = { .ss_sp = malloc(65536), .ss_size = 65536 };
    sigaltstack(&stack, 0);
    sigaction(SIGUSR1, &action, 0);
    return work(1) + 1; // calls work
}
";

/// Guards against a backtrace that ends in a signal handler, on either stack.
#[test]
fn a_crash_in_a_handler_shows_what_was_interrupted() {
    for flags in ["-DFLAGS=0", "-DFLAGS=SA_ONSTACK"] {
        let crash = Crash::of("gcc", &["-g", "-O2", flags], HANDLER);

        let expected =
            ["handler: writes", "<signal handler called>", "kill [Signal]", "work: signals", "main: calls work"];
        assert_eq!(crash.shown(0, "main"), expected, "{flags}");
        assert_eq!(crash.dead.backtrace(0).end, End::Outermost);
    }
}

pub const ABORTING: &str = "\
#include <signal.h>
#include <stdlib.h>
static volatile int *volatile nowhere;
static void handler(int signal) {
    (void)signal;
    abort(); // gives up
}
__attribute__((noinline)) int crash(int n) {
    *nowhere = n; // writes
    return n;
}
int main(void) {
    signal(SIGSEGV, handler);
    return crash(1) + 1; // calls crash
}
";

/// Guards against the line behind the interrupted instruction: it is no return address.
#[test]
fn the_instruction_that_was_interrupted_is_not_taken_for_a_return_address() {
    let crash = Crash::at_signal(2, &["-g", "-O2"], ABORTING);

    let shown = crash.shown(0, "main");
    let from_abort = shown.iter().position(|frame| frame == "abort").expect("abort");
    let expected =
        ["abort", "handler: gives up", "<signal handler called>", "crash: writes [Signal]", "main: calls crash"];
    assert_eq!(shown[from_abort..], expected);
}

/// Guards against a crash in a library without debug info that hides who called it.
#[test]
fn a_crash_in_the_c_library_shows_its_caller() {
    let source = "\
#include <string.h>
const char *volatile text;
int main(void) {
    return (int)strlen(text); // measures
}
";
    for options in [["-g", "-O0"], ["-g", "-O2"]] {
        let crash = Crash::of("gcc", &[&options[..], &["-fno-builtin"]].concat(), source);

        assert_eq!(crash.shown(0, "main").last().unwrap(), "main: measures");
        let frames = crash.frames(0);
        assert!(frames[0].module.as_deref().unwrap().contains("libc"), "{:?}", frames[0]);
        assert_eq!(frames[1].function.as_deref(), Some("main"));
    }
}

/// Guards against a backtrace that ends in the kernel's own code.
#[test]
fn a_crash_in_the_vdso_shows_its_caller() {
    let source = "\
#include <time.h>
time_t *volatile place = (time_t *)16;
int main(void) {
    return (int)time(place); // asks
}
";
    let crash = Crash::of("gcc", &["-g", "-O2"], source);

    let shown = crash.shown(0, "main");
    assert!(shown[0].contains("time"), "{shown:?}");
    assert_eq!((shown.len(), shown[1].as_str()), (2, "main: asks"));
}

/// Guards against made-up frames behind a return address that was overwritten.
#[test]
fn a_smashed_stack_ends_where_it_makes_no_sense() {
    let source = "\
__attribute__((noinline)) void smash(volatile char *at) {
    for (int i = 0; i < 64; i++) at[i] = 'A';
}
__attribute__((noinline)) void victim(void) {
    volatile char buffer[16];
    smash(buffer);
} // returns
int main(void) {
    victim();
    return 0;
}
";
    let crash = Crash::of("gcc", &["-g", "-O0", "-fno-stack-protector"], source);

    let frames = crash.frames(0);
    assert_eq!(frames.iter().map(|frame| crash.show(frame)).collect::<Vec<_>>(), ["victim: returns"]);
    let backtrace = crash.dead.backtrace(0);
    assert_eq!(backtrace.end, End::NoCode { return_address: Avma(0x4141_4141_4141_4141) });
    let why = "the return address is 0x4141414141414141, where no code is: the stack was overwritten, or the code was made at run time";
    assert_eq!(frames::why_ended(&backtrace).as_deref(), Some(why));
}

const THREADS: &str = "\
#include <pthread.h>
#include <unistd.h>
static pthread_barrier_t barrier;
static volatile int *volatile nowhere;
__attribute__((noinline)) static void idle(long n) {
    pthread_barrier_wait(&barrier);
    for (;;) pause(); // idles
}
static void *begin(void *n) {
    idle((long)n); // calls idle
    return 0;
}
int main(void) {
    pthread_t threads[8];
    pthread_barrier_init(&barrier, 0, 9);
    for (long n = 0; n < 8; n++) pthread_create(&threads[n], 0, begin, (void *)n);
    pthread_barrier_wait(&barrier);
    *nowhere = 1; // writes
}
";

/// Guards against stacks of other threads that are mixed up or cut.
#[test]
fn every_thread_has_its_own_frames() {
    let crash = Crash::of("gcc", &["-g", "-O1", "-fno-inline", "-pthread"], THREADS);

    assert_eq!(crash.shown(0, "main"), ["main: writes"]);
    assert_eq!(crash.dead.threads.len(), 9);
    for thread in 1..9 {
        let shown = crash.shown(thread, "begin");
        assert_eq!(shown.last().unwrap(), "begin: calls idle");
        assert!(shown[shown.len() - 2].starts_with("idle"), "{shown:?}");
        assert_eq!(crash.dead.backtrace(thread).end, End::Outermost, "{shown:?}");
    }
}
