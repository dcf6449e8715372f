//! Offences that are still allowed: `known.txt` holds a count for each check and area, which may only fall.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Mutex;
use std::{env, fs};

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

/// Set to any value, lowers the counts in `known.txt` to what is left; never raises one.
const LOWER: &str = "LAYERS_LOWER";

static FILE: Mutex<()> = Mutex::new(());

fn file() -> PathBuf {
    crate::root().join("tests/layers/known.txt")
}

/// Prints `offences` and fails unless each area has exactly as many as `known.txt` allows.
pub(crate) fn judge(check: &str, offences: &[Offence]) {
    for offence in offences {
        println!("{check}: {}", offence.text);
    }
    let guard = FILE.lock().unwrap();
    let text = fs::read_to_string(file()).unwrap();
    let (wrong, lowered) = compare(check, &text, offences, env::var_os(LOWER).is_some());
    if lowered != text {
        fs::write(file(), lowered).unwrap();
    }
    drop(guard);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What is wrong, and the text of `known.txt` afterwards.
fn compare(check: &str, text: &str, offences: &[Offence], lower: bool) -> (Vec<String>, String) {
    let mut known = parse(text);
    let areas: BTreeSet<String> = known
        .keys()
        .filter(|(of, _)| of == check)
        .map(|(_, area)| area.clone())
        .chain(offences.iter().map(|offence| offence.area.clone()))
        .collect();
    let mut wrong = Vec::new();
    for area in areas {
        let found = offences.iter().filter(|offence| offence.area == area).count();
        let key = (check.to_owned(), area.clone());
        let allowed = known.get(&key).copied().unwrap_or(0);
        if found > allowed {
            wrong
                .push(format!("{check} {area}: {found} offences, {allowed} allowed; they are printed above"));
        } else if found < allowed && lower {
            known.insert(key, found);
        } else if found < allowed {
            wrong.push(format!(
                "{check} {area}: {found} offences left of {allowed} in tests/layers/known.txt: lower the count \
                 ({LOWER}=1 cargo test --test layers)"
            ));
        }
    }
    let lines = known.iter().filter(|(_, count)| **count > 0);
    let text = lines.map(|((check, area), count)| format!("{check} {area} {count}\n")).collect();
    (wrong, text)
}

fn parse(text: &str) -> BTreeMap<(String, String), usize> {
    text.lines()
        .map(|line| match line.split(' ').collect::<Vec<_>>()[..] {
            [check, area, count] => ((check.to_owned(), area.to_owned()), count.parse().unwrap()),
            _ => panic!("tests/layers/known.txt: `{line}` is not `CHECK AREA COUNT`"),
        })
        .collect()
}

#[test]
fn a_count_falls_and_never_rises() {
    let offences = [Offence::new("src", "one".to_owned()), Offence::new("src", "two".to_owned())];
    let (wrong, text) = compare("circles", "circles src 2\nnames src 1\n", &offences, true);
    assert_eq!((wrong.len(), text.as_str()), (0, "circles src 2\nnames src 1\n"));
    let (wrong, text) = compare("circles", "circles src 3\n", &offences, true);
    assert_eq!((wrong.len(), text.as_str()), (0, "circles src 2\n"));
    assert_eq!(compare("circles", "circles src 3\n", &offences, false).0.len(), 1);
    assert_eq!(compare("circles", "circles src 1\n", &offences, true).0.len(), 1);
    assert_eq!(compare("circles", "", &[], false).0, [""; 0]);
    assert_eq!(compare("circles", "circles src 1\n", &[], true).1, "");
}
