//! Tests of the configuration: values, defaults, and the text and line of each problem.

use std::path::Path;
use std::time::Duration;

use super::*;
use crate::file_schema::{Absent, KeySchema, MappingSchema};
use crate::identity::AccountRole;
use crate::serving::access_log::AccessLog;

const TEXT: &str =
    "hosts: [ca.example.com, 10.0.0.5]\noperators:\n- { identity: api-user/admin, role: cluster-admin }\n";

fn parse(text: &str) -> Result<ServerConfig, String> {
    ServerConfig::parse(Path::new("server.yaml"), text.as_bytes())
        .map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
}

#[test]
fn hosts_are_enough_for_a_server_without_callers() {
    let config = parse("hosts: ca.example.com").unwrap();
    assert_eq!(config.listen, "0.0.0.0:14000".parse().unwrap());
    assert_eq!((config.hosts.len(), config.operators, config.metrics), (1, vec![], None));
    assert_eq!((config.access_log, config.limits), (AccessLog::Stdout, ServerLimits::default()));
}

#[test]
fn operators_name_an_identity_and_a_role() {
    let config = parse(TEXT).unwrap();
    let [operator] = config.operators.as_slice() else { panic!("{config:?}") };
    assert_eq!(format!("{}/{}", operator.certificate_role, operator.name), "api-user/admin");
    assert_eq!(operator.role, AccountRole::ClusterAdmin);
    assert_eq!(
        config.hosts.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["ca.example.com", "10.0.0.5"]
    );
}

#[test]
fn each_problem_is_reported_with_its_line() {
    for (text, expected) in [
        ("listen: 1.2.3.4:5", "server.yaml:1: `hosts` is missing"),
        ("hosts: []", "server.yaml:1: hosts: no host is given"),
        ("hosts: [a.example, a.example]", "server.yaml:1: hosts[1]: this is given twice"),
        (
            "hosts: a.example\nlisten: 14000",
            "server.yaml:2: listen: text was expected, found the number 14000",
        ),
        (
            "hosts: a.example\nodd: 1",
            "server.yaml:2: odd: unknown key; the keys here are listen, hosts, operators, limits, access_log, metrics",
        ),
        (
            "hosts: a.example\noperators: [{ identity: admin, role: cluster-admin }]",
            "server.yaml:2: operators[0].identity: `admin` is not a role: the roles are control-service, node-agent and api-user",
        ),
        (
            "hosts: a.example\noperators: [{ identity: api-user/admin, role: root }]",
            "server.yaml:2: operators[0].role: `root` is not a role of users: the roles are cluster-admin, org-admin, regular and read-only",
        ),
        (
            "hosts: a.example\noperators:\n- { identity: api-user/a, role: regular }\n- { identity: api-user/a, role: cluster-admin }",
            "server.yaml:4: operators[1].identity: this is given twice",
        ),
        (
            "hosts: a.example\nmetrics: 0.0.0.0:14000",
            "server.yaml:2: metrics: the API has this address: choose another address or port",
        ),
        (
            "hosts: a.example\nlimits: { header_bytes: 1KiB }",
            "server.yaml:2: limits.header_bytes: must be from 8KiB to 1MiB",
        ),
        (
            "hosts: a.example\nlimits: { request_body: 1GiB }",
            "server.yaml:2: limits.request_body: must be from 1KiB to 16MiB",
        ),
        (
            "hosts: a.example\nlimits: { idle_timeout: 0s }",
            "server.yaml:2: limits.idle_timeout: `0s` is too short: the minimum is 1s",
        ),
        (
            "hosts: a.example\nlimits: { odd: 1 }",
            "server.yaml:2: limits.odd: unknown key; the keys here are ",
        ),
    ] {
        let problems = parse(text).unwrap_err();
        assert!(problems.starts_with(expected) && problems.lines().count() == 1, "{text}\n{problems}");
    }
}

#[test]
fn all_problems_are_reported_at_once() {
    assert_eq!(parse("listen: here\nodd: 1\nlimits: { connections: 0 }").unwrap_err().lines().count(), 4);
}

/// Keys with a default, as YAML.
fn defaults(schema: &MappingSchema) -> Vec<String> {
    let default = |key: &KeySchema| match key.absent {
        Absent::Default(value) => Some(format!("{}: {value}", key.name)),
        _ => None,
    };
    schema.keys.iter().filter_map(default).collect()
}

#[test]
fn the_manual_page_states_the_defaults_in_force() {
    let limits = defaults(&schema::LIMITS);
    assert_eq!(limits.len(), schema::LIMITS.keys.len());
    let root = defaults(&schema::ROOT).join("\n");
    let stated = parse(&format!("{TEXT}{root}\nlimits: {{ {} }}", limits.join(", "))).unwrap();
    assert_eq!(stated, parse(TEXT).unwrap());
    assert_eq!(stated.limits.request_timeout, Duration::from_secs(60));
}
