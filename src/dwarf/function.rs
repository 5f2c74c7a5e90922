//! A function as its debug info describes it, free of the file that said it.

use std::ops::Range;
use std::path::PathBuf;

use super::types::TypeId;
use crate::address::Svma;

/// A function that has code of its own in the file.
#[derive(Clone, Debug)]
pub struct Function {
    /// As a person would write it: demangled, with namespaces and classes, without its parameters: `geometry::Shape::area`.
    pub name: String,
    /// The linker's name for it (`DW_AT_linkage_name`, or the plain name in C).
    pub symbol: String,
    /// Where its code lies; the first range begins with its entry.
    pub ranges: Vec<Range<Svma>>,
    /// Where it is declared.
    pub declared: Option<SourceLine>,
    /// Which language it is written in.
    pub language: Language,
    /// Its parameters in order.
    pub parameters: Vec<Parameter>,
    /// `None` for a function that returns nothing.
    pub return_type: Option<TypeId>,
    /// What the stack frame's parts are relative to (`DW_AT_frame_base`).
    pub frame_base: Option<FrameBase>,
    /// CFA minus stack pointer at the entry, from the call frame information; `None` where there is none.
    pub entry_cfa_offset: Option<i64>,
    /// Whether debug info described it, or only the symbol table.
    pub from_symbol_table: bool,
}

/// A line of a source file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceLine {
    /// The path as the compiler was given it, made absolute with the compilation directory.
    pub file: PathBuf,
    /// From 1.
    pub line: u32,
}

/// A place in a source file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourcePosition {
    /// The path as the compiler was given it, made absolute with the compilation directory.
    pub file: PathBuf,
    /// From 1.
    pub line: u32,
    /// From 1; `None` where only the line is known.
    pub column: Option<u32>,
}

/// One formal parameter.
#[derive(Clone, Debug)]
pub struct Parameter {
    /// `None` for a parameter without a name.
    pub name: Option<String>,
    /// Its type.
    pub ty: TypeId,
    /// Where its value is at the function's entry, from `DW_AT_location` evaluated at the first instruction.
    pub location: Location,
    /// The compiler made it (C++'s `this`, `DW_AT_artificial`).
    pub artificial: bool,
}

/// Where a value lies at one program counter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// In these pieces, from the lowest byte up. A value in one place is one piece.
    Pieces(Vec<Piece>),
    /// DWARF says nothing for the first instruction, and this for the first one that it speaks of: rustc lists a `String` that is
    /// passed by value from the end of the prologue on.
    Later {
        /// Where the first entry of the location list begins.
        from: Svma,
        /// What it says.
        pieces: Vec<Piece>,
    },
    /// DWARF says that the value is nowhere at that point: an empty expression or a list without an entry for it.
    OptimizedOut,
    /// The debug info says where it is, in a way that we do not understand.
    Unsupported(String),
}

/// A part of a value that lies in one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Bytes of this part; `None` for all of the value.
    pub size: Option<u64>,
    /// Where it is.
    pub place: Place,
}

/// Where a piece of a value lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In a register, by its DWARF number (`DW_OP_reg*`), or a value computed as register + 0 (`DW_OP_breg*, DW_OP_stack_value`).
    Register(u16),
    /// In a register that the function's own code may fill (`DW_OP_reg*` as the one expression for the whole function, not as an
    /// entry of a location list): `register int n` without optimization, or what clang finds filled before the body begins.
    HomeRegister(u16),
    /// In memory at register + offset (`DW_OP_breg*`).
    RegisterOffset(u16, i64),
    /// The same for a register that the function's own code may fill.
    HomeRegisterOffset(u16, i64),
    /// In memory at CFA + offset (`DW_OP_fbreg` where the frame base is `DW_OP_call_frame_cfa`).
    CfaOffset(i64),
    /// In memory at the frame base + offset, where the frame base is a register that the prologue sets up
    /// (`DW_OP_fbreg` where the frame base is `DW_OP_reg6` or `DW_OP_reg7`).
    FrameOffset(i64),
    /// In memory at pointer + offset, where the pointer itself lies in another place (`DW_OP_fbreg N, DW_OP_deref`): a C++ class
    /// with a copy constructor, or a Rust `String`, passed by value. Not nested.
    Indirect {
        /// Where the pointer is, as a piece of 8 bytes.
        pointer: Box<Place>,
        /// What is added to it.
        offset: i64,
    },
    /// In the upper bytes of a register: a member that shares it with others (`DW_OP_breg*, DW_OP_const* N, DW_OP_shr`).
    UpperPart {
        /// The register.
        of: Box<Place>,
        /// Its lower bytes that are not meant.
        skip: u32,
    },
    /// In memory at a fixed address (`DW_OP_addr`).
    Address(Svma),
    /// Nowhere: the compiler knows the value (`DW_OP_implicit_value`, `DW_OP_lit*, DW_OP_stack_value`).
    Constant(Vec<u8>),
    /// This piece is nowhere.
    OptimizedOut,
}

/// `DW_AT_frame_base`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameBase {
    /// `DW_OP_call_frame_cfa`, and what is added to that.
    Cfa(i64),
    /// `DW_OP_reg*`: the value of a register after the prologue.
    Register(u16),
}

/// Languages that differ in what we may do to their stack, or in how types are spelled (`DW_AT_language`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Language {
    /// C of any year.
    C,
    /// C++ of any year.
    Cpp,
    /// Rust.
    Rust,
    /// Go.
    Go,
    /// Assembly.
    Assembly,
    /// Anything else.
    Other,
}
