//! Which functions to probe: a program and the user's choice in, functions with their types out.
//!
//! Without a choice, these are the functions of the program whose source belongs to it. A program without debug info has no
//! sources: then they are all of its function symbols but those of the C runtime's start files. In a static executable without
//! debug info that includes the C library, which nothing tells from the program.

mod candidate;
mod choice;
mod error;
mod origin;
mod pattern;

pub use self::error::SelectError;

use self::candidate::{Candidate, symbols};
use self::choice::Choice;
use self::origin::{is_program_source, is_standard_name, is_startup};
use super::Skipped;
use crate::address::Svma;
use crate::binary::{Binary, find_library};
use crate::dwarf::function::Function;
use crate::dwarf::types::TypeTable;
use crate::dwarf::{DebugInfo, DebugSections, Listed};

/// What the user chose.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Globs on names; those that begin with `!` exclude.
    pub functions: Vec<String>,
    /// Globs on the paths of source files.
    pub sources: Vec<String>,
    /// Names or paths of shared libraries.
    pub libraries: Vec<String>,
}

/// What was chosen, described.
#[derive(Clone, Debug)]
pub struct Selected {
    /// The files that hold the functions; the program is the first.
    pub objects: Vec<Binary>,
    /// The functions, by file and address.
    pub functions: Vec<SelectedFunction>,
    /// Their types.
    pub types: TypeTable,
    /// What was chosen and cannot be probed.
    pub skipped: Vec<Skipped>,
    /// What of the debug info could not be read, as sentences for the user.
    pub notes: Vec<String>,
}

/// A function, and which file it is in.
#[derive(Clone, Debug)]
pub struct SelectedFunction {
    /// Index in [`Selected::objects`].
    pub object: usize,
    /// What is known of it.
    pub function: Function,
}

/// Selects functions of `program` and of the libraries that the user named.
pub fn select(program: Binary, selection: &Selection) -> Result<Selected, SelectError> {
    let mut choice = Choice::new(selection)?;
    let libraries: Result<Vec<_>, _> = selection.libraries.iter().map(|name| find_library(name, &program)).collect();
    let mut objects = vec![program];
    objects.extend(libraries?);
    let mut selected = Selected {
        objects: Vec::new(),
        functions: Vec::new(),
        types: TypeTable::default(),
        skipped: Vec::new(),
        notes: Vec::new(),
    };
    for (index, binary) in objects.iter().enumerate() {
        select_from(index, binary, &mut choice, &mut selected);
    }
    choice.check(&objects[0], &selected)?;
    selected.objects = objects;
    Ok(selected)
}

/// Adds the chosen functions of one file.
fn select_from(index: usize, binary: &Binary, choice: &mut Choice, selected: &mut Selected) {
    let sections = DebugSections::load(binary).unwrap_or_else(|error| {
        selected.notes.push(format!("the debug info of `{}` is not used: {error}", binary.path().display()));
        DebugSections::without_debug_info(binary)
    });
    let info = DebugInfo::parse(binary, &sections);
    let problems = info.problems().into_iter();
    let path = binary.path().display();
    selected.notes.extend(problems.map(|problem| format!("of the debug info of `{path}`, {problem}")));

    let described: Vec<Candidate> = info.functions().iter().map(Candidate::Described).collect();
    let mut candidates = [described, symbols(binary, info.functions())].concat();
    candidates.sort_by_key(Candidate::address);
    let default = DefaultChoice::of(binary, index == 0, info.functions());
    candidates.retain(|candidate| choice.is_chosen(candidate, &default));

    let listed = candidates.iter().filter_map(Candidate::described);
    let functions = info.describe(listed, &mut selected.types).into_iter();
    selected.functions.extend(functions.map(|function| SelectedFunction { object: index, function }));
    for symbol in candidates.iter().filter_map(Candidate::symbol) {
        match symbol.refusal() {
            Some(reason) => selected.skipped.push(Skipped { function: symbol.name.clone(), reason: reason.to_owned() }),
            None => selected.functions.push(SelectedFunction { object: index, function: symbol.function(&info) }),
        }
    }
    selected.functions.sort_by_key(|it| (it.object, it.function.ranges.first().map(|range| range.start)));
}

/// What is selected from a file when the user does not say.
enum DefaultChoice {
    /// Functions whose source belongs to the program.
    OwnSources,
    /// All symbols but those of the start files, where the program itself has no debug info.
    Symbols,
    /// What other files can call: the addresses.
    Exports(Vec<Svma>),
}

impl DefaultChoice {
    fn of(binary: &Binary, is_program: bool, described: &[Listed]) -> Self {
        if !is_program {
            let symbols =
                binary.function_symbols().into_iter().filter(|symbol| symbol.is_exported && !symbol.is_indirect);
            return Self::Exports(symbols.map(|symbol| symbol.address).collect());
        }
        if described.iter().any(is_own) { Self::OwnSources } else { Self::Symbols }
    }

    fn holds(&self, candidate: &Candidate) -> bool {
        match self {
            Self::OwnSources => candidate.described().is_some_and(is_own),
            Self::Symbols => {
                let symbol = candidate.symbol().filter(|symbol| !is_startup(symbol.symbol.name));
                symbol.is_some_and(|symbol| !is_standard_name(&symbol.name))
            }
            Self::Exports(_) if is_startup(candidate.symbol_name()) => false,
            Self::Exports(addresses) => match candidate {
                Candidate::Described(listed) => addresses.binary_search(&listed.entry).is_ok(),
                Candidate::Symbol(symbol) => symbol.symbol.is_exported,
            },
        }
    }
}

/// Whether somebody wrote this function for the program.
fn is_own(listed: &Listed) -> bool {
    let file = listed.declared.as_ref().map(|(file, _)| file);
    !listed.artificial && !is_startup(&listed.symbol) && file.is_some_and(|file| is_program_source(file))
}

#[cfg(test)]
mod tests;
