//! Status report: state in force, expirations, results of reloads.

use serde::Serialize;
use time::OffsetDateTime;

use crate::clock::rfc3339;
use crate::error::{Coded, with_causes};
use crate::gateway::control::changes::{LastReloadError, ReloadCounts, Trigger};
use crate::gateway::control::reload::Control;
use crate::gateway::state::TokenState;
use crate::keys::Protection;
use crate::mtls::crl::CrlFreshness;
use crate::mtls::{IssuingAuthority, PeerVerifier};
use crate::revocation::Crl;
use crate::x509::crl::CrlNumber;
use crate::x509::{KeyIdentifier, SerialNumber, Sha256};

/// Snapshot for operators: state in force, expirations, and results of reloads.
#[derive(Debug, Serialize)]
pub struct StatusSnapshot {
    version: &'static str,
    time: String,
    generation: u64,
    connections: usize,
    trust: TrustStatus,
    /// One per issuer; empty if revocation is disabled.
    crl: Vec<CrlStatus>,
    /// `None` if no token is accepted.
    tokens: Option<StatementStatus>,
    certificate: CertificateStatus,
    reload: ReloadStatus,
}

#[derive(Debug, Serialize)]
struct TrustStatus {
    /// Digest of the trust anchors; it changes exactly when they do.
    fingerprint: Sha256,
    anchors: Vec<KeyIdentifier>,
    /// Authorities below the anchors whose CRLs are known.
    intermediates: Vec<IntermediateStatus>,
    /// Authorities of the files that are not trusted, since they are unfit.
    excluded: Vec<ExcludedStatus>,
}

/// An authority that is left out.
#[derive(Debug, Serialize)]
struct ExcludedStatus {
    code: &'static str,
    /// Its name, and the rule that it violates.
    message: String,
}

/// An authority below a trust anchor.
#[derive(Debug, Serialize)]
struct IntermediateStatus {
    key_identifier: KeyIdentifier,
    subject: String,
    serial_number: SerialNumber,
    not_after: String,
    /// Set for a revoked authority: its certificates are refused, and its CRL is ignored.
    revoked: bool,
}

/// Status of a CRL in force.
#[derive(Debug, Serialize)]
pub struct CrlStatus {
    issuer: KeyIdentifier,
    number: CrlNumber,
    this_update: String,
    next_update: String,
    /// Seconds since thisUpdate.
    age: i64,
    /// Seconds until nextUpdate; negative after it.
    left: i64,
    /// Freshness.
    standing: CrlFreshness,
    /// Number of revoked certificates.
    revoked: usize,
    /// Digest of the DER, to distinguish two CRLs of one number.
    sha256: Sha256,
}

/// Status of the statement about tokens in force.
#[derive(Debug, Serialize)]
pub struct StatementStatus {
    number: u64,
    issued: String,
    expires: String,
    /// Users, organizations and sessions with revoked tokens.
    revoked: usize,
    /// Digest of the text.
    sha256: Sha256,
    /// False if the certificate of its key is no longer accepted: then all tokens are refused.
    trusted: bool,
}

impl StatementStatus {
    /// Status of the statement of `tokens`.
    #[must_use]
    pub fn of(tokens: &TokenState) -> Self {
        let facts = &tokens.in_force.facts;
        Self {
            number: facts.number,
            issued: rfc3339(facts.issued),
            expires: rfc3339(facts.expires),
            revoked: facts.revoked,
            sha256: facts.sha256,
            trusted: tokens.judge().is_ok(),
        }
    }
}

#[derive(Debug, Serialize)]
struct CertificateStatus {
    serial_number: SerialNumber,
    not_after: String,
    /// Protection of the private key on disk.
    key: Option<Protection>,
}

#[derive(Debug, Serialize)]
struct ReloadStatus {
    results: std::collections::BTreeMap<Trigger, ReloadCounts>,
    last_success: Option<String>,
    last_error: Option<LastReloadError>,
    /// Set while a key is still being opened; the previous certificate stays in force until then.
    awaits_key: bool,
    /// Configuration keys that changed and take effect only after a restart.
    needs_restart: Vec<&'static str>,
}

impl StatusSnapshot {
    /// Collect the status of a gateway.
    #[must_use]
    pub fn of(control: &Control) -> Self {
        let gateway = &control.shared;
        let now = gateway.clock.now();
        let state = gateway.state.load();
        let trust = state.verifier.trust();
        let results = control.changes.results();
        Self {
            version: env!("CARGO_PKG_VERSION"),
            time: rfc3339(now),
            generation: state.generation,
            connections: gateway.registry.open(),
            trust: TrustStatus {
                fingerprint: trust.fingerprint(),
                anchors: trust.anchors().iter().map(|anchor| anchor.key_identifier.clone()).collect(),
                intermediates: (state.verifier.authorities().skip(trust.anchors().len()))
                    .map(IntermediateStatus::of)
                    .collect(),
                excluded: (trust.excluded().iter())
                    .map(|error| ExcludedStatus { code: error.code(), message: with_causes(error) })
                    .collect(),
            },
            crl: CrlStatus::of_all(&state.verifier, now),
            tokens: state.tokens.as_ref().map(StatementStatus::of),
            certificate: CertificateStatus {
                serial_number: state.credentials.own.leaf.serial_number,
                not_after: rfc3339(state.credentials.own.leaf.not_after),
                key: state.credentials.own.key.as_ref().map(|key| key.protection.clone()),
            },
            reload: ReloadStatus {
                results: results.counts,
                last_success: results.last_success.map(rfc3339),
                last_error: results.last_error,
                awaits_key: control.changes.awaits_key(),
                needs_restart: control.changes.needs_restart(),
            },
        }
    }
}

impl IntermediateStatus {
    fn of(authority: IssuingAuthority<'_>) -> Self {
        let IssuingAuthority { certificate, key_identifier, revoked } = authority;
        Self {
            key_identifier: key_identifier.clone(),
            subject: certificate.subject.to_string(),
            serial_number: certificate.serial_number,
            not_after: rfc3339(certificate.not_after),
            revoked,
        }
    }
}

impl CrlStatus {
    /// Status of all CRLs in force in `verifier`, at `now`.
    #[must_use]
    pub fn of_all(verifier: &PeerVerifier, now: OffsetDateTime) -> Vec<Self> {
        let Some(crls) = verifier.revocation() else { return Vec::new() };
        crls.set.crls().map(|crl| Self::of(crl, crls.freshness(crl, now), now)).collect()
    }

    fn of(crl: &Crl, standing: CrlFreshness, now: OffsetDateTime) -> Self {
        Self {
            issuer: crl.issuer.clone(),
            number: crl.number,
            this_update: rfc3339(crl.this_update),
            next_update: rfc3339(crl.next_update),
            age: (now - crl.this_update).whole_seconds(),
            left: (crl.next_update - now).whole_seconds(),
            standing,
            revoked: crl.len(),
            sha256: crl.sha256,
        }
    }
}
