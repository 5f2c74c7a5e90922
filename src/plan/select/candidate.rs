//! What could be selected: functions that debug info describes, and those that only the symbol table knows.

use std::path::Path;

use rayon::prelude::*;

use super::origin::{is_cold_part, split_part};
use super::pattern::NamePattern;
use crate::address::Svma;
use crate::binary::{Binary, FunctionSymbol};
use crate::dwarf::function::{Function, Language};
use crate::dwarf::{DebugInfo, Listed, demangle};

/// A function that might be chosen.
#[derive(Clone, Debug)]
pub(super) struct Candidate<'a> {
    /// Demangled.
    pub(super) name: String,
    /// All symbols at its entry, the one that others use first. One of them at least, or debug info.
    symbols: Vec<FunctionSymbol<'a>>,
    pub(super) described: Option<&'a Listed>,
    /// The symbol by which the user asked for it, where that is not its own name: libc's `malloc` is `__libc_malloc` in debug info.
    asked_for_as: Option<&'a str>,
}

/// All functions of `binary`, by address.
pub(super) fn candidates<'a>(binary: &'a Binary, described: &'a [Listed]) -> Vec<Candidate<'a>> {
    let mut symbols = binary.function_symbols();
    symbols.retain(|symbol| !is_cold_part(symbol.name) && !symbol.name.is_empty() && binary.is_code(symbol.address));
    // Of several names for one function, the one that others use, and of those the plainest: `write` and not `__write`.
    let plainness = |name: &str| name.bytes().take_while(|&byte| byte == b'_').count();
    symbols.sort_by_key(|it| {
        (it.address, it.is_indirect, it.size == 0, !it.is_exported, !it.is_global, plainness(it.name), it.name)
    });
    // The address of an indirect function is that of the code that chooses it, which is a function of its own.
    let key = |symbol: &FunctionSymbol| (symbol.address, symbol.is_indirect);
    let groups: Vec<&[FunctionSymbol]> = symbols.chunk_by(|left, right| key(left) == key(right)).collect();
    let at = |address: Svma| groups.binary_search_by_key(&(address, false), |group| key(&group[0])).ok();

    let known = described.par_iter().map(|listed| Candidate {
        name: listed.name.clone(),
        symbols: at(listed.entry).map_or_else(Vec::new, |index| groups[index].to_vec()),
        described: Some(listed),
        asked_for_as: None,
    });
    let is_described = |address: Svma| described.binary_search_by_key(&address, |listed| listed.entry).is_ok();
    let unknown = groups.par_iter().filter(|group| group[0].is_indirect || !is_described(group[0].address));
    let unknown = unknown.map(|group| Candidate {
        name: demangle(group[0].name).unwrap_or_else(|| group[0].name.to_owned()),
        symbols: group.to_vec(),
        described: None,
        asked_for_as: None,
    });
    let mut candidates: Vec<Candidate> = known.chain(unknown).collect();
    candidates.sort_by_key(Candidate::address);
    candidates
}

impl<'a> Candidate<'a> {
    pub(super) fn symbol(&self) -> &str {
        match self.described {
            Some(listed) => &listed.symbol,
            None => self.symbols.first().map_or("", |symbol| symbol.name),
        }
    }

    pub(super) fn address(&self) -> Option<Svma> {
        self.described.map(|listed| listed.entry).or(self.symbols.first().map(|symbol| symbol.address))
    }

    pub(super) fn file(&self) -> Option<&'a Path> {
        self.described?.declared.as_ref().map(|(file, _)| file.as_ref())
    }

    /// Whether `pattern` means this function, by its name or by one of its symbols.
    pub(super) fn is_meant_by(&self, pattern: &NamePattern) -> bool {
        self.is_named_by(pattern) || self.alias_meant_by(pattern).is_some()
    }

    fn is_named_by(&self, pattern: &NamePattern) -> bool {
        pattern.is_name(&self.name) || pattern.is_symbol(self.symbol())
    }

    /// Has the function called by the symbol that one of the patterns means, unless one of them means its own name.
    pub(super) fn ask_for<'p>(&mut self, mut patterns: impl Iterator<Item = &'p NamePattern> + Clone) {
        if !patterns.clone().any(|pattern| self.is_named_by(pattern)) {
            self.asked_for_as = patterns.find_map(|pattern| self.alias_meant_by(pattern));
        }
    }

    fn alias_meant_by(&self, pattern: &NamePattern) -> Option<&'a str> {
        self.symbols.iter().map(|symbol| symbol.name).find(|name| pattern.is_symbol(name))
    }

    /// Whether other files can call it.
    pub(super) fn is_exported(&self) -> bool {
        self.symbols.iter().any(|symbol| symbol.is_exported)
    }

    /// Has the function called by the symbol that other files use.
    pub(super) fn ask_for_export(&mut self) {
        let exported = self.symbols.iter().filter(|symbol| symbol.is_exported);
        let names: Vec<&'a str> = exported.map(|symbol| symbol.name).collect();
        if !names.contains(&self.symbol()) {
            self.asked_for_as = names.first().copied();
        }
    }

    /// Why it cannot be probed.
    pub(super) fn refusal(&self) -> Option<&'static str> {
        let symbol = self.symbols.first().filter(|_| self.described.is_none())?;
        if symbol.is_indirect {
            return Some(
                "its code is chosen when the program starts (an indirect function): probe the variant by its own name",
            );
        }
        (symbol.size == 0).then_some("the symbol table does not say where it ends")
    }

    /// `function`, which is this one, by the name that the user asked for. What is only a part of a function says so, since the whole may call it.
    pub(super) fn called(&self, mut function: Function) -> Function {
        if let Some(part) = split_part(&function.symbol).filter(|part| !function.name.ends_with(part)) {
            function.name.push_str(part);
        }
        if let Some(symbol) = self.asked_for_as {
            function.name = demangle(symbol).unwrap_or_else(|| symbol.to_owned());
            function.symbol = symbol.to_owned();
        }
        let described = self.described.iter().flat_map(|listed| std::iter::once(&listed.name).chain(&listed.folded));
        let others: Vec<&String> = described.filter(|&name| *name != function.name).collect();
        match others[..] {
            // Nobody can tell which of them a call was meant for.
            [other] if self.is_folded() => function.name.push_str(&format!(" or {other}")),
            [_, ..] if self.is_folded() => function.name.push_str(&format!(" or {} others", others.len())),
            _ => {}
        }
        function
    }

    /// Whether it shares its code with functions of other names.
    fn is_folded(&self) -> bool {
        self.described.is_some_and(|listed| !listed.folded.is_empty())
    }

    /// What the symbol table alone says of it.
    pub(super) fn function(&self, info: &DebugInfo) -> Option<Function> {
        let symbol = self.symbols.first()?;
        let end = Svma(symbol.address.0.saturating_add(symbol.size));
        let language = match symbol.name {
            name if demangle(name).is_none() => Language::Other,
            name if name.starts_with("_R") || name.contains("17h") => Language::Rust,
            _ => Language::Cpp,
        };
        Some(Function {
            name: self.name.clone(),
            symbol: symbol.name.to_owned(),
            ranges: vec![symbol.address..end],
            declared: None,
            language,
            parameters: Vec::new(),
            return_type: None,
            frame_base: None,
            entry_cfa_offset: info.cfa_offset_at(symbol.address),
            from_symbol_table: true,
        })
    }
}
