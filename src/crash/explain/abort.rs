//! A process that gave up: why, from what the C library noted and from the functions that led to `abort`.

use super::scene::Scene;
use super::{Explanation, exception, panic, told};
use crate::address::Avma;
use crate::crash::frames::innermost_named;
use crate::crash::text::Text;
use crate::report::{Cause, Frame};

/// Bytes of a message at the most.
const MAX_MESSAGE_BYTES: u64 = 4096;

/// What happened, if the process aborted by itself.
pub fn explain(scene: &Scene<'_, '_>) -> Option<Explanation> {
    let sender = told::sender(scene.fault)?;
    let by_itself = sender.pid == scene.pid || sender.pid == scene.fault.pid;
    let is_abort = function(scene, |name| name == "abort" || name == "__GI_abort").is_some();
    if !by_itself {
        return None;
    }
    let explanation = panic::explain(scene).or_else(|| exception::explain(scene));
    explanation.or_else(|| by_message(scene)).or_else(|| is_abort.then(|| plain(scene)))
}

/// The frame of the first function whose name is such, among the innermost ones.
pub fn function<'s>(scene: &Scene<'s, '_>, is_it: impl Fn(&str) -> bool) -> Option<(usize, &'s Frame)> {
    innermost_named(scene.frames(), is_it)
}

/// What glibc was about to say, or has said: `struct abort_msg_s { unsigned int size; char msg[]; }` (glibc, include/stdlib.h).
fn message(scene: &Scene<'_, '_>) -> Option<String> {
    let pointer = Some(scene.fault.abort_message).filter(|pointer| *pointer != 0)?;
    let at = scene.memory.word(Avma(pointer)).ok()?;
    let size = scene.memory.unsigned(Avma(at), 4).ok()?;
    let most = usize::try_from(size.min(MAX_MESSAGE_BYTES)).ok()?;
    let known = scene.memory.known_part(Avma(at.checked_add(4)?), most);
    let text = Text::until_nul(known).text.trim_end().to_owned();
    (!text.is_empty()).then_some(text)
}

fn by_message(scene: &Scene<'_, '_>) -> Option<Explanation> {
    let message = message(scene);
    let asserted = function(scene, |name| {
        matches!(name, "__assert_fail" | "__GI___assert_fail" | "__assert_fail_base" | "__assert_perror_fail")
    });
    let smashed = function(scene, |name| matches!(name, "__stack_chk_fail" | "__fortify_fail" | "__GI___fortify_fail"));
    match (message, asserted, smashed) {
        (Some(message), Some(_), _) => Some(
            Explanation::new(Cause::Assertion, assertion(&message))
                .known(format!("the C library's message: {message}")),
        ),
        (None, Some(_), _) => Some(Explanation::new(Cause::Assertion, "an assertion failed")),
        (message, None, Some((at, _))) => {
            let who = caller(scene, at, |name| {
                name.contains("stack_chk_fail") || name.contains("fortify_fail") || name == "__libc_message"
            });
            let text = message.unwrap_or_else(|| "a check of the C library failed".into());
            let text = text.trim_start_matches("*** ").trim_end_matches(": terminated").trim_end_matches(" ***");
            let cause = if text.contains("stack smashing") { Cause::StackSmashing } else { Cause::Abort };
            let who = who.map_or(String::new(), |who| format!(", in `{who}`"));
            Some(Explanation::new(cause, format!("aborted by the C library: {text}{who}")))
        }
        (Some(message), None, None) => {
            let is_heap = function(scene, |name| name.starts_with("malloc_printerr")).is_some();
            let cause = if is_heap { Cause::HeapCorruption } else { Cause::Abort };
            let doing = function(scene, |name| {
                matches!(
                    name,
                    "free"
                        | "malloc"
                        | "realloc"
                        | "calloc"
                        | "__libc_free"
                        | "__GI___libc_free"
                        | "__libc_malloc"
                        | "cfree"
                )
            });
            let who = doing.and_then(|(at, _)| caller(scene, at, |_| false));
            let who = who.map_or(String::new(), |who| format!(", found in a call from `{who}`"));
            Some(Explanation::new(cause, format!("aborted by the C library: {message}{who}")))
        }
        (None, None, None) => None,
    }
}

/// ``the assertion `count > 0` failed in `check` (a.c:12)``, from ``prog: a.c:12: check: Assertion `count > 0' failed.``
fn assertion(message: &str) -> String {
    let parsed = || {
        let (before, rest) = message.split_once(": Assertion `")?;
        let expression = rest.strip_suffix("' failed.")?;
        let (_, place) = before.split_once(": ")?;
        let (place, function) = place.split_once(": ")?;
        let place = place.rsplit('/').next().unwrap_or(place);
        Some(format!("the assertion `{expression}` failed in `{function}` ({place})"))
    };
    parsed().unwrap_or_else(|| format!("an assertion failed: {message}"))
}

/// The function behind frame `at`, past those of which `skip` is true.
pub fn caller<'s>(scene: &Scene<'s, '_>, at: usize, skip: impl Fn(&str) -> bool) -> Option<&'s str> {
    let behind = scene.frames().iter().skip(at + 1).filter_map(|frame| frame.function.as_deref());
    behind.into_iter().find(|name| !skip(name))
}

fn plain(scene: &Scene<'_, '_>) -> Explanation {
    let frame = function(scene, |name| name == "abort" || name == "__GI_abort");
    let who = frame.and_then(|(at, _)| caller(scene, at, |name| name == "abort" || name == "__GI_abort"));
    match who {
        Some(who) => Explanation::new(Cause::Abort, format!("`{who}` called `abort`")),
        None => Explanation::new(Cause::Abort, "called `abort`"),
    }
}
