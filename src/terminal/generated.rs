//! Output made from the command tree, so that it cannot disagree with it.

use std::fmt;

use crate::terminal::report::Outcome;

/// Bytes made from the command tree.
pub(crate) struct Generated(pub(crate) Vec<u8>);

impl fmt::Display for Generated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

impl Outcome for Generated {
    fn json(&self) -> Result<serde_json::Value, serde_json::Error> {
        Ok(serde_json::Value::String(self.to_string()))
    }

    fn raw(&self) -> Option<&[u8]> {
        Some(&self.0)
    }
}
