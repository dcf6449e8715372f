//! Arguments that make no sense, in one form for both programs.

use std::ffi::OsString;
use std::process::ExitCode;

use crate::error::Code;
use crate::terminal::report::{self, Failure, Format};

/// Arguments that make no sense: clap's own words for people, the envelope for programs.
pub(crate) fn refuse(program: &str, arguments: &[OsString], error: &clap::Error) -> ExitCode {
    if error.use_stderr() && arguments.iter().any(|argument| argument == "--json") {
        let failure = Failure::new(Code::usage("usage.arguments"), usage_message(error))
            .with_hint(format!("see {program} --help"));
        return report::finish(Format::Json, Err(failure));
    }
    // Nobody is left to tell when this fails.
    let _ = error.print();
    ExitCode::from(if error.use_stderr() { 2 } else { 0 })
}

/// What is wrong with the arguments, in one line: without usage and tips.
#[must_use]
pub fn usage_message(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let lines: Vec<&str> = text.lines().map(str::trim).take_while(|line| !line.is_empty()).collect();
    let message = lines.join(" ");
    message.strip_prefix("error: ").unwrap_or(&message).to_owned()
}
