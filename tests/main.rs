//! Whole-program tests: each runs `lastwords` as a user would, on a program from `fixtures/`, and reads what it says.
//!
//! They need root. A test that cannot run fails: none is skipped.

mod support;

mod arguments;
mod backtraces;
mod bounds;
mod demo;
mod doctor;
mod errors;
mod exceptions;
mod explain;
mod fixtures;
mod formats;
mod frames;
mod functions;
mod governor;
mod handled;
mod history;
mod hostile;
mod kinds;
mod languages;
mod memory;
mod modules;
mod moments;
mod no_debug_info;
mod object;
mod output;
mod placement;
mod processes;
mod redaction;
mod results;
mod returns;
mod sacred;
mod selection;
mod show;
mod signals;
mod starting_case;
mod strings;
mod structs;
mod survival;
mod terminal;
mod then_and_now;
mod tiers;
mod truth;
mod turns;
mod users;
mod values;
