//! A real OpenBao for one test, on a port of its own, ended with the test.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use serde_json::{Value, json};
use ureq::tls::{Certificate, RootCerts, TlsConfig, TlsProvider};

/// How long a server may take to come up.
const PATIENCE: Duration = Duration::from_secs(30);

/// The root's token of a server in dev mode.
const ROOT_TOKEN: &str = "root";

/// A server with a certificate of its own CA.
pub(crate) struct Bao {
    server: Child,
    directory: tempfile::TempDir,
    pub(crate) address: String,
    agent: ureq::Agent,
    root_token: String,
    unseal_key: Value,
}

impl Bao {
    /// In dev mode: unsealed, in memory.
    pub(crate) fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let port = free_port();
        let server = spawn(
            directory.path(),
            &[
                "-dev",
                "-dev-no-store-token",
                "-dev-tls",
                &format!("-dev-root-token-id={ROOT_TOKEN}"),
                &format!("-dev-listen-address=127.0.0.1:{port}"),
                &format!("-dev-tls-cert-dir={}", directory.path().display()),
            ],
        );
        let ca = directory.path().join("vault-ca.pem");
        let begin = Instant::now();
        while !fs::read_to_string(&ca).is_ok_and(|pem| pem.contains("-----END")) {
            assert!(begin.elapsed() < PATIENCE, "OpenBao writes no certificate");
            std::thread::yield_now();
        }
        let bao = Self {
            server,
            address: format!("https://127.0.0.1:{port}"),
            agent: agent(&ca),
            directory,
            root_token: ROOT_TOKEN.to_owned(),
            unseal_key: Value::Null,
        };
        bao.wait(200);
        bao.post("sys/mounts/transit", json!({ "type": "transit" }));
        bao
    }

    /// On a disk, unsealed: it can be started again, and is sealed then.
    pub(crate) fn durable() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let port = free_port();
        let (certificate, key, ca) = certificate();
        let write = |name: &str, text: String| fs::write(directory.path().join(name), text).unwrap();
        write("server.pem", certificate);
        write("server.key", key);
        write("vault-ca.pem", ca);
        fs::create_dir(directory.path().join("data")).unwrap();
        let configuration = format!(
            "api_addr = \"https://127.0.0.1:{port}\"\ncluster_addr = \"https://127.0.0.1:{cluster}\"\n\
             storage \"raft\" {{\n  path = \"{0}/data\"\n  node_id = \"one\"\n}}\n\
             listener \"tcp\" {{\n  address = \"127.0.0.1:{port}\"\n  \
             cluster_address = \"127.0.0.1:{cluster}\"\n  tls_cert_file = \"{0}/server.pem\"\n  \
             tls_key_file = \"{0}/server.key\"\n}}\n",
            directory.path().display(),
            cluster = free_port(),
        );
        write("bao.hcl", configuration);
        let mut bao = Self {
            server: spawn(directory.path(), &["-config=bao.hcl"]),
            address: format!("https://127.0.0.1:{port}"),
            agent: agent(&directory.path().join("vault-ca.pem")),
            directory,
            root_token: String::new(),
            unseal_key: Value::Null,
        };
        bao.wait(501);
        let made = bao.post("sys/init", json!({ "secret_shares": 1, "secret_threshold": 1 }));
        bao.root_token = made["root_token"].as_str().unwrap().to_owned();
        bao.unseal_key = made["keys_base64"][0].clone();
        bao.unseal();
        bao.post("sys/mounts/transit", json!({ "type": "transit" }));
        bao
    }

    /// Lets it use what is on its disk.
    pub(crate) fn unseal(&self) {
        self.post("sys/unseal", json!({ "key": self.unseal_key }));
        self.wait(200);
    }

    /// Starts it again on its old disk, sealed.
    pub(crate) fn restart(&mut self) {
        self.stop();
        self.server = spawn(self.directory.path(), &["-config=bao.hcl"]);
        self.wait(503);
    }

    /// What kills it, from whatever thread.
    pub(crate) fn killer(&self) -> impl FnOnce() + Send + use<> {
        let pid = self.server.id().to_string();
        move || {
            let killed = Command::new("kill").args(["-KILL", &pid]).status().unwrap();
            assert!(killed.success());
        }
    }

    fn wait(&self, wanted: u16) {
        let begin = Instant::now();
        while self.request("GET", "sys/health", None, None).is_none_or(|(status, _)| status != wanted) {
            assert!(begin.elapsed() < PATIENCE, "OpenBao does not come up");
            std::thread::yield_now();
        }
    }

    /// The CA of its certificate.
    pub(crate) fn ca(&self) -> String {
        self.directory.path().join("vault-ca.pem").into_os_string().into_string().unwrap()
    }

    /// A client that believes its certificate.
    pub(crate) fn agent(&self) -> &ureq::Agent {
        &self.agent
    }

    /// Asks as root, which has to succeed.
    pub(crate) fn post(&self, path: &str, body: Value) -> Value {
        self.post_in(None, path, body)
    }

    /// The same in a namespace.
    pub(crate) fn post_in(&self, namespace: Option<&str>, path: &str, body: Value) -> Value {
        let (status, answer) = self.request("POST", path, namespace, Some(body)).expect("OpenBao answers");
        assert!((200..300).contains(&status), "{path}: {status} {answer}");
        answer
    }

    /// Makes a key that wraps.
    pub(crate) fn make_key(&self, key: &str) {
        self.post(&format!("transit/keys/{key}"), json!({}));
    }

    /// A token that may do with `key` what is documented, for as long as it is said.
    pub(crate) fn token(&self, key: &str, more: Value) -> String {
        self.policy(None, key);
        let mut body = json!({ "policies": [key], "no_parent": true });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let answer = self.post("auth/token/create", body);
        answer["auth"]["client_token"].as_str().unwrap().to_owned()
    }

    /// A policy named like `key` that grants what `kms set vault --help` says.
    pub(crate) fn policy(&self, namespace: Option<&str>, key: &str) {
        let rules: String =
            [("keys", "read"), ("encrypt", "update"), ("decrypt", "update"), ("rewrap", "update")]
                .iter()
                .map(|(path, grant)| {
                    format!("path \"transit/{path}/{key}\" {{ capabilities = [\"{grant}\"] }}\n")
                })
                .collect();
        self.post_in(namespace, &format!("sys/policies/acl/{key}"), json!({ "policy": rules }));
    }

    /// A role that may do the same: its id and a secret id.
    pub(crate) fn app_role(&self, namespace: Option<&str>, key: &str) -> (String, String) {
        self.policy(namespace, key);
        self.post_in(namespace, "sys/auth/approle", json!({ "type": "approle" }));
        let role = format!("auth/approle/role/{key}");
        self.post_in(
            namespace,
            &role,
            json!({ "token_policies": [key], "token_type": "batch", "token_ttl": "20m" }),
        );
        let (_, id) = self.request("GET", &format!("{role}/role-id"), namespace, None).unwrap();
        let secret = self.post_in(namespace, &format!("{role}/secret-id"), json!({}));
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        (text(&id["data"]["role_id"]), text(&secret["data"]["secret_id"]))
    }

    pub(crate) fn request(
        &self,
        method: &str,
        path: &str,
        namespace: Option<&str>,
        body: Option<Value>,
    ) -> Option<(u16, Value)> {
        let mut request = http::Request::builder()
            .method(method)
            .uri(format!("{}/v1/{path}", self.address))
            .header("X-Vault-Token", &self.root_token);
        if let Some(namespace) = namespace {
            request = request.header("X-Vault-Namespace", namespace);
        }
        let text = body.map(|body| body.to_string()).unwrap_or_default();
        let mut answer = self.agent.run(request.body(text).unwrap()).ok()?;
        let status = answer.status().as_u16();
        let text = answer.body_mut().read_to_string().unwrap();
        Some((status, serde_json::from_str(&text).unwrap_or(Value::Null)))
    }

    /// Ends the server for good; its address answers no more.
    pub(crate) fn stop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

impl Drop for Bao {
    fn drop(&mut self) {
        self.stop();
    }
}

fn spawn(directory: &Path, arguments: &[&str]) -> Child {
    let log = fs::File::create(directory.join("bao.log")).unwrap();
    Command::new(tool("bao"))
        .arg("server")
        .args(arguments)
        .current_dir(directory)
        .env("HOME", directory)
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap()
}

/// A certificate for this machine with its key, and the CA of it, all in PEM.
pub(crate) fn certificate() -> (String, String, String) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params.distinguished_name.push(DnType::CommonName, "KMS test CA");
    let key = KeyPair::generate().unwrap();
    let ca = params.self_signed(&key).unwrap().pem();
    let issuer = Issuer::new(params, key);
    let mut params = CertificateParams::default();
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.subject_alt_names = vec![SanType::IpAddress([127, 0, 0, 1].into())];
    let key = KeyPair::generate().unwrap();
    (params.signed_by(&key, &issuer).unwrap().pem(), key.serialize_pem(), ca)
}

/// A client that believes the CA in `file`.
fn agent(file: &Path) -> ureq::Agent {
    let certificate = Certificate::from_pem(&fs::read(file).unwrap()).unwrap();
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let tls = TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        .unversioned_rustls_crypto_provider(Arc::new(provider))
        .root_certs(RootCerts::new_with_certs(&[certificate]))
        .build();
    let config = ureq::Agent::config_builder()
        .tls_config(tls)
        .http_status_as_error(false)
        .allow_non_standard_methods(true);
    config.timeout_global(Some(PATIENCE)).build().new_agent()
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A program that `scripts/kms-servers` installs.
pub(crate) fn tool(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools/kms/bin").join(name);
    assert!(
        path.is_file(),
        "{} is missing: run scripts/kms-servers, or all tests with scripts/test",
        path.display()
    );
    path
}
