//! `bundle`: archives and key stores, read by the programs that use them.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::home::Home;

use super::with_alice;

const PASSWORD: &str = "correct horse: battery 'staple'";

/// Password file of mode 0600.
fn password_file(home: &Home) -> PathBuf {
    let path = home.write("password", format!("{PASSWORD}\n"));
    fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("a mode");
    path
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// Output of a program that has to succeed.
fn said(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error} (scripts/test)"));
    let words =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {words}");
    words
}

#[test]
fn a_tar_has_all_files_and_is_private() {
    let home = with_alice();
    let file = home.path("alice.tar");
    let made = home.ok(&["bundle", "api-user/alice", "--output", text(&file)]);
    assert_eq!((&made["format"], &made["has_key"]), (&"tar".into(), &true.into()));
    assert_eq!(fs::metadata(&file).expect("metadata").mode() & 0o777, 0o600);
    let unpacked = home.path("unpacked");
    fs::create_dir(&unpacked).expect("a directory");
    said(Command::new("tar").arg("-xf").arg(&file).arg("-C").arg(&unpacked));
    let inside = unpacked.join("user-alice");
    let mode = |name: &str| fs::metadata(inside.join(name)).expect(name).mode() & 0o777;
    assert_eq!((mode(""), mode("user.key")), (0o700, 0o600));
    for (name, original) in [
        ("user.key", "issued/user-alice.key"),
        ("user.crt", "issued/user-alice.crt"),
        ("cluster.crt", "cluster.crt"),
        ("cluster.crl", "cluster.crl"),
    ] {
        assert_eq!(fs::read(inside.join(name)).expect(name), fs::read(home.path(original)).expect(original));
    }
    let readme = fs::read_to_string(inside.join("README")).expect("README");
    assert!(readme.lines().count() == 3 && readme.contains("spiffe://prod/api-user/alice"), "{readme}");

    let again = home.refused(&["bundle", "api-user/alice", "--output", text(&file)]);
    assert_eq!((again.code.as_str(), again.exit), ("file.exists", 1));
    let entries = home.ok(&["audit", "list"]);
    let last = entries.as_array().and_then(|entries| entries.last()).expect("an entry");
    assert_eq!((&last["action"], &last["details"]["with_key"]), (&"certificate.bundle".into(), &true.into()));
}

#[test]
fn a_key_store_is_read_by_openssl_java_and_nss() {
    let home = Home::initialized();
    let password = password_file(&home);
    let key_types = ["ecdsa-p256", "ecdsa-p384", "ed25519", "rsa-2048"];
    for key_type in key_types {
        home.ok(&["create-api-user", key_type, "--key-type", key_type]);
        let file = home.path(format!("{key_type}.p12"));
        let target = format!("api-user/{key_type}");
        home.ok(&[
            "bundle",
            &target,
            "--format",
            "p12",
            "--output",
            text(&file),
            "--password-file",
            text(&password),
        ]);
        assert_eq!(fs::metadata(&file).expect("metadata").mode() & 0o777, 0o600);
        openssl_reads(&home, &file, &password, key_type);
        java_reads(&file, &password, key_type);
        inspect_reads(&home, &file, &password, key_type);
        // NSS 3.87 of Debian 12 lacks Ed25519; 3.99 added it.
        if key_type != "ed25519" {
            nss_reads(&home, &file, &password, key_type);
        }
    }
}

fn openssl_reads(home: &Home, file: &Path, password: &Path, key_type: &str) {
    let pass = format!("file:{}", password.display());
    let facts =
        said(Command::new("openssl").args(["pkcs12", "-info", "-noout", "-passin", &pass, "-in"]).arg(file));
    assert!(facts.contains("MAC: sha256") && facts.contains("AES-256-CBC"), "{facts}");
    assert!(facts.contains("PRF hmacWithSHA256"), "{facts}");
    let read = |what: &[&str]| {
        said(
            Command::new("openssl")
                .args(["pkcs12", "-passin", &pass, "-noenc"])
                .args(what)
                .arg("-in")
                .arg(file),
        )
    };
    let certificates = read(&["-nokeys"]);
    assert_eq!(certificates.matches("BEGIN CERTIFICATE").count(), 2, "leaf and root: {certificates}");
    // The leaf has the name of the key, by which browsers show it.
    let named = format!("friendlyName: user-{key_type}\n");
    for part in [&["-nocerts"][..], &["-nokeys", "-clcerts"]] {
        let found = read(part);
        assert_eq!((found.matches("friendlyName").count(), found.contains(&named)), (1, true), "{found}");
    }
    let anchors = read(&["-nokeys", "-cacerts"]);
    // OpenSSL 3.0 prints Oracle's attribute as an OID, later releases by its name.
    let is_trusted = ["2.16.840.1.113894.746875.1.1", "Oracle"].iter().any(|name| anchors.contains(name));
    assert!(anchors.contains("friendlyName: prod root\n") && is_trusted, "{anchors}");
    // The extracted key is the original one.
    let pem = home.path(format!("{key_type}.pem"));
    fs::write(&pem, read(&["-nocerts"])).expect("a file");
    let public = |path: &Path| said(Command::new("openssl").args(["pkey", "-pubout", "-in"]).arg(path));
    assert_eq!(public(&pem), public(&home.path(format!("issued/user-{key_type}.key"))));
}

fn java_reads(file: &Path, password: &Path, key_type: &str) {
    let listing = said(
        Command::new("keytool")
            .args(["-list", "-v", "-storetype", "PKCS12", "-storepass:file"])
            .arg(password)
            .arg("-keystore")
            .arg(file),
    );
    assert!(listing.contains("PrivateKeyEntry") && listing.contains("chain length: 2"), "{listing}");
    assert!(listing.contains(&format!("user-{key_type}")), "{listing}");
    assert!(listing.contains("Alias name: prod root") && listing.contains("trustedCertEntry"), "{listing}");
}

fn inspect_reads(home: &Home, file: &Path, password: &Path, key_type: &str) {
    let read = home.ok(&["inspect", text(file), "--password-file", text(password)]);
    let objects = read[0]["contents"].as_array().expect("objects").clone();
    let kinds: Vec<_> = objects.iter().map(|object| object["kind"].as_str().unwrap_or_default()).collect();
    assert_eq!(kinds, ["PKCS#12 key store", "private key", "certificate", "certificate"], "{read}");
    let name = format!("user-{key_type}");
    assert_eq!([&objects[1]["friendly_name"], &objects[2]["friendly_name"]], [name.as_str(); 2]);
    assert_eq!(objects[3]["friendly_name"], "prod root");
    assert_eq!((&objects[0]["authenticated"], &objects[1]["encrypted"]), (&true.into(), &true.into()));
    assert_eq!(
        (&objects[2]["trusted_by_java"], &objects[3]["trusted_by_java"]),
        (&Value::Null, &true.into())
    );
}

/// Reads a key store as Java's TLS does, and prints the trust anchors.
const TRUST: &str = r#"
import java.io.*; import java.nio.file.*; import java.security.*; import javax.net.ssl.*;
class Trust {
    public static void main(String[] arguments) throws Exception {
        char[] password = Files.readString(Path.of(arguments[1])).strip().toCharArray();
        KeyStore store = KeyStore.getInstance("PKCS12");
        store.load(new FileInputStream(arguments[0]), password);
        TrustManagerFactory factory = TrustManagerFactory.getInstance("PKIX");
        factory.init(store);
        for (TrustManager manager : factory.getTrustManagers())
            for (var issuer : ((X509TrustManager) manager).getAcceptedIssuers())
                System.out.println(issuer.getSubjectX500Principal());
    }
}
"#;

#[test]
fn java_takes_a_key_store_as_its_trust_store_too() {
    let home = with_alice();
    let (password, file) = (password_file(&home), home.path("alice.p12"));
    home.ok(&[
        "bundle",
        "api-user/alice",
        "--format",
        "p12",
        "-o",
        text(&file),
        "--password-file",
        text(&password),
    ]);
    let program = home.write("Trust.java", TRUST);
    let anchors = said(Command::new("java").arg(&program).arg(&file).arg(&password));
    assert!(anchors.lines().any(|line| line.starts_with("CN=prod")), "{anchors}");
}

#[test]
fn inspect_reads_every_bundle() {
    let home = with_alice();
    let password = password_file(&home);
    let tar = home.path("alice.tar");
    home.ok(&["bundle", "api-user/alice", "-o", text(&tar)]);
    let read = home.ok(&["inspect", text(&tar)]);
    let objects = read[0]["contents"].as_array().expect("objects").clone();
    let found: Vec<_> = objects
        .iter()
        .map(|object| {
            (object["file"].as_str().unwrap_or_default(), object["kind"].as_str().unwrap_or_default())
        })
        .collect();
    assert_eq!(
        found,
        [
            ("user-alice/README", "text or other file"),
            ("user-alice/user.key", "private key"),
            ("user-alice/user.crt", "certificate"),
            ("user-alice/cluster.crt", "certificate"),
            ("user-alice/cluster.crl", "CRL"),
        ]
    );
    let backup = home.path("home.backup");
    home.ok(&["backup", text(&backup), "--password-file", text(&password)]);
    assert_eq!(home.ok(&["inspect", text(&backup)])[0]["contents"][0]["encrypted"], true);

    // A key store of another program; its password may be short.
    let other = home.write("other", "short\n");
    fs::set_permissions(&other, Permissions::from_mode(0o600)).expect("a mode");
    let foreign = home.path("foreign.p12");
    let pass = format!("file:{}", other.display());
    said(Command::new("openssl").current_dir(home.path("")).args([
        "pkcs12",
        "-export",
        "-in",
        "issued/user-alice.crt",
        "-inkey",
        "issued/user-alice.key",
        "-name",
        "mine",
        "-passout",
        &pass,
        "-out",
        text(&foreign),
    ]));
    let read = home.ok(&["inspect", text(&foreign), "--password-file", text(&other)]);
    assert_eq!(read[0]["contents"][1]["friendly_name"], "mine", "{read}");

    let refused = |arguments: &[&str]| {
        let refusal = home.refused(&[&["inspect", text(&foreign)], arguments].concat());
        assert!(!refusal.hint.is_empty(), "{refusal:?}");
        (refusal.code.clone(), refusal.exit)
    };
    assert_eq!(refused(&[]), ("usage.password".to_owned(), 2));
    assert_eq!(refused(&["--password-file", text(&password)]), ("key_store.password".to_owned(), 1));
    let whole = fs::read(&foreign).expect("a key store");
    fs::write(&foreign, &whole[..whole.len() - 40]).expect("truncated");
    let refusal = home.refused(&["inspect", text(&foreign), "--password-file", text(&other)]);
    assert_eq!(refusal.code, "x509.no_block", "it is none any more: {refusal:?}");
}

fn nss_reads(home: &Home, file: &Path, password: &Path, key_type: &str) {
    let database = home.path(format!("nss-{key_type}"));
    fs::create_dir(&database).expect("a directory");
    let database = format!("sql:{}", database.display());
    said(Command::new("certutil").args(["-N", "--empty-password", "-d", &database]));
    said(Command::new("pk12util").args(["-d", &database, "-w"]).arg(password).arg("-i").arg(file));
    let keys = said(Command::new("certutil").args(["-K", "-d", &database]));
    assert!(keys.contains(&format!("user-{key_type}")), "{keys}");
}

#[test]
fn a_key_store_takes_the_name_of_its_entry_as_a_tar_takes_that_of_its_files() {
    let home = Home::initialized();
    let password = password_file(&home);
    home.ok(&["create-api-user", "alice"]);
    let pass = format!("file:{}", password.display());
    for (name, arguments) in [("user-alice", &[][..]), ("plugin", &["--as", "plugin"])] {
        let file = home.path(format!("{name}.p12"));
        let bundle = ["bundle", "api-user/alice", "--format", "p12", "--output", text(&file)];
        home.ok(&[&bundle[..], &["--password-file", text(&password)], arguments].concat());
        let listing = said(
            Command::new("openssl")
                .args(["pkcs12", "-passin", &pass, "-nocerts", "-noenc", "-in"])
                .arg(&file),
        );
        assert!(listing.contains(&format!("friendlyName: {name}\n")), "{listing}");
    }
    let refusal = home.refused(&["bundle", "api-user/alice", "--format", "p12", "--as", "a/b"]);
    assert_eq!(refusal.exit, 2, "{refusal:?}");
}

#[test]
fn a_key_store_with_an_invalid_password_is_refused() {
    let home = with_alice();
    let file = home.path("alice.p12");
    let bundle = ["bundle", "api-user/alice", "--format", "p12", "--output", text(&file)];
    let refused = |more: &[&str]| {
        let refusal = home.refused(&[&bundle, more].concat());
        (refusal.code.clone(), refusal.exit)
    };
    assert_eq!(refused(&[]), ("usage.password".to_owned(), 2));
    for weak in ["", "\n", "short\n", "pässwörter\n"] {
        let path = home.write("weak", weak);
        fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("a mode");
        assert_eq!(refused(&["--password-file", text(&path)]), ("input.password".to_owned(), 2), "{weak:?}");
    }
    let open = home.write("open", PASSWORD);
    fs::set_permissions(&open, Permissions::from_mode(0o644)).expect("a mode");
    assert_eq!(refused(&["--password-file", text(&open)]), ("file.exposed".to_owned(), 1));
    assert_eq!(refused(&["--password-fd", "99"]), ("file.descriptor".to_owned(), 3));
    assert!(!file.exists());
    let tar = home.refused(&["bundle", "api-user/alice", "--password-file", text(&open)]);
    assert_eq!(tar.code, "usage.password");
}

#[test]
fn a_password_is_read_from_a_descriptor() {
    let home = with_alice();
    let file = home.path("alice.p12");
    let bundle = format!(
        "exec '{}' --home '{}' bundle api-user/alice --format p12 -o '{}' --password-fd 3 3<'{}'",
        env!("CARGO_BIN_EXE_cluster-ca"),
        home.path("").display(),
        file.display(),
        password_file(&home).display()
    );
    said(Command::new("sh").args(["-c", &bundle]));
    let pass = format!("file:{}", home.path("password").display());
    said(Command::new("openssl").args(["pkcs12", "-noout", "-passin", &pass, "-in"]).arg(&file));
}

#[test]
fn a_bundle_without_a_key_reports_it() {
    let home = with_alice();
    said(Command::new("openssl").current_dir(home.path("")).args([
        "req",
        "-new",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-noenc",
        "-subj",
        "/CN=user-bob",
        "-keyout",
        "bob.key",
        "-out",
        "bob.csr",
    ]));
    home.ok(&["create-api-user", "bob", "--csr", text(&home.path("bob.csr"))]);
    let file = home.path("bob.tar");
    let made = home.ok(&["bundle", "api-user/bob", "--output", text(&file)]);
    assert_eq!(made["has_key"], false);
    let listing = said(Command::new("tar").arg("-tf").arg(&file));
    assert!(!listing.contains(".key") && listing.contains("user-bob/user.crt"), "{listing}");
    let password = password_file(&home);
    let p12 = home.path("bob.p12");
    let refusal = home.refused(&[
        "bundle",
        "api-user/bob",
        "--format",
        "p12",
        "-o",
        text(&p12),
        "--password-file",
        text(&password),
    ]);
    assert_eq!((refusal.code.as_str(), refusal.exit), ("bundle.no_key", 1));
}
