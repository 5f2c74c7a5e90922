//! Values of every kind, from hand-made bytes.

use lastwords_abi::Step;
use lastwords_abi::step::{COUNTED, FAULT, FOLLOW, MEMORY, NULL, PARTIAL, READ, REGISTER, STRING, TRUNCATED};
use serde_json::json;

use super::super::tests::{Random, char_type, function, int, output, pointer, string_output};
use super::*;
use crate::dwarf::types::{Discriminant, Member, Variant, VariantPart};
use crate::plan::{ArgumentPlan, Follow, Followed, Limits, PieceSource, Source};
use crate::report::Address;

/// The only argument of a function with these steps.
fn argument(plan: &ArgumentPlan, types: &TypeTable, steps: &[Step], data: &[u8]) -> Value {
    let limits = Limits { string_bytes: 256, ..Limits::default() };
    let plan = FunctionPlan { arguments: vec![plan.clone()], steps: steps.to_vec(), limits, ..function("f") };
    arguments(&plan, Meaning { types, symbols: None }, data).remove(0)
}

fn of_step(step: usize, size: u32) -> Vec<PieceSource> {
    vec![PieceSource { size, source: Source::Step { step, skip: 0 } }]
}

fn parameter(ty: TypeId, pieces: Vec<PieceSource>, follows: Vec<Follow>) -> ArgumentPlan {
    ArgumentPlan { name: Some("p".into()), ty, pieces, follows, guessed: false }
}

/// What became of a `const char *` with this value, whose text had this outcome.
fn c_string(address: u64, text: Vec<u8>) -> Value {
    let mut types = TypeTable::default();
    let char_type = char_type(&mut types);
    let ty = pointer(&mut types, "const char *", char_type);
    let steps = [Step { op: REGISTER, size: 8, ..Step::default() }, Step { op: STRING, size: 8, ..Step::default() }];
    let plan =
        parameter(ty, of_step(0, 8), vec![Follow { at: 0, step: 1, what: Followed::CString, behind: Vec::new() }]);
    let data = [&address.to_ne_bytes()[..], &text].concat();
    argument(&plan, &types, &steps, &data)
}

/// Guards against mixing up what looks alike: NULL, a bad pointer, a text that was cut, an absent page, an empty text.
#[test]
fn every_string_is_reported_as_what_it_is() {
    let values = [
        c_string(0x1000, string_output(READ, b"text")),
        c_string(0x1000, string_output(READ, b"")),
        c_string(0, string_output(NULL, b"")),
        c_string(0xdead_0000, string_output(FAULT, b"")),
        c_string(0x1000, string_output(TRUNCATED, b"12345678")),
        c_string(0x1ffc, string_output(PARTIAL, b"torn")),
        c_string(0x1000, string_output(READ, b"caf\xe9")),
        c_string(0x1000, string_output(77, b"")),
        c_string(0x1000, Vec::new()),
    ];
    let lines: Vec<String> = values.iter().map(|value| serde_json::to_string(value).unwrap()).collect();
    let shown = lines.join("\n").replace(r#""name":"p","type":"const char *","#, "");

    insta::assert_snapshot!(shown, @r#"
        {"value":"text","state":"exact","address":"0x1000","length":4}
        {"value":"","state":"exact","address":"0x1000","length":0}
        {"value":null,"state":"exact","address":"0x0"}
        {"value":null,"state":"unreadable","address":"0xdead0000","reason":"no readable memory is mapped at 0xdead0000"}
        {"value":"12345678","state":"truncated","address":"0x1000","reason":"only its first 8 bytes were recorded"}
        {"value":"torn","state":"truncated","address":"0x1ffc","reason":"memory ends after 4 bytes without a NUL"}
        {"value":"caf\\xe9","state":"exact","address":"0x1000","length":4,"bytes":"636166e9"}
        {"value":null,"state":"unavailable","address":"0x1000","reason":"the recorder left it with the unknown status 77"}
        {"value":null,"state":"unavailable","address":"0x1000","reason":"its record is damaged"}
        "#);
}

/// Guards against a `&str` shown as a struct, or without the length it has.
#[test]
fn a_str_is_shown_as_its_text() {
    let mut types = TypeTable::default();
    let char_type = char_type(&mut types);
    let data = pointer(&mut types, "*const u8", char_type);
    let length = types.push(Type { name: "usize".into(), size: Some(8), kind: TypeKind::Integer { signed: false } });
    let members = vec![
        Member { name: "data_ptr".into(), offset: 0, ty: data },
        Member { name: "length".into(), offset: 8, ty: length },
    ];
    let kind = TypeKind::Aggregate(Aggregate { members, ..Aggregate::default() });
    let ty = types.push(Type { name: "&str".into(), size: Some(16), kind });
    let steps = [
        Step { op: REGISTER, size: 8, ..Step::default() },
        Step { op: REGISTER, size: 8, ..Step::default() },
        Step { op: COUNTED, size: 8, base: 0, count: 8, element: 1, count_size: 8, ..Step::default() },
    ];
    let pieces = [of_step(0, 8), of_step(1, 8)].concat();
    let plan = parameter(
        ty,
        pieces,
        vec![Follow { at: 0, step: 2, what: Followed::Str { length_at: 8 }, behind: Vec::new() }],
    );
    let of = |length: u64, text: Vec<u8>| {
        let data = [&0x1000u64.to_ne_bytes()[..], &length.to_ne_bytes(), &text].concat();
        argument(&plan, &types, &steps, &data)
    };

    let whole = of(6, string_output(READ, "Grüß".as_bytes()));
    assert_eq!((whole.value, whole.length, whole.state), (json!("Grüß"), Some(6), State::Exact));
    assert_eq!((whole.address, whole.members.len()), (Some(Address(0x1000)), 0));
    let cut = of(5000, string_output(TRUNCATED, b"12345678"));
    assert_eq!((cut.value, cut.length, cut.state), (json!("12345678"), Some(5000), State::Truncated));
    let empty = of(0, string_output(READ, b""));
    assert_eq!((empty.value, empty.length, empty.state), (json!(""), Some(0), State::Exact));
}

/// Guards against a pointer's value that is a number, or a NULL that is not null.
#[test]
fn pointers_are_addresses_and_what_they_point_to_is_beside_them() {
    let mut types = TypeTable::default();
    let int = int(&mut types);
    let to_int = pointer(&mut types, "int *", int);
    let ty = types.push(Type { name: "handle".into(), size: None, kind: TypeKind::Typedef(to_int) });
    let steps = [Step { op: REGISTER, size: 8, ..Step::default() }, Step { op: FOLLOW, size: 4, ..Step::default() }];
    let follows = vec![Follow { at: 0, step: 1, what: Followed::Value(int), behind: Vec::new() }];
    let of = |address: u64, target: Vec<u8>| {
        let data = [&address.to_ne_bytes()[..], &target].concat();
        argument(&parameter(ty, of_step(0, 8), follows.clone()), &types, &steps, &data)
    };

    let good = of(0x1000, output(READ, 4, &[7, 0, 0, 0, 0, 0, 0, 0]));
    assert_eq!((good.ty.as_str(), good.value, good.address), ("handle", json!("0x1000"), Some(Address(0x1000))));
    assert_eq!(good.target.unwrap().value, json!(7));
    let null = of(0, output(NULL, 0, &[0; 8]));
    assert_eq!((null.value, null.address, null.target), (json!(null), Some(Address(0)), None));
    let wild = of(0xdead_0000, output(FAULT, 0, &[0; 8]));
    assert_eq!(wild.value, json!("0xdead0000"));
    assert_eq!(wild.target.unwrap().state, State::Unreadable);
}

/// Guards against a struct that looks exact although a member is not known.
#[test]
fn members_are_in_order_and_have_their_own_states() {
    let mut types = TypeTable::default();
    let (int, char_type) = (int(&mut types), char_type(&mut types));
    let name = types.push(Type {
        name: "char[4]".into(),
        size: Some(4),
        kind: TypeKind::Array { of: char_type, counts: vec![Some(4)] },
    });
    let grid = types.push(Type {
        name: "int[2][2]".into(),
        size: Some(16),
        kind: TypeKind::Array { of: int, counts: vec![Some(2), Some(2)] },
    });
    let members = vec![
        Member { name: "z".into(), offset: 0, ty: int },
        Member { name: "a".into(), offset: 4, ty: int },
        Member { name: "name".into(), offset: 8, ty: name },
        Member { name: "grid".into(), offset: 12, ty: grid },
    ];
    let kind = TypeKind::Aggregate(Aggregate { members, ..Aggregate::default() });
    let ty = types.push(Type { name: "struct point".into(), size: Some(28), kind });
    let constant = |words: &[i32]| Source::Constant(words.iter().flat_map(|word| word.to_le_bytes()).collect());
    let pieces = vec![
        PieceSource { size: 4, source: constant(&[1]) },
        PieceSource { size: 4, source: Source::OptimizedOut },
        PieceSource { size: 4, source: Source::Constant(b"ab\0\0".into()) },
        PieceSource { size: 16, source: constant(&[1, 2, 3, 4]) },
    ];

    let value = argument(&parameter(ty, pieces, Vec::new()), &types, &[], &[]);

    assert_eq!(value.value.to_string(), r#"{"z":1,"a":null,"name":"ab","grid":[[1,2],[3,4]]}"#);
    assert_eq!(value.state, State::OptimizedOut);
    assert_eq!(value.reason.as_deref(), Some("`a`: the compiler kept it nowhere at that point"));
    let states: Vec<State> = value.members.iter().map(|member| member.state).collect();
    assert_eq!(states, [State::Exact, State::OptimizedOut, State::Exact, State::Exact]);
}

/// Guards against a value for what is in no readable place, and against a guess that passes for knowledge.
#[test]
fn unreadable_places_and_guesses_say_so() {
    let mut types = TypeTable::default();
    let int = int(&mut types);
    let of = |source: Source, guessed: bool| {
        let plan = ArgumentPlan { guessed, ..parameter(int, vec![PieceSource { size: 8, source }], Vec::new()) };
        let value = argument(&plan, &types, &[], &[]);
        (value.value, value.state, value.reason.unwrap())
    };
    let known = Source::Constant(u64::MAX.to_le_bytes().into());

    assert_eq!(
        of(Source::Unavailable("in register xmm0".into()), false),
        (json!(null), State::Unavailable, "in register xmm0".into())
    );
    assert_eq!(of(Source::OptimizedOut, false).1, State::OptimizedOut);
    assert_eq!(
        of(known, true),
        (json!("0xffffffffffffffff"), State::Guessed, "no debug info: what a register held".into())
    );
    assert_eq!(of(Source::OptimizedOut, true).1, State::OptimizedOut);
}

/// Guards against endless recursion: types that contain themselves, and arrays of arrays of nothing.
#[test]
fn damaged_types_end() {
    let mut types = TypeTable::default();
    let own = types.push(Type { name: "own".into(), size: Some(8), kind: TypeKind::Void });
    let members = (0..3).map(|_| Member { name: "again".into(), offset: 0, ty: own }).collect();
    let kind = TypeKind::Aggregate(Aggregate { members, ..Aggregate::default() });
    types.set(own, Type { name: "own".into(), size: Some(8), kind });
    let empty = types.push(Type { name: "void".into(), size: Some(0), kind: TypeKind::Integer { signed: true } });
    let counts = vec![Some(u64::MAX); 1_000];
    let nothing = types.push(Type {
        name: "nothing".into(),
        size: Some(0),
        kind: TypeKind::Array { of: empty, counts: counts.clone() },
    });
    let rows = vec![Some(1_000), Some(1_000), Some(1_000), Some(0)];
    let rows =
        types.push(Type { name: "rows".into(), size: Some(0), kind: TypeKind::Array { of: empty, counts: rows } });
    let circle = types.push(Type { name: "circle".into(), size: Some(4), kind: TypeKind::Typedef(TypeId(0)) });
    types.set(circle, Type { name: "circle".into(), size: Some(4), kind: TypeKind::Typedef(circle) });

    for ty in [own, nothing, rows, circle] {
        let source = Source::Constant(vec![1; 8]);
        let value = argument(&parameter(ty, vec![PieceSource { size: 8, source }], Vec::new()), &types, &[], &[]);
        assert!(serde_json::to_string(&value).unwrap().len() < 100 << 20);
    }
}

/// Two variants, of which the second is there from -1 to 1.
fn with_variants(ty: TypeId, offset: u64) -> TypeKind {
    let variant = |values| Variant { values, member: Member { name: "V".into(), offset, ty } };
    let variants = vec![variant(Vec::new()), variant(vec![(u128::MAX, 1)])];
    let part = VariantPart { discriminant: Some(Discriminant { offset, size: offset.clamp(1, 16) }), variants };
    TypeKind::Aggregate(Aggregate { variants: Some(part), ..Aggregate::default() })
}

/// Guards against a panic for any bytes, with plans that do not fit them.
#[test]
fn no_bytes_make_it_panic() {
    let mut random = Random(4);
    let mut types = TypeTable::default();
    let char_type = char_type(&mut types);
    let mut all = vec![int(&mut types), char_type, pointer(&mut types, "char *", char_type)];
    for size in [0, 1, 2, 3, 4, 8, 10, 12, 16, 17, u64::MAX] {
        let enumerators = vec![("A".into(), 1), ("B".into(), i128::MAX), ("C".into(), i128::MIN)];
        for kind in [
            TypeKind::Void,
            TypeKind::Integer { signed: true },
            TypeKind::Bool,
            TypeKind::Character { unicode: true, signed: false },
            TypeKind::Float,
            TypeKind::Enumeration { signed: true, enumerators },
            TypeKind::Pointer { to: char_type, reference: true },
            TypeKind::Array { of: char_type, counts: vec![Some(size)] },
            TypeKind::Array { of: char_type, counts: vec![None, Some(size)] },
            TypeKind::Unsupported("odd".into()),
            TypeKind::BitField { of: char_type, skip: size, bits: 3 },
            TypeKind::BitField { of: char_type, skip: 3, bits: size },
            with_variants(char_type, size),
        ] {
            all.push(types.push(Type { name: "long double".into(), size: Some(size), kind }));
        }
    }
    for _ in 0..20_000 {
        let mut word = || random.next() as u32 >> random.below(32);
        let op = [REGISTER, MEMORY, FOLLOW, STRING, COUNTED, 0, 9];
        let steps: [Step; 3] =
            std::array::from_fn(|_| Step { op: op[word() as usize % 7], size: word() as u16, ..Step::default() });
        let what = [Followed::CString, Followed::Str { length_at: word() }, Followed::Value(all[0])];
        let follows =
            what.map(|what| Follow { at: word() % 9, step: word() as usize % 5, what, behind: Vec::new() }).into();
        let pieces =
            [0, 1].map(|step| PieceSource { size: word() % 20, source: Source::Step { step, skip: word() % 9 } });
        let plan = parameter(all[word() as usize % all.len()], pieces.into(), follows);
        let data: Vec<u8> = (0..random.below(100)).map(|_| random.next() as u8 >> random.below(8)).collect();
        let value = argument(&plan, &types, &steps, &data);
        assert!(value.state == State::Exact || value.reason.is_some());
    }
}
