//! Conditions of a route on the query of a request.
//!
//! Servers parse a query in many ways. Some fold the names of parameters, some take the first of two values,
//! some the last, some split at `;`. So a condition is judged on all values, and each spelling that a server
//! could read as the parameter counts. A query with more than one reading satisfies no condition.

use crate::gateway::message::path;

/// Conditions of one route. Without any, every query satisfies it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueryRule(Vec<Condition>);

/// Requirement for one parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Condition {
    parameter: String,
    requirement: Requirement,
}

/// Requirement for the values of a parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Requirement {
    /// The parameter is absent.
    Absent,
    /// The parameter is present, and each of its values is one of these.
    OneOf(Vec<String>),
    /// The parameter is present, with any values.
    Present,
}

impl QueryRule {
    /// Add a condition.
    ///
    /// # Errors
    /// [`QueryError`] if the name of the parameter is not allowed, or already has a condition.
    pub fn add(&mut self, parameter: &str, requirement: Requirement) -> Result<(), QueryError> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
        if parameter.is_empty() || parameter.len() > 64 || !parameter.bytes().all(plain) {
            return Err(QueryError::Parameter);
        }
        if self.0.iter().any(|other| folded(&other.parameter).eq(folded(parameter))) {
            return Err(QueryError::Repeated);
        }
        self.0.push(Condition { parameter: parameter.to_owned(), requirement });
        Ok(())
    }

    /// Return true if there is no condition.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Return true if the raw `query` satisfies every condition.
    #[must_use]
    pub fn admits(&self, query: Option<&str>) -> bool {
        if self.is_empty() {
            return true;
        }
        let query = query.unwrap_or_default();
        has_one_reading(query) && self.0.iter().all(|condition| condition.is_satisfied(query))
    }

    /// Return true if no query satisfies both.
    pub(super) fn excludes(&self, other: &Self) -> bool {
        self.0.iter().any(|mine| {
            other.requirement(&mine.parameter).is_some_and(|theirs| mine.requirement.excludes(theirs))
        })
    }

    /// Return true if every query that satisfies `self` also satisfies `other`.
    pub(super) fn implies(&self, other: &Self) -> bool {
        other.0.iter().all(|theirs| {
            self.requirement(&theirs.parameter).is_some_and(|mine| mine.implies(&theirs.requirement))
        })
    }

    /// Return true if some query satisfies `self` and none of `others`.
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
        Value::hardest(self.requirement(parameter)).iter().any(|value| {
            let satisfied = |other: &&&Self| {
                other.requirement(parameter).is_none_or(|requirement| value.satisfies(requirement))
            };
            self.escapes_by(rest, &others.iter().filter(satisfied).copied().collect::<Vec<_>>())
        })
    }

    fn requirement(&self, parameter: &str) -> Option<&Requirement> {
        self.0
            .iter()
            .find(|condition| condition.parameter == parameter)
            .map(|condition| &condition.requirement)
    }
}

impl Condition {
    fn is_satisfied(&self, query: &str) -> bool {
        let mut present = false;
        for (name, value) in pairs(query) {
            if !folded(name).eq(folded(&self.parameter)) {
                continue;
            }
            // Another spelling: only some servers read it as the parameter.
            if !path::decoded(name).eq(self.parameter.bytes()) || !self.requirement.admits(value) {
                return false;
            }
            present = true;
        }
        present != (self.requirement == Requirement::Absent)
    }
}

impl Requirement {
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

/// Classes of values that conditions can distinguish.
enum Value<'a> {
    Absent,
    /// All of these values at once.
    All(&'a [String]),
    /// A value that no condition lists.
    Unlisted,
}

impl<'a> Value<'a> {
    /// Values that satisfy `requirement`, if given, and as few other conditions as possible.
    fn hardest(requirement: Option<&'a Requirement>) -> Vec<Self> {
        match requirement {
            None => vec![Self::Absent, Self::Unlisted],
            Some(Requirement::Absent) => vec![Self::Absent],
            Some(Requirement::OneOf(values)) => vec![Self::All(values)],
            Some(Requirement::Present) => vec![Self::Unlisted],
        }
    }

    fn satisfies(&self, requirement: &Requirement) -> bool {
        match (self, requirement) {
            (Self::Absent, Requirement::Absent) => true,
            (Self::Absent, _) | (_, Requirement::Absent) => false,
            (_, Requirement::Present) => true,
            (Self::All(values), Requirement::OneOf(allowed)) => {
                values.iter().all(|value| allowed.contains(value))
            }
            (Self::Unlisted, Requirement::OneOf(_)) => false,
        }
    }
}

/// Return true if all servers split `query` into the same parameters.
fn has_one_reading(query: &str) -> bool {
    let escapes = |text: &str| {
        text.split('%').skip(1).all(|rest| {
        matches!(rest.as_bytes(), [high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit())
    })
    };
    // A doubly encoded name is a different parameter to a server that decodes twice.
    !query.contains(';') && escapes(query) && pairs(query).all(|(name, _)| !name.contains("%25"))
}

/// Raw names and values of the parameters.
fn pairs(query: &str) -> impl Iterator<Item = (&str, &str)> {
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

/// Name as the most lenient server reads it: up to a `[` or NUL, without leading spaces, letters in lower
/// case, and all characters that are neither letters nor digits treated alike.
fn folded(name: &str) -> impl Iterator<Item = u8> {
    path::decoded(name)
        .skip_while(|byte| matches!(byte, b' ' | b'+'))
        .take_while(|byte| !matches!(byte, b'[' | 0))
        .map(|byte| if byte.is_ascii_alphanumeric() { byte.to_ascii_lowercase() } else { b'-' })
}

/// Condition that cannot be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QueryError {
    /// The name of the parameter is not allowed.
    #[error("a parameter name consists of 1 to 64 letters, digits, `-`, `.` and `_`")]
    Parameter,
    /// Another condition has the same parameter, as some servers read it.
    #[error("another condition has this parameter, or one that some servers treat as the same")]
    Repeated,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one_of(values: &[&str]) -> Requirement {
        Requirement::OneOf(values.iter().map(|value| (*value).to_owned()).collect())
    }

    fn rule(conditions: &[(&str, Requirement)]) -> QueryRule {
        let mut rule = QueryRule::default();
        for (parameter, requirement) in conditions {
            rule.add(parameter, requirement.clone()).unwrap();
        }
        rule
    }

    #[test]
    fn every_query_satisfies_a_rule_without_conditions() {
        for query in [None, Some(""), Some("a;b&%zz&force[]=1")] {
            assert!(QueryRule::default().admits(query), "{query:?}");
        }
    }

    #[test]
    fn absent_fails_on_each_spelling_of_the_parameter() {
        let rule = rule(&[("force", Requirement::Absent), ("dry_run", Requirement::Absent)]);
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
    fn every_value_must_be_listed() {
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
    fn a_present_parameter_may_have_any_value() {
        let rule = rule(&[("force", Requirement::Present)]);
        assert!(rule.admits(Some("force")) && rule.admits(Some("force=1&force=2")));
        assert!(!rule.admits(Some("Force=1")) && !rule.admits(Some("force=1&FORCE")) && !rule.admits(None));
    }

    #[test]
    fn a_condition_has_one_parameter_with_a_plain_name() {
        let mut rule = rule(&[("dry_run", Requirement::Absent)]);
        assert_eq!(rule.add("Dry-Run", Requirement::Present), Err(QueryError::Repeated));
        for parameter in ["", "a[]", "a b", "a%20", "\u{e9}", &"a".repeat(65)] {
            assert_eq!(rule.add(parameter, Requirement::Absent), Err(QueryError::Parameter), "{parameter}");
        }
    }

    #[test]
    fn rules_are_compared_by_the_queries_they_admit() {
        let (absent, present) = (rule(&[("p", Requirement::Absent)]), rule(&[("p", Requirement::Present)]));
        let (a, ab, c) = (
            rule(&[("p", one_of(&["a"]))]),
            rule(&[("p", one_of(&["a", "b"]))]),
            rule(&[("p", one_of(&["c"]))]),
        );
        let (any, other) = (QueryRule::default(), rule(&[("q", Requirement::Absent)]));
        assert!(absent.excludes(&present) && absent.excludes(&a) && a.excludes(&c));
        assert!(!a.excludes(&ab) && !a.excludes(&present) && !a.excludes(&other) && !a.excludes(&any));
        assert!(a.implies(&ab) && ab.implies(&present) && present.implies(&any) && a.implies(&a));
        assert!(!ab.implies(&a) && !any.implies(&a) && !a.implies(&other) && !absent.implies(&present));

        assert!(!any.escapes(&[&absent, &present]), "together they match every query");
        assert!(any.escapes(&[&absent, &a]) && any.escapes(&[&present]) && any.escapes(&[]));
        assert!(present.escapes(&[&ab, &c]), "a value that none of them lists");
        let b = rule(&[("p", one_of(&["b"]))]);
        assert!(ab.escapes(&[&a, &b]), "both values at once");
        let both = rule(&[("p", Requirement::Absent), ("q", Requirement::Absent)]);
        let q = rule(&[("p", Requirement::Absent), ("q", Requirement::Present)]);
        assert!(!any.escapes(&[&both, &q, &present]));
        assert!(any.escapes(&[&both, &q]) && !absent.escapes(&[&both, &q]));
    }
}
