//! Variables in scope, and their places in frames whose state is made up.

use std::collections::HashMap;

use gimli::{Expression, LittleEndian};

use crate::address::{Avma, LoadBias, Svma};
use crate::binary::fixture::Fixture;
use crate::dwarf::units::Slice;
use crate::dwarf::variables::*;
use crate::dwarf::*;

const CFA: u64 = 0x7ffc_0000_1000;
const BIAS: u64 = 0x5555_0000_0000;

/// A frame that has these registers, and these words in its memory.
#[derive(Default)]
struct Frame {
    registers: HashMap<u16, u64>,
    memory: HashMap<u64, u64>,
}

impl<'a> FrameState<'a> for Frame {
    fn register(&self, number: u16) -> Option<u64> {
        self.registers.get(&number).copied()
    }

    fn memory(&self, at: Avma, size: u8) -> Result<u64, String> {
        let word = self.memory.get(&at.0).copied().ok_or("not captured")?;
        Ok(if size < 8 { word & ((1 << (8 * size)) - 1) } else { word })
    }

    fn cfa(&self) -> Option<Avma> {
        Some(Avma(CFA))
    }

    fn bias(&self) -> LoadBias {
        LoadBias(BIAS)
    }

    fn caller(&self) -> Option<CallerFrame<'_, 'a>> {
        None
    }
}

fn whole(spot: Spot) -> Vec<Part> {
    vec![Part { size: None, spot }]
}

fn because(reason: &str) -> Vec<Part> {
    whole(Spot::Missing(Missing::Because(reason.to_owned())))
}

/// Where the expressions lead in a function of gcc's, in a frame with `rdi` = 0x1000, `rbx` = 0xfffffffffffffff0 and a pointer to 0x2000
/// at 0x1008.
fn places<const N: usize>(expressions: [&[u8]; N]) -> [Vec<Part>; N] {
    let fixture = Fixture::compile("gcc", &["-g"], "int main(int argc, char **argv) {\n return argc;\n}\n");
    let binary = Binary::open(&fixture.program()).unwrap();
    let sections = DebugSections::load(&binary).unwrap();
    let info = DebugInfo::parse(&binary, &sections);
    let main = info.functions().iter().find(|function| function.name == "main").unwrap();
    // The last instruction but one: the frame is set up.
    let address = Svma(main.entry.0 + 8);
    let mut types = TypeTable::default();
    let argc = info.variables_at(address, &mut types).remove(0);
    let Described::By(of_argc) = argc.described else { panic!("{argc:?}") };
    let registers = HashMap::from([(5, 0x1000), (3, 0xffff_ffff_ffff_fff0)]);
    let frame = Frame { registers, memory: HashMap::from([(0x1008, 0x2000)]) };
    expressions.map(|bytes| {
        let expression = Expression(Slice::new(bytes, LittleEndian));
        let described = Described::By(Description { expression, is_everywhere: false, ..of_argc });
        info.locate(&Variable { described, ..argc.clone() }, address, &frame)
    })
}

/// Guards against a place for a value, a value for a place, and a number made up from what is not known.
#[test]
fn every_operation_leads_where_the_standard_says() {
    let found = places([
        &[0x55],                               // DW_OP_reg5
        &[0x75, 0x08],                         // DW_OP_breg5 8
        &[0x75, 0x08, 0x06],                   // DW_OP_breg5 8; DW_OP_deref
        &[0x75, 0x08, 0x9f],                   // DW_OP_breg5 8; DW_OP_stack_value
        &[0x75, 0x10, 0x06],                   // DW_OP_breg5 16; DW_OP_deref
        &[0x91, 0x6c],                         // DW_OP_fbreg -20
        &[0x9c, 0x23, 0x08],                   // DW_OP_call_frame_cfa; DW_OP_plus_uconst 8
        &[0x03, 0x00, 0x40, 0, 0, 0, 0, 0, 0], // DW_OP_addr 0x4000
        &[0x71, 0x00],                         // DW_OP_breg1 0: rdx, which is not known
        &[0x9e, 0x02, 0xaa, 0xbb],             // DW_OP_implicit_value 2 bytes
        &[0xa3, 0x01, 0x55, 0x9f],             // DW_OP_entry_value (DW_OP_reg5); DW_OP_stack_value
        &[0x73, 0x00, 0x75, 0x00, 0x22, 0x9f], // DW_OP_breg3 0; DW_OP_breg5 0; DW_OP_plus; DW_OP_stack_value
        &[0x38, 0x9b],                         // DW_OP_lit8; DW_OP_form_tls_address
        &[0xf0],                               // DW_OP_GNU_uninit
    ]);
    let expected = [
        whole(Spot::Register { number: 5, skip: 0 }),
        whole(Spot::Memory(Avma(0x1008))),
        whole(Spot::Memory(Avma(0x2000))),
        whole(Spot::Value(0x1008u64.to_le_bytes().to_vec())),
        because("not captured"),
        whole(Spot::Memory(Avma(CFA - 20))),
        whole(Spot::Memory(Avma(CFA + 8))),
        whole(Spot::Memory(Avma(BIAS + 0x4000))),
        whole(Spot::Missing(Missing::Register(1))),
        whole(Spot::Value(vec![0xaa, 0xbb])),
        whole(Spot::Missing(Missing::AtEntry("its caller is not known".to_owned()))),
        whole(Spot::Value(0xff0u64.to_le_bytes().to_vec())),
        because("it is thread-local, which is not looked up"),
        because("its location is of a kind that is not known"),
    ];
    for (found, expected) in found.into_iter().zip(expected) {
        assert_eq!(found, expected);
    }
}

/// Guards against parts that change places, and against a hole that is filled.
#[test]
fn pieces_keep_their_sizes_and_holes() {
    let [found, bits] = places([
        // DW_OP_reg5; DW_OP_piece 8; DW_OP_piece 4; DW_OP_breg5 8; DW_OP_piece 4; DW_OP_lit7; DW_OP_stack_value; DW_OP_piece 8
        &[0x55, 0x93, 0x08, 0x93, 0x04, 0x75, 0x08, 0x93, 0x04, 0x37, 0x9f, 0x93, 0x08],
        // DW_OP_reg5; DW_OP_bit_piece 16 16; DW_OP_reg5; DW_OP_bit_piece 8 0
        &[0x55, 0x9d, 0x10, 0x10, 0x55, 0x9d, 0x08, 0x00],
    ]);
    let part = |size, spot| Part { size: Some(size), spot };
    assert_eq!(
        found,
        [
            part(8, Spot::Register { number: 5, skip: 0 }),
            part(4, Spot::Missing(Missing::OptimizedOut)),
            part(4, Spot::Memory(Avma(0x1008))),
            part(8, Spot::Value(7u64.to_le_bytes().to_vec())),
        ]
    );
    let register = |skip| Spot::Register { number: 5, skip };
    assert_eq!(bits, [part(2, register(2)), part(1, register(0))]);
}

/// Guards against expressions that never end, or that fill memory.
#[test]
fn hostile_expressions_end() {
    let endless: Vec<u8> = vec![0x2f, 0xfd, 0xff]; // DW_OP_skip -3
    let growing: Vec<u8> = vec![0x30, 0x2f, 0xfc, 0xff]; // DW_OP_lit0; DW_OP_skip -4
    let many: Vec<u8> = [0x93, 0x01].repeat(1000); // DW_OP_piece 1, a thousand times
    let huge: Vec<u8> = vec![0x55, 0x93, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]; // DW_OP_reg5; DW_OP_piece 2^63 - 1
    let nested: Vec<u8> =
        (0..100).fold(vec![0x55], |inner, _| [&[0xa3, inner.len().min(127) as u8], &inner[..]].concat());
    let cut: Vec<u8> = vec![0x03, 0x00];

    let found = places([&endless[..], &growing, &many, &huge, &nested, &cut]);

    assert_eq!(found[0], because("its location has too many operations"));
    assert_eq!(found[1], because("its location has too many operations"));
    assert_eq!(found[2], because("it lies in more than 256 pieces"));
    for damaged in &found[3..] {
        assert!(matches!(damaged[..], [Part { size: None, spot: Spot::Missing(_) }]), "{damaged:?}");
    }
}

/// Guards against a variable of a block that is not being executed, and against one that is hidden by another in front of it.
#[test]
fn the_innermost_block_comes_last() {
    let source = "volatile int sink;\n\
                  int main(int argc, char **argv) {\n\
                    int outer = argc;\n\
                    { long other = 2; sink = other; }\n\
                    { int outer = 3; char inner = 4;\n\
                      sink = outer + inner; }\n\
                    return outer;\n\
                  }\n";
    for compiler in ["gcc", "clang"] {
        let fixture = Fixture::compile(compiler, &["-g"], source);
        let binary = Binary::open(&fixture.program()).unwrap();
        let sections = DebugSections::load(&binary).unwrap();
        let info = DebugInfo::parse(&binary, &sections);
        let address = address_of_line(&info, 6);
        let mut types = TypeTable::default();
        let variables = info.variables_at(address, &mut types);
        let shown: Vec<String> = variables
            .iter()
            .map(|it| {
                let (ty, name) = (&types.get(it.ty).name, it.name.as_deref().unwrap_or("?"));
                format!("{ty} {name}:{}{}", it.declared.as_ref().unwrap().line, if it.is_parameter { "p" } else { "" })
            })
            .collect();
        assert_eq!(
            shown,
            ["int argc:2p", "char ** argv:2p", "int outer:3", "int outer:5", "char inner:5"],
            "{compiler}"
        );
        assert_eq!(variables[0].function, info.activations_at(address)[0].die);
    }
}

/// The first address of a line of `main`.
fn address_of_line(info: &DebugInfo<'_>, line: u32) -> Svma {
    let main = info.functions().iter().find(|function| function.name == "main").unwrap();
    let mut addresses = (main.entry.0..main.entry.0 + 0x100).map(Svma);
    addresses.find(|address| info.position_at(*address).is_some_and(|position| position.line == line)).unwrap()
}
