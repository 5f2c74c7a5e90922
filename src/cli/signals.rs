//! `--on SIGNALS`: which signals count as a crash.

use std::collections::BTreeSet;

use nix::sys::signal::Signal;

use crate::probe::CRASHES;

/// Numbers that the kernel has signals for.
const LAST_SIGNAL: i32 = 64;
/// Names that are this similar to what was asked for are worth a hint.
const SIMILAR: f64 = 0.7;

/// Why a list of signals cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignalsError {
    /// There is no signal of this name.
    #[error("there is no signal `{name}`{}", hint(closest))]
    Unknown {
        /// As the user wrote it.
        name: String,
        /// Names that look like it.
        closest: Vec<String>,
    },
    /// Nobody gets to know of it.
    #[error("signal `{name}` kills nobody, so that no death by it can be reported")]
    Harmless {
        /// As the user wrote it.
        name: String,
    },
    /// Nothing would ever be reported.
    #[error("no signal is left that counts as a crash")]
    Empty,
}

fn hint(closest: &[String]) -> String {
    if closest.is_empty() {
        return " (`kill -l` lists them)".into();
    }
    let names: Vec<_> = closest.iter().map(|name| format!("`{name}`")).collect();
    format!(" (did you mean {}?)", names.join(" or "))
}

/// Signals whose default action kills nobody (signal(7)).
const HARMLESS: [Signal; 8] = [
    Signal::SIGCHLD,
    Signal::SIGCONT,
    Signal::SIGSTOP,
    Signal::SIGTSTP,
    Signal::SIGTTIN,
    Signal::SIGTTOU,
    Signal::SIGURG,
    Signal::SIGWINCH,
];

/// A set of signals, by number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signals(pub Vec<i32>);

impl std::str::FromStr for Signals {
    type Err = SignalsError;

    /// A list of names and numbers: `SEGV,ABRT`. `+TERM` adds to what came before, at first the default, and `-ABRT` takes away from it.
    fn from_str(list: &str) -> Result<Self, SignalsError> {
        let items = || list.split(',').map(str::trim).filter(|item| !item.is_empty());
        let is_change = items().next().is_some_and(|item| item.starts_with(['+', '-']));
        let mut signals = if is_change { BTreeSet::from(CRASHES) } else { BTreeSet::new() };
        for item in items() {
            match item.strip_prefix('-') {
                Some(name) => parse(name)?.iter().for_each(|signal| {
                    signals.remove(signal);
                }),
                None => signals.extend(parse(item.strip_prefix('+').unwrap_or(item))?),
            }
        }
        if signals.is_empty() { Err(SignalsError::Empty) } else { Ok(Self(signals.into_iter().collect())) }
    }
}

/// The signals of one item.
fn parse(name: &str) -> Result<Vec<i32>, SignalsError> {
    let upper = name.to_uppercase();
    let known =
        |signal: &Signal| signal.as_str().strip_prefix("SIG") == Some(upper.strip_prefix("SIG").unwrap_or(&upper));
    match upper.as_str() {
        "DEFAULT" => return Ok(CRASHES.to_vec()),
        "ALL" => return Ok(deadly()),
        _ => {}
    }
    if let Ok(number) = upper.parse::<i32>()
        && (1..=LAST_SIGNAL).contains(&number)
    {
        return check(name, number);
    }
    match Signal::iterator().find(known) {
        Some(signal) => check(name, signal as i32),
        None => Err(SignalsError::Unknown { name: name.to_owned(), closest: closest(&upper) }),
    }
}

fn check(name: &str, number: i32) -> Result<Vec<i32>, SignalsError> {
    if HARMLESS.iter().any(|&signal| signal as i32 == number) {
        return Err(SignalsError::Harmless { name: name.to_owned() });
    }
    Ok(vec![number])
}

/// All signals that end a process.
fn deadly() -> Vec<i32> {
    (1..=LAST_SIGNAL).filter(|&number| check("", number).is_ok()).collect()
}

fn closest(upper: &str) -> Vec<String> {
    let wanted = upper.strip_prefix("SIG").unwrap_or(upper);
    let mut names: Vec<(f64, &str)> = Signal::iterator()
        .map(|signal| signal.as_str().trim_start_matches("SIG"))
        .map(|name| (strsim::jaro_winkler(wanted, name), name))
        .filter(|(similarity, _)| *similarity >= SIMILAR)
        .collect();
    names.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    names.into_iter().take(3).map(|(_, name)| name.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(list: &str) -> Result<Vec<i32>, String> {
        list.parse().map(|Signals(signals)| signals).map_err(|error: SignalsError| error.to_string())
    }

    /// Guards against a list that means something else than it says.
    #[test]
    fn lists_are_sets_and_changes_begin_with_the_default() {
        let mut default = CRASHES.to_vec();
        default.sort_unstable();
        assert_eq!(of("default"), Ok(default.clone()));
        assert_eq!(of("TERM,SIGKILL, 3"), Ok(vec![3, 9, 15]));
        assert_eq!(of("segv"), Ok(vec![11]));
        let with_term: Vec<i32> = default.iter().copied().chain([15]).collect();
        assert_eq!(of("+TERM").map(BTreeSet::from_iter), Ok(BTreeSet::from_iter(with_term)));
        assert_eq!(of("-ABRT"), Ok(default.into_iter().filter(|&signal| signal != 6).collect()));
        assert_eq!(of("all").map(|signals| signals.len()), Ok(64 - HARMLESS.len()));
    }

    /// Guards against a name that is taken for none, and a run that can report nothing.
    #[test]
    fn what_is_no_signal_is_refused_with_what_it_may_have_been() {
        insta::assert_snapshot!(of("SIGSEG").unwrap_err(), @"there is no signal `SIGSEG` (did you mean `SEGV`?)");
        insta::assert_snapshot!(of("65").unwrap_err(), @"there is no signal `65` (`kill -l` lists them)");
        insta::assert_snapshot!(of("CHLD").unwrap_err(), @"signal `CHLD` kills nobody, so that no death by it can be reported");
        insta::assert_snapshot!(of("").unwrap_err(), @"no signal is left that counts as a crash");
        insta::assert_snapshot!(of("TERM,-TERM").unwrap_err(), @"no signal is left that counts as a crash");
    }
}
