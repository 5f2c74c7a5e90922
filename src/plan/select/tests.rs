//! Programs with and without debug info, and what is selected from them.

use std::path::Path;

use super::*;
use crate::binary::fixture::{Fixture, run};

const CPP: &str = "
    #include <string>
    #include <vector>
    namespace geometry {
        struct Shape { int width; std::string name; int area() const; int grow(int by); };
        int Shape::area() const { return width * width; }
        int Shape::grow(int by) { width += by; return area(); }
    }
    template <class T> __attribute__((noinline)) T largest(const std::vector<T> &all) { T m{}; for (T it : all) if (it > m) m = it; return m; }
    int main(int argc, char **) { geometry::Shape s{argc, \"x\"}; return s.grow(2) + largest<int>({1, 2}); }
";

fn choose(program: &Path, functions: &[&str]) -> Result<Selected, SelectError> {
    let functions = functions.iter().map(|text| (*text).to_owned()).collect();
    select(Binary::open(program).unwrap(), &Selection { functions, ..Selection::default() })
}

fn names(selected: &Selected) -> Vec<&str> {
    let mut names: Vec<_> = selected.functions.iter().map(|it| it.function.name.as_str()).collect();
    names.sort_unstable();
    names
}

/// Guards against probing the standard library by default: a C++ program brings hundreds of its functions.
#[test]
fn the_default_is_what_the_program_s_sources_declare() {
    let fixture = Fixture::compile("g++", &["-g", "-O0"], CPP);
    let selected = choose(&fixture.program(), &[]).unwrap();
    assert_eq!(names(&selected), ["geometry::Shape::area", "geometry::Shape::grow", "largest<int>", "main"]);
    assert!(selected.functions.iter().all(|it| it.object == 0 && !it.function.from_symbol_table));
    assert_eq!((selected.skipped, selected.notes), (vec![], vec![]));
}

/// Guards against Rust's standard library in the default selection.
#[test]
fn the_default_of_a_rust_program_leaves_out_its_standard_library() {
    let source = "#[inline(never)] fn add(a: i32, b: i32) -> i32 { a + b }
        fn main() { let n = std::env::args().count() as i32; println!(\"{}\", add(n, 4)); }";
    let fixture = Fixture::compile("rustc", &["-g"], source);
    assert_eq!(names(&choose(&fixture.program(), &[]).unwrap()), ["program::add", "program::main"]);
}

/// Guards against patterns that select too much or too little.
#[test]
fn patterns_choose_and_exclude() {
    let fixture = Fixture::compile("g++", &["-g", "-O0"], CPP);
    let chosen = |patterns: &[&str]| {
        let selected = choose(&fixture.program(), patterns).unwrap();
        names(&selected).into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(chosen(&["area"]), ["geometry::Shape::area"]);
    assert_eq!(
        chosen(&["Shape::*", "main"]),
        ["geometry::Shape::area", "geometry::Shape::grow", "geometry::Shape::~Shape", "main"]
    );
    assert_eq!(chosen(&["geometry::*", "!*~*", "!grow"]), ["geometry::Shape::area"]);
    assert_eq!(chosen(&["!main", "!largest"]), ["geometry::Shape::area", "geometry::Shape::grow"]);
    assert_eq!(chosen(&["_start"]), ["_start"]);
    assert_eq!(chosen(&["_ZN8geometry5Shape4growEi"]), ["geometry::Shape::grow"]);
}

/// Guards against a typing error that leads to an empty report.
#[test]
fn a_pattern_that_nothing_meets_is_an_error_with_the_nearest_names() {
    let fixture = Fixture::compile("g++", &["-g", "-O0"], CPP);
    let error = choose(&fixture.program(), &["main", "Shape::aera"]).unwrap_err();
    assert!(error.to_string().starts_with("no function matches `Shape::aera` in `"), "{error}");
    let error = choose(&fixture.program(), &["graw"]).unwrap_err();
    assert_eq!(
        error.hint().as_deref().map(|hint| hint.starts_with("did you mean `geometry::Shape::grow`")),
        Some(true),
        "{error:?}"
    );
    let error = choose(&fixture.program(), &["zzzzzz"]).unwrap_err();
    let list = format!("`lastwords functions {} -f '*'` lists all there are", fixture.program().display());
    assert_eq!(error.hint(), Some(list));
    let error = choose(&fixture.program(), &["!*"]).unwrap_err();
    assert!(error.to_string().starts_with("found no function to probe in `"), "{error}");
}

/// Guards against sources that are matched by their name and not by their path.
#[test]
fn sources_choose_by_path() {
    let fixture = Fixture::new();
    std::fs::create_dir(fixture.folder().join("net")).unwrap();
    fixture.write("net/send.c", "int send_all(int n) { return n; }\n");
    fixture.write(
        "main.c",
        "int send_all(int); int helper(int n) { return n; }\nint main(void) { return send_all(helper(0)); }\n",
    );
    run("gcc", &["-g", "net/send.c", "main.c", "-o", "program"], fixture.folder());
    let chosen = |functions: &[&str], sources: &[&str]| {
        let strings = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let selection = Selection { functions: strings(functions), sources: strings(sources), libraries: vec![] };
        select(Binary::open(&fixture.program()).unwrap(), &selection)
    };
    assert_eq!(names(&chosen(&[], &["net"]).unwrap()), ["send_all"]);
    assert_eq!(names(&chosen(&[], &["net/*.c", "main.c"]).unwrap()), ["helper", "main", "send_all"]);
    assert_eq!(names(&chosen(&["*e*"], &["main.c"]).unwrap()), ["helper"]);
    let error = chosen(&[], &["net/sent.c"]).unwrap_err();
    assert!(error.hint().unwrap().ends_with("net/send.c`?"), "{error:?}");
    assert!(matches!(chosen(&[], &["net/[a"]).unwrap_err(), SelectError::Pattern { .. }));
}

/// Guards against giving up on a program without debug info, and against probing what the C runtime brings.
#[test]
fn a_program_without_debug_info_is_selected_by_its_symbols() {
    let source = "__attribute__((noinline)) int twice(int n) { return 2 * n; } int main(int c, char **v) { return twice(c) + !v; }";
    let fixture = Fixture::compile("gcc", &["-O1"], source);
    let selected = choose(&fixture.program(), &[]).unwrap();
    assert_eq!(names(&selected), ["main", "twice"]);
    let twice = &selected.functions.iter().find(|it| it.function.name == "twice").unwrap().function;
    assert!(twice.from_symbol_table);
    assert_eq!((twice.parameters.len(), twice.entry_cfa_offset, twice.declared.clone()), (0, Some(8), None));
    run("strip", &["program"], fixture.folder());
    assert!(matches!(choose(&fixture.program(), &[]).unwrap_err(), SelectError::Nothing { .. }));
}

const LIBRARY: &str = "
    static int twice(int n) { return 2 * n; }
    int area(int side) { return side * twice(side); }
    static int fast(int n) { return n; }
    static int (*choose(void))(int) { return fast; }
    int indirect(int n) __attribute__((ifunc(\"choose\")));
    __asm__(\".globl endless; .type endless, @function; endless: ret\");
";

/// Guards against selecting functions of a library by accident, and its hidden ones by default.
#[test]
fn functions_of_a_library_are_selected_by_its_name() {
    let fixture = Fixture::new();
    fixture.write("area.c", LIBRARY);
    fixture.write("main.c", "int area(int); int main(void) { return area(0); }\n");
    run("gcc", &["-g", "-shared", "-fPIC", "area.c", "-o", "libarea.so"], fixture.folder());
    run("gcc", &["-g", "main.c", "-o", "program", "./libarea.so", "-Wl,-rpath,$ORIGIN"], fixture.folder());
    let library = fixture.folder().join("libarea.so").to_str().unwrap().to_owned();
    let chosen = |functions: &[&str], library: &str| {
        let functions = functions.iter().map(|text| (*text).to_owned()).collect();
        let selection = Selection { functions, sources: vec![], libraries: vec![library.to_owned()] };
        select(Binary::open(&fixture.program()).unwrap(), &selection)
    };
    let selected = chosen(&[], &library).unwrap();
    assert_eq!(names(&selected), ["area", "main"]);
    let of_library: Vec<_> = selected.functions.iter().filter(|it| it.object == 1).collect();
    assert_eq!((of_library.len(), of_library[0].function.parameters.len()), (1, 1));
    let mut skipped: Vec<_> = selected.skipped.iter().map(|it| it.function.as_str()).collect();
    skipped.sort_unstable();
    assert_eq!(skipped, ["endless", "indirect"]);
    assert_eq!(names(&chosen(&["twice"], &library).unwrap()), ["twice"]);
    assert!(matches!(chosen(&["endless"], &library).unwrap_err(), SelectError::AllSkipped { .. }));
    assert!(matches!(chosen(&[], "nosuch").unwrap_err(), SelectError::Library(_)));

    let error = choose(&fixture.program(), &["area"]).unwrap_err();
    assert!(error.hint().unwrap().contains("--lib"), "{error:?}");
}

/// Guards against `malloc` that is not found because its debug info calls it by another name.
#[test]
fn a_function_is_found_by_each_of_its_symbols() {
    let source = "int inner_area(int side) { return side * side; }
        int area(int side) __attribute__((alias(\"inner_area\")));
        int main(int argc, char **argv) { return area(argc) + !argv; }";
    let fixture = Fixture::compile("gcc", &["-g"], source);
    let selected = choose(&fixture.program(), &["area"]).unwrap();
    let area = &selected.functions[0].function;
    assert_eq!((area.name.as_str(), area.symbol.as_str(), area.parameters.len()), ("area", "area", 1));
    assert_eq!(names(&choose(&fixture.program(), &["inner_area", "area"]).unwrap()), ["inner_area"]);
    assert_eq!(names(&choose(&fixture.program(), &["!area"]).unwrap()), ["main"]);
}
