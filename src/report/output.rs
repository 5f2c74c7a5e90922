//! What the program had printed and never got to write.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Bytes that were in a stream's buffer at the moment of death: the program had printed them, and they were never written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Output {
    /// `stdout`, `stderr`, or `fd N`.
    pub stream: String,
    /// Its file descriptor; negative for a stream in memory.
    pub descriptor: i32,
    /// How many bytes there were.
    pub bytes: u64,
    /// The bytes as text, where they are UTF-8.
    pub text: Option<String>,
    /// The bytes in base64, where they are not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base64: Option<String>,
    /// Not all of them could be copied: only the first.
    #[serde(default)]
    pub truncated: bool,
}

impl Output {
    /// Of a stream with this descriptor, `bytes` of which were pending, and `known` the first of them.
    #[must_use]
    pub fn new(descriptor: i32, bytes: u64, known: &[u8]) -> Self {
        let stream = match descriptor {
            1 => "stdout".to_owned(),
            2 => "stderr".to_owned(),
            _ => format!("fd {descriptor}"),
        };
        let text = std::str::from_utf8(known).ok().map(str::to_owned);
        let base64 = text.is_none().then(|| STANDARD.encode(known));
        Self { stream, descriptor, bytes, text, base64, truncated: (known.len() as u64) < bytes }
    }

    /// The bytes that are known, as the program had them.
    #[must_use]
    pub fn known(&self) -> Vec<u8> {
        let decoded = || self.base64.as_deref().and_then(|text| STANDARD.decode(text).ok()).unwrap_or_default();
        self.text.as_ref().map_or_else(decoded, |text| text.clone().into_bytes())
    }
}
