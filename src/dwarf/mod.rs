//! Debug info in; functions with parameters, types, locations and lines out, as values that no longer borrow the file.
//!
//! It is read in two passes, since there may be much more of it than anybody asks for: [`DebugInfo::functions`] lists what has code,
//! with what one must know to choose; [`DebugInfo::describe`] then describes the chosen functions and their types in full.

mod describe;
mod expression;
mod frame;
pub mod function;
mod heirs;
mod inlined;
mod lines;
mod listing;
mod location;
mod location_list;
mod lookup;
mod members;
mod named;
mod names;
mod spelling;
mod type_builder;
pub mod types;
mod units;
pub mod unwind;
pub mod variables;

use std::sync::OnceLock;

use gimli::{DwarfSections, SectionId};

pub use self::inlined::Activation;
pub use self::listing::Listed;
pub use self::names::demangle;
pub use self::units::DieRef;

use self::frame::{FrameSections, Frames};
use self::function::{Function, SourceLine, SourcePosition};
use self::heirs::Heirs;
use self::type_builder::TypeBuilder;
use self::types::TypeTable;
use self::units::Units;
use self::unwind::UnwindRow;
use crate::address::Svma;
use crate::binary::{Binary, BinaryError, DebugFiles, DebugFilesError, SectionBytes};

/// Why debug info that is there cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum DwarfError {
    /// It is in other files, and one of them is missing.
    #[error(transparent)]
    Files(#[from] DebugFilesError),
    /// A section of it cannot be read.
    #[error(transparent)]
    Binary(#[from] BinaryError),
}

impl DwarfError {
    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Files(error) => error.hint(),
            Self::Binary(error) => error.hint(),
        }
    }
}

/// The sections that [`DebugInfo`] reads.
#[derive(Debug, Default)]
pub struct DebugSections {
    main: DwarfSections<SectionBytes>,
    supplementary: Option<DwarfSections<SectionBytes>>,
    frames: FrameSections,
    has_debug_info: bool,
}

impl DebugSections {
    /// The sections of `binary`, or of the files that its debug info was split off to.
    pub fn load(binary: &Binary) -> Result<Self, DwarfError> {
        let Some(files) = DebugFiles::find(binary)? else { return Ok(Self::without_debug_info(binary)) };
        Ok(Self {
            main: load(&files.main)?,
            supplementary: files.supplementary.as_ref().map(load).transpose()?,
            frames: FrameSections::load(binary, &files.main),
            has_debug_info: true,
        })
    }

    /// What is left of a program without debug info, or with debug info that cannot be read: its frames.
    #[must_use]
    pub fn without_debug_info(binary: &Binary) -> Self {
        Self { frames: FrameSections::load(binary, binary), ..Self::default() }
    }

    /// Whether there is debug info.
    #[must_use]
    pub fn has_debug_info(&self) -> bool {
        self.has_debug_info
    }
}

fn load(file: &Binary) -> Result<DwarfSections<SectionBytes>, BinaryError> {
    DwarfSections::load(|id| match id {
        // Nobody looks at these: spare their decompression.
        SectionId::DebugMacinfo | SectionId::DebugMacro | SectionId::DebugNames | SectionId::DebugAranges => {
            Ok(SectionBytes::default())
        }
        id => Ok(file.section(id.name())?.unwrap_or_default()),
    })
}

/// The debug info of one program or library.
#[derive(Debug)]
pub struct DebugInfo<'a> {
    binary: &'a Binary,
    sections: &'a DebugSections,
    units: Units<'a>,
    frames: OnceLock<Frames<'a>>,
    functions: OnceLock<Vec<Listed>>,
    heirs: OnceLock<Heirs>,
    calls: variables::Calls<'a>,
}

/// What an address belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodeLocation {
    /// The function, demangled.
    pub function: Option<String>,
    /// The line. It may be of another function that was inlined.
    pub line: Option<SourceLine>,
}

impl<'a> DebugInfo<'a> {
    /// Reads what all units have in common; everything else is read when it is asked for.
    #[must_use]
    pub fn parse(binary: &'a Binary, sections: &'a DebugSections) -> Self {
        let units = Units::parse(&sections.main, sections.supplementary.as_ref());
        Self {
            binary,
            sections,
            units,
            frames: OnceLock::new(),
            functions: OnceLock::new(),
            heirs: OnceLock::new(),
            calls: variables::Calls::default(),
        }
    }

    /// What of the debug info could not be read, as clauses.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let split = self.units.numbers().filter(|&unit| self.units.get(unit).is_split).count();
        let damaged = self.units.damaged;
        let mut problems = Vec::new();
        if damaged > 0 {
            problems.push(format!("{damaged} of its compilation units cannot be read: they are damaged"));
        }
        if split > 0 {
            problems.push(format!(
                "{split} of its compilation units are in files of their own (`-gsplit-dwarf`), which are not read"
            ));
        }
        problems
    }

    /// All functions that have code, by address.
    pub fn functions(&self) -> &[Listed] {
        self.functions.get_or_init(|| listing::list(&self.units, self.binary, &self.binary.function_symbols()))
    }

    /// Describes the chosen functions, and adds the types that they need.
    pub fn describe<'l>(&self, chosen: impl IntoIterator<Item = &'l Listed>, types: &mut TypeTable) -> Vec<Function> {
        let mut builder = TypeBuilder::new(&self.units, &self.heirs, types);
        let chosen = chosen.into_iter();
        let functions = chosen.filter_map(|listed| describe::describe(self, &mut builder, listed));
        let functions = functions.collect();
        builder.finish();
        functions
    }

    /// CFA minus stack pointer at `address`, from the call frame information.
    #[must_use]
    pub fn cfa_offset_at(&self, address: Svma) -> Option<i64> {
        self.frames().cfa_offset_at(address)
    }

    /// DWARF number of the stack pointer.
    fn stack_pointer(&self) -> u16 {
        self.frames().stack_pointer()
    }

    /// How to get from `address` to its caller, from the call frame information.
    #[must_use]
    pub fn unwind_row_at(&self, address: Svma) -> Option<UnwindRow<'a>> {
        self.frames().row_at(address)
    }

    /// What is being executed at `address`: the innermost inlined function first, the function that has the code last. Empty where debug
    /// info does not know.
    #[must_use]
    pub fn activations_at(&self, address: Svma) -> Vec<Activation> {
        self.units.unit_at(address).map(|unit| self.units.activations_at(unit, address)).unwrap_or_default()
    }

    /// The line and the column of `address`.
    #[must_use]
    pub fn position_at(&self, address: Svma) -> Option<SourcePosition> {
        self.units.position_of(self.units.unit_at(address)?, address)
    }

    /// The file.
    #[must_use]
    pub fn binary(&self) -> &'a Binary {
        self.binary
    }

    fn frames(&self) -> &Frames<'a> {
        self.frames.get_or_init(|| Frames::parse(&self.sections.frames, self.binary.machine()))
    }

    /// The function and the line of `address`. Where debug info does not know, the symbol table may still know the function.
    #[must_use]
    pub fn source_line(&self, address: Svma) -> Option<CodeLocation> {
        let unit = self.units.unit_at(address);
        let line = unit.and_then(|unit| self.units.line_of(unit, address));
        let function = unit.and_then(|unit| self.units.function_at(unit, address)).and_then(|entry| {
            let functions = self.functions();
            let index = functions.binary_search_by_key(&entry, |function| function.entry).ok()?;
            Some(functions[index].name.clone())
        });
        let function = function.or_else(|| self.symbol_around(address));
        (function.is_some() || line.is_some()).then_some(CodeLocation { function, line })
    }

    fn symbol_around(&self, address: Svma) -> Option<String> {
        let symbols = self.binary.function_symbols();
        let around = symbols.iter().find(|symbol| {
            address.0.checked_sub(symbol.address.0).is_some_and(|distance| distance < symbol.size)
                && !symbol.name.is_empty()
        })?;
        Some(demangle(around.name).unwrap_or_else(|| around.name.to_owned()))
    }
}

#[cfg(test)]
mod tests;
