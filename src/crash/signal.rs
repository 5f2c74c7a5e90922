//! Names of signals and of the codes that come with them (`asm-generic/siginfo.h`, Linux 6.18).

use nix::sys::signal::Signal;

/// The name of a signal: `SIGSEGV`, `SIGRTMIN+1`, or `signal 99`.
pub fn signal_name(number: i32) -> String {
    // The kernel's first real-time signal; the C library's `SIGRTMIN` is higher, because it keeps some for itself.
    const FIRST_REAL_TIME: i32 = 32;
    const LAST_REAL_TIME: i32 = 64;
    match Signal::try_from(number) {
        Ok(signal) => signal.as_str().into(),
        Err(_) if (FIRST_REAL_TIME..=LAST_REAL_TIME).contains(&number) => {
            format!("real-time signal {}", number - FIRST_REAL_TIME)
        }
        Err(_) => format!("signal {number}"),
    }
}

/// The name of `si_code` for a signal: `SEGV_MAPERR`. A code without a name is shown as its number.
pub fn code_name(signal: i32, code: i32) -> String {
    let name = sender_code(code).or_else(|| hardware_code(Signal::try_from(signal).ok()?, code));
    name.map_or_else(|| code.to_string(), String::from)
}

/// Whether the code says that the signal came from the instruction that ran, and that `si_addr` is valid.
pub fn comes_from_instruction(signal: i32, code: i32) -> bool {
    let of_hardware = matches!(
        Signal::try_from(signal),
        Ok(Signal::SIGSEGV | Signal::SIGBUS | Signal::SIGFPE | Signal::SIGILL | Signal::SIGTRAP)
    );
    of_hardware && code > 0 && code < SI_KERNEL
}

/// From user space by `kill`.
pub const SI_USER: i32 = 0;
/// From user space by `tgkill`, as `raise` and `abort` do.
pub const SI_TKILL: i32 = -6;
/// From the kernel, for a reason without a code of its own.
pub const SI_KERNEL: i32 = 0x80;

fn sender_code(code: i32) -> Option<&'static str> {
    Some(match code {
        SI_USER => "SI_USER",
        SI_KERNEL => "SI_KERNEL",
        -1 => "SI_QUEUE",
        -2 => "SI_TIMER",
        -3 => "SI_MESGQ",
        -4 => "SI_ASYNCIO",
        -5 => "SI_SIGIO",
        SI_TKILL => "SI_TKILL",
        -7 => "SI_DETHREAD",
        -60 => "SI_ASYNCNL",
        _ => return None,
    })
}

fn hardware_code(signal: Signal, code: i32) -> Option<&'static str> {
    let names: &[&str] = match signal {
        Signal::SIGILL => &[
            "ILL_ILLOPC",
            "ILL_ILLOPN",
            "ILL_ILLADR",
            "ILL_ILLTRP",
            "ILL_PRVOPC",
            "ILL_PRVREG",
            "ILL_COPROC",
            "ILL_BADSTK",
            "ILL_BADIADDR",
        ],
        Signal::SIGFPE => &[
            "FPE_INTDIV",
            "FPE_INTOVF",
            "FPE_FLTDIV",
            "FPE_FLTOVF",
            "FPE_FLTUND",
            "FPE_FLTRES",
            "FPE_FLTINV",
            "FPE_FLTSUB",
        ],
        Signal::SIGSEGV => &[
            "SEGV_MAPERR",
            "SEGV_ACCERR",
            "SEGV_BNDERR",
            "SEGV_PKUERR",
            "SEGV_ACCADI",
            "SEGV_ADIDERR",
            "SEGV_ADIPERR",
            "SEGV_MTEAERR",
            "SEGV_MTESERR",
            "SEGV_CPERR",
        ],
        Signal::SIGBUS => &["BUS_ADRALN", "BUS_ADRERR", "BUS_OBJERR", "BUS_MCEERR_AR", "BUS_MCEERR_AO"],
        Signal::SIGTRAP => &["TRAP_BRKPT", "TRAP_TRACE", "TRAP_BRANCH", "TRAP_HWBKPT", "TRAP_UNK", "TRAP_PERF"],
        Signal::SIGSYS => &["SYS_SECCOMP", "SYS_USER_DISPATCH"],
        _ => return None,
    };
    // The codes of each signal count from 1.
    names.get(usize::try_from(code).ok()?.checked_sub(1)?).copied()
}

#[cfg(test)]
mod tests {
    use nix::libc;

    use super::*;

    /// Guards against a table with a hole in it: the values are those of the kernel's headers.
    #[test]
    fn codes_have_the_names_of_the_headers() {
        assert_eq!(code_name(libc::SIGSEGV, 1), "SEGV_MAPERR");
        assert_eq!(code_name(libc::SIGSEGV, 2), "SEGV_ACCERR");
        assert_eq!(code_name(libc::SIGSEGV, 10), "SEGV_CPERR");
        assert_eq!(code_name(libc::SIGBUS, libc::BUS_MCEERR_AR), "BUS_MCEERR_AR");
        assert_eq!(code_name(libc::SIGFPE, 1), "FPE_INTDIV");
        assert_eq!(code_name(libc::SIGILL, 8), "ILL_BADSTK");
        assert_eq!(code_name(libc::SIGTRAP, libc::TRAP_HWBKPT), "TRAP_HWBKPT");
        assert_eq!(code_name(libc::SIGSYS, 1), "SYS_SECCOMP");
        assert_eq!(code_name(libc::SIGABRT, libc::SI_TKILL), "SI_TKILL");
        assert_eq!(code_name(libc::SIGSEGV, libc::SI_KERNEL), "SI_KERNEL");
        assert_eq!(code_name(libc::SIGSEGV, i32::MAX), "2147483647");
        assert_eq!(code_name(libc::SIGABRT, i32::MIN), "-2147483648");
    }

    /// Guards against a panic or a wrong name for numbers that are no classic signals.
    #[test]
    fn every_number_has_a_name() {
        assert_eq!(signal_name(11), "SIGSEGV");
        assert_eq!(signal_name(34), "real-time signal 2");
        assert_eq!(signal_name(0), "signal 0");
        assert_eq!(signal_name(-1), "signal -1");
    }
}
