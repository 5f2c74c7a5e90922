//! Programs that crash, and the values that a debugger sees in their frames.

mod entry;
mod gdb;
mod sources;
mod values;

use super::*;
use crate::binary::fixture::Fixture;
use crate::crash::frames;
use crate::crash::unwind::tests::dead::Dead;
use crate::plan::Plan;

/// The frames of the crashed thread, with values.
fn frames_of(fixture: &Fixture) -> Vec<Frame> {
    frames_of_dead(&Dead::of(&fixture.program()))
}

fn frames_of_dead(dead: &Dead) -> Vec<Frame> {
    let code = dead.code();
    let backtrace = dead.backtrace(0);
    let placed = frames::place(&backtrace, &code);
    let mut frames = frames::report(&placed, &code, &[], &Plan::default());
    Variables::new(&code, &dead.memory, 128).fill(&mut frames, &placed, &backtrace, Bounds::CRASHED);
    frames
}

fn frame<'f>(frames: &'f [Frame], function: &str) -> &'f Frame {
    let found = frames.iter().find(|frame| frame.function.as_deref() == Some(function));
    found.unwrap_or_else(|| panic!("no `{function}` in {frames:#?}"))
}

/// Arguments and locals of a frame, as the page has them.
fn shown(frame: &Frame) -> Vec<String> {
    let values = frame.args.iter().chain(&frame.locals);
    values.map(|value| anstream::adapter::strip_str(&crate::render::value::named(value)).to_string()).collect()
}

/// Guards against values of another block, another frame, or another time.
#[test]
fn unoptimized_frames_have_all_values() {
    for compiler in ["gcc", "clang"] {
        let fixture = Fixture::compile(compiler, &["-g", "-O0"], sources::C);
        let frames = frames_of(&fixture);

        let innermost = shown(frame(&frames, "innermost"));
        assert_eq!(innermost[1..3], ["depth = 3", r#"text = "some text""#], "{compiler}");
        let r = &frame(&frames, "innermost").args[0];
        let target = r.target.as_ref().unwrap();
        assert_eq!(target.value["name"], "alice");
        assert_eq!(target.value["id"], 7);
        assert_eq!(target.value["weight"], -1.5);
        let locals = &innermost[3..];
        assert_eq!(
            locals,
            [
                "shadow = 10",
                r#"buffer = "some text""#,
                "shadow = 20",
                "big = -5000000000",
                "late = <unavailable: it is declared in line 23, which had not been reached>",
            ],
            "{compiler}"
        );
        let middle = shown(frame(&frames, "middle"));
        let expected = [
            r#"r = rec {name: "alice", id: 7, next: NULL, weight: -1.5}"#,
            "color = GREEN",
            "ratio = 0.25",
            "letter = 120 'x'",
            "numbers = [3, 1, 4]",
        ];
        assert_eq!(middle[..5], expected, "{compiler}");
        assert!(middle[5].ends_with(" (declared in this very line, perhaps not set yet)"), "{middle:?}");
    }
}

/// Guards against a register of the innermost frame that is told as that of its caller.
#[test]
fn what_a_called_function_may_have_overwritten_is_not_told() {
    let source = "volatile int *volatile nowhere;\n\
                  __attribute__((noinline)) int leaf(void) { return *nowhere; }\n\
                  int main(void) {\n\
                    register long scratch __asm__(\"r10\") = 5;\n\
                    register long kept __asm__(\"r12\") = 6;\n\
                    __asm__ volatile(\"\" : \"+r\"(scratch), \"+r\"(kept));\n\
                    return leaf();\n\
                  }\n";
    let frames = frames_of(&Fixture::compile("gcc", &["-g", "-O0"], source));

    let expected =
        ["scratch = <unavailable: it is in r10, which the function that it called may have overwritten>", "kept = 6"];
    assert_eq!(shown(frame(&frames, "main")), expected);
}

/// The arguments of `leaf`, which has dropped them before it crashes.
fn dropped(options: &[&str]) -> Vec<String> {
    let options = [&["-g", "-O2"], options].concat();
    shown(frame(&frames_of(&Fixture::compile("gcc", &options, sources::KEPT)), "leaf"))
}

/// Guards against an argument that is said to be gone although its caller still knows it.
#[test]
fn what_the_caller_knows_of_a_dropped_argument_is_told() {
    for dwarf in ["-gdwarf-5", "-gdwarf-4"] {
        assert_eq!(dropped(&[dwarf]), ["given = 98", "dropped = 9"]);
        assert_eq!(dropped(&[dwarf, "-DPOINTED"]), ["given = 43", "dropped = 6"]);
    }
}

/// Guards against the arguments of the call that the caller made for those of the jump that followed.
#[test]
fn a_tail_call_in_between_makes_the_caller_no_witness() {
    assert_eq!(dropped(&["-DHOP"]), ["given = <optimized out>", "dropped = <optimized out>"]);
}

/// Guards against garbage from a frame that is not there yet, or not there any more.
#[test]
fn a_prologue_has_no_values_yet() {
    // The stack pointer leads nowhere when the first instruction pushes.
    let source = "__attribute__((noinline)) int deep(int argument) {\n\
                    volatile char room[64];\n\
                    room[0] = argument;\n\
                    return room[0];\n\
                  }\n\
                  int main(void) {\n\
                    __asm__ volatile(\"mov $0x1000, %%rsp\\n mov $5, %%edi\\n jmp deep\" ::: \"memory\");\n\
                    return deep(1);\n\
                  }\n";
    for compiler in ["gcc", "clang"] {
        let fixture = Fixture::compile(compiler, &["-g", "-O0"], source);
        let frames = frames_of(&fixture);
        let values = shown(frame(&frames, "deep"));
        assert!(values[0].starts_with("argument = <un"), "{compiler}: {values:?}");
    }
}
