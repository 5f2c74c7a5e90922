//! A plan as text, for people who want to know what is captured, and for tests.

use std::fmt::Write;

use lastwords_abi::Step;
use lastwords_abi::step::{COUNTED, FOLLOW, MEMORY, REGISTER, STRING};

use super::{ArgumentPlan, Exits, FunctionPlan, PieceSource, ReturnPlace, Source};
use crate::arch::Architecture;
use crate::dwarf::types::TypeTable;

/// The plan of one function, a line each for its entry, its steps, its arguments, its result and its exits.
///
/// ```text
/// test at 0x1139, entered at 0x113a, CFA = sp + 8
///   #0 rdi
///   #1 string at [0], 256 bytes at most
///   const char * str = #0[0..8]; text of [0] = #1
///   returns int, 4 bytes
///   exits by trampoline
/// ```
#[must_use]
pub fn describe(plan: &FunctionPlan, types: &TypeTable, arch: &dyn Architecture) -> String {
    let mut text = format!(
        "{} at {}, entered at {}, CFA = sp + {}\n",
        plan.name, plan.address, plan.entry.address, plan.entry.cfa_offset
    );
    for (index, step) in plan.steps.iter().enumerate() {
        line(&mut text, &format!("#{index} {}", describe_step(step, arch)));
    }
    for argument in &plan.arguments {
        line(&mut text, &describe_argument(argument, types));
    }
    if let Some(returns) = &plan.returns {
        let place = match &returns.place {
            ReturnPlace::Integer { size } => format!("{size} bytes"),
            ReturnPlace::Unavailable(reason) => reason.clone(),
        };
        line(&mut text, &format!("returns {}, {place}", types.get(returns.ty).name));
    }
    line(&mut text, &describe_exits(plan));
    text
}

fn line(text: &mut String, line: &str) {
    // Writing to a string does not fail.
    let _ = writeln!(text, "  {line}");
}

fn describe_step(step: &Step, arch: &dyn Architecture) -> String {
    let (base, size, offset) = (step.base, step.size, step.offset);
    match step.op {
        REGISTER => word_name(step.register, arch),
        MEMORY => format!("{size} bytes at {}{offset:+}", word_name(step.register, arch)),
        FOLLOW => format!("{size} bytes at [{base}]{offset:+}"),
        STRING => format!("string at [{base}], {size} bytes at most"),
        COUNTED => format!("[{}] times {} bytes at [{base}], {size} bytes at most", step.count, step.element),
        other => format!("unknown step {other}"),
    }
}

fn word_name(word: u8, arch: &dyn Architecture) -> String {
    let known = arch.report_registers().iter().find(|(_, of)| *of == word);
    known.map_or_else(|| format!("word {word}"), |(name, _)| (*name).to_owned())
}

fn describe_argument(argument: &ArgumentPlan, types: &TypeTable) -> String {
    let pieces: Vec<String> = argument.pieces.iter().map(describe_piece).collect();
    let follows: String =
        argument.follows.iter().map(|follow| format!("; text of [{}] = #{}", follow.at, follow.step)).collect();
    let name = argument.name.as_deref().unwrap_or("?");
    let guessed = if argument.guessed { " (guessed)" } else { "" };
    format!("{} {name} = {}{follows}{guessed}", types.get(argument.ty).name, pieces.join(" + "))
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
    text
}
