//! C: spelling and parts of types, places of arguments.

use super::*;

pub(super) const C: &str = "
    struct rec { int a; struct rec *next; unsigned b : 3; char name[16]; };
    enum color { RED, GREEN = 7, BLUE = -1 };
    typedef struct { double x, y; } point;
    __attribute__((noinline)) long many(const char *s, struct rec *r, enum color c, int (*f)(int, char), char *const *g,
        unsigned long h, short i, double d, point p, _Bool b, int (*m)[4], void (*v)(void), volatile long long *w, const void *x)
    {
        return s[0] + r->a + c + f(1, 2) + g[0][0] + h + i + d + p.x + b + m[0][0] + (v != 0) + *w + (x != 0);
    }
    __attribute__((noinline)) void nothing(void) { __asm__ volatile(\"\"); }
    int main(int argc, char **argv) { nothing(); return argc > 5 ? many(argv[0], 0, RED, 0, argv, argc, 0, 1.0, *(point *)argv, 0, 0, 0, 0, 0) : 0; }
";

/// Guards against types that nobody would write: gcc's `long unsigned int`, declarators in the wrong order, lost qualifiers.
#[test]
fn c_types_are_spelled_as_in_the_source() {
    for compiler in ["gcc", "clang"] {
        for level in ["-O0", "-O2"] {
            for version in ["-gdwarf-4", "-gdwarf-5"] {
                let described = Described::new(compiler, &[level, version], C);
                let expected = [
                    "s: const char *",
                    "r: struct rec *",
                    "c: enum color",
                    "f: int (*)(int, char)",
                    "g: char *const *",
                    "h: unsigned long",
                    "i: short",
                    "d: double",
                    "p: point",
                    "b: _Bool",
                    "m: int (*)[4]",
                    "v: void (*)(void)",
                    "w: volatile long long *",
                    "x: const void *",
                ];
                assert_eq!(described.signature("many"), expected, "{compiler} {level} {version}");
                let many = described.function("many");
                assert_eq!(many.return_type.map(|ty| described.types.get(ty).name.as_str()), Some("long"));
                assert_eq!(described.function("nothing").return_type, None);
                assert_eq!((many.symbol.as_str(), many.language), ("many", Language::C));
                assert_eq!(many.entry_cfa_offset, Some(8), "{compiler} {level} {version}");
                let declared = many.declared.as_ref().unwrap();
                let file = described.fixture.folder().canonicalize().unwrap().join("program.c");
                assert_eq!(
                    (declared.file.canonicalize().unwrap(), declared.line),
                    (file, 5),
                    "{compiler} {level} {version}"
                );
                assert!(declared.file.is_absolute());
            }
        }
    }
}

/// Guards against reading arguments of optimized code from where the calling convention would have them, and not the debug info.
#[test]
fn arguments_of_optimized_code_are_in_registers_at_the_entry() {
    for (compiler, version) in
        [("gcc", "-gdwarf-4"), ("gcc", "-gdwarf-5"), ("clang", "-gdwarf-4"), ("clang", "-gdwarf-5")]
    {
        let described = Described::new(compiler, &["-O2", version], C);
        for (name, register) in ["s", "r", "c", "f", "g", "h"].iter().zip(ARGUMENTS) {
            let location = &described.parameter("many", name).location;
            assert_eq!(*location, whole(Place::Register(register)), "{compiler} {version} {name}");
        }
        // xmm0 is 17; what lies behind the sixth integer argument is on the stack.
        assert_eq!(described.parameter("many", "d").location, whole(Place::Register(17)), "{compiler} {version}");
        let on_stack = if compiler == "gcc" { Place::CfaOffset(0) } else { Place::FrameOffset(8) };
        let expected = if compiler == "gcc" { Some(FrameBase::Cfa(0)) } else { Some(FrameBase::Register(7)) };
        let many = described.function("many");
        assert_eq!(many.frame_base, expected);
        if compiler == "gcc" {
            assert_eq!(described.parameter("many", "i").location, whole(on_stack), "{version}");
        }
    }
}

/// Guards against mixing up the two kinds of frame bases.
#[test]
fn arguments_of_plain_code_are_in_the_frame() {
    let gcc = Described::new("gcc", &["-O0", "-g"], C);
    assert_eq!(gcc.function("many").frame_base, Some(FrameBase::Cfa(0)));
    assert_eq!(gcc.parameter("many", "s").location, whole(Place::CfaOffset(-40)));
    assert_eq!(gcc.parameter("many", "m").location, whole(Place::CfaOffset(16)));
    let clang = Described::new("clang", &["-O0", "-g"], C);
    assert_eq!(clang.function("many").frame_base, Some(FrameBase::Register(6)));
    assert_eq!(clang.parameter("many", "s").location, whole(Place::FrameOffset(-24)));
}

/// Guards against types without their parts, types that contain themselves, and fields of bits that look like whole numbers.
#[test]
fn c_types_are_described_with_their_parts() {
    let described = Described::new("gcc", &["-g"], C);
    let types = &described.types;
    let TypeKind::Pointer { to, reference: false } = described.ty("many", "r").kind else { panic!("no pointer") };
    let record = types.get(to);
    assert_eq!((record.name.as_str(), record.size), ("struct rec", Some(40)));
    let TypeKind::Aggregate(aggregate) = &record.kind else { panic!("no aggregate: {record:?}") };
    let members: Vec<_> =
        aggregate.members.iter().map(|it| (it.name.as_str(), it.offset, types.get(it.ty).name.as_str())).collect();
    assert_eq!(
        members,
        [("a", 0, "int"), ("next", 8, "struct rec *"), ("b", 16, "unsigned int"), ("name", 17, "char[16]")]
    );
    assert_eq!(aggregate.members[1].ty, described.parameter("many", "r").ty);
    assert!(
        matches!(types.get(aggregate.members[2].ty).kind, TypeKind::BitField { skip: 0, bits: 3, .. }),
        "{:?}",
        types.get(aggregate.members[2].ty)
    );
    let name = types.get(aggregate.members[3].ty);
    assert!(matches!(&name.kind, TypeKind::Array { counts, .. } if *counts == [Some(16)]), "{name:?}");
    assert_eq!(name.size, Some(16));

    let named = |name: &str, value| (name.to_owned(), value);
    let enumerators = vec![named("RED", 0), named("GREEN", 7), named("BLUE", -1)];
    assert_eq!(described.ty("many", "c").kind, TypeKind::Enumeration { signed: true, enumerators });
    assert_eq!(described.ty("many", "c").size, Some(4));
    let point = types.resolve(described.parameter("many", "p").ty);
    assert_eq!((point.name.as_str(), point.size), ("struct {...}", Some(16)));
    assert_eq!(described.ty("many", "b").kind, TypeKind::Bool);
    assert_eq!(described.ty("many", "i").kind, TypeKind::Integer { signed: true });
    assert_eq!(described.ty("many", "h").kind, TypeKind::Integer { signed: false });
    assert_eq!(described.ty("many", "d").kind, TypeKind::Float);
}

/// Guards against enumerators without a sign that look negative, or the other way round.
#[test]
fn enumerators_have_the_sign_of_their_type() {
    let source = "enum big { SMALL = 1, TOP = 0xfffffff0u }; enum low { MINUS = -2 };
        int both(enum big b, enum low l) { return b + l; } int main(void) { return 0; }";
    for compiler in ["gcc", "clang"] {
        let described = Described::new(compiler, &["-g"], source);
        let big = vec![("SMALL".to_owned(), 1), ("TOP".to_owned(), 0xffff_fff0)];
        assert_eq!(
            described.ty("both", "b").kind,
            TypeKind::Enumeration { signed: false, enumerators: big },
            "{compiler}"
        );
        let low = vec![("MINUS".to_owned(), -2)];
        assert_eq!(
            described.ty("both", "l").kind,
            TypeKind::Enumeration { signed: true, enumerators: low },
            "{compiler}"
        );
    }
}
