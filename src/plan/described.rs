//! Plans as text (docs/plan.md): what real functions get, by the options that the user has.

use super::build::{Options, prepare};
use super::capture::Limits;
use super::describe::describe;
use super::select::Selection;
use crate::arch;
use crate::binary::Binary;
use crate::binary::fixture::Fixture;

/// The plan of the function `name` in this C program.
fn plan(source: &str, name: &str, options: &Options) -> String {
    let fixture = Fixture::compile("gcc", &["-O2", "-g"], source);
    let selection = Selection { functions: vec![name.into()], ..Selection::default() };
    let prepared = prepare(Binary::open(&fixture.program()).unwrap(), &selection, options).unwrap();
    let text = describe(&prepared.plan.functions[0], &prepared.plan.types, arch::host());
    // Where it is differs from linker to linker.
    let lines = text.lines().skip(1).filter(|line| !line.starts_with("  exits"));
    lines.map(|line| format!("{}\n", &line[2..])).collect()
}

const MAIN: &str = "int main(void) { return 0; }";

/// Guards against a return that forgets what is behind the result, or what an argument leads to by then, or reads what cannot have changed.
#[test]
fn the_return_has_steps_of_its_own() {
    let source = format!(
        "struct rec {{ int id; char *name; }};
         __attribute__((noipa)) struct rec *fill(struct rec *r, const struct rec *from, char *buf, unsigned len) {{
             return r && from && buf && len ? r : 0;
         }} {MAIN}"
    );
    insta::assert_snapshot!(plan(&source, "fill", &Options { after: true, ..Options::default() }), @r"
    #0 rdi
    #1 rsi
    #2 rdx
    #3 rcx
    #4 16 bytes at [0]+0
    #5 16 bytes at [8]+0
    #6 string at [16], 256 bytes at most
    #7 string at [48], 256 bytes at most
    #8 string at [72], 256 bytes at most
    struct rec * r = #0[0..8]
      *r: struct rec = #4
        r->name: text = #7
    const struct rec * from = #1[0..8]
      *from: const struct rec = #5
        from->name: text = #8
    char * buf = #2[0..8]
      buf: text = #6
    unsigned int len = #3[0..4]
    at the return
      #0 rax
      #1 rdx
      #2 [0] of the entry
      #3 [16] of the entry
      #4 16 bytes at [16]+0
      #5 16 bytes at [0]+0
      #6 string at [24], 256 bytes at most
      #7 string at [48], 256 bytes at most
      #8 string at [72], 256 bytes at most
      returns struct rec * = #0[0..8]
        *result: struct rec = #5
          result->name: text = #8
      after: struct rec * r = #2[0..8]
        *r: struct rec = #4
          r->name: text = #7
      after: char * buf = #3[0..8]
        buf: text = #6
    ");
}

/// Guards against a result that is looked for in registers although the caller has provided memory for it.
#[test]
fn a_result_in_memory_is_found_by_the_hidden_argument() {
    let source = format!(
        "struct rec {{ long id; char *name; long more; }};
         __attribute__((noipa)) struct rec make(long id) {{ return (struct rec){{ id, \"x\", 3 }}; }} {MAIN}"
    );
    insta::assert_snapshot!(plan(&source, "make", &Options::default()), @r"
    #0 rdi
    #1 rsi
    long id = #1[0..8]
    at the return
      #0 rax
      #1 rdx
      #2 [0] of the entry
      #3 24 bytes at [16]+0
      #4 string at [40], 256 bytes at most
      returns struct rec = #3[0..24]
        result.name: text = #4
    ");
}

/// Guards against an argument that takes what another one needs, and against bytes that nobody gets.
#[test]
fn arguments_share_the_bytes_of_a_call() {
    let source = format!(
        "struct large {{ long numbers[100]; }};
         struct small {{ int id; char *name; struct small *next; }};
         __attribute__((noipa)) int take(struct large *l, struct small *s, struct small *t) {{ return l && s && t; }} {MAIN}"
    );
    let limits = Limits { reach_bytes: 512, ..Limits::default() };
    insta::assert_snapshot!(plan(&source, "take", &Options { limits, ..Options::default() }), @r"
    #0 rdi
    #1 rsi
    #2 rdx
    #3 24 bytes at [8]+0
    #4 24 bytes at [48]+0
    #5 24 bytes at [16]+0
    #6 24 bytes at [112]+0
    #7 184 bytes at [0]+0
    #8 string at [40], 32 bytes at most
    #9 string at [72], 32 bytes at most
    #10 string at [104], 32 bytes at most
    #11 string at [136], 32 bytes at most
    struct large * l = #0[0..8]
      *l: struct large = #7
    struct small * s = #1[0..8]
      *s: struct small = #3
        s->name: text = #8
        *s->next: struct small = #4
          s->next->name: text = #9
    struct small * t = #2[0..8]
      *t: struct small = #5
        t->name: text = #10
        *t->next: struct small = #6
          t->next->name: text = #11
    at the return
      #0 rax
      #1 rdx
      returns int = #0[0..4]
    ");
}

/// Guards against a pointer that is followed twice: each thing is captured once.
#[test]
fn what_is_captured_already_is_not_captured_again() {
    let source = format!(
        "struct rec {{ int id; struct rec *next; }};
         union two {{ struct rec *rec; struct rec *same; }};
         __attribute__((noipa)) int take(union two t) {{ return t.rec != 0; }} {MAIN}"
    );
    let limits = Limits { depth: 1, ..Limits::default() };
    insta::assert_snapshot!(plan(&source, "take", &Options { limits, ..Options::default() }), @r"
    #0 rdi
    #1 16 bytes at [0]+0
    union two t = #0[0..8]
      *t.rec: struct rec = #1
    at the return
      #0 rax
      #1 rdx
      returns int = #0[0..4]
    ");
}
