//! Whose a certificate is, and who may say so.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, GeneralSubtree,
    IsCa, KeyPair, NameConstraints, SanType,
};

use crate::cluster::{Cluster, Leaf, authority, leaf_params, uri};
use crate::harness::{NODE, Setup, TestGateway, get, request_h2};

const CLUSTER: &str = "0b0c7f5e-8f4f-4a55-9b49-1f0d6f6f2c11";

/// Refused in the handshake, with this reason in the log.
async fn is_refused(setup: Setup, leaf: &Leaf, reason: &str) {
    let gateway = setup.start();
    gateway.refused(Some(leaf)).await;
    assert_eq!(gateway.refusal(), reason);
}

fn with_names(cluster: &Cluster, names: Vec<SanType>) -> Leaf {
    cluster.leaf_with("api-user", "alice", |params| params.subject_alt_names = names)
}

fn email(text: &str) -> SanType {
    SanType::Rfc822Name(text.try_into().unwrap())
}

// T6.
#[tokio::test]
async fn an_identity_in_another_kind_of_name_is_none() {
    for name in [
        email("spiffe://prod/control-service/a.example"),
        SanType::DnsName("spiffe://prod/control-service/a.example".try_into().unwrap()),
    ] {
        let setup = Setup::new();
        let leaf = with_names(&setup.cluster, vec![name.clone()]);
        is_refused(setup, &leaf, "identity.no_uri").await;
        let gateway = TestGateway::start();
        let leaf = with_names(&gateway.cluster, vec![name, uri("spiffe://prod/api-user/alice")]);
        let seen = gateway.get(&leaf, "/v1/x").await.json();
        assert_eq!(seen["headers"]["x-cluster-role"], "api-user");
    }
}

// T7, T8.
#[tokio::test]
async fn an_identity_with_anything_odd_in_it_is_refused() {
    let long = format!("spiffe://prod/api-user/{}", "a".repeat(60_000));
    for name in [
        "spiffe://prod/api-user/alice\0",
        "spiffe://prod/api-user/alice\r\nX-Cluster-Role: control-service",
        "spiffe://prod/api-user/\u{1b}[2J",
        "spiffe://prod/api-user/Alice",
        "spiffe://prod/api-user/%61lice",
        "spiffe://prod/api-user/alice/",
        "spiffe://prod/api-user//alice",
        "spiffe://prod/api-user/../control-service/a.example",
        "spiffe://prod/api-user/alice?role=control-service",
        "spiffe://prod/api-user/alice,spiffe://prod/control-service/a.example",
        "SPIFFE://prod/api-user/alice",
        "",
        &long,
    ] {
        let setup = Setup::new();
        let leaf = with_names(&setup.cluster, vec![uri(name)]);
        is_refused(setup, &leaf, "identity.malformed").await;
    }
}

// T7.
#[tokio::test]
async fn an_odd_subject_breaks_neither_a_header_nor_a_line_of_the_log() {
    let gateway = TestGateway::start();
    let subject = "x\",URI=spiffe://prod/control-service/a;\r\nX-Cluster-Role: control-service\0\u{e9}";
    let leaf = gateway.cluster.leaf_with("api-user", "alice", |params| {
        params.distinguished_name.push(DnType::CommonName, subject);
    });
    let seen = gateway.get(&leaf, "/v1/x").await.json();
    assert_eq!(seen["headers"]["x-cluster-role"], "api-user");
    let details = seen["headers"]["x-forwarded-client-cert"].as_str().unwrap();
    assert_eq!(details.matches("URI=").count(), 1, "{details}");
    assert!(details.ends_with(";URI=spiffe://prod/api-user/alice"), "{details}");
    assert_eq!(gateway.line("request", |_| true)["role"], "api-user");

    let stranger = Cluster::new("prod").leaf_with("api-user", "alice", |params| {
        params.distinguished_name.push(DnType::CommonName, format!("{subject}{}", "y".repeat(30_000)));
    });
    gateway.refused(Some(&stranger)).await;
    let line = gateway.line("handshake_refused", |_| true);
    assert!(line["subject"].as_str().unwrap().len() <= 1_024, "{line}");
}

// T9.
#[tokio::test]
async fn only_the_leaf_says_who_is_calling() {
    let gateway = TestGateway::start();
    let mut leaf = gateway.user();
    leaf.chain.extend(gateway.cluster.leaf("control-service", "a.example").chain);
    let seen = gateway.get(&leaf, "/v1/x").await.json();
    assert_eq!(seen["headers"]["x-cluster-id"], "spiffe://prod/api-user/alice");

    let mut other_first = gateway.cluster.leaf("control-service", "a.example");
    other_first.chain.extend(gateway.user().chain);
    let thief = other_first.with_key_of(&gateway.user());
    gateway.refused(Some(&thief)).await;
    assert_eq!(gateway.refusal(), "certificate.proof");
}

// T3.
#[tokio::test]
async fn a_certificate_says_in_words_that_it_is_a_callers() {
    for usages in [
        vec![],
        vec![ExtendedKeyUsagePurpose::ServerAuth],
        vec![ExtendedKeyUsagePurpose::EmailProtection],
        vec![ExtendedKeyUsagePurpose::Any],
    ] {
        let setup = Setup::new();
        let leaf = setup.cluster.leaf_with("api-user", "alice", |params| params.extended_key_usages = usages);
        is_refused(setup, &leaf, "chain.wrong_purpose").await;
    }
}

// T4.
#[tokio::test]
async fn an_authority_below_one_that_may_have_none_makes_nobody() {
    let setup = Setup::new();
    let users = setup.cluster.intermediate("users");
    let below = CertifiedIssuer::signed_by(authority("below"), KeyPair::generate().unwrap(), &users).unwrap();
    let params = leaf_params("prod", "api-user", "alice");
    let leaf = Leaf::signed(&params, &below, &[below.der().clone(), users.der().clone()]);
    is_refused(setup, &leaf, "chain.path_too_long").await;
}

// T5.
#[tokio::test]
async fn a_name_that_an_authority_may_not_give_is_refused() {
    let setup = Setup::new();
    let mut params = authority("hosts");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.name_constraints = Some(NameConstraints {
        permitted_subtrees: vec![GeneralSubtree::DnsName("good.example".to_owned())],
        excluded_subtrees: Vec::new(),
    });
    let hosts =
        CertifiedIssuer::signed_by(params, KeyPair::generate().unwrap(), &setup.cluster.root).unwrap();
    let mut params = leaf_params("prod", "api-user", "alice");
    params.subject_alt_names.push(SanType::DnsName("a.bad.example".try_into().unwrap()));
    let leaf = Leaf::signed(&params, &hosts, &[hosts.der().clone()]);
    is_refused(setup, &leaf, "chain.name_constraint").await;
}

/// A cluster with an authority below its root, a leaf of it, and the identifiers of both keys.
fn below_an_authority(role: &str, name: &str) -> (Setup, Leaf, [String; 2]) {
    let mut setup = Setup::new();
    let users = setup.cluster.intermediate("users");
    let leaf = Leaf::signed(&leaf_params("prod", role, name), &users, &[users.der().clone()]);
    setup.more = "revocation: disabled";
    let ids = [key_identifier(&setup.cluster.root), key_identifier(&users)];
    (setup, leaf, ids)
}

fn key_identifier(authority: &CertifiedIssuer<'static, KeyPair>) -> String {
    let certificate = cluster_ca::x509::Certificate::from_der(authority.der()).unwrap();
    certificate.subject_key_identifier.unwrap().to_string()
}

// T5.
#[tokio::test]
async fn an_authority_vouches_only_for_the_roles_that_it_may() {
    for (bound, role, name, refused) in [
        ("ROOT: [control-service, api-user], USERS: [api-user]", "api-user", "alice", None),
        ("ROOT: [api-user, node-agent], USERS: [api-user]", "node-agent", NODE, Some("identity.issuer_role")),
        ("ROOT: [control-service], USERS: [api-user]", "api-user", "alice", Some("identity.issuer_role")),
        ("ROOT: [api-user]", "api-user", "alice", Some("identity.issuer_role")),
        ("USERS: [api-user]", "api-user", "alice", None),
        ("USERS: []", "api-user", "alice", Some("identity.issuer_role")),
    ] {
        let (mut setup, leaf, [root, users]) = below_an_authority(role, name);
        let bound = bound.replace("ROOT", &format!("\"{root}\"")).replace("USERS", &format!("\"{users}\""));
        setup.trust = format!("issuers: {{ {bound} }}");
        match refused {
            Some(reason) => is_refused(setup, &leaf, reason).await,
            None => assert_eq!(setup.start().get(&leaf, "/v1/x").await.status, 200, "{bound}"),
        }
    }
}

/// An authority below `above` that bears the key identifier of another one.
fn posing_as(
    other: &CertifiedIssuer<'static, KeyPair>,
    above: &CertifiedIssuer<'static, KeyPair>,
) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = authority("users");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let id = cluster_ca::x509::Certificate::from_der(other.der()).unwrap().subject_key_identifier.unwrap().0;
    params.key_identifier_method = rcgen::KeyIdMethod::PreSpecified(id);
    CertifiedIssuer::signed_by(params, KeyPair::generate().unwrap(), above).unwrap()
}

// T5.
#[tokio::test]
async fn an_unlisted_authority_cannot_vouch_through_a_borrowed_key_identifier() {
    let mut params = authority("root");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(2));
    let roomy = || CertifiedIssuer::self_signed(params.clone(), KeyPair::generate().unwrap()).unwrap();
    for (list_root, of_other_root) in [(false, false), (true, false), (false, true)] {
        let (mut setup, other_root) = (Setup::new(), roomy());
        setup.cluster.root = roomy();
        setup.own = setup.cluster.leaf("control-service", "127.0.0.1");
        let mut params = authority("users");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(1));
        let below = |params: &CertificateParams| {
            CertifiedIssuer::signed_by(params.clone(), KeyPair::generate().unwrap(), &setup.cluster.root)
        };
        let (listed, unlisted) = (below(&params).unwrap(), below(&params).unwrap());
        let above = if of_other_root { &other_root } else { &unlisted };
        let posing = posing_as(&listed, above);
        let sent = [posing.der().clone(), unlisted.der().clone()];
        let sent = if of_other_root { &sent[..1] } else { &sent[..] };
        let mallory = Leaf::signed(&leaf_params("prod", "control-service", "a.example"), &posing, sent);
        let roles = "[control-service]";
        let mut bound = format!("\"{}\": {roles}", key_identifier(&listed));
        if list_root || of_other_root {
            bound.push_str(&format!(", \"{}\": {roles}", key_identifier(&setup.cluster.root)));
        }
        setup.bundle = of_other_root.then(|| setup.cluster.bundle() + &other_root.pem());
        setup.more = "revocation: disabled";
        setup.trust = format!("issuers: {{ {bound} }}");
        let params = leaf_params("prod", "control-service", "b.example");
        let good = Leaf::signed(&params, &listed, &[listed.der().clone()]);
        let gateway = setup.start();
        assert_eq!(gateway.get(&good, "/v1/x").await.status, 200);
        gateway.refused(Some(&mallory)).await;
        assert_eq!(gateway.refusal(), "identity.issuer_role");
    }
}

fn flocker() -> Setup {
    Setup {
        listen: "[{ address: \"127.0.0.1:0\", identity: flocker, cluster: 0b0c7f5e-8f4f-4a55-9b49-1f0d6f6f2c11 }]",
        ..Setup::new()
    }
}

fn flocker_leaf(cluster: &Cluster, common_name: &str, unit: &str) -> Leaf {
    cluster.leaf_with("api-user", "x", |params: &mut CertificateParams| {
        params.subject_alt_names.clear();
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.distinguished_name.push(DnType::OrganizationalUnitName, unit);
    })
}

#[tokio::test]
async fn a_listener_that_reads_flockers_form_finds_role_and_name_in_the_subject() {
    let gateway = flocker().start();
    let user = flocker_leaf(&gateway.cluster, "user-alice", CLUSTER);
    let seen = gateway.get(&user, "/v1/x").await.json();
    assert_eq!(seen["headers"]["x-cluster-id"], "spiffe://prod/api-user/alice");
    let node = flocker_leaf(&gateway.cluster, &format!("node-{NODE}"), CLUSTER);
    assert_eq!(gateway.get(&node, &format!("/v1/nodes/{NODE}/state")).await.status, 200);
    let control = flocker_leaf(&gateway.cluster, "control-service", CLUSTER);
    assert_eq!(gateway.get(&control, "/v1/x").await.json()["headers"]["x-cluster-role"], "control-service");
}

// T8, T10.
#[tokio::test]
async fn flockers_form_has_one_common_name_and_one_cluster() {
    let other = "9d1c1f0e-5b5a-4c3e-8b1e-0a0b0c0d0e0f";
    for (common_name, unit, reason) in [
        ("user-alice", other, "identity.foreign_cluster"),
        ("user-alice", "", "identity.foreign_cluster"),
        ("alice", CLUSTER, "identity.common_name"),
        ("user-", CLUSTER, "identity.malformed"),
        ("user-alice\0", CLUSTER, "identity.malformed"),
        ("user-alice,OU=control-service", CLUSTER, "identity.malformed"),
        ("prod", CLUSTER, "identity.common_name"),
    ] {
        let setup = flocker();
        let leaf = flocker_leaf(&setup.cluster, common_name, unit);
        is_refused(setup, &leaf, reason).await;
    }
    let setup = flocker();
    let leaf = setup.cluster.leaf("api-user", "alice");
    is_refused(setup, &leaf, "identity.not_one").await;
}

#[tokio::test]
async fn a_gateway_may_have_its_own_certificate_in_flockers_form() {
    let mut setup = Setup { more: "trust_domain: prod", ..flocker() };
    setup.own = setup.cluster.leaf_with("control-service", "127.0.0.1", |params| {
        params.subject_alt_names.retain(|name| !matches!(name, SanType::URI(_)));
        params.distinguished_name.push(DnType::OrganizationalUnitName, CLUSTER);
    });
    let gateway = setup.start();
    let user = flocker_leaf(&gateway.cluster, "user-alice", CLUSTER);
    assert_eq!(gateway.get(&user, "/v1/x").await.status, 200);
}

#[tokio::test]
async fn a_listener_that_reads_uris_does_not_read_subjects() {
    let setup = Setup::new();
    let leaf = flocker_leaf(&setup.cluster, "control-service", CLUSTER);
    is_refused(setup, &leaf, "identity.no_uri").await;
}

const PUBLIC_ROUTES: &str = r#"
  - { path: /healthz, methods: [GET, HEAD], allow: [anyone], upstream: api }
  - { path: "/v1/**", methods: [GET], allow: [{ role: api-user }], upstream: api }
"#;

fn open() -> Setup {
    Setup {
        listen: "[{ address: \"127.0.0.1:0\", client_certificate: optional }]",
        routes: PUBLIC_ROUTES,
        ..Setup::new()
    }
}

#[tokio::test]
async fn a_caller_without_a_certificate_reaches_what_is_for_anyone_and_nothing_else() {
    let gateway = open().start();
    assert_eq!(gateway.get(None, "/healthz").await.status, 200);
    assert_eq!(gateway.call_h2(None, request_h2("GET", "/healthz", "")).await.status, 200);
    let line = gateway.line("request", |line| line["status"] == 200);
    assert_eq!((line.get("role"), line.get("serial_number")), (None, None), "{line}");
    for path in ["/v1/x", "/", "/nowhere", "/healthz/", "/.well-known/cluster/whoami"] {
        let answer = gateway.get(None, path).await;
        assert_eq!(answer.status, 401, "{path}");
        assert_eq!(answer.header("www-authenticate"), "ClientCertificate", "{path}");
        assert_eq!(answer.header("content-type"), "application/problem+json");
        assert_eq!(answer.json()["code"], "certificate.missing", "{path}");
    }
    let answer = gateway.call(None, crate::harness::request("POST", "/healthz", "x")).await;
    assert_eq!(answer.status, 401);
}

#[tokio::test]
async fn a_caller_with_a_certificate_is_known_where_none_is_needed() {
    let gateway = open().start();
    let user = gateway.user();
    for path in ["/healthz", "/v1/x"] {
        let seen = gateway.get(&user, path).await.json();
        assert_eq!(seen["headers"]["x-cluster-name"], "alice", "{path}");
    }
    assert_eq!(gateway.get(&user, "/nowhere").await.json()["code"], "policy.no_route");
}

#[tokio::test]
async fn a_bad_certificate_is_worse_than_none() {
    let mut setup = open();
    let revoked = setup.cluster.leaf("api-user", "alice");
    setup.crl = Some(setup.cluster.crl(2, &[&revoked]));
    let gateway = setup.start();
    gateway.refused(Some(&revoked)).await;
    assert_eq!(gateway.refusal(), "revocation.revoked");
    for (leaf, reason) in [
        (Cluster::new("prod").leaf("api-user", "alice"), "chain.bad_signature"),
        (Cluster::new("other").leaf("api-user", "alice"), "chain.unknown_issuer"),
    ] {
        let gateway = open().start();
        gateway.refused(Some(&leaf)).await;
        assert_eq!(gateway.refusal(), reason);
    }
    let setup = open();
    let mail = setup.cluster.leaf_with("api-user", "alice", |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::EmailProtection];
    });
    is_refused(setup, &mail, "chain.wrong_purpose").await;
}

// H5.
#[tokio::test]
async fn a_caller_without_a_certificate_cannot_say_who_it_is() {
    let gateway = open().start();
    let mut request = get("/healthz");
    for name in [
        "x-cluster-role",
        "X_Cluster_Name",
        "x-cluster-id",
        "x-cluster-serial",
        "client-cert",
        "client-cert-chain",
        "x-forwarded-client-cert",
        "x-forwarded-for",
        "x-ssl-client-cn",
    ] {
        request
            .headers_mut()
            .insert(http::HeaderName::from_bytes(name.as_bytes()).unwrap(), "forged".parse().unwrap());
    }
    let seen = gateway.call(None, request).await.json();
    let headers = seen["headers"].as_object().unwrap();
    assert!(
        headers
            .keys()
            .all(|name| !name.contains("cluster") && !name.contains("cert") && !name.contains("ssl")),
        "{headers:?}"
    );
    assert_eq!(headers["x-forwarded-for"], "127.0.0.1");
    assert!(!seen.to_string().contains("forged"));
}

// T26: what one listener lets in, another does not.
#[tokio::test]
async fn listeners_do_not_borrow_from_each_other() {
    let gateway = Setup {
        listen: "[\"127.0.0.1:0\", { address: \"127.0.0.2:0\", client_certificate: optional }]",
        ..open()
    }
    .start();
    gateway.refused(None).await;
    assert_eq!(gateway.refusal(), "certificate.missing");
    let open = TestGatewayAt(&gateway, gateway.running().addresses()[1]);
    assert_eq!(open.status("/healthz").await, 200);
    assert_eq!(open.status("/v1/x").await, 401);
}

/// The same gateway, at another of its addresses.
struct TestGatewayAt<'a>(&'a TestGateway, std::net::SocketAddr);

impl TestGatewayAt<'_> {
    async fn status(&self, path: &str) -> u16 {
        let config = self.0.client_config(None, &["http/1.1"], rustls::DEFAULT_VERSIONS);
        let stream = tokio::net::TcpStream::connect(self.1).await.unwrap();
        let name = rustls::pki_types::ServerName::from(self.0.address.ip());
        let stream = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config))
            .connect(name, stream)
            .await
            .unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\n\r\n");
        let answer = crate::harness::raw_on(stream, request).await;
        answer.split(' ').nth(1).unwrap().parse().unwrap()
    }
}
