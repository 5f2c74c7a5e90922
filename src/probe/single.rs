//! One perf event a probe: what kernels before 6.6 have.

use std::path::Path;

use aya::Ebpf;
use aya::programs::uprobe::{UProbeAttachLocation, UProbeAttachPoint, UProbeLink, UProbeScope};
use aya::programs::{Program, UProbe};

use super::object::errno_of;
use super::{ProbeError, Site};

/// Loads the program `name` and places it at each site.
pub fn attach(ebpf: &mut Ebpf, name: &str, path: &Path, sites: &[Site]) -> Result<Vec<UProbeLink>, ProbeError> {
    if sites.is_empty() {
        return Ok(Vec::new());
    }
    let program = loaded(ebpf, name)?;
    let attach_one = |site: &Site| {
        let point = UProbeAttachPoint {
            location: UProbeAttachLocation::AbsoluteOffset(site.offset.0),
            cookie: Some(site.cookie),
        };
        let failed = |error: aya::programs::ProgramError| ProbeError::AttachOne {
            path: path.to_owned(),
            offset: site.offset,
            source: Box::new(error),
        };
        let id = program.attach(point, path, UProbeScope::AllProcesses).map_err(failed)?;
        program.take_link(id).map_err(failed)
    };
    sites.iter().map(attach_one).collect()
}

/// The program of this name, which the kernel has verified.
pub fn loaded<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut UProbe, ProbeError> {
    let missing = || ProbeError::Object { what: format!("program `{name}`") };
    let program: &mut Program = ebpf.program_mut(name).ok_or_else(missing)?;
    let program: &mut UProbe = program.try_into().map_err(|_| missing())?;
    if program.fd().is_err() {
        program.load().map_err(|error| ProbeError::Load {
            what: format!("program `{name}`"),
            errno: errno_of(&error),
            source: Box::new(error),
        })?;
    }
    Ok(program)
}
