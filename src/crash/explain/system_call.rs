//! System calls that are refused.

use lastwords_abi::record::INFO_PRESENT;

use super::scene::Scene;
use super::{Explanation, told};
use crate::report::Cause;

/// What happened, if a seccomp filter killed.
pub fn explain(scene: &Scene<'_, '_>) -> Option<Explanation> {
    let fault = scene.fault;
    if fault.info != INFO_PRESENT || fault.code != told::SYS_SECCOMP {
        return None;
    }
    let name = scene.code.arch.system_call_name(fault.syscall, fault.syscall_arch);
    let call = name.map_or(format!("number {}", fault.syscall), |name| format!("`{name}` ({})", fault.syscall));
    let sentence = format!("made the system call {call}, which its seccomp filter forbids");
    Some(Explanation::new(Cause::SystemCall, sentence))
}
