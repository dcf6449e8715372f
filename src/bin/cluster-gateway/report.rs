//! Output of a result or an error, as text or JSON in the format of `cluster-ca`, and the exit code.

use std::io::{self, Write};
use std::process::ExitCode;

use cluster_ca::error::Class;
use cluster_ca::terminal::stderr;
use serde_json::{Value, json};

/// Error to report.
pub(crate) struct Failure {
    pub(crate) code: String,
    pub(crate) class: Class,
    pub(crate) message: String,
    pub(crate) causes: Vec<String>,
    pub(crate) hint: Option<&'static str>,
}

/// Result as text and as JSON.
pub(crate) struct Shown {
    pub(crate) text: String,
    pub(crate) json: Value,
    pub(crate) is_good: bool,
}

/// Print the result of a command as text or as one line of JSON, and return the exit code: 1 if the result is
/// not good.
pub(crate) fn finish(as_json: bool, result: Result<Shown, Failure>) -> ExitCode {
    let result = match result {
        Err(failure) if !as_json => return fail(&failure),
        result => result,
    };
    let (text, code) = match result {
        Ok(Shown { text, is_good, .. }) if !as_json => (text, u8::from(!is_good)),
        Ok(Shown { json, is_good, .. }) => {
            (format!("{}\n", json!({ "ok": is_good, "result": json })), u8::from(!is_good))
        }
        Err(Failure { code, class, message, causes, hint }) => {
            let error = json!({ "code": code, "message": message, "causes": causes, "hint": hint });
            (format!("{}\n", json!({ "ok": false, "error": error })), class.exit_code())
        }
    };
    // A closed pipe is no error.
    let _ = io::stdout().write_all(text.as_bytes());
    ExitCode::from(code)
}

/// Print an error as text.
pub(crate) fn fail(failure: &Failure) -> ExitCode {
    let Failure { code, class, message, causes, hint } = failure;
    let mut text = format!("error: {message} [{code}]");
    for cause in causes {
        text.push_str(&format!("\ncaused by: {cause}"));
    }
    if let Some(hint) = hint {
        text.push_str(&format!("\nhint: {hint}"));
    }
    stderr::line(text);
    ExitCode::from(class.exit_code())
}
