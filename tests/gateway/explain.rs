//! `explain` says what the gateway does, and `replay` what another one would have done.

use std::path::Path;
use std::process::Command;

use serde_json::Value;
use time::Duration;

use crate::cluster::{Cluster, Leaf, now};
use crate::harness::{NODE, Setup, TestGateway, request};

const OPEN: &str = r#"
  - { path: /healthz, methods: [GET], allow: [anyone], upstream: api }
  - { path: "/v1/nodes/{name}/**", methods: [GET, PUT], allow: [{ role: node-agent, name: "{name}" }], upstream: api }
  - { path: "/v1/**", methods: [GET, PUT], query: { force: absent }, allow: [{ role: api-user }], upstream: api }
"#;

/// Runs the program in `directory`; gives the exit code and what it prints.
pub(crate) fn run(directory: &Path, arguments: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_cluster-gateway"))
        .args(arguments)
        .current_dir(directory)
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

pub(crate) fn explain(directory: &Path, cert: Option<&str>, request: &str, more: &[&str]) -> (i32, Value) {
    let mut arguments = vec!["explain", "--config", "gateway.yaml", "--request", request, "--json"];
    arguments.extend(cert.into_iter().flat_map(|cert| ["--cert", cert]));
    arguments.extend(more);
    let (code, out, err) = run(directory, &arguments);
    let said: Value = serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}{err}"));
    assert_eq!(said["ok"], code == 0, "{said}");
    (code, said["result"].clone())
}

fn open() -> Setup {
    Setup {
        listen: "[{ address: \"127.0.0.1:0\", client_certificate: optional }]",
        routes: OPEN,
        ..Setup::new()
    }
}

#[tokio::test]
async fn the_explanation_is_what_the_gateway_does() {
    let mut setup = open();
    let revoked = setup.cluster.leaf("api-user", "mallory");
    setup.crl = Some(setup.cluster.crl(7, &[&revoked]));
    let gateway = setup.start();
    let stranger = Cluster::new("other").leaf("api-user", "alice");
    let several = gateway.cluster.leaf_with("api-user", "alice", |params| {
        params.subject_alt_names.push(crate::cluster::uri("spiffe://prod/control-service/a"));
    });
    let (user, node) = (gateway.user(), gateway.node());
    let own = format!("GET /v1/nodes/{NODE}/state");
    for (leaf, line) in [
        (Some(&user), "GET /v1/x?y=1"),
        (Some(&user), "GET /v1/x?force=1"),
        (Some(&user), "PUT /healthz"),
        (Some(&user), &own),
        (Some(&user), "GET /v1/../x"),
        (Some(&user), "TRACE /v1/x"),
        (Some(&user), "GET /.well-known/cluster/whoami"),
        (Some(&user), "POST /.well-known/cluster/whoami"),
        (Some(&user), "GET /.well-known/cluster/status"),
        (Some(&user), "PUT /.well-known/cluster/crl"),
        (Some(&user), "GET /.well-known/cluster/none"),
        (Some(&node), &own),
        (Some(&node), "GET /v1/nodes/9d1c1f0e-5b5a-4c3e-8b1e-0a0b0c0d0e0f/state"),
        (None, "GET /healthz"),
        (None, "GET /v1/x"),
        (None, "GET /.well-known/cluster/whoami"),
        (Some(&revoked), "GET /v1/x"),
        (Some(&stranger), "GET /v1/x"),
        (Some(&several), "GET /v1/x"),
    ] {
        let cert = leaf.map(|leaf| {
            leaf.write(&gateway.path(""), "caller");
            "caller.crt"
        });
        let (code, said) = explain(&gateway.path(""), cert, line, &[]);
        assert_eq!(code == 0, said["decision"] == "permit", "{said}");
        agrees(&gateway, leaf, line, &said).await;
    }
}

#[tokio::test]
async fn every_target_is_explained_as_it_is_judged() {
    let gateway = open().start();
    let user = gateway.user();
    user.write(&gateway.path(""), "caller");
    for target in [
        "/v1/x#fragment",
        "/v1/x?a=1#fragment",
        "https://127.0.0.1/v1/x",
        "https://127.0.0.1:9/v1/x?a",
        "https://127.0.0.1",
        "https://user@127.0.0.1/v1/x",
        "https://elsewhere.example/v1/x",
        "http://127.0.0.1/v1/x",
        "ftp://127.0.0.1/v1/x",
        "127.0.0.1:443",
        "*",
        "v1/x",
        "/v1/x<y",
        "/v1/x|y",
        "/v1/\u{e9}",
        "/v1/%C0%AF",
        "/v1/x;y",
        "/v1/x?a=<",
        "//127.0.0.1/v1/x",
        "?x",
    ] {
        let host = target.split_once("://").map_or("127.0.0.1", |(_, rest)| rest.split('/').next().unwrap());
        let request = format!("GET {target} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        let answer = gateway.raw(&user, request).await;
        let status: u64 = answer.split(' ').nth(1).unwrap().parse().unwrap();
        let (code, said) = explain(&gateway.path(""), Some("caller.crt"), &format!("GET {target}"), &[]);
        match status {
            200 => assert_eq!((code, &said["status"]), (0, &Value::Null), "{target}: {said}"),
            _ => assert_eq!((code, &said["status"]), (1, &status.into()), "{target}: {said} {answer}"),
        }
        if let Some((_, body)) = answer.split_once("\r\n\r\n{") {
            let body: Value = serde_json::from_str(&format!("{{{body}")).unwrap();
            assert!(status == 200 || body["code"] == said["code"], "{target}: {said} {body}");
        } else {
            assert_eq!(said["code"], "request.malformed", "{target}: {said} {answer}");
        }
    }
}

#[tokio::test]
async fn a_chain_is_explained_as_it_is_presented() {
    let setup = open();
    let user = setup.cluster.leaf("api-user", "alice");
    let below = setup.cluster.intermediate("below");
    let gateway = setup.start();
    for further in [b"nonsense".to_vec(), below.der()[..below.der().len() - 1].to_vec(), below.der().to_vec()]
    {
        let mut leaf = user.clone();
        leaf.chain.push(further.clone().into());
        leaf.certificate_pem += &::pem::encode(&::pem::Pem::new("CERTIFICATE", further.clone()));
        leaf.write(&gateway.path(""), "caller");
        let (code, said) = explain(&gateway.path(""), Some("caller.crt"), "GET /v1/x", &[]);
        assert_eq!(code, 0, "a certificate that issued nothing has no consequence: {said}");
        agrees(&gateway, Some(&leaf), "GET /v1/x", &said).await;
    }
    // An unreadable leaf is refused, and is no mistake of whoever asks.
    let mut leaf = user.clone();
    let der = leaf.chain[0].to_vec();
    let cut = der[..der.len() - 1].to_vec();
    leaf.chain[0] = cut.clone().into();
    leaf.certificate_pem = ::pem::encode(&::pem::Pem::new("CERTIFICATE", cut));
    leaf.write(&gateway.path(""), "caller");
    let (code, said) = explain(&gateway.path(""), Some("caller.crt"), "GET /v1/x", &[]);
    assert_eq!(
        (code, &said["code"], &said["certificate"]),
        (1, &"chain.malformed".into(), &Value::Null),
        "{said}"
    );
    gateway.refused(Some(&leaf)).await;
    gateway.line("handshake_refused", |line| line["reason"] == said["code"]);
}

/// Asks the gateway itself, and compares.
async fn agrees(gateway: &TestGateway, leaf: Option<&Leaf>, line: &str, said: &Value) {
    let (method, path) = line.split_once(' ').unwrap();
    if said["code"].is_string() && said["status"].is_null() {
        gateway.refused(leaf).await;
        let serial = leaf.unwrap().serial_number();
        let refusal = gateway.line("handshake_refused", |line| line["serial_number"] == serial.as_str());
        assert_eq!(refusal["reason"], said["code"], "{line}: {said}");
        return;
    }
    let answer = gateway.call(leaf, request(method, path, "")).await;
    if let Some(status) = said["status"].as_u64() {
        assert_eq!(u64::from(answer.status.as_u16()), status, "{line}: {said}");
    } else {
        let seen = answer.json();
        let told = said["headers"].as_array().unwrap();
        assert!(!told.is_empty(), "{line}: {said}");
        for field in told {
            let (name, value) = (field[0].as_str().unwrap(), &field[1]);
            if !name.ends_with("host") {
                assert_eq!(seen["headers"][name], *value, "{line}: {name}");
            }
        }
        let said_by_us = |name: &str| {
            name.starts_with("x-cluster") || name.starts_with("x-forwarded") || name.contains("cert")
        };
        let made = said["headers_of_each_request"].as_array().unwrap();
        assert!(made.iter().all(|name| seen["headers"][name.as_str().unwrap()].is_string()), "{said} {seen}");
        let named =
            |name: &str| told.iter().any(|field| field[0] == name) || made.iter().any(|made| made == name);
        assert!(
            seen["headers"].as_object().unwrap().keys().all(|name| !said_by_us(name) || named(name)),
            "{seen}"
        );
    }
    let id = answer.header("x-request-id");
    let log = gateway.line("request", |log| log["request_id"] == id);
    assert_eq!(log["reason"], said["code"], "{line}: {said}");
    assert_eq!(log["rule"], said["rule"]["rule"], "{line}: {said}");
    assert_eq!(log["upstream"], said["upstream"], "{line}: {said}");
}

#[tokio::test]
async fn an_explanation_names_what_is_signed_for_each_request() {
    let gateway = Setup { more: "assertion: { lifetime: 30s }\n", ..open() }.start();
    let user = gateway.user();
    user.write(&gateway.path(""), "caller");
    let (_, said) = explain(&gateway.path(""), Some("caller.crt"), "GET /v1/x", &[]);
    agrees(&gateway, Some(&user), "GET /v1/x", &said).await;
    for (cert, line, names) in [
        (Some("caller.crt"), "GET /v1/x", &["x-request-id", "x-cluster-assertion"][..]),
        (None, "GET /healthz", &["x-request-id"]),
        (Some("caller.crt"), "GET /v2", &[]),
    ] {
        let (_, said) = explain(&gateway.path(""), cert, line, &[]);
        assert_eq!(said["headers_of_each_request"], serde_json::json!(names), "{said}");
    }
    let arguments = ["explain", "--config", "gateway.yaml", "--cert", "caller.crt", "--request", "GET /v1/x"];
    let said = run(&gateway.path(""), &arguments).1;
    assert!(said.contains("  x-cluster-assertion: (new for each request)\n"), "{said}");
}

#[test]
fn an_explanation_goes_step_by_step_and_ends_where_it_fails() {
    let setup = open();
    let directory = tempfile::tempdir().unwrap();
    setup.write(directory.path());
    setup.cluster.leaf("api-user", "alice").write(directory.path(), "alice");
    let arguments =
        ["explain", "--config", "gateway.yaml", "--cert", "alice.crt", "--request", "GET /v1/nodes/7"];
    let (code, said, _) = run(directory.path(), &arguments);
    assert_eq!(code, 1, "{said}");
    assert!(said.starts_with("deny (policy.role_not_allowed): GET /v1/nodes/7\n"), "{said}");
    for finding in [
        "chain      ok    valid to anchor ",
        "revocation ok    not in CRL 1, which expires at ",
        "identity   ok    spiffe://prod/api-user/alice",
        "request    ok    ",
        "policy     FAIL  routes[1] (line 10): /v1/nodes/{name}/** for GET, PUT: the caller's role is not allowed on this route",
        "response of the gateway: 403",
    ] {
        assert!(said.contains(finding), "{finding}\n{said}");
    }
    let at = (now() + Duration::days(20)).format(&time::format_description::well_known::Rfc3339).unwrap();
    let (code, said) = explain(directory.path(), Some("alice.crt"), "GET /v1/x", &["--at", &at]);
    assert_eq!((code, &said["code"]), (1, &"revocation.crl_expired".into()), "{said}");
    let at = (now() + Duration::days(40)).format(&time::format_description::well_known::Rfc3339).unwrap();
    let (_, said) = explain(directory.path(), Some("alice.crt"), "GET /v1/x", &["--at", &at]);
    assert_eq!(said["code"], "chain.expired", "{said}");

    let (code, _, said) = run(directory.path(), &["explain", "--config", "gateway.yaml", "--request", "GET"]);
    assert_eq!(code, 2, "{said}");
    let missing = ["explain", "--config", "gateway.yaml", "--request", "GET /", "--cert", "none.crt"];
    assert_eq!(run(directory.path(), &missing).0, 3);
    let elsewhere =
        ["explain", "--config", "gateway.yaml", "--request", "GET /", "--listener", "127.0.0.9:1"];
    assert_eq!(run(directory.path(), &elsewhere).0, 2);
}

#[test]
fn an_explanation_tells_what_a_policy_that_is_tried_would_do() {
    let setup = Setup {
        more: "policy: { shadow: new.yaml }",
        files: vec![(
            "new.yaml",
            "routes:\n  - { path: /v2, methods: [GET], allow: [{ role: api-user }], upstream: api }\n"
                .to_owned(),
        )],
        ..Setup::new()
    };
    let directory = tempfile::tempdir().unwrap();
    setup.write(directory.path());
    setup.cluster.leaf("api-user", "alice").write(directory.path(), "alice");
    let (_, said) = explain(directory.path(), Some("alice.crt"), "GET /v2", &[]);
    assert_eq!((&said["decision"], &said["shadow"]["decision"]), (&"deny".into(), &"permit".into()));
    assert_eq!(said["shadow"]["rule"]["rule"], "routes[0] (line 2)");
    let (_, said) = explain(directory.path(), Some("alice.crt"), "GET /v3", &[]);
    assert_eq!(said["shadow"], Value::Null);
    let (code, said, _) = run(directory.path(), &["check", "--config", "gateway.yaml"]);
    assert_eq!(code, 0);
    assert!(said.contains("\nThe shadow policy has 1 route(s).\n"), "{said}");
}

#[tokio::test]
async fn a_log_is_replayed_against_another_policy() {
    let gateway = TestGateway::start();
    let user = gateway.user();
    for path in ["/v1/x", "/v1/x", "/v1/y", "/v2"] {
        gateway.get(&user, path).await;
    }
    gateway.get(&gateway.node(), &format!("/v1/nodes/{NODE}/state")).await;
    gateway.get(&user, "/v1//x").await;
    gateway.refused(None).await;
    gateway.line("handshake_refused", |_| true);
    let lines: Vec<String> = gateway.lines().iter().map(|line| line.to_string()).collect();
    let log = format!("{}\nnot JSON \u{1b}\n{{}}\n[1]\n", lines.join("\n"));
    std::fs::write(gateway.path("access.log"), log).unwrap();
    let replay = |routes: &'static str| {
        let directory = tempfile::tempdir().unwrap();
        Setup { routes, ..Setup::new() }.write(directory.path());
        let log = gateway.path("access.log");
        let (code, said, err) =
            run(directory.path(), &["replay", log.to_str().unwrap(), "--config", "gateway.yaml", "--json"]);
        let said: Value = serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}{err}"));
        let text = run(directory.path(), &["replay", log.to_str().unwrap(), "--config", "gateway.yaml"]).1;
        (code, said["result"].clone(), text)
    };
    let (code, said, text) = replay(
        r#"
  - { path: /v1/x, methods: [GET], allow: [{ role: control-service }], upstream: api }
  - { path: /v1/y, methods: [GET], query: { force: absent }, allow: [{ role: api-user }], upstream: api }
  - { path: /v2, methods: [GET], allow: [{ role: api-user, name: alice }], upstream: api }
  - { path: "/v1/nodes/{name}/**", methods: [GET, PUT], allow: [{ role: node-agent, name: "{name}" }], upstream: api }
"#,
    );
    assert_eq!(code, 1);
    assert_eq!(said["changed"], 3, "{said}");
    assert_eq!(said["unchanged"], 1);
    assert_eq!(said["depends_on_query"], 1);
    assert_eq!(said["other_lines"], 2, "a refused handshake and a bad path: {said}");
    assert_eq!(said["foreign_lines"], 3, "what is no line of an access log: {said}");
    assert!(text.contains("3 line(s) not decided: not of an access log, or truncated\n"), "{text}");
    let changes = said["changes"].as_array().unwrap();
    assert_eq!(changes.len(), 2, "{said}");
    assert_eq!((&changes[0]["caller"], &changes[0]["requests"]), (&"api-user/alice".into(), &2.into()));
    assert_eq!(changes[0]["was"], "permit (api)");
    assert_eq!(changes[0]["now"], "deny (policy.role_not_allowed) by routes[0] (line 9)");
    assert_eq!(changes[1]["was"], "deny (policy.no_route)");
    assert_eq!(changes[1]["now"], "permit (api) by routes[2] (line 11)");
    assert!(text.contains("api-user/alice GET /v1/x: permit (api) -> deny"), "{text}");
    assert!(text.contains("3 request(s) decided differently, 1 unchanged\n"), "{text}");

    let (code, said, _) = replay(Setup::new().routes);
    assert_eq!(
        (code, &said["changed"]),
        (1, &0.into()),
        "what cannot be read may have been a request: {said}"
    );
    std::fs::write(gateway.path("access.log"), lines.join("\n")).unwrap();
    let (code, said, _) = replay(Setup::new().routes);
    assert_eq!((code, &said["changed"]), (0, &0.into()), "{said}");
}

#[test]
fn a_file_that_is_no_access_log_is_not_said_to_change_nothing() {
    let directory = tempfile::tempdir().unwrap();
    Setup::new().write(directory.path());
    std::fs::write(directory.path().join("json"), "{}\n{\"event\":\"request\"}\n").unwrap();
    for file in ["/dev/null", "cluster.crt", "json"] {
        let (code, _, said) = run(directory.path(), &["replay", file, "--config", "gateway.yaml"]);
        assert_eq!(code, 3, "{file}: {said}");
        assert!(said.contains("has no line of an access log"), "{said}");
    }
}

#[test]
fn what_cannot_be_judged_is_not_said_to_stay() {
    let directory = tempfile::tempdir().unwrap();
    let routes = r#"
  - { path: /v1/x, methods: [GET], query: { force: absent }, allow: [{ role: api-user }], upstream: api }
  - { path: /v1/ws, methods: [GET], allow: [{ role: api-user }], upstream: api }
"#;
    Setup { routes, ..Setup::new() }.write(directory.path());
    let replay = |path: &str, status: u16| {
        let line = serde_json::json!({
            "time": "2026-01-02T03:04:05.000Z", "event": "request", "role": "api-user", "name": "alice",
            "method": "GET", "path": path, "decision": "permit", "upstream": "api", "status": status,
        });
        std::fs::write(directory.path().join("access.log"), format!("{line}\n")).unwrap();
        let (code, said, _) = run(directory.path(), &["replay", "access.log", "--config", "gateway.yaml"]);
        (code, said)
    };
    let (code, said) = replay("/v1/x", 200);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("1 request(s) not decided: the new policy depends on the query"), "{said}");
    assert_eq!(replay("/v1/ws", 200).0, 0);
    let (code, said) = replay("/v1/ws", 101);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("GET /v1/ws: permit (api) -> deny (policy.websocket) by routes[1]"), "{said}");
}

#[test]
fn a_line_that_is_not_whole_is_not_said_to_stay() {
    let directory = tempfile::tempdir().unwrap();
    Setup::new().write(directory.path());
    let whole = r#"{"time":"2026-01-02T03:04:05.000Z","event":"request","role":"api-user","name":"alice","method":"GET","path":"/v1/x","decision":"permit","upstream":"api"}"#;
    let of_other_event =
        r#"{"time":"2026-01-02T03:04:05.000Z","event":"connection_closed","reason":"chain.revoked"}"#;
    let cut_through = &whole[..60];
    let without_method = whole.replace("\"method\":\"GET\",", "");
    let undecided = whole.replace("permit", "none");
    let unknown = whole.replace("permit", "perhaps");
    let cases = [
        (of_other_event, 0),
        (undecided.as_str(), 0),
        (cut_through, 1),
        (without_method.as_str(), 1),
        (unknown.as_str(), 1),
        ("2026-01-02 INFO of another log", 1),
    ];
    for (line, expected) in cases {
        std::fs::write(directory.path().join("access.log"), format!("{whole}\n{line}\n")).unwrap();
        let (code, said, err) = run(directory.path(), &["replay", "access.log", "--config", "gateway.yaml"]);
        assert_eq!(code, expected, "{line}: {said}{err}");
        assert_eq!(said.contains("not decided:"), expected == 1, "{line}: {said}");
    }
}

#[test]
fn one_file_is_replayed_and_tried() {
    let directory = tempfile::tempdir().unwrap();
    let setup = Setup::new();
    setup.write(directory.path());
    let text = std::fs::read_to_string(directory.path().join("gateway.yaml")).unwrap();
    std::fs::write(directory.path().join("new.yaml"), text.replace("/v1/**", "/v2/**")).unwrap();
    let more = "policy: { shadow: new.yaml }\n";
    std::fs::write(directory.path().join("gateway.yaml"), format!("{more}{text}")).unwrap();
    let (code, said, err) = run(directory.path(), &["check", "--config", "gateway.yaml"]);
    assert_eq!(code, 0, "{err}");
    assert!(said.contains("\nThe shadow policy has 2 route(s).\n"), "{said}");
    let line = r#"{"time":"2026-01-02T03:04:05.000Z","event":"request","role":"api-user","name":"alice","method":"GET","path":"/v1/x","decision":"permit","upstream":"api"}"#;
    std::fs::write(directory.path().join("access.log"), format!("{line}\n")).unwrap();
    let (code, said, err) = run(directory.path(), &["replay", "access.log", "--config", "new.yaml"]);
    assert_eq!(code, 1, "{said}{err}");
}
