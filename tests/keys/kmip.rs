//! Private keys wrapped by a real KMIP server.

use std::fs::{self, Permissions};
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use cluster_ca::keys::kms::Configuration;
use cluster_ca::keys::{CredentialsFile, Envelope, PrivateKey, ProtectedKey};
use cluster_ca::x509::KeyAlgorithm;
use rcgen::ExtendedKeyUsagePurpose;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::home::Home;
use crate::kmip_server::{KmipServer, Pki};

/// `kms set kmip` with the client certificate of `pki`, and `more` arguments.
fn set<'a>(address: &'a str, uid: &'a str, files: &'a [String; 3], more: &[&'a str]) -> Vec<&'a str> {
    let [ca, certificate, key] = files;
    let arguments = [
        "kms",
        "set",
        "kmip",
        address,
        uid,
        "--client-cert",
        certificate,
        "--client-key",
        key,
        "--ca-cert",
        ca,
    ];
    [&arguments[..], more].concat()
}

fn files(pki: &Pki, client: &str) -> [String; 3] {
    [pki.file("ca.pem"), pki.file(&format!("{client}.pem")), pki.file(&format!("{client}.key"))]
}

fn envelope(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[test]
fn each_version_wraps_in_its_best_mode() {
    let mut server = KmipServer::start(&["1.2"]);
    let uid = server.administer("create");
    let (address, files) = (server.address(), files(&server.pki, "client"));
    for (versions, spoken, gcm) in [
        (&["1.0", "1.1", "1.2"][..], "1.2", false),
        (&["1.2", "1.3"], "1.3", false),
        (&["1.3"], "1.3", false),
        (&["1.4"], "1.4", true),
        (&["1.2", "1.3", "1.4"], "1.4", true),
        (&["2.0"], "2.0", true),
        (&[], "2.0", true),
    ] {
        server.restart(versions);
        let home = Home::initialized();
        let result = home.run(&[&["--json"], &set(&address, &uid, &files, &[])[..]].concat());
        assert_eq!(result.exit, Some(0), "{versions:?} {result:?}\n{}", server.log());
        let wrapped = &envelope(&home.path("cluster.key"))["wrapped"];
        assert_eq!(wrapped["protocol"], spoken, "{versions:?}");
        assert_eq!(wrapped["mode"].get("gcm").is_some(), gcm, "{versions:?}");
        home.ok(&["create-node", "--count", "3"]);
        home.ok(&["kms", "show", "--check"]);
        // It still opens with more or fewer versions.
        server.restart(&[]);
        home.ok(&["create-api-user", "alice"]);
    }
}

#[test]
fn an_unusable_server_changes_nothing() {
    let mut server = KmipServer::start(&[]);
    let (good, inactive, signing) =
        (server.administer("create"), server.administer("inactive"), server.administer("signing"));
    let address = server.address();
    server.pki.issue("other", Some(ExtendedKeyUsagePurpose::ClientAuth));
    server.pki.issue("no-purpose", None);
    let ours = files(&server.pki, "client");
    let stranger = Pki::new();
    stranger.issue("client", Some(ExtendedKeyUsagePurpose::ClientAuth));
    let foreign_client = [ours[0].clone(), stranger.file("client.pem"), stranger.file("client.key")];
    let foreign_ca = [stranger.file("ca.pem"), ours[1].clone(), ours[2].clone()];
    let mixed = [ours[0].clone(), ours[1].clone(), server.pki.file("other.key")];
    let home = Home::initialized();
    let before = home.state();
    let nobody = format!("127.0.0.1:{}", crate::bao::free_port());
    for (address, uid, files, code) in [
        (&address, "no-such-uid", &ours, "kms.key_missing"),
        (&address, &inactive, &ours, "kms.key_unfit"),
        (&address, &signing, &ours, "kms.key_unfit"),
        (&address, &good, &files(&server.pki, "other"), "kms.denied"),
        (&address, &good, &files(&server.pki, "no-purpose"), "kms.client_certificate_refused"),
        (&address, &good, &foreign_client, "kms.client_certificate_refused"),
        (&address, &good, &foreign_ca, "kms.certificate_untrusted"),
        (&address, &good, &mixed, "kms.client_certificate"),
        (&nobody, &good, &ours, "kms.unavailable"),
    ] {
        let refusal = home.refused(&set(address, uid, files, &[]));
        assert_eq!(refusal.code, code, "{refusal:?}\n{}", server.log());
        assert!(!refusal.hint.is_empty());
    }
    for arguments in [
        vec!["kms", "set", "kmip", &address, &good],
        vec!["kms", "set", "kmip", &address, &good, "--token-file", "x"],
        set("127.0.0.1", &good, &ours, &[]),
        set("https://127.0.0.1:5696", &good, &ours, &[]),
        set(&address, &good, &ours, &["--namespace", "team"]),
    ] {
        assert_eq!(home.refused(&arguments).exit, 2);
    }
    server.restart(&["1.0", "1.1"]);
    let refusal = home.refused(&set(&address, &good, &ours, &[]));
    assert_eq!(refusal.code, "kms.too_old", "{refusal:?}");
    assert!(refusal.message.contains("1.1"), "{refusal:?}");
    assert!(home.state() == before);
}

#[test]
fn a_rotation_moves_the_keys_to_the_new_uid_and_can_be_resumed() {
    let mut server = KmipServer::start(&[]);
    let (old, new) = (server.administer("create"), server.administer("create"));
    let (address, files) = (server.address(), files(&server.pki, "client"));
    let home = Home::initialized();
    home.ok(&set(&address, &old, &files, &[]));
    let refusal = home.refused(&["kms", "rewrap"]);
    assert_eq!((refusal.exit, refusal.code.as_str()), (2, "usage.new_key_uid"));
    assert_eq!(home.refused(&["kms", "rewrap", "--new-key-uid", "no-such-uid"]).code, "kms.key_missing");
    home.ok(&["create-api-user", "alice"]);

    let sealed = envelope(&home.path("cluster.key"))["ciphertext"].clone();
    let rewrapped = home.ok(&["kms", "rewrap", "--new-key-uid", &new]);
    assert_eq!(
        (&rewrapped["keys"][0]["outcome"], &rewrapped["keys"][0]["wrapping_key"]),
        (&"rewrapped".into(), &json!(new))
    );
    let after = envelope(&home.path("cluster.key"));
    assert_eq!((&after["ciphertext"], &after["wrapped"]["key"]), (&sealed, &json!(new)));
    let again = home.ok(&["kms", "rewrap", "--new-key-uid", &new]);
    assert_eq!(again["keys"][0]["outcome"], "already-current");

    server.administer(&format!("revoke {old}"));
    home.ok(&["create-api-user", "bob"]);
    server.administer(&format!("revoke {new}"));
    let refusal = home.refused(&["create-api-user", "carol"]);
    assert_eq!((refusal.exit, refusal.code.as_str()), (4, "kms.denied"), "{refusal:?}");
    server.administer(&format!("destroy {new}"));
    assert_eq!(home.refused(&["create-api-user", "carol"]).code, "kms.key_missing");
    server.stop();
    assert_eq!(home.refused(&["create-api-user", "carol"]).code, "kms.unavailable");
}

#[test]
fn an_envelope_altered_in_each_field_does_not_open() {
    let mut server = KmipServer::start(&[]);
    let (uid, other) = (server.administer("create"), server.administer("create"));
    let home = Home::initialized();
    home.ok(&set(&server.address(), &uid, &files(&server.pki, "client"), &[]));
    let path = home.path("cluster.key");
    let good = envelope(&path);
    let try_with = |field: &str, to: Value| {
        let mut altered = good.clone();
        altered["wrapped"][field] = to;
        fs::write(&path, altered.to_string()).unwrap();
        home.refused(&["create-api-user", "mallory"]).code
    };
    assert_eq!(try_with("key", json!(other)), "kms.not_configured");
    for (field, to) in [
        ("iv", json!("AAAAAAAAAAAAAAAA")),
        ("iv", json!("")),
        ("ciphertext", json!("AAAA")),
        ("mode", json!({ "gcm": { "tag": "AAAAAAAAAAAAAAAAAAAAAA==" } })),
        ("mode", json!("cbc")),
    ] {
        let code = try_with(field, to);
        assert!(["kms.refused", "kms.data_key", "kms.protocol"].contains(&code.as_str()), "{field}: {code}");
    }
    let mut altered = good.clone();
    altered["cluster"] = json!("00000000-0000-4000-8000-000000000000");
    fs::write(&path, altered.to_string()).unwrap();
    assert_eq!(home.refused(&["create-api-user", "mallory"]).code, "kms.refused", "bound at the server too");
    fs::write(&path, good.to_string()).unwrap();
    home.ok(&["create-api-user", "alice"]);
}

#[test]
fn keys_move_between_kinds_of_service() {
    let bao = crate::bao::Bao::start();
    bao.make_key("ca-key");
    let mut server = KmipServer::start(&[]);
    let uid = server.administer("create");
    let (address, files) = (server.address(), files(&server.pki, "client"));
    let home = Home::initialized();
    home.ok(&set(&address, &uid, &files, &[]));
    home.ok(&["ca-cert", "set", &bao.ca()]);
    let mut command = home.command(&["kms", "set", "vault", &bao.address, "ca-key"]);
    assert!(command.env("CLUSTER_CA_KMS_TOKEN", bao.token("ca-key", json!({}))).status().unwrap().success());
    server.stop();
    home.ok(&["create-api-user", "alice"]);
    assert_eq!(envelope(&home.path("cluster.key"))["wrapped"]["kms"], "vault");
}

/// `NAME.pem` and `NAME.key`, as OpenSSL makes them with `genkey`; of version 1 without `extensions`.
fn issue_by_openssl(pki: &Pki, name: &str, genkey: &[&str], extensions: Option<&str>) {
    let openssl = |arguments: &[&str]| {
        let output =
            Command::new("openssl").args(arguments).current_dir(pki.directory.path()).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    };
    let [key, csr, certificate, file] = ["key", "csr", "pem", "ext"].map(|end| format!("{name}.{end}"));
    openssl(&[genkey, &["-out", &key]].concat());
    fs::set_permissions(pki.file(&key), Permissions::from_mode(0o600)).unwrap();
    openssl(&["req", "-new", "-key", &key, "-subj", "/CN=client", "-out", &csr]);
    let sign = ["x509", "-req", "-in", &csr, "-CA", "ca.pem", "-CAkey", "ca.key", "-out", &certificate];
    let serial = ["-set_serial", "77", "-days", "30"];
    match extensions {
        None => openssl(&[&sign[..], &serial[..]].concat()),
        Some(text) => {
            fs::write(pki.file(&file), text).unwrap();
            openssl(&[&sign[..], &serial[..], &["-extfile", &file]].concat());
        }
    }
}

#[test]
fn client_keys_in_old_forms_and_certificates_of_version_1_are_presented() {
    let mut server = KmipServer::start(&[]);
    let uid = server.administer("create");
    let address = server.address();
    let extensions = "basicConstraints=CA:FALSE\nextendedKeyUsage=clientAuth\n";
    let sec1 = ["ecparam", "-name", "prime256v1", "-genkey", "-noout"];
    let pkcs1 = ["genrsa", "-traditional"];
    for (name, genkey, label) in [("sec1", &sec1[..], "EC PRIVATE KEY"), ("pkcs1", &pkcs1, "RSA PRIVATE KEY")]
    {
        issue_by_openssl(&server.pki, name, genkey, Some(extensions));
        assert!(fs::read_to_string(server.pki.file(&format!("{name}.key"))).unwrap().contains(label));
        let home = Home::initialized();
        home.ok(&set(&address, &uid, &files(&server.pki, name), &[]));
        home.ok(&["create-api-user", "alice"]);
    }
    // PyKMIP insists on the purpose clientAuth, which a certificate of version 1 cannot have: it is refused by the
    // server, and not here.
    issue_by_openssl(&server.pki, "version1", &sec1, None);
    let home = Home::initialized();
    let refusal = home.refused(&set(&address, &uid, &files(&server.pki, "version1"), &[]));
    assert_eq!((refusal.exit, refusal.code.as_str()), (4, "kms.client_certificate_refused"), "{refusal:?}");
}

type Stream = rustls::StreamOwned<rustls::ServerConnection, TcpStream>;

/// A TLS server with a certificate of our CA, which serves one connection with `serve`.
fn hostile(pki: &Pki, serve: impl FnOnce(&mut Stream) + Send + 'static) -> (String, JoinHandle<()>) {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    let chain = CertificateDer::pem_file_iter(pki.file("server.pem")).unwrap().map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_file(pki.file("server.key")).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let config = std::sync::Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let thread = std::thread::spawn(move || {
        let (tcp, _) = listener.accept().unwrap();
        let tls = rustls::ServerConnection::new(config).unwrap();
        let mut stream = rustls::StreamOwned::new(tls, tcp);
        serve(&mut stream);
        stream.conn.send_close_notify();
        let _ = stream.flush();
    });
    (address, thread)
}

/// Reads one request to its end.
fn read_request(stream: &mut Stream) -> std::io::Result<()> {
    let mut header = [0; 8];
    stream.read_exact(&mut header)?;
    let length = u32::from_be_bytes(header[4..].try_into().unwrap());
    stream.read_exact(&mut vec![0; usize::try_from(length).unwrap()])
}

/// Sends the next of these responses to every request.
fn answering(answers: Vec<Vec<u8>>) -> impl FnOnce(&mut Stream) + Send + 'static {
    move |stream| {
        for answer in answers {
            if read_request(stream).is_err() {
                return;
            }
            let _ = stream.write_all(&answer).and_then(|()| stream.flush());
        }
    }
}

/// One element in TTLV.
fn element(tag: u32, kind: u8, value: &[u8]) -> Vec<u8> {
    let length = u32::try_from(value.len()).unwrap();
    let mut bytes = [&tag.to_be_bytes()[1..], &[kind], &length.to_be_bytes(), value].concat();
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    bytes
}

/// A response to `operation` that succeeded.
fn response(operation: u32, payload: &[Vec<u8>]) -> Vec<u8> {
    let item = [
        element(0x42_005c, 5, &operation.to_be_bytes()),
        element(0x42_007f, 5, &0_u32.to_be_bytes()),
        element(0x42_007c, 1, &payload.concat()),
    ];
    element(0x42_007b, 1, &element(0x42_000f, 1, &item.concat()))
}

#[test]
fn a_hostile_server_causes_no_allocation_hang_or_panic() {
    let pki = Pki::new();
    pki.issue("server", Some(ExtendedKeyUsagePurpose::ServerAuth));
    pki.issue("client", Some(ExtendedKeyUsagePurpose::ClientAuth));
    let files = files(&pki, "client");
    let home = Home::initialized();
    let structure = |length: u32| [&[0x42, 0x00, 0x7b, 0x01][..], &length.to_be_bytes()].concat();
    let nested = [structure(4096), structure(4088), vec![0x42; 4088]].concat();
    for (answer, code) in [
        (Vec::new(), "kms.unavailable"),
        (vec![0; 8], "kms.protocol"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), "kms.protocol"),
        (structure(u32::MAX), "kms.protocol"),
        (structure(0x7fff_fff8), "kms.protocol"),
        (structure(1 << 20), "kms.protocol"),
        (structure(7), "kms.protocol"),
        (structure(0), "kms.protocol"),
        (structure(64), "kms.unavailable"),
        (nested, "kms.protocol"),
    ] {
        let shown = answer.len();
        let (address, thread) = hostile(&pki, answering(vec![answer]));
        let refusal = home.refused(&set(&address, "1", &files, &[]));
        assert_eq!(refusal.code, code, "{shown} bytes: {refusal:?}");
        thread.join().unwrap();
    }
    home.ok(&["create-api-user", "alice"]);
}

#[test]
fn a_slow_response_is_abandoned_at_the_deadline() {
    let pki = Pki::new();
    pki.issue("server", Some(ExtendedKeyUsagePurpose::ServerAuth));
    pki.issue("client", Some(ExtendedKeyUsagePurpose::ClientAuth));
    let home = Home::initialized();
    let (address, thread) = hostile(&pki, |stream| {
        read_request(stream).unwrap();
        stream.write_all(&[0x42, 0x00, 0x7b, 0x01, 0, 0, 0x10, 0]).unwrap();
        stream.sock.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        // Byte by byte, with pauses, until the client closes.
        while stream.write_all(&[0]).and_then(|()| stream.flush()).is_ok() {
            match stream.sock.read(&mut [0; 64]) {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(_) => return,
            }
        }
    });
    let begin = Instant::now();
    let refusal = home.refused(&set(&address, "1", &files(&pki, "client"), &[]));
    assert_eq!((refusal.exit, refusal.code.as_str()), (4, "kms.unavailable"), "{refusal:?}");
    assert!(begin.elapsed() < Duration::from_secs(25));
    thread.join().unwrap();
}

#[test]
fn a_server_without_decrypt_is_refused_before_encryption() {
    let pki = Pki::new();
    pki.issue("server", Some(ExtendedKeyUsagePurpose::ServerAuth));
    pki.issue("client", Some(ExtendedKeyUsagePurpose::ClientAuth));
    let home = Home::initialized();
    let before = home.state();
    let number = |tag: u32, value: u32| element(tag, 2, &value.to_be_bytes());
    let version = [number(0x42_006a, 1), number(0x42_006b, 4)].concat();
    let versions = response(0x1e, &[element(0x42_0069, 1, &version)]);
    let encrypts_only = response(0x18, &[element(0x42_005c, 5, &0x1f_u32.to_be_bytes())]);
    let (address, thread) = hostile(&pki, answering(vec![versions, encrypts_only]));
    let refusal = home.refused(&set(&address, "1", &files(&pki, "client"), &[]));
    assert_eq!((refusal.exit, refusal.code.as_str()), (4, "kms.operation_missing"), "{refusal:?}");
    assert!(refusal.message.contains("Decrypt") && !refusal.hint.is_empty(), "{refusal:?}");
    thread.join().unwrap();
    assert!(home.state() == before);
}

#[test]
fn a_process_unwraps_the_root_key_once() {
    let mut server = KmipServer::start(&[]);
    let uid = server.administer("create");
    let home = Home::initialized();
    home.ok(&set(&server.address(), &uid, &files(&server.pki, "client"), &[]));
    let decrypted = || server.log().matches("Processing operation: Decrypt").count();
    let before = decrypted();
    home.ok(&["create-node", "--count", "100"]);
    assert_eq!(decrypted() - before, 1);
}

#[test]
fn all_includes_keys_with_their_own_service() {
    let bao = crate::bao::Bao::start();
    bao.make_key("own-key");
    let mut server = KmipServer::start(&[]);
    let (old, new) = (server.administer("create"), server.administer("create"));
    let home = Home::initialized();
    home.ok(&set(&server.address(), &old, &files(&server.pki, "client"), &[]));
    home.ok(&["ca-cert", "set", &bao.ca()]);
    home.ok(&["create-control", "gateway.example.com"]);
    let path = home.path("issued/control-gateway.example.com.key");
    let (role_id, secret_id) = bao.app_role(None, "own-key");
    let secret = home.write("secret-id", secret_id);
    fs::set_permissions(&secret, Permissions::from_mode(0o600)).unwrap();
    let [own, secret] = [&path, &secret].map(|path| path.to_str().unwrap());
    let login = ["--role-id", &role_id, "--secret-id-file", secret, "--for", own];
    home.ok(&[&["kms", "set", "vault", &bao.address, "own-key"], &login[..]].concat());
    bao.post("transit/keys/own-key/rotate", json!({}));
    let versions = || envelope(&path)["wrapped"]["ciphertext"].as_str().unwrap()[..9].to_owned();
    home.ok(&["kms", "rewrap", "--new-key-uid", &new]);
    assert_eq!(versions(), "vault:v1:");
    let all = home.ok(&["kms", "rewrap", "--new-key-uid", &new, "--all"]);
    let outcomes: Vec<_> = all["keys"].as_array().unwrap().iter().map(|key| &key["outcome"]).collect();
    assert_eq!(outcomes, ["already-current", "rewrapped"]);
    assert_eq!(
        (versions().as_str(), &envelope(&home.path("cluster.key"))["wrapped"]["key"]),
        ("vault:v2:", &json!(new))
    );
}

/// A proxy to a server that runs `then` in place of one of the connections.
fn gate(port: u16, at: usize, then: impl FnOnce() + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        let mut then = Some(then);
        for (count, caller) in listener.incoming().enumerate() {
            let caller = caller.unwrap();
            if count + 1 == at {
                then.take().unwrap()();
                continue;
            }
            let Ok(server) = TcpStream::connect(("127.0.0.1", port)) else { continue };
            for (mut from, mut to) in
                [(caller.try_clone().unwrap(), server.try_clone().unwrap()), (server, caller)]
            {
                std::thread::spawn(move || {
                    let _ = std::io::copy(&mut from, &mut to);
                    let _ = to.shutdown(std::net::Shutdown::Both);
                });
            }
        }
    });
    address
}

#[test]
fn a_rewrap_interrupted_by_a_killed_server_loses_no_key_and_resumes() {
    let mut server = KmipServer::start(&[]);
    let (old, new) = (server.administer("create"), server.administer("create"));
    let home = Home::initialized();
    let ours = files(&server.pki, "client");
    home.ok(&set(&server.address(), &old, &ours, &[]));
    let configuration = Configuration::load(&home.path("kms.json")).unwrap();
    let wrap = configuration.connect(configuration.cluster.as_ref().unwrap()).unwrap();
    for number in 1..=3 {
        let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
        let envelope = Envelope::seal(&key, Uuid::from_u128(number), wrap.as_ref()).unwrap();
        let path = home.write(&format!("service-{number}.key"), envelope.to_text().unwrap());
        fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
    }
    let keys = ["cluster.key", "service-1.key", "service-2.key", "service-3.key"].map(|name| home.path(name));
    let all_open = || {
        let opener = CredentialsFile::Kms(home.path("kms.json"));
        for key in &keys {
            ProtectedKey::read(key, Some(&opener)).unwrap().open().unwrap();
        }
    };
    let wrapped_by = |uid: &str| keys.iter().filter(|key| envelope(key)["wrapped"]["key"] == uid).count();
    // One connection for the round trip and every encryption, and one to decrypt each key.
    let at_gate = gate(server.port(), 3, server.killer());
    let mut moved: Value = serde_json::from_slice(&fs::read(home.path("kms.json")).unwrap()).unwrap();
    moved["cluster"]["address"] = json!(at_gate);
    fs::write(home.path("kms.json"), moved.to_string()).unwrap();
    let refusal = home.refused(&["kms", "rewrap", "--new-key-uid", &new]);
    assert_eq!((refusal.exit, refusal.code.as_str()), (4, "kms.unavailable"), "{refusal:?}");
    let done = wrapped_by(&new);
    assert!((1..4).contains(&done) && done + wrapped_by(&old) == 4, "{done}");
    server.restart(&[]);
    all_open();
    home.ok(&["create-node"]);
    home.ok(&["kms", "rewrap", "--new-key-uid", &new]);
    assert_eq!(wrapped_by(&new), 4);
    server.administer(&format!("revoke {old}"));
    all_open();
    assert!(!fs::read_to_string(home.path("kms.json")).unwrap().contains("previous"));
}

/// Balancer in front of a KMIP server on `port`: it closes each connection after one response.
fn closing_after_each_response(pki: &Pki, port: u16) -> String {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
    let chain = |name: &str| {
        CertificateDer::pem_file_iter(pki.file(&format!("{name}.pem")))
            .unwrap()
            .map(Result::unwrap)
            .collect::<Vec<_>>()
    };
    let key = |name: &str| PrivateKeyDer::from_pem_file(pki.file(&format!("{name}.key"))).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let server = rustls::ServerConfig::builder_with_provider(std::sync::Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain("server"), key("server"))
        .unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(chain("ca"));
    let client = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(chain("client"), key("client"))
        .unwrap();
    let (server, client) = (std::sync::Arc::new(server), std::sync::Arc::new(client));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let message = |stream: &mut dyn Read| -> std::io::Result<Vec<u8>> {
        let mut bytes = vec![0; 8];
        stream.read_exact(&mut bytes)?;
        let length = u32::from_be_bytes(bytes[4..].try_into().unwrap());
        bytes.resize(8 + usize::try_from(length).unwrap(), 0);
        stream.read_exact(&mut bytes[8..])?;
        Ok(bytes)
    };
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let tls = rustls::ServerConnection::new(std::sync::Arc::clone(&server)).unwrap();
            let mut near = rustls::StreamOwned::new(tls, stream.unwrap());
            let name = ServerName::try_from("127.0.0.1").unwrap();
            let tls = rustls::ClientConnection::new(std::sync::Arc::clone(&client), name).unwrap();
            let mut far = rustls::StreamOwned::new(tls, TcpStream::connect(("127.0.0.1", port)).unwrap());
            let Ok(request) = message(&mut near) else { continue };
            far.write_all(&request).unwrap();
            let response = message(&mut far).unwrap();
            let _ = near.write_all(&response).and_then(|()| near.flush());
            near.conn.send_close_notify();
            let _ = near.flush();
        }
    });
    address
}

#[test]
fn a_server_that_closes_after_each_response_is_connected_to_again() {
    let mut server = KmipServer::start(&[]);
    let uid = server.administer("create");
    let address = closing_after_each_response(&server.pki, server.port());
    let home = Home::initialized();
    home.ok(&set(&address, &uid, &files(&server.pki, "client"), &[]));
    home.ok(&["create-api-user", "alice"]);
    home.ok(&["kms", "show", "--check"]);
    // The server itself is gone: an error, and no endless attempts.
    server.stop();
    assert_eq!(home.refused(&["create-api-user", "bob"]).code, "kms.unavailable");
}

#[test]
fn an_unknown_object_is_a_missing_key_under_every_reason() {
    let pki = Pki::new();
    pki.issue("server", Some(ExtendedKeyUsagePurpose::ServerAuth));
    pki.issue("client", Some(ExtendedKeyUsagePurpose::ClientAuth));
    let files = files(&pki, "client");
    let home = Home::initialized();
    let version = [element(0x42_006a, 2, &2_u32.to_be_bytes()), element(0x42_006b, 2, &0_u32.to_be_bytes())];
    let discovered = response(0x1e, &[element(0x42_0069, 1, &version.concat())]);
    for (reason, code) in [(0x01_u32, "kms.key_missing"), (0x37, "kms.key_missing"), (0x08, "kms.refused")] {
        let item = [
            element(0x42_005c, 5, &0x18_u32.to_be_bytes()),
            element(0x42_007f, 5, &1_u32.to_be_bytes()),
            element(0x42_007e, 5, &reason.to_be_bytes()),
        ];
        let failed = element(0x42_007b, 1, &element(0x42_000f, 1, &item.concat()));
        let (address, thread) = hostile(&pki, answering(vec![discovered.clone(), failed]));
        let refusal = home.refused(&set(&address, "1", &files, &[]));
        assert_eq!(refusal.code, code, "{reason:#x}: {refusal:?}");
        thread.join().unwrap();
    }
}
