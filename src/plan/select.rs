//! Which functions to probe: a program and the user's choice in, functions with their types out.
//!
//! Without a choice, these are the functions of the program whose source belongs to it. A program without debug info has no
//! sources: then they are all of its function symbols but those of the C runtime's start files. In a static executable without
//! debug info that includes the C library, which nothing tells from the program.

mod candidate;
mod choice;
mod error;
pub(crate) mod origin;
mod pattern;

pub use self::error::SelectError;
pub use self::pattern::NamePattern;

use self::candidate::{Candidate, candidates};
use self::choice::Choice;
use self::origin::{is_program_source, is_standard_name, is_startup};
use super::Skipped;
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

    let mut candidates = candidates(binary, info.functions());
    let default = DefaultChoice::of(index == 0, info.functions());
    candidates.retain_mut(|candidate| choice.is_chosen(candidate, &default));

    let (described, others): (Vec<_>, Vec<_>) = candidates.iter().partition(|candidate| candidate.described.is_some());
    let functions = info.describe(described.iter().filter_map(|candidate| candidate.described), &mut selected.types);
    for function in functions {
        let entry = function.ranges.first().map(|range| range.start);
        // A description that could be listed, but not read again, is missing from `functions`: damage.
        let Ok(at) = described.binary_search_by_key(&entry, |candidate| candidate.address()) else { continue };
        selected.functions.push(SelectedFunction { object: index, function: described[at].called(function) });
    }
    for candidate in others {
        match candidate.refusal() {
            Some(reason) => {
                selected.skipped.push(Skipped { function: candidate.name.clone(), reason: reason.to_owned() })
            }
            None => {
                let function = candidate.function(&info).map(|function| candidate.called(function));
                selected.functions.extend(function.map(|function| SelectedFunction { object: index, function }));
            }
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
    /// What other files can call.
    Exports,
}

impl DefaultChoice {
    fn of(is_program: bool, described: &[Listed]) -> Self {
        match is_program {
            true if described.iter().any(is_own) => Self::OwnSources,
            true => Self::Symbols,
            false => Self::Exports,
        }
    }

    fn holds(&self, candidate: &mut Candidate) -> bool {
        match self {
            Self::OwnSources => candidate.described.is_some_and(is_own),
            Self::Symbols => {
                candidate.described.is_none() && !is_startup(candidate.symbol()) && !is_standard_name(&candidate.name)
            }
            Self::Exports => {
                candidate.ask_for_export();
                candidate.is_exported() && !is_startup(candidate.symbol())
            }
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
