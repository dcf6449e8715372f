//! Who gets in.

use std::io::{Read, Write};
use std::sync::Arc;

use rcgen::{ExtendedKeyUsagePurpose, IsCa, SanType};
use rustls::pki_types::ServerName;
use time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::cluster::{Cluster, Leaf, leaf_params, now, uri};
use crate::eventually::PATIENCE;
use crate::harness::{NODE, Setup, TestGateway, patiently, request, request_h2};

use cluster_ca::error::Coded;

#[tokio::test]
async fn a_user_is_let_in_and_the_service_behind_is_told_who_it_is() {
    let gateway = TestGateway::start();
    let user = gateway.user();
    for answer in [
        gateway.call(&user, request("POST", "/v1/things?x=1", "hello")).await,
        gateway.call_h2(&user, request_h2("POST", "/v1/things?x=1", "hello")).await,
    ] {
        assert_eq!(answer.status, 200, "{answer:?}");
        let seen = answer.json();
        assert_eq!(seen["method"], "POST");
        assert_eq!(seen["path"], "/v1/things?x=1");
        assert_eq!(seen["body"], "hello");
        assert_eq!(seen["headers"]["x-cluster-role"], "api-user");
        assert_eq!(seen["headers"]["x-cluster-name"], "alice");
        assert_eq!(seen["headers"]["x-cluster-id"], "spiffe://prod/api-user/alice");
        assert_eq!(seen["headers"]["x-cluster-serial"], user.serial_number());
        assert_eq!(seen["headers"]["x-request-id"], answer.header("x-request-id"));
    }
}

#[tokio::test]
async fn whoami_tells_every_caller_who_it_is() {
    let gateway = TestGateway::start();
    let node = gateway.node();
    let seen = gateway.get(&node, "/.well-known/cluster/whoami").await.json();
    assert_eq!(seen["role"], "node-agent");
    assert_eq!(seen["name"], NODE);
    assert_eq!(seen["trust_domain"], "prod");
    assert_eq!(seen["serial_number"], node.serial_number());
    assert_eq!(seen["tls_version"], "1.3");
    assert_eq!(seen["resumed"], false);
    assert_eq!(gateway.get(&node, "/.well-known/cluster/else").await.status, 404);
    let posted = gateway.call(&node, request("POST", "/.well-known/cluster/whoami", "x")).await;
    assert_eq!((posted.status.as_u16(), posted.header("allow")), (405, "GET, HEAD"));
}

#[tokio::test]
async fn a_call_that_no_route_allows_is_denied_with_the_reason() {
    let gateway = TestGateway::start();
    let other = "/v1/nodes/9d1c1f0e-5b5a-4c3e-8b1e-0a0b0c0d0e0f/state";
    for (leaf, path, code) in [
        (gateway.node(), "/v1/things", "policy.role_not_allowed"),
        (gateway.node(), other, "policy.name_mismatch"),
        (gateway.user(), "/v2/things", "policy.no_route"),
        (gateway.user(), &format!("/v1/nodes/{NODE}/state"), "policy.role_not_allowed"),
    ] {
        let answer = gateway.get(&leaf, path).await;
        assert_eq!(answer.status, 403, "{path}: {answer:?}");
        assert_eq!(answer.header("content-type"), "application/problem+json");
        let problem = answer.json();
        assert_eq!(problem["code"], code, "{path}");
        assert_eq!(problem["request_id"], answer.header("x-request-id"));
        let line = gateway.line("request", |line| line["request_id"] == problem["request_id"]);
        assert_eq!((&line["decision"], &line["reason"]), (&"deny".into(), &code.into()));
    }
    assert_eq!(gateway.get(&gateway.node(), &format!("/v1/nodes/{NODE}/state")).await.status, 200);
}

/// Refused under TLS 1.3 and 1.2, with this reason in the log.
async fn is_refused(setup: Setup, leaf: impl FnOnce(&Cluster) -> Leaf, reason: &str) {
    let leaf = leaf(&setup.cluster);
    let gateway = setup.start();
    gateway.refused(Some(&leaf)).await;
    let line = gateway.line("handshake_refused", |_| true);
    assert_eq!(line["reason"], reason, "{line}");
    assert_eq!(line["serial_number"], leaf.serial_number(), "{line}");
    assert_eq!(line["fingerprint"].as_str().unwrap().len(), 64, "{line}");
    assert!(line["subject"].as_str().unwrap().starts_with("CN="), "{line}");
    let old = gateway.connect_with(Some(&leaf), &[], &[&rustls::version::TLS12]).await;
    assert!(old.is_err(), "TLS 1.2 tells at once");
    assert!(gateway.lines().iter().all(|line| line["event"] == "handshake_refused"));
}

#[tokio::test]
async fn a_caller_without_a_certificate_is_refused() {
    let gateway = TestGateway::start();
    let seen = gateway.refused(None).await;
    assert!(seen.contains("CertificateRequired"), "{seen}");
    assert_eq!(gateway.refusal(), "certificate.missing");
}

#[tokio::test]
async fn another_clusters_certificate_is_refused() {
    let leaf = |_: &Cluster| Cluster::new("other").leaf("api-user", "alice");
    is_refused(Setup::new(), leaf, "chain.unknown_issuer").await;
}

#[tokio::test]
async fn a_certificate_of_another_authority_of_the_same_name_is_refused() {
    let leaf = |_: &Cluster| Cluster::new("prod").leaf("api-user", "alice");
    is_refused(Setup::new(), leaf, "chain.bad_signature").await;
}

#[tokio::test]
async fn a_self_signed_certificate_is_refused() {
    let leaf = |_: &Cluster| Leaf::self_signed(&leaf_params("prod", "api-user", "alice"));
    is_refused(Setup::new(), leaf, "chain.unknown_issuer").await;
    // One that bears the root's name stands no better.
    let leaf = |cluster: &Cluster| {
        let mut params = leaf_params("prod", "api-user", "alice");
        params.distinguished_name = crate::cluster::authority(&cluster.trust_domain).distinguished_name;
        Leaf::self_signed(&params)
    };
    is_refused(Setup::new(), leaf, "chain.bad_signature").await;
}

#[tokio::test]
async fn an_expired_certificate_is_refused() {
    let leaf = |cluster: &Cluster| {
        cluster.leaf_with("api-user", "alice", |params| params.not_after = now() - Duration::SECOND)
    };
    is_refused(Setup::new(), leaf, "chain.expired").await;
}

#[tokio::test]
async fn a_certificate_that_is_not_yet_valid_is_refused() {
    let leaf = |cluster: &Cluster| {
        cluster.leaf_with("api-user", "alice", |params| params.not_before = now() + Duration::HOUR)
    };
    is_refused(Setup::new(), leaf, "chain.not_yet_valid").await;
}

#[tokio::test]
async fn a_revoked_certificate_is_refused_and_another_of_its_holder_is_not() {
    let mut setup = Setup::new();
    let revoked = setup.cluster.leaf("api-user", "alice");
    setup.crl = Some(setup.cluster.crl(2, &[&revoked]));
    let gateway = setup.start();
    let seen = gateway.refused(Some(&revoked)).await;
    assert!(seen.contains("CertificateRevoked"), "{seen}");
    assert_eq!(gateway.refusal(), "revocation.revoked");
    assert_eq!(gateway.get(&gateway.user(), "/v1/x").await.status, 200);
}

#[tokio::test]
async fn a_servers_certificate_is_no_callers() {
    let leaf = |cluster: &Cluster| {
        cluster.leaf_with("api-user", "alice", |params| {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        })
    };
    is_refused(Setup::new(), leaf, "chain.wrong_purpose").await;
}

#[tokio::test]
async fn an_authoritys_certificate_is_no_callers() {
    let leaf = |cluster: &Cluster| {
        cluster.leaf_with("api-user", "alice", |params| {
            params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        })
    };
    is_refused(Setup::new(), leaf, "chain.ca_as_leaf").await;
}

#[tokio::test]
async fn a_leaf_issues_nobody() {
    let leaf = |cluster: &Cluster| {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = leaf_params("prod", "api-user", "mallory");
        params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign];
        let issuer = rcgen::CertifiedIssuer::signed_by(params, key, &cluster.root).unwrap();
        let params = leaf_params("prod", "api-user", "alice");
        Leaf::signed(&params, &issuer, &[issuer.der().clone()])
    };
    is_refused(Setup::new(), leaf, "chain.leaf_as_ca").await;
}

#[tokio::test]
async fn an_identity_is_exactly_one_uri_of_this_cluster() {
    for (names, reason) in [
        (vec![], "identity.no_uri"),
        (
            vec!["spiffe://prod/api-user/alice", "spiffe://prod/control-service/a.example"],
            "identity.several_uris",
        ),
        (vec!["spiffe://other/api-user/alice"], "identity.foreign_trust_domain"),
        (vec!["spiffe://prod/admin/alice"], "identity.malformed"),
        (vec!["https://prod/api-user/alice"], "identity.malformed"),
    ] {
        let leaf = |cluster: &Cluster| {
            cluster.leaf_with("api-user", "alice", |params| {
                params.subject_alt_names = names.iter().map(|name| uri(name)).collect();
                params.subject_alt_names.push(SanType::DnsName("control-service".try_into().unwrap()));
            })
        };
        is_refused(Setup::new(), leaf, reason).await;
    }
}

#[tokio::test]
async fn who_does_not_hold_the_key_is_refused() {
    let gateway = TestGateway::start();
    let thief = gateway.user().with_key_of(&gateway.user());
    gateway.refused(Some(&thief)).await;
    let line = gateway.line("handshake_refused", |_| true);
    assert_eq!(line["reason"], "certificate.proof", "{line}");
    assert_eq!(line["serial_number"], thief.serial_number());
}

#[tokio::test]
async fn a_caller_below_an_intermediate_without_a_crl_is_refused() {
    let leaf = |cluster: &Cluster| {
        let intermediate = cluster.intermediate("users");
        let params = leaf_params("prod", "api-user", "alice");
        Leaf::signed(&params, &intermediate, &[intermediate.der().clone()])
    };
    is_refused(Setup::new(), leaf, "revocation.no_crl").await;
}

#[tokio::test]
async fn tls_1_2_is_served_with_aead_and_a_certificate() {
    let gateway = TestGateway::start();
    let user = gateway.user();
    let mut stream =
        gateway.connect_with(Some(&user), &["http/1.1"], &[&rustls::version::TLS12]).await.unwrap();
    stream.write_all(b"GET /v1/x HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    patiently(stream.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert_eq!(gateway.line("request", |_| true)["tls_version"], "1.2");
}

#[test]
fn older_tls_and_weak_suites_are_refused() {
    let gateway = TestGateway::start();
    let directory = tempfile::tempdir().unwrap();
    gateway.user().write(directory.path(), "user");
    for options in [
        ["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"],
        ["-tls1_2", "-cipher", "AES128-GCM-SHA256:@SECLEVEL=0"],
        ["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA:ECDHE-ECDSA-AES256-SHA384:@SECLEVEL=0"],
    ] {
        let output = std::process::Command::new("openssl")
            .args(["s_client", "-connect", &gateway.address.to_string()])
            .args(["-cert", "user.crt", "-key", "user.key"])
            .args(options)
            .current_dir(directory.path())
            .stdin(std::process::Stdio::null())
            .output()
            .expect("openssl is installed");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(!output.status.success(), "{options:?}: {said}");
        assert!(said.contains("Cipher is (NONE)"), "{options:?}: {said}");
    }
    gateway.line("handshake_refused", |line| line["reason"] == "tls.incompatible");
}

#[tokio::test]
async fn plain_http_on_the_tls_port_is_refused() {
    let gateway = TestGateway::start();
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    stream.write_all(b"GET /v1/x HTTP/1.1\r\nhost: gateway\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = patiently(stream.read_to_end(&mut answer)).await;
    assert!(answer.starts_with(b"HTTP/1.1 400 Bad Request\r\n"), "{answer:?}");
    assert_eq!(gateway.refusal(), "tls.plain_http");
}

#[tokio::test]
async fn a_silent_caller_is_dropped_at_the_deadline() {
    let gateway = Setup { more: "limits: { handshake_timeout: 1s }\n", ..Setup::new() }.start();
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    let mut nothing = [0; 1];
    assert_eq!(patiently(stream.read(&mut nothing)).await.unwrap_or(0), 0);
    assert_eq!(gateway.refusal(), "tls.timeout");
    // Others were served all the while.
    assert_eq!(gateway.get(&gateway.user(), "/v1/x").await.status, 200);
}

#[test]
fn a_client_hello_that_comes_byte_by_byte_is_understood() {
    let gateway = TestGateway::start();
    let config = Arc::new(gateway.client_config(Some(&gateway.user()), &[], rustls::DEFAULT_VERSIONS));
    let name = ServerName::from(gateway.address.ip());
    let mut connection = rustls::ClientConnection::new(config, name).unwrap();
    let mut hello = Vec::new();
    connection.write_tls(&mut hello).unwrap();
    let mut socket = std::net::TcpStream::connect(gateway.address).unwrap();
    socket.set_nodelay(true).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    for byte in hello {
        socket.write_all(&[byte]).unwrap();
    }
    let mut stream = rustls::Stream::new(&mut connection, &mut socket);
    stream.write_all(b"GET /v1/x HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[test]
fn a_gateway_without_a_current_crl_does_not_start() {
    let code = |change: fn(&mut Setup)| {
        let mut setup = Setup::new();
        change(&mut setup);
        setup.try_start().map(|_| ()).unwrap_err()
    };
    let missing = code(|setup| setup.crl = Some(String::new()));
    assert!(missing.1.contains("cluster.crl"), "{}", missing.1);
    let expired = code(|setup| setup.crl = Some(setup.cluster.crl_until(1, &[], now() - Duration::SECOND)));
    assert_eq!(expired.0.code(), "revocation.crl_expired");
    let foreign = code(|setup| setup.crl = Some(Cluster::new("prod").crl(1, &[])));
    assert!(foreign.1.contains("cluster.crl"), "{}", foreign.1);
}

#[test]
fn a_gateway_without_its_trust_bundle_does_not_start() {
    let code = |bundle: &str| {
        let setup = Setup { bundle: Some(bundle.to_owned()), ..Setup::new() };
        setup.try_start().map(|_| ()).unwrap_err().0.code()
    };
    // No roots of the system, and no roots at all, take its place.
    assert_eq!(code(""), "x509.no_block");
    assert_eq!(
        code("-----BEGIN CERTIFICATE-----\nbm9uc2Vuc2U=\n-----END CERTIFICATE-----\n"),
        "x509.malformed"
    );
    assert_eq!(code(&Setup::new().cluster.crl(1, &[])), "x509.unexpected_block");
    assert_eq!(code(&Cluster::new("prod").bundle()), "crl.unknown_issuer");
}

#[test]
fn a_gateway_holds_its_own_certificate_to_the_rules() {
    let code = |own: fn(&Cluster) -> Leaf| {
        let mut setup = Setup::new();
        setup.own = own(&setup.cluster);
        setup.try_start().map(|_| ()).unwrap_err().0.code()
    };
    let host = "127.0.0.1";
    assert_eq!(code(|_| Cluster::new("other").leaf("control-service", "127.0.0.1")), "chain.unknown_issuer");
    assert_eq!(code(|cluster| cluster.leaf("api-user", "alice")), "chain.wrong_purpose");
    assert_eq!(
        code(|cluster| cluster.leaf_with("api-user", "alice", |params| {
            params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
        })),
        "server_certificate.role"
    );
    let leaf = |cluster: &Cluster| cluster.leaf("control-service", host);
    let mut setup = Setup::new();
    setup.own = leaf(&setup.cluster).with_key_of(&leaf(&setup.cluster));
    assert_eq!(setup.try_start().map(|_| ()).unwrap_err().0.code(), "tls.key_mismatch");
    let mut setup = Setup::new();
    setup.crl = Some(setup.cluster.crl(2, &[&setup.own]));
    assert_eq!(setup.try_start().map(|_| ()).unwrap_err().0.code(), "server_certificate.revoked");
}
