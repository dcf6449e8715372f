//! JSON bodies of the gateway's own responses.

use bytes::Bytes;
use serde::Serialize;

/// `value` on one line, with a line feed at its end.
///
/// # Errors
/// As [`serde_json::to_vec`].
pub fn line(value: &impl Serialize) -> Result<Bytes, serde_json::Error> {
    let mut text = serde_json::to_vec(value)?;
    text.push(b'\n');
    Ok(text.into())
}

/// `value` on several lines for people to read, with a line feed at its end.
///
/// # Errors
/// As [`serde_json::to_vec_pretty`].
pub fn pretty(value: &impl Serialize) -> Result<Bytes, serde_json::Error> {
    let mut text = serde_json::to_vec_pretty(value)?;
    text.push(b'\n');
    Ok(text.into())
}
