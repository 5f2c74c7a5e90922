//! Location expressions, byte by byte (DWARF 5, 7.7.1).

use gimli::{AttributeValue, Expression, LittleEndian};

use crate::binary::fixture::Fixture;
use crate::dwarf::function::{FrameBase, Location, Piece, Place};
use crate::dwarf::units::{Slice, Units};
use crate::dwarf::*;

/// What the expressions mean at an entry whose frame base is `base`.
fn locations<const N: usize>(base: Option<FrameBase>, expressions: [&[u8]; N]) -> [Location; N] {
    let fixture = Fixture::compile("gcc", &["-g"], "int main(void) { return 0; }\n");
    let binary = Binary::open(&fixture.program()).unwrap();
    let sections = DebugSections::load(&binary).unwrap();
    let units = Units::parse(&sections.main, None);
    expressions.map(|bytes| {
        let value = AttributeValue::Exprloc(Expression(Slice::new(bytes, LittleEndian)));
        units.location_at(0, value, base, Svma(0x1000))
    })
}

fn whole(place: Place) -> Location {
    Location::Pieces(vec![Piece { size: None, place }])
}

fn unsupported(reason: &str) -> Location {
    Location::Unsupported(reason.to_owned())
}

/// Guards against taking a value for its address, and an address for a value.
#[test]
fn places_and_values_are_told_apart() {
    let found = locations(
        Some(FrameBase::Cfa(0)),
        [
            &[0x55],                               // DW_OP_reg5
            &[0x75, 0x10],                         // DW_OP_breg5 16
            &[0x75, 0x00, 0x9f],                   // DW_OP_breg5 0; DW_OP_stack_value
            &[0x91, 0x6c],                         // DW_OP_fbreg -20
            &[0x9c, 0x23, 0x08],                   // DW_OP_call_frame_cfa; DW_OP_plus_uconst 8
            &[0x03, 0x00, 0x40, 0, 0, 0, 0, 0, 0], // DW_OP_addr 0x4000
            &[0x37, 0x9f],                         // DW_OP_lit7; DW_OP_stack_value
            &[0x9e, 0x02, 0xaa, 0xbb],             // DW_OP_implicit_value 2 bytes
            &[0xa3, 0x01, 0x54, 0x9f],             // DW_OP_entry_value (DW_OP_reg4); DW_OP_stack_value
            &[0x75, 0x08, 0x38, 0x22],             // DW_OP_breg5 8; DW_OP_lit8; DW_OP_plus
            &[],
        ],
    );
    let expected = [
        whole(Place::HomeRegister(5)),
        whole(Place::HomeRegisterOffset(5, 16)),
        whole(Place::HomeRegister(5)),
        whole(Place::CfaOffset(-20)),
        whole(Place::CfaOffset(8)),
        whole(Place::Address(Svma(0x4000))),
        whole(Place::Constant(vec![7, 0, 0, 0, 0, 0, 0, 0])),
        whole(Place::Constant(vec![0xaa, 0xbb])),
        whole(Place::Register(4)),
        whole(Place::HomeRegisterOffset(5, 16)),
        Location::OptimizedOut,
    ];
    assert_eq!(found, expected);
}

/// Guards against a frame register that has not been set up, taken for the CFA.
#[test]
fn the_frame_base_decides_what_an_offset_means() {
    let fbreg: &[u8] = &[0x91, 0x78];
    assert_eq!(locations(Some(FrameBase::Register(6)), [fbreg]), [whole(Place::FrameOffset(-8))]);
    assert_eq!(locations(Some(FrameBase::Cfa(0)), [fbreg]), [whole(Place::CfaOffset(-8))]);
    assert_eq!(locations(None, [fbreg]), [unsupported("it lies in a frame whose base is not known")]);
}

/// Guards against a value of which one part is lost and the others move up.
#[test]
fn pieces_keep_their_sizes_and_holes() {
    let found = locations(
        None,
        [
            &[0x55, 0x93, 0x08, 0x54, 0x93, 0x08], // DW_OP_reg5; DW_OP_piece 8; DW_OP_reg4; DW_OP_piece 8
            &[0x93, 0x08, 0x54, 0x93, 0x04],       // DW_OP_piece 8; DW_OP_reg4; DW_OP_piece 4
            &[0x93, 0x08, 0x93, 0x08],             // nothing but holes
            &[0x37, 0x9f, 0x93, 0x01],             // DW_OP_lit7; DW_OP_stack_value; DW_OP_piece 1
            &[0x55, 0x9d, 0x04, 0x00],             // DW_OP_reg5; DW_OP_bit_piece 4 bits
        ],
    );
    let piece = |size, place| Piece { size: Some(size), place };
    let expected = [
        Location::Pieces(vec![piece(8, Place::HomeRegister(5)), piece(8, Place::HomeRegister(4))]),
        Location::Pieces(vec![piece(8, Place::OptimizedOut), piece(4, Place::HomeRegister(4))]),
        Location::OptimizedOut,
        Location::Pieces(vec![piece(1, Place::Constant(vec![7]))]),
        unsupported("a piece of it does not begin and end at a byte"),
    ];
    assert_eq!(found, expected);
}

/// Guards against values that look right and are not: what would need the program's state is refused, with a reason.
#[test]
fn what_would_have_to_be_computed_is_refused() {
    let found = locations(
        Some(FrameBase::Cfa(0)),
        [
            &[0x75, 0x00, 0x94, 0x04],       // DW_OP_breg5 0; DW_OP_deref_size 4
            &[0x75, 0x00, 0x06, 0x06],       // DW_OP_breg5 0; DW_OP_deref; DW_OP_deref
            &[0x75, 0x04, 0x9f],             // DW_OP_breg5 4; DW_OP_stack_value
            &[0xa0, 0, 0, 0, 0, 0],          // DW_OP_implicit_pointer
            &[0x75, 0x00, 0x33, 0x1a, 0x9f], // DW_OP_breg5 0; DW_OP_lit3; DW_OP_and; DW_OP_stack_value
            &[0x75, 0x00, 0x35, 0x1a, 0x9f], // DW_OP_breg5 0; DW_OP_lit5; DW_OP_and; DW_OP_stack_value
            &[0x22],                         // DW_OP_plus on nothing
            &[0x2f, 0xfd, 0xff],             // DW_OP_skip to itself
            &[0x9e, 0x7f, 0x00],             // DW_OP_implicit_value beyond the end
        ],
    );
    let expected = [
        unsupported("its location reads a part of a word (DW_OP_deref_size)"),
        unsupported("its location is behind more than one pointer"),
        unsupported("its value would have to be computed from an address"),
        unsupported("the pointer was optimized out; only what it points to is known"),
        unsupported("its value is a part of a byte"),
        unsupported("its value is computed"),
        unsupported("its location is damaged"),
        unsupported("its location has branches"),
        unsupported("its location is damaged"),
    ];
    assert_eq!(found, expected);
}

/// Guards against a pointer to a value taken for the value, which is what an argument passed by invisible reference comes as.
#[test]
fn what_lies_behind_a_pointer_is_told_apart_from_the_pointer() {
    let found = locations(
        Some(FrameBase::Register(7)),
        [
            &[0x91, 0x08, 0x06],             // DW_OP_fbreg 8; DW_OP_deref
            &[0x75, 0x08, 0x06, 0x23, 0x10], // DW_OP_breg5 8; DW_OP_deref; DW_OP_plus_uconst 16
            &[0x91, 0x08, 0x06, 0x9f],       // DW_OP_fbreg 8; DW_OP_deref; DW_OP_stack_value
        ],
    );
    let behind = |pointer, offset| whole(Place::Indirect { pointer: Box::new(pointer), offset });
    let expected = [
        behind(Place::FrameOffset(8), 0),
        behind(Place::HomeRegisterOffset(5, 8), 16),
        Location::Pieces(vec![Piece { size: Some(8), place: Place::FrameOffset(8) }]),
    ];
    assert_eq!(found, expected);
}
