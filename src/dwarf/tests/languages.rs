//! C++ and Rust: names, methods, types of their own.

use super::*;

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
            matches!(&described.ty("program::mixed", "maybe").kind, TypeKind::Aggregate(it) if it.variants.is_some()),
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
    let byte = |place| Location::Pieces(vec![Piece { size: Some(1), place }]);
    for version in ["-gdwarf-4", "-gdwarf-5"] {
        let described = Described::new("clang", &["-O2", version], source);
        assert_eq!(described.parameter("pick", "b").location, byte(Place::HomeRegister(ARGUMENTS[1])), "{version}");
    }
    let described = Described::new("rustc", &["-g", "-C", "opt-level=2"], RUST);
    assert_eq!(described.parameter("program::mixed", "flag").location, byte(Place::Register(ARGUMENTS[2])));
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
