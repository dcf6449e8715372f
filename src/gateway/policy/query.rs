//! What a route asks of the query of a request.
//!
//! Servers read a query in many ways: some fold the names of parameters, some take the first of two
//! values, some the last, some split at `;`. So a condition is judged on all values, whatever could be
//! read as its parameter counts, and a query that can be read in two ways fulfils no condition.

use crate::gateway::message::path;

/// The conditions of one route; none are fulfilled by every query.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueryRule(Vec<Condition>);

/// One parameter, and what it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Condition {
    parameter: String,
    wanted: Wanted,
}

/// What a parameter must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Not there.
    Absent,
    /// There, and each of its values one of these.
    OneOf(Vec<String>),
    /// There, whatever its values.
    Present,
}

impl QueryRule {
    /// Adds a condition.
    ///
    /// # Errors
    /// [`QueryError`] when its parameter has an odd name, or has a condition already.
    pub fn add(&mut self, parameter: &str, wanted: Wanted) -> Result<(), QueryError> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
        if parameter.is_empty() || parameter.len() > 64 || !parameter.bytes().all(plain) {
            return Err(QueryError::Parameter);
        }
        if self.0.iter().any(|other| folded(&other.parameter).eq(folded(parameter))) {
            return Err(QueryError::Repeated);
        }
        self.0.push(Condition { parameter: parameter.to_owned(), wanted });
        Ok(())
    }

    /// Whether there is no condition.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `query`, as it is sent, fulfils every condition.
    #[must_use]
    pub fn admits(&self, query: Option<&str>) -> bool {
        if self.is_empty() {
            return true;
        }
        let query = query.unwrap_or_default();
        has_one_reading(query) && self.0.iter().all(|condition| condition.is_fulfilled(query))
    }

    /// Whether no query fulfils both.
    pub(super) fn excludes(&self, other: &Self) -> bool {
        self.0
            .iter()
            .any(|mine| other.wanted(&mine.parameter).is_some_and(|theirs| mine.wanted.excludes(theirs)))
    }

    /// Whether every query that fulfils this one fulfils the other.
    pub(super) fn implies(&self, other: &Self) -> bool {
        other
            .0
            .iter()
            .all(|theirs| self.wanted(&theirs.parameter).is_some_and(|mine| mine.implies(&theirs.wanted)))
    }

    /// Whether a query fulfils this one and none of `others`.
    pub(super) fn escapes(&self, others: &[&Self]) -> bool {
        let mut parameters: Vec<_> =
            others.iter().flat_map(|other| &other.0).map(|condition| condition.parameter.as_str()).collect();
        parameters.sort_unstable();
        parameters.dedup();
        self.escapes_by(&parameters, others)
    }

    fn escapes_by(&self, parameters: &[&str], others: &[&Self]) -> bool {
        if others.is_empty() {
            return true;
        }
        let Some((parameter, rest)) = parameters.split_first() else { return false };
        Value::hardest(self.wanted(parameter)).iter().any(|value| {
            let fulfilled =
                |other: &&&Self| other.wanted(parameter).is_none_or(|wanted| value.fulfils(wanted));
            self.escapes_by(rest, &others.iter().filter(fulfilled).copied().collect::<Vec<_>>())
        })
    }

    fn wanted(&self, parameter: &str) -> Option<&Wanted> {
        self.0.iter().find(|condition| condition.parameter == parameter).map(|condition| &condition.wanted)
    }
}

impl Condition {
    fn is_fulfilled(&self, query: &str) -> bool {
        let mut present = false;
        for (name, value) in pairs(query) {
            if !folded(name).eq(folded(&self.parameter)) {
                continue;
            }
            // Another spelling: some servers take it for the parameter, some do not.
            if !path::decoded(name).eq(self.parameter.bytes()) || !self.wanted.admits(value) {
                return false;
            }
            present = true;
        }
        present != (self.wanted == Wanted::Absent)
    }
}

impl Wanted {
    fn admits(&self, value: &str) -> bool {
        match self {
            Self::Absent => false,
            // A `+` is a space to some servers and a plus to others.
            Self::OneOf(values) => {
                !value.contains('+') && values.iter().any(|one| path::decoded(value).eq(one.bytes()))
            }
            Self::Present => true,
        }
    }

    fn excludes(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Absent, Self::Absent) => false,
            (Self::Absent, _) | (_, Self::Absent) => true,
            (Self::OneOf(mine), Self::OneOf(theirs)) => !mine.iter().any(|value| theirs.contains(value)),
            (Self::Present, _) | (_, Self::Present) => false,
        }
    }

    fn implies(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::OneOf(_), Self::Present) => true,
            (Self::OneOf(mine), Self::OneOf(theirs)) => mine.iter().all(|value| theirs.contains(value)),
            _ => self == other,
        }
    }
}

/// What a parameter may be in a request, as far as conditions can tell.
enum Value<'a> {
    Absent,
    /// Every one of these.
    All(&'a [String]),
    /// One that no condition names.
    Odd,
}

impl<'a> Value<'a> {
    /// Those that fulfil `wanted`, where it says anything, and as few other conditions as possible.
    fn hardest(wanted: Option<&'a Wanted>) -> Vec<Self> {
        match wanted {
            None => vec![Self::Absent, Self::Odd],
            Some(Wanted::Absent) => vec![Self::Absent],
            Some(Wanted::OneOf(values)) => vec![Self::All(values)],
            Some(Wanted::Present) => vec![Self::Odd],
        }
    }

    fn fulfils(&self, wanted: &Wanted) -> bool {
        match (self, wanted) {
            (Self::Absent, Wanted::Absent) => true,
            (Self::Absent, _) | (_, Wanted::Absent) => false,
            (_, Wanted::Present) => true,
            (Self::All(values), Wanted::OneOf(allowed)) => values.iter().all(|value| allowed.contains(value)),
            (Self::Odd, Wanted::OneOf(_)) => false,
        }
    }
}

/// Whether all servers cut `query` into the same parameters.
fn has_one_reading(query: &str) -> bool {
    let escapes = |text: &str| {
        text.split('%').skip(1).all(|rest| {
        matches!(rest.as_bytes(), [high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit())
    })
    };
    // A name that is encoded twice is another one to a server that decodes twice.
    !query.contains(';') && escapes(query) && pairs(query).all(|(name, _)| !name.contains("%25"))
}

/// Names and values, as they stand in the query.
fn pairs(query: &str) -> impl Iterator<Item = (&str, &str)> {
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

/// A name as the most forgiving server reads it: up to a `[` or NUL, without spaces in front, letters in
/// lower case, and all that is neither letter nor digit alike.
fn folded(name: &str) -> impl Iterator<Item = u8> {
    path::decoded(name)
        .skip_while(|byte| matches!(byte, b' ' | b'+'))
        .take_while(|byte| !matches!(byte, b'[' | 0))
        .map(|byte| if byte.is_ascii_alphanumeric() { byte.to_ascii_lowercase() } else { b'-' })
}

/// Why a condition cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QueryError {
    /// Not the name of a parameter.
    #[error("the name of a parameter has 1 to 64 letters, digits, `-`, `.` and `_`")]
    Parameter,
    /// Another condition is for the same parameter, as some servers read it.
    #[error("another condition is for this parameter, or for one that some servers take for the same")]
    Repeated,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one_of(values: &[&str]) -> Wanted {
        Wanted::OneOf(values.iter().map(|value| (*value).to_owned()).collect())
    }

    fn rule(conditions: &[(&str, Wanted)]) -> QueryRule {
        let mut rule = QueryRule::default();
        for (parameter, wanted) in conditions {
            rule.add(parameter, wanted.clone()).unwrap();
        }
        rule
    }

    #[test]
    fn without_conditions_every_query_is_admitted() {
        for query in [None, Some(""), Some("a;b&%zz&force[]=1")] {
            assert!(QueryRule::default().admits(query), "{query:?}");
        }
    }

    #[test]
    fn what_could_be_read_as_an_absent_parameter_is_one() {
        let rule = rule(&[("force", Wanted::Absent), ("dry_run", Wanted::Absent)]);
        for query in [
            None,
            Some(""),
            Some("&&"),
            Some("x=1&y"),
            Some("x=force&y=dry_run"),
            Some("enforce=1&force2=1"),
            Some("=force"),
        ] {
            assert!(rule.admits(query), "{query:?}");
        }
        for query in [
            "force",
            "force=",
            "force=0",
            "x=1&force=1",
            "force=1&force=1",
            "Force=1",
            "FORCE",
            "%66orce=1",
            "forc%65",
            "force[]=1",
            "force[a]=1",
            "force%5B%5D=1",
            "+force=1",
            "%20force",
            "force%00x",
            "dry-run",
            "dry.run=1",
            "Dry%2DRun",
            "dry+run",
            "x=1;force=1",
            "x;y",
            "%2566orce=1",
            "x%25=1",
            "x=%zz",
            "%",
            "x=%4",
        ] {
            assert!(!rule.admits(Some(query)), "{query}");
        }
    }

    #[test]
    fn every_value_must_be_one_of_those_listed() {
        let rule = rule(&[("mode", one_of(&["a", "b c", "1+1"]))]);
        for query in
            ["mode=a", "x=9&mode=b%20c", "mode=a&mode=a", "mode=a&mode=b%20c", "mode=%61", "mode=1%2B1"]
        {
            assert!(rule.admits(Some(query)), "{query}");
        }
        for query in [
            "",
            "mode",
            "mode=",
            "mode=A",
            "mode=ab",
            "mode=a,b",
            "mode=a&mode=x",
            "mode=x&mode=a",
            "mode=b+c",
            "mode=1+1",
            "mode[]=a",
            "Mode=a",
            "mode=a&Mode=x",
            "mode=a&mode[]=x",
            "mode=%2561",
            "mode=a%00",
            "x=mode=a",
        ] {
            assert!(!rule.admits(Some(query)), "{query}");
        }
        assert!(!rule.admits(None));
    }

    #[test]
    fn a_parameter_that_must_be_there_may_have_any_value() {
        let rule = rule(&[("force", Wanted::Present)]);
        assert!(rule.admits(Some("force")) && rule.admits(Some("force=1&force=2")));
        assert!(!rule.admits(Some("Force=1")) && !rule.admits(Some("force=1&FORCE")) && !rule.admits(None));
    }

    #[test]
    fn a_condition_is_for_one_plain_parameter() {
        let mut rule = rule(&[("dry_run", Wanted::Absent)]);
        assert_eq!(rule.add("Dry-Run", Wanted::Present), Err(QueryError::Repeated));
        for parameter in ["", "a[]", "a b", "a%20", "\u{e9}", &"a".repeat(65)] {
            assert_eq!(rule.add(parameter, Wanted::Absent), Err(QueryError::Parameter), "{parameter}");
        }
    }

    #[test]
    fn rules_are_compared_by_the_queries_they_admit() {
        let (absent, present) = (rule(&[("p", Wanted::Absent)]), rule(&[("p", Wanted::Present)]));
        let (a, ab, c) = (
            rule(&[("p", one_of(&["a"]))]),
            rule(&[("p", one_of(&["a", "b"]))]),
            rule(&[("p", one_of(&["c"]))]),
        );
        let (any, other) = (QueryRule::default(), rule(&[("q", Wanted::Absent)]));
        assert!(absent.excludes(&present) && absent.excludes(&a) && a.excludes(&c));
        assert!(!a.excludes(&ab) && !a.excludes(&present) && !a.excludes(&other) && !a.excludes(&any));
        assert!(a.implies(&ab) && ab.implies(&present) && present.implies(&any) && a.implies(&a));
        assert!(!ab.implies(&a) && !any.implies(&a) && !a.implies(&other) && !absent.implies(&present));

        assert!(!any.escapes(&[&absent, &present]), "between them they take all");
        assert!(any.escapes(&[&absent, &a]) && any.escapes(&[&present]) && any.escapes(&[]));
        assert!(present.escapes(&[&ab, &c]), "a value that none of them names");
        let b = rule(&[("p", one_of(&["b"]))]);
        assert!(ab.escapes(&[&a, &b]), "both values at once");
        let both = rule(&[("p", Wanted::Absent), ("q", Wanted::Absent)]);
        let q = rule(&[("p", Wanted::Absent), ("q", Wanted::Present)]);
        assert!(!any.escapes(&[&both, &q, &present]));
        assert!(any.escapes(&[&both, &q]) && !absent.escapes(&[&both, &q]));
    }
}
