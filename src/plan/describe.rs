//! A plan as text, for people who want to know what is captured, and for tests.

use std::fmt::Write;

use lastwords_abi::step::{COUNTED, ELEMENTS, FOLLOW, MEMORY, PLACES, REGISTER, RING, STRING, WORD};
use lastwords_abi::{MAX_COPY_BYTES, Step};

use super::behind::pointers_behind;
use super::pointers::{Pointer, pointers_in};
use super::tails::Tail;
use super::{ArgumentPlan, Exits, Follow, Followed, FunctionPlan, PieceSource, ReturnCondition, Source};
use crate::arch::Architecture;
use crate::dwarf::types::TypeTable;

/// The plan of one function, a line each for its entry, its steps, its arguments, its return and its exits: docs/plan.md explains it.
///
/// ```text
/// test at 0x1139, entered at 0x113a, CFA = sp + 8
///   #0 rdi
///   #1 string at [0], 256 bytes at most
///   const char * str = #0[0..8]
///     str: text = #1
///   at the return
///     #0 rax
///     #1 rdx
///     returns int = #0[0..4]
///   exits by trampoline
/// ```
#[must_use]
pub fn describe(plan: &FunctionPlan, types: &TypeTable, arch: &dyn Architecture) -> String {
    let mut text = format!(
        "{} at {}, entered at {}, CFA = sp + {}\n",
        plan.name, plan.address, plan.entry.address, plan.entry.cfa_offset
    );
    describe_steps(&mut text, 2, &plan.steps, arch);
    plan.arguments.iter().for_each(|argument| describe_value(&mut text, 2, "", argument, types));
    describe_return(&mut text, plan, types, arch);
    line(&mut text, 2, &describe_exits(plan));
    text
}

/// What is captured at the return. Numbers of steps are of those.
fn describe_return(text: &mut String, plan: &FunctionPlan, types: &TypeTable, arch: &dyn Architecture) {
    let again: Vec<&ArgumentPlan> = plan.exit.after.iter().filter(|argument| !argument.pieces.is_empty()).collect();
    if plan.returns.is_none() && again.is_empty() {
        return;
    }
    line(text, 2, "at the return");
    describe_steps(text, 4, &plan.exit.steps, arch);
    if let Some(returns) = &plan.returns {
        describe_value(text, 4, "returns ", &returns.value, types);
        if let Some(ReturnCondition { step, in_memory }) = returns.condition {
            let when = if in_memory { "only if" } else { "unless" };
            line(text, 6, &format!("{when} #0 is what #{step} was at the entry"));
        }
    }
    again.iter().for_each(|argument| describe_value(text, 4, "after: ", argument, types));
}

fn describe_steps(text: &mut String, indent: usize, steps: &[Step], arch: &dyn Architecture) {
    for (index, step) in steps.iter().enumerate() {
        line(text, indent, &format!("#{index} {}", describe_step(step, arch)));
    }
}

/// What a value is put together from, and what is behind its pointers.
fn describe_value(text: &mut String, indent: usize, before: &str, value: &ArgumentPlan, types: &TypeTable) {
    line(text, indent, &format!("{before}{}", describe_argument(value, types)));
    Behind { types, indent: indent + 2 }.describe(text, &value.follows, &Holder::argument(value, types));
}

fn line(text: &mut String, indent: usize, line: &str) {
    // Writing to a string does not fail.
    let _ = writeln!(text, "{:indent$}{line}", "");
}

fn describe_step(step: &Step, arch: &dyn Architecture) -> String {
    let (base, size, offset) = (step.base, step.size, step.offset);
    let beside = if offset == 0 { String::new() } else { format!("{offset:+}") };
    match step.op {
        REGISTER => word_name(step.register, arch),
        MEMORY => format!("{size} bytes at {}{offset:+}", word_name(step.register, arch)),
        FOLLOW => format!("{size} bytes at [{base}]{offset:+}"),
        WORD => format!("[{base}] of the entry"),
        STRING => format!("string at [{base}]{beside}, {size} bytes at most"),
        COUNTED if step.element == 0 => format!("bytes at [{base}] up to [{}], {size} at most", step.count),
        COUNTED => format!("[{}] times {} bytes at [{base}]{beside}, {size} bytes at most", step.count, step.element),
        ELEMENTS if step.element == 0 => {
            format!("place of {size} bytes for what is at [{base}] up to [{}]", step.count)
        }
        ELEMENTS => {
            format!("place of {size} bytes for [{}] times {} bytes at [{base}]{beside}", step.count, step.element)
        }
        PLACES => {
            format!("place of {size} bytes for [{}] + 1 times {} bytes before [{base}]", step.count, step.element)
        }
        RING => {
            let Step { count, element, .. } = step;
            let first = match step.elements_in_front() {
                0 => format!("[{}]", step.first_at()),
                in_front => format!("[{}]-{in_front}", step.first_at()),
            };
            format!("place of {size} bytes for [{count}] times {element} bytes at [{base}] from number {first} on")
        }
        other => format!("unknown step {other}"),
    }
}

fn word_name(word: u8, arch: &dyn Architecture) -> String {
    let known = arch.report_registers().iter().find(|(_, of)| *of == word);
    known.map_or_else(|| format!("word {word}"), |(name, _)| (*name).to_owned())
}

fn describe_argument(argument: &ArgumentPlan, types: &TypeTable) -> String {
    let pieces: Vec<String> = argument.pieces.iter().map(describe_piece).collect();
    let name = argument.name.as_deref().map(|name| format!(" {name}")).unwrap_or_default();
    let guessed = if argument.guessed { " (guessed)" } else { "" };
    format!("{}{name} = {}{guessed}", types.get(argument.ty).name, pieces.join(" + "))
}

/// What pointers lie in.
struct Holder {
    /// How C writes it, up to the name of a member.
    before_member: String,
    /// The same without a member.
    whole: String,
    pointers: Vec<Pointer>,
}

impl Holder {
    fn argument(argument: &ArgumentPlan, types: &TypeTable) -> Self {
        let name = argument.name.as_deref();
        let size = argument.pieces.iter().fold(0u32, |size, piece| size.saturating_add(piece.size));
        let whole = name.unwrap_or("result").to_owned();
        Self { before_member: format!("{whole}."), whole, pointers: pointers_in(name, argument.ty, size, types) }
    }

    /// What this pointer leads to.
    fn behind(pointer: &str, what: Followed, types: &TypeTable) -> Self {
        let pointers = pointers_behind(what, MAX_COPY_BYTES, types);
        let is_list = what == Followed::Texts || what.elements().is_some();
        let whole = if is_list { pointer.to_owned() } else { format!("(*{pointer})") };
        Self { before_member: format!("{pointer}->"), whole, pointers }
    }

    /// The pointer at byte `at` of it.
    fn pointer(&self, at: u32) -> String {
        let path = self.pointers.iter().find(|pointer| pointer.at == at).map(|pointer| pointer.path.as_str());
        match path {
            Some(path) => match path.strip_prefix('.') {
                Some(member) => format!("{}{member}", self.before_member),
                None => format!("{}{path}", self.whole),
            },
            None => self.whole.clone(),
        }
    }
}

/// What is behind pointers, a line for each, indented below what it was found in.
struct Behind<'a> {
    types: &'a TypeTable,
    indent: usize,
}

impl Behind<'_> {
    fn describe(&self, text: &mut String, follows: &[Follow], holder: &Holder) {
        for Follow { at, step, what, behind } in follows {
            let pointer = holder.pointer(*at);
            let what_it_is = match what {
                Followed::CString | Followed::Str { .. } => format!("{pointer}: text"),
                Followed::Texts => format!("{pointer}: texts up to a NULL"),
                Followed::Counted { .. } | Followed::Until { .. } | Followed::Ring { .. } | Followed::Places { .. } => {
                    format!("{pointer}: elements")
                }
                Followed::Tail(Tail { count: None, .. }) => format!("{pointer}: text"),
                Followed::Tail(_) | Followed::Block(_) => format!("{pointer}: elements"),
                Followed::Edges(_) => format!("*{pointer}: edges"),
                Followed::Blocks(_) => format!("{pointer}: table of blocks"),
                Followed::Bytes(_) => format!("{pointer}: bytes"),
                Followed::Front { .. } => format!("{pointer}: in front of it"),
                Followed::Node(_) => format!("*{pointer}: node"),
                Followed::Paired { length, .. } => format!("{pointer}: as many as argument {} says", length + 1),
                Followed::Value(ty) => format!("*{pointer}: {}", self.types.get(*ty).name),
            };
            // Writing to a string does not fail.
            let _ = writeln!(text, "{:1$}{what_it_is} = #{step}", "", self.indent);
            let inner = Self { indent: self.indent + 2, ..*self };
            inner.describe(text, behind, &Holder::behind(&pointer, *what, self.types));
        }
    }
}

fn describe_piece(piece: &PieceSource) -> String {
    let size = piece.size;
    match &piece.source {
        Source::Step { step, skip } => format!("#{step}[{skip}..{}]", skip + size),
        Source::Constant(bytes) => format!("{size} known bytes {bytes:02x?}"),
        Source::OptimizedOut => format!("{size} bytes optimized out"),
        Source::Unavailable(reason) => format!("{size} bytes {reason}"),
    }
}

fn describe_exits(plan: &FunctionPlan) -> String {
    let mut text = match &plan.exits {
        Exits::Trampoline => "exits by trampoline".to_owned(),
        Exits::Instructions(sites) => {
            let sites = sites
                .iter()
                .map(|site| format!("{} {:#x}", if site.tail_jump { "jump" } else { "ret" }, site.offset.0));
            format!("exits at {}", sites.collect::<Vec<_>>().join(", "))
        }
        Exits::Unseen(reason) => format!("exits unseen: {reason}"),
    };
    if let Some(reason) = &plan.unseen_exits {
        text.push_str("; ");
        text.push_str(reason);
    }
    if !plan.turns.is_empty() {
        let turns = plan.turns.iter().map(|turn| format!("{:#x}", turn.offset.0));
        text.push_str(&format!("; turns at {}", turns.collect::<Vec<_>>().join(", ")));
    }
    text
}
