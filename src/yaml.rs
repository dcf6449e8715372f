//! YAML that people write, read so that whatever is wrong with it is told with file and line.
//!
//! A [`Document`] has passed what YAML itself leaves open: one document, small, no key twice, no
//! tags, no aliases that blow up. [`Document::deserialize`] gives its values; a rule that a value
//! breaks is reported at its [`Place`]. What the values mean is not known here.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::OnceLock;

use serde::Serialize;
use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

/// The most bytes that a document may have; also the limit to read its file with.
pub const LIMIT: u64 = 64 << 10;

/// How deep mappings and sequences may lie in each other.
const DEPTH_LIMIT: usize = 16;

/// Writes `value` as YAML.
///
/// # Errors
/// When `f` does not take it, or when YAML has no form for it.
pub fn write<T: Serialize>(value: &T, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str(&serde_yaml::to_string(value).map_err(|_| fmt::Error)?)
}

/// A YAML document that was read and whose structure is sound.
#[derive(Clone, Debug)]
pub struct Document {
    file: String,
    text: String,
    /// The line of each place, found when the first one is asked for.
    lines: OnceLock<HashMap<Vec<Step>, usize>>,
}

impl Document {
    /// Reads `bytes`, which messages call `file`.
    ///
    /// # Errors
    /// A [`Problem`] when they are not one sound document of at most [`LIMIT`] bytes.
    pub fn parse(file: &str, bytes: &[u8]) -> Result<Self, Problem> {
        Self::parse_within(LIMIT, file, bytes)
    }

    /// Like [`Document::parse`], for what may be longer than a page.
    ///
    /// # Errors
    /// A [`Problem`] when the bytes are not one sound document of at most `limit` bytes.
    pub fn parse_within(limit: u64, file: &str, bytes: &[u8]) -> Result<Self, Problem> {
        let problem = |message| Problem::new(file, None, message);
        if u64::try_from(bytes.len()).is_ok_and(|length| length > limit) {
            return Err(problem(&format!("the file is larger than {} KiB", limit >> 10)));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| problem("the file is not UTF-8 text"))?;
        // A byte order mark may begin it (YAML 1.2, section 5.2), and is none of its text.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let document = Self { file: file.to_owned(), text: text.to_owned(), lines: OnceLock::new() };
        // Without aliases, a value takes at least a byte: more values than bytes are a bomb.
        let mut left = text.len().saturating_add(1);
        Sound { depth: DEPTH_LIMIT, left: &mut left }
            .deserialize(serde_yaml::Deserializer::from_str(text))
            .map_err(|error| document.translate(&error))?;
        Ok(document)
    }

    /// The values, as far as their types go.
    ///
    /// # Errors
    /// The first [`Problem`]: a wrong type, a missing key, or one that `T` does not know.
    pub fn deserialize<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        serde_yaml::from_str(&self.text).map_err(|error| self.translate(&error))
    }

    /// The place of the whole document; [`Place::at`] goes on from there.
    #[must_use]
    pub fn root(&self) -> Place<'_> {
        Place { document: self, steps: Vec::new() }
    }

    /// The place of a key of the outermost mapping.
    pub fn at(&self, key: impl Into<Step>) -> Place<'_> {
        self.root().at(key)
    }

    fn lines(&self) -> &HashMap<Vec<Step>, usize> {
        self.lines.get_or_init(|| {
            let mut lines = HashMap::new();
            let walk = Lines { path: &mut Vec::new(), lines: &mut lines };
            let first = found(walk.deserialize(serde_yaml::Deserializer::from_str(&self.text)).map(Some));
            lines.extend(first.flatten().map(|line| (Vec::new(), line)));
            lines
        })
    }

    fn translate(&self, error: &serde_yaml::Error) -> Problem {
        let mut message = error.to_string();
        let location = error.location();
        if let Some(location) = &location {
            let said = format!(" at line {} column {}", location.line(), location.column());
            message = message.replacen(&said, "", 1);
        }
        Problem::new(&self.file, location.map(|location| location.line()), &message)
    }
}

/// One step from a value into it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// To the value of a key.
    Key(String),
    /// To an element, counted from zero.
    Index(usize),
}

impl From<&str> for Step {
    fn from(key: &str) -> Self {
        Self::Key(key.to_owned())
    }
}

impl From<usize> for Step {
    fn from(index: usize) -> Self {
        Self::Index(index)
    }
}

/// Where something stands, or would stand, in a document: `document.at("routes").at(2).at("path")`.
///
/// Its text is `routes[2].path`.
#[derive(Clone, Debug)]
pub struct Place<'a> {
    document: &'a Document,
    steps: Vec<Step>,
}

impl Place<'_> {
    /// The place one step further in.
    #[must_use]
    pub fn at(&self, step: impl Into<Step>) -> Self {
        let mut steps = self.steps.clone();
        steps.push(step.into());
        Self { document: self.document, steps }
    }

    /// The line it is on, counted from one. What is not there is on the line of what it belongs to.
    #[must_use]
    pub fn line(&self) -> Option<usize> {
        let lines = self.document.lines();
        let mut steps = self.steps.as_slice();
        loop {
            if let Some(line) = lines.get(steps) {
                return Some(*line);
            }
            steps = steps.split_last()?.1;
        }
    }

    /// What is wrong there; `message` follows the place's own text.
    pub fn problem(&self, message: impl fmt::Display) -> Problem {
        let message = if self.steps.is_empty() { message.to_string() } else { format!("{self}: {message}") };
        Problem::new(&self.document.file, self.line(), &message)
    }
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (depth, step) in self.steps.iter().enumerate() {
            match step {
                Step::Key(key) if depth == 0 => f.write_str(key)?,
                Step::Key(key) => write!(f, ".{key}")?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

/// What is wrong with a file, and where: `FILE:LINE: MESSAGE`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, thiserror::Error)]
#[error("{file}{}: {message}", line.map(|line| format!(":{line}")).unwrap_or_default())]
pub struct Problem {
    /// The file.
    pub file: String,
    /// The line, counted from one; `None` for what is wrong with the file as a whole.
    pub line: Option<usize>,
    /// The rule that is broken, and by what.
    pub message: String,
}

impl Problem {
    /// A problem of `file`; `message` may quote it, so it is bounded and control characters in it
    /// are escaped.
    #[must_use]
    pub fn new(file: &str, line: Option<usize>, message: &str) -> Self {
        const MOST: usize = 500;
        let mut shown = String::new();
        for c in message.chars().take(MOST) {
            if c.is_control() { shown.extend(c.escape_default()) } else { shown.push(c) }
        }
        if message.chars().nth(MOST).is_some() {
            shown.push('…');
        }
        Self { file: file.to_owned(), line, message: shown }
    }
}

/// Walks a whole document and refuses what [`Document::parse`] promises it does not have.
struct Sound<'a> {
    depth: usize,
    left: &'a mut usize,
}

impl Sound<'_> {
    fn inner(&mut self) -> Sound<'_> {
        Sound { depth: self.depth.saturating_sub(1), left: self.left }
    }

    fn check_depth<E: serde::de::Error>(&self) -> Result<(), E> {
        if self.depth == 0 { Err(E::custom("the values lie too deep in each other")) } else { Ok(()) }
    }
}

impl<'de> DeserializeSeed<'de> for Sound<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        match self.left.checked_sub(1) {
            Some(left) => *self.left = left,
            None => return Err(D::Error::custom("its aliases stand for more values than the file can hold")),
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Sound<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value without a tag")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        self.check_depth()?;
        let mut seen = HashSet::new();
        while let Some(key) = map.next_key::<String>()? {
            if seen.contains(&key) {
                return Err(A::Error::custom(format_args!("the key `{key}` stands twice")));
            }
            seen.insert(key);
            map.next_value_seed(self.inner())?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut sequence: A) -> Result<(), A::Error> {
        self.check_depth()?;
        while sequence.next_element_seed(self.inner())?.is_some() {}
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_i128<E>(self, _: i128) -> Result<(), E> {
        Ok(())
    }

    fn visit_none<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u128<E>(self, _: u128) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

/// Walks a whole document and takes down where everything stands.
///
/// The parser gives lines with its errors only. So every key and every single value is refused once it
/// has been read, the line is taken from the refusal, and the walk goes on. Mappings and sequences
/// cannot be refused without losing the way; they stand where the first thing in them does.
struct Lines<'a> {
    path: &'a mut Vec<Step>,
    lines: &'a mut HashMap<Vec<Step>, usize>,
}

impl Lines<'_> {
    fn inner(&mut self) -> Lines<'_> {
        Lines { path: self.path, lines: self.lines }
    }

    fn take_down(&mut self, line: Option<usize>) {
        self.lines.extend(line.map(|line| (self.path.clone(), line)));
    }
}

/// What a step of [`Lines`] found: the line of a mapping or sequence, or of the refusal of anything else;
/// `None` when nothing was there.
fn found<E: fmt::Display>(step: Result<Option<Option<usize>>, E>) -> Option<Option<usize>> {
    match step {
        Ok(found) => found,
        Err(refusal) => {
            let text = refusal.to_string();
            let line = text.rsplit_once(" at line ").and_then(|(_, line)| line.split(' ').next());
            // What begins the file is said to be at a position, not on a line.
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
            self.path.push(Step::Key(std::mem::take(&mut key)));
            self.take_down(line);
            // The value of a key is where the key is.
            let _ = map.next_value_seed(self.inner());
            self.path.pop();
        }
        Ok(first)
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut sequence: A) -> Result<Self::Value, A::Error> {
        let mut first = None;
        for index in 0.. {
            self.path.push(Step::Index(index));
            let line = found(sequence.next_element_seed(self.inner()));
            self.take_down(line.flatten());
            self.path.pop();
            match line {
                Some(line) => first = first.or(line),
                None => break,
            }
        }
        Ok(first)
    }
}

/// Takes a key down and refuses it.
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    const TEXT: &str = "\
# a comment
validity:
  minimum: 5m   # and another

  default: 90d
routes:
  - path: /a
    allow: [{ role: x },
            { role: y }]
  - { path: \"/b: c\" }
\"quoted key\": {
  inner: 1 }
text: |
  default: not a key
last: 1
";

    fn parse(text: &str) -> Result<Document, String> {
        Document::parse("f.yaml", text.as_bytes()).map_err(|problem| problem.to_string())
    }

    #[test]
    fn every_place_has_its_line() {
        let document = parse(TEXT).unwrap();
        let routes = document.at("routes");
        for (place, line) in [
            (document.root(), 2),
            (document.at("validity"), 2),
            (document.at("validity").at("minimum"), 3),
            (document.at("validity").at("default"), 5),
            (routes.clone(), 6),
            (routes.at(0), 7),
            (routes.at(0).at("path"), 7),
            (routes.at(0).at("allow").at(1).at("role"), 9),
            (routes.at(1).at("path"), 10),
            (document.at("quoted key").at("inner"), 12),
            (document.at("text"), 13),
            (document.at("last"), 15),
        ] {
            assert_eq!(place.line(), Some(line), "{place}");
        }
    }

    #[test]
    fn what_is_not_there_is_reported_where_it_belongs() {
        let document = parse(TEXT).unwrap();
        for (place, line) in [
            (document.at("missing"), 2),
            (document.at("validity").at("missing").at("deeper"), 2),
            (document.at("routes").at(0).at("missing"), 7),
            (document.at("routes").at(9).at("path"), 6),
            (document.at("last").at("no mapping"), 15),
        ] {
            assert_eq!(place.line(), Some(line), "{place}");
        }
    }

    #[test]
    fn lines_are_found_beside_what_has_none_of_its_own() {
        let text = "a: &x { b: 1,\n c: [] }\nd:\n  - []\n  - {}\n  - 1\n  - null\n  - ~\ne: *x\nf: true\ng:\nh: 1.5\n";
        let document = parse(text).unwrap();
        for (place, line) in [
            (document.at("a").at("c").at(0), 2),
            (document.at("d").at(0), 3),
            (document.at("d").at(1), 3),
            (document.at("d").at(2), 6),
            (document.at("d").at(4), 8),
            (document.at("e").at("b"), 1),
            (document.at("f"), 10),
            (document.at("g"), 11),
            (document.at("h"), 12),
        ] {
            assert_eq!(place.line(), Some(line), "{place}");
        }
        assert_eq!(parse("x: 1").unwrap().at("x").line(), Some(1));
        assert_eq!(parse("[]").unwrap().root().line(), None);
        assert_eq!(parse("\nx").unwrap().root().line(), Some(2));
    }

    #[test]
    fn a_problem_reads_file_line_place_and_rule() {
        let document = parse(TEXT).unwrap();
        let problem = document.at("routes").at(0).at("allow").at(1).problem("no such role");
        assert_eq!(problem.to_string(), "f.yaml:9: routes[0].allow[1]: no such role");
    }

    #[test]
    fn wrong_types_and_unknown_keys_are_told_with_their_line() {
        #[derive(Debug, Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Inner {
            #[serde(rename = "b")]
            _b: u8,
        }
        #[derive(Debug, Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Outer {
            #[serde(rename = "a")]
            _a: Inner,
        }
        for (text, message) in [
            ("a:\n  b: x\n", "f.yaml:2: a.b: invalid type: string \"x\", expected u8"),
            ("a:\n  b: 1\n  c: 2\n", "f.yaml:3: a: unknown field `c`, expected `b`"),
            ("\na: {}\n", "f.yaml:2: a: missing field `b`"),
        ] {
            let problem = parse(text).unwrap().deserialize::<Outer>().unwrap_err();
            assert_eq!(problem.to_string(), message);
        }
        assert!(parse("a: { b: 1 }").unwrap().deserialize::<Outer>().is_ok());
    }

    #[test]
    fn what_yaml_leaves_open_is_refused() {
        let deep = "[".repeat(17) + &"]".repeat(17);
        let deeper = "[".repeat(30_000);
        let large = " ".repeat(65_537);
        let wide =
            format!("a: &a [{}]\nb: &b [{}]\nc: [{}]", "x,".repeat(99), "*a,".repeat(99), "*b,".repeat(99));
        for (text, message) in [
            ("a: 1\nb: 2\na: 3", "f.yaml:1: the key `a` stands twice"),
            ("x:\n  a: 1\n  a: 3", "f.yaml:2: x: the key `a` stands twice"),
            ("a: !tag 1", "tag"),
            ("a: 1\n---\nb: 2", "more than one document"),
            ("a: [1", "f.yaml:2: did not find"),
            ("a: 1\n b: 2", "f.yaml:2: "),
            ("a: *b", "unknown anchor"),
            ("a: \"\u{7}\"", "control characters"),
            (&deep, "too deep"),
            (&deeper, "f.yaml:1: "),
            (&large, "larger than 64 KiB"),
            (&wide, "aliases"),
            ("&a [*a]", ""),
        ] {
            let refused = parse(text).unwrap_err();
            assert!(refused.contains(message), "{message}: {refused}");
        }
        assert!(Document::parse("f.yaml", b"a: \xff").unwrap_err().message.contains("UTF-8"));
    }

    #[test]
    fn a_message_never_carries_control_characters_on() {
        let problem = parse("\"\\e[31m\": 1\n\"\\e[31m\": 2").unwrap_err();
        assert!(!problem.contains('\u{1b}'), "{problem}");
    }
}
