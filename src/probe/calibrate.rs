//! What probes cost here: nothing in, [`Costs`] out. Measured with a small program of our own, once after each start of the machine.
//!
//! Which instructions a kernel emulates is found out by that, and not by its version: distributions change kernels without changing that.

mod cache;

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use nix::sys::memfd::{MFdFlags, memfd_create};

use super::Site;
use super::multi::{self, Kind};
use crate::arch::cost::{Calibration, ClassId, Costs};
use crate::arch::{Architecture, host};

/// Bytes that the program writes for one sample: two `struct timespec`.
const TIMES_BYTES: usize = 32;

/// What probes cost, as measured since the machine was started: measured now if nobody did so before, or else the table of defaults.
#[must_use]
pub fn costs() -> Costs {
    known().unwrap_or_else(|| match measure(host()) {
        Ok(costs) => {
            if let Err(error) = cache::write(&costs, host()) {
                tracing::debug!(%error, "the costs of probes are not kept");
            }
            costs
        }
        Err(error) => {
            tracing::debug!(%error, "the costs of probes cannot be measured");
            Costs::defaults(host())
        }
    })
}

/// What was measured since the machine was started, by whoever was allowed to.
#[must_use]
pub fn known() -> Option<Costs> {
    cache::read(host())
}

/// Measures what probes cost, in about 100 ms. Needs the right to place probes, and Linux 6.6.
///
/// # Errors
/// If probes cannot be placed by one link, or the program cannot be executed.
pub fn measure(arch: &dyn Architecture) -> io::Result<Costs> {
    let calibration = arch.calibration();
    let (_file, path) = in_memory(&calibration)?;
    let Calibration { samples, calls, .. } = calibration;
    let sites: Vec<Site> = samples.iter().map(|&offset| Site { offset, cookie: 0 }).collect();
    let links = [(Kind::Nothing, &sites[..]), (Kind::Return, &sites[sites.len().saturating_sub(1)..])];
    let links = links.map(|(kind, sites)| multi::link(&multi::load_nothing(kind)?, kind, &path, sites));
    let _links: Vec<OwnedFd> = links.into_iter().collect::<io::Result<_>>()?;
    let output = Command::new(&path).stdin(Stdio::null()).stderr(Stdio::null()).env_clear().output()?;
    let least = least_times(&output.stdout, sites.len(), calls);
    let least = least.filter(|_| output.status.success()).ok_or(io::ErrorKind::InvalidData)?;
    Ok(of_times(least, arch))
}

/// Puts the program where nobody else executes it: a file that is gone when it is closed, and the path by which to reach it until then.
///
/// # Errors
/// If there can be no such file.
pub fn in_memory(calibration: &Calibration) -> io::Result<(OwnedFd, PathBuf)> {
    let file = memfd_create("lastwords-calibration", MFdFlags::MFD_CLOEXEC)?;
    File::from(file.try_clone()?).write_all(&calibration.program)?;
    let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    Ok((file, path))
}

/// Nanoseconds of one call of each sample: the least of all rounds.
fn least_times(output: &[u8], samples: usize, calls: u32) -> Option<Vec<u32>> {
    let times: Vec<u32> = output.chunks(TIMES_BYTES).map(|chunk| time_of(chunk, calls)).collect::<Option<_>>()?;
    let rounds = times.chunks(samples);
    let is_whole = !times.is_empty() && rounds.clone().all(|round| round.len() == samples);
    is_whole.then(|| (0..samples).filter_map(|sample| rounds.clone().map(|round| round[sample]).min()).collect())
}

fn time_of(times: &[u8], calls: u32) -> Option<u32> {
    let word = |index: usize| Some(u64::from_le_bytes(times.get(index * 8..index * 8 + 8)?.try_into().ok()?));
    let at = |index: usize| word(index)?.checked_mul(1_000_000_000)?.checked_add(word(index + 1)?);
    u32::try_from(at(2)?.checked_sub(at(0)?)? / u64::from(calls)).ok()
}

/// The last sample is a `push` whose function returns through the trampoline.
fn of_times(mut times: Vec<u32>, arch: &dyn Architecture) -> Costs {
    let both = times.pop().unwrap_or_default();
    let costs = Costs { class_ns: times, trampoline_ns: 0, is_measured: true };
    let entry = costs.of(arch.trampoline_sample_class());
    Costs { trampoline_ns: both.saturating_sub(entry), ..costs }
}

/// The table for people: a line for each class.
#[must_use]
pub fn describe(costs: &Costs, arch: &dyn Architecture) -> Vec<String> {
    let microseconds = |ns: u32| format!("{}.{:02} us", ns / 1000, ns % 1000 / 10);
    let ids = (0..).map(ClassId);
    let classes = ids.zip(arch.probe_classes()).map(|(id, class)| {
        let how = if costs.is_cheap(id) { "cheap" } else { "expensive" };
        format!("{:<16} {:>9}  {how}", class.name, microseconds(costs.of(id)))
    });
    classes.chain([format!("{:<16} {:>9}  on top", "return", microseconds(costs.trampoline_ns))]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::cost::SINGLE_STEPPED;

    fn times(pairs: &[(u64, u64)]) -> Vec<u8> {
        let words = pairs.iter().flat_map(|(start, end)| [1, *start, 1, *end]);
        words.flat_map(u64::to_le_bytes).collect()
    }

    /// Guards against a round that was interrupted taken for the cost, and against figures of a program that did not finish.
    #[test]
    fn the_least_of_all_rounds_counts() {
        let output = times(&[(100, 1100), (0, 5000), (0, 900), (0, 7000)]);
        assert_eq!(least_times(&output, 2, 10), Some(vec![90, 500]));
        assert_eq!(least_times(&output[..96], 2, 10), None);
        assert_eq!(least_times(&output[..40], 1, 10), None);
        assert_eq!(least_times(&[], 2, 10), None);
        assert_eq!(least_times(&times(&[(5, 4)]), 1, 10), None);
    }

    /// Guards against a measurement that does not tell what this kernel emulates, and against a failure where it cannot be made. Needs root.
    #[test]
    fn emulated_instructions_are_found_by_measuring() {
        let release =
            nix::sys::utsname::uname().expect("the kernel's release").release().to_string_lossy().into_owned();
        let mut numbers = release.split('.').map_while(|part| part.parse::<u32>().ok());
        let version = (numbers.next().expect("a number"), numbers.next().unwrap_or(0));
        let costs = match measure(host()) {
            Ok(costs) => costs,
            Err(error) => {
                assert!(version < (6, 6), "{error}");
                return assert!(!costs().is_measured);
            }
        };
        assert!(costs.is_measured && costs.trampoline_ns > 0);
        // What is emulated here since Linux 4.18, and what is nowhere.
        assert!(costs.is_cheap(host().trampoline_sample_class()), "{costs:?}");
        assert!(!costs.is_cheap(SINGLE_STEPPED));
    }
}
