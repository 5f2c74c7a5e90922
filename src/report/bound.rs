//! A report, and the bytes it may have, in; its JSON out. What does not fit is left out, the least useful first, and the report says so.

mod stages;
mod texts;

use serde::Serialize;

use super::write::file_name;
use super::{Dropped, Report};
use stages::STAGES;

/// Bytes of a report at the most, unless somebody asks for something else.
pub const DEFAULT_BYTES: u64 = 8 << 20;
/// Any report can be cut down to this: the signal, and where the thread stood that it struck.
pub const LEAST_BYTES: u64 = 64 << 10;

/// A report as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Its name in a directory: `PROG-PID-TIME.json`.
    pub file_name: String,
    /// Its content.
    pub json: Vec<u8>,
}

impl Document {
    /// Cuts the report down to `most` bytes, if it needs more. The one that fits, as nearly all do, is written down just once.
    #[must_use]
    pub fn within(report: &mut Report, most: u64) -> Self {
        let mut json = json(report);
        for stage in STAGES {
            // Each round takes away what is in excess, or all that the stage may. What it then says of it may need another one.
            while let Some(excess) = (json.len() as u64).checked_sub(most).filter(|&excess| excess > 0) {
                let count = (stage.drop)(report, excess);
                if count == 0 {
                    break;
                }
                note(&mut report.dropped, stage.what, count, most);
                json = self::json(report);
            }
        }
        Self { file_name: file_name(report), json }
    }
}

fn json(report: &Report) -> Vec<u8> {
    // A report has strings as keys and no type that refuses to be written: there is nothing that could fail.
    let mut json = serde_json::to_vec_pretty(report).unwrap_or_default();
    json.push(b'\n');
    json
}

/// Says that `count` more of `what` are left out.
fn note(dropped: &mut Vec<Dropped>, what: &str, count: u64, most: u64) {
    if let Some(known) = dropped.iter_mut().find(|known| known.what == what) {
        known.count += count;
        return;
    }
    let reason = format!("the report would be larger than {most} bytes (--max-report)");
    dropped.push(Dropped { what: what.into(), count, reason });
}

/// Bytes that an item takes in a report at the least: without the line breaks and the indentation.
fn bytes_of(item: &impl Serialize) -> u64 {
    struct Count(u64);
    impl std::io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len() as u64;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    let _ = serde_json::to_writer(&mut count, item);
    count.0
}

#[cfg(test)]
mod tests;
