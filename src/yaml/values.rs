//! Readers of values that several keys have: durations and files.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::reader::{self, Item};
use crate::clock::{TimeTextError, parse_duration};
use crate::files::{self, FileError};

/// Value that violates a rule of its kind, in any file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ValueError {
    #[error("`{given}` is not an address and port, such as 127.0.0.1:4523 or [::1]:4523")]
    Address { given: String },
    #[error("a whole number from 1 to 1000000 was expected")]
    Count,
    #[error(
        "`{given}` is not a duration: write a whole number and a unit (s, m, h, d, w or y), such as {given}s or {given}h"
    )]
    DurationWithoutUnit { given: u64 },
    #[error("no file is given")]
    NoFile,
    #[error("`{given}` is not a size: write a whole number and a unit (B, KiB, MiB or GiB), such as 64KiB")]
    Size { given: String },
}

/// Check that the directory of a file exists; the file itself need not.
pub(crate) fn in_directory(path: &Path) -> Result<(), FileError> {
    files::check_directory(files::parent(path))
}

/// Read the path of a file that passes `check`.
pub(crate) fn file(
    item: &Item<'_>,
    base: &Path,
    check: impl FnOnce(&Path) -> Result<(), FileError>,
) -> Option<PathBuf> {
    checked(item, base, check, files::parent)
}

/// Read the path of a directory that passes `check`.
pub(crate) fn directory(
    item: &Item<'_>,
    base: &Path,
    check: impl FnOnce(&Path) -> Result<(), FileError>,
) -> Option<PathBuf> {
    checked(item, base, check, |path| path)
}

/// Read a path that passes `check`. `directory_of` is the directory that has to exist for it.
fn checked(
    item: &Item<'_>,
    base: &Path,
    check: impl FnOnce(&Path) -> Result<(), FileError>,
    directory_of: impl FnOnce(&Path) -> &Path,
) -> Option<PathBuf> {
    if item.text()?.is_empty() {
        item.report(ValueError::NoFile);
        return None;
    }
    let path = base.join(item.text()?);
    let directory = directory_of(&path).to_owned();
    match check(&path) {
        Ok(()) => Some(path),
        Err(FileError::Io { path: missing, source, .. })
            if source.kind() == ErrorKind::NotFound && missing == directory =>
        {
            item.report_missing_directory(&missing);
            None
        }
        Err(error) => {
            let remedy = error.remedy().map(|remedy| format!(": {remedy}")).unwrap_or_default();
            item.report(format_args!("{}{remedy}", reader::Chain(&error)));
            None
        }
    }
}

/// Read the path of a file that is loaded with the configuration and determines trust: other users must not be
/// able to write it.
pub(crate) fn guarded(item: &Item<'_>, base: &Path) -> Option<PathBuf> {
    loaded(item, base, |path| item.key_files().check(path))
}

/// Read the path of a file that is loaded with the configuration and passes `check`.
pub(crate) fn loaded(
    item: &Item<'_>,
    base: &Path,
    check: impl FnOnce(&Path) -> Result<(), FileError>,
) -> Option<PathBuf> {
    file(item, base, |path| {
        item.names_loaded(path);
        check(path)
    })
}

/// Read a duration, such as `90s` or `1d12h`.
pub(crate) fn duration(item: &Item<'_>) -> Option<Duration> {
    with_unit(item, duration_of)
}

/// Read a duration by `parse`. Report a number without a unit.
pub(crate) fn with_unit<E: std::error::Error>(
    item: &Item<'_>,
    parse: impl FnOnce(&str) -> Result<Duration, E>,
) -> Option<Duration> {
    if let Some(given) = item.bare_number() {
        item.report(ValueError::DurationWithoutUnit { given });
        return None;
    }
    item.read(parse)
}

pub(crate) fn duration_of(text: &str) -> Result<Duration, TimeTextError> {
    parse_duration(text).map(time::Duration::unsigned_abs)
}

/// Parse an IP address and a port.
pub(crate) fn socket_address(text: &str) -> Result<SocketAddr, ValueError> {
    text.parse().map_err(|_| ValueError::Address { given: text.to_owned() })
}

/// Read a count, 1 to 1000000.
pub(crate) fn count(item: &Item<'_>) -> Option<usize> {
    match usize::try_from(item.number()?) {
        Ok(count) if (1..=1_000_000).contains(&count) => Some(count),
        _ => {
            item.report(ValueError::Count);
            None
        }
    }
}

/// Read a size in bytes, such as `64KiB` or `10MiB`.
pub(crate) fn size(item: &Item<'_>) -> Option<u64> {
    if let Some(given) = item.bare_number() {
        item.report(ValueError::Size { given: given.to_string() });
        return None;
    }
    item.read(|text| {
        let units = [("GiB", 30), ("MiB", 20), ("KiB", 10), ("B", 0)];
        let bytes = units.into_iter().find_map(|(unit, shift)| {
            let number = text.strip_suffix(unit)?;
            let plain = number.bytes().all(|byte| byte.is_ascii_digit());
            number.parse::<u64>().ok().filter(|_| plain)?.checked_mul(1 << shift)
        });
        bytes.filter(|bytes| *bytes > 0).ok_or_else(|| ValueError::Size { given: text.to_owned() })
    })
}
