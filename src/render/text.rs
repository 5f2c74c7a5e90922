//! The page for a terminal: what happened in the first line, then the last calls of the thread that crashed, then the rest.

use std::fmt::Write;
use std::path::Path;

use owo_colors::OwoColorize;

use super::call::{CallStyle, lines, place, seconds};
use super::escape::plain;
use super::output;
use super::{exceptions, frame, handled, source, style, threads};
use crate::report::{Basis, DroppedFunction, Fault, Report, Thread};

/// Calls of the thread that crashed that are shown without being asked for.
const CALLS: usize = 20;
/// Functions that were not watched all the time that are named without being asked for.
const DROPPED: usize = 3;

/// The page about a report; a `verbose` one has all calls of all threads, registers, and all reasons.
///
/// It has colours: write it to a stream that removes them where they are not wanted.
#[must_use]
pub fn page(report: &Report, verbose: bool) -> String {
    let mut page = String::new();
    // Writing to a string cannot fail.
    let _ = write_page(&mut page, report, verbose);
    page
}

fn write_page(page: &mut String, report: &Report, verbose: bool) -> std::fmt::Result {
    writeln!(page, "{}", headline(report))?;
    write_findings(page, &report.fault)?;
    exceptions::lines(&report.fault.exceptions).iter().try_for_each(|line| writeln!(page, "  {line}"))?;
    if let Some(sentence) = handled::sentence(&report.fault, verbose) {
        writeln!(page, "{sentence}")?;
    }
    let (crashed, others): (Vec<&Thread>, Vec<&Thread>) = report.threads.iter().partition(|thread| thread.crashed);
    for thread in crashed {
        write_crashed(page, thread, report, verbose)?;
    }
    let pending = output::lines(&report.output);
    if !pending.is_empty() {
        writeln!(page, "\n{}", "Output that was never written".style(style::strong()))?;
        pending.iter().try_for_each(|line| writeln!(page, "  {line}"))?;
    }
    threads::write_others(page, &others, report, verbose)?;
    let losses = losses(report, verbose);
    if !losses.is_empty() {
        writeln!(page, "\n{}", "What is missing".style(style::strong()))?;
        losses.iter().try_for_each(|loss| writeln!(page, "  {loss}"))?;
    }
    Ok(())
}

/// What else is known of the fault, or is likely.
fn write_findings(page: &mut String, fault: &Fault) -> std::fmt::Result {
    for finding in &fault.findings {
        let likely = if finding.basis == Basis::Known { "" } else { "probably: " };
        writeln!(page, "  {likely}{}", plain(&finding.text))?;
    }
    Ok(())
}

/// `exp1 (pid 123) was killed by SIGSEGV: wrote to address 0x0, where no memory is mapped (a null pointer)`
fn headline(report: &Report) -> String {
    let (process, fault) = (&report.process, &report.fault);
    let program = Path::new(&process.exe).file_name().map(|name| name.to_string_lossy()).unwrap_or("?".into());
    let verb = handled::verb(fault);
    let what = format!("{} (pid {}) {verb} {}", plain(&program), process.pid, plain(&fault.signal));
    format!("{}: {}", what.style(style::alarm()), plain(&fault.explanation))
}

fn write_crashed(page: &mut String, thread: &Thread, report: &Report, verbose: bool) -> std::fmt::Result {
    write_source(page, thread, report)?;
    writeln!(page, "\n{} crashed:", thread_name(thread).style(style::strong()))?;
    let lines = frame::lines(thread, report.process.cwd.as_deref(), verbose);
    lines.iter().try_for_each(|line| writeln!(page, "  {line}"))?;
    if verbose {
        for registers in thread.registers.0.chunks(4) {
            let words: Vec<String> =
                registers.iter().map(|(name, word)| format!("{:>6} {:#018x}", plain(name), word.0)).collect();
            writeln!(page, "  {}", words.join("  ").style(style::faint()))?;
        }
    }
    let shown = if verbose { usize::MAX } else { CALLS }.min(thread.calls.len());
    writeln!(page, "\n{}", calls_heading(thread, shown))?;
    write_calls(page, thread, shown, report, verbose)
}

/// The lines around the innermost of the program's own frames.
fn write_source(page: &mut String, thread: &Thread, report: &Report) -> std::fmt::Result {
    let found = thread.frames.iter().find_map(|frame| Some((frame, frame.source.as_ref()?)));
    let Some((frame, lines)) = found else { return Ok(()) };
    let at = place(frame.file.as_deref(), frame.line, report.process.cwd.as_deref()).unwrap_or_default();
    let function = frame.function.as_deref().map(|function| format!(", in {}", plain(function))).unwrap_or_default();
    writeln!(page, "\n{at}{function}:")?;
    source::lines(lines, frame.line).iter().try_for_each(|line| writeln!(page, "  {line}"))
}

/// `Thread 4711 "exp1"`
pub(super) fn thread_name(thread: &Thread) -> String {
    let name = thread.name.as_deref().map(|name| format!(" \"{}\"", plain(name))).unwrap_or_default();
    format!("Thread {}{name}", thread.tid)
}

/// How many calls follow, of how many.
fn calls_heading(thread: &Thread, shown: usize) -> String {
    let more = if shown < thread.calls.len() { format!(" (-v shows {})", thread.calls.len()) } else { String::new() };
    match thread.calls_total {
        None => "Its calls were not recorded: no ring was left for it.".into(),
        Some(0) => "It made no call of a watched function.".into(),
        Some(1) if shown == 1 => "Its only call of a watched function:".into(),
        Some(total) if total == shown as u64 => format!("Its {total} calls of watched functions, oldest first:"),
        Some(total) => format!("Its last {shown} of {total} calls of watched functions{more}, oldest first:"),
    }
}

/// The last calls of a thread.
pub(super) fn write_calls(
    page: &mut String,
    thread: &Thread,
    shown: usize,
    report: &Report,
    verbose: bool,
) -> std::fmt::Result {
    let style = CallStyle { verbose, directory: report.process.cwd.as_deref() };
    let calls = &thread.calls[thread.calls.len().saturating_sub(shown)..];
    lines(calls, style).iter().try_for_each(|line| writeln!(page, "  {line}"))
}

/// What a reader might miss, a line each.
fn losses(report: &Report, verbose: bool) -> Vec<String> {
    let (recorder, probes) = (&report.recorder, &report.probes);
    let mut losses = Vec::new();
    let mut say = |count: u64, line: String| {
        if count > 0 {
            losses.push(line);
        }
    };
    let overwritten: u64 = report.threads.iter().fold(0, |sum, thread| sum.saturating_add(thread.calls_overwritten));
    say(overwritten, format!("{} overwritten by later ones (--calls keeps more)", were(overwritten, "older call")));
    say(
        recorder.threads_without_ring,
        format!(
            "{} no ring, and {} not recorded (--threads {} is the limit)",
            had(recorder.threads_without_ring, "thread"),
            were(recorder.calls_without_ring, "call"),
            recorder.threads_max
        ),
    );
    let others = recorder.calls_of_other_processes;
    say(others, format!("{} made by other processes that run the same file", were(others, "call")));
    let unfollowed = recorder.processes_not_watched;
    say(unfollowed, format!("{} not watched: there were too many at once", were(unfollowed, "child process")));
    say(recorder.deaths_lost, format!("{} lost: a buffer was full", were(recorder.deaths_lost, "other death")));
    for function in dropped_functions(&probes.dropped, verbose) {
        say(1, function);
    }
    for dropped in &report.dropped {
        say(dropped.count, format!("{} {}: {}", dropped.count, plain(&dropped.what), plain(&dropped.reason)));
    }
    let memory = recorder.memory_lost;
    say(memory, format!("{} not copied at the death: there was no room for more", were(memory, "memory block")));
    let waits = "values on pages that were not in memory: before Linux 6.0, probes cannot wait for them";
    say(recorder.pages_not_waited_for.into(), waits.into());
    say(report.process.args_truncated.into(), "the program's arguments were too long to keep them all".into());
    let skipped = probes.skipped.len() as u64;
    say(skipped, format!("{} not watched{}", were(skipped, "function"), if verbose { ":" } else { " (-v says why)" }));
    if verbose {
        losses.extend(probes.skipped.iter().map(|skipped| {
            format!("  {}: {}", plain(&skipped.function), plain(&skipped.reason)).style(style::faint()).to_string()
        }));
    }
    losses
}

/// Functions that were not watched all the time, a line each.
fn dropped_functions(dropped: &[DroppedFunction], verbose: bool) -> Vec<String> {
    let shown = if verbose { dropped.len() } else { DROPPED.min(dropped.len()) };
    let line = |function: &DroppedFunction| {
        let until = function.back_ns.map(|back_ns| format!(" to +{}", seconds(back_ns))).unwrap_or_default();
        let (name, from, rate) = (plain(&function.function), seconds(function.at_ns), function.per_second);
        let what = if function.only_returns { "returns" } else { "calls" };
        format!("{what} of {name} from +{from} on{until}: {rate} a second were too many (--max-overhead allows more)")
    };
    let mut lines: Vec<String> = dropped[..shown].iter().map(line).collect();
    if shown < dropped.len() {
        lines.push(format!("calls of {} more (-v names them)", counted((dropped.len() - shown) as u64, "function")));
    }
    lines
}

pub(super) fn counted(count: u64, noun: &str) -> String {
    match (count, noun.strip_suffix("ss")) {
        (1, _) => format!("1 {noun}"),
        (_, Some(_)) => format!("{count} {noun}es"),
        _ => format!("{count} {noun}s"),
    }
}

fn were(count: u64, noun: &str) -> String {
    format!("{} {}", counted(count, noun), if count == 1 { "was" } else { "were" })
}

fn had(count: u64, noun: &str) -> String {
    format!("{} had", counted(count, noun))
}

#[cfg(test)]
mod tests;
