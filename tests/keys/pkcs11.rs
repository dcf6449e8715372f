//! Non-exportable root keys in a PKCS#11 token: a real SoftHSM, and a faulty module.

use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, chown};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::home::{Finished, Home, Refusal};
use crate::softhsm::{MODULE, PIN, SoftHsm};

/// A SoftHSM and a home. The PIN is in the environment by default.
struct Setup {
    hsm: SoftHsm,
    home: Home,
    /// Environment of cluster-ca.
    environment: Vec<(&'static str, String)>,
}

impl Setup {
    /// With the key `root` (id 01), and no cluster yet.
    fn new() -> Self {
        let hsm = SoftHsm::start();
        hsm.make_key("root", "01", &["--usage-sign"]);
        let environment = vec![("CLUSTER_CA_PKCS11_PIN", PIN.to_owned())];
        Self { hsm, home: Home::empty(), environment }
    }

    /// With the cluster `prod`.
    fn initialized() -> Self {
        let setup = Self::new();
        setup.initialize("token=prod;object=root", "").result();
        setup
    }

    /// With the cluster `prod`, whose module fails on request.
    fn with_faulty_module() -> Self {
        let mut setup = Self::new();
        let module = setup.hsm.faulty_module();
        setup.environment.push(("TOKEN_MODULE", MODULE.to_owned()));
        setup.environment.push(("TOKEN_LOG", setup.hsm.path("log").to_str().unwrap().to_owned()));
        setup.run(&["initialize", "prod", "--signer", &uri("token=prod;object=root", &module, "")]).result();
        fs::remove_file(setup.hsm.path("log")).unwrap();
        setup
    }

    fn without_pin(mut self) -> Self {
        self.environment.retain(|(name, _)| *name != "CLUSTER_CA_PKCS11_PIN");
        self
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.home.command(arguments);
        self.hsm.lead(&mut command);
        command.envs(self.environment.iter().map(|(name, value)| (name, value.as_str())));
        command
    }

    fn run(&self, arguments: &[&str]) -> Finished {
        let arguments = [&["--json"], arguments].concat();
        Finished::from(self.command(&arguments).output().unwrap())
    }

    fn ok(&self, arguments: &[&str]) -> Value {
        self.run(arguments).result()
    }

    fn refused(&self, arguments: &[&str]) -> Refusal {
        self.run(arguments).refusal()
    }

    /// `initialize` with the key that `path` names.
    fn initialize(&self, path: &str, query: &str) -> Finished {
        self.run(&["initialize", "prod", "--signer", &uri(path, MODULE, query)])
    }

    /// Checks that the command was refused and created nothing.
    fn no_cluster(&self, finished: &Finished) -> Refusal {
        for name in ["ca.db", "cluster.crt", "cluster.crl", "kms.json", "cluster.key"] {
            assert!(!self.home.path(name).exists(), "{name}");
        }
        finished.refusal()
    }

    fn with_fault(&self, fault: &str, arguments: &[&str]) -> Finished {
        let arguments = [&["--json"], arguments].concat();
        Finished::from(self.command(&arguments).env("TOKEN_FAULT", fault).output().unwrap())
    }

    /// Number of logins and of signatures asked of the faulty module.
    fn asked(&self) -> (usize, usize) {
        let log = fs::read_to_string(self.hsm.path("log")).unwrap_or_default();
        let count = |what| log.lines().filter(|line| *line == what).count();
        (count("login"), count("sign"))
    }

    fn private_file(&self, name: &str, text: &str) -> String {
        let path = self.hsm.path(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        path.into_os_string().into_string().unwrap()
    }

    fn openssl_accepts(&self, leaf: &str) {
        let [root, leaf, crl] = ["cluster.crt", leaf, "cluster.crl"].map(|name| self.home.path(name));
        let output = Command::new("openssl")
            .arg("verify")
            .args(["-CAfile".as_ref(), root.as_os_str()])
            .args(["-CRLfile".as_ref(), crl.as_os_str()])
            .args(["-crl_check".as_ref(), leaf.as_os_str()])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

fn uri(path: &str, module: &str, query: &str) -> String {
    format!("pkcs11:{path}?module-path={module}{query}")
}

#[test]
fn every_command_works_without_a_key_file() {
    let setup = Setup::new();
    let made = setup.initialize("token=prod;object=root;type=private", "").result();
    assert_eq!((&made["key"], &made["key_protection"]["protection"]), (&Value::Null, &json!("held")));
    assert!(!setup.home.path("cluster.key").exists());
    setup.ok(&["create-control", "api.example.com"]);
    setup.ok(&["create-node", "--count", "20"]);
    setup.ok(&["create-api-user", "alice"]);
    setup.ok(&["create-api-user", "bob"]);
    setup.ok(&["renew", "api-user/bob"]);
    setup.ok(&["rekey", "api-user/bob"]);
    setup.ok(&["hold", "api-user/bob", "--all-generations"]);
    setup.ok(&["release", "api-user/bob", "--all-generations"]);
    setup.ok(&["revoke", "api-user/alice"]);
    setup.ok(&["crl", "publish"]);
    setup.openssl_accepts("issued/control-api.example.com.crt");
    let leaf = setup.home.path("issued/control-api.example.com.crt");
    setup.ok(&["verify", leaf.to_str().unwrap()]);
    setup.ok(&["audit", "verify"]);
    assert_eq!(setup.ok(&["doctor"])["findings"], json!([]));
    setup.ok(&["forecast", "--within", "1d"]);
}

#[test]
fn the_root_certificate_has_the_form_of_one_with_a_key_file() {
    let setup = Setup::initialized();
    let file = Home::initialized();
    let text = |home: &Home| {
        let output = Command::new("openssl")
            .args(["x509", "-noout", "-text", "-nameopt", "RFC2253", "-in"])
            .arg(home.path("cluster.crt"))
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        // Fields, extensions and algorithms; no random or time-dependent values.
        let differs = |line: &str| {
            let digits = line.trim().chars().all(|c| c.is_ascii_hexdigit() || c == ':');
            digits || ["Not ", "Issuer:", "Subject:"].iter().any(|word| line.trim_start().starts_with(word))
        };
        text.lines().filter(|line| !differs(line)).map(str::to_owned).collect::<Vec<_>>()
    };
    let (held, plain) = (text(&setup.home), text(&file));
    assert!(held.iter().any(|line| line.contains("CA:TRUE")), "{held:?}");
    assert_eq!(held, plain);
}

#[test]
fn the_token_is_reported_and_tested() {
    let setup = Setup::initialized();
    let held_by = uri("token=prod;object=root", MODULE, "");
    assert_eq!(setup.ok(&["key", "show"]), json!({ "key": null, "protection": "held", "by": held_by }));
    let state = setup.ok(&["kms", "show", "--check"]);
    assert_eq!((&state["signer"], &state["checked"]), (&json!(held_by), &json!(true)));
    let output = setup.command(&["kms", "show", "--check"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("reached, logged in, signed\n"), "{text}");
    for command in [&["key", "protect"][..], &["key", "unprotect"], &["key", "change-passphrase"]] {
        let passphrase = setup.private_file("passphrase", "correct horse battery staple");
        for more in [&[][..], &["--passphrase-file", &passphrase]] {
            let refusal = setup.refused(&[command, more].concat());
            assert_eq!((refusal.exit, refusal.code.as_str()), (1, "key.held"), "{command:?}");
        }
    }
    let setup = setup.without_pin();
    // Commands that only read need no PIN.
    for command in [&["key", "show"][..], &["kms", "show"], &["list"], &["crl", "show"]] {
        setup.ok(command);
    }
    let findings = setup.ok(&["doctor"])["findings"].clone();
    assert_eq!(findings[0]["code"], "doctor.key_not_opened", "{findings}");
    setup.hsm.remove_tokens();
    assert_eq!(setup.refused(&["kms", "show", "--check"]).code, "pkcs11.token_missing");
}

#[test]
fn a_backup_contains_no_key_and_can_be_restored() {
    let setup = Setup::initialized();
    setup.ok(&["create-api-user", "alice"]);
    let password = setup.private_file("password", "correct horse battery staple");
    let backup = setup.hsm.path("prod.backup");
    let backup = backup.to_str().unwrap();
    setup.ok(&["backup", backup, "--password-file", &password]);
    setup.ok(&["backup", backup, "--verify", "--password-file", &password]);
    let other = Setup { home: Home::empty(), ..setup };
    other.ok(&["restore", backup, "--password-file", &password, "--no-newer-crl"]);
    assert!(!other.home.path("cluster.key").exists());
    other.ok(&["create-api-user", "bob"]);
    other.openssl_accepts("issued/user-bob.crt");
}

#[test]
fn one_login_signs_a_whole_batch() {
    let setup = Setup::with_faulty_module();
    setup.ok(&["create-node", "--count", "1500"]);
    assert_eq!(setup.asked(), (1, 1500));
}

#[test]
fn a_wrong_pin_is_tried_once() {
    let setup = Setup::with_faulty_module().without_pin();
    for wrong in ["9999", "1", &"1234".repeat(100)] {
        fs::write(setup.hsm.path("log"), "").unwrap();
        let file = setup.private_file("wrong", &format!("{wrong}\n"));
        let refusal = setup.refused(&["create-node", "--count", "3", "--pin-file", &file]);
        assert_eq!((refusal.exit, refusal.code.as_str()), (4, "pkcs11.pin_wrong"), "{refusal:?}");
        assert!(refusal.message.contains("lock the token"), "{refusal:?}");
        if wrong.len() > 1 {
            assert!(!refusal.words().contains(wrong), "{refusal:?}");
        }
        assert_eq!(setup.asked(), (1, 0));
    }
    assert_eq!(setup.ok(&["list"]), json!([]));
}

#[test]
fn the_last_attempt_before_a_token_locks_is_not_used() {
    let setup = Setup::with_faulty_module();
    for (fault, code, logins) in [
        ("final-try", "pkcs11.pin_last_try", 0),
        ("locked-flag", "pkcs11.pin_locked", 0),
        ("locked", "pkcs11.pin_locked", 1),
        ("expired", "pkcs11.pin_expired", 1),
        ("vendor", "pkcs11.failed", 1),
    ] {
        fs::write(setup.hsm.path("log"), "").unwrap();
        let refusal = setup.with_fault(fault, &["create-api-user", "alice"]).refusal();
        assert_eq!(refusal.code, code, "{refusal:?}");
        assert!(!refusal.hint.is_empty(), "{refusal:?}");
        assert_eq!(setup.asked(), (logins, 0), "{fault}");
    }
}

#[test]
fn the_pin_is_read_from_each_source_and_stored_only_on_request() {
    let setup = Setup::new().without_pin();
    let query = format!("&pin-source=file:{}", setup.private_file("source", "1234\r\nmore\n"));
    let (wrong, right) = (setup.private_file("wrong", "0000"), setup.private_file("right", PIN));
    let path = "token=prod;object=root";

    // No terminal to prompt on; then each source, in order of precedence.
    let refusal = setup.no_cluster(&setup.initialize(path, ""));
    assert_eq!((refusal.exit, refusal.code.as_str()), (2, "pkcs11.pin_needed"));
    assert!(refusal.hint.contains("CLUSTER_CA_PKCS11_PIN"), "{refusal:?}");
    setup.initialize(path, &query).result();
    let kept = fs::read_to_string(setup.home.path("kms.json")).unwrap();
    assert!(!kept.contains(PIN) && kept.contains("pin-source"), "{kept}");
    setup.ok(&["create-api-user", "source"]);
    let refusal = setup.refused(&["create-api-user", "file", "--pin-file", &wrong]);
    assert_eq!(refusal.code, "pkcs11.pin_wrong");
    let output = setup.command(&["create-api-user", "x"]).env("CLUSTER_CA_PKCS11_PIN", "0000").output();
    assert_eq!(output.unwrap().status.code(), Some(4));
    let command = ["create-api-user", "file", "--pin-file", &right];
    let output = setup.command(&command).env("CLUSTER_CA_PKCS11_PIN", "0000").output();
    assert_eq!(output.unwrap().status.code(), Some(0));

    // A file that other users can read, an empty one, a missing one.
    fs::set_permissions(setup.hsm.path("source"), Permissions::from_mode(0o644)).unwrap();
    assert_eq!(setup.refused(&["create-api-user", "x"]).code, "file.exposed");
    setup.private_file("source", "\n1234\n");
    assert_eq!(setup.refused(&["create-api-user", "x"]).code, "pkcs11.pin_unreadable");
    fs::remove_file(setup.hsm.path("source")).unwrap();
    assert_eq!(setup.refused(&["create-api-user", "x"]).code, "file.missing");
    assert_eq!(setup.refused(&["create-api-user", "x", "--pin-file", "/nothing"]).code, "file.missing");
    let empty = setup.private_file("empty", "");
    assert_eq!(setup.refused(&["create-api-user", "x", "--pin-file", &empty]).code, "pkcs11.pin_unreadable");

    let keeps = Setup { home: Home::empty(), ..setup };
    let signer = uri(path, MODULE, "");
    let keep = ["initialize", "prod", "--signer", &signer, "--keep-pin"];
    assert_eq!(keeps.no_cluster(&keeps.run(&keep)).code, "pkcs11.pin_needed");
    keeps.ok(&[&keep[..], &["--pin-file", &right]].concat());
    keeps.ok(&["create-api-user", "kept"]);
    let file = keeps.home.path("kms.json");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let stored: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    assert_eq!(stored["signer"], json!({ "pkcs11": { "uri": signer, "pin": PIN } }));
    for command in [&["kms", "show"][..], &["key", "show"], &["audit", "list"]] {
        assert!(!keeps.run(command).stdout.contains(&format!("\"{PIN}\"")), "{command:?}");
    }
}

#[test]
fn a_terminal_prompts_for_the_pin() {
    let setup = Setup::initialized().without_pin();
    let command = setup.command(&["create-api-user", "alice"]);
    let words: Vec<&str> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_str().unwrap())
        .collect();
    let mut script = Command::new("script");
    setup.hsm.lead(&mut script);
    let mut terminal = script
        .args(["-qec", &words.join(" "), "/dev/null"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    terminal.stdin.take().unwrap().write_all(b"1234\n").unwrap();
    let output = terminal.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("PIN of token prod: "), "{text}");
    assert!(setup.home.path("issued/user-alice.crt").exists());
}

#[test]
fn a_token_with_its_own_keypad_is_sent_no_pin() {
    let setup = Setup::with_faulty_module().without_pin();
    setup.with_fault("pin-pad", &["create-api-user", "alice"]).result();
    assert_eq!(setup.refused(&["create-api-user", "bob"]).code, "pkcs11.pin_needed");
}

#[test]
fn a_token_removed_while_signing_leaves_nothing_half_done() {
    let setup = Setup::with_faulty_module();
    for fault in ["removed", "session-lost"] {
        let refusal = setup.with_fault(fault, &["create-node", "--count", "50"]).refusal();
        assert_eq!((refusal.exit, refusal.code.as_str()), (4, "pkcs11.token_gone"), "{refusal:?}");
        assert!(
            !setup.home.path("issued").exists()
                || fs::read_dir(setup.home.path("issued")).unwrap().next().is_none()
        );
        setup.ok(&["doctor", "--fix"]);
    }
    setup.ok(&["create-node", "--count", "50"]);
    assert_eq!(setup.ok(&["doctor"])["findings"], json!([]));
    setup.hsm.remove_tokens();
    let refusal = setup.refused(&["create-api-user", "alice"]);
    assert_eq!((refusal.exit, refusal.code.as_str()), (4, "pkcs11.token_missing"), "{refusal:?}");
    setup.ok(&["list"]);
}

#[test]
fn signatures_of_the_token_are_verified() {
    let setup = Setup::with_faulty_module();
    for (fault, code) in [("foreign-signature", "kms.signature"), ("short-signature", "pkcs11.failed")] {
        for command in [&["create-api-user", "alice"][..], &["crl", "publish"], &["kms", "show", "--check"]] {
            assert_eq!(setup.with_fault(fault, command).refusal().code, code, "{command:?}");
        }
        assert!(!setup.home.path("issued/user-alice.crt").exists());
    }
    setup.with_fault("bare-point", &["create-api-user", "alice"]).result();
    setup.openssl_accepts("issued/user-alice.crt");
}

#[test]
fn a_planted_public_key_is_refused_as_root() {
    let setup = Setup::new();
    setup.hsm.plant_public_key("01");
    let refusal = setup.no_cluster(&setup.initialize("object=root", ""));
    assert_eq!((refusal.exit, refusal.code.as_str()), (1, "pkcs11.key_unfit"), "{refusal:?}");
    assert!(refusal.message.contains("several public key objects"), "{refusal:?}");

    let setup = Setup::new();
    setup.hsm.tool("prod", &["--delete-object", "--type", "pubkey", "--id", "01"]);
    setup.hsm.plant_public_key("01");
    let refusal = setup.no_cluster(&setup.initialize("object=root", ""));
    assert_eq!(refusal.code, "kms.signature", "{refusal:?}");
}

#[test]
fn a_replaced_root_key_signs_nothing() {
    let setup = Setup::initialized();
    for kind in ["privkey", "pubkey"] {
        setup.hsm.tool("prod", &["--delete-object", "--type", kind, "--id", "01"]);
    }
    assert_eq!(setup.refused(&["create-api-user", "alice"]).code, "pkcs11.key_missing");
    setup.hsm.make_key("root", "01", &["--usage-sign"]);
    for command in [&["create-api-user", "alice"][..], &["crl", "publish"], &["kms", "show", "--check"]] {
        let refusal = setup.refused(command);
        assert_eq!((refusal.exit, refusal.code.as_str()), (1, "home.held_key_mismatch"), "{command:?}");
    }
    assert_eq!(setup.run(&["doctor"]).json()["result"]["findings"][0]["code"], "home.held_key_mismatch");
}

#[test]
fn the_uri_must_name_one_key_of_one_token() {
    let setup = Setup::new();
    setup.hsm.add_token("spare");
    setup.hsm.make_key("twin", "0a", &["--usage-sign"]);
    setup.hsm.make_key("twin", "0b", &["--usage-sign"]);
    let refused = |path: &str, exit, code: &str, told: &[&str]| {
        let refusal = setup.no_cluster(&setup.initialize(path, ""));
        assert_eq!((refusal.exit, refusal.code.as_str()), (exit, code), "{path}: {refusal:?}");
        assert!(told.iter().all(|word| refusal.message.contains(word)), "{path}: {refusal:?}");
        assert!(!refusal.hint.is_empty(), "{refusal:?}");
    };
    refused("object=root", 1, "pkcs11.token_ambiguous", &["prod (serial=", "spare (serial="]);
    refused("token=prod;object=twin", 1, "pkcs11.key_ambiguous", &["twin (id=%0a)", "twin (id=%0b)"]);
    refused("token=test;object=root", 4, "pkcs11.token_missing", &["prod (serial=", "spare (serial="]);
    refused("token=Prod;object=root", 4, "pkcs11.token_missing", &[]);
    refused("token=prod;serial=0;object=root", 4, "pkcs11.token_missing", &[]);
    refused("token=prod;slot-id=0;object=root", 4, "pkcs11.token_missing", &[]);
    refused("token=spare;object=root", 4, "pkcs11.key_missing", &["it has: none"]);
    refused("token=prod;object=Root", 4, "pkcs11.key_missing", &["root (id=%01)", "twin (id=%0a)"]);
    refused("token=prod;object=root;id=%0a", 4, "pkcs11.key_missing", &[]);
    refused("token=prod;id=%0A%00", 4, "pkcs11.key_missing", &[]);
    // The label is ambiguous; label and id are not.
    setup.initialize("token=prod;manufacturer=SoftHSM%20project;object=twin;id=%0B", "").result();
    setup.ok(&["create-api-user", "alice"]);
}

#[test]
fn an_unsuitable_key_is_refused_as_root() {
    let setup = Setup::new();
    let hsm = &setup.hsm;
    hsm.make_key_of("rsa:2048", "rsa", "10", &["--usage-sign"]);
    hsm.make_key_of("EC:secp384r1", "p384", "11", &["--usage-sign"]);
    hsm.make_key("leaves", "13", &["--usage-sign", "--extractable"]);
    hsm.make_key("asks", "14", &["--usage-sign", "--always-auth"]);
    hsm.make_key("half", "15", &["--usage-sign"]);
    hsm.tool("prod", &["--delete-object", "--type", "pubkey", "--id", "15"]);
    for (label, why) in [
        ("rsa", "not EC"),
        ("p384", "not P-256"),
        ("leaves", "CKA_EXTRACTABLE"),
        ("asks", "CKA_ALWAYS_AUTHENTICATE"),
        ("half", "no public key object"),
    ] {
        let refusal = setup.no_cluster(&setup.initialize(&format!("object={label}"), ""));
        assert_eq!((refusal.exit, refusal.code.as_str()), (1, "pkcs11.key_unfit"), "{label}: {refusal:?}");
        assert!(refusal.message.contains(why) && !refusal.hint.is_empty(), "{refusal:?}");
    }
}

#[test]
fn a_key_that_may_not_sign_or_hides_its_attributes_signs_nothing() {
    let setup = Setup::with_faulty_module();
    for (fault, why) in [("no-sign", "CKA_SIGN"), ("untold", "CKA_EXTRACTABLE")] {
        let refusal = setup.with_fault(fault, &["create-api-user", "alice"]).refusal();
        assert_eq!((refusal.exit, refusal.code.as_str()), (1, "pkcs11.key_unfit"), "{refusal:?}");
        assert!(refusal.message.contains(why), "{refusal:?}");
    }
    assert_eq!(setup.asked(), (2, 0));
}

#[test]
fn a_module_that_others_can_replace_is_not_loaded() {
    let setup = Setup::new();
    let refused = |module: &str| {
        let arguments = ["initialize", "prod", "--signer", &uri("object=root", module, "")];
        let refusal = setup.no_cluster(&setup.run(&arguments));
        assert!(!refusal.hint.is_empty(), "{refusal:?}");
        (refusal.exit, refusal.code)
    };
    let at = |name: &str| setup.hsm.path(name).into_os_string().into_string().unwrap();
    fs::write(at("text.so"), "no library\n").unwrap();
    fs::write(at("empty.c"), "int answer = 42;\n").unwrap();
    let library = setup.hsm.compile(&at("empty.c"), "empty.so");
    for bad in [&at("text.so"), &library, &at("tokens")] {
        assert_eq!(refused(bad), (3, "pkcs11.not_a_module".to_owned()), "{bad}");
    }
    assert_eq!(refused(&at("nothing.so")), (3, "pkcs11.module_missing".to_owned()));

    // A copy works until other users can change it.
    fs::copy(MODULE, at("copy.so")).unwrap();
    for mode in [0o777, 0o666, 0o664] {
        fs::set_permissions(at("copy.so"), Permissions::from_mode(mode)).unwrap();
        assert_eq!(refused(&at("copy.so")), (1, "pkcs11.module_exposed".to_owned()), "{mode:o}");
    }
    fs::set_permissions(at("copy.so"), Permissions::from_mode(0o644)).unwrap();
    chown(at("copy.so"), Some(1), None).expect("root");
    assert_eq!(refused(&at("copy.so")), (1, "pkcs11.module_exposed".to_owned()));
    chown(at("copy.so"), Some(0), None).unwrap();
    fs::set_permissions(at("."), Permissions::from_mode(0o777)).unwrap();
    assert_eq!(refused(&at("copy.so")), (1, "pkcs11.module_exposed".to_owned()));
    fs::set_permissions(at("."), Permissions::from_mode(0o700)).unwrap();
    setup.ok(&["initialize", "prod", "--signer", &uri("object=root", &at("copy.so"), "")]);
    // Checked on every load.
    fs::set_permissions(at("copy.so"), Permissions::from_mode(0o646)).unwrap();
    assert_eq!(setup.refused(&["create-api-user", "alice"]).code, "pkcs11.module_exposed");
}

#[test]
fn a_pin_in_an_argument_is_refused_and_not_quoted() {
    let setup = Setup::new().without_pin();
    for query in ["&pin-value=471147", "&PIN-value=471147", "&pin-value:471147", "&471147"] {
        let refusal = setup.no_cluster(&setup.initialize("object=root", query));
        assert_eq!(refusal.exit, 2, "{refusal:?}");
        assert!(!refusal.words().contains("471147") && !refusal.hint.is_empty(), "{refusal:?}");
    }
    let command = ["initialize", "prod", "--signer", &uri("object=root", MODULE, "&pin-value=471147")];
    let output = setup.command(&command).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("[pkcs11.pin_in_uri]") && !text.contains("471147"), "{text}");
}

#[test]
fn options_of_one_signer_are_refused_for_another() {
    let setup = Setup::new();
    let token = uri("object=root", MODULE, "");
    let passphrase = setup.private_file("passphrase", "correct horse battery staple");
    for more in [
        &["--signer", &token, "--signer-address", "https://127.0.0.1:1"][..],
        &["--signer", &token, "--token-file", "/nothing"],
        &["--signer", &token, "--signer-ca-cert", "/nothing"],
        &["--signer", &token, "--passphrase-file", &passphrase],
        &["--signer", &token, "--ask-passphrase"],
        &["--signer", &token, "--key-type", "ed25519"],
        &["--signer", &uri("object=root", MODULE, "&pin-source=file:/nothing"), "--keep-pin"],
        &["--signer", "vault:root-key"],
        &["--signer", "vault:root-key", "--signer-address", "https://127.0.0.1:1", "--keep-pin"],
        &["--signer", "pkcs11"],
        &["--signer", "pkcs11:"],
        &["--keep-pin"],
    ] {
        let finished = setup.run(&[&["initialize", "prod"], more].concat());
        assert_eq!(setup.no_cluster(&finished).exit, 2, "{more:?}: {finished:?}");
    }
}
