//! Parsed documents and places in them.

use std::collections::HashMap;
use std::fmt;
use std::sync::OnceLock;

use serde::de::DeserializeOwned;

use super::lines::line_index;
use super::problem::YamlProblem;
use super::segment::PathSegment;
use super::structure::check_structure;

/// Size limit in bytes of a document, and of the file it is read from.
pub const LIMIT: u64 = 64 << 10;

/// Parsed YAML document with a valid structure.
#[derive(Clone, Debug)]
pub struct Document {
    file: String,
    text: String,
    /// The line of each value, computed at the first use.
    lines: OnceLock<HashMap<Vec<PathSegment>, usize>>,
}

impl Document {
    /// Parse `bytes`; error messages call them `file`.
    ///
    /// # Errors
    /// [`YamlProblem`] unless they are one valid document of at most [`LIMIT`] bytes.
    pub fn parse(file: &str, bytes: &[u8]) -> Result<Self, YamlProblem> {
        Self::parse_within(LIMIT, file, bytes)
    }

    /// [`Document::parse`] with another size limit.
    ///
    /// # Errors
    /// [`YamlProblem`] unless the bytes are one valid document of at most `limit` bytes.
    pub fn parse_within(limit: u64, file: &str, bytes: &[u8]) -> Result<Self, YamlProblem> {
        let problem = |message| YamlProblem::new(file, None, message);
        if u64::try_from(bytes.len()).is_ok_and(|length| length > limit) {
            let limit = if limit >= 1 << 20 {
                format!("{} MiB", limit >> 20)
            } else {
                format!("{} KiB", limit >> 10)
            };
            return Err(problem(&format!("the file is larger than {limit}")));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| problem("the file is not UTF-8 text"))?;
        // A byte order mark may precede the text (YAML 1.2, section 5.2).
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let document = Self { file: file.to_owned(), text: text.to_owned(), lines: OnceLock::new() };
        check_structure(text).map_err(|error| document.translate(&error))?;
        Ok(document)
    }

    /// Deserialize the values.
    ///
    /// # Errors
    /// The first [`YamlProblem`]: a wrong type, a missing key or an unknown key.
    pub fn deserialize<T: DeserializeOwned>(&self) -> Result<T, YamlProblem> {
        serde_yaml::from_str(&self.text).map_err(|error| self.translate(&error))
    }

    /// The place of the whole document; [`Place::at`] descends from there.
    #[must_use]
    pub fn root(&self) -> Place<'_> {
        Place { document: self, segments: Vec::new() }
    }

    /// The place of a key in the top-level mapping.
    pub fn at(&self, key: impl Into<PathSegment>) -> Place<'_> {
        self.root().at(key)
    }

    fn lines(&self) -> &HashMap<Vec<PathSegment>, usize> {
        self.lines.get_or_init(|| line_index(&self.text))
    }

    fn translate(&self, error: &serde_yaml::Error) -> YamlProblem {
        let mut message = error.to_string();
        let location = error.location();
        if let Some(location) = &location {
            let suffix = format!(" at line {} column {}", location.line(), location.column());
            message = message.replacen(&suffix, "", 1);
        }
        YamlProblem::new(&self.file, location.map(|location| location.line()), &message)
    }
}

/// Path to a present or missing value of a document: `document.at("routes").at(2).at("path")`.
///
/// It is displayed as `routes[2].path`.
#[derive(Clone, Debug)]
pub struct Place<'a> {
    document: &'a Document,
    segments: Vec<PathSegment>,
}

impl Place<'_> {
    /// The place of a key or element of this value.
    #[must_use]
    pub fn at(&self, segment: impl Into<PathSegment>) -> Self {
        let mut segments = self.segments.clone();
        segments.push(segment.into());
        Self { document: self.document, segments }
    }

    /// The line of the value, counted from one. A missing value has the line of its parent.
    #[must_use]
    pub fn line(&self) -> Option<usize> {
        let lines = self.document.lines();
        let mut segments = self.segments.as_slice();
        loop {
            if let Some(line) = lines.get(segments) {
                return Some(*line);
            }
            segments = segments.split_last()?.1;
        }
    }

    /// Report a mistake at this place; `message` follows the displayed path.
    pub fn problem(&self, message: impl fmt::Display) -> YamlProblem {
        let message =
            if self.segments.is_empty() { message.to_string() } else { format!("{self}: {message}") };
        YamlProblem::new(&self.document.file, self.line(), &message)
    }
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (depth, segment) in self.segments.iter().enumerate() {
            match segment {
                PathSegment::Key(key) if depth == 0 => f.write_str(key)?,
                PathSegment::Key(key) => write!(f, ".{key}")?,
                PathSegment::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}
