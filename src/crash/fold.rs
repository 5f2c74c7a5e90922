//! A long list of frames in; those to keep out: a recursion once with its count, and of the rest both ends.

use std::ops::Range;

use crate::address::Avma;

/// Frames of one round of a recursion at the most.
const MAX_PERIOD: usize = 16;
/// Rounds that are all kept: the arguments of each say something.
const MAX_ROUNDS_KEPT: usize = 16;

/// A stretch of frames to keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The frames.
    pub frames: Range<usize>,
    /// How often they follow each other in all; 1 for frames that do not repeat.
    pub times: usize,
}

impl Kept {
    fn end(&self) -> usize {
        self.frames.start + self.frames.len() * self.times
    }
}

/// Which of the frames at these program counters to keep: about `limit`, half of them from each end.
#[must_use]
pub fn fold(addresses: &[Avma], limit: usize) -> Vec<Kept> {
    let mut folded: Vec<Kept> = Vec::new();
    let mut at = 0;
    while at < addresses.len() {
        let stretch = round_at(&addresses[at..])
            .map(|(period, times)| Kept { frames: at..at + period, times })
            .unwrap_or(Kept { frames: at..at + 1, times: 1 });
        at = stretch.end();
        folded.push(stretch);
    }
    let half = (limit / 2).max(1);
    if folded.len() > 2 * half {
        folded.drain(half..folded.len() - half);
    }
    folded
}

/// The frames of one round and the number of rounds, where a long recursion begins.
fn round_at(addresses: &[Avma]) -> Option<(usize, usize)> {
    (1..=MAX_PERIOD).find_map(|period| {
        let later = addresses.get(period..)?;
        let same = addresses.iter().zip(later).take_while(|(one, next)| one == next).count();
        let times = same / period + 1;
        (times > MAX_ROUNDS_KEPT).then_some((period, times))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(text: &str) -> Vec<Avma> {
        text.bytes().map(|byte| Avma(byte.into())).collect()
    }

    fn kept(text: &str, limit: usize) -> String {
        let folded = fold(&addresses(text), limit);
        let show = |kept: &Kept| match kept.times {
            1 => text[kept.frames.clone()].to_owned(),
            times => format!("{}*{times} ", &text[kept.frames.clone()]),
        };
        folded.iter().map(show).collect()
    }

    /// Guards against thousands of equal frames, and against a count that is wrong by one at either end.
    #[test]
    fn a_recursion_is_kept_once_with_its_count() {
        assert_eq!(kept(&format!("a{}z", "x".repeat(1000)), 100), "ax*1000 z");
        assert_eq!(kept(&format!("a{}xz", "xy".repeat(500)), 100), "axy*500 xz");
        assert_eq!(kept(&format!("{}{}z", "x".repeat(17), "abc".repeat(20)), 100), "x*17 abc*20 z");
    }

    /// Guards against hiding the arguments of a recursion that a person can read as a whole.
    #[test]
    fn a_short_recursion_is_kept_whole() {
        let text = format!("a{}z", "x".repeat(16));
        assert_eq!(kept(&text, 100), text);
    }

    /// Guards against a report without the frames that began it all.
    #[test]
    fn both_ends_are_kept() {
        let text: String = ('a'..='z').collect();
        assert_eq!(kept(&text, 4), "abyz");
        assert_eq!(kept("", 4), "");
    }
}
