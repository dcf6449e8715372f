//! The whole of it with the programs that people use: certificates by `cluster-ca`, the gateway in front of
//! its echo service, and curl, Python, Java and OpenSSL as its callers. Each caller is let in with a good
//! certificate, told apart by role, and kept out with a revoked one and with none.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use tempfile::TempDir;

const NODE: &str = "node-6f1b1d3c-3a54-4b7e-9d1e-2f4c5b6a7d8e";
const PASSWORD: &str = "changeit";

/// A cluster with a good and a revoked user and a node, and its gateway.
struct Served {
    home: TempDir,
    gateway: Child,
    address: String,
}

impl Served {
    fn start() -> Self {
        let home = tempfile::tempdir().unwrap();
        for arguments in [
            &["initialize", "prod"][..],
            &["create-control", "127.0.0.1"],
            &["create-node", "--uuid", "6f1b1d3c-3a54-4b7e-9d1e-2f4c5b6a7d8e"],
            &["create-api-user", "alice"],
            &["create-api-user", "mallory"],
            &["revoke", "api-user/mallory"],
        ] {
            run(home.path(), env!("CARGO_BIN_EXE_cluster-ca"), arguments);
        }
        let config = "listen: 127.0.0.1:0\n\
            identity: { certificate: issued/control-127.0.0.1.crt, key: issued/control-127.0.0.1.key }\n\
            trust: { bundle: cluster.crt, crl: cluster.crl }\n\
            upstreams: { api: { url: \"http://127.0.0.1:1\" } }\n\
            routes: [{ path: \"/v1/**\", methods: [GET], allow: [{ role: api-user }], upstream: api }]\n";
        std::fs::write(home.path().join("gateway.yaml"), config).unwrap();
        let mut gateway = Command::new(env!("CARGO_BIN_EXE_cluster-gateway"))
            .args(["run", "--config", "gateway.yaml", "--demo-upstream"])
            .current_dir(home.path())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(gateway.stderr.take().unwrap()).lines();
        let address = lines
            .find_map(|line| line.unwrap().strip_prefix("listening on ").map(str::to_owned))
            .expect("the gateway says where it listens");
        Self { home, gateway, address }
    }

    /// Judges one kind of caller; `call` makes a call of /v1/things with the certificate of that stem.
    fn judge(&self, call: impl Fn(&str) -> Output) {
        let told = |output: &Output| {
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
        };
        let accepted = told(&call("issued/user-alice"));
        assert!(accepted.contains("\"x-cluster-id\": \"spiffe://prod/api-user/alice\""), "{accepted}");
        let denied = told(&call(&format!("issued/{NODE}")));
        assert!(denied.contains("policy.role_not_allowed"), "{denied}");
        let refused = told(&call("issued/user-mallory")).to_lowercase();
        assert!(refused.contains("revoked") && !refused.contains("x-cluster-id"), "{refused}");
    }

    fn path(&self) -> &Path {
        self.home.path()
    }

    fn url(&self) -> String {
        format!("https://{}/v1/things", self.address)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.gateway.kill();
        let _ = self.gateway.wait();
    }
}

fn output(directory: &Path, program: &str, arguments: &[&str]) -> Output {
    Command::new(program)
        .args(arguments)
        .current_dir(directory)
        .env_remove("CLUSTER_CA_HOME")
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{program} is needed and could not be started: {error}"))
}

fn run(directory: &Path, program: &str, arguments: &[&str]) {
    let output = output(directory, program, arguments);
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn curl_is_let_in_denied_and_refused() {
    let served = Served::start();
    for version in ["--http1.1", "--http2"] {
        served.judge(|who| {
            let (certificate, key) = (format!("{who}.crt"), format!("{who}.key"));
            let (url, limit) = (served.url(), ["--silent", "--show-error", "--max-time", "20"]);
            let files = ["--cacert", "cluster.crt", "--cert", &certificate, "--key", &key];
            output(served.path(), "curl", &[&limit[..], &files, &[version, &url]].concat())
        });
    }
}

#[test]
fn python_is_let_in_denied_and_refused() {
    let served = Served::start();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/call.py");
    let (host, port) = served.address.split_once(':').unwrap();
    served.judge(|who| {
        let (certificate, key) = (format!("{who}.crt"), format!("{who}.key"));
        let arguments = [script, host, port, "/v1/things", &certificate, &key, "cluster.crt"];
        output(served.path(), "python3", &arguments)
    });
}

#[test]
fn java_is_let_in_denied_and_refused() {
    let served = Served::start();
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/Call.java");
    let trust =
        ["-importcert", "-noprompt", "-alias", "root", "-file", "cluster.crt", "-keystore", "trust.p12"];
    run(served.path(), "keytool", &[&trust[..], &["-storetype", "PKCS12", "-storepass", PASSWORD]].concat());
    let url = served.url();
    served.judge(|who| {
        let (certificate, key) = (format!("{who}.crt"), format!("{who}.key"));
        let password = format!("pass:{PASSWORD}");
        let pair = [
            "pkcs12",
            "-export",
            "-in",
            &certificate,
            "-inkey",
            &key,
            "-out",
            "keys.p12",
            "-passout",
            &password,
        ];
        run(served.path(), "openssl", &pair);
        output(served.path(), "java", &[program, &url, "keys.p12", "trust.p12", PASSWORD])
    });
}

#[test]
fn openssl_is_let_in_denied_and_refused() {
    let served = Served::start();
    for version in ["-tls1_2", "-tls1_3"] {
        served.judge(|who| {
            // -ign_eof waits for the answer; Connection: close ends it.
            let script = format!(
                "printf 'GET /v1/things HTTP/1.1\\r\\nHost: {address}\\r\\nConnection: close\\r\\n\\r\\n' | \
                 openssl s_client -connect {address} -CAfile cluster.crt -verify_return_error -cert {who}.crt \
                 -key {who}.key -quiet -ign_eof {version}",
                address = served.address
            );
            output(served.path(), "sh", &["-c", &script])
        });
    }
}

#[test]
fn nobody_is_let_in_without_a_certificate_or_with_an_old_protocol() {
    let served = Served::start();
    let (url, base) =
        (served.url(), ["--silent", "--show-error", "--max-time", "20", "--cacert", "cluster.crt"]);
    let pair = ["--cert", "issued/user-alice.crt", "--key", "issued/user-alice.key"];
    for more in [
        &[][..],
        &["--tlsv1.2", "--tls-max", "1.2"],
        &[&pair[..], &["--tlsv1.0", "--tls-max", "1.1"]].concat(),
    ] {
        let refused = output(served.path(), "curl", &[&base[..], more, &[&url]].concat());
        assert!(!refused.status.success(), "{more:?}");
        assert!(refused.stdout.is_empty(), "{more:?}");
    }
}
