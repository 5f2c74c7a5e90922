//! cli

pub mod functions;
pub mod selection;
