//! Faults of an OpenBao during an operation, and responses of a hostile one.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use cluster_ca::keys::kms::Configuration;
use cluster_ca::keys::{CredentialsFile, Envelope, PrivateKey, ProtectedKey};
use cluster_ca::x509::KeyAlgorithm;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::bao::Bao;
use crate::eventually::eventually;
use crate::front::{Front, Mode};
use crate::home::Home;

/// A home with five keys, the root's among them, wrapped by an OpenBao behind a front.
struct Wrapped {
    bao: Bao,
    front: Front,
    home: Home,
}

fn secret(home: &Home, name: &str, text: &str) -> String {
    let path = home.write(name, format!("{text}\n"));
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    path.into_os_string().into_string().unwrap()
}

impl Wrapped {
    fn by(bao: Bao) -> Self {
        bao.make_key("ca-key");
        let front = Front::of(&bao);
        let home = Home::initialized();
        let ca = home.write("front.pem", &front.ca);
        home.ok(&["ca-cert", "set", ca.to_str().unwrap()]);
        let token = secret(&home, "token", &bao.token("ca-key", json!({ "period": "768h" })));
        home.ok(&["kms", "set", "vault", &front.address, "ca-key", "--token-file", &token]);
        let configuration = Configuration::load(&home.path("kms.json")).unwrap();
        let wrap = configuration.connect(configuration.cluster.as_ref().unwrap()).unwrap();
        for number in 1..=4 {
            let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
            let envelope = Envelope::seal(&key, Uuid::from_u128(number), wrap.as_ref()).unwrap();
            let path = home.write(&format!("service-{number}.key"), envelope.to_text().unwrap());
            fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
        }
        Self { bao, front, home }
    }

    fn keys(&self) -> Vec<PathBuf> {
        let services = (1..=4).map(|number| self.home.path(format!("service-{number}.key")));
        std::iter::once(self.home.path("cluster.key")).chain(services).collect()
    }

    /// Version of the wrapping key of each key.
    fn versions(&self) -> Vec<u64> {
        let version = |path: PathBuf| {
            let envelope: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
            let text = envelope["wrapped"]["ciphertext"].as_str().unwrap().to_owned();
            text.strip_prefix("vault:v").unwrap().split(':').next().unwrap().parse().unwrap()
        };
        self.keys().into_iter().map(version).collect()
    }

    fn all_open(&self) {
        let opener = CredentialsFile::Kms(self.home.path("kms.json"));
        for key in self.keys() {
            ProtectedKey::read(&key, Some(&opener)).unwrap().open().unwrap();
        }
        self.home.ok(&["create-node"]);
    }

    /// `kms rewrap`: its exit code, and the outcome and code of each key.
    fn rewrap(&self) -> (Option<i32>, Vec<(String, String)>) {
        let finished = self.home.run(&["--json", "kms", "rewrap"]);
        let answer = finished.json();
        let keys = answer["result"]["keys"].as_array().unwrap_or_else(|| panic!("{finished:?}")).clone();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        (finished.exit, keys.iter().map(|key| (text(&key["outcome"]), text(&key["code"]))).collect())
    }
}

fn counted(outcomes: &[(String, String)], wanted: &str) -> usize {
    outcomes.iter().filter(|(outcome, _)| outcome == wanted).count()
}

#[test]
fn a_process_unwraps_the_root_key_once() {
    let Wrapped { front, home, bao: _bao } = Wrapped::by(Bao::start());
    let asks = |count: usize, arguments: &[&str]| {
        let before = front.asked("transit/decrypt/");
        home.ok(arguments);
        assert_eq!(front.asked("transit/decrypt/") - before, count, "{arguments:?}");
    };
    asks(1, &["create-node"]);
    asks(1, &["create-node", "--count", "200"]);
    asks(1, &["create-api-user", "alice"]);
    asks(1, &["renew", "api-user/alice"]);
    asks(1, &["create-api-user", "bob"]);
    asks(1, &["revoke", "api-user/bob"]);
    asks(1, &["crl", "publish"]);
    for looks in [&["list"][..], &["audit", "verify"], &["key", "show"], &["kms", "show"]] {
        asks(0, looks);
    }
}

#[test]
fn a_rewrap_interrupted_by_a_killed_service_loses_no_key_and_resumes() {
    let mut wrapped = Wrapped::by(Bao::durable());
    wrapped.bao.post("transit/keys/ca-key/rotate", json!({}));
    // It responds for the second key, and is killed.
    wrapped.front.after(2, "transit/rewrap/", wrapped.bao.killer());
    let (exit, outcomes) = wrapped.rewrap();
    assert_eq!(exit, Some(4), "{outcomes:?}");
    let done = counted(&outcomes, "rewrapped");
    assert!((1..=2).contains(&done) && done + counted(&outcomes, "failed") == 5, "{outcomes:?}");
    assert!(outcomes.iter().all(|(outcome, code)| outcome != "failed" || code == "kms.unavailable"));
    assert_eq!(wrapped.versions().iter().filter(|version| **version == 2).count(), done);

    // Restarted, and sealed as after every start.
    wrapped.bao.restart();
    let before = wrapped.versions();
    let (exit, outcomes) = wrapped.rewrap();
    assert_eq!((exit, counted(&outcomes, "failed")), (Some(4), 5), "{outcomes:?}");
    assert!(outcomes.iter().all(|(_, code)| code == "kms.sealed"), "{outcomes:?}");
    assert_eq!(wrapped.versions(), before);

    wrapped.bao.unseal();
    wrapped.all_open();
    let (exit, outcomes) = wrapped.rewrap();
    assert_eq!((exit, counted(&outcomes, "rewrapped")), (Some(0), 5 - done), "{outcomes:?}");
    assert_eq!(counted(&outcomes, "already-current"), done);
    assert_eq!(wrapped.versions(), [2; 5]);
    wrapped.all_open();
}

#[test]
fn an_unavailable_service_is_tried_once_in_a_rewrap() {
    let wrapped = Wrapped::by(Bao::start());
    wrapped.bao.post("transit/keys/ca-key/rotate", json!({}));
    wrapped.front.set(Mode::Silent);
    let begin = Instant::now();
    let (exit, outcomes) = wrapped.rewrap();
    assert_eq!((exit, counted(&outcomes, "failed")), (Some(4), 5), "{outcomes:?}");
    // One deadline, not five.
    assert!(begin.elapsed() < Duration::from_secs(25));
    let said = wrapped.home.run(&["kms", "rewrap"]);
    assert_eq!(said.stdout.matches("cannot be reached").count(), 1, "{said:?}");
    wrapped.front.set(Mode::Passing);
    wrapped.all_open();
}

#[test]
fn a_move_interrupted_by_a_killed_service_resumes() {
    let wrapped = Wrapped::by(Bao::start());
    let mut new = Bao::durable();
    new.make_key("new-key");
    let front = Front::of(&new);
    let both = wrapped.home.write("both.pem", [&*wrapped.front.ca, &front.ca].concat());
    wrapped.home.ok(&["ca-cert", "set", both.to_str().unwrap()]);
    let token = secret(&wrapped.home, "new-token", &new.token("new-key", json!({ "period": "768h" })));
    let set = ["kms", "set", "vault", &front.address, "new-key", "--token-file", &token];
    // One for the round trip, one for the root key, then the service is killed.
    front.after(3, "transit/encrypt/", new.killer());
    let refusal = wrapped.home.refused(&set);
    assert_eq!((refusal.exit, refusal.code.as_str()), (4, "kms.unavailable"), "{refusal:?}");
    new.restart();
    new.unseal();
    wrapped.all_open();
    wrapped.home.ok(&set);
    assert_eq!(wrapped.home.ok(&["kms", "show"])["wrapped"].as_array().unwrap().len(), 5);
    wrapped.front.set(Mode::Away);
    wrapped.all_open();
    assert!(!fs::read_to_string(wrapped.home.path("kms.json")).unwrap().contains("previous"));
}

/// Gives a key a service of its own.
fn set_own(home: &Home, bao: &Bao, address: &str, key: &str, path: &str) {
    bao.make_key(key);
    let (role_id, secret_id) = bao.app_role(None, key);
    let file = secret(home, &format!("{key}.secret-id"), &secret_id);
    let set = ["kms", "set", "vault", address, key, "--role-id", &role_id, "--secret-id-file", &file];
    home.ok(&[&set[..], &["--for", path]].concat());
}

#[test]
fn a_service_for_one_key_keeps_the_previous_services_of_others() {
    let wrapped = Wrapped::by(Bao::start());
    let Wrapped { bao, front, home } = &wrapped;
    let new = Bao::start();
    new.make_key("new-key");
    let to = Front::of(&new);
    let all = home.write("all.pem", [&*front.ca, &to.ca].concat());
    home.ok(&["ca-cert", "set", all.to_str().unwrap()]);
    let token = secret(home, "new-token", &new.token("new-key", json!({ "period": "768h" })));
    to.after(3, "transit/encrypt/", new.killer());
    let set = ["kms", "set", "vault", &to.address, "new-key", "--token-file", &token];
    assert_eq!(home.refused(&set).code, "kms.unavailable");
    // Half of the keys are still wrapped by the old service. A key wrapped by neither gets its own.
    let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
    let path = secret(home, "own.key", "");
    fs::write(&path, key.to_pem().unwrap().expose()).unwrap();
    set_own(home, bao, &front.address, "own-key", &path);
    let opener = CredentialsFile::Kms(home.path("kms.json"));
    for key in &wrapped.keys()[2..] {
        ProtectedKey::read(key, Some(&opener)).unwrap().open().unwrap();
    }
}

#[test]
fn a_key_outside_the_home_keeps_its_service_when_others_are_converted() {
    let wrapped = Wrapped::by(Bao::start());
    let Wrapped { bao, front, home } = &wrapped;
    let elsewhere = tempfile::tempdir().unwrap();
    let path = elsewhere.path().join("gateway.key");
    let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
    fs::write(&path, key.to_pem().unwrap().expose()).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    set_own(home, bao, &front.address, "own-key", path.to_str().unwrap());
    let token = home.path("token").into_os_string().into_string().unwrap();
    home.ok(&[
        "kms",
        "set",
        "vault",
        &front.address,
        "ca-key",
        "--token-file",
        &token,
        "--convert-to-cluster-key",
    ]);
    let opener = CredentialsFile::Kms(home.path("kms.json"));
    ProtectedKey::read(&path, Some(&opener)).unwrap().open().unwrap();
}

#[test]
fn keys_with_their_own_service_are_rewrapped_without_a_cluster_service() {
    let bao = Bao::start();
    let home = Home::initialized();
    home.ok(&["ca-cert", "set", &bao.ca()]);
    home.ok(&["create-control", "gateway.example.com"]);
    let path = home.path("issued/control-gateway.example.com.key").into_os_string().into_string().unwrap();
    set_own(&home, &bao, &bao.address, "own-key", &path);
    bao.post("transit/keys/own-key/rotate", json!({}));
    assert_eq!(home.refused(&["kms", "rewrap"]).code, "ca.no_kms");
    let rewrapped = home.ok(&["kms", "rewrap", "--all"]);
    assert_eq!(
        (&rewrapped["keys"][0]["outcome"], &rewrapped["keys"][0]["version"]),
        (&"rewrapped".into(), &2.into())
    );
}

#[test]
fn a_key_with_a_passphrase_moves_to_a_service_and_has_one_protection() {
    let bao = Bao::start();
    bao.make_key("ca-key");
    let home = Home::initialized();
    home.ok(&["ca-cert", "set", &bao.ca()]);
    let passphrase = secret(&home, "passphrase", "correct horse battery staple");
    home.ok(&["key", "protect", "--passphrase-file", &passphrase]);
    let token = secret(&home, "token", &bao.token("ca-key", json!({ "period": "768h" })));
    let set = ["kms", "set", "vault", &bao.address, "ca-key", "--token-file", &token];
    assert_eq!(home.refused(&set).code, "key.passphrase_needed");
    home.ok(&[&set[..], &["--passphrase-file", &passphrase]].concat());
    home.ok(&["create-node"]);
    let before = home.state();
    for arguments in [
        &["key", "protect", "--passphrase-file", &passphrase][..],
        &["key", "unprotect"],
        &["key", "change-passphrase", "--new-passphrase-file", &passphrase],
    ] {
        let refusal = home.refused(arguments);
        assert_eq!((refusal.exit, refusal.code.as_str()), (1, "key.protected_by_kms"), "{arguments:?}");
    }
    assert!(home.state() == before);
    home.ok(&["kms", "show", "--check"]);
    bao.post(
        "sys/policies/acl/ca-key",
        json!({ "policy": "path \"transit/keys/ca-key\" { capabilities = [\"read\"] }" }),
    );
    assert_eq!(home.refused(&["kms", "show", "--check"]).code, "kms.denied");
    bao.post("sys/seal", json!({}));
    let refusal = home.refused(&["kms", "show", "--check"]);
    assert_eq!((refusal.exit, refusal.code.as_str()), (4, "kms.sealed"));
    home.ok(&["kms", "show"]);
}

#[test]
fn an_expired_token_is_reported_as_such() {
    let wrapped = Wrapped::by(Bao::start());
    let Wrapped { bao, front, home } = &wrapped;
    let token = bao.token("ca-key", json!({ "ttl": "6s", "explicit_max_ttl": "6s" }));
    let file = secret(home, "short", &token);
    home.ok(&["kms", "set", "vault", &front.address, "ca-key", "--token-file", &file]);
    eventually("the token expires", || {
        let (status, _) = bao.request("POST", "auth/token/lookup", None, Some(json!({ "token": token })))?;
        (status != 200).then_some(())
    });
    let refusal = home.refused(&["create-node"]);
    assert_eq!((refusal.exit, refusal.code.as_str()), (4, "kms.token_refused"), "{refusal:?}");
    assert!(refusal.hint.contains("expired"), "{refusal:?}");
}

#[test]
fn an_approle_with_an_expired_login_logs_in_again() {
    let bao = Bao::start();
    bao.make_key("ca-key");
    bao.post("sys/mounts/team/engine", json!({ "type": "transit" }));
    bao.post("team/engine/keys/ca-key", json!({}));
    bao.post(
        "sys/policies/acl/ca",
        json!({ "policy": "path \"team/engine/+/ca-key\" { capabilities = [\"read\", \"update\"] }" }),
    );
    bao.post("sys/auth/machines", json!({ "type": "approle" }));
    // A login is valid for one request.
    let role = json!({ "token_policies": ["ca"], "token_type": "service", "token_num_uses": 1 });
    bao.post("auth/machines/role/ca", role);
    let (_, id) = bao.request("GET", "auth/machines/role/ca/role-id", None, None).unwrap();
    let secret_id = bao.post("auth/machines/role/ca/secret-id", json!({}));
    let front = Front::of(&bao);
    let home = Home::initialized();
    let ca = home.write("front.pem", &front.ca);
    home.ok(&["ca-cert", "set", ca.to_str().unwrap()]);
    let file = secret(&home, "secret-id", secret_id["data"]["secret_id"].as_str().unwrap());
    let role_id = id["data"]["role_id"].as_str().unwrap();
    // Both mount paths are unusual.
    home.ok(&[
        "kms",
        "set",
        "vault",
        &front.address,
        "ca-key",
        "--role-id",
        role_id,
        "--secret-id-file",
        &file,
        "--transit-path",
        "team/engine",
        "--auth-path",
        "machines",
    ]);
    let before = front.asked("auth/machines/login");
    assert!(before >= 4, "a login for each request: {before}");
    home.ok(&["create-node", "--count", "3"]);
    bao.post("team/engine/keys/ca-key/rotate", json!({}));
    home.ok(&["kms", "rewrap"]);
    assert_eq!(home.ok(&["key", "show"])["version"], 2);
}

#[test]
fn a_failing_service_is_retried_a_few_times() {
    let Wrapped { front, home, bao: _bao } = Wrapped::by(Bao::start());
    for status in [500, 502, 503, 429] {
        front.set(Mode::Broken(status));
        let before = front.asked("transit/");
        let refusal = home.refused(&["create-node"]);
        assert_eq!((refusal.exit, refusal.code.as_str()), (4, "kms.refused"), "{status}: {refusal:?}");
        assert_eq!(front.asked("transit/") - before, 3, "{status}");
    }
    // Redirects are not followed: the token would be sent along.
    front.set(Mode::Broken(302));
    let refusal = home.refused(&["create-node"]);
    assert_eq!((refusal.code.as_str(), front.asked("elsewhere")), ("kms.protocol", 0), "{refusal:?}");
    front.set(Mode::Passing);
    home.ok(&["create-node"]);
}

#[test]
fn a_slow_response_is_abandoned_at_the_deadline() {
    let Wrapped { front, home, bao: _bao } = Wrapped::by(Bao::start());
    front.set(Mode::Dripping);
    let begin = Instant::now();
    assert_eq!(home.refused(&["create-node"]).code, "kms.unavailable");
    assert!(begin.elapsed() < Duration::from_secs(25));
}

#[test]
fn false_responses_are_detected_and_leave_the_key_unchanged() {
    let wrapped = Wrapped::by(Bao::start());
    let Wrapped { bao, front, home } = &wrapped;
    let before = home.state();
    let data = |field: &str, value: &str| {
        let mut data = json!({});
        data[field] = json!(value);
        json!({ "data": data })
    };
    let another = BASE64_STANDARD.encode([7; 32]);
    let short = BASE64_STANDARD.encode([7; 31]);
    for (answer, code) in [
        // Another data key than the wrapped one.
        (data("plaintext", &another), "key.envelope_damaged"),
        (data("plaintext", &short), "kms.data_key"),
        (data("plaintext", "no base64"), "kms.data_key"),
        (json!({ "data": {} }), "kms.protocol"),
        (json!([]), "kms.protocol"),
        // Longer than the size limit: only a part of it is read.
        (data("plaintext", &"A".repeat(8 << 20)), "kms.protocol"),
    ] {
        let front = Front::of(bao);
        // The same service at another address, with false responses.
        let kept = fs::read_to_string(home.path("kms.json")).unwrap();
        let mut moved: Value = serde_json::from_str(&kept).unwrap();
        moved["cluster"]["address"] = json!(front.address);
        moved["ca_certificate"] = json!(front.ca);
        secret(home, "kms.json", &moved.to_string());
        front.lie("transit/decrypt/", &answer);
        let refusal = home.refused(&["create-node"]);
        assert_eq!(refusal.code, code, "{refusal:?}");
        fs::write(home.path("kms.json"), kept).unwrap();
    }
    assert!(home.state() == before);

    // A rewrap that unwraps to another data key: the old wrapping stays.
    bao.post("transit/keys/ca-key/rotate", json!({}));
    let stranger = bao.post("transit/encrypt/ca-key", json!({ "plaintext": another }));
    front.lie("transit/rewrap/", data("ciphertext", stranger["data"]["ciphertext"].as_str().unwrap()));
    let (exit, outcomes) = wrapped.rewrap();
    assert_eq!(exit, Some(4));
    assert!(outcomes.iter().all(|(_, code)| code == "key.envelope_damaged"), "{outcomes:?}");
    assert_eq!(wrapped.versions(), [1; 5]);
    wrapped.all_open();

    // A service that unwraps to other bytes than it wrapped is refused.
    let refusing = Front::of(bao);
    refusing.lie("transit/decrypt/", data("plaintext", &another));
    let both = home.write("both.pem", [&*front.ca, &refusing.ca].concat());
    home.ok(&["ca-cert", "set", both.to_str().unwrap()]);
    let token = home.path("token").into_os_string().into_string().unwrap();
    let refusal = home.refused(&["kms", "set", "vault", &refusing.address, "ca-key", "--token-file", &token]);
    assert_eq!(refusal.code, "kms.round_trip", "{refusal:?}");
    wrapped.all_open();
}

#[test]
fn options_of_one_kind_of_service_are_refused_for_another() {
    let home = Home::initialized();
    for arguments in [
        &["vault", "https://127.0.0.1:1", "k", "--client-cert", "x"][..],
        &["vault", "https://127.0.0.1:1", "k", "--client-key", "x"],
        &["vault", "https://127.0.0.1:1", "k", "--ca-cert", "x"],
        &["vault", "https://127.0.0.1:1", "k", "--token", "s.secret"],
        &["vault", "https://127.0.0.1:1"],
        &["kmip", "127.0.0.1:5696", "1", "--client-cert", "x"],
        &["kmip", "127.0.0.1:5696", "1", "--client-key", "x"],
        &["kmip", "127.0.0.1:5696", "1", "--client-cert", "x", "--client-key", "x", "--role-id", "r"],
        &["kmip", "127.0.0.1:5696", "1", "--client-cert", "x", "--client-key", "x", "--transit-path", "t"],
        &["kmip", "127.0.0.1:5696", "1", "--client-cert", "x", "--client-key", "x", "--for", "cluster.key"],
    ] {
        let finished = home.run(&[&["--json", "kms", "set"], arguments].concat());
        assert_eq!(finished.exit, Some(2), "{arguments:?}: {finished:?}");
    }
    assert!(!home.path("kms.json").exists());
}
