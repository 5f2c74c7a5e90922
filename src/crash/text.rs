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

    /// Takes characters of 2 bytes (UTF-16) or 4, in the byte order of all architectures that lastwords knows.
    pub fn wide(bytes: &[u8], size: usize) -> Self {
        let unit = |unit: &[u8]| unit.iter().rev().fold(0u32, |number, byte| number << 8 | u32::from(*byte));
        let units: Vec<u32> = bytes.chunks_exact(size.max(1)).map(unit).collect();
        let decoded: Vec<Result<char, u32>> = match size {
            2 => char::decode_utf16(units.iter().map(|unit| *unit as u16))
                .map(|character| character.map_err(|lone| lone.unpaired_surrogate().into()))
                .collect(),
            _ => units.into_iter().map(|unit| char::from_u32(unit).ok_or(unit)).collect(),
        };
        let is_valid = decoded.iter().all(Result::is_ok);
        let told = |character: Result<char, u32>| character.map_or_else(|unit| format!("\\x{unit:x}"), String::from);
        Self { text: decoded.into_iter().map(told).collect(), bytes: (!is_valid).then(|| hex(bytes)) }
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
        assert_eq!(Text::wide(&[0x3d, 0xd8, 0, 0xde, b'!', 0], 2), Text { text: "\u{1f600}!".into(), bytes: None });
        let lone = Text { text: "\\xd83d!".into(), bytes: Some("3dd82100".into()) };
        assert_eq!(Text::wide(&[0x3d, 0xd8, b'!', 0], 2), lone);
        assert_eq!(Text::wide(&[0xac, 0x20, 0, 0], 4).text, "€");
    }
}
