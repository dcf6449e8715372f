//! Paths that some services treat as one, and random policies: `explain` says what the gateway does.

use std::fmt::Write as _;
use std::sync::Arc;

use cluster_ca::clock::{Clock, SystemClock};
use cluster_ca::gateway::offline::explain::{Question, explain};
use serde_json::Value;

use crate::explain::run;
use crate::harness::{Setup, get, request};

const CLOSED: &str = r#"
  - { path: "/v1/admin/", methods: [GET], allow: [{ role: control-service }], upstream: api }
  - { path: "/v1/%C3%A9tat", methods: [GET], allow: [{ role: control-service }], upstream: api }
  - { path: "/v1/keys/**", methods: [GET], allow: [], upstream: api }
  - { path: "/v1/stra%C3%9Fe", methods: [GET], allow: [], upstream: api }
  - { path: "/v1/**", methods: [GET, HEAD], allow: [{ role: api-user }], upstream: api }
"#;

#[tokio::test]
async fn a_closed_path_is_closed_in_every_reading() {
    let gateway = Setup { routes: CLOSED, ..Setup::new() }.start();
    let user = gateway.user();
    for (path, status) in [
        ("/v1/admin/", 403),
        ("/v1/admin", 403),
        ("/v1/ADMIN", 403),
        ("/v1/Admin/", 403),
        ("/v1/adm%C4%B0n", 403),
        ("/v1/ADMI%CC%87N/", 403),
        ("/v1/%C3%A9tat", 403),
        ("/v1/%C3%89tat", 403),
        ("/v1/%C3%89TAT/", 403),
        ("/v1/keys/1", 403),
        ("/v1/%E2%84%AAeys/1", 403),
        ("/v1/KEY%C5%BF", 403),
        ("/v1/STRASSE", 403),
        ("/v1/admins", 200),
        ("/v1/admin/x", 200),
        ("/v1/etat", 200),
        ("/v1/X/", 200),
    ] {
        assert_eq!(gateway.call(&user, get(path)).await.status, status, "{path}");
    }
}

#[test]
fn check_warns_of_contradictions_and_of_an_open_head() {
    let directory = tempfile::tempdir().unwrap();
    let routes = r#"
  - { path: "/v1/data", methods: [GET, HEAD], allow: [{ role: api-user }], upstream: api }
  - { path: "/v1/DATA", methods: [GET, HEAD], allow: [{ role: control-service }], upstream: api }
  - { path: "/v1/secret", methods: [GET], allow: [{ role: control-service }], upstream: api }
  - { path: "/v1/**", methods: [GET, HEAD], allow: [{ role: api-user }], upstream: api }
"#;
    Setup { routes, ..Setup::new() }.write(directory.path());
    let (exit, text, said) = run(directory.path(), &["check", "--config", "gateway.yaml"]);
    assert_eq!(exit, 0, "{said}");
    let wanted = "warning: routes[0] (line 9) for /v1/data and routes[1] (line 10) for /v1/DATA differ, but some \
                  services treat these paths as one: GET, HEAD needs the permission of both\n\
                  warning: routes[2] (line 11) restricts GET on /v1/secret, but routes[3] (line 12) for /v1/** \
                  permits HEAD there to other callers: add HEAD to the methods of routes[2] (line 11)\n";
    assert!(text.ends_with(wanted), "{text}");
    let (_, json, _) = run(directory.path(), &["check", "--config", "gateway.yaml", "--json"]);
    let json: Value = serde_json::from_str(&json).unwrap();
    let codes: Vec<_> = json["result"]["warnings"].as_array().unwrap().iter().map(|w| &w["code"]).collect();
    assert_eq!(codes, ["policy.contradiction", "policy.head_open"]);
}

/// Generator by Marsaglia (xorshift64).
struct Random(u64);

impl Random {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(below).unwrap()).unwrap()
    }

    fn one(&mut self, of: &[&'static str]) -> &'static str {
        of[self.next(of.len())]
    }

    fn path(&mut self, segments: &[&'static str], last: &[&'static str]) -> String {
        let mut path = String::new();
        for _ in 0..self.next(3) {
            write!(path, "/{}", self.one(segments)).unwrap();
        }
        format!("{path}/{}", self.one(last))
    }

    /// Path that one of `templates` matches, or almost.
    fn request(&mut self, templates: &[String]) -> String {
        let requested = ["v1", "V1", "admin", "Admin", "k", "K", "%E2%84%AA", "%C3%A9", "%C3%89", "x"];
        let template = &templates[self.next(templates.len())];
        let mut path = String::new();
        for part in template[1..].split('/') {
            let part = match (part, self.next(5)) {
                ("*" | "**", _) | (_, 0) => self.one(&requested),
                _ => part,
            };
            write!(path, "/{part}").unwrap();
        }
        match (path.len(), path.strip_suffix('/'), self.next(4)) {
            (2.., Some(bare), 0) => bare.to_owned(),
            (_, None, 0) => format!("{path}/"),
            _ => path,
        }
    }

    /// Routes that the configuration takes, mostly, and their paths.
    fn routes(&mut self) -> (String, Vec<String>) {
        let templates = ["v1", "V1", "admin", "k", "%C3%A9", "*"];
        let last = ["v1", "V1", "admin", "Admin", "%E2%84%AA", "%C3%89", "*", "**", ""];
        let (mut text, mut paths) = (String::new(), Vec::new());
        for _ in 0..2 + self.next(4) {
            let path = self.path(&templates, &last);
            let methods = self.one(&["GET", "GET, HEAD", "GET, PUT", "DELETE, GET"]);
            let allow = self.one(&["", "{ role: api-user }", "{ role: api-user, name: bob }", "anyone"]);
            let more = self.one(&["", "", ", query: { force: absent }", ", body: allowed"]);
            writeln!(
                text,
                "  - {{ path: \"{path}\", methods: [{methods}], allow: [{allow}], upstream: api{more} }}"
            )
            .unwrap();
            paths.push(path);
        }
        // The configuration refuses a listener for anyone without such a route.
        let anyone = "  - { path: /zz, methods: [GET], allow: [anyone], upstream: api }\n";
        (format!("\n{text}{anyone}"), paths)
    }
}

#[tokio::test]
async fn explain_agrees_with_the_gateway_on_random_policies() {
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let (mut policies, mut permitted, mut denied) = (0, 0, 0);
    while policies < 12 {
        let (routes, templates) = random.routes();
        let routes: &'static str = routes.leak();
        let listen = "[{ address: \"127.0.0.1:0\", client_certificate: optional }]";
        let directory = tempfile::tempdir().unwrap();
        let setup = Setup { routes, listen, ..Setup::new() };
        setup.write(directory.path());
        let (exit, ..) = run(directory.path(), &["check", "--config", "gateway.yaml"]);
        if exit != 0 {
            continue;
        }
        policies += 1;
        let gateway = setup.start();
        let user = gateway.user();
        user.write(&gateway.path(""), "caller");
        for _ in 0..25 {
            let (method, body) =
                [("GET", ""), ("HEAD", ""), ("PUT", "x"), ("GET", "x"), ("DELETE", "x")][random.next(5)];
            let target = random.request(&templates) + random.one(&["", "", "?force=1", "?x"]);
            let leaf = (random.next(4) > 0).then_some(&user);
            let question = Question {
                token: None,
                certificate: leaf.map(|_| gateway.path("caller.crt")),
                request: format!("{method} {target}").parse().unwrap(),
                at: None,
                listener: None,
                from: "127.0.0.1".parse().unwrap(),
                body: !body.is_empty(),
            };
            let told = explain(&gateway.path("gateway.yaml"), &question, &clock).unwrap();
            let answer = gateway.call(leaf, request(method, &target, body)).await;
            let context = format!("{method} {target} {body:?} by {routes}: {told}");
            assert_eq!(answer.status.as_u16(), told.status.unwrap_or(200), "{context}");
            let id = answer.header("x-request-id");
            let line = gateway.line("request", |line| line["request_id"] == id);
            match told.status {
                None => permitted += 1,
                Some(_) => denied += 1,
            }
            if line["decision"] != "none" {
                assert_eq!(line["decision"], told.decision, "{context}");
                assert_eq!(line["reason"], serde_json::json!(told.code), "{context}");
                let rule = told.rule.as_ref().map(|rule| rule.rule.clone());
                assert_eq!(line["rule"], serde_json::json!(rule), "{context}");
            }
        }
    }
    assert!(permitted > 20 && denied > 20, "{permitted} {denied}");
}
