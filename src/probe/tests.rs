//! The recorder on a real kernel, with plans made by hand.

use std::path::{Path, PathBuf};
use std::process::Command;

use lastwords_abi::{Step, step};

use super::*;
use crate::address::{FileOffset, Svma};
use crate::plan::{EntrySite, Exits, FunctionPlan};

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
        entry: EntrySite { offset: FileOffset(offset), address: Svma(offset), cfa_offset: 8 },
        exits: Exits::Trampoline,
        steps,
        arguments: vec![],
        returns: None,
        has_debug_info: true,
    };
    Plan { objects: vec![path.to_owned()], functions: vec![function], ..Plan::default() }
}

fn build(source: &str) -> PathBuf {
    let directory = std::env::temp_dir().join(format!("lastwords-probe-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let path = directory.join("program");
    std::fs::write(directory.join("program.c"), source).unwrap();
    let status =
        Command::new("gcc").args(["-g", "-O0", "-o"]).arg(&path).arg(directory.join("program.c")).status().unwrap();
    assert!(status.success());
    path
}

/// Guards against a program that the verifier refuses, in any tier of this kernel.
#[test]
fn every_tier_of_this_kernel_attaches() {
    let path = build("int add(int a, int b) { return a + b; } int main(void) { return add(3, 4); }");
    let register = |word| Step { op: step::REGISTER, register: word, size: 4, ..Step::default() };
    let string = Step { op: step::STRING, size: 256, ..Step::default() };
    let plan = plan(&path, "add", vec![register(14), register(13), string]);
    let settings = Settings { calls: 64, threads: 16, signals: vec![11] };
    for tier in [Tier::Session, Tier::Multi, Tier::Single] {
        let mut recorder = Recorder::load(&plan, &settings).unwrap_or_else(|error| panic!("{tier}: {error:?}"));
        let attached = recorder.attach(&plan, Some(tier)).unwrap_or_else(|error| panic!("{tier}: {error:#?}"));
        assert_eq!((attached.tier, attached.functions, attached.sites), (tier, 1, 2));
    }
}
