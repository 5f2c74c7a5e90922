//! A plan's probes, placed by the best tier that there is, and placed anew without those that cost too much.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use aya::Ebpf;
use aya::programs::uprobe::UProbeLink;
use lastwords_abi::{cookie, step::FIRST_GENERATION};

use super::closing::close;
use super::multi::{self, Kind};
use super::parts::{Part, Parts};
use super::programs::Programs;
use super::traced::{Event, Traced};
use super::{ProbeError, Tier, single};
use crate::address::FileOffset;
use crate::plan::{Exits, Plan};

/// Parts whose probes hang on the same links: to take one out, the others are placed anew.
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

/// The probes of some parts, by what the kernel has to do for them.
#[derive(Default)]
struct Sites {
    /// Entries of functions whose return goes through the trampoline.
    paired: Vec<Site>,
    /// Entries of all other functions, and the instructions that leave functions or come back to their first.
    instructions: Vec<Site>,
}

impl Sites {
    /// Without sessions: the returns through the trampoline, and all instructions.
    ///
    /// Returns are to be placed first: a call that is entered in between would otherwise seem never to have returned.
    fn apart(mut self) -> (Vec<Site>, Vec<Site>) {
        self.instructions.extend(&self.paired);
        (self.paired.iter().map(returning).collect(), self.instructions)
    }
}

/// What keeps probes in place. Dropping it takes them away, and waits until they are gone.
pub enum Link {
    /// Many of one file and kind.
    Multi {
        /// The kernel's link, held only to be closed.
        _fd: OwnedFd,
    },
    /// Many of the program, by one event.
    Traced {
        /// Held only to be closed.
        _event: Event,
    },
    /// One.
    Single(UProbeLink),
}

/// Parts of functions of one file, and the links that all of their probes hang on.
pub struct Group {
    /// Their numbers.
    pub parts: Vec<usize>,
    /// What their probes' cookies say.
    pub generation: u32,
    /// In the order in which they were placed.
    pub links: Vec<Link>,
}

/// All probes. Dropping it takes them away.
#[derive(Default)]
pub struct Links {
    /// Who hangs together.
    pub groups: Vec<Group>,
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
    let turns = plan.functions.iter().map(|function| function.turns.len());
    plan.functions.len() + exits.sum::<usize>() + turns.sum::<usize>()
}

/// Parts of functions of one file, whose probes are to be placed in a generation: all that it takes, without the plan.
pub struct Placement {
    parts: Vec<usize>,
    path: PathBuf,
    sites: Sites,
    generation: u32,
}

impl Placement {
    /// Whoever places this puts its generation in charge.
    pub fn new(plan: &Plan, all: &Parts, parts: Vec<usize>, generation: u32) -> Self {
        let sites = sites_of(plan, parts.iter().map(|&number| all.get(number)), generation);
        let object = parts.first().map_or(0, |&number| plan.functions[all.get(number).function()].object);
        Self { path: plan.objects[object].clone(), sites, parts, generation }
    }

    /// Places the probes by links for many.
    pub fn by_multi(self, programs: &mut Programs, tier: Tier) -> Result<Group, ProbeError> {
        let by_kind = if tier == Tier::Session {
            [(Kind::Session, self.sites.paired), (Kind::Instruction, self.sites.instructions)]
        } else {
            let (returns, instructions) = self.sites.apart();
            [(Kind::Return, returns), (Kind::Instruction, instructions)]
        };
        let mut links = Vec::new();
        for (kind, sites) in by_kind {
            if !sites.is_empty() {
                links.push(place(programs.get(kind)?, kind, &self.path, &sites, tier)?);
            }
        }
        Ok(Group { parts: self.parts, generation: self.generation, links })
    }

    /// Places the probes by events of the program, as far as that goes, and else one by one.
    pub fn by_single(self, ebpf: &mut Ebpf, traced: &mut Option<Traced>) -> Result<Group, ProbeError> {
        let (mut returns, mut instructions) = self.sites.apart();
        let mut links = Vec::new();
        if let Some(traced) = traced.as_mut().filter(|traced| traced.is_of(&self.path)) {
            let shared = traced.share(ebpf, &mut instructions);
            // A return is found by its call: where that is not in the table, nobody knows whose it is.
            let (shared_returns, own) =
                returns.into_iter().partition(|site| shared.iter().any(|entry| entry.offset == site.offset));
            returns = own;
            for (program, sites) in [("probe_return", shared_returns), ("probe", shared)] {
                if !sites.is_empty() {
                    links.push(Link::Traced { _event: traced.place(ebpf, program, &sites, self.generation)? });
                }
            }
        }
        for (program, sites) in [("probe_return", returns), ("probe", instructions)] {
            links.extend(single::attach(ebpf, program, &self.path, &sites)?.into_iter().map(Link::Single));
        }
        Ok(Group { parts: self.parts, generation: self.generation, links })
    }
}

/// Has the kernel verify the programs that the probes of a plan will need, as far as that is known: [`Programs::get`] finds them loaded then, or finds
/// out again what is wrong with them.
pub fn prepare(plan: &Plan, forced: Option<Tier>, programs: &mut Programs) {
    let best = if programs.have_sessions() { Tier::Session } else { Tier::Multi };
    let has_returns = plan.functions.iter().any(|function| function.exits == Exits::Trampoline);
    let has_others = plan.functions.iter().any(|it| it.exits != Exits::Trampoline || !it.turns.is_empty());
    let kinds = match forced.unwrap_or(best) {
        Tier::Session => [has_returns.then_some(Kind::Session), has_others.then_some(Kind::Instruction)],
        Tier::Multi => [has_returns.then_some(Kind::Return), Some(Kind::Instruction)],
        Tier::Single => [None; 2],
    };
    for kind in kinds.into_iter().flatten() {
        let _ = programs.get(kind);
    }
}

/// What is needed to place the probes of a plan.
pub struct Attacher<'a> {
    pub ebpf: &'a mut Ebpf,
    pub programs: &'a mut Programs,
    pub traced: &'a mut Option<Traced>,
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

    fn attach_by(&mut self, plan: &Plan, tier: Tier) -> Result<Links, ProbeError> {
        if tier == Tier::Session && !self.programs.have_sessions() {
            return Err(ProbeError::NoTier { tier });
        }
        let mut links = Links::default();
        let parts = Parts::of(plan);
        *self.traced = plan.objects.first().filter(|_| tier == Tier::Single).and_then(|program| Traced::new(program));
        for group in groups_of(plan, &parts, tier, self.traced.is_some()) {
            let placement = Placement::new(plan, &parts, group, FIRST_GENERATION);
            links.groups.push(match tier {
                Tier::Session | Tier::Multi => placement.by_multi(self.programs, tier)?,
                Tier::Single => placement.by_single(self.ebpf, self.traced)?,
            });
        }
        Ok(links)
    }
}

/// Places programs that do nothing at the entries of the functions.
pub fn attach_floor(plan: &Plan, programs: &mut Programs) -> Result<Links, ProbeError> {
    let mut links = Links::default();
    let all = Parts::of(plan);
    for group in groups_of(plan, &all, Tier::Multi, false) {
        let Placement { parts, path, sites, generation } = Placement::new(plan, &all, group, FIRST_GENERATION);
        let is_entry = |site: &Site| cookie::event(site.cookie) == cookie::ENTRY;
        let entries: Vec<Site> = sites.paired.into_iter().chain(sites.instructions).filter(is_entry).collect();
        if entries.is_empty() {
            continue;
        }
        let placed = vec![place(programs.get(Kind::Nothing)?, Kind::Nothing, &path, &entries, Tier::Multi)?];
        links.groups.push(Group { parts, generation, links: placed });
    }
    Ok(links)
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

/// Which parts hang together at the start. A single probe hangs on nothing; those of the program may share events.
fn groups_of(plan: &Plan, parts: &Parts, tier: Tier, has_events: bool) -> Vec<Vec<usize>> {
    let groups = |object| {
        let is_there = |&number: &usize| plan.functions[parts.get(number).function()].object == object;
        let parts: Vec<usize> = (0..parts.count()).filter(is_there).collect();
        let is_alone = tier == Tier::Single && !(has_events && object == 0);
        let size = if is_alone { 1 } else { GROUP.max(parts.len().div_ceil(GROUPS)) };
        parts.chunks(size).map(<[usize]>::to_vec).collect::<Vec<_>>()
    };
    (0..plan.objects.len()).flat_map(groups).collect()
}

fn sites_of(plan: &Plan, parts: impl Iterator<Item = Part>, generation: u32) -> Sites {
    let mut sites = Sites::default();
    for part in parts {
        let number = part.function();
        let function = &plan.functions[number];
        let site = |offset, event| Site { offset, cookie: cookie::new(event, number as u32, generation) };
        match (part, &function.exits) {
            (Part::Function(_), exits) => {
                let entry = site(function.entry.offset, cookie::ENTRY);
                let is_paired = *exits == Exits::Trampoline;
                (if is_paired { &mut sites.paired } else { &mut sites.instructions }).push(entry);
                sites.instructions.extend(function.turns.iter().map(|turn| {
                    let condition = |condition| cookie::TURN_IF | u64::from(condition);
                    site(turn.offset, turn.condition.map_or(cookie::TURN, condition))
                }));
            }
            (Part::Returns(_), Exits::Instructions(exits)) => sites.instructions.extend(exits.iter().map(|exit| {
                site(exit.offset, if exit.tail_jump { cookie::TAIL_JUMP } else { cookie::RET_INSTRUCTION })
            })),
            (Part::Returns(_), Exits::Trampoline | Exits::Unseen(_)) => {}
        }
    }
    sites
}
