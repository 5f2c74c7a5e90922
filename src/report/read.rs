//! A file in, from whoever; a report out.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{Report, SCHEMA};

/// Larger files are not read. Some 64 calls of 1,000 threads, each with several long strings, stay below it.
pub const MAX_REPORT_BYTES: u64 = 128 << 20;

/// Why a file could not be read as a report.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The operating system said no.
    #[error("cannot read `{}`", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// It is larger than [`MAX_REPORT_BYTES`].
    #[error("cannot read `{}`: expected at most {MAX_REPORT_BYTES} bytes, found more", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// It is no JSON, or says of itself that it is something else.
    #[error("`{}` is no report of lastwords: expected an object with \"schema\": \"{SCHEMA}\", found {found}", path.display())]
    NotAReport {
        /// The file.
        path: PathBuf,
        /// What is there instead.
        found: String,
    },
    /// It is a report of a version that we do not know.
    #[error("cannot read `{}`: expected the schema `{SCHEMA}`, found `{found}`", path.display())]
    OtherVersion {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: String,
    },
    /// It says that it is a report, and is not formed like one.
    #[error("`{}` is a damaged report", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where, and what was expected there.
        source: serde_json::Error,
    },
}

impl ReadError {
    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::File { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                Some("reports can be read only by the user they belong to: run this as that user".into())
            }
            Self::File { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                Some("`lastwords run` writes reports to `./lastwords/` unless told otherwise: see there".into())
            }
            Self::File { .. } | Self::TooLarge { .. } => None,
            Self::NotAReport { .. } => Some("give the JSON file that `lastwords run` has written".into()),
            Self::OtherVersion { .. } => {
                Some("use the version of lastwords that wrote the report, or a newer one".into())
            }
            Self::Damaged { .. } => Some("compare it with docs/report.schema.json; was it edited or cut off?".into()),
        }
    }
}

/// All that is asked of a file before it is taken for a report.
#[derive(Deserialize)]
struct Identity {
    schema: String,
}

/// Reads the report in the file at `path`.
///
/// # Errors
///
/// If the file cannot be read, or holds anything but a report of this version.
pub fn read(path: &Path) -> Result<Report, ReadError> {
    let file_error = |source| ReadError::File { path: path.into(), source };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(file_error)?;
    file.take(MAX_REPORT_BYTES + 1).read_to_end(&mut bytes).map_err(file_error)?;
    if bytes.len() as u64 > MAX_REPORT_BYTES {
        return Err(ReadError::TooLarge { path: path.into() });
    }
    parse(&bytes, path)
}

/// The report in `bytes`, which came from `path`. Nesting is bounded by the JSON parser (128 levels).
fn parse(bytes: &[u8], path: &Path) -> Result<Report, ReadError> {
    let not_a_report = |found| ReadError::NotAReport { path: path.into(), found };
    let identity: Identity = match serde_json::from_slice(bytes) {
        Ok(identity) => identity,
        Err(error) if error.is_data() => return Err(not_a_report("other JSON".into())),
        Err(_) => return Err(not_a_report("no JSON".into())),
    };
    match identity.schema {
        schema if schema == SCHEMA => {}
        found if found.starts_with("lastwords/report/") => {
            return Err(ReadError::OtherVersion { path: path.into(), found: found.escape_debug().to_string() });
        }
        found => return Err(not_a_report(format!("{found:?}"))),
    }
    serde_json::from_slice(bytes).map_err(|source| ReadError::Damaged { path: path.into(), source })
}

#[cfg(test)]
mod tests {
    use super::super::tests::small_report;
    use super::*;

    fn parse_text(text: &str) -> Result<Report, ReadError> {
        parse(text.as_bytes(), Path::new("report.json"))
    }

    /// Guards against a reader that breaks when the next version adds a field or a state.
    #[test]
    fn what_is_not_known_is_ignored() {
        let mut json = serde_json::to_value(small_report()).unwrap();
        json["weather"] = "fine".into();
        json["threads"][0]["calls"][0]["args"][0]["state"] = "remembered".into();
        json["threads"][0]["calls"][0]["args"][0]["colour"] = 7.into();

        let report = parse_text(&json.to_string()).unwrap();

        assert_eq!(report.threads[0].calls[0].args[0].state, super::super::State::Other);
    }

    /// Guards against one unclear message for files that are wrong in different ways.
    #[test]
    fn each_wrong_file_has_its_own_message() {
        let messages: Vec<String> = [
            "not JSON",
            "[1, 2]",
            r#"{"schema": "other/1\u001b[31m"}"#,
            r#"{"schema": "lastwords/report/2"}"#,
            r#"{"schema": "lastwords/report/1"}"#,
        ]
        .map(|text| parse_text(text).unwrap_err().to_string())
        .into();

        insta::assert_snapshot!(messages.join("\n"), @r#"
        `report.json` is no report of lastwords: expected an object with "schema": "lastwords/report/1", found no JSON
        `report.json` is no report of lastwords: expected an object with "schema": "lastwords/report/1", found other JSON
        `report.json` is no report of lastwords: expected an object with "schema": "lastwords/report/1", found "other/1\u{1b}[31m"
        cannot read `report.json`: expected the schema `lastwords/report/1`, found `lastwords/report/2`
        `report.json` is a damaged report
        "#);
    }

    /// Guards against a stack overflow by nesting.
    #[test]
    fn deep_nesting_is_an_error() {
        let deep = "[".repeat(1_000_000);
        assert!(parse_text(&deep).is_err());
        let mut json = serde_json::to_value(small_report()).unwrap();
        json["threads"][0]["calls"][0]["args"][0]["value"] = "HERE".into();
        let report = json.to_string().replace("\"HERE\"", &deep);
        assert!(parse_text(&report).is_err());
    }

    /// Guards against a panic somewhere in a damaged file: every prefix, and every byte changed.
    #[test]
    fn no_damage_makes_it_panic() {
        let text = serde_json::to_string(&small_report()).unwrap();
        for end in 0..text.len() {
            assert!(parse_text(&text[..end]).is_err());
        }
        for position in 0..text.len() {
            for byte in [b'{', b'"', b'-', b'9', 0xff] {
                let mut bytes = text.clone().into_bytes();
                bytes[position] = byte;
                let _ = parse(&bytes, Path::new("report.json"));
            }
        }
    }
}
