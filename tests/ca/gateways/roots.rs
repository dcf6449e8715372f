//! Change of roots: at each step, both homes enforce their revocations on a running gateway.

use std::fs;

use super::{list, operated, push};
use crate::home::Home;
use crate::live::Live;

fn text(home: &Home, name: &str) -> String {
    fs::read_to_string(home.path(name)).expect("a file")
}

/// Revoke `user` of `home` with `--wait`, and check that the gateway enforces it.
fn enforced(home: &Home, gateway: &Live, user: &str) {
    list(home, &[&gateway.address]);
    let (finished, pushed) = push(home, &["revoke", user, "--wait"]);
    assert_eq!((finished.exit, &pushed["enforced"]), (Some(0), &1.into()), "{user}: {finished:?}");
    let status = home.run(&["--json", "gateways", "status"]);
    assert_eq!(status.exit, Some(0), "{user}: {status:?}");
    push(home, &["crl", "push"]);
}

#[test]
fn a_change_of_roots_leaves_each_revocation_enforceable() {
    let (old, new) = (operated(), operated());
    for home in [&old, &new] {
        for user in ["carol", "dave"] {
            home.ok(&["create-api-user", user]);
        }
    }
    let (new_root, old_crl) = (text(&new, "cluster.crt"), text(&old, "cluster.crl"));
    let both = text(&old, "cluster.crt") + &new_root;
    let new_crl = text(&new, "cluster.crl");
    for (home, other_crl) in [(&old, &new_crl), (&new, &old_crl)] {
        home.write("cluster.crl", text(home, "cluster.crl") + other_crl);
        home.write("cluster.crt", &both);
    }

    // The gateway's certificate is below the old root, then below the new one.
    let gateway = Live::on_a_machine(&old);
    enforced(&old, &gateway, "api-user/alice");
    enforced(&new, &gateway, "api-user/alice");
    let gateway = Live::on_a_machine(&new);
    enforced(&old, &gateway, "api-user/bob");
    let verified = old.ok(&["verify", new.path("issued/user-admin.crt").to_str().expect("text")]);
    assert_eq!(verified["broken"].as_array().map(Vec::len), Some(0), "{verified}");
    enforced(&new, &gateway, "api-user/bob");

    // The old root is removed. Its CRL has no effect, until the next signature leaves it out.
    new.write("cluster.crt", &new_root);
    let gateway = Live::on_a_machine(&new);
    new.ok(&["verify", new.path("issued/user-admin.crt").to_str().expect("text")]);
    let carol = new.path("issued/user-carol.crt");
    let explained = new.ok(&["explain-failure", &gateway.address, "--cert", carol.to_str().expect("text")]);
    assert_eq!(explained["works"], true, "{explained}");
    assert_eq!(text(&new, "cluster.crl").matches("BEGIN X509 CRL").count(), 2);
    enforced(&new, &gateway, "api-user/carol");
    assert_eq!(text(&new, "cluster.crl").matches("BEGIN X509 CRL").count(), 1);
    assert_eq!(new.run(&["doctor"]).exit, Some(0));

    // Certificates of the old root have no effect.
    list(&old, &[&gateway.address]);
    let (finished, pushed) = push(&old, &["revoke", "api-user/dave", "--wait"]);
    assert_eq!((finished.exit, &pushed["enforced"]), (Some(4), &0.into()), "{finished:?}");
}

#[test]
fn the_crl_of_a_removed_root_is_left_out_at_the_next_signature_and_reported() {
    let (home, other) = (operated(), Home::initialized());
    let with_other = || home.write("cluster.crl", text(&home, "cluster.crl") + &text(&other, "cluster.crl"));
    let stray = |home: &Home| text(home, "cluster.crl").matches("BEGIN X509 CRL").count() == 2;
    for command in [
        &["crl", "publish"][..],
        &["hold", "api-user/alice"],
        &["release", "api-user/alice"],
        &["revoke", "api-user/alice"],
        // Nothing changes, and the file is put in order all the same.
        &["revoke", "api-user/alice"],
    ] {
        with_other();
        assert!(stray(&home));
        let told = home.run(command);
        assert_eq!(told.exit, Some(0), "{told:?}");
        assert!(told.stderr.contains("cluster.crl no longer has the CRL of key "), "{command:?}: {told:?}");
        assert!(!stray(&home), "{command:?}");
    }

    with_other();
    let doctor = home.run(&["--json", "doctor"]).json()["result"]["findings"].clone();
    assert_eq!(
        (&doctor[0]["code"], &doctor[0]["severity"]),
        (&"crl.unknown_issuer".into(), &"warning".into())
    );
    assert!(doctor[0]["remedy"].as_str().expect("a remedy").contains("cluster-ca crl publish"), "{doctor}");
    let fixed = home.run(&["doctor", "--fix"]);
    assert_eq!(fixed.exit, Some(0), "{fixed:?}");
    assert!(!stray(&home), "{fixed:?}");
}
