//! Small programs for tests: compiled here and now, with what their debug info says of one function.

use std::ops::Range;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use goblin::elf::Elf;
use lastwords_abi::step::{COUNTED, MEMORY, REGISTER, STRING};

use super::capture::{Context, Limits, compile, register_type};
use super::describe::describe;
use super::fragments::Fragments;
use super::placement::EntryPlace;
use super::returns::{Returns, StackUse};
use super::{ArgumentPlan, ExitSite, Exits, FunctionPlan, Skipped, Source};
use crate::address::{FileOffset, Svma};
use crate::arch::code::Code;
use crate::arch::cost::Costs;
use crate::arch::{self};
use crate::binary::Binary;
use crate::dwarf::function::{Function, Language};
use crate::dwarf::types::{Type, TypeId, TypeKind, TypeTable};
use crate::dwarf::{DebugInfo, DebugSections};

/// A compiled program.
#[derive(Clone)]
pub struct Program {
    bytes: Vec<u8>,
    /// Types of the parameters.
    pub types: TypeTable,
    /// Whether returns may be seen by the trampoline.
    pub stack_use: StackUse,
    /// Where the probes of entries may stand: most tests ask where arguments came in.
    pub entry_place: EntryPlace,
    /// Whether returns are asked for.
    pub returns: Returns,
    costs: Costs,
}

impl Program {
    /// Compiles C without a C library; what is not defined is at address 0.
    pub fn c(compiler: &str, flags: &str, source: &str) -> Self {
        let mut command = Command::new(compiler);
        command.args(["-g", "-no-pie", "-nostdlib", "-Wl,--unresolved-symbols=ignore-all", "-Wl,-e,0"]);
        command.args(flags.split_whitespace());
        Self::build(command, "program.c", source, Language::C)
    }

    /// Compiles a Rust library.
    pub fn rust(flags: &str, source: &str) -> Self {
        let mut command = Command::new("rustc");
        command.args(["--edition=2024", "--crate-type=cdylib", "-g"]).args(flags.split_whitespace());
        Self::build(command, "program.rs", source, Language::Rust)
    }

    fn build(mut command: Command, name: &str, source: &str, language: Language) -> Self {
        static BUILT: AtomicU32 = AtomicU32::new(0);
        let number = BUILT.fetch_add(1, Ordering::Relaxed);
        let directory = std::env::temp_dir().join(format!("lastwords-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join(name), source).unwrap();
        let output = command.arg(name).args(["-o", "program"]).current_dir(&directory).output().unwrap();
        let built = std::fs::read(directory.join("program"));
        std::fs::remove_dir_all(Path::new(&directory)).unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let stack_use = StackUse::of_program([language], [], [], false);
        let types = TypeTable::default();
        let (entry_place, returns) = (EntryPlace::First, Returns::Always);
        Self { bytes: built.unwrap(), types, stack_use, entry_place, returns, costs: Costs::defaults(arch::host()) }
    }

    /// The function of this name as its debug info describes it; but its parameters have these types.
    pub fn function(&self, name: &str, types: &[TypeId]) -> Function {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &self.bytes).unwrap();
        let binary = Binary::open(file.path()).unwrap();
        let sections = DebugSections::load(&binary).unwrap();
        let info = DebugInfo::parse(&binary, &sections);
        let listed = info.functions().iter().find(|listed| listed.entry == self.symbol_range(name).start);
        let mut function = info.describe(listed, &mut TypeTable::default()).remove(0);
        function.return_type = None;
        assert!(function.parameters.len() <= types.len(), "{:#?}", function.parameters);
        for (parameter, ty) in function.parameters.iter_mut().zip(types) {
            parameter.ty = *ty;
        }
        function
    }

    /// Where the symbol of this name lies.
    pub fn symbol_range(&self, name: &str) -> Range<Svma> {
        let elf = Elf::parse(&self.bytes).unwrap();
        let symbol = elf.syms.iter().find(|symbol| elf.strtab.get_at(symbol.st_name) == Some(name)).unwrap();
        Svma(symbol.st_value)..Svma(symbol.st_value + symbol.st_size)
    }

    /// Damages the bytes of a function from `distance` on.
    pub fn overwrite(&mut self, function: &Function, distance: usize, bytes: &[u8]) {
        let offset = self.file_offset_of(function.ranges[0].start).unwrap().0 as usize + distance;
        self.bytes[offset..offset + bytes.len()].copy_from_slice(bytes);
    }

    /// From now on: as on kernels that emulate nops of any length.
    pub fn all_nops_are_cheap(&mut self) {
        let classes = (0..).zip(arch::host().probe_classes()).filter(|(_, class)| class.name.contains("nop"));
        classes.for_each(|(index, _): (usize, _)| self.costs.class_ns[index] = 500);
    }

    /// What is in the file from there on.
    pub fn bytes_at(&self, offset: FileOffset) -> &[u8] {
        &self.bytes[offset.0 as usize..]
    }

    /// Where in the file an address is.
    pub fn file_offset_of(&self, address: Svma) -> Option<FileOffset> {
        let elf = Elf::parse(&self.bytes).unwrap();
        let holds = |header: &&goblin::elf::ProgramHeader| header.vm_range().contains(&(address.0 as usize));
        let segment = elf.program_headers.iter().find(holds)?;
        Some(FileOffset(address.0 - segment.p_vaddr + segment.p_offset))
    }

    /// Its plan.
    pub fn plan(&self, function: &Function) -> Result<FunctionPlan, Skipped> {
        let mut types = self.types.clone();
        let register_type = register_type(&mut types);
        let code = Code::read(&function.ranges, |range| {
            let offset = self.file_offset_of(range.start)?;
            let (start, size) = (offset.0 as usize, (range.end.0 - range.start.0) as usize);
            Some((offset, &self.bytes[start..start + size]))
        })
        .unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &self.bytes).unwrap();
        let binary = Binary::open(file.path()).unwrap();
        let context = Context {
            arch: arch::host(),
            types: &types,
            fragments: &Fragments::new(&types),
            register_type,
            limits: Limits::default(),
            lengths: &[],
            returns: self.returns,
            after: false,
            entry_place: self.entry_place,
            stack_use: &self.stack_use,
            costs: &self.costs,
        };
        let plan = compile(function, 0, &code.in_file(&binary), &context)?;
        assert!(!describe(&plan, &types, arch::host()).is_empty());
        Ok(plan)
    }

    /// Where the arguments of a function come from, as text: `a = rdi[0..4]`.
    pub fn arguments(&self, name: &str, types: &[TypeId]) -> Vec<String> {
        arguments_text(&self.plan(&self.function(name, types)).unwrap())
    }

    /// The instructions on which exit probes stand, as `objdump` would show their first byte: (opcode, is a tail jump).
    pub fn exit_opcodes(&self, exits: &Exits) -> Vec<(u8, bool)> {
        let Exits::Instructions(sites) = exits else { panic!("{exits:?}") };
        sites.iter().map(|ExitSite { offset, tail_jump, .. }| (self.bytes[offset.0 as usize], *tail_jump)).collect()
    }
}

/// Where the arguments of a plan come from.
pub fn arguments_text(plan: &FunctionPlan) -> Vec<String> {
    plan.arguments.iter().map(|argument| argument_text(plan, argument)).collect()
}

fn argument_text(plan: &FunctionPlan, argument: &ArgumentPlan) -> String {
    let piece = |piece: &super::PieceSource| match &piece.source {
        Source::Step { step, skip } => {
            let step = plan.steps[*step];
            let words = arch::host().report_registers();
            let register = words.iter().find(|(_, word)| *word == step.register).unwrap().0;
            match step.op {
                REGISTER => format!("{register}[{skip}..{}]", skip + piece.size),
                MEMORY => format!("*({register}{:+})[{skip}..{}]", step.offset, skip + piece.size),
                _ => panic!("{step:?}"),
            }
        }
        Source::Unavailable(reason) => format!("{} bytes {reason}", piece.size),
        other => format!("{other:?}"),
    };
    let pieces: Vec<String> = argument.pieces.iter().map(piece).collect();
    let follows = argument.follows.iter().map(|follow| match plan.steps[follow.step] {
        step if step.op == STRING => format!(", string at [{}]", step.base),
        step if step.op == COUNTED => format!(", text at [{}] of [{}] bytes", step.base, step.count),
        step => panic!("{step:?}"),
    });
    format!("{} = {}{}", argument.name.as_deref().unwrap_or("?"), pieces.join(" + "), follows.collect::<String>())
}

/// Types that tests need.
pub struct Types {
    /// `char`
    pub char: TypeId,
    /// `short`
    pub short: TypeId,
    /// `bool`
    pub bool: TypeId,
    /// `int`
    pub int: TypeId,
    /// `long`
    pub long: TypeId,
    /// `float`
    pub float: TypeId,
    /// `double`
    pub double: TypeId,
    /// `const char *`
    pub string: TypeId,
}

impl Types {
    /// Adds them to a table.
    pub fn add_to(types: &mut TypeTable) -> Self {
        let mut add = |name: &str, size, kind| types.push(Type { name: name.into(), size: Some(size), kind });
        let integer = || TypeKind::Integer { signed: true };
        let char = add("char", 1, TypeKind::Character { unicode: false, signed: true });
        let constant = add("const char", 1, TypeKind::Qualified(char));
        Self {
            char,
            short: add("short", 2, integer()),
            bool: add("_Bool", 1, TypeKind::Bool),
            int: add("int", 4, integer()),
            long: add("long", 8, integer()),
            float: add("float", 4, TypeKind::Float),
            double: add("double", 8, TypeKind::Float),
            string: add("const char *", 8, TypeKind::Pointer { to: constant, reference: false }),
        }
    }
}
