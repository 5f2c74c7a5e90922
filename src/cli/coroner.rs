//! A death in; its report written and its page shown out. Nothing is an error here: what is missing is said.

use std::cell::LazyCell;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use lastwords_abi::record::{ENDED, SIGNAL_BITS};
use lastwords_abi::{Counter, Fault};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;

use super::flush::flush;
use super::run::{Output, Run};
use super::{kills, page};
use crate::address::{LoadBias, Svma};
use crate::binary::Binary;
use crate::crash::code::Code;
use crate::crash::modules::{Mapped, ModuleMap, UPROBES};
use crate::crash::{self, Context, RegisterNames, Snapshot, Symbol, ThreadHistory};
use crate::crash::{handled, mapped};
use crate::dwarf::{DebugInfo, DebugSections};
use crate::plan::build::Prepared;
use crate::probe::{Death, Mapping, Recorder, SURVIVED_TOLD};
use crate::report::{self, Document, Report};
use crate::{arch, render};

/// A fault to report.
struct Case {
    fault: Fault,
    /// If a handler gave up on it: how.
    chain: Option<handled::Chain>,
    survived: bool,
}

/// Examines the dead.
pub struct Coroner<'a> {
    run: &'a Run,
    prepared: &'a Prepared,
    root: Pid,
    reports: usize,
}

impl<'a> Coroner<'a> {
    /// For a run whose first process is `root`.
    #[must_use]
    pub fn new(run: &'a Run, prepared: &'a Prepared, root: Pid) -> Self {
        Self { run, prepared, root, reports: 0 }
    }

    /// Writes the report about one death and shows its page.
    pub fn examine(&mut self, death: &Death, mapped: &[Mapping], recorder: &Recorder) {
        let reports = self.reports_about(death, mapped, recorder);
        if reports.is_empty() {
            kills::tell(death, &self.prepared.binaries[0], self.run.verbose);
        }
        for mut report in reports {
            self.tell(&mut report);
        }
    }

    /// Writes one report, and shows its page.
    fn tell(&mut self, report: &mut Report) {
        self.reports += 1;
        let output = if self.run.flush && !report.fault.survived { report.output.clone() } else { Vec::new() };
        let document = Document::within(report, self.run.max_report_bytes);
        let saved_at = self.write(&document);
        flush(&output);
        let mut page = render::text::page(report, self.run.verbose);
        if let Some(path) = saved_at {
            page.push_str(&format!("\nReport: {}\n", path.display()));
        }
        let page = page::fitted(&page, std::io::stderr());
        let _ = anstream::stderr().lock().write_all(page.as_bytes());
    }

    /// Whether a signal that counts as a crash has killed the process. Something else may have been faster: a SIGKILL from outside, say.
    /// Where two threads crash at the same time, the process ends by either signal; what is told is the fault that came first.
    fn is_crash(&self, death: &Death) -> bool {
        let ended_by = (death.event.exit_code & SIGNAL_BITS).cast_signed();
        [death.fault.signal, ended_by].iter().all(|signal| self.run.settings.signals.contains(signal))
    }

    /// After the program's end: says what was lost and is in no report.
    pub fn close(&self, recorder: &Recorder) {
        let Ok(counters) = recorder.counters() else { return };
        let lost = counters[Counter::DEATHS_LOST as usize];
        if lost > 0 {
            page::warn(format_args!("{lost} deaths could not be reported: too many at the same time"));
        }
        let untold = counters[Counter::SURVIVED_NOT_TOLD as usize];
        if untold > 0 {
            page::warn(format_args!(
                "{untold} more faults were survived and are not reported (the first {SURVIVED_TOLD} are)"
            ));
        }
        if self.run.verbose && self.reports == 0 {
            page::note(format_args!("no crash, no report"));
        }
    }

    /// Writes the report. Returns where, if that is a file.
    fn write(&self, document: &Document) -> Option<PathBuf> {
        let result = match &self.run.output {
            Output::Nowhere => return None,
            Output::Stdout => report::print(document, &mut std::io::stdout().lock()).map(|()| None),
            Output::File(path) => report::write_to(document, path, self.run.owner()).map(|()| Some(path.clone())),
            Output::Directory(directory) => report::write(document, directory, self.run.owner()).map(Some),
        };
        match result {
            Ok(path) => path,
            Err(error) => {
                page::error(&error, error.hint().as_deref());
                None
            }
        }
    }

    fn reports_about(&self, death: &Death, mapped: &[Mapping], recorder: &Recorder) -> Vec<Report> {
        if death.handled.is_empty() && !self.is_crash(death) {
            return Vec::new();
        }
        let config = recorder.config();
        let threads = death.slots.iter().filter_map(|slot| {
            let (header, calls) = crash::ring::read_slot(slot, config, self.run.settings.calls)?;
            Some(ThreadHistory { header, calls })
        });
        let threads: Vec<ThreadHistory> = threads.collect();
        let main = &self.prepared.binaries[0];
        let bias = LoadBias(
            death.event.watched.start_code.wrapping_sub(main.lowest_executable_address().unwrap_or_default().0),
        );
        let modules = ModuleMap::new(mapped::modules(mapped, &self.prepared.binaries), &self.prepared.binaries);
        let code = Code::new(&modules, arch::host());
        // Asked only where nobody told what was mapped; `code` reads the same for itself.
        let sections =
            LazyCell::new(|| DebugSections::load(main).unwrap_or_else(|_| DebugSections::without_debug_info(main)));
        let info = LazyCell::new(|| DebugInfo::parse(main, &sections));
        let symbolize = |address: Svma| symbolize(main, &info, address);
        let arch = arch::host();
        let general: Vec<(&str, usize)> =
            arch.report_registers().iter().map(|&(name, word)| (name, usize::from(word))).collect();
        let at_end = handled::memory_at(&death.memory, None);
        let states: Vec<_> = threads.iter().map(|thread| (thread.header.tid, thread.header.death)).collect();
        let ending = handled::Ending {
            exit_code: death.event.exit_code,
            last: &death.fault,
            threads: &states,
            memory: &at_end,
            code: (!mapped.is_empty()).then_some(&code),
        };
        let cases = self.cases(death, &ending);
        let context = || Context {
            tool: report::Tool {
                version: env!("CARGO_PKG_VERSION").into(),
                kernel: super::kernel_release(),
                tier: recorder.attached().tier.name().into(),
            },
            process: self.process(death),
            config: *config,
            calls_kept: self.run.settings.calls,
            string_bytes: self.run.options.limits.string_bytes,
            probes: report::Probes {
                attached: recorder.attached().functions as u64,
                skipped: self.prepared.plan.skipped.iter().map(report::Skipped::from).collect(),
                dropped: Vec::new(),
            },
            dropped: recorder.dropped(),
            modules: self.modules(&modules, bias),
            registers: RegisterNames {
                general: &general,
                program_counter: arch.program_counter_word().into(),
                stack_pointer: usize::from(arch.register_word(arch.stack_pointer()).unwrap_or_default()),
                return_address_bytes: arch.entry_cfa_offset().cast_unsigned(),
            },
            bias,
            code: ending.code,
            symbolize: &symbolize,
        };
        let report = |case: Case| {
            let is_kept = case.fault.handler != 0;
            let mut snapshot = Snapshot {
                fault: case.fault,
                event: death.event,
                threads: threads.clone(),
                counters: recorder.counters().unwrap_or_default(),
                memory: if is_kept { handled::memory_at(&death.memory, Some(&case.fault)) } else { at_end.clone() },
                memory_at_end: is_kept.then(|| at_end.clone()),
            };
            if case.survived {
                snapshot.threads.retain_mut(|thread| handled::go_back_to(&case.fault, thread));
            }
            let mut report = crash::assemble::assemble(&snapshot, &self.prepared.plan, context());
            let started_ns = death.event.watched.started_ns;
            report.fault.handler = handled::handler(&case.fault, ending.code);
            report.fault.ended_by = case.chain.map(|chain| ending.ended_by(&chain, report.process.pid, started_ns));
            report.fault.survived = case.survived;
            crash::source::attach(&mut report.threads, self.run.owner());
            self.run.redaction.apply(&mut report);
            report
        };
        cases.into_iter().map(report).collect()
    }

    /// What there is to report: the crash, or the fault that a handler gave up on, and what was survived if that was asked for.
    fn cases(&self, death: &Death, ending: &handled::Ending<'_>) -> Vec<Case> {
        let chain = if death.event.kind == ENDED { ending.chain(&death.handled) } else { None };
        let died_of = chain.as_ref().map(|chain| chain.fault.at_ns);
        let crash = self.is_crash(death).then_some(death.fault);
        // What was never written is what the end had left, wherever it was that it began.
        let first = chain.as_ref().map(|chain| Fault { stream_list: death.fault.stream_list, ..chain.fault });
        let fatal = first.or(crash);
        let fatal = fatal.map(|fault| Case { fault, chain, survived: false });
        let survived = death.handled.iter().filter(|fault| self.run.settings.handled && Some(fault.at_ns) != died_of);
        let survived = survived.map(|fault| Case { fault: *fault, chain: None, survived: true });
        survived.chain(fatal).collect()
    }

    /// The files that were mapped as code: if nobody told, the program's own.
    fn modules(&self, mapped: &ModuleMap, bias: LoadBias) -> Vec<report::Module> {
        let main = &self.prepared.binaries[0];
        let own = report::Module {
            path: main.path().display().to_string(),
            build_id: main.build_id().map(str::to_owned),
            base: bias.to_avma(main.lowest_address().unwrap_or_default()).into(),
            bias: report::Address(bias.0),
        };
        let of_program = mapped.modules().iter().filter(|module| module.mapped.path != Path::new(UPROBES));
        let told = of_program.map(|module| {
            let Mapped { path, bias, segments, build_id, .. } = &module.mapped;
            let base = segments.iter().map(|segment| segment.range.start).min().unwrap_or_default();
            report::Module {
                path: path.display().to_string(),
                // The kernel's own code has one, too, which nobody has told.
                build_id: build_id.clone().or_else(|| Some(module.file().ok()?.0.build_id()?.to_owned())),
                base: base.into(),
                bias: report::Address(bias.0),
            }
        });
        let told: Vec<_> = told.collect();
        if told.is_empty() { vec![own] } else { told }
    }

    fn process(&self, death: &Death) -> report::Process {
        let is_root = death.event.watched.ns_pid == self.root.as_raw().cast_unsigned();
        let here = || std::env::current_dir().ok().map(|path| path.display().to_string());
        report::Process {
            exe: self.prepared.binaries[0].path().display().to_string(),
            // A descendant may have been started with others, and elsewhere.
            args: if is_root {
                self.run.arguments.iter().map(|arg| arg.to_string_lossy().into()).collect()
            } else {
                vec![]
            },
            cwd: if is_root { here() } else { None },
            build_id: self.prepared.binaries[0].build_id().map(str::to_owned),
            started_at: wall_clock(death.event.watched.started_ns).to_string(),
            ..report::Process::default()
        }
    }
}

fn symbolize(binary: &Binary, info: &DebugInfo<'_>, address: Svma) -> Option<Symbol> {
    let location = info.source_line(address)?;
    let symbols = binary.function_symbols();
    let around = symbols.iter().find(|symbol| (symbol.address.0..symbol.address.0 + symbol.size).contains(&address.0));
    Some(Symbol {
        name: location.function.unwrap_or_default(),
        symbol: around.map(|symbol| symbol.name.to_owned()).unwrap_or_default(),
        line: location.line,
    })
}

/// When the monotonic clock showed this.
fn wall_clock(monotonic_ns: u64) -> Timestamp {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from);
    let ago = now.saturating_sub(Duration::from_nanos(monotonic_ns));
    Timestamp::try_from(SystemTime::now() - ago).unwrap_or_default()
}
