//! Chores of this project.
fn main() {}
