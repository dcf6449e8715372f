//! What is advised fits the case: the file, the option and the command that help here.

use std::fs;

use super::run_inside;
use crate::home::{Home, Refusal};

fn refused(home: &Home, arguments: &[&str]) -> Refusal {
    run_inside(home, &[&["--json"], arguments].concat()).refusal()
}

#[test]
fn advice_is_about_this_command_and_this_state() {
    let home = Home::initialized();
    super::close(&home.write("passphrase", "correct horse battery staple\n"));
    for name in ["alice", "bob", "carol"] {
        home.ok(&["create-api-user", name]);
    }
    home.ok(&["hold", "api-user/bob"]);
    home.ok(&["create-api-user", "carol", "--output", home.path("more").to_str().expect("text")]);
    let password = ["--password-file", "passphrase"];
    run_inside(&home, &[&["--json", "backup", "a.age"][..], &password].concat()).result();
    run_inside(&home, &["--json", "bundle", "api-user/alice"]).result();
    for (arguments, advised, never) in [
        (&["renew", "api-user/bob"][..], "release", "issue a new one"),
        (&["create-api-user", "alice"], "--output DIR", "--output FILE"),
        (&["bundle", "api-user/alice"], "--output FILE", "--output DIR"),
        (&["backup", "a.age", "--password-file", "passphrase"], "another name or place", "--output"),
        (&["renew", "api-user/carol"], "serial number", "revoke"),
        (&["show", "api-user/carol"], "serial number", "revoke"),
        (&["revoke", "api-user/carol"], "--all-generations", "--output"),
        (&["hold", "api-user/carol"], "--all-generations", "revoke all"),
        (&["show", "issued/user-nobody.crt"], "a certificate's file", "is not a role"),
        (
            &["distribute", "issued/nobody", "--to", "root@node:/etc/cluster"],
            "a certificate's file",
            "is not a role",
        ),
        (&["key", "protect"], "--passphrase-file", "is protected by"),
    ] {
        let refusal = refused(&home, arguments);
        assert!(refusal.hint.contains(advised), "{arguments:?}: {refusal:?}");
        assert!(!refusal.words().contains(never), "{arguments:?}: {refusal:?}");
    }
    run_inside(&home, &["--json", "key", "protect", "--passphrase-file", "passphrase"]).result();
    let refusal = refused(&home, &["key", "change-passphrase", "--passphrase-file", "passphrase"]);
    assert_eq!((refusal.exit, refusal.code.as_str()), (2, "key.passphrase_needed"));
    assert!(
        refusal.message.contains("new passphrase") && refusal.hint.contains("--new-passphrase-file"),
        "{refusal:?}"
    );
}

#[test]
fn a_certificate_is_named_by_its_file_wherever_one_is_named() {
    let home = Home::initialized();
    home.ok(&["create-api-user", "alice"]);
    let file = "issued/user-alice.crt";
    for command in [
        &["show", file][..],
        &["bundle", file],
        &["distribute", file, "--to", "root@node:/etc/cluster", "--dry-run"],
        &["renew", file, "--expires-within", "1d"][..2],
    ] {
        run_inside(&home, &[&["--json"], command].concat()).result();
    }
    home.write("hosts.yaml", "deliveries:\n- { identity: api-user/alice, to: \"root@node:/etc/cluster\" }\n");
    let plans = run_inside(&home, &["--json", "distribute", file, "--dry-run"]).result();
    assert_eq!(plans[0]["destination"], "root@node:/etc/cluster", "{plans}");
}

#[test]
fn results_say_what_was_done_and_where() {
    let home = Home::initialized();
    home.ok(&["create-api-user", "alice"]);
    home.ok(&["renew", "api-user/alice"]);
    let held = home.run(&["hold", "api-user/alice", "--all-generations"]).stdout;
    assert!(held.contains("2 put on hold, 0 were already") && !held.contains("2 revoked"), "{held}");
    super::close(&home.write("password", "correct horse battery staple\n"));
    let more = ["--password-file", "password"];
    run_inside(&home, &[&["--json", "backup", "a.age"][..], &more].concat()).result();
    let restored = run_inside(&home, &[&["restore", "a.age", "--reconcile"][..], &more].concat());
    assert!(restored.stdout.starts_with("Restored .\n"), "{restored:?}");
}

#[test]
fn a_key_behind_a_passphrase_is_inspected_as_one() {
    let home = Home::initialized();
    super::close(&home.write("passphrase", "correct horse battery staple\n"));
    run_inside(&home, &["--json", "key", "protect", "--passphrase-file", "passphrase"]).result();
    let found = run_inside(&home, &["--json", "inspect", "cluster.key"]).result();
    let found = &found[0]["contents"][0];
    assert_eq!((&found["kind"], &found["encrypted"]), (&"private key".into(), &true.into()), "{found}");
    let damaged = fs::read_to_string(home.path("cluster.crt")).expect("a certificate").replace("MII", "???");
    let file = home.write("damaged.pem", damaged);
    let refusal = home.refused(&["inspect", file.to_str().expect("text")]);
    assert!(refusal.exit == 3 && refusal.message.contains("damaged.pem"), "{refusal:?}");
}
