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
//! Nothing here does input or output, or knows the time: the same engine serves a request, a shadow
//! policy and an explanation offline.

mod methods;
mod template;
mod tree;

pub use methods::Methods;
pub use template::{Template, TemplateError, Variable};

use std::fmt;
use std::sync::Arc;

use http::Method;

use self::tree::Node;
use super::path::RequestPath;
use crate::identity::{Identity, Name, Role};

/// Every route, ready to decide.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    routes: Vec<Arc<Route>>,
    root: Node,
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
            match policy.root.insert(&route) {
                Ok(()) => policy.routes.push(route),
                Err(conflict) => errors.push(conflict),
            }
        }
        policy.root.find_unreachable(&mut errors);
        if errors.is_empty() { Ok(policy) } else { Err(errors) }
    }

    /// Whether `caller` may make this call.
    pub fn decide(&self, caller: &Identity, method: &Method, path: &RequestPath) -> Decision {
        let nowhere = |reason| Decision::Deny(Denial { reason, rule: None });
        if is_reserved(path.path()) {
            return nowhere(DenyReason::NoRoute);
        }
        let methods = Methods::of(method);
        let Some(route) = self.root.find(path, |route| route.methods.intersects(methods)) else {
            let known = self.root.find(path, |_| true).is_some();
            return nowhere(if known { DenyReason::MethodNotAllowed } else { DenyReason::NoRoute });
        };
        match route.admit(caller, path) {
            Ok(()) => Decision::Permit(Terms { rule: route.rule, upstream: route.upstream }),
            Err(reason) => Decision::Deny(Denial { reason, rule: Some(route.rule) }),
        }
    }

    /// The routes as they were given.
    pub fn routes(&self) -> impl ExactSizeIterator<Item = &Route> {
        self.routes.iter().map(AsRef::as_ref)
    }
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
    /// Who may; with nobody listed, the route closes its paths.
    pub allow: Vec<Allow>,
    /// Where the request goes.
    pub upstream: UpstreamId,
}

impl Route {
    fn admit(&self, caller: &Identity, path: &RequestPath) -> Result<(), DenyReason> {
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
    /// These callers.
    Caller(Caller),
    /// All callers of a group.
    Group(Arc<Group>),
}

impl Allow {
    fn callers(&self) -> &[Caller] {
        match self {
            Self::Caller(caller) => std::slice::from_ref(caller),
            Self::Group(group) => &group.callers,
        }
    }

    fn includes(&self, other: &Self) -> bool {
        other.callers().iter().all(|caller| self.callers().iter().any(|by| by.includes(caller)))
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

/// A permission for one request. Only [`Policy::decide`] makes one and it cannot be copied: what sends
/// a request upstream takes it, so that nothing is sent that was not judged.
#[derive(Debug, PartialEq, Eq)]
pub struct Terms {
    rule: RuleId,
    upstream: UpstreamId,
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
}

/// A refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Denial {
    /// Why.
    pub reason: DenyReason,
    /// The rule that refuses it; none where no rule is for such a request.
    pub rule: Option<RuleId>,
}

/// Why a call may not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum DenyReason {
    /// Routes are for this path, but none for this method.
    #[error("no route allows this method on this path")]
    MethodNotAllowed,
    /// The caller's role may, but not under this name.
    #[error("the caller's name is not allowed on this route")]
    NameMismatch,
    /// No route is for this path.
    #[error("no route is for this path")]
    NoRoute,
    /// The caller's role may not.
    #[error("the caller's role is not allowed on this route")]
    RoleNotAllowed,
}

impl DenyReason {
    /// The stable code of this reason.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::MethodNotAllowed => "policy.method_not_allowed",
            Self::NameMismatch => "policy.name_mismatch",
            Self::NoRoute => "policy.no_route",
            Self::RoleNotAllowed => "policy.role_not_allowed",
        }
    }
}

/// Why routes do not make a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// Two routes, equally specific, for the same requests.
    #[error("the same paths and methods ({methods}) as {other}")]
    Conflict {
        /// The later route.
        rule: RuleId,
        /// The earlier one.
        other: RuleId,
        /// The methods that both have.
        methods: Methods,
    },
    /// An `allow` entry that changes nothing.
    #[error("allow[{entry}] admits nobody whom allow[{other}] does not")]
    RedundantCaller {
        /// The route.
        rule: RuleId,
        /// The entry, from 0.
        entry: usize,
        /// The one that covers it.
        other: usize,
    },
    /// The gateway answers there itself.
    #[error("the gateway itself answers at {RESERVED}")]
    Reserved {
        /// The route.
        rule: RuleId,
    },
    /// More specific routes take every request.
    #[error("no request with {methods} reaches this route: more specific ones take them all")]
    Unreachable {
        /// The route.
        rule: RuleId,
        /// The methods it never sees.
        methods: Methods,
    },
}

impl PolicyError {
    /// The route concerned.
    #[must_use]
    pub const fn rule(&self) -> RuleId {
        match self {
            Self::Conflict { rule, .. }
            | Self::RedundantCaller { rule, .. }
            | Self::Reserved { rule }
            | Self::Unreachable { rule, .. } => *rule,
        }
    }

    /// The stable code of this error.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Conflict { .. } => "policy.conflict",
            Self::RedundantCaller { .. } => "policy.redundant_caller",
            Self::Reserved { .. } => "policy.reserved",
            Self::Unreachable { .. } => "policy.unreachable",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: &str = "3f2b8a52-1c5f-4a7e-9a51-6a1f0f4f2f11";
    const OTHER: &str = "9d1c1f0e-5b5a-4c3e-8b1e-0a0b0c0d0e0f";

    fn any(role: Role) -> Caller {
        Caller { role, name: NameRule::Any }
    }

    fn named(role: Role, name: &str) -> Caller {
        Caller { role, name: NameRule::Exactly(Name::parse(role, name).unwrap()) }
    }

    /// Routes with their position as line and as upstream.
    fn compile(routes: &[(&str, &str, &[Caller])]) -> Result<Policy, Vec<PolicyError>> {
        Policy::compile(routes.iter().enumerate().map(|(index, (methods, path, allow))| Route {
            rule: RuleId { index, line: index + 1 },
            path: path.parse().unwrap(),
            methods: methods.split(' ').map(|m| Methods::of(&m.parse().unwrap())).collect(),
            allow: allow.iter().cloned().map(Allow::Caller).collect(),
            upstream: UpstreamId(index),
        }))
    }

    fn bound(template: &str) -> Caller {
        let variable = template.parse::<Template>().unwrap().variable("name").unwrap();
        Caller { role: Role::NodeAgent, name: NameRule::Bound(variable) }
    }

    /// The route that permits, or the reason.
    fn decide(policy: &Policy, caller: &str, request: &str) -> Result<usize, DenyReason> {
        let caller = format!("spiffe://prod/{caller}").parse().unwrap();
        let (method, path) = request.split_once(' ').unwrap();
        let path = RequestPath::parse(path).unwrap();
        match policy.decide(&caller, &method.parse().unwrap(), &path) {
            Decision::Permit(terms) => {
                assert_eq!(terms.rule().index, terms.upstream().0);
                Ok(terms.rule().index)
            }
            Decision::Deny(denial) => Err(denial.reason),
        }
    }

    fn example() -> Policy {
        let nodes = "/v1/nodes/{name}/**";
        compile(&[
            ("GET POST", "/v1/**", &[any(Role::ApiUser), any(Role::ControlService)]),
            ("GET PUT", nodes, &[bound(nodes)]),
        ])
        .unwrap()
    }

    #[test]
    fn a_node_reaches_its_own_paths_only() {
        let policy = example();
        let node = format!("node-agent/{NODE}");
        for below in ["", "/", "/state", "/state/x?y=/v1/nodes"] {
            assert_eq!(decide(&policy, &node, &format!("PUT /v1/nodes/{NODE}{below}")), Ok(1), "{below}");
        }
        for name in [OTHER, &NODE.to_uppercase(), &NODE[1..], "x", &format!("{NODE}%20")] {
            let request = format!("PUT /v1/nodes/{name}/state");
            assert_eq!(decide(&policy, &node, &request), Err(DenyReason::NameMismatch), "{name}");
        }
        assert_eq!(decide(&policy, &node, "GET /v1/nodes"), Err(DenyReason::RoleNotAllowed));
    }

    #[test]
    fn a_broader_route_never_opens_what_a_narrower_one_closes() {
        let policy = example();
        let narrower = format!("GET /v1/nodes/{NODE}/state");
        assert_eq!(decide(&policy, "api-user/alice", &narrower), Err(DenyReason::RoleNotAllowed));
        assert_eq!(decide(&policy, "api-user/alice", "GET /v1/volumes"), Ok(0));
        // The narrower route is not for POST, so that the broader one is the most specific.
        assert_eq!(decide(&policy, "api-user/alice", &format!("POST /v1/nodes/{NODE}/state")), Ok(0));
    }

    #[test]
    fn what_no_route_names_is_denied() {
        let policy = example();
        for request in ["GET /", "GET /v2", "GET /V1/x", "GET /v1x", "GET /v"] {
            assert_eq!(decide(&policy, "api-user/alice", request), Err(DenyReason::NoRoute), "{request}");
        }
        for method in ["DELETE", "HEAD", "OPTIONS", "get", "Get", "TRACE", "CONNECT", "BREW"] {
            let request = format!("{method} /v1/volumes");
            assert_eq!(decide(&policy, "api-user/alice", &request), Err(DenyReason::MethodNotAllowed));
            assert_eq!(decide(&policy, "api-user/alice", &format!("{method} /")), Err(DenyReason::NoRoute));
        }
        assert_eq!(decide(&Policy::default(), "api-user/alice", "GET /"), Err(DenyReason::NoRoute));
    }

    #[test]
    fn a_route_that_lists_nobody_closes_its_paths() {
        let policy = compile(&[("GET", "/**", &[any(Role::ApiUser)]), ("GET", "/internal/**", &[])]).unwrap();
        assert_eq!(decide(&policy, "api-user/alice", "GET /x"), Ok(0));
        assert_eq!(decide(&policy, "api-user/alice", "GET /internal"), Err(DenyReason::RoleNotAllowed));
        assert_eq!(decide(&policy, "api-user/alice", "GET /internal/x"), Err(DenyReason::RoleNotAllowed));
    }

    #[test]
    fn the_most_specific_route_decides_whatever_the_order() {
        let user: &[Caller] = &[any(Role::ApiUser)];
        let paths = ["/a/b", "/a/*", "/a/b/**", "/a/**", "/{x}/b", "/a/", "/*/**", "/a/*/c/{d}", "/**"];
        let expected = [
            ("/a/b", "/a/b"),
            ("/a/b/", "/a/b/**"),
            ("/a/b/c/d", "/a/b/**"),
            ("/a/x", "/a/*"),
            ("/a/x/", "/a/**"),
            ("/a/x/c/d", "/a/*/c/{d}"),
            ("/a/x/c/", "/a/**"),
            ("/a", "/a/**"),
            ("/a/", "/a/"),
            ("/x/b", "/{x}/b"),
            ("/x/c", "/*/**"),
            ("/x", "/*/**"),
            ("/", "/**"),
        ];
        for turn in 0..paths.len() {
            let mut turned = paths;
            turned.rotate_left(turn);
            for order in [turned, {
                turned.reverse();
                turned
            }] {
                let routes: Vec<_> = order.iter().map(|path| ("GET", *path, user)).collect();
                let policy = compile(&routes).unwrap();
                for (path, route) in expected {
                    let decided = decide(&policy, "api-user/alice", &format!("GET {path}"));
                    assert_eq!(decided.map(|index| order[index]), Ok(route), "{path} in {order:?}");
                }
            }
        }
    }

    #[test]
    fn a_more_specific_beginning_that_leads_nowhere_is_taken_back() {
        let user: &[Caller] = &[any(Role::ApiUser)];
        let policy = compile(&[("GET", "/a/b/c", user), ("GET", "/*/b/d", user), ("PUT", "/a/b/d", user)]);
        assert_eq!(decide(&policy.unwrap(), "api-user/alice", "GET /a/b/d"), Ok(1));
    }

    #[test]
    fn an_escaped_spelling_meets_the_same_route() {
        let policy = compile(&[
            ("GET", "/users/*", &[any(Role::ApiUser)]),
            ("GET", "/users/@me", &[]),
            ("GET", "/caf%C3%A9", &[any(Role::ApiUser)]),
        ])
        .unwrap();
        assert_eq!(decide(&policy, "api-user/alice", "GET /users/@me"), Err(DenyReason::RoleNotAllowed));
        assert_eq!(decide(&policy, "api-user/alice", "GET /users/%40me"), Err(DenyReason::RoleNotAllowed));
        assert_eq!(decide(&policy, "api-user/alice", "GET /users/%40you"), Ok(0));
        assert_eq!(decide(&policy, "api-user/alice", "GET /caf%C3%A9"), Ok(2));
    }

    #[test]
    fn a_name_is_compared_whole() {
        let policy =
            compile(&[("GET", "/x", &[named(Role::ApiUser, "alice"), any(Role::NodeAgent)])]).unwrap();
        assert_eq!(decide(&policy, "api-user/alice", "GET /x"), Ok(0));
        for other in ["alic", "alice2", "bob"] {
            let caller = format!("api-user/{other}");
            assert_eq!(decide(&policy, &caller, "GET /x"), Err(DenyReason::NameMismatch));
        }
        assert_eq!(decide(&policy, "control-service/alice", "GET /x"), Err(DenyReason::RoleNotAllowed));
    }

    #[test]
    fn a_group_admits_its_callers_only() {
        let callers = vec![named(Role::ApiUser, "alice"), any(Role::ControlService)];
        let group = Arc::new(Group { name: "operators".to_owned(), callers });
        let route = |allow| Route {
            rule: RuleId { index: 0, line: 1 },
            path: "/x".parse().unwrap(),
            methods: Methods::of(&Method::GET),
            allow,
            upstream: UpstreamId(0),
        };
        let policy = Policy::compile([route(vec![Allow::Group(Arc::clone(&group))])]).unwrap();
        assert_eq!(decide(&policy, "api-user/alice", "GET /x"), Ok(0));
        assert_eq!(decide(&policy, "control-service/host", "GET /x"), Ok(0));
        assert_eq!(decide(&policy, "api-user/bob", "GET /x"), Err(DenyReason::NameMismatch));

        let alice = Allow::Caller(named(Role::ApiUser, "alice"));
        let errors = Policy::compile([route(vec![alice, Allow::Group(group)])]).unwrap_err();
        assert_eq!(errors[0].to_string(), "allow[0] admits nobody whom allow[1] does not");
    }

    #[test]
    fn a_denial_names_its_rule() {
        let caller = "spiffe://prod/api-user/alice".parse().unwrap();
        let path = RequestPath::parse(&format!("/v1/nodes/{NODE}")).unwrap();
        let Decision::Deny(denial) = example().decide(&caller, &Method::GET, &path) else {
            panic!("permitted");
        };
        assert_eq!(denial.rule.unwrap().to_string(), "routes[1] (line 2)");
        assert_eq!(denial.reason.code(), "policy.role_not_allowed");
    }

    #[test]
    fn nothing_below_the_gateways_own_path_is_sent_upstream() {
        let policy = compile(&[("GET", "/**", &[any(Role::ApiUser)])]).unwrap();
        for path in [RESERVED, "/.well-known/cluster/", "/.well-known/cluster/whoami"] {
            assert_eq!(decide(&policy, "api-user/a", &format!("GET {path}")), Err(DenyReason::NoRoute));
        }
        assert_eq!(decide(&policy, "api-user/a", "GET /.well-known/clusters"), Ok(0));
    }

    #[test]
    fn rules_that_can_never_apply_are_errors() {
        let user: &[Caller] = &[any(Role::ApiUser)];
        let message = |routes: &[(&str, &str, &[Caller])]| {
            compile(routes).unwrap_err().iter().map(|e| format!("{}: {e}", e.rule())).collect::<Vec<_>>()
        };
        assert_eq!(
            message(&[("GET PUT", "/a/{x}", user), ("POST", "/a/*", user), ("GET PUT POST", "/a/*", user)]),
            ["routes[2] (line 3): the same paths and methods (GET, PUT) as routes[0] (line 1)"]
        );
        assert_eq!(
            message(&[
                ("GET HEAD", "/a/**", user),
                ("GET HEAD", "/a", user),
                ("GET", "/a/", user),
                ("GET HEAD", "/a/*/**", user),
            ]),
            ["routes[0] (line 1): no request with GET reaches this route: more specific ones take them all"]
        );
        assert_eq!(
            message(&[("GET", "/a", &[any(Role::ApiUser), named(Role::ApiUser, "alice")])]),
            ["routes[0] (line 1): allow[1] admits nobody whom allow[0] does not"]
        );
        assert_eq!(
            message(&[("GET", "/a", &[named(Role::ApiUser, "alice"), any(Role::ApiUser)])]),
            ["routes[0] (line 1): allow[0] admits nobody whom allow[1] does not"]
        );
        assert_eq!(
            message(&[("GET", "/a", &[any(Role::ApiUser), any(Role::ApiUser)])]),
            ["routes[0] (line 1): allow[1] admits nobody whom allow[0] does not"]
        );
        assert_eq!(
            message(&[("GET", "/.well-known/cluster/whoami", user)]),
            ["routes[0] (line 1): the gateway itself answers at /.well-known/cluster"]
        );
    }

    #[test]
    fn routes_that_only_overlap_are_no_errors() {
        let user: &[Caller] = &[any(Role::ApiUser)];
        for (one, other) in
            [("/a/**", "/a"), ("/a/**", "/a/*/**"), ("/*/b", "/a/*"), ("/a", "/a/"), ("/**", "/")]
        {
            assert!(compile(&[("GET", one, user), ("GET", other, user)]).is_ok(), "{one} {other}");
        }
        assert!(compile(&[("GET", "/a", user), ("HEAD", "/a", user)]).is_ok());
    }
}
