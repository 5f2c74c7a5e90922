//! A program and what is wanted of it in; a plan, and the files that it is for, out.

use rayon::prelude::*;

use super::capture::{self, Context, Limits, register_type};
use super::fragments::Fragments;
use super::pairs::Length;
use super::placement::EntryPlace;
use super::returns::{Returns, StackUse};
use super::select::{SelectError, Selected, Selection, select};
use super::{Plan, Skipped, tails};
use crate::address::FileOffset;
use crate::arch;
use crate::arch::code::Code;
use crate::arch::cost::Costs;
use crate::binary::Binary;
use crate::dwarf::function::Function;

/// What to capture of the functions.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// How much.
    pub limits: Limits,
    /// Whether their returns are asked for.
    pub returns: Returns,
    /// Whether what arguments point to is captured a second time, when the call returns.
    pub after: bool,
    /// Which arguments are the lengths of others, where their names do not say so.
    pub lengths: Vec<Length>,
    /// What probes cost here; the table of defaults where nobody has measured it.
    pub costs: Option<Costs>,
    /// Where the probes of entries may stand.
    pub entry_place: EntryPlace,
}

/// A plan, and the files that it is for.
pub struct Prepared {
    /// What to probe.
    pub plan: Plan,
    /// The files, in the order of [`Plan::objects`].
    pub binaries: Vec<Binary>,
    /// What of the debug info could not be read, as sentences for the user.
    pub notes: Vec<String>,
}

/// Plans the recording of a program.
///
/// # Errors
/// If nothing in it is what was asked for.
pub fn prepare(program: Binary, selection: &Selection, options: &Options) -> Result<Prepared, SelectError> {
    let mut selected = select(program, selection)?;
    let mut types = std::mem::take(&mut selected.types);
    let register_type = register_type(&mut types);
    tails::note_lengths(selected.functions.iter().map(|chosen| &chosen.function), &options.lengths, &mut types);
    let stack_use = stack_use(&selected);
    let costs = options.costs.clone().unwrap_or_else(|| Costs::defaults(arch::host()));
    let context = Context {
        arch: arch::host(),
        types: &types,
        fragments: &Fragments::new(&types),
        register_type,
        limits: options.limits,
        lengths: &options.lengths,
        returns: options.returns,
        after: options.after,
        stack_use: &stack_use,
        costs: &costs,
        entry_place: options.entry_place,
    };
    let compiled: Vec<Result<_, Skipped>> = selected
        .functions
        .par_iter()
        .map(|chosen| compile(&chosen.function, chosen.object, &selected.objects[chosen.object], &context))
        .collect();
    let mut plan = Plan {
        objects: selected.objects.iter().map(|binary| binary.path().to_owned()).collect(),
        skipped: selected.skipped,
        ..Plan::default()
    };
    for result in compiled {
        match result {
            Ok(function) => plan.functions.push(function),
            Err(skipped) => plan.skipped.push(skipped),
        }
    }
    plan.types = types;
    Ok(Prepared { plan, binaries: selected.objects, notes: selected.notes })
}

fn compile(
    function: &Function,
    object: usize,
    binary: &Binary,
    context: &Context<'_>,
) -> Result<super::FunctionPlan, Skipped> {
    let bytes_of = |range: &std::ops::Range<_>| -> Option<(FileOffset, &[u8])> {
        Some((binary.file_offset_of(range.start)?, binary.code(range.clone())?))
    };
    let code = Code::read(&function.ranges, bytes_of)
        .map_err(|error| Skipped { function: function.name.clone(), reason: error.to_string() })?;
    capture::compile(function, object, &code.in_file(binary), context)
}

/// Judged over all files together: an exception that one of them throws passes through the frames of the others.
fn stack_use(selected: &Selected) -> StackUse {
    let program = &selected.objects[0];
    // What has no debug info in a program that has some is start-up code and the like. Without any, everything counts.
    let has_debug_info = selected.functions.iter().any(|chosen| !chosen.function.from_symbol_table);
    let counts = |function: &&Function| !has_debug_info || !function.from_symbol_table;
    let languages = selected.functions.iter().map(|chosen| &chosen.function).filter(counts).map(|it| it.language);
    let symbols = selected.objects.iter().flat_map(|binary| {
        let defined = binary.function_symbols().into_iter().map(|symbol| symbol.name);
        defined.chain(binary.imports())
    });
    let needed = selected.objects.iter().flat_map(|binary| binary.needed().iter().map(String::as_str));
    StackUse::of_program(languages, symbols, needed, !program.has_interpreter())
}
