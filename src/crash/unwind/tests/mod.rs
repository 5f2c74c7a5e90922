//! Programs that crash, and the frames that they know themselves to have.

pub(in crate::crash) mod dead;
mod gdb;
mod hostile;
mod kinds;
mod languages;

use dead::Dead;

use super::*;
use crate::binary::fixture::Fixture;
use crate::crash::frames::{self, Placed, place};
use crate::plan::Plan;
use crate::report::{Frame, FrameKind};

/// A crashed program, and the source that it was made from.
struct Crash {
    source: &'static str,
    dead: Dead,
    fixture: Fixture,
}

impl Crash {
    fn of(compiler: &str, options: &[&str], source: &'static str) -> Self {
        let fixture = Fixture::compile(compiler, options, source);
        Self { source, dead: Dead::of(&fixture.program()), fixture }
    }

    fn at_signal(which: usize, options: &[&str], source: &'static str) -> Self {
        let fixture = Fixture::compile("gcc", options, source);
        Self { source, dead: Dead::at_signal(&fixture.program(), which), fixture }
    }

    fn frames(&self, thread: usize) -> Vec<Frame> {
        let code = self.dead.code();
        let backtrace = self.dead.backtrace(thread);
        frames::report(&place(&backtrace, &code), &code, &[], &Plan::default())
    }

    /// The frames of a thread, up to `main` or the function that a thread began with: see [`Self::show`].
    fn shown(&self, thread: usize, outermost: &str) -> Vec<String> {
        let frames = self.frames(thread);
        let end = frames.iter().position(|frame| frame.function.as_deref() == Some(outermost));
        let end = end.unwrap_or_else(|| panic!("no `{outermost}` in {frames:#?}"));
        frames[..=end].iter().map(|frame| self.show(frame)).collect()
    }

    /// `function: what the source says about the line`, and how the frame was found unless call frame information did.
    fn show(&self, frame: &Frame) -> String {
        let name = match frame.kind {
            FrameKind::Signal => "<signal handler called>",
            _ => frame.function.as_deref().unwrap_or("?"),
        };
        let is_ours = frame.file.as_deref().is_some_and(|file| file.contains("/program."));
        let line = frame.line.filter(|_| is_ours).and_then(|line| self.source.lines().nth(line as usize - 1));
        let note = line.and_then(|line| Some(line.split_once("// ")?.1));
        let note = note.map(|note| format!(": {note}")).unwrap_or_default();
        let inlined = if frame.kind == FrameKind::Inlined { " (inlined)" } else { "" };
        let found_by = match frame.found_by {
            crate::report::FoundBy::Cfi | crate::report::FoundBy::InstructionPointer => String::new(),
            found_by => format!(" [{found_by:?}]"),
        };
        format!("{name}{note}{inlined}{found_by}")
    }
}

/// What the compilers are asked for: each way to describe frames, and to leave frame pointers out.
const WAYS: [(&str, &[&str]); 6] = [
    ("gcc", &["-g", "-O0"]),
    ("gcc", &["-g", "-O2", "-fomit-frame-pointer"]),
    ("gcc", &["-g", "-O2", "-gdwarf-4", "-fno-asynchronous-unwind-tables"]),
    ("gcc", &["-g", "-O1", "-static"]),
    ("clang", &["-g", "-O0"]),
    ("clang", &["-g", "-O2"]),
];
