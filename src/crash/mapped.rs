//! What the kernel told of a process's mappings in; its modules, with what the loader added to their addresses, out.

use std::path::Path;

use super::modules::{Mapped, Segment};
use crate::address::{Avma, LoadBias};
use crate::binary::Binary;
use crate::probe::Mapping;

/// The loader maps whole pages.
const PAGE_BYTES: u64 = 4096;

/// The modules that these mappings are parts of, by the address of the first of each. `known` are files that are open already.
#[must_use]
pub fn modules(mappings: &[Mapping], known: &[Binary]) -> Vec<Mapped> {
    let mut modules: Vec<Mapped> = Vec::new();
    for mapping in mappings {
        let segment =
            Segment { range: mapping.start..Avma(mapping.start.0.saturating_add(mapping.length)), is_executable: true };
        // A file that is loaded twice has two biases.
        let bias = bias(mapping, known);
        match modules.iter_mut().find(|module| module.path == mapping.path && module.bias == bias) {
            Some(module) => module.segments.push(segment),
            None => modules.push(Mapped {
                path: mapping.path.clone(),
                open_at: mapping.root.as_ref().map(|root| root.path_of(&mapping.path)),
                bias,
                segments: vec![segment],
                build_id: mapping.build_id.clone(),
            }),
        }
    }
    modules
}

/// Where the mapping lies, less where its segment says that it should.
fn bias(mapping: &Mapping, known: &[Binary]) -> LoadBias {
    let known = known.iter().find(|binary| is_same_file(binary, mapping)).cloned();
    let elsewhere = mapping.root.as_ref().map(|root| root.path_of(&mapping.path));
    let binary = known.or_else(|| Binary::open(elsewhere.as_ref().unwrap_or(&mapping.path)).ok());
    let floor = |address: u64| address & !(PAGE_BYTES - 1);
    let segments = binary.as_ref().map(Binary::segments).unwrap_or_default();
    let stated = segments.iter().find(|segment| floor(segment.offset.0) == mapping.offset.0);
    // Without its file: most files state addresses that are their offsets.
    let stated = stated.map_or(mapping.offset.0, |segment| floor(segment.start.0));
    LoadBias(mapping.start.0.wrapping_sub(stated))
}

fn is_same_file(binary: &Binary, mapping: &Mapping) -> bool {
    match (&mapping.build_id, binary.build_id()) {
        (Some(id), Some(known)) => id == known,
        _ => std::fs::canonicalize(binary.path()).is_ok_and(|path| path == Path::new(&mapping.path)),
    }
}
