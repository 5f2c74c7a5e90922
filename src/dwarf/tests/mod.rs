//! Programs that each compiler makes, and what is read from them.

mod c;
mod damage;
mod files;
mod languages;
mod location;
mod variables;

use crate::binary::fixture::{Fixture, run};
use crate::dwarf::function::{FrameBase, Function, Language, Location, Parameter, Piece, Place};
use crate::dwarf::types::{Type, TypeKind};
use crate::dwarf::*;

/// DWARF's numbers for the registers of integer arguments (x86-64 psABI, figure 3.36): rdi, rsi, rdx, rcx, r8, r9.
const ARGUMENTS: [u16; 6] = [5, 4, 1, 2, 8, 9];

struct Described {
    fixture: Fixture,
    functions: Vec<Function>,
    types: TypeTable,
}

impl Described {
    fn new(compiler: &str, options: &[&str], source: &str) -> Self {
        Self::of(Fixture::compile(compiler, options, source))
    }

    fn of(fixture: Fixture) -> Self {
        let binary = Binary::open(&fixture.program()).unwrap();
        let sections = DebugSections::load(&binary).unwrap();
        let info = DebugInfo::parse(&binary, &sections);
        assert_eq!(info.problems(), [""; 0]);
        let mut types = TypeTable::default();
        let functions = info.describe(info.functions(), &mut types);
        Self { fixture, functions, types }
    }

    fn function(&self, name: &str) -> &Function {
        let names: Vec<_> = self.functions.iter().map(|function| &function.name).collect();
        self.functions
            .iter()
            .find(|function| function.name == name)
            .unwrap_or_else(|| panic!("no `{name}` in {names:?}"))
    }

    fn parameter(&self, function: &str, name: &str) -> &Parameter {
        let found = self.function(function).parameters.iter().find(|parameter| parameter.name.as_deref() == Some(name));
        found.unwrap_or_else(|| panic!("`{function}` has no parameter `{name}`"))
    }

    fn ty(&self, function: &str, name: &str) -> &Type {
        self.types.get(self.parameter(function, name).ty)
    }

    /// `name: type` of each parameter.
    fn signature(&self, function: &str) -> Vec<String> {
        let parameters = self.function(function).parameters.iter();
        parameters.map(|it| format!("{}: {}", it.name.as_deref().unwrap_or("?"), self.types.get(it.ty).name)).collect()
    }
}

fn whole(place: Place) -> Location {
    Location::Pieces(vec![Piece { size: None, place }])
}
