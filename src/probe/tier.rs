//! The means by which probes are placed, from the newest kernel to the oldest.

use std::fmt;

/// The means by which probes are placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Tier {
    /// One link for entries and returns (Linux 6.13).
    Session,
    /// One link for entries, one for returns (Linux 6.6).
    Multi,
    /// Events with many probes of the program, and one perf event for each other probe (Linux 6.0).
    Single,
}

impl Tier {
    /// As it stands in a report and on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::Multi => "multi",
            Self::Single => "single",
        }
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Session => "uprobe session",
            Self::Multi => "uprobe_multi",
            Self::Single => "single uprobes",
        })
    }
}
