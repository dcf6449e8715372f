//! Loading everything again while callers are connected.

use std::os::unix::fs::symlink;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::cluster::Cluster;
use crate::eventually::eventually;
use crate::harness::{Setup, TestGateway, patiently, read_until};

/// The serial number of the certificate that a new caller is shown.
pub(crate) async fn shown(gateway: &TestGateway) -> String {
    let stream = gateway.connect(Some(&gateway.user()), &[]).await.unwrap();
    let leaf = stream.get_ref().1.peer_certificates().unwrap()[0].clone();
    cluster_ca::x509::Certificate::from_der(&leaf).unwrap().serial_number.to_string()
}

#[tokio::test]
async fn a_new_certificate_is_shown_to_new_callers_and_old_ones_stay() {
    let gateway = TestGateway::start();
    let mut open = gateway.connect(Some(&gateway.user()), &["http/1.1"]).await.unwrap();
    let call = b"GET /v1/x HTTP/1.1\r\nhost: g\r\n\r\n";
    open.write_all(call).await.unwrap();
    read_until(&mut open, "body_too_large_to_echo").await;
    let fresh = gateway.cluster.leaf("control-service", "127.0.0.1");
    // The certificate comes before its key: for a moment they do not fit, and the old pair stays.
    gateway.replace("gateway.crt", &fresh.certificate_pem);
    let _ = gateway.reload();
    fresh.write(&gateway.path(""), "gateway");
    eventually("the new pair is taken", || gateway.reload().ok());
    assert_eq!(shown(&gateway).await, fresh.serial_number());
    open.write_all(call).await.unwrap();
    read_until(&mut open, "body_too_large_to_echo").await;
}

#[tokio::test]
async fn t14_what_does_not_load_leaves_everything_as_it_was() {
    let setup = Setup::new();
    let own = setup.own.clone();
    let gateway = setup.start();
    let (cluster, other) = (&gateway.cluster, Cluster::new("other"));
    let stranger = other.leaf("control-service", "127.0.0.1");
    let bundle = cluster.bundle();
    let config = std::fs::read_to_string(gateway.path("gateway.yaml")).unwrap();
    for (name, contents, code) in [
        ("cluster.crt", "", "x509.no_block"),
        ("cluster.crt", "-----BEGIN CERTIFICATE-----\n", "x509.pem"),
        ("cluster.crt", &other.bundle(), "crl.unknown_issuer"),
        ("cluster.crt", &(bundle.clone() + &other.bundle()), "crl.missing_for_issuer"),
        ("gateway.crt", "", "x509.no_block"),
        ("gateway.crt", &stranger.certificate_pem, "tls.key_mismatch"),
        (
            "gateway.crt",
            &cluster.leaf("api-user", "alice").with_key_of(&own).certificate_pem,
            "tls.key_mismatch",
        ),
        ("gateway.yaml", "", "gateway.configuration"),
        ("gateway.yaml", &config.replace("/v1/**", "/v1//**"), "gateway.configuration"),
        ("gateway.yaml", &config.replace("cluster.crl", "none.crl"), "gateway.configuration"),
    ] {
        let before = std::fs::read_to_string(gateway.path(name)).unwrap();
        gateway.replace(name, contents);
        assert_eq!(gateway.reload(), Err(code), "{name}: {contents}");
        gateway.replace(name, before);
    }
    // Another cluster's certificate with its own key: it fits itself, and not our bundle.
    gateway.replace("gateway.crt", &stranger.certificate_pem);
    gateway.replace_private("gateway.key", &stranger.key_pem);
    assert_eq!(gateway.reload(), Err("chain.unknown_issuer"));
    std::fs::remove_file(gateway.path("cluster.crt")).unwrap();
    assert_eq!(gateway.reload(), Err("gateway.configuration"));

    assert_eq!(shown(&gateway).await, own.serial_number());
    assert_eq!(gateway.get(&gateway.user(), "/v1/x").await.status, 200);
    gateway.refused(Some(&other.leaf("api-user", "alice"))).await;
}

#[tokio::test]
async fn a_new_policy_is_asked_by_old_connections_too() {
    let gateway = TestGateway::start();
    let user = gateway.user();
    let mut open = gateway.connect(Some(&user), &["http/1.1"]).await.unwrap();
    let call = b"GET /v1/x HTTP/1.1\r\nhost: g\r\n\r\n";
    open.write_all(call).await.unwrap();
    read_until(&mut open, "body_too_large_to_echo").await;
    let config = std::fs::read_to_string(gateway.path("gateway.yaml")).unwrap();
    gateway.replace("gateway.yaml", config.replace("{ role: api-user }, ", ""));
    gateway.wait_for_change(1);
    open.write_all(call).await.unwrap();
    assert!(read_until(&mut open, "\r\n\r\n").await.starts_with("HTTP/1.1 403 "));
}

#[tokio::test]
async fn a_change_of_a_file_is_noticed_however_it_is_made() {
    let setup = Setup::new();
    let gateway = setup.start();
    let crl = gateway.path("cluster.crl");
    let changes: [&dyn Fn(&str); 4] = [
        // Renamed over.
        &|text| gateway.replace("cluster.crl", text),
        // Truncated, and written in two pieces.
        &|text| {
            use std::io::Write;
            let mut file = std::fs::File::create(&crl).unwrap();
            file.write_all(&text.as_bytes()[..100]).unwrap();
            file.flush().unwrap();
            file.write_all(&text.as_bytes()[100..]).unwrap();
        },
        // Made a link.
        &|text| {
            std::fs::create_dir(gateway.path("elsewhere")).unwrap();
            std::fs::write(gateway.path("elsewhere/a.crl"), text).unwrap();
            symlink("elsewhere/a.crl", gateway.path("link")).unwrap();
            std::fs::rename(gateway.path("link"), &crl).unwrap();
        },
        // Written where the link leads.
        &|text| std::fs::write(&crl, text).unwrap(),
    ];
    for (number, change) in (2..).zip(changes) {
        change(&gateway.cluster.crl(number, &[]));
        gateway.wait_for_crl(number);
    }
}

#[tokio::test]
async fn a_directory_swapped_behind_links_is_noticed() {
    // As Kubernetes publishes: FILE -> ..data/FILE, ..data -> ..1, and the next ..data is renamed over it.
    let gateway = TestGateway::start();
    let publish = |version: &str, crl: &str| {
        let directory = gateway.path(version);
        std::fs::create_dir(&directory).unwrap();
        std::fs::write(directory.join("cluster.crl"), crl).unwrap();
        symlink(version, gateway.path("..data_tmp")).unwrap();
        std::fs::rename(gateway.path("..data_tmp"), gateway.path("..data")).unwrap();
    };
    publish("..1", &gateway.cluster.crl(2, &[]));
    symlink("..data/cluster.crl", gateway.path("link")).unwrap();
    std::fs::rename(gateway.path("link"), gateway.path("cluster.crl")).unwrap();
    gateway.wait_for_crl(2);
    publish("..2", &gateway.cluster.crl(3, &[]));
    gateway.wait_for_crl(3);
}

#[tokio::test]
async fn a_file_that_comes_late_is_waited_for() {
    let gateway = TestGateway::start();
    let config = std::fs::read_to_string(gateway.path("gateway.yaml")).unwrap();
    gateway.replace("gateway.yaml", config.replace("crl: cluster.crl", "crl: [cluster.crl, late.crl]"));
    let failed = || gateway.status()["reload"]["last_error"]["code"] == "gateway.configuration";
    eventually("it is not there", || failed().then_some(()));
    std::fs::write(gateway.path("late.crl"), gateway.cluster.crl(9, &[])).unwrap();
    gateway.wait_for_crl(9);
}

#[tokio::test]
async fn a_file_that_comes_late_to_another_directory_is_waited_for() {
    let (gateway, elsewhere) = (TestGateway::start(), tempfile::tempdir().unwrap());
    let late = elsewhere.path().join("late.crl");
    let config = std::fs::read_to_string(gateway.path("gateway.yaml")).unwrap();
    let crls = format!("crl: [cluster.crl, {}]", late.display());
    gateway.replace("gateway.yaml", config.replace("crl: cluster.crl", &crls));
    let failed = || gateway.status()["reload"]["last_error"]["code"] == "gateway.configuration";
    eventually("it is not there", || failed().then_some(()));
    std::fs::write(&late, gateway.cluster.crl(9, &[])).unwrap();
    gateway.wait_for_crl(9);
}

#[tokio::test]
async fn a_broken_configuration_does_not_keep_a_revocation_out() {
    let setup = Setup::new();
    let shadow = format!("routes:{}", setup.routes);
    let files = vec![("shadow.yaml", shadow)];
    let gateway = Setup { more: "policy: { shadow: shadow.yaml }", files, ..setup }.start();
    let mut revoked = Vec::new();
    let parts = ["gateway.yaml", "shadow.yaml", "cluster.crt", "gateway.crt", "gateway.key"];
    for (number, broken) in (2..).zip(parts) {
        let caller = gateway.cluster.leaf("api-user", &format!("user{number}"));
        let mut open = gateway.connect(Some(&caller), &["http/1.1"]).await.unwrap();
        open.write_all(b"GET /v1/x HTTP/1.1\r\nhost: g\r\n\r\n").await.unwrap();
        read_until(&mut open, "body_too_large_to_echo").await;
        let good = std::fs::read_to_string(gateway.path(broken)).unwrap();
        let failing = || !gateway.status()["reload"]["last_error"].is_null();
        gateway.replace_private(broken, "broken: [\n");
        eventually("it cannot be loaded", || failing().then_some(()));

        revoked.push(caller);
        let newer = gateway.cluster.crl(number, &revoked.iter().collect::<Vec<_>>());
        gateway.replace("cluster.crl", &newer);
        gateway.wait_for_crl(number);
        let mut rest = Vec::new();
        patiently(open.read_to_end(&mut rest)).await.unwrap();
        gateway.refused(revoked.last()).await;
        // Neither is an older one taken on this way, nor is the failure forgotten.
        gateway.replace("cluster.crl", gateway.cluster.crl(number - 1, &[]));
        assert!(gateway.reload().is_err() && failing(), "{broken}");
        gateway.wait_for_crl(number);
        gateway.replace("cluster.crl", newer);
        gateway.replace_private(broken, &good);
        eventually("it is loaded again", || (!failing()).then_some(()));
    }
}
