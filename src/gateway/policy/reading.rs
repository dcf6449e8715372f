//! Readings of paths: services differ in the paths that they treat as one.

use std::borrow::Cow;

use super::template::Segment;
use crate::gateway::message::case_fold;

/// Reading of paths by a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reading {
    /// True if case has no effect.
    pub(super) case: bool,
    /// True if a trailing slash has no effect.
    pub(super) slash: bool,
}

impl Reading {
    /// Every reading; the first one distinguishes all paths.
    pub(super) const ALL: [Self; 4] = [
        Self { case: false, slash: false },
        Self { case: false, slash: true },
        Self { case: true, slash: false },
        Self { case: true, slash: true },
    ];

    /// Reading to which nothing has an effect.
    pub(super) const COARSEST: Self = Self { case: true, slash: true };

    /// Segments of a template in this reading, without those of the trailing slash.
    pub(super) fn segments(self, template: &[Segment]) -> impl Iterator<Item = Cow<'_, Segment>> {
        let kept = match template.split_last() {
            // The root is no path with a trailing slash.
            Some((last, before)) if self.slash && last.is_slash() && !before.is_empty() => before,
            _ => template,
        };
        kept.iter().map(move |segment| match segment {
            Segment::Literal(text) if self.case => Cow::Owned(Segment::Literal(case_fold::fold(text))),
            _ => Cow::Borrowed(segment),
        })
    }

    /// Place of a template in this reading: equal for templates that match the same paths in it.
    pub(super) fn place(self, template: &[Segment]) -> Vec<Cow<'_, Segment>> {
        self.segments(template)
            .map(|segment| match *segment {
                Segment::Any(_) => Cow::Owned(Segment::Any(None)),
                _ => segment,
            })
            .collect()
    }
}

/// Path below the root in each reading.
pub(super) struct PathReadings<'a> {
    exact: &'a str,
    folded: Cow<'a, str>,
}

impl<'a> PathReadings<'a> {
    pub(super) fn of(below: &'a str) -> Self {
        Self { exact: below, folded: case_fold::fold_path(below) }
    }

    /// Path in `reading`.
    pub(super) fn path(&self, reading: Reading) -> &str {
        let path = if reading.case { &self.folded } else { self.exact };
        if reading.slash { path.strip_suffix('/').unwrap_or(path) } else { path }
    }

    /// Return true if `reading` changes the path.
    pub(super) fn differs_in(&self, reading: Reading) -> bool {
        reading.case && self.folded != self.exact || reading.slash && self.exact.ends_with('/')
    }
}
