//! Debian packages that a chore needs: which are missing, and their installation.

use std::path::Path;

use crate::shell::{ChoreError, as_root, run};

/// A Debian package, and a file that is there once it is installed.
pub struct Package {
    /// Its name.
    pub name: &'static str,
    /// An absolute path, or the name of a program.
    pub provides: &'static str,
}

/// Installs those of the packages whose file is missing.
pub fn install_missing(packages: &[Package]) -> Result<(), ChoreError> {
    let missing: Vec<_> =
        packages.iter().filter(|package| !is_there(package.provides)).map(|package| package.name).collect();
    if missing.is_empty() {
        return Ok(());
    }
    if !is_there("apt-get") {
        return Err(ChoreError::NoPackageManager { packages: missing });
    }
    eprintln!("installing {}", missing.join(", "));
    run(as_root("apt-get").args(["update", "-qq"]))?;
    run(as_root("env")
        .args(["DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-y", "-qq", "--no-install-recommends"])
        .args(missing))
}

/// Whether a file, or a program by that name, exists.
pub fn is_there(provided: &str) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    Path::new(provided).is_absolute() && Path::new(provided).exists()
        || std::env::split_paths(&paths).any(|folder| folder.join(provided).is_file())
}
