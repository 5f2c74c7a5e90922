//! Many probes of the program by one event: what kernels before 6.6 have besides one perf event a probe.
//!
//! An event of tracefs may have any number of probes (Documentation/trace/uprobetracer.rst), and is closed as a whole: single perf events are closed one
//! after the other, each waiting for grace periods. All its probes have one cookie, so the kernel side looks up by the address what one means
//! (the map `SITES`). It knows where the program was loaded and not where a library was: theirs are single probes.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use aya::Ebpf;
use aya::maps::{HashMap as HashMapMap, MapData};
use lastwords_abi::cookie;
use perf_event::events::Tracepoint;
use perf_event::{Builder, Counter};

use super::guard::Guard;
use super::tracefs::Tracefs;
use super::{ProbeError, Site, Tier, map_mut, multi, single};
use crate::address::{FileOffset, Svma};
use crate::binary::Binary;

/// What an address means, by its distance from the program's lowest code: as the kernel side reads it.
type Sites<'m> = HashMapMap<&'m mut MapData, u64, u64>;

/// Numbers the groups of this process.
static GROUPS: AtomicU32 = AtomicU32::new(0);

/// The events of one recorder, for probes of one program.
pub struct Traced {
    path: PathBuf,
    /// Events name the program by this descriptor: its path may have spaces, which they cannot.
    program: File,
    binary: Binary,
    lowest_code: Svma,
    tracefs: Tracefs,
    /// What all events are called before the `/`.
    group: String,
    next: u32,
    /// What `SITES` says, cookies without their generation.
    table: HashMap<FileOffset, u64>,
    /// Takes away what is left when lastwords is killed.
    _guard: Guard,
}

/// An event that runs a program of the recorder. Dropping it takes its probes away.
pub struct Event {
    running: Option<(OwnedFd, Counter)>,
    definitions: File,
    name: String,
}

impl Drop for Event {
    fn drop(&mut self) {
        // It cannot be taken away as long as it runs.
        self.running = None;
        if let Err(error) = self.definitions.write_all(format!("-:{}\n", self.name).as_bytes()) {
            tracing::debug!(event = self.name, %error, "left to the guard");
        }
    }
}

impl Traced {
    /// For a program, if this machine has tracefs and the program can be read.
    pub fn new(path: &Path) -> Option<Self> {
        let tracefs = Tracefs::open()?;
        let binary = Binary::open(path).ok()?;
        let group = format!("lastwords_{}_{}", std::process::id(), GROUPS.fetch_add(1, Ordering::Relaxed));
        Some(Self {
            path: path.to_owned(),
            program: File::open(path).ok()?,
            lowest_code: binary.lowest_executable_address()?,
            binary,
            _guard: Guard::new(&tracefs.definitions().ok()?, &format!("-:{group}/\n")).ok()?,
            tracefs,
            group,
            next: 0,
            table: HashMap::new(),
        })
    }

    /// Whether these are events for probes of this file.
    pub fn is_of(&self, path: &Path) -> bool {
        self.path == path
    }

    /// Takes those sites out that can share a cookie: all but those where something else stands already, or that find no room.
    pub fn share(&mut self, ebpf: &mut Ebpf, sites: &mut Vec<Site>) -> Vec<Site> {
        let Some(mut table) = map_mut(ebpf, "SITES").ok().and_then(|map| Sites::try_from(map).ok()) else {
            return Vec::new();
        };
        let (shared, own) = std::mem::take(sites).into_iter().partition(|site| self.note(&mut table, site));
        *sites = own;
        shared
    }

    /// Puts a site into the table; whether that says what it means.
    fn note(&mut self, table: &mut Sites<'_>, site: &Site) -> bool {
        let meaning = cookie::new(cookie::event(site.cookie), cookie::function(site.cookie), 0);
        if let Some(known) = self.table.get(&site.offset) {
            return *known == meaning;
        }
        let is_noted = self.key_of(site.offset).is_some_and(|key| table.insert(key, meaning, 0).is_ok());
        if is_noted {
            self.table.insert(site.offset, meaning);
        }
        is_noted
    }

    /// How far from the program's lowest code a place in the file is loaded.
    fn key_of(&self, offset: FileOffset) -> Option<u64> {
        let code = self.binary.segments().iter().filter(|segment| segment.is_executable);
        let mut addresses = code.filter_map(|segment| {
            let distance = offset.0.checked_sub(segment.offset.0).filter(|distance| *distance < segment.file_size)?;
            segment.start.0.checked_add(distance)?.checked_sub(self.lowest_code.0)
        });
        addresses.next()
    }

    /// Makes an event with probes at these sites, which runs the program `name`.
    pub fn place(&mut self, ebpf: &mut Ebpf, name: &str, sites: &[Site], generation: u32) -> Result<Event, ProbeError> {
        let failed =
            |source| ProbeError::Attach { path: self.path.clone(), count: sites.len(), tier: Tier::Single, source };
        let kind = if name == "probe_return" { 'r' } else { 'p' };
        let event = format!("{}/{kind}{}", self.group, self.next);
        self.next += 1;
        let file = format!("/proc/self/fd/{}", self.program.as_raw_fd());
        let lines: String = sites.iter().map(|site| format!("{kind}:{event} {file}:{:#x}\n", site.offset.0)).collect();
        let definitions = self.tracefs.definitions().map_err(failed)?;
        let mut made = Event { running: None, definitions, name: event };
        made.definitions.write_all(lines.as_bytes()).map_err(failed)?;

        let program = single::loaded(ebpf, name)?.fd().map_err(|error| failed(io::Error::other(error)))?;
        let cookie = cookie::new(cookie::BY_ADDRESS, 0, generation);
        let link = self.tracefs.id_of(&made.name).and_then(|id| run(id, program.as_fd(), cookie));
        made.running = Some(link.map_err(failed)?);
        Ok(made)
    }
}

/// Has the event with this id run a program.
fn run(id: u64, program: BorrowedFd<'_>, cookie: u64) -> io::Result<(OwnedFd, Counter)> {
    // Which processor is said has no meaning: programs run wherever the event happens.
    let counter = Builder::new(Tracepoint::with_id(id)).any_pid().one_cpu(0).build()?;
    // SAFETY: the descriptor is open as long as the counter is.
    let event = unsafe { BorrowedFd::borrow_raw(counter.as_raw_fd()) };
    Ok((multi::link_to_event(program, event, cookie)?, counter))
}
