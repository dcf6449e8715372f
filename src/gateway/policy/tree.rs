//! Tree of routes by path segments. A lookup allocates nothing and visits only routes that can match the path.

use std::sync::Arc;

use super::error::PolicyError;
use super::methods::Methods;
use super::route::Route;
use super::template::Segment;
use crate::gateway::message::path;

/// Treatment of case in literals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Case {
    /// Converted to lower case.
    Folded,
    /// Unchanged.
    Kept,
}

/// Node of the tree: the routes that share a prefix of their templates.
#[derive(Clone, Debug, Default)]
pub(super) struct Node {
    /// Routes whose template ends here. For two that share a method, either no query matches both, or the
    /// stricter route comes first.
    end: Vec<Arc<Route>>,
    /// Children by literal segment, sorted; the empty literal is a trailing slash.
    literals: Vec<(String, Node)>,
    /// Child for any segment that is not empty.
    any: Option<Box<Node>>,
    /// Routes whose template continues in `**`, ordered like `end`.
    rest: Vec<Arc<Route>>,
}

impl Node {
    /// Adds a route, unless it conflicts with another.
    pub(super) fn insert(&mut self, route: &Arc<Route>, case: Case) -> Result<(), PolicyError> {
        let mut node = self;
        let mut open = false;
        for segment in &route.path.segments {
            node = match segment {
                Segment::Literal(text) if case == Case::Folded => {
                    node.literal_or_new(&text.to_ascii_lowercase())
                }
                Segment::Literal(text) => node.literal_or_new(text),
                Segment::Any(_) => node.any.get_or_insert_default(),
                Segment::Rest => {
                    open = true;
                    break;
                }
            };
        }
        let routes = if open { &mut node.rest } else { &mut node.end };
        let mut place = routes.len();
        for (position, other) in routes.iter().enumerate() {
            let methods = other.methods.and(route.methods);
            if methods.is_empty() || route.query.excludes(&other.query) {
                continue;
            }
            match (route.query.implies(&other.query), other.query.implies(&route.query)) {
                (true, false) => place = place.min(position),
                (false, true) => {}
                _ => return Err(PolicyError::Conflict { rule: route.rule, other: other.rule, methods }),
            }
        }
        routes.insert(place, Arc::clone(route));
        Ok(())
    }

    fn literal_or_new(&mut self, text: &str) -> &mut Self {
        let position = match self.literals.binary_search_by(|(literal, _)| literal.as_str().cmp(text)) {
            Ok(found) => found,
            Err(place) => {
                self.literals.insert(place, (text.to_owned(), Self::default()));
                place
            }
        };
        #[expect(clippy::indexing_slicing, reason = "found or inserted above")]
        &mut self.literals[position].1
    }

    /// Routes of the most specific template that matches the path `below` the root and has a `wanted` route.
    pub(super) fn find(&self, below: &str, wanted: impl Fn(&Route) -> bool) -> Option<&[Arc<Route>]> {
        self.find_below(Some(below), &wanted)
    }

    /// Searches below this node; `below` is the rest of the path, `None` at its end.
    ///
    /// Each node is one prefix of templates, so it is visited at most once. Nodes are visited in the order of
    /// specificity.
    fn find_below(&self, below: Option<&str>, wanted: &impl Fn(&Route) -> bool) -> Option<&[Arc<Route>]> {
        let found = match below {
            None => with_any(&self.end, wanted),
            Some(below) => {
                let (segment, below) = match below.split_once('/') {
                    Some((segment, below)) => (segment, Some(below)),
                    None => (below, None),
                };
                self.literal(segment).and_then(|node| node.find_below(below, wanted)).or_else(|| {
                    let any = self.any.as_ref().filter(|_| !segment.is_empty());
                    any.and_then(|node| node.find_below(below, wanted))
                })
            }
        };
        found.or_else(|| with_any(&self.rest, wanted))
    }

    fn literal(&self, segment: &str) -> Option<&Self> {
        let found = self
            .literals
            .binary_search_by(|(literal, _)| literal.bytes().cmp(path::decoded(segment)))
            .ok()?;
        self.literals.get(found).map(|(_, node)| node)
    }

    /// Finds routes that no request of one of their methods reaches: stricter routes match every query, or, for
    /// `**`, more specific routes match every path. Templates without `**` always match a path of their own.
    pub(super) fn find_unreachable(&self, errors: &mut Vec<PolicyError>) {
        let mut report = |routes: &[Arc<Route>], hidden: Methods| {
            for (position, route) in routes.iter().enumerate() {
                let methods = route.methods.and(hidden).or(taken_by_stricter(routes, position));
                if !methods.is_empty() {
                    errors.push(PolicyError::Unreachable { rule: route.rule, methods });
                }
            }
        };
        report(&self.end, Methods::default());
        report(&self.rest, self.taken_without_rest());
        self.literals.iter().for_each(|(_, node)| node.find_unreachable(errors));
        if let Some(node) = &self.any {
            node.find_unreachable(errors);
        }
    }

    /// Methods with which routes below this node match every path with its prefix.
    fn taken(&self) -> Methods {
        methods(&self.rest).or(self.taken_without_rest())
    }

    fn taken_without_rest(&self) -> Methods {
        let slash = self.literal("").map(|node| methods(&node.end)).unwrap_or_default();
        let any = self.any.as_ref().map(|node| node.taken()).unwrap_or_default();
        methods(&self.end).and(slash).and(any)
    }
}

fn with_any(routes: &[Arc<Route>], wanted: impl Fn(&Route) -> bool) -> Option<&[Arc<Route>]> {
    routes.iter().any(|route| wanted(route)).then_some(routes)
}

/// Methods of the route at `position` for which the stricter routes before it match every query.
fn taken_by_stricter(routes: &[Arc<Route>], position: usize) -> Methods {
    let Some((route, before)) = routes.get(..=position).and_then(<[_]>::split_last) else {
        return Methods::default();
    };
    let escapes = |method: Methods| {
        let stricter =
            before.iter().filter(|other| other.methods.intersects(method)).map(|other| &other.query);
        route.query.escapes(&stricter.collect::<Vec<_>>())
    };
    let methods = Methods::ALL.iter().map(Methods::of).filter(|method| route.methods.intersects(*method));
    methods.filter(|method| !escapes(*method)).collect()
}

fn methods(routes: &[Arc<Route>]) -> Methods {
    routes.iter().map(|route| route.methods).collect()
}
