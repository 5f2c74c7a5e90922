//! Frames in; the lines of the sources that they stand at out, where those are on this machine.
//!
//! Debug info names the files, and anybody may have written it: only regular files are read, a bounded part of each, with the rights
//! of the user who gets the report.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::SystemTime;

use nix::fcntl::OFlag;

use super::text::Text;
use crate::credentials::with_rights_of;
use crate::report::{Frame, Owner, Source, Thread};

/// Frames of the crashed thread that get the line they stand at.
const FRAMES: usize = 32;
/// Lines around the first of them.
const LINES_BEFORE: u32 = 3;
const LINES_AFTER: u32 = 2;
/// Bytes of a file that are looked at, and of a line that are kept.
const MAX_FILE_BYTES: u64 = 8 << 20;
const MAX_LINE_BYTES: usize = 400;

/// Adds source lines to the program's own frames of the threads that crashed.
pub fn attach(threads: &mut [Thread], owner: Option<Owner>) {
    let mut work = || threads.iter_mut().filter(|thread| thread.crashed).for_each(attach_to);
    match owner {
        None => work(),
        Some(Owner { uid, gid }) => {
            let _ = with_rights_of(uid, gid, work).inspect_err(|error| tracing::debug!(%error, "no sources are read"));
        }
    }
}

fn attach_to(thread: &mut Thread) {
    let mut files = Files::default();
    let mut is_first = true;
    for frame in thread.frames.iter_mut().filter(|frame| frame.own).take(FRAMES) {
        let (before, after) = if is_first { (LINES_BEFORE, LINES_AFTER) } else { (0, 0) };
        frame.source = files.lines(frame, before, after);
        is_first &= frame.source.is_none();
    }
}

/// Files that were read, by name; `None` for those that could not be.
#[derive(Default)]
struct Files(HashMap<String, Option<Contents>>);

struct Contents {
    modified: Option<SystemTime>,
    bytes: Vec<u8>,
}

impl Files {
    fn lines(&mut self, frame: &Frame, before: u32, after: u32) -> Option<Source> {
        let (file, line) = (frame.file.as_ref()?, frame.line?);
        let contents = self.0.entry(file.clone()).or_insert_with(|| read(file)).as_ref()?;
        let lines: Vec<&[u8]> = contents.bytes.split(|&byte| byte == b'\n').collect();
        let wanted = line.checked_sub(1)? as usize;
        lines.get(wanted).filter(|text| !text.is_empty())?;
        let first = wanted.saturating_sub(before as usize);
        let end = lines.len().min(wanted + 1 + after as usize);
        let built = frame.module.as_ref().and_then(|module| modified(Path::new(module)));
        Some(Source {
            first: first as u32 + 1,
            lines: lines[first..end].iter().map(|line| shortened(line)).collect(),
            changed: contents.modified.zip(built).is_some_and(|(changed, built)| changed > built),
        })
    }
}

fn read(path: &str) -> Option<Contents> {
    // A pipe or a device would be waited for: opened so, it is not.
    let file = OpenOptions::new().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path).ok()?;
    let metadata = file.metadata().ok().filter(|metadata| metadata.is_file())?;
    let mut bytes = Vec::new();
    File::take(file, MAX_FILE_BYTES).read_to_end(&mut bytes).ok()?;
    Some(Contents { modified: metadata.modified().ok(), bytes })
}

fn modified(path: &Path) -> Option<SystemTime> {
    path.metadata().ok()?.modified().ok()
}

fn shortened(line: &[u8]) -> String {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let mut text = Text::new(&line[..line.len().min(MAX_LINE_BYTES)]).text;
    if line.len() > MAX_LINE_BYTES {
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn frame(file: &Path, line: u32, own: bool) -> Frame {
        Frame { file: Some(file.display().to_string()), line: Some(line), own, ..Frame::default() }
    }

    /// Guards against lines of another place, at both ends of a file, and against a frame of a library in the program's stead.
    #[test]
    fn the_program_s_first_frame_has_the_lines_around_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.c");
        fs::write(&path, "one\r\ntwo\nthree\nfour\nfive\nsix\nseven\n").unwrap();
        let missing = directory.path().join("b.c");
        let frames = [(&path, 4, false), (&missing, 1, true), (&path, 2, true), (&path, 7, true), (&path, 99, true)];
        let frames = frames.map(|(file, line, own)| frame(file, line, own)).to_vec();
        let mut threads = [Thread { crashed: true, frames, ..Thread::default() }];

        attach(&mut threads, None);

        let sources: Vec<_> = threads[0]
            .frames
            .iter()
            .map(|frame| frame.source.as_ref().map(|source| (source.first, source.lines.join(" "))))
            .collect();
        let around = Some((1, "one two three four".to_owned()));
        assert_eq!(sources, [None, None, around, Some((7, "seven".to_owned())), None]);
    }

    /// Guards against waiting for ever, or reading without end, because debug info says so.
    #[test]
    fn only_regular_files_are_read() {
        let directory = tempfile::tempdir().unwrap();
        let pipe = directory.path().join("pipe.c");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();

        for path in [pipe.to_str().unwrap(), "/dev/zero", "/", "no such file"] {
            assert!(read(path).is_none(), "{path}");
        }
    }
}
