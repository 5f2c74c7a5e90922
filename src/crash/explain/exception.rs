//! C++: what `std::terminate` was called for.

use super::Explanation;
use super::abort::{caller, function};
use super::scene::Scene;
use crate::address::Avma;
use crate::crash::exceptions::type_with_info;
use crate::crash::unwind::Registers;
use crate::report::{Cause, Exception, ExceptionState, State};

/// What happened, if the C++ runtime gave up.
pub fn explain(scene: &Scene<'_, '_>) -> Option<Explanation> {
    let is = |wanted: &'static [&'static str]| function(scene, move |name| wanted.contains(&name));
    if is(&["__cxa_pure_virtual"]).is_some() {
        return Some(Explanation::new(
            Cause::Terminate,
            "called a pure virtual method: its object was not whole, or not any more",
        ));
    }
    if is(&["__cxa_deleted_virtual"]).is_some() {
        return Some(Explanation::new(Cause::Terminate, "called a deleted virtual method"));
    }
    let aborts = is(&["abort"]).is_some();
    let thrown = is(&["__cxa_throw", "__cxa_rethrow", "std::rethrow_exception"]).filter(|_| aborts);
    // clang's functions end the program themselves where nothing may leave them: the frames that threw are gone by then.
    let Some((at, _)) = thrown.or_else(|| is(&["__clang_call_terminate"])) else {
        const TERMINATE: &[&str] = &["std::terminate", "__cxxabiv1::__terminate", "std::__terminate"];
        let (at, _) = is(TERMINATE)?;
        let who = caller(scene, at, |name| TERMINATE.contains(&name)).unwrap_or("something");
        return Some(Explanation::new(Cause::Terminate, format!("`{who}` called `std::terminate`")));
    };
    let who = caller(scene, at, |_| false);
    // The personality routine does so where the tables say that nothing may leave.
    let left_noexcept = is(&["__gxx_personality_v0"]).is_some();
    let what_happened = match (thrown, who) {
        (None, Some(who)) => format!("left `{who}`, which is `noexcept`"),
        (None, None) => "left a function that is `noexcept`".into(),
        (Some(_), who) => {
            let who = who.map_or(String::new(), |who| format!(", thrown by `{who}`"));
            format!("{}{who}", if left_noexcept { "left a function that is `noexcept`" } else { "was not caught" })
        }
    };
    let exception = scene.exceptions.first().filter(|exception| exception.state == ExceptionState::Uncaught);
    let known = exception.and_then(|exception| exception.ty.clone());
    let guessed = if known.is_none() { guessed_type(scene, at) } else { None };
    let of = known.as_ref().or(guessed.as_ref()).map_or(String::new(), |ty| format!(" of type `{ty}`"));
    let text = exception.and_then(message).map_or(String::new(), |text| format!(": {text}"));
    let explanation = Explanation::new(Cause::Terminate, format!("a C++ exception{of} {what_happened}{text}"));
    Some(match guessed {
        Some(_) => {
            explanation.inferred("the type is that of a `type_info` that the stack of the throwing function refers to")
        }
        None => explanation,
    })
}

/// What it says, as far as that is known and a sentence has room for it.
fn message(exception: &Exception) -> Option<String> {
    const MOST: usize = 160;
    let text = exception.text.as_ref().filter(|text| matches!(text.state, State::Exact | State::Truncated))?;
    let known = text.value.as_str().filter(|known| !known.is_empty())?;
    let shown: String = known.chars().take(MOST).collect();
    let is_whole = text.state == State::Exact && shown.len() == known.len();
    Some(if is_whole { shown } else { format!("{shown}…") })
}

/// The type whose `type_info` a register or the stack up to the frame that threw leads to, for a header that was not found.
fn guessed_type(scene: &Scene<'_, '_>, throwing: usize) -> Option<String> {
    const STACK_WORDS: u64 = 4096;
    let sp = scene.stack_pointer().unwrap_or_default().0;
    let end = scene.frames().get(throwing).and_then(|frame| frame.cfa).map_or(u64::MAX, |cfa| cfa.0);
    let slots = (0..STACK_WORDS).map_while(move |word| sp.checked_add(word * 8).filter(|at| *at < end));
    let registers = Registers::numbers().filter_map(|number| scene.registers.get(number));
    let mut words = registers.chain(slots.filter_map(|at| scene.memory.word(Avma(at)).ok()));
    words.find_map(|word| type_with_info(scene.code, Avma(word)))
}
