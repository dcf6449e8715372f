//! Compiled policy and its decision on a request.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use http::Method;

use super::contradictions;
use super::decision::{Decision, Denial, DenyReason, Grant};
use super::error::PolicyError;
use super::ids::{RuleId, is_reserved};
use super::methods::Methods;
use super::reading::{PathReadings, Reading};
use super::route::Route;
use super::tree::{Node, RouteGroup, by_place};
use super::user_rule::Subject;
use super::warning::PolicyWarning;
use crate::gateway::message::path::RequestPath;

/// Compiled routes.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    routes: Vec<Arc<Route>>,
    /// Position of each route in `routes`.
    positions: HashMap<RuleId, usize>,
    exact: Node,
    /// Trees of the other readings. A tree of the same shape as the exact one is needed only for paths that the
    /// reading changes.
    others: Vec<ReadingTree>,
}

#[derive(Clone, Debug)]
struct ReadingTree {
    reading: Reading,
    root: Node,
    /// True if the reading changes a template.
    changes: bool,
}

impl Policy {
    /// Compile `routes`.
    ///
    /// # Errors
    /// Every [`PolicyError`]: two routes that match the same requests, a reserved path, or a route or `allow`
    /// entry that never applies.
    pub fn compile(routes: impl IntoIterator<Item = Route>) -> Result<Self, Vec<PolicyError>> {
        let routes: Vec<_> = routes.into_iter().map(Arc::new).collect();
        let mut policy = Self::default();
        // Stable: of two routes that conflict, the later one in the file is reported.
        let mut by_template: Vec<_> = routes.iter().enumerate().collect();
        by_template
            .sort_by(|(_, one), (_, other)| by_place(one.path.segments.iter(), other.path.segments.iter()));
        let mut conflicts = HashMap::new();
        for (position, route) in by_template {
            if let Err(conflict) = policy.exact.insert(route) {
                conflicts.insert(position, conflict);
            }
        }
        let mut errors = Vec::new();
        for (position, route) in routes.into_iter().enumerate() {
            errors.extend(route.redundant_callers());
            if is_reserved(route.path.as_str()) {
                errors.push(PolicyError::Reserved { rule: route.rule });
            }
            match conflicts.remove(&position) {
                Some(conflict) => errors.push(conflict),
                None => policy.routes.push(route),
            }
        }
        policy.positions =
            policy.routes.iter().enumerate().map(|(position, route)| (route.rule, position)).collect();
        policy.exact.find_unreachable(&mut errors);
        policy.others = Reading::ALL.into_iter().skip(1).map(|reading| policy.tree(reading)).collect();
        if errors.is_empty() { Ok(policy) } else { Err(errors) }
    }

    fn tree(&self, reading: Reading) -> ReadingTree {
        let changes = self.routes.iter().any(|route| {
            let segments = &route.path.segments;
            !reading.segments(segments).eq(segments.iter().map(Cow::Borrowed))
        });
        ReadingTree { reading, root: self.exact.in_reading(reading), changes }
    }

    /// Decides on a call of `subject`, such as the identity of a client certificate.
    pub fn decide<'a>(
        &self,
        subject: impl Into<Subject<'a>>,
        method: &Method,
        path: &'a RequestPath,
    ) -> Decision {
        let subject = subject.into();
        let call = Call { subject, method: Methods::of(method), path };
        match self.judge(&call) {
            Ok(grant) => Decision::Permit(grant),
            // A caller without a certificate and a token must not learn which routes exist.
            Err(denial) if subject.is_anonymous() => {
                Decision::Deny(Denial { reason: DenyReason::CertificateMissing, ..denial })
            }
            Err(denial) => Decision::Deny(denial),
        }
    }

    fn judge(&self, call: &Call<'_>) -> Result<Grant, Denial> {
        let denial = |reason| Denial { reason, rule: None };
        if is_reserved(call.path.path()) {
            return Err(denial(DenyReason::NoRoute));
        }
        let paths = PathReadings::of(call.path.below_root());
        let exact = paths.path(Reading::ALL[0]);
        let Some(groups) = call.groups(&self.exact, exact) else {
            let known = self.exact.find(exact, |_| true).is_some();
            return Err(denial(if known { DenyReason::MethodNotAllowed } else { DenyReason::NoRoute }));
        };
        let mut grant: Option<Grant> = None;
        for group in groups.chain(self.other_groups(call, &paths)) {
            let Route { rule, upstream, websocket, content, token, .. } = *call.judge(group)?;
            match &mut grant {
                Some(grant) => grant.restrict(websocket, content, token),
                None => grant = Some(Grant { rule, upstream, websocket, content, token }),
            }
        }
        grant.ok_or(denial(DenyReason::NoRoute))
    }

    /// Groups that decide in the other readings, as far as these can differ from the exact one.
    fn other_groups<'a>(
        &'a self,
        call: &'a Call<'_>,
        paths: &'a PathReadings<'_>,
    ) -> impl Iterator<Item = &'a RouteGroup> {
        let differing = self.others.iter().filter(|tree| tree.changes || paths.differs_in(tree.reading));
        differing.flat_map(|tree| call.groups(&tree.root, paths.path(tree.reading)).into_iter().flatten())
    }

    /// Return true if the decision on such a call depends on its query.
    #[must_use]
    pub fn depends_on_query(&self, method: &Method, path: &RequestPath) -> bool {
        let call = Call { subject: Subject::default(), method: Methods::of(method), path };
        let paths = PathReadings::of(path.below_root());
        let exact = call.groups(&self.exact, paths.path(Reading::ALL[0])).into_iter().flatten();
        let mut routes = exact.chain(self.other_groups(&call, &paths)).flatten();
        routes.any(|route| call.fits(route) && !route.query.is_empty())
    }

    /// Warnings about valid routes that contradict each other.
    #[must_use]
    pub fn warnings(&self) -> Vec<PolicyWarning> {
        let mut warnings = contradictions::of_readings(&self.routes);
        warnings.extend(contradictions::of_head(&self.routes, &self.exact));
        warnings
    }

    /// Route with this identifier.
    #[must_use]
    pub fn route(&self, rule: RuleId) -> Option<&Route> {
        self.positions.get(&rule).and_then(|position| self.routes.get(*position)).map(AsRef::as_ref)
    }

    /// Routes in the order of the file.
    pub fn routes(&self) -> impl ExactSizeIterator<Item = &Route> {
        self.routes.iter().map(AsRef::as_ref)
    }
}

/// Call to decide on.
struct Call<'a> {
    subject: Subject<'a>,
    method: Methods,
    path: &'a RequestPath,
}

impl Call<'_> {
    fn fits(&self, route: &Route) -> bool {
        route.methods.intersects(self.method)
    }

    /// Groups with the method of the most specific matching template in `tree`; `None` if there is none.
    fn groups<'t>(
        &self,
        tree: &'t Node,
        below: &str,
    ) -> Option<impl Iterator<Item = &'t RouteGroup> + use<'t>> {
        let method = self.method;
        let fits = move |route: &Route| route.methods.intersects(method);
        let groups = tree.find(below, fits)?;
        Some(groups.iter().filter(move |group| group.iter().any(|route| fits(route))))
    }

    /// Decides by the routes of one template, those with the strictest query first.
    fn judge<'g>(&self, group: &'g RouteGroup) -> Result<&'g Route, Denial> {
        let mut routes = group.iter().filter(|route| self.fits(route)).peekable();
        let strictest = routes.peek().map(|route| route.rule);
        let Some(route) = routes.find(|route| route.query.admits(self.path.query())) else {
            return Err(Denial { reason: DenyReason::QueryNotAllowed, rule: strictest });
        };
        match route.admit(self.subject, self.path) {
            Ok(()) => Ok(route),
            Err(reason) => Err(Denial { reason, rule: Some(route.rule) }),
        }
    }
}
