//! Readers of values that several keys have: durations and files.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::error::ConfigError;
use super::reader::{self, Item};
use crate::clock::{TimeTextError, parse_duration};
use crate::files::{self, FileError};

/// Checks that the directory of a file exists; the file itself need not.
pub(super) fn in_directory(path: &Path) -> Result<(), FileError> {
    files::check_directory(files::parent(path))
}

/// Reads the path of a file that passes `check`.
pub(super) fn file(
    item: &Item<'_>,
    base: &Path,
    check: impl FnOnce(&Path) -> Result<(), FileError>,
) -> Option<PathBuf> {
    if item.text()?.is_empty() {
        item.report(ConfigError::NoFile);
        return None;
    }
    let path = base.join(item.text()?);
    match check(&path) {
        Ok(()) => Some(path),
        Err(error) => {
            let remedy = error.remedy().map(|remedy| format!(": {remedy}")).unwrap_or_default();
            item.report(format_args!("{}{remedy}", reader::Chain(&error)));
            None
        }
    }
}

/// Reads the path of a file that is loaded with the configuration and determines trust: other users must not be
/// able to write it.
pub(super) fn guarded(item: &Item<'_>, base: &Path) -> Option<PathBuf> {
    loaded(item, base, |path| item.key_files().check(path))
}

/// Reads the path of a file that is loaded with the configuration and passes `check`.
pub(super) fn loaded(
    item: &Item<'_>,
    base: &Path,
    check: impl FnOnce(&Path) -> Result<(), FileError>,
) -> Option<PathBuf> {
    file(item, base, |path| {
        item.names_loaded(path);
        check(path)
    })
}

pub(super) fn duration(item: &Item<'_>) -> Option<Duration> {
    with_unit(item, duration_of)
}

/// Reads a duration by `parse`. Reports a number without a unit.
pub(super) fn with_unit<E: std::error::Error>(
    item: &Item<'_>,
    parse: impl FnOnce(&str) -> Result<Duration, E>,
) -> Option<Duration> {
    if let Some(given) = item.bare_number() {
        item.report(ConfigError::DurationWithoutUnit { given });
        return None;
    }
    item.read(parse)
}

pub(super) fn duration_of(text: &str) -> Result<Duration, TimeTextError> {
    parse_duration(text).map(time::Duration::unsigned_abs)
}

/// Reads a count, 1 to 1000000.
pub(super) fn count(item: &Item<'_>) -> Option<usize> {
    match usize::try_from(item.number()?) {
        Ok(count) if (1..=1_000_000).contains(&count) => Some(count),
        _ => {
            item.report(ConfigError::Count);
            None
        }
    }
}

/// Reads a size in bytes, such as `64KiB` or `10MiB`.
pub(super) fn size(item: &Item<'_>) -> Option<u64> {
    if let Some(given) = item.bare_number() {
        item.report(ConfigError::Size { given: given.to_string() });
        return None;
    }
    item.read(|text| {
        let units = [("GiB", 30), ("MiB", 20), ("KiB", 10), ("B", 0)];
        let bytes = units.into_iter().find_map(|(unit, shift)| {
            let number = text.strip_suffix(unit)?;
            let plain = number.bytes().all(|byte| byte.is_ascii_digit());
            number.parse::<u64>().ok().filter(|_| plain)?.checked_mul(1 << shift)
        });
        bytes.filter(|bytes| *bytes > 0).ok_or_else(|| ConfigError::Size { given: text.to_owned() })
    })
}
