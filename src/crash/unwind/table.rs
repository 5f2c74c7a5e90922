//! The caller by call frame information (DWARF 5, 6.4.3).

use std::cell::Cell;

use super::super::memory::Unknown;
use super::{Caller, End, FoundBy, RawFrame, Registers, Stop, Walk};
use crate::address::Avma;
use crate::dwarf::unwind::{CfaRule, Expression, Rule, UnwindRow};

/// A frame that is being stepped out of.
struct Evaluation<'e, 'w, 'm> {
    walk: &'e Walk<'w, 'm>,
    frame: &'e RawFrame,
    /// The first read that failed.
    unknown: Cell<Option<Unknown>>,
    /// A register was asked for that is not known.
    needs_register: Cell<bool>,
}

impl Walk<'_, '_> {
    /// The frame that called `frame`, as `row` describes it.
    pub(super) fn caller_by_table(&self, frame: &RawFrame, row: &UnwindRow<'_>) -> Result<Caller, Stop> {
        let arch = self.code.arch;
        let evaluation = Evaluation { walk: self, frame, unknown: Cell::default(), needs_register: Cell::default() };
        let Some(cfa) = evaluation.cfa(&row.cfa) else { return Err(evaluation.why().into()) };
        let stopped = |end| Stop { cfa: Some(Avma(cfa)), end };
        let return_address = match row.rule(row.return_address) {
            Some(Rule::Undefined) => return Err(stopped(End::Outermost)),
            Some(rule) => evaluation.apply(rule, row.return_address, cfa),
            None => frame.registers.get(row.return_address),
        };
        let Some(return_address) = return_address else { return Err(stopped(evaluation.why())) };
        let mut registers = Registers::default();
        for number in Registers::numbers() {
            let value = match row.rule(number) {
                // One that cannot be read is not known; nothing else follows from that.
                Some(rule) => evaluation.apply(rule, number, cfa),
                // DWARF 5, 6.4.1: the architecture says what holds where there is no rule. psABI, figure 3.4.
                None if number == arch.stack_pointer() => Some(cfa),
                None if arch.is_callee_saved(number) => frame.registers.get(number),
                None => None,
            };
            registers.set(number, value);
        }
        registers.set(arch.program_counter(), Some(return_address));
        let found_by = if row.is_signal_frame { FoundBy::Signal } else { FoundBy::Cfi };
        Ok(Caller { cfa: Avma(cfa), registers, found_by, left_signal_frame: row.is_signal_frame })
    }
}

impl Evaluation<'_, '_, '_> {
    fn cfa(&self, rule: &CfaRule<'_>) -> Option<u64> {
        match rule {
            CfaRule::Register(register, offset) => Some(self.register(*register)?.wrapping_add_signed(*offset)),
            CfaRule::Expression(expression) => self.expression(expression, None),
        }
    }

    /// The value of register `number` in the caller.
    fn apply(&self, rule: Rule<'_>, number: u16, cfa: u64) -> Option<u64> {
        match rule {
            Rule::Undefined | Rule::Unsupported => None,
            Rule::SameValue => self.register(number),
            Rule::Saved(offset) => self.read(Avma(cfa.wrapping_add_signed(offset)), 8),
            Rule::Cfa(offset) => Some(cfa.wrapping_add_signed(offset)),
            Rule::Register(other) => self.register(other),
            Rule::SavedAt(expression) => self.read(Avma(self.expression(&expression, Some(cfa))?), 8),
            Rule::Expression(expression) => self.expression(&expression, Some(cfa)),
            Rule::Constant(value) => Some(value),
        }
    }

    fn expression(&self, expression: &Expression<'_>, initial: Option<u64>) -> Option<u64> {
        expression.evaluate(initial, |number| self.register(number), |address, size| self.read(address, size))
    }

    fn register(&self, number: u16) -> Option<u64> {
        let value = self.frame.registers.get(number);
        self.needs_register.set(self.needs_register.get() || value.is_none());
        value
    }

    fn read(&self, address: Avma, size: u8) -> Option<u64> {
        let read = self.walk.stack.memory.unsigned(address, size);
        read.inspect_err(|unknown| self.unknown.set(self.unknown.get().or(Some(*unknown)))).ok()
    }

    /// Why something could not be evaluated.
    fn why(&self) -> End {
        let otherwise = if self.needs_register.get() { End::LostRegister } else { End::BadTable };
        self.unknown.get().map_or(otherwise, End::Memory)
    }
}
