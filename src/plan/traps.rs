//! Debug info that is wrong about the entry of a function, or right about another moment: what a plan must not believe. Each case
//! was found as a value that a report told as exact and that nobody had passed (`tests/truth.rs` looks for more).

use super::fixture::{Program, Types};
use crate::dwarf::types::{Aggregate, Member, Type, TypeId, TypeKind, TypeTable};

const CONTRADICTION: &str = "the debug info contradicts itself about where the arguments came in";
const UNCERTAIN: &str = "whether its register is filled at the entry or behind it cannot be told";

/// A struct of words.
fn words(types: &mut TypeTable, word: TypeId, size: u64, is_passed_by_reference: bool) -> TypeId {
    let count = size / types.get(word).size.unwrap();
    let members = (0..count).map(|at| Member { name: String::new(), offset: at * (size / count), ty: word }).collect();
    let kind = TypeKind::Aggregate(Aggregate { members, is_passed_by_reference, ..Aggregate::default() });
    types.push(Type { name: "struct".into(), size: Some(size), kind })
}

fn lost(name: &str, reason: &str) -> String {
    format!("{name} = 4 bytes {reason}")
}

/// Guards against taking the value that a parameter is assigned for the one that was passed: clang says that from the entry on, gcc
/// says before that what was passed.
#[test]
fn what_is_assigned_first_was_not_passed() {
    let source = r"
        extern int use(int, int);
        int assigned(int a, int b) { a = b; use(a, b); return a + b; }
        int swapped(int a, int b) { int t = a; a = b; b = t; use(a, b); return a - b; }
        int constant(int a, int b) { a = 300; use(b, b); use(a, a); return a + b; }
        long first(int a, int b) { a = b; b = 5; return use(a, a) + b; }
    ";
    for compiler in ["gcc", "clang"] {
        let mut program = Program::c(compiler, "-O2", source);
        let Types { int, .. } = Types::add_to(&mut program.types);
        for name in ["assigned", "swapped"] {
            let expected = match compiler {
                "gcc" => ["a = rdi[0..4]".to_owned(), "b = rsi[0..4]".to_owned()],
                _ => ["a", "b"].map(|name| lost(name, CONTRADICTION)),
            };
            assert_eq!(program.arguments(name, &[int, int]), expected, "{compiler} {name}");
        }
        let constant = program.arguments("constant", &[int, int]);
        assert_eq!(constant, ["a = rdi[0..4]", "b = rsi[0..4]"], "{compiler}");
        let first = program.arguments("first", &[int, int]);
        assert_ne!(first[0], "a = rsi[0..4]", "{compiler}");
    }
}

/// Guards against a constant that stands for all of a function, and was assigned in it.
#[test]
fn a_constant_need_not_have_been_passed() {
    let source = "__attribute__((noinline)) static long f(int a, long b) { a = 300; return a * b; }
        long g(long b) { return f(7, b) + f(8, b + 1); }";
    let mut program = Program::c("gcc", "-O2 -fno-ipa-sra -fno-ipa-cp", source);
    let Types { int, long, .. } = Types::add_to(&mut program.types);
    let a = &program.arguments("f", &[int, long])[0];
    assert!(
        a == "a = rdi[0..4]"
            || a == &lost("a", "the debug info says 0x12c, which may have been assigned and not passed"),
        "{a}"
    );
}

/// Guards against the register of a `register` parameter read before it is filled, or after something else was in it for a while.
#[test]
fn a_home_register_is_believed_only_where_one_thing_is_put_there() {
    let source = r"
        extern int use(void *);
        int variadic(register int a, register int b, register int c, register short d, ...) {
            char buffer[64]; use(buffer); return a + b + c + d;
        }
        int saved(register int a, register char *b) { use(b); return a + use(b); }
    ";
    let mut program = Program::c("gcc", "-O0", source);
    let Types { int, short, string, .. } = Types::add_to(&mut program.types);
    let variadic = program.arguments("variadic", &[int, int, int, short]);
    for (argument, passed) in variadic.iter().zip(["rdi[0..4]", "rsi[0..4]", "rdx[0..4]", "rcx[0..2]"]) {
        assert!(argument.ends_with(passed) || argument.ends_with(UNCERTAIN), "{argument}");
    }
    assert_eq!(program.arguments("saved", &[int, string]), ["a = rdi[0..4]", "b = rsi[0..8], string at [8]"]);
}

/// Guards against a dead register that clang says a parameter is in.
#[test]
fn a_register_that_is_set_later_is_not_read_at_the_entry() {
    let source = "extern int use(int); _Bool odd(long a, long b, long c, long d, long e, long f, _Bool g, int h) {
        if (use(a)) use(b); return g && use(h + c + d + e + f); }";
    let mut program = Program::c("clang", "-O1", source);
    let Types { long, bool, int, .. } = Types::add_to(&mut program.types);
    let arguments = program.arguments("odd", &[long, long, long, long, long, long, bool, int]);
    assert_eq!(arguments[..2], ["a = rdi[0..8]", "b = rsi[0..8]"]);
    assert!(!arguments[6].contains("= r"), "{}", arguments[6]);
    assert!(!arguments[6].contains(UNCERTAIN) || arguments[6].starts_with("g = 1 bytes"), "{}", arguments[6]);
}

/// Guards against members that share a register taken for the whole of it.
#[test]
fn members_in_one_register_are_told_apart() {
    let source = "struct pair { int a, b; }; volatile long sink;
        void sum(struct pair p, struct pair q) { sink += p.a; sink += p.b; sink += q.a; sink += q.b; }";
    let mut program = Program::c("clang", "-O2", source);
    let Types { int, .. } = Types::add_to(&mut program.types);
    let pair = words(&mut program.types, int, 8, false);
    let expected = ["p = rdi[0..4] + rdi[4..8]", "q = rsi[0..4] + rsi[4..8]"];
    assert_eq!(program.arguments("sum", &[pair, pair]), expected);
}

/// Guards against losing all arguments where clang begins to speak behind `endbr64`.
#[test]
fn a_marker_at_the_entry_is_no_instruction_to_wait_for() {
    let source = "extern long use(long, long); long f(long a, int b) { return use(a, b) + use(b, a); }";
    for compiler in ["gcc", "clang"] {
        let mut program = Program::c(compiler, "-O2 -fcf-protection", source);
        let Types { long, int, .. } = Types::add_to(&mut program.types);
        assert_eq!(program.arguments("f", &[long, int]), ["a = rdi[0..8]", "b = rsi[0..4]"], "{compiler}");
    }
}

/// Guards against the bytes of a reference taken for those of the object: clang forgets that it follows one that is on the stack.
#[test]
fn a_hidden_reference_on_the_stack_is_not_the_value() {
    let source = r#"
        struct counted { long id; counted(const counted &o) : id(o.id) {} ~counted() { id = 0; } };
        extern "C" long use(long);
        extern "C" long hidden(long a, long b, long c, long d, long e, long f, counted g) { return use(a + b + c + d + e + f + g.id); }
    "#;
    let mut program = Program::c("clang++", "-x c++ -O1 -fno-exceptions", source);
    let Types { long, .. } = Types::add_to(&mut program.types);
    let counted = words(&mut program.types, long, 8, true);
    let arguments = program.arguments("hidden", &[long, long, long, long, long, long, counted]);
    let expected = "g = 8 bytes it came as a reference on the stack, and the debug info does not follow that";
    assert_eq!(arguments[6], expected);
}

/// Guards against reading through a register that the prologue points at the arguments on the stack: at the entry it holds
/// something else.
#[test]
fn an_argument_on_the_stack_is_not_looked_for_through_a_register_that_is_set_later() {
    let source = "struct big { long a[3]; }; extern long use(void *, long);
        long aligned(int n, struct big b) { char buffer[64] __attribute__((aligned(64))); return use(buffer, b.a[2] + n) + use(buffer, b.a[0]); }";
    for flags in ["-O0", "-O1", "-O2 -mstackrealign"] {
        let mut program = Program::c("gcc", flags, source);
        let Types { int, long, .. } = Types::add_to(&mut program.types);
        let big = words(&mut program.types, long, 24, false);
        assert_eq!(program.arguments("aligned", &[int, big]), ["n = rdi[0..4]", "b = *(rsp+8)[0..24]"], "{flags}");
    }
}

/// Guards against the register that rustc pushes to make room for a parameter's slot, and against a frame base that is not the CFA.
#[test]
fn rust_slots_are_filled_by_stores_and_counted_from_the_frame_base() {
    let source = r"
        use std::hint::black_box;
        #[unsafe(no_mangle)] pub extern fn pushed(number: i32) -> i32 { black_box(number) + black_box(number + 1) }
        #[unsafe(no_mangle)] pub extern fn large(seed: i32, count: i64) -> i32 {
            let mut buffer = [seed; 20_000]; black_box(&mut buffer); buffer[count as usize]
        }
    ";
    let mut program = Program::rust("-Copt-level=0", source);
    let Types { int, long, .. } = Types::add_to(&mut program.types);
    assert_eq!(program.arguments("pushed", &[int]), ["number = rdi[0..4]"]);
    assert_eq!(program.arguments("large", &[int, long]), ["seed = rdi[0..4]", "count = rsi[0..8]"]);
}
