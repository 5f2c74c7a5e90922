//! `lastwords run -- PROG ARGS`: run a program; if it dies of a signal, say with which calls.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::budget::{self, BudgetArgs};
use super::capture::CaptureArgs;
use super::error::Error;
use super::selection::SelectionArgs;
use super::signals::Signals;
use super::watch::{self, until_end};
use super::{coroner, page};
use crate::binary::{Binary, Streams, find_program};
use crate::launch::{Ending, Identity, Suspended};
use crate::plan::build::{Options, prepare};
use crate::plan::select::Selection;
use crate::probe::calibrate;
use crate::probe::{Budget, MappingLog, Recorder, Settings, Tier};
use crate::report::{self, Owner, Redaction, WriteError, bound};

const RECORDING: &str = "Recording";
const REPORTS: &str = "Reports";
const PROGRAM: &str = "Program";

/// Arguments of `lastwords run`.
#[derive(Debug, clap::Args)]
pub struct RunArgs {
    #[command(flatten)]
    selection: SelectionArgs,
    #[command(flatten)]
    capture: CaptureArgs,
    /// Calls to keep of each thread
    #[arg(help_heading = RECORDING, long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    calls: u32,
    /// Threads that can be recorded at the same time
    #[arg(help_heading = RECORDING, long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=1 << 16))]
    threads: u32,
    /// Stack to keep of each thread of a dead process
    #[arg(help_heading = RECORDING, long, value_name = "KIB", default_value_t = 64, value_parser = clap::value_parser!(u32).range(0..=1024))]
    stack: u32,
    /// Signals that count as a crash: names or numbers, `default`, `all`; `+TERM` and `-ABRT` change the default
    #[arg(help_heading = RECORDING, long, value_name = "SIGNALS", default_value = "default", allow_hyphen_values = true)]
    on: Signals,
    /// Report faults that the program survives, too
    #[arg(help_heading = RECORDING, long)]
    handled: bool,
    #[command(flatten)]
    budget: BudgetArgs,
    /// How to place the probes (default: the best that this kernel has)
    #[arg(help_heading = RECORDING, long, value_enum)]
    tier: Option<Tier>,
    /// Directory for reports: PROG-PID-TIME.json
    #[arg(help_heading = REPORTS, long, value_name = "DIR", default_value = "lastwords")]
    report_dir: PathBuf,
    /// Write the report to this file instead; `-` is standard output
    #[arg(help_heading = REPORTS, long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write what the program had not written to stdout and stderr when it died, after its end
    #[arg(help_heading = REPORTS, long)]
    flush: bool,
    /// Keep the values of what has this name out of reports and pages: a function, argument, member, key or type (repeatable)
    ///
    /// GLOB as for `-f`. Of a function, all values are left out; of a type, those whose type is made of it, pointers included. What holds a
    /// text that was left out is left out, too. Not covered: registers, and output that the program had not written.
    #[arg(help_heading = REPORTS, long, value_name = "GLOB", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    redact: Vec<String>,
    /// Bytes of a report at the most (`512K`, `2M`): what is least useful is left out, and said to be
    #[arg(help_heading = REPORTS, long, value_name = "SIZE", default_value = "8M", value_parser = parse_size)]
    max_report: u64,
    /// Run the program as this user (default under sudo: the user who called it)
    #[arg(help_heading = PROGRAM, long, value_name = "USER")]
    user: Option<String>,
    /// The program and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "PROG")]
    command: Vec<OsString>,
}

/// What a run is to do, validated.
pub struct Run {
    /// The file to execute.
    pub program: PathBuf,
    /// What the program sees as its arguments, its own name first.
    pub arguments: Vec<OsString>,
    /// What to probe.
    pub selection: Selection,
    /// What to capture of it.
    pub options: Options,
    /// What to keep of it.
    pub settings: Settings,
    /// Only this tier.
    pub tier: Option<Tier>,
    /// How much of the time the probes may take; `None` for any amount.
    pub budget: Option<Budget>,
    /// Who the program runs as.
    pub identity: Option<Identity>,
    /// Where reports go.
    pub output: Output,
    /// What is kept out of reports.
    pub redaction: Redaction,
    /// Bytes of a report at the most.
    pub max_report_bytes: u64,
    /// Write what the program had not written itself.
    pub flush: bool,
    /// Say more on standard error.
    pub verbose: bool,
}

/// Where reports go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// One file each in this directory.
    Directory(PathBuf),
    /// This file.
    File(PathBuf),
    /// Standard output.
    Stdout,
    /// Only the page.
    Nowhere,
}

impl Output {
    /// Finds out before the program starts that its report could not be written.
    fn check(&self, owner: Option<Owner>) -> Result<(), WriteError> {
        match self {
            Self::Directory(directory) => Ok(report::check_directory(directory, owner)?),
            Self::File(path) => report::check_file(path, owner),
            Self::Stdout | Self::Nowhere => Ok(()),
        }
    }
}

impl Run {
    /// Validates the arguments.
    ///
    /// # Errors
    /// If there is no such program, user or selection.
    pub fn new(args: RunArgs, verbose: bool) -> Result<Self, Error> {
        let name = args.command.first().cloned().unwrap_or_default();
        let output = match args.json {
            None => Output::Directory(args.report_dir),
            Some(path) if path == Path::new("-") => Output::Stdout,
            Some(path) => Output::File(path),
        };
        Ok(Self {
            program: find_program(&name)?,
            arguments: args.command,
            selection: args.selection.selection(),
            options: args.capture.options(),
            settings: Settings {
                calls: args.calls,
                threads: args.threads,
                stack_bytes: args.stack * 1024,
                signals: args.on.0,
                handled: args.handled,
                ..Settings::default()
            },
            tier: args.tier,
            budget: args.budget.budget(),
            identity: Identity::choose(args.user.as_deref())?,
            output,
            redaction: Redaction::new(&args.redact),
            max_report_bytes: args.max_report,
            flush: args.flush,
            verbose,
        })
    }

    /// Who the reports belong to.
    #[must_use]
    pub fn owner(&self) -> Option<Owner> {
        self.identity.as_ref().map(|identity| Owner { uid: identity.uid, gid: identity.gid })
    }
}

/// Runs the subcommand.
///
/// # Errors
/// If the program cannot be read, probed or started. What goes wrong after that is reported and changes nothing for the program.
pub fn run(args: RunArgs, verbose: bool) -> Result<Ending, Error> {
    execute(&Run::new(args, verbose)?)
}

/// Runs a program to its end.
///
/// # Errors
/// As [`run`].
pub fn execute(run: &Run) -> Result<Ending, Error> {
    run.output.check(run.owner())?;
    let options = Options { costs: Some(calibrate::costs()), ..run.options.clone() };
    let prepared = prepare(Binary::open(&run.program)?, &run.selection, &options)?;
    let settings = Settings { streams: Streams::of(&prepared.binaries[0]), tier: run.tier, ..run.settings.clone() };
    let mut recorder = Recorder::load(&prepared.plan, &settings)?;
    let attached = recorder.attach(&prepared.plan)?;
    if run.verbose {
        let milliseconds = attached.took.as_secs_f64() * 1e3;
        page::note(format_args!(
            "attached {} functions in {milliseconds:.1} ms ({} probes by {}; {} bytes a thread)",
            attached.functions,
            attached.sites,
            attached.tier,
            recorder.config().slot_bytes(),
        ));
        prepared.notes.iter().for_each(|note| page::note(format_args!("{note}")));
    }
    if let Some(budget) = run.budget {
        recorder.keep_within(budget, &prepared.plan);
    }
    let suspended = Suspended::new(&run.program, &run.arguments, run.identity.as_ref())?;
    recorder.watch(suspended.pid().as_raw().cast_unsigned())?;
    let signals = watch::Signals::take().map_err(Error::Wait)?;
    let mut mappings =
        MappingLog::watch(suspended.pid()).inspect_err(|error| tracing::debug!(%error, "mappings are not told")).ok();
    let running = suspended.start()?;
    let mut coroner = coroner::Coroner::new(run, &prepared, running.pid());
    let look = |recorder: &mut Recorder| {
        let changes = recorder.govern(&prepared.plan);
        if run.verbose {
            changes.iter().for_each(|change| budget::tell(change, &prepared.plan));
        }
        recorder.next_look()
    };
    let ending = until_end(running, signals, &mut recorder, &mut mappings, look, |death, mapped, recorder| {
        coroner.examine(&death, &mapped, recorder);
    })
    .map_err(Error::Wait)?;
    coroner.close(&recorder);
    let took = recorder.detach();
    if run.verbose {
        page::note(format_args!("detached in {:.1} ms", took.as_secs_f64() * 1e3));
    }
    Ok(ending)
}

/// A number of bytes: `4096`, `512K`, `2M`, `1G`.
fn parse_size(text: &str) -> Result<u64, String> {
    let (number, unit) = match text.char_indices().next_back() {
        Some((at, 'k' | 'K')) => (&text[..at], 1 << 10),
        Some((at, 'm' | 'M')) => (&text[..at], 1 << 20),
        Some((at, 'g' | 'G')) => (&text[..at], 1 << 30),
        _ => (text, 1),
    };
    let expected = || format!("expected a size like `512K` or `2M`, found `{text}`");
    let bytes = number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit)).ok_or_else(expected)?;
    if bytes < bound::LEAST_BYTES {
        return Err(format!("a report may need {}K: expected that or more, found `{text}`", bound::LEAST_BYTES >> 10));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards against bounds that no report can keep, and against a number that is not what was meant.
    #[test]
    fn sizes_have_units_and_a_lower_bound() {
        assert_eq!(parse_size("8M"), Ok(bound::DEFAULT_BYTES));
        assert_eq!(
            (parse_size("512k"), parse_size("65536"), parse_size("1G")),
            (Ok(1 << 19), Ok(1 << 16), Ok(1 << 30))
        );

        let refused =
            ["", "M", "1.5M", "-1", "2MiB", "99999999999G", "63K", "0"].map(|text| parse_size(text).unwrap_err());

        insta::assert_snapshot!(refused.join("\n"), @r"
        expected a size like `512K` or `2M`, found ``
        expected a size like `512K` or `2M`, found `M`
        expected a size like `512K` or `2M`, found `1.5M`
        expected a size like `512K` or `2M`, found `-1`
        expected a size like `512K` or `2M`, found `2MiB`
        expected a size like `512K` or `2M`, found `99999999999G`
        a report may need 64K: expected that or more, found `63K`
        a report may need 64K: expected that or more, found `0`
        ");
    }
}
