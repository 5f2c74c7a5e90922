//! What the tests stand on: fixtures, runs of lastwords, and reports to ask questions of.

mod fixture;
pub mod gdb;
mod lastwords;
mod leftovers;
mod page;
mod process;
mod report;
mod session;

pub use fixture::{Compiler, Fixture};
pub use lastwords::{Lastwords, Outcome, reports_in, share_machine};
pub use leftovers::events;
pub use page::without_addresses;
pub use process::{Finished, LIMIT, wait};
pub use report::{Call, Report, Thread, number};
pub use session::Session;

/// How often to run what must never fail: as often as asked, or as `LASTWORDS_RUNS` says where every instruction is emulated.
pub fn runs(asked: u64) -> u64 {
    let fewer = std::env::var("LASTWORDS_RUNS").ok().map(|runs| runs.parse().expect("a number of runs"));
    fewer.map_or(asked, |fewer: u64| fewer.min(asked))
}
