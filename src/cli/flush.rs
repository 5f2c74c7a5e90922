//! Output that a dead program never got to write in; the same bytes where they were meant to go out.

use std::io::{self, Write};

use super::page;
use crate::report::Output;

/// Writes what was pending for standard output and standard error to lastwords' own, and says where that is not all of it.
pub fn flush(outputs: &[Output]) {
    let written = write(outputs, &mut io::stdout().lock(), &mut io::stderr().lock());
    for remark in written {
        page::warn(format_args!("{remark}"));
    }
}

/// Writes what was pending to these two streams. Returns what there is to say about it.
fn write(outputs: &[Output], stdout: &mut dyn Write, stderr: &mut dyn Write) -> Vec<String> {
    let mut remarks = Vec::new();
    for output in outputs {
        let stream: &mut dyn Write = match output.descriptor {
            1 => &mut *stdout,
            2 => &mut *stderr,
            _ => continue,
        };
        let known = output.known();
        if let Err(error) = stream.write_all(&known).and_then(|()| stream.flush()) {
            remarks
                .push(format!("what the program had not written to {} could not be written: {error}", output.stream));
        } else if (known.len() as u64) < output.bytes {
            let (some, all) = (known.len(), output.bytes);
            remarks.push(format!(
                "of the {all} bytes that the program had not written to {}, only the first {some} were captured",
                output.stream
            ));
        }
    }
    remarks
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A stream that nobody reads any more.
    struct Closed;

    impl Write for Closed {
        fn write(&mut self, _bytes: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Guards against output on the wrong stream, against bytes that were changed on the way, and against the files of other descriptors.
    #[test]
    fn each_stream_gets_its_own_bytes() {
        let outputs = [Output::new(1, 3, b"a\xff\n"), Output::new(2, 5, b"error"), Output::new(7, 4, b"file")];
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());

        let remarks = write(&outputs, &mut stdout, &mut stderr);

        assert_eq!((&stdout[..], &stderr[..]), (&b"a\xff\n"[..], &b"error"[..]));
        assert_eq!(remarks, [""; 0]);
    }

    /// Guards against a beginning that is taken for the whole.
    #[test]
    fn what_is_missing_is_said() {
        let remarks = write(&[Output::new(1, 9, b"this"), Output::new(2, 1, b"x")], &mut Vec::new(), &mut Closed);

        insta::assert_snapshot!(remarks.join("\n"), @r"
        of the 9 bytes that the program had not written to stdout, only the first 4 were captured
        what the program had not written to stderr could not be written: broken pipe
        ");
    }
}
