//! What becomes of a certificate after its first day: renewed, rekeyed, held, released, revoked.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::crash::aftermath::belong_together;
use crate::home::Home;

const RENEWED: &str = "issued/user-alice";

fn with_alice() -> Home {
    let home = Home::initialized();
    home.ok(&["create-api-user", "alice"]);
    home
}

fn serial(result: &Value) -> &str {
    result["serial_number"].as_str().expect("a serial number")
}

fn pair(home: &Home) -> [PathBuf; 2] {
    ["crt", "key"].map(|end| home.path(format!("{RENEWED}.{end}")))
}

fn statuses(home: &Home) -> Vec<String> {
    let list = home.ok(&["list"]);
    let status = |record: &Value| record["status"].as_str().expect("text").to_owned();
    list.as_array().expect("an array").iter().map(status).collect()
}

fn openssl(arguments: &[&str], directory: &Path) -> String {
    let output = Command::new("openssl").args(arguments).current_dir(directory).output().expect("openssl");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn renewing_keeps_key_names_and_files() {
    let home = Home::initialized();
    let old = home.ok(&["create-control", "api.example.com", "--san", "10.0.0.5", "--san", "b.example.com"]);
    let certificate = PathBuf::from(old["certificate"].as_str().expect("a path"));
    let (before, key) =
        (fs::read(&certificate).expect("it"), fs::read(certificate.with_extension("key")).expect("it"));
    let new = home.ok(&["renew", "control-service/api.example.com"]);
    assert_eq!(new["supersedes"], old["serial_number"]);
    assert_ne!(new["serial_number"], old["serial_number"]);
    assert_eq!(new["hosts"], old["hosts"]);
    assert_eq!(new["spiffe_id"], old["spiffe_id"]);
    assert_ne!(fs::read(&certificate).expect("it"), before);
    assert_eq!(fs::read(certificate.with_extension("key")).expect("it"), key, "the key stays");
    home.ok(&["verify", certificate.to_str().expect("text"), "--as", "server", "--host", "b.example.com"]);
    let subject =
        |file: &str| openssl(&["x509", "-in", file, "-noout", "-subject", "-pubkey"], Path::new("."));
    fs::write(home.path("old.crt"), before).expect("a copy");
    let old_file = home.path("old.crt");
    assert_eq!(subject(old_file.to_str().expect("text")), subject(certificate.to_str().expect("text")));
}

#[test]
fn every_way_to_name_a_certificate_renews_it() {
    let home = with_alice();
    let by_name = home.ok(&["renew", "api-user/alice"]);
    let by_serial = home.ok(&["renew", serial(&by_name)]);
    assert_eq!(by_serial["supersedes"], by_name["serial_number"]);
    let file = home.path(format!("{RENEWED}.crt"));
    let by_file = home.ok(&["renew", file.to_str().expect("text")]);
    assert_eq!(by_file["supersedes"], by_serial["serial_number"]);
    for unknown in ["api-user/bob", "00112233445566778899aabbccddeeff"] {
        assert_eq!(home.refused(&["renew", unknown]).code, "ca.unknown_certificate");
    }
    let elsewhere = with_alice();
    let foreign = elsewhere.path(format!("{RENEWED}.crt"));
    assert_eq!(home.refused(&["renew", foreign.to_str().expect("text")]).code, "ca.unknown_certificate");
}

#[test]
fn rekeying_replaces_both_files_and_a_request_none_of_the_keys() {
    let home = with_alice();
    let [certificate, key] = pair(&home);
    let before = fs::read(&key).expect("a key");
    home.ok(&["rekey", "api-user/alice"]);
    assert_ne!(fs::read(&key).expect("a key"), before);
    assert!(belong_together(&certificate, &key));
    home.ok(&["bundle", "api-user/alice", "--output", home.path("alice.tar").to_str().expect("text")]);
    let typed = home.ok(&["rekey", "api-user/alice", "--key-type", "ed25519"]);
    let shown = home.ok(&["show", serial(&typed)]);
    assert_eq!(shown["contents"]["key"], "ed25519", "{shown}");
    home.ok(&["rekey", "api-user/alice"]);
    assert_eq!(home.ok(&["show", "api-user/alice"])["contents"]["key"], "ed25519", "the old key's type");
}

#[test]
fn rekeying_what_was_renewed_to_another_place_leaves_the_pair_in_the_old_one_whole() {
    let home = with_alice();
    let [certificate, key] = pair(&home);
    home.ok(&["renew", "api-user/alice", "--output", home.path("new").to_str().expect("text")]);
    let before = [&certificate, &key].map(|path| fs::read(path).expect("it"));
    let rekeyed = home.ok(&["rekey", "api-user/alice"]);
    assert_eq!([&certificate, &key].map(|path| fs::read(path).expect("it")), before);
    let [certificate, key] =
        ["certificate", "key"].map(|part| PathBuf::from(rekeyed[part].as_str().expect("a path")));
    assert_eq!(certificate.with_extension("key"), key);
    assert!(key.starts_with(home.path("new")) && belong_together(&certificate, &key));
    home.ok(&["rekey", "api-user/alice"]);
    assert!(belong_together(&certificate, &key));
}

#[test]
fn rekeying_never_puts_an_open_key_in_the_place_of_a_protected_one() {
    let home = with_alice();
    let [certificate, key] = pair(&home);
    let passphrase = home.write("passphrase", "seven random words would be better");
    fs::set_permissions(&passphrase, fs::Permissions::from_mode(0o600)).expect("a mode");
    let passphrase = passphrase.to_str().expect("text");
    home.ok(&["key", "protect", key.to_str().expect("text"), "--passphrase-file", passphrase]);
    let before = [&certificate, &key].map(|path| fs::read(path).expect("it"));
    let refused = home.refused(&["rekey", "api-user/alice"]);
    assert_eq!(refused.code, "ca.unprotects", "{refused:?}");
    assert_eq!([&certificate, &key].map(|path| fs::read(path).expect("it")), before);
    home.ok(&["renew", "api-user/alice"]);
    home.ok(&["key", "unprotect", key.to_str().expect("text"), "--passphrase-file", passphrase]);
    home.ok(&["rekey", "api-user/alice"]);
    assert!(belong_together(&certificate, &key));
}

#[test]
fn a_key_made_elsewhere_is_renewed_or_replaced_by_a_new_request_only() {
    let home = Home::initialized();
    let directory = home.path("");
    let request = |name: &str| {
        let (key, csr) = (format!("{name}.key"), format!("{name}.csr"));
        openssl(
            &[
                "req",
                "-new",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
                "-keyout",
                &key,
                "-subj",
                "/CN=x",
                "-out",
                &csr,
            ],
            &directory,
        );
        home.path(csr).to_str().expect("text").to_owned()
    };
    let first = request("first");
    home.ok(&["create-api-user", "bob", "--csr", &first]);
    assert!(home.ok(&["renew", "api-user/bob"])["key"].is_null());
    assert_eq!(home.refused(&["rekey", "api-user/bob"]).code, "ca.key_elsewhere");
    assert_eq!(home.refused(&["rekey", "api-user/bob", "--csr", &first]).code, "ca.same_key");
    home.ok(&["rekey", "api-user/bob", "--csr", &request("second")]);
    home.ok(&["verify", home.path("issued/user-bob.crt").to_str().expect("text")]);
}

#[test]
fn the_lineage_is_told_and_is_one_line() {
    let home = with_alice();
    let first = home.ok(&["show", "api-user/alice"]);
    assert_eq!(first["lineage"], Value::Array(Vec::new()));
    let second = home.ok(&["renew", "api-user/alice"]);
    let third = home.ok(&["rekey", "api-user/alice"]);
    let middle = home.ok(&["show", serial(&second)]);
    assert_eq!(middle["supersedes"], first["serial_number"]);
    assert_eq!(middle["superseded_by"], third["serial_number"]);
    assert_eq!(middle["lineage"].as_array().map(Vec::len), Some(3));
    let newest = home.ok(&["show", "api-user/alice"]);
    assert_eq!(newest["serial_number"], third["serial_number"], "a name stands for the newest");
    assert_eq!(home.refused(&["renew", serial(&first)]).code, "ca.superseded");
    assert_eq!(home.ok(&["list", "--newest"]).as_array().map(Vec::len), Some(1));
    home.ok(&["audit", "verify"]);
}

#[test]
fn a_revoked_identity_is_not_renewed() {
    let home = with_alice();
    let old = home.ok(&["show", "api-user/alice"]);
    home.ok(&["hold", "api-user/alice"]);
    assert_eq!(home.refused(&["renew", "api-user/alice"]).code, "ca.identity_revoked");
    home.ok(&["release", "api-user/alice"]);
    let new = home.ok(&["renew", "api-user/alice"]);
    home.ok(&["revoke", serial(&new)]);
    for target in [serial(&new), "api-user/alice"] {
        assert_eq!(home.refused(&["rekey", target]).code, "ca.identity_revoked");
    }
    assert_eq!(home.refused(&["renew", serial(&old)]).code, "ca.superseded");
    // Let in again by a deliberate new certificate, it can be renewed like any other.
    pair(&home).iter().for_each(|file| fs::remove_file(file).expect("removed"));
    home.ok(&["create-api-user", "alice"]);
    home.ok(&["renew", "api-user/alice"]);
}

#[test]
fn all_that_are_due_are_renewed_once_and_what_cannot_be_keeps_nobody() {
    let home = Home::initialized();
    home.ok(&["create-node", "--count", "12", "--validity", "10d"]);
    home.ok(&["create-api-user", "alice", "--validity", "10d"]);
    home.ok(&["create-api-user", "bob"]);
    fs::write(home.path("issued/user-alice.crt"), "something else").expect("written");
    let due = ["--expires-within", "30d"];
    let before = home.contents();
    let planned = home.run(&["--json", "renew", "--expires-within", "30d", "--dry-run"]).json();
    assert_eq!(planned["result"]["renewed"].as_array().map(Vec::len), Some(12));
    assert_eq!(home.contents(), before, "a dry run writes nothing");

    let renewed = home.run(&["--json", "renew", due[0], due[1]]);
    assert_eq!(renewed.exit, Some(1), "one could not be renewed");
    let result = &renewed.json()["result"];
    assert_eq!(result["renewed"].as_array().map(Vec::len), Some(12));
    assert_eq!(result["not_renewed"][0]["code"], "ca.file_foreign");
    assert_eq!(fs::read(home.path("issued/user-alice.crt")).expect("it"), b"something else");
    let again = home.run(&["--json", "renew", due[0], due[1], "--role", "node-agent"]).result();
    assert_eq!(again["renewed"].as_array().map(Vec::len), Some(0), "what was renewed is not due");
    home.ok(&["renew", "api-user/alice", "--output", home.path("new").to_str().expect("text")]);
    home.ok(&["audit", "verify"]);
}

#[test]
fn a_profile_that_became_stricter_refuses_the_renewal() {
    let home = Home::initialized();
    home.ok(&["create-node", "--san", "node1.example.com"]);
    let templates = home.path("templates");
    fs::create_dir(&templates).expect("a directory");
    for (name, text) in cluster_ca::profile::built_in() {
        let stricter = text.replace("dns: [\"*\"]", "dns: [\"*.example.org\"]");
        fs::write(templates.join(name), stricter).expect("a profile");
    }
    let list = home.ok(&["list", "--role", "node-agent"]);
    let refused =
        home.refused(&["--templates", templates.to_str().expect("text"), "renew", serial(&list[0])]);
    assert_eq!(refused.code, "policy.host_not_allowed");
}

#[test]
fn a_moved_home_renews_in_its_new_place() {
    let home = with_alice();
    let copy = home.duplicate();
    let before = home.contents();
    copy.ok(&["rekey", "api-user/alice"]);
    let [certificate, key] = pair(&copy);
    assert!(belong_together(&certificate, &key));
    assert_eq!(home.contents(), before, "nothing reaches back into the old place");
}

#[test]
fn an_ambiguous_name_lists_its_candidates() {
    let home = with_alice();
    let old = home.ok(&["show", "api-user/alice"]);
    let new = home.ok(&["renew", "api-user/alice"]);
    let refused = home.refused(&["revoke", "api-user/alice"]);
    assert_eq!((refused.code.as_str(), refused.exit), ("ca.ambiguous", 1));
    for one in [serial(&old), serial(&new)] {
        assert!(refused.message.contains(one), "{}", refused.message);
    }
    assert!(refused.hint.contains("--all-generations"));
    let all = home.ok(&["revoke", "api-user/alice", "--all-generations"]);
    assert_eq!(all["certificates"].as_array().map(Vec::len), Some(2));
    assert_eq!(statuses(&home), ["revoked", "revoked"]);
}

#[test]
fn revoking_again_says_so_and_succeeds() {
    let home = with_alice();
    let first = home.ok(&["revoke", "api-user/alice", "--reason", "key-compromise"]);
    assert_eq!((&first["already"], &first["reason"]), (&Value::Bool(false), &"key-compromise".into()));
    let again = home.ok(&["revoke", "api-user/alice", "--reason", "superseded"]);
    assert_eq!((&again["already"], &again["reason"]), (&Value::Bool(true), &"key-compromise".into()));
    assert_eq!(again["crl_number"], first["crl_number"], "nothing new to tell");
    // The list is there afterwards, whatever became of its file.
    let old = Home::initialized();
    fs::copy(old.path("cluster.crl"), home.path("cluster.crl")).expect("an overwritten list");
    home.ok(&["revoke", "api-user/alice"]);
    home.ok(&["crl", "verify"]);
}

#[test]
fn a_hold_is_lifted_or_becomes_a_revocation() {
    let home = with_alice();
    let entries = || home.ok(&["crl", "show"])["revoked"].clone();
    assert_eq!(home.refused(&["release", "api-user/alice"]).code, "ca.not_on_hold");
    home.ok(&["hold", "api-user/alice", "--comment", "lost laptop"]);
    assert_eq!(home.ok(&["hold", "api-user/alice"])["already"], true);
    assert_eq!(home.ok(&["list", "--reason", "certificate-hold"]).as_array().map(Vec::len), Some(1));
    assert_eq!(entries(), 1);
    let certificate = pair(&home)[0].to_str().expect("text").to_owned();
    assert_eq!(home.refused(&["verify", &certificate]).code, "revocation.revoked");
    home.ok(&["release", "api-user/alice"]);
    assert_eq!(home.ok(&["release", "api-user/alice"])["already"], true);
    assert_eq!(entries(), 0);
    home.ok(&["verify", &certificate]);

    home.ok(&["hold", "api-user/alice"]);
    assert_eq!(home.ok(&["revoke", "api-user/alice", "--reason", "key-compromise"])["already"], false);
    assert_eq!(home.refused(&["release", "api-user/alice"]).code, "ca.not_on_hold");
    assert_eq!(home.refused(&["hold", "api-user/alice"]).code, "ca.revocation_permanent");
    assert_eq!(home.ok(&["crl", "show"])["reasons"]["key-compromise"], 1);
    home.ok(&["audit", "verify"]);
}

#[test]
fn an_identity_is_held_and_released_with_all_its_generations() {
    let home = with_alice();
    home.ok(&["renew", "api-user/alice"]);
    home.ok(&["hold", "api-user/alice", "--all-generations"]);
    assert_eq!(statuses(&home), ["on-hold", "on-hold"]);
    home.ok(&["release", "api-user/alice", "--all-generations"]);
    assert_eq!(statuses(&home), ["renewed", "valid"]);
    assert_eq!(home.refused(&["hold", "1234", "--all-generations"]).code, "usage.target");
}

#[test]
fn a_key_or_a_file_revokes_every_certificate_it_is_about() {
    let home = with_alice();
    home.ok(&["renew", "api-user/alice"]);
    home.ok(&["create-api-user", "bob"]);
    let [certificate, key] = pair(&home).map(|path| path.to_str().expect("text").to_owned());
    let public = home.write("alice.pub", openssl(&["pkey", "-in", &key, "-pubout"], Path::new(".")));
    let by_key = home.ok(&["revoke", "--public-key", public.to_str().expect("text")]);
    assert_eq!(by_key["certificates"].as_array().map(Vec::len), Some(2));
    for same in [&key, &certificate] {
        let again = home.ok(&["revoke", "--public-key", same]);
        assert!(again["certificates"].as_array().expect("all").iter().all(|one| one["already"] == true));
    }
    // Parameters, key and certificate in one file are one key; two keys are not.
    let text = |path: &str| fs::read_to_string(path).expect("text");
    let parameters = "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n";
    let bob = home.path("issued/user-bob.crt").to_str().expect("text").to_owned();
    let all = home.write("all.pem", format!("{parameters}{}{}", text(&key), text(&certificate)));
    home.ok(&["revoke", "--public-key", all.to_str().expect("text")]);
    let two = home.write("two.pem", text(&key) + &text(&bob));
    let legacy = openssl(&["ec", "-in", &key, "-aes128", "-passout", "pass:abcd"], Path::new("."));
    let legacy = home.write("legacy.pem", legacy);
    for (file, code) in [(two, "input.public_key"), (legacy, "key.legacy_encryption")] {
        let refusal = home.refused(&["revoke", "--public-key", file.to_str().expect("text")]);
        assert_eq!(refusal.code, code, "{refusal:?}");
        assert!(!refusal.hint.is_empty(), "{refusal:?}");
    }
    let twice = fs::read_to_string(&bob).expect("a certificate").repeat(2);
    let twice = home.write("twice.pem", twice);
    let by_file = home.ok(&["revoke", "--file", twice.to_str().expect("text")]);
    assert_eq!(by_file["certificates"].as_array().map(Vec::len), Some(1), "{by_file}");
    let stranger = Home::initialized();
    stranger.ok(&["create-api-user", "eve"]);
    let eve = stranger.path("issued/user-eve.crt").to_str().expect("text").to_owned();
    assert_eq!(home.refused(&["revoke", "--file", &eve]).code, "ca.unknown_certificate");
    assert_eq!(home.refused(&["revoke", "--public-key", &eve]).code, "ca.unknown_key");
    assert_eq!(statuses(&home), ["revoked", "revoked", "revoked"]);
}

#[test]
fn two_of_one_identity_do_not_get_the_same_place() {
    let home = Home::initialized();
    let second = home.path("second").to_str().expect("text").to_owned();
    home.ok(&["create-api-user", "alice"]);
    home.ok(&["create-api-user", "alice", "--output", &second]);
    let to = home.path("out").to_str().expect("text").to_owned();
    let finished = home.run(&["--json", "renew", "--expires-within", "9y", "--output", &to]);
    assert_eq!(finished.exit, Some(1), "{finished:?}");
    let result = &finished.json()["result"];
    assert_eq!(result["renewed"].as_array().map(Vec::len), Some(1), "{result}");
    assert_eq!(result["not_renewed"][0]["code"], "file.exists", "{result}");
    assert!(home.path("out/user-alice.crt").exists());
    assert_eq!(home.run(&["doctor"]).exit, Some(0));
}

#[test]
fn revoking_in_bulk_is_previewed_and_confirmed() {
    let home = with_alice();
    home.ok(&["create-node", "--count", "3"]);
    let before = home.state();
    let refused = home.refused(&["revoke", "--role", "node-agent"]);
    assert_eq!((refused.code.as_str(), refused.exit), ("usage.not_confirmed", 2));
    let hit = home.ok(&["revoke", "--role", "node-agent", "--dry-run"]);
    assert_eq!(hit.as_array().map(Vec::len), Some(3));
    assert!(home.state() == before, "nothing was revoked");
    for (option, hit) in [("--issued-after", 0), ("--issued-before", 4)] {
        let found = home.ok(&["revoke", option, "9999-01-01", "--dry-run"]);
        assert_eq!(found.as_array().map(Vec::len), Some(hit), "{option}");
    }
    let done = home.ok(&["revoke", "--role", "node-agent", "--issued-after", "2020-01-01", "--yes"]);
    assert_eq!(done["certificates"].as_array().map(Vec::len), Some(3));
    assert_eq!(statuses(&home), ["valid", "revoked", "revoked", "revoked"]);
    let again = home.ok(&["revoke", "--role", "node-agent", "--yes"]);
    assert_eq!(again["certificates"].as_array().map(Vec::len), Some(0));
    home.ok(&["crl", "verify"]);
}

#[test]
fn the_root_is_never_on_its_own_list() {
    let home = with_alice();
    let root = home.path("cluster.crt").to_str().expect("text").to_owned();
    let key = home.path("cluster.key").to_str().expect("text").to_owned();
    let contents = home.ok(&["inspect", &root]);
    let number = contents[0]["contents"][0]["serial_number"].as_str().expect("a serial number").to_owned();
    let before = home.state();
    for arguments in [
        ["revoke", number.as_str()].as_slice(),
        &["revoke", &root],
        &["revoke", "--file", &root],
        &["revoke", "--public-key", &root],
        &["revoke", "--public-key", &key],
        &["hold", &number],
    ] {
        assert_eq!(home.refused(arguments).code, "ca.root_on_own_crl", "{arguments:?}");
    }
    assert!(home.state() == before, "nothing was changed");
}

#[test]
fn a_key_revoked_as_compromised_is_never_certified_again() {
    let home = with_alice();
    let path = |name: &str| home.path(name).to_str().expect("text").to_owned();
    let request = |key: &str, csr: &str| {
        openssl(&["req", "-new", "-key", &path(key), "-subj", "/CN=x", "-out", &path(csr)], Path::new("."));
        path(csr)
    };
    let csr = request("issued/user-alice.key", "alice.csr");
    home.ok(&["renew", "api-user/alice"]);
    let first = home
        .ok(&["list", "--name", "alice"])
        .as_array()
        .expect("an array")
        .iter()
        .find_map(|one| (!one["superseded_by"].is_null()).then(|| serial(one).to_owned()));
    home.ok(&["revoke", &first.expect("the first generation"), "--reason", "key-compromise"]);
    for command in [
        &["create-api-user", "mallory", "--csr", &csr][..],
        &["create-api-user", "mallory", "--csr", &csr, "--dry-run"],
        &["renew", "api-user/alice"],
    ] {
        let refusal = home.refused(command);
        assert_eq!(
            (refusal.code.as_str(), refusal.exit),
            ("ca.key_compromised", 1),
            "{command:?}: {refusal:?}"
        );
    }
    let found = home.run(&["--json", "doctor"]);
    assert!(found.stdout.contains("doctor.key_compromised"), "the one that still holds is named: {found:?}");
    home.ok(&["rekey", "api-user/alice"]);
    home.ok(&["revoke", "--public-key", &csr, "--reason", "key-compromise"]);
    home.ok(&["doctor"]);
}

#[test]
fn the_roots_own_key_is_never_a_callers() {
    let home = Home::initialized();
    let [key, csr] =
        ["cluster.key", "root.csr"].map(|name| home.path(name).to_str().expect("text").to_owned());
    openssl(&["req", "-new", "-key", &key, "-subj", "/CN=x", "-out", &csr], Path::new("."));
    assert_eq!(home.refused(&["create-api-user", "mallory", "--csr", &csr]).code, "ca.root_key");
}

#[test]
fn what_a_revocation_leaves_as_it_was_is_said() {
    let home = Home::initialized();
    home.ok(&["create-api-user", "alice"]);
    home.ok(&["renew", "api-user/alice"]);
    let newest = home.ok(&["show", "api-user/alice"])["serial_number"].as_str().expect("text").to_owned();
    let older = home.ok(&["list"]);
    let older =
        older.as_array().expect("rows").iter().map(|row| row["serial_number"].as_str().expect("text"));
    let older = older.into_iter().find(|serial| *serial != newest).expect("the first").to_owned();
    let told = home.run(&["revoke", &newest]);
    assert!(told.exit == Some(0) && !told.stderr.contains(&older), "no key is compromised: {told:?}");
    // The reason stays, and that is said; whoever has the key has it for the other one, too.
    let told = home.run(&["revoke", &newest, "--reason", "key-compromise"]);
    assert_eq!(told.exit, Some(0), "{told:?}");
    assert!(told.stderr.contains("(unspecified); date and reason stay unchanged"), "{told:?}");
    assert!(told.stderr.contains(&older) && told.stderr.contains("--public-key"), "{told:?}");
}

#[test]
fn a_new_certificate_takes_the_place_of_a_revoked_one() {
    let home = with_alice();
    let first = serial(&home.ok(&["show", "api-user/alice"])).to_owned();
    home.ok(&["hold", "api-user/alice"]);
    assert_eq!(home.refused(&["create-api-user", "alice"]).code, "file.exists", "a hold may be lifted");
    home.ok(&["revoke", "api-user/alice", "--reason", "key-compromise"]);
    let refusal = home.refused(&["rekey", "api-user/alice"]);
    assert!(refusal.code == "ca.identity_revoked" && refusal.hint.contains("superseded/"), "{refusal:?}");
    let issued = home.ok(&["create-api-user", "alice"]);
    let moved = home.path(format!("issued/superseded/user-alice.{first}.crt"));
    assert_eq!(issued["superseded"].as_str().map(PathBuf::from), Some(moved.canonicalize().expect("moved")));
    assert!(belong_together(&moved, &moved.with_extension("key")), "the old pair stays a pair");
    let [certificate, key] = pair(&home);
    assert!(belong_together(&certificate, &key), "the new pair is in its place");
    home.ok(&["renew", "api-user/alice"]);
    assert_eq!(home.refused(&["create-api-user", "alice"]).code, "file.exists", "it is valid");
    home.ok(&["doctor"]);
    // A file that is not the revoked certificate stays.
    home.ok(&["revoke", "api-user/alice", "--all-generations"]);
    fs::copy(home.path("cluster.crt"), &certificate).expect("a copy");
    assert_eq!(home.refused(&["create-api-user", "alice"]).code, "file.exists");
}

#[test]
fn what_has_expired_is_due_until_something_takes_its_place() {
    let home = Home::initialized();
    let brief = ["--validity", "1h"];
    for name in ["late", "gone", "again"] {
        home.ok(&[&["create-api-user", name], &brief[..]].concat());
    }
    home.ok(&["revoke", "api-user/gone"]);
    let later = crate::now() + time::Duration::hours(3);
    let at = cluster_ca::clock::rfc3339(later);
    let found = home.run(&["--json", "doctor", "--at", &at]);
    let findings = found.json()["result"]["findings"].to_string();
    assert!(findings.contains("doctor.expired") && findings.contains("2 certificates"), "{findings}");
}

#[test]
fn a_host_name_of_253_characters_gets_a_certificate() {
    let home = Home::initialized();
    let host = [&"a".repeat(63)[..], &"b".repeat(63), &"c".repeat(63), &"d".repeat(61)].join(".");
    assert_eq!(host.len(), 253);
    let issued = home.ok(&["create-control", &host]);
    let certificate = PathBuf::from(issued["certificate"].as_str().expect("a path"));
    assert!(certificate.exists() && certificate.file_name().expect("a name").len() <= 255);
    home.ok(&["renew", &format!("control-service/{host}")]);
    home.ok(&["rekey", &format!("control-service/{host}")]);
    home.ok(&["doctor"]);
}
