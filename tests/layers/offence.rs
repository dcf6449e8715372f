//! Offences against a rule: none is allowed.

use std::collections::BTreeMap;

/// A place that breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Offence {
    /// What the place is counted under.
    pub(crate) area: String,
    /// Place and remedy.
    pub(crate) text: String,
}

impl Offence {
    pub(crate) fn new(area: &str, text: String) -> Self {
        Self { area: area.to_owned(), text }
    }
}

/// Prints `offences` and fails if there is one.
pub(crate) fn judge(check: &str, offences: &[Offence]) {
    for offence in offences {
        println!("{check}: {}", offence.text);
    }
    let counts = count(offences);
    assert!(counts.is_empty(), "{check}: offences by area {counts:?}; they are printed above");
}

fn count(offences: &[Offence]) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for offence in offences {
        *counts.entry(offence.area.as_str()).or_default() += 1;
    }
    counts
}

#[test]
fn offences_are_counted_by_area() {
    let offences = ["src", "src", "README"].map(|area| Offence::new(area, "a place".to_owned()));
    assert_eq!(count(&offences), BTreeMap::from([("README", 1), ("src", 2)]));
    assert!(count(&[]).is_empty());
}
