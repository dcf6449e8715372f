//! Tests of the policy engine.

use std::sync::Arc;

use http::Method;

use super::*;
use crate::error::Coded;
use crate::gateway::message::path::RequestPath;
use crate::identity::{Name, Role};

const NODE: &str = "3f2b8a52-1c5f-4a7e-9a51-6a1f0f4f2f11";
const OTHER: &str = "9d1c1f0e-5b5a-4c3e-8b1e-0a0b0c0d0e0f";

fn any(role: Role) -> Caller {
    Caller { role, name: NameRule::Any }
}

fn named(role: Role, name: &str) -> Caller {
    Caller { role, name: NameRule::Exactly(Name::parse(role, name).unwrap()) }
}

/// Compile routes; the position of each is also its line and its upstream.
fn compile(routes: &[(&str, &str, &[Caller])]) -> Result<Policy, Vec<PolicyError>> {
    Policy::compile(routes.iter().enumerate().map(|(index, (methods, path, allow))| Route {
        rule: RuleId { index, line: index + 1 },
        path: path.parse().unwrap(),
        methods: methods.split(' ').map(|m| Methods::of(&m.parse().unwrap())).collect(),
        query: QueryRule::default(),
        allow: allow.iter().cloned().map(Allow::Caller).collect(),
        upstream: UpstreamId(index),
        websocket: false,
        content: false,
        token: false,
    }))
}

fn bound(template: &str) -> Caller {
    let variable = template.parse::<Template>().unwrap().variable("name").unwrap();
    Caller { role: Role::NodeAgent, name: NameRule::Bound(variable) }
}

/// Index of the route that permits the request, or the reason of the denial.
fn decide(policy: &Policy, caller: &str, request: &str) -> Result<usize, DenyReason> {
    let caller = format!("spiffe://prod/{caller}").parse().unwrap();
    let (method, path) = request.split_once(' ').unwrap();
    let path = RequestPath::parse(path).unwrap();
    match policy.decide(Some(&caller), &method.parse().unwrap(), &path) {
        Decision::Permit(grant) => {
            assert_eq!(grant.rule().index, grant.upstream().0);
            Ok(grant.rule().index)
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
fn a_broad_route_never_permits_what_a_specific_one_denies() {
    let policy = example();
    let specific = format!("GET /v1/nodes/{NODE}/state");
    assert_eq!(decide(&policy, "api-user/alice", &specific), Err(DenyReason::RoleNotAllowed));
    assert_eq!(decide(&policy, "api-user/alice", "GET /v1/volumes"), Ok(0));
    // The specific route does not match POST, so the broad one is the most specific match.
    assert_eq!(decide(&policy, "api-user/alice", &format!("POST /v1/nodes/{NODE}/state")), Ok(0));
}

#[test]
fn a_request_without_a_route_is_denied() {
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
fn a_route_with_an_empty_allow_list_denies_its_paths() {
    let policy = compile(&[("GET", "/**", &[any(Role::ApiUser)]), ("GET", "/internal/**", &[])]).unwrap();
    assert_eq!(decide(&policy, "api-user/alice", "GET /x"), Ok(0));
    assert_eq!(decide(&policy, "api-user/alice", "GET /internal"), Err(DenyReason::RoleNotAllowed));
    assert_eq!(decide(&policy, "api-user/alice", "GET /internal/x"), Err(DenyReason::RoleNotAllowed));
}

#[test]
fn the_most_specific_route_decides_in_any_order() {
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
fn the_search_backtracks_from_a_specific_prefix_without_a_match() {
    let user: &[Caller] = &[any(Role::ApiUser)];
    let policy = compile(&[("GET", "/a/b/c", user), ("GET", "/*/b/d", user), ("PUT", "/a/b/d", user)]);
    assert_eq!(decide(&policy.unwrap(), "api-user/alice", "GET /a/b/d"), Ok(1));
}

#[test]
fn an_escaped_spelling_matches_the_same_route() {
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
    let policy = compile(&[("GET", "/x", &[named(Role::ApiUser, "alice"), any(Role::NodeAgent)])]).unwrap();
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
    let group = Arc::new(Group { name: "operators".to_owned(), callers, users: Vec::new() });
    let route = |allow| Route {
        rule: RuleId { index: 0, line: 1 },
        path: "/x".parse().unwrap(),
        methods: Methods::of(&Method::GET),
        query: QueryRule::default(),
        allow,
        upstream: UpstreamId(0),
        websocket: false,
        content: false,
        token: false,
    };
    let policy = Policy::compile([route(vec![Allow::Group(Arc::clone(&group))])]).unwrap();
    assert_eq!(decide(&policy, "api-user/alice", "GET /x"), Ok(0));
    assert_eq!(decide(&policy, "control-service/host", "GET /x"), Ok(0));
    assert_eq!(decide(&policy, "api-user/bob", "GET /x"), Err(DenyReason::NameMismatch));

    let alice = Allow::Caller(named(Role::ApiUser, "alice"));
    let errors = Policy::compile([route(vec![alice, Allow::Group(group)])]).unwrap_err();
    assert_eq!(errors[0].to_string(), "allow[0] is redundant: allow[1] covers all of its callers");
}

#[test]
fn a_denial_contains_its_rule() {
    let caller = "spiffe://prod/api-user/alice".parse().unwrap();
    let path = RequestPath::parse(&format!("/v1/nodes/{NODE}")).unwrap();
    let Decision::Deny(denial) = example().decide(Some(&caller), &Method::GET, &path) else {
        panic!("permitted");
    };
    assert_eq!(denial.rule.unwrap().to_string(), "routes[1] (line 2)");
    assert_eq!(denial.reason.code(), "policy.role_not_allowed");
}

#[test]
fn no_request_for_a_reserved_path_is_permitted() {
    let policy = compile(&[("GET", "/**", &[any(Role::ApiUser)])]).unwrap();
    for path in [RESERVED, "/.well-known/cluster/", "/.well-known/cluster/whoami"] {
        assert_eq!(decide(&policy, "api-user/a", &format!("GET {path}")), Err(DenyReason::NoRoute));
    }
    assert_eq!(decide(&policy, "api-user/a", "GET /.well-known/clusters"), Ok(0));
}

/// Compile routes for GET and DELETE on `/x` with these conditions, permitted to users.
fn by_query(queries: &[&[(&str, Requirement)]]) -> Result<Policy, Vec<PolicyError>> {
    let mut routes = Vec::new();
    for (index, conditions) in queries.iter().enumerate() {
        let mut query = QueryRule::default();
        for (parameter, wanted) in *conditions {
            query.add(parameter, wanted.clone()).unwrap();
        }
        routes.push(Route {
            rule: RuleId { index, line: index + 1 },
            path: "/x".parse().unwrap(),
            methods: Methods::of(&Method::GET).or(Methods::of(&Method::DELETE)),
            query,
            allow: vec![Allow::Caller(any(Role::ApiUser))],
            upstream: UpstreamId(index),
            websocket: false,
            content: false,
            token: false,
        });
    }
    let everything = Route {
        rule: RuleId { index: 9, line: 10 },
        path: "/**".parse().unwrap(),
        methods: Methods::of(&Method::GET),
        query: QueryRule::default(),
        allow: vec![Allow::Caller(any(Role::ApiUser))],
        upstream: UpstreamId(9),
        websocket: false,
        content: false,
        token: false,
    };
    routes.push(everything);
    Policy::compile(routes)
}

#[test]
fn the_strictest_satisfied_query_rule_decides() {
    let one = |value: &str| Requirement::OneOf(vec![value.to_owned()]);
    let policy = by_query(&[
        &[],
        &[("force", Requirement::Absent)],
        &[("force", Requirement::Absent), ("mode", one("a"))],
        &[("force", one("1")), ("mode", one("a"))],
    ])
    .unwrap();
    for (query, index) in [
        ("", 1),
        ("?mode=b", 1),
        ("?mode=a", 2),
        ("?force=1&mode=a", 3),
        ("?force=1", 0),
        ("?force=2&mode=a", 0),
    ] {
        assert_eq!(decide(&policy, "api-user/alice", &format!("DELETE /x{query}")), Ok(index), "{query}");
    }
    assert!(policy.depends_on_query(&Method::GET, &RequestPath::parse("/x").unwrap()));
    assert!(!policy.depends_on_query(&Method::GET, &RequestPath::parse("/y").unwrap()));
}

#[test]
fn a_broad_path_never_permits_what_a_query_rule_denies() {
    let policy = by_query(&[&[("force", Requirement::Absent)]]).unwrap();
    assert_eq!(decide(&policy, "api-user/alice", "GET /x?y=1"), Ok(0));
    assert_eq!(decide(&policy, "api-user/alice", "GET /x?force"), Err(DenyReason::QueryNotAllowed));
    assert_eq!(decide(&policy, "api-user/alice", "GET /z?force"), Ok(9));
}

#[test]
fn overlapping_and_unreachable_query_rules_are_errors() {
    let message = |queries: &[&[(&str, Requirement)]]| {
        by_query(queries).unwrap_err().iter().map(|e| format!("{}: {e}", e.rule())).collect::<Vec<_>>()
    };
    let (absent, present) = (Requirement::Absent, Requirement::Present);
    assert_eq!(
        message(&[&[("p", absent.clone())], &[("q", absent.clone())]]),
        [
            "routes[1] (line 2): same paths and methods (GET, DELETE) as routes[0] (line 1), and a query can match both"
        ]
    );
    assert_eq!(
        message(&[&[("p", absent.clone())], &[], &[("p", present)]]),
        [
            "routes[1] (line 2): no request with GET, DELETE reaches this route: more specific routes match all of them"
        ]
    );
}

#[test]
fn a_caller_without_a_certificate_reaches_only_routes_for_anyone() {
    let route = |index, path: &str, allow| Route {
        rule: RuleId { index, line: index + 1 },
        path: path.parse().unwrap(),
        methods: Methods::of(&Method::GET),
        query: QueryRule::default(),
        allow,
        upstream: UpstreamId(0),
        websocket: false,
        content: false,
        token: false,
    };
    let user = Allow::Caller(any(Role::ApiUser));
    let policy =
        Policy::compile([route(0, "/open", vec![Allow::Anyone]), route(1, "/**", vec![user.clone()])])
            .unwrap();
    let verdict = |method: Method, path: &str| {
        policy.decide(None, &method, &RequestPath::parse(path).unwrap()).verdict()
    };
    assert_eq!(verdict(Method::GET, "/open").as_str(), "permit");
    for (method, path) in
        [(Method::GET, "/x"), (Method::GET, "/open/"), (Method::PUT, "/open"), (Method::GET, RESERVED)]
    {
        assert_eq!(verdict(method, path).reason(), Some(DenyReason::CertificateMissing), "{path}");
    }
    assert_eq!(decide(&policy, &format!("node-agent/{NODE}"), "GET /open"), Ok(0));
    let errors = Policy::compile([route(0, "/open", vec![user, Allow::Anyone])]).unwrap_err();
    assert_eq!(errors[0].to_string(), "allow[0] is redundant: allow[1] covers all of its callers");
}

#[test]
fn rules_that_can_never_apply_are_errors() {
    let user: &[Caller] = &[any(Role::ApiUser)];
    let message = |routes: &[(&str, &str, &[Caller])]| {
        compile(routes).unwrap_err().iter().map(|e| format!("{}: {e}", e.rule())).collect::<Vec<_>>()
    };
    assert_eq!(
        message(&[("GET PUT", "/a/{x}", user), ("POST", "/a/*", user), ("GET PUT POST", "/a/*", user)]),
        [
            "routes[2] (line 3): same paths and methods (GET, PUT) as routes[0] (line 1), and a query can match both"
        ]
    );
    assert_eq!(
        message(&[
            ("GET HEAD", "/a/**", user),
            ("GET HEAD", "/a", user),
            ("GET", "/a/", user),
            ("GET HEAD", "/a/*/**", user),
        ]),
        [
            "routes[0] (line 1): no request with GET reaches this route: more specific routes match all of them"
        ]
    );
    assert_eq!(
        message(&[("GET", "/a", &[any(Role::ApiUser), named(Role::ApiUser, "alice")])]),
        ["routes[0] (line 1): allow[1] is redundant: allow[0] covers all of its callers"]
    );
    assert_eq!(
        message(&[("GET", "/a", &[named(Role::ApiUser, "alice"), any(Role::ApiUser)])]),
        ["routes[0] (line 1): allow[0] is redundant: allow[1] covers all of its callers"]
    );
    assert_eq!(
        message(&[("GET", "/a", &[any(Role::ApiUser), any(Role::ApiUser)])]),
        ["routes[0] (line 1): allow[1] is redundant: allow[0] covers all of its callers"]
    );
    assert_eq!(
        message(&[("GET", "/.well-known/cluster/whoami", user)]),
        ["routes[0] (line 1): /.well-known/cluster is reserved for the gateway"]
    );
}

#[test]
fn overlapping_routes_are_not_errors() {
    let user: &[Caller] = &[any(Role::ApiUser)];
    for (one, other) in [("/a/**", "/a"), ("/a/**", "/a/*/**"), ("/*/b", "/a/*"), ("/a", "/a/"), ("/**", "/")]
    {
        assert!(compile(&[("GET", one, user), ("GET", other, user)]).is_ok(), "{one} {other}");
    }
    assert!(compile(&[("GET", "/a", user), ("HEAD", "/a", user)]).is_ok());
}

#[test]
fn a_trailing_slash_permits_no_denied_path() {
    let (user, control) = (&[any(Role::ApiUser)][..], &[any(Role::ControlService)][..]);
    let policy = compile(&[
        ("GET", "/v1/admin", control),
        ("GET POST", "/v1/**", user),
        ("GET", "/v1/keys/", control),
        ("GET", "/v1/jobs", control),
        ("GET", "/v1/jobs/", user),
        ("GET", "/v1/closed/{x}", &[]),
        ("GET", "/v1/closed/open/", user),
    ])
    .unwrap();
    let decided = |request: &str| decide(&policy, "api-user/alice", request);
    for closed in
        ["/v1/admin", "/v1/admin/", "/v1/keys/", "/v1/keys", "/v1/jobs", "/v1/jobs/", "/v1/closed/x/"]
    {
        assert_eq!(decided(&format!("GET {closed}")), Err(DenyReason::RoleNotAllowed), "{closed}");
    }
    assert_eq!(decide(&policy, "control-service/a", "GET /v1/jobs/"), Err(DenyReason::RoleNotAllowed));
    // Other paths stay permitted.
    for open in ["GET /v1/", "GET /v1/other/", "POST /v1/admin/", "GET /v1/admin/x", "GET /v1/closed/"] {
        assert_eq!(decided(open), Ok(1), "{open}");
    }
    // The more specific route decides in each reading.
    assert_eq!(decided("GET /v1/closed/open/"), Ok(6));
    assert_eq!(decided("GET /v1/closed/open"), Err(DenyReason::RoleNotAllowed));
    // A route for the path without the slash permits no caller that the route for the path itself denies.
    let policy = compile(&[("GET", "/a", user), ("GET", "/**", control)]).unwrap();
    assert_eq!(decide(&policy, "api-user/alice", "GET /a/"), Err(DenyReason::RoleNotAllowed));
    assert_eq!(decide(&policy, "api-user/alice", "GET /a"), Ok(0));
}

#[test]
fn another_case_permits_no_denied_path() {
    let (user, control) = (&[any(Role::ApiUser)][..], &[any(Role::ControlService)][..]);
    let policy = compile(&[
        ("GET", "/v1/admin/{x}", control),
        ("GET", "/v1/Status", control),
        ("GET", "/v1/jobs", control),
        ("GET", "/v1/Jobs", user),
        ("GET", "/v1/%C3%A9tat/", control),
        ("GET", "/v1/keys", control),
        ("GET", "/v1/stra%C3%9Fe", control),
        ("GET", "/v1/Open", user),
        ("GET POST", "/v1/**", user),
    ])
    .unwrap();
    let decided = |request: &str| decide(&policy, "api-user/alice", request);
    for closed in [
        "admin/x",
        "Admin/x",
        "ADMIN/X",
        "Admin/x/",
        "status",
        "status/",
        "jobs",
        "Jobs",
        "JOBS/",
        "%C3%A9tat/",
        "%C3%89tat/",
        "%C3%89TAT",
        "%E2%84%AAeys",
        "%E2%84%AAEYS/",
        "key%C5%BF",
        "STRASSE",
        "strasse",
        "stra%E1%BA%9Ee",
    ] {
        assert_eq!(decided(&format!("GET /v1/{closed}")), Err(DenyReason::RoleNotAllowed), "{closed}");
    }
    for open in ["GET /v1/Other", "POST /v1/Admin/x", "GET /v1/Caf%C3%A9", "GET /v1/etat", "GET /v1/open"] {
        assert_eq!(decided(open), Ok(8), "{open}");
    }
    assert_eq!(decided("GET /v1/Open"), Ok(7));
    let path = |path| RequestPath::parse(path).unwrap();
    assert!(!policy.depends_on_query(&Method::GET, &path("/v1/Admin/x")));
}

#[test]
fn the_order_of_routes_that_differ_in_case_has_no_effect() {
    let (user, alice) = (&[any(Role::ApiUser)][..], &[named(Role::ApiUser, "alice")][..]);
    let routes = [("GET", "/v1/data", user), ("GET", "/v1/DATA", alice), ("GET", "/v1/**", user)];
    let mut turned = routes;
    for _ in 0..3 {
        turned.rotate_left(1);
        let policy = compile(&turned).unwrap();
        for path in ["/v1/data", "/v1/DATA", "/v1/Data", "/v1/Data/", "/v1/data/"] {
            let request = format!("GET {path}");
            assert_eq!(decide(&policy, "api-user/bob", &request), Err(DenyReason::NameMismatch), "{path}");
            assert!(decide(&policy, "api-user/alice", &request).is_ok(), "{path}");
        }
    }
}

#[test]
fn another_reading_of_a_path_permits_neither_upgrade_nor_content() {
    let route = |index, path: &str, extra| Route {
        rule: RuleId { index, line: index + 1 },
        path: path.parse().unwrap(),
        methods: Methods::of(&Method::GET),
        query: QueryRule::default(),
        allow: vec![Allow::Caller(any(Role::ApiUser))],
        upstream: UpstreamId(0),
        websocket: extra,
        content: extra,
        token: false,
    };
    let policy = Policy::compile([route(0, "/ws", true), route(1, "/WS", false)]).unwrap();
    let caller = "spiffe://prod/api-user/alice".parse().unwrap();
    for path in ["/ws", "/WS", "/Ws/"] {
        let path = RequestPath::parse(path).unwrap();
        if let Decision::Permit(grant) = policy.decide(Some(&caller), &Method::GET, &path) {
            assert!(!grant.websocket() && !grant.content(), "{path}");
        }
    }
}

/// Codes and texts of the warnings about routes.
fn warnings(routes: &[(&str, &str, &[Caller])]) -> Vec<(&'static str, String)> {
    let warnings = compile(routes).unwrap().warnings();
    warnings.into_iter().map(|warning| (warning.code, warning.message)).collect()
}

#[test]
fn routes_that_contradict_each_other_in_a_reading_are_warned_of() {
    let (user, control) = (&[any(Role::ApiUser)][..], &[any(Role::ControlService)][..]);
    for (one, other) in [
        ("/v1/data", "/v1/DATA"),
        ("/v1/jobs", "/v1/jobs/"),
        ("/%C3%A9/{x}/**", "/%C3%89/*/**"),
        ("/key", "/%E2%84%AAEY/"),
        ("/ss", "/%C3%9F"),
    ] {
        let routes = [("GET PUT", one, user), ("PUT POST", other, control)];
        let text = format!(
            "routes[0] (line 1) for {one} and routes[1] (line 2) for {other} differ, but some services treat these \
             paths as one: PUT needs the permission of both"
        );
        assert_eq!(warnings(&routes), [("policy.contradiction", text)]);
        assert_eq!(warnings(&[("PUT", one, user), ("PUT", other, user)]), []);
        assert_eq!(warnings(&[("PUT", one, user), ("POST", other, control)]), []);
    }
    assert_eq!(warnings(&[("GET HEAD", "/v1/data", control), ("GET HEAD", "/v1/**", user)]), []);
}

#[test]
fn an_open_head_beside_a_closed_get_is_warned_of() {
    let (user, control) = (&[any(Role::ApiUser)][..], &[any(Role::ControlService)][..]);
    let both = &[any(Role::ApiUser), any(Role::ControlService)][..];
    for closed in ["/v1/admin", "/v1/admin/{x}", "/v1/admin/**", "/v1/*/keys"] {
        let routes = [("GET", closed, control), ("GET HEAD", "/v1/**", both)];
        let text = format!(
            "routes[0] (line 1) restricts GET on {closed}, but routes[1] (line 2) for /v1/** permits HEAD there to \
             other callers: add HEAD to the methods of routes[0] (line 1)"
        );
        assert_eq!(warnings(&routes), [("policy.head_open", text)]);
        assert_eq!(warnings(&[("GET", closed, &[]), routes[1]]).len(), 1);
        assert_eq!(warnings(&[("GET HEAD", closed, control), routes[1]]), []);
        assert_eq!(warnings(&[("GET", closed, both), ("GET HEAD", "/v1/**", user)]), []);
        assert_eq!(warnings(&[("GET", closed, control), ("GET", "/v1/**", both)]), []);
    }
    assert_eq!(warnings(&[("GET", "/a", control), ("HEAD", "/a", user)]).len(), 1);
}

#[test]
fn a_policy_of_many_routes_decides_each_path_by_its_own() {
    const ROUTES: usize = 10_007;
    // In an order that is neither that of the paths nor its reverse.
    let paths: Vec<_> = (0..ROUTES)
        .map(|index| {
            let number = index * 7_919 % ROUTES;
            let letter = if number.is_multiple_of(2) { 's' } else { 'S' };
            format!("/v1/{letter}ervices/{letter}{number}/*")
        })
        .collect();
    let user = [any(Role::ApiUser)];
    let routes: Vec<(&str, &str, &[Caller])> =
        paths.iter().map(|path| ("GET", path.as_str(), &user[..])).collect();
    let policy = compile(&routes).unwrap();
    for (index, path) in paths.iter().enumerate() {
        let path = path.replace('*', "x");
        assert_eq!(decide(&policy, "api-user/alice", &format!("GET {path}")), Ok(index));
        let rule = RuleId { index, line: index + 1 };
        assert_eq!(policy.route(rule).map(|route| route.rule), Some(rule));
    }
    assert_eq!(policy.route(RuleId { index: 0, line: 2 }), None);
    assert_eq!(decide(&policy, "api-user/alice", "GET /v1/services/s10007/x"), Err(DenyReason::NoRoute));
    assert_eq!(policy.warnings(), []);
}
