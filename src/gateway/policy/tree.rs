//! Tree of routes by path segments. A lookup allocates nothing and visits only routes that can match the path.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::sync::Arc;

use super::error::PolicyError;
use super::methods::Methods;
use super::reading::Reading;
use super::route::Route;
use super::template::Segment;
use crate::gateway::message::path;

/// Routes of one template. For two that share a method, either no query matches both, or the stricter route comes
/// first.
pub(super) type RouteGroup = Vec<Arc<Route>>;

/// Node of the tree: the routes that share a prefix of their templates.
///
/// A node of the exact reading has at most one group in each place. In another reading, the groups are those of
/// templates that it cannot tell apart, ordered by their text.
#[derive(Clone, Debug, Default)]
pub(super) struct Node {
    /// Routes whose template ends here.
    end: Vec<RouteGroup>,
    /// Children by literal segment, sorted; the empty literal is a trailing slash.
    literals: Vec<(String, Node)>,
    /// Child for any segment that is not empty.
    any: Option<Box<Node>>,
    /// Routes whose template continues in `**`.
    rest: Vec<RouteGroup>,
}

impl Node {
    /// Add a route to the exact tree, unless it conflicts with another. Routes in the order of [`by_place`] take the
    /// least time: they move no literals.
    pub(super) fn insert(&mut self, route: &Arc<Route>) -> Result<(), PolicyError> {
        let place = self.place(route.path.segments.iter().map(Cow::Borrowed));
        if place.is_empty() {
            place.push(RouteGroup::new());
        }
        let Some(routes) = place.first_mut() else { return Ok(()) };
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

    /// Tree of the same routes in another reading.
    pub(super) fn in_reading(&self, reading: Reading) -> Self {
        let mut groups = Vec::new();
        self.each_group(&mut |group| {
            if let Some(route) = group.first() {
                let segments: Vec<_> = reading.segments(&route.path.segments).collect();
                groups.push((segments, route.path.as_str(), group));
            }
        });
        groups.sort_by(|(one, one_text, _), (other, other_text, _)| {
            by_place(one.iter().map(AsRef::as_ref), other.iter().map(AsRef::as_ref))
                .then_with(|| one_text.cmp(other_text))
        });
        let mut tree = Self::default();
        for (segments, _, group) in groups {
            tree.place(segments.into_iter()).push(group.clone());
        }
        tree
    }

    fn each_group<'t>(&'t self, visit: &mut impl FnMut(&'t RouteGroup)) {
        self.end.iter().chain(&self.rest).for_each(&mut *visit);
        self.literals.iter().for_each(|(_, node)| node.each_group(visit));
        if let Some(node) = &self.any {
            node.each_group(visit);
        }
    }

    /// Groups at the end of a template with these segments.
    fn place<'s>(&mut self, segments: impl Iterator<Item = Cow<'s, Segment>>) -> &mut Vec<RouteGroup> {
        let mut node = self;
        for segment in segments {
            node = match &*segment {
                Segment::Literal(text) => node.literal_or_new(text),
                Segment::Any(_) => node.any.get_or_insert_default(),
                Segment::Rest => return &mut node.rest,
            };
        }
        &mut node.end
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

    /// Groups of the most specific template that matches the path `below` the root and has a `wanted` route.
    pub(super) fn find(&self, below: &str, wanted: impl Fn(&Route) -> bool) -> Option<&[RouteGroup]> {
        self.find_below(Some(below), &wanted)
    }

    /// Searches below this node; `below` is the rest of the path, `None` at its end.
    ///
    /// Each node is one prefix of templates, so it is visited at most once. Nodes are visited in the order of
    /// specificity.
    fn find_below(&self, below: Option<&str>, wanted: &impl Fn(&Route) -> bool) -> Option<&[RouteGroup]> {
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
        // Decoding byte by byte at each comparison costs several times as much, and few paths have an escape.
        let has_escape = segment.contains('%');
        let compared = |literal: &str| match has_escape {
            true => literal.bytes().cmp(path::decoded(segment)),
            false => literal.cmp(segment),
        };
        let found = self.literals.binary_search_by(|(literal, _)| compared(literal)).ok()?;
        self.literals.get(found).map(|(_, node)| node)
    }

    /// Find routes that no request of one of their methods reaches: stricter routes match every query, or, for
    /// `**`, more specific routes match every path. Templates without `**` always match a path of their own.
    pub(super) fn find_unreachable(&self, errors: &mut Vec<PolicyError>) {
        let mut report = |groups: &[RouteGroup], hidden: Methods| {
            let routes = groups.first().map_or(&[][..], Vec::as_slice);
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

/// Order in which templates with these segments are placed in a tree: equal for those of one place.
pub(super) fn by_place<'a>(
    one: impl Iterator<Item = &'a Segment>,
    other: impl Iterator<Item = &'a Segment>,
) -> Ordering {
    let compare = |one: &Segment, other: &Segment| match (one, other) {
        (Segment::Literal(one), Segment::Literal(other)) => one.cmp(other),
        (Segment::Literal(_), _) | (Segment::Any(_), Segment::Rest) => Ordering::Less,
        (_, Segment::Literal(_)) | (Segment::Rest, Segment::Any(_)) => Ordering::Greater,
        _ => Ordering::Equal,
    };
    let (mut one, mut other) = (one.fuse(), other.fuse());
    loop {
        let order = match (one.next(), other.next()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => Ordering::Less,
            (Some(_), None) => Ordering::Greater,
            (Some(one), Some(other)) => compare(one, other),
        };
        if order != Ordering::Equal {
            return order;
        }
    }
}

fn with_any(groups: &[RouteGroup], wanted: impl Fn(&Route) -> bool) -> Option<&[RouteGroup]> {
    groups.iter().flatten().any(|route| wanted(route)).then_some(groups)
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

fn methods(groups: &[RouteGroup]) -> Methods {
    groups.iter().flatten().map(|route| route.methods).collect()
}
