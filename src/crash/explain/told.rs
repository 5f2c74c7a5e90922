//! What the signal alone tells in; names and one plain clause about it out.

use lastwords_abi::Fault;
use lastwords_abi::record::{INFO_KERNEL, INFO_NONE};
use nix::sys::signal::Signal;

use crate::crash::signal::{SI_KERNEL, SI_TKILL, SI_USER, code_name, comes_from_instruction, signal_name};
use crate::crash::text::Text;
use crate::report::{self, Access, Address, Sender};

/// Vector of the page fault (Intel SDM volume 3, section 6.15).
pub(super) const PAGE_FAULT: u64 = 14;
/// Vector of the general protection fault.
pub(super) const GENERAL_PROTECTION: u64 = 13;
/// A system call was refused by a seccomp filter (`si_code` of SIGSYS).
pub(super) const SYS_SECCOMP: i32 = 1;
/// Bit of a page fault's error code: the access was a write.
const WRITE: u64 = 1 << 1;
/// Bit of a page fault's error code: the access was an instruction fetch.
const INSTRUCTION_FETCH: u64 = 1 << 4;

/// An address below this one comes from a null pointer: the first page is never mapped (`vm.mmap_min_addr`).
pub(super) const NULL_PAGE_BYTES: u64 = 4096;

/// The report's part about the signal, for the process with this id, that began at `started_ns`.
pub fn fault(fault: &Fault, pid: u32, started_ns: u64, pc: Option<Address>) -> report::Fault {
    let code = code(fault);
    report::Fault {
        signal: signal_name(fault.signal),
        signal_number: fault.signal,
        code: code.map(|code| code_name(fault.signal, code)),
        code_number: code,
        address: address(fault).map(Address),
        access: access(fault),
        pc,
        thread: if fault.ns_tid == 0 { fault.tid } else { fault.ns_tid },
        explanation: explanation(fault, pid),
        at_ns: fault.at_ns.saturating_sub(started_ns),
        sender: sender(fault),
        ..report::Fault::default()
    }
}

/// `si_code`, where the signal came with one. The kernel's stand-ins for a siginfo mean these two (`collect_signal` in kernel/signal.c).
pub(super) fn code(fault: &Fault) -> Option<i32> {
    match fault.info {
        INFO_NONE => Some(SI_USER),
        INFO_KERNEL => Some(SI_KERNEL),
        _ => Some(fault.code),
    }
}

/// Whether the signal is the fault of an instruction.
pub(super) fn is_of_instruction(fault: &Fault) -> bool {
    code(fault).is_some_and(|code| comes_from_instruction(fault.signal, code))
}

/// `si_addr`, where the signal has one.
pub(super) fn address(fault: &Fault) -> Option<u64> {
    is_of_instruction(fault).then_some(fault.address)
}

/// What was tried. The processor's details belong to the last trap of the thread, which need not be this one: their address tells.
pub(super) fn access(fault: &Fault) -> Option<Access> {
    let is_this_one = fault.trap == PAGE_FAULT && fault.fault_register == fault.address;
    let is_access = matches!(Signal::try_from(fault.signal), Ok(Signal::SIGSEGV | Signal::SIGBUS));
    if !(is_this_one && is_access && is_of_instruction(fault)) {
        return None;
    }
    Some(match fault.error_code {
        bits if bits & INSTRUCTION_FETCH != 0 => Access::Execute,
        bits if bits & WRITE != 0 => Access::Write,
        _ => Access::Read,
    })
}

/// Whether memory is mapped at the address, and does not permit the access (`SEGV_ACCERR`).
pub(super) fn is_forbidden(fault: &Fault) -> bool {
    const SEGV_ACCERR: i32 = 2;
    is_of_instruction(fault) && fault.signal == Signal::SIGSEGV as i32 && fault.code == SEGV_ACCERR
}

/// Who sent it: the fields are valid for signals that came from user space with details.
pub(super) fn sender(fault: &Fault) -> Option<Sender> {
    let has_sender = fault.info != INFO_NONE && matches!(code(fault), Some(SI_USER | SI_TKILL | -1));
    // What was seen when it was sent knows the sender's name, and who sends a signal that comes without details.
    let seen = Some(&fault.sender).filter(|sender| sender.signal == fault.signal);
    let name = seen.map(|sender| Text::until_nul(&sender.comm).text);
    match seen {
        _ if has_sender => Some(Sender { pid: fault.sender_pid, uid: fault.sender_uid, name }),
        Some(seen) if fault.info == INFO_NONE => Some(Sender { pid: seen.ns_pid, uid: seen.uid, name }),
        _ => None,
    }
}

/// What happened, as a clause that goes with "the process was killed by SIGSEGV:".
pub(super) fn explanation(fault: &Fault, pid: u32) -> String {
    if let Some(sender) = sender(fault) {
        return sent(fault, &sender, pid);
    }
    if fault.info == INFO_NONE {
        return "it was sent by another process, without details".into();
    }
    if !is_of_instruction(fault) {
        return of_kernel(fault);
    }
    let code = code(fault).map(|code| code_name(fault.signal, code)).unwrap_or_default();
    let address = Address(fault.address);
    match Signal::try_from(fault.signal) {
        Ok(Signal::SIGSEGV) => format!("{} address {address}, {}", verb(access(fault)), why_no_access(fault, &code)),
        Ok(Signal::SIGBUS) => format!("{} address {address}, {}", verb(access(fault)), why_bus_error(&code)),
        Ok(Signal::SIGFPE) => format!("{} in the instruction at {address}", arithmetic(&code)),
        Ok(Signal::SIGILL) => format!("the processor refused the instruction at {address} ({code})"),
        Ok(Signal::SIGTRAP) => format!("it hit a breakpoint or another trap at {address} ({code})"),
        _ => format!("{code} at {address}"),
    }
}

fn sent(fault: &Fault, sender: &Sender, pid: u32) -> String {
    // The process sees itself by its own id in its own pid namespace, which is mostly ours too.
    let by_itself = sender.pid == pid || sender.pid == fault.pid;
    match (by_itself, Signal::try_from(fault.signal)) {
        (true, Ok(Signal::SIGABRT)) => "it aborted itself (abort, a failed assertion or an uncaught exception)".into(),
        (true, _) => "it sent the signal to itself (raise or kill)".into(),
        (false, _) => {
            let name = sender.name.as_ref().map(|name| format!(" (\"{name}\")")).unwrap_or_default();
            format!("process {}{name} of user {} sent it", sender.pid, sender.uid)
        }
    }
}

/// Signals of the kernel whose code does not tell what happened.
fn of_kernel(fault: &Fault) -> String {
    match Signal::try_from(fault.signal) {
        Ok(Signal::SIGSEGV) if fault.trap == GENERAL_PROTECTION => {
            "the processor refused an access (mostly an address that cannot exist); it does not say which".into()
        }
        Ok(Signal::SIGTRAP) => "it hit a breakpoint instruction (a failed check, or `__builtin_trap`)".into(),
        Ok(Signal::SIGSYS) if fault.code == SYS_SECCOMP => {
            "it made a system call that its seccomp filter forbids".into()
        }
        _ => "the kernel sent it".into(),
    }
}

pub(super) fn verb(access: Option<Access>) -> &'static str {
    match access {
        Some(Access::Read) => "read from",
        Some(Access::Write) => "wrote to",
        Some(Access::Execute) => "executed code at",
        Some(Access::Other) | None => "accessed",
    }
}

fn why_no_access(fault: &Fault, code: &str) -> String {
    let null = match fault.address {
        0 => " (a null pointer)".into(),
        offset if offset < NULL_PAGE_BYTES => format!(" (a null pointer plus {offset:#x})"),
        _ => String::new(),
    };
    match (code, access(fault)) {
        ("SEGV_MAPERR", _) => format!("where no memory is mapped{null}"),
        ("SEGV_ACCERR", Some(Access::Write)) => "which may not be written to".into(),
        ("SEGV_ACCERR", Some(Access::Execute)) => "which may not be executed".into(),
        ("SEGV_ACCERR", Some(Access::Read)) => "which may not be read".into(),
        ("SEGV_ACCERR", _) => "which does not permit it".into(),
        ("SEGV_PKUERR", _) => "which a protection key guards".into(),
        ("SEGV_MTEAERR" | "SEGV_MTESERR", _) => "whose memory tag is another one".into(),
        ("SEGV_CPERR", _) => "against the shadow stack or the branch targets (control protection)".into(),
        _ => format!("which failed ({code})"),
    }
}

fn why_bus_error(code: &str) -> String {
    match code {
        "BUS_ADRALN" => "which is not aligned".into(),
        "BUS_ADRERR" => "which has no memory behind it (a mapped file that is shorter now?)".into(),
        "BUS_OBJERR" => "whose device failed".into(),
        "BUS_MCEERR_AR" | "BUS_MCEERR_AO" => "whose memory is broken (a hardware error)".into(),
        _ => format!("which failed ({code})"),
    }
}

fn arithmetic(code: &str) -> String {
    match code {
        // x86 raises the same exception for a quotient that is too large (INT_MIN / -1).
        "FPE_INTDIV" => "an integer was divided by zero, or the quotient was too large,".into(),
        "FPE_INTOVF" => "an integer overflowed".into(),
        "FPE_FLTDIV" => "a float was divided by zero".into(),
        "FPE_FLTOVF" => "a float overflowed".into(),
        "FPE_FLTUND" => "a float underflowed".into(),
        "FPE_FLTRES" => "a float had no exact result".into(),
        "FPE_FLTINV" => "a float operation was invalid".into(),
        _ => format!("arithmetic failed ({code})"),
    }
}

#[cfg(test)]
mod tests {
    use nix::libc;

    use super::*;

    const NOTHING: Fault =
        Fault { at_ns: 5_000, pid: 70_001, tid: 70_002, ns_tid: 42, signal: libc::SIGSEGV, code: 1, ..Fault::ZERO };

    fn page_fault(address: u64, code: i32, error_code: u64) -> Fault {
        Fault { address, fault_register: address, code, error_code, trap: PAGE_FAULT, ..NOTHING }
    }

    /// Guards against explanations that say more than the signal does.
    #[test]
    fn each_kind_of_fault_is_explained() {
        let faults = [
            page_fault(0, 1, 6),
            page_fault(0x18, 1, 4),
            page_fault(0xdead_0000, 1, 0x14),
            page_fault(0x40_2010, 2, 7),
            Fault { fault_register: 0x1000, ..page_fault(0x7fff_0000, 1, 6) },
            Fault { code: SI_KERNEL, trap: GENERAL_PROTECTION, ..NOTHING },
            Fault { code: SI_USER, sender_pid: 99, sender_uid: 1000, ..NOTHING },
            Fault { code: SI_TKILL, sender_pid: 41, signal: libc::SIGABRT, ..NOTHING },
            Fault { code: SI_TKILL, sender_pid: 41, ..NOTHING },
            Fault { info: INFO_NONE, ..NOTHING },
            Fault { info: INFO_KERNEL, ..NOTHING },
            Fault { signal: libc::SIGFPE, address: 0x40_1000, ..NOTHING },
            Fault { signal: libc::SIGILL, code: 2, address: 0x40_1000, ..NOTHING },
            Fault { signal: libc::SIGTRAP, code: SI_KERNEL, ..NOTHING },
            Fault { signal: libc::SIGBUS, code: 2, ..page_fault(0x7f00_0000, 2, 4) },
            Fault { signal: libc::SIGSYS, ..NOTHING },
        ];
        let clauses: Vec<String> = faults.iter().map(|raw| fault(raw, 41, 0, None).explanation).collect();

        insta::assert_snapshot!(clauses.join("\n"), @r"
        wrote to address 0x0, where no memory is mapped (a null pointer)
        read from address 0x18, where no memory is mapped (a null pointer plus 0x18)
        executed code at address 0xdead0000, where no memory is mapped
        wrote to address 0x402010, which may not be written to
        accessed address 0x7fff0000, where no memory is mapped
        the processor refused an access (mostly an address that cannot exist); it does not say which
        process 99 of user 1000 sent it
        it aborted itself (abort, a failed assertion or an uncaught exception)
        it sent the signal to itself (raise or kill)
        it was sent by another process, without details
        the kernel sent it
        an integer was divided by zero, or the quotient was too large, in the instruction at 0x401000
        the processor refused the instruction at 0x401000 (ILL_ILLOPN)
        it hit a breakpoint instruction (a failed check, or `__builtin_trap`)
        read from address 0x7f000000, which has no memory behind it (a mapped file that is shorter now?)
        it made a system call that its seccomp filter forbids
        ");
    }

    /// Guards against an address or an access that the signal does not carry, shown as 0x0 or as a read.
    #[test]
    fn what_the_signal_does_not_carry_is_null() {
        let of = |raw: Fault| {
            let fault = fault(&raw, 41, 1_000, None);
            (fault.code.unwrap(), fault.address, fault.access)
        };

        assert_eq!(of(page_fault(8, 1, 6)), ("SEGV_MAPERR".into(), Some(Address(8)), Some(Access::Write)));
        // The details are of an older trap of the same thread.
        let stale = Fault { fault_register: 0x1000, ..page_fault(8, 1, 6) };
        assert_eq!(of(stale), ("SEGV_MAPERR".into(), Some(Address(8)), None));
        assert_eq!(of(Fault { code: SI_KERNEL, ..page_fault(0, 1, 6) }), ("SI_KERNEL".into(), None, None));
        assert_eq!(of(Fault { code: SI_USER, ..page_fault(0, 1, 6) }), ("SI_USER".into(), None, None));
    }

    /// Guards against mixing up the ids of two pid namespaces, and the clock of the machine with that of the process.
    #[test]
    fn ids_and_times_are_those_of_the_reader() {
        let fault = fault(&NOTHING, 41, 1_000, Some(Address(7)));

        assert_eq!((fault.thread, fault.at_ns, fault.pc), (42, 4_000, Some(Address(7))));
    }
}
