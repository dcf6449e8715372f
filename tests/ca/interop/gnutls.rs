//! GnuTLS, by its `certtool`.

use std::process::Command;

use super::{Purpose, ask, judge};

/// Extended key usages, RFC 5280, section 4.2.1.12.
const PURPOSES: [(Purpose, &str); 4] = [
    (Purpose::Client, "1.3.6.1.5.5.7.3.2"),
    (Purpose::Server, "1.3.6.1.5.5.7.3.1"),
    (Purpose::Other, "1.3.6.1.5.5.7.3.3"),
    (Purpose::Other, "1.3.6.1.5.5.7.3.4"),
];

#[test]
fn gnutls_accepts_each_certificate_for_its_purpose_only() {
    judge(&PURPOSES, |cluster, leaf, purpose| {
        ask(Command::new("certtool")
            .args(["--verify", "--verify-purpose", purpose, "--infile"])
            .arg(&leaf.certificate)
            .arg("--load-ca-certificate")
            .arg(cluster.bundle())
            .arg("--load-crl")
            .arg(cluster.crl()))
    });
}
