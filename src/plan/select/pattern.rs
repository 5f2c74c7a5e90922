//! Patterns: what the user wrote in, whether a function's name or file is meant out.

use std::path::Path;

use globset::{Glob, GlobBuilder, GlobMatcher};

/// A pattern for names of functions.
///
/// `*` and `?` are wildcards; nothing else is: brackets and braces are parts of names (`operator[]`, `{{closure}}`, `[T]`). A pattern
/// is met by a whole name and by any number of its last components: `area` and `Shape::ar*` both mean `geometry::Shape::area`.
/// Template arguments and Rust's `<Type as Trait>` may be left out.
#[derive(Clone, Debug)]
pub struct NamePattern {
    text: String,
    matcher: Option<GlobMatcher>,
}

impl NamePattern {
    /// Any text is one.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let is_glob = text.contains(['*', '?']);
        // Everything but the two wildcards is escaped, so that this cannot fail; a pattern that did would mean itself.
        let glob = GlobBuilder::new(&escape(text)).literal_separator(false).backslash_escape(true).build();
        Self { text: text.to_owned(), matcher: glob.ok().filter(|_| is_glob).map(|glob| glob.compile_matcher()) }
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Whether a function with this demangled name is meant.
    #[must_use]
    pub fn is_name(&self, name: &str) -> bool {
        spellings(name).iter().any(|spelling| self.is_suffix_of(spelling))
    }

    /// Whether this symbol is meant.
    pub(super) fn is_symbol(&self, symbol: &str) -> bool {
        self.is_exactly(symbol)
    }

    fn is_suffix_of(&self, name: &str) -> bool {
        component_starts(name).into_iter().any(|start| self.is_exactly(&name[start..]))
    }

    fn is_exactly(&self, text: &str) -> bool {
        match &self.matcher {
            Some(matcher) => matcher.is_match(text),
            None => self.text == text,
        }
    }
}

fn escape(text: &str) -> String {
    let mut glob = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            // `**` means something else to globs of paths.
            '*' if glob.ends_with('*') && !glob.ends_with("\\*") => {}
            '*' | '?' => glob.push(character),
            character => glob.extend(["\\", character.encode_utf8(&mut [0; 4])]),
        }
    }
    glob
}

/// The ways to write a name: as it is, without template arguments, and for `<Type as Trait>::method` as a method of either.
fn spellings(name: &str) -> Vec<String> {
    let mut spellings = vec![name.to_owned()];
    let plain = match impl_parts(name) {
        Some((ty, interface, method)) => {
            spellings.push(format!("{interface}{method}"));
            format!("{ty}{method}")
        }
        None => name.to_owned(),
    };
    let bare = without_arguments(&plain);
    for spelling in [plain, bare] {
        if !spellings.contains(&spelling) {
            spellings.push(spelling);
        }
    }
    spellings
}

/// `<A as B>::c` as A, B and `::c`.
fn impl_parts(name: &str) -> Option<(&str, &str, &str)> {
    let rest = name.strip_prefix('<')?;
    let end = rest.char_indices().scan(1, |depth, (at, character)| {
        *depth += depth_change(character);
        Some((at, *depth))
    });
    let (close, _) = end.into_iter().find(|&(_, depth)| depth == 0)?;
    let (ty, interface) = rest[..close].split_once(" as ")?;
    Some((ty, interface, &rest[close + 1..]))
}

fn depth_change(character: char) -> i32 {
    match character {
        '<' | '(' | '[' | '{' => 1,
        '>' | ')' | ']' | '}' => -1,
        _ => 0,
    }
}

/// Where an operator's own name begins, if it is one: its signs are no brackets.
fn operator_start(name: &str) -> usize {
    let is_word = |at: usize| {
        name[at + "operator".len()..].chars().next().is_some_and(|next| !next.is_alphanumeric() && next != '_')
    };
    let starts = name.match_indices("operator").map(|(at, _)| at);
    starts.filter(|&at| at == 0 || name[..at].ends_with("::")).find(|&at| is_word(at)).unwrap_or(name.len())
}

/// Where the components begin that are not inside of brackets.
fn component_starts(name: &str) -> Vec<usize> {
    let mut starts = vec![0];
    let mut depth = 0;
    for (at, character) in name[..operator_start(name)].char_indices() {
        depth += depth_change(character);
        if depth == 0 && name[at..].starts_with("::") {
            starts.push(at + 2);
        }
    }
    starts
}

/// `max<int>` is `max`, `Vec::<T>::push` is `Vec::push`.
fn without_arguments(name: &str) -> String {
    let mut bare = String::with_capacity(name.len());
    let mut depth = 0;
    let (path, operator) = name.split_at(operator_start(name));
    for character in path.chars() {
        if character == '<' {
            depth += 1;
            if depth == 1 && bare.ends_with("::") {
                bare.truncate(bare.len() - 2);
            }
        }
        if depth == 0 {
            bare.push(character);
        }
        if character == '>' {
            depth = (depth - 1).max(0);
        }
    }
    bare + operator
}

/// A pattern for source files: a glob on the path, or on its last components unless it begins with `/`. A folder means all below it.
#[derive(Clone, Debug)]
pub(super) struct SourcePattern {
    text: String,
    file: GlobMatcher,
    folder: GlobMatcher,
}

impl SourcePattern {
    pub(super) fn new(text: &str) -> Result<Self, globset::Error> {
        let text = text.trim_end_matches('/');
        let anchored =
            if text.starts_with('/') { text.to_owned() } else { format!("**/{}", text.trim_start_matches("./")) };
        let compile = |glob: &str| -> Result<GlobMatcher, globset::Error> {
            Ok::<Glob, _>(GlobBuilder::new(glob).literal_separator(true).build()?).map(|glob| glob.compile_matcher())
        };
        Ok(Self { text: text.to_owned(), file: compile(&anchored)?, folder: compile(&format!("{anchored}/**"))? })
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn is_match(&self, path: &Path) -> bool {
        self.file.is_match(path) || self.folder.is_match(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, name: &str) -> bool {
        NamePattern::new(pattern).is_name(name)
    }

    /// Guards against having to type namespaces, and against finding parts of words.
    #[test]
    fn a_pattern_means_the_last_components_of_a_name() {
        let name = "geometry::Shape::area";
        for pattern in [name, "Shape::area", "area", "ar*", "Shape::*", "*", "*area", "geometry::*", "a?ea"] {
            assert!(matches(pattern, name), "{pattern}");
        }
        for pattern in ["rea", "Shape", "geometry", "hape::area", "area?", "Area", "", "Shape::area::"] {
            assert!(!matches(pattern, name), "{pattern}");
        }
    }

    /// Guards against brackets read as wildcards, and against `::` inside of template arguments.
    #[test]
    fn brackets_are_parts_of_names() {
        for (pattern, name) in [
            ("operator[]", "Table::operator[]"),
            ("operator<", "Point::operator<"),
            ("operator->", "Pointer<geometry::Shape>::operator->"),
            ("operator*", "Point::operator*"),
            ("max", "geometry::max<std::string>"),
            ("max<std::string>", "geometry::max<std::string>"),
            ("vector::push_back", "std::vector<int, std::allocator<int> >::push_back"),
            ("{{closure}}", "program::main::{{closure}}"),
            ("main::*closure*", "program::main::{{closure}}"),
            ("largest", "geometry::largest::<i32>"),
            ("helper", "(anonymous namespace)::helper"),
            ("area", "<program::Circle as program::Shape>::area"),
            ("Circle::area", "<program::Circle as program::Shape>::area"),
            ("Shape::area", "<program::Circle as program::Shape>::area"),
            ("Circle::fmt", "<program::Circle<T> as core::fmt::Debug>::fmt"),
        ] {
            assert!(matches(pattern, name), "{pattern} on {name}");
        }
        for (pattern, name) in
            [("string>", "max<std::string>"), ("[abc]", "a"), ("{a,b}", "a"), ("allocator*", "f<std::allocator>")]
        {
            assert!(!matches(pattern, name), "{pattern} on {name}");
        }
    }

    /// Guards against globs that go through folders, and against relative paths that match nothing.
    #[test]
    fn a_source_pattern_means_files_and_folders() {
        let matches = |pattern: &str, path: &str| SourcePattern::new(pattern).unwrap().is_match(Path::new(path));
        for pattern in [
            "main.c",
            "src/main.c",
            "./src/main.c",
            "src",
            "src/",
            "src/*.c",
            "/work/*/src/*.c",
            "*.c",
            "/work",
            "**/m*.c",
        ] {
            assert!(matches(pattern, "/work/app/src/main.c"), "{pattern}");
        }
        for pattern in ["ain.c", "app/*.c", "/work/*.c", "/src", "main", "rc/main.c"] {
            assert!(!matches(pattern, "/work/app/src/main.c"), "{pattern}");
        }
        assert!(SourcePattern::new("a[").is_err());
    }
}
