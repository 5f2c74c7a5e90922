//! What the recorder costs besides its probes, for benchmarks.

use std::time::Duration;

use super::{ProbeError, Recorder, TRACEPOINTS, missing};

/// How long a program ran, and how often.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ran {
    /// On all processors together.
    pub time: Duration,
    /// Runs.
    pub times: u64,
}

impl Recorder {
    /// How long each program that is not a probe has run so far. The kernel counts only while `kernel.bpf_stats_enabled` is 1.
    ///
    /// # Errors
    /// If the kernel does not say.
    pub fn tracepoints_ran(&self) -> Result<Vec<(&'static str, Ran)>, ProbeError> {
        let ran = |(name, _)| {
            let program = self.ebpf.program(name).ok_or_else(|| missing(name))?;
            let unknown = |source| ProbeError::Tracepoint { name, source: Box::new(source) };
            let info = program.info().map_err(unknown)?;
            Ok((name, Ran { time: info.run_time(), times: info.run_count() }))
        };
        TRACEPOINTS.into_iter().map(ran).collect()
    }
}
