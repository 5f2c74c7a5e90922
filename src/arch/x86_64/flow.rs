//! Reads all code of a function once: where it is left, and where its branches lead.

use std::collections::{BTreeMap, BTreeSet};

use iced_x86::{FlowControl, Instruction, InstructionInfoFactory, Mnemonic, OpKind, Register};

use super::decode::{bytes_at, decoder, general, is_probeable, is_write};
use super::targets::{self, Indirect};
use super::{RBP, RSP, classes};
use crate::address::Svma;
use crate::arch::code::Code;
use crate::arch::{CodeExit, CodeExits, InspectError, Turn};

/// The flow of control in a function.
#[derive(Debug, Default)]
pub struct Flow {
    /// Where it is left.
    pub exits: CodeExits,
    /// Why `exits` is not known, and `branch_targets` not whole.
    pub error: Option<InspectError>,
    /// Where its own branches lead.
    pub branch_targets: BTreeSet<u64>,
    /// It has indirect jumps that may lead to more places in it than `branch_targets`.
    pub has_unknown_targets: bool,
    /// Bytes of frame that the epilogues release, return address not counted; without those that restore a frame pointer's value.
    pub released_bytes: BTreeSet<i64>,
    /// How many instructions set each general register, by DWARF number.
    pub times_set: BTreeMap<u16, usize>,
    /// The jumps to its first instruction; `None` if there are others than direct ones.
    pub turns: Option<Vec<Turn>>,
}

/// Reads the code of a function, from the first byte of each range to the last.
pub fn scan(code: &Code<'_>) -> Flow {
    let (flow, block) = (Flow { turns: Some(Vec::new()), ..Flow::default() }, Block::default());
    let mut scan =
        Scan { code, flow, block, starts: Vec::new(), references: BTreeSet::new(), indirect: Indirect::None };
    let mut info = InstructionInfoFactory::new();
    for range in code.ranges() {
        let mut decoder = decoder(range);
        let mut instruction = Instruction::default();
        scan.block = Block::default();
        while decoder.can_decode() {
            decoder.decode_out(&mut instruction);
            if instruction.is_invalid() {
                scan.flow.error = Some(InspectError::Undecodable(Svma(instruction.ip())));
                return scan.flow;
            }
            scan.starts.push(instruction.ip());
            let used = info.info(&instruction).used_registers();
            let set = used.iter().filter(|used| is_write(used.access())).filter_map(|used| general(used.register()));
            for register in BTreeSet::from_iter(set) {
                *scan.flow.times_set.entry(register).or_default() += 1;
            }
            scan.references.extend(targets::references(&instruction));
            scan.read(&instruction);
        }
    }
    // Data between instructions decodes as instructions too. A probe there would change it, so trust nothing.
    scan.starts.sort_unstable();
    let broken = scan.flow.branch_targets.iter().find(|target| scan.starts.binary_search(target).is_err());
    scan.flow.error = broken.map(|&target| InspectError::BrokenBranch(Svma(target)));
    match targets::of_indirect_jumps(code, &scan.references, scan.indirect) {
        // What is read behind the end of a table may lead anywhere.
        Some(targets) => {
            let starts = targets.into_iter().filter(|target| scan.starts.binary_search(target).is_ok());
            let starts: BTreeSet<u64> = starts.collect();
            scan.flow.turns.take_if(|_| starts.contains(&code.entry().0));
            scan.flow.branch_targets.extend(starts);
        }
        None => scan.flow.has_unknown_targets = true,
    }
    scan.flow
}

struct Scan<'a> {
    code: &'a Code<'a>,
    flow: Flow,
    block: Block,
    /// Where instructions begin.
    starts: Vec<u64>,
    /// Addresses that instructions name.
    references: BTreeSet<u64>,
    /// The indirect jumps that may stay in the function.
    indirect: Indirect,
}

/// What the instructions since the last branch or call have shown.
#[derive(Debug, Default)]
struct Block {
    /// Bytes of stack released and not taken again.
    released: i64,
    /// The stack pointer was set from another register, so that `released` is not all.
    restored: bool,
    /// A register was given back to the caller: this is an epilogue.
    gives_back: bool,
    /// An entry of a table of offsets was added to the table's address: this is a `switch`.
    adds_offset: bool,
    loads_indexed: bool,
}

impl Scan<'_> {
    fn read(&mut self, instruction: &Instruction) {
        match instruction.flow_control() {
            FlowControl::Next => self.block.read(instruction),
            FlowControl::Return => {
                if !self.block.restored {
                    self.flow.released_bytes.insert(self.block.released);
                }
                self.leave(instruction, false);
                self.block = Block::default();
            }
            FlowControl::UnconditionalBranch => {
                if !self.stays(instruction) {
                    self.leave(instruction, true);
                }
                self.block = Block::default();
            }
            FlowControl::ConditionalBranch | FlowControl::XbeginXabortXend => {
                // A probe there would fire as well when the jump is not taken.
                if instruction.op0_kind() == OpKind::NearBranch64 && !self.stays(instruction) {
                    self.maybe_leaves(instruction);
                }
                self.block = Block::default();
            }
            FlowControl::IndirectBranch => {
                if is_pointer_of_linker(instruction) || self.block.gives_back {
                    self.leave(instruction, true);
                } else {
                    let is_switch = self.block.is_switch(instruction);
                    self.indirect = self.indirect.max(if is_switch { Indirect::Switch } else { Indirect::Any });
                    if !is_switch {
                        self.maybe_leaves(instruction);
                    }
                }
                self.block = Block::default();
            }
            _ => self.block = Block::default(),
        }
    }

    /// Notes where a direct branch leads; `false` if that is out of the function.
    fn stays(&mut self, instruction: &Instruction) -> bool {
        if instruction.op0_kind() != OpKind::NearBranch64 {
            return false;
        }
        let target = instruction.near_branch_target();
        let stays = self.code.contains(Svma(target));
        if stays {
            self.flow.branch_targets.insert(target);
        }
        if target == self.code.entry().0 {
            let turn = self.turn(instruction);
            self.flow.turns = self.flow.turns.take().zip(turn).map(|(turns, turn)| [turns, vec![turn]].concat());
        }
        stays
    }

    /// A jump to the first instruction; `None` for one whose condition is not told by the flags alone.
    fn turn(&self, instruction: &Instruction) -> Option<Turn> {
        let address = Svma(instruction.ip());
        let bytes = bytes_at(self.code, address);
        let is_conditional = instruction.is_jcc_short_or_near();
        // iced numbers them as the processor does, from 1 on.
        let condition = is_conditional.then(|| (instruction.condition_code() as u8).wrapping_sub(1));
        let is_known = is_conditional || instruction.flow_control() == FlowControl::UnconditionalBranch;
        let class = classes::of(instruction, bytes);
        (is_known && is_probeable(bytes)).then_some(Turn { address, condition, class })
    }

    fn leave(&mut self, instruction: &Instruction, tail_jump: bool) {
        let address = Svma(instruction.ip());
        let bytes = bytes_at(self.code, address);
        if is_probeable(bytes) {
            let class = classes::of(instruction, bytes);
            self.flow.exits.certain.push(CodeExit { address, tail_jump, class });
        } else {
            self.maybe_leaves(instruction);
        }
    }

    fn maybe_leaves(&mut self, instruction: &Instruction) {
        self.flow.exits.uncertain.get_or_insert(Svma(instruction.ip()));
    }
}

impl Block {
    fn read(&mut self, instruction: &Instruction) {
        match instruction.mnemonic() {
            Mnemonic::Pop => {
                self.released = self.released.saturating_add(8);
                let register =
                    (instruction.op0_kind() == OpKind::Register).then(|| general(instruction.op0_register()));
                self.gives_back |= matches!(register.flatten(), Some(3 | RBP | 12..=15));
            }
            Mnemonic::Leave => {
                self.restored = true;
                self.gives_back = true;
            }
            Mnemonic::Push => *self = Self::default(),
            mnemonic if sets_stack_pointer(instruction) => match (mnemonic, instruction.try_immediate(1)) {
                (Mnemonic::Add, Ok(bytes)) => self.release(bytes as i64),
                // `sub $-128, %rsp` is shorter than `add $128, %rsp`.
                (Mnemonic::Sub, Ok(bytes)) => self.release((bytes as i64).wrapping_neg()),
                _ => self.restored = true,
            },
            Mnemonic::Movsxd => self.loads_indexed |= reads_table(instruction),
            Mnemonic::Add => self.adds_offset |= self.loads_indexed,
            _ => {}
        }
    }

    fn release(&mut self, bytes: i64) {
        match bytes {
            1.. => self.released = self.released.saturating_add(bytes),
            _ => *self = Self::default(),
        }
    }

    /// Whether an indirect jump is certainly the dispatch of a `switch`. A table of addresses (`jmp *table(,%rax,8)`) may as well
    /// be one of functions; a table of offsets is a compiler's own, and `notrack` (DS) tells that all targets are known (-fcf-protection).
    fn is_switch(&self, jump: &Instruction) -> bool {
        self.adds_offset || jump.segment_prefix() == Register::DS
    }
}

fn sets_stack_pointer(instruction: &Instruction) -> bool {
    instruction.op0_kind() == OpKind::Register
        && general(instruction.op0_register()) == Some(RSP)
        && !matches!(instruction.mnemonic(), Mnemonic::Cmp | Mnemonic::Test)
}

/// `movslq (%rdx,%rax,4), %rax`: an entry of a table of offsets.
fn reads_table(instruction: &Instruction) -> bool {
    instruction.op1_kind() == OpKind::Memory
        && instruction.memory_index() != Register::None
        && instruction.memory_index_scale() == 4
}

/// `jmp *symbol@GOTPCREL(%rip)`: a call of another module's function, in tail position.
fn is_pointer_of_linker(instruction: &Instruction) -> bool {
    instruction.op0_kind() == OpKind::Memory && instruction.memory_base() == Register::RIP
}
