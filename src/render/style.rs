//! The few looks of our pages. The caller's stream decides whether they are kept (see `anstream`: no terminal, `NO_COLOR`).

use owo_colors::Style;

/// What matters most.
pub fn alarm() -> Style {
    Style::new().bright_red().bold()
}

/// A heading, a function's name.
pub fn strong() -> Style {
    Style::new().bold()
}

/// A value that the program had.
pub fn value() -> Style {
    Style::new().green()
}

/// A value that is not what the program had, or not all of it.
pub fn doubt() -> Style {
    Style::new().yellow()
}

/// What is read last.
pub fn faint() -> Style {
    Style::new().dimmed()
}
