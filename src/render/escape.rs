//! Text from a program that crashed, or from a report that anybody may have written: made harmless for a terminal, and kept readable.

use std::fmt::Write;

use crate::report::from_hex;

/// Text within a line: control characters, and those that change the direction or the look of what follows, are escaped.
pub fn plain(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        push(&mut escaped, character);
    }
    escaped
}

/// Text in double quotes as a C or Rust programmer would write it.
pub fn quoted(text: &str) -> String {
    let mut escaped = String::from('"');
    push_quoted(&mut escaped, text);
    escaped.push('"');
    escaped
}

/// [`quoted`] from bytes in hexadecimal, which are shown as `\xNN` where they are no UTF-8. `None` if they are not in hexadecimal.
pub fn quoted_bytes(hexadecimal: &str) -> Option<String> {
    let bytes = from_hex(hexadecimal)?;
    let mut escaped = String::from('"');
    for chunk in bytes.utf8_chunks() {
        push_quoted(&mut escaped, chunk.valid());
        for byte in chunk.invalid() {
            let _ = write!(escaped, "\\x{byte:02x}");
        }
    }
    escaped.push('"');
    Some(escaped)
}

fn push_quoted(escaped: &mut String, text: &str) {
    for character in text.chars() {
        match character {
            '"' | '\\' => escaped.extend(['\\', character]),
            _ => push(escaped, character),
        }
    }
}

/// Letters, combining marks and emoji stay; `escape_debug` knows what cannot be printed, and escapes quotes, which are no harm here.
fn push(escaped: &mut String, character: char) {
    match character {
        '"' | '\'' | '\\' => escaped.push(character),
        _ if character.is_alphanumeric() => escaped.push(character),
        _ => escaped.extend(character.escape_debug()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards against a program that writes to the reader's terminal through its strings.
    #[test]
    fn nothing_that_a_terminal_obeys_comes_through() {
        assert_eq!(plain("a\u{1b}[31mb\u{9b}2J\r\n\u{7}\u{7f}"), r"a\u{1b}[31mb\u{9b}2J\r\n\u{7}\u{7f}");
        // Right-to-left override, and a zero-width space: what is read differs from what is there.
        assert_eq!(plain("a\u{202e}b\u{200b}c\u{2028}"), r"a\u{202e}b\u{200b}c\u{2028}");
        let hostile: String = (0..=0x10_ffffu32).filter_map(char::from_u32).collect();
        assert!(!plain(&hostile).chars().any(char::is_control));
    }

    /// Guards against text that cannot be read any more: what is harmless stays.
    #[test]
    fn letters_of_all_scripts_stay() {
        assert_eq!(plain("Grüße, 世界 💥 it's \"fine\" \\o/"), "Grüße, 世界 💥 it's \"fine\" \\o/");
        assert_eq!(quoted("say \"hi\"\n\\"), r#""say \"hi\"\n\\""#);
    }

    /// Guards against an escape in the text that looks like a byte of the program, and the other way round.
    #[test]
    fn bytes_and_backslashes_are_told_apart() {
        assert_eq!(quoted_bytes("636166e9").unwrap(), r#""caf\xe9""#);
        assert_eq!(quoted(r"caf\xe9"), r#""caf\\xe9""#);
        assert_eq!(quoted_bytes("1b5be9").unwrap(), r#""\u{1b}[\xe9""#);
        assert_eq!(quoted_bytes("abc"), None);
        assert_eq!(quoted_bytes("+1"), None);
        assert_eq!(quoted_bytes("é0"), None);
    }
}
