//! Guard for panics: one line on standard error, and the exit code of an error.
//!
//! Without it, a panic prints several lines and ends the program with exit code 101, which no table documents.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::{Cell, RefCell};
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};

use crate::error::Code;
use crate::terminal::report::Failure;
use crate::terminal::stderr;

thread_local! {
    /// True inside of [`guarded`], which reports the panic itself.
    static IS_GUARDED: Cell<bool> = const { Cell::new(false) };
    /// Message and place of the last panic of a guarded thread.
    static LAST: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Run `body`. A panic in it becomes a failure with the code `system.panic`. A panic on another thread prints its
/// line at once, and is a failure here only if that thread passes it on.
///
/// # Errors
/// The panic.
pub(crate) fn guarded<T>(body: impl FnOnce() -> T) -> Result<T, Failure> {
    panic::set_hook(Box::new(hook));
    IS_GUARDED.set(true);
    // What `body` was working on is dropped: nothing can be seen half changed.
    let outcome = panic::catch_unwind(AssertUnwindSafe(body));
    IS_GUARDED.set(false);
    outcome.map_err(|_| {
        let text = LAST.take().unwrap_or_else(|| "a thread of the program panicked".to_owned());
        Failure::new(Code::environment("system.panic"), format!("internal error: {text}"))
    })
}

fn hook(info: &PanicHookInfo<'_>) {
    let text = described(info.payload_as_str(), info.location().map(ToString::to_string));
    if IS_GUARDED.get() {
        LAST.set(Some(text));
    } else {
        stderr::line(format_args!("error: internal error: {text} [system.panic]"));
    }
    let backtrace = Backtrace::capture();
    if backtrace.status() == BacktraceStatus::Captured {
        stderr::line(backtrace);
    }
}

/// Message and place in one line.
fn described(message: Option<&str>, location: Option<String>) -> String {
    let message = message.unwrap_or("panic without a message");
    let message = message.split_whitespace().collect::<Vec<_>>().join(" ");
    match location {
        Some(location) => format!("{message} ({location})"),
        None => message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_described_in_one_line() {
        assert_eq!(
            described(Some("left: 1\n right: 2"), Some("a.rs:1:2".to_owned())),
            "left: 1 right: 2 (a.rs:1:2)"
        );
        assert_eq!(described(None, None), "panic without a message");
    }
}
