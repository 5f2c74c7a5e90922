//! A plan in; a recorder that runs in the kernel and is attached to the plan's files out.
//!
//! A [`Recorder`] goes through three states: loaded (maps and programs are in the kernel), attached (probes are in place), watching
//! (the first process is known, and its next exec begins the recording). Dropping it takes all of it away again; so does the
//! kernel if this process is killed, for everything hangs on file descriptors.

mod attach;
pub mod calibrate;
mod closing;
mod cost;
mod error;
mod govern;
mod governor;
mod guard;
mod handled;
pub mod kernel_types;
mod live;
mod mappings;
mod multi;
mod object;
mod oom;
mod parts;
mod pool;
mod programs;
mod relink;
mod roots;
mod settings;
mod single;
#[cfg(test)]
mod tests;
mod tier;
mod traced;
pub mod tracefs;

use std::collections::HashMap;
use std::mem::offset_of;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use aya::Ebpf;
use aya::maps::{Array, HashMap as HashMapMap, Map, MapData, RingBuf};
use aya::programs::{KProbe, RawTracePoint};
use lastwords_abi::layout::{Chunk, MemoryHeader, RETURN_ADDRESS, UNREADABLE, Window};
use lastwords_abi::record::SURVIVED;
use lastwords_abi::step::{FIRST_GENERATION, REGISTER};
use lastwords_abi::{Config, Counter, Event, Fault, Function, Target, Watched};

pub use attach::{Links, Site};
pub use cost::Ran;
pub use error::ProbeError;
pub use govern::Dropped;
pub use governor::Budget;
pub use mappings::{Mapping, MappingLog};
pub use oom::{OutOfMemory, out_of_memory};
pub use roots::Root;
pub use settings::{CRASHES, SURVIVED_TOLD, Settings};
pub use tier::Tier;

use crate::address::Avma;
use crate::plan::runs::StepRuns;
use crate::plan::{Exits, FunctionPlan, Plan};
use attach::Attacher;
use closing::Closing;
use govern::Oversight;
use kernel_types::KernelTypes;
use live::Live;
use object::{MapSizes, errno_of};
use pool::Pool;
use programs::{Programs, lock};
use relink::Relinking;
use traced::Traced;

/// Program and tracepoint of everything that is not a probe.
const TRACEPOINTS: [(&str, &str); 6] = [
    ("process_fork", "sched_process_fork"),
    ("process_exec", "sched_process_exec"),
    ("process_exit", "sched_process_exit"),
    ("signal_deliver", "signal_deliver"),
    ("signal_generate", "signal_generate"),
    ("mark_victim", "mark_victim"),
];

/// What kernels have that can place many probes by one link.
const UPROBE_MULTI: &str = "bpf_uprobe_multi_link_attach";
/// Where kernels that have kprobes say so.
const KPROBES: &str = "/sys/bus/event_source/devices/kprobe/type";
/// How long the threads of a process that has ended are waited for: they have only their own end before them.
const STRAGGLERS: Duration = Duration::from_millis(200);

/// The recorder in the kernel, and this side of it.
pub struct Recorder {
    // Dropped in this order: first the probes, so that nothing runs any more, then what they use.
    relinking: Relinking,
    links: Option<Links>,
    closing: Closing,
    traced: Option<Traced>,
    ebpf: Ebpf,
    live: Live,
    slots: Pool,
    memory: [Pool; 2],
    /// Slots that were read while their threads were still in the middle of their exit.
    read_slots: Vec<u32>,
    events: RingBuf<MapData>,
    config: Config,
    programs: Arc<Mutex<Programs>>,
    /// The way to place probes that was asked for.
    tier: Option<Tier>,
    attached: Attached,
    oversight: Option<Oversight>,
}

/// What was attached, how, and how long it took.
#[derive(Clone, Copy, Debug)]
pub struct Attached {
    /// The means.
    pub tier: Tier,
    /// How many functions.
    pub functions: usize,
    /// How many probes that took.
    pub sites: usize,
    /// How long it took.
    pub took: Duration,
}

/// What the kernel side knows of a death: plain bytes, which [`crate::crash`] reads.
#[derive(Clone, Debug)]
pub struct Death {
    /// Which process.
    pub event: Event,
    /// The signal that killed it, or whose default action has begun to; signal 0 if it exited, and [`Fault::ZERO`] if nothing was seen.
    pub fault: Fault,
    /// The faults that went to a handler and that its threads may have died of: the last one of each thread.
    pub handled: Vec<Fault>,
    /// A copy of each of its threads' slots.
    pub slots: Vec<Vec<u8>>,
    /// What was copied of its memory, by address; ranges may overlap.
    pub memory: Vec<MemoryRange>,
    /// Return addresses on the kernel's stack where it chose the process to be killed for lack of memory, the innermost first.
    pub oom_stack: Vec<u64>,
}

/// A piece of a dead process's memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryRange {
    /// Where it was.
    pub address: Avma,
    /// Kernel-global id of the thread that copied it.
    pub tid: u32,
    /// [`Fault::at_ns`] of the handled fault at which it was copied; 0 if that was at the end.
    pub moment_ns: u64,
    /// It is a return address in whose place the kernel had put its trampoline.
    pub is_return_address: bool,
    /// How many bytes from `address` on could not be read.
    pub unreadable_bytes: u64,
    /// What was there.
    pub bytes: Vec<u8>,
}

impl MemoryRange {
    /// A chunk or a window: a [`MemoryHeader`], then its bytes.
    fn read(entry: &[u8]) -> Option<Self> {
        let word = |offset: usize| Some(u32::from_ne_bytes(entry.get(offset..offset + 4)?.try_into().ok()?));
        let at = offset_of!(MemoryHeader, address);
        let address = u64::from_ne_bytes(entry.get(at..at + 8)?.try_into().ok()?);
        let length = word(offset_of!(MemoryHeader, length))? as usize;
        let kind = word(offset_of!(MemoryHeader, kind))?;
        let (length, unreadable_bytes) = if kind == UNREADABLE { (0, length as u64) } else { (length, 0) };
        let bytes = entry.get(size_of::<MemoryHeader>()..)?.get(..length)?.to_vec();
        let is_return_address = kind == RETURN_ADDRESS;
        let at = offset_of!(MemoryHeader, moment_ns);
        let moment_ns = u64::from_ne_bytes(entry.get(at..at + 8)?.try_into().ok()?);
        let tid = word(offset_of!(MemoryHeader, tid))?;
        Some(Self { address: Avma(address), tid, moment_ns, is_return_address, unreadable_bytes, bytes })
    }
}

impl Recorder {
    /// Loads maps and tracepoint programs for this plan.
    ///
    /// # Errors
    /// If the kernel cannot, may not or has no room to do that.
    pub fn load(plan: &Plan, settings: &Settings) -> Result<Self, ProbeError> {
        let types = KernelTypes::load()?;
        let config = settings.config(plan, &types)?;
        let object = object::with_slot_bytes(config.slot_bytes())?;
        let object = if config.waits_for_pages == 1 { object } else { object::without_waiting(object) };
        let runs = StepRuns::of(&plan.functions);
        let is_old = types.function(UPROBE_MULTI).is_none();
        let sizes = MapSizes {
            functions: plan.functions.len() as u32,
            steps: runs.steps.len() as u32,
            chunks: settings.chunks(),
            windows: settings.windows(),
            sites: if is_old || settings.tier == Some(Tier::Single) { attach::site_count(plan) as u32 } else { 0 },
        };
        let mut ebpf = object::create_maps(&object, &config, sizes)?;
        write_plan(&mut ebpf, plan, &runs)?;
        let events = RingBuf::try_from(take(&mut ebpf, "EVENTS")?).map_err(in_map("EVENTS"))?;
        let maps = map_fds(&ebpf, &events);
        let mut programs = Programs::new(object, maps, types.function("bpf_session_is_return"));
        // What the kernel verifies takes most of the time, and each processor can do it.
        std::thread::scope(|scope| {
            if !is_old {
                scope.spawn(|| attach::prepare(plan, settings.tier, &mut programs));
            }
            load_tracepoints(&mut ebpf)
        })?;
        let pool = |entries, top, count, bytes| Pool::map(raw_fd(&ebpf, entries)?, raw_fd(&ebpf, top)?, count, bytes);
        let live = Live::map(raw_fd(&ebpf, "FUNCTIONS")?, plan.functions.len())?;
        let slots = pool("SLOTS", "FREE_SLOTS", config.slots, config.slot_bytes())?;
        let memory = [
            pool("CHUNKS", "FREE_CHUNKS", settings.chunks(), size_of::<Chunk>() as u32)?,
            pool("WINDOWS", "FREE_WINDOWS", settings.windows(), size_of::<Window>() as u32)?,
        ];
        let attached = Attached { tier: Tier::Single, functions: 0, sites: 0, took: Duration::ZERO };
        Ok(Self {
            relinking: Relinking::default(),
            links: None,
            closing: Closing::default(),
            traced: None,
            ebpf,
            live,
            slots,
            memory,
            read_slots: Vec::new(),
            events,
            config,
            programs: Arc::new(Mutex::new(programs)),
            tier: settings.tier,
            attached,
            oversight: None,
        })
    }

    /// Places the probes, by the best tier that this kernel has or by the one that the settings ask for.
    ///
    /// # Errors
    /// If the kernel has no such tier, or refuses a probe.
    pub fn attach(&mut self, plan: &Plan) -> Result<Attached, ProbeError> {
        let start = Instant::now();
        self.attach_tracepoints()?;
        let mut attacher =
            Attacher { ebpf: &mut self.ebpf, programs: &mut lock(&self.programs), traced: &mut self.traced };
        let (tier, links) = attacher.attach(plan, self.tier)?;
        self.links = Some(links);
        let sites = attach::site_count(plan);
        self.attached = Attached { tier, functions: plan.functions.len(), sites, took: start.elapsed() };
        Ok(self.attached)
    }

    /// Places programs that do nothing instead: what is left of the cost then is the kernel's. For benchmarks; needs Linux 6.6.
    ///
    /// # Errors
    /// If the kernel refuses them.
    pub fn attach_floor(&mut self, plan: &Plan) -> Result<(), ProbeError> {
        self.links = Some(attach::attach_floor(plan, &mut lock(&self.programs))?);
        Ok(())
    }

    /// Takes the probes away. Returns how long that took.
    pub fn detach(&mut self) -> Duration {
        let start = Instant::now();
        self.relinking = Relinking::default();
        self.links = None;
        self.closing = Closing::default();
        self.traced = None;
        start.elapsed()
    }

    /// Begins to watch with the next exec of the process with this id (as this process sees it).
    ///
    /// # Errors
    /// If the map cannot be written.
    pub fn watch(&mut self, pid: u32) -> Result<(), ProbeError> {
        let target = TargetBytes(Target { ns_pid: pid, ..Target::default() });
        let mut map: Array<&mut MapData, TargetBytes> =
            map_mut(&mut self.ebpf, "TARGET")?.try_into().map_err(in_map("TARGET"))?;
        map.set(0, target, 0).map_err(in_map("TARGET"))
    }

    /// Becomes readable when there is a death to collect.
    #[must_use]
    pub fn events(&self) -> BorrowedFd<'_> {
        self.events.as_fd()
    }

    /// The next death, or survived fault, that was not collected yet. The rings of the dead are copied and given back.
    pub fn next_death(&mut self) -> Option<Death> {
        loop {
            let event = read_event(&self.events.next()?)?;
            if event.kind == SURVIVED {
                if let Some(death) = self.take_survived(event) {
                    return Some(death);
                }
            } else {
                // As long as the fault is there, the kernel side leaves the slots of ending threads to us.
                let slots = self.take_slots(event.pid);
                let fault = self.take_fault(event.pid).unwrap_or(Fault::ZERO);
                let handled = self.take_handled(event.pid);
                let memory = self.take_memory(event.pid, |_| true);
                let oom_stack = self.take_oom_stack(event.pid).unwrap_or_default();
                return Some(Death { event, fault, handled, slots, memory, oom_stack });
            }
        }
    }

    /// The slots of a process whose last thread has told of its end. Others may still be a few instructions before that.
    fn take_slots(&mut self, pid: u32) -> Vec<Vec<u8>> {
        let numbers = self.slots.of_process(pid);
        let deadline = Instant::now() + STRAGGLERS;
        while numbers.iter().any(|&slot| !self.slots.has_ended(slot)) && Instant::now() < deadline {
            std::thread::yield_now();
        }
        let slots = numbers.iter().map(|&slot| self.slots.copy(slot)).collect();
        self.read_slots.extend(numbers);
        let slots_left = &self.slots;
        self.read_slots.retain(|&slot| {
            let ended = slots_left.has_ended(slot);
            if ended {
                slots_left.release(slot);
            }
            !ended
        });
        slots
    }

    /// What was lost so far, by [`Counter`].
    ///
    /// # Errors
    /// If the map cannot be read.
    pub fn counters(&self) -> Result<[u64; Counter::COUNT as usize], ProbeError> {
        let map = self.ebpf.map("COUNTERS").ok_or_else(|| missing("COUNTERS"))?;
        let map: Array<&MapData, u64> = map.try_into().map_err(in_map("COUNTERS"))?;
        let mut counters = [0; Counter::COUNT as usize];
        for (index, counter) in (0..).zip(&mut counters) {
            *counter = map.get(&index, 0).map_err(in_map("COUNTERS"))?;
        }
        Ok(counters)
    }

    /// The bounds that were chosen.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// What was attached.
    #[must_use]
    pub fn attached(&self) -> Attached {
        self.attached
    }

    /// What was copied of the process's memory. Its threads are past that: the entries can be given back at once.
    fn take_memory(&self, pid: u32, is_wanted: impl Fn(&MemoryRange) -> bool) -> Vec<MemoryRange> {
        let mut ranges = Vec::new();
        for pool in &self.memory {
            for entry in pool.of_process(pid).into_iter().filter(|&entry| pool.has_ended(entry)) {
                let Some(range) = MemoryRange::read(&pool.copy(entry)).filter(&is_wanted) else { continue };
                ranges.push(range);
                pool.release(entry);
            }
        }
        // What the program had put there comes first: whoever inserts ranges in this order keeps it.
        ranges.sort_by_key(|range| (!range.is_return_address, range.address));
        ranges
    }

    fn take_fault(&mut self, pid: u32) -> Option<Fault> {
        let mut map: HashMapMap<&mut MapData, u32, FaultBytes> =
            map_mut(&mut self.ebpf, "FAULTS").ok()?.try_into().ok()?;
        let fault = map.get(&pid, 0).ok()?;
        map.remove(&pid).ok()?;
        Some(fault.0)
    }

    fn attach_tracepoints(&mut self) -> Result<(), ProbeError> {
        for (name, tracepoint) in TRACEPOINTS {
            let failed = |error| ProbeError::Tracepoint { name: tracepoint, source: Box::new(error) };
            tracepoint_program(&mut self.ebpf, name)?.attach(tracepoint).map_err(failed)?;
        }
        watch_exits(&mut self.ebpf);
        Ok(())
    }
}

fn map_fds(ebpf: &Ebpf, events: &RingBuf<MapData>) -> HashMap<String, RawFd> {
    let mut fds: HashMap<String, RawFd> =
        ebpf.maps().filter_map(|(name, map)| Some((name.to_owned(), fd_of(map)?))).collect();
    fds.insert("EVENTS".to_owned(), events.as_fd().as_raw_fd());
    fds
}

/// Watches processes that exit while they still have their memory: a handler may have made them. From Linux 6.16 on, `sched_process_exit` is
/// early enough.
fn watch_exits(ebpf: &mut Ebpf) {
    if !Path::new(KPROBES).exists() {
        tracing::info!(
            "this kernel has no kprobes: before Linux 6.16, what a handler did before it exited cannot be told"
        );
        return;
    }
    let program = kernel_probe(ebpf).ok_or_else(|| missing("process_leaves").to_string());
    let attach = |program: &mut KProbe| program.load().and_then(|()| program.attach("do_group_exit", 0));
    match program.map(|program| attach(program).map_err(|error| error.to_string())) {
        Ok(Ok(_)) => {}
        Ok(Err(error)) | Err(error) => tracing::warn!(%error, "what handlers do before they exit cannot be told"),
    }
}

fn kernel_probe(ebpf: &mut Ebpf) -> Option<&mut KProbe> {
    ebpf.program_mut("process_leaves")?.try_into().ok()
}

fn load_tracepoints(ebpf: &mut Ebpf) -> Result<(), ProbeError> {
    for (name, _) in TRACEPOINTS {
        tracepoint_program(ebpf, name)?.load().map_err(|error| ProbeError::Load {
            what: format!("program `{name}`"),
            errno: errno_of(&error),
            source: Box::new(error),
        })?;
    }
    Ok(())
}

fn tracepoint_program<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut RawTracePoint, ProbeError> {
    let program = ebpf.program_mut(name).ok_or_else(|| missing(name))?;
    program.try_into().map_err(|_| missing(name))
}

/// Writes functions and steps into their maps.
fn write_plan(ebpf: &mut Ebpf, plan: &Plan, runs: &StepRuns) -> Result<(), ProbeError> {
    let mut map: Array<&mut MapData, object::StepBytes> =
        map_mut(ebpf, "STEPS")?.try_into().map_err(in_map("STEPS"))?;
    for (index, step) in (0..).zip(&runs.steps) {
        map.set(index, object::StepBytes(*step), 0).map_err(in_map("STEPS"))?;
    }
    let mut map: Array<&mut MapData, FunctionBytes> =
        map_mut(ebpf, "FUNCTIONS")?.try_into().map_err(in_map("FUNCTIONS"))?;
    for ((index, function), first_step) in (0..).zip(&plan.functions).zip(&runs.first) {
        map.set(index, FunctionBytes(entry_of(function, *first_step)), 0).map_err(in_map("FUNCTIONS"))?;
    }
    Ok(())
}

/// What the kernel side is told of a function whose steps begin there.
fn entry_of(function: &FunctionPlan, first_step: u32) -> Function {
    Function {
        first_step,
        step_count: function.steps.len() as u16,
        register_steps: function.steps.iter().take_while(|step| step.op == REGISTER).count() as u16,
        cfa_offset: function.entry.cfa_offset,
        data_bytes: settings::data_bytes(function),
        hits: 0,
        generation: FIRST_GENERATION,
        returns: u32::from(!matches!(function.exits, Exits::Unseen(_))),
        exit_step_count: function.exit.kernel_steps().len() as u32,
        exit_bytes: function.exit.room_bytes(),
        extra_ns: 0,
        exit_hits: 0,
        turn_ns: function.weight.turn_ns,
        entry_ns: function.weight.entry_ns,
    }
}

macro_rules! plain_bytes {
    ($($wrapper:ident($record:ty))*) => {$(
        #[derive(Clone, Copy)]
        #[repr(transparent)]
        struct $wrapper($record);

        // SAFETY: the record is `repr(C)`, of numbers only and without padding: the ABI asserts its size.
        unsafe impl aya::Pod for $wrapper {}
    )*};
}

plain_bytes!(FunctionBytes(Function) TargetBytes(Target) FaultBytes(Fault) EventBytes(Event) WatchedBytes(Watched));

fn read_event(bytes: &[u8]) -> Option<Event> {
    (bytes.len() >= size_of::<EventBytes>()).then(|| {
        // SAFETY: long enough, and every bit pattern is a valid record.
        unsafe { bytes.as_ptr().cast::<EventBytes>().read_unaligned().0 }
    })
}

fn missing(what: &str) -> ProbeError {
    ProbeError::Object { what: format!("`{what}`") }
}

fn in_map<E: std::error::Error + Send + Sync + 'static>(map: &'static str) -> impl Fn(E) -> ProbeError {
    move |error| ProbeError::Map { map, source: Box::new(error) }
}

fn map_mut<'a>(ebpf: &'a mut Ebpf, name: &'static str) -> Result<&'a mut Map, ProbeError> {
    ebpf.map_mut(name).ok_or_else(|| missing(name))
}

fn take(ebpf: &mut Ebpf, name: &'static str) -> Result<Map, ProbeError> {
    ebpf.take_map(name).ok_or_else(|| missing(name))
}

fn raw_fd(ebpf: &Ebpf, name: &'static str) -> Result<RawFd, ProbeError> {
    ebpf.map(name).and_then(fd_of).ok_or_else(|| missing(name))
}

fn fd_of(map: &Map) -> Option<RawFd> {
    match map {
        Map::Array(data) | Map::HashMap(data) | Map::RingBuf(data) => Some(data.fd().as_fd().as_raw_fd()),
        _ => None,
    }
}
