//! Tests of the configuration: values, defaults, and the text and line of each problem.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use http::Method;

use super::*;
use crate::gateway::message::path::RequestPath;
use crate::gateway::policy::{Decision, DenyReason};
use crate::keys::CredentialsFile;
use crate::mtls::{ClientCertificate, IdentityForm, Listener};
use crate::serving::access_log::AccessLog;
use crate::yaml::YamlProblem;

/// Minimal configuration.
pub(super) const TEXT: &str = r#"listen: 127.0.0.1:4523
identity: { certificate: gateway.crt, key: gateway.key }
trust: { bundle: cluster.crt, crl: cluster.crl }
upstreams:
  api: { url: "http://127.0.0.1:8080" }
routes:
  - { path: "/v1/nodes/{name}/**", methods: [GET, PUT], allow: [{ role: node-agent, name: "{name}" }], upstream: api }
  - { path: "/v1/**", methods: [GET, POST], allow: [{ role: api-user }, { role: control-service }], upstream: api }
"#;

/// Directory with the files that [`TEXT`] names.
pub(super) fn home() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    for name in ["gateway.crt", "gateway.key", "cluster.crt", "cluster.crl", "exposed.key"] {
        std::fs::write(home.path().join(name), "").unwrap();
        let mode = if name == "gateway.key" { 0o600 } else { 0o644 };
        std::fs::set_permissions(home.path().join(name), std::fs::Permissions::from_mode(mode)).unwrap();
    }
    home
}

pub(super) fn parse(text: &str) -> Result<Config, Vec<String>> {
    let home = home();
    Config::parse("gateway.yaml", text.as_bytes(), home.path()).map_err(|problems| {
        let shown =
            |problem: &YamlProblem| problem.to_string().replace(home.path().to_str().unwrap(), "HOME");
        problems.iter().map(shown).collect()
    })
}

/// Parse the example with one place changed.
fn changed(from: &str, to: &str) -> Result<Config, Vec<String>> {
    assert!(TEXT.contains(from), "{from}");
    parse(&TEXT.replacen(from, to, 1))
}

#[test]
fn the_example_is_read_with_its_defaults() {
    let config = parse(TEXT).unwrap();
    assert_eq!(
        config.listen,
        [Listener {
            address: "127.0.0.1:4523".parse().unwrap(),
            client_certificate: ClientCertificate::Required,
            identity_form: IdentityForm::Spiffe,
        }]
    );
    let key = &config.identity.key;
    assert!(key.path.is_absolute() && key.path.ends_with("gateway.key"));
    assert_eq!((&key.opener, key.timeout), (&None, Duration::from_secs(60)));
    assert!(
        matches!(&config.trust.revocation, Revocation::Crls { paths, grace } if grace.is_zero() && paths[0].ends_with("cluster.crl"))
    );
    assert_eq!(
        config.upstreams,
        [UpstreamSettings {
            name: "api".to_owned(),
            host: "127.0.0.1".to_owned(),
            port: 8080,
            limits: UpstreamLimits {
                connect: Duration::from_secs(5),
                response: Duration::from_secs(60),
                body: None,
                response_fields: 100,
            },
        }]
    );
    assert_eq!(config.limits, Limits::default());
    assert_eq!((config.access_log, config.threads, config.trust_domain), (AccessLog::Stdout, None, None));
    let rules: Vec<_> = config.policy.routes().map(|route| route.rule.to_string()).collect();
    assert_eq!(rules, ["routes[0] (line 7)", "routes[1] (line 8)"]);
}

#[test]
fn the_policy_of_the_example_is_compiled() {
    const NODE: &str = "3f2b8a52-1c5f-4a7e-9a51-6a1f0f4f2f11";
    let policy = parse(TEXT).unwrap().policy;
    let decide = |caller: &str, method: Method, path: &str| {
        let caller = format!("spiffe://prod/{caller}").parse().unwrap();
        match policy.decide(Some(&caller), &method, &RequestPath::parse(path).unwrap()) {
            Decision::Permit(terms) => Ok(terms.rule().line),
            Decision::Deny(denial) => Err(denial.reason),
        }
    };
    let own = format!("/v1/nodes/{NODE}/state");
    assert_eq!(decide(&format!("node-agent/{NODE}"), Method::PUT, &own), Ok(7));
    assert_eq!(
        decide(&format!("node-agent/{NODE}"), Method::PUT, "/v1/nodes/7"),
        Err(DenyReason::NameMismatch)
    );
    assert_eq!(decide("api-user/alice", Method::GET, "/v1/volumes"), Ok(8));
    assert_eq!(decide("api-user/alice", Method::GET, &own), Err(DenyReason::RoleNotAllowed));
    assert_eq!(decide("api-user/alice", Method::DELETE, "/v1/volumes"), Err(DenyReason::MethodNotAllowed));
}

#[test]
fn every_key_is_read() {
    let text = r#"
listen: [127.0.0.1:0, "[::1]:4523"]
identity: { certificate: gateway.crt, key: gateway.key }
trust: { bundle: cluster.crt }
revocation: disabled
trust_domain: prod.example
resumption: { max_age: 1h }
operators: [{ role: api-user, name: alice }, { role: control-service }]
state_directory: .
upstreams:
  api: { url: "http://[::1]:8080/", connect_timeout: 1s, response_timeout: 5m, body_timeout: 2m, response_fields: 300 }
  web: { url: "http://web.internal" }
groups:
  operators: [{ role: api-user, name: alice }, { role: control-service, name: 10.0.0.1 }]
routes:
  - { path: /v1/, methods: [GET], allow: [{ group: operators }, { role: api-user, name: bob }], upstream: web }
  - { path: /v1/closed, methods: [DELETE], allow: [], upstream: api }
limits:
  connections: 5
  connections_per_identity: 2
  requests_per_identity: 7
  connections_per_upstream: 8
  connections_per_address: 3
  handshakes_per_address: 4
  failed_handshakes_per_address: 6
  handshake_timeout: 1s
  header_timeout: 2s
  idle_timeout: 3m
  stall_timeout: 20s
  tunnel_timeout: 30m
  drain_timeout: 4h
  header_bytes: 64KiB
  request_body: 1GiB
  http2_streams: 10
  http2_stream_window: 64KiB
  http2_connection_window: 1MiB
access_log: access.log
assertion: { issuer: "https://gateway.example", audience: things, lifetime: 1m, key: gateway.key }
metrics: 127.0.0.1:9523
admin: admin.sock
threads: 2
"#;
    let config = parse(text).unwrap();
    assert_eq!(config.listen.len(), 2);
    assert_eq!(config.trust.revocation, Revocation::Disabled);
    assert_eq!(config.trust_domain.as_ref().unwrap().as_str(), "prod.example");
    assert_eq!(config.resumption, Resumption::MaxAge(Duration::from_secs(3_600)));
    assert_eq!(config.operators.len(), 2);
    let assertion = config.assertion.clone().unwrap();
    assert_eq!(
        (assertion.issuer.as_deref(), assertion.lifetime),
        (Some("https://gateway.example"), Duration::from_secs(60))
    );
    assert!(config.files().is_empty(), "what was not read from a file is not loaded again");
    let config = Config { path: Some("gateway.yaml".into()), ..config };
    assert!(config.files().contains(&assertion.key.unwrap().path), "a new key is noticed");
    let defaults = changed("listen:", "assertion: {}\nlisten:").unwrap().assertion.unwrap();
    assert_eq!((defaults.issuer, defaults.audience, defaults.key), (None, None, None));
    assert_eq!(defaults.lifetime, Duration::from_secs(30));
    assert_eq!(config.metrics, Some("127.0.0.1:9523".parse().unwrap()));
    assert!(config.admin.as_ref().unwrap().ends_with("admin.sock"));
    let identity = |more: &str| changed("key: gateway.key", &format!("key: gateway.key, {more}")).unwrap();
    let wrapped = identity("kms: gateway.key, kms_timeout: 5m");
    assert!(
        matches!(&wrapped.identity.key.opener, Some(CredentialsFile::Kms(path)) if path.ends_with("gateway.key"))
    );
    assert_eq!(wrapped.identity.key.timeout, Duration::from_secs(300));
    let behind_passphrase =
        Config { path: Some("gateway.yaml".into()), ..identity("passphrase_file: gateway.key") };
    let opener = behind_passphrase.identity.key.opener.clone().unwrap();
    assert!(matches!(opener, CredentialsFile::Passphrase(_)));
    assert!(behind_passphrase.files().contains(&opener.path().to_owned()), "another passphrase is noticed");
    let disabled = changed("listen:", "resumption: disabled\nlisten:").unwrap();
    assert_eq!(disabled.resumption, Resumption::Disabled);
    let staleness = |text: &str| {
        let config = changed("crl: cluster.crl", &format!("crl: cluster.crl, crl_staleness: {text}"));
        match config.unwrap().trust.revocation {
            Revocation::Crls { grace, .. } => grace.as_secs(),
            Revocation::Disabled => panic!("it is not"),
        }
    };
    assert_eq!((staleness("refuse"), staleness("{ grace: 7d }")), (0, 7 * 86_400));
    let websocket = changed("upstream: api }\n  -", "upstream: api, upgrade: websocket }\n  -").unwrap();
    assert_eq!(websocket.policy.routes().map(|route| route.websocket).collect::<Vec<_>>(), [true, false]);
    let body = changed("upstream: api }\n  -", "upstream: api, body: allowed }\n  -").unwrap();
    assert_eq!(body.policy.routes().map(|route| route.content).collect::<Vec<_>>(), [true, false]);
    assert_eq!((config.upstreams[0].host.as_str(), config.upstreams[0].port), ("::1", 8080));
    assert_eq!(config.upstreams[0].limits.response, Duration::from_secs(300));
    assert_eq!(config.upstreams[0].limits.body, Some(Duration::from_secs(120)));
    assert_eq!(config.upstreams[0].limits.response_fields, 300);
    assert!(!config.options.http1_title_case);
    assert!(changed("listen:", "http1_title_case: true\nlisten:").unwrap().options.http1_title_case);
    assert_eq!((config.upstreams[1].host.as_str(), config.upstreams[1].port), ("web.internal", 80));
    assert_eq!(
        config.limits,
        Limits {
            connections: 5,
            connections_per_identity: 2,
            requests_per_identity: 7,
            connections_per_upstream: 8,
            connections_per_address: 3,
            handshakes_per_address: 4,
            failed_handshakes_per_address: 6,
            handshake_timeout: Duration::from_secs(1),
            header_timeout: Duration::from_secs(2),
            idle_timeout: Duration::from_secs(180),
            stall_timeout: Duration::from_secs(20),
            tunnel_timeout: Duration::from_secs(1_800),
            drain_timeout: Duration::from_secs(14_400),
            header_bytes: 65_536,
            request_body: 1 << 30,
            http2: Http2Windows { streams: 10, stream: 65_536, connection: 1 << 20 },
        }
    );
    assert!(matches!(config.access_log, AccessLog::File(path) if path.ends_with("access.log")));
    assert_eq!(config.threads.unwrap().get(), 2);
    assert_eq!(changed("listen:", "access_log: off\nlisten:").unwrap().access_log, AccessLog::Off);
    assert_eq!(changed("listen:", "access_log: stdout\nlisten:").unwrap().access_log, AccessLog::Stdout);
    let two = changed("crl: cluster.crl", "crl: [cluster.crl, gateway.crt]").unwrap();
    assert!(matches!(two.trust.revocation, Revocation::Crls { paths, .. } if paths.len() == 2));
    let below = changed("crl: cluster.crl", "crl: cluster.crl, intermediates: gateway.crt").unwrap();
    let below = Config { path: Some("gateway.yaml".into()), ..below };
    assert!(below.files().iter().filter(|path| path.ends_with("gateway.crt")).count() == 2, "it is watched");
    assert!(below.trust.intermediates.unwrap().ends_with("gateway.crt"));
    let disabled = changed(
        "crl: cluster.crl }",
        "intermediates: gateway.crt, unfit_anchors: refuse }\nrevocation: disabled",
    );
    let trust = disabled.unwrap().trust;
    assert!(trust.intermediates.unwrap().ends_with("gateway.crt"), "they complete chains all the same");
    assert_eq!(trust.unfit_anchors, UnfitAnchors::Refuse);
}

#[test]
fn each_problem_is_reported_with_its_line() {
    for (from, to, problem) in [
        ("listen: ", "lisen: ", "1: `listen` is missing"),
        (
            "127.0.0.1:4523",
            "localhost",
            "1: listen: `localhost` is not an address and port, such as 127.0.0.1:4523 or [::1]:4523",
        ),
        ("listen:", "assertion: { lifetime: 1h }\nlisten:", "1: assertion.lifetime: must be from 1s to 10m"),
        (
            "listen:",
            "assertion: { issuer: \"a b\" }\nlisten:",
            "1: assertion.issuer: 1 to 255 visible ASCII characters were expected",
        ),
        (
            "listen:",
            "assertion: { key: exposed.key }\nlisten:",
            "1: assertion.key: HOME/exposed.key is accessible to other users (mode 0644): chmod 0600 HOME/exposed.key",
        ),
        (
            "listen:",
            "assertion: { kms: gateway.key }\nlisten:",
            "1: assertion.kms: has no effect without `key`",
        ),
        (
            "key: gateway.key",
            "key: gateway.key, kms: exposed.key",
            "2: identity.kms: HOME/exposed.key is accessible to other users (mode 0644): chmod 0600 HOME/exposed.key",
        ),
        (
            "key: gateway.key",
            "key: gateway.key, passphrase_file: none",
            "2: identity.passphrase_file: cannot read HOME/none: No such file or directory (os error 2)",
        ),
        (
            "key: gateway.key",
            "key: gateway.key, kms: gateway.key, passphrase_file: gateway.key",
            "2: identity.passphrase_file: a key is opened by `kms` or by a passphrase: remove one of them",
        ),
        (
            "key: gateway.key",
            "key: gateway.key, kms_timeout: 5s",
            "2: identity.kms_timeout: has no effect without `kms`",
        ),
        (
            "key: gateway.key",
            "key: gateway.key, kms: gateway.key, kms_timeout: 2h",
            "2: identity.kms_timeout: must be from 1s to 1h",
        ),
        (
            "key: gateway.key",
            "key: gateway.key, passphrase: hunter2",
            "2: identity.passphrase: unknown key; the keys here are certificate, key, kms, passphrase_file, kms_timeout",
        ),
        ("listen:", "metrics: 9523\nlisten:", "1: metrics: text was expected, found the number 9523"),
        (
            "listen:",
            "admin: none/admin.sock\nlisten:",
            "1: admin: the directory HOME/none does not exist: mkdir -m 0700 HOME/none",
        ),
        ("127.0.0.1:4523", "[]", "1: listen: no address is given"),
        ("127.0.0.1:4523", "[127.0.0.1:1, 127.0.0.1:1]", "1: listen[1]: this is given twice"),
        ("127.0.0.1:4523", "4523", "1: listen: text was expected, found the number 4523"),
        ("127.0.0.1:4523", "", "1: listen: text was expected, found nothing"),
        ("127.0.0.1:4523", "{ client_certificate: optional }", "1: listen: `address` is missing"),
        (
            "127.0.0.1:4523",
            "{ address: \"127.0.0.1:1\", client_certificate: none }",
            "1: listen.client_certificate: `none`: either `optional` or `required` was expected",
        ),
        (
            "127.0.0.1:4523",
            "{ address: \"127.0.0.1:1\", client_certificate: optional }",
            "1: listen: clients without a certificate are accepted, but no route allows `anyone`",
        ),
        (
            "127.0.0.1:4523",
            "{ address: \"127.0.0.1:1\", identity: cn }",
            "1: listen.identity: `cn`: either `flocker` or `spiffe` was expected",
        ),
        (
            "127.0.0.1:4523",
            "{ address: \"127.0.0.1:1\", identity: flocker }",
            "1: listen: `identity: flocker` needs the UUID of the `cluster`",
        ),
        (
            "127.0.0.1:4523",
            "{ address: \"127.0.0.1:1\", identity: flocker, cluster: prod }",
            "1: listen.cluster: `prod` is not a cluster's UUID, in lower case and with hyphens",
        ),
        (
            "127.0.0.1:4523",
            "{ address: \"127.0.0.1:1\", cluster: 0b0c7f5e-8f4f-4a55-9b49-1f0d6f6f2c11 }",
            "1: listen.cluster: has no effect without `identity: flocker`",
        ),
        (
            "methods: [GET, POST]",
            "methods: [GET, POST], query: {}",
            "8: routes[1].query: no condition is given",
        ),
        (
            "methods: [GET, POST]",
            "methods: [GET, POST], query: { force: never }",
            "8: routes[1].query.force: `never`: either `absent`, `present` or a list of values was expected",
        ),
        (
            "methods: [GET, POST]",
            "methods: [GET, POST], query: { mode: [] }",
            "8: routes[1].query.mode: no value is given",
        ),
        (
            "methods: [GET, POST]",
            "methods: [GET, POST], query: { mode: [1] }",
            "8: routes[1].query.mode[0]: text was expected, found the number 1",
        ),
        (
            "methods: [GET, POST]",
            "methods: [GET, POST], query: { \"mode[]\": absent }",
            "8: routes[1].query.mode[]: a parameter name consists of 1 to 64 letters, digits, `-`, `.` and `_`",
        ),
        (
            "methods: [GET, POST]",
            "methods: [GET, POST], query: { a_b: absent, A-B: present }",
            "8: routes[1].query.A-B: another condition has this parameter, or one that some servers treat as the same",
        ),
        ("listen:", "policy: {}\nlisten:", "1: policy: `shadow` is missing"),
        (
            "listen:",
            "policy: { shadow: none.yaml }\nlisten:",
            "1: policy.shadow: cannot read HOME/none.yaml: No such file or directory (os error 2)",
        ),
        ("cluster.crl }", "cluster.crl, issuers: {} }", "3: trust.issuers: no issuer is given"),
        (
            "cluster.crl }",
            "cluster.crl, issuers: { \"CN=users\": [api-user] } }",
            "3: trust.issuers.CN=users: not a key identifier: pairs of hexadecimal digits were expected",
        ),
        (
            "cluster.crl }",
            "cluster.crl, issuers: { \"AB:CD\": [api-user], abcd: [] } }",
            "3: trust.issuers.abcd: this is given twice",
        ),
        (
            "allow: [{ role: node-agent, name: \"{name}\" }]",
            "allow: [anyone]",
            "7: routes[0].allow[0]: no listener accepts clients without a certificate: one must have `client_certificate: optional`",
        ),
        (
            "gateway.crt",
            "none.crt",
            "2: identity.certificate: cannot read HOME/none.crt: No such file or directory (os error 2)",
        ),
        ("gateway.crt", "\"\"", "2: identity.certificate: no file is given"),
        ("gateway.crt", ".", "2: identity.certificate: HOME/. is not a regular file"),
        (
            "gateway.key",
            "exposed.key",
            "2: identity.key: HOME/exposed.key is accessible to other users (mode 0644): chmod 0600 HOME/exposed.key",
        ),
        (", key: gateway.key", "", "2: identity: `key` is missing"),
        (
            "gateway.key }",
            "gateway.key, pin: 1 }",
            "2: identity.pin: unknown key; the keys here are certificate, key, kms, passphrase_file, kms_timeout",
        ),
        (
            "{ certificate: gateway.crt, key: gateway.key }",
            "gateway.pem",
            "2: identity: a mapping was expected, found text",
        ),
        (
            "bundle: cluster.crt",
            "bundle: /none/cluster.crt",
            "3: trust.bundle: cannot read /none/cluster.crt: No such file or directory (os error 2)",
        ),
        (
            ", crl: cluster.crl",
            "",
            "3: trust: `crl` is missing; to disable revocation checking, write `revocation: disabled`",
        ),
        (
            "crl: cluster.crl",
            "revocation: disabled",
            "3: trust.revocation: `revocation: disabled` belongs at the top level, beside `trust`",
        ),
        (
            "listen:",
            "resumption: { max_age: 8 }\nlisten:",
            "1: resumption.max_age: `8` is not a duration: write a whole number and a unit (s, m, h, d, w or y), such as 8s or 8h",
        ),
        (
            "listen:",
            "assertion: { lifetime: 30 }\nlisten:",
            "1: assertion.lifetime: `30` is not a duration: write a whole number and a unit (s, m, h, d, w or y), such as 30s or 30h",
        ),
        ("crl: cluster.crl", "crl: []", "3: trust.crl: no file is given"),
        (
            "crl: cluster.crl",
            "crl: none.crl",
            "3: trust.crl: cannot read HOME/none.crl: No such file or directory (os error 2)",
        ),
        (
            "upstreams:",
            "revocation: disabled\nupstreams:",
            "4: revocation: revocation is disabled, but `trust` has a `crl`: remove one of them",
        ),
        (", crl: cluster.crl }", " }\nrevocation: false", "4: revocation: text was expected, found `false`"),
        (", crl: cluster.crl }", " }\nrevocation: none", "4: revocation: `none`: `disabled` was expected"),
        (
            "upstreams:",
            "trust_domain: Prod\nupstreams:",
            "4: trust_domain: the trust domain `Prod` has the character `P`; allowed are lower-case letters, digits and -._",
        ),
        (
            "api: {",
            "Api: {",
            "5: upstreams.Api: the name of an upstream consists of 1 to 64 lower-case letters, digits, `-` and `_`",
        ),
        (
            "http://127.0.0.1:8080",
            "https://127.0.0.1:8080",
            "5: upstreams.api.url: https to an upstream is not supported: use http to a service on this machine or network",
        ),
        (
            "http://127.0.0.1:8080",
            "http://h/v1",
            "5: upstreams.api.url: `http://h/v1` is not `http://HOST:PORT`; a path, a query and user information are not allowed",
        ),
        (
            "http://127.0.0.1:8080",
            "http://u@h",
            "5: upstreams.api.url: `http://u@h` is not `http://HOST:PORT`; a path, a query and user information are not allowed",
        ),
        (
            "http://127.0.0.1:8080",
            "http://h?q",
            "5: upstreams.api.url: `http://h?q` is not `http://HOST:PORT`; a path, a query and user information are not allowed",
        ),
        (
            "http://127.0.0.1:8080",
            "127.0.0.1:8080",
            "5: upstreams.api.url: `127.0.0.1:8080` is not `http://HOST:PORT`; a path, a query and user information are not allowed",
        ),
        (
            "8080\" }",
            "8080\", body_timeout: 5 }",
            "5: upstreams.api.body_timeout: `5` is not a duration: write a whole number and a unit (s, m, h, d, w or y), such as 5s or 5h",
        ),
        (
            "8080\" }",
            "8080\", response_fields: 0 }",
            "5: upstreams.api.response_fields: a whole number from 1 to 10000 was expected",
        ),
        (
            "8080\" }",
            "8080\", response_fields: 10001 }",
            "5: upstreams.api.response_fields: a whole number from 1 to 10000 was expected",
        ),
        (
            "listen:",
            "http1_title_case: yes\nlisten:",
            "1: http1_title_case: true or false was expected, found text",
        ),
        (
            "8080\" }",
            "8080\", connect_timeout: 5 }",
            "5: upstreams.api.connect_timeout: `5` is not a duration: write a whole number and a unit (s, m, h, d, w or y), such as 5s or 5h",
        ),
        (
            "8080\" }",
            "8080\", connect_timeout: 5sec }",
            "5: upstreams.api.connect_timeout: `5sec` is not a duration: write a whole number and a unit (s, m, h, d, w or y), such as 90d",
        ),
        ("8080\" }", "8080\" }\n  web: { url: \"http://h\" }", "6: upstreams.web: no route uses it"),
        ("/v1/nodes/{name}/**", "v1", "7: routes[0].path: the path does not begin with `/`"),
        ("/v1/nodes/{name}/**", "/v1/../{name}", "7: routes[0].path: the path has a `.` or `..` segment"),
        ("/v1/nodes/{name}/**", "/v1/**/{name}", "7: routes[0].path: `**` must be the last segment"),
        (
            "/v1/nodes/{name}/**",
            "/v1/nodes/{id}/**",
            "7: routes[0].allow[0].name: the path has no variable of this name",
        ),
        (
            "/v1/nodes/{name}/**",
            "/.well-known/cluster/{name}",
            "7: routes[0]: /.well-known/cluster is reserved for the gateway",
        ),
        (
            "[GET, PUT]",
            "[get, PUT]",
            "7: routes[0].methods[0]: `get`: methods are written in upper case: GET",
        ),
        (
            "[GET, PUT]",
            "[GET, BREW]",
            "7: routes[0].methods[1]: `BREW` is not a supported method; supported are GET, HEAD, POST, PUT, PATCH, DELETE and OPTIONS",
        ),
        ("[GET, PUT]", "[CONNECT]", "7: routes[0].methods[0]: CONNECT is never forwarded"),
        ("[GET, PUT]", "[GET, TRACE]", "7: routes[0].methods[1]: TRACE is never forwarded"),
        ("[GET, PUT]", "[GET, GET]", "7: routes[0].methods[1]: this is given twice"),
        ("[GET, PUT]", "[]", "7: routes[0].methods: no method is given"),
        ("[GET, PUT]", "GET", "7: routes[0].methods: a list was expected, found text"),
        (
            "role: node-agent",
            "role: agent",
            "7: routes[0].allow[0].role: `agent` is not a role: the roles are control-service, node-agent and api-user",
        ),
        (
            "name: \"{name}\"",
            "name: node-7",
            "7: routes[0].allow[0].name: `node-7` is not the name of a node-agent",
        ),
        (
            "role: node-agent, ",
            "",
            "7: routes[0].allow[0]: either a `role`, with or without a `name`, a `user`, a `group`, or the word `anyone` was expected",
        ),
        (
            "role: node-agent, ",
            "role: node-agent, group: x, ",
            "7: routes[0].allow[0]: either a `role`, with or without a `name`, a `user`, a `group`, or the word `anyone` was expected",
        ),
        (
            "role: node-agent, name",
            "role: node-agent, naem",
            "7: routes[0].allow[0].naem: unknown key: did you mean `name`? The keys here are group, role, name, user, org",
        ),
        (
            "role: node-agent, name: \"{name}\"",
            "group: ops",
            "7: routes[0].allow[0].group: no group is called `ops`",
        ),
        ("routes:", "groups: { ops: [{ role: api-user }] }\nroutes:", "6: groups.ops: no route uses it"),
        (
            "upstream: api }\n  -",
            "upstream: apj }\n  -",
            "7: routes[0].upstream: no upstream is called `apj`",
        ),
        (
            "{ role: control-service }]",
            "{ role: api-user, name: bob }]",
            "8: routes[1]: allow[1] is redundant: allow[0] covers all of its callers",
        ),
        (
            "\"/v1/**\", methods: [GET, POST]",
            "\"/v1/nodes/*/**\", methods: [PUT]",
            "8: routes[1]: same paths and methods (PUT) as routes[0] (line 7), and a query can match both",
        ),
        ("path: \"/v1/**\", ", "", "8: routes[1]: `path` is missing"),
        (
            "listen:",
            "limits: { connections: 0 }\nlisten:",
            "1: limits.connections: a whole number from 1 to 1000000 was expected",
        ),
        (
            "listen:",
            "limits: { connections: -1 }\nlisten:",
            "1: limits.connections: a whole number was expected, found the number -1",
        ),
        (
            "listen:",
            "limits: { idle_timeout: 0s }\nlisten:",
            "1: limits.idle_timeout: `0s` is too short: the minimum is 1s",
        ),
        (
            "listen:",
            "limits: { header_bytes: 1KiB }\nlisten:",
            "1: limits.header_bytes: must be from 8KiB to 1MiB",
        ),
        (
            "listen:",
            "limits: { request_body: 67108864 }\nlisten:",
            "1: limits.request_body: `67108864` is not a size: write a whole number and a unit (B, KiB, MiB or GiB), such as 64KiB",
        ),
        (
            "listen:",
            "limits: { request_body: 1MB }\nlisten:",
            "1: limits.request_body: `1MB` is not a size: write a whole number and a unit (B, KiB, MiB or GiB), such as 64KiB",
        ),
        (
            "listen:",
            "limits: { speed: 1 }\nlisten:",
            "1: limits.speed: unknown key; the keys here are connections, connections_per_identity, requests_per_identity, connections_per_upstream, connections_per_address, handshakes_per_address, failed_handshakes_per_address, handshake_timeout, header_timeout, idle_timeout, stall_timeout, tunnel_timeout, drain_timeout, header_bytes, request_body, http2_streams, http2_stream_window, http2_connection_window",
        ),
        (
            "crl: cluster.crl",
            "crl: cluster.crl, crl_staleness: never",
            "3: trust.crl_staleness: `never`: either `refuse` or `{ grace: 7d }` was expected",
        ),
        (
            "crl: cluster.crl",
            "crl: cluster.crl, unfit_anchors: keep",
            "3: trust.unfit_anchors: `keep`: either `exclude` or `refuse` was expected",
        ),
        (
            "trust: { bundle: cluster.crt, crl: cluster.crl }",
            "trust: { bundle: cluster.crt, crl_staleness: refuse }\nrevocation: disabled",
            "3: trust.crl_staleness: has no effect because revocation is disabled: remove it",
        ),
        (
            "crl: cluster.crl",
            "crl: cluster.crl, intermediates: none.crt",
            "3: trust.intermediates: cannot read HOME/none.crt: No such file or directory (os error 2)",
        ),
        (
            "listen:",
            "limits: { handshakes_per_address: 0 }\nlisten:",
            "1: limits.handshakes_per_address: a whole number from 1 to 1000000 was expected",
        ),
        ("listen:", "resumption: off\nlisten:", "1: resumption: `off`: `disabled` was expected"),
        (
            "listen:",
            "operators: [{ role: api-user }]\nlisten:",
            "1: operators: pushed CRLs must survive a restart: give a `state_directory` to keep them",
        ),
        (
            "upstream: api }\n  -",
            "upstream: api, upgrade: h2c }\n  -",
            "7: routes[0].upgrade: `h2c`: the only supported upgrade is `websocket`",
        ),
        (
            "listen:",
            "remove_headers: [X-Corp-User, x_corp_user]\nlisten:",
            "1: remove_headers[1]: this is given twice",
        ),
        (
            "listen:",
            "limits: { http2_streams: 1001 }\nlisten:",
            "1: limits.http2_streams: must be from 1 to 1000",
        ),
        (
            "listen:",
            "limits: { http2_stream_window: 8KiB }\nlisten:",
            "1: limits.http2_stream_window: must be from 16KiB to 16MiB",
        ),
        (
            "listen:",
            "limits: { http2_connection_window: 16MiB }\nlisten:",
            "1: limits.http2_connection_window: must be more than 16777216 bytes, which is `http2_streams` times `http2_stream_window`, and less than 2GiB: else uploads wait for each other",
        ),
        (
            "listen:",
            "limits: { http2_streams: 2, http2_stream_window: 1MiB, http2_connection_window: 2GiB }\nlisten:",
            "1: limits.http2_connection_window: must be more than 2097152 bytes, which is `http2_streams` times `http2_stream_window`, and less than 2GiB: else uploads wait for each other",
        ),
        (
            "listen:",
            "limits: { http2_stream_window: 16MiB }\nlisten:",
            "1: limits.http2_stream_window: `http2_streams` times `http2_stream_window` are 2147483648 bytes: no connection can have a window of that size, which is less than 2GiB",
        ),
        (
            "listen:",
            "via: two names\nlisten:",
            "1: via: `two names` is neither `off` nor a name of 1 to 64 characters, such as gateway1 or gateway1.example.com:443",
        ),
        (
            "upstream: api }\n  -",
            "upstream: api, body: yes }\n  -",
            "7: routes[0].body: `yes`: only `allowed` was expected",
        ),
        (
            "methods: [GET, PUT], allow: [{ role: node-agent, name: \"{name}\" }], upstream: api",
            "methods: [POST, PUT], allow: [{ role: node-agent, name: \"{name}\" }], upstream: api, body: allowed",
            "7: routes[0].body: has no effect: a request with one of these methods always may have a body",
        ),
        (
            "listen:",
            "operators: [{ role: api-user }]\nstate_directory: none\nlisten:",
            "2: state_directory: the directory HOME/none does not exist: mkdir -m 0700 HOME/none",
        ),
        (
            // A missing directory is reported once.
            "listen:",
            "state_directory: none\nadmin: none/admin.sock\nlisten:",
            "1: state_directory: the directory HOME/none does not exist: mkdir -m 0700 HOME/none",
        ),
        (
            "listen:",
            "metrics: 127.0.0.1:4523\nlisten:",
            "1: metrics: a listener has this address: choose another address or port",
        ),
        (
            "listen:",
            "metrics: 0.0.0.0:4523\nlisten:",
            "1: metrics: a listener has this address: choose another address or port",
        ),
        ("listen:", "threads: 0\nlisten:", "1: threads: a whole number from 1 to 1000000 was expected"),
        (
            "listen:",
            "access_log: none/access.log\nlisten:",
            "1: access_log: the directory HOME/none does not exist: mkdir -m 0700 HOME/none",
        ),
        ("listen:", "listen: x\nlisten:", "1: duplicate key `listen`"),
    ] {
        let problems = changed(from, to).unwrap_err();
        assert!(problems.contains(&format!("gateway.yaml:{problem}")), "{problem}\n{problems:#?}");
        // A misspelt key is both unknown and missing, a misspelt upstream is also not there for its routes.
        let also = matches!(to, "lisen: " | "Api: {");
        assert!(problems.len() == 1 || also, "{problems:#?}");
    }
}

#[test]
fn all_problems_are_reported_in_the_order_of_the_file() {
    let text = r#"listen: nowhere
identity: { certificate: none.crt, key: exposed.key, extra: 1 }
trust: { bundle: cluster.crt, crl: cluster.crl }
upstreams:
  api: { url: "ftp://h" }
routes:
  - { path: "/a", methods: [GET], allow: [{ role: api-user }], upstream: api }
  - { path: "/a", methods: [get, POST], allow: [{ role: api-user }], upstream: none }
  - { path: "/a", methods: [GET], allow: [{ role: king }], upstream: api }
unknown: 1
"#;
    let lines = |problems: Vec<String>| -> Vec<String> {
        problems.iter().map(|problem| problem.split(": ").take(2).collect::<Vec<_>>().join(" ")).collect()
    };
    assert_eq!(
        lines(parse(text).unwrap_err()),
        [
            "gateway.yaml:1 listen",
            "gateway.yaml:2 identity.certificate",
            "gateway.yaml:2 identity.key",
            "gateway.yaml:2 identity.extra",
            "gateway.yaml:5 upstreams.api.url",
            "gateway.yaml:8 routes[1].methods[0]",
            "gateway.yaml:8 routes[1].upstream",
            "gateway.yaml:9 routes[2].allow[0].role",
            "gateway.yaml:10 unknown",
        ]
    );
}

#[test]
fn an_empty_file_is_refused() {
    for text in ["", "# nothing\n", "[]", "x", "{}", "\0", "a: [", "listen: !x y"] {
        assert!(parse(text).is_err(), "{text:?}");
    }
    assert!(Config::load(Path::new("/none/gateway.yaml")).unwrap_err()[0].message.starts_with("cannot read"));
}

#[test]
fn an_empty_list_of_routes_is_refused() {
    let (before, _) = TEXT.split_once("routes:").unwrap();
    assert_eq!(
        parse(&format!("{before}routes: []\n")).unwrap_err(),
        [
            "gateway.yaml:5: upstreams.api: no route uses it",
            "gateway.yaml:6: routes: no route is given, so that every request would be denied",
        ]
    );
}

#[test]
fn a_byte_order_mark_is_ignored() {
    assert!(parse(&format!("\u{feff}{TEXT}")).is_ok());
    let unknown = format!("\u{feff}unknown: 1\n{TEXT}");
    assert!(parse(&unknown).unwrap_err()[0].contains("1: unknown: unknown key"));
}

#[test]
fn a_shadow_policy_is_checked_like_the_policy_in_force() {
    let read = |shadow: &str| {
        let home = home();
        std::fs::write(home.path().join("new.yaml"), shadow).unwrap();
        let text = format!("policy: {{ shadow: new.yaml }}\n{TEXT}");
        Config::parse("gateway.yaml", text.as_bytes(), home.path()).map_err(|problems| {
            let shown =
                |problem: &YamlProblem| problem.to_string().replace(home.path().to_str().unwrap(), "HOME");
            problems.iter().map(shown).collect::<Vec<_>>()
        })
    };
    assert_eq!(
        read(TEXT).unwrap().shadow.unwrap().policy.routes().len(),
        parse(TEXT).unwrap().policy.routes().len()
    );
    let good = "groups:\n  g: [{ role: api-user }]\nroutes:\n  - { path: /x, methods: [GET], allow: [{ group: g }], upstream: api }\n";
    let shadow = read(good).unwrap().shadow.unwrap();
    assert!(shadow.path.ends_with("new.yaml"));
    assert_eq!(shadow.policy.routes().next().unwrap().rule.line, 4);
    for (from, to, problem) in [
        (
            "upstream: api",
            "upstream: new",
            "HOME/new.yaml:4: routes[0].upstream: no upstream is called `new`",
        ),
        ("{ group: g }", "{ role: api-user }", "HOME/new.yaml:2: groups.g: no route uses it"),
        (
            "groups:",
            "limit: {}\ngroups:",
            "HOME/new.yaml:1: limit: unknown key: did you mean `limits`? The keys here are listen, identity, revocation, trust, trust_domain, resumption, tokens, operators, state_directory, remove_headers, via, upstreams, groups, routes, policy, limits, access_log, assertion, metrics, admin, http1_title_case, threads",
        ),
        ("path: /x", "path: x", "HOME/new.yaml:4: routes[0].path: the path does not begin with `/`"),
        (good, "", "HOME/new.yaml:1: a mapping was expected, found nothing"),
    ] {
        let problems = read(&good.replace(from, to)).unwrap_err();
        assert!(problems.iter().any(|text| text.starts_with("HOME/new.yaml")), "{problem}: {problems:?}");
        assert!(problems.contains(&problem.to_owned()) || to.is_empty(), "{problem}: {problems:?}");
    }
}

#[test]
fn a_configuration_may_have_a_hundred_thousand_routes_and_16_mib() {
    use std::fmt::Write as _;
    const ROUTES: usize = 100_000;
    let (head, _) = TEXT.split_once("routes:").unwrap();
    let mut text = format!("{head}routes:\n");
    for index in 0..ROUTES {
        writeln!(
            text,
            "  - {{ path: \"/v1/services/{index}/**\", methods: [GET, PUT], allow: [{{ role: api-user }}], upstream: api }}"
        )
        .unwrap();
    }
    let config = parse(&text).unwrap();
    assert_eq!(config.policy.routes().len(), ROUTES);
    let last = config.policy.routes().last().unwrap().rule;
    assert_eq!((last.index, last.line), (ROUTES - 1, text.lines().count()));
    assert_eq!(config.policy.warnings(), []);
    let room = (16 << 20) - text.len();
    text.push_str(&"#".repeat(room + 1));
    assert_eq!(parse(&text).unwrap_err(), ["gateway.yaml: the file is larger than 16 MiB"]);
}
