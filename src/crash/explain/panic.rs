//! Rust: a panic that ends the process.

use super::abort::function;
use super::scene::Scene;
use super::{Explanation, inferred};
use crate::address::{Avma, Svma};
use crate::report::{Cause, Finding, Frame};

/// Bytes of a message at the most.
const MAX_MESSAGE_BYTES: u64 = 1024;
/// Words of the stack that are looked at for it.
const STACK_WORDS: u64 = 2048;

/// What happened, if the thread stands in the machinery of a panic.
pub fn explain(scene: &Scene<'_, '_>) -> Option<Explanation> {
    let is_panicking = |name: &str| {
        name.starts_with("core::panicking::") || name.starts_with("std::panicking::") || name.ends_with("rust_panic")
    };
    let (first, _) = function(scene, is_panicking)?;
    let frames = scene.frames();
    let at = frames.iter().skip(first).find(|frame| !is_machinery(frame));
    let nowhere =
        function(scene, |name| name.contains("panic_nounwind") || name.contains("panic_cannot_unwind")).is_some();
    let place = at.and_then(place_of);
    let who = at.and_then(|frame| frame.function.as_deref()).map_or(String::new(), |name| format!(" in `{name}`"));
    let place = place.map_or(String::new(), |place| format!(" at {place}"));
    let doing = frames.iter().skip(first).filter_map(|frame| frame.function.as_deref()).filter_map(reason).next();
    let doing = doing.map_or(String::new(), |reason| format!(": {reason}"));
    let verb = if nowhere { "panicked where it must not" } else { "panicked" };
    let explanation = Explanation::new(Cause::Panic, format!("{verb}{who}{place}{doing}"));
    Some(explanation.with(message(scene, first)))
}

/// Functions of the standard library.
fn is_machinery(frame: &Frame) -> bool {
    const CRATES: [&str; 6] = ["core::", "std::", "alloc::", "<core::", "<std::", "<alloc::"];
    const ALONE: [&str; 6] =
        ["rust_begin_unwind", "rust_panic", "__rust_start_panic", "__rustc::", "panic_abort::", "__rust_"];
    frame.function.as_deref().is_none_or(|name| {
        CRATES.iter().chain(&ALONE).any(|prefix| name.starts_with(prefix)) || name.contains("panic_abort")
    })
}

/// `src/main.rs:12:5`
fn place_of(frame: &Frame) -> Option<String> {
    let (file, line) = (frame.file.as_deref()?, frame.line?);
    let name = file.rsplit('/').next().unwrap_or(file);
    Some(frame.column.map_or_else(|| format!("{name}:{line}"), |column| format!("{name}:{line}:{column}")))
}

/// What the function that panics is for.
fn reason(function: &str) -> Option<&'static str> {
    let name = function.strip_prefix("core::").unwrap_or(function);
    Some(match name {
        "panicking::panic_bounds_check" => "an index was out of bounds",
        "option::unwrap_failed" => "`unwrap` was called on a `None` value",
        "option::expect_failed" => "`expect` was called on a `None` value",
        "result::unwrap_failed" => "`unwrap` or `expect` was called on an `Err` value",
        "panicking::assert_failed" | "panicking::assert_failed_inner" => "an assertion of equality failed",
        "slice::index::slice_end_index_len_fail" | "slice::index::slice_start_index_len_fail" => {
            "a range was out of the bounds of a slice"
        }
        "cell::panic_already_borrowed" => "a `RefCell` was already borrowed",
        "cell::panic_already_mutably_borrowed" => "a `RefCell` was already mutably borrowed",
        "panicking::panic_const::panic_const_div_by_zero" => "an integer was divided by zero",
        "panicking::panic_const::panic_const_add_overflow" => "an addition overflowed",
        "panicking::panic_const::panic_const_sub_overflow" => "a subtraction overflowed",
        "panicking::panic_const::panic_const_mul_overflow" => "a multiplication overflowed",
        _ => return None,
    })
}

/// The message, if it is a text that was known when the program was compiled: then its address and its length lie next to each other on the
/// stack, in the frames of the panic.
fn message(scene: &Scene<'_, '_>, first: usize) -> Option<Finding> {
    let frames = &scene.frames()[first..];
    let begin = frames.first()?.cfa?.0;
    let end = frames.iter().find(|frame| !is_machinery(frame)).and_then(|frame| frame.cfa)?.0;
    let words = (0..STACK_WORDS).map_while(|word| begin.checked_add(word * 8).filter(|at| *at < end));
    let text = words.into_iter().find_map(|at| text_of(scene, at))?;
    Some(inferred(format!("the message is probably \"{text}\": a text that its stack refers to")))
}

/// The text that the words at `at` refer to.
fn text_of(scene: &Scene<'_, '_>, at: u64) -> Option<String> {
    let address = scene.memory.word(Avma(at)).ok()?;
    let length = scene.memory.word(Avma(at.checked_add(8)?)).ok()?;
    if !(4..=MAX_MESSAGE_BYTES).contains(&length) {
        return None;
    }
    let (binary, svma) = scene.code.module_around(Avma(address))?;
    binary.section_around(svma).filter(|(section, _)| section.starts_with(".rodata"))?;
    let bytes = binary.contents(svma..Svma(svma.0.checked_add(length)?))?;
    let text = std::str::from_utf8(bytes).ok()?;
    let is_path = text.ends_with(".rs") || !text.contains(' ');
    let is_text = text.chars().all(|c| !c.is_control() || c == '\n') && !is_path;
    is_text.then(|| text.escape_debug().to_string())
}
