//! The memory of a process that aborts in; the C++ exceptions that it was handling, with what they say, out.
//!
//! ```text
//! words of registers and stack   chain       exceptions that live, the innermost first
//! std::type_info                 type_info   names of the class and of what it inherits from
//! the object                     (here)      its message, and its value as debug info describes it
//! ```
//!
//! The kernel side has followed the same pointers ([`lastwords_abi::exception`]).

mod chain;
mod type_info;

use self::chain::Thrown;
pub use self::type_info::type_with_info;
use self::type_info::{BaseClass, TypeInfo};
use super::code::Code;
use super::decode::{Decoder, Pointees as _};
use super::frames::{TOP_FRAMES, innermost_named};
use super::memory::Memory;
use super::variables::{Behind, Image};
use crate::address::Avma;
use crate::dwarf::types::TypeTable;
use crate::report::{Address, Exception, ExceptionState, Frame, State, Value, object_of};

/// Parts of the value of one exception.
const MAX_PARTS: u32 = 512;
/// Pointers to something else than text that are followed, one after the other.
const LEVELS: u32 = 2;
/// Classes of the standard library that carry a message, in the word behind the pointer to their methods: libstdc++'s `__cow_string`, libc++'s
/// `__libcpp_refstring`. Both point to characters that a NUL ends, and are the same since their first versions, for the binary interface.
const WITH_MESSAGE: [&str; 2] = ["std::runtime_error", "std::logic_error"];
/// What the runtime calls that gives up for an exception that nobody takes.
const GIVING_UP: [&str; 6] = [
    "__cxa_throw",
    "__cxa_rethrow",
    "std::rethrow_exception",
    "__gxx_personality_v0",
    "__cxa_call_terminate",
    "__clang_call_terminate",
];

/// What exceptions are read with.
#[derive(Clone, Copy)]
pub struct Scope<'s, 'm> {
    /// The code of the process.
    pub code: &'s Code<'m>,
    /// Its memory.
    pub memory: &'s Memory,
    /// Bytes of a text that are shown.
    pub text_bytes: usize,
}

/// The exceptions that the thread with these `frames`, which aborts, was handling: the innermost first. `registers` are the words of its registers.
#[must_use]
pub fn in_flight(
    scope: Scope<'_, '_>,
    registers: &[u64],
    stack_pointer: Option<u64>,
    frames: &[Frame],
) -> Vec<Exception> {
    // And not the program.
    let has_given_up = innermost_named(frames, |name| GIVING_UP.contains(&name)).is_some();
    let thrown = chain::living(scope.memory, registers, stack_pointer);
    let told = thrown.iter().enumerate();
    told.map(|(index, thrown)| {
        let state = if index == 0 && has_given_up { ExceptionState::Uncaught } else { ExceptionState::Caught };
        Exception { state, ..exception(scope, thrown, frames) }
    })
    .collect()
}

fn exception(scope: Scope<'_, '_>, thrown: &Thrown, frames: &[Frame]) -> Exception {
    let address = Some(Address(thrown.object.0));
    let ty = match TypeInfo::read(scope, thrown.type_info) {
        Ok(ty) => ty,
        Err(reason) => return Exception { address, reason: Some(reason), ..Exception::default() },
    };
    let behind = Behind { image: Image::new(scope.memory, scope.code), levels: LEVELS, text_bytes: scope.text_bytes };
    let text = message(&behind, thrown.object, &ty);
    let (value, reason) = match value(scope, &behind, thrown.object, &ty, frames) {
        Ok(value) => (Some(with_message(value, text.as_ref())), None),
        Err(reason) => (None, Some(reason)),
    };
    Exception { ty: Some(ty.name), text, value, reason, address, ..Exception::default() }
}

/// What it says: the message of a standard class that it is or inherits from, or the text that was thrown.
fn message(behind: &Behind<'_, '_>, object: Avma, ty: &TypeInfo) -> Option<Value> {
    let blank = |ty: &str| Value { ty: ty.into(), state: State::Exact, ..Value::default() };
    let text_at = |blank: Value, at: Option<u64>| match at.and_then(|at| behind.word(at)) {
        Some(text) => behind.c_string(Value { address: Some(Address(text)), ..blank }, Address(text)),
        None => {
            Value { state: State::Unavailable, reason: Some("the exception object was not captured".into()), ..blank }
        }
    };
    if matches!(ty.name.as_str(), "char const*" | "char*") {
        return Some(text_at(blank(&ty.name), Some(object.0)));
    }
    let BaseClass { at, .. } = ty.classes.iter().find(|class| WITH_MESSAGE.contains(&class.name.as_str()))?;
    let word = size_of::<u64>() as u64;
    let what = Value { name: Some("what".into()), ..blank("const char *") };
    Some(text_at(what, object.0.checked_add(*at).and_then(|at| at.checked_add(word))))
}

/// The object with its message in the place of the standard class that carries it, where debug info only declares that one.
fn with_message(mut value: Value, text: Option<&Value>) -> Value {
    let is_it = |member: &&mut Value| {
        member.state == State::Unavailable && member.name.as_deref().is_some_and(|name| WITH_MESSAGE.contains(&name))
    };
    if let (Some(member), Some(text)) = (value.members.iter_mut().find(is_it), text) {
        *member = Value { name: member.name.take(), ty: std::mem::take(&mut member.ty), ..text.clone() };
        value.value = object_of(&value.members);
    }
    value
}

/// The object, where debug info describes its type; else why there is none.
fn value(
    scope: Scope<'_, '_>,
    behind: &Behind<'_, '_>,
    object: Avma,
    ty: &TypeInfo,
    frames: &[Frame],
) -> Result<Value, String> {
    let mut types = TypeTable::default();
    // A class is described where it is thrown and where it is caught.
    let places = frames.iter().take(TOP_FRAMES).map(|frame| Avma(frame.address.0));
    let mut seen = Vec::new();
    let found = places.filter_map(|place| scope.code.debug_info_at(place)).find_map(|(info, _)| {
        let path = info.binary().path();
        if seen.contains(&path) {
            return None;
        }
        seen.push(path);
        info.type_named(&ty.name, &mut types)
    });
    let found = found.ok_or_else(|| format!("no debug info of the functions above describes `{}`", ty.name))?;
    let size = types.resolve(found).size.and_then(|size| usize::try_from(size).ok());
    let size = size.ok_or_else(|| format!("debug info only declares `{}`", ty.name))?;
    let bytes = behind.bytes(object, size);
    let decoder = Decoder::in_memory(&types, &bytes, behind, MAX_PARTS);
    Ok(decoder.value(None, found, 0, 0))
}
