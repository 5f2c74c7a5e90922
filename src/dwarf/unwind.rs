//! A row of call frame information, free of the section that said it: how the caller's registers are found (DWARF 5, 6.4.1).

use std::ops::Range;

use gimli::{Encoding, EvaluationResult, Reader as _, Register, UnitOffset, UnwindSection, UnwindTableRow, Value};

use super::units::Slice;
use crate::address::{Avma, Svma};

/// Operations of one expression at the most: compilers make a dozen.
const MAX_OPERATIONS: u32 = 1000;

/// How the registers of the caller are found at one address.
#[derive(Clone, Debug)]
pub struct UnwindRow<'a> {
    /// The canonical frame address.
    pub cfa: CfaRule<'a>,
    /// DWARF numbers of registers, each with its rule. For others the calling convention decides.
    pub registers: Vec<(u16, Rule<'a>)>,
    /// DWARF number of the register whose value in the caller is the return address.
    pub return_address: u16,
    /// What "returns" to this code is a signal handler, and its caller is the code that the signal interrupted.
    pub is_signal_frame: bool,
    /// The code that is described together: a function, or one part of it.
    pub code: Range<Svma>,
}

/// How the canonical frame address is found.
#[derive(Clone, Copy, Debug)]
pub enum CfaRule<'a> {
    /// A register plus an offset.
    Register(u16, i64),
    /// What the expression computes.
    Expression(Expression<'a>),
}

/// How a register's value in the caller is found.
#[derive(Clone, Copy, Debug)]
pub enum Rule<'a> {
    /// It cannot be. For the return address: there is no caller.
    Undefined,
    /// It is still there.
    SameValue,
    /// Saved at this distance from the CFA.
    Saved(i64),
    /// The CFA plus this.
    Cfa(i64),
    /// In another register.
    Register(u16),
    /// Saved at the address that the expression computes, which begins with the CFA on its stack.
    SavedAt(Expression<'a>),
    /// What the expression computes, which begins with the CFA on its stack.
    Expression(Expression<'a>),
    /// Always this.
    Constant(u64),
    /// An extension that we do not know.
    Unsupported,
}

impl<'a> UnwindRow<'a> {
    /// The rule of a register, if there is one.
    #[must_use]
    pub fn rule(&self, register: u16) -> Option<Rule<'a>> {
        self.registers.iter().find(|(number, _)| *number == register).map(|(_, rule)| *rule)
    }

    /// Takes what `row` says out of `section`; `None` where an expression lies outside of it.
    pub(super) fn of<S: UnwindSection<Slice<'a>>>(
        section: &S,
        description: &gimli::FrameDescriptionEntry<Slice<'a>>,
        row: &UnwindTableRow<usize>,
    ) -> Option<Self> {
        let encoding = description.cie().encoding();
        let read = |at: &gimli::UnwindExpression<usize>| {
            let mut code = *section.section();
            code.skip(at.offset).ok()?;
            Some(Expression { code: code.split(at.length).ok()?, encoding })
        };
        let cfa = match row.cfa() {
            gimli::CfaRule::RegisterAndOffset { register, offset } => CfaRule::Register(register.0, *offset),
            gimli::CfaRule::Expression(expression) => CfaRule::Expression(read(expression)?),
        };
        let rule = |rule: &gimli::RegisterRule<usize>| {
            Some(match rule {
                gimli::RegisterRule::Undefined => Rule::Undefined,
                gimli::RegisterRule::SameValue => Rule::SameValue,
                gimli::RegisterRule::Offset(offset) => Rule::Saved(*offset),
                gimli::RegisterRule::ValOffset(offset) => Rule::Cfa(*offset),
                gimli::RegisterRule::Register(register) => Rule::Register(register.0),
                gimli::RegisterRule::Expression(expression) => Rule::SavedAt(read(expression)?),
                gimli::RegisterRule::ValExpression(expression) => Rule::Expression(read(expression)?),
                gimli::RegisterRule::Constant(value) => Rule::Constant(*value),
                _ => Rule::Unsupported,
            })
        };
        let registers = row.registers().map(|(register, of)| Some((register.0, rule(of)?)));
        Some(Self {
            cfa,
            registers: registers.collect::<Option<_>>()?,
            return_address: description.cie().return_address_register().0,
            is_signal_frame: description.is_signal_trampoline(),
            code: Svma(description.initial_address())..Svma(description.end_address()),
        })
    }
}

/// A DWARF expression of call frame information.
#[derive(Clone, Copy, Debug)]
pub struct Expression<'a> {
    code: Slice<'a>,
    encoding: Encoding,
}

impl Expression<'_> {
    /// What it computes from the registers and the memory of the process; `None` where one of them is not known, and for operations
    /// that have no meaning here.
    pub fn evaluate(
        &self,
        initial: Option<u64>,
        register: impl Fn(u16) -> Option<u64>,
        memory: impl Fn(Avma, u8) -> Option<u64>,
    ) -> Option<u64> {
        const UNTYPED: UnitOffset = UnitOffset(0);
        let mut evaluation = gimli::Expression(self.code).evaluation(self.encoding);
        evaluation.set_max_iterations(MAX_OPERATIONS);
        if let Some(initial) = initial {
            evaluation.set_initial_value(initial);
        }
        let mut state = evaluation.evaluate().ok()?;
        loop {
            state = match state {
                EvaluationResult::Complete => break,
                EvaluationResult::RequiresMemory { address, size, space: None, base_type: UNTYPED } => {
                    evaluation.resume_with_memory(Value::Generic(memory(Avma(address), size)?)).ok()?
                }
                EvaluationResult::RequiresRegister { register: Register(number), base_type: UNTYPED } => {
                    evaluation.resume_with_register(Value::Generic(register(number)?)).ok()?
                }
                _ => return None,
            };
        }
        match evaluation.as_result() {
            [piece] => match piece.location {
                gimli::Location::Address { address } => Some(address),
                _ => None,
            },
            _ => None,
        }
    }
}
