//! What could be selected: functions that debug info describes, and those that only the symbol table knows.

use std::path::Path;

use rayon::prelude::*;

use super::origin::is_cold_part;
use crate::address::Svma;
use crate::binary::{Binary, FunctionSymbol};
use crate::dwarf::function::{Function, Language};
use crate::dwarf::{DebugInfo, Listed, demangle};

/// A function that might be chosen.
#[derive(Clone, Debug)]
pub(super) enum Candidate<'a> {
    Described(&'a Listed),
    Symbol(Symbol<'a>),
}

/// A function that only the symbol table knows.
#[derive(Clone, Debug)]
pub(super) struct Symbol<'a> {
    pub(super) name: String,
    pub(super) symbol: FunctionSymbol<'a>,
}

/// Symbols at addresses that debug info does not describe, each address once.
pub(super) fn symbols<'a>(binary: &'a Binary, described: &[Listed]) -> Vec<Candidate<'a>> {
    let mut symbols = binary.function_symbols();
    symbols.retain(|symbol| {
        // The address of an indirect function is that of the code that chooses it.
        let is_described =
            !symbol.is_indirect && described.binary_search_by_key(&symbol.address, |listed| listed.entry).is_ok();
        !is_described && !is_cold_part(symbol.name) && !symbol.name.is_empty() && binary.is_code(symbol.address)
    });
    // Of several names for one function, the one that others use, and of those the plainest: `write` and not `__write`.
    let plainness = |name: &str| name.bytes().take_while(|&byte| byte == b'_').count();
    symbols.sort_by_key(|it| (it.address, it.size == 0, !it.is_exported, !it.is_global, plainness(it.name), it.name));
    symbols.dedup_by_key(|symbol| symbol.address);
    let named = |symbol: FunctionSymbol<'a>| {
        let name = demangle(symbol.name).unwrap_or_else(|| symbol.name.to_owned());
        Candidate::Symbol(Symbol { name, symbol })
    };
    symbols.into_par_iter().map(named).collect()
}

impl<'a> Candidate<'a> {
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Described(listed) => &listed.name,
            Self::Symbol(symbol) => &symbol.name,
        }
    }

    pub(super) fn symbol_name(&self) -> &str {
        match self {
            Self::Described(listed) => &listed.symbol,
            Self::Symbol(symbol) => symbol.symbol.name,
        }
    }

    pub(super) fn address(&self) -> Svma {
        match self {
            Self::Described(listed) => listed.entry,
            Self::Symbol(symbol) => symbol.symbol.address,
        }
    }

    pub(super) fn file(&self) -> Option<&Path> {
        self.described()?.declared.as_ref().map(|(file, _)| file.as_ref())
    }

    pub(super) fn described(&self) -> Option<&'a Listed> {
        match self {
            Self::Described(listed) => Some(listed),
            Self::Symbol(_) => None,
        }
    }

    pub(super) fn symbol(&self) -> Option<&Symbol<'a>> {
        match self {
            Self::Described(_) => None,
            Self::Symbol(symbol) => Some(symbol),
        }
    }
}

impl Symbol<'_> {
    /// Why it cannot be probed.
    pub(super) fn refusal(&self) -> Option<&'static str> {
        if self.symbol.is_indirect {
            return Some(
                "its code is chosen when the program starts (an indirect function): probe the variant by its own name",
            );
        }
        (self.symbol.size == 0).then_some("the symbol table does not say where it ends")
    }

    pub(super) fn function(&self, info: &DebugInfo) -> Function {
        let start = self.symbol.address;
        let end = Svma(start.0.saturating_add(self.symbol.size));
        let language = match self.symbol.name {
            symbol if demangle(symbol).is_none() => Language::Other,
            symbol if symbol.starts_with("_R") || symbol.contains("17h") => Language::Rust,
            _ => Language::Cpp,
        };
        Function {
            name: self.name.clone(),
            symbol: self.symbol.name.to_owned(),
            ranges: vec![start..end],
            declared: None,
            language,
            parameters: Vec::new(),
            return_type: None,
            frame_base: None,
            entry_cfa_offset: info.cfa_offset_at(start),
            from_symbol_table: true,
        }
    }
}
