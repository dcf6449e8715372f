//! What the service behind can verify by itself.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, LazyLock};

use cluster_ca::x509::Sha256;
use http::HeaderValue;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384};
use serde_json::{Value, json};
use time::Duration;

use crate::cluster::{Leaf, leaf_params};
use crate::harness::{Answer, MovedClock, Setup, TestGateway, get, words};
use crate::metrics::fetch;

const JWKS: &str = "/.well-known/cluster/jwks";

const SIGNED: &str =
    "metrics: 127.0.0.1:0\nassertion: { issuer: \"https://gateway.example\", audience: things }";

fn signing(more: &'static str) -> TestGateway {
    Setup { more, ..Setup::new() }.start()
}

/// The assertion that the service behind has received.
fn assertion(answer: &Answer) -> String {
    let assertion = &answer.json()["headers"]["x-cluster-assertion"];
    assertion.as_str().unwrap_or_else(|| panic!("not one assertion: {assertion}")).to_owned()
}

/// What it says, unverified.
fn claims(token: &str) -> Value {
    use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

/// A Python that has PyJWT. Asked for before there is an assertion: an assertion does not live as long as
/// an installation takes.
fn python() -> &'static str {
    static PYTHON: LazyLock<String> = LazyLock::new(|| {
        let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/python-tools");
        let made = Command::new(tools).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        String::from_utf8(made.stdout).unwrap().trim().to_owned()
    });
    &PYTHON
}

/// Verifies assertions as a service in Python would, with PyJWT: each `(token, audience)` gives its claims,
/// or the name of the error.
fn verified_by_pyjwt(keys: &Value, tokens: &[(&str, &str)]) -> Vec<Value> {
    const SCRIPT: &str = r#"
import json, sys, jwt
asked = json.load(sys.stdin)
keys = {key.key_id: key for key in jwt.PyJWKSet.from_dict(asked["keys"]).keys}
def verify(token, audience):
    try:
        head = jwt.get_unverified_header(token)
        assert head["typ"] == "cluster-assertion+jwt", head
        return jwt.decode(token, keys[head["kid"]], algorithms=["ES256"], audience=audience,
                          issuer="https://gateway.example", leeway=5,
                          options={"require": ["iss", "aud", "sub", "jti", "iat", "nbf", "exp"]})
    except (jwt.PyJWTError, KeyError) as error:
        return type(error).__name__
json.dump([verify(token, audience) for token, audience in asked["tokens"]], sys.stdout)
"#;
    let mut python = Command::new(python())
        .args(["-c", SCRIPT])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let asked = json!({ "keys": keys, "tokens": tokens });
    python.stdin.take().unwrap().write_all(asked.to_string().as_bytes()).unwrap();
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success());
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test]
async fn another_implementation_verifies_who_calls_and_for_what() {
    python();
    let gateway = signing(SIGNED);
    let user = gateway.user();
    let answer = gateway.get(&user, "/v1/things?colour=red").await;
    let token = assertion(&answer);
    let keys = gateway.get(&user, JWKS).await.json();
    let (status, published) = fetch(&gateway, JWKS);
    assert_eq!((status, &serde_json::from_str::<Value>(&published).unwrap()), (200, &keys));

    let (signed, signature) = token.rsplit_once('.').unwrap();
    let flipped = if signature.starts_with('A') { 'B' } else { 'A' };
    let forged = format!("{signed}.{flipped}{}", &signature[1..]);
    let tokens = [(token.as_str(), "things"), (&token, "others"), (&forged, "things")];
    let verdicts = verified_by_pyjwt(&keys, &tokens);
    assert_eq!(verdicts[1..], ["InvalidAudienceError", "InvalidSignatureError"]);

    use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
    let hash = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(Sha256::of(bytes).0);
    let claims = &verdicts[0];
    for (claim, wanted) in [
        ("sub", json!("spiffe://prod/api-user/alice")),
        ("role", json!("api-user")),
        ("name", json!("alice")),
        ("serial", json!(user.serial_number())),
        ("htm", json!("GET")),
        ("htu", json!("https://gateway/v1/things")),
        ("htq", json!(hash(b"colour=red"))),
        ("cnf", json!({ "x5t#S256": hash(&user.chain[0]) })),
        ("jti", json!(answer.header("x-request-id"))),
    ] {
        assert_eq!(claims[claim], wanted, "{claim} in {claims}");
    }
    let seconds = |claim: &str| claims[claim].as_i64().unwrap();
    assert_eq!((seconds("nbf"), seconds("exp")), (seconds("iat"), seconds("iat") + 30));
}

#[tokio::test]
async fn each_request_has_an_assertion_of_its_own_and_no_other() {
    let gateway = signing(SIGNED);
    let user = gateway.user();
    let mut call = get("/v1/things");
    call.headers_mut().append("x-cluster-assertion", HeaderValue::from_static("forged"));
    call.headers_mut().append("X_Cluster_Assertion", HeaderValue::from_static("forged"));
    let (first, second) = (gateway.call(&user, call).await, gateway.get(&user, "/v1/others").await);
    let (first, second) = (claims(&assertion(&first)), claims(&assertion(&second)));
    assert_ne!(first["jti"], second["jti"]);
    assert_eq!(
        (&first["htu"], &second["htu"]),
        (&"https://gateway/v1/things".into(), &"https://gateway/v1/others".into())
    );
    assert_eq!(first.get("htq"), None);
}

#[tokio::test]
async fn unless_it_is_said_otherwise_an_assertion_is_the_trust_domains_for_one_upstream() {
    let gateway = signing("assertion: {}");
    let claims = claims(&assertion(&gateway.get(&gateway.user(), "/v1/x").await));
    assert_eq!((&claims["iss"], &claims["aud"]), (&"spiffe://prod".into(), &"api".into()));
}

#[tokio::test]
async fn nothing_is_signed_and_no_key_published_unasked() {
    let gateway = signing("metrics: 127.0.0.1:0");
    let user = gateway.user();
    assert!(gateway.get(&user, "/v1/x").await.json()["headers"].get("x-cluster-assertion").is_none());
    assert_eq!(gateway.get(&user, JWKS).await.status, 404);
    assert_eq!(fetch(&gateway, JWKS).0, 404);
}

#[tokio::test]
async fn a_replaced_key_is_published_as_long_as_anything_holds_that_it_signed() {
    python();
    let clock = MovedClock::default();
    let gateway = Setup { more: SIGNED, clock: Arc::new(clock.clone()), ..Setup::new() }.start();
    let user = gateway.user();
    let before = gateway.get(&user, JWKS).await.json();
    gateway.running().reload().unwrap();
    assert_eq!(gateway.get(&user, JWKS).await.json(), before, "one that was made at the start stays");

    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    use_key(&gateway, &key);
    gateway.running().reload().unwrap();
    let both = gateway.get(&user, JWKS).await.json();
    assert_eq!(both["keys"].as_array().unwrap().len(), 2);
    assert_eq!(both["keys"][1], before["keys"][0], "the one that signs stands first");
    let token = assertion(&gateway.get(&user, "/v1/x").await);
    assert_eq!(
        verified_by_pyjwt(&json!({ "keys": [both["keys"][0]] }), &[(&token, "things")])[0]["name"],
        "alice"
    );

    clock.set(Duration::seconds(91));
    gateway.running().reload().unwrap();
    assert_eq!(gateway.get(&user, JWKS).await.json()["keys"], json!([both["keys"][0]]));
}

#[tokio::test]
async fn a_key_that_cannot_sign_them_stops_the_reload() {
    let gateway = signing(SIGNED);
    let user = gateway.user();
    let before = gateway.get(&user, JWKS).await.json();
    use_key(&gateway, &KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap());
    let error = words(&gateway.running().reload().unwrap_err());
    assert!(error.contains("ES256 requires ecdsa-p256"), "{error}");
    assert_eq!(gateway.get(&user, JWKS).await.json(), before);
}

/// Makes the configuration name a file with `key`.
fn use_key(gateway: &TestGateway, key: &KeyPair) {
    let mut file = std::fs::OpenOptions::new();
    let mut file = file.write(true).create_new(true).mode(0o600).open(gateway.path("assertion.key")).unwrap();
    file.write_all(key.serialize_pem().as_bytes()).unwrap();
    let config = std::fs::read_to_string(gateway.path("gateway.yaml")).unwrap();
    let config = config.replace("audience: things", "audience: things, key: assertion.key");
    gateway.replace("gateway.yaml", config);
}

#[tokio::test]
async fn the_authorities_between_caller_and_root_are_told_as_far_as_they_are_verified() {
    use base64::prelude::{BASE64_STANDARD, Engine as _};
    let mut setup = Setup::new();
    let users = setup.cluster.intermediate("users");
    let unrelated = setup.cluster.intermediate("unrelated");
    let chain = [unrelated.der().clone(), users.der().clone()];
    let leaf = Leaf::signed(&leaf_params("prod", "api-user", "alice"), &users, &chain);
    (setup.trust, setup.more) = (String::new(), "revocation: disabled");
    let gateway = setup.start();
    let seen = gateway.get(&leaf, "/v1/x").await.json();
    assert_eq!(seen["headers"]["client-cert-chain"], format!(":{}:", BASE64_STANDARD.encode(users.der())));
    let seen = gateway.get(&gateway.user(), "/v1/x").await.json();
    assert_eq!(seen["headers"].get("client-cert-chain"), None);
}
