//! Output of commands: prints a result or an error as text or JSON, and sets the exit code.
//!
//! Commands return values, and errors state facts. Hints are added here by error code, so that the library
//! contains no advice about commands.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use serde::Serialize;

use crate::error::{Class, Code, Coded, causes};
use crate::files;

use crate::terminal::escaped::{EscapeForm, EscapingWriter, one_line};
use crate::terminal::hints::{Audience, hint};

/// Result of a command: `Display` for people, JSON for programs.
pub(crate) trait CommandOutcome: fmt::Display {
    /// The `result` of the JSON envelope.
    fn json(&self) -> Result<serde_json::Value, serde_json::Error>;

    /// Exit code. A check with findings returns 1: not an error, but `ok` is false.
    fn exit_code(&self) -> u8 {
        0
    }

    /// Text that `--quiet` prints on stderr for a nonzero exit code.
    fn complaint(&self) -> Option<String> {
        (self.exit_code() != 0).then(|| self.to_string())
    }

    /// Bytes that even `--quiet` prints: shell completions, a man page.
    fn raw(&self) -> Option<&[u8]> {
        None
    }

    /// Print a result that may be too long for memory while it is read, and return the exit code. `None` for any
    /// other result.
    fn stream(&self, _format: Format, _out: &mut dyn Write) -> Option<Result<u8, Interruption>> {
        None
    }
}

/// Result or failure of any command.
pub(crate) type CommandResult = Result<Box<dyn CommandOutcome>, Failure>;

/// Any value that can be shown and serialized, with exit code 0.
pub(crate) struct Shown<T>(pub(crate) T);

impl<T: fmt::Display> fmt::Display for Shown<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<T: fmt::Display + Serialize> CommandOutcome for Shown<T> {
    fn json(&self) -> Result<serde_json::Value, serde_json::Error> {
        serde_json::to_value(&self.0)
    }
}

/// Format a path as the user would type it: relative if it is below the current directory.
pub(crate) fn typed(path: &Path) -> String {
    let here = std::env::current_dir().ok().and_then(|here| files::absolute(&here).ok());
    let below = here.as_deref().and_then(|here| path.strip_prefix(here).ok()).unwrap_or(path);
    match below.strip_prefix(".").unwrap_or(below) {
        here if here.as_os_str().is_empty() => ".".to_owned(),
        below => one_line(&below.display().to_string()),
    }
}

/// Count with its noun, such as `1 revocation` or `2 revocations`.
pub(crate) fn counted(count: impl Into<u64>, noun: &str) -> String {
    match count.into() {
        1 => format!("1 {noun}"),
        count => format!("{count} {noun}s"),
    }
}

/// Output format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// Text for people.
    Text,
    /// One JSON object, `{"ok": …}`.
    Json,
    /// Errors only.
    Quiet,
}

impl Format {
    /// Format that `--json` and `--quiet` select.
    pub(crate) fn of(is_json: bool, is_quiet: bool) -> Self {
        match (is_json, is_quiet) {
            (true, _) => Self::Json,
            (_, true) => Self::Quiet,
            _ => Self::Text,
        }
    }
}

/// Error as reported to the user: code, message, causes and hint.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    code: Cow<'static, str>,
    class: Class,
    reader: Audience,
    message: String,
    causes: Vec<String>,
    /// Hint for this case; without one, the table of [`hint`] applies.
    hint: Option<String>,
}

impl Failure {
    /// An error of the command line.
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self::named(code.name(), code.class(), message)
    }

    /// Error with a code that another process gave.
    pub(crate) fn named(
        code: impl Into<Cow<'static, str>>,
        class: Class,
        message: impl Into<String>,
    ) -> Self {
        let (code, message) = (code.into(), message.into());
        Self { code, class, reader: Audience::Ca, message, causes: Vec::new(), hint: None }
    }

    /// An error of this library, with its code.
    pub(crate) fn of(error: &dyn Coded) -> Self {
        Self::new(error.coded(), error.to_string()).with_causes(causes(error))
    }

    /// An error without a code, such as an I/O error.
    pub(crate) fn caused(code: Code, error: &dyn std::error::Error) -> Self {
        Self::new(code, error.to_string()).with_causes(causes(error))
    }

    /// Take the hint for `reader` from the table. The default is [`Audience::Ca`].
    #[must_use]
    pub(crate) fn read_by(mut self, reader: Audience) -> Self {
        self.reader = reader;
        self
    }

    /// Set the hint for this case.
    #[must_use]
    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Prefixes the message with a file.
    #[must_use]
    pub(crate) fn about(self, file: &Path) -> Self {
        self.at(file.display())
    }

    /// Prefixes the message with a place.
    #[must_use]
    pub(crate) fn at(mut self, place: impl fmt::Display) -> Self {
        self.message = format!("{place}: {}", self.message);
        self
    }

    /// Set the causes.
    #[must_use]
    pub(crate) fn with_causes(mut self, causes: Vec<String>) -> Self {
        self.causes = causes;
        self
    }

    /// True for a failure with this code.
    pub(crate) fn is(&self, code: &str) -> bool {
        self.code == code
    }

    /// Hints at the option for another output, if a file is in the way.
    #[must_use]
    pub(crate) fn or_elsewhere(self, option: &str) -> Self {
        if !self.is("file.exists") {
            return self;
        }
        self.with_hint(format!(
            "nothing was overwritten; move the file away, or choose another place with {option}"
        ))
    }

    /// Hints at `--all-generations`, if several certificates match.
    #[must_use]
    pub(crate) fn or_all_generations(self) -> Self {
        if !self.is("ca.ambiguous") {
            return self;
        }
        self.read_by(Audience::Bulk)
    }

    pub(crate) fn hint(&self) -> Option<&str> {
        self.hint.as_deref().or_else(|| hint(self.reader, &self.code))
    }

    /// Exit code of the class of the error.
    pub(crate) fn exit_code(&self) -> u8 {
        self.class.exit_code()
    }
}

impl<E: Coded> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::of(&error)
    }
}

/// End of a listing before its last row.
#[derive(Debug)]
pub(crate) enum Interruption {
    /// Enough rows were printed.
    Limit,
    /// The output cannot be written.
    Output(io::Error),
    /// The next row cannot be read.
    Source(Failure),
}

impl Interruption {
    pub(crate) fn json(error: serde_json::Error) -> Self {
        Self::Source(Failure::caused(Code::environment("system.json"), &error))
    }

    pub(crate) fn format(error: fmt::Error) -> Self {
        Self::Output(io::Error::other(error))
    }
}

impl<E: Coded> From<E> for Interruption {
    fn from(error: E) -> Self {
        Self::Source(Failure::of(&error))
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
        Self { code: &failure.code, message: &failure.message, causes: &failure.causes, hint: failure.hint() }
    }
}

/// JSON of a failure within a result.
impl Serialize for Failure {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        ErrorBody::from(self).serialize(serializer)
    }
}

/// Message, code and causes, without hint.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} [{}]", self.message, self.code)?;
        self.causes.iter().try_for_each(|cause| write!(f, "\n           caused by: {cause}"))
    }
}

/// Print the result of a command, and return the exit code.
pub(crate) fn finish(format: Format, result: CommandResult) -> ExitCode {
    match result.and_then(|outcome| print(format, outcome.as_ref())) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            print_failure(format, &failure);
            ExitCode::from(failure.exit_code())
        }
    }
}

fn print(format: Format, outcome: &dyn CommandOutcome) -> Result<u8, Failure> {
    let mut stdout = io::stdout().lock();
    if let Some(streamed) = outcome.stream(format, &mut stdout) {
        let flushed = streamed.and_then(|code| stdout.flush().map(|()| code).map_err(Interruption::Output));
        return match flushed {
            Ok(code) => Ok(code),
            Err(Interruption::Source(failure)) => Err(failure),
            Err(Interruption::Limit) => Ok(0),
            Err(Interruption::Output(error)) => not_written(error, 0)
                .map_err(|failure| failure.with_hint("the output is incomplete; write it to another place")),
        };
    }
    let written = match (outcome.raw(), format) {
        (_, Format::Json) => {
            let result =
                outcome.json().map_err(|error| Failure::caused(Code::environment("system.json"), &error))?;
            let envelope = Envelope { ok: outcome.exit_code() == 0, result: Some(result), error: None };
            serde_json::to_writer(EscapingWriter::new(&mut stdout, EscapeForm::Json), &envelope)
                .map_err(io::Error::from)
                .and_then(|()| writeln!(stdout))
        }
        (Some(bytes), _) => stdout.write_all(bytes),
        (None, Format::Quiet) => {
            // A failing write to stderr cannot be reported.
            let complaint = outcome.complaint().unwrap_or_default();
            let _ = EscapingWriter::new(io::stderr(), EscapeForm::Text).write_all(complaint.as_bytes());
            Ok(())
        }
        (None, Format::Text) => write!(EscapingWriter::new(&mut stdout, EscapeForm::Colored), "{outcome}"),
    };
    match written.and_then(|()| stdout.flush()) {
        Ok(()) => Ok(outcome.exit_code()),
        Err(error) => not_written(error, outcome.exit_code()).map_err(|failure| match outcome.raw() {
            Some(_) => failure.with_hint("the output is incomplete; write it to another place"),
            None => {
                repeat_on_stderr(format, outcome);
                failure.with_hint("the command was carried out; do not repeat it. Its report is above")
            }
        }),
    }
}

/// Print a report on stderr that stdout did not take: it may name a key that was made, or a revocation.
fn repeat_on_stderr(format: Format, outcome: &dyn CommandOutcome) {
    match (format, outcome.json()) {
        (Format::Json, Ok(result)) => {
            let envelope = Envelope { ok: outcome.exit_code() == 0, result: Some(result), error: None };
            let mut text = serde_json::to_string(&envelope).unwrap_or_default();
            text.push('\n');
            let _ = EscapingWriter::new(io::stderr(), EscapeForm::Json).write_all(text.as_bytes());
        }
        _ => {
            let _ =
                EscapingWriter::new(io::stderr(), EscapeForm::Text).write_all(outcome.to_string().as_bytes());
        }
    }
}

/// A reader that closed the pipe, such as `head`, needs no more.
fn not_written(error: io::Error, exit_code: u8) -> Result<u8, Failure> {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Ok(exit_code),
        _ => Err(Failure::caused(Code::environment("file.stdout"), &error).at("cannot write to stdout")),
    }
}

fn print_failure(format: Format, failure: &Failure) {
    if format == Format::Json && print_failure_as_json(failure) {
        return;
    }
    // A message may contain several lines.
    let lines: Vec<String> = failure.message.lines().map(one_line).collect();
    let mut text = format!("error: {} [{}]\n", lines.join("\n"), failure.code);
    for cause in &failure.causes {
        text.push_str(&format!(
            "caused by: {}\n",
            cause.lines().map(one_line).collect::<Vec<_>>().join("\n")
        ));
    }
    if let Some(hint) = failure.hint() {
        text.push_str(&format!("hint: {hint}\n"));
    }
    // A failing write of the failure itself cannot be reported.
    let _ = EscapingWriter::new(io::stderr(), EscapeForm::Text).write_all(text.as_bytes());
}

/// Print the envelope of a failure. False if stdout does not take it.
fn print_failure_as_json(failure: &Failure) -> bool {
    let envelope = Envelope { ok: false, result: None, error: Some(failure.into()) };
    let Ok(text) = serde_json::to_string(&envelope) else { return false };
    let mut stdout = io::stdout().lock();
    let written = writeln!(EscapingWriter::new(&mut stdout, EscapeForm::Json), "{text}");
    match written.and_then(|()| stdout.flush()) {
        Ok(()) => true,
        Err(error) => error.kind() == io::ErrorKind::BrokenPipe,
    }
}
