//! Faults that went to a handler: taken out of the kernel's maps.

use aya::maps::{HashMap as HashMapMap, MapData};
use lastwords_abi::record::RECORD_BYTES;
use lastwords_abi::{Event, Fault};

use super::{Death, FaultBytes, Recorder, map_mut};

impl Recorder {
    /// The handled faults that the threads of this dead process have left.
    pub(super) fn take_handled(&mut self, pid: u32) -> Vec<Fault> {
        let Ok(map) = map_mut(&mut self.ebpf, "HANDLED") else { return Vec::new() };
        let Ok(mut map): Result<HashMapMap<&mut MapData, u32, FaultBytes>, _> = map.try_into() else {
            return Vec::new();
        };
        let tids: Vec<u32> = map.keys().flatten().collect();
        let mut handled = Vec::new();
        for tid in tids {
            if let Ok(FaultBytes(fault)) = map.get(&tid, 0)
                && fault.pid == pid
            {
                let _ = map.remove(&tid);
                handled.push(fault);
            }
        }
        handled.sort_by_key(|fault| fault.at_ns);
        handled
    }

    /// A fault that was survived, and the calls of its thread as they are by now: the process goes on.
    pub(super) fn take_survived(&mut self, event: Event) -> Option<Death> {
        let map = map_mut(&mut self.ebpf, "SURVIVED").ok()?;
        let mut map: HashMapMap<&mut MapData, u64, FaultBytes> = map.try_into().ok()?;
        let FaultBytes(fault) = map.get(&event.moment_ns, 0).ok()?;
        let _ = map.remove(&event.moment_ns);
        let slots = self.slots.of_process(event.pid);
        // What may have been overwritten during the copy counts as overwritten.
        let margin = 2 * u64::from(RECORD_BYTES + self.config.data_bytes);
        let copies = slots.into_iter().filter_map(|slot| self.slots.copy_live(slot, event.tid, margin)).collect();
        let memory = self.take_memory(event.pid, |range| range.moment_ns == event.moment_ns);
        Some(Death { event, fault: Fault::ZERO, handled: vec![fault], slots: copies, memory, oom_stack: Vec::new() })
    }
}
