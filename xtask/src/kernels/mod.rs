//! `cargo xtask kernels`: the tests on the oldest kernels of the slower tiers, in virtual machines.
//!
//! All that runs there is built here, the fixtures too: the tests run on this machine first, with a folder for fixtures of their own,
//! and the machines find everything at the same paths. They need no compiler, no disk and no network.

mod initramfs;
mod kernel;
mod machine;
mod programs;

use std::fs;

use self::kernel::Kernel;
use self::programs::Programs;
use crate::packages::{Package, install_missing};
use crate::shell::{self, ChoreError};
use crate::test;

/// What the machines are made of. If Debian's other busybox is there, it will do: the libraries of all programs are copied.
const NEEDED: [Package; 2] = [
    Package { name: "qemu-system-x86", provides: "qemu-system-x86_64" },
    Package { name: "busybox-static", provides: "busybox" },
];

/// Series of kernels that Debian has, and the tiers of each.
const KERNELS: [(&str, &[&str]); 2] = [("6.1", &["single"]), ("6.12", &["multi", "single"])];

/// Arguments of `cargo xtask kernels`.
#[derive(clap::Args)]
pub struct Arguments {
    /// Only the kernels of this series, such as 6.1
    #[arg(long, value_name = "SERIES", value_parser = KERNELS.map(|(series, _)| series))]
    only: Option<String>,
}

/// Builds, runs the tests here, then on each kernel.
pub fn run(arguments: &Arguments) -> Result<(), ChoreError> {
    install_missing(&NEEDED)?;
    install_missing(&test::NEEDED)?;
    let is_asked_for = |series: &str| arguments.only.as_deref().is_none_or(|only| only == series);
    let kernels = KERNELS.into_iter().filter(|(series, _)| is_asked_for(series));

    let programs = Programs::build()?;
    let folder = programs.target.join("kernels");
    let fixtures = folder.join("fixtures");
    // Those of another day would only make the machines larger.
    let _ = fs::remove_dir_all(&fixtures);
    fs::create_dir_all(&fixtures).map_err(|source| ChoreError::Write { path: fixtures.clone(), source })?;

    for (series, tiers) in kernels {
        let kernel = Kernel::fetch(series, &folder)?;
        let tests = programs.tests(&fixtures, tiers);
        eprintln!("xtask: the tests for Linux {series}, on this kernel");
        for test in &tests {
            shell::run(&mut test.to_process())?;
        }
        let image = folder.join(format!("initramfs-{series}"));
        programs.pack(&tests, &fixtures, &image)?;
        eprintln!("xtask: the same on Linux {}", kernel.version);
        machine::run(&kernel, &image)?;
    }
    eprintln!("xtask: all tests passed on all kernels");
    Ok(())
}
