//! An inventory that another program changed: whoever can write `ca.db` has no key, and gets nothing signed.

use std::fs;

use cluster_ca::audit::{Action, AuditEntry, AuditEvent, Head, Outcome};
use cluster_ca::store::{Inventory, StoreError};
use rusqlite::{Connection, params};
use serde_json::Value;

use crate::home::Home;

const ISSUE: [&str; 2] = ["create-api-user", "bob"];

/// A home in which `mallory` has a certificate, and that of `alice` is revoked.
fn lived_in() -> Home {
    let home = Home::initialized();
    home.ok(&["create-api-user", "alice"]);
    home.ok(&["create-api-user", "mallory"]);
    home.ok(&["create-api-user", "carol"]);
    home.ok(&["revoke", "api-user/alice", "--reason", "key-compromise"]);
    home
}

fn tamper(home: &Home, sql: &str) {
    let connection = Connection::open(home.path("ca.db")).expect("the inventory");
    connection.execute_batch("PRAGMA foreign_keys = OFF; PRAGMA ignore_check_constraints = ON").expect("set");
    connection.execute_batch(sql).expect("changed");
}

/// Replaces the audit chain by the entries that `change` leaves of it, linked and hashed anew.
fn rewrite_chain(home: &Home, change: impl Fn(&AuditEvent) -> Option<AuditEvent>) {
    let inventory = Inventory::open_reader(&home.path("ca.db")).expect("the inventory");
    let mut head = Head::EMPTY;
    let mut entries = Vec::new();
    let read = inventory.audit_entries(0, |entry: AuditEntry| {
        entries.extend(change(&entry.event).map(|event| head.append(event).0));
        Ok::<_, StoreError>(())
    });
    read.expect("the chain");
    drop(inventory);
    tamper(home, "DELETE FROM audit");
    entries.iter().for_each(|entry| insert(home, entry));
}

fn insert(home: &Home, entry: &AuditEntry) {
    let connection = Connection::open(home.path("ca.db")).expect("the inventory");
    let event = &entry.event;
    let inserted = connection.execute(
        "INSERT INTO audit (seq, at, actor, action, target, outcome, reason, details, previous, hash) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        params![
            i64::try_from(entry.seq).expect("a small number"),
            event.provenance.at.unix_timestamp(),
            event.provenance.actor.as_str(),
            event.action.as_str(),
            event.target,
            event.outcome.as_str(),
            event.provenance.reason,
            event.details.to_string(),
            entry.previous.0,
            entry.hash.0,
        ],
    );
    inserted.expect("an entry");
}

/// Appends an entry to the chain, as another program would.
fn append(home: &Home, action: Action, target: &str, details: Value) -> u64 {
    let inventory = Inventory::open_reader(&home.path("ca.db")).expect("the inventory");
    let mut head = inventory.audit_head().expect("a head");
    let last = inventory.audit_entry(head.seq).expect("read").expect("an entry");
    drop(inventory);
    let target = target.to_owned();
    let event = AuditEvent { action, target, outcome: Outcome::Success, details, ..last.event };
    let (entry, _) = head.append(event);
    insert(home, &entry);
    entry.seq
}

/// Asserts that each of the commands is refused with `code`, that nothing was signed, and that `doctor` names it.
fn assert_refused(home: &Home, commands: &[&[&str]], code: &str) {
    let before = home.contents();
    for arguments in commands {
        let refusal = home.refused(arguments);
        assert_eq!(refusal.code, code, "{arguments:?}: {refusal:?}");
        assert!(refusal.hint.contains("ca.db"), "{refusal:?}");
    }
    let mut after = home.contents();
    after.insert("ca.db".into(), before[std::path::Path::new("ca.db")].clone());
    assert!(after == before, "a file was changed");
    let found = home.run(&["--json", "doctor"]).json();
    let findings = found["result"]["findings"].as_array().expect("findings").clone();
    assert!(findings.iter().any(|finding| finding["code"] == code), "{code}: {findings:?}");
}

#[test]
fn a_renamed_row_is_not_renewed_under_its_new_name() {
    for renamed in [
        "UPDATE certificate SET name = 'admin' WHERE name = 'mallory'",
        "UPDATE certificate SET role = 'control-service', name = 'admin' WHERE name = 'mallory'",
    ] {
        let home = lived_in();
        tamper(&home, renamed);
        let before = fs::read(home.path("issued/user-mallory.crt")).expect("a certificate");
        let told = home.run(&["--json", "renew", "--expires-within", "3000d"]);
        assert_eq!(told.exit, Some(1), "{told:?}");
        assert!(told.stdout.contains("ca.record_differs"), "{told:?}");
        assert_eq!(fs::read(home.path("issued/user-mallory.crt")).expect("it"), before, "nothing was signed");
    }
    let home = lived_in();
    tamper(&home, "UPDATE certificate SET name = 'admin' WHERE name = 'mallory'");
    for command in ["renew", "rekey", "revoke", "hold"] {
        let told = home.run(&["--json", command, "api-user/admin"]);
        assert!(told.exit == Some(1) && told.stdout.contains("ca.record_differs"), "{command}: {told:?}");
    }
}

#[test]
fn a_certificate_of_another_identity_in_the_place_of_the_stored_one_is_not_renewed() {
    let home = lived_in();
    tamper(
        &home,
        "UPDATE certificate_der SET der = (SELECT der FROM certificate_der JOIN certificate USING (id) WHERE name = 'carol')
             WHERE id = (SELECT id FROM certificate WHERE name = 'mallory');
         UPDATE certificate SET fingerprint = (SELECT fingerprint FROM certificate WHERE name = 'carol')
             WHERE name = 'mallory'",
    );
    let told = home.run(&["--json", "renew", "api-user/mallory"]);
    assert!(told.exit == Some(1) && told.stdout.contains("ca.record_differs"), "{told:?}");
}

#[test]
fn no_file_is_written_to_a_path_that_another_program_changed() {
    let home = lived_in();
    let outside = tempfile::tempdir().expect("a directory");
    let [certificate, key] = ["leaked.crt", "leaked.key"].map(|name| outside.path().join(name));
    tamper(
        &home,
        &format!(
            "UPDATE certificate SET key_path = CAST('{}' AS BLOB) WHERE name = 'carol'; \
             UPDATE certificate SET certificate_path = CAST('{}' AS BLOB) WHERE name = 'mallory'",
            key.display(),
            certificate.display()
        ),
    );
    for command in
        [&["rekey", "api-user/carol"][..], &["renew", "api-user/mallory"], &["rekey", "api-user/mallory"]]
    {
        let refusal = home.refused(command);
        assert_eq!(
            (refusal.code.as_str(), refusal.exit),
            ("store.inconsistent", 3),
            "{command:?}: {refusal:?}"
        );
    }
    assert!(!certificate.exists() && !key.exists());
}

#[test]
fn an_entry_of_the_first_version_has_no_paths() {
    let home = lived_in();
    rewrite_chain(&home, |event| {
        let mut event = event.clone();
        if let Some(details) = event.details.as_object_mut() {
            details.retain(|field, _| !field.ends_with("_path"));
        }
        Some(event)
    });
    fs::remove_file(home.path("cluster.crl")).expect("removed");
    home.ok(&["renew", "api-user/carol"]);
    home.ok(&["audit", "verify"]);
}

#[test]
fn a_validity_that_another_program_changed_is_not_believed() {
    let home = lived_in();
    tamper(&home, "UPDATE certificate SET not_after = not_after + 1 WHERE name = 'mallory'");
    let told = home.run(&["--json", "renew", "api-user/mallory"]);
    assert!(told.exit == Some(1) && told.stdout.contains("ca.record_differs"), "{told:?}");
}

#[test]
fn a_revocation_taken_out_of_the_inventory_stops_every_signature() {
    let commands: &[&[&str]] =
        &[&ISSUE, &["crl", "publish"], &["revoke", "api-user/carol"], &["renew", "api-user/carol"]];
    for forgotten in [
        "UPDATE certificate SET revoked_at = NULL, revocation_reason = NULL WHERE name = 'alice'",
        "UPDATE certificate SET revoked_at = NULL, revocation_reason = NULL, revocation_entry = NULL WHERE name = 'alice'",
        "DELETE FROM certificate_der WHERE id = (SELECT id FROM certificate WHERE name = 'alice'); \
         DELETE FROM certificate WHERE name = 'alice'",
    ] {
        let home = lived_in();
        tamper(&home, forgotten);
        assert_refused(&home, commands, "ca.revocation_lost");
    }
}

#[test]
fn a_revocation_that_no_audit_entry_tells_of_is_not_signed() {
    let publish: &[&[&str]] = &[&["crl", "publish"], &["revoke", "api-user/mallory"]];
    for forged in [
        // Of a certificate that is valid.
        "UPDATE certificate SET revoked_at = reserved_at, revocation_reason = 1, revocation_entry = issue_entry \
         WHERE name = 'carol'",
        "UPDATE certificate SET revoked_at = reserved_at, revocation_reason = 1, \
             revocation_entry = (SELECT revocation_entry FROM certificate WHERE name = 'alice') \
         WHERE name = 'carol'",
        // A permanent revocation that becomes a hold, and one of another day.
        "UPDATE certificate SET revocation_reason = 6 WHERE name = 'alice'",
        "UPDATE certificate SET revoked_at = revoked_at + 86400 WHERE name = 'alice'",
    ] {
        let home = lived_in();
        tamper(&home, forged);
        assert_refused(&home, publish, "store.inconsistent");
    }
}

#[test]
fn the_dates_of_the_next_crl_do_not_come_from_the_inventory_alone() {
    for forged in [
        "UPDATE issuer SET crl_next_update = crl_next_update + 86400 * 3000",
        "UPDATE issuer SET crl_this_update = crl_this_update - 86400",
        "UPDATE issuer SET crl_number = 1, crl_next_update = crl_next_update + 86400 * 3000",
        "UPDATE issuer SET crl_number = NULL, crl_this_update = NULL, crl_next_update = NULL, crl_sha256 = NULL",
    ] {
        let home = lived_in();
        tamper(&home, forged);
        assert_refused(&home, &[&ISSUE, &["crl", "publish"]], "store.inconsistent");
    }
}

#[test]
fn the_numbers_of_crls_are_not_used_up_by_a_row() {
    const SIGNING: [&[&str]; 4] =
        [&["crl", "publish"], &["revoke", "api-user/carol"], &["hold", "api-user/carol"], &ISSUE];
    for next in [9_000_000_000, i64::MAX - 1, i64::MAX] {
        let home = lived_in();
        tamper(&home, &format!("UPDATE issuer SET next_crl_number = {next}"));
        assert_refused(&home, &SIGNING, "home.inventory_ahead");
        fs::remove_file(home.path("cluster.crl")).expect("removed");
        let refusal = home.refused(&["crl", "publish"]);
        assert_eq!(refusal.code, "home.inventory_ahead", "without the last CRL: {refusal:?}");
    }
    // Interrupted processes leave numbers out.
    let home = lived_in();
    tamper(&home, "UPDATE issuer SET next_crl_number = 1000");
    assert_eq!(home.ok(&["crl", "publish"])["crl_number"], "1000");
}

#[test]
fn a_compromised_key_is_not_certified_again_under_another_reason() {
    let home = lived_in();
    let key = fs::read_to_string(home.path("issued/user-alice.key")).expect("a key");
    let key = rcgen::KeyPair::from_pem(&key).expect("a key pair");
    let csr = rcgen::CertificateParams::default().serialize_request(&key).expect("a CSR").pem().expect("PEM");
    let csr = home.write("alice.csr", csr);
    let issue = ["create-api-user", "bob", "--csr", csr.to_str().expect("text")];
    assert_eq!(home.refused(&issue).code, "ca.key_compromised");
    tamper(&home, "UPDATE certificate SET revocation_reason = 4 WHERE name = 'alice'");
    assert_refused(&home, &[&issue], "store.inconsistent");
}

#[test]
fn a_key_is_not_handed_over_under_the_name_of_another_row() {
    let home = lived_in();
    tamper(
        &home,
        "UPDATE certificate SET name = CASE name WHEN 'carol' THEN 'mallory' ELSE 'carol' END \
         WHERE name IN ('carol', 'mallory')",
    );
    let output = home.path("handed.tar");
    let refusal = home.refused(&["bundle", "api-user/mallory", "--output", output.to_str().expect("text")]);
    assert_eq!(refusal.code, "ca.record_differs", "{refusal:?}");
    assert!(!output.exists());
}

#[test]
fn without_the_last_crl_the_whole_chain_vouches_for_the_revocations() {
    let home = lived_in();
    fs::remove_file(home.path("cluster.crl")).expect("removed");
    let told = home.run(&ISSUE);
    assert!(told.exit == Some(0) && told.stderr.contains("the CRL was missing"), "{told:?}");
    home.ok(&["crl", "verify"]);

    tamper(&home, "UPDATE certificate SET revoked_at = NULL, revocation_reason = NULL WHERE name = 'alice'");
    fs::remove_file(home.path("cluster.crl")).expect("removed");
    assert_refused(&home, &[&ISSUE, &["crl", "publish"]], "store.inconsistent");
}

#[test]
fn an_older_crl_in_the_place_of_the_last_one_vouches_for_nothing() {
    let home = lived_in();
    let older = home.duplicate();
    home.ok(&["revoke", "api-user/carol"]);
    fs::copy(older.path("cluster.crl"), home.path("cluster.crl")).expect("copied");
    tamper(&home, "UPDATE certificate SET revoked_at = NULL, revocation_reason = NULL WHERE name = 'carol'");
    assert_refused(&home, &[&ISSUE, &["crl", "publish"]], "store.inconsistent");
}

#[test]
fn a_chain_that_was_rewritten_as_a_whole_contradicts_the_signed_crl() {
    let home = lived_in();
    rewrite_chain(&home, |event| {
        let event = event.clone();
        (event.action != Action::CertificateRevoke).then_some(event)
    });
    let commands: &[&[&str]] = &[&ISSUE, &["crl", "publish"], &["renew", "api-user/carol"]];
    assert_refused(&home, commands, "audit.broken");
}

#[test]
fn another_trust_domain_is_not_issued_for() {
    let commands: &[&[&str]] = &[&ISSUE, &["create-control", "api"], &["renew", "api-user/carol"]];
    let change = "UPDATE cluster SET trust_domain = 'evil.example'";
    let home = lived_in();
    tamper(&home, change);
    assert_refused(&home, commands, "store.inconsistent");

    // The first entry and its link are rewritten too; the signed CRL has the hash of the first entry.
    let home = lived_in();
    let inventory = Inventory::open_reader(&home.path("ca.db")).expect("the inventory");
    let mut event = inventory.audit_entry(1).expect("read").expect("an entry").event;
    drop(inventory);
    event.details["trust_domain"] = "evil.example".into();
    let (entry, _) = Head::EMPTY.clone().append(event);
    tamper(&home, &format!("{change}; DELETE FROM audit WHERE seq = 1"));
    insert(&home, &entry);
    tamper(&home, &format!("UPDATE audit SET previous = x'{}' WHERE seq = 2", entry.hash));
    assert_refused(&home, commands, "home.root_differs");
}

#[test]
fn a_cluster_of_another_name_or_root_is_not_signed_for() {
    for change in [
        "UPDATE cluster SET name = 'prod2'",
        "UPDATE cluster SET uuid = x'00000000000040008000000000000000'",
        "UPDATE issuer SET key_id = x'00'",
    ] {
        let home = lived_in();
        tamper(&home, change);
        assert_refused(&home, &[&ISSUE, &["crl", "publish"]], "home.root_differs");
    }
}

#[test]
fn a_trigger_that_undoes_revocations_is_refused_before_revoke_says_done() {
    let home = lived_in();
    tamper(
        &home,
        "CREATE TRIGGER quiet AFTER UPDATE OF revoked_at ON certificate WHEN new.revoked_at IS NOT NULL BEGIN
             UPDATE certificate SET revoked_at = NULL, revocation_reason = NULL WHERE id = new.id; END",
    );
    assert_refused(&home, &[&["revoke", "api-user/carol"], &ISSUE], "store.schema");
}

#[test]
fn an_index_that_lacks_a_revoked_row_is_noticed() {
    let home = lived_in();
    let connection = Connection::open(home.path("ca.db")).expect("the inventory");
    let definition: String = connection
        .query_row("SELECT sql FROM sqlite_schema WHERE name = 'certificate_revoked'", [], |row| row.get(0))
        .expect("a definition");
    let (page, at, reason): (i64, i64, i64) = connection
        .query_row(
            "SELECT (SELECT rootpage FROM sqlite_schema WHERE name = 'certificate_revoked'), revoked_at, revocation_reason
             FROM certificate WHERE name = 'alice'",
            [],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )
        .expect("a revoked row");
    drop(connection);
    tamper(&home, "UPDATE certificate SET revoked_at = NULL, revocation_reason = NULL WHERE name = 'alice'");
    let hide = "PRAGMA writable_schema = ON; DELETE FROM sqlite_schema WHERE name = 'certificate_revoked'";
    tamper(&home, hide);
    tamper(
        &home,
        &format!(
            "UPDATE certificate SET revoked_at = {at}, revocation_reason = {reason} WHERE name = 'alice'"
        ),
    );
    let connection = Connection::open(home.path("ca.db")).expect("the inventory");
    connection.execute_batch("PRAGMA writable_schema = ON").expect("set");
    connection
        .execute(
            "INSERT INTO sqlite_schema (type, name, tbl_name, rootpage, sql) \
             VALUES ('index', 'certificate_revoked', 'certificate', ?1, ?2)",
            params![page, definition],
        )
        .expect("shown again");
    drop(connection);
    let commands: &[&[&str]] = &[&ISSUE, &["crl", "publish"]];
    assert_refused(&home, commands, "store.inconsistent");
    fs::remove_file(home.path("cluster.crl")).expect("removed");
    assert_refused(&home, commands, "store.inconsistent");
}

/// A home with a CRL that is too long to be compared at each opening, and with `alice`, who is on it.
fn with_long_crl() -> Home {
    let home = lived_in();
    home.ok(&["create-node", "--count", "2001"]);
    home.ok(&["revoke", "--role", "node-agent", "--yes"]);
    assert!(home.path("cluster.crl.statement").exists(), "the root states what it signed");
    home
}

#[test]
fn a_revocation_is_not_lost_beside_a_long_crl() {
    let home = with_long_crl();
    tamper(
        &home,
        "UPDATE certificate SET revoked_at = NULL, revocation_reason = NULL, revocation_entry = NULL
             WHERE name = 'alice'",
    );
    // What does not use the certificate is signed.
    home.ok(&ISSUE);
    let key = home.path("issued/user-alice.key");
    let csr = home.path("alice.csr");
    let made = std::process::Command::new("openssl")
        .args(["req", "-new", "-subj", "/CN=user-zoe", "-key"])
        .arg(&key)
        .arg("-out")
        .arg(&csr)
        .status();
    assert!(made.expect("openssl").success());
    let csr = csr.to_str().expect("text");
    let told = home.run(&["--json", "renew", "api-user/alice"]);
    assert!(told.exit == Some(1) && told.stdout.contains("ca.revocation_lost"), "{told:?}");
    for refused in
        [&["create-api-user", "zoe", "--csr", csr][..], &["crl", "publish"], &["revoke", "api-user/carol"]]
    {
        assert_eq!(home.refused(refused).code, "ca.revocation_lost", "{refused:?}");
    }
    let found = home.run(&["--json", "doctor"]).stdout;
    assert!(found.contains("ca.revocation_lost"), "{found}");
}

#[test]
fn a_statement_about_a_long_crl_is_believed_for_that_crl_only() {
    let home = with_long_crl();
    let statement = home.path("cluster.crl.statement");
    let signed = fs::read(&statement).expect("a statement");
    let older = home.duplicate();
    home.ok(&["revoke", "api-user/carol"]);
    assert_ne!(fs::read(&statement).expect("a statement"), signed);

    // An older inventory, with its statement, beside the newer CRL.
    let mixed = older.duplicate();
    fs::copy(home.path("cluster.crl"), mixed.path("cluster.crl")).expect("copied");
    assert_eq!(mixed.refused(&ISSUE).code, "home.inventory_behind");

    // Another trust domain, for which the first entry was rewritten.
    let other = older.duplicate();
    let inventory = Inventory::open_reader(&other.path("ca.db")).expect("the inventory");
    let mut event = inventory.audit_entry(1).expect("read").expect("an entry").event;
    drop(inventory);
    event.details["trust_domain"] = "evil.example".into();
    let (entry, _) = Head::EMPTY.clone().append(event);
    tamper(&other, "UPDATE cluster SET trust_domain = 'evil.example'; DELETE FROM audit WHERE seq = 1");
    insert(&other, &entry);
    tamper(&other, &format!("UPDATE audit SET previous = x'{}' WHERE seq = 2", entry.hash));
    assert_eq!(other.refused(&ISSUE).code, "home.root_differs");

    // Without a statement, or with a forged one, the CRL is read.
    for contents in [
        Vec::new(),
        signed,
        b"-----BEGIN CLUSTER CRL STATEMENT-----\nAAAA\n-----END CLUSTER CRL STATEMENT-----\n".to_vec(),
    ] {
        fs::write(&statement, contents).expect("written");
        home.ok(&["create-node"]);
    }
    fs::remove_file(&statement).expect("removed");
    home.ok(&["create-node"]);
    home.ok(&["audit", "verify"]);
}

#[test]
fn a_release_that_no_crl_was_signed_for_does_not_take_effect() {
    let home = lived_in();
    home.ok(&["hold", "api-user/carol"]);
    let (id, issuer): (String, String) = Connection::open(home.path("ca.db"))
        .expect("the inventory")
        .query_row(
            "SELECT lower(hex(key_id)) || '/' || lower(substr(hex(serial), 9)), lower(hex(key_id))
             FROM certificate JOIN issuer ON issuer.id = issuer WHERE name = 'carol'",
            [],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .expect("a certificate");
    let target = target_of(&home, &id);
    let details = serde_json::json!({"role": "api-user", "name": "carol"});
    let entry = append(&home, Action::CertificateRelease, &target, details);
    tamper(
        &home,
        &format!(
            "UPDATE certificate SET revoked_at = NULL, revocation_reason = NULL, revocation_entry = {entry} WHERE name = 'carol'"
        ),
    );
    assert_refused(&home, &[&ISSUE, &["crl", "publish"]], "ca.revocation_lost");

    // Made to look like the work of a process that was killed before it signed.
    let number: i64 = Connection::open(home.path("ca.db"))
        .expect("the inventory")
        .query_row(
            "UPDATE issuer SET next_crl_number = next_crl_number + 1 RETURNING next_crl_number - 1",
            [],
            |row| row.get(0),
        )
        .expect("a number");
    let issuer = target_of(&home, &issuer);
    append(&home, Action::CrlReserve, &issuer, serde_json::json!({ "crl_number": number }));
    let told = home.run(&ISSUE);
    assert!(told.exit == Some(0) && told.stderr.contains("the hold remains"), "{told:?}");
    assert_eq!(home.ok(&["show", "api-user/carol"])["status"], "on-hold");
    home.ok(&["crl", "verify"]);
    home.ok(&["audit", "verify"]);
    home.ok(&["release", "api-user/carol"]);
    assert_eq!(home.ok(&["show", "api-user/carol"])["status"], "valid");
}

/// The spelling of `id` in the audit chain.
fn target_of(home: &Home, id: &str) -> String {
    let plain = |text: &str| text.replace([':', '/'], "").to_lowercase();
    let targets: Vec<String> = Connection::open(home.path("ca.db"))
        .expect("the inventory")
        .prepare("SELECT target FROM audit")
        .and_then(|mut all| all.query_map([], |row| row.get(0))?.collect())
        .expect("targets");
    targets.into_iter().find(|target| plain(target) == plain(id)).expect("the target")
}

#[test]
fn a_bulk_revocation_finds_the_certificate_that_a_changed_row_keeps_out_of_it() {
    let home = lived_in();
    assert_eq!(home.run(&["create-node", "--count", "1002"]).exit, Some(0));
    tamper(
        &home,
        "UPDATE certificate SET role = 'api-user', name = 'kept-out'
             WHERE id = (SELECT max(id) FROM certificate WHERE role = 'node-agent')",
    );
    assert_refused(&home, &[&["revoke", "--role", "node-agent", "--yes"]], "store.inconsistent");
    let revoked = home.run(&["--json", "list", "--role", "node-agent", "--status", "revoked"]).json();
    assert_eq!(revoked["result"], serde_json::json!([]), "nothing was recorded");
}
