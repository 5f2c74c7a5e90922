//! `cargo xtask kernels`: the tests on the oldest kernels of the slower tiers, in virtual machines.
//!
//! All that runs there is built here, the fixtures too: the tests run on this machine first, with a folder for fixtures of their own,
//! and the machines find everything at the same paths. They need no compiler, no disk and no network.

mod initramfs;
mod kernel;
mod machine;
mod programs;

use std::collections::BTreeSet;
use std::{fs, thread};

use self::kernel::Kernel;
use self::programs::{Choice, Programs};
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

    /// Some tests of each topic, instead of all that depends on the kernel: a few minutes instead of half an hour
    #[arg(long, conflicts_with = "filters")]
    brief: bool,

    /// Only whole-program tests whose names contain one of these, instead of all that depends on the kernel
    #[arg(value_name = "FILTER")]
    filters: Vec<String>,
}

/// Builds, runs the tests here, then on all kernels at the same time.
pub fn run(arguments: &Arguments) -> Result<(), ChoreError> {
    install_missing(&NEEDED)?;
    install_missing(&test::NEEDED)?;
    let is_asked_for = |series: &str| arguments.only.as_deref().is_none_or(|only| only == series);
    let chosen: Vec<_> = KERNELS.into_iter().filter(|(series, _)| is_asked_for(series)).collect();

    let choice = match &*arguments.filters {
        [] if arguments.brief => Choice::Brief,
        [] => Choice::All,
        filters => Choice::Named(filters),
    };

    let programs = Programs::build()?;
    let folder = programs.target.join("kernels");
    let fixtures = folder.join("fixtures");
    // Those of another day would only make the machines larger.
    let _ = fs::remove_dir_all(&fixtures);
    fs::create_dir_all(&fixtures).map_err(|source| ChoreError::Write { path: fixtures.clone(), source })?;
    let kernels = chosen.iter().map(|(series, _)| Kernel::fetch(series, &folder)).collect::<Result<Vec<_>, _>>()?;

    let tiers: BTreeSet<&str> = chosen.iter().flat_map(|(_, tiers)| tiers.iter().copied()).collect();
    for test in programs.tests(&fixtures, &tiers.into_iter().collect::<Vec<_>>(), choice) {
        shell::run(&mut test.to_process())?;
    }
    let test_on = |kernel: &Kernel, tiers: &[&str]| {
        let image = folder.join(format!("initramfs-{}", kernel.version));
        programs.pack(&programs.tests(&fixtures, tiers, choice), &fixtures, &image)?;
        machine::run(kernel, &image)
    };
    let outcomes: Vec<_> = thread::scope(|scope| {
        let machines: Vec<_> =
            kernels.iter().zip(&chosen).map(|(kernel, (_, tiers))| scope.spawn(|| test_on(kernel, tiers))).collect();
        machines.into_iter().map(|machine| machine.join().expect("a machine's thread does not panic")).collect()
    });
    outcomes.into_iter().collect::<Result<(), _>>()?;
    eprintln!(
        "xtask: all tests passed on {}",
        kernels.iter().map(|kernel| &*kernel.version).collect::<Vec<_>>().join(", ")
    );
    Ok(())
}
