//! A report and names in; the same report without the values of what has these names out, before anybody sees it.
//!
//! What is named is taken away with all that hangs on it. Then whatever else in the report holds one of the texts that were taken away goes, too: a
//! secret is passed on under many names.

mod secrets;

use serde_json::Value as Json;

use self::secrets::Secrets;
use super::{Call, Exception, Frame, Report, State, Value, object_of};
use crate::plan::select::NamePattern;

/// Names of functions, arguments, members and types.
#[derive(Clone, Debug, Default)]
pub struct Redaction {
    patterns: Vec<NamePattern>,
}

impl Redaction {
    /// Of what has a name that meets one of these globs.
    #[must_use]
    pub fn new(globs: &[String]) -> Self {
        Self { patterns: globs.iter().map(|glob| NamePattern::new(glob.trim())).collect() }
    }

    /// Takes the values away.
    pub fn apply(&self, report: &mut Report) {
        if self.patterns.is_empty() {
            return;
        }
        let mut secrets = Secrets::default();
        for thread in &mut report.threads {
            thread.calls.iter_mut().for_each(|call| self.in_call(call, &mut secrets));
            thread.frames.iter_mut().for_each(|frame| self.in_frame(frame, &mut secrets));
        }
        report.fault.exceptions.iter_mut().for_each(|exception| self.in_exception(exception, &mut secrets));
        for value in values(report) {
            redact(value, &mut |value| secrets.are_in(value));
        }
        secrets.scrub(report);
    }

    fn in_call(&self, call: &mut Call, secrets: &mut Secrets) {
        let is_whole = self.is_named(&call.function) || self.is_named(&call.symbol);
        self.in_values(of_call(call), is_whole, secrets);
    }

    fn in_frame(&self, frame: &mut Frame, secrets: &mut Secrets) {
        let names = [frame.function.as_deref(), frame.symbol.as_deref()];
        let is_whole = names.into_iter().flatten().any(|name| self.is_named(name));
        self.in_values(of_frame(frame), is_whole, secrets);
    }

    fn in_exception(&self, exception: &mut Exception, secrets: &mut Secrets) {
        let is_whole = exception.ty.as_deref().is_some_and(|ty| self.is_named(ty));
        self.in_values(of_exception(exception), is_whole, secrets);
    }

    /// In all of these, or in what of them has such a name.
    fn in_values<'v>(&self, values: impl Iterator<Item = &'v mut Value>, all: bool, secrets: &mut Secrets) {
        for value in values {
            redact(value, &mut |value| {
                let is_meant = all || self.is_meant(value);
                if is_meant {
                    secrets.add(value);
                }
                is_meant
            });
        }
    }

    fn is_named(&self, name: &str) -> bool {
        self.patterns.iter().any(|pattern| pattern.is_name(name))
    }

    /// By its own name, by the key that it has in a map, or by a name in its type: of `std::vector<app::Token *>`, `Token` is one.
    fn is_meant(&self, value: &Value) -> bool {
        let key = value.key.as_deref().and_then(|key| key.value.as_str());
        let of_type =
            value.ty.split(|c: char| !c.is_alphanumeric() && !matches!(c, '_' | ':')).filter(|it| !it.is_empty());
        let names = value.name.as_deref().into_iter().chain(key).chain([value.ty.as_str()]).chain(of_type);
        names.into_iter().any(|name| self.is_named(name))
    }
}

/// All values of a report that are not parts of others.
fn values(report: &mut Report) -> impl Iterator<Item = &mut Value> {
    let of_threads = report.threads.iter_mut().flat_map(|thread| {
        thread.calls.iter_mut().flat_map(of_call).chain(thread.frames.iter_mut().flat_map(of_frame))
    });
    of_threads.chain(report.fault.exceptions.iter_mut().flat_map(of_exception))
}

fn of_exception(exception: &mut Exception) -> impl Iterator<Item = &mut Value> {
    exception.text.iter_mut().chain(&mut exception.value)
}

fn of_call(call: &mut Call) -> impl Iterator<Item = &mut Value> {
    let result = call.returned.iter_mut().filter_map(|returned| returned.value.as_deref_mut());
    call.args.iter_mut().chain(result)
}

fn of_frame(frame: &mut Frame) -> impl Iterator<Item = &mut Value> {
    frame.args.iter_mut().chain(&mut frame.locals)
}

/// Takes away what is meant in a value; whether that changed its JSON.
fn redact(value: &mut Value, is_meant: &mut impl FnMut(&Value) -> bool) -> bool {
    if value.state == State::Redacted && value.members.is_empty() {
        return false;
    }
    if is_meant(value) {
        take_away(value);
        return true;
    }
    let beside = [&mut value.target, &mut value.now, &mut value.after, &mut value.at_entry];
    beside.into_iter().flatten().for_each(|it| {
        redact(it, is_meant);
    });
    let key = value.key.as_deref_mut().is_some_and(|key| redact(key, is_meant));
    let changed: Vec<usize> =
        (0..value.members.len()).filter(|&index| redact(&mut value.members[index], is_meant)).collect();
    let Some(first) = changed.first() else { return key };
    if value.ty.starts_with("union ") {
        // Its members are the same bytes.
        take_away(value);
        return true;
    }
    if value.state == State::Exact {
        let name = value.members[*first].name.clone().unwrap_or_else(|| format!("part {first}"));
        (value.state, value.reason) = (State::Redacted, Some(format!("`{name}`: redacted")));
    }
    changed.into_iter().for_each(|index| forget_member(value, index));
    true
}

/// What a value's own JSON has of a member is replaced by what is left of that; where it is not known where that stands, by nothing.
fn forget_member(value: &mut Value, index: usize) {
    let (count, member) = (value.members.len(), &value.members[index]);
    let left = member.value.clone();
    match &mut value.value {
        Json::Object(_) if value.variant.is_none() && member.key.is_none() => value.value = object_of(&value.members),
        Json::Array(parts) if parts.len() == count && member.key.is_none() => parts[index] = left,
        other => *other = Json::Null,
    }
}

/// Leaves the name, the type and where it is declared.
fn take_away(value: &mut Value) {
    let (name, ty, key) = (value.name.take(), std::mem::take(&mut value.ty), value.key.take());
    *value = Value { name, ty, key, declared: value.declared, state: State::Redacted, ..Value::default() };
}

#[cfg(test)]
mod tests;
