//! The gateway's own keys: behind a passphrase, or wrapped by a real OpenBao that may be away.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use cluster_ca::keys::kms::vault::{VaultCredentials, VaultService};
use cluster_ca::keys::kms::{Configuration, Credential, KmsService};
use cluster_ca::keys::{Envelope, KeyFile, NewProtection, PrivateKey};
use cluster_ca::secret::Secret;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use uuid::Uuid;

use crate::bao::Bao;
use crate::cluster::{Leaf, leaf_params};
use crate::eventually::eventually;
use crate::front::{Front, Mode};
use crate::harness::{Setup, TestGateway, patiently, write_private};
use crate::home::Home;
use crate::metrics::fetch;
use crate::process::{gateway, start, terminate};
use crate::push::{admin, push};
use crate::reload::shown;

const PASSPHRASE: &str = "correct horse battery staple";

/// An OpenBao with a wrapping key, behind a front, and what opens keys there.
struct Kms {
    bao: Bao,
    front: Front,
    configuration: Configuration,
}

impl Kms {
    /// A gateway whose key of assertions is wrapped too, and that key.
    fn with_assertions(&self) -> (TestGateway, String) {
        let mut setup = self.setup();
        setup.more = "assertion: { key: assertion.key, kms: kms.json }";
        let pem = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap().serialize_pem();
        setup.private_files.push(("assertion.key", self.wrap(&pem)));
        (setup.start(), pem)
    }

    fn start() -> Self {
        let bao = Bao::start();
        bao.make_key("gateway-key");
        let token = bao.token("gateway-key", json!({ "period": "768h" }));
        let front = Front::of(&bao);
        let mut configuration = Configuration::default();
        configuration.ca_certificate = Some(front.ca.clone());
        configuration.cluster = Some(KmsService::Vault(VaultService {
            address: front.address.parse().unwrap(),
            key: "gateway-key".parse().unwrap(),
            namespace: None,
            transit_path: "transit".parse().unwrap(),
            credentials: VaultCredentials::Token(Some(Credential::new(token))),
        }));
        Self { bao, front, configuration }
    }

    /// What `cluster-ca kms export` writes.
    fn file(&self) -> String {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("kms.json");
        self.configuration.store(&path).unwrap();
        std::fs::read_to_string(path).unwrap()
    }

    /// A key in PEM as an envelope.
    fn wrap(&self, key_pem: &str) -> String {
        let service = self.configuration.cluster.as_ref().unwrap();
        let wrap = self.configuration.connect(service).unwrap();
        Envelope::seal(&key(key_pem), Uuid::from_u128(7), wrap.as_ref()).unwrap().to_text().unwrap()
    }

    fn wrapped(&self, mut leaf: Leaf) -> Leaf {
        leaf.key_pem = self.wrap(&leaf.key_pem);
        leaf
    }

    /// A gateway whose key it has wrapped; nothing has been asked of it for that.
    fn setup(&self) -> Setup {
        let setup = Setup::new();
        let own = self.wrapped(setup.own.clone());
        let private_files = vec![("kms.json", self.file())];
        Setup { own, private_files, identity: ", kms: kms.json", ..setup }
    }

    /// How many keys have been unwrapped.
    fn unwrapped(&self) -> usize {
        self.front.asked("transit/decrypt/")
    }
}

fn key(pem: &str) -> PrivateKey {
    PrivateKey::from_pem(&Secret::new(pem.as_bytes().to_vec())).unwrap()
}

fn behind_passphrase(mut leaf: Leaf, passphrase: &str) -> Leaf {
    let passphrase = Secret::new(passphrase.as_bytes().to_vec());
    let sealed =
        KeyFile::seal(&key(&leaf.key_pem), Uuid::from_u128(7), NewProtection::Passphrase(&passphrase));
    let text = sealed.unwrap().into_contents().unwrap();
    leaf.key_pem = String::from_utf8(text.expose().to_vec()).unwrap();
    leaf
}

/// Puts a new pair in the place of the gateway's own: the key first, as a gateway finds a pair that comes
/// from elsewhere.
fn replace_pair(gateway: &TestGateway, leaf: &Leaf) {
    gateway.replace_private("gateway.key", &leaf.key_pem);
    gateway.replace("gateway.crt", &leaf.certificate_pem);
}

/// Waits until this pair is in force, and sees that callers are shown it.
async fn is_taken(gateway: &TestGateway, leaf: &Leaf) {
    eventually("the new pair", || {
        (gateway.status()["certificate"]["serial_number"] == leaf.serial_number()).then_some(())
    });
    assert_eq!(shown(gateway).await, leaf.serial_number());
}

fn last_error(gateway: &TestGateway) -> Value {
    gateway.status()["reload"]["last_error"]["code"].clone()
}

#[tokio::test]
async fn a_wrapped_key_is_unwrapped_once_and_never_again_while_it_stays() {
    let kms = Kms::start();
    let gateway = kms.setup().start();
    let user = gateway.user();
    assert_eq!(gateway.get(&user, "/v1/x").await.status, 200);
    gateway.replace("cluster.crl", gateway.cluster.crl(2, &[&user]));
    assert_eq!(gateway.reload(), Ok(()));
    gateway.refused(Some(&user)).await;
    assert_eq!(kms.unwrapped(), 1);
    let key = &gateway.status()["certificate"]["key"];
    assert_eq!((&key["protection"], &key["wrapping_key"]), (&"kms".into(), &"gateway-key".into()));
}

#[tokio::test]
async fn a_certificate_renewed_with_its_key_needs_no_service() {
    let kms = Kms::start();
    let setup = kms.setup();
    let own = setup.own.clone();
    let gateway = setup.start();
    let params = leaf_params("prod", "control-service", "127.0.0.1");
    let key = rcgen::KeyPair::try_from(&own.key()).unwrap();
    gateway.replace("gateway.crt", params.signed_by(&key, &gateway.cluster.root).unwrap().pem());
    gateway.wait_for_change(1);
    assert_ne!(shown(&gateway).await, own.serial_number());
    assert_eq!(kms.unwrapped(), 1);
}

#[tokio::test]
async fn a_new_wrapped_pair_is_taken_when_its_files_change() {
    let kms = Kms::start();
    let gateway = kms.setup().start();
    let fresh = kms.wrapped(gateway.cluster.leaf("control-service", "127.0.0.1"));
    replace_pair(&gateway, &fresh);
    is_taken(&gateway, &fresh).await;
    eventually("no trouble", || last_error(&gateway).is_null().then_some(()));
}

#[tokio::test]
async fn a_service_that_hangs_keeps_the_old_key_and_no_revocation_waiting() {
    const MORE: &str = "operators: [{ role: api-user, name: admin }]\nstate_directory: state\n\
                        metrics: 127.0.0.1:0\n";
    let kms = Kms::start();
    let gateway = Setup { more: MORE, ..kms.setup() }.start();
    let (alice, bob) = (gateway.user(), gateway.cluster.leaf("api-user", "bob"));
    let before = shown(&gateway).await;
    let fresh = kms.wrapped(gateway.cluster.leaf("control-service", "127.0.0.1"));
    let failing = || fetch(&gateway, "/metrics").1.contains("\ncluster_gateway_reload_failing 1\n");

    kms.front.set(Mode::Silent);
    replace_pair(&gateway, &fresh);
    eventually("the key is being opened", || {
        (kms.front.held() > 0 && gateway.status()["reload"]["awaits_key"] == true).then_some(())
    });
    let mut open = gateway.connect(Some(&alice), &["http/1.1"]).await.unwrap();
    let pushed = push(&gateway, &admin(&gateway), gateway.cluster.crl(2, &[&alice])).await;
    assert_eq!(pushed.status, 200, "{pushed:?}");
    assert!(pushed.json()["duration_us"].as_u64().unwrap() < 1_000_000, "{pushed:?}");
    let mut rest = Vec::new();
    let _ = patiently(open.read_to_end(&mut rest)).await;
    gateway.refused(Some(&alice)).await;
    // The same through the file, on which the thread works that waits for the key.
    gateway.replace("cluster.crl", gateway.cluster.crl(3, &[&alice, &bob]));
    gateway.wait_for_crl(3);
    gateway.refused(Some(&bob)).await;
    assert_eq!(shown(&gateway).await, before);
    assert_eq!(gateway.status()["reload"]["awaits_key"], true, "all of it while it hung");
    assert_eq!((last_error(&gateway), failing()), (Value::Null, false), "nobody knows yet");

    kms.front.set(Mode::Away);
    eventually("it has failed", || (last_error(&gateway) == "kms.unavailable").then_some(()));
    assert!(failing());
    let pushed = push(&gateway, &admin(&gateway), gateway.cluster.crl(4, &[])).await;
    assert_eq!(pushed.status, 200, "{pushed:?}");
    assert_eq!(
        (last_error(&gateway), failing()),
        ("kms.unavailable".into(), true),
        "a push is another thing"
    );
    assert_eq!(gateway.get(&bob, "/v1/x").await.status, 200);
    assert_eq!(shown(&gateway).await, before);

    kms.front.set(Mode::Passing);
    is_taken(&gateway, &fresh).await;
    eventually("no trouble", || (last_error(&gateway).is_null() && !failing()).then_some(()));
    assert_eq!(gateway.status()["crl"][0]["number"], "4");
}

#[tokio::test]
async fn whatever_keeps_a_new_key_from_opening_changes_everything_else() {
    let kms = Kms::start();
    let gateway = kms.setup().start();
    let before = shown(&gateway).await;
    let fresh = kms.wrapped(gateway.cluster.leaf("control-service", "127.0.0.1"));
    let mut crl = 1;
    let mut refused = |code: &str, text: &str| {
        crl += 1;
        gateway.replace_private("gateway.key", text);
        gateway.replace("cluster.crl", gateway.cluster.crl(crl, &[]));
        gateway.wait_for_crl(crl);
        eventually(code, || (last_error(&gateway) == code).then_some(()));
        assert_eq!(gateway.status()["certificate"]["key"]["protection"], "kms");
    };
    let mut altered: Value = serde_json::from_str(&fresh.key_pem).unwrap();
    altered["cluster"] = json!("00000000-0000-4000-8000-000000000000");
    refused("key.envelope_damaged", &altered.to_string());
    altered["wrapped"]["key"] = json!("another-key");
    refused("kms.not_configured", &altered.to_string());
    let locked = behind_passphrase(gateway.cluster.leaf("control-service", "127.0.0.1"), PASSPHRASE);
    refused("key.passphrase_needed", &locked.key_pem);
    kms.bao.post(
        "sys/policies/acl/gateway-key",
        json!({ "policy": "path \"none\" { capabilities = [\"deny\"] }" }),
    );
    refused("kms.denied", &fresh.key_pem);
    kms.front.set(Mode::Broken(502));
    refused("kms.refused", &kms_text_with_another_nonce(&fresh.key_pem));
    kms.front.set(Mode::Passing);
    kms.bao.post("sys/seal", json!({}));
    refused("kms.sealed", &fresh.key_pem);
    assert_eq!(shown(&gateway).await, before);
}

/// The same envelope in other bytes, so that it is another file.
fn kms_text_with_another_nonce(envelope: &str) -> String {
    let mut altered: Value = serde_json::from_str(envelope).unwrap();
    altered["nonce"] = json!("AAAAAAAAAAAAAAAA");
    altered.to_string()
}

#[tokio::test]
async fn a_key_behind_a_passphrase_is_opened_with_the_file_that_has_it() {
    let mut setup = Setup::new();
    setup.own = behind_passphrase(setup.own, PASSPHRASE);
    setup.private_files = vec![("passphrase", format!("{PASSPHRASE}\n"))];
    setup.identity = ", passphrase_file: passphrase";
    let gateway = setup.start();
    let before = shown(&gateway).await;
    assert_eq!(gateway.get(&gateway.user(), "/v1/x").await.status, 200);

    let fresh = behind_passphrase(gateway.cluster.leaf("control-service", "127.0.0.1"), "another twelve");
    replace_pair(&gateway, &fresh);
    eventually("it does not open", || (last_error(&gateway) == "key.wrong_passphrase").then_some(()));
    assert_eq!(shown(&gateway).await, before);
    gateway.replace_private("passphrase", "another twelve");
    is_taken(&gateway, &fresh).await;
}

#[tokio::test]
async fn the_key_of_assertions_may_be_wrapped_too() {
    let kms = Kms::start();
    let (gateway, _) = kms.with_assertions();
    let user = gateway.user();
    let keys = || async { gateway.get(&user, "/.well-known/cluster/jwks").await.json()["keys"].clone() };
    let first = keys().await;
    assert_eq!(first.as_array().unwrap().len(), 1);
    assert_eq!(kms.unwrapped(), 2);

    let pem = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap().serialize_pem();
    let other = kms.wrap(&pem);
    kms.front.set(Mode::Away);
    gateway.replace_private("assertion.key", &other);
    eventually("it does not open", || (last_error(&gateway) == "kms.unavailable").then_some(()));
    assert_eq!(keys().await, first);
    assert!(
        gateway.get(&user, "/v1/x").await.json()["headers"]["x-cluster-assertion"].is_string(),
        "the old key signs"
    );
    kms.front.set(Mode::Passing);
    eventually("no trouble", || last_error(&gateway).is_null().then_some(()));
    assert_eq!(keys().await.as_array().unwrap().len(), 2, "the old one is published for a while");
}

#[tokio::test]
async fn a_token_that_only_a_restart_would_need_is_renewed_meanwhile() {
    let mut kms = Kms::start();
    let token = kms.bao.token("gateway-key", json!({ "period": "6s" }));
    let Some(KmsService::Vault(vault)) = &mut kms.configuration.cluster else { panic!() };
    vault.credentials = VaultCredentials::Token(Some(Credential::new(token.clone())));
    let gateway = kms.setup().start();
    let lookup = || kms.bao.request("POST", "auth/token/lookup", None, Some(json!({ "token": token })));
    eventually("a renewal", || {
        let (status, answer) = lookup()?;
        assert_eq!(status, 200, "it has expired");
        (!answer["data"]["last_renewal"].is_null()).then_some(())
    });
    // A service that hangs keeps neither the gateway nor its end waiting.
    kms.front.set(Mode::Silent);
    eventually("it asks again", || (kms.front.held() > 0).then_some(()));
    assert_eq!(gateway.get(&gateway.user(), "/v1/x").await.status, 200);
    drop(gateway);
}

#[tokio::test]
async fn a_key_that_never_opens_does_not_keep_the_other_one_back() {
    let kms = Kms::start();
    let (gateway, pem) = kms.with_assertions();
    let fresh = kms.wrapped(gateway.cluster.leaf("control-service", "127.0.0.1"));
    let mut altered: Value = serde_json::from_str(&kms.wrap(&pem)).unwrap();
    altered["wrapped"]["key"] = json!("another-key");
    kms.front.set(Mode::Silent);
    gateway.replace_private("assertion.key", &altered.to_string());
    replace_pair(&gateway, &fresh);
    eventually("the one fails, the other one hangs", || {
        (last_error(&gateway) == "kms.not_configured" && kms.front.held() > 0).then_some(())
    });
    kms.front.set(Mode::Passing);
    is_taken(&gateway, &fresh).await;
    assert_eq!(last_error(&gateway), "kms.not_configured");
}

/// A directory with the files of `setup`, for the program itself.
fn files(setup: Setup) -> (tempfile::TempDir, Setup) {
    let directory = tempfile::tempdir().unwrap();
    let setup = Setup { upstream: Some("127.0.0.1:1".parse().unwrap()), ..setup };
    setup.write(directory.path());
    (directory, setup)
}

fn run(directory: &Path) -> (Child, BufReader<std::process::ChildStderr>) {
    let mut child = gateway(directory, &["run", "--config", "gateway.yaml"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let said = BufReader::new(child.stderr.take().unwrap());
    (child, said)
}

fn until(said: &mut impl BufRead, wanted: &str) -> String {
    let mut line = String::new();
    while !line.contains(wanted) {
        line.clear();
        assert!(said.read_line(&mut line).unwrap() > 0, "it ended without `{wanted}`");
    }
    line
}

/// How it ends by itself, and what it says until then.
fn ends(directory: &Path) -> (Option<i32>, String) {
    let (mut child, mut said) = run(directory);
    let status = eventually("it ends", || child.try_wait().unwrap());
    let mut text = String::new();
    said.read_to_string(&mut text).unwrap();
    (status.code(), text)
}

#[test]
fn a_start_waits_for_a_service_that_is_away_and_begins_when_it_is_back() {
    let kms = Kms::start();
    let (directory, _) = files(kms.setup());
    kms.front.set(Mode::Away);
    let (mut child, mut said) = run(directory.path());
    let line = until(&mut said, "will retry");
    assert!(line.contains("kms.unavailable") && line.contains(&kms.front.address), "{line}");
    kms.front.set(Mode::Broken(502));
    until(&mut said, "kms.refused");
    kms.front.set(Mode::Passing);
    until(&mut said, "listening on ");
    terminate(&child);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_start_gives_up_when_its_time_is_over() {
    let kms = Kms::start();
    let (directory, _) = files(Setup { identity: ", kms: kms.json, kms_timeout: 1s", ..kms.setup() });
    for mode in [Mode::Away, Mode::Silent] {
        kms.front.set(mode);
        let (code, said) = ends(directory.path());
        assert_eq!(code, Some(4), "{mode:?}: {said}");
        assert!(said.contains("could not be opened within 1s") && said.contains("hint: "), "{said}");
    }
}

#[test]
fn a_start_that_waits_ends_on_sigterm() {
    let kms = Kms::start();
    let (directory, _) = files(Setup { identity: ", kms: kms.json, kms_timeout: 1h", ..kms.setup() });
    kms.front.set(Mode::Silent);
    let (mut child, _said) = run(directory.path());
    eventually("it asks", || (kms.front.held() > 0).then_some(()));
    terminate(&child);
    let status = eventually("it ends", || child.try_wait().unwrap());
    assert_eq!(status.code(), Some(0));
    assert_eq!(kms.front.held(), 1, "while nobody answered");
}

#[test]
fn what_waiting_does_not_mend_ends_a_start_at_once() {
    let kms = Kms::start();
    let (directory, setup) = files(Setup { identity: ", kms: kms.json, kms_timeout: 1h", ..kms.setup() });
    let at = |name: &str| directory.path().join(name);
    let ended = |exit: i32, code: &str| {
        let (found, said) = ends(directory.path());
        assert_eq!(found, Some(exit), "{said}");
        assert!(said.contains("error: the private key") && said.contains("hint: "), "{code}: {said}");
        assert!(!said.contains("will retry"), "{said}");
    };
    let good = setup.own.key_pem.clone();
    let mut altered: Value = serde_json::from_str(&good).unwrap();
    altered["key_id"] = json!("00".repeat(32));
    write_private(&at("gateway.key"), altered.to_string());
    ended(3, "key.envelope_damaged");
    write_private(&at("gateway.key"), &good[..good.len() / 2]);
    ended(3, "key.envelope_unreadable");
    write_private(
        &at("gateway.key"),
        behind_passphrase(setup.cluster.leaf("control-service", "a"), PASSPHRASE).key_pem,
    );
    ended(2, "key.passphrase_needed");
    write_private(&at("gateway.key"), &good);
    write_private(&at("kms.json"), "{}");
    ended(3, "kms.configuration");
    write_private(&at("kms.json"), kms.file());
    kms.bao.post(
        "sys/policies/acl/gateway-key",
        json!({ "policy": "path \"none\" { capabilities = [\"deny\"] }" }),
    );
    ended(4, "kms.denied");
    let config = std::fs::read_to_string(at("gateway.yaml")).unwrap();
    std::fs::write(at("gateway.yaml"), config.replace(", kms: kms.json, kms_timeout: 1h", "")).unwrap();
    ended(1, "kms.not_configured");
}

#[test]
fn explain_needs_no_key_and_check_says_whether_it_opened_it() {
    let kms = Kms::start();
    let (directory, setup) = files(kms.setup());
    setup.cluster.leaf("api-user", "alice").write(directory.path(), "alice");
    let ask = |arguments: &[&str]| {
        let output = gateway(directory.path(), arguments).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout) + &text(output.stderr))
    };
    kms.front.set(Mode::Silent);
    let request = ["explain", "--config", "gateway.yaml", "--cert", "alice.crt", "--request", "GET /v1/x"];
    let (code, said) = ask(&request);
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = ask(&["check", "--config", "gateway.yaml", "--without-keys"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("key was not opened"), "{said}");
    assert_eq!(kms.front.held(), 0, "nobody asked");

    kms.front.set(Mode::Away);
    let (code, said) = ask(&["check", "--config", "gateway.yaml"]);
    assert_eq!(code, Some(4), "{said}");
    assert!(said.contains("cannot be opened") && said.contains(&kms.front.address), "{said}");
    kms.front.set(Mode::Passing);
    let (code, said) = ask(&["check", "--config", "gateway.yaml"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("vault key gateway-key, version 1"), "{said}");
    assert_eq!(kms.unwrapped(), 1);
    // Whoever only asks need not have the key at all.
    for name in ["gateway.key", "kms.json"] {
        std::fs::rename(directory.path().join(name), directory.path().join("elsewhere")).unwrap();
        let (code, said) = ask(&request);
        assert_eq!(code, Some(0), "{said}");
        // A line that tells of no request.
        let line = r#"{"time":"2026-01-02T03:04:05.000Z","event":"handshake_refused"}"#;
        std::fs::write(directory.path().join("log"), line).unwrap();
        let (code, said) = ask(&["replay", "log", "--config", "gateway.yaml"]);
        assert_eq!(code, Some(0), "{said}");
        let (code, said) = ask(&["check", "--config", "gateway.yaml", "--without-keys"]);
        assert!(code == Some(1) && said.contains(name), "{said}");
        std::fs::rename(directory.path().join("elsewhere"), directory.path().join(name)).unwrap();
    }
    // A key of another certificate is found only by opening it.
    let other = kms.wrapped(setup.cluster.leaf("control-service", "127.0.0.1"));
    write_private(&directory.path().join("gateway.key"), other.key_pem);
    let (code, said) = ask(&["check", "--config", "gateway.yaml"]);
    assert!(code == Some(1) && said.contains("does not belong to the certificate"), "{said}");
}

#[test]
fn a_reload_on_the_admin_socket_tells_what_became_of_the_key() {
    let kms = Kms::start();
    let (directory, setup) = files(Setup { more: "admin: admin.sock\n", ..kms.setup() });
    let (child, _, _said) = start(directory.path(), &["run", "--config", "gateway.yaml"]);
    let fresh = kms.wrapped(setup.cluster.leaf("control-service", "127.0.0.1"));
    let reload = || {
        let output =
            gateway(directory.path(), &["reload", "--config", "gateway.yaml", "--json"]).output().unwrap();
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    kms.front.set(Mode::Away);
    write_private(&directory.path().join("gateway.key"), &fresh.key_pem);
    std::fs::write(directory.path().join("gateway.crt"), &fresh.certificate_pem).unwrap();
    let refused = reload();
    assert_eq!((&refused["ok"], &refused["error"]["code"]), (&false.into(), &"kms.unavailable".into()));
    kms.front.set(Mode::Passing);
    let done = eventually("it opens", || Some(reload()).filter(|answer| answer["ok"] == true));
    assert_eq!(done["result"]["awaits_key"], false, "{done}");
    terminate(&child);
}

#[test]
fn what_cluster_ca_exports_is_all_that_a_gateway_needs() {
    let bao = Bao::start();
    bao.make_key("gateway-key");
    let (role_id, secret_id) = bao.app_role(None, "gateway-key");
    let home = Home::initialized();
    let ok = |arguments: &[&str]| home.ok(arguments);
    ok(&["ca-cert", "set", &bao.ca()]);
    ok(&["create-control", "127.0.0.1"]);
    ok(&["create-api-user", "alice"]);
    let [key, kms] = ["issued/control-127.0.0.1.key", "gateway-kms.json"].map(|name| home.path(name));
    write_private(&home.path("secret-id"), &secret_id);
    let secret = home.path("secret-id");
    let [key_text, secret, output] = [&key, &secret, &kms].map(|path| path.to_str().unwrap());
    let set = ["kms", "set", "vault", &bao.address, "gateway-key", "--role-id", &role_id];
    ok(&[&set[..], &["--secret-id-file", secret, "--for", key_text]].concat());
    ok(&["kms", "export", key_text, output]);
    assert!(!std::fs::read_to_string(&key).unwrap().contains("PRIVATE KEY"));
    home.write(
        "gateway.yaml",
        "listen: 127.0.0.1:0\n\
         identity: { certificate: issued/control-127.0.0.1.crt, key: issued/control-127.0.0.1.key, kms: gateway-kms.json }\n\
         trust: { bundle: cluster.crt, crl: cluster.crl }\n\
         upstreams: { api: { url: \"http://127.0.0.1:1\" } }\n\
         routes: [{ path: \"/v1/**\", methods: [GET], allow: [{ role: api-user }], upstream: api }]\n",
    );
    let directory = home.path("");
    let (mut child, address, _said) =
        start(&directory, &["run", "--config", "gateway.yaml", "--demo-upstream"]);
    let output = Command::new("curl")
        .args(["--silent", "--show-error", "--fail-with-body", "--max-time", "20"])
        .args(["--cacert", "cluster.crt", "--cert", "issued/user-alice.crt"])
        .args(["--key", "issued/user-alice.key", &format!("https://{address}/v1/things")])
        .current_dir(&directory)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    terminate(&child);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
