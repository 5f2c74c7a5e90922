//! The committed eBPF object.

use std::path::Path;

/// Guards against a change of the kernel side's sources without its object, or of the object without its sources.
#[test]
fn the_object_was_built_from_these_sources() {
    if let Err(error) = xtask::stamp::check(&Path::new(env!("CARGO_MANIFEST_DIR")).join("ebpf")) {
        panic!("{error}: run `cargo xtask ebpf` and commit what it writes");
    }
}
