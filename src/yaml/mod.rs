//! YAML files that users write, with the file and line of every mistake.
//!
//! A [`Document`] is structurally valid: one document, small, without duplicate keys, tags or alias bombs.
//! [`Document::deserialize`] gives its values. A violated rule is reported at the [`Place`] of the value. The
//! meaning of the values is left to the caller.
//!
//! | file | contents |
//! |---|---|
//! | `document` | [`Document`] and [`Place`] |
//! | `segment` | steps of a path into a document |
//! | `problem` | a mistake with file and line |
//! | `structure` | refusal of duplicate keys, tags, deep nesting and alias bombs |
//! | `lines` | the line of every value |
//! | `reader` | typed values with every mistake reported, not only the first |
//! | `values` | durations, sizes, addresses and files |
//! | `write` | values written as YAML |

mod document;
mod lines;
mod problem;
pub(crate) mod reader;
mod segment;
mod structure;
pub(crate) mod values;
mod write;

#[cfg(test)]
mod tests;

pub use document::{Document, LIMIT, Place};
pub use problem::YamlProblem;
pub use segment::PathSegment;
pub use write::write;
