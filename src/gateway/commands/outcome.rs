//! Results and errors of the commands.

use std::fmt;

use serde::Serialize;

use crate::gateway::process::RunError;
use crate::terminal::hints::Audience;
use crate::terminal::report::{CommandOutcome, CommandResult, Failure};

/// Result with its verdict: good or not.
struct CheckedResult<T> {
    value: T,
    is_good: bool,
}

impl<T: fmt::Display> fmt::Display for CheckedResult<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}

impl<T: fmt::Display + Serialize> CommandOutcome for CheckedResult<T> {
    fn json(&self) -> Result<serde_json::Value, serde_json::Error> {
        serde_json::to_value(&self.value)
    }

    fn exit_code(&self) -> u8 {
        u8::from(!self.is_good)
    }
}

/// CommandOutcome of a command. It exits 1 if the result is not good.
pub(crate) fn checked<T: fmt::Display + Serialize + 'static>(
    result: Result<T, RunError>,
    is_good: impl Fn(&T) -> bool,
) -> CommandResult {
    let value = result.map_err(|error| failure(&error))?;
    Ok(Box::new(CheckedResult { is_good: is_good(&value), value }))
}

/// Error with the hint for gateway operators. The causes of an invalid configuration are all its problems.
pub(crate) fn failure(error: &RunError) -> Failure {
    let failure = Failure::of(error).read_by(Audience::Gateway);
    match error {
        RunError::Configuration { problems, .. } => {
            failure.with_causes(problems.iter().map(ToString::to_string).collect())
        }
        _ => failure,
    }
}
