//! The capture plan of one function: what the kernel side copies when it is called, and what the copied bytes mean.
//!
//! Comes in: a function as debug info describes it, and its code. Goes out: a [`FunctionPlan`].

use super::fragments::Fragments;
use super::locate::{Locator, Part, Span, Spot};
use super::pairs::{self, Length};
use super::placement::{EntryPlace, Placement, Placing};
use super::pointers::pointers_in;
use super::reach::Reach;
use super::returns::{Returns, StackUse, return_policy};
use super::shape::Shape;
use super::steps::StepList;
use super::{
    ArgumentPlan, Followed, FunctionPlan, PieceSource, Skipped, Source, candidates, contradiction, exit, weight,
};
use crate::arch::Architecture;
use crate::arch::code::Code;
use crate::arch::cost::Costs;
use crate::dwarf::function::{Function, Location, Parameter, Piece};
use crate::dwarf::types::{Type, TypeId, TypeKind, TypeTable};

/// How much is captured at the most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a string; at most [`lastwords_abi::MAX_COPY_BYTES`].
    pub string_bytes: u32,
    /// Bytes of one argument, what it points to not counted.
    pub value_bytes: u32,
    /// Pointers to something else than text that are followed, one after the other.
    pub depth: u32,
    /// Bytes of a call for all that is behind pointers, but for arguments that are texts.
    pub reach_bytes: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { string_bytes: 256, value_bytes: 256, depth: 3, reach_bytes: 1024 }
    }
}

/// What is the same for all functions of a run.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// The architecture of the program.
    pub arch: &'a dyn Architecture,
    /// All types.
    pub types: &'a TypeTable,
    /// What was worked out about their values.
    pub fragments: &'a Fragments<'a>,
    /// The type of a register of which nothing is known: see [`register_type`].
    pub register_type: TypeId,
    /// The bounds.
    pub limits: Limits,
    /// Which arguments the user says are the lengths of others.
    pub lengths: &'a [Length],
    /// Whether returns are asked for.
    pub returns: Returns,
    /// Whether what arguments point to is asked for a second time, when the call returns.
    pub after: bool,
    /// What the program does with its stacks.
    pub stack_use: &'a StackUse,
    /// What probes cost.
    pub costs: &'a Costs,
    /// Where the probes of entries may stand.
    pub entry_place: EntryPlace,
}

/// Adds the type of a register of which nothing is known.
pub fn register_type(types: &mut TypeTable) -> TypeId {
    types.push(Type { name: "register".into(), size: Some(8), kind: TypeKind::Integer { signed: false } })
}

/// Plans the capture of one function; `object` is the index of its file in [`super::Plan::objects`].
pub fn compile(
    function: &Function,
    object: usize,
    code: &Code<'_>,
    context: &Context<'_>,
) -> Result<FunctionPlan, Skipped> {
    let skip = |reason: String| Skipped { function: function.name.clone(), reason };
    let cfa_offset = function.entry_cfa_offset.unwrap_or(context.arch.entry_cfa_offset());
    let inspection = context.arch.inspect(code, cfa_offset).map_err(|error| skip(error.to_string()))?;
    let locator = Locator { arch: context.arch, entry: &inspection.entry, frame_base: function.frame_base, cfa_offset };
    let pairs = pairs::find(function, context.lengths, context.types);
    let mut compiler = Compiler { context, locator, pairs: &pairs, steps: StepList::default() };
    let shapes: Vec<Shape> = function.parameters.iter().map(|parameter| compiler.shape_of(parameter.ty)).collect();
    let hidden = exit::hidden_argument(function, context);
    let mut at_entry =
        if function.from_symbol_table { compiler.guessed_spans() } else { compiler.spans_of_all(function, &shapes) };
    let placing = Placing {
        arch: context.arch,
        code,
        inspection: &inspection,
        entry_cfa_offset: cfa_offset,
        costs: context.costs,
        entry_place: context.entry_place,
        returns: context.returns,
        policy: return_policy(function, context.stack_use, context.returns),
        shapes: &shapes,
        reads_memory: compiler.reads_memory(function, &at_entry),
        is_unknown: function.from_symbol_table,
    };
    at_entry.extend(hidden.clone().map(|span| vec![span]));
    let placement = placing.place(&at_entry, &function.name)?;
    let weight = weight::weight(&function.name, code, &placement, context);
    let Placement { entry, exits, unseen_exits, turns, arguments: mut spans } = placement;
    let hidden = hidden.and_then(|_| spans.pop()?.pop()).map(|span| compiler.piece(span));
    let arguments = match function.from_symbol_table {
        true => compiler.guessed_arguments(spans),
        false => compiler.arguments(function, &shapes, spans),
    };
    let steps = compiler.steps;
    let (returns, exit) = exit::compile(function, &exits, (&arguments, hidden), &pairs, &steps, context);
    Ok(FunctionPlan {
        weight,
        name: function.name.clone(),
        symbol: function.symbol.clone(),
        declared: function.declared.clone(),
        object,
        address: code.entry(),
        entry,
        exits,
        unseen_exits,
        turns,
        steps: steps.into_steps(),
        arguments,
        returns,
        exit,
        has_debug_info: !function.from_symbol_table,
        limits: context.limits,
    })
}

/// Why an argument cannot be read, or not all of it.
///
/// # Errors
/// The reason, as a clause: "in register xmm0".
pub fn readable(argument: &ArgumentPlan) -> Result<(), String> {
    if !argument.pieces.is_empty() && argument.pieces.iter().all(|piece| piece.source == Source::OptimizedOut) {
        return Err("optimized out".into());
    }
    argument.pieces.iter().try_for_each(|piece| match &piece.source {
        Source::Step { .. } | Source::Constant(_) => Ok(()),
        Source::OptimizedOut => Err("a part of it is optimized out".into()),
        Source::Unavailable(reason) => Err(reason.clone()),
    })
}

/// clang gives the place of the reference for that of the value, if the reference lies on the stack.
const ONLY_REFERENCE: &str = "it came as a reference on the stack, and the debug info does not follow that";

struct Compiler<'a> {
    context: &'a Context<'a>,
    locator: Locator<'a>,
    /// Which arguments are the lengths of others: see [`pairs::find`].
    pairs: &'a [Option<Followed>],
    steps: StepList,
}

impl Compiler<'_> {
    /// Where all parameters were at the entry.
    fn spans_of_all(&self, function: &Function, shapes: &[Shape]) -> Vec<Vec<Span>> {
        let parameters = function.parameters.iter().zip(shapes);
        let mut located: Vec<_> = parameters.map(|(parameter, shape)| self.spans(parameter, shape)).collect();
        contradiction::withdraw(&mut located, function, self.context.types, self.context.arch);
        located
    }

    /// Whether anything is read that code in front of the probe could have changed, the stack not counted.
    fn reads_memory(&self, function: &Function, located: &[Vec<Span>]) -> bool {
        let is_behind = |span: &Span| matches!(span.spot, Spot::Memory { register, .. } if register != self.context.arch.stack_pointer());
        let has_pointers = |parameter: &Parameter| {
            let size = self.shape_of(parameter.ty).bytes.len() as u32;
            !pointers_in(parameter.name.as_deref(), parameter.ty, size, self.context.types).is_empty()
        };
        located.iter().flatten().any(is_behind)
            || self.pairs.iter().any(Option::is_some)
            || function.parameters.iter().any(has_pointers)
    }

    fn arguments(&mut self, function: &Function, shapes: &[Shape], located: Vec<Vec<Span>>) -> Vec<ArgumentPlan> {
        let parameters = &function.parameters;
        let mut arguments = Vec::new();
        for ((parameter, shape), spans) in parameters.iter().zip(shapes).zip(located) {
            arguments.push(self.argument(parameter, shape, spans));
        }
        // What follows pointers has no fixed size, so it stands behind all that has.
        let types = self.context.types;
        let candidates = (0..arguments.len())
            .flat_map(|argument| candidates::of_argument(argument, &arguments, self.pairs, &self.steps, types))
            .collect();
        let reach = Reach::new(self.context.fragments, self.context.limits, &mut self.steps);
        let follows = reach.follow(candidates, arguments.len());
        for (argument, follows) in arguments.iter_mut().zip(follows) {
            argument.follows = follows;
        }
        arguments
    }

    /// The registers of the calling convention, of which nobody says that they mean anything.
    fn guessed_spans(&self) -> Vec<Vec<Span>> {
        let span = |&register| vec![Span { size: 8, spot: Spot::Register { register, skip: 0 } }];
        self.context.arch.argument_registers().iter().map(span).collect()
    }

    fn guessed_arguments(&mut self, spans: Vec<Vec<Span>>) -> Vec<ArgumentPlan> {
        let arch = self.context.arch;
        let mut arguments = Vec::new();
        for (&register, spans) in arch.argument_registers().iter().zip(spans) {
            arguments.push(ArgumentPlan {
                name: arch.register_name(register).map(str::to_owned),
                ty: self.context.register_type,
                pieces: spans.into_iter().map(|span| self.piece(span)).collect(),
                follows: Vec::new(),
                guessed: true,
            });
        }
        arguments
    }

    fn shape_of(&self, ty: TypeId) -> Shape {
        let size = self.context.types.resolve(ty).size.unwrap_or(0);
        // One more byte than the limit would be enough to see that there is more; `pieces` wants the true size.
        let size = u32::try_from(size).unwrap_or(u32::MAX).min(self.context.limits.value_bytes);
        Shape::of(ty, size, self.context.types)
    }

    fn argument(&mut self, parameter: &Parameter, shape: &Shape, spans: Vec<Span>) -> ArgumentPlan {
        let mut pieces: Vec<_> = spans.into_iter().map(|span| self.piece(span)).collect();
        match self.context.types.resolve(parameter.ty).size {
            None => pieces.push(unavailable(0, "the size of its type is not known")),
            Some(size) => {
                let beyond = size.saturating_sub(shape.bytes.len() as u64);
                if beyond > 0 {
                    let size = u32::try_from(beyond).unwrap_or(u32::MAX);
                    pieces.push(unavailable(size, &format!("beyond its first {} bytes", shape.bytes.len())));
                }
            }
        }
        ArgumentPlan { name: parameter.name.clone(), ty: parameter.ty, pieces, follows: Vec::new(), guessed: false }
    }

    /// Where all of a value is; nothing for a value without bytes.
    fn spans(&self, parameter: &Parameter, shape: &Shape) -> Vec<Span> {
        let spans = self.located(&parameter.location, shape);
        let is_on_stack = |span: &Span| matches!(span.spot, Spot::Memory { register, .. } if register == self.context.arch.stack_pointer());
        let ty = self.context.types.resolve(parameter.ty);
        let by_reference = matches!(&ty.kind, TypeKind::Aggregate(aggregate) if aggregate.is_passed_by_reference);
        if by_reference && spans.iter().any(is_on_stack) {
            return vec![Span { size: shape.bytes.len() as u32, spot: Spot::Unavailable(ONLY_REFERENCE.into()) }];
        }
        spans
    }

    fn located(&self, location: &Location, shape: &Shape) -> Vec<Span> {
        let whole = shape.bytes.len() as u32;
        if whole == 0 {
            return Vec::new();
        }
        let all = |spot| vec![Span { size: whole, spot }];
        let (from, located) = match location {
            Location::Pieces(pieces) => (None, pieces),
            Location::Later { from, pieces } => (Some(*from), pieces),
            Location::OptimizedOut => return all(Spot::OptimizedOut),
            Location::Unsupported(reason) => return all(Spot::Unavailable(reason.clone())),
        };
        let mut found = Vec::new();
        let mut rest = &shape.bytes[..];
        for Piece { size, place } in located {
            let size = size.and_then(|size| usize::try_from(size).ok()).unwrap_or(rest.len()).min(rest.len());
            let (bytes, behind) = rest.split_at(size);
            if size > 0 {
                let part = Part { bytes };
                found.extend(match from {
                    None => self.locator.locate(place, part),
                    Some(from) => self.locator.locate_later(from, place, part),
                });
            }
            rest = behind;
        }
        if !rest.is_empty() {
            found.push(Span { size: rest.len() as u32, spot: Spot::OptimizedOut });
        }
        found
    }

    fn piece(&mut self, Span { size, spot }: Span) -> PieceSource {
        let step = match spot {
            Spot::Constant(bytes) => return PieceSource { size, source: Source::Constant(bytes) },
            Spot::OptimizedOut => return PieceSource { size, source: Source::OptimizedOut },
            Spot::Unavailable(reason) => return unavailable(size, &reason),
            Spot::Vector { register, .. } => {
                let name = self.context.arch.register_name(register).unwrap_or("?");
                return unavailable(size, &format!("in register {name}"));
            }
            Spot::Register { register, skip } => {
                self.context.arch.register_word(register).and_then(|word| Some((self.steps.register(word)?, skip)))
            }
            Spot::Memory { register, offset } => {
                let word = self.context.arch.register_word(register);
                word.and_then(|word| Some((self.steps.memory(word, offset, size)?, 0)))
            }
        };
        match step {
            Some((step, skip)) => PieceSource { size, source: Source::Step { step, skip } },
            None => unavailable(size, "there is too much to capture in this function"),
        }
    }
}

pub(super) fn unavailable(size: u32, reason: &str) -> PieceSource {
    PieceSource { size, source: Source::Unavailable(reason.into()) }
}
