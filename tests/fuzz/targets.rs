//! Fuzz targets: one for each parser of foreign bytes. A target panics when a parser breaks a promise.

#[path = "response.rs"]
mod response;

use std::path::Path;
use std::sync::OnceLock;

use cluster_ca::gateway::config::Config;
use cluster_ca::gateway::message::path::RequestPath;
use cluster_ca::keys::kms::kmip::is_kmip_response;
use cluster_ca::ldap::is_ldap_response;
use cluster_ca::revocation::Crl;
use cluster_ca::x509::crl::UnverifiedCrl;
use cluster_ca::x509::inspect::inspect;
use cluster_ca::x509::trust::TrustBundle;
use cluster_ca::x509::{Certificate, Csr};
use time::OffsetDateTime;

/// Parser of one kind of input.
pub(crate) type Target = fn(&[u8]);

/// The targets by the name of their corpus, `tests/fuzz/corpus/NAME/`.
pub(crate) const TARGETS: &[(&str, Target)] = &[
    ("certificate", certificate),
    ("configuration", configuration),
    ("crl", crl),
    ("csr", csr),
    ("kmip", kmip),
    ("ldap", ldap),
    ("path", path),
    ("response", response::target),
];

fn certificate(bytes: &[u8]) {
    let _ = inspect(bytes);
    let _ = TrustBundle::from_pem(bytes, moment());
    if let Ok(certificate) = Certificate::from_der(bytes) {
        let _ = (certificate.is_ca(), certificate.is_valid_at(moment()), certificate.fingerprint());
    }
}

fn configuration(bytes: &[u8]) {
    let base = Path::new("/nonexistent");
    if let Err(problems) = Config::parse("gateway.yaml", bytes, base) {
        assert!(!problems.is_empty(), "a refusal gives its reason");
    }
}

fn crl(bytes: &[u8]) {
    if let Ok(crl) = UnverifiedCrl::from_der(bytes) {
        for entry in crl.entries() {
            let Ok(entry) = entry else { break };
            let _ = entry.revoked_at();
        }
    }
    let _ = Crl::read_all(bytes, issuer(), moment());
}

fn csr(bytes: &[u8]) {
    let _ = Csr::from_bytes(bytes);
}

fn kmip(bytes: &[u8]) {
    let _ = is_kmip_response(bytes);
}

fn ldap(bytes: &[u8]) {
    let _ = is_ldap_response(bytes);
}

fn path(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(path) = RequestPath::parse(text) {
        assert!(path.segments().all(|segment| segment != "." && segment != ".."), "{text:?} climbs");
        let again = RequestPath::parse(path.as_str());
        assert_eq!(again.as_ref(), Ok(&path), "{text:?}: upstreams read another path");
    }
}

/// The issuer of the CRLs in the corpus.
fn issuer() -> &'static TrustBundle {
    static ISSUER: OnceLock<TrustBundle> = OnceLock::new();
    ISSUER.get_or_init(|| {
        let pem = include_bytes!("corpus/certificate/root.pem");
        TrustBundle::from_pem(pem, moment()).unwrap()
    })
}

/// A time at which the corpus is valid.
fn moment() -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(1_800_000_000).unwrap()
}
