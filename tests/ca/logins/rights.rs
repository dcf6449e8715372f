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
