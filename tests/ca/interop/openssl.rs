//! OpenSSL, as strict as it can be.

use std::process::Command;

use super::{Purpose, ask, judge};

const PURPOSES: [(Purpose, &str); 5] = [
    (Purpose::Client, "sslclient"),
    (Purpose::Server, "sslserver"),
    (Purpose::Other, "smimesign"),
    (Purpose::Other, "timestampsign"),
    (Purpose::Other, "crlsign"),
];

#[test]
fn openssl_accepts_each_certificate_for_its_purpose_only() {
    judge(&PURPOSES, |cluster, leaf, purpose| {
        ask(Command::new("openssl")
            .args(["verify", "-x509_strict", "-crl_check", "-purpose", purpose, "-no-CApath", "-no-CAstore"])
            .arg("-CAfile")
            .arg(cluster.bundle())
            .arg("-CRLfile")
            .arg(cluster.crl())
            .arg(&leaf.certificate))
    });
}

#[test]
fn openssl_finds_every_host_in_a_server_certificate() {
    judge(&[(Purpose::Server, "control-service")], |cluster, leaf, name| {
        let verify = |check: &str, host: &str| {
            ask(Command::new("openssl")
                .args([
                    "verify",
                    "-x509_strict",
                    "-crl_check",
                    "-purpose",
                    "sslserver",
                    check,
                    host,
                    "-CAfile",
                ])
                .arg(cluster.bundle())
                .arg("-CRLfile")
                .arg(cluster.crl())
                .arg(&leaf.certificate))
        };
        if leaf.label.starts_with("create-node --san") {
            verify("-verify_hostname", "node.example.com").and(verify("-verify_ip", "10.0.0.2"))
        } else if leaf.label.starts_with("create-control 10.0.0.1") {
            verify("-verify_ip", "10.0.0.1")
                .and(verify("-verify_ip", "::1"))
                .and(verify("-verify_hostname", name))
        } else {
            verify("-verify_hostname", name)
        }
    });
}
