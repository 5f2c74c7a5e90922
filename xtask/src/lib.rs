//! What the chores of this project share with its tests.

pub mod real;
pub mod stamp;
