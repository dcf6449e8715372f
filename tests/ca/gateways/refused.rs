//! Servers that are no gateway, or do not enforce the CRL: each has one error code, and none counts as
//! enforcing.

use std::fs;
use std::io::{Read, Write};

use serde_json::{Value, json};

use super::fake::{Fake, json, request};
use super::{code, fleet, list, operated, push};
use crate::home::{Finished, Home};
use crate::live::{Live, OPERATORS};

/// Status report of a gateway that enforces this CRL of the home's root.
fn status(home: &Home, number: u64) -> Value {
    let shown = home.ok(&["crl", "show"]);
    json!({
        "version": "9", "generation": 1, "connections": 0, "reload": { "last_error": null },
        "trust": { "fingerprint": "0".repeat(64) },
        "crl": [{
            "issuer": shown["issuer"], "number": number.to_string(), "revoked": 0,
            "this_update": shown["this_update"], "next_update": shown["next_update"],
        }],
    })
}

/// Gateway that reports CRL `before`, and answers a push with `taken`.
fn answering(home: &Home, before: u64, taken: Vec<u8>) -> Fake {
    let before = json("200 OK", &status(home, before));
    Fake::serving(home, "control-127.0.0.1", move |line| match line.starts_with("PUT ") {
        true => taken.clone(),
        false => before.clone(),
    })
}

/// Error code of a push to `address`, and the exit code.
fn pushed_to(home: &Home, address: &str) -> (String, Option<i32>) {
    pushed_within(home, address, "20s")
}

/// Like `pushed_to`, with a time limit.
fn pushed_within(home: &Home, address: &str, timeout: &str) -> (String, Option<i32>) {
    list(home, &[address]);
    let (finished, pushed) = push(home, &["crl", "push", "--timeout", timeout]);
    (code(&pushed), finished.exit)
}

fn revoked() -> Home {
    let home = operated();
    home.ok(&["revoke", "api-user/alice"]);
    home
}

#[test]
fn only_the_pushed_crl_counts_as_an_answer() {
    let home = revoked();
    let taken = |number: u64| {
        let mut answer = json!({ "generation": 2, "connections_closed": 1, "duration_us": 1 });
        answer["crl"] = status(&home, number)["crl"].clone();
        answer
    };
    let mut twice = taken(2);
    twice["crl"] = json!([twice["crl"][0], taken(1)["crl"][0]]);
    let mut another = taken(2);
    another["crl"][0]["sha256"] = "0".repeat(64).into();
    let problem = |code: &str| json!({ "title": "t", "status": 400, "detail": "\u{1b}[31mno", "code": code });
    let mut rollback = problem("crl.rollback");
    rollback["current"] = "9".into();
    let mut reused = problem("crl.number_reused");
    reused["current"] = "2".into();
    let whole = json("200 OK", &taken(2));
    let head = |rest: &str| format!("HTTP/1.1 200 OK\r\n{rest}\r\n\r\n");
    for (what, answer, expected, exit) in [
        ("a lower number", json("200 OK", &taken(1)), "gateways.behind", 4),
        ("a higher number", json("200 OK", &taken(3)), "gateways.ahead", 1),
        ("another list of the number", json("200 OK", &another), "gateways.number_reused", 1),
        ("two lists of the root", json("200 OK", &twice), "gateways.unreadable", 4),
        ("no list", json("200 OK", &json!({ "crl": [], "connections_closed": 0 })), "gateways.no_crl", 4),
        ("other JSON", json("200 OK", &json!({})), "gateways.unreadable", 4),
        (
            "no JSON",
            head("content-length: 2").into_bytes().into_iter().chain(*b"ok").collect(),
            "gateways.unreadable",
            4,
        ),
        ("no HTTP", b"220 mail.example.com ESMTP\r\n".to_vec(), "gateways.unreadable", 4),
        ("nothing, and the end", Vec::new(), "gateways.closed", 4),
        (
            "an endless head",
            head(&format!("x: {}", "y".repeat(1 << 20))).into_bytes(),
            "gateways.oversized",
            4,
        ),
        (
            "an endless body",
            [head("content-length: 9999999").into_bytes(), vec![b' '; 2 << 20]].concat(),
            "gateways.oversized",
            4,
        ),
        ("403", json("403 Forbidden", &problem("policy.not_an_operator")), "gateways.not_an_operator", 4),
        ("404", json("404 Not Found", &problem("request.not_found")), "gateways.not_a_gateway", 4),
        ("409 for an older one", json("409 Conflict", &rollback), "gateways.ahead", 1),
        ("409 for another one", json("409 Conflict", &reused), "gateways.number_reused", 1),
        ("409 otherwise", json("409 Conflict", &problem("push.no_state_directory")), "gateways.refused", 4),
        ("422", json("422 Unprocessable Content", &problem("crl.unknown_issuer")), "gateways.refused", 4),
        (
            "500 without words",
            head("content-length: 0").replace("200 OK", "500 Oh").into_bytes(),
            "gateways.refused",
            4,
        ),
        ("a redirect", json("307 Temporary Redirect", &json!({})), "gateways.refused", 4),
    ] {
        let fake = answering(&home, 1, answer);
        assert_eq!(pushed_to(&home, &fake.address), (expected.to_owned(), Some(exit)), "{what}");
    }
    let fake = answering(&home, 1, whole);
    list(&home, &[&fake.address]);
    let (finished, pushed) = push(&home, &["crl", "push"]);
    assert_eq!(
        (finished.exit, &pushed["connections_closed"]),
        (Some(0), &1.into()),
        "the true answer does count"
    );
}

#[test]
fn a_truncated_or_endless_answer_does_not_count() {
    let home = revoked();
    let said = json("200 OK", &status(&home, 1));
    let half = said[..said.len() - 10].to_vec();
    let cut = Fake::holding(&home, "control-127.0.0.1", move |mut tls| {
        request(&mut tls);
        let _ = tls.write_all(&half).and_then(|()| tls.flush());
    });
    assert_eq!(pushed_to(&home, &cut.address), ("gateways.closed".to_owned(), Some(4)));
    // One byte at a time, each within the limit.
    let dripping = Fake::holding(&home, "control-127.0.0.1", |mut tls| {
        request(&mut tls);
        let _ = tls.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n");
        while tls.write_all(b" ").and_then(|()| tls.flush()).is_ok() {
            std::thread::park_timeout(std::time::Duration::from_millis(20));
        }
    });
    assert_eq!(pushed_within(&home, &dripping.address, "2s"), ("network.silent".to_owned(), Some(4)));
    let mute = Fake::raw(|mut stream| drop(stream.read_to_end(&mut Vec::new())));
    assert_eq!(pushed_within(&home, &mute.address, "1s"), ("network.silent".to_owned(), Some(4)));
    let plain = Fake::raw(|mut stream| {
        let _ = stream.read(&mut [0; 16]);
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    });
    assert_eq!(pushed_to(&home, &plain.address), ("explain.not_tls".to_owned(), Some(4)));
    let closing = Fake::raw(drop);
    assert_eq!(pushed_to(&home, &closing.address), ("gateways.closed".to_owned(), Some(4)));
    assert_eq!(pushed_to(&home, "127.0.0.1:1"), ("network.refused".to_owned(), Some(4)));
    list(&home, &["no-such-host.invalid:4523"]);
    let mut asking = home.command(&["--json", "crl", "push", "--timeout", "1m"]);
    // A resolver without a server gives up soon.
    let output = asking.env("RES_OPTIONS", "timeout:1 attempts:1").output().expect("cluster-ca starts");
    let finished = Finished::from(output);
    let code = code(&finished.json()["result"]);
    assert_eq!((code.as_str(), finished.exit), ("network.unresolved", Some(4)), "{finished:?}");
}

#[test]
fn only_the_intended_gateway_is_accepted() {
    let home = revoked();
    home.ok(&["create-node", "--uuid", "6f1b1d3c-3a54-4b7e-9d1e-2f4c5b6a7d8e", "--san", "127.0.0.1"]);
    let saying_yes = |of: &Home, stem: &str| {
        let yes = json("200 OK", &status(&home, 2));
        Fake::serving(of, stem, move |_| yes.clone())
    };
    let other = operated();
    let foreign = saying_yes(&other, "control-127.0.0.1");
    assert_eq!(pushed_to(&home, &foreign.address), ("chain.unknown_issuer".to_owned(), Some(4)));
    let node = saying_yes(&home, "node-6f1b1d3c-3a54-4b7e-9d1e-2f4c5b6a7d8e");
    assert_eq!(pushed_to(&home, &node.address), ("gateways.wrong_role".to_owned(), Some(4)));
    let user = saying_yes(&home, "user-bob");
    assert_eq!(pushed_to(&home, &user.address), ("chain.wrong_purpose".to_owned(), Some(4)));

    home.ok(&["create-control", "elsewhere.example.com"]);
    let elsewhere = saying_yes(&home, "control-elsewhere.example.com");
    assert_eq!(pushed_to(&home, &elsewhere.address), ("chain.wrong_name".to_owned(), Some(4)));
    let entry = |more: &str| {
        let address = &elsewhere.address;
        home.write(
            "gateways.yaml",
            format!("operator: api-user/admin\ngateways:\n  - address: {address}\n{more}"),
        );
        push(&home, &["crl", "push"])
    };
    let (finished, _) = entry("    server_name: elsewhere.example.com\n");
    assert_eq!(finished.exit, Some(0), "{finished:?}");
    let (finished, pushed) =
        entry("    server_name: control-service\n    identity: control-service/127.0.0.1\n");
    assert_eq!((finished.exit, code(&pushed).as_str()), (Some(4), "gateways.wrong_name"));
    let (finished, _) =
        entry("    server_name: control-service\n    identity: control-service/elsewhere.example.com\n");
    assert_eq!(finished.exit, Some(0), "{finished:?}");

    // A revoked gateway is not trusted to report its own CRL.
    let yes = json("200 OK", &status(&home, 2));
    let good = Fake::of_old(&home, "control-127.0.0.1", move |_| yes.clone());
    list(&home, &[&good.address]);
    assert_eq!(push(&home, &["crl", "push"]).0.exit, Some(0), "over TLS 1.2, too");
    let (finished, pushed) = push(&home, &["revoke", "control-service/127.0.0.1", "--wait"]);
    assert_eq!((finished.exit, code(&pushed).as_str()), (Some(4), "revocation.revoked"), "{finished:?}");
}

#[test]
fn a_certificate_without_its_key_is_refused() {
    let home = revoked();
    let thief = home.duplicate();
    // The certificate is public; the key is bob's.
    fs::copy(home.path("issued/user-bob.key"), thief.path("issued/control-127.0.0.1.key")).expect("a copy");
    let said = json("200 OK", &status(&home, 2));
    let fake = Fake::serving(&thief, "control-127.0.0.1", move |_| said.clone());
    assert_eq!(pushed_to(&home, &fake.address), ("explain.broken".to_owned(), Some(4)));
}

#[test]
fn a_client_that_is_not_an_operator_is_reported() {
    let home = revoked();
    let strangers = Live::on_a_machine_with(&home, "127.0.0.1:0", &OPERATORS.replace("admin", "somebody"));
    assert_eq!(pushed_to(&home, &strangers.address), ("gateways.not_an_operator".to_owned(), Some(4)));
    // A CRL that cannot be stored would be lost at a restart, so it is refused.
    let forgetful = Live::on_a_machine(&home);
    fs::remove_dir_all(forgetful.directory().join("state")).expect("removed");
    home.ok(&["revoke", "api-user/bob"]);
    list(&home, &[&forgetful.address]);
    let (finished, pushed) = push(&home, &["crl", "push"]);
    assert_eq!((finished.exit, code(&pushed).as_str()), (Some(4), "gateways.refused"), "{finished:?}");
    assert!(pushed.to_string().contains("push.not_kept"), "in the gateway's own words: {pushed}");
}

#[test]
fn an_operator_revoked_here_differs_from_one_revoked_there() {
    let home = operated();
    let behind = home.duplicate();
    let admin = home.ok(&["show", "api-user/admin"])["serial_number"].as_str().expect("text").to_owned();
    home.ok(&["revoke", &admin]);
    let gateway = Live::on_a_machine(&home);
    assert_eq!(pushed_to(&behind, &gateway.address), ("explain.alert_revoked".to_owned(), Some(4)));
    list(&home, &[&gateway.address]);
    assert_eq!(home.refused(&["crl", "push"]).code, "ca.not_valid");
    let file = |end: &str| home.path(format!("issued/user-admin.{end}")).to_str().expect("text").to_owned();
    let refusal =
        home.refused(&["crl", "push", "--operator-cert", &file("crt"), "--operator-key", &file("key")]);
    assert_eq!((refusal.code.as_str(), refusal.exit), ("revocation.revoked", 1), "{refusal:?}");
}

#[test]
fn an_outdated_copy_of_the_home_is_reported_loudly() {
    let (home, gateways) = fleet(1);
    let old = home.duplicate();
    let (finished, _) = push(&home, &["revoke", "api-user/alice", "--wait"]);
    assert_eq!(finished.exit, Some(0), "{finished:?}");

    // Its next CRL has the number of the one in force, but lacks alice.
    let (finished, pushed) = push(&old, &["revoke", "api-user/bob", "--wait"]);
    assert_eq!((finished.exit, code(&pushed).as_str()), (Some(1), "gateways.number_reused"), "{finished:?}");
    push(&home, &["crl", "push"]);
    home.ok(&["crl", "publish"]);
    let (finished, _) = push(&home, &["crl", "push"]);
    assert_eq!(finished.exit, Some(0), "{finished:?}");
    let (finished, pushed) = push(&old, &["crl", "push"]);
    assert_eq!((finished.exit, code(&pushed).as_str()), (Some(1), "gateways.ahead"), "{finished:?}");
    let told = old.run(&["crl", "push"]);
    for words in [
        "0/1 gateway enforces CRL 2 after ",
        "it enforces CRL 3, which is newer than this home's CRL 2 [gateways.ahead]",
        "cluster-ca restore BACKUP --reconcile --crl FILE",
        "THIS HOME IS NOT THE NEWEST STATE OF ITS CLUSTER",
    ] {
        assert!(told.stdout.contains(words), "{words}: {told:?}");
    }
    assert_eq!(home.ok(&["gateways"])["gateways"][0]["standing"], "current", "nothing was rolled back");
    drop(gateways);
}
