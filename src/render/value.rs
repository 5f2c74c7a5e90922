//! One value on a line: what a reader would type, and plain marks where it is not what the program had.

use owo_colors::OwoColorize;
use serde_json::Value as Json;

use super::composite::{self, Composite, bytes_of, composite, is_number};
use super::escape::{plain, quoted, quoted_bytes};
use super::style;
use crate::report::{State, Value};

/// Levels of structs and pointers that are shown within each other.
const MAX_DEPTH: u32 = 5;

/// `str = "text"`, `point = point {x: 1, y: 2}`, `"a long te"…`, `<unreadable: no readable memory is mapped at 0xdead>`; `buf = "" ⇒ "hello"` where the
/// call has changed it.
#[must_use]
pub fn named(value: &Value) -> String {
    labelled(value, 0)
}

/// The same without the name.
#[must_use]
pub fn bare(value: &Value) -> String {
    at_depth(value, 0)
}

pub(super) fn labelled(value: &Value, depth: u32) -> String {
    let text = match &value.at_entry {
        Some(before) => with_entry(value, before, depth),
        None => at_depth(value, depth),
    };
    match (&value.key, &value.name) {
        (Some(key), _) => format!("{}: {text}", at_depth(key, depth)),
        (None, Some(name)) if depth == 0 => format!("{} = {text}", plain(name)),
        // Elements of a tuple have numbers for names.
        (None, Some(name)) if !is_number(name) => format!("{}: {text}", plain(name)),
        _ => text,
    }
}

/// `3 (was 4 at entry)`; `"bob" (at entry)` where it is not known what it is now.
fn with_entry(value: &Value, before: &Value, depth: u32) -> String {
    let then = at_depth(before, depth);
    match value.state {
        State::OptimizedOut | State::Unavailable | State::Unreadable if value.members.is_empty() => {
            format!("{then} {}", "(at entry)".style(style::faint()))
        }
        _ => format!("{} (was {then} at entry)", at_depth(value, depth)),
    }
}

pub(super) fn at_depth(value: &Value, depth: u32) -> String {
    let mut then = then(value, depth);
    if let Some(after) = value.after.as_deref().filter(|_| depth < MAX_DEPTH) {
        then = format!("{then} {} {}", "⇒".style(style::doubt()), at_depth(after, depth + 1));
    }
    match value.now.as_deref().filter(|_| depth < MAX_DEPTH) {
        Some(now) => format!("{then} {}", format!("(now {})", at_depth(now, depth + 1)).style(style::doubt())),
        None => then,
    }
}

/// What it was when it was recorded.
fn then(value: &Value, depth: u32) -> String {
    let reason = || value.reason.as_deref().map(|reason| format!(": {}", plain(reason))).unwrap_or_default();
    let doubtful = |text: String| text.style(style::doubt()).to_string();
    // Parts have marks of their own.
    if let Some(composite) = composite(value).filter(|_| depth < MAX_DEPTH) {
        let odd = value.reason.as_deref().filter(|_| value.state == State::Exact);
        let odd = odd.map(|reason| doubtful(format!(" ({})", plain(reason)))).unwrap_or_default();
        return format!("{}{odd}", on_one_line(&composite, depth));
    }
    if let (State::Exact | State::Truncated, Json::Array(elements)) = (value.state, &value.value) {
        let mark = if value.state == State::Truncated { doubtful(", …".into()) } else { String::new() };
        return match bytes_of(&value.ty, elements) {
            Some(bytes) => bytes,
            None => format!("[{}{mark}]", elements.iter().map(json).collect::<Vec<_>>().join(", ")),
        };
    }
    match value.state {
        State::Exact => exact(value, depth),
        State::Truncated if !value.value.is_null() => format!("{}{}", content(value), doubtful("…".into())),
        State::Late => format!("{} {}", content(value), doubtful("(read at the fault)".into())),
        State::Guessed => format!("{} {}", content(value), doubtful("(a guess)".into())),
        State::OptimizedOut => doubtful("<optimized out>".into()),
        State::Truncated => doubtful(format!("<truncated{}>", reason())),
        State::Unreadable => doubtful(format!("<unreadable{}>", reason())),
        State::Unavailable => match &value.bytes {
            Some(bytes) if !bytes.is_empty() => doubtful(format!("<bytes {}{}>", plain(bytes), reason())),
            _ => doubtful(format!("<unavailable{}>", reason())),
        },
        State::Redacted => doubtful("<redacted>".into()),
        State::Other => doubtful(format!("<of an unknown state: {}>", content(value))),
    }
}

/// A value that the program had, with what is odd about it.
fn exact(value: &Value, depth: u32) -> String {
    let mut text = content(value).style(style::value()).to_string();
    if let Some(symbol) = &value.symbol {
        text = format!("{text} {}", format!("<{}>", plain(symbol)).style(style::faint()));
    }
    if let Some(target) = value.target.as_deref().filter(|_| depth < MAX_DEPTH) {
        text = format!("{text} → {}", at_depth(target, depth + 1));
    }
    if let Some(reason) = &value.reason {
        text = format!("{text} {}", format!("({})", plain(reason)).style(style::doubt()));
    }
    text
}

fn on_one_line(composite: &Composite<'_>, depth: u32) -> String {
    let mut parts: Vec<String> = composite.parts.iter().map(|part| labelled(part, depth + 1)).collect();
    if composite.is_cut {
        parts.push("…".style(style::doubt()).to_string());
    }
    format!("{}{}{}", composite.open, parts.join(", "), composite.close)
}

/// What stands in `value` and beside it, whatever the state.
fn content(value: &Value) -> String {
    match &value.value {
        _ if value.variant.is_some() && value.members.is_empty() => composite::variant_name(value),
        Json::Null => "NULL".into(),
        Json::String(text) if is_text(value) => {
            value.bytes.as_deref().and_then(quoted_bytes).unwrap_or_else(|| quoted(text))
        }
        Json::String(_) if value.text.is_some() => value.text.as_deref().map(plain).unwrap_or_default(),
        other => match &value.text {
            Some(look) => format!("{} {}", json(other), plain(look)),
            None => json(other),
        },
    }
}

/// Strings that are text in the program; the others are numbers, names of enumerators and addresses.
fn is_text(value: &Value) -> bool {
    value.length.is_some() || value.state == State::Truncated
}

/// A list or an object of plain values.
pub(super) fn json(value: &Json) -> String {
    match value {
        Json::String(text) => plain(text),
        Json::Array(elements) => {
            let elements: Vec<String> = elements.iter().map(json).collect();
            format!("[{}]", elements.join(", "))
        }
        Json::Object(members) => {
            let members: Vec<String> =
                members.iter().map(|(name, value)| format!("{}: {}", plain(name), json(value))).collect();
            format!("{{{}}}", members.join(", "))
        }
        other => other.to_string(),
    }
}
