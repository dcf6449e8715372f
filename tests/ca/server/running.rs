//! A running server with a home of its own, and calls to it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::Value;

use crate::eventually::eventually;
use crate::home::Home;

/// Callers with a role each.
pub(super) const OPERATORS: [(&str, &str); 4] =
    [("admin", "cluster-admin"), ("manager", "org-admin"), ("someone", "regular"), ("reader", "read-only")];

/// A server; ended when it is dropped.
pub(super) struct Server {
    child: Child,
    pub(super) home: Home,
    /// `HOST:PORT` of the API.
    pub(super) address: String,
    said: Arc<Mutex<Vec<String>>>,
}

/// The configuration of a server on a free port, with more lines.
pub(super) fn configuration(more: &str) -> String {
    let operators =
        OPERATORS.map(|(name, role)| format!("- {{ identity: api-user/{name}, role: {role} }}\n"));
    format!(
        "listen: 127.0.0.1:0\nhosts: 127.0.0.1\naccess_log: access.log\noperators:\n{}{more}",
        operators.concat()
    )
}

/// A home with the operators' certificates, and that of a stranger.
pub(super) fn home() -> Home {
    let home = Home::initialized();
    let names: Vec<&str> = OPERATORS.iter().map(|(name, _)| *name).chain(["stranger"]).collect();
    let list = home.write("names", names.join("\n"));
    home.ok(&["create-api-user", "--from", list.to_str().expect("text")]);
    home
}

impl Server {
    /// A server with every operator.
    pub(super) fn start() -> Self {
        Self::start_in(home(), "")
    }

    /// A server on `home`, with more lines of configuration.
    pub(super) fn start_in(home: Home, more: &str) -> Self {
        Self::run(home, more, &[])
    }

    /// The same with more arguments.
    pub(super) fn run(home: Home, more: &str, arguments: &[&str]) -> Self {
        let file = home.write("server.yaml", configuration(more));
        let mut command = home.command(&["serve", "--config", file.to_str().expect("text")]);
        let mut child = command
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("cluster-ca starts");
        let lines = BufReader::new(child.stderr.take().expect("stderr")).lines();
        let said = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&said);
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                heard.lock().expect("a lock").push(line);
            }
        });
        let mut server = Self { child, home, address: String::new(), said };
        server.address =
            server.hears("listening on ").split("listening on ").nth(1).expect("an address").to_owned();
        server
    }

    /// Waits for a line on standard error that has this text.
    pub(super) fn hears(&self, text: &str) -> String {
        eventually(
            &format!("{text:?} on standard error, after {:?}", self.said.lock().expect("a lock")),
            || self.said.lock().expect("a lock").iter().find(|line| line.contains(text)).cloned(),
        )
    }

    /// Everything on standard error so far.
    pub(super) fn said(&self) -> String {
        self.said.lock().expect("a lock").join("\n")
    }

    /// Sends a signal to this process alone.
    pub(super) fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([name, &self.child.id().to_string()]).status().expect("kill");
        assert!(sent.success());
    }

    /// Waits for its end.
    pub(super) fn ended(&mut self) -> ExitStatus {
        self.child.wait().expect("the process")
    }

    /// The home, for another server.
    pub(super) fn take_home(&mut self) -> Home {
        std::mem::replace(&mut self.home, Home::empty())
    }

    /// Lines of the access log, once there are `count`.
    pub(super) fn access_log(&self, count: usize) -> Vec<Value> {
        let file = self.home.path("access.log");
        eventually("lines of the access log", || {
            let text = fs::read_to_string(&file).ok()?;
            (text.lines().count() >= count).then(|| {
                text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
            })
        })
    }

    /// curl to a path, by the holder of a certificate, with more arguments.
    pub(super) fn curl(&self, who: Option<&str>, path: &str, arguments: &[&str]) -> Command {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--include", "--path-as-is", "--max-time", "30", "--cacert"])
            .arg(self.home.path("cluster.crt"))
            .args(arguments)
            .arg(format!("https://{}{path}", self.address));
        if let Some(who) = who {
            curl.arg("--cert").arg(self.home.path(format!("issued/user-{who}.crt")));
            curl.arg("--key").arg(self.home.path(format!("issued/user-{who}.key")));
        }
        curl
    }

    /// The response to a call.
    pub(super) fn call(&self, who: Option<&str>, path: &str, arguments: &[&str]) -> Answer {
        let output = self.curl(who, path, arguments).output().expect("curl");
        assert!(output.status.success(), "{output:?}\n{}", self.said());
        Answer::parse(&output.stdout)
    }

    /// GET by an operator.
    pub(super) fn get(&self, who: &str, path: &str) -> Answer {
        self.call(Some(who), path, &[])
    }

    /// POST of JSON by an operator.
    pub(super) fn post(&self, who: &str, path: &str, body: &Value) -> Answer {
        self.post_with(who, path, body, &[])
    }

    /// The same with more header fields.
    pub(super) fn post_with(&self, who: &str, path: &str, body: &Value, fields: &[&str]) -> Answer {
        let text = body.to_string();
        let mut arguments = vec!["--header", "content-type: application/json", "--data-binary", &text];
        arguments.extend(fields.iter().flat_map(|field| ["--header", field]));
        self.call(Some(who), path, &arguments)
    }

    /// The serial number of an API user's newest certificate.
    pub(super) fn serial(&self, name: &str) -> String {
        let shown = self.home.ok(&["show", &format!("api-user/{name}")]);
        shown["serial_number"].as_str().expect("a serial number").to_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A response.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) version: String,
    fields: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Answer {
    fn parse(bytes: &[u8]) -> Self {
        let at = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("the end of a header");
        let head = std::str::from_utf8(&bytes[..at]).expect("text");
        let mut lines = head.lines();
        let first: Vec<&str> = lines.next().expect("a status line").split(' ').collect();
        let fields = lines.filter_map(|line| line.split_once(": "));
        Self {
            version: first[0].to_owned(),
            status: first[1].parse().expect("a status"),
            fields: fields.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect(),
            body: bytes[at + 4..].to_vec(),
        }
    }

    /// Value of a header field; empty without one.
    pub(super) fn field(&self, name: &str) -> &str {
        self.fields.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
    }

    /// The body as text.
    pub(super) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).expect("text")
    }

    /// The body as JSON.
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Status and code of a problem, which has all that a problem has.
    pub(super) fn problem(&self) -> (u16, String) {
        let body = self.json();
        assert_eq!(self.field("content-type"), "application/problem+json", "{self:?}");
        assert_eq!(body["status"], self.status, "{body}");
        assert_eq!(body["request_id"], self.field("x-request-id"), "{body}");
        assert!(body["title"].is_string() && body["detail"].is_string(), "{body}");
        (self.status, body["code"].as_str().expect("a code").to_owned())
    }
}

/// A CSR in PEM, with its key in the home.
pub(super) fn csr(home: &Home, name: &str) -> String {
    let file = |suffix: &str| home.path(format!("{name}.{suffix}"));
    let paths: [PathBuf; 2] = [file("csr"), file("csr.key")];
    let made = Command::new("openssl")
        .args(["req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj"])
        .arg(format!("/CN={name}"))
        .arg("-keyout")
        .arg(&paths[1])
        .arg("-out")
        .arg(&paths[0])
        .output()
        .expect("openssl");
    assert!(made.status.success(), "{made:?}");
    fs::read_to_string(&paths[0]).expect("a CSR")
}
