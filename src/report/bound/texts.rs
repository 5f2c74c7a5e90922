//! Long texts, cut where a report is too large.

use serde_json::Value as Json;

use super::bytes_of;
use crate::report::{Report, State, Value};

/// Characters of a text that are kept.
const KEPT: usize = 64;
/// Characters of a name that are kept.
const NAME_KEPT: usize = 256;
/// Arguments of the program that are kept.
const ARGUMENTS_KEPT: usize = 16;

/// Cuts texts in values, those of the oldest calls first; returns how many.
pub fn shorten_texts(report: &mut Report, excess: u64) -> u64 {
    let mut saved = 0;
    let mut count = 0;
    // The thread that crashed is the first, and comes last.
    for call in report.threads.iter_mut().rev().flat_map(|thread| &mut thread.calls) {
        if saved >= excess {
            break;
        }
        let result = call.returned.iter_mut().filter_map(|returned| returned.value.as_deref_mut());
        for value in call.args.iter_mut().chain(result) {
            let before = bytes_of(value);
            count += shorten(value);
            saved += before.saturating_sub(bytes_of(value));
        }
    }
    count
}

/// Cuts the texts in a value, and says so; returns how many.
fn shorten(value: &mut Value) -> u64 {
    let parts = value
        .members
        .iter_mut()
        .chain(value.target.as_deref_mut())
        .chain(value.now.as_deref_mut())
        .chain(value.after.as_deref_mut())
        .chain(value.at_entry.as_deref_mut());
    let in_parts: u64 = parts.map(shorten).sum();
    let cut = cut_strings(&mut value.value);
    if let Some(bytes) = value.bytes.as_mut().filter(|bytes| bytes.len() > 2 * KEPT) {
        bytes.truncate(bytes.floor_char_boundary(2 * KEPT));
    }
    if cut > 0 && matches!(value.state, State::Exact | State::Truncated) {
        value.state = State::Truncated;
        value.reason = Some(format!("only its first {KEPT} characters are kept: the report would be too large"));
    }
    // What a struct shows of its members is counted there.
    if value.members.is_empty() { in_parts + cut } else { in_parts }
}

fn cut_strings(value: &mut Json) -> u64 {
    match value {
        Json::String(text) => u64::from(cut(text, KEPT)),
        Json::Array(elements) => elements.iter_mut().map(cut_strings).sum(),
        Json::Object(members) => members.values_mut().map(cut_strings).sum(),
        _ => 0,
    }
}

/// Cuts a text to so many characters, not within an escape (`\xNN`); whether it was longer.
fn cut(text: &mut String, kept: usize) -> bool {
    let Some((end, _)) = text.char_indices().nth(kept) else { return false };
    let last = &text[text.floor_char_boundary(end.saturating_sub(3))..end];
    let in_escape = last.find("\\x").or(last.strip_suffix('\\').map(str::len));
    text.truncate(end - in_escape.map_or(0, |at| last.len() - at));
    true
}

/// Cuts the names of functions and files, the program's arguments and what is said of the signal; returns how many.
pub fn shorten_names(report: &mut Report) -> u64 {
    let process = &mut report.process;
    let too_many = process.args.len().saturating_sub(ARGUMENTS_KEPT);
    process.args_truncated |= too_many > 0;
    process.args.truncate(ARGUMENTS_KEPT);
    let of_process = process.args.iter_mut().chain([&mut process.exe]).chain(&mut process.cwd);
    let of_modules = report.modules.iter_mut().map(|module| &mut module.path);
    let mut count = too_many + of_process.chain(of_modules).filter_map(shorten_name).count();
    count += shorten_name(&mut report.fault.explanation).is_some() as usize;
    for thread in &mut report.threads {
        for frame in &mut thread.frames {
            let names = [&mut frame.function, &mut frame.symbol, &mut frame.file, &mut frame.module, &mut frame.reason];
            count += names.into_iter().flatten().filter_map(shorten_name).count();
        }
        for call in &mut thread.calls {
            let names = call.file.iter_mut().chain([&mut call.function, &mut call.symbol]).chain(&mut call.reason);
            count += names.filter_map(shorten_name).count();
            let result = call.returned.iter_mut().filter_map(|returned| returned.value.as_deref_mut());
            count += result.filter_map(|value| shorten_name(&mut value.ty)).count();
        }
    }
    count as u64
}

/// Cuts a name; a mark takes the place of its last character.
fn shorten_name(name: &mut String) -> Option<()> {
    name.char_indices().nth(NAME_KEPT)?;
    cut(name, NAME_KEPT - 1).then(|| name.push('…'))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards against half an escape, and against a text that is cut in the middle of a character.
    #[test]
    fn texts_are_cut_between_characters() {
        let after = |text: &str, kept| {
            let mut text = text.to_owned();
            let was_cut = cut(&mut text, kept);
            (was_cut, text)
        };
        assert_eq!(after("abc", 3), (false, "abc".into()));
        assert_eq!(after("éüö", 2), (true, "éü".into()));
        assert_eq!(after("ab\\xffcd", 3), (true, "ab".into()));
        assert_eq!(after("ab\\xffcd", 5), (true, "ab".into()));
        assert_eq!(after("ab\\xffcd", 6), (true, "ab\\xff".into()));
    }
}
