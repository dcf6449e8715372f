//! rustls-webpki, called as rustls calls it.

use std::time::{Duration, SystemTime};

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};
use webpki::{
    ALL_VERIFICATION_ALGS, EndEntityCert, ExpirationPolicy, KeyUsage, OwnedCertRevocationList,
    RevocationCheckDepth, RevocationOptionsBuilder, UnknownStatusPolicy, anchor_from_trusted_cert,
};

use super::{Cluster, Leaf, Purpose, judge};

#[test]
fn rustls_webpki_accepts_each_certificate_for_its_purpose_only() {
    let purposes = [(Purpose::Client, "client"), (Purpose::Server, "server"), (Purpose::Other, "code")];
    judge(&purposes, |cluster, leaf, purpose| {
        let usage = match purpose {
            "client" => KeyUsage::client_auth(),
            "server" => KeyUsage::server_auth(),
            // id-kp-codeSigning, 1.3.6.1.5.5.7.3.3
            _ => KeyUsage::required(&[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x03]),
        };
        verify(cluster, leaf, usage).map_err(|error| format!("{error:?}"))
    });
}

fn verify(cluster: &Cluster, leaf: &Leaf, usage: KeyUsage) -> Result<(), webpki::Error> {
    let root = CertificateDer::from_pem_file(cluster.bundle()).expect("a root");
    let certificate = CertificateDer::from_pem_file(&leaf.certificate).expect("a certificate");
    let crl = CertificateRevocationListDer::from_pem_file(cluster.crl()).expect("a CRL");
    let crl = OwnedCertRevocationList::from_der(&crl)?.into();
    let crls = [&crl];
    let revocation = RevocationOptionsBuilder::new(&crls)
        .expect("a CRL is given")
        .with_depth(RevocationCheckDepth::Chain)
        .with_status_policy(UnknownStatusPolicy::Deny)
        .with_expiration_policy(ExpirationPolicy::Enforce)
        .build();
    let anchors = [anchor_from_trusted_cert(&root)?];
    EndEntityCert::try_from(&certificate)?
        .verify_for_usage(ALL_VERIFICATION_ALGS, &anchors, &[], now(), usage, Some(revocation), None)
        .map(drop)
}

#[expect(clippy::disallowed_methods, reason = "the binary under test uses the machine's clock")]
fn now() -> UnixTime {
    UnixTime::since_unix_epoch(
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO),
    )
}
