//! A running server, and requests to it.

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Output, Stdio};

use serde_json::{Value, json};

use crate::home::{Finished, Home};

pub(super) const PASSWORD: &str = "Tulip-hedge-9";
pub(super) const OTHER: &str = "Meadow+stone 4";

/// A server on its own home; killed when dropped.
pub(super) struct Server {
    pub(super) home: Home,
    child: Child,
    pub(super) port: u16,
}

/// A response.
#[derive(Debug, PartialEq)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) body: Value,
    /// Names in lower case.
    pub(super) headers: Vec<(String, String)>,
}

impl Reply {
    pub(super) fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn text(&self, key: &str) -> String {
        self.body[key].as_str().unwrap_or_else(|| panic!("no {key} in {self:?}")).to_owned()
    }
}

/// A private file with a secret.
pub(super) fn secret_file(home: &Home, name: &str, secret: &str) -> String {
    let path = home.write(name, format!("{secret}\n"));
    fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("chmod");
    path.to_str().expect("text").to_owned()
}

/// A home with the cluster administrator `alice`, who may keep her password.
pub(super) fn home_with_admin() -> Home {
    let home = Home::initialized();
    add_user(&home, "alice", "Root", "cluster-admin");
    home
}

/// Creates a user whose password is [`PASSWORD`] and need not be changed.
pub(super) fn add_user(home: &Home, name: &str, org: &str, role: &str) {
    let password = secret_file(home, "password", PASSWORD);
    home.ok(&[
        "user",
        "add",
        name,
        "--org",
        org,
        "--role",
        role,
        "--keep-password",
        "--password-file",
        &password,
    ]);
}

impl Server {
    /// Serves a home with the administrator `alice`.
    pub(super) fn start() -> Self {
        Self::on(home_with_admin(), &[])
    }

    /// Serves `home`, with further options.
    pub(super) fn on(home: Home, options: &[&str]) -> Self {
        let settings = home.write("server.yaml", "listen: 127.0.0.1:0\nhosts: 127.0.0.1\naccess_log: off\n");
        fs::set_permissions(settings, Permissions::from_mode(0o600)).expect("chmod");
        let config = home.path("server.yaml").display().to_string();
        let mut child = home
            .command(&[&["serve", "--config", &config], options].concat())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("cluster-ca starts");
        let mut log = BufReader::new(child.stderr.take().expect("a pipe"));
        let mut said = String::new();
        let port = loop {
            let mut line = String::new();
            if log.read_line(&mut line).expect("a line") == 0 {
                panic!("the server has ended: {said}");
            }
            if let Some(address) = line.trim().strip_prefix("listening on ") {
                break address.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
            }
            said.push_str(&line);
        };
        // Nothing blocks on a full pipe.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Self { home, child, port }
    }

    pub(super) fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    /// Ends the server by SIGTERM, and returns its exit code.
    pub(super) fn terminate(mut self) -> (Option<i32>, Home) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &pid]).status().expect("kill");
        assert!(sent.success());
        let code = self.child.wait().expect("an end").code();
        let home = std::mem::replace(&mut self.home, Home::empty());
        (code, home)
    }

    /// Calls the API with further arguments of curl.
    pub(super) fn curl(&self, method: &str, path: &str, body: Option<&[u8]>, options: &[&str]) -> Reply {
        let output = self.curl_output(method, path, body, options);
        assert!(output.status.success(), "{}: {}", path, String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        let (head, body) = text.rsplit_once("\r\n\r\n").expect("a head");
        let head = head.rsplit("\r\n\r\n").next().expect("the last head");
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|code| code.parse().ok());
        let headers = lines.filter_map(|line| line.split_once(": "));
        Reply {
            status: status.expect("a status"),
            headers: headers.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect(),
            body: if body.is_empty() { Value::Null } else { serde_json::from_str(body).expect("JSON") },
        }
    }

    pub(super) fn curl_output(
        &self,
        method: &str,
        path: &str,
        body: Option<&[u8]>,
        options: &[&str],
    ) -> Output {
        let mut command = Command::new("curl");
        command
            .args(["--silent", "--show-error", "--include", "--max-time", "60", "--request", method])
            .arg("--cacert")
            .arg(self.home.path("cluster.crt"))
            .args(options)
            .arg(format!("{}{path}", self.url()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if body.is_some() {
            command.args(["--header", "expect:", "--data-binary", "@-"]);
            if !options.iter().any(|option| option.starts_with("content-type:")) {
                command.args(["--header", "content-type: application/json"]);
            }
        }
        let mut child = command.spawn().expect("curl");
        // The server may refuse before it has read all.
        let _ = child.stdin.take().expect("a pipe").write_all(body.unwrap_or_default());
        child.wait_with_output().expect("an end")
    }

    /// Calls `/api/v1` with a token and a JSON body.
    pub(super) fn call(&self, method: &str, path: &str, token: Option<&str>, body: Option<Value>) -> Reply {
        let header = token.map(|token| format!("authorization: Bearer {token}"));
        let options: Vec<&str> = header.iter().flat_map(|header| ["--header", header.as_str()]).collect();
        let body = body.map(|body| body.to_string().into_bytes());
        self.curl(method, &format!("/api/v1{path}"), body.as_deref(), &options)
    }

    pub(super) fn log_in(&self, org: &str, user: &str, password: &str) -> Reply {
        let body = json!({ "username": user, "password": password, "org": org });
        self.call("POST", "/login", None, Some(body))
    }

    /// Access token of a user with [`PASSWORD`].
    pub(super) fn token(&self, org: &str, user: &str) -> String {
        let reply = self.log_in(org, user, PASSWORD);
        assert_eq!(reply.status, 200, "{reply:?}");
        reply.text("access_token")
    }

    /// Actions in the audit log with their targets.
    pub(super) fn audited(&self, action: &str) -> Vec<Value> {
        let log = self.home.ok(&["audit", "list"]);
        log.as_array().expect("entries").iter().filter(|entry| entry["action"] == action).cloned().collect()
    }

    /// Runs `cluster-ca` with a token file of its own.
    pub(super) fn command(&self, arguments: &[&str]) -> Finished {
        let output = self
            .home
            .command(&[&["--json"], arguments].concat())
            .env("CLUSTER_CA_TOKEN_FILE", self.home.path("tokens/auth-token.json"))
            .env("CLUSTER_CA_SERVER", self.url())
            .env_remove("CLUSTER_CA_TOKEN")
            .output();
        Finished::from(output.expect("cluster-ca runs"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
