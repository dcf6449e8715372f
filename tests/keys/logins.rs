//! Logins to services: their end, their renewal, and the variables of other programs that supply them.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use rcgen::ExtendedKeyUsagePurpose;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::bao::Bao;
use crate::home::{Finished, Home};
use crate::kmip_server::KmipServer;

fn secret(home: &Home, name: &str, text: &str) -> String {
    let path = home.write(name, format!("{text}\n"));
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    path.into_os_string().into_string().unwrap()
}

/// A server with the key `ca-key`, and a home that trusts it.
fn ready() -> (Bao, Home) {
    let bao = Bao::start();
    bao.make_key("ca-key");
    let home = Home::initialized();
    home.ok(&["ca-cert", "set", &bao.ca()]);
    (bao, home)
}

fn set(bao: &Bao, home: &Home, token: &str) -> Value {
    let file = secret(home, "token", token);
    home.ok(&["kms", "set", "vault", &bao.address, "ca-key", "--token-file", &file])
}

/// Days from now until the time in `text`.
fn days_until(text: &Value) -> i64 {
    let at = OffsetDateTime::parse(text.as_str().unwrap(), &Rfc3339).unwrap();
    (at - OffsetDateTime::now_utc()).whole_days()
}

/// Kinds and messages of the outages that a forecast lists.
fn logins_in_forecast(home: &Home, within: &str) -> Vec<String> {
    let finished = home.run(&["--json", "forecast", "--within", within]);
    let result = finished.json()["result"].clone();
    let outages = result["outages"].as_array().unwrap_or_else(|| panic!("{finished:?}")).clone();
    assert_eq!(finished.exit, Some(i32::from(!outages.is_empty())), "{finished:?}");
    let logins = outages.iter().filter(|outage| outage["what"] == "login");
    logins.map(|outage| outage["message"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_token_with_an_explicit_maximum_ends_for_good_and_is_reported() {
    let (bao, home) = ready();
    let token = bao.token("ca-key", json!({ "ttl": "24h", "explicit_max_ttl": "480h" }));
    let shown = set(&bao, &home, &token);
    let end = &shown["login_end"];
    assert_eq!((&end["state"], &end["reason"]), (&"ends".into(), &"explicit-maximum".into()), "{shown}");
    assert_eq!(days_until(&end["at"]), 19);
    let shown = home.ok(&["kms", "show", "--check"]);
    assert_eq!(shown["service"]["login_end"]["reason"], "explicit-maximum");
    assert_eq!(home.ok(&["kms", "show"])["service"].get("login_end"), None, "only a check asks the service");
    let said = home.run(&["kms", "show", "--check"]);
    assert!(said.stdout.contains("explicit maximum lifetime"), "{said:?}");
    let told = logins_in_forecast(&home, "30d");
    assert!(told.len() == 1 && told[0].contains("explicit maximum lifetime"), "{told:?}");
    assert_eq!(logins_in_forecast(&home, "10d"), [""; 0]);
    let metrics = home.path("ca.prom");
    home.run(&["forecast", "--prometheus", metrics.to_str().unwrap()]);
    let metrics = fs::read_to_string(metrics).unwrap();
    assert!(metrics.contains("\ncluster_ca_kms_login_end_seconds{cluster=\"prod\""), "{metrics}");
}

#[test]
fn a_token_that_cannot_be_renewed_is_reported_when_it_is_set() {
    let (bao, home) = ready();
    let token = bao.token("ca-key", json!({ "ttl": "240h", "renewable": false }));
    let shown = set(&bao, &home, &token);
    assert_eq!(shown["login_end"]["reason"], "not-renewable", "{shown}");
    assert_eq!(days_until(&shown["login_end"]["at"]), 9);

    // Without the policy `default`, a token may neither look itself up nor renew itself.
    let bare = json!({ "period": "240h", "no_default_policy": true });
    let shown = set(&bao, &home, &bao.token("ca-key", bare.clone()));
    assert_eq!(shown["login_end"]["state"], "unknown", "{shown}");
    let told = logins_in_forecast(&home, "30d");
    assert!(told.len() == 1 && told[0].contains("auth/token/lookup-self"), "{told:?}");
    let rules = "path \"transit/+/ca-key\" { capabilities = [\"read\", \"update\"] }
                 path \"auth/token/lookup-self\" { capabilities = [\"read\"] }";
    let token = bao.token("ca-key", bare);
    bao.post("sys/policies/acl/ca-key", json!({ "policy": rules }));
    let shown = set(&bao, &home, &token);
    assert_eq!(shown["login_end"]["reason"], "renewal-denied", "{shown}");
    let said = home.run(&["kms", "show", "--check"]);
    assert!(said.stdout.contains("`update` on auth/token/renew-self"), "{said:?}");
}

#[test]
fn a_forecast_renews_a_periodic_token_and_reports_a_refused_one() {
    let (bao, home) = ready();
    let token = bao.token("ca-key", json!({ "period": "240h" }));
    let shown = set(&bao, &home, &token);
    assert_eq!(shown["login_end"]["state"], "open", "{shown}");
    assert_eq!(logins_in_forecast(&home, "30d"), [""; 0]);
    bao.post("auth/token/revoke", json!({ "token": token }));
    let told = logins_in_forecast(&home, "30d");
    assert!(told.len() == 1 && told[0].contains("refused the token"), "{told:?}");
    let said = home.run(&["forecast"]);
    assert!(said.stdout.contains("cluster-ca kms set"), "{said:?}");
}

#[test]
fn a_forecast_without_the_service_says_what_it_does_not_know() {
    let (mut bao, home) = ready();
    set(&bao, &home, &bao.token("ca-key", json!({ "period": "240h" })));
    bao.stop();
    let finished = home.run(&["forecast"]);
    assert_eq!(finished.exit, Some(0), "{finished:?}");
    assert!(finished.stderr.contains("note: the end of the login to"), "{finished:?}");
}

#[test]
fn the_end_of_a_signers_token_is_reported_like_any_other() {
    let bao = Bao::start();
    bao.post("transit/keys/root-key", json!({ "type": "ecdsa-p256" }));
    let policy = "path \"transit/keys/root-key\" { capabilities = [\"read\"] }
                  path \"transit/sign/root-key\" { capabilities = [\"update\"] }";
    bao.post("sys/policies/acl/signer", json!({ "policy": policy }));
    let request =
        json!({ "policies": ["signer"], "no_parent": true, "ttl": "24h", "explicit_max_ttl": "240h" });
    let home = Home::empty();
    let answer = bao.post("auth/token/create", request.clone());
    let token = secret(&home, "token", answer["auth"]["client_token"].as_str().unwrap());
    let (address, ca) = (&bao.address, bao.ca());
    let signer = ["--signer", "vault:root-key", "--signer-address", address, "--signer-ca-cert", &ca];
    let made =
        home.run(&[&["--json", "initialize", "prod"], &signer[..], &["--token-file", &token]].concat());
    assert_eq!(made.result()["cluster"], "prod");
    assert!(
        made.stderr.contains("note: the login to") && made.stderr.contains("explicit maximum"),
        "{made:?}"
    );
    let shown = home.ok(&["kms", "show", "--check"]);
    assert_eq!(shown["signer_login_end"]["reason"], "explicit-maximum", "{shown}");
    assert_eq!(logins_in_forecast(&home, "30d").len(), 1);
    let answer = bao.post("auth/token/create", request);
    let token = secret(&home, "token", answer["auth"]["client_token"].as_str().unwrap());
    let shown = home.ok(&["kms", "set", "signer", "--token-file", &token]);
    assert_eq!(shown["login_end"]["reason"], "explicit-maximum", "{shown}");
}

#[test]
fn the_end_of_a_kmip_client_certificate_is_in_the_forecast() {
    let mut server = KmipServer::start(&[]);
    let uid = server.administer("create");
    server.pki.issue_until("client", Some(ExtendedKeyUsagePurpose::ClientAuth), time::Duration::days(20));
    let home = Home::initialized();
    let [ca, certificate, key] = ["ca.pem", "client.pem", "client.key"].map(|name| server.pki.file(name));
    let client = ["--client-cert", &certificate, "--client-key", &key, "--ca-cert", &ca];
    let shown = home.ok(&[&["kms", "set", "kmip", &server.address(), &uid], &client[..]].concat());
    assert_eq!(shown["login_end"]["reason"], "certificate-expires", "{shown}");
    assert_eq!(days_until(&shown["login_end"]["at"]), 19);
    server.stop();
    let told = logins_in_forecast(&home, "30d");
    assert!(told.len() == 1 && told[0].contains("the client certificate expires"), "{told:?}");
    assert_eq!(logins_in_forecast(&home, "10d"), [""; 0]);
}

/// Runs a command with these variables set, and none of another name that would be read.
fn with(home: &Home, arguments: &[&str], variables: &[(&str, &str)]) -> Finished {
    let mut command = home.command(arguments);
    for prefix in ["BAO", "VAULT"] {
        for name in ["ADDR", "CACERT", "NAMESPACE", "TOKEN"] {
            command.env_remove(format!("{prefix}_{name}"));
        }
    }
    command.envs(variables.iter().copied());
    Finished::from(command.output().unwrap())
}

#[test]
fn variables_of_vault_and_openbao_are_read_where_ours_are_not_set_and_named() {
    let bao = Bao::start();
    bao.post("sys/namespaces/team", json!({}));
    bao.post_in(Some("team"), "sys/mounts/transit", json!({ "type": "transit" }));
    bao.post_in(Some("team"), "transit/keys/ca-key", json!({}));
    let home = Home::initialized();
    let (address, ca) = (bao.address.clone(), bao.ca());
    let nobody = format!("https://127.0.0.1:{}", crate::bao::free_port());
    let variables = [
        ("VAULT_ADDR", address.as_str()),
        ("VAULT_CACERT", &ca),
        ("VAULT_NAMESPACE", "team"),
        ("VAULT_TOKEN", "root"),
    ];
    let set = ["--json", "kms", "set", "vault", "ca-key"];
    let finished = with(&home, &set, &variables);
    assert_eq!(finished.result()["namespace"], "team", "{finished:?}");
    for (variable, _) in variables {
        assert!(finished.stderr.contains(variable), "{variable}: {finished:?}");
    }
    assert!(!finished.stderr.contains("root\n"), "{finished:?}");
    // All that was read is stored: no later command needs the variables.
    assert_eq!(with(&home, &["create-api-user", "alice"], &[]).exit, Some(0));
    assert_eq!(home.ok(&["ca-cert"])["certificates"].as_array().unwrap().len(), 1);

    // Those of OpenBao come first, ours before both, arguments before all.
    let mixed = [("VAULT_ADDR", nobody.as_str()), ("BAO_ADDR", &address)];
    let ours = [("VAULT_TOKEN", "wrong"), ("BAO_TOKEN", "wrong"), ("CLUSTER_CA_KMS_TOKEN", "root")];
    let finished = with(&home, &set, &[&mixed[..], &ours[..], &[("BAO_NAMESPACE", "team")]].concat());
    finished.result();
    assert!(finished.stderr.contains("BAO_ADDR") && !finished.stderr.contains("_TOKEN"), "{finished:?}");
    let given = ["--json", "kms", "set", "vault", &address, "ca-key", "--namespace", "team"];
    let finished = with(&home, &given, &[&ours[2..], &mixed[..1], &[("VAULT_NAMESPACE", "sys")]].concat());
    assert!(finished.result()["namespace"] == "team" && finished.stderr.is_empty(), "{finished:?}");
    assert!(with(&home, &["--quiet", "kms", "set", "vault", "ca-key"], &variables).stderr.is_empty());
}

#[test]
fn a_bad_variable_of_vault_is_named_in_the_refusal_and_stores_nothing() {
    let (bao, home) = ready();
    home.ok(&["ca-cert", "reset"]);
    let before = home.state();
    let plain = bao.address.replace("https", "http");
    let ca = bao.ca();
    let missing = home.path("missing.pem").into_os_string().into_string().unwrap();
    let set = ["--json", "kms", "set", "vault", "ca-key"];
    let token = ("VAULT_TOKEN", "root");
    for (variables, exit, code, word) in [
        (vec![token], 2, "usage.vault_address", "VAULT_ADDR"),
        (vec![token, ("VAULT_ADDR", plain.as_str())], 2, "kms.address", "VAULT_ADDR"),
        (
            vec![token, ("VAULT_ADDR", &bao.address), ("VAULT_CACERT", &missing)],
            3,
            "file.missing",
            "VAULT_CACERT",
        ),
        (
            vec![token, ("VAULT_ADDR", &bao.address), ("VAULT_NAMESPACE", "sys")],
            2,
            "kms.name",
            "VAULT_NAMESPACE",
        ),
        (
            vec![("VAULT_TOKEN", "s.no"), ("VAULT_ADDR", &bao.address), ("VAULT_CACERT", &ca)],
            4,
            "kms.token_refused",
            "refused the token",
        ),
    ] {
        let finished = with(&home, &set, &variables);
        let refusal = finished.refusal();
        assert_eq!((refusal.exit, refusal.code.as_str()), (exit, code), "{refusal:?}");
        assert!(refusal.words().contains(word), "{refusal:?}");
        assert!(home.state() == before, "{variables:?}");
    }
}
