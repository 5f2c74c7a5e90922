//! One call on a line.

use std::borrow::Cow;

use owo_colors::OwoColorize;

use super::escape::plain;
use super::{style, tree, value};
use crate::report::{Call, ReturnState, Returned};

/// A call that fits into so many columns, but for its time and its place, has one line.
const COLUMNS: usize = 120;

/// How to show the calls of one thread.
#[derive(Clone, Copy, Debug)]
pub struct CallStyle<'a> {
    /// With all reasons.
    pub verbose: bool,
    /// Files below this directory are named relative to it.
    pub directory: Option<&'a str>,
}

/// The calls, a line each: `#41  +1.234567s  test(str = "this is a string.") = 0   in 12.3 µs   exp1.c:7`.
#[must_use]
pub fn lines(calls: &[Call], style: CallStyle<'_>) -> Vec<String> {
    let starts: Vec<(String, String)> =
        calls.iter().map(|call| (format!("#{}", call.n), format!("+{}", seconds(call.at_ns)))).collect();
    let widest = |widths: &mut dyn Iterator<Item = usize>| widths.max().unwrap_or(0);
    let number = widest(&mut starts.iter().map(|(number, _)| number.len()));
    let time = widest(&mut starts.iter().map(|(_, time)| time.len()));
    let lines = |(call, (n, at)): (&Call, &(String, String))| {
        let start = format!("{n:number$}  {at:>time$}");
        let indent = " ".repeat(start.chars().count() + 2);
        let mut lines = of_call(call, style);
        lines.iter_mut().skip(1).for_each(|line| line.insert_str(0, &indent));
        lines[0] = format!("{}  {}", start.style(style::faint()), lines[0]);
        lines
    };
    calls.iter().zip(&starts).flat_map(lines).collect()
}

/// All but its number and time: one line, unless a `verbose` page has to show more than that holds.
fn of_call(call: &Call, style: CallStyle<'_>) -> Vec<String> {
    let arguments: Vec<String> = call.args.iter().map(value::named).collect();
    let result = call.returned.as_ref().and_then(|returned| returned.value.as_deref());
    let function = plain(&call.function).style(style::strong()).to_string();
    let columns = |text: &str| anstream::adapter::strip_str(text).to_string().chars().count();
    let wide = result.map(value::bare).iter().chain(&arguments).map(|text| columns(text) + 2).sum::<usize>();
    if !style.verbose || wide + columns(&function) <= COLUMNS {
        let result = result.map(|result| format!(" = {}", value::bare(result))).unwrap_or_default();
        return vec![format!("{function}({}){result}{}", arguments.join(", "), rest(call, style))];
    }
    let mut lines = vec![format!("{function}(")];
    for (index, argument) in call.args.iter().enumerate() {
        lines.extend(tree::lines(argument).into_iter().map(|line| format!("  {line}")));
        let comma = if index + 1 < call.args.len() { "," } else { "" };
        lines.last_mut().into_iter().for_each(|line| line.push_str(comma));
    }
    let result = result.map(tree::lines).unwrap_or_default();
    let mut result = result.into_iter();
    lines.push(result.next().map_or_else(|| ")".to_owned(), |first| format!(") = {first}")));
    lines.extend(result);
    lines.last_mut().into_iter().for_each(|line| line.push_str(&rest(call, style)));
    lines
}

/// What stands behind a call and its result.
fn rest(call: &Call, style: CallStyle<'_>) -> String {
    let mut line = outcome(call.returned.as_ref(), style.verbose);
    if let Some(frame) = call.frame {
        line += &format!("   {}", format!("frame #{frame}").style(style::strong()));
    }
    if let Some(place) = place(call.file.as_deref(), call.line, style.directory) {
        line += &format!("   {}", place.style(style::faint()));
    }
    if call.by_handler {
        line += "   (by the handler of the fault)";
    }
    if let Some(reason) = &call.reason {
        line += &format!("   {}", format!("<{}>", plain(reason)).style(style::doubt()));
    }
    line
}

/// What became of a call, as it stands behind its arguments.
fn outcome(returned: Option<&Returned>, verbose: bool) -> String {
    let Some(returned) = returned else {
        return format!("   {}", "had not returned".style(style::strong()));
    };
    let took = |word: &str| returned.duration_ns.map(|ns| format!(" {word} {}", duration(ns))).unwrap_or_default();
    match returned.state {
        ReturnState::Returned => {
            format!("  {}", took("in").style(style::faint()))
        }
        ReturnState::TailCall => format!("   left by a jump to another function{}", took("after")),
        ReturnState::Unknown => doubtful("return not seen", returned, verbose),
        ReturnState::Unseen => doubtful("returns are not watched", returned, verbose),
        ReturnState::Other => doubtful("return of an unknown state", returned, verbose),
    }
}

fn doubtful(what: &str, returned: &Returned, verbose: bool) -> String {
    let reason = returned.reason.as_deref().filter(|_| verbose);
    let reason = reason.map(|reason| format!(": {}", plain(reason))).unwrap_or_default();
    format!("   {}", format!("<{what}{reason}>").style(style::doubt()))
}

/// `file:line`, the file relative to `directory` if it is below it.
#[must_use]
pub fn place(file: Option<&str>, line: Option<u32>, directory: Option<&str>) -> Option<String> {
    let file = file?;
    let below = directory.and_then(|directory| file.strip_prefix(directory)?.strip_prefix('/'));
    let line = line.map(|line| format!(":{line}")).unwrap_or_default();
    Some(format!("{}{line}", plain(&without_hash(below.unwrap_or(file)))))
}

/// Rust's standard library is named by its commit, which is of use to nobody on a page.
fn without_hash(file: &str) -> Cow<'_, str> {
    let rest = file.strip_prefix("/rustc/").and_then(|rest| rest.split_once('/'));
    rest.map_or(file.into(), |(_, rest)| format!("/rustc/…/{rest}").into())
}

/// Seconds with microseconds: `1.234567s`.
pub(super) fn seconds(ns: u64) -> String {
    format!("{}.{:06}s", ns / 1_000_000_000, ns / 1_000 % 1_000_000)
}

/// Three digits and a unit: `850 ns`, `12.3 µs`, `1.50 s`.
#[must_use]
pub fn duration(ns: u64) -> String {
    let (unit, ns_per_unit) = match ns {
        0..1_000 => return format!("{ns} ns"),
        1_000..1_000_000 => ("µs", 1_000.0),
        1_000_000..1_000_000_000 => ("ms", 1_000_000.0),
        _ => ("s", 1_000_000_000.0),
    };
    let number = ns as f64 / ns_per_unit;
    let decimals = if number < 9.995 { 2 } else { usize::from(number < 99.95) };
    format!("{number:.decimals$} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards against durations with digits that nobody reads, or none at all.
    #[test]
    fn durations_have_three_digits() {
        let shown = [0, 999, 1_000, 12_345, 99_949, 123_456, 1_500_000, 20_100_000, 1_500_000_000, u64::MAX]
            .map(duration)
            .join(", ");
        assert_eq!(shown, "0 ns, 999 ns, 1.00 µs, 12.3 µs, 99.9 µs, 123 µs, 1.50 ms, 20.1 ms, 1.50 s, 18446744074 s");
        assert_eq!(seconds(1_234_567_890), "1.234567s");
    }

    /// Guards against a place that looks relative and is not.
    #[test]
    fn files_below_the_directory_are_relative() {
        let of = |file| place(Some(file), Some(7), Some("/home/me")).unwrap();
        assert_eq!(of("/home/me/src/exp1.c"), "src/exp1.c:7");
        assert_eq!(of("/home/meadow/exp1.c"), "/home/meadow/exp1.c:7");
        assert_eq!(of("/rustc/59807616e1fa/library/std/src/rt.rs"), "/rustc/…/library/std/src/rt.rs:7");
        assert_eq!(place(None, Some(7), None), None);
    }
}
