//! The line of every value in a document.

use std::collections::HashMap;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::segment::PathSegment;

/// Map the path of every value in `text` to its line, counted from one.
pub(super) fn line_index(text: &str) -> HashMap<Vec<PathSegment>, usize> {
    let mut lines = HashMap::new();
    let walk = Lines { path: &mut Vec::new(), lines: &mut lines };
    let first = found(walk.deserialize(serde_yaml::Deserializer::from_str(text)).map(Some));
    lines.extend(first.flatten().map(|line| (Vec::new(), line)));
    lines
}

/// Visitor that records the line of every value.
///
/// The parser gives a line with its errors only. The visitor therefore refuses every key and every scalar
/// once it is read, takes the line from the error, and continues. A mapping or sequence cannot be refused
/// without aborting the walk; it gets the line of its first part.
struct Lines<'a> {
    path: &'a mut Vec<PathSegment>,
    lines: &'a mut HashMap<Vec<PathSegment>, usize>,
}

impl Lines<'_> {
    fn inner(&mut self) -> Lines<'_> {
        Lines { path: self.path, lines: self.lines }
    }

    fn record(&mut self, line: Option<usize>) {
        self.lines.extend(line.map(|line| (self.path.clone(), line)));
    }
}

/// The line that a part of the walk found: of a mapping or sequence, or of a refused value. `None` when there
/// was no value.
fn found<E: fmt::Display>(part: Result<Option<Option<usize>>, E>) -> Option<Option<usize>> {
    match part {
        Ok(found) => found,
        Err(refusal) => {
            let text = refusal.to_string();
            let line = text.rsplit_once(" at line ").and_then(|(_, line)| line.split(' ').next());
            // The parser reports an error at the start of the file without a line.
            Some(line.map_or(Some(1), |digits| digits.parse().ok()))
        }
    }
}

impl<'de> DeserializeSeed<'de> for Lines<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Lines<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nothing here")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut first = None;
        let mut key = String::new();
        while let Some(line) = found(map.next_key_seed(Key(&mut key)).map(|end| end.map(|()| None))) {
            first = first.or(line);
            self.path.push(PathSegment::Key(std::mem::take(&mut key)));
            self.record(line);
            // A value has the line of its key.
            let _ = map.next_value_seed(self.inner());
            self.path.pop();
        }
        Ok(first)
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut sequence: A) -> Result<Self::Value, A::Error> {
        let mut first = None;
        for index in 0.. {
            self.path.push(PathSegment::Index(index));
            let line = found(sequence.next_element_seed(self.inner()));
            self.record(line.flatten());
            self.path.pop();
            match line {
                Some(line) => first = first.or(line),
                None => break,
            }
        }
        Ok(first)
    }
}

/// Visitor that stores a key and refuses it.
struct Key<'a>(&'a mut String);

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: serde::de::Error>(self, key: &str) -> Result<(), E> {
        key.clone_into(self.0);
        Err(E::custom("here"))
    }
}
