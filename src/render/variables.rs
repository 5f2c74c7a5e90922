//! Arguments and local variables of a frame in; what stands behind its name, and the lines below it, out.

use owo_colors::OwoColorize;

use super::{style, tree, value};
use crate::report::{Frame, State, Value};

/// Frames whose locals are shown without being asked for: the innermost ones of the program's own.
const FRAMES: usize = 3;
/// Locals of one frame that are shown without being asked for.
const LOCALS: usize = 8;

/// Columns of one argument or local that are shown without being asked for.
const ARGUMENT_COLUMNS: usize = 60;
const LOCAL_COLUMNS: usize = 160;

/// `(r = 0x5555a2a0, len = 3 (was 4 at entry))`; nothing for a frame whose arguments are not known. What pointers lead to has its place in a
/// `verbose` page.
#[must_use]
pub fn arguments(frame: &Frame, verbose: bool) -> String {
    if frame.args.is_empty() {
        return String::new();
    }
    let shown = frame.args.iter().map(|argument| match verbose {
        true => value::named(argument),
        false => cut(value::named(&without_targets(argument)), ARGUMENT_COLUMNS),
    });
    format!("({})", shown.collect::<Vec<_>>().join(", "))
}

fn without_targets(argument: &Value) -> Value {
    let at_entry = argument.at_entry.as_deref().map(without_targets).map(Box::new);
    let members = argument.members.iter().map(without_targets).collect();
    Value { target: None, at_entry, members, ..argument.clone() }
}

/// The beginning of a line that is longer than this, without its colours.
fn cut(line: String, columns: usize) -> String {
    let text = anstream::adapter::strip_str(&line).to_string();
    match text.char_indices().nth(columns) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => line,
    }
}

/// The locals of a frame, a line each. `before` is how many frames with locals have been shown: after a few, only a `verbose` page has more.
#[must_use]
pub fn locals(frame: &Frame, before: usize, verbose: bool) -> Vec<String> {
    if verbose {
        return frame.locals.iter().flat_map(tree::lines).collect();
    }
    if before >= FRAMES || !frame.own {
        return Vec::new();
    }
    let known: Vec<&Value> = frame.locals.iter().filter(|local| is_known(local)).collect();
    let mut lines: Vec<String> =
        known.iter().take(LOCALS).map(|local| cut(value::named(local), LOCAL_COLUMNS)).collect();
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Address;
    use crate::report::tests::{int_value, text_value};

    fn gone(of: Value, state: State) -> Value {
        let then = Value { at_entry: None, ..of.clone() };
        Value { value: ().into(), length: None, state, at_entry: Some(Box::new(then)), ..of }
    }

    fn frame() -> Frame {
        let target = Value {
            value: serde_json::json!({ "id": 7 }),
            members: vec![int_value(Some("id"), 7)],
            ..Value::default()
        };
        let pointer = Value {
            value: "0x5000".into(),
            state: State::Exact,
            address: Some(Address(0x5000)),
            target: Some(Box::new(target)),
            ..text_value("r", "")
        };
        let pointer = Value { length: None, ..pointer };
        let args = vec![
            pointer.clone(),
            Value { at_entry: Some(Box::new(int_value(None, 4))), ..int_value(Some("len"), 3) },
            gone(text_value("name", "bob"), State::OptimizedOut),
            gone(text_value("path", "/tmp"), State::Unavailable),
            text_value("long", &"x".repeat(100)),
        ];
        let lost = Value { value: ().into(), state: State::OptimizedOut, ..int_value(Some("lost"), 0) };
        Frame { own: true, args, locals: vec![int_value(Some("i"), 1), lost, pointer], ..Frame::default() }
    }

    fn strip(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }

    /// Guards against a value at the entry that looks like the one at the crash.
    #[test]
    fn what_was_passed_is_told_apart_from_what_is_left() {
        let shown = strip(&arguments(&frame(), false));
        let expected = r#"(r = 0x5000, len = 3 (was 4 at entry), name = "bob" (at entry), path = "/tmp" (at entry), long = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…)"#;
        assert_eq!(shown, expected);
        assert!(strip(&arguments(&frame(), true)).starts_with("(r = 0x5000 → {id: 7}, len"));
    }

    /// Guards against a page of locals that nobody asked for.
    #[test]
    fn locals_of_the_first_frames_are_shown_as_far_as_they_are_known() {
        let shown =
            |before, verbose| -> Vec<String> { locals(&frame(), before, verbose).iter().map(|it| strip(it)).collect() };
        assert_eq!(shown(0, false), ["i = 1", "r = 0x5000 → {id: 7}", "1 more local (-v shows them)"]);
        assert_eq!(shown(FRAMES, false), [""; 0]);
        assert_eq!(shown(FRAMES, true), ["i = 1", "lost = <optimized out>", "r = 0x5000 → {id: 7}"]);
    }
}
