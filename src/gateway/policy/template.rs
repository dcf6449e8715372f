//! Path templates of routes, such as `/v1/nodes/{name}/**`.

use std::fmt;
use std::str::FromStr;

use crate::error::{Code, Coded, excerpt};
use crate::gateway::message::path::{self, PathError, RequestPath};

/// Pattern of paths.
///
/// | written | matches |
/// |---|---|
/// | `nodes` | this segment, in every allowed spelling |
/// | `{name}` | one segment that is not empty; a rule can refer to its value |
/// | `*` | one segment that is not empty |
/// | `**` | the rest of the path, which may be empty; only at the end |
///
/// A trailing slash counts: `/v1` and `/v1/` are two paths, and `/v1/**` matches both. A call that a route denies is
/// denied in every `Reading` of its path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    text: String,
    pub(super) segments: Vec<Segment>,
}

/// Segment of a [`Template`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Segment {
    /// This text, with escapes decoded.
    Literal(String),
    /// Any segment, with the name of its variable, if any.
    Any(Option<String>),
    /// Rest of the path.
    Rest,
}

impl Template {
    /// Text of the template in the configuration.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Variable that is written `{name}`.
    #[must_use]
    pub fn variable(&self, name: &str) -> Option<Variable> {
        let named = |segment: &Segment| matches!(segment, Segment::Any(Some(given)) if given == name);
        self.segments.iter().position(named).map(|segment| Variable { segment })
    }
}

impl FromStr for Template {
    type Err = TemplateError;

    fn from_str(text: &str) -> Result<Self, TemplateError> {
        let below_root = text.strip_prefix('/').ok_or(PathError::NotOriginForm)?;
        let parts: Vec<_> = below_root.split('/').collect();
        let mut segments = Vec::with_capacity(parts.len());
        for (position, part) in parts.iter().enumerate() {
            let last = position + 1 == parts.len();
            if part.is_empty() && !last {
                return Err(PathError::EmptySegment.into());
            }
            let segment = Segment::read(part)?;
            if segment == Segment::Rest && !last {
                return Err(TemplateError::RestNotLast);
            }
            if let Segment::Any(Some(name)) = &segment
                && segments.contains(&segment)
            {
                return Err(TemplateError::RepeatedVariable { name: name.clone() });
            }
            segments.push(segment);
        }
        Ok(Self { text: text.to_owned(), segments })
    }
}

impl Segment {
    /// Return true for the empty segment after a trailing slash.
    pub(super) fn is_slash(&self) -> bool {
        matches!(self, Self::Literal(text) if text.is_empty())
    }

    fn read(text: &str) -> Result<Self, TemplateError> {
        match text {
            "**" => return Ok(Self::Rest),
            "*" => return Ok(Self::Any(None)),
            _ => {}
        }
        if let Some(name) = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')) {
            let word =
                |name: &str| name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
            return if name.starts_with(|c: char| c.is_ascii_lowercase()) && word(name) {
                Ok(Self::Any(Some(name.to_owned())))
            } else {
                Err(TemplateError::Variable { name: excerpt(name) })
            };
        }
        if text.contains(['*', '{', '}']) {
            return Err(TemplateError::PartOfSegment { segment: excerpt(text) });
        }
        path::check_segment(text)?;
        let literal = String::from_utf8(path::decoded(text).collect()).map_err(|_| PathError::NotUtf8)?;
        Ok(Self::Literal(literal))
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

/// Variable of a template: the position of its segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Variable {
    segment: usize,
}

impl Variable {
    /// Value of the variable in a path that the template matches.
    #[must_use]
    pub fn value_in(self, path: &RequestPath) -> Option<&str> {
        path.segments().nth(self.segment)
    }
}

/// Text that is not a valid [`Template`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TemplateError {
    /// A wildcard or variable is only a part of a segment.
    #[error("`{segment}`: `*`, `**` and `{{variable}}` must each be a whole segment")]
    PartOfSegment {
        /// Refused part of the template.
        segment: String,
    },
    /// No valid request path has this form.
    #[error(transparent)]
    Path(#[from] PathError),
    /// Two variables have the same name.
    #[error("the variable `{{{name}}}` is repeated")]
    RepeatedVariable {
        /// Name of the variable.
        name: String,
    },
    /// `**` is followed by another segment.
    #[error("`**` must be the last segment")]
    RestNotLast,
    /// The name of a variable is not allowed.
    #[error(
        "`{{{name}}}`: a variable consists of lower-case letters, digits and `_`, and begins with a letter"
    )]
    Variable {
        /// Refused name.
        name: String,
    },
}

impl Coded for TemplateError {
    fn coded(&self) -> Code {
        match self {
            Self::PartOfSegment { .. } => Code::refused("template.part_of_segment"),
            Self::Path(error) => error.coded(),
            Self::RepeatedVariable { .. } => Code::refused("template.repeated_variable"),
            Self::RestNotLast => Code::refused("template.rest_not_last"),
            Self::Variable { .. } => Code::refused("template.variable"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_displayed_as_it_was_parsed() {
        for text in ["/", "/**", "/v1/nodes/{name}/**", "/v1/*/x", "/v1/", "/caf%C3%A9/{a}/{b_2}", "/x:y"] {
            assert_eq!(text.parse::<Template>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn an_invalid_template_is_refused() {
        for (text, message) in [
            ("v1", "the path does not begin with `/`"),
            ("", "the path does not begin with `/`"),
            ("/a//b", "the path has an empty segment (`//`)"),
            ("/a/../b", "the path has a `.` or `..` segment"),
            ("/a%2fb", "the path has an encoded slash or backslash"),
            ("/a?b", "the path has the byte 0x3F, which must be percent-encoded"),
            ("/café", "the path has the byte 0xC3, which must be percent-encoded"),
            ("/**/b", "`**` must be the last segment"),
            ("/**/", "`**` must be the last segment"),
            ("/a*", "`a*`: `*`, `**` and `{variable}` must each be a whole segment"),
            ("/***", "`***`: `*`, `**` and `{variable}` must each be a whole segment"),
            ("/x-{id}", "`x-{id}`: `*`, `**` and `{variable}` must each be a whole segment"),
            ("/{", "`{`: `*`, `**` and `{variable}` must each be a whole segment"),
            ("/{a}/{a}", "the variable `{a}` is repeated"),
            (
                "/{}",
                "`{}`: a variable consists of lower-case letters, digits and `_`, and begins with a letter",
            ),
            (
                "/{A}",
                "`{A}`: a variable consists of lower-case letters, digits and `_`, and begins with a letter",
            ),
        ] {
            assert_eq!(text.parse::<Template>().unwrap_err().to_string(), message, "{text}");
        }
    }
}
