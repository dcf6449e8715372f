//! Values written as YAML.

use std::fmt;

use serde::Serialize;

/// Write `value` as YAML.
///
/// # Errors
/// An error of `f`, or a value that YAML cannot express.
pub fn write<T: Serialize>(value: &T, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str(&serde_yaml::to_string(value).map_err(|_| fmt::Error)?)
}
