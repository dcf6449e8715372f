//! What the service behind is told, and what nobody else can make it believe.

use http::Request;
use http_body_util::Full;

use crate::harness::{Setup, TestGateway, get, request};
use crate::upstreams::answering;

#[tokio::test]
async fn what_a_caller_says_about_itself_never_passes() {
    let gateway = TestGateway::start();
    let user = gateway.user();
    let names = [
        "x-cluster-role",
        "X-Cluster-Role",
        "X_CLUSTER_ROLE",
        "x.cluster.role",
        "x-cluster_name",
        "x-forwarded-client-cert",
        "x_forwarded_client_cert",
        "client-cert",
        "Client_Cert",
        "client-cert-chain",
        "x-ssl-client-verify",
        "ssl-client-cert",
        "x-client-role",
        "x-authenticated-user",
        "x.authenticated.user",
        "x-forwarded-for",
        "forwarded",
        "x-real-ip",
        "x-http-method-override",
        "x-request-id",
    ];
    for name in names {
        let mut call = get("/v1/x");
        for value in ["admin", "", "a, b"] {
            call.headers_mut()
                .append(http::HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        }
        let seen = gateway.call(&user, call).await.json();
        let text = seen["headers"].to_string();
        assert!(!text.contains("admin"), "{name}: {text}");
        assert_eq!(seen["headers"]["x-cluster-role"], "api-user", "{name}");
        assert_eq!(seen["headers"]["x-cluster-name"], "alice", "{name}");
    }
}

#[tokio::test]
async fn a_connection_field_cannot_take_away_what_we_say() {
    let gateway = TestGateway::start();
    let user = gateway.user();
    let call = "GET /v1/x HTTP/1.1\r\nhost: g\r\nx-hop: 1\r\nconnection: close, x-cluster-role\r\n\
                connection: client-cert, x-hop\r\n\r\n";
    let answer = gateway.raw(&user, call).await;
    assert!(answer.contains(r#""x-cluster-role": "api-user""#), "{answer}");
    assert!(answer.contains(r#""client-cert": ":"#), "{answer}");
    assert!(!answer.contains("x-hop"), "{answer}");
}

#[tokio::test]
async fn one_connection_after_another_tells_of_its_own_caller() {
    let gateway = TestGateway::start();
    for name in ["alice", "bob", "carol"] {
        let leaf = gateway.cluster.leaf("api-user", name);
        assert_eq!(gateway.get(&leaf, "/v1/x").await.json()["headers"]["x-cluster-name"], name);
    }
}

#[tokio::test]
async fn trailers_cannot_say_who_is_calling() {
    let (upstream, requests) = answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    let gateway = Setup::in_front_of(upstream).start();
    let call = "POST /v1/x HTTP/1.1\r\nhost: g\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\
                trailer: x-checksum, x-cluster-role, x_cluster_role\r\n\r\n5\r\nhello\r\n0\r\n\
                x-checksum: 1\r\nx-cluster-role: admin\r\nx_cluster_role: admin\r\n\r\n";
    gateway.raw(&gateway.user(), call).await;
    let seen = requests.recv().unwrap();
    assert!(seen.contains("x-checksum: 1"), "{seen}");
    assert!(!seen.contains("admin"), "{seen}");
    assert!(seen.contains("trailer: x-checksum\r\n") && !seen.contains("x_cluster_role"), "{seen}");
}

#[tokio::test]
async fn a_response_keeps_its_fields_and_loses_those_of_the_hop() {
    let (upstream, _requests) = answering(
        "HTTP/1.1 201 Made Up\r\ncontent-length: 2\r\nkeep-alive: timeout=5\r\nconnection: x-hop\r\nx-hop: 1\r\n\
         x-cluster-role: forged\r\nset-cookie: a=1\r\nset-cookie: b=2\r\nx-request-id: theirs\r\n\r\nok",
    );
    let gateway = Setup::in_front_of(upstream).start();
    let answer = gateway.call(&gateway.user(), get("/v1/x")).await;
    assert_eq!(answer.status, 201);
    assert_eq!(answer.headers.get_all("set-cookie").iter().count(), 2);
    for name in ["keep-alive", "x-hop", "x-cluster-role", "connection"] {
        assert!(!answer.headers.contains_key(name), "{name}: {answer:?}");
    }
    assert_eq!(answer.headers.get_all("x-request-id").iter().count(), 1);
    assert_ne!(answer.header("x-request-id"), "theirs");
}

#[tokio::test]
async fn head_and_empty_responses_have_no_body() {
    let (upstream, _requests) = answering("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n");
    let gateway = Setup::in_front_of(upstream).start();
    let user = gateway.user();
    let call = || Request::builder().method("HEAD").header("host", "g");
    let answer = gateway.call(&user, call().uri("/v1/x").body(Full::default()).unwrap()).await;
    assert_eq!((answer.header("content-length"), answer.body.len()), ("5", 0));
    let answer = gateway.call_h2(&user, call().uri("https://g/v1/x").body(Full::default()).unwrap()).await;
    assert_eq!((answer.header("content-length"), answer.body.len()), ("5", 0));

    let (upstream, _requests) = answering("HTTP/1.1 204 No Content\r\n\r\n");
    let gateway = Setup::in_front_of(upstream).start();
    let user = gateway.user();
    let answer = gateway.call(&user, request("DELETE", "/v1/x", "")).await;
    assert_eq!(answer.status, 204);
    assert!(!answer.headers.contains_key("content-length"), "{answer:?}");
    assert_eq!(gateway.line("request", |line| line["status"] == 204)["reason"], serde_json::Value::Null);
}

#[tokio::test]
async fn h12_a_trace_that_cannot_be_read_in_one_way_is_replaced() {
    let gateway = TestGateway::start();
    let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    for (given, state) in [(good, "a=1"), ("00-1-2-00", "a=1"), (&*"0".repeat(8_000), "a=1")] {
        let mut request = crate::harness::get("/v1/x");
        request.headers_mut().insert("traceparent", given.parse().unwrap());
        request.headers_mut().insert("tracestate", state.parse().unwrap());
        let answer = gateway.call(&gateway.user(), request).await;
        let (seen, id) = (answer.json(), answer.header("x-request-id"));
        if given == good {
            assert_eq!(
                (&seen["headers"]["traceparent"], &seen["headers"]["tracestate"]),
                (&good.into(), &"a=1".into())
            );
        } else {
            assert_eq!(seen["headers"]["traceparent"], format!("00-{id}-{}-00", &id[16..]), "{given}");
            assert_eq!(seen["headers"].get("tracestate"), None);
        }
    }
}

/// H6: towards the service behind there is no certificate of the gateway's that could be taken for the
/// caller's, and nothing names the gateway.
#[tokio::test]
async fn h6_the_gateways_own_identity_is_never_the_callers() {
    let gateway = TestGateway::start();
    let control = gateway.cluster.leaf("control-service", "127.0.0.1");
    for caller in [&gateway.user(), &control] {
        let seen = gateway.get(caller, "/v1/x").await.json();
        assert_eq!(seen["headers"]["x-cluster-serial"], caller.serial_number());
        let own = gateway.status()["certificate"]["serial_number"].as_str().unwrap().to_owned();
        assert!(!seen.to_string().contains(&own), "{seen}");
    }
}

#[tokio::test]
async fn h11_what_a_caller_writes_stays_within_its_line_of_the_log() {
    let gateway = TestGateway::start();
    let user = gateway.user();
    let long = format!("/v1/{}", "x".repeat(20_000));
    for path in ["/v1/\"},{\"event\":\"forged\"}", "/v1/%1b%5b2J%0d%0a", &long] {
        let request = format!(
            "GET {path} HTTP/1.1\r\nhost: g\r\nuser-agent: \x1b[2J{}\r\nconnection: close\r\n\r\n",
            "y".repeat(9_000)
        );
        gateway.raw(&user, request).await;
    }
    gateway.raw(&user, b"GET /v1/\xff\xfe HTTP/1.1\r\nhost: g\r\nconnection: close\r\n\r\n").await;
    // Every line can be read as JSON, or `lines` would fail.
    let lines = crate::eventually::eventually("a line for each", || {
        let lines = gateway.lines();
        (lines.len() >= 4).then_some(lines)
    });
    for line in lines {
        assert!(["request", "request_malformed"].contains(&line["event"].as_str().unwrap()), "{line}");
        assert!(line.to_string().len() < 4_096 && !line.to_string().contains('\u{1b}'), "{line}");
    }
}

/// Fields of other proxies, which an upstream could take for statements of the gateway.
const OF_OTHER_PROXIES: [&str; 12] = [
    "X-Amzn-Mtls-Clientcert-Subject",
    "X-ARR-ClientCert",
    "X-Tls-Client-Cert",
    "X-WEBAUTH-USER",
    "X_Auth_Request_User",
    "CF-Connecting-IP",
    "X-Forwarded",
    "Remote-Groups",
    "X-Pomerium-Jwt-Assertion",
    "X-Goog-Authenticated-User-Email",
    "X-Corp-User",
    "x.team.name",
];

#[tokio::test]
async fn fields_of_other_proxies_never_pass_on_any_listener() {
    let answer: &'static str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nx-corp-user: forged\r\n\r\n2\r\nok\r\n\
                                0\r\nx-tag: 1\r\nx-team-name: forged\r\n\r\n";
    let (upstream, requests) = answering(answer);
    let setup = Setup {
        listen: "[\"127.0.0.1:0\", { address: \"127.0.0.2:0\", client_certificate: optional }]",
        more: "remove_headers: [X-Corp-User, \"X-Team-*\"]\n",
        routes: "\n  - { path: \"/**\", methods: [GET, POST], allow: [anyone], upstream: api }\n",
        ..Setup::in_front_of(upstream)
    };
    let gateway = setup.start();
    let fields: String = OF_OTHER_PROXIES.iter().map(|name| format!("{name}: forged\r\n")).collect();
    let open = gateway.running().addresses()[1];
    for leaf in [Some(gateway.user()), None] {
        let connect = gateway.client_config(leaf.as_ref(), &["http/1.1"], rustls::DEFAULT_VERSIONS);
        let address = if leaf.is_some() { gateway.address } else { open };
        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let name = rustls::pki_types::ServerName::from(gateway.address.ip());
        let stream = gateway.connect_over(stream, connect, name).await.unwrap();
        let call = format!(
            "POST /v1/x HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\nte: trailers\r\n{fields}\
             x-correlation-id: 7\r\ntrailer: x-tag\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nx-tag: 1\r\n{fields}\r\n"
        );
        let answer = crate::harness::raw_on(stream, call).await;
        let seen = requests.recv().unwrap();
        assert!(!seen.contains("forged"), "{seen}");
        assert!(seen.contains("x-correlation-id: 7") && seen.contains("x-tag: 1"), "{seen}");
        assert!(answer.starts_with("HTTP/1.1 200 ") && !answer.contains("forged"), "{answer}");
    }
}

#[tokio::test]
async fn messages_tell_by_whom_they_were_forwarded() {
    let (upstream, requests) = answering("HTTP/1.1 200 OK\r\nvia: 1.0 cache\r\ncontent-length: 2\r\n\r\nok");
    let gateway = Setup { more: "via: gw1\n", ..Setup::in_front_of(upstream) }.start();
    let user = gateway.user();
    let via = |text: &str| -> Vec<String> {
        text.lines().filter_map(|line| line.strip_prefix("via: ")).map(str::to_owned).collect()
    };
    let call = |fields: &str, version: &str| {
        format!("GET /v1/x HTTP/{version}\r\nhost: g\r\nconnection: close\r\n{fields}\r\n")
    };
    let answer = gateway.raw(&user, call("", "1.1")).await;
    assert_eq!(via(&requests.recv().unwrap()), ["1.1 gw1"]);
    assert_eq!(via(&answer), ["1.0 cache", "1.1 gw1"]);
    gateway.raw(&user, call("via: 1.1 desk, 2 cdn\r\n", "1.0")).await;
    assert_eq!(via(&requests.recv().unwrap()), ["1.1 desk, 2 cdn", "1.0 gw1"]);
    gateway.call_h2(&user, crate::harness::request_h2("GET", "/v1/x", "")).await;
    assert_eq!(via(&requests.recv().unwrap()), ["2 gw1"]);
    // What the gateway answers itself was not forwarded.
    let answer = gateway.get(&user, "/.well-known/cluster/whoami").await;
    assert!(!answer.headers.contains_key("via"));

    let answer = gateway.raw(&user, call(&"via: 1.1 gw1\r\n".repeat(8), "1.1")).await;
    assert!(answer.starts_with("HTTP/1.1 508 ") && answer.contains("\"request.loop\""), "{answer}");
    assert!(requests.try_recv().is_err());

    let (upstream, requests) = answering("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    let gateway = Setup { more: "via: off\n", ..Setup::in_front_of(upstream) }.start();
    let answer = gateway.raw(&gateway.user(), call("via: 1.1 desk\r\n", "1.1")).await;
    assert_eq!((via(&requests.recv().unwrap()), via(&answer)), (vec!["1.1 desk".to_owned()], vec![]));
}
