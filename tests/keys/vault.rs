//! Private keys wrapped by the Transit engine of a real OpenBao.

use std::fs::{self, Permissions};
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use cluster_ca::error::Coded;
use cluster_ca::keys::{CredentialsFile, ProtectedKey};
use serde_json::{Value, json};

use crate::bao::{Bao, free_port};
use crate::home::{Finished, Home};

fn secret(home: &Home, name: &str, text: &str) -> String {
    let path = home.write(name, format!("{text}\n"));
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    path.into_os_string().into_string().unwrap()
}

/// A server with the key `ca-key`, and a home that trusts it, with a token file.
fn ready() -> (Bao, Home, String) {
    let bao = Bao::start();
    bao.make_key("ca-key");
    let home = Home::initialized();
    home.ok(&["ca-cert", "set", &bao.ca()]);
    let token = secret(&home, "token", &bao.token("ca-key", json!({ "period": "768h" })));
    (bao, home, token)
}

/// As [`ready`], with the root key wrapped.
fn wrapped() -> (Bao, Home, String) {
    let (bao, home, token) = ready();
    home.ok(&["kms", "set", "vault", &bao.address, "ca-key", "--token-file", &token]);
    (bao, home, token)
}

fn key_text(home: &Home) -> String {
    fs::read_to_string(home.path("cluster.key")).unwrap()
}

fn envelope(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn write_private(path: &Path, contents: &str) {
    fs::write(path, contents).unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
}

#[test]
fn a_wrapped_root_key_signs_and_its_file_reveals_nothing() {
    let (bao, home, token) = ready();
    let plain = key_text(&home);
    let set = home.ok(&["kms", "set", "vault", &bao.address, "ca-key", "--token-file", &token]);
    assert_eq!((&set["kms"], &set["keys"][0]["outcome"]), (&"vault".into(), &"rewrapped".into()));

    let text = key_text(&home);
    assert!(!text.contains("PRIVATE KEY") && text.contains("vault:v1:"), "{text}");
    let body: String = plain.lines().filter(|line| !line.starts_with('-')).collect();
    assert!(!text.contains(&body[60..90]));
    for name in ["cluster.key", "kms.json"] {
        assert_eq!(fs::metadata(home.path(name)).unwrap().permissions().mode() & 0o777, 0o600, "{name}");
    }

    home.ok(&["create-node", "--count", "3"]);
    home.ok(&["create-api-user", "alice"]);
    home.ok(&["revoke", "api-user/alice"]);
    let shown = home.ok(&["kms", "show", "--check"]);
    assert_eq!((&shown["checked"], &shown["wrapped"][0]["version"]), (&true.into(), &1.into()));
    let said = home.run(&["kms"]);
    assert!(said.stdout.contains(&bao.address) && said.stdout.contains("cluster.key"), "{said:?}");
    let key = home.ok(&["key", "show"]);
    assert_eq!((&key["protection"], &key["wrapping_key"]), (&"kms".into(), &"ca-key".into()));
    assert_eq!(key["key"], home.path("cluster.key").to_str().unwrap());
    // The token is only in the private file.
    let token = fs::read_to_string(token).unwrap();
    for output in [said, home.run(&["audit", "list"]), home.run(&["--json", "kms", "show"])] {
        assert!(!output.stdout.contains(token.trim()));
    }
}

#[test]
fn an_envelope_altered_in_each_field_does_not_open() {
    let (_bao, home, _) = wrapped();
    let good = key_text(&home);
    let value = envelope(&home.path("cluster.key"));
    let swap = |field: &str, to: Value| {
        let mut altered = value.clone();
        altered[field] = to;
        altered
    };
    let mut flipped = value["ciphertext"].as_str().unwrap().to_owned().into_bytes();
    flipped[4] = if flipped[4] == b'A' { b'B' } else { b'A' };
    let vault = value["wrapped"]["ciphertext"].as_str().unwrap();
    let mut torn = vault.to_owned();
    torn.replace_range(20..21, if &vault[20..21] == "A" { "B" } else { "A" });
    for (altered, code) in [
        (swap("cluster_ca_envelope", json!(2)), "key.envelope_version"),
        (swap("cluster", json!("00000000-0000-4000-8000-000000000000")), "key.envelope_damaged"),
        (swap("key_id", json!("00".repeat(32))), "key.envelope_damaged"),
        (swap("nonce", json!("AAAAAAAAAAAAAAAA")), "key.envelope_damaged"),
        (swap("nonce", json!("AAAA")), "key.envelope_damaged"),
        (swap("ciphertext", json!(String::from_utf8(flipped).unwrap())), "key.envelope_damaged"),
        (swap("ciphertext", json!("")), "key.envelope_damaged"),
        (swap("ciphertext", json!("?")), "key.envelope_unreadable"),
        (
            swap("wrapped", json!({ "kms": "vault", "key": "other", "ciphertext": vault })),
            "kms.not_configured",
        ),
        (swap("wrapped", json!({ "kms": "vault", "key": "ca-key", "ciphertext": torn })), "kms.refused"),
        (swap("wrapped", json!({ "kms": "vault", "key": "ca-key", "ciphertext": "junk" })), "kms.refused"),
        (swap("wrapped", json!({ "kms": "cloud", "key": "ca-key" })), "key.envelope_unreadable"),
        (swap("more", json!(1)), "key.envelope_unreadable"),
    ] {
        write_private(&home.path("cluster.key"), &altered.to_string());
        let refusal = home.refused(&["create-api-user", "mallory"]);
        assert_eq!(refusal.code, code, "{altered}");
    }
    write_private(&home.path("cluster.key"), &good);
    home.ok(&["create-api-user", "alice"]);
}

#[test]
fn an_unusable_service_changes_nothing() {
    let (bao, home, token) = ready();
    bao.post("transit/keys/signs", json!({ "type": "ecdsa-p256" }));
    bao.post("transit/keys/derived", json!({ "derived": true }));
    let root = secret(&home, "root-token", "root");
    let bad = secret(&home, "bad-token", "s.nosuchtoken");
    let before = home.state();
    let port = free_port();
    let nobody = format!("https://127.0.0.1:{port}");
    let plain = bao.address.replace("https", "http");
    let set = |arguments: &[&str]| {
        let refusal = home.refused(&[&["kms", "set", "vault"], arguments].concat());
        assert!(!refusal.hint.is_empty(), "{refusal:?}");
        assert!(!refusal.words().contains("nosuchtoken"), "{refusal:?}");
        (refusal.exit, refusal.code)
    };
    let code = |exit: i32, code: &str| (exit, code.to_owned());
    assert_eq!(set(&[&nobody, "ca-key", "--token-file", &token]), code(4, "kms.unavailable"));
    assert_eq!(set(&[&bao.address, "ca-key", "--token-file", &bad]), code(4, "kms.token_refused"));
    // The documented policy does not cover it: denied. The root token shows that it is missing.
    assert_eq!(set(&[&bao.address, "missing", "--token-file", &token]), code(4, "kms.denied"));
    assert_eq!(set(&[&bao.address, "missing", "--token-file", &root]), code(4, "kms.key_missing"));
    let (status, _) = bao.request("GET", "transit/keys/missing", None, None).unwrap();
    assert_eq!(status, 404, "asking for a key never makes it");
    assert_eq!(set(&[&bao.address, "signs", "--token-file", &root]), code(1, "kms.key_unfit"));
    assert_eq!(set(&[&bao.address, "derived", "--token-file", &root]), code(1, "kms.key_unfit"));
    assert_eq!(
        set(&[&bao.address, "ca-key", "--token-file", &root, "--transit-path", "elsewhere"]),
        code(4, "kms.mount_missing")
    );
    assert_eq!(
        set(&[&bao.address, "ca-key", "--token-file", &root, "--namespace", "nowhere"]),
        code(4, "kms.namespace_missing")
    );
    assert_eq!(set(&[&bao.address, "ca-key"]), code(2, "kms.credential_missing"));
    for arguments in [
        vec![plain.as_str(), "ca-key", "--token-file", &token],
        vec![&bao.address, "a/b", "--token-file", &token],
        vec![&bao.address, "ca-key", "--token-file", &token, "--namespace", "sys"],
        vec![&bao.address, "ca-key", "--token-file", &token, "--namespace", "team/"],
        vec![&bao.address, "ca-key", "--token-file", &token, "--role-id", "r"],
        vec![&bao.address, "ca-key", "--secret-id-file", &token],
        vec![&bao.address, "ca-key", "--token-file", &token, "--for", "cluster.key"],
        vec!["ca-key"],
    ] {
        let refusal = home.refused(&[vec!["kms", "set", "vault"], arguments].concat());
        assert_eq!(refusal.exit, 2, "{refusal:?}");
    }
    assert!(home.state() == before);
    home.ok(&["create-api-user", "alice"]);
}

#[test]
fn a_server_certificate_of_another_ca_gets_no_token() {
    let (bao, home, token) = ready();
    home.ok(&["ca-cert", "set", home.path("cluster.crt").to_str().unwrap()]);
    let refusal = home.refused(&["kms", "set", "vault", &bao.address, "ca-key", "--token-file", &token]);
    assert_eq!((refusal.exit, refusal.code.as_str()), (4, "kms.certificate_untrusted"));
    home.ok(&["ca-cert", "unset"]);
    let refusal = home.refused(&["kms", "set", "vault", &bao.address, "ca-key", "--token-file", &token]);
    assert_eq!(refusal.code, "kms.certificate_untrusted");
}

#[test]
fn the_ca_of_services_is_set_shown_exported_and_unset() {
    let home = Home::initialized();
    assert!(home.ok(&["ca-cert", "status"])["certificates"].as_array().unwrap().is_empty());
    assert_eq!(home.refused(&["ca-cert", "download"]).code, "ca.no_service_ca");
    let certificate = home.path("cluster.crt");
    let set = home.ok(&["ca-cert", "set", certificate.to_str().unwrap()]);
    assert!(set["certificates"][0]["subject"].as_str().unwrap().contains("CN=prod"));
    assert_eq!(home.run(&["ca-cert", "download"]).stdout, fs::read_to_string(&certificate).unwrap());
    home.ok(&["create-api-user", "alice"]);
    for (file, code) in [
        (home.path("issued/user-alice.crt"), "kms.ca_certificate"),
        (home.path("cluster.key"), "kms.ca_certificate"),
        (home.path("ca.db"), "kms.ca_certificate"),
        (home.path("nothing"), "file.missing"),
    ] {
        assert_eq!(home.refused(&["ca-cert", "set", file.to_str().unwrap()]).code, code, "{file:?}");
    }
    home.ok(&["ca-cert", "unset"]);
    assert!(home.ok(&["ca-cert", "status"])["certificates"].as_array().unwrap().is_empty());
}

#[test]
fn an_approle_logs_in_within_a_namespace() {
    let bao = Bao::start();
    bao.post("sys/namespaces/team", json!({}));
    bao.post_in(Some("team"), "sys/mounts/transit", json!({ "type": "transit" }));
    bao.post_in(Some("team"), "transit/keys/ca-key", json!({}));
    let (role_id, secret_id) = bao.app_role(Some("team"), "ca-key");
    let home = Home::initialized();
    home.ok(&["ca-cert", "set", &bao.ca()]);
    let file = secret(&home, "secret-id", &secret_id);
    let wrong = secret(&home, "wrong", "00000000-0000-0000-0000-000000000000");
    let login = ["kms", "set", "vault", &bao.address, "ca-key", "--namespace", "team", "--role-id", &role_id];
    let refusal = home.refused(&[&login[..], &["--secret-id-file", &wrong]].concat());
    assert_eq!((refusal.exit, refusal.code.as_str()), (4, "kms.login_refused"));
    home.ok(&[&login[..], &["--secret-id-file", &file]].concat());
    home.ok(&["create-api-user", "alice"]);

    // Not stored: the environment supplies it, or the command reports that it is missing.
    let mut set = home.command(&[&["--json"], &login[..], &["--do-not-keep-secrets"]].concat());
    Finished::from(set.env("CLUSTER_CA_KMS_SECRET_ID", &secret_id).output().unwrap()).result();
    assert!(!fs::read_to_string(home.path("kms.json")).unwrap().contains(&secret_id));
    assert_eq!(home.refused(&["create-api-user", "bob"]).code, "kms.credential_missing");
    let mut create = home.command(&["--json", "create-api-user", "bob"]);
    Finished::from(create.env("CLUSTER_CA_KMS_SECRET_ID", &secret_id).output().unwrap()).result();
}

#[test]
fn each_failure_of_the_service_has_its_own_error_and_loses_no_key() {
    let (mut bao, home, _) = wrapped();
    let before = home.state();
    let refused = |code: &str| {
        let refusal = home.refused(&["create-api-user", "bob"]);
        assert_eq!((refusal.exit, refusal.code.as_str()), (4, code), "{refusal:?}");
        assert!(!refusal.hint.is_empty());
    };
    // Without the capability.
    let policy = json!({ "policy": "path \"transit/keys/ca-key\" { capabilities = [\"read\"] }" });
    bao.post("sys/policies/acl/ca-key", policy);
    refused("kms.denied");
    bao.policy(None, "ca-key");
    // Its version disabled, and enabled again.
    bao.post("transit/keys/ca-key/rotate", json!({}));
    bao.post("transit/keys/ca-key/config", json!({ "min_decryption_version": 2 }));
    refused("kms.key_version_refused");
    bao.post("transit/keys/ca-key/config", json!({ "min_decryption_version": 1 }));
    home.ok(&["create-api-user", "alice"]);
    // Sealed.
    bao.post("sys/seal", json!({}));
    refused("kms.sealed");
    bao.stop();
    refused("kms.unavailable");
    let after = home.state();
    assert!(before != after, "alice was issued");
    // Commands that need no key still work.
    home.ok(&["audit", "verify"]);
}

#[test]
fn a_deleted_key_and_a_revoked_token_are_distinguished() {
    let (bao, home, token) = wrapped();
    bao.post("transit/keys/ca-key/config", json!({ "deletion_allowed": true }));
    bao.request("DELETE", "transit/keys/ca-key", None, None).unwrap();
    assert_eq!(home.refused(&["create-api-user", "bob"]).code, "kms.key_missing");
    let token = fs::read_to_string(token).unwrap();
    bao.post("auth/token/revoke", json!({ "token": token.trim() }));
    assert_eq!(home.refused(&["create-api-user", "bob"]).code, "kms.token_refused");
}

#[test]
fn a_service_that_never_responds_is_abandoned_at_the_deadline() {
    let (_bao, home, token) = ready();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("https://{}", silent.local_addr().unwrap());
    let begin = std::time::Instant::now();
    let refusal = home.refused(&["kms", "set", "vault", &address, "ca-key", "--token-file", &token]);
    assert_eq!(refusal.code, "kms.unavailable");
    assert!(begin.elapsed().as_secs() < 20);
}

#[test]
fn a_server_other_than_vault_is_refused() {
    // Plain text where TLS is expected.
    let (_bao, home, token) = ready();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("https://{}", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        for stream in listener.incoming().take(1) {
            let _ = stream.unwrap().write_all(b"HTTP/1.1 200 OK\r\n\r\n{}");
        }
    });
    let refusal = home.refused(&["kms", "set", "vault", &address, "ca-key", "--token-file", &token]);
    assert_eq!(refusal.code, "kms.unavailable", "{refusal:?}");
    server.join().unwrap();
}

#[test]
fn a_rewrap_after_a_rotation_reports_each_key() {
    let (bao, home, _) = wrapped();
    let first = envelope(&home.path("cluster.key"));
    let current = home.ok(&["kms", "rewrap"]);
    assert_eq!(current["keys"][0]["outcome"], "already-current");
    bao.post("transit/keys/ca-key/rotate", json!({}));
    let rewrapped = home.ok(&["kms", "rewrap"]);
    assert_eq!(
        (&rewrapped["keys"][0]["outcome"], &rewrapped["keys"][0]["version"]),
        (&"rewrapped".into(), &2.into())
    );
    let second = envelope(&home.path("cluster.key"));
    assert_eq!(first["ciphertext"], second["ciphertext"], "the key itself is not touched");
    bao.post("transit/keys/ca-key/config", json!({ "min_decryption_version": 2 }));
    home.ok(&["create-api-user", "alice"]);
    assert_eq!(home.refused(&["kms", "rewrap", "--new-key-uid", "7"]).exit, 2);
}

#[test]
fn a_failed_rewrap_names_the_key_and_leaves_it_usable() {
    let (bao, home, _) = wrapped();
    bao.post("transit/keys/ca-key/rotate", json!({}));
    let rules = "path \"transit/+/ca-key\" { capabilities = [\"read\", \"update\"] }
                 path \"transit/rewrap/ca-key\" { capabilities = [\"deny\"] }";
    bao.post("sys/policies/acl/ca-key", json!({ "policy": rules }));
    let before = key_text(&home);
    let finished = home.run(&["--json", "kms", "rewrap"]);
    assert_eq!(finished.exit, Some(4));
    let key = &finished.json()["result"]["keys"][0];
    assert_eq!((&key["outcome"], &key["code"]), (&"failed".into(), &"kms.denied".into()));
    assert_eq!(key_text(&home), before);
    home.ok(&["create-api-user", "alice"]);
}

#[test]
fn keys_move_to_another_service_and_need_the_old_one_no_more() {
    let (mut old, home, _) = wrapped();
    let new = Bao::start();
    new.make_key("new-key");
    let both = home.write(
        "both.pem",
        [fs::read_to_string(old.ca()).unwrap(), fs::read_to_string(new.ca()).unwrap()].concat(),
    );
    home.ok(&["ca-cert", "set", both.to_str().unwrap()]);
    let token = secret(&home, "new-token", &new.token("new-key", json!({ "period": "768h" })));
    home.ok(&["kms", "set", "vault", &new.address, "new-key", "--token-file", &token]);
    old.stop();
    home.ok(&["create-api-user", "alice"]);
    let kept = fs::read_to_string(home.path("kms.json")).unwrap();
    assert!(!kept.contains("previous") && !kept.contains(&old.address), "{kept}");
}

#[test]
fn a_new_token_replaces_an_expired_one() {
    let (bao, home, token) = wrapped();
    bao.post("auth/token/revoke", json!({ "token": fs::read_to_string(token).unwrap().trim() }));
    assert_eq!(home.refused(&["create-api-user", "alice"]).code, "kms.token_refused");
    let token = secret(&home, "token-2", &bao.token("ca-key", json!({ "period": "768h" })));
    let set = home.ok(&["kms", "set", "vault", &bao.address, "ca-key", "--token-file", &token]);
    assert_eq!(set["keys"][0]["outcome"], "already-current");
    home.ok(&["create-api-user", "alice"]);
}

#[test]
fn a_key_with_its_own_service_stays_apart_until_it_is_converted() {
    let (bao, home, token) = wrapped();
    bao.make_key("gateway-key");
    let (role_id, secret_id) = bao.app_role(None, "gateway-key");
    let file = secret(&home, "secret-id", &secret_id);
    home.ok(&["create-control", "gateway.example.com"]);
    let key = home.path("issued/control-gateway.example.com.key");
    let path = key.to_str().unwrap();
    home.ok(&[
        "kms",
        "set",
        "vault",
        &bao.address,
        "gateway-key",
        "--role-id",
        &role_id,
        "--secret-id-file",
        &file,
        "--for",
        path,
    ]);
    assert_eq!(envelope(&key)["wrapped"]["key"], "gateway-key");
    assert_eq!(home.ok(&["kms", "show"])["wrapped"].as_array().unwrap().len(), 2);

    // The exported configuration opens this key and not the cluster's keys.
    let exported = home.path("gateway-kms.json");
    home.ok(&["kms", "export", path, exported.to_str().unwrap()]);
    assert!(!fs::read_to_string(&exported).unwrap().contains(fs::read_to_string(&token).unwrap().trim()));
    assert_eq!(fs::metadata(&exported).unwrap().permissions().mode() & 0o777, 0o600);
    let opener = CredentialsFile::Kms(exported);
    let open = |key: &Path| ProtectedKey::read(key, Some(&opener)).unwrap().open();
    open(&key).unwrap();
    let root = open(&home.path("cluster.key")).unwrap_err();
    assert_eq!(root.code(), "kms.not_configured");

    bao.post("transit/keys/gateway-key/rotate", json!({}));
    let cluster_only = home.ok(&["kms", "rewrap"]);
    assert_eq!(cluster_only["keys"].as_array().unwrap().len(), 1);
    let all = home.ok(&["kms", "rewrap", "--all"]);
    let outcomes: Vec<_> =
        all["keys"].as_array().unwrap().iter().map(|key| key["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes, ["already-current", "rewrapped"]);

    home.ok(&[
        "kms",
        "set",
        "vault",
        &bao.address,
        "ca-key",
        "--token-file",
        &token,
        "--convert-to-cluster-key",
    ]);
    assert_eq!(envelope(&key)["wrapped"]["key"], "ca-key");
}

#[test]
fn unset_is_refused_while_keys_are_wrapped_unless_the_downgrade_is_allowed() {
    let (_bao, home, _) = wrapped();
    let refusal = home.refused(&["kms", "unset"]);
    assert_eq!((refusal.exit, refusal.code.as_str()), (1, "ca.keys_wrapped"));
    let passphrase = secret(&home, "passphrase", "correct horse battery staple");
    home.ok(&["kms", "unset", "--allow-downgrade", "--passphrase-file", &passphrase]);
    assert_eq!(home.ok(&["key", "show"])["protection"], "passphrase");
    home.ok(&["create-api-user", "alice", "--passphrase-file", &passphrase]);
    assert_eq!(home.refused(&["kms", "unset"]).code, "ca.no_kms");
    assert_eq!(home.refused(&["kms", "rewrap"]).code, "ca.no_kms");
}

#[test]
fn an_export_lists_what_else_the_file_opens() {
    let (bao, home, _) = wrapped();
    bao.make_key("gateway-key");
    let (role_id, secret_id) = bao.app_role(None, "gateway-key");
    let file = secret(&home, "secret-id", &secret_id);
    for host in ["a.example.com", "b.example.com"] {
        home.ok(&["create-control", host]);
    }
    let [first, second] = ["a", "b"].map(|host| {
        home.path(format!("issued/control-{host}.example.com.key")).into_os_string().into_string().unwrap()
    });
    let own = |key: &str| {
        let login = ["--role-id", &role_id, "--secret-id-file", &file, "--for", key];
        home.ok(&[&["kms", "set", "vault", &bao.address, "gateway-key"], &login[..]].concat());
    };
    let export = |key: &str, name: &str| {
        let output = home.path(name);
        let exported = home.ok(&["kms", "export", key, output.to_str().unwrap()]);
        exported["also_opens"].as_array().unwrap().clone()
    };
    own(&first);
    assert_eq!(export(&first, "alone.json"), [""; 0]);
    // One wrapping key for two: each file opens both.
    own(&second);
    assert_eq!(export(&first, "both.json"), [second.as_str()]);
    let said = home.run(&["kms", "export", &second, home.path("said.json").to_str().unwrap()]);
    assert!(said.stdout.contains("also unwraps") && said.stdout.contains("--for"), "{said:?}");
    assert!(!said.stdout.contains("no other key"), "{said:?}");
    let root = home.path("cluster.key");
    assert_eq!(export(root.to_str().unwrap(), "root.json"), [""; 0]);
}

#[test]
fn a_rewrap_moves_keys_with_their_own_service_to_the_clusters() {
    let (bao, home, _) = wrapped();
    bao.make_key("gateway-key");
    let (role_id, secret_id) = bao.app_role(None, "gateway-key");
    let file = secret(&home, "secret-id", &secret_id);
    home.ok(&["create-control", "gateway.example.com"]);
    let key = home.path("issued/control-gateway.example.com.key");
    let login = ["--role-id", &role_id, "--secret-id-file", &file, "--for", key.to_str().unwrap()];
    home.ok(&[&["kms", "set", "vault", &bao.address, "gateway-key"], &login[..]].concat());
    assert_eq!(home.refused(&["kms", "rewrap", "--all", "--convert-to-cluster-key"]).exit, 2);
    // Denied, it leaves the key with its own service.
    let (before, configured) = (envelope(&key), fs::read(home.path("kms.json")).unwrap());
    let rules = "path \"transit/keys/ca-key\" { capabilities = [\"read\"] }
                 path \"transit/decrypt/ca-key\" { capabilities = [\"update\"] }
                 path \"transit/rewrap/ca-key\" { capabilities = [\"update\"] }";
    bao.post("sys/policies/acl/ca-key", json!({ "policy": rules }));
    let finished = home.run(&["--json", "kms", "rewrap", "--convert-to-cluster-key"]);
    let outcome = &finished.json()["result"]["keys"][1];
    assert_eq!(
        (finished.exit, &outcome["outcome"], &outcome["code"]),
        (Some(4), &"failed".into(), &"kms.denied".into()),
        "{finished:?}"
    );
    assert_eq!((envelope(&key), fs::read(home.path("kms.json")).unwrap()), (before, configured));
    bao.policy(None, "ca-key");

    let converted = home.ok(&["kms", "rewrap", "--convert-to-cluster-key"]);
    let outcomes: Vec<_> =
        converted["keys"].as_array().unwrap().iter().map(|key| key["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes, ["already-current", "rewrapped"]);
    assert_eq!(envelope(&key)["wrapped"]["key"], "ca-key");
    assert!(!fs::read_to_string(home.path("kms.json")).unwrap().contains(&secret_id));
    home.ok(&["kms", "show", "--check"]);
    home.ok(&["audit", "verify"]);
}

#[test]
fn a_downgrade_reports_the_weaker_protection() {
    let (_bao, home, _) = wrapped();
    let said = home.run(&["kms", "unset", "--allow-downgrade"]);
    assert!(said.exit == Some(0) && said.stdout.contains("weaker now"), "{said:?}");
    assert_eq!(home.ok(&["key", "show"])["protection"], "none");
    home.ok(&["create-api-user", "alice"]);
}

#[test]
fn a_periodic_token_is_renewed_after_half_of_its_lifetime() {
    let (bao, home, _) = ready();
    let token = bao.token("ca-key", json!({ "period": "8s" }));
    let file = secret(&home, "short", &token);
    home.ok(&["kms", "set", "vault", &bao.address, "ca-key", "--token-file", &file]);
    let ttl = || bao.post("auth/token/lookup", json!({ "token": token }))["data"]["ttl"].as_i64().unwrap();
    while ttl() > 3 {
        std::thread::yield_now();
    }
    home.ok(&["create-api-user", "alice"]);
    assert!(ttl() >= 6, "renewed");
}

#[test]
fn a_configuration_readable_by_others_is_refused() {
    let (_bao, home, _) = wrapped();
    fs::set_permissions(home.path("kms.json"), Permissions::from_mode(0o640)).unwrap();
    assert_eq!(home.refused(&["create-api-user", "alice"]).code, "file.exposed");
    write_private(&home.path("kms.json"), "{\"cluster_ca_kms\": 1, \"cluster\": \"s.secret\"}");
    let refusal = home.refused(&["create-api-user", "alice"]);
    assert_eq!(refusal.code, "kms.configuration");
    assert!(!refusal.words().contains("s.secret"), "{refusal:?}");
}

/// Kills a command at each of its system calls that change the disk, in turn.
fn killed_at_each_step(home: &Home, arguments: &[&str], check: impl Fn(&Home, usize)) -> usize {
    const CALLS: &str = "fsync,fdatasync,rename,renameat,renameat2,unlink,pwrite64,write";
    for step in 1.. {
        let copy = home.duplicate();
        let command = copy.command(arguments);
        let killed = Command::new("strace")
            .args(["-f", "-qq", "-o", "/dev/null", "-e"])
            .arg(format!("inject={CALLS}:signal=SIGKILL:when={step}"))
            .arg(command.get_program())
            .args(command.get_args())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap();
        check(&copy, step);
        if killed.success() {
            return step;
        }
    }
    unreachable!()
}

#[test]
fn a_move_killed_at_any_step_leaves_a_usable_key_and_resumes() {
    let (bao, home, token) = wrapped();
    bao.make_key("new-key");
    let root = secret(&home, "root-token", "root");
    let moving = ["kms", "set", "vault", &bao.address, "new-key", "--token-file", &root];
    let steps = killed_at_each_step(&home, &moving, |copy, step| {
        let finished = copy.run(&["--json", "create-api-user", "alice"]);
        assert_eq!(finished.exit, Some(0), "step {step}: {finished:?}");
        copy.ok(&moving);
        assert_eq!(copy.ok(&["key", "show"])["wrapping_key"], "new-key", "step {step}");
        assert!(!fs::read_to_string(copy.path("kms.json")).unwrap().contains("previous"), "step {step}");
        let left: Vec<_> = copy
            .contents()
            .into_keys()
            .filter(|path| path.to_string_lossy().contains("protect.tmp"))
            .collect();
        assert!(left.is_empty(), "step {step}: {left:?}");
        copy.ok(&["audit", "verify"]);
    });
    assert!(steps > 10, "{steps} steps");
    drop(token);
}

#[test]
fn a_rewrap_killed_at_any_step_leaves_a_usable_key_and_resumes() {
    let (bao, home, _) = wrapped();
    bao.post("transit/keys/ca-key/rotate", json!({}));
    killed_at_each_step(&home, &["kms", "rewrap"], |copy, step| {
        let finished = copy.run(&["--json", "create-api-user", "alice"]);
        assert_eq!(finished.exit, Some(0), "step {step}: {finished:?}");
        copy.ok(&["kms", "rewrap"]);
        assert_eq!(copy.ok(&["key", "show"])["version"], 2, "step {step}");
    });
}

/// Deletes `ca-key` and makes another one of its name: nothing that the first one wrapped opens any more.
fn lose_the_wrapping_key(bao: &Bao) {
    bao.post("transit/keys/ca-key/config", json!({ "deletion_allowed": true }));
    bao.request("DELETE", "transit/keys/ca-key", None, None).unwrap();
    bao.make_key("ca-key");
}

#[test]
fn a_check_and_a_rewrap_report_a_key_that_no_longer_opens() {
    let (bao, home, _) = wrapped();
    let checked = home.ok(&["kms", "show", "--check"]);
    assert_eq!(checked.get("problems"), None, "{checked}");
    lose_the_wrapping_key(&bao);
    let finished = home.run(&["--json", "kms", "show", "--check"]);
    let problem = &finished.json()["result"]["problems"][0];
    assert_eq!((finished.exit, &problem["code"]), (Some(4), &"kms.refused".into()), "{finished:?}");
    assert!(problem["message"].as_str().unwrap().contains("cluster.key"), "{problem}");
    let quiet = home.run(&["--quiet", "kms", "show", "--check"]);
    assert!(quiet.stdout.is_empty() && quiet.stderr.starts_with("error: "), "{quiet:?}");
    let before = key_text(&home);
    let finished = home.run(&["--json", "kms", "rewrap"]);
    let key = &finished.json()["result"]["keys"][0];
    assert_eq!((finished.exit, &key["outcome"]), (Some(4), &"failed".into()), "{finished:?}");
    assert_eq!(key_text(&home), before);
}

#[test]
fn a_rewrap_finishes_an_interrupted_move_between_keys_of_one_name() {
    let (mut old, home, _) = wrapped();
    let new = Bao::start();
    new.make_key("ca-key");
    let cas = format!("{}{}", fs::read_to_string(old.ca()).unwrap(), fs::read_to_string(new.ca()).unwrap());
    let cas = secret(&home, "cas.pem", &cas);
    home.ok(&["ca-cert", "set", &cas]);
    let (key, configuration) = (key_text(&home), envelope(&home.path("kms.json")));
    let token = secret(&home, "token-2", &new.token("ca-key", json!({ "period": "768h" })));
    home.ok(&["kms", "set", "vault", &new.address, "ca-key", "--token-file", &token]);
    // As a kill between two writes leaves it: both services configured, the key with the old one.
    let mut interrupted = envelope(&home.path("kms.json"));
    interrupted["previous"] = json!([configuration["cluster"]]);
    write_private(&home.path("kms.json"), &interrupted.to_string());
    write_private(&home.path("cluster.key"), &key);
    home.ok(&["create-api-user", "before"]);
    let rewrapped = home.ok(&["kms", "rewrap"]);
    assert_eq!(rewrapped["keys"][0]["outcome"], "rewrapped", "{rewrapped}");
    assert_eq!(home.ok(&["kms", "show"]).get("moving_from"), None);
    old.stop();
    home.ok(&["create-api-user", "after"]);
}

#[test]
fn a_root_key_that_is_not_wrapped_yet_is_reported() {
    let (_bao, home, _) = wrapped();
    let copy = home.duplicate();
    copy.ok(&["kms", "unset", "--allow-downgrade"]);
    // As a `kms set` leaves it that failed after it had stored the service.
    write_private(&home.path("cluster.key"), &key_text(&copy));
    let finished = home.run(&["--json", "kms", "show", "--check"]);
    let problem = &finished.json()["result"]["problems"][0];
    assert_eq!((finished.exit, &problem["code"]), (Some(1), &"kms.root_not_wrapped".into()), "{finished:?}");
}

#[test]
fn a_wrapped_leaf_key_has_ways_to_be_bundled_rekeyed_and_unprotected() {
    let (bao, home, _) = wrapped();
    bao.make_key("gateway-key");
    let (role_id, secret_id) = bao.app_role(None, "gateway-key");
    let file = secret(&home, "secret-id", &secret_id);
    home.ok(&["create-control", "gateway.example.com"]);
    let key = home.path("issued/control-gateway.example.com.key");
    let path = key.to_str().unwrap();
    let service =
        [&bao.address, "gateway-key", "--role-id", &role_id, "--secret-id-file", &file, "--for", path];
    home.ok(&[&["kms", "set", "vault"], &service[..]].concat());
    assert_eq!(home.ok(&["doctor"])["findings"], json!([]), "a wrapped key is not damaged");
    let target = "control-service/gateway.example.com";
    let tar = home.path("gateway.tar");
    for command in [&["bundle", target, "--output", tar.to_str().unwrap()][..], &["rekey", target]] {
        let refusal = home.refused(command);
        let codes = ["ca.protected_key", "ca.unprotects"];
        assert!(refusal.exit == 1 && codes.contains(&refusal.code.as_str()), "{refusal:?}");
        assert!(refusal.hint.contains("cluster-ca key unprotect"), "{refusal:?}");
    }
    // A key store is encrypted itself: the service opens the key for it.
    let password = secret(&home, "password", "correct horse battery staple");
    let (store, wrapped_key) = (home.path("gateway.p12"), fs::read(&key).unwrap());
    let store = ["bundle", target, "--format", "p12", "--output", store.to_str().unwrap()];
    assert_eq!(home.ok(&[&store[..], &["--password-file", &password]].concat())["has_key"], true);
    assert_eq!(fs::read(&key).unwrap(), wrapped_key);
    let root = key_text(&home);
    home.ok(&["key", "unprotect", path]);
    assert_eq!(key_text(&home), root, "the root key stays wrapped");
    assert_eq!(home.ok(&["key", "show", path])["protection"], "none");
    home.ok(&["bundle", target, "--output", tar.to_str().unwrap()]);
    home.ok(&["rekey", target]);
    home.ok(&[&["kms", "set", "vault"], &service[..]].concat());
    home.ok(&["kms", "show", "--check"]);
    let refusal = home.refused(&["key", "unprotect"]);
    assert_eq!((refusal.exit, refusal.code.as_str()), (1, "key.protected_by_kms"), "{refusal:?}");
}

/// HTTPS server with the certificate of `bao` that answers everything with 503 and `body`.
fn unavailable(home: &Home, body: &'static str) -> String {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    use std::io::Read;
    let (certificate, key, ca) = crate::bao::certificate();
    home.write("balancer-ca.pem", ca);
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()],
            PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap(),
        )
        .unwrap();
    let config = std::sync::Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("https://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let tls = rustls::ServerConnection::new(std::sync::Arc::clone(&config)).unwrap();
            let mut stream = rustls::StreamOwned::new(tls, stream.unwrap());
            let mut request = [0; 4096];
            if stream.read(&mut request).is_ok_and(|count| count > 0) {
                let head = "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: ";
                let _ = write!(stream, "{head}{}\r\n\r\n{body}", body.len());
                stream.conn.send_close_notify();
                let _ = stream.flush();
            }
        }
    });
    address
}

#[test]
fn only_a_vault_that_says_so_is_sealed() {
    let (_bao, home, token) = ready();
    for (body, code) in [
        ("<html><h1>503 Service Unavailable</h1>No server is available</html>", "kms.refused"),
        ("{\"errors\":[\"Vault is sealed\"]}", "kms.sealed"),
        ("", "kms.refused"),
    ] {
        let address = unavailable(&home, body);
        home.ok(&["ca-cert", "set", home.path("balancer-ca.pem").to_str().unwrap()]);
        let refusal = home.refused(&["kms", "set", "vault", &address, "k", "--token-file", &token]);
        assert_eq!((refusal.exit, refusal.code.as_str()), (4, code), "{body}: {refusal:?}");
    }
}

#[test]
fn the_password_for_a_directory_is_wrapped_by_the_service() {
    let (bao, home, _) = wrapped();
    let password = secret(&home, "reader", "reader-secret");
    // Nothing listens on this port.
    let mut arguments = vec!["ldap", "setup", "ldaps://127.0.0.1:1", "dc=example,dc=test", "cn=reader"];
    arguments.extend(["--regular-group", "people", "--no-test", "--password-file", &password]);
    home.ok(&arguments);
    let key = fs::read_to_string(home.path("ldap.key")).unwrap();
    assert!(key.contains("cluster_ca_envelope"), "{key}");
    assert_eq!(home.refused(&["ldap", "test"]).code, "ldap.unavailable", "the password was decrypted");
    let rewrapped = home.ok(&["kms", "rewrap"]);
    assert!(rewrapped.to_string().contains("ldap.key"), "{rewrapped}");
    drop(bao);
    assert_eq!(home.refused(&["ldap", "test"]).code, "kms.unavailable");
}
