//! Functions and types of programs that each compiler makes.

use super::function::{FrameBase, Function, Language, Location, Parameter, Piece, Place};
use super::types::{Type, TypeKind};
use super::*;
use crate::binary::fixture::{Fixture, run};

/// DWARF's numbers for the registers of integer arguments (x86-64 psABI, figure 3.36): rdi, rsi, rdx, rcx, r8, r9.
const ARGUMENTS: [u16; 6] = [5, 4, 1, 2, 8, 9];

struct Described {
    fixture: Fixture,
    functions: Vec<Function>,
    types: TypeTable,
}

impl Described {
    fn new(compiler: &str, options: &[&str], source: &str) -> Self {
        Self::of(Fixture::compile(compiler, options, source))
    }

    fn of(fixture: Fixture) -> Self {
        let binary = Binary::open(&fixture.program()).unwrap();
        let sections = DebugSections::load(&binary).unwrap();
        let info = DebugInfo::parse(&binary, &sections);
        assert_eq!(info.problems(), [""; 0]);
        let mut types = TypeTable::default();
        let functions = info.describe(info.functions(), &mut types);
        Self { fixture, functions, types }
    }

    fn function(&self, name: &str) -> &Function {
        let names: Vec<_> = self.functions.iter().map(|function| &function.name).collect();
        self.functions
            .iter()
            .find(|function| function.name == name)
            .unwrap_or_else(|| panic!("no `{name}` in {names:?}"))
    }

    fn parameter(&self, function: &str, name: &str) -> &Parameter {
        let found = self.function(function).parameters.iter().find(|parameter| parameter.name.as_deref() == Some(name));
        found.unwrap_or_else(|| panic!("`{function}` has no parameter `{name}`"))
    }

    fn ty(&self, function: &str, name: &str) -> &Type {
        self.types.get(self.parameter(function, name).ty)
    }

    /// `name: type` of each parameter.
    fn signature(&self, function: &str) -> Vec<String> {
        let parameters = self.function(function).parameters.iter();
        parameters.map(|it| format!("{}: {}", it.name.as_deref().unwrap_or("?"), self.types.get(it.ty).name)).collect()
    }
}

fn whole(place: Place) -> Location {
    Location::Pieces(vec![Piece { size: None, place }])
}

const C: &str = "
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
        let expected = if compiler == "gcc" { Some(FrameBase::Cfa) } else { Some(FrameBase::Register(7)) };
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
    assert_eq!(gcc.function("many").frame_base, Some(FrameBase::Cfa));
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
    assert_eq!(
        types.get(aggregate.members[2].ty).kind,
        TypeKind::Unsupported("it is a bit-field of 3 bits".to_owned())
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

const CPP: &str = "
    #include <string>
    namespace geometry {
        class Shape {
        public:
            int width;
            explicit Shape(int width);
            virtual ~Shape();
            double area(double scale) const;
            template <class T> T times(T by) { return by * width; }
            static int count(const std::string &text, Shape &&other);
        };
        Shape::Shape(int width) : width(width) {}
        Shape::~Shape() {}
        double Shape::area(double scale) const { return width * scale; }
        int Shape::count(const std::string &text, Shape &&other) { return text.size() + other.width; }
    }
    namespace { __attribute__((noinline)) int hidden(int n, geometry::Shape &s) { return n + s.width; } }
    extern \"C\" __attribute__((noinline)) int plain(bool b) { return b; }
    int main(int argc, char **argv) {
        geometry::Shape s(argc);
        return s.area(2) + s.times<int>(3) + hidden(argc, s) + plain(argc > 1) + geometry::Shape::count(argv[0], geometry::Shape(1));
    }
";

/// Guards against names without their namespace or class, with parameters, or mangled.
#[test]
fn cpp_functions_have_their_qualified_names_and_this() {
    for options in [["-O0", "-gdwarf-5"], ["-O0", "-gdwarf-4"], ["-O1", "-gdwarf-5"]] {
        for compiler in ["g++", "clang++"] {
            let described = Described::new(compiler, &[&options[..], &["-fno-inline"]].concat(), CPP);
            let context = format!("{compiler} {options:?}");
            let signature = described.signature("geometry::Shape::area");
            assert!(
                matches!(signature[0].as_str(), "this: const geometry::Shape *" | "this: const geometry::Shape *const"),
                "{context}"
            );
            assert_eq!(signature[1..], ["scale: double"], "{context}");
            assert!(described.parameter("geometry::Shape::area", "this").artificial, "{context}");
            assert!(!described.parameter("geometry::Shape::area", "scale").artificial, "{context}");
            assert_eq!(described.function("geometry::Shape::area").symbol, "_ZNK8geometry5Shape4areaEd", "{context}");
            assert_eq!(described.signature("geometry::Shape::Shape").len(), 2, "{context}");
            assert_eq!(described.signature("geometry::Shape::~Shape").len(), 1, "{context}");
            let count = ["text: const std::string &", "other: geometry::Shape &&"];
            assert_eq!(described.signature("geometry::Shape::count"), count, "{context}");
            assert_eq!(described.signature("geometry::Shape::times<int>")[1..], ["by: int"], "{context}");
            assert_eq!(
                described.signature("(anonymous namespace)::hidden"),
                ["n: int", "s: geometry::Shape &"],
                "{context}"
            );
            assert_eq!(described.signature("plain"), ["b: bool"], "{context}");
            assert_eq!(described.signature("main"), ["argc: int", "argv: char **"], "{context}");
            let shape = described.ty("(anonymous namespace)::hidden", "s");
            assert!(matches!(shape.kind, TypeKind::Pointer { reference: true, .. }), "{context}");
        }
    }
}

const RUST: &str = r#"
    mod geometry {
        pub trait Shape { fn area(&self, scale: f64) -> f64; }
        pub struct Circle { pub radius: f64, pub name: String }
        impl Circle {
            #[inline(never)]
            pub fn new(radius: f64, name: &str) -> Circle { Circle { radius, name: name.to_owned() } }
        }
        impl Shape for Circle {
            #[inline(never)]
            fn area(&self, scale: f64) -> f64 { self.radius * scale * self.name.len() as f64 }
        }
    }
    #[inline(never)]
    fn mixed(text: &str, flag: bool, wide: u8, maybe: Option<u32>, raw: *const u8, letter: char, unit: ()) -> u64 {
        text.bytes().map(u64::from).sum::<u64>() + u64::from(flag) + u64::from(wide) + u64::from(maybe.unwrap_or(7)) + raw as u64 + letter as u64
    }
    fn main() {
        use geometry::Shape;
        let n = std::env::args().count();
        let circle = geometry::Circle::new(n as f64, &std::env::args().next().unwrap());
        let text = std::env::args().next().unwrap();
        let letter = char::from(n as u8);
        println!("{}", circle.area(n as f64));
        println!("{}", mixed(&text, n > 1, n as u8, (n > 2).then_some(n as u32), &raw const n as *const u8, letter, ()));
    }
"#;

/// Guards against Rust's hashes in names, and against spelling its types as C's.
#[test]
fn rust_functions_have_readable_names_and_types() {
    for level in ["opt-level=0", "opt-level=2"] {
        let described = Described::new("rustc", &["-g", "-C", level], RUST);
        let mixed = [
            "text: &str",
            "flag: bool",
            "wide: u8",
            "maybe: core::option::Option<u32>",
            "raw: *const u8",
            "letter: char",
            "?: ()",
        ];
        let signature = described.signature("program::mixed");
        assert_eq!(signature[..6], mixed[..6], "{level}");
        let area = "<program::geometry::Circle as program::geometry::Shape>::area";
        assert_eq!(described.signature(area)[0], "self: &program::geometry::Circle", "{level}");
        assert_eq!(described.signature("program::geometry::Circle::new"), ["radius: f64", "name: &str"], "{level}");
        assert_eq!(described.function("program::mixed").language, Language::Rust);
        assert_eq!(described.ty("program::mixed", "letter").kind, TypeKind::Character { unicode: true, signed: false });
        assert!(
            matches!(&described.ty("program::mixed", "maybe").kind, TypeKind::Aggregate(it) if it.has_variants),
            "{level}"
        );
        let TypeKind::Aggregate(text) = &described.ty("program::mixed", "text").kind else { panic!("no aggregate") };
        let members: Vec<_> = text.members.iter().map(|it| (it.name.as_str(), it.offset)).collect();
        assert_eq!(members, [("data_ptr", 0), ("length", 8)], "{level}");
    }
}

/// Guards against half a `&str`: it is passed in two registers, and DWARF says so in two pieces.
#[test]
fn a_rust_str_in_registers_is_two_pieces() {
    let described = Described::new("rustc", &["-g", "-C", "opt-level=2"], RUST);
    let piece = |register| Piece { size: Some(8), place: Place::Register(register) };
    let text = &described.parameter("program::mixed", "text").location;
    assert_eq!(*text, Location::Pieces(vec![piece(ARGUMENTS[0]), piece(ARGUMENTS[1])]));
}

/// Guards against booleans that cannot be read in optimized code, where clang and rustc mask out one bit of the register.
#[test]
fn booleans_of_optimized_code_are_one_byte_of_their_register() {
    let source = "__attribute__((noinline)) int pick(int n, _Bool b) { return b ? n : 2; }
        int main(int argc, char **argv) { return pick(argc, argv[0][0] == 'x') + pick(argc + 1, argc > 7); }";
    let byte = |register| Location::Pieces(vec![Piece { size: Some(1), place: Place::Register(register) }]);
    for version in ["-gdwarf-4", "-gdwarf-5"] {
        let described = Described::new("clang", &["-O2", version], source);
        assert_eq!(described.parameter("pick", "b").location, byte(ARGUMENTS[1]), "{version}");
    }
    let described = Described::new("rustc", &["-g", "-C", "opt-level=2"], RUST);
    assert_eq!(described.parameter("program::mixed", "flag").location, byte(ARGUMENTS[2]));
}

/// Guards against parameters that vanish, or change places, when the compiler specializes a function for a constant argument.
#[test]
fn parameters_that_optimization_removed_stay_in_their_order() {
    let source = "
        static __attribute__((noinline, noipa)) int use(int n) { return n; }
        static __attribute__((noinline)) int scaled(int unused, int factor, int n) { return use(n * factor) + use(n); }
        int main(int argc, char **argv) { (void)argv; return scaled(argc, 3, argc) + scaled(argc + 1, 3, argc + 2); }";
    let described = Described::new("gcc", &["-O2", "-g"], source);
    let scaled = described.function("scaled");
    assert_eq!(described.signature("scaled"), ["unused: int", "factor: int", "n: int"]);
    assert!(
        scaled.symbol.starts_with("scaled.constprop.") || scaled.symbol.starts_with("scaled.isra."),
        "{}",
        scaled.symbol
    );
    assert_eq!(scaled.parameters[0].location, Location::OptimizedOut);
    assert_eq!(scaled.parameters[1].location, whole(Place::Constant(3u64.to_le_bytes().to_vec())));
    assert_eq!(scaled.parameters[2].location, whole(Place::Register(ARGUMENTS[0])));
}

/// Guards against probing the cold part of a function as if it were its entry.
#[test]
fn the_first_range_of_a_split_function_begins_with_its_entry() {
    let source = "
        #include <stdlib.h>
        __attribute__((cold, noinline)) void fail(int n) { exit(n); }
        __attribute__((noinline)) int check(int n) { if (n > 100) { fail(n); fail(n + 1); } return n * 3; }
        int main(int argc, char **argv) { (void)argv; return check(argc); }";
    let described = Described::new("gcc", &["-O2", "-g"], source);
    let check = described.function("check");
    let binary = Binary::open(&described.fixture.program()).unwrap();
    let symbol_of = |name: &str| binary.function_symbols().iter().find(|symbol| symbol.name == name).unwrap().address;
    assert_eq!(check.ranges.len(), 2, "{:?}", check.ranges);
    assert_eq!(check.ranges[0].start, symbol_of("check"));
    assert_eq!(check.ranges[1].start, symbol_of("check.cold"));
}

/// Guards against functions that the linker dropped, and against one that is listed once for each unit that describes it.
#[test]
fn each_function_with_code_is_listed_once() {
    let fixture = Fixture::new();
    fixture.write("twice.h", "template <class T> T twice(T n) { return n + n; }\n");
    fixture
        .write("a.cpp", "#include \"twice.h\"\nint a(int n) { return twice(n); }\nint unused(int n) { return n; }\n");
    fixture.write(
        "b.cpp",
        "#include \"twice.h\"\nint a(int);\nint main(int argc, char **) { return a(argc) + twice(argc); }\n",
    );
    let options = ["-g", "-ffunction-sections", "-Wl,--gc-sections", "a.cpp", "b.cpp", "-o", "program"];
    run("g++", &options, fixture.folder());
    let described = Described::of(fixture);
    let mut names: Vec<_> = described.functions.iter().map(|function| function.name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["a", "main", "twice<int>"]);
    assert!(described.functions.iter().all(|function| function.declared.is_some()));
}

/// Guards against declaration files of one table looked up in another, or off by one between DWARF 4 and 5.
#[test]
fn declarations_in_headers_are_found_in_both_versions() {
    for version in ["-gdwarf-4", "-gdwarf-5"] {
        for compiler in ["gcc", "clang"] {
            let fixture = Fixture::new();
            std::fs::create_dir(fixture.folder().join("include")).unwrap();
            fixture.write("include/area.h", "\nstatic int area(int side) { return side * side; }\n");
            fixture.write(
                "program.c",
                "#include \"area.h\"\nint main(int argc, char **argv) { return area(argc) + !argv; }\n",
            );
            run(compiler, &[version, "-Iinclude", "program.c", "-o", "program"], fixture.folder());
            let described = Described::of(fixture);
            let declared = described.function("area").declared.clone().unwrap();
            let header = described.fixture.folder().canonicalize().unwrap().join("include/area.h");
            assert_eq!((declared.file.canonicalize().unwrap(), declared.line), (header, 2), "{compiler} {version}");
        }
    }
}

/// Guards against types that are moved into units of their own (`-fdebug-types-section`) and not found there.
#[test]
fn types_in_type_units_are_found() {
    for version in ["-gdwarf-4", "-gdwarf-5"] {
        let described = Described::new("g++", &[version, "-fdebug-types-section"], CPP);
        let TypeKind::Pointer { to, .. } = described.ty("(anonymous namespace)::hidden", "s").kind else {
            panic!("no pointer")
        };
        let shape = described.types.get(to);
        assert_eq!((shape.name.as_str(), shape.size), ("geometry::Shape", Some(16)), "{version}");
        assert!(
            matches!(&shape.kind, TypeKind::Aggregate(it) if it.members.iter().any(|member| member.name == "width")),
            "{version}"
        );
    }
}

/// Guards against silence about functions that are described in files which we do not read.
#[test]
fn split_debug_info_is_said_to_be_unread() {
    for version in ["-gdwarf-4", "-gdwarf-5"] {
        let fixture = Fixture::compile("gcc", &[version, "-gsplit-dwarf"], C);
        let binary = Binary::open(&fixture.program()).unwrap();
        let sections = DebugSections::load(&binary).unwrap();
        let info = DebugInfo::parse(&binary, &sections);
        assert_eq!(info.functions().len(), 0, "{version}");
        let expected = "1 of its compilation units are in files of their own (`-gsplit-dwarf`), which are not read";
        assert_eq!(info.problems(), [expected], "{version}");
    }
}

/// Guards against the line of a neighbour: the address of the fault is what a report begins with.
#[test]
fn an_address_is_found_in_its_function_and_line() {
    let source = "int twice(int n)\n{\n    return 2 * n;\n}\nint main(void)\n{\n    return twice(0);\n}\n";
    for (compiler, version) in [("gcc", "-gdwarf-4"), ("gcc", "-gdwarf-5"), ("clang", "-gdwarf-5")] {
        let fixture = Fixture::compile(compiler, &["-O0", version], source);
        let binary = Binary::open(&fixture.program()).unwrap();
        let sections = DebugSections::load(&binary).unwrap();
        let info = DebugInfo::parse(&binary, &sections);
        let twice = info.functions().iter().find(|function| function.name == "twice").unwrap().entry;
        let line_at = |address: Svma| {
            let found = info.source_line(address).unwrap();
            (found.function.unwrap(), found.line.map(|line| line.line))
        };
        let context = format!("{compiler} {version}");
        assert_eq!(line_at(twice), ("twice".to_owned(), Some(2)).clone(), "{context}");
        let end = info.describe(info.functions(), &mut TypeTable::default());
        let end = end.iter().find(|function| function.name == "twice").unwrap().ranges[0].end;
        assert_eq!(line_at(Svma(end.0 - 1)).0, "twice", "{context}");
        assert_eq!(info.source_line(Svma(0)), None);
        // Without debug info: the C runtime's own code.
        let start = binary.function_symbols().iter().find(|symbol| symbol.name == "_start").unwrap().address;
        assert_eq!(line_at(start), ("_start".to_owned(), None), "{context}");
    }
}
