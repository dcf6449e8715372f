//! Search for routes that contradict each other without an error.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use http::Method;

use super::methods::Methods;
use super::reading::Reading;
use super::route::Route;
use super::template::{Segment, Template};
use super::tree::Node;
use super::warning::PolicyWarning;

/// Routes for paths that some service treats as one, with different conditions.
pub(super) fn of_readings(routes: &[Arc<Route>]) -> Vec<PolicyWarning> {
    let mut warnings = Vec::new();
    // Routes that no other reading can tell apart, in the order of the file.
    let mut alike: HashMap<_, Vec<&Arc<Route>>> = HashMap::new();
    for one in routes {
        let earlier = alike.entry(Reading::COARSEST.place(&one.path.segments)).or_default();
        for other in earlier.iter() {
            let methods = one.methods.and(other.methods);
            let (segments, others) = (&one.path.segments, &other.path.segments);
            let one_path =
                Reading::ALL.first().is_some_and(|exact| exact.place(segments) == exact.place(others));
            if !one_path && !methods.is_empty() && !one.has_same_conditions(other) {
                warnings.push(PolicyWarning::contradiction(
                    (other.rule, &other.path),
                    (one.rule, &one.path),
                    methods,
                ));
            }
        }
        earlier.push(one);
    }
    warnings
}

/// Routes that restrict GET on paths where a broader route permits HEAD to other callers. Servers answer HEAD as GET,
/// without the body (RFC 9110, section 9.3.2).
pub(super) fn of_head(routes: &[Arc<Route>], exact: &Node) -> Vec<PolicyWarning> {
    let (get, head) = (Methods::of(&Method::GET), Methods::of(&Method::HEAD));
    let fresh = fresh_segment(routes);
    let mut warnings = Vec::new();
    for route in routes.iter().filter(|route| route.methods.intersects(get)) {
        let found: Vec<_> = sample_paths(&route.path, &fresh)
            .iter()
            .filter(|path| decides(exact, path, route))
            .filter_map(|path| exact.find(path, |other| other.methods.intersects(head)))
            .flatten()
            .flatten()
            .filter(|other| other.methods.intersects(head) && !route.query.excludes(&other.query))
            .filter(|other| !other.allow.iter().all(|allow| route.allows(allow)))
            .collect();
        let mut warned = Vec::new();
        for other in found {
            if !warned.contains(&other.rule) {
                warned.push(other.rule);
                warnings.push(PolicyWarning::head((route.rule, &route.path), (other.rule, &other.path)));
            }
        }
    }
    warnings
}

/// Return true if `route` is among those that decide on GET of `path`.
fn decides(exact: &Node, path: &str, route: &Route) -> bool {
    let get = Methods::of(&Method::GET);
    let groups = exact.find(path, |other| other.methods.intersects(get)).unwrap_or_default();
    groups.iter().flatten().any(|found| found.rule == route.rule)
}

/// Segment that is no literal of any route.
fn fresh_segment(routes: &[Arc<Route>]) -> String {
    let segments = routes.iter().flat_map(|route| &route.path.segments);
    let literals: HashSet<_> = segments
        .filter_map(|segment| match segment {
            Segment::Literal(text) => Some(text.as_str()),
            Segment::Any(_) | Segment::Rest => None,
        })
        .collect();
    let fresh =
        (0..).map(|number: usize| format!("x{number}")).find(|text| !literals.contains(text.as_str()));
    fresh.unwrap_or_default()
}

/// Paths below the root that `template` matches, with `fresh` for its variables.
fn sample_paths(template: &Template, fresh: &str) -> Vec<String> {
    let below = template.as_str().strip_prefix('/').unwrap_or_default();
    let parts = below.split('/').zip(&template.segments);
    let parts: Vec<_> = parts
        .map(|(text, segment)| match segment {
            Segment::Literal(_) => text,
            Segment::Any(_) | Segment::Rest => fresh,
        })
        .collect();
    let mut paths = vec![parts.join("/")];
    if template.segments.last() == Some(&Segment::Rest) {
        paths.extend(parts.split_last().map(|(_, before)| before.join("/")));
    }
    paths
}
