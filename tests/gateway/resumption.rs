//! Sessions that are resumed, with openssl's client: a resumed caller is judged like a fresh one.

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;

use rcgen::SanType;
use serde_json::Value;
use time::Duration;

use crate::cluster::{Cluster, Leaf, now};
use crate::harness::{MovedClock, Setup, TestGateway};

const VERSIONS: [&str; 2] = ["-tls1_2", "-tls1_3"];

/// openssl's client as one caller, who keeps one session.
struct Client<'a> {
    gateway: &'a TestGateway,
    version: &'static str,
    directory: tempfile::TempDir,
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
        std::fs::write(directory.path().join("cluster.crt"), gateway.cluster.bundle()).unwrap();
        Self { gateway, version, directory }
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
fn t22_early_data_is_not_taken() {
    let gateway = TestGateway::start();
    let client = Client::new(&gateway, &gateway.user(), "-tls1_3");
    client.begin("a");
    std::fs::write(client.directory.path().join("early"), "GET /v1/early HTTP/1.1\r\nhost: g\r\n\r\n")
        .unwrap();
    let called = client.call_with(Some("a"), "b", &["-early_data", "early"]);
    assert!(!called.said.contains("Early data was accepted"), "{}", called.said);
    assert!(gateway.lines().iter().all(|line| line["path"] != "/v1/early"));
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
