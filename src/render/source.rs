//! Lines of a source file, with the one that matters marked.

use owo_colors::OwoColorize as _;

use super::escape::plain;
use super::style;
use crate::report::Source;

/// The lines with their numbers, `> 14 |     *p = 'x';`, and whether they can be relied on. `line` is marked.
#[must_use]
pub fn lines(source: &Source, line: Option<u32>) -> Vec<String> {
    let numbered: Vec<(u32, &String)> = (source.first..).zip(&source.lines).collect();
    let width = numbered.last().map_or(0, |(number, _)| number.to_string().len());
    let mut lines: Vec<String> = numbered
        .into_iter()
        .map(|(number, text)| {
            let text = text_of_line(text);
            let rest = format!("{number:>width$} | {text}");
            let rest = rest.trim_end();
            if Some(number) == line {
                format!("{} {}", ">".style(style::alarm()), rest.style(style::strong()))
            } else {
                format!("  {}", rest.style(style::faint()))
            }
        })
        .collect();
    if source.changed {
        lines.push(format!("  {}", "(the file was changed after the program was built)".style(style::doubt())));
    }
    lines
}

/// The one line that a frame stands at, without its indentation.
#[must_use]
pub fn line_of(source: &Source, line: Option<u32>) -> Option<String> {
    let index = line?.checked_sub(source.first)?;
    source.lines.get(index as usize).map(|text| text_of_line(text).trim().to_owned()).filter(|text| !text.is_empty())
}

/// Tabs have no fixed width on a page.
fn text_of_line(text: &str) -> String {
    text.split('\t').map(plain).collect::<Vec<_>>().join("    ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards against a mark at another line, and against an old source that looks like that of the program.
    #[test]
    fn the_line_is_marked_and_changes_are_said() {
        let lines_of = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let source = Source { first: 9, lines: lines_of(&["{", "\t*p = 'x';", "}\u{1b}[m"]), changed: true };

        let page = lines(&source, Some(10)).join("\n");

        insta::assert_snapshot!(anstream::adapter::strip_str(&page).to_string(), @r"
           9 | {
        > 10 |     *p = 'x';
          11 | }\u{1b}[m
          (the file was changed after the program was built)
        ");
        assert_eq!(line_of(&source, Some(10)).unwrap(), "*p = 'x';");
        assert_eq!((line_of(&source, Some(12)), line_of(&source, None)), (None, None));
    }
}
