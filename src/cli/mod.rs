//! The subcommands: one file each, and the options that they share.

pub mod functions;
pub mod selection;
