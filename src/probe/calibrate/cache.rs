//! What was measured, kept until the machine is started again: a small file that only root can write.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, Metadata, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use nix::libc::{O_CLOEXEC, O_NOFOLLOW, O_NONBLOCK};
use serde::{Deserialize, Serialize};

use crate::arch::Architecture;
use crate::arch::cost::Costs;

const DIRECTORY: &str = "/run/lastwords";
const FILE: &str = "probe-costs.json";
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
/// A file of ours has a tenth of it.
const MAX_BYTES: u64 = 4096;
/// What can be true of a probe.
const SANE_NS: std::ops::RangeInclusive<u32> = 10..=10_000_000;

/// What is in the file.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    /// Between which two starts of the machine it was measured.
    boot_id: String,
    /// By the name of the class.
    class_ns: BTreeMap<String, u32>,
    trampoline_ns: u32,
}

/// What was measured since the machine was started, if somebody did, and it can be trusted.
pub fn read(arch: &dyn Architecture) -> Option<Costs> {
    read_from(Path::new(DIRECTORY), &boot_id()?, 0, arch)
}

/// Keeps what was measured. Others may read it.
pub fn write(costs: &Costs, arch: &dyn Architecture) -> io::Result<()> {
    let boot_id = boot_id().ok_or(io::ErrorKind::NotFound)?;
    write_to(Path::new(DIRECTORY), boot_id, 0, costs, arch)
}

fn boot_id() -> Option<String> {
    Some(fs::read_to_string(BOOT_ID).ok()?.trim().to_owned())
}

/// Whether nobody but this user can change it.
fn is_of_owner_only(metadata: &Metadata, owner: u32) -> bool {
    metadata.uid() == owner && metadata.mode() & 0o022 == 0
}

fn read_from(directory: &Path, boot_id: &str, owner: u32, arch: &dyn Architecture) -> Option<Costs> {
    let is_safe = |metadata: &Metadata| is_of_owner_only(metadata, owner);
    fs::symlink_metadata(directory).ok().filter(|metadata| metadata.is_dir() && is_safe(metadata))?;
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    let file = options.open(directory.join(FILE)).ok()?;
    file.metadata().ok().filter(|metadata| metadata.is_file() && is_safe(metadata))?;
    let mut bytes = Vec::new();
    file.take(MAX_BYTES).read_to_end(&mut bytes).ok()?;
    let kept: Kept = serde_json::from_slice(&bytes).ok()?;
    let class_ns = arch.probe_classes().iter().map(|class| kept.class_ns.get(class.name).copied());
    let class_ns: Vec<u32> = class_ns.collect::<Option<_>>()?;
    let is_sane = class_ns.iter().all(|ns| SANE_NS.contains(ns)) && kept.trampoline_ns <= *SANE_NS.end();
    let costs = Costs { class_ns, trampoline_ns: kept.trampoline_ns, is_measured: true };
    (kept.boot_id == boot_id && is_sane).then_some(costs)
}

fn write_to(directory: &Path, boot_id: String, owner: u32, costs: &Costs, arch: &dyn Architecture) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o755).create(directory)?;
    let found = fs::symlink_metadata(directory)?;
    if !found.is_dir() || !is_of_owner_only(&found, owner) {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    let names = arch.probe_classes().iter().map(|class| class.name.to_owned());
    let class_ns = names.zip(costs.class_ns.iter().copied()).collect();
    let text = serde_json::to_vec(&Kept { boot_id, class_ns, trampoline_ns: costs.trampoline_ns })?;
    // Whole or not at all: others may be reading it. Nobody else can have made anything in this directory.
    let draft = directory.join(format!("{FILE}.{}", std::process::id()));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).custom_flags(O_NOFOLLOW).open(&draft)?;
    let written = file
        .write_all(&text)
        .and_then(|()| file.set_permissions(Permissions::from_mode(0o644)))
        .and_then(|()| fs::rename(&draft, directory.join(FILE)));
    written.inspect_err(|_| drop(fs::remove_file(&draft)))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::arch::host;

    const BOOT: &str = "4b1d2a2e-0000-4000-8000-000000000001";

    fn costs() -> Costs {
        let class_ns = (0..host().probe_classes().len()).map(|index| 700 + index as u32).collect();
        Costs { class_ns, trampoline_ns: 1100, is_measured: true }
    }

    /// Guards against figures of another kernel, or of somebody who wants us to place probes elsewhere.
    #[test]
    fn only_what_was_measured_here_is_believed() {
        let folder = tempfile::tempdir().unwrap();
        let (directory, owner) = (folder.path().join("kept"), fs::metadata(folder.path()).unwrap().uid());
        let read = |boot: &str, owner| read_from(&directory, boot, owner, host());
        assert_eq!(read(BOOT, owner), None, "nothing was written");
        write_to(&directory, BOOT.into(), owner, &costs(), host()).unwrap();
        assert_eq!(read(BOOT, owner), Some(costs()));
        assert_eq!(read("another start", owner), None);
        assert_eq!(read(BOOT, owner + 1), None, "somebody else's");

        let file = directory.join(FILE);
        let written = fs::read_to_string(&file).unwrap();
        let refused = [
            written.replace("\"push\":701", "\"push\":0"),
            written.replace("\"push\"", "\"pull\""),
            written.replace("1100", "99999999"),
            written.replace("1100", "-1"),
            format!("{}{written}", " ".repeat(5000)),
            "[".repeat(3000),
            String::new(),
        ];
        for text in refused {
            assert_ne!(text, written);
            fs::write(&file, &text).unwrap();
            assert_eq!(read(BOOT, owner), None, "{text}");
        }
        fs::write(&file, &written).unwrap();
        assert_eq!(read(BOOT, owner), Some(costs()));

        for mode in [0o666, 0o664] {
            fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
            assert_eq!(read(BOOT, owner), None, "others can write it");
        }
        fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
        fs::set_permissions(&directory, Permissions::from_mode(0o777)).unwrap();
        assert_eq!(read(BOOT, owner), None, "others can replace it");
        assert!(write_to(&directory, BOOT.into(), owner, &costs(), host()).is_err());
        fs::set_permissions(&directory, Permissions::from_mode(0o755)).unwrap();

        fs::rename(&file, directory.join("elsewhere")).unwrap();
        symlink(directory.join("elsewhere"), &file).unwrap();
        assert_eq!(read(BOOT, owner), None, "a link may lead anywhere");
    }
}
