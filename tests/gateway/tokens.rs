//! Users with access tokens: who gets through, what the service behind is told, and attacks on tokens.

use std::sync::Arc;

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use bytes::Bytes;
use cluster_ca::error::Coded;
use cluster_ca::identity::AccountRole;
use cluster_ca::tokens::AccessClaims;
use http::Request;
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::cluster::{Cluster, Leaf, now};
use crate::harness::{Answer, MovedClock, Setup, TestGateway, patiently, read_until};
use crate::metrics::fetch;
use crate::token_server::TokenServer;

pub(crate) const ROUTES: &str = r#"
  - { path: "/orgs/{org}/**", methods: [GET], allow: [{ user: "*", role: regular, org: "{org}" }], upstream: api }
  - { path: "/users/{name}/**", methods: [GET], allow: [{ user: "{name}" }], upstream: api }
  - { path: "/alice/**", methods: [GET], allow: [{ user: alice }], upstream: api }
  - { path: "/any/**", methods: [GET], allow: [{ user: "*", org: "*" }], upstream: api }
  - { path: "/admin/**", methods: [GET], allow: [{ user: "*", role: cluster-admin }], upstream: api }
  - { path: "/legacy/**", methods: [GET], allow: [{ user: "*" }], upstream: api, token: forwarded }
  - { path: "/v1/**", methods: [GET], allow: [{ role: api-user }], upstream: api }
"#;

pub(crate) const ACCEPTED: &str = "tokens: { statement: cluster.tokens }\nstate_directory: state\n\
    operators: [{ role: api-user, name: admin }]\nmetrics: 127.0.0.1:0\n";

const WITHOUT_CERTIFICATE: &str = "tokens: { statement: cluster.tokens, clients: any }\nstate_directory: state\n\
    operators: [{ role: api-user, name: admin }]\n";

/// A gateway that accepts tokens, and their server. `more` is its configuration.
pub(crate) fn accepting(more: &'static str) -> (Setup, TokenServer) {
    let setup = Setup { more, routes: ROUTES, ..Setup::new() };
    let server = TokenServer::of(&setup.cluster);
    (Setup { files: vec![("cluster.tokens", server.statement(1, &[]))], ..setup }, server)
}

fn start(more: &'static str) -> (TestGateway, TokenServer) {
    let (setup, server) = accepting(more);
    (setup.start(), server)
}

pub(crate) fn with_token(path: &str, token: &str) -> Request<Full<Bytes>> {
    with_authorization(path, &format!("Bearer {token}"))
}

fn with_authorization(path: &str, value: &str) -> Request<Full<Bytes>> {
    let request = Request::get(path).header("host", "gateway").header("authorization", value);
    request.body(Full::default()).unwrap()
}

async fn push(gateway: &TestGateway, by: &Leaf, statement: impl Into<Bytes>) -> Answer {
    let request = Request::put("/.well-known/cluster/tokens").header("host", "gateway");
    gateway.call(by, request.body(Full::from(statement.into())).unwrap()).await
}

fn admin(gateway: &TestGateway) -> Leaf {
    gateway.cluster.leaf("api-user", "admin")
}

/// Status, code, and error in the challenge.
fn refusal(answer: &Answer) -> (u16, String, String) {
    let code = answer.json()["code"].as_str().unwrap_or_default().to_owned();
    let challenge = answer.header("www-authenticate").to_owned();
    let error = challenge.strip_prefix("Bearer error=\"").and_then(|rest| rest.split('"').next());
    (answer.status.as_u16(), code, error.unwrap_or_default().to_owned())
}

#[tokio::test]
async fn a_user_reaches_the_routes_that_allow_its_name_role_and_organization() {
    let (gateway, server) = start(ACCEPTED);
    let leaf = gateway.cluster.leaf("api-user", "bob");
    let alice = server.token("alice");
    let sales = server.sign(&server.claims("Sales", "alice", AccountRole::Regular));
    let root = server.sign(&server.claims("Root", "root", AccountRole::ClusterAdmin));
    for (path, token, status) in [
        ("/alice/x", &alice, 200),
        ("/alice/x", &root, 403),
        // Another organization's user of the same name.
        ("/alice/x", &sales, 403),
        ("/users/alice/x", &alice, 200),
        ("/users/bob/x", &alice, 403),
        ("/users/alice/x", &sales, 403),
        ("/any/x", &sales, 200),
        ("/orgs/Sales/x", &sales, 200),
        ("/orgs/Root/x", &sales, 403),
        ("/orgs/sales/x", &sales, 403),
        ("/orgs/Root/x", &root, 403),
        ("/admin/x", &root, 200),
        ("/admin/x", &alice, 403),
        // The certificate counts too.
        ("/v1/x", &alice, 200),
    ] {
        let answer = gateway.call(&leaf, with_token(path, token)).await;
        assert_eq!(answer.status, status, "{path}: {answer:?}");
        if status == 403 {
            let expected = (403, "policy.user_not_allowed".to_owned(), "insufficient_scope".to_owned());
            assert_eq!(refusal(&answer), expected, "{path}");
        }
    }
    assert_eq!(gateway.get(&leaf, "/alice/x").await.status, 403, "a certificate alone is no user");
    let node = gateway.node();
    assert_eq!(gateway.call(&node, with_token("/v1/x", &alice)).await.status, 403, "a user is no api-user");
    assert_eq!(gateway.call_h2(&leaf, with_token_h2("/alice/x", &alice)).await.status, 200);
}

fn with_token_h2(path: &str, token: &str) -> Request<Full<Bytes>> {
    let request = Request::get(format!("https://gateway{path}"));
    request.header("authorization", format!("Bearer {token}")).body(Full::default()).unwrap()
}

#[tokio::test]
async fn the_service_behind_is_told_of_the_user_and_gets_no_token() {
    let (gateway, server) = start(ACCEPTED);
    let leaf = gateway.user();
    let token = server.sign(&server.claims("Sales", "carol", AccountRole::OrgAdmin));
    let told = |answer: &Answer| answer.json()["headers"].clone();
    let headers = told(&gateway.call(&leaf, with_token("/any/x", &token)).await);
    assert_eq!(headers["x-cluster-user"], "carol", "{headers}");
    assert_eq!(headers["x-cluster-org"], "Sales", "{headers}");
    assert_eq!(headers["x-cluster-user-role"], "org-admin", "{headers}");
    assert_eq!(headers["x-cluster-name"], "alice", "the certificate is told as ever: {headers}");
    assert_eq!(headers["authorization"], Value::Null, "{headers}");

    let token = server.token("dave");
    let headers = told(&gateway.call(&leaf, with_token("/legacy/x", &token)).await);
    assert_eq!(headers["authorization"], format!("Bearer {token}"), "{headers}");
    assert_eq!(headers["x-cluster-user"], "dave", "{headers}");

    // Nobody but the gateway says who the user is.
    let mut forged = with_token("/any/x", &token);
    for name in ["x-cluster-user", "X_Cluster_User", "x-cluster-org", "x.cluster.user-role"] {
        forged
            .headers_mut()
            .append(http::HeaderName::from_bytes(name.as_bytes()).unwrap(), "root".parse().unwrap());
    }
    let headers = told(&gateway.call(&leaf, forged).await);
    assert_eq!(headers["x-cluster-user"], "dave", "{headers}");
    let mut forged = crate::harness::get("/v1/x");
    forged.headers_mut().insert("x-cluster-user", "root".parse().unwrap());
    forged.headers_mut().insert("authorization", "Basic cm9vdDpyb290".parse().unwrap());
    let headers = told(&gateway.call(&leaf, forged).await);
    assert_eq!(
        (&headers["x-cluster-user"], &headers["authorization"]),
        (&Value::Null, &json!("Basic cm9vdDpyb290"))
    );
}

#[tokio::test]
async fn one_connection_may_carry_several_users_and_each_is_told_apart() {
    let (gateway, server) = start(ACCEPTED);
    let (leaf, alice, dave) = (gateway.user(), server.token("alice"), server.token("dave"));
    let mut stream = gateway.connect(Some(&leaf), &["http/1.1"]).await.unwrap();
    for (path, token, expected) in [
        ("/alice/x", Some(&alice), "\"x-cluster-user\":\"alice\""),
        ("/alice/x", Some(&alice), "\"x-cluster-user\":\"alice\""),
        ("/legacy/x", Some(&alice), "\"authorization\":\"Bearer"),
        ("/any/x", Some(&alice), "\"x-cluster-user\":\"alice\""),
        ("/any/x", Some(&dave), "\"x-cluster-user\":\"dave\""),
        ("/alice/x", Some(&dave), "policy.user_not_allowed"),
        ("/any/x", None, "policy.role_not_allowed"),
        ("/alice/x", Some(&alice), "\"x-cluster-user\":\"alice\""),
    ] {
        let authorization =
            token.map(|token| format!("authorization: Bearer {token}\r\n")).unwrap_or_default();
        let request = format!("GET {path} HTTP/1.1\r\nhost: g\r\n{authorization}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let end = if expected.starts_with("policy") { "request_id" } else { "body_too_large_to_echo" };
        let answer = read_until(&mut stream, end).await;
        let answer: String = answer.chars().filter(|c| !c.is_whitespace()).collect();
        assert!(answer.contains(expected), "{path}: {answer}");
        let is_forwarded = answer.contains("\"authorization\":\"Bearer");
        assert_eq!(is_forwarded, path == "/legacy/x", "{answer}");
    }
}

/// Encodes the parts of a token by hand.
fn encoded(value: &Value) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(value.to_string())
}

#[tokio::test]
async fn a_forged_or_foreign_token_is_refused_whatever_the_certificate_permits() {
    let (gateway, server) = start(ACCEPTED);
    let leaf = gateway.user();
    let token = server.token("alice");
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let payload = signed.split_once('.').unwrap().1;
    let kid = server.key_id();
    let other_cluster = Cluster::new("other");
    let foreign = TokenServer::of(&other_cluster);
    // The same names, and another root.
    let namesake = TokenServer::of(&Cluster::new("prod"));
    let claims = || server.claims("Root", "alice", AccountRole::Regular);
    let expired = AccessClaims { exp: now().unix_timestamp(), ..claims() };
    let early = AccessClaims { iat: (now() + Duration::minutes(2)).unix_timestamp(), ..claims() };
    let audience = AccessClaims { aud: "https://api.example".to_owned(), ..claims() };
    let issuer = AccessClaims { iss: "spiffe://other/cluster-ca".to_owned(), ..claims() };
    let changing = AccessClaims { password_change_required: true, ..claims() };
    let raised = {
        let mut claims = serde_json::to_value(claims()).unwrap();
        claims["role"] = json!("cluster-admin");
        format!("{}.{}.{signature}", signed.split_once('.').unwrap().0, encoded(&claims))
    };
    let with_header = |header: Value, signature: &str| format!("{}.{payload}.{signature}", encoded(&header));
    let header = |more: Value| {
        let mut header = json!({ "alg": "ES256", "typ": "at+jwt", "kid": kid });
        header.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        header
    };
    let statement = server.statement(1, &[]);
    for (forged, code) in [
        (server.sign(&expired), "token.expired"),
        (server.sign(&early), "token.not_yet_valid"),
        (server.sign(&audience), "token.audience"),
        (server.sign(&issuer), "token.issuer"),
        (server.sign(&changing), "token.password_change"),
        (foreign.token("alice"), "token.unknown_key"),
        (namesake.token("alice"), "token.unknown_key"),
        (raised, "token.signature"),
        (with_header(json!({ "alg": "none", "typ": "at+jwt", "kid": kid }), ""), "token.algorithm"),
        (with_header(json!({ "alg": "HS256", "typ": "at+jwt", "kid": kid }), signature), "token.algorithm"),
        (with_header(header(json!({ "jwk": { "kty": "EC" } })), signature), "token.malformed"),
        (with_header(header(json!({ "jku": "https://attacker.example/" })), signature), "token.malformed"),
        (with_header(header(json!({ "x5c": [] })), signature), "token.malformed"),
        (with_header(header(json!({ "kid": "../../etc/passwd" })), signature), "token.unknown_key"),
        (with_header(header(json!({ "typ": "JWT" })), signature), "token.malformed"),
        (format!("{signed}."), "token.signature"),
        (format!("{token}="), "token.malformed"),
        (statement.trim_end().to_owned(), "token.malformed"),
        (String::new(), "token.malformed"),
        ("x".repeat(8_000), "token.malformed"),
    ] {
        // The certificate alone would reach /v1.
        for path in ["/v1/x", "/alice/x", "/.well-known/cluster/whoami"] {
            let answer = gateway.call(&leaf, with_token(path, &forged)).await;
            let expected = (401, code.to_owned(), "invalid_token".to_owned());
            assert_eq!(refusal(&answer), expected, "{path} {forged:.80}");
        }
    }
    let lines = gateway.lines();
    assert!(lines.iter().all(|line| line["event"] != "request" || line["upstream"].is_null()), "{lines:?}");
    assert!(!format!("{lines:?}").contains(payload), "no token is logged");
    let (_, metrics) = fetch(&gateway, "/metrics");
    assert!(
        metrics.contains("cluster_gateway_tokens_refused_total{reason=\"token.audience\"} 3"),
        "{metrics}"
    );
}

#[tokio::test]
async fn several_credentials_are_refused_and_other_schemes_are_the_upstreams() {
    let (gateway, server) = start(ACCEPTED);
    let (leaf, token) = (gateway.user(), server.token("alice"));
    let mut both = with_token("/alice/x", &token);
    both.headers_mut().append("authorization", format!("Bearer {}", server.token("dave")).parse().unwrap());
    let answer = gateway.call(&leaf, both).await;
    let expected = (400, "request.several_credentials".to_owned(), "invalid_request".to_owned());
    assert_eq!(refusal(&answer), expected);
    for value in [format!("bearer {token}"), format!("BEARER   {token} ")] {
        assert_eq!(
            gateway.call(&leaf, with_authorization("/alice/x", &value)).await.status,
            200,
            "{value:.12}"
        );
    }
    for value in ["Bearer", "Bearer ", "Bearer a b"] {
        let answer = gateway.call(&leaf, with_authorization("/v1/x", value)).await;
        assert_eq!(refusal(&answer).1, "token.malformed", "{value}");
    }
    for value in ["Basic YTpi", "Bearers x", "DPoP x"] {
        let answer = gateway.call(&leaf, with_authorization("/v1/x", value)).await;
        assert_eq!(answer.json()["headers"]["authorization"], value, "{answer:?}");
    }
}

#[tokio::test]
async fn a_token_that_is_bound_to_a_certificate_is_refused_from_another_one() {
    let (setup, server) = accepting(WITHOUT_CERTIFICATE);
    let gateway = setup.start();
    let (own, thief) = (gateway.user(), gateway.cluster.leaf("api-user", "mallory"));
    let token = server.bound("alice", &own);
    let renewed = gateway.user();
    assert_eq!(gateway.call(&own, with_token("/alice/x", &token)).await.status, 200);
    for other in [Some(&thief), Some(&renewed), None] {
        let answer = gateway.call(other, with_token("/alice/x", &token)).await;
        let expected = (401, "token.certificate".to_owned(), "invalid_token".to_owned());
        assert_eq!(refusal(&answer), expected);
    }
    assert_eq!(
        gateway.call(&own, with_token("/alice/x", &token)).await.status,
        200,
        "the cache binds nobody else"
    );
}

#[tokio::test]
async fn without_a_certificate_only_a_token_gets_through_and_only_if_that_is_configured() {
    let (gateway, server) = start(WITHOUT_CERTIFICATE);
    let token = server.token("alice");
    assert_eq!(gateway.call(None, with_token("/alice/x", &token)).await.status, 200);
    let answer = gateway.call(None, with_token("/alice/x", &token)).await;
    let headers = &answer.json()["headers"];
    assert_eq!((&headers["x-cluster-user"], &headers["x-cluster-id"]), (&json!("alice"), &Value::Null));
    assert_eq!(gateway.call(None, with_token("/v1/x", &token)).await.status, 403, "no certificate, no role");
    for path in ["/alice/x", "/v1/x", "/nowhere", "/.well-known/cluster/status"] {
        let answer = gateway.get(None, path).await;
        assert_eq!(
            (answer.status.as_u16(), &answer.json()["code"]),
            (401, &json!("certificate.missing")),
            "{path}"
        );
        let challenges: Vec<_> = answer.headers.get_all("www-authenticate").iter().collect();
        assert_eq!(challenges, ["ClientCertificate", "Bearer"], "{path}");
    }
    let answer = gateway
        .call(None, with_token("/alice/x", &TokenServer::of(&Cluster::new("prod")).token("alice")))
        .await;
    assert_eq!(refusal(&answer).1, "token.unknown_key");
    // A token makes nobody an operator.
    let mut pushed = with_token("/.well-known/cluster/tokens", &token);
    *pushed.method_mut() = http::Method::PUT;
    assert_eq!(gateway.call(None, pushed).await.status, 401);

    let (strict, server) = start(ACCEPTED);
    let mut stream = strict.connect(None, &["http/1.1"]).await.unwrap();
    let request = format!(
        "GET /alice/x HTTP/1.1\r\nhost: g\r\nauthorization: Bearer {}\r\n\r\n",
        server.token("alice")
    );
    let mut answer = Vec::new();
    let _ = stream.write_all(request.as_bytes()).await;
    assert!(
        patiently(stream.read_to_end(&mut answer)).await.is_err(),
        "{}",
        String::from_utf8_lossy(&answer)
    );
    assert_eq!(strict.refusal(), "certificate.missing");
}

#[tokio::test]
async fn on_a_listener_for_anyone_a_token_is_optional_and_a_wrong_one_is_refused() {
    let (setup, server) = accepting("tokens: { statement: cluster.tokens, clients: any }\n");
    let routes = "\n  - { path: /open, methods: [GET], allow: [anyone], upstream: api }\n  \
        - { path: \"/alice/**\", methods: [GET], allow: [{ user: alice }], upstream: api }\n";
    let listen = "[{ address: \"127.0.0.1:0\", client_certificate: optional }, \"127.0.0.2:0\"]";
    let gateway = Setup { routes, listen, ..setup }.start();
    assert_eq!(gateway.get(None, "/open").await.status, 200);
    assert_eq!(gateway.call(None, with_token("/open", "wrong")).await.status, 401);
    assert_eq!(gateway.call(None, with_token("/alice/x", &server.token("alice"))).await.status, 200);
    // The other listener requires a certificate or a token, even where a route is for anyone.
    let strict = gateway.running().addresses()[1];
    let gateway = TestGatewayAt { gateway: &gateway, address: strict };
    assert_eq!(gateway.get("/open", None).await, 401);
    assert_eq!(gateway.get("/open", Some(&server.token("alice"))).await, 200);
}

/// Another listener of a gateway.
struct TestGatewayAt<'a> {
    gateway: &'a TestGateway,
    address: std::net::SocketAddr,
}

impl TestGatewayAt<'_> {
    /// Status of a request without a certificate.
    async fn get(&self, path: &str, token: Option<&str>) -> u16 {
        let stream = tokio::net::TcpStream::connect(self.address).await.unwrap();
        let config = self.gateway.client_config(None, &["http/1.1"], rustls::DEFAULT_VERSIONS);
        let name = rustls::pki_types::ServerName::try_from("gateway").unwrap();
        let mut stream = self.gateway.connect_over(stream, config, name).await.unwrap();
        let token = token.map(|token| format!("authorization: Bearer {token}\r\n")).unwrap_or_default();
        let request = format!("GET {path} HTTP/1.1\r\nhost: gateway\r\n{token}connection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let _ = patiently(stream.read_to_end(&mut answer)).await;
        String::from_utf8_lossy(&answer).split(' ').nth(1).unwrap().parse().unwrap()
    }
}

#[tokio::test]
async fn a_revoked_token_is_refused_after_a_push_and_its_requests_in_flight_end() {
    let (gateway, server) = start(ACCEPTED);
    let leaf = gateway.user();
    let (alice, dave) = (server.token("alice"), server.token("dave"));
    let mut streams = Vec::new();
    for token in [&alice, &dave] {
        let mut stream = gateway.connect(Some(&leaf), &["http/1.1"]).await.unwrap();
        let head = format!("GET /any/events HTTP/1.1\r\nhost: g\r\nauthorization: Bearer {token}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        read_until(&mut stream, "data:").await;
        streams.push(stream);
    }
    let (mut calls, connection) = gateway.open_h2(&leaf).await;
    let mut response = patiently(calls.send_request(with_token_h2("/any/events", &alice))).await.unwrap();
    assert!(patiently(response.frame()).await.unwrap().is_ok());

    let begun = std::time::Instant::now();
    let answer = push(&gateway, &admin(&gateway), server.statement(2, &["alice"])).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.json()["tokens"]["number"], 2, "{answer:?}");
    let mut rest = Vec::new();
    let _ = patiently(streams[0].read_to_end(&mut rest)).await;
    while let Some(Ok(_)) = patiently(response.frame()).await {}
    assert!(begun.elapsed() < std::time::Duration::from_secs(1), "{:?}", begun.elapsed());
    read_until(&mut streams[1], "data:").await;
    let line = gateway.line("request", |line| line["path"] == "/any/events" && line["user"] == "alice");
    assert_eq!(line["reason"], "token.revoked", "{line}");

    // The HTTP/2 connection goes on, and the token does not count on it.
    let refused = patiently(calls.send_request(with_token_h2("/any/x", &alice))).await.unwrap();
    assert_eq!(refused.status(), 401);
    let other = patiently(calls.send_request(with_token_h2("/any/x", &dave))).await.unwrap();
    assert_eq!(other.status(), 200);
    connection.abort();
    let refused = gateway.call(&leaf, with_token("/alice/x", &alice)).await;
    assert_eq!(refusal(&refused), (401, "token.revoked".to_owned(), "invalid_token".to_owned()));
    let later = AccessClaims {
        iat: (now() + Duration::SECOND).unix_timestamp(),
        ..server.claims("Root", "alice", AccountRole::Regular)
    };
    assert_eq!(gateway.call(&leaf, with_token("/alice/x", &server.sign(&later))).await.status, 200);
}

#[tokio::test]
async fn sessions_organizations_and_keys_are_revoked_like_users() {
    let (gateway, server) = start(ACCEPTED);
    let leaf = gateway.user();
    let session = AccessClaims {
        sid: Some("00112233445566778899aabbccddeeff".to_owned()),
        ..server.claims("Root", "alice", AccountRole::Regular)
    };
    let (session, sales) =
        (server.sign(&session), server.sign(&server.claims("Sales", "alice", AccountRole::Regular)));
    let status = async |token: &str| gateway.call(&leaf, with_token("/any/x", token)).await.status.as_u16();
    assert_eq!((status(&session).await, status(&sales).await), (200, 200));
    let statement = server.statement_with(2, |statement| {
        statement.end_session("00112233445566778899aabbccddeeff", now() + Duration::HOUR);
        statement.revoke_organization(&"Sales".parse().unwrap(), now());
    });
    gateway.replace("cluster.tokens", statement);
    crate::eventually::eventually("the statement of the file is in force", || {
        (gateway.status()["tokens"]["number"] == 2).then_some(())
    });
    assert_eq!((status(&session).await, status(&sales).await), (401, 401));
    assert_eq!(status(&server.token("alice")).await, 200);
    // A statement without the key refuses its tokens, which were accepted before.
    let next = TokenServer::of(&gateway.cluster);
    let answer = push(&gateway, &admin(&gateway), next.statement(3, &[])).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!((status(&server.token("alice")).await, status(&next.token("alice")).await), (401, 200));
}

#[tokio::test]
async fn only_operators_push_and_only_what_is_newer_and_ours() {
    let (gateway, server) = start(ACCEPTED);
    let (admin, user) = (admin(&gateway), gateway.user());
    assert_eq!(push(&gateway, &user, server.statement(2, &[])).await.status, 403);
    assert_eq!(push(&gateway, &admin, server.statement(5, &["bob"])).await.status, 200);
    let same = server.statement(6, &["bob"]);
    for generation in [3, 3] {
        let answer = push(&gateway, &admin, same.clone()).await;
        assert_eq!((answer.status.as_u16(), &answer.json()["generation"]), (200, &json!(generation)));
    }
    let other = TokenServer::of(&Cluster::new("prod"));
    let client = TokenServer::with(&gateway.cluster, |params| {
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    });
    let misnamed = TokenServer::with(&gateway.cluster, |params| {
        params.subject_alt_names = vec![crate::cluster::uri("spiffe://other/cluster-ca")];
    });
    let ended = TokenServer::with(&gateway.cluster, |params| params.not_after = now() - Duration::HOUR);
    let expired = server.statement_with(9, |statement| statement.exp = now().unix_timestamp());
    let future =
        server.statement_with(9, |statement| statement.iat = (now() + Duration::HOUR).unix_timestamp());
    let foreign =
        server.statement_with(9, |statement| statement.iss = "spiffe://other/cluster-ca".to_owned());
    let text = server.statement(9, &[]);
    let (head, rest) = text.split_once('.').unwrap();
    let unsigned = format!("{head}.{}.", rest.split_once('.').unwrap().0);
    for (statement, status, code) in [
        (server.statement(4, &[]), 409, "tokens.rollback"),
        (server.statement(6, &[]), 409, "tokens.number_reused"),
        (other.statement(9, &[]), 422, "chain.bad_signature"),
        (client.statement(9, &[]), 422, "chain.wrong_purpose"),
        (misnamed.statement(9, &[]), 422, "tokens.signer"),
        (ended.statement(9, &[]), 422, "chain.expired"),
        (expired, 422, "tokens.expired"),
        (future, 422, "tokens.not_yet_valid"),
        (foreign, 422, "tokens.issuer"),
        (unsigned, 422, "tokens.signature"),
        (server.token("alice"), 422, "tokens.malformed"),
        (String::new(), 422, "tokens.malformed"),
    ] {
        let answer = push(&gateway, &admin, statement).await;
        assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (status, &json!(code)));
    }
    assert_eq!(gateway.status()["tokens"]["number"], 6);
    // A thief of a replaced key cannot outbid its successor.
    let successor = TokenServer::with(&gateway.cluster, |params| params.not_before += Duration::HOUR);
    assert_eq!(push(&gateway, &admin, successor.statement(1, &[])).await.status, 200);
    let answer = push(&gateway, &admin, server.statement(u64::MAX, &[])).await;
    assert_eq!(answer.json()["code"], "tokens.rollback");
}

#[tokio::test]
async fn a_pushed_statement_outlives_a_restart_and_there_is_no_way_back() {
    let (gateway, server) = start(ACCEPTED);
    let (leaf, token) = (gateway.user(), server.token("alice"));
    assert_eq!(push(&gateway, &admin(&gateway), server.statement(7, &["alice"])).await.status, 200);
    let status =
        async |gateway: &TestGateway| gateway.call(&leaf, with_token("/alice/x", &token)).await.status;
    assert_eq!(gateway.reload(), Ok(()), "the file is older, and passed over");
    assert_eq!(status(&gateway).await, 401);
    let gateway = gateway.restart();
    assert_eq!(
        (gateway.status()["tokens"]["number"].clone(), status(&gateway).await.as_u16()),
        (json!(7), 401)
    );
    // Without the pushed file, the record still knows.
    for entry in std::fs::read_dir(gateway.path("state")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|end| end == "tokens") {
            std::fs::remove_file(path).unwrap();
        }
    }
    assert_eq!(gateway.reload(), Err("tokens.rollback"));
    let failed = gateway.try_restart().err().expect("it does not start");
    assert_eq!(failed.0.code(), "tokens.rollback", "{}", failed.1);
}

#[tokio::test]
async fn a_gateway_does_not_start_without_its_statement_and_keeps_the_last_good_one() {
    let code = |setup: Setup| setup.try_start().err().map(|failed| failed.0.code());
    let (setup, server) = accepting(ACCEPTED);
    let empty = Setup { files: vec![("cluster.tokens", String::new())], ..setup };
    assert_eq!(code(empty), Some("tokens.malformed"));
    let (setup, _) = accepting(ACCEPTED);
    let foreign = TokenServer::of(&Cluster::new("other")).statement(1, &[]);
    let foreign = Setup { files: vec![("cluster.tokens", foreign)], ..setup };
    assert_eq!(code(foreign), Some("chain.unknown_issuer"));
    drop(server);

    let (gateway, server) = start(ACCEPTED);
    let (leaf, token) = (gateway.user(), server.token("alice"));
    gateway.replace("cluster.tokens", "nonsense");
    assert_eq!(gateway.reload(), Err("tokens.malformed"));
    assert_eq!(gateway.call(&leaf, with_token("/alice/x", &token)).await.status, 200);
    // A revocation is applied although the rest of the reload fails.
    gateway.replace("cluster.tokens", server.statement(2, &["alice"]));
    gateway.replace("gateway.yaml", "nonsense");
    assert!(gateway.running().reload().is_err());
    assert_eq!(gateway.call(&leaf, with_token("/alice/x", &token)).await.status, 401);
}

#[tokio::test]
async fn no_token_is_accepted_after_the_end_of_the_statement_or_of_its_certificate() {
    let clock = MovedClock::default();
    let (setup, server) = accepting(ACCEPTED);
    let gateway = Setup { clock: Arc::new(clock.clone()), ..setup }.start();
    let leaf = gateway.user();
    let claims = AccessClaims {
        exp: (now() + Duration::days(20)).unix_timestamp(),
        ..server.claims("Root", "alice", AccountRole::Regular)
    };
    let token = server.sign(&claims);
    assert_eq!(gateway.call(&leaf, with_token("/alice/x", &token)).await.status, 200);
    clock.set(Duration::days(8));
    let answer = gateway.call(&leaf, with_token("/alice/x", &token)).await;
    assert_eq!(refusal(&answer).1, "token.statement");
    assert_eq!(gateway.get(&leaf, "/v1/x").await.status, 200, "certificates are as good as before");
}

#[tokio::test]
async fn the_log_and_the_metrics_name_users() {
    let (gateway, server) = start(ACCEPTED);
    let leaf = gateway.user();
    gateway.call(&leaf, with_token("/alice/x", &server.token("alice"))).await;
    let line = gateway.line("request", |line| line["path"] == "/alice/x");
    assert_eq!(
        (&line["user"], &line["org"], &line["user_role"], &line["name"]),
        (&json!("alice"), &json!("Root"), &json!("regular"), &json!("alice")),
        "{line}"
    );
    gateway.get(&leaf, "/v1/x").await;
    let line = gateway.line("request", |line| line["path"] == "/v1/x");
    assert_eq!(line.get("user"), None, "{line}");
    let (_, metrics) = fetch(&gateway, "/metrics");
    for line in [
        "cluster_gateway_user_requests_total 1",
        "cluster_gateway_statement_number 1",
        "cluster_gateway_statement_entries 0",
        "cluster_gateway_statement_usable 1",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line}: {metrics}");
    }
}
