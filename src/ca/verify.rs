//! Judging a certificate as this cluster's machines would, and telling every rule that it breaks.

use rustls_pki_types::ServerName;
use serde::Serialize;
use time::OffsetDateTime;

use super::cluster::Cluster;
use super::error::CaError;
use crate::files;
use crate::identity::{self, Host, Identity};
use crate::revocation::{RevocationSet, RevocationStatus};
use crate::x509::trust::{self, Purpose, VerifiedChain};
use crate::x509::{Certificate, SerialNumber};

/// What a certificate is to be good for.
#[derive(Clone, Debug)]
pub struct Expectation {
    /// The purpose; by default each that the certificate claims.
    pub purpose: Option<Purpose>,
    /// The host that it must name.
    pub host: Option<Host>,
    /// When.
    pub at: OffsetDateTime,
}

/// How a certificate was judged.
#[derive(Debug, Serialize)]
pub struct VerificationReport {
    /// Its serial number.
    pub serial_number: SerialNumber,
    /// Its subject.
    pub subject: String,
    /// Whom it is for; none when it does not say so in a way that counts.
    pub spiffe_id: Option<Identity>,
    /// The purposes that it is good for.
    pub purposes: Vec<Purpose>,
    /// When it ceases to hold.
    #[serde(with = "time::serde::rfc3339")]
    pub not_after: OffsetDateTime,
    /// The rules that it breaks; none when it is good.
    pub broken: Vec<BrokenRule>,
}

/// A rule that a certificate breaks.
#[derive(Debug, Serialize)]
pub struct BrokenRule {
    /// The stable code of the rule.
    pub code: &'static str,
    /// What is wrong.
    pub message: String,
}

impl VerificationReport {
    fn breaks(&mut self, code: &'static str, error: &dyn std::fmt::Display) {
        self.broken.push(BrokenRule { code, message: error.to_string() });
    }
}

impl Cluster {
    /// Judges the first of `certificates`; the others are its intermediates.
    ///
    /// # Errors
    /// [`CaError`] when the cluster's own files are missing or not fit to judge by; what is wrong with
    /// the certificate is in the verdict.
    pub fn verify(
        &self,
        certificates: &[Certificate],
        expected: &Expectation,
    ) -> Result<VerificationReport, CaError> {
        let (leaf, intermediates) = certificates.split_first().ok_or(CaError::NothingToVerify)?;
        let bundle = self.trust_bundle(expected.at)?;
        let path = self.home.crl();
        let crls = RevocationSet::from_pem(&files::read(&path, files::CRL_FILE)?, &bundle, expected.at)
            .map_err(CaError::in_file(&path))?;
        let mut verdict = VerificationReport {
            serial_number: leaf.serial_number,
            subject: leaf.subject.to_string(),
            spiffe_id: None,
            purposes: Vec::new(),
            not_after: leaf.not_after,
            broken: Vec::new(),
        };
        let intermediates: Vec<_> = intermediates.iter().map(|certificate| certificate.der.clone()).collect();
        let mut chain = None;
        for purpose in purposes(leaf, expected.purpose) {
            match bundle.verify(&leaf.der, &intermediates, purpose, expected.at) {
                Ok(verified) => {
                    verdict.purposes.push(purpose);
                    chain = Some(verified);
                }
                Err(error) => verdict.breaks(error.code(), &error),
            }
        }
        self.check_identity(leaf, &mut verdict);
        if let Some(host) = &expected.host {
            check_host(leaf, host, &mut verdict);
        }
        if let Some(chain) = chain {
            self.check_revocation(&chain, &crls, expected.at, &mut verdict)?;
        }
        Ok(verdict)
    }

    fn check_identity(&self, leaf: &Certificate, verdict: &mut VerificationReport) {
        match Identity::of_certificate(leaf, self.trust_domain()) {
            Ok(identity) => {
                for rule in identity::role_violations(leaf, &identity) {
                    verdict.breaks(rule.code(), &rule);
                }
                verdict.spiffe_id = Some(identity);
            }
            Err(refusal) => verdict.breaks(refusal.code(), &refusal),
        }
    }

    fn check_revocation(
        &self,
        chain: &VerifiedChain,
        crls: &RevocationSet,
        at: OffsetDateTime,
        verdict: &mut VerificationReport,
    ) -> Result<(), CaError> {
        match crls.status_of(chain, at) {
            RevocationStatus::Good => {}
            standing => verdict.breaks(standing.code(), &standing),
        }
        // A good signature under a number that the inventory does not know means that somebody else
        // signs with the root's key.
        let records = self.inventory.find(verdict.serial_number)?;
        let fingerprint = chain.leaf.fingerprint();
        let known =
            records.iter().any(|record| record.issue.is_some_and(|issue| issue.fingerprint == fingerprint));
        if !known {
            verdict
                .breaks("verify.not_in_inventory", &"the root signed it, but the inventory does not know it");
        }
        let revoked = records.iter().find_map(|record| record.revocation);
        if let Some(revocation) = revoked
            && verdict.broken.iter().all(|rule| rule.code != "revocation.revoked")
        {
            let since = crate::clock::rfc3339(revocation.at);
            verdict.breaks(
                "verify.crl_behind",
                &format!("it was revoked on {since}, but cluster.crl does not say so"),
            );
        }
        Ok(())
    }
}

/// The purposes to judge by: the one asked for, else those claimed, else calling.
fn purposes(leaf: &Certificate, wanted: Option<Purpose>) -> Vec<Purpose> {
    if let Some(purpose) = wanted {
        return vec![purpose];
    }
    let claimed = leaf.extended_key_usage.as_deref().unwrap_or_default();
    let all = [Purpose::Client, Purpose::Server];
    let found: Vec<_> =
        all.into_iter().filter(|purpose| claimed.contains(&purpose.extended_key_usage())).collect();
    if found.is_empty() { vec![Purpose::Client] } else { found }
}

fn check_host(leaf: &Certificate, host: &Host, verdict: &mut VerificationReport) {
    let name = match host {
        Host::Ip(ip) => Some(ServerName::from(*ip)),
        Host::Dns(name) => ServerName::try_from(name.clone()).ok(),
    };
    let named = name.map(|name| trust::verify_host(&leaf.der, &name));
    if let Some(Err(error)) = named {
        verdict.breaks(error.code(), &error);
    }
}
