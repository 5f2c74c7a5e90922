//! What is loaded into the kernel, before a run and after it.

use std::collections::BTreeSet;
use std::io::Read;
use std::thread;
use std::time::Instant;

use super::process::LIMIT;

/// eBPF programs and links by their kind and id, and processes that have events.
pub type Loaded = BTreeSet<(&'static str, u32)>;

/// What `bpftool prog`, `bpftool link` and `uprobe_events` would show.
pub fn what_is_loaded() -> Loaded {
    // An id whose program is gone by the time it is looked at is not loaded.
    let programs = aya::programs::loaded_programs().filter_map(|program| Some(("program", program.ok()?.id())));
    let links = aya::programs::loaded_links().filter_map(|link| Some(("link", link.ok()?.id())));
    programs.chain(links).chain(events().into_iter().map(|pid| ("event of the process", pid))).collect()
}

/// The processes that have defined events in tracefs for lastwords: definitions hang on no file descriptor.
pub fn events() -> BTreeSet<u32> {
    let tracefs = lastwords::probe::tracefs::Tracefs::open().expect("tracefs");
    let mut text = String::new();
    tracefs.definitions().and_then(|mut file| file.read_to_string(&mut text)).expect("definitions of events");
    let pid_in = |line: &str| line.split_once(":lastwords_")?.1.split_once('_')?.0.parse().ok();
    text.lines().filter_map(pid_in).collect()
}

/// What is loaded now and was not `before`: nothing, or lastwords has a bug. The kernel frees programs some time after the last
/// reference is gone, and tells nobody: it gets as long as a run gets.
pub fn left_since(before: &Loaded) -> Loaded {
    let begin = Instant::now();
    loop {
        let left: Loaded = what_is_loaded().difference(before).copied().collect();
        if left.is_empty() || begin.elapsed() > LIMIT {
            return left;
        }
        thread::yield_now();
    }
}
