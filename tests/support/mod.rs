//! What the tests stand on: fixtures, runs of lastwords, and reports to ask questions of.

mod fixture;
mod lastwords;
mod leftovers;
mod process;
mod report;
mod session;

pub use fixture::{Compiler, Fixture};
pub use lastwords::{Lastwords, Outcome, reports_in};
pub use process::{Finished, LIMIT, wait};
pub use report::{Report, Thread, number};
pub use session::Session;
