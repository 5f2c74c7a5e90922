//! Which files each watched process has mapped as code. The kernel tells it as it happens (`PERF_RECORD_MMAP2`, perf_event_open(2)), with
//! the path as the process sees it and the build id as it is in the file at that moment: a plugin that was loaded a microsecond before the
//! crash is there, and a file that was replaced since can be told from its successor.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use nix::unistd::Pid;
use perf_event::data::parse::Parser;
use perf_event::data::{Comm, Exit, Fork, Lost, Mmap2, RecordMetadata, Visitor};
use perf_event::events::Software;
use perf_event::{Builder, Clock, SampleFlag, Sampler};

use super::roots::Root;
use crate::address::{Avma, FileOffset};

/// Bytes of the kernel's buffer on each processor: some 2,000 mappings between two looks at it.
const BUFFER_BYTES: usize = 256 * 1024;
/// Processes that have ended whose mappings are kept.
const ENDED_KEPT: usize = 1024;
/// `PERF_RECORD_MISC_COMM_EXEC`: the name changed because of an exec.
const COMM_EXEC: u16 = 1 << 13;

/// A part of a file that a process had mapped as code.
#[derive(Clone, Debug)]
pub struct Mapping {
    /// The file as the process saw it, or a name like `[vdso]`.
    pub path: PathBuf,
    /// Where it lay.
    pub start: Avma,
    /// Bytes of it.
    pub length: u64,
    /// Which part of the file.
    pub offset: FileOffset,
    /// The file's build id, in lower-case hexadecimal; `None` where it has none, or before Linux 5.12.
    pub build_id: Option<String>,
    /// Where `path` begins, if that is not our own root.
    pub root: Option<Root>,
}

/// The mappings of the watched processes.
pub struct MappingLog {
    samplers: Vec<Sampler>,
    /// By process id, as this process sees it; each by address.
    processes: HashMap<u32, BTreeMap<u64, Mapping>>,
    /// Those that have ended, the last one last: somebody may still ask for them.
    ended: VecDeque<u32>,
    /// Records that the kernel had no room for.
    lost: u64,
}

/// One record, with the time at which it was written.
struct Event {
    time: u64,
    what: What,
}

enum What {
    Mapped { pid: u32, mapping: Mapping },
    Forked { pid: u32, parent: u32 },
    Executed { pid: u32 },
    Ended { pid: u32 },
    Lost(u64),
    Other,
}

impl MappingLog {
    /// Begins with this process and all its future descendants.
    ///
    /// # Errors
    /// If the kernel does not allow it, or there are no file descriptors left.
    pub fn watch(pid: Pid) -> io::Result<Self> {
        let processors = std::fs::read_to_string("/sys/devices/system/cpu/online")?;
        let samplers = processors_of(&processors).map(|cpu| open(pid, cpu)).collect::<io::Result<_>>()?;
        Ok(Self { samplers, processes: HashMap::new(), ended: VecDeque::new(), lost: 0 })
    }

    /// Becomes readable when there is something to take: what a process sees is best looked at while it lives.
    pub fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        // SAFETY: the sampler lives as long as the borrow of it.
        self.samplers.iter().map(|sampler| unsafe { BorrowedFd::borrow_raw(sampler.as_raw_fd()) })
    }

    /// Takes what the kernel has told since.
    pub fn drain(&mut self) {
        let mut events = Vec::new();
        for sampler in &mut self.samplers {
            let config = sampler.config().clone();
            while let Some(record) = sampler.next_record() {
                let bytes = whole(&record);
                events.extend(Parser::new(bytes.as_slice(), config.clone()).parse_record(Reader).ok());
            }
        }
        // Each processor has a buffer of its own.
        events.sort_by_key(|event| event.time);
        events.into_iter().for_each(|event| self.take(event.what));
    }

    /// What a process has mapped as code, by address, and whether something may be missing. The process is forgotten.
    pub fn of_process(&mut self, pid: u32) -> (Vec<Mapping>, bool) {
        self.drain();
        let mappings = self.processes.remove(&pid).unwrap_or_default();
        (mappings.into_values().collect(), self.lost > 0)
    }

    fn take(&mut self, what: What) {
        match what {
            What::Mapped { pid, mut mapping } => {
                // A process that is gone by now had our root, in all likelihood; the build id tells if not.
                mapping.root = Root::of_process(pid).ok().flatten();
                let process = self.processes.entry(pid).or_default();
                let end = mapping.start.0.saturating_add(mapping.length);
                // What was there before was unmapped, which the kernel does not tell.
                let is_covered = |at: u64, old: &Mapping| at < end && at.saturating_add(old.length) > mapping.start.0;
                process.retain(|&at, old| !is_covered(at, old));
                process.insert(mapping.start.0, mapping);
            }
            What::Forked { pid, parent } if pid != parent => {
                let inherited = self.processes.get(&parent).cloned().unwrap_or_default();
                self.processes.insert(pid, inherited);
            }
            What::Executed { pid } => {
                self.processes.remove(&pid);
            }
            What::Ended { pid } => {
                self.ended.push_back(pid);
                if self.ended.len() > ENDED_KEPT
                    && let Some(oldest) = self.ended.pop_front()
                {
                    self.processes.remove(&oldest);
                }
            }
            What::Lost(records) => self.lost += records,
            What::Forked { .. } | What::Other => {}
        }
    }
}

fn open(pid: Pid, cpu: usize) -> io::Result<Sampler> {
    let with_build_ids = |build_ids: bool| {
        Builder::new(Software::DUMMY)
            .observe_pid(pid.as_raw())
            .one_cpu(cpu)
            .inherit(true)
            .enabled(true)
            .mmap(true)
            .mmap2(true)
            .build_id(build_ids)
            .comm(true)
            .comm_exec(true)
            .task(true)
            .sample(SampleFlag::TIME)
            .sample_id_all(true)
            .clockid(Clock::MONOTONIC)
            .wakeup_watermark(1)
            .build()
    };
    // Kernels before 5.12 know no build ids here, and refuse to be asked for them.
    with_build_ids(true).or_else(|_| with_build_ids(false))?.sampled(BUFFER_BYTES)
}

/// Numbers from a list like `0-3,8`.
fn processors_of(list: &str) -> impl Iterator<Item = usize> + '_ {
    list.trim().split(',').flat_map(|part| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        first.parse().ok().zip(last.parse().ok()).into_iter().flat_map(|(first, last): (usize, usize)| first..=last)
    })
}

/// A record with the `struct perf_event_header` that the parser wants in front of it.
fn whole(record: &perf_event::Record<'_>) -> Vec<u8> {
    let body = record.to_contiguous();
    let size = (body.len() + 8) as u16;
    [&record.ty().to_ne_bytes()[..], &record.misc().to_ne_bytes(), &size.to_ne_bytes(), &body].concat()
}

/// Turns records into events.
struct Reader;

impl<'a> Visitor<'a> for Reader {
    type Output = Event;

    fn visit_unimplemented(self, metadata: RecordMetadata) -> Event {
        event(&metadata, What::Other)
    }

    fn visit_mmap2(self, record: Mmap2<'a>, metadata: RecordMetadata) -> Event {
        let hex = |id: &[u8]| id.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let mapping = Mapping {
            path: PathBuf::from(std::ffi::OsStr::from_bytes(record.filename_os().as_bytes())),
            start: Avma(record.addr),
            length: record.len,
            offset: FileOffset(record.pgoff),
            build_id: record.build_id().filter(|id| id.iter().any(|&byte| byte != 0)).map(hex),
            root: None,
        };
        event(&metadata, What::Mapped { pid: record.pid, mapping })
    }

    fn visit_fork(self, record: Fork, metadata: RecordMetadata) -> Event {
        event(&metadata, What::Forked { pid: record.pid, parent: record.ppid })
    }

    fn visit_exit(self, record: Exit, metadata: RecordMetadata) -> Event {
        // A thread ends with a record of its own.
        let is_process = record.pid == record.tid;
        event(&metadata, if is_process { What::Ended { pid: record.pid } } else { What::Other })
    }

    fn visit_comm(self, record: Comm<'a>, metadata: RecordMetadata) -> Event {
        let is_exec = metadata.misc() & COMM_EXEC != 0;
        event(&metadata, if is_exec { What::Executed { pid: record.pid } } else { What::Other })
    }

    fn visit_lost(self, record: Lost, metadata: RecordMetadata) -> Event {
        event(&metadata, What::Lost(record.lost))
    }
}

fn event(metadata: &RecordMetadata, what: What) -> Event {
    Event { time: metadata.sample_id().time().unwrap_or(0), what }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::launch::Suspended;

    /// Guards against a library that is missing because it was loaded late, or lies elsewhere than it says.
    #[test]
    fn a_program_and_its_libraries_are_told_with_their_build_ids() {
        let program = std::path::Path::new("/bin/true");
        let suspended = Suspended::new(program, &["true".into()], None).unwrap();
        let mut log = MappingLog::watch(suspended.pid()).unwrap();
        let running = suspended.start().unwrap();
        while running.ending().is_none() {
            std::thread::yield_now();
        }
        let (mappings, is_incomplete) = log.of_process(running.pid().as_raw().cast_unsigned());

        assert!(!is_incomplete);
        let main = mappings.iter().find(|mapping| mapping.path.ends_with("true")).expect("the program");
        let binary = crate::binary::Binary::open(program).unwrap();
        assert_eq!(main.build_id.as_deref(), binary.build_id());
        assert!(mappings.iter().any(|mapping| mapping.path.to_string_lossy().contains("libc")), "{mappings:?}");
        assert!(mappings.iter().any(|mapping| mapping.path.ends_with("[vdso]")), "{mappings:?}");
    }

    /// Guards against a machine whose processors are not numbered without gaps.
    #[test]
    fn lists_of_processors_have_ranges() {
        assert_eq!(processors_of("0-2,5,7-8\n").collect::<Vec<_>>(), [0, 1, 2, 5, 7, 8]);
    }
}
