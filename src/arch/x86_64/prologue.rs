//! Walks the entry block: from the first instruction to the first that branches, or that something branches to.

use iced_x86::{Code as Opcode, FlowControl, Instruction, Mnemonic, OpKind, Register};

use super::decode::{bytes_at, decoder, general, is_probeable};
use super::flow::Flow;
use super::machine::Machine;
use super::{RBP, RSP, classes};
use crate::address::Svma;
use crate::arch::code::Code;
use crate::arch::symbolic::{Address, Base, EntryBlock, Value};
use crate::arch::{Candidate, InspectError};

/// Instructions to walk at the most. A prologue that stores 14 arguments has fewer than 40.
const MAX_INSTRUCTIONS: usize = 96;

/// What the entry block of this function proves, and where in it a probe may stand.
pub fn run(code: &Code<'_>, cfa_offset: i64, flow: &Flow) -> Result<(EntryBlock, Vec<Candidate>), InspectError> {
    let range = &code.ranges()[0];
    let mut candidates = Vec::new();
    let mut machine = Machine::at_entry(cfa_offset);
    let mut setup = FrameSetup::new(machine.stack_pointer());
    let mut decoder = decoder(range);
    let mut instruction = Instruction::default();
    let mut end = range.address;
    for walked in 0..MAX_INSTRUCTIONS {
        if !decoder.can_decode() {
            break;
        }
        decoder.decode_out(&mut instruction);
        if instruction.is_invalid() {
            if walked == 0 {
                return Err(InspectError::Undecodable(range.address));
            }
            break;
        }
        if walked > 0 && flow.branch_targets.contains(&instruction.ip()) {
            let Some(probing) = stack_probe_loop(code, &machine, Svma(instruction.ip())) else { break };
            machine.set(RSP, Value::Address(probing.stack_pointer));
            setup.follow_probe_loop(probing.stack_pointer);
            let Ok(position) = usize::try_from(probing.end.0.wrapping_sub(range.address.0)) else { break };
            if decoder.set_position(position).is_err() {
                break;
            }
            decoder.set_ip(probing.end.0);
            end = probing.end;
            continue;
        }
        candidates.extend(candidate(code, &instruction, &machine));
        if instruction.flow_control() != FlowControl::Next {
            break;
        }
        let pushed_to_save = is_saving_push(&instruction, &machine);
        machine.execute(&instruction);
        end = Svma(instruction.next_ip());
        let Some(stack_pointer) = machine.stack_pointer() else { break };
        setup.follow(&instruction, pushed_to_save, stack_pointer);
    }
    let stack_pointer = setup.stack_pointer.filter(|address| agrees_with_epilogues(*address, flow));
    let executed = range.address..end;
    let entry = EntryBlock {
        stack_pointer,
        frame: machine.frame,
        times_set: flow.times_set.clone(),
        history: machine.history,
        executed,
    };
    keep_those_executed_once(&mut candidates, code.entry(), flow);
    Ok((entry, candidates))
}

fn candidate(code: &Code<'_>, instruction: &Instruction, machine: &Machine) -> Option<Candidate> {
    let address = Svma(instruction.ip());
    let stack_pointer = machine.stack_pointer().filter(|address| address.base == Base::Cfa)?;
    let bytes = bytes_at(code, address);
    let class = classes::of(instruction, bytes);
    // Linux 6.18 makes a call of a probed nop of 5 bytes, and what that pushes overwrites the red zone (psABI section 3.2.2).
    let destroys = class == classes::NOP_OF_CALL_SIZE && machine.frame.may_hold_below(stack_pointer);
    let cfa_offset = stack_pointer.offset.wrapping_neg();
    (is_probeable(bytes) && !destroys).then_some(Candidate { address, class, cfa_offset })
}

/// Leaves out what a call may execute more than once. Where an indirect jump leads is not always known (a `switch` in a loop, of which
/// the first case follows the entry). But wherever it leads, the stack pointer is there what it is at the jump: an instruction in front
/// of the last one that grows the frame is not jumped to.
fn keep_those_executed_once(candidates: &mut Vec<Candidate>, entry: Svma, flow: &Flow) {
    let is_entry = |candidate: &Candidate| candidate.address == entry;
    if flow.error.is_some() || flow.branch_targets.contains(&entry.0) {
        candidates.retain(is_entry);
    } else if flow.has_unknown_targets {
        let deepest = candidates.iter().map(|candidate| candidate.cfa_offset).max().unwrap_or(0);
        candidates.retain(|candidate| is_entry(candidate) || candidate.cfa_offset < deepest);
    }
}

/// The epilogues are a second witness of the frame's size: they must undo what the prologue did. (A prologue that comes behind a
/// first branch is not seen, but its epilogue is.) Those that restore the stack pointer from the frame pointer say nothing.
fn agrees_with_epilogues(stack_pointer: Address, flow: &Flow) -> bool {
    flow.error.is_none() && flow.released_bytes.iter().all(|&bytes| stack_pointer == Address::cfa(-8).plus(-bytes))
}

/// Whether the instruction saves a register for the caller, or makes room for one word (`push %rax`).
fn is_saving_push(instruction: &Instruction, machine: &Machine) -> bool {
    if instruction.mnemonic() != Mnemonic::Push || instruction.op0_kind() != OpKind::Register {
        return false;
    }
    let Some(register) = general(instruction.op0_register()) else { return false };
    matches!(register, 0 | 3 | RBP | 12..=15) && machine.value_of(register) == Value::at_entry(register)
}

/// Finds the end of the part that sets up the frame: registers are saved, then room is made once. What moves the stack pointer
/// afterwards belongs to a call or to a variable-length array, and the debug info does not count from it.
struct FrameSetup {
    stack_pointer: Option<Address>,
    phase: Phase,
}

#[derive(PartialEq, Eq)]
enum Phase {
    /// Registers are being saved.
    Saving,
    /// Room was just made, and only that page was touched since: more may follow (`-fstack-clash-protection`).
    Growing,
    /// Room was made.
    Grown,
    /// The stack pointer has moved again.
    Over,
}

impl FrameSetup {
    fn new(stack_pointer: Option<Address>) -> Self {
        Self { stack_pointer, phase: Phase::Saving }
    }

    fn follow_probe_loop(&mut self, stack_pointer: Address) {
        if matches!(self.phase, Phase::Saving | Phase::Growing) {
            self.stack_pointer = Some(stack_pointer);
            self.phase = Phase::Growing;
        }
    }

    fn follow(&mut self, instruction: &Instruction, pushed_to_save: bool, stack_pointer: Address) {
        let touches_stack = matches!(instruction.mnemonic(), Mnemonic::Mov | Mnemonic::Or)
            && instruction.op0_kind() == OpKind::Memory
            && instruction.memory_base() == Register::RSP
            && instruction.op1_kind() != OpKind::Register;
        let writes_stack_pointer = instruction.op0_kind() == OpKind::Register
            && instruction.op0_register() == Register::RSP
            && !matches!(instruction.mnemonic(), Mnemonic::Cmp | Mnemonic::Test);
        let moves = writes_stack_pointer || instruction.is_stack_instruction();
        let makes_room =
            writes_stack_pointer && matches!(instruction.mnemonic(), Mnemonic::Sub | Mnemonic::Add | Mnemonic::Lea);
        let aligns = writes_stack_pointer && instruction.mnemonic() == Mnemonic::And;
        self.phase = match self.phase {
            Phase::Saving if pushed_to_save || aligns => Phase::Saving,
            Phase::Saving | Phase::Growing if makes_room => Phase::Growing,
            Phase::Growing if touches_stack => Phase::Growing,
            Phase::Saving if !moves => Phase::Saving,
            Phase::Growing | Phase::Grown if !moves => Phase::Grown,
            _ => Phase::Over,
        };
        if moves && self.phase != Phase::Over {
            self.stack_pointer = Some(stack_pointer);
        }
    }
}

/// A loop that touches each page of a large frame, and what it leaves behind.
struct ProbeLoop {
    stack_pointer: Address,
    end: Svma,
}

/// Recognizes what gcc, clang and rustc make of `-fstack-clash-protection` for large frames:
///
/// ```text
/// top: sub $0x1000, %rsp
///      orq $0, (%rsp)         or: movq $0, (%rsp)
///      cmp %r11, %rsp
///      jne top                so that behind it, rsp is what r11 is
/// ```
fn stack_probe_loop(code: &Code<'_>, machine: &Machine, top: Svma) -> Option<ProbeLoop> {
    let bytes = bytes_at(code, top);
    let mut decoder = iced_x86::Decoder::with_ip(64, bytes, top.0, iced_x86::DecoderOptions::NONE);
    let mut next = || decoder.can_decode().then(|| decoder.decode());
    let (grow, touch, compare, branch) = (next()?, next()?, next()?, next()?);
    let step = grow.try_immediate(1).ok().filter(|&step| step > 0)? as i64;
    let grows =
        grow.mnemonic() == Mnemonic::Sub && grow.op0_kind() == OpKind::Register && grow.op0_register() == Register::RSP;
    let touches = matches!(touch.mnemonic(), Mnemonic::Or | Mnemonic::Mov)
        && touch.op0_kind() == OpKind::Memory
        && touch.memory_base() == Register::RSP
        && touch.op1_kind() != OpKind::Register;
    let repeats = compare.code() == Opcode::Cmp_r64_rm64 || compare.code() == Opcode::Cmp_rm64_r64;
    let is_loop = branch.mnemonic() == Mnemonic::Jne && branch.near_branch_target() == top.0;
    if !grows || !touches || !repeats || !is_loop || compare.op1_kind() != OpKind::Register {
        return None;
    }
    let end = match (compare.op0_register(), compare.op1_register()) {
        (Register::RSP, end) | (end, Register::RSP) => end,
        _ => return None,
    };
    let Value::Address(stack_pointer) = machine.value_of(general(end)?) else { return None };
    let now = machine.stack_pointer()?;
    let distance = now.offset.checked_sub(stack_pointer.offset)?;
    (now.base == stack_pointer.base && distance > 0 && distance % step == 0)
        .then(|| ProbeLoop { stack_pointer, end: Svma(branch.next_ip()) })
}
