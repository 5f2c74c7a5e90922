//! The options that say how much is captured of a call, for every subcommand that plans captures.

use clap::Args;

use crate::plan::build::Options;
use crate::plan::capture::Limits;
use crate::plan::pairs::Length;
use crate::plan::placement::EntryPlace;
use crate::plan::returns::Returns;

/// How much to capture of a call.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Values")]
pub struct CaptureArgs {
    /// Bytes to keep of a string
    #[arg(long, value_name = "BYTES", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=4096))]
    string: u32,
    /// Pointers to follow, one after the other: 0 follows only texts
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(0..=8))]
    depth: u32,
    /// Bytes to keep of a call for what is behind its pointers, texts that are arguments themselves not counted
    #[arg(long, value_name = "BYTES", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(0..=8192))]
    bytes: u32,
    /// In FUNCTION, LENGTH counts what POINTER points to, which their names do not tell; POINTER.ARRAY is one at the end of a structure
    /// (repeatable)
    #[arg(long = "len", value_name = "FUNCTION:POINTER=LENGTH", value_parser = Length::parse)]
    lengths: Vec<Length>,
    /// Whether to record what calls return, and how long they take
    #[arg(long, value_enum, default_value_t = Returns::Cheap, value_name = "WHEN")]
    returns: Returns,
    /// Read again what arguments point to when the call returns, where they may change it: what has changed is shown beside what it was
    #[arg(long)]
    after: bool,
    /// Where to record the entry of a function
    #[arg(long = "entry", value_enum, default_value_t, value_name = "WHERE")]
    entry_place: EntryPlace,
}

impl CaptureArgs {
    /// The same, free of how it was written.
    #[must_use]
    pub fn options(&self) -> Options {
        let limits =
            Limits { string_bytes: self.string, depth: self.depth, reach_bytes: self.bytes, ..Limits::default() };
        Options {
            limits,
            returns: self.returns,
            after: self.after,
            lengths: self.lengths.clone(),
            costs: None,
            entry_place: self.entry_place,
        }
    }
}
