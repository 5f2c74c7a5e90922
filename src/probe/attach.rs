//! A plan's probes, placed by the best tier that there is, and placed anew without those that cost too much.

use std::collections::HashMap;
use std::os::fd::{OwnedFd, RawFd};
use std::path::Path;

use aya::Ebpf;
use aya::programs::uprobe::UProbeLink;
use lastwords_abi::{cookie, step::FIRST_GENERATION};

use super::closing::close;
use super::multi::{self, Kind, Relocated};
use super::{ProbeError, Tier, single};
use crate::address::FileOffset;
use crate::plan::{Exits, Plan};

/// Functions whose probes hang on the same links: to take one out, the others are placed anew.
const GROUP: usize = 256;
/// Groups of a file at the most: the kernel closes their links one after the other if lastwords is killed, each in a few grace periods.
const GROUPS: usize = 16;

/// One probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Site {
    /// Where the kernel puts it.
    pub offset: FileOffset,
    /// What it means: see [`lastwords_abi::cookie`].
    pub cookie: u64,
}

/// The probes of some functions, by what the kernel has to do for them.
#[derive(Default)]
struct Sites {
    /// Entries of functions whose return goes through the trampoline.
    paired: Vec<Site>,
    /// Entries of all other functions, and the instructions that leave them.
    instructions: Vec<Site>,
}

/// What keeps probes in place. Dropping it takes them away, and waits until they are gone.
pub enum Link {
    /// Many of one file and kind.
    Multi {
        /// The kernel's link, held only to be closed.
        _fd: OwnedFd,
    },
    /// One.
    Single(UProbeLink),
}

/// Functions of one file, and the links that all of their probes hang on.
pub struct Group {
    /// Indexes in the plan.
    pub functions: Vec<usize>,
    /// In the order in which they were placed.
    pub links: Vec<Link>,
}

/// All probes. Dropping it takes them away.
#[derive(Default)]
pub struct Links {
    /// Who hangs together.
    pub groups: Vec<Group>,
    /// Programs for many probes that the kernel has accepted already.
    programs: HashMap<&'static str, OwnedFd>,
}

impl Drop for Links {
    fn drop(&mut self) {
        close(self.groups.drain(..).flat_map(|group| group.links).collect());
    }
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
        let mut links = Links::default();
        for functions in groups_of(plan, Tier::Multi) {
            let Sites { paired, instructions } = sites_of(plan, &functions, FIRST_GENERATION);
            let is_entry = |site: &Site| cookie::event(site.cookie) == cookie::ENTRY;
            let entries: Vec<Site> = paired.into_iter().chain(instructions).filter(is_entry).collect();
            let path = path_of(plan, &functions);
            let placed = vec![place(&program, Kind::Nothing, path, &entries, Tier::Multi)?];
            links.groups.push(Group { functions, links: placed });
        }
        Ok(links)
    }

    /// Places the probes of these functions, which lie in one file, in a new group. Whoever calls this puts its generation in charge.
    pub fn add(
        &mut self,
        links: &mut Links,
        plan: &Plan,
        functions: Vec<usize>,
        generation: u32,
        tier: Tier,
    ) -> Result<(), ProbeError> {
        let sites = sites_of(plan, &functions, generation);
        let path = path_of(plan, &functions);
        let placed = match tier {
            Tier::Session | Tier::Multi => self.add_multi(&mut links.programs, path, sites, tier)?,
            Tier::Single => self.add_single(path, sites)?,
        };
        links.groups.push(Group { functions, links: placed });
        Ok(())
    }

    fn attach_by(&mut self, plan: &Plan, tier: Tier) -> Result<Links, ProbeError> {
        if tier == Tier::Session && self.is_return.is_none() {
            return Err(ProbeError::NoTier { tier });
        }
        let mut links = Links::default();
        for functions in groups_of(plan, tier) {
            self.add(&mut links, plan, functions, FIRST_GENERATION, tier)?;
        }
        Ok(links)
    }

    fn add_multi(
        &mut self,
        programs: &mut HashMap<&'static str, OwnedFd>,
        path: &Path,
        sites: Sites,
        tier: Tier,
    ) -> Result<Vec<Link>, ProbeError> {
        let Sites { paired, mut instructions } = sites;
        let first = if tier == Tier::Session {
            (Kind::Session, paired)
        } else {
            instructions.extend(&paired);
            (Kind::Return, paired.iter().map(returning).collect())
        };
        let mut links = Vec::new();
        for (kind, sites) in [first, (Kind::Instruction, instructions)] {
            if sites.is_empty() {
                continue;
            }
            let program = match programs.entry(kind.program()) {
                std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
                std::collections::hash_map::Entry::Vacant(entry) => {
                    let is_return = self.is_return.filter(|_| kind == Kind::Session);
                    let loaded = Relocated::new(self.object, self.maps)?.load(kind, is_return);
                    entry.insert(loaded.map_err(|error| without_tier(error, kind))?)
                }
            };
            links.push(place(program, kind, path, &sites, tier)?);
        }
        Ok(links)
    }

    fn add_single(&mut self, path: &Path, sites: Sites) -> Result<Vec<Link>, ProbeError> {
        let Sites { paired, mut instructions } = sites;
        instructions.extend(&paired);
        let returns: Vec<Site> = paired.iter().map(returning).collect();
        // Returns first: a call that is entered in between would otherwise seem never to have returned.
        let mut links = single::attach(self.ebpf, "probe_return", path, &returns)?;
        links.extend(single::attach(self.ebpf, "probe", path, &instructions)?);
        Ok(links.into_iter().map(Link::Single).collect())
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

fn place(program: &OwnedFd, kind: Kind, path: &Path, sites: &[Site], tier: Tier) -> Result<Link, ProbeError> {
    let count = sites.len();
    let failed = |source| ProbeError::Attach { path: path.to_owned(), count, tier, source };
    multi::link(program, kind, path, sites).map(|fd| Link::Multi { _fd: fd }).map_err(failed)
}

/// The return that belongs to an entry.
fn returning(entry: &Site) -> Site {
    let generation = cookie::generation(entry.cookie);
    Site { cookie: cookie::new(cookie::RETURN, cookie::function(entry.cookie), generation), ..*entry }
}

/// Which functions hang together at the start. A single probe hangs on nothing.
fn groups_of(plan: &Plan, tier: Tier) -> Vec<Vec<usize>> {
    let groups = |object| {
        let functions: Vec<usize> =
            (0..).zip(&plan.functions).filter(|(_, it)| it.object == object).map(|(index, _)| index).collect();
        let size = if tier == Tier::Single { 1 } else { GROUP.max(functions.len().div_ceil(GROUPS)) };
        functions.chunks(size).map(<[usize]>::to_vec).collect::<Vec<_>>()
    };
    (0..plan.objects.len()).flat_map(groups).collect()
}

/// The file of functions that lie in one.
fn path_of<'a>(plan: &'a Plan, functions: &[usize]) -> &'a Path {
    let object = functions.first().map_or(0, |&index| plan.functions[index].object);
    &plan.objects[object]
}

fn sites_of(plan: &Plan, functions: &[usize], generation: u32) -> Sites {
    let mut sites = Sites::default();
    for &number in functions {
        let function = &plan.functions[number];
        let cookie = |event| cookie::new(event, number as u32, generation);
        let entry = Site { offset: function.entry.offset, cookie: cookie(cookie::ENTRY) };
        match &function.exits {
            Exits::Trampoline => sites.paired.push(entry),
            Exits::Instructions(exits) => {
                sites.instructions.push(entry);
                sites.instructions.extend(exits.iter().map(|exit| {
                    let event = if exit.tail_jump { cookie::TAIL_JUMP } else { cookie::RET_INSTRUCTION };
                    Site { offset: exit.offset, cookie: cookie(event) }
                }));
            }
            Exits::Unseen(_) => sites.instructions.push(entry),
        }
    }
    sites
}
