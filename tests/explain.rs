//! What happened, in a sentence: each kind of fault, at both levels of optimization.

use serde_json::Value;

use crate::support::{Compiler, Fixture, Report};

const LEVELS: [&str; 2] = ["-O0", "-O2"];

/// What a report says of its fault.
struct Told(Report);

impl Told {
    fn field(&self, name: &str) -> &str {
        let field = &self.0.at("/fault")[name];
        field.as_str().unwrap_or_else(|| panic!("no {name} in {:#}", self.0.at("/fault")))
    }

    /// The sentence, with `ADDRESS` in the place of that of the fault, which differs from run to run.
    fn sentence(&self) -> String {
        let sentence = self.field("explanation");
        match self.0.at("/fault/address").as_str() {
            Some(address) => sentence.replace(&format!("address {address}"), "address ADDRESS"),
            None => sentence.to_owned(),
        }
    }

    fn says(&self, cause: &str, sentence: &str) {
        assert_eq!((self.field("cause"), self.sentence().as_str()), (cause, sentence), "{:#}", self.0.at("/fault"));
    }

    /// The findings that rest on this.
    fn findings(&self, basis: &str) -> Vec<&str> {
        let findings = self.0.at("/fault/findings").as_array().expect("a list of findings");
        let of_basis = findings.iter().filter(|finding| finding["basis"] == basis);
        of_basis.map(|finding| finding["text"].as_str().expect("a text")).collect()
    }

    fn mapping(&self) -> &Value {
        self.0.at("/fault/mapping")
    }
}

fn die(source: &str, flags: &[&str], mode: &str) -> Told {
    let fixture = Fixture::build(source).with_flags(Compiler::Gcc, flags).args([mode]);
    Told(fixture.run_until_death(["--returns", "always"]))
}

fn dies(mode: &str, level: &str) -> Told {
    die("explained.c", &[level], mode)
}

/// Guards against a null pointer without the variable, the member, or where it came from.
#[test]
fn null_pointers_are_named() {
    for level in LEVELS {
        let told = dies("member", level);
        told.says(
            "null_pointer",
            "wrote to `r->name` through a null pointer: `r` (struct rec *) is NULL, and `name` lies 0x18 bytes into it",
        );
        assert_eq!(
            told.findings("inferred"),
            ["the null pointer may come from lookup() = NULL, 1 call earlier"],
            "{level}"
        );
        dies("chain", level).says(
            "null_pointer",
            "read from `r->next->name` through a null pointer: `r->next` (struct rec *) is NULL, and `name` lies 0x18 bytes into it",
        );
        dies("global", level).says("null_pointer", "read from `*head` through a null pointer: `head` is NULL");
    }
    // Optimized code has the index in the operand; the other has added it before.
    dies("element", "-O2")
        .says("null_pointer", "read from `numbers[..]` through a null pointer: `numbers` (int *) is NULL");
    dies("element", "-O0").says(
        "null_pointer",
        "read from `numbers[..]` at address ADDRESS through a null pointer: `numbers` (int *) is NULL",
    );
}

/// Guards against numbers and texts that are told as addresses.
#[test]
fn what_was_never_a_pointer_is_told() {
    for level in LEVELS {
        dies("small", level).says(
            "small_integer",
            "read from `*place` at address ADDRESS: `place` (long *) holds the small number 42 (0x2a) and no address",
        );
        dies("text", level).says(
            "text_as_pointer",
            "read from `*place` at address 0x64726f7773736170: `place` (long *) holds the text \"password\" and no address",
        );
        dies("wild", level).says(
            "not_canonical",
            "read from `*place` at address 0xdeadbeefdeadbeef, which no memory can have (it is not canonical); `place` (long *) \
             holds 0xdeadbeefdeadbeef",
        );
    }
}

/// Guards against an address without its surroundings and its past.
#[test]
fn memory_that_is_not_there_is_told_with_its_neighbours_and_its_past() {
    for level in LEVELS {
        let told = dies("behind", level);
        told.says("unmapped", "wrote to `*place` at address ADDRESS, where no memory is mapped");
        assert_eq!(told.mapping()["contains_address"], false);
        assert_eq!(told.mapping()["permissions"], "rw-p");
        let inferred = told.findings("inferred");
        assert!(inferred[0].starts_with("the address lies 5 bytes behind the end of the mapping from"), "{inferred:?}");

        let told = dies("freed", level);
        told.says("unmapped", "wrote to `*place` at address ADDRESS, where no memory is mapped");
        let address = told.field("address");
        let past = format!("{address} was passed to unmap(block = {address}) 1 call earlier");
        assert!(told.findings("known").contains(&past.as_str()), "{:?}", told.findings("known"));
    }
}

/// Guards against a write to constants that is told as a bad pointer.
#[test]
fn read_only_data_is_named() {
    for level in LEVELS {
        let told = dies("literal", level);
        told.says(
            "read_only",
            "wrote to `*place` at address ADDRESS, which is read-only: it is in `.rodata` of explained, the text \"a literal\"",
        );
        assert_eq!(told.field("access"), "write");
        assert_eq!((&told.mapping()["permissions"], &told.mapping()["file"]), (&"r--p".into(), &"explained".into()));
        dies("constant", level).says(
            "read_only",
            "wrote to `*place` at address ADDRESS, which is read-only: it is in `.rodata` of explained (`table` + 0x4)",
        );
        let told = dies("guard", level);
        told.says(
            "forbidden",
            "wrote to `*place` at address ADDRESS, in memory that permits no access at all (a guard page)",
        );
        assert_eq!(told.mapping()["permissions"], "---p");
    }
}

/// Guards against a bad function pointer of which only the address is known.
#[test]
fn bad_function_pointers_are_named() {
    for level in LEVELS {
        dies("pointer", level).says(
            "bad_code_pointer",
            "`open_with` called a null pointer: `with->open` (int (*)(const char *)) is NULL",
        );
        dies("callback", level).says(
            "bad_code_pointer",
            "`call_back` called address ADDRESS through `callback` (int (*)(int)), where no memory is mapped",
        );
        dies("data", level).says(
            "bad_code_pointer",
            "`call_back` called address ADDRESS through `callback` (int (*)(int)), which is no code: it is in `.rodata` of explained \
             (`table`)",
        );
    }
}

/// Guards against jumps whose target the processor itself refuses: there the program counter still is at the jump.
#[test]
fn jumps_to_no_address_are_told() {
    for level in LEVELS {
        dies("nowhere", level).says(
            "bad_code_pointer",
            "`call_back` called address 0xdeadbeefdeadbeef through `callback` (int (*)(int)), which no memory can have (it is not \
             canonical)",
        );
        dies("overrun", level).says(
            "bad_code_pointer",
            "returned to address 0x4141414141414141, which is the text \"AAAAAAAA\" and no address: the stack was overwritten",
        );
    }
}

/// Guards against explanations that need a file to read the instruction from.
#[test]
fn code_that_is_in_no_file_is_read_from_memory() {
    for level in LEVELS {
        let told = dies("made", level);
        told.says("null_pointer", "read from address ADDRESS through a null pointer: rdi was 0");
        assert_eq!(told.0.at("/fault/instruction/text"), "mov eax, [rdi]");
        let reason = told.0.at("/threads/0/frames/0/reason");
        assert_eq!(reason, "no file is behind this memory: the code was made at run time");
    }
}

/// Guards against a full stack that is told as a bad address.
#[test]
fn a_full_stack_is_told_with_its_recursion() {
    for (level, mode) in [("-O0", "recursion"), ("-O2", "recursion"), ("-O0", "thread"), ("-O2", "thread")] {
        let told = dies(mode, level);
        assert_eq!(told.field("cause"), "stack_overflow");
        let address = told.field("address");
        assert_eq!(
            told.field("explanation"),
            format!("overflowed its stack: `recurse` needed memory at {address}, below the end of the stack")
        );
        let known = told.findings("known");
        assert!(
            known[0].starts_with("a recursion fills the stack: ") && known[0].contains(" frames of `recurse`"),
            "{known:?}"
        );
    }
}

/// Guards against instructions that fail for what they are, told as bad memory.
#[test]
fn instructions_are_told_with_their_operands() {
    for level in LEVELS {
        let told = dies("unaligned", level);
        assert_eq!(told.field("cause"), "misaligned");
        let sentence = told.field("explanation");
        assert!(sentence.starts_with("wrote to `*place` at address 0x"), "{sentence}");
        assert!(
            sentence.ends_with("f, which is no multiple of 16: this instruction accesses aligned memory only"),
            "{sentence}"
        );

        dies("divide", level).says("division_by_zero", "divided an integer by zero: `divisor` (int) is 0");
        dies("quotient", level).says(
            "division_overflow",
            "divided the smallest integer of 32 bits by -1, whose quotient is too large: `divisor` (int) is -1",
        );
        dies("trap", level).says("trap_instruction", "reached `ud2`, which stands where code must never get to");
        dies("privileged", level).says("privileged_instruction", "executed `hlt`, which is for the kernel only");
        let told = dies("breakpoint", level);
        assert_eq!(told.field("cause"), "breakpoint");
        assert!(told.field("explanation").starts_with("hit the breakpoint instruction `int3` at 0x"));
        assert_eq!(dies("trap", level).0.at("/fault/instruction/bytes"), "0f0b");
    }
}

/// Guards against a file and a system call without their names.
#[test]
fn the_kernels_refusals_are_told() {
    for level in LEVELS {
        let told = dies("truncated", level);
        assert_eq!(told.field("cause"), "beyond_file");
        let name = told.mapping()["file"].as_str().expect("a file's name");
        assert_eq!(
            told.sentence(),
            format!(
                "read from `*place` at address ADDRESS, which is beyond the end of the mapped file {name}: byte 4096 of 10 bytes"
            )
        );
        dies("seccomp", level)
            .says("system_call", "made the system call `getppid` (110), which its seccomp filter forbids");
    }
}

/// Guards against an abort without its reason, in programs with a C library of their own too.
#[test]
fn aborts_are_told_with_their_messages() {
    for flags in [&["-O0"][..], &["-O2"], &["-O2", "-static"]] {
        let dies = |mode| die("explained.c", flags, mode);
        let line = Fixture::build("explained.c").line_of("assert(count > 0);");
        dies("assert").says("assertion", &format!("the assertion `count > 0` failed in `check` (explained.c:{line})"));
        dies("abort").says("abort", "`give_up` called `abort`");
        let told = dies("double");
        assert_eq!(told.field("cause"), "heap_corruption");
        let sentence = told.field("explanation");
        let message = "aborted by the C library: free(): double free detected in tcache 2";
        assert!(sentence.starts_with(message), "{sentence}");
        dies("smash").says("stack_smashing", "aborted by the C library: stack smashing detected, in `smash`");
    }
}

/// Guards against C++ programs that just "aborted".
#[test]
fn cpp_ends_are_told() {
    for level in LEVELS {
        let dies = |mode| die("explained.cpp", &[level], mode);
        dies("uncaught").says(
            "terminate",
            "a C++ exception of type `shop::out_of_stock` was not caught, thrown by `sell`: no apples",
        );
        dies("number").says("terminate", "a C++ exception of type `int` was not caught, thrown by `sell_number`");
        dies("noexcept").says(
            "terminate",
            "a C++ exception of type `shop::out_of_stock` left a function that is `noexcept`, thrown by `sell`: no apples",
        );
        dies("terminate").says("terminate", "`main` called `std::terminate`");
        dies("pure").says("terminate", "called a pure virtual method: its object was not whole, or not any more");
        dies("method").says(
            "null_pointer",
            "read from `this->total` through a null pointer: `this` (const shop::Cart *const) is NULL, and `total` lies 0x10 bytes \
             into it",
        );
        dies("virtual").says("null_pointer", "used a virtual method of a null object: `cart` (shop::Cart *) is NULL");
    }
}

/// Guards against a panic that is told as an abort in the standard library.
#[test]
fn rust_panics_are_told() {
    for level in ["opt-level=0", "opt-level=2"] {
        let dies = |mode| die("explained.rs", &["-C", "panic=abort", "-C", level], mode);
        let line = |text| Fixture::build("explained.rs").line_of(text);
        let panicked = |mode, function, place: &str, why: &str| {
            let told = dies(mode);
            told.says("panic", &format!("panicked in `explained::{function}` at explained.rs:{place}{why}"));
            told
        };
        let told = panicked("message", "checkout", &format!("{}:9", line("panic!(\"the cart is empty\");")), "");
        assert_eq!(
            told.findings("inferred"),
            ["the message is probably \"the cart is empty\": a text that its stack refers to"]
        );
        panicked("formatted", "checkout_all", &format!("{}:5", line("carts are empty\", black_box")), "");
        let none = ": `unwrap` was called on a `None` value";
        panicked("unwrap", "first", &format!("{}:10", line("cart.unwrap()")), none);
        let err = ": `unwrap` or `expect` was called on an `Err` value";
        panicked("expect", "number", &format!("{}:18", line("text.parse()")), err);
        panicked("index", "item", &format!("{}:5", line("items[index]")), ": an index was out of bounds");
    }
    let told = die("explained.rs", &["-C", "panic=abort", "-C", "opt-level=2"], "null");
    told.says(
        "null_pointer",
        "read from `(*cart).total` through a null pointer: `cart` (*const explained::Cart) is NULL, and `total` lies 0x8 bytes into it",
    );
}

/// Guards against explanations that need debug info to be of any use.
#[test]
fn without_debug_info_registers_are_named() {
    let fixture = Fixture::build("explained.c").with(Compiler::Gcc, ["-O2"]).stripped();
    let dies = |mode: &str| Told(fixture.args([mode]).run_until_death::<&str>([]));

    dies("member").says("null_pointer", "wrote to address ADDRESS through a null pointer: rdi was 0");
    dies("divide").says("division_by_zero", "divided an integer by zero: the divisor in rsi is 0");
    dies("callback").says(
        "bad_code_pointer",
        "`call_back` called address ADDRESS through the pointer in rax, where no memory is mapped",
    );
    dies("text").says(
        "text_as_pointer",
        "read from address 0x64726f7773736170: the pointer in rdi holds the text \"password\" and no address",
    );
}

/// Guards against a page that keeps what the report knows.
#[test]
fn the_page_has_the_sentence_first_and_the_findings_below() {
    let outcome =
        Fixture::build("explained.c").with(Compiler::Gcc, ["-O2"]).args(["member"]).run(["--returns", "always"]);
    let lines: Vec<&str> = outcome.stderr.lines().collect();

    assert!(lines[0].contains("was killed by SIGSEGV: wrote to `r->name` through a null pointer"), "{lines:#?}");
    assert_eq!(lines[1], "  `mov [rdi+0x18], rsi` writes 8 bytes at 0x18; rdi was 0x0");
    assert_eq!(lines[2], "  probably: the null pointer may come from lookup() = NULL, 1 call earlier");
}
