//! Routes as a tree of path segments: which one is for a path is found without allocating, and without
//! looking at the routes that are for other paths.

use std::sync::Arc;

use super::template::Segment;
use super::{Methods, PolicyError, Route};
use crate::gateway::path::{self, RequestPath};

/// What may follow one beginning of a path.
#[derive(Clone, Debug, Default)]
pub(super) struct Node {
    /// Routes whose template ends here; no two share a method.
    end: Vec<Arc<Route>>,
    /// Children for one segment each, sorted; the empty one is for a slash at the end.
    literals: Vec<(String, Node)>,
    /// The child for any segment but an empty one.
    any: Option<Box<Node>>,
    /// Routes whose template goes on in `**`; no two share a method.
    rest: Vec<Arc<Route>>,
}

impl Node {
    /// Takes up a route.
    pub(super) fn insert(&mut self, route: &Arc<Route>) -> Result<(), PolicyError> {
        let mut node = self;
        let mut open = false;
        for segment in &route.path.segments {
            node = match segment {
                Segment::Literal(text) => node.literal_or_new(text),
                Segment::Any(_) => node.any.get_or_insert_default(),
                Segment::Rest => {
                    open = true;
                    break;
                }
            };
        }
        let routes = if open { &mut node.rest } else { &mut node.end };
        for other in routes.iter() {
            let methods = other.methods.and(route.methods);
            if !methods.is_empty() {
                return Err(PolicyError::Conflict { rule: route.rule, other: other.rule, methods });
            }
        }
        routes.push(Arc::clone(route));
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
        #[expect(clippy::indexing_slicing, reason = "found or inserted there just now")]
        &mut self.literals[position].1
    }

    /// The most specific route for `path` that is `wanted`.
    pub(super) fn find(&self, path: &RequestPath, wanted: impl Fn(&Route) -> bool) -> Option<&Route> {
        self.find_below(Some(path.below_root()), &wanted)
    }

    /// `below` is what is left of the path, `None` at its end.
    ///
    /// Each node stands for one beginning of a template, so that it is visited at most once, and the
    /// order of the visits is the order of specificity.
    fn find_below(&self, below: Option<&str>, wanted: &impl Fn(&Route) -> bool) -> Option<&Route> {
        let found = match below {
            None => first(&self.end, wanted),
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
        found.or_else(|| first(&self.rest, wanted))
    }

    fn literal(&self, segment: &str) -> Option<&Self> {
        let found = self
            .literals
            .binary_search_by(|(literal, _)| literal.bytes().cmp(path::decoded(segment)))
            .ok()?;
        self.literals.get(found).map(|(_, node)| node)
    }

    /// Finds the routes that never see a request of one of their methods. Only `**` can be hidden: the
    /// others stand for a path that no more specific one stands for.
    pub(super) fn find_unreachable(&self, errors: &mut Vec<PolicyError>) {
        let hidden = self.taken_without_rest();
        for route in &self.rest {
            let methods = route.methods.and(hidden);
            if !methods.is_empty() {
                errors.push(PolicyError::Unreachable { rule: route.rule, methods });
            }
        }
        self.literals.iter().for_each(|(_, node)| node.find_unreachable(errors));
        if let Some(node) = &self.any {
            node.find_unreachable(errors);
        }
    }

    /// The methods for which something is for every path that begins here.
    fn taken(&self) -> Methods {
        methods(&self.rest).or(self.taken_without_rest())
    }

    fn taken_without_rest(&self) -> Methods {
        let slash = self.literal("").map(|node| methods(&node.end)).unwrap_or_default();
        let any = self.any.as_ref().map(|node| node.taken()).unwrap_or_default();
        methods(&self.end).and(slash).and(any)
    }
}

fn first(routes: &[Arc<Route>], wanted: impl Fn(&Route) -> bool) -> Option<&Route> {
    routes.iter().map(AsRef::as_ref).find(|route| wanted(route))
}

fn methods(routes: &[Arc<Route>]) -> Methods {
    routes.iter().map(|route| route.methods).collect()
}
