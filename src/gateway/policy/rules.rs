//! Compiled policy and its decision on a request.

use std::borrow::Cow;
use std::sync::Arc;

use http::Method;

use super::decision::{Decision, Denial, DenyReason, Grant};
use super::error::PolicyError;
use super::ids::{RuleId, is_reserved};
use super::methods::Methods;
use super::route::Route;
use super::tree::{Case, Node};
use crate::gateway::message::path::RequestPath;
use crate::identity::Identity;

/// Compiled routes.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    routes: Vec<Arc<Route>>,
    root: Node,
    /// Tree with every literal in lower case. Of routes that differ only in case, it holds the first.
    folded: Node,
    /// True if any literal contains an upper-case letter.
    cased: bool,
}

impl Policy {
    /// Compiles `routes`.
    ///
    /// # Errors
    /// Every [`PolicyError`]: two routes that match the same requests, a reserved path, or a route or `allow`
    /// entry that never applies.
    pub fn compile(routes: impl IntoIterator<Item = Route>) -> Result<Self, Vec<PolicyError>> {
        let mut policy = Self::default();
        let mut errors = Vec::new();
        for route in routes.into_iter().map(Arc::new) {
            errors.extend(route.redundant_callers());
            if is_reserved(route.path.as_str()) {
                errors.push(PolicyError::Reserved { rule: route.rule });
            }
            match policy.root.insert(&route, Case::Kept) {
                Ok(()) => {
                    // A conflict here means that a route with the same paths in another case is present.
                    let _ = policy.folded.insert(&route, Case::Folded);
                    policy.cased |= route.path.has_upper_case();
                    policy.routes.push(route);
                }
                Err(conflict) => errors.push(conflict),
            }
        }
        policy.root.find_unreachable(&mut errors);
        if errors.is_empty() { Ok(policy) } else { Err(errors) }
    }

    /// Decides on a call of `caller`, which is `None` without a client certificate.
    pub fn decide(&self, caller: Option<&Identity>, method: &Method, path: &RequestPath) -> Decision {
        let deny = |reason, rule| {
            // A caller without a certificate must not learn which routes exist.
            let reason = if caller.is_some() { reason } else { DenyReason::CertificateMissing };
            Decision::Deny(Denial { reason, rule })
        };
        if is_reserved(path.path()) {
            return deny(DenyReason::NoRoute, None);
        }
        let judged = judge(&self.root, caller, method, path, path.below_root());
        let judged = judged.and_then(|route| {
            for (tree, below) in self.other_readings(path, route).into_iter().flatten() {
                if let Err(denial @ Denial { rule: Some(rule), .. }) = judge(tree, caller, method, path, &below)
                    // If both spellings have a route, each decides on its own spelling.
                    && !self.route(rule).is_some_and(|denying| denying.path.is_alike(&route.path))
                {
                    return Err(denial);
                }
            }
            Ok(route)
        });
        match judged {
            Ok(route) => Decision::Permit(Grant {
                rule: route.rule,
                upstream: route.upstream,
                websocket: route.websocket,
                content: route.content,
            }),
            Err(Denial { reason, rule }) => deny(reason, rule),
        }
    }

    /// Other readings by an upstream of a `path` that `route` permits, each with the tree to search: without the
    /// trailing slash, in lower case, or both.
    fn other_readings<'a>(
        &'a self,
        path: &'a RequestPath,
        route: &Route,
    ) -> [Option<(&'a Node, Cow<'a, str>)>; 3] {
        let below = path.below_root();
        let bare = below.strip_suffix('/').filter(|_| !route.path.ends_in_slash());
        let cased = below.bytes().any(|byte| byte.is_ascii_uppercase()) || self.cased;
        let folded = |below: &str| (&self.folded, Cow::Owned(below.to_ascii_lowercase()));
        [
            bare.map(|bare| (&self.root, Cow::Borrowed(bare))),
            cased.then(|| folded(below)),
            bare.filter(|_| cased).map(folded),
        ]
    }

    /// Returns true if the decision on such a call depends on its query.
    #[must_use]
    pub fn depends_on_query(&self, method: &Method, path: &RequestPath) -> bool {
        let below = path.below_root().to_ascii_lowercase();
        let bare = below.strip_suffix('/').unwrap_or(&below);
        let read = [(&self.root, path.below_root()), (&self.folded, &below), (&self.folded, bare)];
        let mut routes = read.into_iter().flat_map(|(tree, below)| routes_for(tree, method, below));
        routes.any(|route| !route.query.is_empty())
    }

    /// Route with this identifier.
    #[must_use]
    pub fn route(&self, rule: RuleId) -> Option<&Route> {
        self.routes().find(|route| route.rule == rule)
    }

    /// Routes in the order of the file.
    pub fn routes(&self) -> impl ExactSizeIterator<Item = &Route> {
        self.routes.iter().map(AsRef::as_ref)
    }
}

/// Decides by `tree` on the path `below` the root, which may be another reading of `path`.
fn judge<'a>(
    tree: &'a Node,
    caller: Option<&Identity>,
    method: &Method,
    path: &RequestPath,
    below: &str,
) -> Result<&'a Route, Denial> {
    let deny = |reason, rule| Denial { reason, rule };
    let mut routes = routes_for(tree, method, below).peekable();
    let Some(strictest) = routes.peek().map(|route| route.rule) else {
        let known = tree.find(below, |_| true).is_some();
        return Err(deny(if known { DenyReason::MethodNotAllowed } else { DenyReason::NoRoute }, None));
    };
    let Some(route) = routes.find(|route| route.query.admits(path.query())) else {
        return Err(deny(DenyReason::QueryNotAllowed, Some(strictest)));
    };
    route.admit(caller, path).map(|()| route).map_err(|reason| deny(reason, Some(route.rule)))
}

/// Routes of the most specific matching template in `tree`, those with the strictest query first.
fn routes_for<'a>(tree: &'a Node, method: &Method, below: &str) -> impl Iterator<Item = &'a Route> + use<'a> {
    let methods = Methods::of(method);
    let fits = move |route: &Route| route.methods.intersects(methods);
    let routes = tree.find(below, fits).unwrap_or_default();
    routes.iter().map(AsRef::as_ref).filter(move |route| fits(route))
}
