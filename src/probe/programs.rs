//! The object in; the programs that links of many probes run, each of them verified by the kernel once.

use std::collections::HashMap;
use std::os::fd::{OwnedFd, RawFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::libc;

use super::multi::{Kind, Relocated};
use super::{ProbeError, Tier};

/// Programs that the kernel has accepted, and what it takes to load the others.
pub struct Programs {
    object: Vec<u8>,
    maps: HashMap<String, RawFd>,
    is_return: Option<u32>,
    relocated: Option<Relocated>,
    loaded: HashMap<&'static str, OwnedFd>,
}

impl Programs {
    /// `maps` must stay open as long as programs are loaded. `is_return` is the BTF id of `bpf_session_is_return`, where the kernel has it.
    pub fn new(object: Vec<u8>, maps: HashMap<String, RawFd>, is_return: Option<u32>) -> Self {
        Self { object, maps, is_return, relocated: None, loaded: HashMap::new() }
    }

    /// Whether this kernel may know sessions.
    pub fn have_sessions(&self) -> bool {
        self.is_return.is_some()
    }

    /// The program of a kind. The first time, the kernel verifies it, which takes some 40 ms.
    pub fn get(&mut self, kind: Kind) -> Result<&OwnedFd, ProbeError> {
        let name = kind.program();
        if !self.loaded.contains_key(name) {
            let relocated = match self.relocated.take() {
                Some(relocated) => relocated,
                None => Relocated::new(&self.object, &self.maps)?,
            };
            let is_return = self.is_return.filter(|_| kind == Kind::Session);
            let program = self.relocated.insert(relocated).load(kind, is_return);
            self.loaded.insert(name, program.map_err(|error| without_tier(error, kind))?);
        }
        self.loaded.get(name).ok_or_else(|| ProbeError::Object { what: format!("program `{name}`") })
    }
}

/// A thread that panicked while it loaded a program has left no half of one.
pub fn lock(programs: &Mutex<Programs>) -> MutexGuard<'_, Programs> {
    programs.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A kernel that has the function for sessions of kprobes, and none for uprobes (Linux 6.10 to 6.12), refuses the program.
fn without_tier(error: ProbeError, kind: Kind) -> ProbeError {
    match error {
        ProbeError::Load { errno: Some(libc::EACCES | libc::EINVAL), .. } if kind == Kind::Session => {
            ProbeError::NoTier { tier: Tier::Session }
        }
        error => error,
    }
}
