//! Arguments and local variables of a frame in; what stands behind its name, and the lines below it, out.

use owo_colors::OwoColorize;

use super::{style, value};
use crate::report::{Frame, State, Value};

/// Frames whose locals are shown without being asked for: the innermost ones of the program's own.
const FRAMES: usize = 3;
/// Locals of one frame that are shown without being asked for.
const LOCALS: usize = 8;

/// `(r = 0x5555a2a0, len = 3 (was 4 at entry))`; nothing for a frame whose arguments are not known. What pointers lead to has its place in a
/// `verbose` page.
#[must_use]
pub fn arguments(frame: &Frame, verbose: bool) -> String {
    if frame.args.is_empty() {
        return String::new();
    }
    let shown = frame.args.iter().map(|argument| match verbose {
        true => value::named(argument),
        false => value::named(&without_targets(argument)),
    });
    format!("({})", shown.collect::<Vec<_>>().join(", "))
}

fn without_targets(argument: &Value) -> Value {
    let at_entry = argument.at_entry.as_deref().map(without_targets).map(Box::new);
    Value { target: None, at_entry, ..argument.clone() }
}

/// The locals of a frame, a line each. `before` is how many frames with locals have been shown: after a few, only a `verbose` page has more.
#[must_use]
pub fn locals(frame: &Frame, before: usize, verbose: bool) -> Vec<String> {
    if verbose {
        return frame.locals.iter().map(value::named).collect();
    }
    if before >= FRAMES || !frame.own {
        return Vec::new();
    }
    let known: Vec<&Value> = frame.locals.iter().filter(|local| is_known(local)).collect();
    let mut lines: Vec<String> = known.iter().take(LOCALS).map(|local| value::named(local)).collect();
    let more = frame.locals.len() - lines.len();
    if more > 0 && !lines.is_empty() {
        let locals = if more == 1 { "local" } else { "locals" };
        lines.push(format!("{more} more {locals} (-v shows them)").style(style::faint()).to_string());
    }
    lines
}

fn is_known(local: &Value) -> bool {
    matches!(local.state, State::Exact | State::Truncated) || local.members.iter().any(is_known)
}
