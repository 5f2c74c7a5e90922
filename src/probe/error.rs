//! Why the recorder could not be loaded or attached.

use std::io;
use std::path::PathBuf;

use super::Tier;
use crate::address::FileOffset;

/// Why the recorder could not be loaded or attached.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// The kernel does not describe its own types.
    #[error("cannot read the kernel's types from `/sys/kernel/btf/vmlinux`")]
    NoKernelTypes {
        /// What the system said.
        source: io::Error,
    },
    /// It does, in a way that we cannot read.
    #[error("the kernel's types in `{}` are damaged or newer than this program", path.display())]
    DamagedKernelTypes {
        /// Where they were read.
        path: PathBuf,
    },
    /// A member that the recorder cannot do without is not there.
    #[error("the kernel's types have no `{member}`")]
    UnknownKernelType {
        /// `structure.member`
        member: String,
    },
    /// The kernel refused the recorder.
    #[error("cannot load the recorder's {what} into the kernel")]
    Load {
        /// "maps" or "program `name`".
        what: String,
        /// What the system said, with the verifier's last words if it was the verifier.
        source: Box<dyn std::error::Error + Send + Sync>,
        /// The errno, where there was one.
        errno: Option<i32>,
    },
    /// The object that was built in is not what this program expects.
    #[error("the built-in eBPF object has no {what}")]
    Object {
        /// What is missing.
        what: String,
    },
    /// The kernel refused a tracepoint.
    #[error("cannot attach to the tracepoint `{name}`")]
    Tracepoint {
        /// Its name.
        name: &'static str,
        /// What the system said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The kernel refused the probes.
    #[error("cannot place {count} probes in `{}` by {tier}", path.display())]
    Attach {
        /// The file.
        path: PathBuf,
        /// How many.
        count: usize,
        /// By which means.
        tier: Tier,
        /// What the system said.
        source: io::Error,
    },
    /// The kernel refused one probe.
    #[error("cannot place a probe at file offset {offset} of `{}`", path.display())]
    AttachOne {
        /// The file.
        path: PathBuf,
        /// Where.
        offset: FileOffset,
        /// What the system said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The user asked for a tier that this kernel does not have.
    #[error("this kernel has no {tier}")]
    NoTier {
        /// What was asked for.
        tier: Tier,
    },
    /// A map could not be read or written.
    #[error("cannot use the recorder's map `{map}`")]
    Map {
        /// Its name.
        map: &'static str,
        /// What the system said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Bounds that do not fit together.
    #[error("{threads} rings of {slot_bytes} bytes are more than the kernel can map")]
    TooLarge {
        /// Rings asked for.
        threads: u32,
        /// Bytes of each.
        slot_bytes: u64,
    },
}

impl ProbeError {
    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let root = "run it as root (`sudo lastwords ...`), or give it CAP_BPF, CAP_PERFMON and CAP_SYS_ADMIN";
        match self {
            Self::NoKernelTypes { source } if source.kind() == io::ErrorKind::NotFound => {
                Some("use a kernel built with CONFIG_DEBUG_INFO_BTF=y (Debian 11, Ubuntu 20.10, Fedora 31 and later have it)".into())
            }
            Self::Load { errno: Some(nix::libc::EPERM | nix::libc::EACCES), .. } => Some(root.into()),
            Self::Load { errno: Some(nix::libc::ENOMEM | nix::libc::E2BIG), .. } | Self::TooLarge { .. } => {
                Some("ask for less with --threads, --calls or --string".into())
            }
            Self::Attach { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => Some(root.into()),
            Self::NoTier { tier: Tier::Session } => Some("it needs Linux 6.13; leave --tier out to use what there is".into()),
            Self::NoTier { tier: Tier::Multi } => Some("it needs Linux 6.6; leave --tier out to use what there is".into()),
            Self::Load { .. } | Self::Tracepoint { .. } | Self::DamagedKernelTypes { .. } | Self::UnknownKernelType { .. } => {
                Some("run `lastwords doctor` to see what this kernel can do".into())
            }
            _ => None,
        }
    }
}
