//! Keys of YAML files, in tables that a file's reader and its manual page share.

/// A YAML file that users write.
#[derive(Debug)]
pub struct FileSchema {
    /// File name, which is also the name of its manual page.
    pub name: &'static str,
    /// Purpose of the file, in one line without a full stop.
    pub about: &'static str,
    /// Rules that hold for all of it, one paragraph each.
    pub notes: &'static [&'static str],
    /// Its mappings, the outermost first.
    pub mappings: &'static [&'static MappingSchema],
}

/// The keys of one mapping.
#[derive(Debug)]
pub struct MappingSchema {
    /// Its place in the file, such as `routes[]`; empty for the outermost.
    pub path: &'static str,
    /// The keys, in the order in which error texts list them.
    pub keys: &'static [KeySchema],
}

/// A key of a mapping.
#[derive(Debug)]
pub struct KeySchema {
    /// Key as it is written in the file.
    pub name: &'static str,
    /// Type of its value, with unit and bounds.
    pub value: &'static str,
    /// The value where the key is absent.
    pub absent: Absent,
    /// Meaning, in one sentence.
    pub about: &'static str,
    /// True if a changed value needs a restart.
    pub needs_restart: bool,
}

/// The value of an absent key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absent {
    /// A mistake.
    Refused,
    /// This YAML value.
    Default(&'static str),
    /// Described by this text.
    Means(&'static str),
}

impl KeySchema {
    /// A key that must be present.
    #[must_use]
    pub const fn required(name: &'static str, value: &'static str, about: &'static str) -> Self {
        Self { name, value, absent: Absent::Refused, about, needs_restart: false }
    }

    /// A key with a default, written as YAML.
    #[must_use]
    pub const fn with_default(
        name: &'static str,
        value: &'static str,
        default: &'static str,
        about: &'static str,
    ) -> Self {
        Self { name, value, absent: Absent::Default(default), about, needs_restart: false }
    }

    /// A key whose absence has a meaning of its own.
    #[must_use]
    pub const fn optional(
        name: &'static str,
        value: &'static str,
        absent: &'static str,
        about: &'static str,
    ) -> Self {
        Self { name, value, absent: Absent::Means(absent), about, needs_restart: false }
    }

    /// The key, whose changed value is in force only after a restart.
    #[must_use]
    pub const fn after_restart(self) -> Self {
        Self { needs_restart: true, ..self }
    }
}

impl MappingSchema {
    /// Look a key up by its name.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.keys.iter().any(|key| key.name == name)
    }

    /// The names of all keys, for an error text.
    #[must_use]
    pub fn names(&self) -> String {
        self.keys.iter().map(|key| key.name).collect::<Vec<_>>().join(", ")
    }
}
