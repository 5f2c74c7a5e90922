//! Bytes that a program took for text in; text for a report out, without losing a byte.

/// Bytes as text.
#[derive(Debug, PartialEq, Eq)]
pub struct Text {
    /// The UTF-8 in them as it is, every other byte as `\xNN`.
    pub text: String,
    /// All of them in hexadecimal, if there were such others: `text` alone could as well be a text with a backslash in it.
    pub bytes: Option<String>,
}

impl Text {
    /// Takes any bytes.
    pub fn new(bytes: &[u8]) -> Self {
        let mut text = String::with_capacity(bytes.len());
        let mut is_valid = true;
        for chunk in bytes.utf8_chunks() {
            text.push_str(chunk.valid());
            for byte in chunk.invalid() {
                is_valid = false;
                text.push_str(&format!("\\x{byte:02x}"));
            }
        }
        Self { text, bytes: (!is_valid).then(|| hex(bytes)) }
    }

    /// Takes what stands before the first NUL.
    pub fn until_nul(bytes: &[u8]) -> Self {
        Self::new(bytes.split(|&byte| byte == 0).next().unwrap_or_default())
    }
}

/// Bytes in hexadecimal, in the order of their addresses.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards against a text in a report that does not say which bytes the program had.
    #[test]
    fn no_byte_is_lost() {
        assert_eq!(Text::new("Grüße\n".as_bytes()), Text { text: "Grüße\n".into(), bytes: None });
        assert_eq!(Text::new(b"caf\xe9!"), Text { text: "caf\\xe9!".into(), bytes: Some("636166e921".into()) });
        // The first two bytes of a character of three.
        assert_eq!(Text::new(b"\xe4\xb8"), Text { text: "\\xe4\\xb8".into(), bytes: Some("e4b8".into()) });
        assert_eq!(Text::new(br"\xe9"), Text { text: r"\xe9".into(), bytes: None });
        assert_eq!(Text::until_nul(b"comm\0junk").text, "comm");
        assert_eq!(Text::until_nul(b"").text, "");
    }
}
