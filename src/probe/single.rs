//! One perf event a probe: what kernels before 6.6 have.

use std::path::Path;
use std::sync::Mutex;

use aya::Ebpf;
use aya::programs::uprobe::{UProbeAttachLocation, UProbeAttachPoint, UProbeLink, UProbeScope};
use aya::programs::{Program, UProbe};

use super::object::errno_of;
use super::{ProbeError, Site};

/// Threads that close links at the same time. Closing one waits for a grace period of the kernel (107 ms were measured), which all that
/// wait at the same time share.
const CLOSERS: usize = 128;

/// The links of many probes. Dropping them detaches in parallel.
#[derive(Default)]
pub struct SingleLinks(Vec<UProbeLink>);

impl SingleLinks {
    /// Loads the program `name` and places it at each site.
    pub fn attach(&mut self, ebpf: &mut Ebpf, name: &str, path: &Path, sites: &[Site]) -> Result<(), ProbeError> {
        let program = loaded(ebpf, name)?;
        for site in sites {
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
            self.0.push(program.take_link(id).map_err(failed)?);
        }
        Ok(())
    }
}

impl Drop for SingleLinks {
    fn drop(&mut self) {
        let links = Mutex::new(std::mem::take(&mut self.0));
        let closers = CLOSERS.min(links.lock().map_or(0, |links| links.len()));
        std::thread::scope(|scope| {
            for _ in 0..closers {
                scope.spawn(|| {
                    // The lock is held while a link is taken, not while it is closed.
                    while let Some(link) = links.lock().ok().and_then(|mut links| links.pop()) {
                        drop(link);
                    }
                });
            }
        });
    }
}

fn loaded<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut UProbe, ProbeError> {
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
