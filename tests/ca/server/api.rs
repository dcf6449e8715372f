//! The API: certificates, CRL, audit log and forecast, as the commands have them.

use std::process::Command;

use serde_json::{Value, json};

use super::running::{Server, csr, home};

fn names(page: &Value) -> Vec<String> {
    let items = page["items"].as_array().unwrap_or_else(|| panic!("{page}"));
    items.iter().map(|item| item["name"].as_str().expect("a name").to_owned()).collect()
}

#[test]
fn a_caller_is_told_who_it_is_over_both_versions_of_http() {
    let server = Server::start();
    for (argument, version) in [("--http1.1", "HTTP/1.1"), ("--http2", "HTTP/2")] {
        let answer = server.call(Some("reader"), "/api/v1/whoami", &[argument]);
        assert_eq!((answer.status, answer.version.as_str()), (200, version), "{answer:?}");
        let body = answer.json();
        assert_eq!((&body["identity"], &body["role"]), (&json!("api-user/reader"), &json!("read-only")));
        assert_eq!(body["serial_number"], server.serial("reader"));
        assert_eq!(
            (answer.field("cache-control"), answer.field("x-content-type-options")),
            ("no-store", "nosniff")
        );
    }
}

#[test]
fn the_label_of_a_node_is_given_listed_and_searched_as_with_commands() {
    const NODE: &str = "6f1b1d3c-3a54-4b7e-9d1e-2f4c5b6a7d8e";
    let server = Server::start();
    let request = json!({ "role": "node-agent", "name": NODE, "label": "rack 4, web-1", "csr": csr(&server.home, "n") });
    let answer = server.post("admin", "/api/v1/certificates", &request);
    assert_eq!((answer.status, &answer.json()["certificate"]["label"]), (201, &json!("rack 4, web-1")));
    assert_eq!(server.home.ok(&["show", "rack 4, web-1"])["name"], NODE);
    server.home.ok(&["create-node", "--label", "db-1"]);
    let names = |query: &str| names(&server.get("reader", &format!("/api/v1/certificates?{query}")).json());
    assert_eq!(names("label=rack*"), [NODE]);
    assert_eq!((names("label=*-1").len(), names("label=RACK*").len()), (2, 0));

    let renew = format!("{}/renew", answer.field("location"));
    let renewed = server.post("admin", &renew, &json!({ "label": "web-7" }));
    assert_eq!(renewed.json()["certificate"]["label"], "web-7", "{renewed:?}");
    let user =
        json!({ "role": "api-user", "name": "eve", "label": "web-1", "csr": csr(&server.home, "eve") });
    assert_eq!(
        server.post("admin", "/api/v1/certificates", &user).problem(),
        (409, "ca.label_without_machine".to_owned())
    );
    let hidden = json!({ "role": "node-agent", "label": "a\u{1b}[31m", "csr": csr(&server.home, "m") });
    assert_eq!(
        server.post("admin", "/api/v1/certificates", &hidden).problem(),
        (400, "server.body".to_owned())
    );
}

#[test]
fn a_certificate_is_issued_for_a_csr_and_recorded_with_its_caller() {
    let server = Server::start();
    let request =
        json!({ "role": "api-user", "name": "alice", "csr": csr(&server.home, "alice"), "reason": "new" });
    let answer = server.post("admin", "/api/v1/certificates", &request);
    assert_eq!(answer.status, 201, "{answer:?}");
    let body = answer.json();
    let serial = body["certificate"]["serial_number"].as_str().expect("a serial number");
    assert_eq!(answer.field("location"), format!("/api/v1/certificates/{serial}"));
    assert_eq!(server.serial("alice"), serial, "the command sees it at once");
    let shown = server.get("reader", answer.field("location"));
    assert_eq!((shown.json()["status"].as_str(), shown.json()["why"].as_str()), (Some("valid"), Some("new")));
    let pem = server.get("reader", &format!("{}/pem", answer.field("location")));
    assert_eq!(
        (pem.text(), pem.field("content-type")),
        (body["pem"].as_str().expect("PEM").to_owned(), "application/pem-certificate-chain")
    );
    server.home.ok(&["verify", server.home.path("issued/user-alice.crt").to_str().expect("text")]);

    // The audit log names caller, address and request, to the command and to the API alike.
    let id = answer.field("x-request-id");
    let entries = server.home.ok(&["audit", "list"]);
    let issued =
        entries.as_array().expect("entries").iter().rfind(|entry| entry["action"] == "certificate.issue");
    let actor = issued.expect("an entry")["actor"].as_str().expect("an actor").to_owned();
    assert_eq!(actor, format!("api-user/admin@127.0.0.1 (request {id})"));
    let page = server.get("reader", "/api/v1/audit?limit=1000").json();
    assert!(page["items"].as_array().expect("entries").iter().any(|entry| entry["actor"] == actor.as_str()));
    let line = server.access_log(1).into_iter().find(|line| line["request_id"] == id).expect("a line");
    assert_eq!(
        (&line["status"], &line["path"], &line["role"]),
        (&json!(201), &json!("/api/v1/certificates"), &json!("cluster-admin"))
    );
}

#[test]
fn names_and_hosts_follow_the_rule_of_the_role() {
    let server = Server::start();
    let csr = csr(&server.home, "any");
    let issue = |body: Value| {
        let mut body = body;
        body["csr"] = json!(csr);
        server.post("admin", "/api/v1/certificates", &body)
    };
    let control =
        issue(json!({ "role": "control-service", "hosts": ["api.example.com", "10.0.0.9"] })).json();
    assert_eq!(control["certificate"]["name"], "api.example.com", "{control}");
    let node = issue(json!({ "role": "node-agent" })).json();
    assert_eq!(node["certificate"]["name"].as_str().map(str::len), Some(36), "{node}");
    for (body, code) in [
        (json!({ "role": "control-service" }), "server.body"),
        (json!({ "role": "control-service", "name": "other", "hosts": ["b.example.com"] }), "server.body"),
        (json!({ "role": "api-user" }), "server.body"),
        (json!({ "role": "api-user", "name": "../x" }), "server.body"),
        (json!({ "role": "root", "name": "x" }), "server.body"),
        (json!({ "role": "api-user", "name": "bob", "validity": "soon" }), "server.body"),
    ] {
        let (status, found) = issue(body.clone()).problem();
        assert_eq!((status, found.as_str()), (400, code), "{body}");
    }
    let (status, code) =
        issue(json!({ "role": "api-user", "name": "bob", "validity": "1000d", "hosts": ["a.example"] }))
            .problem();
    assert_eq!(status, 422, "{code}");
}

#[test]
fn a_repeated_request_with_its_key_issues_once() {
    let server = Server::start();
    let request = json!({ "role": "api-user", "name": "once", "csr": csr(&server.home, "once") });
    let send = |key: &str, body: &Value| {
        server.post_with("admin", "/api/v1/certificates", body, &[&format!("idempotency-key: {key}")])
    };
    let (first, second) = (send("k1", &request), send("k1", &request));
    assert_eq!((first.status, second.status), (201, 201));
    assert_eq!(first.body, second.body);
    let issued = server.home.ok(&["list", "--name", "once"]);
    assert_eq!(issued.as_array().map(Vec::len), Some(1));
    let other = json!({ "role": "api-user", "name": "other", "csr": request["csr"] });
    assert_eq!(send("k1", &other).problem(), (422, "server.idempotency_reused".to_owned()));
    assert_eq!(send("", &request).status, 409, "curl sends no empty field, so this is a new request");
    // A restart forgets nothing.
    let mut server = server;
    server.signal("-TERM");
    assert!(server.ended().success());
    let server = Server::start_in(server.take_home(), "");
    let send = |key: &str, body: &Value| {
        server.post_with("admin", "/api/v1/certificates", body, &[&format!("idempotency-key: {key}")])
    };
    let third = send("k1", &request);
    assert_eq!((third.status, third.body), (201, first.body));
    assert_eq!(send("k1", &other).problem(), (422, "server.idempotency_reused".to_owned()));
    // A request whose process has ended before its result.
    let connection = rusqlite::Connection::open(server.home.path("ca.db")).expect("the inventory");
    assert_eq!(connection.execute("UPDATE request SET result = NULL", []).expect("changed"), 1);
    assert_eq!(send("k1", &request).problem(), (409, "server.idempotency_lost".to_owned()));
    // A refused one can be repeated.
    let bad = json!({ "role": "api-user", "name": "once", "csr": request["csr"] });
    assert_eq!(send("k2", &bad).problem(), (409, "file.exists".to_owned()));
    assert_eq!(send("k2", &bad).problem(), (409, "file.exists".to_owned()));
    // Without the key, a second certificate of the name is refused, and nothing is overwritten.
    assert_eq!(
        server.post("admin", "/api/v1/certificates", &request).problem(),
        (409, "file.exists".to_owned())
    );
}

#[test]
fn a_certificate_is_held_released_renewed_and_revoked_as_by_command() {
    let server = Server::start();
    let serial = server.serial("stranger");
    let at = |change: &str| format!("/api/v1/certificates/{serial}/{change}");
    let held = server.post("admin", &at("hold"), &json!({ "comment": "lost laptop" }));
    assert_eq!((held.status, &held.json()["certificate"]["status"]), (200, &json!("on-hold")), "{held:?}");
    let again = server.post("admin", &at("hold"), &json!({}));
    assert_eq!(again.json()["already"], true);
    let (status, code) = server.post("admin", &at("renew"), &json!({})).problem();
    assert_eq!((status, code.as_str()), (409, "ca.identity_revoked"));
    let released = server.post("admin", &at("release"), &json!({}));
    assert_eq!(released.json()["certificate"]["status"], "valid", "{released:?}");
    let renewed = server.post("admin", &at("renew"), &json!({ "reason": "test" }));
    assert_eq!(renewed.status, 201, "{renewed:?}");
    assert_eq!(renewed.json()["certificate"]["supersedes"], serial.as_str());
    let revoked = server.post("admin", &at("revoke"), &json!({ "reason": "key-compromise" }));
    assert_eq!(revoked.json()["certificate"]["reason"], "key-compromise", "{revoked:?}");
    let shown = server.home.ok(&["crl", "show"]);
    assert_eq!(shown["crl_number"], revoked.json()["crl"]["number"]);
    let crl = server.get("someone", "/api/v1/crl");
    assert_eq!((&crl.json()["number"], &crl.json()["revoked"]), (&shown["crl_number"], &json!(1)));
    for (body, code) in [
        (json!({}), 400),
        (json!({ "reason": "certificate-hold" }), 400),
        (json!({ "reason": "boredom" }), 400),
    ] {
        assert_eq!(
            server.post("admin", &at("revoke"), &body).problem(),
            (code, "server.body".to_owned()),
            "{body}"
        );
    }
}

#[test]
fn a_change_based_on_an_outdated_state_is_refused() {
    let server = Server::start();
    let serial = server.serial("stranger");
    let path = format!("/api/v1/certificates/{serial}");
    let shown = server.get("admin", &path);
    let tag = shown.field("etag").to_owned();
    let known = server.call(Some("admin"), &path, &["--header", &format!("if-none-match: {tag}")]);
    assert_eq!((known.status, known.body.len()), (304, 0));
    server.home.ok(&["hold", &serial]);
    let field = format!("if-match: {tag}");
    let refused =
        server.post_with("admin", &format!("{path}/revoke"), &json!({ "reason": "superseded" }), &[&field]);
    assert_eq!(refused.problem(), (412, "server.changed_meanwhile".to_owned()));
    assert_eq!(server.home.ok(&["show", &serial])["status"], "on-hold");
    let current = format!("if-match: {}", server.get("admin", &path).field("etag"));
    let done =
        server.post_with("admin", &format!("{path}/revoke"), &json!({ "reason": "superseded" }), &[&current]);
    assert_eq!(done.status, 200, "{done:?}");
}

#[test]
fn pages_hold_every_certificate_once_in_each_order() {
    let server = Server::start();
    let list =
        server.home.write("more", (0..23).map(|number| format!("page-{number}\n")).collect::<String>());
    server.home.ok(&["create-api-user", "--from", list.to_str().expect("text")]);
    for filter in ["", "&name=page-*", "&expires_within=10000d", "&role=api-user&status=valid&newest=true"] {
        let all = names(&server.get("reader", &format!("/api/v1/certificates?limit=1000{filter}")).json());
        assert!(all.len() >= 23, "{filter}: {all:?}");
        let (mut found, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = server.get("reader", &format!("/api/v1/certificates?limit=5{filter}{cursor}")).json();
            found.extend(names(&page));
            let Some(next) = page["next"].as_str() else { break };
            assert_eq!(page["items"].as_array().map(Vec::len), Some(5));
            cursor = format!("&cursor={next}");
        }
        assert_eq!(found, all, "{filter}");
    }
    for query in [
        "limit=0",
        "limit=1001",
        "limit=x",
        "cursor=x",
        "cursor=aa.bb",
        "odd=1",
        "status=odd",
        "role=odd",
        "expires_within=1",
        "limit=1&limit=2",
    ] {
        let answer = server.get("reader", &format!("/api/v1/certificates?{query}"));
        assert_eq!(answer.problem(), (400, "server.query".to_owned()), "{query}");
        let detail = answer.json()["detail"].as_str().expect("a detail").to_owned();
        assert!(!detail.contains("deserialize"), "{detail}");
        assert!(query != "odd=1" || detail.starts_with("unknown parameter `odd`"), "{detail}");
    }
    let entries = server.get("reader", "/api/v1/audit?limit=3").json();
    assert_eq!((entries["items"].as_array().map(Vec::len), &entries["next"]), (Some(3), &json!("3")));
    let rest = server.get("reader", "/api/v1/audit?limit=2&cursor=3").json();
    assert_eq!(rest["items"][0]["seq"], 4);
}

#[test]
fn the_crl_is_served_in_both_encodings_and_only_if_it_changed() {
    let server = Server::start();
    for (form, media_type, arguments) in [
        ("pem", "application/x-pem-file", ["-inform", "PEM"]),
        ("der", "application/pkix-crl", ["-inform", "DER"]),
    ] {
        let answer = server.get("someone", &format!("/api/v1/crl/{form}"));
        assert_eq!((answer.status, answer.field("content-type")), (200, media_type));
        let file = server.home.write("served.crl", &answer.body);
        let read =
            Command::new("openssl").arg("crl").args(arguments).args(["-noout", "-in"]).arg(file).output();
        assert!(read.expect("openssl").status.success(), "{form}");
        let tag = format!("if-none-match: {}", answer.field("etag"));
        let known = server.call(Some("someone"), &format!("/api/v1/crl/{form}"), &["--header", &tag]);
        assert_eq!(known.status, 304);
    }
}

#[test]
fn the_forecast_is_that_of_the_command() {
    let server = Server::start_in(home(), "");
    let served = server.get("reader", "/api/v1/forecast?within=10000d").json();
    let command = server.home.run(&["--json", "forecast", "--within", "10000d"]).json();
    assert_eq!(served["leaves"], command["result"]["leaves"], "{served} {command}");
    assert_eq!(
        served["outages"].as_array().map(Vec::len),
        command["result"]["outages"].as_array().map(Vec::len)
    );
}
