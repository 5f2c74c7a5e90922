//! A report in; text out. Everything here works from the published model alone, so that a report can be looked at again anywhere.

pub mod call;
mod composite;
pub mod escape;
mod exceptions;
pub mod folded;
pub mod frame;
mod handled;
pub mod output;
pub mod source;
pub mod style;
pub mod text;
mod threads;
mod tree;
pub mod value;
mod variables;
pub mod wrap;
