//! `cargo xtask ebpf`: the kernel side, from its sources to the object that is committed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use xtask::stamp::{self, OBJECT, STAMP, Stamp};

use crate::packages::{Package, install_missing, is_there};
use crate::shell::{self, ChoreError};

/// A compiler with the sources of its library, which the rustup toolchain of many machines lacks, and the LLVM that goes with it.
const TOOLCHAIN: [Package; 5] = [
    Package { name: "rustc-web", provides: DEBIAN_RUSTC },
    Package { name: "cargo-web", provides: DEBIAN_CARGO },
    Package { name: "rust-web-src", provides: "/usr/lib/rustlib/src/rust/library/core/src/lib.rs" },
    Package { name: "llvm-22-dev", provides: "/usr/lib/llvm-22/lib/libLLVM.so" },
    Package { name: "libpolly-22-dev", provides: "/usr/lib/llvm-22/lib/libPolly.a" },
];
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_CARGO: &str = "/usr/bin/cargo";
const LLVM: &str = "/usr/lib/llvm-22";
const LINKER: &str = "bpf-linker";
const LINKER_VERSION: &str = "0.13.0";
const TARGET: &str = "bpfel-unknown-none";

/// Arguments of `cargo xtask ebpf`.
#[derive(clap::Args)]
pub struct Arguments {
    /// Only check that the committed object was built from the sources that are there.
    #[arg(long, conflicts_with = "out")]
    check: bool,
    /// Put the object here, and leave the committed one and its stamp as they are.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Builds the object, or checks it.
pub fn run(arguments: &Arguments) -> Result<(), ChoreError> {
    let ebpf = shell::root().join("ebpf");
    if arguments.check {
        stamp::check(&ebpf)?;
        eprintln!("xtask: ebpf/{OBJECT} was built from these sources");
        return Ok(());
    }
    install_missing(&TOOLCHAIN)?;
    install_linker()?;
    let linked = build(&ebpf)?;
    if let Some(out) = &arguments.out {
        return strip(&linked, out);
    }
    strip(&linked, &ebpf.join(OBJECT))?;
    let path = ebpf.join(STAMP);
    fs::write(&path, Stamp::of(&ebpf)?.to_text()).map_err(|source| ChoreError::Write { path, source })?;
    eprintln!("xtask: wrote ebpf/{OBJECT} and ebpf/{STAMP}");
    Ok(())
}

/// bpf-linker must be built for the LLVM of the compiler whose output it links.
fn install_linker() -> Result<(), ChoreError> {
    if is_there(LINKER) {
        return Ok(());
    }
    let path = std::env::var("PATH").unwrap_or_default();
    shell::run(
        shell::cargo()
            .args(["install", LINKER, "--version", LINKER_VERSION, "--no-default-features", "--features", "llvm-22"])
            .env("LLVM_PREFIX", LLVM)
            .env("PATH", format!("{LLVM}/bin:{path}"))
            .env("RUSTFLAGS", format!("-L {LLVM}/lib -L /usr/lib/{}-linux-gnu", std::env::consts::ARCH)),
    )
}

/// Compiles and links with debug info, from which the linker makes BTF. The paths of this machine are replaced: BTF has the
/// names of source files in it, and the same sources must make the same object everywhere.
fn build(ebpf: &Path) -> Result<PathBuf, ChoreError> {
    let rustflags = format!(
        "-C debuginfo=2 -C link-arg=--btf --remap-path-prefix={}=ebpf --remap-path-prefix={}=registry",
        ebpf.display(),
        cargo_home().join("registry/src").display()
    );
    let target_directory = ebpf.join("target");
    shell::run(
        Command::new(DEBIAN_CARGO)
            .current_dir(ebpf)
            .args(["build", "--release", "--locked", "--target", TARGET, "-Z", "build-std=core"])
            .env("CARGO_TARGET_DIR", &target_directory)
            .env("RUSTFLAGS", rustflags)
            // Debian's compiler is a stable release, and `build-std` is not stable.
            .env("RUSTC_BOOTSTRAP", "1")
            .env("RUSTC", DEBIAN_RUSTC)
            // Set by the rustup cargo that runs us, and meant for its own compiler.
            .env_remove("RUSTUP_TOOLCHAIN")
            .env_remove("CARGO"),
    )?;
    Ok(target_directory.join(TARGET).join("release/lastwords-ebpf"))
}

/// Leaves the DWARF out and the BTF in, which the kernel wants.
fn strip(linked: &Path, object: &Path) -> Result<(), ChoreError> {
    shell::run(Command::new(format!("{LLVM}/bin/llvm-objcopy")).arg("--strip-debug").arg(linked).arg(object))
}

fn cargo_home() -> PathBuf {
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cargo");
    std::env::var_os("CARGO_HOME").map_or_else(home, PathBuf::from)
}
