//! The built-in eBPF object in; the maps and programs that the kernel has accepted out.

use aya::{Ebpf, EbpfLoader, Pod};
use lastwords_abi::{Config, Step};

use super::ProbeError;

/// The recorder, built from `ebpf/` by `cargo xtask ebpf`.
static OBJECT: &[u8] = aya::include_bytes_aligned!("../../ebpf/lastwords.bpf.o");

/// The recorder's own constants, as bytes for the object's `.rodata`.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct ConfigBytes(pub Config);

// SAFETY: `Config` is `repr(C)`, of numbers only and without padding: the ABI asserts its size.
unsafe impl Pod for ConfigBytes {}

/// A step as a map's value.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct StepBytes(pub Step);

// SAFETY: as above.
unsafe impl Pod for StepBytes {}

/// How many entries the maps have whose size depends on the plan.
#[derive(Clone, Copy, Debug)]
pub struct MapSizes {
    /// Functions in the plan.
    pub functions: u32,
    /// Steps of all of them.
    pub steps: u32,
    /// Pages of stacks.
    pub chunks: u32,
    /// Windows of memory.
    pub windows: u32,
    /// Probes of the program that may share a cookie.
    pub sites: u32,
}

/// The object with the size of a slot put in.
///
/// aya can set how many entries a map has, not how large they are: so the definition is changed in the object itself, a
/// `struct bpf_map_def` (type, key size, value size, entries, flags) in the section `maps`.
pub fn with_slot_bytes(slot_bytes: u32) -> Result<Vec<u8>, ProbeError> {
    const VALUE_SIZE_AT: u64 = 8;
    let missing = |what: &str| ProbeError::Object { what: what.to_owned() };
    let elf = goblin::elf::Elf::parse(OBJECT).map_err(|_| missing("ELF structure"))?;
    let symbol = elf
        .syms
        .iter()
        .find(|symbol| elf.strtab.get_at(symbol.st_name) == Some("SLOTS"))
        .ok_or_else(|| missing("map `SLOTS`"))?;
    let section = elf.section_headers.get(symbol.st_shndx).ok_or_else(|| missing("section `maps`"))?;
    let at =
        usize::try_from(section.sh_offset + symbol.st_value + VALUE_SIZE_AT).map_err(|_| missing("map `SLOTS`"))?;
    let mut object = OBJECT.to_vec();
    object.get_mut(at..at + 4).ok_or_else(|| missing("map `SLOTS`"))?.copy_from_slice(&slot_bytes.to_ne_bytes());
    Ok(object)
}

/// The object with probes that do not wait for pages: what says so is the name of their sections (`uprobe.s`), which is cut.
pub fn without_waiting(mut object: Vec<u8>) -> Vec<u8> {
    for name in [&b"uprobe.s\0"[..], b"uretprobe.s\0"] {
        let places: Vec<usize> =
            object.windows(name.len()).enumerate().filter(|(_, bytes)| *bytes == name).map(|(at, _)| at).collect();
        // Names of relocation sections end with the same bytes, and may share them.
        places.into_iter().for_each(|at| object[at + name.len() - 3..at + name.len()].fill(0));
    }
    object
}

/// Creates the maps. No program is loaded yet.
pub fn create_maps(object: &[u8], config: &Config, sizes: MapSizes) -> Result<Ebpf, ProbeError> {
    let config_bytes = ConfigBytes(*config);
    EbpfLoader::new()
        .btf(None)
        .override_global("CONFIG", &config_bytes, true)
        .map_max_entries("FUNCTIONS", sizes.functions.max(1))
        .map_max_entries("STEPS", sizes.steps.max(1))
        .map_max_entries("SLOTS", config.slots)
        .map_max_entries("CHUNKS", sizes.chunks)
        .map_max_entries("WINDOWS", sizes.windows)
        .map_max_entries("SITES", sizes.sites.max(1))
        // Threads without a slot are remembered as well, so that each is counted once.
        .map_max_entries("THREADS", config.slots.saturating_add(16 * 1024))
        .load(object)
        .map_err(|error| {
            let errno = errno_of(&error);
            // What the system said is enough for a map. A program has the verifier's words besides.
            let source = errno.map_or_else(|| error.into(), |errno| std::io::Error::from_raw_os_error(errno).into());
            ProbeError::Load { what: "maps".into(), errno, source }
        })
}

/// The errno at the root of an error.
pub fn errno_of(error: &(dyn std::error::Error + 'static)) -> Option<i32> {
    let mut error = Some(error);
    while let Some(current) = error {
        if let Some(io) = current.downcast_ref::<std::io::Error>()
            && let Some(errno) = io.raw_os_error()
        {
            return Some(errno);
        }
        error = current.source();
    }
    None
}
