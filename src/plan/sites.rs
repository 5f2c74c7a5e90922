//! Which instruction of a function is probed for its entry, shape by shape. The shapes are written in assembly, so that no compiler's
//! next version changes them; what debug info says is that of a C function with the same parameters.

use super::fixture::{Program, Types};
use super::placement::EntryPlace;
use super::returns::Returns;
use super::{Exits, FunctionPlan, Skipped};
use crate::address::{Avma, Svma};
use crate::arch::host;
use crate::dwarf::function::Function;

const MODEL: &str = "extern long ext(long, long); long model(long a, const char *b) { return ext(a, (long)b); }";

/// A function with the parameters of `model`, and this code.
fn shaped(code: &str) -> (Program, Function) {
    let assembly = format!(
        "__asm__(\".text\\n.globl shape\\n.type shape,@function\\nshape: {}\\n.size shape, .-shape\\n.globl other\\nother: ret\\n\");",
        code.replace('\n', "\\n")
    );
    let mut program = Program::c("gcc", "-O2 -fcf-protection=none", &format!("{MODEL}\n{assembly}"));
    let Types { long, string, .. } = Types::add_to(&mut program.types);
    let mut function = program.function("model", &[long, string]);
    function.ranges = vec![program.symbol_range("shape")];
    (program, function)
}

fn plan_of(code: &str, returns: Returns) -> (Program, Result<FunctionPlan, Skipped>) {
    let (mut program, function) = shaped(code);
    (program.entry_place, program.returns) = (EntryPlace::Best, returns);
    let plan = program.plan(&function);
    (program, plan)
}

/// The probed instruction, with its distance from the entry, and where the arguments are there.
fn placed(code: &str) -> String {
    let (program, plan) = plan_of(code, Returns::Cheap);
    plan.map_or_else(|skipped| skipped.reason, |plan| text_of(&program, &plan))
}

fn text_of(program: &Program, plan: &FunctionPlan) -> String {
    let text = host().decode(program.bytes_at(plan.entry.offset), Avma(plan.entry.address.0)).unwrap().text;
    let distance = plan.entry.address.0 - plan.address.0;
    let mnemonic = text.split(' ').next().unwrap();
    let arguments = super::fixture::arguments_text(plan).join(", ");
    format!("+{distance} {mnemonic}, CFA = sp + {}: {arguments}", plan.entry.cfa_offset)
}

/// Guards against an expensive entry where a cheap one is near, and against a cheap one at which an argument is gone.
#[test]
fn the_first_cheap_instruction_with_all_arguments_is_probed() {
    let read = "a = rdi[0..8], b = rsi[0..8], string at [8]";
    assert_eq!(placed("mov %rdi, %rax; push %rbx; pop %rbx; ret"), format!("+3 push, CFA = sp + 8: {read}"));
    assert_eq!(placed("endbr64; xor %eax, %eax; push %rbx; pop %rbx; ret"), format!("+6 push, CFA = sp + 8: {read}"));
    assert_eq!(placed("nop; push %rbx; pop %rbx; ret"), format!("+0 nop, CFA = sp + 8: {read}"));
    assert_eq!(placed("test %rdi, %rdi; je 1f; ret; 1: ret"), format!("+3 je, CFA = sp + 8: {read}"));
    assert_eq!(placed("jmp other"), format!("+0 jmp, CFA = sp + 8: {read}"));
    assert_eq!(placed("xor %eax, %eax; jmp other"), format!("+2 jmp, CFA = sp + 8: {read}"));
    assert_eq!(placed("ret"), format!("+0 ret, CFA = sp + 8: {read}"));
    assert_eq!(placed("lea (%rdi,%rsi), %rax; ret"), format!("+0 lea, CFA = sp + 8: {read}"));
    // What the kernel does not emulate: an indirect call, a call out of line.
    assert_eq!(placed("xor %eax, %eax; call *%rsi; ret"), format!("+0 xor, CFA = sp + 8: {read}"));
    // The argument is gone at the push.
    assert_eq!(placed("add $1, %rdi; push %rbx; pop %rbx; ret"), format!("+0 add, CFA = sp + 8: {read}"));
}

/// Guards against reading a register that an argument has left, and against losing one that is still in another place.
#[test]
fn arguments_are_followed_to_where_they_were_moved() {
    assert_eq!(
        placed("mov %rdi, %rcx; mov %rsi, %r8; xor %edi, %edi; xor %esi, %esi; call other; ret"),
        "+10 call, CFA = sp + 8: a = rcx[0..8], b = r8[0..8], string at [8]"
    );
    assert_eq!(
        placed("sub $24, %rsp; mov %rdi, 8(%rsp); xor %edi, %edi; call other; add $24, %rsp; ret"),
        "+11 call, CFA = sp + 32: a = *(rsp+8)[0..8], b = rsi[0..8], string at [16]"
    );
    // Only a part of it is left: the upper half is cleared.
    assert_eq!(
        placed("mov %edi, %ecx; mov %rcx, %rdi; call other; ret"),
        "+0 mov, CFA = sp + 8: a = rdi[0..8], b = rsi[0..8], string at [8]"
    );
}

/// Guards against text as it is after the function's own first assignments.
#[test]
fn nothing_is_read_behind_pointers_after_a_store() {
    assert!(placed("movb $0, (%rsi); push %rbx; pop %rbx; ret").starts_with("+0 mov,"));
    assert!(placed("movq $0, variable(%rip); push %rbx; pop %rbx; ret; variable: .quad 0").starts_with("+0 mov,"));
    // `rep stos` names no operand.
    assert!(placed("mov %rdi, %rdx; mov %rsi, %r8; rep stosb; push %rbx; pop %rbx; ret").starts_with("+0 mov,"));
    // To its own frame it may write.
    assert!(placed("mov %rdi, -8(%rsp); push %rbx; pop %rbx; ret").starts_with("+5 push,"));
}

/// Guards against an instruction that a call executes more often than once: each turn would be recorded as a call.
#[test]
fn what_a_loop_executes_again_is_not_probed() {
    let in_loop = "xor %eax, %eax; 1: add %rdi, %rax; dec %rsi; jne 1b; ret";
    assert!(placed(in_loop).starts_with("+0 xor,"), "{}", placed(in_loop));
    assert!(placed("endbr64; 1: dec %rsi; jne 1b; ret").starts_with("+0 endbr64,"));
    // The case of a switch that follows the entry.
    let switch = |case: &str| {
        format!(
            "lea 3f(%rip), %rdx; 1: test %rsi, %rsi; jne 2f; ret; \
             2: movslq (%rdx,%rdi,4), %rax; add %rdx, %rax; jmp *%rax; 4: ret; \
             .section .rodata; 3: .long {case} - 3b; .text"
        )
    };
    assert!(placed(&switch("1b")).starts_with("+0 lea,"), "{}", placed(&switch("1b")));
    assert!(placed(&switch("4b")).starts_with("+10 jne,"), "{}", placed(&switch("4b")));
    // A table of addresses that the file does not show, and a jump that may use it.
    let threaded = "lea 3f(%rip), %rdx; test %rsi, %rsi; jne 2f; ret; 2: mov (%rdx,%rdi,8), %rax; jmp *%rax; \
        .data; 3: .quad 0; .text";
    assert!(placed(threaded).starts_with("+0 lea,"), "{}", placed(threaded));
}

/// Guards against a loop that looks like calls: where it comes back to the first instruction, and on which condition, must be known.
#[test]
fn turns_of_a_loop_are_told_from_calls() {
    let turns = |code: &str, returns| -> Result<_, String> {
        let plan = plan_of(code, returns).1.map_err(|skipped| skipped.reason)?;
        let at = plan.turns.iter().map(|turn| (turn.offset.0 - plan.entry.offset.0, turn.condition));
        assert!(matches!(plan.exits, Exits::Instructions(_)), "not by the trampoline: {:?}", plan.exits);
        Ok(at.collect::<Vec<_>>())
    };
    let unclear = "its code may come back to its first instruction in a way that cannot be told from a call";
    let in_loop = "dec %rsi; jne shape; ret";

    assert_eq!(turns(in_loop, Returns::Cheap), Ok(vec![(3, Some(5))]));
    assert_eq!(turns(in_loop, Returns::Always), Ok(vec![(3, Some(5))]));
    assert!(placed(in_loop).starts_with("+0 dec,"), "not on the jump: {}", placed(in_loop));
    let two = "dec %rsi; jo shape; js 1f; jmp shape; 1: ret";
    assert_eq!(turns(two, Returns::Cheap), Ok(vec![(3, Some(0)), (7, None)]));
    assert_eq!(turns("dec %rsi; loop shape; ret", Returns::Cheap), Err(unclear.to_owned()));
    let switch = "lea 3f(%rip), %rdx; movslq (%rdx,%rdi,4), %rax; add %rdx, %rax; jmp *%rax; 4: ret; \
        .section .rodata; 3: .long shape - 3b, 4b - 3b; .text";
    assert_eq!(turns(switch, Returns::Cheap), Err(unclear.to_owned()));
    // A function that hands itself to another one does not come back by a `switch` that it has, too.
    let own = switch.replace("shape - 3b", "4b - 3b").replace("lea 3f", "lea shape(%rip), %rcx; lea 3f");
    assert_eq!(plan_of(&own, Returns::Cheap).1.unwrap().turns, []);
}

/// Guards against a jump back from the part that was moved away.
#[test]
fn cold_parts_are_parts_of_the_function() {
    let code = "mov %rdi, %rax; 1: test %rsi, %rsi; jne cold; ret\n.size shape, .-shape\n.globl cold\n.type cold,@function\ncold: dec %rsi; jmp 1b\n.size cold, .-cold";
    let (mut program, mut function) = shaped(code);
    program.entry_place = EntryPlace::Best;
    function.ranges = vec![function.ranges[0].start..program.symbol_range("cold").start, program.symbol_range("cold")];
    let plan = program.plan(&function).unwrap();
    assert!(text_of(&program, &plan).starts_with("+0 mov,"), "{}", text_of(&program, &plan));
}

/// Guards against a return probe where something else than the return address is at the top of the stack, and against an entry that is
/// made expensive for the sake of the return unless the user wants that: what costs as much apart from the entry can be given up apart from it.
#[test]
fn an_expensive_return_stands_apart_from_a_cheap_entry() {
    let code = "sub $24, %rsp; test %rdi, %rdi; je 1f; call other; 1: add $24, %rsp; ret";
    let of = |returns| {
        let (program, plan) = plan_of(code, returns);
        let plan = plan.unwrap();
        (text_of(&program, &plan).split(':').next().unwrap().to_owned(), plan.exits)
    };
    let (cheap, exits) = of(Returns::Cheap);
    assert_eq!(cheap, "+7 je, CFA = sp + 32");
    assert!(matches!(exits, Exits::Instructions(ref sites) if sites.len() == 1), "{exits:?}");
    assert_eq!(of(Returns::Always), ("+0 sub, CFA = sp + 8".to_owned(), Exits::Trampoline));
    assert_eq!(of(Returns::Never), (cheap, Exits::Unseen("not asked for".into())));
}

/// Guards against the call that Linux 6.18 makes of a probed nop of 5 bytes: what it pushes overwrites what a leaf function keeps there.
#[test]
fn a_nop_is_not_probed_where_the_red_zone_is_in_use() {
    let candidates = |code: &str| {
        let (program, function) = shaped(code);
        let range = function.ranges[0].clone();
        let bytes = |_: &std::ops::Range<Svma>| {
            let offset = program.file_offset_of(range.start)?;
            let size = (range.end.0 - range.start.0) as usize;
            Some((offset, &program.bytes_at(offset)[..size]))
        };
        let code = crate::arch::code::Code::read(&function.ranges, bytes).unwrap();
        let inspection = host().inspect(&code, 8).unwrap();
        inspection.candidates.iter().map(|it| it.address.0 - range.start.0).collect::<Vec<_>>()
    };
    assert_eq!(candidates("xor %eax, %eax; .byte 0x0f, 0x1f, 0x44, 0, 0; ret"), [0, 2, 7]);
    assert_eq!(candidates("mov %rdi, -8(%rsp); .byte 0x0f, 0x1f, 0x44, 0, 0; mov -8(%rsp), %rax; ret"), [0, 10, 15]);
    assert_eq!(candidates("mov %rdi, -40(%rsp,%rsi,8); .byte 0x0f, 0x1f, 0x44, 0, 0; ret"), [0, 10]);
    assert_eq!(candidates("push %rdi; .byte 0x0f, 0x1f, 0x44, 0, 0; pop %rdi; ret"), [0, 1, 6, 7]);
}

/// Guards against floats that are said to be lost where unoptimized code stores them, and against a vector register read for what was
/// shuffled in it.
#[test]
fn floats_are_read_where_the_code_stores_them() {
    let source = "extern void use(void *); double scale(int n, double w, float f) { use(&n); return n * w + f; }";
    for compiler in ["gcc", "clang"] {
        for (flags, is_stored) in [("-O0", true), ("-O0 -mavx", true), ("-O2", false)] {
            let mut program = Program::c(compiler, flags, source);
            program.entry_place = EntryPlace::Best;
            let Types { int, double, float, .. } = Types::add_to(&mut program.types);
            let arguments = program.arguments("scale", &[int, double, float]);
            let is_read = |argument: &String| argument.contains("*(rsp") && argument.ends_with("]");
            if is_stored {
                assert!(arguments[1..].iter().all(is_read), "{compiler} {flags}: {arguments:?}");
            }
            // Optimized code may spill them in front of the call: then they are there.
            let is_told = |argument: &String, register: &str| is_read(argument) || argument.ends_with(register);
            assert!(is_told(&arguments[1], "in register xmm0"), "{compiler} {flags}: {arguments:?}");
            assert!(is_told(&arguments[2], "in register xmm1"), "{compiler} {flags}: {arguments:?}");
        }
    }
}

/// Guards against fast entries that are there and not used: gcc and clang put nops at the entry where they are asked to.
#[test]
fn entries_made_for_tracing_are_used() {
    let source = "long f(long a, long b) { return a + b; }";
    let builds = [
        ("gcc", "-O2 -fpatchable-function-entry=5"),
        ("gcc", "-O2 -fcf-protection=none -fno-pic -pg -mfentry -mnop-mcount"),
        ("gcc", "-O2 -fcf-protection -fpatchable-function-entry=7,2"),
        ("clang", "-O2 -fpatchable-function-entry=1"),
        ("clang", "-O2 -fcf-protection -fpatchable-function-entry=1"),
        ("clang", "-O0 -fpatchable-function-entry=1"),
    ];
    for (compiler, flags) in builds {
        let mut program = Program::c(compiler, flags, source);
        program.entry_place = EntryPlace::Best;
        let Types { long, .. } = Types::add_to(&mut program.types);
        program.all_nops_are_cheap();
        let plan = program.plan(&program.function("f", &[long, long])).unwrap();
        let text = text_of(&program, &plan);
        assert!(
            text.contains(" nop") && text.ends_with("CFA = sp + 8: a = rdi[0..8], b = rsi[0..8]"),
            "{flags}: {text}"
        );
        assert_eq!(plan.entry.obstacle, None, "{flags}");
    }
}
