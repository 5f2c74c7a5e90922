//! Chores of this project: `cargo xtask --help`. Each prints the commands that it runs.

mod bench;
mod ebpf;
mod kernels;
mod packages;
mod placement;
mod shell;
mod test;

use std::process::ExitCode;

use clap::Parser;

/// Chores of this project.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
enum Chore {
    /// Install what the tests need, build the fixtures, run all tests as root.
    Test(test::Arguments),
    /// Run the tests that depend on the kernel on older ones, in virtual machines.
    Kernels(kernels::Arguments),
    /// Measure what recording costs on this machine.
    Bench(bench::Arguments),
    /// Print where probes stand in sqlite and zstd, and what that costs.
    Placement(placement::Arguments),
    /// Build the kernel side anew and write down what it was built from.
    Ebpf(ebpf::Arguments),
}

fn main() -> ExitCode {
    let outcome = match Chore::parse() {
        Chore::Test(arguments) => test::run(&arguments),
        Chore::Kernels(arguments) => kernels::run(&arguments),
        Chore::Bench(arguments) => bench::run(&arguments),
        Chore::Placement(arguments) => placement::run(&arguments),
        Chore::Ebpf(arguments) => ebpf::run(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            if let Some(hint) = error.hint() {
                eprintln!("hint: {hint}");
            }
            ExitCode::FAILURE
        }
    }
}
