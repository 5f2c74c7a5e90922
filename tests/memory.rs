//! Deaths for lack of memory: no crash, and no chance for the program to say anything.

use std::fs;
use std::path::{Path, PathBuf};

use nix::libc::SIGKILL;

use crate::support::Fixture;

/// The folder of the memory controller, and the file that holds a group's limit: of version 1 or 2, wherever this machine has it.
const CONTROLLERS: [(&str, &str); 3] = [
    ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
    ("/sys/fs/cgroup", "memory.max"),
    ("/sys/fs/cgroup/unified", "memory.max"),
];

/// A control group that goes away with the test.
struct ControlGroup(PathBuf);

impl ControlGroup {
    /// A group whose processes have this much memory together.
    fn limited_to(bytes: u64) -> Self {
        for (controller, limit) in CONTROLLERS {
            let group = Self(Path::new(controller).join(format!("lastwords-test-{}", std::process::id())));
            // Version 2 gives a group its files only where the one above says so.
            let _ = fs::write(Path::new(controller).join("cgroup.subtree_control"), "+memory");
            if fs::create_dir(&group.0).is_ok() && fs::write(group.0.join(limit), bytes.to_string()).is_ok() {
                // Otherwise it would be slow, and not dead. Not every machine can swap, or counts it.
                let _ = fs::write(group.0.join("memory.swap.max"), "0");
                let _ = fs::write(group.0.join("memory.memsw.limit_in_bytes"), bytes.to_string());
                return group;
            }
        }
        panic!("no control group can be made here: none of {CONTROLLERS:?} can be used");
    }
}

impl Drop for ControlGroup {
    fn drop(&mut self) {
        // There may be none, where a limit could not be set.
        let _ = fs::remove_dir(&self.0);
    }
}

/// Guards against a program that is gone without a word, and against blaming a machine that has plenty for the limit of a group.
#[test]
fn a_death_for_lack_of_memory_in_a_control_group_is_said_to_be_that() {
    let group = ControlGroup::limited_to(16 << 20);
    let outcome = Fixture::build("hungry.c").args([group.0.join("cgroup.procs").display()]).run(["-f", "eat"]);
    assert_eq!(outcome.signal(), Some(SIGKILL), "{:?}: {}", outcome.status, outcome.stderr);
    assert!(outcome.reports.is_empty());
    let said =
        "killed by the kernel for lack of memory (SIGKILL): a control group that it was in had reached its limit\n";
    assert!(outcome.stderr.contains(said), "{}", outcome.stderr);
}
