//! The threads that did not crash, folded to what is useful: where each stood, and its last calls.

use std::fmt::Write;

use owo_colors::OwoColorize;

use super::call::place;
use super::escape::plain;
use super::text::{counted, thread_name, write_calls};
use super::{frame, style};
use crate::report::{Frame, Report, Thread};

/// Calls that are shown of each.
const CALLS: usize = 3;
/// Threads with calls that are shown.
const THREADS: usize = 8;
/// Places of threads without calls that are shown.
const PLACES: usize = 8;
/// Threads of which the ids are listed.
const IDS: usize = 12;

/// Where the other threads stood, and their last calls; a `verbose` page has all frames and all calls.
pub fn write_others(page: &mut String, others: &[&Thread], report: &Report, verbose: bool) -> std::fmt::Result {
    let (busy, idle): (Vec<&Thread>, Vec<&Thread>) =
        others.iter().partition(|thread| verbose || !thread.calls.is_empty());
    let (threads, calls) = if verbose { (usize::MAX, usize::MAX) } else { (THREADS, CALLS) };
    for thread in busy.iter().take(threads) {
        write_thread(page, thread, calls, report, verbose)?;
    }
    let hidden = busy.len().saturating_sub(threads);
    if hidden > 0 {
        writeln!(page, "\n{} with calls (-v shows them)", counted(hidden as u64, "more thread"))?;
    }
    write_idle(page, &idle, report)
}

fn write_thread(page: &mut String, thread: &Thread, calls: usize, report: &Report, verbose: bool) -> std::fmt::Result {
    let shown = thread.calls.len().min(calls);
    let total = thread.calls_total.unwrap_or(0).max(thread.calls.len() as u64);
    let of_all = if shown as u64 == total { counted(total, "call") } else { format!("last {shown} of {total} calls") };
    let stood = stood(thread, report).filter(|_| !verbose).map(|stood| format!(", {stood}")).unwrap_or_default();
    writeln!(page, "\n{}{stood}; {of_all}:", thread_name(thread).style(style::strong()))?;
    if verbose {
        let lines = frame::lines(thread, report.process.cwd.as_deref(), verbose);
        lines.iter().try_for_each(|line| writeln!(page, "  {line}"))?;
    }
    write_calls(page, thread, shown, report, verbose)
}

/// Threads that made no call: those that stood at the same place together.
fn write_idle(page: &mut String, idle: &[&Thread], report: &Report) -> std::fmt::Result {
    let mut places: Vec<(Option<String>, Vec<u32>)> = Vec::new();
    for thread in idle {
        let stood = stood(thread, report);
        match places.iter_mut().find(|(place, _)| *place == stood) {
            Some((_, threads)) => threads.push(thread.tid),
            None => places.push((stood, vec![thread.tid])),
        }
    }
    if !places.is_empty() {
        writeln!(page)?;
    }
    for (stood, threads) in places.iter().take(PLACES) {
        let ids: Vec<String> = threads.iter().take(IDS).map(u32::to_string).collect();
        let more = if threads.len() > IDS { ", …" } else { "" };
        let count = counted(threads.len() as u64, "thread");
        let stood = stood.as_deref().unwrap_or("without a known stack");
        writeln!(page, "{} without a recorded call, {stood} {}", count.style(style::strong()), faint(&ids, more))?;
    }
    let hidden: usize = places.iter().skip(PLACES).map(|(_, threads)| threads.len()).sum();
    if hidden > 0 {
        writeln!(page, "{} elsewhere (-v shows them)", counted(hidden as u64, "more thread"))?;
    }
    Ok(())
}

fn faint(ids: &[String], more: &str) -> String {
    format!("({}{more})", ids.join(", ")).style(style::faint()).to_string()
}

/// `in read, called by serve, server.c:31`: the innermost frame, and the innermost one of the program's own.
fn stood(thread: &Thread, report: &Report) -> Option<String> {
    let innermost = thread.frames.first()?;
    let own = thread.frames.iter().find(|frame| frame.own);
    let in_own = |frame: &Frame| match place(frame.file.as_deref(), frame.line, report.process.cwd.as_deref()) {
        Some(place) => format!("{}, {place}", name(frame)),
        None => name(frame),
    };
    Some(match own {
        Some(own) if own == innermost => format!("in {}", in_own(own)),
        Some(own) => format!("in {}, called by {}", name(innermost), in_own(own)),
        None => format!("in {}", name(innermost)),
    })
}

fn name(frame: &Frame) -> String {
    frame.function.as_deref().map_or_else(|| frame.address.to_string(), plain)
}
