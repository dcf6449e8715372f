//! Output generated from the command tree or compiled-in text.

use std::fmt;

use crate::terminal::report::CommandOutcome;

/// Output that even `--quiet` prints.
pub(crate) struct Generated(pub(crate) Vec<u8>);

impl fmt::Display for Generated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

impl CommandOutcome for Generated {
    fn json(&self) -> Result<serde_json::Value, serde_json::Error> {
        Ok(serde_json::Value::String(self.to_string()))
    }

    fn raw(&self) -> Option<&[u8]> {
        Some(&self.0)
    }
}
