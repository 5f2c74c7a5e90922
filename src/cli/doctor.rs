//! `lastwords doctor`: what this machine can do, found out by doing it, and what to do about what it cannot.

use std::fmt::Write as _;

use super::error::{Error, FAILURE};
use crate::address::{FileOffset, Svma};
use crate::arch::cost::{Costs, SINGLE_STEPPED};
use crate::arch::host;
use crate::plan::{EntrySite, ExitPlan, Exits, FunctionPlan, Limits, Plan, Weight};
use crate::probe::calibrate;
use crate::probe::kernel_types::KernelTypes;
use crate::probe::{ProbeError, Recorder, Settings, Tier};

/// One thing that was looked at.
struct Finding {
    subject: &'static str,
    /// What was found.
    found: String,
    /// What to do about it, where it is not as it should be.
    remedy: Option<String>,
}

impl Finding {
    fn good(subject: &'static str, found: impl Into<String>) -> Self {
        Self { subject, found: found.into(), remedy: None }
    }

    fn bad(subject: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { subject, found: found.into(), remedy: Some(remedy.into()) }
    }
}

/// Runs the subcommand: 0 if programs can be recorded here.
///
/// # Errors
/// None of its own: what fails is what it reports.
pub fn run() -> Result<u8, Error> {
    let tiers: Vec<(Tier, Result<(), ProbeError>)> =
        [Tier::Session, Tier::Multi, Tier::Single].into_iter().map(|tier| (tier, try_tier(tier))).collect();
    let best = tiers.iter().find(|(_, result)| result.is_ok()).map(|(tier, _)| *tier);
    let mut findings = vec![kernel(), kernel_types(), capabilities(), memory_lock(), perf_events()];
    findings.extend(tiers.iter().map(|(tier, result)| probes(*tier, result, best)));
    anstream::print!("{}", render(&findings));
    anstream::print!("{}", costs(&calibrate::costs()));
    match best {
        Some(tier) => {
            anstream::println!("\nPrograms can be recorded here, by {tier}.");
            Ok(0)
        }
        None => {
            anstream::println!("\nNo program can be recorded here: see what is marked `!!` above.");
            Ok(FAILURE)
        }
    }
}

fn render(findings: &[Finding]) -> String {
    let mut text = String::new();
    for Finding { subject, found, remedy } in findings {
        let mark = if remedy.is_some() { "!!" } else { "ok" };
        let _ = writeln!(text, "{mark}  {subject:<18} {found}");
        if let Some(remedy) = remedy.as_ref().filter(|remedy| !remedy.is_empty()) {
            let _ = writeln!(text, "    {:<18} -> {remedy}", "");
        }
    }
    text
}

/// What a probe costs, by the instruction that it stands on.
fn costs(costs: &Costs) -> String {
    let how = match costs.is_measured {
        true => "measured here since the machine was started",
        false => "not measured here: these are assumed",
    };
    let lines = calibrate::describe(costs, host()).into_iter().map(|line| format!("      {line}\n"));
    format!("\nA probe costs, by the instruction that it stands on ({how}):\n{}", lines.collect::<String>())
}

fn kernel() -> Finding {
    let release = super::kernel_release();
    let mut numbers = release.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    let found = format!("Linux {release}, {}", std::env::consts::ARCH);
    match version {
        (0..6, _) => {
            let lost = "values on pages that are not in memory cannot be recorded before Linux 6.0; 6.6 and 6.13 attach faster";
            Finding::bad("kernel", found, lost)
        }
        _ => Finding::good("kernel", found),
    }
}

fn kernel_types() -> Finding {
    match KernelTypes::load().and_then(|types| types.task_offsets()) {
        Ok(_) => Finding::good("kernel types (BTF)", "/sys/kernel/btf/vmlinux"),
        Err(error) => Finding::bad("kernel types (BTF)", error.to_string(), error.hint().unwrap_or_default()),
    }
}

/// The capabilities that matter, with their numbers (include/uapi/linux/capability.h).
const CAPABILITIES: [(&str, u32); 3] = [("CAP_SYS_ADMIN", 21), ("CAP_PERFMON", 38), ("CAP_BPF", 39)];

fn capabilities() -> Finding {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = effective.and_then(|text| u64::from_str_radix(text.trim(), 16).ok()).unwrap_or(0);
    let (have, lack): (Vec<_>, Vec<_>) = CAPABILITIES.iter().partition(|(_, bit)| effective >> bit & 1 == 1);
    let names = |list: Vec<&(&str, u32)>| list.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    if lack.is_empty() {
        Finding::good("capabilities", names(have))
    } else {
        Finding::bad("capabilities", format!("without {}", names(lack)), "run it as root: `sudo lastwords ...`")
    }
}

fn memory_lock() -> Finding {
    use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};
    match getrlimit(Resource::RLIMIT_MEMLOCK) {
        Ok((RLIM_INFINITY, _)) => Finding::good("locked memory", "unlimited"),
        Ok((bytes, _)) => Finding::good(
            "locked memory",
            format!("{bytes} bytes (no matter: eBPF memory is not counted since Linux 5.11)"),
        ),
        Err(error) => Finding::bad("locked memory", error.to_string(), ""),
    }
}

fn perf_events() -> Finding {
    let level = std::fs::read_to_string("/proc/sys/kernel/perf_event_paranoid").unwrap_or_else(|_| "unknown".into());
    Finding::good("perf events", format!("perf_event_paranoid is {} (no matter to root)", level.trim()))
}

fn probes(tier: Tier, result: &Result<(), ProbeError>, best: Option<Tier>) -> Finding {
    let subject = match tier {
        Tier::Session => "uprobe session",
        Tier::Multi => "uprobe_multi",
        Tier::Single => "single uprobes",
    };
    match result {
        Ok(()) if best == Some(tier) => Finding::good(subject, "works, and is used"),
        Ok(()) => Finding::good(subject, "works"),
        // What is slower works as well: there is nothing to mend.
        Err(error) if best.is_some() => Finding::good(subject, format!("not on this kernel ({error})")),
        Err(error) => Finding::bad(subject, error.to_string(), error.hint().unwrap_or_default()),
    }
}

/// Attaches to a program of our own that nobody executes. (At the entry point of this one, the trampoline would take the place of the number of
/// arguments in every lastwords that is started meanwhile.)
fn try_tier(tier: Tier) -> Result<(), ProbeError> {
    let calibration = host().calibration();
    let failed = |_| ProbeError::Object { what: "program to try probes on".into() };
    let (_file, path) = calibrate::in_memory(&calibration).map_err(failed)?;
    let offset = calibration.samples.first().copied().unwrap_or_default();
    let plan = Plan { objects: vec![path], functions: vec![nothing_at(offset)], ..Plan::default() };
    let settings = Settings { calls: 1, threads: 1, tier: Some(tier), ..Settings::default() };
    let mut recorder = Recorder::load(&plan, &settings)?;
    recorder.attach(&plan).map(|_| ())
}

/// A function of which nothing is read.
fn nothing_at(offset: FileOffset) -> FunctionPlan {
    let address = Svma(offset.0);
    FunctionPlan {
        name: "sample".into(),
        symbol: "sample".into(),
        declared: None,
        object: 0,
        address,
        entry: EntrySite { offset, address, cfa_offset: 8, class: SINGLE_STEPPED, obstacle: None },
        exits: Exits::Trampoline,
        steps: vec![],
        arguments: vec![],
        returns: None,
        exit: ExitPlan::default(),
        unseen_exits: None,
        turns: Vec::new(),
        has_debug_info: false,
        limits: Limits::default(),
        weight: Weight::default(),
    }
}
