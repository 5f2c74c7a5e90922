//! Links in; nothing out: their probes are gone.

use std::sync::Mutex;
use std::thread::JoinHandle;

use super::attach::Link;

/// Threads that close links at the same time. Closing one waits for grace periods of the kernel, which all that wait at the same time
/// share; single probes do not profit from that (Linux closes their events one after the other, 0.1 s each).
const CLOSERS: usize = 128;

/// Closes links, and waits until their probes are gone.
pub fn close(links: Vec<Link>) {
    let closers = CLOSERS.min(links.len());
    let links = Mutex::new(links);
    std::thread::scope(|scope| {
        for _ in 0..closers {
            scope.spawn(|| {
                // The lock is held while a link is taken, not while it is closed.
                while let Some(link) = links.lock().ok().and_then(|mut links| links.pop()) {
                    drop(link);
                }
            });
        }
    });
}

/// Links that are being closed while the recorder goes on. Dropping it waits for them.
#[derive(Default)]
pub struct Closing(Vec<JoinHandle<()>>);

impl Closing {
    /// Begins to close the links of a group.
    ///
    /// A link takes its traps away at once, and then waits; so each has a thread of its own. Single probes are closed in order, under a lock
    /// of the kernel's, and the returns, which stand first, must not be the last: since Linux 6.13, a thread that enters watched functions
    /// more than ten times a second lets nobody end who waits for the returns of its longer calls (`ri_timer` is put off each time).
    pub fn begin(&mut self, links: Vec<Link>) {
        self.0.retain(|thread| !thread.is_finished());
        let (single, multi): (Vec<_>, Vec<_>) = links.into_iter().partition(|link| matches!(link, Link::Single(_)));
        self.0.extend(multi.into_iter().map(|link| std::thread::spawn(move || drop(link))));
        if !single.is_empty() {
            self.0.push(std::thread::spawn(move || single.into_iter().for_each(drop)));
        }
    }
}

impl Drop for Closing {
    fn drop(&mut self) {
        for thread in self.0.drain(..) {
            // A panic there has been told by the thread itself.
            let _ = thread.join();
        }
    }
}
