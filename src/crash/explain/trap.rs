//! Instructions that fail whatever their operands are.

use nix::sys::signal::Signal;

use super::Explanation;
use super::scene::Scene;
use crate::address::Avma;
use crate::arch::instruction::InstructionKind;
use crate::report::Cause;

/// What happened, if the instruction is one of these.
pub fn explain(scene: &Scene<'_, '_>) -> Option<Explanation> {
    let instruction = scene.instruction.as_ref();
    let signal = Signal::try_from(scene.fault.signal).ok()?;
    match (signal, instruction.map(|instruction| &instruction.kind)) {
        (Signal::SIGILL, Some(InstructionKind::Undefined)) => {
            let text = &instruction?.text;
            let sentence = format!("reached `{text}`, which stands where code must never get to");
            Some(Explanation::new(Cause::TrapInstruction, sentence).inferred(
                "compilers put it behind `__builtin_trap`, `__builtin_unreachable`, undefined behaviour that they have seen, and failed checks \
                 of sanitizers",
            ))
        }
        (Signal::SIGILL, Some(_)) => {
            let text = &instruction?.text;
            let sentence = format!("the processor refused `{text}`: it does not know or not permit it");
            Some(Explanation::new(Cause::IllegalInstruction, sentence))
        }
        (Signal::SIGILL, None) => {
            let sentence = format!("the processor refused the bytes at {}, which are no instruction", scene.pc);
            let is_code = scene.code.is_code(scene.pc);
            let explanation = Explanation::new(Cause::IllegalInstruction, sentence);
            Some(if is_code { explanation } else { explanation.known("no module has code there") })
        }
        (Signal::SIGTRAP, _) => breakpoint(scene),
        (Signal::SIGSEGV, Some(InstructionKind::Privileged)) => {
            let text = &instruction?.text;
            let sentence = format!("executed `{text}`, which is for the kernel only");
            Some(Explanation::new(Cause::PrivilegedInstruction, sentence))
        }
        _ => None,
    }
}

/// The program counter is behind the instruction: it was executed (Intel SDM volume 3, section 6.5).
fn breakpoint(scene: &Scene<'_, '_>) -> Option<Explanation> {
    let at = Avma(scene.pc.0.checked_sub(1)?);
    let instruction = scene.code.arch.decode(scene.code.bytes_at(at), at)?;
    (instruction.kind == InstructionKind::Breakpoint && instruction.length == 1).then(|| {
        let sentence =
            format!("hit the breakpoint instruction `{}` at {at}, and no debugger was there", instruction.text);
        Explanation::new(Cause::Breakpoint, sentence)
            .inferred("programs have it where a check failed (`__debugbreak`, `__builtin_debugtrap`)")
    })
}
