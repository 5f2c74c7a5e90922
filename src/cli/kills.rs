//! Deaths that are no crash, and yet surprise: SIGKILL leaves the program no chance to say anything.

use lastwords_abi::record::{SIGNAL_BITS, SignalSender};
use nix::libc::SIGKILL;

use super::page;
use crate::binary::Binary;
use crate::probe::{Death, OutOfMemory, out_of_memory};

/// Says that the kernel has killed the process for lack of memory; to those who want to know more, also who else did.
pub fn tell(death: &Death, program: &Binary, verbose: bool) {
    let watched = &death.event.watched;
    if death.event.exit_code & SIGNAL_BITS != SIGKILL.cast_unsigned() {
        return;
    }
    let name = program.path().file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    let process = format!("{name} (pid {})", if watched.ns_pid == 0 { death.event.pid } else { watched.ns_pid });
    if watched.is_oom_victim == 1 {
        let what = match out_of_memory(&death.oom_stack) {
            Some(OutOfMemory::ControlGroup) => ": a control group that it was in had reached its limit",
            Some(OutOfMemory::Machine) => ": the machine had none left for it",
            None => "",
        };
        page::note(format_args!("{process} was killed by the kernel for lack of memory (SIGKILL){what}"));
    } else if verbose {
        page::note(format_args!("{process} was killed by SIGKILL{}", sent_by(&watched.sender)));
    }
}

/// `, which "timeout" (pid 12, user 1000) sent`
fn sent_by(sender: &SignalSender) -> String {
    if sender.signal != SIGKILL {
        return String::new();
    }
    let length = sender.comm.iter().position(|&byte| byte == 0).unwrap_or(sender.comm.len());
    let name = sender.comm[..length].escape_ascii();
    format!(", which \"{name}\" (pid {}, user {}) sent", sender.ns_pid, sender.uid)
}
