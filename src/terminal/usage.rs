//! Usage errors of both programs.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::error::{Code, excerpt};
use crate::terminal::escaped::{EscapeForm, EscapingWriter, has_effect};
use crate::terminal::guide;
use crate::terminal::report::{self, Failure, Format};

/// Names of the two programs.
const CA: &str = "cluster-ca";
const GATEWAY: &str = "cluster-gateway";

/// Most characters of an argument that are quoted unchanged.
const QUOTED: usize = 80;

/// Report a usage error: as clap's text, or as a JSON envelope with `--json`.
pub(crate) fn refuse(program: &str, arguments: &[OsString], mut error: clap::Error) -> ExitCode {
    let tip = tip(program, &error);
    shorten(&mut error);
    if error.use_stderr() && arguments.iter().any(|argument| argument == "--json") {
        let failure = Failure::new(Code::usage("usage.arguments"), usage_message(&error))
            .with_hint(tip.unwrap_or_else(|| format!("see {program} --help")));
        return report::finish(Format::Json, Err(failure));
    }
    if let Some(tip) = tip {
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
    }
    // A failing write cannot be reported.
    let _ = print(arguments, &error);
    ExitCode::from(if error.use_stderr() { 2 } else { 0 })
}

/// Print clap's text: without colors, and escaped, if it may quote an argument that has an effect on a terminal.
fn print(arguments: &[OsString], error: &clap::Error) -> io::Result<()> {
    if !error.use_stderr()
        || !arguments.iter().any(|argument| argument.to_string_lossy().contains(has_effect))
    {
        return error.print();
    }
    let text = error.render().to_string();
    EscapingWriter::new(io::stderr(), EscapeForm::Text).write_all(text.as_bytes())
}

/// The way out that clap cannot know: the other program's guides, and the configuration file as an argument.
fn tip(program: &str, error: &clap::Error) -> Option<String> {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    let argument = text(ContextKind::InvalidArg)?;
    match error.kind() {
        ErrorKind::InvalidValue if argument == "[TOPIC]" => {
            let topic = text(ContextKind::InvalidValue)?;
            let other = if program == CA { GATEWAY } else { CA };
            guide::has(other == GATEWAY, topic).then(|| format!("{other} guide {topic}"))
        }
        ErrorKind::UnknownArgument if program == GATEWAY && !argument.starts_with('-') => {
            Path::new(argument).is_file().then(|| format!("--config {argument}"))
        }
        _ => None,
    }
}

/// Shorten long arguments that clap would quote whole.
fn shorten(error: &mut clap::Error) {
    for kind in [ContextKind::InvalidArg, ContextKind::InvalidSubcommand, ContextKind::InvalidValue] {
        if let Some(ContextValue::String(text)) = error.get(kind)
            && text.chars().nth(QUOTED).is_some()
        {
            let short = ContextValue::String(excerpt(text));
            error.insert(kind, short);
            // A suggestion may repeat the argument.
            error.insert(ContextKind::Suggested, ContextValue::None);
        }
    }
}

/// Message of a usage error in one line, without clap's usage and tips.
fn usage_message(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let lines: Vec<&str> = text.lines().map(str::trim).take_while(|line| !line.is_empty()).collect();
    let message = lines.join(" ");
    message.strip_prefix("error: ").unwrap_or(&message).to_owned()
}
