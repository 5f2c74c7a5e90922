//! What a process had mapped as code when it died: mappings in; files that are still the same, by address, out.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use nix::sys::memfd::{MFdFlags, memfd_create};

use crate::address::{Avma, LoadBias, Svma};
use crate::binary::Binary;
use crate::dwarf::DebugSections;

/// What the kernel calls the code that it maps into each process.
pub const VDSO: &str = "[vdso]";
/// What perf_event_open(2)'s mapping events call memory that no file is behind (`perf_event_mmap_event` in the kernel).
const ANONYMOUS: &str = "//anon";
/// What the kernel calls the page of its return trampoline and of instructions that probes have replaced.
pub const UPROBES: &str = "[uprobes]";
/// Bytes of the kernel's code in a process at the most: it has two pages of it.
const MAX_VDSO_BYTES: u64 = 1 << 20;

/// A file as it was mapped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mapped {
    /// Its path as the process saw it, or [`VDSO`].
    pub path: PathBuf,
    /// Where it can be opened, if that is elsewhere: the process may have had another root.
    pub open_at: Option<PathBuf>,
    /// What the loader added to its addresses.
    pub bias: LoadBias,
    /// Where its segments lay.
    pub segments: Vec<Segment>,
    /// Its GNU build id as it was in memory, in lower-case hexadecimal; `None` where it is not known.
    pub build_id: Option<String>,
}

/// A mapped part of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Where it lay.
    pub range: Range<Avma>,
    /// Whether it could be executed.
    pub is_executable: bool,
}

/// Why a module's file says nothing about its code.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ModuleProblem {
    /// It cannot be read any more.
    #[error("its file is gone or cannot be used: {0}")]
    Unusable(String),
    /// There never was one.
    #[error("no file is behind this memory: the code was made at run time")]
    NoFile,
    /// Another file has taken its place.
    #[error("its file was replaced since: expected build id {expected}, found {}", found.as_deref().unwrap_or("none"))]
    Mismatch {
        /// What the process had in memory.
        expected: String,
        /// What the file says now.
        found: Option<String>,
    },
}

/// A mapped file, and what is in it.
#[derive(Debug)]
pub struct Module {
    /// How it was mapped.
    pub mapped: Mapped,
    known: Option<Binary>,
    file: OnceLock<Result<(Binary, DebugSections), ModuleProblem>>,
}

impl Module {
    /// The file, if it is still the one that was mapped. It is opened when it is asked for.
    pub fn file(&self) -> Result<(&Binary, &DebugSections), &ModuleProblem> {
        let opened = self.file.get_or_init(|| {
            let binary = self.open()?;
            let sections = DebugSections::load(&binary).unwrap_or_else(|_| DebugSections::without_debug_info(&binary));
            Ok((binary, sections))
        });
        opened.as_ref().map(|(binary, sections)| (binary, sections))
    }

    fn open(&self) -> Result<Binary, ModuleProblem> {
        if let Some(known) = &self.known {
            return Ok(known.clone());
        }
        if self.mapped.path == Path::new(ANONYMOUS) {
            return Err(ModuleProblem::NoFile);
        }
        let unusable = |reason: String| ModuleProblem::Unusable(reason);
        let binary = if self.mapped.path == Path::new(VDSO) {
            own_vdso().map_err(|error| unusable(error.to_string()))?
        } else {
            let path = self.mapped.open_at.as_ref().unwrap_or(&self.mapped.path);
            Binary::open(path).map_err(|error| unusable(error.to_string()))?
        };
        match &self.mapped.build_id {
            Some(expected) if binary.build_id() != Some(expected) => {
                Err(ModuleProblem::Mismatch { expected: expected.clone(), found: binary.build_id().map(str::to_owned) })
            }
            _ => Ok(binary),
        }
    }

    /// Whether `address` was mapped as code.
    #[must_use]
    pub fn is_executable(&self, address: Avma) -> bool {
        self.mapped.segments.iter().any(|segment| segment.is_executable && segment.range.contains(&address))
    }
}

/// All modules of a process, by address.
#[derive(Debug, Default)]
pub struct ModuleMap {
    modules: Vec<Module>,
    /// Their segments, each with the index of its module.
    index: Vec<(Range<Avma>, usize)>,
}

impl ModuleMap {
    /// The modules that were mapped. `known` are files that were opened before, and are still what they were then even if other files have
    /// taken their places since: one is used where it has the build id of a module, or, where that is not known, its path.
    #[must_use]
    pub fn new(mapped: Vec<Mapped>, known: &[Binary]) -> Self {
        let module = |mapped: Mapped| {
            let is_same = |binary: &&Binary| match &mapped.build_id {
                Some(id) => binary.build_id() == Some(id),
                None => binary.path() == mapped.path,
            };
            Module { known: known.iter().find(is_same).cloned(), mapped, file: OnceLock::new() }
        };
        let modules: Vec<Module> = mapped.into_iter().map(module).collect();
        let segments = modules.iter().enumerate().flat_map(|(number, module)| {
            module.mapped.segments.iter().map(move |segment| (segment.range.clone(), number))
        });
        let mut index: Vec<_> = segments.collect();
        index.sort_by_key(|(range, number)| (range.start, *number));
        Self { modules, index }
    }

    /// The modules, in the order in which they were given.
    #[must_use]
    pub fn modules(&self) -> &[Module] {
        &self.modules
    }

    /// The number of the module that `address` was in, and the address in its file.
    #[must_use]
    pub fn find(&self, address: Avma) -> Option<(usize, Svma)> {
        let after = self.index.partition_point(|(range, _)| range.start <= address);
        let (range, number) = self.index.get(after.checked_sub(1)?)?;
        range.contains(&address).then(|| (*number, self.modules[*number].mapped.bias.to_svma(address)))
    }
}

/// The kernel's code as it is mapped into this process: the same as in any other of this boot.
fn own_vdso() -> io::Result<Binary> {
    let maps = BufReader::new(File::open("/proc/self/maps")?);
    let line = maps.lines().map_while(Result::ok).find(|line| line.ends_with(VDSO)).ok_or(io::ErrorKind::NotFound)?;
    let (start, end) =
        line.split(' ').next().and_then(|range| range.split_once('-')).ok_or(io::ErrorKind::InvalidData)?;
    let parse = |digits| u64::from_str_radix(digits, 16).map_err(|_| io::Error::from(io::ErrorKind::InvalidData));
    let (start, end) = (parse(start)?, parse(end)?);
    let size = end.checked_sub(start).filter(|size| *size <= MAX_VDSO_BYTES).ok_or(io::ErrorKind::InvalidData)?;
    let mut bytes = vec![0; size as usize];
    File::open("/proc/self/mem")?.read_exact_at(&mut bytes, start)?;
    // What reads ELF files wants a file.
    let mut file = File::from(memfd_create(c"vdso", MFdFlags::MFD_CLOEXEC)?);
    file.write_all(&bytes)?;
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    Binary::open(Path::new(&path)).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::binary::fixture::{Fixture, run};

    const SOURCE: &str = "int main(void) { return 0; }\n";

    fn mapped(path: &Path, build_id: Option<&str>) -> Mapped {
        let segments = vec![Segment { range: Avma(0x5000)..Avma(0x6000), is_executable: true }];
        let build_id = build_id.map(str::to_owned);
        Mapped { path: path.into(), bias: LoadBias(0x4000), segments, build_id, ..Mapped::default() }
    }

    /// Guards against naming frames by a file that was rebuilt during the run.
    #[test]
    fn a_file_that_was_replaced_is_not_used_unless_it_was_open_before() {
        let fixture = Fixture::compile("gcc", &["-Wl,--build-id=0xabcd"], SOURCE);
        let before = Binary::open(&fixture.program()).unwrap();
        std::fs::remove_file(fixture.program()).unwrap();
        run("gcc", &["-Wl,--build-id=0xef01", "-o", "program", "program.c"], fixture.folder());

        let map = ModuleMap::new(vec![mapped(&fixture.program(), Some("abcd"))], &[]);
        let problem = map.modules()[0].file().unwrap_err();
        assert_eq!(problem.to_string(), "its file was replaced since: expected build id abcd, found ef01");

        let map = ModuleMap::new(vec![mapped(&fixture.program(), Some("abcd"))], &[before]);
        assert_eq!(map.modules()[0].file().unwrap().0.build_id(), Some("abcd"));
    }

    /// Guards against an address at the end of one module that is taken for the start of another.
    #[test]
    fn an_address_belongs_to_the_segment_that_it_is_in() {
        let map = ModuleMap::new(vec![mapped(Path::new("/gone"), None)], &[]);

        assert_eq!(map.find(Avma(0x4fff)), None);
        assert_eq!(map.find(Avma(0x5000)), Some((0, Svma(0x1000))));
        assert_eq!(map.find(Avma(0x6000)), None);
        let problem = map.modules()[0].file().unwrap_err();
        assert_eq!(
            problem.to_string(),
            "its file is gone or cannot be used: cannot find `/gone`: there is no such file"
        );
    }

    /// Guards against frames without a name where the kernel's own code crashed.
    #[test]
    fn the_kernels_code_in_a_process_is_read() {
        let vdso = own_vdso().unwrap();
        assert!(vdso.function_symbols().iter().any(|symbol| symbol.name == "__vdso_clock_gettime"));
    }
}
