//! C++: what `std::terminate` was called for.

use super::Explanation;
use super::abort::function;
use super::scene::Scene;
use crate::address::Avma;
use crate::crash::memory::Memory;
use crate::crash::text::Text;
use crate::crash::unwind::Registers;
use crate::report::{Basis, Cause};

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
    let Some((at, _)) = thrown else {
        let (at, _) = is(&["std::terminate", "__cxxabiv1::__terminate"])?;
        let who = scene.frames().iter().skip(at + 1).find_map(|frame| frame.function.as_deref()).unwrap_or("something");
        return Some(Explanation::new(Cause::Terminate, format!("`{who}` called `std::terminate`")));
    };
    let who = scene.frames().iter().skip(at + 1).find_map(|frame| frame.function.as_deref());
    let who = who.map_or(String::new(), |who| format!(", thrown by `{who}`"));
    // The personality routine ends the program where the tables say that nothing may leave.
    let left_noexcept = is(&["__gxx_personality_v0"]).is_some();
    let why = if left_noexcept { "left a function that is `noexcept`" } else { "was not caught" };
    let (ty, basis) = thrown_type(scene, at);
    let of = ty.as_ref().map_or(String::new(), |ty| format!(" of type `{ty}`"));
    let explanation = Explanation::new(Cause::Terminate, format!("a C++ exception{of} {why}{who}"));
    Some(match (ty, basis) {
        (Some(_), Basis::Inferred) => {
            explanation.inferred("the type is that of a `type_info` that the stack of the throwing function refers to")
        }
        _ => explanation,
    })
}

/// The words of the registers, and of the stack up to the frame that threw.
fn words(scene: &Scene<'_, '_>, throwing: usize) -> Vec<u64> {
    const STACK_WORDS: u64 = 4096;
    let sp = scene.stack_pointer().unwrap_or_default().0;
    let end = scene.frames().get(throwing).and_then(|frame| frame.cfa).map_or(u64::MAX, |cfa| cfa.0);
    let slots = (0..STACK_WORDS).map_while(move |word| sp.checked_add(word * 8).filter(|at| *at < end));
    let registers = Registers::numbers().filter_map(|number| scene.registers.get(number));
    registers.chain(slots.filter_map(|at| scene.memory.word(Avma(at)).ok())).collect()
}

/// The type of the exception object that the thread handles: a word of its leads to `struct __cxa_exception` (Itanium C++ ABI: Exception Handling,
/// 2.2.1). Where that was not copied, its `type_info` itself.
fn thrown_type(scene: &Scene<'_, '_>, throwing: usize) -> (Option<String>, Basis) {
    let words = words(scene, throwing);
    if let Some(name) = words.iter().find_map(|&word| type_of_exception(scene, word)) {
        return (Some(name), Basis::Known);
    }
    (words.iter().find_map(|&word| name_by_symbol(scene, word)), Basis::Inferred)
}

/// The type of the exception whose `_Unwind_Exception`, or whose object, lies at `at`.
fn type_of_exception(scene: &Scene<'_, '_>, at: u64) -> Option<String> {
    /// `exceptionClass` of libstdc++ and libc++abi, for an exception and for a reference to one (unwind-cxx.h).
    const CLASSES: [&[u8; 8]; 3] = [b"GNUCC++\0", b"CLNGC++\0", b"GNUCC++\x01"];
    /// Bytes of `struct _Unwind_Exception`.
    const UNWIND_BYTES: u64 = 32;
    /// From `exceptionType` to `unwindHeader` (libstdc++, 64 bits).
    const TYPE_BEFORE: u64 = 80;
    /// From `struct __cxa_refcounted_exception`, and from the `struct __cxa_exception` in it, to `unwindHeader`.
    const HEADER_BEHIND: [u64; 2] = [96, 80];
    let behind = HEADER_BEHIND.map(|distance| at.wrapping_add(distance));
    [at, at.wrapping_sub(UNWIND_BYTES)].into_iter().chain(behind).find_map(|header| {
        let class = scene.memory.word(Avma(header)).ok()?.to_be_bytes();
        CLASSES.contains(&&class).then_some(())?;
        let type_info = scene.memory.word(Avma(header.checked_sub(TYPE_BEFORE)?)).ok()?;
        name_of_type(scene, type_info)
    })
}

/// `std::type_info`: behind the pointer to its methods, the mangled name.
fn name_of_type(scene: &Scene<'_, '_>, type_info: u64) -> Option<String> {
    name_by_symbol(scene, type_info).or_else(|| {
        let name = scene.memory.word(Avma(type_info.checked_add(8)?)).ok()?;
        type_name(&format!("_ZTI{}", text_at(scene, scene.memory, name)?))
    })
}

/// The type whose `type_info` the linker has put at an address.
fn name_by_symbol(scene: &Scene<'_, '_>, at: u64) -> Option<String> {
    let (binary, svma) = scene.code.module_around(Avma(at))?;
    // Symbol tables are large: only where such objects are.
    binary
        .section_around(svma)
        .filter(|(section, _)| section.starts_with(".data") || section.starts_with(".rodata"))?;
    let (symbol, offset) = binary.variable_around(svma)?;
    (offset == 0).then(|| type_name(symbol))?
}

/// `shop::out_of_stock`, from `_ZTIN4shop12out_of_stockE`.
fn type_name(symbol: &str) -> Option<String> {
    let ty = symbol.strip_prefix("_ZTI")?;
    // A function with one parameter of that type.
    let demangled = cpp_demangle::Symbol::new(format!("_Z1f{ty}")).ok()?.demangle().ok()?;
    Some(demangled.strip_prefix("f(")?.strip_suffix(')')?.to_owned())
}

fn text_at(scene: &Scene<'_, '_>, memory: &Memory, at: u64) -> Option<String> {
    const MOST: u64 = 128;
    let known = memory.known_part(Avma(at), MOST as usize);
    if !known.is_empty() {
        return Some(Text::until_nul(known).text);
    }
    let (binary, svma) = scene.code.module_around(Avma(at))?;
    let bytes = binary.contents(svma..crate::address::Svma(svma.0.checked_add(MOST)?))?;
    Some(Text::until_nul(bytes).text)
}
