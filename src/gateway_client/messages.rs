//! What gateways say, read from JSON that is not believed to be well meant.
//!
//! Whatever a newer gateway says besides is passed over; what is read here has to be there and to be
//! what it should be.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::error::Fault;
use super::text::Text;
use crate::x509::crl::CrlNumber;
use crate::x509::{KeyIdentifier, Sha256};

/// A CRL that a gateway says it enforces.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct CrlInForce {
    /// The key that signed it.
    pub issuer: KeyIdentifier,
    /// Its number.
    pub number: CrlNumber,
    /// When it was made.
    #[serde(with = "time::serde::rfc3339")]
    pub this_update: OffsetDateTime,
    /// When its successor is due.
    #[serde(with = "time::serde::rfc3339")]
    pub next_update: OffsetDateTime,
    /// How many certificates it revokes.
    pub revoked: u64,
    /// The digest of its DER, where the gateway tells.
    #[serde(default)]
    pub sha256: Option<Sha256>,
}

/// How a gateway says that it is.
#[derive(Clone, Debug, Deserialize)]
pub struct Reported {
    /// Its program's version.
    pub version: Text,
    /// How often it has changed what is in force.
    pub generation: u64,
    /// How many connections it has.
    pub connections: u64,
    /// What it trusts.
    pub trust: Trusted,
    /// The CRLs that it enforces: one for each issuer, none where revocation is disabled.
    pub crl: Vec<CrlInForce>,
    /// How its last change went.
    pub reload: Reload,
}

/// What a gateway trusts.
#[derive(Clone, Debug, Deserialize)]
pub struct Trusted {
    /// The fingerprint of its trust bundle.
    pub fingerprint: Sha256,
}

/// How the last change of a gateway went.
#[derive(Clone, Debug, Deserialize)]
pub struct Reload {
    /// Why it failed, if it did.
    pub last_error: Option<Failed>,
}

/// Why the last change of a gateway failed.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Failed {
    /// The stable code.
    pub code: Text,
    /// Its words.
    pub message: Text,
}

/// What a push has come to.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Pushed {
    pub(super) crl: Vec<CrlInForce>,
    pub(super) connections_cut: u64,
}

/// Why a gateway does not do what it is asked for (RFC 9457).
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Problem {
    #[serde(default)]
    pub(super) code: Text,
    #[serde(default)]
    pub(super) detail: Text,
    /// The number of the CRL that it enforces, where that is the problem.
    #[serde(default)]
    pub(super) current: Option<CrlNumber>,
}

/// Reads an answer.
pub(super) fn read<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Fault> {
    serde_json::from_slice(body)
        .map_err(|error| Fault::Unreadable { why: Text::from(error.to_string().as_str()).to_string() })
}

/// The one list of `issuer` among those that a gateway enforces.
///
/// # Errors
/// [`Fault::NoCrl`], or [`Fault::Unreadable`] when it names several: nobody could say which counts.
pub(super) fn only_of<'a>(crls: &'a [CrlInForce], issuer: &KeyIdentifier) -> Result<&'a CrlInForce, Fault> {
    let mut of_issuer = crls.iter().filter(|crl| crl.issuer == *issuer);
    match (of_issuer.next(), of_issuer.next()) {
        (Some(crl), None) => Ok(crl),
        (Some(_), Some(_)) => Err(Fault::Unreadable { why: "it names two CRLs of one issuer".to_owned() }),
        (None, _) => Err(Fault::NoCrl),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_lists_of_one_issuer_are_no_answer() {
        let crl = |issuer: u8, number: u64| CrlInForce {
            issuer: KeyIdentifier(vec![issuer]),
            number: number.into(),
            this_update: OffsetDateTime::UNIX_EPOCH,
            next_update: OffsetDateTime::UNIX_EPOCH,
            revoked: 0,
            sha256: None,
        };
        let ours = KeyIdentifier(vec![1]);
        assert_eq!(only_of(&[crl(2, 9), crl(1, 7)], &ours).unwrap().number, 7.into());
        assert_eq!(only_of(&[crl(2, 9)], &ours).unwrap_err().code(), "gateways.no_crl");
        assert_eq!(only_of(&[crl(1, 9), crl(1, 7)], &ours).unwrap_err().code(), "gateways.unreadable");
    }
}
