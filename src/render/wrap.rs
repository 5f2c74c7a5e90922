//! Lines that are wider than the terminal: broken between words, and what follows is indented below what it belongs to.

use textwrap::core::display_width;
use textwrap::{Options, WordSeparator, WordSplitter, wrap};

/// How much deeper the rest of a line stands than its beginning.
const HANGING: usize = 6;
/// A terminal narrower than this breaks lines by itself.
const NARROWEST: usize = 40;

/// The page for a terminal of so many columns.
#[must_use]
pub fn to_width(page: &str, columns: usize) -> String {
    if columns < NARROWEST {
        return page.to_owned();
    }
    let mut wrapped = String::with_capacity(page.len() + page.len() / 16);
    for line in page.lines() {
        if display_width(line) <= columns {
            wrapped.push_str(line);
        } else {
            wrapped.push_str(&broken(line, columns));
        }
        wrapped.push('\n');
    }
    wrapped
}

fn broken(line: &str, columns: usize) -> String {
    let indent = line.len() - line.trim_start_matches(' ').len();
    let rest = " ".repeat((indent + HANGING).min(columns / 3));
    let options = Options::new(columns)
        .subsequent_indent(&rest)
        .word_separator(WordSeparator::AsciiSpace)
        .word_splitter(WordSplitter::NoHyphenation)
        // A path or an address in two parts cannot be copied.
        .break_words(false);
    wrap(line, options).join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards against words that are lost or cut, and against colours that are counted as text.
    #[test]
    fn lines_are_broken_between_words() {
        let page = "  #1 \u{1b}[1mf\u{1b}[0m(alpha = 1, beta = \"two words\", gamma = 0x7ffe12345678)\nshort\n";

        let wrapped = to_width(page, 40);

        let plain = anstream::adapter::strip_str(&wrapped).to_string();
        insta::assert_snapshot!(plain, @r#"
          #1 f(alpha = 1, beta = "two words",
                gamma = 0x7ffe12345678)
        short
        "#);
        assert_eq!(to_width(page, 200), page);
        assert_eq!(to_width(page, 0), page);
    }
}
