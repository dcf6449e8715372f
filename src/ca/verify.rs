//! Verification of a certificate as the machines of the cluster would do it, with all violations.

use rustls_pki_types::ServerName;
use serde::Serialize;
use time::OffsetDateTime;

use super::cluster::Cluster;
use super::error::CaError;
use crate::error::{Code, Coded};
use crate::files;
use crate::identity::{self, Host, Identity};
use crate::revocation::{RevocationSet, RevocationStatus};
use crate::x509::trust::{self, Purpose, VerifiedChain};
use crate::x509::{Certificate, SerialNumber};

/// Requirements of a verification.
#[derive(Clone, Debug)]
pub struct Expectation {
    /// Required purpose. Defaults to every purpose that the certificate claims.
    pub purpose: Option<Purpose>,
    /// Host that the certificate must be valid for.
    pub host: Option<Host>,
    /// Time of the verification.
    pub at: OffsetDateTime,
}

/// Result of a verification.
#[derive(Debug, Serialize)]
pub struct VerificationReport {
    /// Serial number of the verified certificate.
    pub serial_number: SerialNumber,
    /// Distinguished name of the subject.
    pub subject: String,
    /// SPIFFE ID. `None` if the certificate has no valid one.
    pub spiffe_id: Option<Identity>,
    /// Purposes for which the certificate is valid.
    pub purposes: Vec<Purpose>,
    /// Expiry.
    #[serde(with = "time::serde::rfc3339")]
    pub not_after: OffsetDateTime,
    /// Violated rules. Empty for a valid certificate.
    pub broken: Vec<BrokenRule>,
}

/// A violated rule.
#[derive(Debug, Serialize)]
pub struct BrokenRule {
    /// Stable code of the rule.
    pub code: Code,
    /// Description of the violation.
    pub message: String,
}

impl VerificationReport {
    fn add(&mut self, code: Code, error: &dyn std::fmt::Display) {
        self.broken.push(BrokenRule { code, message: error.to_string() });
    }
}

impl Cluster {
    /// Verify the first of `certificates`, with the others as intermediates.
    ///
    /// # Errors
    /// [`CaError`] if the cluster's own files are missing or invalid. Problems of the certificate are in
    /// the report.
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
        let mut report = VerificationReport {
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
                    report.purposes.push(purpose);
                    chain = Some(verified);
                }
                Err(error) => report.add(error.coded(), &error),
            }
        }
        self.check_identity(leaf, &mut report);
        if let Some(host) = &expected.host {
            check_host(leaf, host, &mut report);
        }
        if let Some(chain) = chain {
            self.check_revocation(&chain, &crls, expected.at, &mut report)?;
        }
        Ok(report)
    }

    fn check_identity(&self, leaf: &Certificate, report: &mut VerificationReport) {
        match Identity::of_certificate(leaf, self.trust_domain()) {
            Ok(identity) => {
                for rule in identity::role_violations(leaf, &identity) {
                    report.add(rule.coded(), &rule);
                }
                report.spiffe_id = Some(identity);
            }
            Err(refusal) => report.add(refusal.coded(), &refusal),
        }
    }

    fn check_revocation(
        &self,
        chain: &VerifiedChain,
        crls: &RevocationSet,
        at: OffsetDateTime,
        report: &mut VerificationReport,
    ) -> Result<(), CaError> {
        match crls.status_of(chain, at) {
            RevocationStatus::Good => {}
            standing => report.add(standing.coded(), &standing),
        }
        // A valid signature on a certificate that the inventory does not know: someone else signs with the
        // root key.
        let records = self.inventory.find(report.serial_number)?;
        let fingerprint = chain.leaf.fingerprint();
        let known =
            records.iter().any(|record| record.issue.is_some_and(|issue| issue.fingerprint == fingerprint));
        // The inventory of another root is in another home.
        if !known && chain.anchor == self.issuer {
            report.add(
                Code::refused("verify.not_in_inventory"),
                &"signed by the root, but not in the inventory",
            );
        }
        let revoked = records.iter().find_map(|record| record.revocation);
        if let Some(revocation) = revoked
            && report.broken.iter().all(|rule| rule.code.name() != "revocation.revoked")
        {
            let since = crate::clock::rfc3339(revocation.at);
            report.add(
                Code::refused("verify.crl_behind"),
                &format!("revoked on {since}, but not in cluster.crl"),
            );
        }
        Ok(())
    }
}

/// Purposes to verify: the required one, else the claimed ones, else client authentication.
fn purposes(leaf: &Certificate, required: Option<Purpose>) -> Vec<Purpose> {
    if let Some(purpose) = required {
        return vec![purpose];
    }
    let claimed = leaf.extended_key_usage.as_deref().unwrap_or_default();
    let all = [Purpose::Client, Purpose::Server];
    let found: Vec<_> =
        all.into_iter().filter(|purpose| claimed.contains(&purpose.extended_key_usage())).collect();
    if found.is_empty() { vec![Purpose::Client] } else { found }
}

fn check_host(leaf: &Certificate, host: &Host, report: &mut VerificationReport) {
    let name = match host {
        Host::Ip(ip) => Some(ServerName::from(*ip)),
        Host::Dns(name) => ServerName::try_from(name.clone()).ok(),
    };
    let Some(name) = name else {
        return report
            .add(Code::refused("chain.wrong_name"), &format!("{host} cannot be the name of a server"));
    };
    if let Err(error) = trust::verify_host(&leaf.der, &name) {
        report.add(error.coded(), &error);
    }
}
