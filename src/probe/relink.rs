//! Groups of functions in; the links that take their places out, placed beside the loop that waits for deaths.
//!
//! Before a first link, the kernel verifies the programs for it, and a link of some ten thousand probes takes its time as well: no report
//! should have to wait for either.

use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use super::attach::{Group, Placement};
use super::closing::close;
use super::programs::Programs;
use super::{ProbeError, Tier, lock};

/// One change of links: what comes, if anything, and then what goes, if anything.
pub struct Swap<New> {
    /// The links that stay until the new ones are in charge.
    pub old: Option<Group>,
    /// What takes their place, for fewer functions; or brings back functions that had no probes.
    pub new: New,
}

/// New links that are being placed while the recorder goes on. Dropping it waits for that, and takes all of them away.
pub struct Relinking(Option<JoinHandle<Vec<Swap<Placed>>>>);

/// What is in place now, or why it is not.
pub type Placed = Result<Group, ProbeError>;

impl Relinking {
    /// Begins to place what is new by plain links: returns of calls that are open now are seen by a link for returns, and not by a session,
    /// which did not see them enter.
    pub fn begin(swaps: Vec<Swap<Placement>>, programs: &Arc<Mutex<Programs>>) -> Self {
        let programs = Arc::clone(programs);
        let place = move |Swap { old, new }: Swap<Placement>| {
            let new = new.by_multi(&mut lock(&programs), Tier::Multi);
            Swap { old, new }
        };
        Self(Some(std::thread::spawn(move || swaps.into_iter().map(place).collect())))
    }

    /// What was placed, once all is.
    pub fn ended(&mut self) -> Option<Vec<Swap<Placed>>> {
        self.0.take_if(|thread| thread.is_finished()).map(|thread| thread.join().unwrap_or_default())
    }
}

impl Drop for Relinking {
    fn drop(&mut self) {
        // A panic there has been told by the thread itself.
        let swaps = self.0.take().and_then(|thread| thread.join().ok()).unwrap_or_default();
        let groups = swaps.into_iter().flat_map(|swap| swap.old.into_iter().chain(swap.new.ok()));
        close(groups.flat_map(|group| group.links).collect());
    }
}
