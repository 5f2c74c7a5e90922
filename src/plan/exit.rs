//! What is captured when a function returns: its result with what is behind it, and, if that is asked for, what its arguments lead to by then.
//!
//! Both share `--bytes` once more, each in equal parts as at the entry. What the arguments were is taken from what the entry has captured: the registers
//! are long used for something else.

use super::candidates::{data_offset, of_argument, of_value};
use super::capture::{Context, unavailable};
use super::locate::{Span, Spot};
use super::reach::Reach;
use super::steps::StepList;
use super::{ArgumentPlan, ExitPlan, Exits, Followed, PieceSource, ReturnCondition, ReturnPlan, Source};
use crate::arch::{ResultPart, ResultSpot, ReturnPlace};
use crate::dwarf::function::{Function, Language};
use crate::dwarf::types::{TypeId, TypeKind, TypeTable};

/// Bytes of a record that are left to its return at the most.
const MAX_BYTES: u32 = 12 << 10;
/// Bytes of a register.
const WORD_BYTES: u32 = 8;
/// Larger arguments are no pointers, whatever they consist of.
const MAX_WORDS: u32 = 2;

/// Plans the return of a function whose arguments, the hidden one included, are captured by `entry`; which of them are lengths, `pairs` says.
pub fn compile(
    function: &Function,
    exits: &Exits,
    (arguments, hidden): (&[ArgumentPlan], Option<PieceSource>),
    pairs: &[Option<Followed>],
    entry: &StepList,
    context: &Context<'_>,
) -> (Option<ReturnPlan>, ExitPlan) {
    let hidden = hidden.and_then(|piece| match piece.source {
        Source::Step { step, skip: 0 } => Some(step),
        _ => None,
    });
    let mut planner = Planner { context, entry, hidden, steps: entry.for_the_rest(MAX_BYTES) };
    let is_seen = !matches!(exits, Exits::Unseen(_));
    let mut returns = planner.result(function, is_seen);
    let mut after = Vec::new();
    if is_seen {
        let mut candidates = Vec::new();
        if let Some(returns) = &returns {
            candidates.extend(of_value(arguments.len(), &returns.value, &planner.steps, context.types));
        }
        if context.after {
            after = planner.after(function, arguments, pairs);
            let is_read =
                |index: &usize| !after[*index].pieces.is_empty() && is_writable(function, *index, context.types);
            let indexes = (0..after.len()).filter(is_read);
            candidates
                .extend(indexes.flat_map(|index| of_argument(index, &after, pairs, &planner.steps, context.types)));
        }
        let reach = Reach::new(context.fragments, context.limits, &mut planner.steps);
        let mut follows = reach.follow(candidates, arguments.len() + 1);
        if let (Some(returns), Some(behind)) = (&mut returns, follows.pop()) {
            returns.value.follows = behind;
        }
        after.iter_mut().zip(follows).for_each(|(argument, behind)| argument.follows = behind);
    }
    (returns, ExitPlan { steps: planner.steps.into_steps(), after })
}

/// The argument that says where the result goes, or whether it goes there at all: where it is at the entry.
pub fn hidden_argument(function: &Function, context: &Context<'_>) -> Option<Span> {
    let place = context.arch.return_place(function.return_type?, function.language, context.types)?;
    let is_wanted = matches!(place, ReturnPlace::Registers { certain: false, .. } | ReturnPlace::Memory { .. });
    let spot = Spot::Register { register: context.arch.hidden_result_register(), skip: 0 };
    is_wanted.then_some(Span { size: WORD_BYTES, spot })
}

struct Planner<'a> {
    context: &'a Context<'a>,
    /// What the entry captures.
    entry: &'a StepList,
    /// The step of it that has the hidden argument.
    hidden: Option<usize>,
    steps: StepList,
}

impl Planner<'_> {
    /// Where the result is. Only if the return is seen, it is read from memory.
    fn result(&mut self, function: &Function, is_seen: bool) -> Option<ReturnPlan> {
        let Context { arch, types, .. } = *self.context;
        let words = arch.result_registers().map(|register| arch.register_word(register).unwrap_or_default());
        let registers: Vec<usize> = words.into_iter().filter_map(|word| self.steps.register(word)).collect();
        let ty = function.return_type?;
        let place = arch.return_place(ty, function.language, types)?;
        let whole = u32::try_from(types.resolve(ty).size.unwrap_or(0)).unwrap_or(u32::MAX);
        let nowhere = |reason: &str| vec![unavailable(whole, reason)];
        let (pieces, in_memory) = match place {
            ReturnPlace::Unavailable(reason) => (nowhere(&reason), None),
            ReturnPlace::Registers { parts, certain } => {
                (parts.into_iter().map(|part| piece(part, &registers)).collect(), (!certain).then_some(false))
            }
            ReturnPlace::Memory { certain, .. } if is_seen => (self.in_memory(whole), (!certain).then_some(true)),
            ReturnPlace::Memory { .. } => (nowhere("in memory that the caller provides"), None),
        };
        let (pieces, condition) = match (in_memory, self.hidden) {
            (None, _) => (pieces, None),
            (Some(in_memory), Some(step)) => (pieces, Some(ReturnCondition { step, in_memory })),
            (Some(_), None) => (nowhere("whether it comes back in registers or in memory is not known"), None),
        };
        let value = ArgumentPlan { name: None, ty, pieces, follows: Vec::new(), guessed: false };
        Some(ReturnPlan { value, condition })
    }

    /// What the hidden argument points to.
    fn in_memory(&mut self, whole: u32) -> Vec<PieceSource> {
        let size = whole.min(self.context.limits.value_bytes);
        let address =
            self.hidden.and_then(|step| self.entry.data_offset(step, 0)).and_then(|base| self.steps.word(base));
        let address = address.and_then(|step| self.steps.data_offset(step, 0));
        let Some(step) = address.and_then(|base| self.steps.follow(base, size)) else {
            return vec![unavailable(
                whole,
                "in memory that the caller provides, and where that is cannot be told any more",
            )];
        };
        let mut pieces = vec![PieceSource { size, source: Source::Step { step, skip: 0 } }];
        if whole > size {
            pieces.push(unavailable(whole - size, &format!("beyond its first {size} bytes")));
        }
        pieces
    }

    /// The arguments once more, as far as they are pointers to what may change, or lengths: as they were at the entry.
    fn after(
        &mut self,
        function: &Function,
        arguments: &[ArgumentPlan],
        pairs: &[Option<Followed>],
    ) -> Vec<ArgumentPlan> {
        let is_length = |index| {
            pairs.iter().flatten().any(|pair| matches!(pair, Followed::Paired { length, .. } if *length == index))
        };
        let mut again = Vec::new();
        for (index, argument) in arguments.iter().enumerate() {
            let is_wanted = is_length(index) || is_writable(function, index, self.context.types);
            let pieces =
                if is_wanted && !argument.guessed { self.words_of(argument).unwrap_or_default() } else { Vec::new() };
            again.push(ArgumentPlan { pieces, follows: Vec::new(), ..argument.clone() });
        }
        again
    }

    /// The words of an argument, where each is captured as a whole.
    fn words_of(&mut self, argument: &ArgumentPlan) -> Option<Vec<PieceSource>> {
        let size = argument.pieces.iter().fold(0u32, |size, piece| size.saturating_add(piece.size));
        if size == 0 || size > MAX_WORDS * WORD_BYTES {
            return None;
        }
        let mut pieces = Vec::new();
        for at in (0..size).step_by(WORD_BYTES as usize) {
            let part = (size - at).min(WORD_BYTES);
            let base = data_offset(&argument.pieces, at, part, self.entry)?;
            let (word, skip) = (base & !(WORD_BYTES - 1), base % WORD_BYTES);
            if skip + part > WORD_BYTES {
                return None;
            }
            let step = self.steps.word(word)?;
            pieces.push(PieceSource { size: part, source: Source::Step { step, skip } });
        }
        Some(pieces)
    }
}

/// Some bytes of a result that is in registers.
fn piece(ResultPart { size, spot }: ResultPart, registers: &[usize]) -> PieceSource {
    match spot {
        ResultSpot::Word(word) => match registers.get(word) {
            Some(step) => PieceSource { size, source: Source::Step { step: *step, skip: 0 } },
            None => unavailable(size, "it is in a register that is not captured"),
        },
        ResultSpot::Unavailable(reason) => unavailable(size, &reason),
    }
}

/// Whether a function may change what this parameter points to, by its type.
fn is_writable(function: &Function, index: usize, types: &TypeTable) -> bool {
    let Some(parameter) = function.parameters.get(index) else { return false };
    let ty = types.resolve(parameter.ty);
    if function.language == Language::Rust {
        return ["&mut ", "*mut "].iter().any(|pointer| ty.name.starts_with(pointer));
    }
    matches!(ty.kind, TypeKind::Pointer { to, .. } if !is_const(to, types))
}

/// Whether one of a type's qualifiers is `const`. A chain that never ends (damaged DWARF) stops after 64 links.
fn is_const(mut ty: TypeId, types: &TypeTable) -> bool {
    for _ in 0..64 {
        let known = types.get(ty);
        match known.kind {
            TypeKind::Qualified(_) if known.name.starts_with("const ") || known.name.ends_with("const") => return true,
            TypeKind::Qualified(to) | TypeKind::Typedef(to) => ty = to,
            _ => return false,
        }
    }
    false
}
