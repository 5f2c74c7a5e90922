//! Stacks and tables that make no sense: fewer frames, but never a panic or an endless walk.

use super::*;
use crate::address::LoadBias;
use crate::arch;
use crate::binary::{Binary, SectionBytes};
use crate::crash::modules::{Mapped, ModuleMap, Segment};
use crate::crash::tests::Random;

const SOURCE: &str = "
    __attribute__((noinline)) int visit(int (*f)(int), int n) { return f(n) + 1; }
    __attribute__((noinline)) int one(int n) { return n < 1 ? 0 : visit(one, n - 1) * 2; }
    int main(int argc, char **argv) { return visit(one, argc) + (argv != 0); }
";
const BIAS: u64 = 0x5555_0000_0000;
const STACK: u64 = 0x7ffc_0000_0000;

fn map_of(path: &std::path::Path) -> ModuleMap {
    let Ok(binary) = Binary::open(path) else { return ModuleMap::default() };
    let segments = binary.segments().iter().map(|segment| Segment {
        range: Avma(BIAS + segment.start.0)..Avma(BIAS + segment.start.0 + segment.memory_size),
        is_executable: segment.is_executable,
    });
    let segments = segments.collect();
    ModuleMap::new(vec![Mapped { path: path.into(), bias: LoadBias(BIAS), segments, ..Mapped::default() }], &[])
}

/// A stack of words that lead into code, back into the stack, and nowhere.
fn stack(random: &mut Random, words: u64) -> (Registers, Memory) {
    let mut word = |_| match random.below(4) {
        0 => BIAS + 0x1000 + random.below(0x400),
        1 => STACK + 8 * random.below(words),
        2 => random.below(0x100),
        _ => random.next(),
    };
    let bytes: Vec<u8> = (0..words).flat_map(|at| word(at).to_le_bytes()).collect();
    let mut saved: Vec<u64> = (0..21).map(word).collect();
    (saved[16], saved[19]) = (BIAS + 0x1000 + random.below(0x400), STACK + 8 * random.below(words));
    let mut memory = Memory::default();
    memory.insert(Avma(STACK), &bytes);
    (Registers::from_words(&saved, arch::host()), memory)
}

fn walk(registers: &Registers, memory: &Memory, code: &Code<'_>, words: u64) {
    let stack = Stack { registers, memory, end: Some(Avma(STACK + 8 * words)) };
    let backtrace = unwind(stack, code);
    assert!(backtrace.frames.len() <= words as usize + 2, "{}", backtrace.frames.len());
    let placed: Vec<Placed<'_>> = place(&backtrace, code);
    let _ = frames::report(&placed, code, &[], &Plan::default());
}

/// Guards against a panic or a loop on a stack that was overwritten with anything.
#[test]
fn random_stacks_end() {
    let fixture = Fixture::compile("gcc", &["-g", "-O1"], SOURCE);
    let map = map_of(&fixture.program());
    let code = Code::new(&map, arch::host());
    let mut random = Random(1);
    for _ in 0..3000 {
        let (registers, memory) = stack(&mut random, 512);
        walk(&registers, &memory, &code, 512);
    }
}

/// Guards against a panic or a loop on a table that leads in circles.
#[test]
fn damaged_tables_end() {
    let fixture = Fixture::compile("gcc", &["-g", "-O1"], SOURCE);
    let whole = std::fs::read(fixture.program()).unwrap();
    let binary = Binary::open(&fixture.program()).unwrap();
    let damaged = fixture.folder().join("damaged");
    let mut random = Random(2);
    for name in [".eh_frame", ".eh_frame_hdr"] {
        let Some(SectionBytes::Mapped(_, range)) = binary.section(name).unwrap() else { panic!("no {name}") };
        for at in range {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << random.below(8);
            std::fs::write(&damaged, &bytes).unwrap();
            let map = map_of(&damaged);
            let code = Code::new(&map, arch::host());
            for _ in 0..4 {
                let (registers, memory) = stack(&mut random, 256);
                walk(&registers, &memory, &code, 256);
            }
        }
    }
}

/// Guards against taking what is left on the stack for frames where nothing is known at all.
#[test]
fn without_modules_there_is_one_frame() {
    let map = ModuleMap::default();
    let code = Code::new(&map, arch::host());
    let (registers, memory) = stack(&mut Random(3), 64);

    let backtrace = unwind(Stack { registers: &registers, memory: &memory, end: None }, &code);
    assert_eq!((backtrace.frames.len(), backtrace.end), (1, End::Wild));

    let none = Registers::default();
    let backtrace = unwind(Stack { registers: &none, memory: &memory, end: None }, &code);
    assert_eq!((backtrace.frames.len(), backtrace.end), (0, End::NoRegisters));
}
