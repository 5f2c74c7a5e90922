//! A plan's probes, placed by the best tier that there is.

use std::collections::HashMap;
use std::os::fd::{OwnedFd, RawFd};
use std::path::Path;

use aya::Ebpf;
use lastwords_abi::cookie;

use super::multi::{self, Kind, Relocated};
use super::single::SingleLinks;
use super::{ProbeError, Tier};
use crate::address::FileOffset;
use crate::plan::{Exits, Plan};

/// One probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Site {
    /// Where the kernel puts it.
    pub offset: FileOffset,
    /// What it means: see [`lastwords_abi::cookie`].
    pub cookie: u64,
}

/// The probes of one file, by what the kernel has to do for them.
#[derive(Default)]
struct Sites {
    /// Entries of functions whose return goes through the trampoline.
    paired: Vec<Site>,
    /// Entries of all other functions, and the instructions that leave them.
    instructions: Vec<Site>,
}

/// What keeps the probes in place. Dropping it takes them away.
pub enum Links {
    /// A link for each file and kind.
    Multi(Vec<OwnedFd>),
    /// A link for each probe.
    Single(SingleLinks),
}

/// How many probes a plan needs, the trampoline's counted.
pub fn site_count(plan: &Plan) -> usize {
    let exits = plan.functions.iter().map(|function| match &function.exits {
        Exits::Trampoline => 1,
        Exits::Instructions(sites) => sites.len(),
        Exits::Unseen(_) => 0,
    });
    plan.functions.len() + exits.sum::<usize>()
}

/// What is needed to place probes.
pub struct Attacher<'a> {
    pub ebpf: &'a mut Ebpf,
    pub object: &'a [u8],
    pub maps: &'a HashMap<String, RawFd>,
    /// BTF id of `bpf_session_is_return`, where the kernel has it.
    pub is_return: Option<u32>,
}

impl Attacher<'_> {
    /// Tries one tier after the other, or only the one that is asked for.
    pub fn attach(&mut self, plan: &Plan, forced: Option<Tier>) -> Result<(Tier, Links), ProbeError> {
        if let Some(tier) = forced {
            return Ok((tier, self.attach_by(plan, tier)?));
        }
        for tier in [Tier::Session, Tier::Multi] {
            match self.attach_by(plan, tier) {
                Ok(links) => return Ok((tier, links)),
                Err(error) => tracing::debug!(%tier, %error, "this tier is not to be had"),
            }
        }
        Ok((Tier::Single, self.attach_by(plan, Tier::Single)?))
    }

    /// Places programs that do nothing at the entries of the functions.
    pub fn attach_floor(&mut self, plan: &Plan) -> Result<Links, ProbeError> {
        let program = Relocated::new(self.object, self.maps)?.load(Kind::Nothing, None)?;
        let place_in = |(object, path): (usize, &std::path::PathBuf)| {
            let Sites { paired, instructions } = sites_of(plan, object);
            let is_entry = |site: &Site| cookie::event(site.cookie) == cookie::ENTRY;
            let entries: Vec<Site> = paired.into_iter().chain(instructions).filter(is_entry).collect();
            place(&program, Kind::Nothing, path, &entries, Tier::Multi)
        };
        plan.objects.iter().enumerate().map(place_in).collect::<Result<_, _>>().map(Links::Multi)
    }

    fn attach_by(&mut self, plan: &Plan, tier: Tier) -> Result<Links, ProbeError> {
        match tier {
            Tier::Session | Tier::Multi => self.attach_multi(plan, tier).map(Links::Multi),
            Tier::Single => self.attach_single(plan).map(Links::Single),
        }
    }

    fn attach_multi(&mut self, plan: &Plan, tier: Tier) -> Result<Vec<OwnedFd>, ProbeError> {
        if tier == Tier::Session && self.is_return.is_none() {
            return Err(ProbeError::NoTier { tier });
        }
        let relocated = Relocated::new(self.object, self.maps)?;
        let mut programs: HashMap<&'static str, OwnedFd> = HashMap::new();
        let mut links = Vec::new();
        for (object, path) in plan.objects.iter().enumerate() {
            let Sites { paired, mut instructions } = sites_of(plan, object);
            let mut wanted = Vec::new();
            if tier == Tier::Session {
                wanted.push((Kind::Session, paired));
            } else {
                instructions.extend(&paired);
                let returns = paired.iter().map(|site| Site { cookie: returning(site.cookie), ..*site }).collect();
                wanted.push((Kind::Return, returns));
            }
            wanted.push((Kind::Instruction, instructions));
            for (kind, sites) in wanted {
                if sites.is_empty() {
                    continue;
                }
                let program = match programs.entry(kind.program()) {
                    std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
                    std::collections::hash_map::Entry::Vacant(entry) => {
                        let is_return = self.is_return.filter(|_| kind == Kind::Session);
                        entry.insert(relocated.load(kind, is_return).map_err(|error| without_tier(error, kind))?)
                    }
                };
                links.push(place(program, kind, path, &sites, tier)?);
            }
        }
        Ok(links)
    }

    fn attach_single(&mut self, plan: &Plan) -> Result<SingleLinks, ProbeError> {
        let mut links = SingleLinks::default();
        for (object, path) in plan.objects.iter().enumerate() {
            let Sites { paired, mut instructions } = sites_of(plan, object);
            instructions.extend(&paired);
            let returns: Vec<Site> =
                paired.iter().map(|site| Site { cookie: returning(site.cookie), ..*site }).collect();
            // Returns first: a call that is entered in between would otherwise seem never to have returned.
            links.attach(self.ebpf, "probe_return", path, &returns)?;
            links.attach(self.ebpf, "probe", path, &instructions)?;
        }
        Ok(links)
    }
}

/// A kernel that has the function for sessions of kprobes, and none for uprobes (Linux 6.10 to 6.12), refuses the program.
fn without_tier(error: ProbeError, kind: Kind) -> ProbeError {
    match error {
        ProbeError::Load { errno: Some(nix::libc::EACCES | nix::libc::EINVAL), .. } if kind == Kind::Session => {
            ProbeError::NoTier { tier: Tier::Session }
        }
        error => error,
    }
}

fn place(program: &OwnedFd, kind: Kind, path: &Path, sites: &[Site], tier: Tier) -> Result<OwnedFd, ProbeError> {
    multi::link(program, kind, path, sites).map_err(|source| ProbeError::Attach {
        path: path.to_owned(),
        count: sites.len(),
        tier,
        source,
    })
}

/// The cookie of the return that belongs to an entry.
fn returning(entry: u64) -> u64 {
    cookie::new(cookie::RETURN, cookie::function(entry))
}

fn sites_of(plan: &Plan, object: usize) -> Sites {
    let mut sites = Sites::default();
    for (index, function) in (0..).zip(&plan.functions).filter(|(_, function)| function.object == object) {
        let entry = Site { offset: function.entry.offset, cookie: cookie::new(cookie::ENTRY, index) };
        match &function.exits {
            Exits::Trampoline => sites.paired.push(entry),
            Exits::Instructions(exits) => {
                sites.instructions.push(entry);
                sites.instructions.extend(exits.iter().map(|exit| {
                    let event = if exit.tail_jump { cookie::TAIL_JUMP } else { cookie::RET_INSTRUCTION };
                    Site { offset: exit.offset, cookie: cookie::new(event, index) }
                }));
            }
            Exits::Unseen(_) => sites.instructions.push(entry),
        }
    }
    sites
}
