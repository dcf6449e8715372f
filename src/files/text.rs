//! Paths in serialized output.

use std::path::{Path, PathBuf};

use serde::Serializer;

/// Serialize a path as text, for `serialize_with`. Bytes that are not UTF-8 are replaced: reporting a
/// completed operation must not fail because of a file name.
///
/// # Errors
/// The serializer's errors.
pub fn as_text<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&path.display())
}

/// [`as_text`] for an optional path.
///
/// # Errors
/// The serializer's errors.
pub fn as_optional_text<S: Serializer>(path: &Option<PathBuf>, serializer: S) -> Result<S::Ok, S::Error> {
    match path {
        Some(path) => as_text(path, serializer),
        None => serializer.serialize_none(),
    }
}

/// [`as_text`] for several paths.
///
/// # Errors
/// The serializer's errors.
pub fn all_as_text<S: Serializer>(paths: &[PathBuf], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(paths.iter().map(|path| path.display().to_string()))
}
