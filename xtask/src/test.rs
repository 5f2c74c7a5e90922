//! `cargo xtask test`: all tests, as root.

use crate::packages::{Package, install_missing};
use crate::shell::{self, ChoreError};

/// What fixtures are built with, and what runs them in special ways.
pub const NEEDED: [Package; 11] = [
    Package { name: "gcc", provides: "gcc" },
    Package { name: "g++", provides: "g++" },
    Package { name: "clang", provides: "clang" },
    // Debian only recommends the sanitizers of its clang.
    Package {
        name: "libclang-rt-14-dev",
        provides: "/usr/lib/llvm-14/lib/clang/14.0.6/lib/linux/libclang_rt.asan-x86_64.a",
    },
    Package { name: "libc++-dev", provides: "/usr/lib/x86_64-linux-gnu/libc++.so" },
    Package { name: "libc++abi-dev", provides: "/usr/lib/x86_64-linux-gnu/libc++abi.so" },
    Package { name: "gdb", provides: "gdb" },
    Package { name: "libc6-dev", provides: "/usr/include/stdio.h" },
    Package { name: "binutils", provides: "strip" },
    Package { name: "musl-tools", provides: "musl-gcc" },
    Package { name: "util-linux", provides: "setsid" },
];

/// Arguments of `cargo xtask test`.
#[derive(clap::Args)]
pub struct Arguments {
    /// Run all test binaries even after one has failed.
    #[arg(long)]
    keep_going: bool,
    /// What else to give to `cargo test`, such as a part of a test's name.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    cargo_arguments: Vec<String>,
}

/// Installs what is missing, builds as the user who asked, and runs the tests as root.
pub fn run(arguments: &Arguments) -> Result<(), ChoreError> {
    install_missing(&NEEDED)?;
    let mut cargo = shell::cargo();
    cargo.current_dir(shell::root()).args(["test", "--workspace"]);
    if arguments.keep_going {
        cargo.arg("--no-fail-fast");
    }
    shell::run_as_root(&mut cargo);
    let outcome = shell::run(cargo.args(&arguments.cargo_arguments));
    eprintln!("xtask: {}", if outcome.is_ok() { "all tests passed" } else { "TESTS FAILED" });
    outcome
}
