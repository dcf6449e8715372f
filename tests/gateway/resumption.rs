//! Sessions that are resumed, with openssl's client: a resumed caller is judged like a fresh one (T15 to
//! T22 and T28 of the attack checklist).

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;

use rcgen::SanType;
use serde_json::Value;
use time::Duration;
use tokio::io::AsyncWriteExt;

use cluster_ca::x509::pem::{blocks, pem};

use crate::cluster::{Cluster, Leaf, crl_by, leaf_params, now};
use crate::harness::{MovedClock, Setup, TestGateway, call_h2_on, read_until, request_h2};

const VERSIONS: [&str; 2] = ["-tls1_2", "-tls1_3"];

/// openssl's client as one caller, who keeps one session.
struct Client<'a> {
    gateway: &'a TestGateway,
    version: &'static str,
    directory: tempfile::TempDir,
    /// Whether it sends more certificates than its own.
    has_more: bool,
}

/// What became of a call.
#[derive(Debug)]
struct Called {
    /// Whether the client says that its session was resumed.
    reused: bool,
    /// What the gateway says of the caller; none where it answered nothing.
    whoami: Option<Value>,
    said: String,
}

impl<'a> Client<'a> {
    fn new(gateway: &'a TestGateway, leaf: &Leaf, version: &'static str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        leaf.write(directory.path(), "own");
        let more = leaf.chain.iter().skip(1).map(|der| pem("CERTIFICATE", der));
        std::fs::write(directory.path().join("more.crt"), more.collect::<String>()).unwrap();
        std::fs::write(directory.path().join("cluster.crt"), gateway.cluster.bundle()).unwrap();
        Self { gateway, version, directory, has_more: leaf.chain.len() > 1 }
    }

    /// Calls, keeps the session it is given in `keep`, and offers the one in `offer`.
    fn call(&self, offer: Option<&str>, keep: &str) -> Called {
        self.call_with(offer, keep, &[])
    }

    fn call_with(&self, offer: Option<&str>, keep: &str, more: &[&str]) -> Called {
        let mut command = Command::new("openssl");
        command
            .args(["s_client", "-connect", &self.gateway.address.to_string(), self.version, "-ign_eof"])
            .args(["-cert", "own.crt", "-key", "own.key", "-CAfile", "cluster.crt"])
            .args(["-verify_return_error", "-sess_out", keep])
            .args(if self.has_more { &["-cert_chain", "more.crt"][..] } else { &[] })
            .args(offer.iter().flat_map(|offer| ["-sess_in", offer]))
            .args(more)
            .current_dir(self.directory.path());
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("openssl is installed");
        let host = more.iter().skip_while(|option| **option != "-servername").nth(1).unwrap_or(&"g");
        let request =
            format!("GET /.well-known/cluster/whoami HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        // A caller who is refused may find the pipe closed.
        let _ = child.stdin.as_mut().unwrap().write_all(request.as_bytes());
        let output = child.wait_with_output().unwrap();
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        let said = text(&output.stdout) + &text(&output.stderr);
        let whoami = said.split_once("HTTP/1.1 200 ").map(|(_, answer)| {
            let body = &answer[answer.find('{').unwrap()..];
            serde_json::Deserializer::from_str(body).into_iter().next().unwrap().unwrap()
        });
        // In TLS 1.2 a session that was resumed goes on.
        if let (Some(offer), false) = (offer, self.directory.path().join(keep).exists()) {
            std::fs::copy(self.directory.path().join(offer), self.directory.path().join(keep)).unwrap();
        }
        Called { reused: said.contains("\nReused, "), whoami, said }
    }

    /// Calls for the first time.
    fn begin(&self, keep: &str) {
        let called = self.call(None, keep);
        assert!(!called.reused && called.resumed() == Some(false), "{}", called.said);
        assert!(self.directory.path().join(keep).exists(), "there is a session: {}", called.said);
    }
}

impl Called {
    /// Whether the gateway resumed the session of the call that it answered.
    fn resumed(&self) -> Option<bool> {
        self.whoami.as_ref().map(|whoami| whoami["resumed"].as_bool().unwrap())
    }

    #[track_caller]
    fn is_resumed(&self) {
        assert!(self.reused && self.resumed() == Some(true), "{}", self.said);
    }

    /// Answered, after the key has been proved again.
    #[track_caller]
    fn is_judged_anew(&self) {
        assert!(!self.reused && self.resumed() == Some(false), "{}", self.said);
    }

    /// Nothing was answered.
    #[track_caller]
    fn is_refused(&self) {
        assert!(!self.reused && self.whoami.is_none(), "{}", self.said);
    }
}

#[test]
fn a_session_is_resumed_and_the_log_says_so() {
    for version in VERSIONS {
        let gateway = TestGateway::start();
        let user = gateway.user();
        let client = Client::new(&gateway, &user, version);
        client.begin("a");
        let called = client.call(Some("a"), "b");
        called.is_resumed();
        assert_eq!(called.whoami.unwrap()["serial_number"], user.serial_number());
        let line = gateway.line("request", |line| line["resumed"] == true);
        assert_eq!((&line["name"], &line["serial_number"]), (&"alice".into(), &user.serial_number().into()));
    }
}

#[test]
fn t15_a_revoked_caller_does_not_resume() {
    for version in VERSIONS {
        let gateway = TestGateway::start();
        let (alice, bob) = (gateway.user(), gateway.cluster.leaf("api-user", "bob"));
        let (revoked, other) = (Client::new(&gateway, &alice, version), Client::new(&gateway, &bob, version));
        revoked.begin("a");
        other.begin("a");
        gateway.replace("cluster.crl", gateway.cluster.crl(2, &[&alice]));
        gateway.reload().unwrap();
        let called = revoked.call(Some("a"), "b");
        called.is_refused();
        assert!(called.said.contains("certificate revoked"), "he is told why: {}", called.said);
        assert_eq!(gateway.refusal(), "revocation.revoked");
        other.call(Some("a"), "b").is_resumed();
    }
}

/// A gateway whose clock can be moved, with a CRL that lasts.
fn with_clock(more: &'static str) -> (TestGateway, MovedClock) {
    let clock = MovedClock::default();
    let mut setup = Setup { clock: Arc::new(clock.clone()), more, ..Setup::new() };
    setup.crl = Some(setup.cluster.crl_until(1, &[], now() + Duration::days(90)));
    (setup.start(), clock)
}

#[test]
fn t16_an_expired_caller_does_not_resume() {
    for version in VERSIONS {
        let (gateway, clock) = with_clock("resumption: { max_age: 90d }\n");
        let client = Client::new(&gateway, &gateway.user(), version);
        client.begin("a");
        clock.set(Duration::days(29));
        client.call(Some("a"), "b").is_resumed();
        clock.set(Duration::days(31));
        client.call(Some("b"), "c").is_refused();
        assert_eq!(gateway.refusal(), "chain.expired");
    }
}

#[test]
fn t17_nobody_resumes_once_other_anchors_are_trusted() {
    for version in VERSIONS {
        let gateway = TestGateway::start();
        let second = Cluster::new("prod");
        let client = Client::new(&gateway, &gateway.user(), version);
        client.begin("a");
        gateway.replace("cluster.crl", gateway.cluster.crl(2, &[]) + &second.crl(1, &[]));
        gateway.replace("cluster.crt", gateway.cluster.bundle() + &second.bundle());
        gateway.reload().unwrap();
        client.call(Some("a"), "b").is_judged_anew();
        client.call(Some("b"), "c").is_resumed();
    }
}

#[test]
fn t17_whose_anchor_is_trusted_no_more_does_not_resume() {
    for version in VERSIONS {
        let (mut setup, second) = (Setup::new(), Cluster::new("prod"));
        setup.bundle = Some(setup.cluster.bundle() + &second.bundle());
        setup.crl = Some(setup.cluster.crl(1, &[]) + &second.crl(1, &[]));
        let gateway = setup.start();
        let client = Client::new(&gateway, &second.leaf("api-user", "bob"), version);
        client.begin("a");
        gateway.replace("cluster.crl", gateway.cluster.crl(2, &[]));
        gateway.replace("cluster.crt", gateway.cluster.bundle());
        gateway.reload().unwrap();
        client.call(Some("a"), "b").is_refused();
    }
}

#[test]
fn t18_a_session_is_resumed_under_its_own_server_name_only() {
    for version in VERSIONS {
        let mut setup = Setup::new();
        setup.own = setup.cluster.leaf_with("control-service", "127.0.0.1", |params| {
            let names = ["one.example", "two.example"].map(|name| SanType::DnsName(name.try_into().unwrap()));
            params.subject_alt_names.extend(names);
        });
        let gateway = setup.start();
        let client = Client::new(&gateway, &gateway.user(), version);
        let named = |offer, keep, name| client.call_with(offer, keep, &["-servername", name]);
        named(None, "a", "one.example").is_judged_anew();
        named(Some("a"), "b", "two.example").is_judged_anew();
        named(Some("b"), "c", "two.example").is_resumed();
    }
}

#[tokio::test]
async fn t18_a_resumed_caller_is_judged_by_the_policy_in_force_and_its_own_protocol() {
    let gateway = TestGateway::start();
    let mut config = gateway.client_config(Some(&gateway.user()), &["http/1.1"], rustls::DEFAULT_VERSIONS);
    let name = rustls::pki_types::ServerName::from(gateway.address.ip());
    let mut first = gateway.connect_as(config.clone(), name.clone()).await.unwrap();
    first.write_all(b"GET /v1/x HTTP/1.1\r\nhost: g\r\n\r\n").await.unwrap();
    read_until(&mut first, "body_too_large_to_echo").await;
    drop(first);
    let text = std::fs::read_to_string(gateway.path("gateway.yaml")).unwrap();
    gateway.replace("gateway.yaml", text.replace("{ role: api-user }, ", ""));
    gateway.reload().unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let second = gateway.connect_as(config, name).await.unwrap();
    assert_eq!(second.get_ref().1.handshake_kind(), Some(rustls::HandshakeKind::Resumed));
    let answer = call_h2_on(second, request_h2("GET", "/v1/x", "")).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (403, &"policy.role_not_allowed".into()));
    let line = gateway.line("request", |line| line["resumed"] == true);
    assert_eq!((&line["alpn"], &line["name"]), (&"h2".into(), &"alice".into()));
}

#[test]
fn a_reload_that_does_not_concern_a_caller_leaves_its_session() {
    for version in VERSIONS {
        let gateway = TestGateway::start();
        let client = Client::new(&gateway, &gateway.user(), version);
        client.begin("a");
        gateway.replace("cluster.crl", gateway.cluster.crl(2, &[&gateway.node()]));
        gateway.reload().unwrap();
        client.call(Some("a"), "b").is_resumed();
    }
}

#[test]
fn t20_the_key_is_proved_again_however_often_a_session_was_resumed() {
    for version in VERSIONS {
        let (gateway, clock) = with_clock("resumption: { max_age: 1h }\n");
        let client = Client::new(&gateway, &gateway.user(), version);
        client.begin("0");
        for (minutes, offer, keep) in [(20, "0", "1"), (40, "1", "2"), (59, "2", "3")] {
            clock.set(Duration::minutes(minutes));
            client.call(Some(offer), keep).is_resumed();
        }
        clock.set(Duration::minutes(60));
        client.call(Some("3"), "4").is_judged_anew();
        clock.set(Duration::minutes(119));
        client.call(Some("4"), "5").is_resumed();
        // A clock that went back knows nothing of how old a proof is.
        clock.set(Duration::minutes(30));
        client.call(Some("5"), "6").is_judged_anew();
    }
}

#[test]
fn t21_a_ticket_is_good_for_one_time() {
    let gateway = TestGateway::start();
    let client = Client::new(&gateway, &gateway.user(), "-tls1_3");
    client.begin("a");
    client.call(Some("a"), "b").is_resumed();
    client.call(Some("a"), "c").is_judged_anew();
}

#[test]
fn t21_a_ticket_that_is_used_in_parallel_is_good_for_one_of_them() {
    let gateway = TestGateway::start();
    let client = Client::new(&gateway, &gateway.user(), "-tls1_3");
    client.begin("a");
    let called: Vec<_> = std::thread::scope(|scope| {
        let started: Vec<_> =
            ["b", "c", "d", "e"].map(|keep| scope.spawn(|| client.call(Some("a"), keep))).into();
        started.into_iter().map(|call| call.join().unwrap()).collect()
    });
    assert_eq!(called.iter().filter(|called| called.resumed() == Some(true)).count(), 1);
    assert!(called.iter().all(|called| called.whoami.is_some()), "the others prove their key again");
}

/// Makes openssl believe that a session may carry early data, which our tickets never say
/// (`max_early_data`, element 15 of its sessions).
fn allow_early_data(session: &std::path::Path) {
    let text = std::fs::read_to_string(session).unwrap();
    let der = blocks(text.as_bytes()).unwrap()[0].der().to_vec();
    assert_eq!((der[0], der[1]), (0x30, 0x82), "a sequence of more than 255 octets");
    let elements = &der[4..];
    let mut at = 0;
    while at < elements.len() && !(0xb0..=0xbe).contains(&elements[at]) {
        assert_ne!(elements[at], 0xaf, "our ticket says nothing of early data");
        let (header, length) = match elements[at + 1] {
            short @ 0..=0x7f => (2, usize::from(short)),
            0x81 => (3, usize::from(elements[at + 2])),
            _ => (4, usize::from(u16::from_be_bytes([elements[at + 2], elements[at + 3]]))),
        };
        at += header + length;
    }
    let element = [0xaf, 4, 2, 2, 0x40, 0];
    let body = [&elements[..at], &element, &elements[at..]].concat();
    let length = u16::try_from(body.len()).unwrap().to_be_bytes();
    let der = [&[0x30, 0x82], length.as_slice(), &body].concat();
    std::fs::write(session, pem("SSL SESSION PARAMETERS", &der)).unwrap();
}

#[test]
fn t22_early_data_is_not_taken() {
    for request in [
        "GET /v1/early HTTP/1.1\r\nhost: g\r\n\r\n",
        "POST /v1/early HTTP/1.1\r\nhost: g\r\ncontent-length: 5\r\n\r\nhello",
    ] {
        let gateway = TestGateway::start();
        let client = Client::new(&gateway, &gateway.user(), "-tls1_3");
        client.begin("a");
        allow_early_data(&client.directory.path().join("a"));
        std::fs::write(client.directory.path().join("early"), request).unwrap();
        let called = client.call_with(Some("a"), "b", &["-early_data", "early"]);
        assert!(called.said.contains("Early data was rejected"), "it was sent: {}", called.said);
        called.is_resumed();
        assert!(gateway.lines().iter().all(|line| line["path"] != "/v1/early"));
    }
}

/// An authority that a gateway knows, with its CRL, and a caller below it.
fn below_an_authority() -> (Setup, Vec<u8>, Leaf) {
    let mut setup = Setup::new();
    let users = setup.cluster.intermediate("users");
    let crl = crl_by(&users, 1, std::iter::empty(), now() + Duration::days(10));
    setup.files = vec![("users.crt", users.pem()), ("users.crl", crl)];
    setup.trust = "intermediates: users.crt, crl: [cluster.crl, users.crl]".to_owned();
    let certificate = cluster_ca::x509::Certificate::from_der(users.der()).unwrap();
    let leaf = Leaf::signed(&leaf_params("prod", "api-user", "alice"), &users, &[users.der().clone()]);
    (setup, certificate.serial_number.as_be_bytes().to_vec(), leaf)
}

#[test]
fn t15_a_caller_whose_authority_was_revoked_does_not_resume() {
    for version in VERSIONS {
        let (setup, serial, alice) = below_an_authority();
        let gateway = setup.start();
        let client = Client::new(&gateway, &alice, version);
        client.begin("a");
        client.call(Some("a"), "b").is_resumed();
        let revoking = gateway.cluster.crl_of(2, std::iter::once(serial), now() + Duration::days(10));
        gateway.replace("cluster.crl", revoking);
        gateway.reload().unwrap();
        client.call(Some("b"), "c").is_refused();
        assert_eq!(gateway.refusal(), "revocation.revoked");
    }
}

#[test]
fn t28_a_caller_with_a_large_chain_resumes_with_a_small_ticket() {
    for version in VERSIONS {
        let gateway = TestGateway::start();
        let mut alice = gateway.user();
        let filling =
            rcgen::CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99999, 2], vec![0; 15 << 10]);
        for name in ["one", "two", "three"] {
            let large = gateway.cluster.leaf_with("api-user", name, |params| {
                params.custom_extensions.push(filling.clone());
            });
            alice.chain.extend(large.chain);
        }
        let client = Client::new(&gateway, &alice, version);
        client.begin("a");
        let called = client.call(Some("a"), "b");
        called.is_resumed();
        // What openssl shows of a ticket, sixteen octets a line: nothing of the chain is in it. In TLS 1.2
        // there is none, since the session's number does.
        let is_dump = |line: &&str| line.trim_start().get(4..7) == Some(" - ");
        let shown = called.said.lines().filter(is_dump).count();
        assert!(shown <= 8 && (shown > 0 || version == "-tls1_2"), "{shown}: {}", called.said);
    }
}

#[test]
fn nobody_resumes_where_the_configuration_says_so() {
    for version in VERSIONS {
        let gateway = Setup { more: "resumption: disabled\n", ..Setup::new() }.start();
        let client = Client::new(&gateway, &gateway.user(), version);
        let called = client.call(None, "a");
        called.is_judged_anew();
        let offer = client.directory.path().join("a").exists().then_some("a");
        client.call(offer, "b").is_judged_anew();
    }
}
