//! Usage errors of both programs.

use std::ffi::OsString;
use std::process::ExitCode;

use crate::error::Code;
use crate::terminal::report::{self, Failure, Format};

/// Reports a usage error: as clap's text, or as a JSON envelope with `--json`.
pub(crate) fn refuse(program: &str, arguments: &[OsString], error: &clap::Error) -> ExitCode {
    if error.use_stderr() && arguments.iter().any(|argument| argument == "--json") {
        let failure = Failure::new(Code::usage("usage.arguments"), usage_message(error))
            .with_hint(format!("see {program} --help"));
        return report::finish(Format::Json, Err(failure));
    }
    // A failing write to stderr cannot be reported.
    let _ = error.print();
    ExitCode::from(if error.use_stderr() { 2 } else { 0 })
}

/// Message of a usage error in one line, without clap's usage and tips.
fn usage_message(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let lines: Vec<&str> = text.lines().map(str::trim).take_while(|line| !line.is_empty()).collect();
    let message = lines.join(" ");
    message.strip_prefix("error: ").unwrap_or(&message).to_owned()
}
