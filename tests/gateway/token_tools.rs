//! Tools and upstreams that know users: `explain --token`, `replay`, and the signed assertion.

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use cluster_ca::identity::AccountRole;
use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::explain::{explain, run};
use crate::harness::{Setup, write_private};
use crate::token_server::TokenServer;
use crate::tokens::{ACCEPTED, ROUTES, accepting, with_token};

#[tokio::test]
async fn the_explanation_of_a_request_with_a_token_is_what_the_gateway_does() {
    let (setup, server) = accepting("tokens: { statement: cluster.tokens, clients: any }\nassertion: {}\n");
    let statement = server.statement(1, &["bob"]);
    let gateway = Setup { files: vec![("cluster.tokens", statement)], ..setup }.start();
    let leaf = gateway.user();
    leaf.write(gateway.directory(), "caller");
    let cases = [
        (server.token("alice"), "/alice/x"),
        (server.token("alice"), "/legacy/x"),
        (server.token("alice"), "/v1/x"),
        (server.token("alice"), "/admin/x"),
        (server.token("alice"), "/nowhere"),
        (server.token("bob"), "/any/x"),
        (server.bound("alice", &leaf), "/alice/x"),
        (TokenServer::of(&Cluster::new("prod")).token("alice"), "/alice/x"),
    ];
    for (token, path) in cases {
        write_private(&gateway.path("token"), format!("{token}\n"));
        for (cert, leaf) in [(Some("caller.crt"), Some(&leaf)), (None, None)] {
            let (code, said) =
                explain(gateway.directory(), cert, &format!("GET {path}"), &["--token", "token"]);
            let answer = gateway.call(leaf, with_token(path, &token)).await;
            assert_eq!(code == 0, answer.status == 200, "{path} {cert:?}: {said}");
            if answer.status == 200 {
                let seen = &answer.json()["headers"];
                let told: Vec<_> =
                    said["headers"].as_array().unwrap().iter().map(|one| one[0].clone()).collect();
                for name in [
                    "x-cluster-user",
                    "x-cluster-org",
                    "x-cluster-user-role",
                    "authorization",
                    "x-cluster-id",
                ] {
                    assert_eq!(
                        told.contains(&json!(name)),
                        !seen[name].is_null(),
                        "{name} {path} {cert:?}: {said}"
                    );
                }
                assert_eq!(said["user"], "Root/alice (regular)", "{said}");
                assert!(!said.to_string().contains(&token), "no token is printed");
            } else {
                assert_eq!(
                    (&said["code"], &said["status"]),
                    (&answer.json()["code"], &json!(answer.status.as_u16())),
                    "{path} {cert:?}: {said}"
                );
            }
        }
    }
    let (code, said) = explain(gateway.directory(), None, "GET /alice/x", &[]);
    assert_eq!(
        (code, &said["code"], &said["status"]),
        (1, &json!("certificate.missing"), &json!(401)),
        "{said}"
    );
    // The token is a secret.
    std::fs::write(gateway.path("shown"), server.token("alice")).unwrap();
    let arguments = ["explain", "--config", "gateway.yaml", "--request", "GET /alice/x", "--token", "shown"];
    let (code, _, err) = run(gateway.directory(), &arguments);
    assert!(code == 1 && err.contains("shown"), "{code} {err}");
}

#[tokio::test]
async fn a_replay_judges_users_as_the_log_has_them() {
    let (setup, server) = accepting(ACCEPTED);
    let gateway = setup.start();
    let leaf = gateway.user();
    let sales = server.sign(&server.claims("Sales", "alice", AccountRole::Regular));
    for (path, token) in [
        ("/alice/x", server.token("alice")),
        ("/any/x", sales.clone()),
        ("/any/x", server.token("bob")),
        ("/any/x", "wrong".to_owned()),
    ] {
        gateway.call(&leaf, with_token(path, &token)).await;
    }
    gateway.line("request", |line| line["reason"] == "token.malformed");
    let log: String = gateway.lines().iter().map(|line| format!("{line}\n")).collect();
    std::fs::write(gateway.path("access.log"), log).unwrap();
    let replay = |routes: &str| {
        let text = std::fs::read_to_string(gateway.path("gateway.yaml")).unwrap();
        std::fs::write(gateway.path("next.yaml"), text.replace(ROUTES, routes)).unwrap();
        let (code, out, err) =
            run(gateway.directory(), &["replay", "access.log", "--config", "next.yaml", "--json"]);
        let said: Value = serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}{err}"));
        (code, said["result"].clone())
    };
    let (code, said) = replay(ROUTES);
    assert_eq!((code, &said["unchanged"], &said["changed"]), (0, &json!(3), &json!(0)), "{said}");
    let (code, said) = replay(&ROUTES.replace("{ user: \"*\", org: \"*\" }", "{ user: bob }"));
    assert_eq!((code, &said["unchanged"], &said["changed"]), (1, &json!(2), &json!(1)), "{said}");
    assert_eq!(said["changes"][0]["caller"], "api-user/alice with user Sales/alice", "{said}");
    assert!(
        said["changes"][0]["now"].as_str().unwrap().starts_with("deny (policy.user_not_allowed)"),
        "{said}"
    );
}

#[tokio::test]
async fn the_signed_assertion_names_the_user() {
    let (setup, server) = accepting("tokens: { statement: cluster.tokens, clients: any }\nassertion: {}\n");
    let gateway = setup.start();
    let leaf = gateway.user();
    let token = server.token("alice");
    for caller in [Some(&leaf), None] {
        let answer = gateway.call(caller, with_token("/alice/x", &token)).await;
        let assertion = answer.json()["headers"]["x-cluster-assertion"].as_str().unwrap().to_owned();
        let payload = assertion.split('.').nth(1).unwrap();
        let claims: Value = serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap();
        assert_eq!(
            (&claims["user"], &claims["org"], &claims["user_role"]),
            (&json!("alice"), &json!("Root"), &json!("regular")),
            "{claims}"
        );
        let sub = if caller.is_some() { "spiffe://prod/api-user/alice" } else { "Root/alice" };
        assert_eq!(claims["sub"], sub, "{claims}");
        for claim in ["role", "name", "serial", "cnf"] {
            assert_eq!(claims.get(claim).is_some(), caller.is_some(), "{claim}: {claims}");
        }
    }
}
