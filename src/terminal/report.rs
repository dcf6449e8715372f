//! What people and programs see: the one place that prints a result or an error, as text or as
//! JSON, and picks the exit code.
//!
//! Commands return values; errors state facts. Advice is added here, by the error's stable code, so
//! that the library never tells anybody which command to type.

use std::fmt;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use serde::Serialize;

use crate::error::{Code, Coded, causes};
use crate::files;

use crate::terminal::hints::{Audience, hint};

/// What a command gives back: `Display` for people, `Serialize` for programs.
pub(crate) trait Outcome: fmt::Display {
    /// The `result` of the JSON envelope.
    fn json(&self) -> Result<serde_json::Value, serde_json::Error>;

    /// The exit code; a check that found something returns 1 and is no error, and yet not `ok`.
    fn exit_code(&self) -> u8 {
        0
    }

    /// What went wrong in it, though it is a result: even `--quiet` tells it, on stderr.
    fn complaint(&self) -> Option<String> {
        (self.exit_code() != 0).then(|| self.to_string())
    }

    /// Bytes that are the whole point, so that even `--quiet` writes them: shell completions, a man page.
    fn raw(&self) -> Option<&[u8]> {
        None
    }
}

/// A command's outcome, boxed so that every command has the same type.
pub(crate) type CommandResult = Result<Box<dyn Outcome>, Failure>;

/// Any value that can be shown and serialized, with exit code 0.
pub(crate) struct Shown<T>(pub(crate) T);

impl<T: fmt::Display> fmt::Display for Shown<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<T: fmt::Display + Serialize> Outcome for Shown<T> {
    fn json(&self) -> Result<serde_json::Value, serde_json::Error> {
        serde_json::to_value(&self.0)
    }
}

/// A path as the user would type it: relative where it lies below the current directory.
pub(crate) fn typed(path: &Path) -> String {
    let here = std::env::current_dir().ok().and_then(|here| files::absolute(&here).ok());
    let below = here.as_deref().and_then(|here| path.strip_prefix(here).ok()).unwrap_or(path);
    match below.strip_prefix(".").unwrap_or(below) {
        here if here.as_os_str().is_empty() => ".".to_owned(),
        below => printable(&below.display().to_string()),
    }
}

/// Text that may come from a file's name: what would move the cursor, or begin a line of its own, is
/// written out.
fn printable(text: &str) -> String {
    let written_out = |c: char| if c.is_control() { c.escape_default().collect() } else { c.to_string() };
    text.chars().map(written_out).collect::<String>()
}

/// How results are to be printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// For programs: one object, `{"ok": …}`.
    Json,
    /// Nothing but errors.
    Quiet,
}

/// An error on its way to the user: its code, its words, its causes.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    code: Code,
    message: String,
    causes: Vec<String>,
    /// Advice that needs facts of the case; the table of [`hint`] gives the rest.
    hint: Option<String>,
}

impl Failure {
    /// An error that only the command line knows of.
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), causes: Vec::new(), hint: None }
    }

    /// An error of the library, with its own code.
    pub(crate) fn of(error: &dyn Coded) -> Self {
        Self { code: error.coded(), message: error.to_string(), causes: causes(error), hint: None }
    }

    /// An error of another library, under a code that the command line gives it.
    pub(crate) fn caused(code: Code, error: &dyn std::error::Error) -> Self {
        Self { code, message: error.to_string(), causes: causes(error), hint: None }
    }

    /// With advice for this very case.
    #[must_use]
    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// With the file that it is about.
    #[must_use]
    pub(crate) fn about(self, file: &Path) -> Self {
        self.at(file.display())
    }

    /// With the place that it is about.
    #[must_use]
    pub(crate) fn at(mut self, place: impl fmt::Display) -> Self {
        self.message = format!("{place}: {}", self.message);
        self
    }

    /// With what else is wrong.
    #[must_use]
    pub(crate) fn with_causes(mut self, causes: Vec<String>) -> Self {
        self.causes = causes;
        self
    }

    /// With how to choose another place, where something is in the way.
    #[must_use]
    pub(crate) fn or_elsewhere(self, option: &str) -> Self {
        if self.code.name() != "file.exists" {
            return self;
        }
        self.with_hint(format!(
            "nothing was overwritten; move the file away, or choose another place with {option}"
        ))
    }

    /// With how to mean all of several certificates.
    #[must_use]
    pub(crate) fn or_all_generations(self) -> Self {
        if self.code.name() != "ca.ambiguous" {
            return self;
        }
        self.with_hint(
            "name one of them by its serial number, or all that the identity has with --all-generations",
        )
    }

    pub(crate) fn hint(&self) -> Option<&str> {
        self.hint.as_deref().or_else(|| hint(Audience::Ca, self.code.name()))
    }

    /// Exit codes as the README's table has them.
    pub(crate) fn exit_code(&self) -> u8 {
        self.code.class().exit_code()
    }
}

impl<E: Coded> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::of(&error)
    }
}

#[derive(Serialize)]
struct Envelope<'a> {
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<serde_json::Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorBody<'a>>,
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    code: &'a str,
    message: &'a str,
    causes: &'a [String],
    hint: Option<&'a str>,
}

impl<'a> From<&'a Failure> for ErrorBody<'a> {
    fn from(failure: &'a Failure) -> Self {
        Self {
            code: failure.code.name(),
            message: &failure.message,
            causes: &failure.causes,
            hint: failure.hint(),
        }
    }
}

/// As one of several things that a command came to.
impl Serialize for Failure {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        ErrorBody::from(self).serialize(serializer)
    }
}

/// In one line, or one and its causes: without advice.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} [{}]", self.message, self.code)?;
        self.causes.iter().try_for_each(|cause| write!(f, "\n           caused by: {cause}"))
    }
}

/// Prints what a command came to and says with which code to exit.
pub(crate) fn finish(format: Format, result: CommandResult) -> ExitCode {
    match result.and_then(|outcome| print(format, outcome.as_ref())) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            print_failure(format, &failure);
            ExitCode::from(failure.exit_code())
        }
    }
}

fn print(format: Format, outcome: &dyn Outcome) -> Result<u8, Failure> {
    let mut stdout = io::stdout().lock();
    let written = match (outcome.raw(), format) {
        (_, Format::Json) => {
            let result =
                outcome.json().map_err(|error| Failure::caused(Code::environment("system.json"), &error))?;
            let envelope = Envelope { ok: outcome.exit_code() == 0, result: Some(result), error: None };
            serde_json::to_writer(&mut stdout, &envelope)
                .map_err(io::Error::from)
                .and_then(|()| writeln!(stdout))
        }
        (Some(bytes), _) => stdout.write_all(bytes),
        (None, Format::Quiet) => {
            // Nobody is left to tell when this fails.
            let _ = io::stderr().write_all(outcome.complaint().unwrap_or_default().as_bytes());
            Ok(())
        }
        (None, Format::Text) => write!(stdout, "{outcome}"),
    };
    match written.and_then(|()| stdout.flush()) {
        Ok(()) => Ok(outcome.exit_code()),
        // Whoever read our output has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(outcome.exit_code()),
        Err(error) => Err(Failure::caused(Code::environment("file.stdout"), &error)),
    }
}

fn print_failure(format: Format, failure: &Failure) {
    // Nobody is left to tell when these fail.
    if format == Format::Json {
        let envelope = Envelope { ok: false, result: None, error: Some(failure.into()) };
        if let Ok(text) = serde_json::to_string(&envelope) {
            let _ = writeln!(io::stdout(), "{text}");
        }
        return;
    }
    // What a message is made of may have lines of its own.
    let lines: Vec<String> = failure.message.lines().map(printable).collect();
    let mut text = format!("error: {} [{}]\n", lines.join("\n"), failure.code);
    for cause in &failure.causes {
        text.push_str(&format!("caused by: {cause}\n"));
    }
    if let Some(hint) = failure.hint() {
        text.push_str(&format!("hint: {hint}\n"));
    }
    let _ = io::stderr().write_all(text.as_bytes());
}
