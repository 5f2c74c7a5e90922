//! Executes instructions on symbols: [`Machine::execute`] knows the few that move arguments about, and forgets what any other writes.

use std::collections::BTreeMap;

use iced_x86::{Instruction, InstructionInfoFactory, Mnemonic, OpKind, Register};

use super::RSP;
use super::decode::{first_byte, general, is_write, vector};
use crate::address::Svma;
use crate::arch::symbolic::{Address, Base, Byte, Change, Frame, Origin, Value, WORD_BYTES};

/// General registers, by DWARF number.
const GENERAL_REGISTERS: usize = 16;
/// What `and` leaves of a stack pointer that it aligns: -16, -32 and so on.
const LARGEST_ALIGNMENT: i64 = 4096;

/// Bytes of an `xmm` register.
const VECTOR_BYTES: usize = 16;

/// What a vector register holds: the low bytes that another one, or itself, had at the entry.
#[derive(Clone, Copy)]
struct Vector {
    register: Option<u16>,
    bytes: usize,
}

/// The processor's state, as far as it is known.
pub struct Machine {
    general: [Value; GENERAL_REGISTERS],
    /// What vector registers hold, by DWARF number; those that are not here are as they were at the entry.
    vectors: BTreeMap<u16, Vector>,
    alignments: u8,
    /// The stack.
    pub frame: Frame,
    /// What each register was set to.
    pub history: BTreeMap<u16, Vec<Change>>,
    /// The address of the instruction that is being executed.
    at: Svma,
    info: InstructionInfoFactory,
}

impl Machine {
    /// The state at the entry of a function.
    pub fn at_entry(cfa_offset: i64) -> Self {
        let mut general: [Value; GENERAL_REGISTERS] = std::array::from_fn(|register| Value::at_entry(register as u16));
        general[usize::from(RSP)] = Value::Address(Address::cfa(cfa_offset.wrapping_neg()));
        Self {
            general,
            vectors: BTreeMap::new(),
            alignments: 0,
            frame: Frame::default(),
            history: BTreeMap::new(),
            at: Svma(0),
            info: InstructionInfoFactory::new(),
        }
    }

    /// The stack pointer, while it is known.
    pub fn stack_pointer(&self) -> Option<Address> {
        match self.general[usize::from(RSP)] {
            Value::Address(address) => Some(address),
            Value::Bytes(_) => None,
        }
    }

    /// What the register with this DWARF number holds.
    pub fn value_of(&self, register: u16) -> Value {
        self.general.get(usize::from(register)).copied().unwrap_or(Value::UNKNOWN)
    }

    /// Sets a whole register.
    pub fn set(&mut self, register: u16, value: Value) {
        if let Some(slot) = self.general.get_mut(usize::from(register)) {
            *slot = value;
            self.history.entry(register).or_default().push(Change { by: self.at, value });
        }
    }

    /// Executes one instruction that does not branch.
    pub fn execute(&mut self, instruction: &Instruction) {
        self.at = Svma(instruction.ip());
        let done = match instruction.mnemonic() {
            Mnemonic::Push => self.push(instruction),
            Mnemonic::Pop => self.pop(instruction),
            Mnemonic::Mov | Mnemonic::Movzx | Mnemonic::Movsx | Mnemonic::Movsxd => self.copy(instruction),
            Mnemonic::Lea => self.load_address(instruction),
            Mnemonic::Add | Mnemonic::Sub => self.add(instruction),
            Mnemonic::And => self.and(instruction),
            Mnemonic::Shr => self.shift_right(instruction),
            _ => self.vector_copy(instruction),
        };
        if done.is_none() {
            self.forget_written(instruction);
        }
    }

    fn push(&mut self, instruction: &Instruction) -> Option<()> {
        let operand = self.operand(instruction, 0)?;
        if operand.len() > WORD_BYTES || instruction.stack_pointer_increment() != -(WORD_BYTES as i32) {
            return None;
        }
        let to = self.stack_pointer()?.plus(-(WORD_BYTES as i64));
        let mut bytes = [Byte::UNKNOWN; WORD_BYTES];
        bytes[..operand.len()].copy_from_slice(&operand);
        self.set(RSP, Value::Address(to));
        self.frame.push(self.at, to, &bytes);
        Some(())
    }

    fn pop(&mut self, instruction: &Instruction) -> Option<()> {
        if instruction.op0_kind() != OpKind::Register || instruction.op0_register().size() != WORD_BYTES {
            return None;
        }
        let from = self.stack_pointer()?;
        self.set(RSP, Value::Address(from.plus(WORD_BYTES as i64)));
        let bytes = std::array::from_fn(|byte| self.frame.load(from.plus(byte as i64)));
        self.set(general(instruction.op0_register())?, Value::Bytes(bytes));
        Some(())
    }

    /// `mov` and its widening kin: the low bytes arrive unchanged.
    fn copy(&mut self, instruction: &Instruction) -> Option<()> {
        match instruction.op0_kind() {
            OpKind::Memory => {
                let bytes = self.operand(instruction, 1)?;
                self.store(instruction, &bytes)
            }
            OpKind::Register => {
                let to = instruction.op0_register();
                let whole =
                    instruction.op1_kind() == OpKind::Register && instruction.op1_register().size() == WORD_BYTES;
                if whole && to.size() == WORD_BYTES {
                    let value = self.value_of(general(instruction.op1_register())?);
                    self.set(general(to)?, value);
                    return Some(());
                }
                let mut bytes = self.operand(instruction, 1)?;
                bytes.resize(to.size(), Byte::UNKNOWN);
                self.write(to, &bytes)
            }
            _ => None,
        }
    }

    fn load_address(&mut self, instruction: &Instruction) -> Option<()> {
        let to = instruction.op0_register();
        let address = self.effective_address(instruction).filter(|_| to.size() == WORD_BYTES)?;
        self.set(general(to)?, Value::Address(address));
        Some(())
    }

    fn add(&mut self, instruction: &Instruction) -> Option<()> {
        let (register, immediate) = register_and_immediate(instruction)?;
        let Value::Address(address) = self.value_of(general(register)?) else { return None };
        let distance = if instruction.mnemonic() == Mnemonic::Sub { immediate.wrapping_neg() } else { immediate };
        if register.size() != WORD_BYTES {
            return None;
        }
        self.set(general(register)?, Value::Address(address.plus(distance)));
        Some(())
    }

    fn and(&mut self, instruction: &Instruction) -> Option<()> {
        let (register, immediate) = register_and_immediate(instruction)?;
        let number = general(register)?;
        if number == RSP && register.size() == WORD_BYTES {
            let mask = immediate.checked_neg().filter(|size| (1..=LARGEST_ALIGNMENT).contains(size))?;
            if mask.count_ones() != 1 {
                return None;
            }
            self.alignments = self.alignments.checked_add(1)?;
            self.set(RSP, Value::Address(Address { base: Base::Aligned(self.alignments), offset: 0 }));
            return Some(());
        }
        if immediate != 1 {
            return None;
        }
        let mut bytes = vec![Byte::UNKNOWN; register.size()];
        let low = self.value_of(number).bytes()[first_byte(register)];
        bytes[0] = Byte { low_bit_only: true, ..low };
        self.write(register, &bytes)
    }

    /// Shifts by whole bytes: an array of bytes that came in a register is taken apart so.
    fn shift_right(&mut self, instruction: &Instruction) -> Option<()> {
        let (register, immediate) = register_and_immediate(instruction)?;
        let distance = usize::try_from(immediate).ok().filter(|bits| bits % 8 == 0)? / 8;
        let mut bytes = self.operand(instruction, 0)?;
        if distance >= bytes.len() {
            return None;
        }
        bytes.drain(..distance);
        bytes.resize(register.size(), Byte::UNKNOWN);
        self.write(register, &bytes)
    }

    /// Moves of whole vectors or their low parts: floats on their way to the stack.
    fn vector_copy(&mut self, instruction: &Instruction) -> Option<()> {
        let is_copy = instruction.op_count() == 2 && instruction.op1_kind() == OpKind::Register;
        let moved = low_bytes_moved(instruction).filter(|_| is_copy)?;
        let held = self.vector_value(vector(instruction.op1_register())?);
        let byte = |byte: usize| match held.register {
            Some(register) if byte < held.bytes => Byte::from(Origin::Vector { register, byte: byte as u8 }),
            _ => Byte::UNKNOWN,
        };
        match instruction.op0_kind() {
            OpKind::Memory => {
                let bytes: Vec<Byte> = (0..instruction.memory_size().size()).map(byte).collect();
                self.store(instruction, &bytes)
            }
            OpKind::Register => match vector(instruction.op0_register()) {
                Some(to) => {
                    self.vectors.insert(to, Vector { bytes: held.bytes.min(moved), ..held });
                    Some(())
                }
                None => {
                    let bytes: Vec<Byte> = (0..instruction.op0_register().size()).map(byte).collect();
                    self.write(instruction.op0_register(), &bytes)
                }
            },
            _ => None,
        }
    }

    fn vector_value(&self, register: u16) -> Vector {
        self.vectors.get(&register).copied().unwrap_or(Vector { register: Some(register), bytes: VECTOR_BYTES })
    }

    /// What an operand holds, as many bytes as it has.
    fn operand(&self, instruction: &Instruction, index: u32) -> Option<Vec<Byte>> {
        match instruction.op_kind(index) {
            OpKind::Register => {
                let register = instruction.op_register(index);
                let first = first_byte(register);
                Some(self.value_of(general(register)?).bytes().get(first..first + register.size())?.to_vec())
            }
            OpKind::Memory => {
                let size = instruction.memory_size().size();
                let at = self.effective_address(instruction);
                Some(
                    (0..size)
                        .map(|byte| at.map_or(Byte::UNKNOWN, |at| self.frame.load(at.plus(byte as i64))))
                        .collect(),
                )
            }
            OpKind::Immediate8 => Some(vec![Byte::UNKNOWN; 1]),
            OpKind::Immediate16 | OpKind::Immediate8to16 => Some(vec![Byte::UNKNOWN; 2]),
            OpKind::Immediate32 | OpKind::Immediate8to32 => Some(vec![Byte::UNKNOWN; 4]),
            OpKind::Immediate64 | OpKind::Immediate8to64 | OpKind::Immediate32to64 => Some(vec![Byte::UNKNOWN; 8]),
            _ => None,
        }
    }

    /// Writes to a register or a part of one. Writing 32 bits clears the others (Intel SDM volume 1, section 3.4.1.1).
    fn write(&mut self, register: Register, bytes: &[Byte]) -> Option<()> {
        let number = general(register)?;
        let mut whole = if register.size() >= 4 { [Byte::UNKNOWN; WORD_BYTES] } else { self.value_of(number).bytes() };
        let first = first_byte(register);
        whole.get_mut(first..first + bytes.len())?.copy_from_slice(bytes);
        self.set(number, Value::Bytes(whole));
        Some(())
    }

    fn store(&mut self, instruction: &Instruction, bytes: &[Byte]) -> Option<()> {
        match self.effective_address(instruction) {
            Some(to) => self.frame.store(self.at, to, bytes),
            None if is_static(instruction) => self.frame.write_outside(self.at),
            None => self.frame.forget(self.at),
        }
        Some(())
    }

    /// Where in the frame a memory operand lies, if it certainly lies there.
    fn effective_address(&self, instruction: &Instruction) -> Option<Address> {
        let is_plain = instruction.memory_index() == Register::None && instruction.segment_prefix() == Register::None;
        let base = instruction.memory_base();
        if !is_plain || base.size() != WORD_BYTES {
            return None;
        }
        match self.value_of(general(base)?) {
            Value::Address(address) => Some(address.plus(instruction.memory_displacement64() as i64)),
            Value::Bytes(_) => None,
        }
    }

    /// What is written in a way that is not modelled is not known any more.
    fn forget_written(&mut self, instruction: &Instruction) {
        let info = self.info.info(instruction);
        let registers: Vec<Register> =
            info.used_registers().iter().filter(|used| is_write(used.access())).map(|used| used.register()).collect();
        let memory = info.used_memory().iter().filter(|used| is_write(used.access())).count();
        for register in registers {
            if let Some(number) = general(register) {
                self.set(number, Value::UNKNOWN);
            } else if let Some(number) = vector(register) {
                self.vectors.insert(number, Vector { register: None, bytes: 0 });
            }
        }
        if memory > 0 {
            let size = instruction.memory_size().size();
            let is_operand = instruction.op0_kind() == OpKind::Memory && memory == 1 && size > 0;
            match self.effective_address(instruction).filter(|_| is_operand) {
                Some(to) => self.frame.store(self.at, to, &vec![Byte::UNKNOWN; size]),
                None if is_static(instruction) => self.frame.write_outside(self.at),
                None => self.frame.forget(self.at),
            }
        }
    }
}

/// How many low bytes a move between vector registers, or from one to elsewhere, leaves in their places. Others shuffle.
fn low_bytes_moved(instruction: &Instruction) -> Option<usize> {
    use Mnemonic as M;
    match instruction.mnemonic() {
        M::Movss | M::Movd | M::Vmovss | M::Vmovd => Some(4),
        M::Movsd | M::Movq | M::Movlps | M::Movlpd | M::Vmovsd | M::Vmovq | M::Vmovlps | M::Vmovlpd => Some(8),
        M::Movaps | M::Movapd | M::Movups | M::Movupd | M::Movdqa | M::Movdqu => Some(VECTOR_BYTES),
        M::Vmovaps | M::Vmovapd | M::Vmovups | M::Vmovupd | M::Vmovdqa | M::Vmovdqu => Some(VECTOR_BYTES),
        _ => None,
    }
}

/// Whether the memory operand is a variable outside the stack, its address written in the instruction.
fn is_static(instruction: &Instruction) -> bool {
    instruction.op0_kind() == OpKind::Memory
        && matches!(instruction.memory_base(), Register::RIP | Register::None)
        && instruction.memory_index() == Register::None
}

/// The operands of `op $immediate, %register`.
fn register_and_immediate(instruction: &Instruction) -> Option<(Register, i64)> {
    if instruction.op0_kind() != OpKind::Register || instruction.op_count() != 2 {
        return None;
    }
    let immediate = instruction.try_immediate(1).ok()? as i64;
    Some((instruction.op0_register(), immediate))
}
