//! Debug info in; functions with parameters, types, locations and lines out, as values that no longer borrow the file.

pub mod function;
pub mod types;
