//! Taking values out of a YAML document with every mistake told, not the first alone.

use std::cell::RefCell;
use std::error::Error;
use std::fmt;
use std::path::{Path, PathBuf};

use serde_yaml::{Mapping, Value};

use crate::file_schema::MappingSchema;
use crate::files::{self, FileError};
use crate::yaml::{Place, YamlProblem};

/// What was found so far: what is wrong, and which files are named to be loaded.
#[derive(Debug, Default)]
pub(super) struct Problems {
    own: RefCell<Vec<YamlProblem>>,
    of_named_files: RefCell<Vec<YamlProblem>>,
    key_files: KeyFiles,
    loaded_files: RefCell<Vec<PathBuf>>,
}

/// Whether private keys, and what opens them, have to be there as they should.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum KeyFiles {
    #[default]
    Checked,
    Left,
}

impl KeyFiles {
    /// Whether a file may say whom to believe; whoever only asks may be another user than the gateway's,
    /// and elsewhere.
    pub(super) fn check(self, path: &Path) -> Result<(), FileError> {
        match self {
            Self::Checked => files::check_write_protected(path),
            Self::Left => files::check_readable(path),
        }
    }
}

impl Problems {
    /// None yet.
    pub(super) fn of(key_files: KeyFiles) -> Self {
        Self { key_files, ..Self::default() }
    }

    /// The files to load that were named, whether they are there or not.
    pub(super) fn loaded_files(&self) -> Vec<PathBuf> {
        self.loaded_files.borrow().clone()
    }

    /// All of them, in the order of the file; those of the files that it names come last.
    pub(super) fn into_sorted(self) -> Vec<YamlProblem> {
        let mut problems = self.own.into_inner();
        problems.sort_by_key(|problem| problem.line);
        problems.append(&mut self.of_named_files.into_inner());
        problems
    }
}

/// A value and where it stands. Every way to read it reports what is wrong and gives `None` or nothing.
#[derive(Clone, Debug)]
pub(super) struct Item<'a> {
    value: &'a Value,
    place: Place<'a>,
    problems: &'a Problems,
}

impl<'a> Item<'a> {
    pub(super) const fn new(value: &'a Value, place: Place<'a>, problems: &'a Problems) -> Self {
        Self { value, place, problems }
    }

    /// Reports that something is wrong with it.
    pub(super) fn report(&self, message: impl fmt::Display) {
        self.problems.own.borrow_mut().push(self.place.problem(message));
    }

    /// Whether private keys have to be there.
    pub(super) fn key_files(&self) -> KeyFiles {
        self.problems.key_files
    }

    /// Notes that it names a file to load.
    pub(super) fn names_loaded(&self, path: &Path) {
        self.problems.loaded_files.borrow_mut().push(path.to_owned());
    }

    /// Reports what is wrong in the file that it names.
    pub(super) fn report_of_file(&self, mut problems: Vec<YamlProblem>) {
        self.problems.of_named_files.borrow_mut().append(&mut problems);
    }

    /// The line it is on.
    pub(super) fn line(&self) -> usize {
        self.place.line().unwrap_or(1)
    }

    /// Whether it is text.
    pub(super) fn is_text(&self) -> bool {
        self.value.is_string()
    }

    /// Whether it is a list.
    pub(super) fn is_list(&self) -> bool {
        self.value.is_sequence()
    }

    /// Whether it is a mapping.
    pub(super) fn is_mapping(&self) -> bool {
        self.value.is_mapping()
    }

    /// It as text.
    pub(super) fn text(&self) -> Option<&'a str> {
        self.value.as_str().or_else(|| self.is_not("text"))
    }

    /// It as text that `parse` understands.
    pub(super) fn read<T, E: Error>(&self, parse: impl FnOnce(&str) -> Result<T, E>) -> Option<T> {
        parse(self.text()?).map_err(|error| self.report(Chain(&error))).ok()
    }

    /// It as a whole number.
    pub(super) fn number(&self) -> Option<u64> {
        self.value.as_u64().or_else(|| self.is_not("a whole number"))
    }

    /// It as a whole number, if that is what it is.
    pub(super) fn bare_number(&self) -> Option<u64> {
        self.value.as_u64()
    }

    /// Its elements, as a list.
    pub(super) fn list(&self) -> Option<Vec<Self>> {
        let list = self.value.as_sequence().or_else(|| self.is_not("a list"))?;
        Some(list.iter().enumerate().map(|(index, value)| self.part(value, index)).collect())
    }

    /// Its elements as a list, or itself.
    pub(super) fn one_or_more(&self) -> Vec<Self> {
        let list = if self.is_list() { self.list() } else { None };
        list.unwrap_or_else(|| vec![self.clone()])
    }

    /// What it says under names that are not ours to choose.
    pub(super) fn named(&self) -> Vec<(&'a str, Self)> {
        let Some(mapping) = self.mapping() else { return Vec::new() };
        let named = |(key, value): (&'a Value, &'a Value)| {
            let key = key.as_str()?;
            Some((key, self.part(value, key)))
        };
        mapping.iter().filter_map(named).collect()
    }

    /// What it says under the keys of a table.
    pub(super) fn fields(&self, schema: &'static MappingSchema) -> Option<Fields<'a>> {
        let mapping = self.mapping()?;
        Some(Fields { item: self.clone(), mapping, schema, asked: Vec::new(), misplaced: None })
    }

    fn mapping(&self) -> Option<&'a Mapping> {
        self.value.as_mapping().or_else(|| self.is_not("a mapping"))
    }

    fn part(&self, value: &'a Value, step: impl Into<crate::yaml::PathSegment>) -> Self {
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

/// A mapping whose keys are those of a table.
#[derive(Debug)]
pub(super) struct Fields<'a> {
    item: Item<'a>,
    mapping: &'a Mapping,
    schema: &'static MappingSchema,
    asked: Vec<&'static str>,
    misplaced: Option<&'static str>,
}

impl<'a> Fields<'a> {
    /// What is under `key`, if anything.
    pub(super) fn optional(&mut self, key: &'static str) -> Option<Item<'a>> {
        debug_assert!(self.schema.has(key), "{}: no such key in the table: {key}", self.schema.path);
        self.asked.push(key);
        self.mapping.get(key).map(|value| self.item.part(value, key))
    }

    /// What is under `key`, which is elsewhere; whoever asks says so.
    pub(super) fn misplaced(&mut self, key: &'static str) -> Option<Item<'a>> {
        self.misplaced = Some(key);
        self.mapping.get(key).map(|value| self.item.part(value, key))
    }

    /// What is under `key`.
    pub(super) fn required(&mut self, key: &'static str) -> Option<Item<'a>> {
        let item = self.optional(key);
        if item.is_none() {
            self.item.report(format_args!("`{key}` is missing"));
        }
        item
    }

    /// Reports every key that is not in the table, all of which was read.
    pub(super) fn finish(self) {
        for key in self.schema.keys {
            let was_read = self.asked.contains(&key.name);
            debug_assert!(was_read, "{}: nothing reads the key {}", self.schema.path, key.name);
        }
        self.report_unknown();
    }

    /// The same where the rest of the table is another reader's.
    pub(super) fn report_unknown(&self) {
        for key in self.mapping.keys() {
            let key = key.as_str().unwrap_or_default();
            if !self.schema.has(key) && self.misplaced != Some(key) {
                let unknown = self.item.part(self.item.value, key);
                unknown.report(format_args!("unknown key; the keys here are {}", self.schema.names()));
            }
        }
    }
}

/// An error with its causes, on one line.
pub(super) struct Chain<'a>(pub(super) &'a dyn Error);

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
