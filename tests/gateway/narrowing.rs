//! What is revoked or trusted no more is out, whatever else cannot be loaded; and nobody comes in by that
//! (R5 of the attack checklist).

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use rcgen::{CertifiedIssuer, KeyPair};
use serde_json::Value;
use time::Duration;

use crate::cluster::{Cluster, Leaf, authority, crl_by, leaf_params, now};
use crate::cutoff::{call, ends, idle};
use crate::eventually::eventually;
use crate::harness::{MovedClock, Setup, TestGateway};
use crate::push::{admin, push};

/// A gateway that trusts two roots, each with a list, and what the file of lists holds.
fn with_two_roots() -> (TestGateway, Cluster) {
    let (setup, second) = of_two_roots(Setup::new());
    (setup.start(), second)
}

/// The same before it starts.
fn of_two_roots(mut setup: Setup) -> (Setup, Cluster) {
    let second = Cluster::new("prod");
    setup.bundle = Some(setup.cluster.bundle() + &second.bundle());
    setup.crl = Some(setup.cluster.crl(1, &[]) + &second.crl(1, &[]));
    (setup, second)
}

const OPERATORS: &str = "operators: [{ role: api-user, name: admin }]\nstate_directory: state\n";

fn certificate(authority: &CertifiedIssuer<'static, KeyPair>) -> cluster_ca::x509::Certificate {
    cluster_ca::x509::Certificate::from_der(authority.der()).unwrap()
}

/// A leaf below `users`, who sends the certificate of `users` after its own.
fn user_of(users: &CertifiedIssuer<'static, KeyPair>, name: &str) -> Leaf {
    Leaf::signed(&leaf_params("prod", "api-user", name), users, &[users.der().clone()])
}

/// Makes the configuration one that cannot be loaded, and waits until that is known.
fn break_configuration(gateway: &TestGateway) {
    gateway.replace("gateway.yaml", "broken: [\n");
    eventually("it cannot be loaded", || (!gateway.status()["reload"]["last_error"].is_null()).then_some(()));
}

#[tokio::test]
async fn r5_a_removed_trust_anchor_is_out_while_its_list_is_still_there() {
    let (gateway, second) = with_two_roots();
    let (alice, bob) = (gateway.user(), second.leaf("api-user", "bob"));
    let (mut stays, mut cut) = (idle(&gateway, &alice).await, idle(&gateway, &bob).await);
    gateway.replace("cluster.crt", gateway.cluster.bundle());
    assert_eq!(ends(&mut cut).await, "");
    let line = gateway.line("connection_closed", |_| true);
    assert_eq!((&line["name"], &line["reason"]), (&"bob".into(), &"connection.trust_changed".into()));
    call(&mut stays).await;
    gateway.refused(Some(&bob)).await;
    assert_eq!(gateway.status()["reload"]["last_error"], serde_json::Value::Null);
    assert_eq!(gateway.status()["crl"].as_array().unwrap().len(), 1);
    // What stands in the place of the list that is needed is no surplus.
    gateway.replace("cluster.crl", second.crl(2, &[]));
    assert_eq!(gateway.reload(), Err("crl.unknown_issuer"));
    call(&mut stays).await;
}

#[tokio::test]
async fn r5_a_removed_trust_anchor_is_out_whatever_else_cannot_be_loaded() {
    for (broken, contents) in [("cluster.crl", "gone"), ("gateway.yaml", "broken: [\n"), ("gateway.key", "?")]
    {
        let (gateway, second) = with_two_roots();
        let (alice, bob) = (gateway.user(), second.leaf("api-user", "bob"));
        let (mut stays, mut cut) = (idle(&gateway, &alice).await, idle(&gateway, &bob).await);
        let good = std::fs::read_to_string(gateway.path(broken)).unwrap();
        let failing = || !gateway.status()["reload"]["last_error"].is_null();
        gateway.replace_private(broken, contents);
        eventually("it cannot be loaded", || failing().then_some(()));
        gateway.replace("cluster.crt", gateway.cluster.bundle());
        assert_eq!(ends(&mut cut).await, "", "{broken}");
        gateway.refused(Some(&bob)).await;
        assert!(failing(), "{broken}");
        // Neither does a root come in on this way, nor one that nobody has yet.
        let third = Cluster::new("prod");
        gateway.replace("cluster.crt", gateway.cluster.bundle() + &second.bundle() + &third.bundle());
        assert!(gateway.reload().is_err(), "{broken}");
        for stranger in [&bob, &third.leaf("api-user", "carol")] {
            gateway.refused(Some(stranger)).await;
        }
        // And another cluster's is a mistake: nobody would be left.
        gateway.replace("cluster.crt", third.bundle());
        assert!(gateway.reload().is_err(), "{broken}");
        call(&mut stays).await;
        gateway.replace("cluster.crt", gateway.cluster.bundle());
        gateway.replace_private(broken, &good);
        eventually("it is loaded again", || (!failing()).then_some(()));
        call(&mut stays).await;
    }
}

/// A gateway that trusts two roots, whose own certificate ends in an hour.
fn with_an_hour_left() -> (TestGateway, Cluster, MovedClock) {
    let clock = MovedClock::default();
    let (mut setup, second) = of_two_roots(Setup { clock: Arc::new(clock.clone()), ..Setup::new() });
    setup.own = own_for_an_hour(&setup.cluster);
    (setup.start(), second, clock)
}

fn own_for_an_hour(cluster: &Cluster) -> Leaf {
    cluster.leaf_with("control-service", "127.0.0.1", |params| params.not_after = now() + Duration::HOUR)
}

#[tokio::test]
async fn r5_a_removed_trust_anchor_is_out_where_our_own_certificate_has_run_out() {
    let (gateway, second, clock) = with_an_hour_left();
    let (alice, bob) = (gateway.user(), second.leaf("api-user", "bob"));
    let (mut stays, mut cut) = (idle(&gateway, &alice).await, idle(&gateway, &bob).await);
    clock.set(Duration::HOUR * 2);
    // Beside something that cannot be loaded, and by itself.
    break_configuration(&gateway);
    gateway.replace("cluster.crt", gateway.cluster.bundle());
    assert_eq!(ends(&mut cut).await, "");
    gateway.refused(Some(&bob)).await;
    call(&mut stays).await;
    assert_eq!(gateway.get(&alice, "/v1/x").await.status, 200);
}

#[tokio::test]
async fn a_certificate_of_ours_that_has_run_out_keeps_no_change_out() {
    let (gateway, second, clock) = with_an_hour_left();
    let bob = second.leaf("api-user", "bob");
    let mut cut = idle(&gateway, &bob).await;
    clock.set(Duration::HOUR * 2);
    gateway.replace("cluster.crt", gateway.cluster.bundle());
    assert_eq!(ends(&mut cut).await, "");
    assert_eq!(gateway.reload(), Ok(()));
    // Only what is in force already: one that has run out does not come in anew.
    let expired = own_for_an_hour(&gateway.cluster);
    gateway.replace("gateway.crt", &expired.certificate_pem);
    gateway.replace_private("gateway.key", &expired.key_pem);
    assert_eq!(gateway.reload(), Err("chain.expired"));
}

#[tokio::test]
async fn r5_the_root_of_our_own_certificate_stays_until_it_is_replaced_and_no_other_does() {
    let (setup, second) = of_two_roots(Setup::new());
    let third = Cluster::new("prod");
    let bundle = setup.bundle.clone().unwrap() + &third.bundle();
    let crl = setup.crl.clone().unwrap() + &third.crl(1, &[]);
    let gateway = Setup { bundle: Some(bundle), crl: Some(crl), ..setup }.start();
    let [alice, bob, carol] = [&gateway.cluster, &second, &third].map(|root| root.leaf("api-user", "one"));
    let mut own = idle(&gateway, &alice).await;
    let (mut stays, mut cut) = (idle(&gateway, &bob).await, idle(&gateway, &carol).await);
    gateway.replace("cluster.crt", second.bundle());
    assert_eq!(ends(&mut cut).await, "");
    gateway.refused(Some(&carol)).await;
    // The certificate is of a namesake. The cut comes before the report.
    let told = || gateway.status()["reload"]["last_error"]["code"] == "chain.bad_signature";
    eventually("the reload is reported as failed", || told().then_some(()));
    call(&mut own).await;
    call(&mut stays).await;
    // The other half of the change.
    let next = second.leaf("control-service", "127.0.0.1");
    gateway.replace("gateway.crt", &next.certificate_pem);
    gateway.replace_private("gateway.key", &next.key_pem);
    assert_eq!(ends(&mut own).await, "");
    call(&mut stays).await;
}

#[tokio::test]
async fn a_bundle_that_anybody_may_write_distrusts_nobody() {
    let (gateway, second) = with_two_roots();
    let (mut alice, mut bob) =
        (idle(&gateway, &gateway.user()).await, idle(&gateway, &second.leaf("api-user", "bob")).await);
    let fresh = gateway.path("fresh.crt");
    std::fs::write(&fresh, gateway.cluster.bundle()).unwrap();
    std::fs::set_permissions(&fresh, Permissions::from_mode(0o666)).unwrap();
    std::fs::rename(&fresh, gateway.path("cluster.crt")).unwrap();
    eventually("it is refused", || (!gateway.status()["reload"]["last_error"].is_null()).then_some(()));
    let said = gateway.status()["reload"]["last_error"]["message"].to_string();
    assert!(said.contains("is writable by all users"), "{said}");
    assert_eq!(gateway.status()["generation"], 1);
    call(&mut alice).await;
    call(&mut bob).await;
    // The same where anybody may write to a directory above.
    gateway.replace("cluster.crt", gateway.cluster.bundle());
    assert_eq!(ends(&mut bob).await, "");
}

#[tokio::test]
async fn authorities_stay_while_their_root_does_whatever_their_file_says() {
    for renewed in [true, false] {
        let (mut setup, second) = of_two_roots(Setup::new());
        let key = KeyPair::generate().unwrap().serialize_pem();
        let sign = || {
            let mut params = authority("users");
            params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Constrained(0));
            CertifiedIssuer::signed_by(params, KeyPair::from_pem(&key).unwrap(), &setup.cluster.root).unwrap()
        };
        let (users, again) = (sign(), sign());
        setup.files = vec![
            ("users.crt", users.pem()),
            ("users.crl", crl_by(&users, 1, std::iter::empty(), now() + Duration::days(10))),
        ];
        setup.trust = "intermediates: users.crt, crl: [cluster.crl, users.crl]".to_owned();
        let gateway = setup.start();
        let (alice, bob) = (user_of(&users, "alice"), second.leaf("api-user", "bob"));
        let (mut stays, mut cut) = (idle(&gateway, &alice).await, idle(&gateway, &bob).await);
        break_configuration(&gateway);
        let other = gateway.cluster.intermediate("others");
        gateway.replace("users.crt", if renewed { again.pem() } else { other.pem() });
        gateway.replace("cluster.crt", gateway.cluster.bundle());
        assert_eq!(ends(&mut cut).await, "");
        call(&mut stays).await;
        assert_eq!(gateway.get(&alice, "/v1/x").await.status, 200);
        // An authority that nobody knew before is no more known now.
        gateway.refused(Some(&user_of(&other, "carol"))).await;
        assert_eq!(gateway.refusal(), "revocation.no_crl");
    }
}

#[tokio::test]
async fn the_last_root_left_is_not_taken_for_the_only_one() {
    let (mut setup, second) = of_two_roots(Setup::new());
    let users = setup.cluster.intermediate("users");
    let key = certificate(&users).subject_key_identifier.unwrap();
    setup.files = vec![
        ("users.crt", users.pem()),
        ("users.crl", crl_by(&users, 1, std::iter::empty(), now() + Duration::days(10))),
    ];
    setup.trust = format!(
        "intermediates: users.crt, crl: [cluster.crl, users.crl], issuers: {{ \"{key}\": [api-user] }}"
    );
    let gateway = setup.start();
    let alice = user_of(&users, "alice");
    let refusals = |count: usize| {
        eventually("it is refused", || {
            let lines = gateway.lines().into_iter().filter(|line| line["event"] == "handshake_refused");
            let lines: Vec<Value> = lines.map(|line| line["reason"].clone()).collect();
            (lines.len() == count).then_some(lines)
        })
    };
    gateway.refused(Some(&alice)).await;
    assert_eq!(refusals(1), ["identity.issuer_role"], "its root is not listed, and not the only one");
    break_configuration(&gateway);
    gateway.replace("cluster.crt", gateway.cluster.bundle());
    eventually("one root is left", || (gateway.status()["crl"].as_array().unwrap().len() == 2).then_some(()));
    gateway.refused(Some(&alice)).await;
    assert_eq!(refusals(2), ["identity.issuer_role"; 2]);
    gateway.refused(Some(&second.leaf("api-user", "bob"))).await;
}

#[tokio::test]
async fn a_list_by_a_trusted_key_under_another_name_is_not_set_aside() {
    let gateway = TestGateway::start();
    let key = KeyPair::from_pem(&gateway.cluster.root.key().serialize_pem()).unwrap();
    let renamed = CertifiedIssuer::self_signed(authority("renamed"), key).unwrap();
    let list = crl_by(&renamed, 9, std::iter::empty(), now() + Duration::days(10));
    gateway.replace("cluster.crl", gateway.cluster.crl(2, &[]) + &list);
    assert_eq!(gateway.reload(), Err("crl.unknown_issuer"), "it may be what revokes somebody");
}

#[tokio::test]
async fn a_list_that_came_by_push_alone_is_missed_in_no_file() {
    let mut setup = Setup { more: OPERATORS, ..Setup::new() };
    let users = setup.cluster.intermediate("users");
    let serial = certificate(&users).serial_number.as_be_bytes().to_vec();
    let in_ten_days = now() + Duration::days(10);
    setup.crl = Some(setup.cluster.crl_of(1, std::iter::once(serial), in_ten_days));
    setup.files = vec![("users.crt", users.pem())];
    setup.trust = "intermediates: users.crt, crl: cluster.crl".to_owned();
    let gateway = setup.start();
    let alice = user_of(&users, "alice");
    gateway.refused(Some(&alice)).await;
    assert_eq!(gateway.refusal(), "revocation.revoked");
    // The authority is released, and has a list again.
    let pushed = gateway.cluster.crl(2, &[]) + &crl_by(&users, 1, std::iter::empty(), in_ten_days);
    let answer = push(&gateway, &admin(&gateway), pushed).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(gateway.get(&alice, "/v1/x").await.status, 200);
    assert_eq!(gateway.reload(), Ok(()));
    let gateway = gateway.restart();
    assert_eq!(gateway.get(&alice, "/v1/x").await.status, 200);
    // Once it has been in the files, it is missed there.
    let both = gateway.cluster.crl(3, &[]) + &crl_by(&users, 2, std::iter::empty(), in_ten_days);
    gateway.replace("cluster.crl", both);
    assert_eq!(gateway.reload(), Ok(()));
    gateway.replace("cluster.crl", gateway.cluster.crl(4, &[]));
    assert_eq!(gateway.reload(), Err("crl.missing_for_issuer"));
}

#[tokio::test]
async fn a_list_that_was_enforced_although_nothing_else_could_be_is_remembered_as_in_the_file() {
    let gateway = Setup { more: OPERATORS, ..Setup::new() }.start();
    let good = std::fs::read_to_string(gateway.path("gateway.yaml")).unwrap();
    break_configuration(&gateway);
    gateway.replace("cluster.crl", gateway.cluster.crl(7, &[]));
    gateway.wait_for_crl(7);
    assert_eq!(push(&gateway, &admin(&gateway), gateway.cluster.crl(9, &[])).await.status, 200);
    gateway.replace("gateway.yaml", good);
    eventually("it is loaded again", || gateway.reload().ok());
    gateway.replace("cluster.crl", gateway.cluster.crl(5, &[]));
    assert_eq!(gateway.reload(), Err("crl.rollback"));
    gateway.replace("cluster.crl", gateway.cluster.crl(8, &[]));
    assert_eq!(gateway.reload(), Ok(()), "older than what was pushed, and not than what the file held");
}
