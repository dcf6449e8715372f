//! Who may make which call: conditions on the query, and a policy that is only tried.

use crate::harness::{Setup, get, request, request_h2};

const BY_QUERY: &str = r#"
  - { path: /v1/things, methods: [DELETE], query: { force: absent }, allow: [{ role: api-user }], upstream: api }
  - { path: /v1/things, methods: [DELETE], query: { force: ["1"], mode: [soft, hard] }, allow: [{ role: control-service }], upstream: api }
  - { path: "/v1/**", methods: [GET, DELETE], allow: [{ role: api-user }], upstream: api }
"#;

// H10.
#[tokio::test]
async fn a_query_is_judged_on_all_values_of_a_parameter() {
    let gateway = Setup { routes: BY_QUERY, ..Setup::new() }.start();
    let (user, control) = (gateway.user(), gateway.cluster.leaf("control-service", "a.example"));
    for (leaf, query, status, code) in [
        (&user, "", 200, None),
        (&user, "?x=force", 200, None),
        (&user, "?force=1", 403, Some("policy.query_not_allowed")),
        (&user, "?x=1&force", 403, Some("policy.query_not_allowed")),
        (&user, "?x=1&%66orce=0", 403, Some("policy.query_not_allowed")),
        (&user, "?Force[]=1", 403, Some("policy.query_not_allowed")),
        (&user, "?x=1;force=1", 403, Some("policy.query_not_allowed")),
        (&user, "?force=1&mode=soft", 403, Some("policy.role_not_allowed")),
        (&control, "?force=1&mode=soft", 200, None),
        (&control, "?mode=hard&force=1&mode=soft", 200, None),
        (&control, "?mode=soft&force=1&mode=other", 403, Some("policy.query_not_allowed")),
        (&control, "?mode=other&force=1&mode=soft", 403, Some("policy.query_not_allowed")),
        (&control, "?force=1&force=0&mode=soft", 403, Some("policy.query_not_allowed")),
        (&control, "?force=1,0&mode=soft", 403, Some("policy.query_not_allowed")),
        (&control, "", 403, Some("policy.role_not_allowed")),
    ] {
        let path = format!("/v1/things{query}");
        for answer in [
            gateway.call(leaf, request("DELETE", &path, "")).await,
            gateway.call_h2(leaf, request_h2("DELETE", &path, "")).await,
        ] {
            assert_eq!(answer.status, status, "{query}: {answer:?}");
            match code {
                Some(code) => assert_eq!(answer.json()["code"], code, "{query}"),
                None => assert_eq!(answer.json()["path"], path.as_str()),
            }
        }
    }
}

const TRIED: &str = r#"
groups:
  some: [{ role: api-user, name: bob }]
routes:
  - { path: "/v1/secrets/**", methods: [GET], allow: [{ group: some }], upstream: api }
  - { path: "/v1/**", methods: [GET], allow: [{ role: api-user }], upstream: api }
  - { path: /v2, methods: [GET], allow: [{ role: api-user }], upstream: api }
"#;

#[tokio::test]
async fn a_policy_that_is_tried_changes_nothing_but_the_log() {
    let gateway = Setup {
        more: "policy: { shadow: new.yaml }",
        files: vec![("new.yaml", TRIED.to_owned())],
        ..Setup::new()
    }
    .start();
    let user = gateway.user();
    for (path, status, decision, shadow) in [
        ("/v1/x", 200, "permit", None),
        ("/v1/secrets/x", 200, "permit", Some(("deny", "routes[0] (line 5)", Some("policy.name_mismatch")))),
        ("/v2", 403, "deny", Some(("permit", "routes[2] (line 7)", None))),
        ("/v3", 403, "deny", None),
    ] {
        assert_eq!(gateway.call(&user, get(path)).await.status, status, "{path}");
        let line = gateway.line("request", |line| line["path"] == path);
        assert_eq!(line["decision"], decision, "{line}");
        match shadow {
            Some((decision, rule, reason)) => {
                assert_eq!(
                    (&line["shadow_decision"], &line["shadow_rule"]),
                    (&decision.into(), &rule.into())
                );
                assert_eq!(line.get("shadow_reason").and_then(|reason| reason.as_str()), reason);
            }
            None => assert!(!line.to_string().contains("shadow"), "{line}"),
        }
    }
    let put = request("PUT", "/v1/x", "x");
    assert_eq!(gateway.call(&user, put).await.status, 200);
    let line = gateway.line("request", |line| line["method"] == "PUT");
    assert_eq!(line["shadow_reason"], "policy.method_not_allowed", "{line}");
    let counts = &gateway.running().telemetry().shadow;
    let count = |counter: &std::sync::atomic::AtomicU64| counter.load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!((count(&counts.denied), count(&counts.permitted)), (2, 1));
}
