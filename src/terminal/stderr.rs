//! Standard error, written without panics.
//!
//! `eprintln!` panics when a write fails, so that a full log disk would end a program with exit code 101.

use std::fmt::Display;
use std::io::{self, Write};

use crate::terminal::escaped::{EscapeForm, EscapingWriter};

/// Write one line to standard error; a failing write is ignored.
pub(crate) fn line(text: impl Display) {
    let _ = EscapingWriter::new(Stderr, EscapeForm::Text).write_all(format!("{text}\n").as_bytes());
}

/// Write a note to standard error, unless `is_quiet`.
pub(crate) fn note(is_quiet: bool, text: impl Display) {
    if !is_quiet {
        line(format_args!("note: {text}"));
    }
}

/// Writer to standard error that never fails: bytes that cannot be written are dropped.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Stderr;

impl Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = io::stderr().write_all(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let _ = io::stderr().flush();
        Ok(())
    }
}
