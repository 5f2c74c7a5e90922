//! What optimizers, linkers and build systems do to functions, and where they are declared.

use super::c::C;
use super::*;

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

/// Guards against a relative compilation directory that is put in front twice, as reproducible builds have one.
#[test]
fn a_relative_compilation_directory_is_named_once() {
    for compiler in ["gcc", "clang"] {
        for version in ["-gdwarf-4", "-gdwarf-5"] {
            let fixture = Fixture::new();
            fixture.write("program.c", "int main(void) { return 0; }\n");
            let folder = fixture.folder().canonicalize().unwrap();
            let map = format!("-fdebug-prefix-map={}=./build", folder.display());
            run(compiler, &[version, &map, "program.c", "-o", "program"], &folder);
            let described = Described::of(fixture);
            let declared = described.function("main").declared.clone().unwrap();
            assert_eq!(declared.file, std::path::Path::new("./build/program.c"), "{compiler} {version}");
        }
    }
}

/// Guards against functions in assembly that look as if debug info said that they have no parameters.
#[test]
fn functions_in_assembly_are_left_to_the_symbol_table() {
    let fixture = Fixture::new();
    fixture.write(
        "twice.s",
        ".globl twice\n.type twice, @function\ntwice: lea (%rdi,%rdi), %eax\n ret\n.size twice, .-twice\n",
    );
    fixture.write("main.c", "int twice(int); int main(int argc, char **argv) { return twice(argc) + !argv; }\n");
    run("gcc", &["-g", "twice.s", "main.c", "-o", "program"], fixture.folder());
    let described = Described::of(fixture);
    assert_eq!(described.functions.iter().map(|it| it.name.as_str()).collect::<Vec<_>>(), ["main"]);
}
