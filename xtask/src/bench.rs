//! `cargo xtask bench`: what recording costs on this machine.

use crate::packages::{Package, install_missing};
use crate::shell::{self, ChoreError};

/// What the measured programs are built with.
const NEEDED: [Package; 3] = [
    Package { name: "gcc", provides: "gcc" },
    Package { name: "g++", provides: "g++" },
    Package { name: "gdb", provides: "gdb" },
];

/// All benches, in the order in which they run.
const BENCHES: [&str; 5] = ["recorder", "compare", "governor", "death", "startup"];
/// Those that know `--quick`.
const QUICK: [&str; 2] = ["recorder", "death"];

/// Arguments of `cargo xtask bench`.
#[derive(clap::Args)]
pub struct Arguments {
    /// Measure little, with a build for debugging, where a bench can do that: it tells whether it works.
    #[arg(long)]
    quick: bool,
    /// Only these.
    #[arg(value_name = "BENCH", value_parser = BENCHES)]
    benches: Vec<String>,
}

/// Runs the benches one after the other, as root.
pub fn run(arguments: &Arguments) -> Result<(), ChoreError> {
    install_missing(&NEEDED)?;
    let is_asked = |bench: &&str| {
        let is_chosen = arguments.benches.is_empty() || arguments.benches.iter().any(|asked| asked == bench);
        is_chosen && (!arguments.quick || QUICK.contains(bench))
    };
    for bench in BENCHES.into_iter().filter(is_asked) {
        let mut cargo = shell::cargo();
        cargo.current_dir(shell::root()).args(["bench", "--package", "lastwords", "--bench", bench]);
        if arguments.quick {
            cargo.args(["--profile", "dev"]);
        }
        shell::run_as_root(&mut cargo);
        if arguments.quick {
            cargo.args(["--", "--quick"]);
        }
        shell::run(&mut cargo)?;
    }
    Ok(())
}
