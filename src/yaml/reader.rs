//! Reader of values from a YAML document. It reports every problem, not only the first one.

use std::cell::RefCell;
use std::error::Error;
use std::fmt;
use std::path::{Path, PathBuf};

use serde_yaml::{Mapping, Value};

use super::document::Place;
use super::problem::YamlProblem;
use super::segment::PathSegment;
use crate::file_schema::MappingSchema;
use crate::files::{self, FileError};

/// Findings of a reader: problems, and files that are to be loaded.
#[derive(Debug, Default)]
pub(crate) struct Problems {
    own: RefCell<Vec<YamlProblem>>,
    missing_directories: RefCell<Vec<PathBuf>>,
    of_named_files: RefCell<Vec<YamlProblem>>,
    key_files: KeyFiles,
    loaded_files: RefCell<Vec<PathBuf>>,
}

/// Checks of private key files and of the files that open them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum KeyFiles {
    /// Files must exist with safe permissions.
    #[default]
    Checked,
    /// Files may be missing: an offline command may run elsewhere or as another user.
    Unchecked,
}

impl KeyFiles {
    /// Check a file that determines trust. For offline commands it must only be readable.
    pub(crate) fn check(self, path: &Path) -> Result<(), FileError> {
        match self {
            Self::Checked => files::check_write_protected(path),
            Self::Unchecked => files::check_readable(path),
        }
    }
}

impl Problems {
    /// No problems yet.
    pub(crate) fn of(key_files: KeyFiles) -> Self {
        Self { key_files, ..Self::default() }
    }

    /// Files to load, including missing ones.
    pub(crate) fn loaded_files(&self) -> Vec<PathBuf> {
        self.loaded_files.borrow().clone()
    }

    /// All problems, in the order of the file. Problems of files that it names come last.
    pub(crate) fn into_sorted(self) -> Vec<YamlProblem> {
        let mut problems = self.own.into_inner();
        problems.sort_by_key(|problem| problem.line);
        problems.append(&mut self.of_named_files.into_inner());
        problems
    }
}

/// Value with its place in the document. Readers report a problem and return `None` or an empty result.
#[derive(Clone, Debug)]
pub(crate) struct Item<'a> {
    value: &'a Value,
    place: Place<'a>,
    problems: &'a Problems,
}

impl<'a> Item<'a> {
    pub(crate) const fn new(value: &'a Value, place: Place<'a>, problems: &'a Problems) -> Self {
        Self { value, place, problems }
    }

    /// Report a problem at the place of the value.
    pub(crate) fn report(&self, message: impl fmt::Display) {
        self.problems.own.borrow_mut().push(self.place.problem(message));
    }

    /// Report a missing directory, with the command that creates it. Further values that need it are not reported.
    pub(crate) fn report_missing_directory(&self, directory: &Path) {
        let mut missing = self.problems.missing_directories.borrow_mut();
        if missing.iter().all(|known| known != directory) {
            missing.push(directory.to_owned());
            let directory = directory.display();
            self.report(format_args!("the directory {directory} does not exist: mkdir -m 0700 {directory}"));
        }
    }

    /// Checks of key files that apply to the document.
    pub(crate) fn key_files(&self) -> KeyFiles {
        self.problems.key_files
    }

    /// Record a file to load.
    pub(crate) fn names_loaded(&self, path: &Path) {
        self.problems.loaded_files.borrow_mut().push(path.to_owned());
    }

    /// Reports problems in a file that the value names.
    pub(crate) fn report_of_file(&self, mut problems: Vec<YamlProblem>) {
        self.problems.of_named_files.borrow_mut().append(&mut problems);
    }

    /// Line of the value, from 1.
    pub(crate) fn line(&self) -> usize {
        self.place.line().unwrap_or(1)
    }

    /// Return true for text.
    pub(crate) fn is_text(&self) -> bool {
        self.value.is_string()
    }

    /// Return true for a list.
    pub(crate) fn is_list(&self) -> bool {
        self.value.is_sequence()
    }

    /// Return true for a mapping.
    pub(crate) fn is_mapping(&self) -> bool {
        self.value.is_mapping()
    }

    /// Value as text.
    pub(crate) fn text(&self) -> Option<&'a str> {
        self.value.as_str().or_else(|| self.is_not("text"))
    }

    /// Value as text, parsed by `parse`.
    pub(crate) fn read<T, E: Error>(&self, parse: impl FnOnce(&str) -> Result<T, E>) -> Option<T> {
        parse(self.text()?).map_err(|error| self.report(Chain(&error))).ok()
    }

    /// Value as a whole number.
    pub(crate) fn number(&self) -> Option<u64> {
        self.value.as_u64().or_else(|| self.is_not("a whole number"))
    }

    /// Value as true or false.
    pub(crate) fn flag(&self) -> Option<bool> {
        self.value.as_bool().or_else(|| self.is_not("true or false"))
    }

    /// Value as a whole number; reports nothing for other values.
    pub(crate) fn bare_number(&self) -> Option<u64> {
        self.value.as_u64()
    }

    /// Elements of a list.
    pub(crate) fn list(&self) -> Option<Vec<Self>> {
        let list = self.value.as_sequence().or_else(|| self.is_not("a list"))?;
        Some(list.iter().enumerate().map(|(index, value)| self.part(value, index)).collect())
    }

    /// Elements of a list, or the value itself if it is not a list.
    pub(crate) fn one_or_more(&self) -> Vec<Self> {
        let list = if self.is_list() { self.list() } else { None };
        list.unwrap_or_else(|| vec![self.clone()])
    }

    /// Entries of a mapping with free names.
    pub(crate) fn named(&self) -> Vec<(&'a str, Self)> {
        let Some(mapping) = self.mapping() else { return Vec::new() };
        let named = |(key, value): (&'a Value, &'a Value)| {
            let key = key.as_str()?;
            Some((key, self.part(value, key)))
        };
        mapping.iter().filter_map(named).collect()
    }

    /// Fields of a mapping with the keys of `schema`.
    pub(crate) fn fields(&self, schema: &'static MappingSchema) -> Option<Fields<'a>> {
        let mapping = self.mapping()?;
        Some(Fields { item: self.clone(), mapping, schema, asked: Vec::new(), misplaced: None })
    }

    fn mapping(&self) -> Option<&'a Mapping> {
        self.value.as_mapping().or_else(|| self.is_not("a mapping"))
    }

    fn part(&self, value: &'a Value, step: impl Into<PathSegment>) -> Self {
        Self { value, place: self.place.at(step), problems: self.problems }
    }

    fn is_not<T>(&self, wanted: &str) -> Option<T> {
        let found = match self.value {
            Value::Null => "nothing".to_owned(),
            Value::Bool(value) => format!("`{value}`"),
            Value::Number(number) => format!("the number {number}"),
            Value::String(_) => "text".to_owned(),
            Value::Sequence(_) => "a list".to_owned(),
            Value::Mapping(_) => "a mapping".to_owned(),
            Value::Tagged(_) => "a tag".to_owned(),
        };
        self.report(format_args!("{wanted} was expected, found {found}"));
        None
    }
}

/// Mapping with the keys of a schema.
#[derive(Debug)]
pub(crate) struct Fields<'a> {
    item: Item<'a>,
    mapping: &'a Mapping,
    schema: &'static MappingSchema,
    asked: Vec<&'static str>,
    misplaced: Option<&'static str>,
}

impl<'a> Fields<'a> {
    /// Value of `key`, if present.
    pub(crate) fn optional(&mut self, key: &'static str) -> Option<Item<'a>> {
        debug_assert!(self.schema.has(key), "{}: no such key in the schema: {key}", self.schema.path);
        self.asked.push(key);
        self.mapping.get(key).map(|value| self.item.part(value, key))
    }

    /// Value of a `key` that belongs elsewhere. The reader of this mapping reports it.
    pub(crate) fn misplaced(&mut self, key: &'static str) -> Option<Item<'a>> {
        self.misplaced = Some(key);
        self.mapping.get(key).map(|value| self.item.part(value, key))
    }

    /// Value of `key`. Reports a missing key.
    pub(crate) fn required(&mut self, key: &'static str) -> Option<Item<'a>> {
        let item = self.optional(key);
        if item.is_none() {
            self.item.report(format_args!("`{key}` is missing"));
        }
        item
    }

    /// Report every unknown key, after all keys of the schema were read.
    pub(crate) fn finish(self) {
        for key in self.schema.keys {
            let was_read = self.asked.contains(&key.name);
            debug_assert!(was_read, "{}: nothing reads the key {}", self.schema.path, key.name);
        }
        self.report_unknown();
    }

    /// Report every unknown key, while other keys of the schema may remain unread.
    pub(crate) fn report_unknown(&self) {
        for key in self.mapping.keys() {
            let key = key.as_str().unwrap_or_default();
            if !self.schema.has(key) && self.misplaced != Some(key) {
                let unknown = self.item.part(self.item.value, key);
                match nearest(key, self.schema.keys.iter().map(|known| known.name)) {
                    Some(meant) => unknown.report(format_args!(
                        "unknown key: did you mean `{meant}`? The keys here are {}",
                        self.schema.names()
                    )),
                    None => {
                        unknown.report(format_args!("unknown key; the keys here are {}", self.schema.names()))
                    }
                }
            }
        }
    }
}

/// The known name that a mistyped one is closest to, unless more than a third of it differs.
fn nearest<'n>(given: &str, known: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let limit = given.chars().count().div_ceil(3);
    let candidates = known.map(|name| (edit_distance(given, name), name));
    candidates
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// Number of characters to insert, delete or replace (Levenshtein).
fn edit_distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (index, left) in from.chars().enumerate() {
        let mut diagonal = index;
        let mut before = index + 1;
        let mut next = vec![before];
        for (above, right) in row.iter().skip(1).zip(&to) {
            before = (diagonal + usize::from(left != *right)).min(above + 1).min(before + 1);
            diagonal = *above;
            next.push(before);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

/// Error with its causes, on one line.
pub(crate) struct Chain<'a>(pub(crate) &'a dyn Error);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistyped_name_suggests_the_nearest_known_one() {
        let known = ["listen", "limits", "name", "role"];
        let meant = |given| nearest(given, known.into_iter());
        assert_eq!(meant("listn"), Some("listen"));
        assert_eq!(meant("limit"), Some("limits"));
        assert_eq!(meant("naem"), Some("name"));
        assert_eq!(meant("speed"), None);
        assert_eq!(meant(""), None);
    }
}
