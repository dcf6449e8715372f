//! Tests of `tokens`, and of users in routes and groups.

use super::tests::{home, parse};
use super::{Config, TokenClients};
use crate::gateway::message::path::RequestPath;
use crate::gateway::policy::{Decision, Subject};
use crate::identity::{AccountIdentity, AccountRole, Name};

const START: &str = r#"listen: 127.0.0.1:4523
identity: { certificate: gateway.crt, key: gateway.key }
trust: { bundle: cluster.crt, crl: cluster.crl }
upstreams: { api: { url: "http://127.0.0.1:8080" } }
"#;

/// Configuration with these lines after the common ones; the statement is any file.
fn with(lines: &str) -> Result<Config, Vec<String>> {
    parse(&format!("{START}{lines}"))
}

fn route(allow: &str, more: &str) -> String {
    format!(
        "routes:\n  - {{ path: \"/v1/{{org}}/{{name}}\", methods: [GET], allow: [{allow}], upstream: api{more} }}\n"
    )
}

const TOKENS: &str = "tokens: { statement: cluster.crl }\n";

#[test]
fn a_user_is_of_the_organization_root_unless_another_one_is_given() {
    let user = |org: &str, name: &str, role| AccountIdentity {
        name: Name::of_user(name).unwrap(),
        organization: org.parse().unwrap(),
        role,
    };
    let regular = AccountRole::Regular;
    for (allow, account, path, permitted) in [
        ("{ user: alice }", user("Root", "alice", regular), "/v1/a/b", true),
        ("{ user: alice }", user("Sales", "alice", regular), "/v1/a/b", false),
        ("{ user: alice, org: Sales }", user("Sales", "alice", regular), "/v1/a/b", true),
        ("{ user: alice, org: Sales }", user("sales", "alice", regular), "/v1/a/b", false),
        ("{ user: alice, org: \"*\" }", user("Sales", "alice", regular), "/v1/a/b", true),
        ("{ user: \"*\" }", user("Root", "bob", regular), "/v1/a/b", true),
        ("{ user: \"*\" }", user("Sales", "bob", regular), "/v1/a/b", false),
        ("{ user: \"*\", role: regular }", user("Root", "bob", regular), "/v1/a/b", true),
        ("{ user: \"*\", role: regular }", user("Root", "bob", AccountRole::ReadOnly), "/v1/a/b", false),
        ("{ user: \"{name}\", org: \"{org}\" }", user("Sales", "bob", regular), "/v1/Sales/bob", true),
        ("{ user: \"{name}\", org: \"{org}\" }", user("Sales", "bob", regular), "/v1/Sales/alice", false),
        ("{ user: \"{name}\", org: \"{org}\" }", user("Sales", "bob", regular), "/v1/Root/bob", false),
        ("{ group: staff }", user("Sales", "bob", regular), "/v1/a/b", true),
        ("{ group: staff }", user("Root", "bob", regular), "/v1/a/b", false),
    ] {
        let groups = match allow.contains("group") {
            true => "groups: { staff: [{ role: api-user, name: x }, { user: bob, org: Sales }] }\n",
            false => "",
        };
        let config = with(&format!("{TOKENS}{groups}{}", route(allow, ""))).unwrap();
        let subject = Subject { certificate: None, user: Some(&account) };
        let decision = config.policy.decide(subject, &http::Method::GET, &RequestPath::parse(path).unwrap());
        assert_eq!(matches!(decision, Decision::Permit(_)), permitted, "{allow} {account} {path}");
    }
}

#[test]
fn settings_of_tokens_without_effect_are_problems() {
    let user = route("{ user: alice }", "");
    let cases: &[(&str, String, &str)] = &[
        ("", user.clone(), "users are allowed by their tokens"),
        (TOKENS, route("{ role: api-user }", ""), "no route allows a user"),
        (
            TOKENS,
            route("{ user: alice, name: x }", ""),
            "a `user`, a `group`, or the word `anyone` was expected",
        ),
        (
            TOKENS,
            route("{ user: alice, group: x }", ""),
            "a `user`, a `group`, or the word `anyone` was expected",
        ),
        (
            TOKENS,
            route("{ role: api-user, org: Root }", ""),
            "a `user`, a `group`, or the word `anyone` was expected",
        ),
        (TOKENS, route("{ user: alice, role: api-user }", ""), "`api-user`"),
        (TOKENS, route("{ user: \"{who}\" }", ""), "the path has no variable of this name"),
        (TOKENS, route("{ user: alice, org: \"a/b\" }", ""), "organization name"),
        (TOKENS, route("{ user: alice }, { user: alice }", ""), "redundant"),
        (TOKENS, route("{ user: \"*\" }, { user: alice }", ""), "redundant"),
        (TOKENS, route("{ user: alice }", ", token: yes-please"), "only `forwarded` was expected"),
        (
            TOKENS,
            user.clone() + &route("{ role: api-user }", ", token: forwarded")[8..].replace("/v1/", "/v2/"),
            "the route allows no user",
        ),
        (
            "tokens: { statement: cluster.crl, clients: all }\n",
            user.clone(),
            "either `certificate` or `any` was expected",
        ),
        ("tokens: { statement: missing.tokens }\n", user.clone(), "missing.tokens"),
        ("tokens: { clients: any }\n", user, "statement"),
    ];
    for (before, routes, message) in cases {
        let problems = with(&format!("{before}{routes}")).map(drop).unwrap_err();
        assert!(problems.iter().any(|problem| problem.contains(message)), "{message}: {problems:?}");
    }
}

#[test]
fn the_statement_is_a_file_whose_change_leads_to_a_reload() {
    let directory = home();
    let text = format!(
        "{START}tokens: {{ statement: cluster.crl, clients: any }}\n{}",
        route("{ user: alice }", ", token: forwarded")
    );
    let path = directory.path().join("gateway.yaml");
    let config = Config::of_file(&path, text.as_bytes()).unwrap();
    let tokens = config.tokens.as_ref().unwrap();
    assert_eq!(
        (tokens.clients, &tokens.statement),
        (TokenClients::Any, &directory.path().join("cluster.crl"))
    );
    assert!(config.files().contains(&tokens.statement));
    assert!(config.policy.routes().all(|route| route.token));
}
