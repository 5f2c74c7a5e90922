//! Groups of functions in; the links that take their places out, placed beside the loop that waits for deaths.
//!
//! Before a first link, the kernel verifies the programs for it, and a link of some ten thousand probes takes its time as well: no report
//! should have to wait for either.

use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use super::attach::{Group, Placement};
use super::closing::close;
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
pub struct Relinking(Option<JoinHandle<Vec<Swap<Placed>>>>);

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
        self.0 = Some(std::thread::spawn(move || swaps.into_iter().map(place).collect()));
    }

    /// Whether there is something whose end is to be asked for.
    pub fn is_under_way(&self) -> bool {
        self.0.is_some()
    }

    /// What was placed, once all is.
    pub fn ended(&mut self) -> Vec<Swap<Placed>> {
        joined(self.0.take_if(|thread| thread.is_finished()))
    }
}

impl Drop for Relinking {
    fn drop(&mut self) {
        let groups = joined(self.0.take()).into_iter().flat_map(|swap| swap.old.into_iter().chain(swap.new.ok()));
        close(groups.flat_map(|group| group.links).collect());
    }
}

/// A panic there has been told by the thread itself.
fn joined(thread: Option<JoinHandle<Vec<Swap<Placed>>>>) -> Vec<Swap<Placed>> {
    thread.and_then(|thread| thread.join().ok()).unwrap_or_default()
}
