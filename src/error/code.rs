//! A stable code with its class.

use std::fmt;

use serde::Serialize;

use super::class::Class;

/// A stable code, `area.reason` in lower case, and the class that it belongs to.
///
/// Programs compare codes, so a code keeps its meaning and its class from one version to the next. Text and JSON
/// show the name alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code {
    name: &'static str,
    class: Class,
}

impl Code {
    /// A code of [`Class::Refused`].
    #[must_use]
    pub const fn refused(name: &'static str) -> Self {
        Self { name, class: Class::Refused }
    }

    /// A code of [`Class::Usage`].
    #[must_use]
    pub const fn usage(name: &'static str) -> Self {
        Self { name, class: Class::Usage }
    }

    /// A code of [`Class::Environment`].
    #[must_use]
    pub const fn environment(name: &'static str) -> Self {
        Self { name, class: Class::Environment }
    }

    /// A code of [`Class::Unavailable`].
    #[must_use]
    pub const fn unavailable(name: &'static str) -> Self {
        Self { name, class: Class::Unavailable }
    }

    /// The name, such as `ca.already_revoked`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.name
    }

    /// The class, which decides on the exit code.
    #[must_use]
    pub const fn class(self) -> Class {
        self.class
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl Serialize for Code {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name)
    }
}
