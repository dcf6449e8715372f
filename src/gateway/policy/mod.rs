//! Who may make which call: pure, compiled once, and denying whatever no route permits.
//!
//! Of the routes whose path and method fit a request, the most specific one is chosen, whatever their
//! order in the file, and its `allow` alone decides. A caller whom it turns away never falls through
//! to a broader route: what the narrower rule closes, the broader one must not open.
//!
//! Paths are compared segment by segment from the left, and the first difference decides: a literal is
//! more specific than `{variable}` and `*` (which are alike: giving a segment a name changes no
//! decision), these than `**`, and a path that ends than one that goes on in `**`.
//!
//! Several routes may be for the same paths and methods, told apart by what they ask of the query; the
//! strictest that the query fulfils decides. When it fulfils none of them, the call is denied: neither
//! here does it fall through to a broader path.
//!
//! Many a service takes `/a` and `/a/` for one path, and some `/A` too. So what is permitted by a route that
//! does not spell the path out as it was sent is judged without the slash at its end as well, and without
//! regard to case; whatever of these is denied is denied.
//!
//! Nothing here does input or output, or knows the time: the same engine serves a request, a shadow
//! policy and an explanation offline.

mod error;
mod methods;
mod query;
mod template;
mod tree;

pub use error::PolicyError;
pub use methods::Methods;
pub use query::{QueryError, QueryRule, Wanted};
pub use template::{Template, TemplateError, Variable};

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use http::Method;

use self::tree::{Case, Node};
use crate::error::{Code, Coded};
use crate::gateway::message::path::RequestPath;
use crate::identity::{Identity, Name, Role};

/// Every route, ready to decide.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    routes: Vec<Arc<Route>>,
    root: Node,
    /// The same with every literal in lower case; of routes that differ by nothing else, the first.
    folded: Node,
    /// Whether any literal is not in lower case.
    cased: bool,
}

impl Policy {
    /// Compiles `routes`.
    ///
    /// # Errors
    /// Every [`PolicyError`] there is: two routes for the same requests, a route or an `allow` entry that
    /// can never apply.
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
                    // Where it cannot stand too, another one stands for the same paths.
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

    /// Whether `caller`, nobody where no certificate was presented, may make this call.
    pub fn decide(&self, caller: Option<&Identity>, method: &Method, path: &RequestPath) -> Decision {
        let deny = |reason, rule| {
            // Who has not said who it is learns nothing of what there is.
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
                    // Where both spellings have a route, each is for its own.
                    && !self.route(rule).is_some_and(|closed| closed.path.is_alike(&route.path))
                {
                    return Err(denial);
                }
            }
            Ok(route)
        });
        match judged {
            Ok(route) => Decision::Permit(Terms {
                rule: route.rule,
                upstream: route.upstream,
                websocket: route.websocket,
            }),
            Err(Denial { reason, rule }) => deny(reason, rule),
        }
    }

    /// How a service may read `path` that `route` permits: without the slash at its end, in lower case,
    /// or both; with the tree to look it up in.
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

    /// Whether the decision on such a call depends on its query.
    #[must_use]
    pub fn depends_on_query(&self, method: &Method, path: &RequestPath) -> bool {
        let below = path.below_root().to_ascii_lowercase();
        let bare = below.strip_suffix('/').unwrap_or(&below);
        let read = [(&self.root, path.below_root()), (&self.folded, &below), (&self.folded, bare)];
        let mut routes = read.into_iter().flat_map(|(tree, below)| routes_for(tree, method, below));
        routes.any(|route| !route.query.is_empty())
    }

    /// The route of this number.
    #[must_use]
    pub fn route(&self, rule: RuleId) -> Option<&Route> {
        self.routes().find(|route| route.rule == rule)
    }

    /// The routes as they were given.
    pub fn routes(&self) -> impl ExactSizeIterator<Item = &Route> {
        self.routes.iter().map(AsRef::as_ref)
    }
}

/// What `tree` says of what is `below` the root, which may be another reading of `path`.
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

/// The routes in `tree` for the most specific of all paths, those with the strictest query first.
fn routes_for<'a>(tree: &'a Node, method: &Method, below: &str) -> impl Iterator<Item = &'a Route> + use<'a> {
    let methods = Methods::of(method);
    let fits = move |route: &Route| route.methods.intersects(methods);
    let routes = tree.find(below, fits).unwrap_or_default();
    routes.iter().map(AsRef::as_ref).filter(move |route| fits(route))
}

/// Where the gateway answers by itself; no route can be for this path or one below it, and nothing there
/// is ever sent upstream.
pub const RESERVED: &str = "/.well-known/cluster";

/// Whether `path` is [`RESERVED`] or below it.
pub(super) fn is_reserved(path: &str) -> bool {
    path.strip_prefix(RESERVED).is_some_and(|below| below.is_empty() || below.starts_with('/'))
}

/// One rule: which requests it is for, who may make them, where they go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Its name in logs and explanations.
    pub rule: RuleId,
    /// The paths it is for.
    pub path: Template,
    /// The methods it is for, exactly: GET does not include HEAD.
    pub methods: Methods,
    /// What it asks of the query.
    pub query: QueryRule,
    /// Who may; with nobody listed, the route closes its paths.
    pub allow: Vec<Allow>,
    /// Where the request goes.
    pub upstream: UpstreamId,
    /// Whether a connection may become a WebSocket here.
    pub websocket: bool,
}

impl Route {
    fn admit(&self, caller: Option<&Identity>, path: &RequestPath) -> Result<(), DenyReason> {
        if self.is_for_anyone() {
            return Ok(());
        }
        let caller = caller.ok_or(DenyReason::CertificateMissing)?;
        let mut reason = DenyReason::RoleNotAllowed;
        let callers = self.allow.iter().flat_map(Allow::callers);
        for allowed in callers.filter(|allowed| allowed.role == caller.role) {
            if allowed.name.covers(&caller.name, path) {
                return Ok(());
            }
            reason = DenyReason::NameMismatch;
        }
        Err(reason)
    }

    /// Whether callers without a certificate may, too.
    #[must_use]
    pub fn is_for_anyone(&self) -> bool {
        self.allow.contains(&Allow::Anyone)
    }

    /// Entries of `allow` that admit nobody whom another one does not admit anyway.
    fn redundant_callers(&self) -> impl Iterator<Item = PolicyError> {
        self.allow.iter().enumerate().filter_map(|(entry, allow)| {
            // Of two that are alike, the later one is redundant.
            let covers =
                |(other, by): &(usize, &Allow)| by.includes(allow) && (*other < entry || !allow.includes(by));
            let (other, _) = self.allow.iter().enumerate().find(covers)?;
            Some(PolicyError::RedundantCaller { rule: self.rule, entry, other })
        })
    }
}

/// One entry of a route's `allow`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Allow {
    /// Everyone, also without a certificate.
    Anyone,
    /// These callers.
    Caller(Caller),
    /// All callers of a group.
    Group(Arc<Group>),
}

impl Allow {
    fn callers(&self) -> &[Caller] {
        match self {
            Self::Anyone => &[],
            Self::Caller(caller) => std::slice::from_ref(caller),
            Self::Group(group) => &group.callers,
        }
    }

    fn includes(&self, other: &Self) -> bool {
        *self == Self::Anyone
            || *other != Self::Anyone
                && other.callers().iter().all(|caller| self.callers().iter().any(|by| by.includes(caller)))
    }
}

/// Callers who go by one name in several routes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// What routes call it.
    pub name: String,
    /// Who is in it.
    pub callers: Vec<Caller>,
}

/// Callers of one role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The role a caller must have.
    pub role: Role,
    /// The names it may have.
    pub name: NameRule,
}

impl Caller {
    /// Whether `caller` is one of them, wherever it calls.
    #[must_use]
    pub fn is(&self, caller: &Identity) -> bool {
        self.role == caller.role
            && match &self.name {
                NameRule::Any => true,
                NameRule::Bound(_) => false,
                NameRule::Exactly(name) => *name == caller.name,
            }
    }

    fn includes(&self, other: &Self) -> bool {
        self.role == other.role
            && match (&self.name, &other.name) {
                (NameRule::Any, _) => true,
                (mine, theirs) => mine == theirs,
            }
    }
}

/// Which names of a role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NameRule {
    /// Every one.
    Any,
    /// The one that the path names at this variable.
    Bound(Variable),
    /// This one.
    Exactly(Name),
}

impl NameRule {
    /// Names hold only characters that a path never escapes, so that bytes are compared.
    fn covers(&self, name: &Name, path: &RequestPath) -> bool {
        match self {
            Self::Any => true,
            Self::Bound(variable) => variable.value_in(path) == Some(name.as_str()),
            Self::Exactly(exactly) => exactly == name,
        }
    }
}

/// Which rule: its place in the file, for logs, metrics and explanations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleId {
    /// Its position among the routes, from 0.
    pub index: usize,
    /// The line at which it begins, from 1.
    pub line: usize,
}

impl fmt::Display for RuleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "routes[{}] (line {})", self.index, self.line)
    }
}

/// Which upstream: its position in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UpstreamId(pub usize);

/// The answer of a policy.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a decision that nobody looks at protects nothing"]
pub enum Decision {
    /// The call may be made, on these terms.
    Permit(Terms),
    /// It may not.
    Deny(Denial),
}

impl Decision {
    /// The same for a call that is, or becomes, a WebSocket if `tunnel`: not every call that may be made
    /// may become one.
    pub const fn for_tunnel(self, tunnel: bool) -> Self {
        match self {
            Self::Permit(terms) if tunnel && !terms.websocket() => {
                Self::Deny(Denial { reason: DenyReason::WebSocket, rule: Some(terms.rule()) })
            }
            decision => decision,
        }
    }

    /// What it comes to, without the permission: for telling and comparing.
    #[must_use]
    pub const fn verdict(&self) -> Verdict {
        match self {
            Self::Permit(terms) => Verdict::Permit { rule: terms.rule, upstream: terms.upstream },
            Self::Deny(denial) => Verdict::Deny(*denial),
        }
    }
}

/// What a decision comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The call may not be made.
    Deny(Denial),
    /// It may.
    Permit {
        /// The rule that permits it.
        rule: RuleId,
        /// Where it goes.
        upstream: UpstreamId,
    },
}

impl Verdict {
    /// Whether the caller, or the service behind, would notice that it is the other one.
    #[must_use]
    pub fn differs_from(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Permit { upstream, .. }, Self::Permit { upstream: theirs, .. }) => upstream != theirs,
            (Self::Deny(_), Self::Deny(_)) => false,
            _ => true,
        }
    }

    /// `permit` or `deny`.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Deny(_) => "deny",
            Self::Permit { .. } => "permit",
        }
    }

    /// The rule that decides; none where no rule is for such a request.
    #[must_use]
    pub const fn rule(&self) -> Option<RuleId> {
        match self {
            Self::Deny(denial) => denial.rule,
            Self::Permit { rule, .. } => Some(*rule),
        }
    }

    /// Why not; none for a permission.
    #[must_use]
    pub const fn reason(&self) -> Option<DenyReason> {
        match self {
            Self::Deny(denial) => Some(denial.reason),
            Self::Permit { .. } => None,
        }
    }
}

/// A permission for one request. Only [`Policy::decide`] makes one and it cannot be copied: what sends
/// a request upstream takes it, so that nothing is sent that was not judged.
#[derive(Debug, PartialEq, Eq)]
pub struct Terms {
    rule: RuleId,
    upstream: UpstreamId,
    websocket: bool,
}

impl Terms {
    /// The rule that permits it.
    #[must_use]
    pub const fn rule(&self) -> RuleId {
        self.rule
    }

    /// Where it goes.
    #[must_use]
    pub const fn upstream(&self) -> UpstreamId {
        self.upstream
    }

    /// Whether the connection may become a WebSocket.
    #[must_use]
    pub const fn websocket(&self) -> bool {
        self.websocket
    }
}

/// A refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Denial {
    /// Why.
    pub reason: DenyReason,
    /// The rule that refuses it; none where no rule is for such a request.
    pub rule: Option<RuleId>,
}

impl Denial {
    /// What a caller without a certificate gets where no rule is asked.
    pub const NO_CERTIFICATE: Self = Self { reason: DenyReason::CertificateMissing, rule: None };
}

/// Why a call may not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum DenyReason {
    /// The caller has not said who it is, and the route is not for anyone.
    #[error("this takes a client certificate")]
    CertificateMissing,
    /// Routes are for this path, but none for this method.
    #[error("no route allows this method on this path")]
    MethodNotAllowed,
    /// The caller's role may, but not under this name.
    #[error("the caller's name is not allowed on this route")]
    NameMismatch,
    /// No route is for this path.
    #[error("no route is for this path")]
    NoRoute,
    /// Only an operator may.
    #[error("only an operator may do this")]
    NotAnOperator,
    /// Routes are for this path and method, but none for this query.
    #[error("no route on this path allows this query")]
    QueryNotAllowed,
    /// The caller's role may not.
    #[error("the caller's role is not allowed on this route")]
    RoleNotAllowed,
    /// The call may be made, but no WebSocket of it.
    #[error("no WebSocket is allowed on this route")]
    WebSocket,
}

impl Coded for DenyReason {
    fn coded(&self) -> Code {
        match self {
            Self::CertificateMissing => Code::refused("certificate.missing"),
            Self::MethodNotAllowed => Code::refused("policy.method_not_allowed"),
            Self::NameMismatch => Code::refused("policy.name_mismatch"),
            Self::NoRoute => Code::refused("policy.no_route"),
            Self::NotAnOperator => Code::refused("policy.not_an_operator"),
            Self::QueryNotAllowed => Code::refused("policy.query_not_allowed"),
            Self::RoleNotAllowed => Code::refused("policy.role_not_allowed"),
            Self::WebSocket => Code::refused("policy.websocket"),
        }
    }
}

#[cfg(test)]
mod tests;
