//! One path, one host, one method: what is judged is what is sent.

use crate::cluster::{Cluster, Leaf};
use crate::harness::{Setup, TestGateway, Tls, call_h2_on, raw_on};

/// A gateway whose certificate also has a DNS name.
fn named() -> TestGateway {
    let mut setup = Setup::new();
    setup.own = own(&setup.cluster);
    setup.start()
}

fn own(cluster: &Cluster) -> Leaf {
    cluster.leaf_with("control-service", "127.0.0.1", |params| {
        for name in ["api.example", "b.example"] {
            params.subject_alt_names.push(rcgen::SanType::DnsName(name.try_into().unwrap()));
        }
    })
}

async fn connect(gateway: &TestGateway, name: Option<&str>, alpn: &str) -> Tls {
    let user = gateway.user();
    match name {
        Some(name) => gateway.connect_named(Some(&user), &[alpn], name).await,
        None => gateway.connect(Some(&user), &[alpn]).await,
    }
    .unwrap()
}

/// The status for a request for `host` on a connection to `name`, over both protocols.
async fn status(gateway: &TestGateway, name: Option<&str>, host: &str) -> u16 {
    let request = format!("GET /v1/x HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    let answer = raw_on(connect(gateway, name, "http/1.1").await, request).await;
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    let request =
        http::Request::get(format!("https://{host}/v1/x")).body(http_body_util::Full::default()).unwrap();
    let over_h2 = call_h2_on(connect(gateway, name, "h2").await, request).await;
    assert_eq!(over_h2.status.as_u16(), status, "{name:?} {host}");
    status
}

// T25, T26.
#[tokio::test]
async fn a_request_is_for_the_host_that_the_connection_is_to() {
    let gateway = named();
    for (name, host, wanted) in [
        (Some("api.example"), "api.example", 200),
        (Some("api.example"), "API.Example:4523", 200),
        (Some("api.example"), "api.example.", 200),
        (Some("API.EXAMPLE"), "api.example", 200),
        (Some("api.example"), "b.example", 421),
        (Some("api.example"), "api.example.org", 421),
        (Some("api.example"), "127.0.0.1", 421),
        (Some("api.example"), "control-service", 421),
        // The name that Flocker-style clients give, whatever they dial.
        (Some("control-service"), "api.example", 200),
        (Some("control-service"), "127.0.0.1:4523", 200),
        // A connection to an address names no host.
        (None, "127.0.0.1", 200),
        (None, "api.example", 200),
    ] {
        assert_eq!(status(&gateway, name, host).await, wanted, "{name:?} {host}");
    }
    let line = gateway.line("request", |line| line["status"] == 421);
    assert_eq!((&line["reason"], &line["decision"]), (&"request.misdirected".into(), &"none".into()));
    assert!(
        gateway
            .lines()
            .iter()
            .all(|line| line["status"] != 421
                || line.get("upstream").is_none_or(|upstream| upstream.is_null()))
    );
}

// T25.
#[tokio::test]
async fn a_name_that_is_not_ours_gets_no_connection() {
    for name in ["other.example", "example", "x.api.example", "127.0.0.1.example"] {
        let gateway = named();
        assert!(gateway.connect_named(Some(&gateway.user()), &["http/1.1"], name).await.is_err(), "{name}");
        assert_eq!(gateway.refusal(), "tls.unknown_server_name", "{name}");
    }
}

// T25: names that only openssl is willing to send.
#[test]
fn an_odd_server_name_gets_no_other_treatment() {
    let gateway = named();
    let directory = tempfile::tempdir().unwrap();
    gateway.user().write(directory.path(), "user");
    let serves = |name: &str| {
        let output = std::process::Command::new("openssl")
            .args(["s_client", "-connect", &gateway.address.to_string(), "-servername", name])
            .args(["-cert", "user.crt", "-key", "user.key", "-tls1_2"])
            .current_dir(directory.path())
            .stdin(std::process::Stdio::null())
            .output()
            .expect("openssl is installed");
        !String::from_utf8_lossy(&output.stdout).contains("Cipher is (NONE)")
    };
    for name in ["api.example", "API.example", "api.example.", "127.0.0.1"] {
        assert!(serves(name), "{name}");
    }
    for name in ["api.example..", "*.example", "api_example", "api.example/x", "a b", "other.example."] {
        assert!(!serves(name), "{name}");
    }
}
