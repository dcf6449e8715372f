//! Each role at each resource, of its own and of another organization.

use serde_json::{Value, json};

use super::harness::{OTHER, Server, add_user, home_with_admin};

/// Callers: name and organization.
const CALLERS: [(&str, &str); 5] =
    [("alice", "Root"), ("oscar", "research"), ("rita", "research"), ("rob", "research"), ("otto", "Root")];

/// Status for a cluster-admin, for an org-admin, a read-only and a regular user of `research`, and for an org-admin of
/// `Root`.
type Expected = [u16; 5];

#[test]
fn rights_follow_role_and_organization() {
    let home = home_with_admin();
    for org in ["research", "sales"] {
        home.ok(&["org", "create", org]);
    }
    add_user(&home, "oscar", "research", "org-admin");
    add_user(&home, "rita", "research", "read-only");
    add_user(&home, "rob", "research", "regular");
    add_user(&home, "target", "research", "regular");
    add_user(&home, "target", "sales", "regular");
    add_user(&home, "target", "Root", "regular");
    add_user(&home, "otto", "Root", "org-admin");
    add_user(&home, "zoe", "Root", "cluster-admin");
    let server = Server::on(home, &[]);
    let tokens = CALLERS.map(|(name, org)| server.token(org, name));
    let password = json!({ "new_password": OTHER });
    let regular =
        |name: &str, org: &str| json!({ "name": name, "role": "regular", "password": OTHER, "org": org });
    let admin =
        |name: &str| json!({ "name": name, "role": "cluster-admin", "password": OTHER, "org": "Root" });
    let none = || None;
    let cases: Vec<(&str, &str, Option<Value>, Expected)> = vec![
        ("GET", "/whoami", none(), [200, 200, 200, 200, 200]),
        ("GET", "/users", none(), [200, 200, 200, 403, 200]),
        ("GET", "/users?org=research", none(), [200, 200, 200, 403, 404]),
        ("GET", "/users?org=sales", none(), [200, 404, 404, 403, 404]),
        ("GET", "/users/target?org=research", none(), [200, 200, 200, 404, 404]),
        ("GET", "/users/target?org=sales", none(), [200, 404, 404, 404, 404]),
        ("GET", "/users/target?org=Root", none(), [200, 404, 404, 404, 200]),
        ("GET", "/users/rob?org=research", none(), [200, 200, 200, 200, 404]),
        ("PATCH", "/users/target?org=sales", Some(json!({ "role": "regular" })), [200, 404, 403, 403, 404]),
        (
            "PATCH",
            "/users/target?org=research",
            Some(json!({ "role": "regular" })),
            [200, 200, 403, 403, 404],
        ),
        (
            "PATCH",
            "/users/target?org=Root",
            Some(json!({ "role": "cluster-admin" })),
            [200, 404, 403, 403, 403],
        ),
        ("POST", "/users", Some(admin("new")), [201, 403, 403, 403, 403]),
        ("POST", "/users", Some(regular("added", "sales")), [201, 404, 403, 403, 404]),
        ("PUT", "/users/zoe/password?org=Root", Some(password.clone()), [200, 404, 404, 404, 403]),
        ("PUT", "/users/target/password?org=sales", Some(password), [200, 404, 404, 404, 404]),
        ("POST", "/users/target/unlock?org=sales", none(), [200, 404, 403, 403, 404]),
        ("POST", "/users/target/unlock?org=research", none(), [200, 200, 403, 403, 404]),
        ("POST", "/users/target/revoke-tokens?org=sales", none(), [200, 404, 404, 404, 404]),
        ("POST", "/users/zoe/revoke-tokens?org=Root", none(), [200, 404, 404, 404, 403]),
        ("DELETE", "/users/zoe?org=Root", none(), [200, 404, 403, 403, 403]),
        ("DELETE", "/users/target?org=sales", none(), [200, 404, 403, 403, 404]),
        ("GET", "/organizations", none(), [200, 200, 200, 403, 200]),
        ("POST", "/organizations", Some(json!({ "name": "new" })), [201, 403, 403, 403, 403]),
        ("PATCH", "/organizations/new", Some(json!({ "name": "newer" })), [200, 403, 403, 403, 403]),
        ("DELETE", "/organizations/newer", none(), [200, 403, 403, 403, 403]),
        ("GET", "/security/lockout", none(), [200, 200, 200, 403, 200]),
        ("PUT", "/security/lockout", Some(json!({ "failed_attempts": 6 })), [200, 403, 403, 403, 403]),
        ("DELETE", "/security/lockout", none(), [200, 403, 403, 403, 403]),
        ("GET", "/security/banner", none(), [200, 200, 200, 200, 200]),
        (
            "PUT",
            "/security/banner",
            Some(json!({ "text": "Hello", "enabled": true })),
            [200, 403, 403, 403, 403],
        ),
        ("DELETE", "/security/banner", none(), [200, 403, 403, 403, 403]),
        ("GET", "/security/token-lifetimes", none(), [200, 200, 200, 403, 200]),
        ("PUT", "/security/token-lifetimes", Some(json!({ "access_token": 240 })), [200, 403, 403, 403, 403]),
        ("DELETE", "/security/token-lifetimes", none(), [200, 403, 403, 403, 403]),
    ];
    for (method, path, body, expected) in &cases {
        // Those without the right first: the others may change what they ask for.
        for caller in (0..CALLERS.len()).rev() {
            let is_changed_by_earlier =
                *path == "/users/rob?org=research" && *method == "PATCH" && caller < 2;
            if is_changed_by_earlier && caller == 1 {
                continue;
            }
            let reply = server.call(method, path, Some(&tokens[caller]), body.clone());
            assert_eq!(reply.status, expected[caller], "{method} {path} by {:?}: {reply:?}", CALLERS[caller]);
        }
        let without = server.call(method, path, None, body.clone());
        let is_public = *path == "/security/banner" && *method == "GET";
        assert_eq!(without.status, if is_public { 200 } else { 401 }, "{method} {path}");
    }
    server.home.ok(&["audit", "verify"]);
}

#[test]
fn administrators_do_not_remove_themselves() {
    let home = home_with_admin();
    add_user(&home, "zoe", "Root", "cluster-admin");
    let server = Server::on(home, &[]);
    let token = server.token("Root", "alice");
    let refused = |method: &str, path: &str, body: Option<Value>| {
        let reply = server.call(method, path, Some(&token), body);
        assert_eq!((reply.status, reply.code()), (403, "account.own_account"), "{method} {path}");
    };
    refused("DELETE", "/users/alice", None);
    refused("PATCH", "/users/alice", Some(json!({ "role": "regular" })));
    refused("PUT", "/users/alice/password", Some(json!({ "new_password": OTHER })));
    assert_eq!(server.call("DELETE", "/users/zoe", Some(&token), None).status, 200);
    assert_eq!(server.home.refused(&["user", "delete", "alice"]).code, "account.last_cluster_admin");
}

/// Operations of the API that name an organization in the query: method, path, and names of required members.
fn operations_of_organizations(server: &Server) -> Vec<(String, String, Vec<String>)> {
    let document = server.call("GET", "/openapi.json", None, None).body;
    let mut found = Vec::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("operations") {
            let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
            if !parameters.iter().any(|parameter| parameter["name"] == "org") {
                continue;
            }
            let schema = &operation["requestBody"]["content"]["application/json"]["schema"]["$ref"];
            let name = schema.as_str().and_then(|text| text.rsplit('/').next()).unwrap_or_default();
            let required = &document["components"]["schemas"][name]["required"];
            let required = required.as_array().cloned().unwrap_or_default();
            let required = required.iter().map(|name| name.as_str().expect("a name").to_owned()).collect();
            let path = path.strip_prefix("/api/v1").expect("a path").replace("{name}", "target");
            found.push((method.to_uppercase(), path, required));
        }
    }
    found
}

#[test]
fn no_operation_reaches_the_users_of_another_organization() {
    let home = home_with_admin();
    for org in ["research", "sales"] {
        home.ok(&["org", "create", org]);
        add_user(&home, "target", org, "regular");
    }
    let callers = [("oscar", "org-admin"), ("rita", "read-only"), ("rob", "regular")];
    for (name, role) in callers {
        add_user(&home, name, "research", role);
    }
    let server = Server::on(home, &[]);
    let before = server.home.ok(&["user", "list", "--org", "sales"]);
    let operations = operations_of_organizations(&server);
    assert!(operations.len() >= 12, "{operations:?}");
    for (name, role) in callers {
        let token = server.token("research", name);
        for (method, path, required) in &operations {
            let members = required.iter().map(|member| (member.clone(), json!(OTHER)));
            let body = (method != "GET").then(|| Value::Object(members.collect()));
            // A name that exists and one that does not get the same answer: neither can be told from the other.
            let [there, nowhere] = ["sales", "nowhere"].map(|org| {
                let reply = server.call(method, &format!("{path}?org={org}"), Some(&token), body.clone());
                assert!(matches!(reply.status, 403 | 404), "{method} {path} by {role}: {reply:?}");
                (reply.status, reply.code().to_owned(), reply.text("detail").replace(org, "ORG"))
            });
            assert_eq!(there, nowhere, "{method} {path} by {role}");
        }
    }
    assert_eq!(server.home.ok(&["user", "list", "--org", "sales"]), before);
}
