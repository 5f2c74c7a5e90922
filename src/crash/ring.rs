//! The bytes of a slot in; its header and its last calls out. The layout is that of [`lastwords_abi::layout`].
//!
//! The dead process had no access to these bytes, but a slot may be copied while it is being written. So nothing in it is believed that
//! contradicts the layout or itself.

use std::mem::offset_of;

use lastwords_abi::layout::{INDEX_OFFSET, PoolHeader};
use lastwords_abi::record::{RECORD_BYTES, ThreadState};
use lastwords_abi::{COMM_BYTES, Config, REGISTER_WORDS, Record, SlotHeader};

use super::RawCall;

/// The header of a slot and its last calls, at most `keep` of them, oldest first.
///
/// `None` if `bytes` are fewer than a slot of this configuration has. A call is left out if its record has been overwritten, or is damaged.
/// Calls are numbered from the owner's first one, in the header as well.
#[must_use]
pub fn read_slot(bytes: &[u8], config: &Config, keep: u32) -> Option<(SlotHeader, Vec<RawCall>)> {
    let slot = Slot::new(Words(bytes), config)?;
    let mut header = header(slot.bytes)?;
    let (first, end) = (header.first, header.calls);
    header.calls = end.checked_sub(first)?;
    let kept = u64::from(keep.min(config.index_entries)).min(header.calls);
    let calls = (end - kept..end).filter_map(|number| {
        let mut call = slot.call(number, header.head)?;
        call.record.sequence -= first;
        Some(call)
    });
    Some((header, calls.collect()))
}

/// Words of the kernel's memory, which has this machine's byte order and any alignment here.
#[derive(Clone, Copy)]
struct Words<'a>(&'a [u8]);

impl<'a> Words<'a> {
    /// `N` bytes from `offset` on.
    fn array<const N: usize>(self, offset: usize) -> Option<[u8; N]> {
        self.slice(offset, N)?.try_into().ok()
    }

    fn slice(self, offset: usize, length: usize) -> Option<&'a [u8]> {
        self.0.get(offset..offset.checked_add(length)?)
    }

    fn u32(self, offset: usize) -> Option<u32> {
        self.array(offset).map(u32::from_ne_bytes)
    }

    fn u64(self, offset: usize) -> Option<u64> {
        self.array(offset).map(u64::from_ne_bytes)
    }

    fn u64s<const N: usize>(self, offset: usize) -> Option<[u64; N]> {
        let mut words = [0; N];
        for (index, word) in words.iter_mut().enumerate() {
            *word = self.u64(offset + index * 8)?;
        }
        Some(words)
    }
}

/// A slot whose parts are known to lie within its bytes.
struct Slot<'a> {
    bytes: Words<'a>,
    config: &'a Config,
    ring: Words<'a>,
}

impl<'a> Slot<'a> {
    /// What does not fit into `bytes` is refused, whatever the configuration says.
    fn new(bytes: Words<'a>, config: &'a Config) -> Option<Self> {
        let parts = [config.index_entries, config.open_sets, config.ring_bytes, config.data_bytes];
        // Parts of at most 2^25 keep all sums of `Config` within 32 bits.
        if parts.iter().any(|&part| part > 1 << 25) || config.index_entries == 0 || config.ring_bytes == 0 {
            return None;
        }
        let ring_length = config.slot_bytes() - config.ring_offset();
        let ring = bytes.slice(config.ring_offset() as usize, ring_length as usize)?;
        Some(Self { bytes, config, ring: Words(ring) })
    }

    /// Call number `number`, if its record is whole.
    fn call(&self, number: u64, head: u64) -> Option<RawCall> {
        let entry = (number % u64::from(self.config.index_entries)) as usize;
        let position = self.bytes.u64(INDEX_OFFSET as usize + entry * 8)?;
        let behind_head = head.checked_sub(position)?;
        if behind_head > u64::from(self.config.ring_bytes) {
            return None;
        }
        let offset = (position % u64::from(self.config.ring_bytes)) as usize;
        let record = record(self.ring, offset)?;
        // The head moves past the record, or to the end of the lap if the record has reached into the slack.
        let length = u64::from(RECORD_BYTES) + u64::from(record.data_bytes);
        let to_end_of_lap = u64::from(self.config.ring_bytes) - offset as u64;
        let is_complete = behind_head >= length.min(to_end_of_lap);
        if record.sequence != number || record.data_bytes > self.config.data_bytes || !is_complete {
            return None;
        }
        let data = self.ring.slice(offset + RECORD_BYTES as usize, record.data_bytes as usize)?;
        Some(RawCall { record, data: data.to_vec() })
    }
}

fn header(at: Words<'_>) -> Option<SlotHeader> {
    const DEATH: usize = offset_of!(SlotHeader, death);
    Some(SlotHeader {
        pool: PoolHeader::default(),
        pid: at.u32(offset_of!(SlotHeader, pid))?,
        tid: at.u32(offset_of!(SlotHeader, tid))?,
        ns_pid: at.u32(offset_of!(SlotHeader, ns_pid))?,
        ns_tid: at.u32(offset_of!(SlotHeader, ns_tid))?,
        calls: at.u64(offset_of!(SlotHeader, calls))?,
        first: at.u64(offset_of!(SlotHeader, first))?,
        head: at.u64(offset_of!(SlotHeader, head))?,
        last_entry: at.u64(offset_of!(SlotHeader, last_entry))?,
        death: ThreadState {
            at_ns: at.u64(DEATH + offset_of!(ThreadState, at_ns))?,
            registers: at.u64s::<REGISTER_WORDS>(DEATH + offset_of!(ThreadState, registers))?,
            tls_base: at.u64(DEATH + offset_of!(ThreadState, tls_base))?,
            stack_end: at.u64(DEATH + offset_of!(ThreadState, stack_end))?,
            comm: at.array::<COMM_BYTES>(DEATH + offset_of!(ThreadState, comm))?,
        },
        registers: at.u64s::<REGISTER_WORDS>(offset_of!(SlotHeader, registers))?,
        turn_cfa: at.u64(offset_of!(SlotHeader, turn_cfa))?,
        turn_function: at.u64(offset_of!(SlotHeader, turn_function))?,
    })
}

fn record(at: Words<'_>, offset: usize) -> Option<Record> {
    Some(Record {
        sequence: at.u64(offset + offset_of!(Record, sequence))?,
        entered_ns: at.u64(offset + offset_of!(Record, entered_ns))?,
        returned_ns: at.u64(offset + offset_of!(Record, returned_ns))?,
        cfa: at.u64(offset + offset_of!(Record, cfa))?,
        value: at.u64s::<2>(offset + offset_of!(Record, value))?,
        function: at.u32(offset + offset_of!(Record, function))?,
        data_bytes: at.u32(offset + offset_of!(Record, data_bytes))?,
        flags: at.u32(offset + offset_of!(Record, flags))?,
        reserved: at.u32(offset + offset_of!(Record, reserved))?,
    })
}

#[cfg(test)]
mod tests {
    use lastwords_abi::align8;

    use super::super::tests::Random;
    use super::*;

    fn config() -> Config {
        Config { slots: 1, index_entries: 8, open_sets: 2, ring_bytes: 512, data_bytes: 128, ..Config::default() }
    }

    /// Writes a slot as the layout's description says the kernel side does.
    struct Writer {
        bytes: Vec<u8>,
        calls: u64,
        head: u64,
    }

    impl Writer {
        fn new() -> Self {
            Self { bytes: vec![0; config().slot_bytes() as usize], calls: 0, head: 0 }
        }

        fn put(&mut self, offset: usize, value: &[u8]) {
            self.bytes[offset..offset + value.len()].copy_from_slice(value);
        }

        fn append(&mut self, data: &[u8]) {
            let config = config();
            let ring = u64::from(config.ring_bytes);
            let start = config.ring_offset() as usize + (self.head % ring) as usize;
            let index = INDEX_OFFSET as usize + (self.calls % u64::from(config.index_entries)) as usize * 8;
            self.put(index, &self.head.to_ne_bytes());
            self.put(start + offset_of!(Record, sequence), &self.calls.to_ne_bytes());
            self.put(start + offset_of!(Record, function), &7u32.to_ne_bytes());
            self.put(start + offset_of!(Record, data_bytes), &(data.len() as u32).to_ne_bytes());
            self.put(start + RECORD_BYTES as usize, data);
            let next = self.head + u64::from(RECORD_BYTES + align8(data.len() as u32));
            // A record that reached into the slack ends its lap.
            self.head = if next / ring > self.head / ring { (self.head / ring + 1) * ring } else { next };
            self.calls += 1;
            self.put(offset_of!(SlotHeader, calls), &self.calls.to_ne_bytes());
            self.put(offset_of!(SlotHeader, head), &self.head.to_ne_bytes());
        }

        fn sequences(&self, keep: u32) -> Vec<u64> {
            let (_, calls) = read_slot(&self.bytes, &config(), keep).unwrap();
            calls.iter().map(|call| call.record.sequence).collect()
        }
    }

    /// Guards against a call that is lost, doubled, or read from bytes that a later one has overwritten.
    #[test]
    fn the_last_calls_that_fit_are_read_back_as_they_were_written() {
        let mut random = Random(1);
        let mut writer = Writer::new();
        let mut written: Vec<Vec<u8>> = Vec::new();
        for _ in 0..2_000 {
            let length = random.below(u64::from(config().data_bytes) + 1) as usize;
            let data: Vec<u8> = (0..length).map(|_| random.next() as u8).collect();
            writer.append(&data);
            written.push(data);

            let (header, calls) = read_slot(&writer.bytes, &config(), 8).unwrap();

            assert_eq!(header.calls, written.len() as u64);
            let first = written.len() - calls.len();
            assert!(calls.iter().map(|call| call.record.sequence).eq(first as u64..written.len() as u64));
            assert!(calls.iter().map(|call| &call.data).eq(&written[first..]));
            // The ring holds two largest records at least.
            assert!(calls.len() >= written.len().min(2), "{} of {}", calls.len(), written.len());
        }
    }

    /// Guards against showing more than was asked for, or fewer than there are.
    #[test]
    fn at_most_as_many_as_asked_for_are_kept() {
        let mut writer = Writer::new();
        assert_eq!(writer.sequences(8), [0; 0]);
        for _ in 0..7 {
            writer.append(&[]);
        }
        assert_eq!(writer.sequences(3), [4, 5, 6]);
        assert_eq!(writer.sequences(u32::MAX), [0, 1, 2, 3, 4, 5, 6]);
        writer.append(&[]);
        writer.append(&[]);
        // The index has eight entries.
        assert_eq!(writer.sequences(u32::MAX), [1, 2, 3, 4, 5, 6, 7, 8]);
    }

    /// Guards against calls of a slot's earlier owner.
    #[test]
    fn calls_are_those_of_the_present_owner() {
        let mut writer = Writer::new();
        (0..5).for_each(|_| writer.append(&[]));
        let first = offset_of!(SlotHeader, first);
        writer.bytes[first..first + 8].copy_from_slice(&2_u64.to_ne_bytes());
        assert_eq!(writer.sequences(u32::MAX), [0, 1, 2]);
    }

    /// Guards against a wrong offset of a field: each byte of the header has its own value.
    #[test]
    fn every_field_of_the_header_is_read_from_its_place() {
        let mut bytes = vec![0; config().slot_bytes() as usize];
        for (index, word) in bytes.chunks_exact_mut(8).take(size_of::<SlotHeader>() / 8).enumerate() {
            // Falling, since the first call of the owner has a lower number than the next one.
            word.copy_from_slice(&(1000 - index as u64).to_ne_bytes());
        }
        let (header, calls) = read_slot(&bytes, &config(), 0).unwrap();

        assert!(calls.is_empty());
        assert_eq!((header.pid, header.ns_pid, header.first, header.calls), (999, 998, 996, 997 - 996));
        assert_eq!((header.head, header.last_entry, header.death.at_ns), (995, 994, 993));
        assert_eq!((header.death.tls_base, header.death.stack_end), (958, 957));
        assert!(header.death.registers.iter().copied().eq((959..=992).rev()));
        assert!(header.registers.iter().copied().eq((921..=954).rev()));
        assert_eq!((header.turn_cfa, header.turn_function), (920, 919));
    }

    /// Guards against a panic, or a read outside of the slot, whatever the bytes and the configuration are.
    #[test]
    fn no_bytes_make_it_panic() {
        let mut random = Random(2);
        for round in 0..20_000 {
            let mut writer = Writer::new();
            for _ in 0..random.below(12) {
                writer.append(&[1; 24]);
            }
            for _ in 0..random.below(20) {
                let position = random.below(writer.bytes.len() as u64) as usize;
                writer.bytes[position] = random.next() as u8;
            }
            writer.bytes.truncate(writer.bytes.len() - random.below(2) as usize * random.below(600) as usize);
            let mut config = config();
            if round % 4 == 0 {
                config.ring_bytes = random.next() as u32 >> random.below(32);
                config.index_entries = random.next() as u32 >> random.below(32);
                config.data_bytes = random.next() as u32 >> random.below(32);
            }
            if let Some((header, calls)) = read_slot(&writer.bytes, &config, 8) {
                assert!(calls.iter().all(|call| call.record.sequence < header.calls));
            }
        }
    }
}
