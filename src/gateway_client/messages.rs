//! JSON bodies of gateway responses, parsed as untrusted input.
//!
//! Unknown fields are ignored, so that a newer gateway can add some. Known fields are required unless
//! they have a default here.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::error::CallError;
use super::sanitized_text::SanitizedText;
use crate::x509::crl::CrlNumber;
use crate::x509::{KeyIdentifier, Sha256};

/// CRL that a gateway reports to enforce.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct ReportedCrl {
    /// Key identifier of its issuer.
    pub issuer: KeyIdentifier,
    /// CRL number (RFC 5280, section 5.2.3).
    pub number: CrlNumber,
    /// `thisUpdate`.
    #[serde(with = "time::serde::rfc3339")]
    pub this_update: OffsetDateTime,
    /// `nextUpdate`.
    #[serde(with = "time::serde::rfc3339")]
    pub next_update: OffsetDateTime,
    /// Number of revoked certificates.
    pub revoked: u64,
    /// SHA-256 digest of the DER; optional.
    #[serde(default)]
    pub sha256: Option<Sha256>,
}

/// Status report of a gateway.
#[derive(Clone, Debug, Deserialize)]
pub struct StatusReport {
    /// Version of the gateway program.
    pub version: SanitizedText,
    /// Number of successful changes to the state in force.
    pub generation: u64,
    /// Number of open connections.
    pub connections: u64,
    /// Trust anchors in force.
    pub trust: ReportedTrust,
    /// CRLs in force, one per issuer; empty if revocation checking is disabled.
    pub crl: Vec<ReportedCrl>,
    /// Statement about tokens in force; `None` if it accepts no tokens.
    #[serde(default)]
    pub tokens: Option<ReportedStatement>,
    /// Result of the last reload.
    pub reload: ReportedReload,
}

/// Statement about tokens that a gateway reports to enforce.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct ReportedStatement {
    /// Number of the statement.
    pub number: u64,
    /// Time after which no token is accepted.
    #[serde(with = "time::serde::rfc3339")]
    pub expires: OffsetDateTime,
    /// SHA-256 digest of the text.
    pub sha256: Sha256,
}

/// Trust anchors of a gateway.
#[derive(Clone, Debug, Deserialize)]
pub struct ReportedTrust {
    /// Fingerprint of the trust bundle.
    pub fingerprint: Sha256,
}

/// Last reload of a gateway.
#[derive(Clone, Debug, Deserialize)]
pub struct ReportedReload {
    /// Error of the last reload; `None` if it succeeded.
    pub last_error: Option<ReloadFailure>,
}

/// Error of a gateway's last reload.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct ReloadFailure {
    /// Stable error code.
    pub code: SanitizedText,
    /// Error text.
    pub message: SanitizedText,
}

/// Response to an accepted CRL.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct PushResponse {
    /// CRLs in force after the push.
    pub(super) crl: Vec<ReportedCrl>,
    /// Number of connections closed because of the push.
    pub(super) connections_closed: u64,
}

/// Response to an accepted statement.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct StatementResponse {
    /// Statement in force after the push.
    pub(super) tokens: Option<ReportedStatement>,
}

/// Problem details of a refused request (RFC 9457).
#[derive(Clone, Debug, Deserialize)]
pub(super) struct ProblemDetails {
    #[serde(default)]
    pub(super) code: SanitizedText,
    #[serde(default)]
    pub(super) detail: SanitizedText,
    /// Number of the CRL in force, if the pushed CRL conflicts with it.
    #[serde(default)]
    pub(super) current: Option<CrlNumber>,
}

/// Parse the body of a response.
pub(super) fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, CallError> {
    serde_json::from_slice(body)
        .map_err(|error| CallError::Unreadable { why: SanitizedText::from(error.to_string().as_str()) })
}

/// The single CRL of `issuer` among those that a gateway reports.
///
/// # Errors
/// [`CallError::NoCrl`], or [`CallError::Unreadable`] if there are several: a gateway enforces one.
pub(super) fn crl_of_issuer<'a>(
    crls: &'a [ReportedCrl],
    issuer: &KeyIdentifier,
) -> Result<&'a ReportedCrl, CallError> {
    let mut of_issuer = crls.iter().filter(|crl| crl.issuer == *issuer);
    match (of_issuer.next(), of_issuer.next()) {
        (Some(crl), None) => Ok(crl),
        (Some(_), Some(_)) => Err(CallError::Unreadable { why: "it reports two CRLs of one issuer".into() }),
        (None, _) => Err(CallError::NoCrl),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Coded;

    #[test]
    fn a_report_with_two_crls_of_one_issuer_is_rejected() {
        let crl = |issuer: u8, number: u64| ReportedCrl {
            issuer: KeyIdentifier(vec![issuer]),
            number: number.into(),
            this_update: OffsetDateTime::UNIX_EPOCH,
            next_update: OffsetDateTime::UNIX_EPOCH,
            revoked: 0,
            sha256: None,
        };
        let ours = KeyIdentifier(vec![1]);
        assert_eq!(crl_of_issuer(&[crl(2, 9), crl(1, 7)], &ours).unwrap().number, 7.into());
        assert_eq!(crl_of_issuer(&[crl(2, 9)], &ours).unwrap_err().code(), "gateways.no_crl");
        let twice = crl_of_issuer(&[crl(1, 9), crl(1, 7)], &ours).unwrap_err();
        assert_eq!(twice.code(), "gateways.unreadable");
    }
}
