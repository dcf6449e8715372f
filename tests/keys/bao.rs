//! A real OpenBao for one test, on a port of its own, ended with the test.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use ureq::tls::{Certificate, RootCerts, TlsConfig, TlsProvider};

/// How long a server may take to come up.
const PATIENCE: Duration = Duration::from_secs(30);

/// The root's token of a server in dev mode.
const ROOT_TOKEN: &str = "root";

/// A server in dev mode: unsealed, in memory, with a certificate of its own CA.
pub(crate) struct Bao {
    server: Child,
    directory: tempfile::TempDir,
    pub(crate) address: String,
    agent: ureq::Agent,
}

impl Bao {
    pub(crate) fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let port = free_port();
        let log = fs::File::create(directory.path().join("bao.log")).unwrap();
        let server = Command::new(tool("bao"))
            .args(["server", "-dev", "-dev-no-store-token", "-dev-tls"])
            .arg(format!("-dev-root-token-id={ROOT_TOKEN}"))
            .arg(format!("-dev-listen-address=127.0.0.1:{port}"))
            .arg(format!("-dev-tls-cert-dir={}", directory.path().display()))
            .env("HOME", directory.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let ca = directory.path().join("vault-ca.pem");
        let begin = Instant::now();
        while !fs::read_to_string(&ca).is_ok_and(|pem| pem.contains("-----END")) {
            assert!(begin.elapsed() < PATIENCE, "OpenBao writes no certificate");
            std::thread::yield_now();
        }
        let bao = Self { server, address: format!("https://127.0.0.1:{port}"), agent: agent(&ca), directory };
        while bao.request("GET", "sys/health", None, None).is_none_or(|(status, _)| status != 200) {
            assert!(begin.elapsed() < PATIENCE, "OpenBao does not come up");
            std::thread::yield_now();
        }
        bao.post("sys/mounts/transit", json!({ "type": "transit" }));
        bao
    }

    /// The CA of its certificate.
    pub(crate) fn ca(&self) -> String {
        self.directory.path().join("vault-ca.pem").into_os_string().into_string().unwrap()
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
            .header("X-Vault-Token", ROOT_TOKEN);
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
