//! A root key with a passphrase: it opens with the passphrase alone, and openssl reads it too.

use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::home::{Finished, Home};

const PASSPHRASE: &str = "correct horse battery staple";

fn passphrase_file(home: &Home, name: &str, text: &str) -> String {
    let path = home.write(name, text);
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    path.into_os_string().into_string().unwrap()
}

/// A home whose root key is encrypted with [`PASSPHRASE`], and a passphrase file.
fn protected() -> (Home, String) {
    let home = Home::empty();
    let file = passphrase_file(&home, "passphrase", &format!("{PASSPHRASE}\n"));
    // Not empty any more, but already private.
    home.ok(&["initialize", "prod", "--passphrase-file", &file]);
    (home, file)
}

fn openssl(arguments: &[&str], key: PathBuf, home: &Home) -> std::process::Output {
    let file = home.path("openssl.pass");
    Command::new("openssl")
        .args(arguments)
        .arg("-in")
        .arg(key)
        .arg("-passin")
        .arg(format!("file:{}", file.display()))
        .output()
        .expect("openssl runs")
}

#[test]
fn every_command_that_needs_the_root_key_opens_it_with_the_passphrase() {
    let (home, file) = protected();
    home.ok(&["create-api-user", "alice", "--passphrase-file", &file]);
    home.ok(&["revoke", "api-user/alice", "--passphrase-file", &file]);
    let refusal = home.refused(&["create-api-user", "bob"]);
    assert_eq!((refusal.exit, refusal.code.as_str()), (2, "key.passphrase_needed"));
    assert!(refusal.hint.contains("--passphrase-file"), "{refusal:?}");
    // Commands that only read need no key.
    home.ok(&["list"]);
    home.ok(&["audit", "verify"]);
}

#[test]
fn a_wrong_passphrase_reveals_and_changes_nothing() {
    let (home, _) = protected();
    let before = home.state();
    for wrong in ["correct horse battery stapl", "? ?", "Correct horse battery staple"] {
        let file = passphrase_file(&home, "wrong", wrong);
        let refusal = home.refused(&["create-api-user", "bob", "--passphrase-file", &file]);
        assert_eq!((refusal.exit, refusal.code.as_str()), (1, "key.wrong_passphrase"));
        assert!(refusal.causes.is_empty() && !refusal.words().contains(wrong), "{refusal:?}");
        fs::remove_file(file).unwrap();
    }
    assert!(home.state() == before);
}

#[test]
fn openssl_reads_our_keys() {
    let (home, _) = protected();
    passphrase_file(&home, "openssl.pass", PASSPHRASE);
    let output = openssl(&["pkey", "-pubout"], home.path("cluster.key"), &home);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let certificate = Command::new("openssl")
        .args(["x509", "-noout", "-pubkey", "-in"])
        .arg(home.path("cluster.crt"))
        .output()
        .unwrap();
    assert_eq!(output.stdout, certificate.stdout);
}

#[test]
fn keys_of_openssl_are_read() {
    for form in
        [&["-scrypt"][..], &["-v2", "aes-256-cbc"], &["-v2", "aes-128-cbc", "-v2prf", "hmacWithSHA512"]]
    {
        let home = Home::initialized();
        passphrase_file(&home, "openssl.pass", "not needed");
        let file = passphrase_file(&home, "passphrase", PASSPHRASE);
        let plain = home.path("plain.key");
        fs::rename(home.path("cluster.key"), &plain).unwrap();
        let out = home.path("cluster.key");
        let (out, passout) = (out.to_str().unwrap(), format!("file:{file}"));
        let arguments = [&["pkcs8", "-topk8", "-out", out, "-passout", &passout][..], form].concat();
        assert!(openssl(&arguments, plain, &home).status.success());
        fs::set_permissions(out, Permissions::from_mode(0o600)).unwrap();
        home.ok(&["create-api-user", "alice", "--passphrase-file", &file]);
    }
}

#[test]
fn a_key_is_protected_changed_and_unprotected_and_opens_at_every_step() {
    let home = Home::initialized();
    let old = passphrase_file(&home, "old", PASSPHRASE);
    let new = passphrase_file(&home, "new", "another twelve characters");
    let shown = |home: &Home| home.ok(&["key", "show"])["protection"].as_str().unwrap().to_owned();
    assert_eq!(shown(&home), "none");

    home.ok(&["key", "protect", "--passphrase-file", &old]);
    assert_eq!(shown(&home), "passphrase");
    let again = home.refused(&["key", "protect", "--passphrase-file", &old]);
    assert_eq!(again.code, "key.protected_by_passphrase");

    home.ok(&["key", "change-passphrase", "--passphrase-file", &old, "--new-passphrase-file", &new]);
    assert_eq!(
        home.refused(&["create-api-user", "alice", "--passphrase-file", &old]).code,
        "key.wrong_passphrase"
    );
    home.ok(&["create-api-user", "alice", "--passphrase-file", &new]);

    home.ok(&["key", "unprotect", "--passphrase-file", &new]);
    home.ok(&["create-api-user", "bob"]);
    assert_eq!(home.refused(&["key", "unprotect"]).code, "key.not_protected");
    let mode = fs::metadata(home.path("cluster.key")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    let audit = home.ok(&["audit", "list"]);
    let actions: Vec<&str> = audit
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|entry| entry["action"].as_str())
        .filter(|action| action.starts_with("key."))
        .collect();
    assert_eq!(actions, ["key.protect", "key.protect", "key.unprotect"]);
    home.ok(&["audit", "verify"]);
}

#[test]
fn protecting_a_linked_key_replaces_the_file_and_not_the_link() {
    let home = Home::initialized();
    let file = passphrase_file(&home, "passphrase", PASSPHRASE);
    let elsewhere = tempfile::tempdir().unwrap();
    let target = elsewhere.path().join("root.key");
    fs::rename(home.path("cluster.key"), &target).unwrap();
    std::os::unix::fs::symlink(&target, home.path("cluster.key")).unwrap();
    home.ok(&["key", "protect", "--passphrase-file", &file]);
    assert!(fs::symlink_metadata(home.path("cluster.key")).unwrap().is_symlink());
    assert!(fs::read_to_string(&target).unwrap().contains("ENCRYPTED PRIVATE KEY"));
}

#[test]
fn bad_passphrases_are_refused_before_anything_is_created() {
    let home = Home::empty();
    for (text, code) in
        [("short", "key.weak_passphrase"), ("\nsecond line is long enough", "key.passphrase_empty")]
    {
        let file = passphrase_file(&home, "bad", text);
        let refusal = home.refused(&["initialize", "prod", "--passphrase-file", &file]);
        assert_eq!(refusal.code, code);
    }
    let open = home.write("open", PASSPHRASE);
    fs::set_permissions(&open, Permissions::from_mode(0o644)).unwrap();
    let refusal = home.refused(&["initialize", "prod", "--passphrase-file", open.to_str().unwrap()]);
    assert_eq!(refusal.code, "file.exposed");
    let refusal = home.refused(&["initialize", "prod", "--passphrase-fd", "77"]);
    assert_eq!(refusal.code, "key.passphrase_unreadable");
    assert!(!home.path("cluster.key").exists() && !home.path("ca.db").exists());
}

#[test]
fn a_passphrase_is_read_from_a_file_descriptor() {
    let (home, _) = protected();
    let mut child = home
        .command(&["--json", "create-api-user", "alice", "--passphrase-fd", "0"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    writeln!(child.stdin.take().unwrap(), "{PASSPHRASE}").unwrap();
    Finished::from(child.wait_with_output().unwrap()).result();
}

/// Runs a command on a terminal, simulated by `script`, and types the answer to each prompt.
fn on_terminal(home: &Home, arguments: &[&str], answers: &[(&str, &str)]) -> (bool, String) {
    let command = home.command(arguments);
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let line: Vec<String> = words.map(|word| format!("'{}'", word.to_str().unwrap())).collect();
    let mut child = Command::new("script")
        .args(["-qec", &line.join(" "), "/dev/null"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("script starts");
    let (mut keyboard, mut screen) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let mut said = Vec::new();
    for (prompt, answer) in answers {
        let from = said.len();
        while !String::from_utf8_lossy(&said[from..]).contains(prompt) {
            let mut byte = [0];
            assert_eq!(screen.read(&mut byte).unwrap(), 1, "{}", String::from_utf8_lossy(&said));
            said.push(byte[0]);
        }
        writeln!(keyboard, "{answer}").unwrap();
    }
    screen.read_to_end(&mut said).unwrap();
    (child.wait().unwrap().success(), String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn a_terminal_prompts_for_a_passphrase_and_twice_for_a_new_one() {
    let home = Home::initialized();
    let new = "New passphrase of";
    let (done, said) =
        on_terminal(&home, &["key", "protect"], &[(new, PASSPHRASE), ("Repeat it", "something else")]);
    assert!(!done && said.contains("the two entries differ"), "{said}");
    assert_eq!(home.ok(&["key", "show"])["protection"], "none");
    let (done, said) =
        on_terminal(&home, &["key", "protect"], &[(new, PASSPHRASE), ("Repeat it", PASSPHRASE)]);
    assert!(done, "{said}");
    assert_eq!(home.ok(&["key", "show"])["protection"], "passphrase");
    let asked = "Passphrase of";
    let (done, said) =
        on_terminal(&home, &["create-api-user", "alice"], &[(asked, "wrong, and long enough")]);
    assert!(!done && said.contains("key.wrong_passphrase"), "{said}");
    let (done, said) = on_terminal(&home, &["create-api-user", "alice"], &[(asked, PASSPHRASE)]);
    assert!(done, "{said}");
}

#[test]
fn a_key_in_an_older_form_is_written_as_pkcs8() {
    let home = Home::initialized();
    let passphrase = passphrase_file(&home, "openssl.pass", PASSPHRASE);
    let made = |name: &str, arguments: &[&str]| {
        let path = home.path(name);
        let done = Command::new("openssl").args(arguments).arg("-out").arg(&path).output().unwrap();
        assert!(done.status.success(), "{done:?}");
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        path
    };
    let sec1 = made("sec1.key", &["ecparam", "-name", "prime256v1", "-genkey", "-noout"]);
    let pkcs1 = made("pkcs1.key", &["genrsa", "-traditional"]);
    for key in [sec1, pkcs1] {
        let path = key.to_str().unwrap();
        home.ok(&["key", "protect", path, "--passphrase-file", &passphrase]);
        let read = openssl(&["pkey", "-noout"], key.clone(), &home);
        assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
        home.ok(&["key", "unprotect", path, "--passphrase-file", &passphrase]);
        let text = fs::read_to_string(&key).unwrap();
        assert!(text.starts_with("-----BEGIN PRIVATE KEY-----\n"), "{text}");
        // An AlgorithmIdentifier follows the version, as in PKCS#8 and in no other form.
        let dump = Command::new("openssl").args(["asn1parse", "-in"]).arg(&key).output().unwrap();
        let dump = String::from_utf8(dump.stdout).unwrap();
        assert!(dump.lines().nth(2).is_some_and(|line| line.contains("SEQUENCE")), "{dump}");
    }
}
