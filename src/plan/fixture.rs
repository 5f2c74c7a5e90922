//! Small programs for tests: compiled here and now, with what their debug info says of one function.

use std::ops::Range;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use gimli::{AttributeValue, EndianSlice, Expression, LittleEndian, Operation};
use goblin::elf::Elf;
use lastwords_abi::step::{COUNTED, MEMORY, REGISTER, STRING};

use super::capture::{Context, Limits, compile, register_type};
use super::describe::describe;
use super::returns::{Returns, StackUse};
use super::{ArgumentPlan, ExitSite, Exits, FunctionPlan, Skipped, Source};
use crate::address::{FileOffset, Svma};
use crate::arch::code::Code;
use crate::arch::{self};
use crate::dwarf::function::{FrameBase, Function, Language, Location, Parameter, Piece, Place};
use crate::dwarf::types::{Type, TypeId, TypeKind, TypeTable};

type Slice<'a> = EndianSlice<'a, LittleEndian>;
type Entry<'a> = gimli::DebuggingInformationEntry<Slice<'a>>;

/// A compiled program.
#[derive(Clone)]
pub struct Program {
    bytes: Vec<u8>,
    language: Language,
    /// Types of the parameters.
    pub types: TypeTable,
    /// Whether returns may be seen by the trampoline.
    pub stack_use: StackUse,
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
        Self { bytes: built.unwrap(), language, types: TypeTable::default(), stack_use }
    }

    /// The function of this name; its parameters have these types.
    pub fn function(&self, name: &str, types: &[TypeId]) -> Function {
        let elf = Elf::parse(&self.bytes).unwrap();
        let mut function = Function {
            name: name.into(),
            symbol: name.into(),
            ranges: vec![self.symbol_range(name)],
            declared: None,
            language: self.language,
            parameters: Vec::new(),
            return_type: None,
            frame_base: None,
            entry_cfa_offset: Some(8),
            from_symbol_table: false,
        };
        self.read_debug_info(&elf, &mut function, types);
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

    fn file_offset_of(&self, address: Svma) -> Option<FileOffset> {
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
        let context = Context {
            arch: arch::host(),
            types: &types,
            register_type,
            limits: Limits::default(),
            returns: Returns::Auto,
            stack_use: &self.stack_use,
        };
        let plan = compile(function, 0, &code, &context)?;
        assert!(!describe(&plan, &types, arch::host()).is_empty());
        Ok(plan)
    }

    /// Where the arguments of a function come from, as text: `a = rdi[0..4]`.
    pub fn arguments(&self, name: &str, types: &[TypeId]) -> Vec<String> {
        let plan = self.plan(&self.function(name, types)).unwrap();
        plan.arguments.iter().map(|argument| argument_text(&plan, argument)).collect()
    }

    /// The instructions on which exit probes stand, as `objdump` would show their first byte: (opcode, is a tail jump).
    pub fn exit_opcodes(&self, exits: &Exits) -> Vec<(u8, bool)> {
        let Exits::Instructions(sites) = exits else { panic!("{exits:?}") };
        sites.iter().map(|ExitSite { offset, tail_jump }| (self.bytes[offset.0 as usize], *tail_jump)).collect()
    }

    fn read_debug_info(&self, elf: &Elf<'_>, function: &mut Function, types: &[TypeId]) {
        let section = |id: gimli::SectionId| -> Result<Slice<'_>, gimli::Error> {
            let named =
                elf.section_headers.iter().find(|header| elf.shdr_strtab.get_at(header.sh_name) == Some(id.name()));
            let bytes = named.and_then(|header| self.bytes.get(header.file_range()?)).unwrap_or_default();
            Ok(EndianSlice::new(bytes, LittleEndian))
        };
        let dwarf = gimli::Dwarf::load(section).unwrap();
        let mut headers = dwarf.units();
        while let Some(header) = headers.next().unwrap() {
            let unit = dwarf.unit(header).unwrap();
            let unit = unit.unit_ref(&dwarf);
            let mut entries = unit.entries();
            let mut inside: Option<isize> = None;
            let mut frame_distance = 0;
            while let Some(entry) = entries.next_dfs().unwrap() {
                if inside.is_some_and(|depth| entry.depth() <= depth) {
                    return;
                }
                if entry.tag() == gimli::DW_TAG_subprogram && begins_at(&unit, entry, function.ranges[0].start) {
                    inside = Some(entry.depth());
                    let value = entry.attr_value(gimli::DW_AT_frame_base).unwrap();
                    let (base, distance) = frame_base(value, unit.encoding());
                    function.frame_base = Some(base);
                    frame_distance = distance;
                } else if entry.tag() == gimli::DW_TAG_formal_parameter
                    && inside.is_some_and(|depth| entry.depth() == depth + 1)
                {
                    let name = entry
                        .attr_value(gimli::DW_AT_name)
                        .map(|value| unit.attr_string(value).unwrap().to_string_lossy().into_owned());
                    let location = entry.attr_value(gimli::DW_AT_location);
                    let location = location
                        .map_or(Location::OptimizedOut, |value| self.location(&unit, value, function, frame_distance));
                    let ty = types[function.parameters.len()];
                    function.parameters.push(Parameter { name, ty, location, artificial: false });
                }
            }
        }
        assert!(function.frame_base.is_some(), "no debug info for `{}`", function.name);
    }

    fn location<'a>(
        &self,
        unit: &gimli::UnitRef<'_, Slice<'a>>,
        value: AttributeValue<Slice<'a>>,
        function: &Function,
        frame_distance: i64,
    ) -> Location {
        if let AttributeValue::Exprloc(expression) = value {
            return location(expression, unit.encoding(), function, frame_distance, false);
        }
        let mut entries = unit.attr_locations(value).unwrap().unwrap();
        let entries =
            std::iter::from_fn(|| entries.next().unwrap()).filter(|entry| entry.range.begin < entry.range.end);
        let Some(first) = entries.min_by_key(|entry| entry.range.begin) else { return Location::OptimizedOut };
        match location(first.data, unit.encoding(), function, frame_distance, true) {
            Location::Pieces(pieces) if first.range.begin != function.ranges[0].start.0 => {
                Location::Later { from: Svma(first.range.begin), pieces }
            }
            location => location,
        }
    }
}

fn begins_at<'a>(unit: &gimli::UnitRef<'_, Slice<'a>>, entry: &Entry<'a>, address: Svma) -> bool {
    let mut ranges = unit.die_ranges(entry).unwrap();
    std::iter::from_fn(|| ranges.next().unwrap()).any(|range| range.begin == address.0)
}

/// The frame base, and what is to be added to it: rustc counts large frames from `DW_OP_call_frame_cfa; DW_OP_consts N; DW_OP_plus`.
fn frame_base(value: AttributeValue<Slice<'_>>, encoding: gimli::Encoding) -> (FrameBase, i64) {
    let AttributeValue::Exprloc(expression) = value else { panic!("{value:?}") };
    let mut operations = expression.operations(encoding);
    match (operations.next().unwrap(), operations.next().unwrap()) {
        (Some(Operation::CallFrameCFA), None) => (FrameBase::Cfa, 0),
        (Some(Operation::CallFrameCFA), Some(Operation::SignedConstant { value })) => (FrameBase::Cfa, value),
        (Some(Operation::Register { register }), None) => (FrameBase::Register(register.0), 0),
        other => panic!("{other:?}"),
    }
}

fn location(
    expression: Expression<Slice<'_>>,
    encoding: gimli::Encoding,
    function: &Function,
    frame_distance: i64,
    listed: bool,
) -> Location {
    let mut operations = expression.operations(encoding);
    let mut pieces = Vec::new();
    while let Some(operation) = operations.next().unwrap() {
        let place = match operation {
            Operation::Register { register } if listed => Place::Register(register.0),
            Operation::Register { register } => Place::HomeRegister(register.0),
            Operation::RegisterOffset { register, offset, .. } => Place::RegisterOffset(register.0, offset),
            Operation::FrameOffset { offset } if function.frame_base == Some(FrameBase::Cfa) => {
                Place::CfaOffset(offset + frame_distance)
            }
            Operation::FrameOffset { offset } => Place::FrameOffset(offset),
            Operation::Piece { size_in_bits, .. } => {
                let last: &mut Piece = pieces.last_mut().unwrap();
                last.size = Some(size_in_bits / 8);
                continue;
            }
            // clang's `bool`: the low bit of a register, computed at length.
            Operation::UnsignedConstant { .. }
                if matches!(pieces[..], [Piece { place: Place::RegisterOffset(..), .. }]) =>
            {
                let Some(Piece { place: Place::RegisterOffset(register, 0), .. }) = pieces.pop() else { panic!() };
                pieces.push(Piece { size: None, place: Place::Register(register) });
                return Location::Pieces(pieces);
            }
            Operation::Deref { size: 8, .. } => {
                let pointer = Box::new(pieces.pop().map(|piece: Piece| piece.place).unwrap());
                Place::Indirect { pointer, offset: 0 }
            }
            other => return Location::Unsupported(format!("{other:?}")),
        };
        pieces.push(Piece { size: None, place });
    }
    Location::Pieces(pieces)
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
