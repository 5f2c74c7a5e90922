//! `lastwords demo`: the first thing that somebody sees of it.

use crate::support::Lastwords;

/// Guards against a demonstration that needs a compiler, and against one that shows nothing.
#[test]
fn the_demonstration_shows_last_calls() {
    let (outcome, left) = Lastwords::new(["demo"]).env("PATH", "/nonexistent").finish_alone();

    let shown = format!("{}{}", outcome.stdout, outcome.stderr);
    assert!(!shown.contains("error: "), "{shown}");
    assert!(shown.contains("SIG"), "the signal: {shown}");
    assert!(shown.contains("= \""), "an argument that is a string: {shown}");
    assert!(left.is_empty(), "left in the kernel: {left:?}");
}
