//! What lastwords itself says on standard error, apart from the pages about deaths.

use std::fmt;
use std::os::fd::AsFd;

use owo_colors::OwoColorize as _;
use terminal_size::Width;

use crate::render::wrap;

/// A page for this stream: broken to its columns if it is a terminal.
pub fn fitted(page: &str, stream: impl AsFd) -> String {
    match terminal_size::terminal_size_of(stream) {
        Some((Width(columns), _)) => wrap::to_width(page, columns.into()),
        None => page.to_owned(),
    }
}

/// A remark for those who asked for more.
pub fn note(text: fmt::Arguments<'_>) {
    anstream::eprintln!("{} {text}", "lastwords:".dimmed());
}

/// Something that was lost, or could not be done, without an effect on the program.
pub fn warn(text: fmt::Arguments<'_>) {
    anstream::eprintln!("{} {text}", "lastwords: warning:".yellow());
}

/// Why there is no result, and what to do about it.
pub fn error(error: &dyn std::error::Error, hint: Option<&str>) {
    anstream::eprintln!("{} {}", "error:".red().bold(), chain(error));
    if let Some(hint) = hint {
        anstream::eprintln!("{} {hint}", "hint:".cyan().bold());
    }
}

/// An error and its causes, each once.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        cause = error.source();
    }
    text
}
