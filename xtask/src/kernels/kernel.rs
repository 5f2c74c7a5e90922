//! Kernels as Debian builds them for virtual machines: a series in; the newest kernel of it, unpacked, out.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::shell::{self, ChoreError};

/// A kernel that can be booted.
pub struct Kernel {
    /// As `uname -r` prints it.
    pub version: String,
    /// The file to boot.
    pub image: PathBuf,
}

impl Kernel {
    /// Downloads the newest kernel of a series, unless `folder` has it.
    pub fn fetch(series: &str, folder: &Path) -> Result<Self, ChoreError> {
        let version = newest(series)?;
        let unpacked = folder.join(&version);
        let image = unpacked.join("boot").join(format!("vmlinuz-{version}"));
        if !image.exists() {
            let package = format!("linux-image-{version}");
            // As the user who asks: apt would otherwise complain that its own user may not write here.
            let download = ["-o", "APT::Sandbox::User=root", "download", "-qq", &package];
            shell::run(Command::new("apt-get").current_dir(folder).args(download))?;
            let archive = file_beginning_with(&format!("{package}_"), folder)?;
            shell::run(Command::new("dpkg").arg("-x").arg(&archive).arg(&unpacked))?;
            // All but the kernel is modules, which the machines do without.
            let _ = fs::remove_dir_all(unpacked.join("lib"));
            let _ = fs::remove_file(archive);
        }
        Ok(Self { version, image })
    }
}

/// The version of the newest kernel of a series.
fn newest(series: &str) -> Result<String, ChoreError> {
    if let Some(version) = newest_known(series)? {
        return Ok(version);
    }
    shell::run(shell::as_root("apt-get").args(["update", "-qq"]))?;
    newest_known(series)?.ok_or_else(|| ChoreError::NoKernel { series: series.to_owned() })
}

/// The same, from what apt knows by now.
fn newest_known(series: &str) -> Result<Option<String>, ChoreError> {
    let names = shell::output(Command::new("apt-cache").args(["pkgnames", &format!("linux-image-{series}.")]))?;
    let versions = names.lines().filter_map(|name| name.strip_prefix("linux-image-"));
    let bootable = versions.filter(|version| version.ends_with("-cloud-amd64"));
    Ok(bootable.max_by_key(|version| numbers(version)).map(str::to_owned))
}

/// `6.12.117+deb12-cloud-amd64` as 6, 12, 117, 12, ...
fn numbers(version: &str) -> Vec<u32> {
    version.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse().ok()).collect()
}

fn file_beginning_with(start: &str, folder: &Path) -> Result<PathBuf, ChoreError> {
    let read_error = |source| ChoreError::Read { path: folder.to_owned(), source };
    for entry in fs::read_dir(folder).map_err(read_error)? {
        let path = entry.map_err(read_error)?.path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(start)) {
            return Ok(path);
        }
    }
    Err(ChoreError::NotBuilt { what: format!("file `{start}*.deb`") })
}
