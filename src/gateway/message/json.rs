//! JSON bodies of the gateway's own responses.

use bytes::Bytes;
use serde::Serialize;

/// Serialize `value` on one line, with a trailing line feed.
///
/// # Errors
/// As [`serde_json::to_vec`].
pub fn line(value: &impl Serialize) -> Result<Bytes, serde_json::Error> {
    let mut text = serde_json::to_vec(value)?;
    text.push(b'\n');
    Ok(text.into())
}

/// Serialize `value` indented, with a trailing line feed.
///
/// # Errors
/// As [`serde_json::to_vec_pretty`].
pub fn pretty(value: &impl Serialize) -> Result<Bytes, serde_json::Error> {
    let mut text = serde_json::to_vec_pretty(value)?;
    text.push(b'\n');
    Ok(text.into())
}
