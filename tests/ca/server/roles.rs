//! Each endpoint and each caller: allowed by the role, or refused.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::running::{OPERATORS, Server};

/// Operations of the API: method, path, roles; none where no certificate is needed.
fn operations(server: &Server) -> Vec<(String, String, Option<Vec<String>>)> {
    let document = server.call(None, "/api/v1/openapi.json", &[]).json();
    let mut found = Vec::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("operations") {
            let roles = operation["x-roles"]
                .as_array()
                .map(|roles| roles.iter().map(|role| role.as_str().expect("a role").to_owned()).collect());
            found.push((method.clone(), path.clone(), roles));
        }
    }
    assert!(found.len() >= 15, "{found:?}");
    found
}

fn call(server: &Server, who: Option<&str>, method: &str, path: &str) -> (u16, Value) {
    // No such certificate: nothing is changed, whoever asks.
    let path = path.replace("{serial}", "0123456789abcdef").replace("{name}", "nobody");
    let verb = method.to_uppercase();
    let answer = match method {
        "get" => server.call(who, &path, &[]),
        "post" => server.call(who, &path, &["--header", "content-type: application/json", "--data", "{}"]),
        "delete" => server.call(who, &path, &["--request", "DELETE"]),
        _ => {
            let content = ["--header", "content-type: application/json", "--data", "{}"];
            server.call(who, &path, &[&["--request", &verb][..], &content].concat())
        }
    };
    let body = serde_json::from_slice(&answer.body).unwrap_or(Value::Null);
    (answer.status, body)
}

#[test]
fn every_endpoint_is_open_to_its_roles_and_to_no_other_caller() {
    let server = Server::start();
    for (method, path, roles) in operations(&server) {
        let Some(roles) = roles else {
            // A login without a name is understood, and refused for that.
            let expected = if method == "get" { 200 } else { 400 };
            assert_eq!(call(&server, None, &method, &path).0, expected, "{method} {path}");
            continue;
        };
        assert!(!roles.is_empty(), "{method} {path} is open to no role");
        let (status, body) = call(&server, None, &method, &path);
        assert_eq!((status, &body["code"]), (401, &json!("server.no_credentials")), "{method} {path}");
        let (status, body) = call(&server, Some("stranger"), &method, &path);
        assert_eq!((status, &body["code"]), (403, &json!("server.not_an_operator")), "{method} {path}");
        for (name, role) in OPERATORS {
            let (status, body) = call(&server, Some(name), &method, &path);
            if roles.iter().any(|one| one == role) {
                // A certificate has no session that could end.
                let needs_token = body["code"] == "server.token_needed";
                assert!(
                    needs_token || ![401, 403, 405, 500].contains(&status),
                    "{method} {path} by {role}: {status} {body}"
                );
            } else {
                let expected = (403, &json!("server.role_not_allowed"));
                assert_eq!((status, &body["code"]), expected, "{method} {path} by {role}");
            }
        }
    }
    // Only reading callers and certificates exist: no call changed anything.
    let entries = server.home.ok(&["audit", "list"]);
    let entries = entries.as_array().expect("entries");
    let by_request = |entry: &&Value| entry["actor"].as_str().expect("an actor").contains("request");
    // Restored defaults are the one change that needs no name.
    assert!(entries.iter().filter(by_request).all(|entry| entry["action"] == "security.set"));
}

#[test]
fn roles_that_change_certificates_are_the_cluster_admin_alone() {
    let server = Server::start();
    let changing: Vec<_> = operations(&server)
        .into_iter()
        .filter(|(method, path, _)| method == "post" && path.contains("certificates"))
        .collect();
    assert_eq!(changing.len(), 5);
    for (_, path, roles) in changing {
        assert_eq!(roles, Some(vec!["cluster-admin".to_owned()]), "{path}");
    }
}

#[test]
fn every_operation_documents_the_problems_that_it_answers_with() {
    let server = Server::start();
    let document = server.call(None, "/api/v1/openapi.json", &[]).json();
    assert_eq!(document["openapi"], "3.1.0");
    let schemas: BTreeSet<&String> =
        document["components"]["schemas"].as_object().expect("schemas").keys().collect();
    let mut ids = BTreeSet::new();
    for (method, path, roles) in operations(&server) {
        let operation = &document["paths"][&path][&method];
        assert!(ids.insert(operation["operationId"].as_str().expect("an ID").to_owned()), "{operation}");
        let responses = operation["responses"].as_object().expect("responses");
        let mut needed = vec!["500", "503"];
        needed.extend(roles.is_some().then_some(["401", "403"]).into_iter().flatten());
        let has_body = !operation["requestBody"].is_null();
        needed.extend(has_body.then_some(["400", "413", "415"]).into_iter().flatten());
        needed.extend((method != "get").then_some("409"));
        needed.extend(path.contains('{').then_some("404"));
        for status in needed {
            let body = &responses[status]["content"]["application/problem+json"]["schema"]["$ref"];
            assert_eq!(body, "#/components/schemas/ProblemBody", "{method} {path} {status}");
        }
        for reference in references(operation) {
            let name = reference.rsplit('/').next().expect("a name").to_owned();
            assert!(schemas.contains(&name), "{method} {path}: {reference}");
        }
    }
    for reference in references(&document["components"]) {
        let name = reference.rsplit('/').next().expect("a name").to_owned();
        assert!(schemas.contains(&name), "{reference}");
    }
}

fn references(value: &Value) -> Vec<String> {
    match value {
        Value::Object(fields) => fields
            .iter()
            .flat_map(|(key, value)| match (key.as_str(), value) {
                ("$ref", Value::String(reference)) => vec![reference.clone()],
                _ => references(value),
            })
            .collect(),
        Value::Array(items) => items.iter().flat_map(references).collect(),
        _ => Vec::new(),
    }
}
