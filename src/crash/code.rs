//! What is known of the code at an address of a dead process: modules in; unwind rows, functions and lines out.

use std::cell::{OnceCell, RefCell};
use std::cmp::Reverse;
use std::collections::HashMap;
use std::rc::Rc;

use super::decode::Symbols;
use super::modules::{Module, ModuleMap, ModuleProblem};
use crate::address::{Avma, Svma};
use crate::arch::Architecture;
use crate::binary::{Binary, FunctionSymbol};
use crate::dwarf::function::SourcePosition;
use crate::dwarf::unwind::UnwindRow;
use crate::dwarf::{Activation, DebugInfo, demangle};

/// Bytes of the longest instruction, more or less.
const INSTRUCTION_BYTES: u64 = 16;
/// Code of one function that is looked at, at the most.
const MAX_FUNCTION_BYTES: u64 = 1 << 20;
/// Modules next to an address that may have it as data: one on each side, and one that may lie in between.
const NEIGHBOURS: usize = 3;
/// Symbols before an address that are looked at for one that reaches it.
const MAX_NESTED: usize = 64;

/// The code of a dead process. What was looked up once is remembered: many threads stand at the same places.
pub struct Code<'m> {
    /// The modules.
    pub modules: &'m ModuleMap,
    /// The architecture.
    pub arch: &'static dyn Architecture,
    info: Vec<OnceCell<Option<ModuleInfo<'m>>>>,
    rows: RefCell<HashMap<Avma, Option<Rc<UnwindRow<'m>>>>>,
    functions: RefCell<HashMap<Avma, Rc<Vec<Function>>>>,
    variables: RefCell<HashMap<Avma, Option<String>>>,
}

struct ModuleInfo<'m> {
    binary: &'m Binary,
    debug: DebugInfo<'m>,
    /// By address.
    symbols: OnceCell<Vec<FunctionSymbol<'m>>>,
}

/// A function that was being executed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Function {
    /// Demangled, without parameters.
    pub name: Option<String>,
    /// The linker's name.
    pub symbol: Option<String>,
    /// Where it stood.
    pub position: Option<SourcePosition>,
    /// Its code was inlined into the next one's.
    pub is_inlined: bool,
    /// Its first instruction, as its file has it; `None` for an inlined one.
    pub entry: Option<Svma>,
    /// Where debug info describes it.
    pub die: Option<crate::dwarf::DieRef>,
}

impl<'m> Code<'m> {
    /// The code of these modules.
    #[must_use]
    pub fn new(modules: &'m ModuleMap, arch: &'static dyn Architecture) -> Self {
        let info = modules.modules().iter().map(|_| OnceCell::new()).collect();
        Self {
            modules,
            arch,
            info,
            rows: RefCell::default(),
            functions: RefCell::default(),
            variables: RefCell::default(),
        }
    }

    /// The module that `address` was in, and the address in its file.
    #[must_use]
    pub fn module_at(&self, address: Avma) -> Option<(&'m Module, Svma)> {
        let (number, svma) = self.modules.find(address)?;
        Some((&self.modules.modules()[number], svma))
    }

    /// Why nothing is known of the code at `address`, if its module is the reason.
    #[must_use]
    pub fn problem_at(&self, address: Avma) -> Option<&'m ModuleProblem> {
        self.module_at(address)?.0.file().err()
    }

    /// The debug info of the module that `address` was in.
    #[must_use]
    pub fn debug_info_at(&self, address: Avma) -> Option<(&DebugInfo<'m>, Svma)> {
        self.info_at(address).map(|(info, svma)| (&info.debug, svma))
    }

    fn info_at(&self, address: Avma) -> Option<(&ModuleInfo<'m>, Svma)> {
        let (number, svma) = self.modules.find(address)?;
        let info = self.info.get(number)?.get_or_init(|| {
            let (binary, sections) = self.modules.modules()[number].file().ok()?;
            Some(ModuleInfo { binary, debug: DebugInfo::parse(binary, sections), symbols: OnceCell::new() })
        });
        Some((info.as_ref()?, svma))
    }

    /// Whether `address` was mapped as code.
    #[must_use]
    pub fn is_code(&self, address: Avma) -> bool {
        self.module_at(address).is_some_and(|(module, _)| module.is_executable(address))
    }

    /// Whether the instruction before `address` is a call; `None` where it cannot be read.
    #[must_use]
    pub fn follows_call(&self, address: Avma) -> Option<bool> {
        let (info, svma) = self.info_at(address)?;
        let start = (1..=INSTRUCTION_BYTES).rev().map(|before| Svma(svma.0.saturating_sub(before)));
        let mut before = start.filter_map(|start| info.binary.code(start..svma));
        Some(self.arch.ends_with_call(before.next()?))
    }

    /// The instruction at `address` and what follows it; empty where it cannot be read.
    #[must_use]
    pub fn bytes_at(&self, address: Avma) -> &'m [u8] {
        let Some((info, svma)) = self.info_at(address) else { return &[] };
        let end = (1..=INSTRUCTION_BYTES).rev().filter_map(|length| Some(Svma(svma.0.checked_add(length)?)));
        end.filter_map(|end| info.binary.code(svma..end)).next().unwrap_or_default()
    }

    /// The code of the function around `address`, as far as the symbol table knows where that ends, and where it begins.
    #[must_use]
    pub fn function_code_at(&self, address: Avma) -> Option<(Avma, &'m [u8])> {
        let (info, svma) = self.info_at(address)?;
        let symbols = info.symbols();
        let after = symbols.partition_point(|symbol| symbol.address <= svma);
        let around = symbols[..after].iter().rev().take(MAX_NESTED);
        let symbol = around.into_iter().find(|symbol| svma.0 - symbol.address.0 < symbol.size)?;
        let end = Svma(symbol.address.0.checked_add(symbol.size.min(MAX_FUNCTION_BYTES))?);
        let bias = self.module_at(address)?.0.mapped.bias;
        Some((bias.to_avma(symbol.address), info.binary.code(symbol.address..end)?))
    }

    /// The module that has `address` loaded, as code or data, and the address in its file.
    #[must_use]
    pub fn module_around(&self, address: Avma) -> Option<(&'m Binary, Svma)> {
        // Only code is told of by the kernel; data lies next to it. Not every file is opened to look for an address.
        let distance = |module: &&Module| {
            let segments = module.mapped.segments.iter().map(|segment| &segment.range);
            segments.map(|range| address.0.abs_diff(range.start.0).min(address.0.abs_diff(range.end.0))).min()
        };
        let mut nearest: Vec<&Module> = self.modules.modules().iter().collect();
        nearest.sort_by_key(distance);
        nearest.into_iter().take(NEIGHBOURS).find_map(|module| {
            let svma = module.mapped.bias.to_svma(address);
            let (binary, _) = module.file().ok()?;
            binary.is_loaded(svma).then_some((binary, svma))
        })
    }

    /// The function or variable at `address`: `main`, `table+0x10`. Nothing else is mapped where a module is.
    #[must_use]
    pub fn symbol_at(&self, address: Avma) -> Option<String> {
        let with_offset = |name: &str, offset: u64| match offset {
            0 => name.to_owned(),
            offset => format!("{name}+{offset:#x}"),
        };
        if self.is_code(address) {
            let functions = self.functions_at(address);
            let function = functions.last()?;
            let (_, svma) = self.module_at(address)?;
            return Some(with_offset(function.name.as_deref()?, svma.0.checked_sub(function.entry?.0)?));
        }
        if let Some(known) = self.variables.borrow().get(&address) {
            return known.clone();
        }
        let around = self.module_around(address);
        let found = around.as_ref().and_then(|(binary, svma)| binary.variable_around(*svma));
        let name = found.map(|(symbol, offset)| with_offset(&name_of_variable(symbol), offset));
        self.variables.borrow_mut().insert(address, name.clone());
        name
    }

    /// The bytes from `address` on, at most `length`, that the process can only have read: they are those of the file. Only files are
    /// looked at that have been opened for their code.
    #[must_use]
    pub fn constant_at(&self, address: Avma, length: usize) -> &'m [u8] {
        let opened = self.info.iter().zip(self.modules.modules());
        let opened = opened.filter_map(|(info, module)| Some((info.get()?.as_ref()?, module.mapped.bias)));
        let mut found = opened.map(|(info, bias)| info.binary.constant_at(bias.to_svma(address), length));
        found.find(|bytes| !bytes.is_empty()).unwrap_or_default()
    }

    /// How to get from `address` to its caller.
    #[must_use]
    pub fn unwind_row_at(&self, address: Avma) -> Option<Rc<UnwindRow<'m>>> {
        if let Some(known) = self.rows.borrow().get(&address) {
            return known.clone();
        }
        let row = self.info_at(address).and_then(|(info, svma)| info.debug.unwind_row_at(svma)).map(Rc::new);
        self.rows.borrow_mut().insert(address, row.clone());
        row
    }

    /// What was being executed at `address`: inlined functions first, the one that has the code last. Empty where nothing is known.
    #[must_use]
    pub fn functions_at(&self, address: Avma) -> Rc<Vec<Function>> {
        if let Some(known) = self.functions.borrow().get(&address) {
            return Rc::clone(known);
        }
        let info = self.info_at(address).filter(|_| self.is_code(address));
        let found = info.map(|(info, svma)| info.functions_at(svma));
        let functions = Rc::new(found.unwrap_or_default());
        self.functions.borrow_mut().insert(address, Rc::clone(&functions));
        functions
    }
}

impl Symbols for Code<'_> {
    fn symbol_at(&self, at: Avma) -> Option<String> {
        self.symbol_at(at)
    }

    fn address_in_file(&self, at: Avma) -> Option<Svma> {
        self.module_around(at).map(|(_, svma)| svma)
    }
}

impl ModuleInfo<'_> {
    fn functions_at(&self, address: Svma) -> Vec<Function> {
        let described = self.debug.activations_at(address);
        if described.is_empty() {
            return self.symbol_around(address).into_iter().collect();
        }
        described.into_iter().map(|activation| self.function(activation)).collect()
    }

    fn function(&self, of: Activation) -> Function {
        let symbol = of.entry.and_then(|entry| self.symbol_at(entry, of.symbol.as_deref())).or(of.symbol);
        let name = of.name.or_else(|| symbol.as_deref().map(name_of_symbol));
        let Activation { position, is_inlined, entry, die, .. } = of;
        Function { name, symbol, position, is_inlined, entry, die: Some(die) }
    }

    fn symbols(&self) -> &[FunctionSymbol<'_>] {
        self.symbols.get_or_init(|| self.binary.function_symbols())
    }

    /// The symbol at a function's entry: the one that debug info states, or else one that others can see.
    fn symbol_at(&self, entry: Svma, stated: Option<&str>) -> Option<String> {
        let symbols = self.symbols();
        let start = symbols.partition_point(|symbol| symbol.address < entry);
        let here = || symbols[start..].iter().take_while(|symbol| symbol.address == entry);
        let same = here().find(|symbol| Some(symbol.name) == stated);
        let found = same.or_else(|| here().find(|symbol| symbol.is_global)).or_else(|| here().next())?;
        Some(found.name.to_owned())
    }

    /// The function that the symbol table knows around `address`. A symbol without a size reaches to the next one.
    fn symbol_around(&self, address: Svma) -> Option<Function> {
        let symbols = self.symbols();
        let after = symbols.partition_point(|symbol| symbol.address <= address);
        let nearest = symbols[..after].last()?.address;
        let reaches = |symbol: &&FunctionSymbol| match symbol.size {
            0 => symbol.address == nearest,
            size => address.0 - symbol.address.0 < size,
        };
        let mut around = symbols[..after].iter().rev().take(MAX_NESTED).filter(reaches).peekable();
        let entry = around.peek()?.address;
        let best = around.take_while(|symbol| symbol.address == entry).max_by_key(|symbol| {
            let FunctionSymbol { name, size, is_global, is_weak, .. } = **symbol;
            (is_global, size, Reverse(is_reserved(name)), Reverse(is_weak), Reverse(name))
        })?;
        Some(Function {
            name: Some(name_of_symbol(best.name)),
            symbol: Some(best.name.to_owned()),
            entry: Some(entry),
            position: self.debug.position_at(address),
            ..Function::default()
        })
    }
}

/// Of two names for one function, a person wants `kill` and not `__kill`.
fn is_reserved(symbol: &str) -> bool {
    symbol.starts_with('_')
}

/// Compilers make variables of their own, which other tools call `vtable for Shape`.
fn name_of_variable(symbol: &str) -> String {
    let name = name_of_symbol(symbol);
    match name.strip_prefix("{vtable(").and_then(|rest| rest.strip_suffix(")}")) {
        Some(class) => format!("vtable for {class}"),
        None => name,
    }
}

fn name_of_symbol(symbol: &str) -> String {
    demangle(symbol).unwrap_or_else(|| symbol.to_owned())
}
