//! What real compilers emit, and what a plan must make of it.

use super::fixture::{Program, Types};
use super::placement::EntryPlace;
use super::returns::StackUse;
use super::{Exits, Followed, FunctionPlan};
use crate::dwarf::types::{Aggregate, Member, Type, TypeId, TypeKind, TypeTable};

const RUST_FLAGS: [&str; 2] = ["-Copt-level=0", "-Copt-level=0 -Cforce-frame-pointers=yes"];
const COMPILERS: [&str; 2] = ["gcc", "clang"];

const ARGUMENTS: &str = r"
    #include <stdbool.h>
    extern void sink(void *);
    long mixed(char a, short b, bool c, int d, float e, long f, const char *g, char h, double i, short j, bool k) {
        return a + b + c + d + e + f + (long)g + h + i + j + k;
    }
    long first(int a) { return a; }
    long nine(long a, int b, short c, char d, long e, int f, short g, char h, long i) {
        return a + b + c + d + e + f + g + h + i;
    }
    int keeps(int a, int b, int c, int d, int e, int f, int g, int h) {
        int x = 0;
        sink(&x); sink(&a);
        return a + b + c + d + e + f + g + h + x;
    }
";

fn mixed_types(types: &Types) -> Vec<TypeId> {
    let Types { char, short, bool, int, long, float, double, string } = *types;
    vec![char, short, bool, int, float, long, string, char, double, short, bool]
}

/// Guards against reading a parameter from its slot before the slot is filled, and from the wrong register: the same source
/// has the same arguments in the same places, whatever the compiler makes of them behind the entry.
#[test]
fn arguments_are_where_the_code_says() {
    for compiler in COMPILERS {
        for flags in ["-O0", "-O1", "-O2", "-O0 -fcf-protection", "-O0 -fomit-frame-pointer"] {
            let mut program = Program::c(compiler, flags, ARGUMENTS);
            let types = Types::add_to(&mut program.types);
            let float = |name: &str, size: u32, register: &str| format!("{name} = {size} bytes in register {register}");
            // clang 14 loses the second `bool` when it optimizes: it has no location at all.
            let last = match (compiler, flags) {
                ("clang", "-O1" | "-O2") => "k = OptimizedOut",
                _ => "k = *(rsp+24)[0..1]",
            };
            let mixed = program.arguments("mixed", &mixed_types(&types));
            let expected = [
                "a = rdi[0..1]".into(),
                "b = rsi[0..2]".into(),
                "c = rdx[0..1]".into(),
                "d = rcx[0..4]".into(),
                float("e", 4, "xmm0"),
                "f = r8[0..8]".into(),
                "g = r9[0..8], string at [40]".into(),
                "h = *(rsp+8)[0..1]".into(),
                float("i", 8, "xmm1"),
                "j = *(rsp+16)[0..2]".into(),
                last.into(),
            ];
            assert_eq!(mixed, expected, "{compiler} {flags}");

            let Types { char, short, int, long, .. } = types;
            let nine = program.arguments("nine", &[long, int, short, char, long, int, short, char, long]);
            let expected = [
                "a = rdi[0..8]",
                "b = rsi[0..4]",
                "c = rdx[0..2]",
                "d = rcx[0..1]",
                "e = r8[0..8]",
                "f = r9[0..4]",
                "g = *(rsp+8)[0..2]",
                "h = *(rsp+16)[0..1]",
                "i = *(rsp+24)[0..8]",
            ];
            assert_eq!(nine, expected, "{compiler} {flags}");
            assert_eq!(program.arguments("first", &[int]), ["a = rdi[0..4]"], "{compiler} {flags}");
            let keeps = program.arguments("keeps", &[int; 8]);
            let expected = [
                "a = rdi[0..4]",
                "b = rsi[0..4]",
                "c = rdx[0..4]",
                "d = rcx[0..4]",
                "e = r8[0..4]",
                "f = r9[0..4]",
                "g = *(rsp+8)[0..4]",
                "h = *(rsp+16)[0..4]",
            ];
            assert_eq!(keeps, expected, "{compiler} {flags}");
        }
    }
}

/// Guards against taking a frame that is aligned, large or of variable size for a plain one.
#[test]
fn unusual_frames_are_followed() {
    let source = r"
        typedef float v8 __attribute__((vector_size(32)));
        extern void sink(void *);
        int aligned(int a, const char *s, int c, int d, int e, int f, int g) { v8 v; sink(&v); return a + s[0] + g; }
        int variable(int a, const char *s, int c, int d, int e, int f, int g) {
            v8 v; char b[a]; sink(&v); sink(b); return a + s[0] + g;
        }
        int large(int a, const char *s, int c, int d, int e, int f, int g) {
            volatile char b[40000]; b[a] = s[0]; return b[0] + g;
        }
    ";
    let expected = [
        "a = rdi[0..4]",
        "s = rsi[0..8], string at [8]",
        "c = rdx[0..4]",
        "d = rcx[0..4]",
        "e = r8[0..4]",
        "f = r9[0..4]",
        "g = *(rsp+8)[0..4]",
    ];
    for compiler in COMPILERS {
        for flags in ["-O0 -mavx", "-O0 -mavx -fstack-clash-protection", "-O0 -mavx -fstack-protector-all"] {
            let mut program = Program::c(compiler, flags, source);
            let Types { int, string, .. } = Types::add_to(&mut program.types);
            for name in ["aligned", "variable", "large"] {
                let arguments = program.arguments(name, &[int, string, int, int, int, int, int]);
                assert_eq!(arguments, expected, "{compiler} {flags} {name}");
            }
        }
    }
}

/// Guards against believing that a variable is in its register before the code has put it there, and against taking the
/// slots of Windows' calling convention for arguments on the stack.
#[test]
fn what_only_looks_like_a_place_at_the_entry_is_not_one() {
    let source = r"
        int swapped(register int a, register int b, register int c) { return a - b * c; }
        __attribute__((ms_abi)) int windows(int a, long b, char c, int d, int e) { return a + b + c + d + e; }
        int assigned(int a, int b, int c, int d, int e, int f, int g) { g = d; return g; }
    ";
    let mut program = Program::c("gcc", "-O0", source);
    let Types { int, long, char, .. } = Types::add_to(&mut program.types);
    let swapped =
        |name| format!("{name} = 4 bytes whether its register is filled at the entry or behind it cannot be told");
    assert_eq!(program.arguments("swapped", &[int; 3]), ["a = rdi[0..4]".into(), swapped("b"), swapped("c")]);
    let hidden = "whether it came in a register or on the stack cannot be told";
    let expected = [
        format!("a = 4 bytes {hidden}"),
        format!("b = 8 bytes {hidden}"),
        format!("c = 1 bytes {hidden}"),
        format!("d = 4 bytes {hidden}"),
        "e = *(rsp+40)[0..4]".into(),
    ];
    assert_eq!(program.arguments("windows", &[int, long, char, int, int]), expected);
    assert_eq!(program.arguments("assigned", &[int; 7])[6], "g = *(rsp+8)[0..4]");
}

fn aggregate(types: &mut TypeTable, name: &str, size: u64, members: &[(&str, u64, TypeId)]) -> TypeId {
    let members = members.iter().map(|&(name, offset, ty)| Member { name: name.into(), offset, ty }).collect();
    let kind = TypeKind::Aggregate(Aggregate { members, ..Aggregate::default() });
    types.push(Type { name: name.into(), size: Some(size), kind })
}

/// Guards against losing a struct for the padding in it, which no code ever stores, or for the half of it that is a vector.
#[test]
fn structs_by_value_are_put_together() {
    let source = r"
        struct pair { long a; int b; };
        struct big { long a[40]; };
        struct mix { float x, y; long z; };
        long structs(struct pair p, struct big b, struct mix m) { return p.a + p.b + b.a[0] + m.z + (long)m.x; }
    ";
    for (compiler, flags) in [("gcc", "-O0"), ("clang", "-O0"), ("gcc", "-O2")] {
        let mut program = Program::c(compiler, flags, source);
        let Types { int, long, float, .. } = Types::add_to(&mut program.types);
        let types = &mut program.types;
        let pair = aggregate(types, "struct pair", 16, &[("a", 0, long), ("b", 8, int)]);
        let array = TypeKind::Array { of: long, counts: vec![Some(40)] };
        let array = types.push(Type { name: "long[40]".into(), size: Some(320), kind: array });
        let big = aggregate(types, "struct big", 320, &[("a", 0, array)]);
        let mix = aggregate(types, "struct mix", 16, &[("x", 0, float), ("y", 4, float), ("z", 8, long)]);
        let expected = [
            "p = rdi[0..8] + rsi[0..8]",
            "b = *(rsp+8)[0..256] + 64 bytes beyond its first 256 bytes",
            "m = 8 bytes in register xmm0 + rdx[0..8]",
        ];
        assert_eq!(program.arguments("structs", &[pair, big, mix]), expected, "{compiler} {flags}");
    }
}

/// Guards against a `&str` that is shown without its text, at the front and on the stack, where pointer and length lie apart.
#[test]
fn a_rust_str_is_followed_to_its_text() {
    let source = r"
        #[unsafe(no_mangle)] pub fn greet(s: &str, n: u64) -> u64 { s.len() as u64 + n }
        #[unsafe(no_mangle)] pub fn stack(a: u64, b: u64, c: u64, d: u64, s: &str, e: &str, f: u8, g: bool) -> u64 {
            a + b + c + d + s.len() as u64 + e.len() as u64 + f as u64 + g as u64
        }
        #[unsafe(no_mangle)] pub fn large(s: &str, n: usize) -> u8 { let b = [n as u8; 50_000]; b[s.len()] }
    ";
    for flags in RUST_FLAGS {
        let mut program = Program::rust(flags, source);
        let Types { long, char, bool, .. } = Types::add_to(&mut program.types);
        let str = aggregate(&mut program.types, "&str", 16, &[("data_ptr", 0, long), ("length", 8, long)]);
        let expected = ["s = rdi[0..8] + rsi[0..8], text at [0] of [8] bytes", "n = rdx[0..8]"];
        assert_eq!(program.arguments("greet", &[str, long]), expected, "{flags}");
        assert_eq!(program.arguments("large", &[str, long]), expected, "{flags}");
        let stack = program.arguments("stack", &[long, long, long, long, str, str, char, bool]);
        let expected = [
            "a = rdi[0..8]",
            "b = rsi[0..8]",
            "c = rdx[0..8]",
            "d = rcx[0..8]",
            "s = r8[0..8] + r9[0..8], text at [32] of [40] bytes",
            "e = *(rsp+8)[0..16], text at [56] of [64] bytes",
            "f = *(rsp+24)[0..1]",
            "g = *(rsp+32)[0..1]",
        ];
        assert_eq!(stack, expected, "{flags}");
        let plan = program.plan(&program.function("greet", &[str, long])).unwrap();
        assert_eq!(plan.arguments[0].follows[0].what, Followed::Str { length_at: 8 });
    }
}

/// Guards against losing what rustc passes behind a pointer, of which its debug info speaks only behind the prologue, and the
/// enumerations of two that it stores bit by bit.
#[test]
fn rust_values_behind_pointers_and_of_one_bit_are_found() {
    let source = r#"
        #[derive(Clone, Copy, PartialEq)] pub enum Side { Left, Right }
        #[unsafe(no_mangle)] pub fn takes(v: Vec<u8>, side: Side, name: String, few: (bool, u64)) -> usize {
            v.len() + name.len() + (side == Side::Left) as usize + few.0 as usize
        }
        // Their pointers are needed again behind the calls, so the frame keeps them: the debug info looks for them there.
        #[unsafe(no_mangle)] pub fn spilled(v: Vec<u8>, name: String) -> usize {
            println!("{name} {v:?}");
            v.len() + name.len()
        }
    "#;
    for flags in RUST_FLAGS {
        let mut program = Program::rust(flags, source);
        let Types { long, bool, .. } = Types::add_to(&mut program.types);
        let types = &mut program.types;
        let vec = aggregate(types, "Vec<u8>", 24, &[("cap", 0, long), ("ptr", 8, long), ("len", 16, long)]);
        let enumerators = vec![("Left".into(), 0), ("Right".into(), 1)];
        let side = TypeKind::Enumeration { signed: false, enumerators };
        let side = types.push(Type { name: "Side".into(), size: Some(1), kind: side });
        let few = aggregate(types, "(bool, u64)", 16, &[("0", 0, bool), ("1", 8, long)]);
        let expected =
            ["v = *(rdi+0)[0..24]", "side = rsi[0..1]", "name = *(rdx+0)[0..24]", "few = rcx[0..8] + r8[0..8]"];
        let spilled = program.arguments("spilled", &[vec, vec]);
        assert_eq!(spilled, ["v = *(rdi+0)[0..24]", "name = *(rsi+0)[0..24]"], "{flags}");
        assert_eq!(program.arguments("takes", &[vec, side, vec, few]), expected, "{flags}");
    }
}

/// Guards against probing `endbr64`, which costs 15 times as much as what is behind it.
#[test]
fn the_entry_probe_stands_behind_endbr64() {
    for (flags, skipped) in [("-O0 -fcf-protection", 4), ("-O0 -fcf-protection=none", 0)] {
        let mut program = Program::c("gcc", flags, ARGUMENTS);
        program.entry_place = EntryPlace::Best;
        let Types { int, .. } = Types::add_to(&mut program.types);
        let plan = program.plan(&program.function("first", &[int])).unwrap();
        assert_eq!(plan.entry.address.0, plan.address.0 + skipped);
        assert_eq!(plan.entry.cfa_offset, 8);
    }
}

const EXITS: &str = r"
    extern int ext(int, int); extern void sink(void *);
    int tail(int a) { return ext(a, 1); }
    int multi(int a) { if (a > 3) return ext(a, a) + 1; sink(&a); return ext(1, 1) * a; }
    int table(int a) {
        switch (a) {
            case 0: return ext(1, 2); case 1: return ext(2, 2) + 1; case 2: return ext(7, 2) - 3;
            case 3: return a * ext(a, a); case 4: return ext(3, 3) + 9; case 5: return ext(0, 0) * 2;
            case 6: return ext(0, 1) / 3;
        }
        return 5;
    }
    int pointer(int (*p)(int)) { return p(3); }
    int saved(int (*p)(int), int a) { return p(ext(a, a)); }
    void conditional(int a) { if (a) ext(1, 1); }
    void nothing(void) {}
    void never(void) { for (;;) sink(0); }
";

fn exits_of(program: &Program, name: &str) -> FunctionPlan {
    program.plan(&program.function(name, &[TypeId(3); 3])).unwrap()
}

/// Guards against missing a way out, and against a probe on an instruction that is none: each would tell of a call what it did not do.
#[test]
fn every_way_out_is_probed_or_told() {
    let mut program = Program::c("gcc", "-O2 -fPIE -fno-reorder-blocks-and-partition", EXITS);
    Types::add_to(&mut program.types);
    program.stack_use = StackUse::unknown();
    let opcodes = |plan: &FunctionPlan| program.exit_opcodes(&plan.exits);
    const RET: (u8, bool) = (0xc3, false);
    const JMP: (u8, bool) = (0xe9, true);

    let tail = exits_of(&program, "tail");
    assert_eq!((opcodes(&tail), tail.unseen_exits), (vec![JMP], None));
    let multi = exits_of(&program, "multi");
    assert!(opcodes(&multi).iter().all(|exit| *exit == RET) && multi.unseen_exits.is_none());
    let table = exits_of(&program, "table");
    assert_eq!(table.unseen_exits, None, "a switch is no way out");
    assert!(opcodes(&table).contains(&RET) && opcodes(&table).contains(&JMP));
    let saved = exits_of(&program, "saved");
    assert_eq!((opcodes(&saved).len(), &saved.unseen_exits), (1, &None));
    assert!(opcodes(&saved)[0].1, "an indirect jump behind an epilogue is a tail call");

    let pointer = exits_of(&program, "pointer");
    let Exits::Unseen(reason) = pointer.exits else { panic!("{:?}", pointer.exits) };
    assert!(reason.starts_with("the jump at 0x") && reason.ends_with(" may leave it"), "{reason}");
    let Exits::Unseen(reason) = exits_of(&program, "nothing").exits else { panic!() };
    assert!(reason.starts_with("it leaves at 0x") && reason.ends_with(", where it is entered"), "{reason}");
    assert_eq!(exits_of(&program, "never").exits, Exits::Unseen("it has no instruction that returns".into()));
}

/// Guards against the kernel's trampoline in programs that it would break, and against slow probes in all others.
#[test]
fn the_trampoline_is_for_programs_that_do_not_walk_their_stack() {
    let mut program = Program::c("gcc", "-O2", EXITS);
    Types::add_to(&mut program.types);
    for name in ["tail", "multi", "table", "pointer", "nothing"] {
        let plan = exits_of(&program, name);
        assert_eq!((plan.exits, plan.unseen_exits), (Exits::Trampoline, None), "{name}");
    }
    // Nothing returns here, so what lies at the stack pointer may be anything, as at `_start`.
    assert!(matches!(exits_of(&program, "never").exits, Exits::Unseen(_)));

    let mut shifted = program.function("multi", &[TypeId(3)]);
    shifted.entry_cfa_offset = Some(16);
    assert!(matches!(program.plan(&shifted).unwrap().exits, Exits::Instructions(_)));
    let mut twice = program.function("multi", &[TypeId(3)]);
    twice.symbol = "sigsetjmp".into();
    assert!(matches!(program.plan(&twice).unwrap().exits, Exits::Instructions(_)));
}

/// Guards against a conditional jump out of the function being probed: the probe would fire when it is not taken, too.
#[test]
fn a_jump_into_a_part_that_is_not_known_is_told() {
    let mut program = Program::c("gcc", "-O2 -fPIE -freorder-blocks-and-partition", EXITS);
    Types::add_to(&mut program.types);
    program.stack_use = StackUse::unknown();
    let mut whole = program.function("table", &[TypeId(3)]);
    whole.ranges = vec![program.symbol_range("table")];
    let plan = program.plan(&whole).unwrap();
    assert!(plan.unseen_exits.unwrap().starts_with("the jump at "), "its symbol is only a part of it");

    whole.ranges.push(program.symbol_range("table.cold"));
    let plan = program.plan(&whole).unwrap();
    assert_eq!(plan.unseen_exits, None);
    assert!(program.exit_opcodes(&plan.exits).contains(&(0xc3, false)));
}

/// Guards against names without values, and values without a warning: without debug info there are only registers.
#[test]
fn without_debug_info_the_argument_registers_are_guesses() {
    let mut program = Program::c("gcc", "-O2", EXITS);
    Types::add_to(&mut program.types);
    let mut function = program.function("tail", &[TypeId(3)]);
    function.from_symbol_table = true;
    function.parameters.clear();
    let plan = program.plan(&function).unwrap();
    let names: Vec<_> = plan.arguments.iter().map(|argument| argument.name.as_deref().unwrap()).collect();
    assert_eq!(names, ["rdi", "rsi", "rdx", "rcx", "r8", "r9"]);
    assert!(plan.arguments.iter().all(|argument| argument.guessed) && !plan.has_debug_info);
    assert_eq!(plan.steps.iter().map(|step| step.register).collect::<Vec<_>>(), [14, 13, 12, 11, 9, 8]);
}

/// Guards against probes in what is no code: a damaged file must not make us write into its data.
#[test]
fn code_that_does_not_decode_is_not_probed() {
    let mut program = Program::c("gcc", "-O2", EXITS);
    Types::add_to(&mut program.types);
    program.stack_use = StackUse::unknown();
    let function = program.function("multi", &[TypeId(3)]);
    let plan_of = |damage: &[u8]| {
        let mut damaged = program.clone();
        damaged.overwrite(&function, 0, damage);
        damaged.plan(&function)
    };
    let address = function.ranges[0].start;
    assert_eq!(plan_of(&[0x06]).unwrap_err().reason, format!("its code could not be decoded at {address}"));
    assert_eq!(
        plan_of(&[0xf0, 0x48, 0xff, 0x07]).unwrap_err().reason,
        format!("the kernel cannot probe the instruction at {address}")
    );
    // nop; je into the middle of the next instruction, a movabs.
    let plan = plan_of(&[0x90, 0x74, 0x03, 0x48, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0]).unwrap();
    let Exits::Unseen(reason) = plan.exits else { panic!("{:?}", plan.exits) };
    assert!(reason.contains("where no instruction begins"), "{reason}");
}

/// Guards against a panic on code that nobody compiled: the bytes of a file can be anything.
#[test]
fn no_code_makes_the_analysis_panic() {
    let mut program = Program::c("gcc", "-O0 -fstack-clash-protection", ARGUMENTS);
    let types = Types::add_to(&mut program.types);
    program.stack_use = StackUse::unknown();
    let function = program.function("mixed", &mixed_types(&types));
    // xorshift64: the same bytes in every run.
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for round in 0..3000 {
        let mut damaged = program.clone();
        let length = 1 + (random() % 64) as usize;
        let bytes: Vec<u8> = (0..length).map(|_| random() as u8).collect();
        damaged.overwrite(&function, round % 48, &bytes);
        let _ = damaged.plan(&function);
    }
}
