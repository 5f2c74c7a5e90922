//! The frames of a thread in; their arguments and local variables, as they were at the death, out.
//!
//! Debug info says where each is at the frame's instruction ([`crate::dwarf::variables`]); registers are those that unwinding has restored;
//! memory is what was copied. [`entry`] then joins what was recorded when the functions were called.

pub mod entry;
mod image;
mod pointee;
mod state;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

pub use image::Image;
pub use pointee::Behind;
pub use state::FrameView;

use super::code::{Code, Function};
use super::decode::Decoder;
use super::frames::Placed;
use super::memory::Memory;
use super::pieces::Bytes;
use super::unwind::Backtrace;
use crate::address::Avma;
use crate::arch::Architecture;
use crate::dwarf::types::TypeTable;
use crate::dwarf::variables::{FrameState as _, Missing, Part, Spot, Variable};
use crate::report::{Frame, FrameKind, State, Value};

/// Pointers to something else than text that are followed, one after the other.
const LEVELS: u32 = 3;

/// How much is told of one thread.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Frames with values, from the innermost.
    pub frames: usize,
    /// Parts of all values together.
    pub parts: u32,
}

impl Bounds {
    /// Of the thread that crashed.
    pub const CRASHED: Self = Self { frames: 48, parts: 8192 };
    /// Of any other.
    pub const OTHER: Self = Self { frames: 12, parts: 384 };
}

/// The variables of a dead process. What was looked up once is remembered: many threads stand at the same places.
pub struct Variables<'v, 'm> {
    code: &'v Code<'m>,
    memory: &'v Memory,
    text_bytes: usize,
    types: RefCell<TypeTable>,
    known: RefCell<HashMap<Avma, Rc<Vec<Variable<'m>>>>>,
}

impl<'v, 'm> Variables<'v, 'm> {
    /// Of the process with this code and this memory. Of a text, `text_bytes` are shown.
    #[must_use]
    pub fn new(code: &'v Code<'m>, memory: &'v Memory, text_bytes: u32) -> Self {
        let text_bytes = usize::try_from(text_bytes).unwrap_or(usize::MAX);
        Self { code, memory, text_bytes, types: RefCell::default(), known: RefCell::default() }
    }

    /// Gives `frames` their arguments and locals. `placed` are the same frames as they were found in `backtrace`.
    pub fn fill(&self, frames: &mut [Frame], placed: &[Placed<'_>], backtrace: &Backtrace, bounds: Bounds) {
        let parts = Cell::new(bounds.parts);
        let outermost = backtrace.beyond.as_ref().map_or(&[][..], |beyond| &beyond.frames);
        let stretches = [&backtrace.frames[..], outermost];
        for (frame, placed) in frames.iter_mut().zip(placed).take(bounds.frames) {
            let at = |frames: &[_]| frames.iter().position(|raw| std::ptr::eq(raw, placed.raw));
            let view = stretches.iter().find_map(|frames| FrameView::new(&frames[at(frames)?..], self.image()));
            let Some(view) = view.filter(|_| frame.kind != FrameKind::Signal) else { continue };
            (frame.args, frame.locals) = self.of_frame(&view, &placed.function, &parts);
        }
    }

    fn image(&self) -> Image<'v, 'm> {
        Image::new(self.memory, self.code)
    }

    /// Arguments and locals of `function`, which is executed in this frame.
    fn of_frame(&self, view: &FrameView<'_, 'm>, function: &Function, parts: &Cell<u32>) -> (Vec<Value>, Vec<Value>) {
        let listed = self.listed(view);
        let own = listed.iter().filter(|variable| Some(variable.function) == function.die);
        let (args, locals): (Vec<_>, Vec<_>) = own.partition(|variable| variable.is_parameter);
        let values = |variables: Vec<&Variable<'m>>| {
            variables.into_iter().map(|variable| self.value(variable, view, function, parts)).collect()
        };
        (values(args), values(locals))
    }

    /// The variables in scope where the frame stands.
    fn listed(&self, view: &FrameView<'_, 'm>) -> Rc<Vec<Variable<'m>>> {
        let lookup = view.raw().lookup_address();
        if let Some(known) = self.known.borrow().get(&lookup) {
            return Rc::clone(known);
        }
        let function = self.code.functions_at(lookup).last().and_then(|function| function.die);
        let found = view.info().zip(function);
        let found = found.map(|((info, at), function)| info.variables_of(function, at, &mut self.types.borrow_mut()));
        let listed = Rc::new(found.unwrap_or_default());
        self.known.borrow_mut().insert(lookup, Rc::clone(&listed));
        listed
    }

    fn value(
        &self,
        variable: &Variable<'m>,
        view: &FrameView<'_, 'm>,
        function: &Function,
        parts: &Cell<u32>,
    ) -> Value {
        let types = self.types.borrow();
        let blank = Value {
            name: variable.name.clone(),
            ty: types.get(variable.ty).name.clone(),
            declared: variable.declared.as_ref().filter(|_| !variable.is_parameter).map(|declared| declared.line),
            ..Value::default()
        };
        let none = |state, reason: String| Value { state, reason: Some(reason), ..blank.clone() };
        if parts.get() == 0 {
            return none(State::Unavailable, "a report has only so many values of a thread".into());
        }
        let ahead = lines_ahead(variable, function);
        if let Some(line) = ahead.filter(|ahead| *ahead > 0).and(blank.declared) {
            return none(State::Unavailable, format!("it is declared in line {line}, which had not been reached"));
        }
        let Some((info, address)) = view.info() else { return none(State::Unavailable, "its code is gone".into()) };
        let behind = Behind { image: self.image(), levels: LEVELS, text_bytes: self.text_bytes };
        let places = info.locate(variable, address, view);
        if let [Part { size: None, spot: Spot::Missing(missing) }] = &places[..] {
            let (state, reason) = why(missing, view, self.code.arch);
            return none(state, reason);
        }
        let size = types.resolve(variable.ty).size.and_then(|size| usize::try_from(size).ok());
        let bytes = assemble(&places, size, view, &behind, self.code.arch);
        let decoder = Decoder::in_memory(&types, &bytes, &behind, parts.get());
        let value = decoder.value(variable.name.clone(), variable.ty, 0, 0);
        parts.set(decoder.parts_left());
        let is_doubtful = ahead == Some(0) && value.state == State::Exact;
        let doubt = is_doubtful.then(|| "declared in this very line, perhaps not set yet".to_owned());
        Value { declared: blank.declared, reason: value.reason.or(doubt), ..value }
    }
}

/// How many lines a local variable's declaration is ahead of where its function stood, if it is not behind: a place that it has for all of its
/// function holds what was there before until then.
fn lines_ahead(variable: &Variable<'_>, function: &Function) -> Option<u32> {
    let (declared, at) = (variable.declared.as_ref()?, function.position.as_ref()?);
    let has_slot = !variable.is_parameter && variable.has_stack_slot() && declared.file == at.file;
    declared.line.checked_sub(at.line).filter(|_| has_slot)
}

/// The bytes of a value from where its parts are.
fn assemble(
    parts: &[Part],
    size: Option<usize>,
    view: &FrameView<'_, '_>,
    behind: &Behind<'_, '_>,
    arch: &dyn Architecture,
) -> Bytes {
    let mut bytes = Bytes::default();
    let mut rest = size.unwrap_or(size_of::<u64>());
    for Part { size, spot } in parts {
        let size = size.map_or(rest, |size| usize::try_from(size).unwrap_or(usize::MAX)).min(rest);
        rest -= size;
        let size = bytes.room(size);
        match spot {
            Spot::Memory(at) => behind.add(&mut bytes, *at, size),
            Spot::Value(known) => bytes.push(known, size, State::Unavailable, "debug info has only a part of it"),
            Spot::Register { number, skip } => match view.register(*number) {
                Some(word) => {
                    let known = word.to_le_bytes();
                    let known = known.get(*skip as usize..).unwrap_or_default();
                    bytes.push(known, size, State::Unavailable, "debug info has only a part of it");
                }
                None => bytes.push(&[], size, State::Unavailable, &format!("it is in {}", lost(*number, view, arch))),
            },
            Spot::Missing(missing) => {
                let (state, reason) = why(missing, view, arch);
                bytes.push(&[], size, state, &reason);
            }
        }
    }
    if rest > 0 {
        let rest = bytes.room(rest);
        bytes.push(&[], rest, State::OptimizedOut, "the compiler kept it nowhere at that point");
    }
    bytes
}

fn why(missing: &Missing, view: &FrameView<'_, '_>, arch: &dyn Architecture) -> (State, String) {
    match missing {
        Missing::OptimizedOut => (State::OptimizedOut, "the compiler kept it nowhere at that point".into()),
        Missing::AtEntry(reason) => {
            (State::OptimizedOut, format!("only its value at the entry could be told, and is not known: {reason}"))
        }
        Missing::Register(number) => {
            (State::Unavailable, format!("it is found by way of {}", lost(*number, view, arch)))
        }
        Missing::Because(reason) => (State::Unavailable, reason.clone()),
    }
}

/// Why a register is not known in a frame.
fn lost(number: u16, view: &FrameView<'_, '_>, arch: &dyn Architecture) -> String {
    let name = arch.register_name(number).map_or_else(|| format!("register {number}"), str::to_owned);
    let is_general = arch.register_word(number).is_some();
    match () {
        () if !is_general => format!("{name}, which is not captured"),
        () if view.raw().is_return_address => format!("{name}, which the function that it called may have overwritten"),
        () => format!("{name}, which is not known"),
    }
}

#[cfg(test)]
mod tests;
