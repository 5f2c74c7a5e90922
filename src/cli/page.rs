//! What lastwords itself says on standard error, apart from the pages about deaths.

use std::fmt;

use owo_colors::OwoColorize as _;

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
