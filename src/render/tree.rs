//! One value on as many lines as it needs.

use super::composite::composite;
use super::value::{at_depth, labelled};
use crate::report::Value;

/// A value that fits into so many columns has one line.
const COLUMNS: usize = 100;
/// What its parts are set in by.
const INDENT: &str = "  ";
/// Structs and pointers within each other.
const MAX_DEPTH: u32 = 12;

/// The lines of a value with its name.
#[must_use]
pub fn lines(value: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    add(&mut lines, value, String::new(), "", 0);
    lines
}

/// Adds a value that stands behind `before`, at so many levels; `behind` follows its last line.
fn add(lines: &mut Vec<String>, value: &Value, before: String, behind: &str, depth: u32) {
    let indent = INDENT.repeat(depth as usize);
    let line = labelled(value, depth.min(1));
    let columns = anstream::adapter::strip_str(&line).to_string().chars().count();
    let whole = format!("{indent}{before}{line}{behind}");
    if columns + before.chars().count() <= COLUMNS
        || value.at_entry.is_some()
        || value.now.is_some()
        || value.after.is_some()
        || depth > MAX_DEPTH
    {
        lines.push(whole);
        return;
    }
    if let Some(target) = &value.target {
        let pointer = labelled(&Value { target: None, ..value.clone() }, depth.min(1));
        add(lines, target, format!("{before}{pointer} → "), behind, depth);
        return;
    }
    let Some(composite) = composite(value) else {
        lines.push(whole);
        return;
    };
    let label = label(value, depth);
    lines.push(format!("{indent}{before}{label}{}", composite.open));
    let last = composite.parts.len().saturating_sub(1);
    for (index, part) in composite.parts.iter().enumerate() {
        add(lines, part, String::new(), if index < last || composite.is_cut { "," } else { "" }, depth + 1);
    }
    if composite.is_cut {
        lines.push(format!("{indent}{INDENT}…"));
    }
    lines.push(format!("{indent}{}{behind}", composite.close));
}

/// What stands before a value on its line: the beginning of what it is on one line.
fn label(value: &Value, depth: u32) -> String {
    let with = labelled(value, depth.min(1));
    let without = at_depth(value, depth.min(1));
    with.strip_suffix(&without).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::int_value;
    use crate::report::{Address, State};
    use serde_json::json;

    fn point(name: Option<&str>, members: Vec<Value>) -> Value {
        let name = name.map(str::to_owned);
        Value { name, ty: "struct point".into(), value: json!({}), state: State::Exact, members, ..Value::default() }
    }

    /// Guards against a line that is a page long, and against a page for a short value.
    #[test]
    fn only_what_is_too_wide_has_more_lines() {
        let small = point(Some("p"), vec![int_value(Some("x"), 1), int_value(Some("y"), 2)]);
        let shown = |value: &Value| -> Vec<String> {
            lines(value).iter().map(|line| anstream::adapter::strip_str(line).to_string()).collect()
        };
        assert_eq!(shown(&small), ["p = point {x: 1, y: 2}"]);

        let long = "a_member_with_a_name_that_takes_a_lot_of_room_on_any_line_of_a_terminal_of_a_usual_width_today";
        let wide = point(None, vec![int_value(Some(long), 1), small]);
        let pointer = Value {
            name: Some("w".into()),
            value: "0x5000".into(),
            address: Some(Address(0x5000)),
            state: State::Exact,
            target: Some(Box::new(wide)),
            ..Value::default()
        };
        let expected = ["w = 0x5000 → point {", &format!("  {long}: 1,"), "  p: point {x: 1, y: 2}", "}"];
        assert_eq!(shown(&pointer), expected);
    }
}
