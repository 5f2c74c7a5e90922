//! The recorder on a real kernel, with plans made by hand.

use std::path::{Path, PathBuf};
use std::process::Command;

use lastwords_abi::{Step, step};

use super::*;
use crate::address::{FileOffset, Svma};
use crate::arch::cost::SINGLE_STEPPED;
use crate::launch::{Ending, Suspended};
use crate::plan::{EntrySite, ExitPlan, Exits, FunctionPlan, Limits, Weight};

/// The file offset of a function of a program linked without segments that differ in address and offset.
fn offset_of(path: &Path, function: &str) -> u64 {
    let bytes = std::fs::read(path).unwrap();
    let elf = goblin::elf::Elf::parse(&bytes).unwrap();
    let symbol = elf.syms.iter().find(|symbol| elf.strtab.get_at(symbol.st_name) == Some(function)).unwrap();
    let segment =
        elf.program_headers.iter().find(|segment| segment.vm_range().contains(&(symbol.st_value as usize))).unwrap();
    symbol.st_value - segment.p_vaddr + segment.p_offset
}

fn plan(path: &Path, function: &str, steps: Vec<Step>) -> Plan {
    let offset = offset_of(path, function);
    let function = FunctionPlan {
        name: function.to_owned(),
        symbol: function.to_owned(),
        declared: None,
        object: 0,
        address: Svma(offset),
        entry: EntrySite {
            offset: FileOffset(offset),
            address: Svma(offset),
            cfa_offset: 8,
            class: SINGLE_STEPPED,
            obstacle: None,
        },
        exits: Exits::Trampoline,
        steps,
        arguments: vec![],
        returns: None,
        exit: ExitPlan::default(),
        unseen_exits: None,
        turns: Vec::new(),
        has_debug_info: true,
        limits: Limits::default(),
        weight: Weight::default(),
    };
    Plan { objects: vec![path.to_owned()], functions: vec![function], ..Plan::default() }
}

/// The program `name`, built where `LASTWORDS_FIXTURES` says, unless it is there already (`cargo xtask kernels`).
fn build(name: &str, source: &str) -> PathBuf {
    let kept = std::env::var_os("LASTWORDS_FIXTURES").map(PathBuf::from);
    let folder = kept.unwrap_or_else(|| std::env::temp_dir().join(format!("lastwords-{}", std::process::id())));
    let directory = folder.join(format!("probe-{name}"));
    let path = directory.join("program");
    if path.exists() {
        return path;
    }
    std::fs::create_dir_all(&directory).unwrap();
    std::fs::write(directory.join("program.c"), source).unwrap();
    let status =
        Command::new("gcc").args(["-g", "-O0", "-o"]).arg(&path).arg(directory.join("program.c")).status().unwrap();
    assert!(status.success());
    path
}

/// The tiers to test: all of them, or those that `LASTWORDS_TIERS` names for an older kernel (`cargo xtask kernels`).
fn tiers() -> Vec<Tier> {
    let names = std::env::var("LASTWORDS_TIERS").unwrap_or_else(|_| "session,multi,single".to_owned());
    names.split(',').map(|name| clap::ValueEnum::from_str(name, true).unwrap()).collect()
}

/// Guards against a program that the verifier refuses, in any tier of this kernel.
#[test]
fn every_tier_of_this_kernel_attaches() {
    let path = build("add", "int add(int a, int b) { return a + b; } int main(void) { return add(3, 4); }");
    let register = |word| Step { op: step::REGISTER, register: word, size: 4, ..Step::default() };
    let string = Step { op: step::STRING, size: 256, ..Step::default() };
    let plan = plan(&path, "add", vec![register(14), register(13), string]);
    for tier in tiers() {
        let settings = Settings { threads: 16, tier: Some(tier), ..Settings::default() };
        let mut recorder = Recorder::load(&plan, &settings).unwrap_or_else(|error| panic!("{tier}: {error:?}"));
        let attached = recorder.attach(&plan).unwrap_or_else(|error| panic!("{tier}: {error:#?}"));
        assert_eq!((attached.tier, attached.functions, attached.sites), (tier, 1, 2));
    }
}

/// Runs a program that dies of SIGSEGV under a recorder.
fn death_of(path: &Path, recorder: &mut Recorder) -> Death {
    let suspended = Suspended::new(path, &["program".into()], None).unwrap();
    recorder.watch(suspended.pid().as_raw() as u32).unwrap();
    let running = suspended.start().unwrap();
    let ending = loop {
        if let Some(ending) = running.ending() {
            break ending;
        }
        std::thread::yield_now();
    };
    assert_eq!(ending, Ending::Killed(nix::sys::signal::Signal::SIGSEGV));
    let death = recorder.next_death().expect("a death");
    assert_eq!(death.event.watched.ns_pid, running.pid().as_raw() as u32);
    death
}

/// Guards against programs that Linux before 6.0 refuses: none of them may wait for pages. What that loses is told.
#[test]
fn probes_need_not_wait_for_pages() {
    // A text that is there, and one on a page of the program's own file that nobody has looked at.
    let source = r#"
        #include <fcntl.h>
        #include <sys/mman.h>
        int add(const char *a) { return 1; }
        int main(void) {
            char here[] = "text";
            add(here);
            add(mmap(0, 4096, PROT_READ, MAP_PRIVATE, open("/proc/self/exe", O_RDONLY), 0));
            *(volatile char *)0 = 1;
        }"#;
    let path = build("waiting", source);
    let register = Step { op: step::REGISTER, register: 14, size: 8, ..Step::default() };
    let string = Step { op: step::STRING, size: 16, ..Step::default() };
    let plan = plan(&path, "add", vec![register, string]);
    for (waits_for_pages, expected) in [(false, step::NOT_IN_MEMORY), (true, step::READ)] {
        let settings = Settings { threads: 16, tier: Some(Tier::Single), waits_for_pages, ..Settings::default() };
        let mut recorder = Recorder::load(&plan, &settings).unwrap_or_else(|error| panic!("{error:#?}"));
        recorder.attach(&plan).unwrap_or_else(|error| panic!("{error:#?}"));
        let death = death_of(&path, &mut recorder);
        let (_, calls) = crate::crash::ring::read_slot(&death.slots[0], recorder.config(), 64).expect("a slot");
        let status = |call: &crate::crash::RawCall| u16::from_ne_bytes([call.data[8], call.data[9]]);
        assert_eq!(calls.iter().map(status).collect::<Vec<_>>(), [step::READ, expected]);
    }
}

/// Guards against a death that is not told, or that leaves the ring behind: the whole way through the kernel.
#[test]
fn a_death_brings_the_ring_of_its_thread() {
    let source = "int add(int a, int b) { return a + b; }\n\
        int main(void) { for (int i = 0; i < 100; i++) add(i, 2 * i); *(volatile char *)0 = 1; }";
    let path = build("death", source);
    let register = |word| Step { op: step::REGISTER, register: word, size: 4, ..Step::default() };
    let plan = plan(&path, "add", vec![register(14), register(13)]);
    for tier in tiers() {
        let settings = Settings { threads: 16, tier: Some(tier), ..Settings::default() };
        let mut recorder = Recorder::load(&plan, &settings).unwrap();
        recorder.attach(&plan).unwrap();
        let death = death_of(&path, &mut recorder);
        assert_eq!((death.fault.signal, death.fault.address, death.slots.len()), (11, 0, 1));
        // The stack is there from the red zone below the stack pointer on (psABI, 3.2.2), page by page.
        let start = death.fault.thread.registers[19] - 128;
        let stack = death.memory.iter().find(|range| range.address.0 == start).expect("the stack");
        assert_eq!((start + stack.bytes.len() as u64) % 4096, 0);
        // SAFETY: a copy of a slot begins with its header.
        let header = unsafe { death.slots[0].as_ptr().cast::<lastwords_abi::SlotHeader>().read_unaligned() };
        assert_eq!((header.calls, header.ns_tid), (100, death.event.watched.ns_pid));
        assert_eq!(recorder.counters().unwrap(), [0; Counter::COUNT as usize]);
    }
}
