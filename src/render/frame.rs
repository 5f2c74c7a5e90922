//! Frames in; the lines of a backtrace out.

use owo_colors::OwoColorize;

use super::call::place;
use super::escape::plain;
use super::folded::folded;
use super::{source, style, variables};
use crate::report::{FoundBy, Frame, FrameKind, Gap, Thread};

/// The frames of a thread, a line each, and why there are no more. Of those of libraries, a `verbose` page has all.
pub fn lines(thread: &Thread, directory: Option<&str>, verbose: bool) -> Vec<String> {
    let indent = 1 + thread.frames.iter().filter_map(|frame| frame.n).max().unwrap_or(0).to_string().len();
    let folded = if verbose { Vec::new() } else { folded(&thread.frames) };
    let mut lines = Vec::new();
    let (mut repeated, mut with_locals) = (0, 0);
    for (index, frame) in thread.frames.iter().enumerate() {
        if let Some(range) = folded.iter().find(|range| range.contains(&index)) {
            if range.start == index {
                lines.push(indented(indent, &format!("{} frames of libraries (-v shows them)", range.len())));
            }
            continue;
        }
        if let Some(gap) = &frame.gap {
            lines.push(indented(indent, &gap_line(gap)));
        }
        if let Some(repeats) = frame.repeats {
            repeated = repeats.frames;
            let what = match repeats.frames {
                1 => "the next frame".to_owned(),
                frames => format!("the next {frames} frames together"),
            };
            lines.push(indented(indent, &format!("{what}, {} times:", repeats.times)));
        }
        let margin = if repeated > 0 { "| " } else { "" };
        repeated = repeated.saturating_sub(1);
        let number = frame.n.map_or_else(|| "#?".to_owned(), |n| format!("#{n}"));
        let text = text(frame, directory, verbose);
        lines.push(format!("{number:<indent$} {margin}{text}"));
        let at = frame.source.as_ref().filter(|_| verbose).and_then(|lines| source::line_of(lines, frame.line));
        lines.extend(at.map(|at| indented(indent, &format!("    {at}"))));
        let locals = variables::locals(frame, with_locals, verbose);
        with_locals += usize::from(!locals.is_empty());
        lines.extend(locals.iter().map(|local| format!("{:indent$}     {local}", "")));
    }
    if let Some(end) = &thread.frames_end {
        lines.push(indented(indent, &format!("no more frames: {}", plain(end))));
    }
    lines
}

fn indented(indent: usize, text: &str) -> String {
    format!("{:indent$} {}", "", text.style(style::faint()))
}

/// `about 93000 frames are not shown (7.9 MiB): the stack is larger than what was captured`
fn gap_line(gap: &Gap) -> String {
    let about = if gap.bytes.is_some() { "about " } else { "" };
    let frames = gap.frames.map_or_else(|| "frames".to_owned(), |frames| format!("{about}{frames} frames"));
    let bytes = gap.bytes.map(|bytes| format!(" ({} KiB of stack)", bytes.div_ceil(1024))).unwrap_or_default();
    format!("{frames} are not shown{bytes}: {}", plain(&gap.reason))
}

/// `main(argc = 1), exp1.c:14 (0x401156)`
fn text(frame: &Frame, directory: Option<&str>, verbose: bool) -> String {
    let name = match (frame.kind, &frame.function) {
        (FrameKind::Signal, _) => return "<signal handler called>".style(style::faint()).to_string(),
        (_, Some(function)) => plain(function).style(style::strong()).to_string(),
        (_, None) => "?".style(style::doubt()).to_string(),
    };
    let place = place(frame.file.as_deref(), frame.line, directory);
    let place = place.or_else(|| frame.module.as_deref().map(|module| in_module(module, frame)));
    let place = place.map(|place| format!(", {place}")).unwrap_or_default();
    let notes = [
        (frame.kind == FrameKind::Inlined).then_some("inlined"),
        (frame.found_by == FoundBy::Scan).then_some("may be a left-over on the stack"),
        frame.reason.as_deref(),
    ];
    let overwritten = frame.overwritten.map(|word| format!("its return address was overwritten: {word}"));
    let notes = notes
        .into_iter()
        .flatten()
        .chain(overwritten.as_deref())
        .fold(String::new(), |notes, note| format!("{notes}, {}", plain(note)));
    let arguments = variables::arguments(frame, verbose);
    format!("{name}{arguments}{place} {}", format!("({}{notes})", frame.address).style(style::faint()))
}

/// `libc.so.6+0x3c050`
fn in_module(module: &str, frame: &Frame) -> String {
    let name = module.rsplit('/').next().unwrap_or(module);
    match frame.offset {
        Some(offset) => format!("{}+{offset}", plain(name)),
        None => plain(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Address, Repeats};

    fn frame(n: u64, function: &str, line: u32) -> Frame {
        Frame {
            n: Some(n),
            address: Address(0x40_1000 + n),
            function: Some(function.into()),
            file: Some("/home/me/ping.c".into()),
            line: Some(line),
            found_by: FoundBy::Cfi,
            ..Frame::default()
        }
    }

    /// Guards against a recursion of which a reader does not see what belongs to it, and against gaps that nobody notices.
    #[test]
    fn a_backtrace_says_what_it_leaves_out() {
        let gap = Gap { frames: Some(93_000), bytes: Some(8_000_000), reason: "the stack is larger".into() };
        let crashed = Frame {
            function: None,
            file: None,
            line: None,
            reason: Some("no module was mapped there".into()),
            ..frame(0, "", 0)
        };
        let library = Frame {
            function: None,
            file: None,
            module: Some("/lib/libc.so.6".into()),
            offset: Some(Address(0x3c050)),
            found_by: FoundBy::Scan,
            ..frame(7, "", 0)
        };
        let frames = vec![
            crashed,
            Frame { kind: FrameKind::Inlined, ..frame(1, "innermost", 3) },
            Frame { kind: FrameKind::Signal, ..frame(2, "", 0) },
            Frame { repeats: Some(Repeats { frames: 2, times: 500 }), ..frame(3, "ping", 4) },
            frame(4, "pong", 5),
            Frame { n: None, gap: Some(gap), ..frame(5, "ping", 4) },
            library,
        ];
        let thread = Thread { frames, frames_end: Some("the return address is 0x41".into()), ..Thread::default() };

        let page = lines(&thread, Some("/home/me"), false).join("\n");

        insta::assert_snapshot!(anstream::adapter::strip_str(&page).to_string(), @r"
        #0 ? (0x401000, no module was mapped there)
        #1 innermost, ping.c:3 (0x401001, inlined)
        #2 <signal handler called>
           the next 2 frames together, 500 times:
        #3 | ping, ping.c:4 (0x401003)
        #4 | pong, ping.c:5 (0x401004)
           about 93000 frames are not shown (7813 KiB of stack): the stack is larger
        #? ping, ping.c:4 (0x401005)
        #7 ?, libc.so.6+0x3c050 (0x401007, may be a left-over on the stack)
           no more frames: the return address is 0x41
        ");
    }
}
