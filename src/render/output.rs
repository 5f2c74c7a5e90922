//! Output that was never written, as lines for the page.

use super::escape::plain;
use crate::report::Output;

/// Lines that are shown of one stream: the last ones, since they tell how far the program came.
const LINES: usize = 10;

/// The lines about these streams; none where nothing was pending.
#[must_use]
pub fn lines(outputs: &[Output]) -> Vec<String> {
    outputs.iter().flat_map(lines_of).collect()
}

fn lines_of(output: &Output) -> Vec<String> {
    let cut = if output.truncated { ", of which the first could be copied" } else { "" };
    let mut lines = vec![format!("{}, {} bytes{cut}:", plain(&output.stream), output.bytes)];
    match (&output.text, &output.base64) {
        (Some(text), _) => {
            let all: Vec<&str> = text.lines().collect();
            let skipped = all.len().saturating_sub(LINES);
            if skipped > 0 {
                lines.push(format!("  ... {skipped} lines before"));
            }
            lines.extend(all[skipped..].iter().map(|line| format!("  {}", plain(line))));
        }
        (None, Some(_)) => lines.push("  not text: the report has it in base64".into()),
        (None, None) => {}
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards against control characters of the program that reach the terminal.
    #[test]
    fn pending_text_is_shown_escaped() {
        let output = Output::new(1, 9, b"one\n\x1b[2Jx");
        assert_eq!(lines(&[output]), ["stdout, 9 bytes:", "  one", "  \\u{1b}[2Jx"]);
    }

    /// Guards against bytes that are shown as if they were text.
    #[test]
    fn what_is_no_text_is_said_to_be_none() {
        let lines = lines(&[Output::new(7, 3, &[0xff, 0])]);
        assert_eq!(
            lines,
            ["fd 7, 3 bytes, of which the first could be copied:", "  not text: the report has it in base64"]
        );
    }
}
