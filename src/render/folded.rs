//! The frames of a thread in; which of them a reader wants to see out: the program's own, and where they meet the libraries.

use std::ops::Range;

use crate::report::{Frame, FrameKind};

/// Frames of a library that are shown next to one of the program's own, on both sides.
const BEFORE_OWN: usize = 2;
const AFTER_OWN: usize = 1;
/// As few as these are not worth a line that says so.
const FEWEST: usize = 3;

/// Frames in a row that need not be shown: of libraries, and far from the program's own. Empty if none is the program's own.
#[must_use]
pub fn folded(frames: &[Frame]) -> Vec<Range<usize>> {
    if !frames.iter().any(|frame| frame.own) {
        return Vec::new();
    }
    let mut folded = Vec::new();
    let mut start = 0;
    while start < frames.len() {
        let end = start + frames[start..].iter().take_while(|frame| is_foldable(frame)).count();
        // The innermost frame is where it happened; what called `main` is of no interest at all.
        let first = if start == 0 || end < frames.len() { start + AFTER_OWN } else { start };
        let last = if end < frames.len() { end.saturating_sub(BEFORE_OWN) } else { end };
        if last >= first + FEWEST {
            folded.push(first..last);
        }
        start = end + 1;
    }
    folded
}

fn is_foldable(frame: &Frame) -> bool {
    !frame.own && frame.kind != FrameKind::Signal && frame.gap.is_none() && frame.repeats.is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folded_of(pattern: &str) -> String {
        let frames: Vec<Frame> = pattern.chars().map(|kind| Frame { own: kind == 'o', ..Frame::default() }).collect();
        let mut shown: Vec<char> = pattern.chars().collect();
        folded(&frames).into_iter().flatten().for_each(|index| shown[index] = '.');
        shown.into_iter().collect()
    }

    /// Guards against a page of the runtime's frames, and against hiding where the program met a library.
    #[test]
    fn frames_of_libraries_are_folded_away_from_the_program_s_own() {
        let shown = ["ol", "olll", "lllooll", "llllllollllll", "ollllllolll", "lllllll"].map(folded_of);
        assert_eq!(shown, ["ol", "o...", "lllooll", "l...llo......", "ol...llo...", "lllllll"]);
    }
}
