//! Trust in the server certificates of services: CAs, pinned certificates, the system's CAs, TLS itself.

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyPair, SanType};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::json;
use time::{Duration, OffsetDateTime};

use crate::bao::Bao;
use crate::home::{Home, Refusal};
use crate::kmip_server::Pki;

fn secret(home: &Home, name: &str, text: &str) -> String {
    let path = home.write(name, format!("{text}\n"));
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    path.into_os_string().into_string().unwrap()
}

/// A self-signed certificate of a server, with its key, in PEM.
struct SelfSigned {
    certificate: String,
    key: String,
}

impl SelfSigned {
    fn new(change: impl FnOnce(&mut CertificateParams)) -> Self {
        let mut params = CertificateParams::default();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        Self { certificate: params.self_signed(&key).unwrap().pem(), key: key.serialize_pem() }
    }
}

/// TLS server that answers each request with 503, as a sealed Vault does, and each KMIP request with nonsense.
fn serve(pair: &SelfSigned) -> String {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(pair.certificate.as_bytes()).unwrap()],
            PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap(),
        )
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let tls = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = StreamOwned::new(tls, stream.unwrap());
            if stream.read(&mut [0; 4096]).is_ok_and(|count| count > 0) {
                let body = "{\"errors\":[\"Vault is sealed\"]}";
                let head = "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: ";
                let _ = write!(stream, "{head}{}\r\n\r\n{body}", body.len());
                stream.conn.send_close_notify();
                let _ = stream.flush();
            }
        }
    });
    address
}

fn address_of_loopback(params: &mut CertificateParams) {
    params.subject_alt_names = vec![SanType::IpAddress([127, 0, 0, 1].into())];
}

/// `kms set vault` at a server with `presented`, when `trusted` is the CA of services.
fn vault_with(presented: &SelfSigned, trusted: &str) -> Refusal {
    let home = Home::initialized();
    let token = secret(&home, "token", "s.token");
    let file = home.write("trusted.pem", trusted);
    home.ok(&["ca-cert", "set", file.to_str().unwrap()]);
    let address = format!("https://{}", serve(presented));
    home.refused(&["kms", "set", "vault", &address, "k", "--token-file", &token])
}

#[test]
fn a_self_signed_server_certificate_is_trusted_by_its_bytes() {
    let as_openssl_makes_it = SelfSigned::new(|params| {
        address_of_loopback(params);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    });
    let leaf = SelfSigned::new(address_of_loopback);
    let without_names = SelfSigned::new(|_| {});
    let expired = SelfSigned::new(|params| {
        address_of_loopback(params);
        params.not_after = OffsetDateTime::now_utc() - Duration::days(1);
    });
    let of_another_host = SelfSigned::new(|params| {
        params.subject_alt_names = vec![SanType::DnsName("kms.example.com".try_into().unwrap())];
    });
    for trusted in [&as_openssl_makes_it, &leaf, &without_names] {
        let refusal = vault_with(trusted, &trusted.certificate);
        assert_eq!((refusal.exit, refusal.code.as_str()), (4, "kms.sealed"), "{refusal:?}");
    }
    for untrusted in [&expired, &of_another_host] {
        let refusal = vault_with(untrusted, &untrusted.certificate);
        assert_eq!((refusal.exit, refusal.code.as_str()), (4, "kms.certificate_untrusted"), "{refusal:?}");
        assert!(refusal.hint.contains("cluster-ca ca-cert set"), "{refusal:?}");
    }
    let refusal = vault_with(&leaf, &SelfSigned::new(address_of_loopback).certificate);
    assert_eq!(refusal.code, "kms.certificate_untrusted", "another key under the same names: {refusal:?}");
}

#[test]
fn a_self_signed_certificate_of_a_kmip_server_is_trusted_by_its_bytes() {
    let pki = Pki::new();
    pki.issue("client", Some(ExtendedKeyUsagePurpose::ClientAuth));
    let home = Home::initialized();
    let (presented, other) = (SelfSigned::new(address_of_loopback), SelfSigned::new(address_of_loopback));
    let address = serve(&presented);
    let refusal = |trusted: &SelfSigned| {
        let file = home.write("server.pem", &trusted.certificate);
        let (certificate, key) = (pki.file("client.pem"), pki.file("client.key"));
        let client = ["--client-cert", &certificate, "--client-key", &key];
        let server = ["kms", "set", "kmip", &address, "1", "--ca-cert", file.to_str().unwrap()];
        home.refused(&[&server[..], &client[..]].concat())
    };
    assert_eq!(refusal(&presented).code, "kms.protocol", "past the handshake");
    assert_eq!(refusal(&other).code, "kms.certificate_untrusted");
}

/// `openssl s_server` with one cipher suite that no current TLS library has.
struct OldServer {
    server: Child,
    address: String,
}

impl OldServer {
    fn start(home: &Home) -> Self {
        let pair = SelfSigned::new(address_of_loopback);
        let certificate = home.write("old.pem", &pair.certificate);
        let key = home.write("old.key", &pair.key);
        let mut server = Command::new("openssl")
            .args(["s_server", "-accept", "127.0.0.1:0", "-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA"])
            .arg("-cert")
            .arg(certificate)
            .arg("-key")
            .arg(key)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(server.stdout.take().unwrap()).lines().map(Result::unwrap);
        let address = lines.find_map(|line| line.strip_prefix("ACCEPT ").map(str::to_owned)).unwrap();
        // Its output is read to the end, so that it never waits for a reader.
        std::thread::spawn(move || lines.for_each(drop));
        Self { server, address }
    }
}

impl Drop for OldServer {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

#[test]
fn a_server_without_a_common_cipher_suite_is_not_out_of_reach() {
    let home = Home::initialized();
    let server = OldServer::start(&home);
    let trusted = home.path("old.pem");
    home.ok(&["ca-cert", "set", trusted.to_str().unwrap()]);
    let token = secret(&home, "token", "s.token");
    let address = format!("https://{}", server.address);
    let refusal = home.refused(&["kms", "set", "vault", &address, "k", "--token-file", &token]);
    assert_eq!((refusal.exit, refusal.code.as_str()), (4, "kms.tls_incompatible"), "{refusal:?}");
    assert!(refusal.message.contains("cipher suite") && refusal.hint.contains("TLS 1.3"), "{refusal:?}");

    let pki = Pki::new();
    pki.issue("client", Some(ExtendedKeyUsagePurpose::ClientAuth));
    let (certificate, key) = (pki.file("client.pem"), pki.file("client.key"));
    let client = ["--client-cert", &certificate, "--client-key", &key];
    let refusal = home.refused(&[&["kms", "set", "kmip", &server.address, "1"], &client[..]].concat());
    assert_eq!((refusal.exit, refusal.code.as_str()), (4, "kms.tls_incompatible"), "{refusal:?}");
}

#[test]
fn a_ca_that_does_not_fit_the_service_in_use_changes_nothing() {
    let bao = Bao::start();
    bao.make_key("ca-key");
    let home = Home::initialized();
    home.ok(&["ca-cert", "set", "--cert-file", &bao.ca()]);
    let token = secret(&home, "token", &bao.token("ca-key", json!({ "period": "768h" })));
    home.ok(&["kms", "set", "vault", &bao.address, "ca-key", "--token-file", &token]);
    let before = home.state();
    let other = home.path("cluster.crt");
    for command in [&["ca-cert", "set", other.to_str().unwrap()][..], &["ca-cert", "reset"]] {
        let refusal = home.refused(command);
        assert_eq!((refusal.exit, refusal.code.as_str()), (4, "kms.certificate_untrusted"), "{refusal:?}");
        assert!(refusal.hint.contains("--untested"), "{refusal:?}");
        assert!(home.state() == before, "{command:?}");
    }
    home.ok(&["create-api-user", "alice"]);

    // Both, with the system's CAs besides them.
    let both = fs::read_to_string(bao.ca()).unwrap() + &fs::read_to_string(&other).unwrap();
    let both = home.write("both.pem", both);
    let set = home.ok(&["ca-cert", "set", both.to_str().unwrap(), "--system-cas", "keep"]);
    assert_eq!((set["certificates"].as_array().unwrap().len(), &set["system_cas"]), (2, &true.into()));
    home.ok(&["create-api-user", "bob"]);
    let said = home.run(&["ca-cert"]);
    assert!(said.stdout.contains("system's trusted CAs and this CA"), "{said:?}");

    // By word, a setting that the service does not fit is stored.
    home.ok(&["ca-cert", "set", other.to_str().unwrap(), "--untested"]);
    assert_eq!(home.refused(&["create-api-user", "carol"]).code, "kms.certificate_untrusted");
    home.ok(&["ca-cert", "set", &bao.ca()]);
    home.ok(&["create-api-user", "carol"]);
    home.ok(&["audit", "verify"]);
}

#[test]
fn the_ca_is_downloaded_to_a_new_file_and_reset() {
    let home = Home::initialized();
    let certificate = fs::read_to_string(home.path("cluster.crt")).unwrap();
    home.ok(&["ca-cert", "set", home.path("cluster.crt").to_str().unwrap()]);
    let file = home.path("services.pem");
    let path = file.to_str().unwrap();
    assert_eq!(home.ok(&["ca-cert", "download", path])["certificate"], path);
    assert_eq!(fs::read_to_string(&file).unwrap(), certificate);
    let refusal = home.refused(&["ca-cert", "download", path]);
    assert_eq!((refusal.exit, refusal.code.as_str()), (1, "file.exists"), "{refusal:?}");
    assert_eq!(home.refused(&["ca-cert", "set"]).exit, 2);
    assert_eq!(home.refused(&["ca-cert", "set", path, "--cert-file", path]).exit, 2);
    let reset = home.ok(&["ca-cert", "reset"]);
    assert_eq!((&reset["certificates"], &reset["system_cas"]), (&json!([]), &true.into()));
}
