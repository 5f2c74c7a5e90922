//! What were the last calls of a program that died, and with which arguments?
//!
//! Data goes one way through this crate; nothing to the right is imported by anything to the left:
//!
//! ```text
//! binary -> dwarf -> plan -> probe ==> (kernel) ==> crash -> report -> render
//! ```
//!
//! - [`binary`]: the target's ELF file in; sections, segments, symbols, build id out.
//! - [`dwarf`]: debug info in; functions with parameters, types, locations and lines out.
//! - [`plan`]: functions in; which to probe, at which instruction, and what to read there out.
//! - [`credentials`]: work with the rights of another user.
//! - [`launch`]: the watched program's own process.
//! - [`probe`]: a plan in; a loaded recorder, attached to the target's files, out.
//! - [`crash`]: frozen rings in; threads, calls and typed values out.
//! - [`report`]: the published model of a report.
//! - [`render`]: a report in; text out.
//! - [`cli`]: one file a subcommand, on top of all of them.

pub mod address;
pub mod arch;
pub mod binary;
pub mod cli;
pub mod crash;
pub mod credentials;
pub mod demo;
pub mod dwarf;
pub mod launch;
pub mod plan;
pub mod probe;
pub mod render;
pub mod report;
