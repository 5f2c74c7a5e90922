//! The user's choice: patterns in; whether a function is meant, and what is wrong with a pattern that nothing meets, out.

use std::path::{Path, PathBuf};

use super::candidate::Candidate;
use super::error::SelectError;
use super::pattern::{NamePattern, SourcePattern};
use super::{DefaultChoice, Selected, Selection};
use crate::binary::Binary;
use crate::dwarf::demangle;
use crate::plan::Skipped;

/// Similar names that an error shows at the most.
const MAX_CLOSEST: usize = 3;
/// How similar a name must be to be shown, from 0 to 1.
const MIN_SIMILARITY: f64 = 0.75;

/// The user's choice, ready to be asked, and what has come of it.
pub(super) struct Choice {
    functions: Vec<Tried<NamePattern>>,
    excluded: Vec<NamePattern>,
    sources: Vec<Tried<SourcePattern>>,
}

/// A pattern, and what an error would say if nothing met it.
struct Tried<P> {
    pattern: P,
    has_matched: bool,
    /// Similar names, the best one first.
    closest: Vec<(f64, String)>,
}

impl<P> Tried<P> {
    fn new(pattern: P) -> Self {
        Self { pattern, has_matched: false, closest: Vec::new() }
    }

    /// Remembers `name` if it is one of the most similar ones to `wanted`.
    fn compare(&mut self, wanted: &str, part: &str, name: &str) {
        let similarity = strsim::jaro_winkler(&wanted.to_lowercase(), &part.to_lowercase());
        let is_known = self.closest.iter().any(|(_, known)| known == name);
        if similarity < MIN_SIMILARITY || is_known {
            return;
        }
        let at = self.closest.partition_point(|(known, _)| *known >= similarity);
        self.closest.insert(at, (similarity, name.to_owned()));
        self.closest.truncate(MAX_CLOSEST);
    }

    fn closest(&self) -> Vec<String> {
        self.closest.iter().map(|(_, name)| name.clone()).collect()
    }
}

impl Choice {
    pub(super) fn new(selection: &Selection) -> Result<Self, SelectError> {
        let (excluded, functions): (Vec<_>, Vec<_>) =
            selection.functions.iter().partition(|text| text.starts_with('!'));
        let source = |text: &String| {
            let pattern = SourcePattern::new(text)
                .map_err(|error| SelectError::Pattern { pattern: text.clone(), reason: error.kind().to_string() });
            pattern.map(Tried::new)
        };
        Ok(Self {
            functions: functions.iter().map(|text| Tried::new(NamePattern::new(text))).collect(),
            excluded: excluded.iter().map(|text| NamePattern::new(text.trim_start_matches('!'))).collect(),
            sources: selection.sources.iter().map(source).collect::<Result<_, _>>()?,
        })
    }

    /// Whether `candidate` is chosen. Notes which patterns have been met, and what was near to those that have not.
    pub(super) fn is_chosen(&mut self, candidate: &mut Candidate, default: &DefaultChoice) -> bool {
        let by_name = self.is_chosen_by_name(candidate);
        let by_source = self.is_chosen_by_source(candidate);
        let is_wanted = match (self.functions.is_empty(), self.sources.is_empty()) {
            (true, true) => default.holds(candidate),
            (false, true) => by_name,
            (true, false) => by_source && candidate.described.is_some_and(|listed| !listed.artificial),
            (false, false) => by_name && by_source,
        };
        is_wanted && !self.excluded.iter().any(|pattern| candidate.is_meant_by(pattern))
    }

    fn is_chosen_by_name(&mut self, candidate: &mut Candidate) -> bool {
        let mut by_name = false;
        for tried in &mut self.functions {
            if candidate.is_meant_by(&tried.pattern) {
                tried.has_matched = true;
                by_name = true;
            }
            if !tried.has_matched {
                let (name, wanted) = (&candidate.name, tried.pattern.text().replace(['*', '?'], ""));
                let last = if wanted.contains("::") { name } else { name.rsplit("::").next().unwrap_or(name) };
                tried.compare(&wanted, last, name);
            }
        }
        candidate.ask_for(self.functions.iter().map(|tried| &tried.pattern));
        by_name
    }

    fn is_chosen_by_source(&mut self, candidate: &Candidate) -> bool {
        let mut by_source = false;
        for (tried, file) in self.sources.iter_mut().filter_map(|tried| Some((tried, candidate.file()?))) {
            let is_match = tried.pattern.is_match(file);
            tried.has_matched |= is_match;
            by_source |= is_match;
            if !tried.has_matched {
                let text = tried.pattern.text().to_owned();
                let last = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                tried.compare(&last(Path::new(&text)), &last(file), &file.to_string_lossy());
            }
        }
        by_source
    }

    /// Whether there are any patterns.
    fn is_made(&self) -> bool {
        !(self.functions.is_empty() && self.sources.is_empty() && self.excluded.is_empty())
    }

    /// Whether every pattern was met, and anything is left to probe.
    pub(super) fn check(&self, program: &Binary, selected: &Selected) -> Result<(), SelectError> {
        let binary = || -> PathBuf { program.path().to_path_buf() };
        if let Some(tried) = self.functions.iter().find(|tried| !tried.has_matched) {
            let pattern = tried.pattern.text().to_owned();
            let meant = |import: &str| {
                tried.pattern.is_symbol(import) || demangle(import).is_some_and(|name| tried.pattern.is_name(&name))
            };
            let is_imported = program.imports().into_iter().any(meant);
            return Err(SelectError::NoMatch { pattern, binary: binary(), closest: tried.closest(), is_imported });
        }
        if let Some(tried) = self.sources.iter().find(|tried| !tried.has_matched) {
            let pattern = tried.pattern.text().to_owned();
            return Err(SelectError::NoSource { pattern, binary: binary(), closest: tried.closest() });
        }
        if selected.functions.is_empty() {
            return Err(match selected.skipped.first().cloned() {
                Some(Skipped { function, reason }) => SelectError::AllSkipped { function, reason },
                None => SelectError::Nothing { binary: binary(), by_choice: self.is_made() },
            });
        }
        Ok(())
    }
}
