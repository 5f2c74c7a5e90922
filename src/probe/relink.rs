//! Groups of functions in; the links that take their places out, placed beside the loop that waits for deaths.
//!
//! Before a first link, the kernel verifies the programs for it, and a link of some ten thousand probes takes its time as well: no report
//! should have to wait for either.

use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use super::attach::{Group, Placement};
use super::closing::close;
use super::multi::Kind;
use super::programs::{Programs, lock};
use super::{ProbeError, Tier};

/// One change of links: what comes, and what goes then, if anything.
pub struct Swap<New> {
    /// The links that stay until the new ones are in charge.
    pub old: Option<Group>,
    /// What takes their place, for fewer functions; or brings back functions that had no probes.
    pub new: New,
}

/// New links that are being placed while the recorder goes on, if any are. Dropping it waits for that, and takes all of them away.
#[derive(Default)]
pub struct Relinking(Option<Work>);

struct Work {
    placed: Receiver<Swap<Placed>>,
    thread: Option<JoinHandle<()>>,
}

/// What is in place now, or why it is not.
pub type Placed = Result<Group, ProbeError>;

impl Relinking {
    /// Begins to place what is new by plain links: returns of calls that are open now are seen by a link for returns, and not by a session,
    /// which did not see them enter.
    ///
    /// To be called when what was begun before has ended.
    pub fn begin(&mut self, swaps: Vec<Swap<Placement>>, programs: &Arc<Mutex<Programs>>) {
        let programs = Arc::clone(programs);
        let place = move |Swap { old, new }: Swap<Placement>| {
            let new = new.by_multi(&mut lock(&programs), Tier::Multi);
            Swap { old, new }
        };
        let (sender, placed) = channel();
        let place_all = move || {
            for swap in swaps {
                // Nobody receives it: dropped right away, it takes its links away.
                let _ = sender.send(place(swap));
            }
        };
        self.0 = Some(Work { placed, thread: Some(std::thread::spawn(place_all)) });
    }

    /// Has the kernel verify the programs that new links will need, before there is a hurry; unless links are being placed already.
    pub fn prepare(&mut self, programs: &Arc<Mutex<Programs>>) {
        if self.is_under_way() {
            return;
        }
        let programs = Arc::clone(programs);
        let load = move || {
            // What is wrong with them is told when a link needs them.
            let is_loaded = |kind| lock(&programs).get(kind).is_ok();
            let _ = is_loaded(Kind::Return) && is_loaded(Kind::Instruction);
        };
        self.0 = Some(Work { placed: channel().1, thread: Some(std::thread::spawn(load)) });
    }

    /// Whether there is something whose end is to be asked for.
    pub fn is_under_way(&self) -> bool {
        self.0.is_some()
    }

    /// What was placed since this was asked last.
    pub fn placed(&mut self) -> Vec<Swap<Placed>> {
        // Asked in this order: what is placed last must not be lost.
        let ended = self.0.take_if(|work| work.thread.as_ref().is_none_or(JoinHandle::is_finished));
        ended.as_ref().or(self.0.as_ref()).map(|work| work.placed.try_iter().collect()).unwrap_or_default()
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        // A panic there has been told by the thread itself.
        let _ = self.thread.take().map(JoinHandle::join);
        let groups = self.placed.try_iter().flat_map(|swap| swap.old.into_iter().chain(swap.new.ok()));
        close(groups.flat_map(|group| group.links).collect());
    }
}
