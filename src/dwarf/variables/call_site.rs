//! What a function was called with, as its caller knows it: `DW_OP_entry_value` in, the value that the call site tells out
//! (DWARF 5, 2.5.1.7 and 3.4).
//!
//! The call site speaks of the function that it calls. That is the one whose frame this is, unless it was reached by a jump from another
//! one (a tail call): then nothing is known.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use gimli::{DebuggingInformationEntry, Expression, Operation, UnitOffset, constants as dw};

use super::super::listing::{chain, is_flag_set};
use super::super::units::{DieRef, Entry, Slice, Units, Value};
use super::evaluate::{CallerFrame, Context, Missing};
use super::{Body, Description};
use crate::address::Svma;

/// Entries below one function that are looked at.
const MAX_ENTRIES: usize = 1 << 16;
/// Functions that are looked at for jumps back to one.
const MAX_FUNCTIONS: usize = 64;

/// What was found out about calls: each is asked for by all variables of a frame.
#[derive(Debug, Default)]
pub struct Calls<'a> {
    sites: Mutex<HashMap<Svma, Option<CallSite<'a>>>>,
    jumping: Mutex<HashMap<DieRef, bool>>,
}

impl<'a> Calls<'a> {
    /// The call that returns to `return_address`.
    fn returning_to(&self, units: &Units<'a>, return_address: Svma) -> Option<CallSite<'a>> {
        let mut known = self.sites.lock().unwrap_or_else(PoisonError::into_inner);
        known.entry(return_address).or_insert_with(|| units.call_site(return_address)).clone()
    }

    /// Whether a function may be entered again by jumps from itself.
    fn may_jump_back(&self, units: &Units<'a>, function: DieRef) -> bool {
        let mut known = self.jumping.lock().unwrap_or_else(PoisonError::into_inner);
        *known.entry(function).or_insert_with(|| units.may_jump_back(function))
    }
}

/// A call, and the unit that describes it.
#[derive(Clone, Debug)]
struct CallSite<'a> {
    die: DieRef,
    entry: Entry<'a>,
    /// The function that makes it.
    body: Body<'a>,
}

fn at_entry(reason: &str) -> Missing {
    Missing::AtEntry(reason.to_owned())
}

impl<'a> Context<'_, 'a> {
    /// `DW_OP_entry_value`: the value that `expression` had at the entry of the function.
    pub(super) fn entry_value(&self, expression: Expression<Slice<'a>>) -> Result<gimli::Value, Missing> {
        let encoding = self.info.units.get(self.description.unit).unit.encoding();
        let wanted = register_of(expression.operations(encoding))
            .ok_or_else(|| at_entry("it is computed from the state at the entry"))?;
        self.told_by_caller(|units, unit, parameter| {
            let location = parameter.attr_value(dw::DW_AT_location).and_then(|location| location.exprloc_value());
            let encoding = units.get(unit).unit.encoding();
            location.and_then(|location| register_of(location.operations(encoding))) == Some(wanted)
        })
    }

    /// `DW_OP_GNU_parameter_ref`: what the caller gave for a parameter that the code of the function does not get.
    pub(super) fn parameter_at_entry(&self, offset: UnitOffset) -> Result<u64, Missing> {
        let wanted = DieRef { unit: self.description.unit, offset: offset.0 };
        let value = self.told_by_caller(|units, unit, parameter| {
            let named = parameter.attr_value(dw::DW_AT_call_parameter);
            let named = named.or_else(|| parameter.attr_value(dw::DW_AT_abstract_origin));
            named.and_then(|named| units.resolve(unit, named)) == Some(wanted)
        })?;
        match value {
            gimli::Value::Generic(bits) => Ok(bits),
            value => value.to_u64(u64::MAX).map_err(|_| at_entry("its caller knows it as no integer")),
        }
    }

    /// The value that the caller's debug info gives for the parameter that `is_wanted` tells.
    fn told_by_caller(&self, is_wanted: impl Fn(&Units<'a>, u32, &Entry<'a>) -> bool) -> Result<gimli::Value, Missing> {
        let caller = self.frame.caller().ok_or_else(|| at_entry("its caller is not known"))?;
        let units = &caller.info.units;
        let site = caller.info.calls.returning_to(units, caller.return_address);
        let site = site.ok_or_else(|| at_entry("its caller does not tell it"))?;
        self.check_callee(&caller, &site)?;
        let unit = site.die.unit;
        let mut parameters = units.children(site.die).into_iter().map(|(_, child)| child);
        let found = parameters.find(|child| is_parameter(child.tag) && is_wanted(units, unit, child));
        let value = found.and_then(|found| {
            found.attr_value(dw::DW_AT_call_value).or_else(|| found.attr_value(dw::DW_AT_GNU_call_site_value))
        });
        let Some(expression) = value.and_then(|value| value.exprloc_value()) else {
            return Err(at_entry("its caller does not tell it"));
        };
        self.in_caller(&caller, &site, expression)
    }

    /// What `expression`, which belongs to the call site, is worth in the caller's frame.
    fn in_caller(
        &self,
        caller: &CallerFrame<'_, 'a>,
        site: &CallSite<'a>,
        expression: Expression<Slice<'a>>,
    ) -> Result<gimli::Value, Missing> {
        let description = Description { expression, unit: site.die.unit, is_everywhere: false, body: site.body };
        let context = Context {
            info: caller.info,
            address: Svma(caller.return_address.0.wrapping_sub(1)),
            frame: &*caller.state,
            description: &description,
            depth: self.depth + 1,
            fuel: self.fuel,
        };
        context.value_of(expression).map_err(|missing| match missing {
            Missing::AtEntry(reason) | Missing::Because(reason) => Missing::AtEntry(reason),
            Missing::OptimizedOut | Missing::Register(_) => at_entry("what its caller computed it from is gone"),
        })
    }

    /// Whether the call led to the function of this frame, and not to one that jumped to it.
    fn check_callee(&self, caller: &CallerFrame<'_, 'a>, site: &CallSite<'a>) -> Result<(), Missing> {
        let body = &self.description.body;
        if self.info.calls.may_jump_back(&self.info.units, body.die) {
            return Err(at_entry("its function may have been entered again by a jump"));
        }
        let units = &caller.info.units;
        let origin = [dw::DW_AT_call_origin, dw::DW_AT_abstract_origin].into_iter();
        let origin = origin.filter_map(|name| site.entry.attr_value(name)).next();
        let is_callee = match origin.and_then(|origin| units.resolve(site.die.unit, origin)) {
            Some(origin) if std::ptr::eq(self.info.binary, caller.info.binary) => {
                units.chain_of(origin).iter().any(|die| units.chain_of(body.die).contains(die))
                    || units.linker_name(origin).is_some() && units.linker_name(origin) == units.linker_name(body.die)
            }
            Some(origin) => {
                let name = units.linker_name(origin);
                name.is_some() && name == self.info.units.linker_name(body.die)
            }
            None => self.is_pointed_at(caller, site),
        };
        if is_callee { Ok(()) } else { Err(at_entry("its caller called another function, which jumped to this one")) }
    }

    /// Whether a call through a pointer led to the function of this frame.
    fn is_pointed_at(&self, caller: &CallerFrame<'_, 'a>, site: &CallSite<'a>) -> bool {
        let target = [dw::DW_AT_call_target, dw::DW_AT_GNU_call_site_target].into_iter();
        let target = target.filter_map(|name| site.entry.attr_value(name)?.exprloc_value()).next();
        let target = target.and_then(|target| self.in_caller(caller, site, target).ok());
        let entry = self.info.units.entry_of(&self.description.body);
        match (target, entry) {
            (Some(gimli::Value::Generic(target)), Some(entry)) => self.frame.bias().to_avma(entry).0 == target,
            _ => false,
        }
    }
}

/// The register of an expression that is only that.
fn register_of(mut operations: gimli::OperationIter<Slice<'_>>) -> Option<u16> {
    let register = match operations.next().ok()?? {
        Operation::Register { register } | Operation::RegisterOffset { register, offset: 0, .. } => register,
        _ => return None,
    };
    operations.next().ok()?.is_none().then_some(register.0)
}

fn is_site(tag: gimli::DwTag) -> bool {
    matches!(tag, dw::DW_TAG_call_site | dw::DW_TAG_GNU_call_site)
}

fn is_parameter(tag: gimli::DwTag) -> bool {
    matches!(tag, dw::DW_TAG_call_site_parameter | dw::DW_TAG_GNU_call_site_parameter)
}

impl<'a> Units<'a> {
    /// The call that returns to `return_address`.
    fn call_site(&self, return_address: Svma) -> Option<CallSite<'a>> {
        let call = Svma(return_address.0.checked_sub(1)?);
        let unit = self.unit_at(call)?;
        let (function, entry) = self.function_around(unit, call)?;
        let body = Body { die: function, frame_base: entry.attr_value(dw::DW_AT_frame_base) };
        let returns_there = |entry: &Entry<'a>| {
            // GNU's extension calls it the lowest address (gcc before DWARF 5).
            let stated = [dw::DW_AT_call_return_pc, dw::DW_AT_low_pc].into_iter();
            let stated = stated.filter_map(|name| self.address(unit, entry.attr_value(name)?)).next();
            stated == Some(return_address)
        };
        let site = self.call_sites(function).into_iter().find(|(_, entry)| returns_there(entry));
        site.map(|(die, entry)| CallSite { die, entry, body })
    }

    /// The calls that a function makes, those of inlined functions included.
    fn call_sites(&self, function: DieRef) -> Vec<(DieRef, Entry<'a>)> {
        let mut found = Vec::new();
        let parsed = &self.get(function.unit).unit;
        let Ok(mut raw) = parsed.entries_raw(Some(UnitOffset(function.offset))) else { return found };
        let mut entry = DebuggingInformationEntry::null();
        for number in 0..MAX_ENTRIES {
            let depth = raw.next_depth();
            if raw.is_empty() || number > 0 && depth <= 0 {
                break;
            }
            entry.offset = raw.next_offset();
            match raw.read_entry(&mut entry) {
                Ok(true) if is_site(entry.tag) => {
                    found.push((DieRef { unit: function.unit, offset: entry.offset.0 }, entry.clone()));
                }
                Ok(_) => {}
                Err(_) => break,
            }
        }
        found
    }

    /// Whether a function can be reached again by jumps from itself, as far as its unit tells: then its registers at the entry are not
    /// those of the call. A jump through a pointer may lead anywhere.
    fn may_jump_back(&self, function: DieRef) -> bool {
        let home = self.chain_of(function);
        let mut seen = HashSet::from([function]);
        let mut queue = vec![function];
        while let Some(next) = queue.pop() {
            for (die, site) in self.call_sites(next) {
                if !is_flag_set(&site, dw::DW_AT_call_tail_call) && !is_flag_set(&site, dw::DW_AT_GNU_tail_call) {
                    continue;
                }
                let origin = [dw::DW_AT_call_origin, dw::DW_AT_abstract_origin].into_iter();
                let origin: Option<Value<'a>> = origin.filter_map(|name| site.attr_value(name)).next();
                let Some(target) = origin.and_then(|origin| self.resolve(die.unit, origin)) else { return true };
                if self.chain_of(target).iter().any(|die| home.contains(die)) || seen.len() >= MAX_FUNCTIONS {
                    return true;
                }
                if seen.insert(target) {
                    queue.push(target);
                }
            }
        }
        false
    }

    /// The entries that describe a function together.
    fn chain_of(&self, function: DieRef) -> Vec<DieRef> {
        let Some(entry) = self.entry(function) else { return vec![function] };
        chain(self, function, &entry).into_iter().map(|(die, _)| die).collect()
    }

    /// What the linker calls a function that other files can see.
    fn linker_name(&self, function: DieRef) -> Option<&'a str> {
        let entry = self.entry(function)?;
        let chain = chain(self, function, &entry);
        let is_external = chain.iter().any(|(_, entry)| is_flag_set(entry, dw::DW_AT_external));
        let stated =
            chain.iter().find_map(|(die, entry)| self.string(die.unit, entry.attr_value(dw::DW_AT_linkage_name)?));
        let name = || chain.iter().find_map(|(die, entry)| self.name_of(die.unit, entry));
        if is_external { stated.or_else(name) } else { None }
    }
}
