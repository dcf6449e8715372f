//! Statement by which gateways judge access tokens offline: keys, and what is revoked.
//!
//! It is to tokens what a CRL is to certificates: signed, numbered, and valid until its end. The text is a JWS in
//! compact form (RFC 7515, section 7.1) of a type of its own. Its header carries the certificate of the signing key,
//! whose chain the reader verifies before anything else in it counts.

use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD, Engine as _};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::claims::TokenScope;
use super::jws::{JwsKey, VerificationKey, verify_signature};
use super::statement_error::StatementError;
use crate::error::excerpt;
use crate::identity::{Name, OrganizationName};
use crate::x509::Sha256;

/// Type of the JWS, so that no token is taken for a statement, and no statement for a token.
const TYPE: &str = "cluster-tokens+jws";

/// Algorithm of the signature.
const ALGORITHM: &str = "ES256";

/// Most certificates in the header.
const MOST_CERTIFICATES: usize = 8;

/// Tolerated difference between the clocks of issuer and verifier, in seconds.
const LEEWAY: i64 = 300;

/// Size limit in bytes of a statement: room for some 150,000 revoked users.
pub const STATEMENT_FILE: u64 = 16 << 20;

/// Keys of access tokens, and what is revoked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenStatement {
    /// Issuer of the tokens.
    pub iss: String,
    /// Audience of the tokens.
    pub aud: String,
    /// Number, larger than that of any earlier statement under the same certificate.
    pub number: u64,
    /// Time of the signature, in seconds since 1970.
    pub iat: i64,
    /// End, in seconds since 1970: no token is accepted after it.
    pub exp: i64,
    /// Last entry of the audit chain that it takes into account.
    pub audit: u64,
    /// Keys that sign tokens.
    pub keys: Vec<PublishedKey>,
    /// Users whose earlier tokens are revoked.
    #[serde(default)]
    pub users: Vec<RevokedUser>,
    /// Names of organizations whose earlier tokens are revoked.
    #[serde(default)]
    pub organizations: Vec<RevokedOrganization>,
    /// Sessions that have ended.
    #[serde(default)]
    pub sessions: Vec<EndedSession>,
}

/// Public key of access tokens, as a JWK (RFC 7517).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublishedKey {
    kty: String,
    crv: String,
    x: String,
    y: String,
    kid: String,
}

/// User whose tokens are revoked up to a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RevokedUser {
    /// Name of the organization.
    pub org: String,
    /// Name of the user.
    pub user: String,
    /// Tokens issued before this time are revoked, in seconds since 1970.
    pub before: i64,
}

/// Former name of an organization.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RevokedOrganization {
    /// The name.
    pub org: String,
    /// Tokens issued before this time are revoked, in seconds since 1970.
    pub before: i64,
}

/// Session that has ended before its access tokens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EndedSession {
    /// ID that its tokens carry.
    pub sid: String,
    /// End of the last of its tokens, in seconds since 1970.
    pub until: i64,
}

impl PublishedKey {
    /// The JWK of a key.
    ///
    /// # Errors
    /// [`StatementError::Key`] unless it is a point on P-256.
    pub fn of(key: &VerificationKey) -> Result<Self, StatementError> {
        let coordinates = key.point.strip_prefix(&[4]).and_then(|point| point.split_at_checked(32));
        let (x, y) = coordinates.filter(|(_, y)| y.len() == 32).ok_or(StatementError::Key)?;
        let [x, y] = [x, y].map(|coordinate| BASE64_URL_SAFE_NO_PAD.encode(coordinate));
        Ok(Self { kty: "EC".to_owned(), crv: "P-256".to_owned(), x, y, kid: key.id.clone() })
    }

    /// The key, whose ID must be its thumbprint.
    ///
    /// # Errors
    /// [`StatementError::Key`].
    pub fn verification_key(&self) -> Result<VerificationKey, StatementError> {
        if (self.kty.as_str(), self.crv.as_str()) != ("EC", "P-256") {
            return Err(StatementError::Key);
        }
        let coordinate = |text: &str| BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|_| StatementError::Key);
        let point = [&[4], coordinate(&self.x)?.as_slice(), coordinate(&self.y)?.as_slice()].concat();
        let key = VerificationKey::of_point(&point).map_err(|_| StatementError::Key)?;
        if key.id == self.kid { Ok(key) } else { Err(StatementError::Key) }
    }
}

/// Header of a statement. Any other member is refused.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StatementHeader {
    alg: String,
    typ: String,
    /// Certificate of the key, followed by its issuers up to a trust anchor (RFC 7515, section 4.1.6).
    x5c: Vec<String>,
}

/// Text of a statement, whose signature is not verified yet.
#[derive(Clone, Debug)]
pub struct SignedStatement<'a> {
    signed: &'a str,
    payload: &'a str,
    signature: Vec<u8>,
    certificates: Vec<Vec<u8>>,
}

impl<'a> SignedStatement<'a> {
    /// Read the text of a file or of a push.
    ///
    /// # Errors
    /// [`StatementError::Malformed`], [`StatementError::Algorithm`].
    pub fn parse(text: &'a [u8]) -> Result<Self, StatementError> {
        let malformed = || StatementError::Malformed;
        let text = std::str::from_utf8(text).map_err(|_| malformed())?.trim_end_matches(['\r', '\n']);
        let (signed, signature) = text.rsplit_once('.').ok_or_else(malformed)?;
        let (header, payload) = signed.split_once('.').ok_or_else(malformed)?;
        let decode = |part: &str| BASE64_URL_SAFE_NO_PAD.decode(part).map_err(|_| malformed());
        let header: StatementHeader = serde_json::from_slice(&decode(header)?).map_err(|_| malformed())?;
        if header.typ != TYPE || !(1..=MOST_CERTIFICATES).contains(&header.x5c.len()) {
            return Err(malformed());
        }
        if header.alg != ALGORITHM {
            return Err(StatementError::Algorithm);
        }
        let certificates =
            header.x5c.iter().map(|text| BASE64_STANDARD.decode(text).map_err(|_| malformed()));
        Ok(Self {
            signed,
            payload,
            signature: decode(signature)?,
            certificates: certificates.collect::<Result<_, _>>()?,
        })
    }

    /// Certificate of the signing key, then its issuers (DER).
    #[must_use]
    pub fn certificates(&self) -> &[Vec<u8>] {
        &self.certificates
    }

    /// The statement, if `key` has signed it. Its cluster and its times are not checked.
    ///
    /// # Errors
    /// [`StatementError::Signature`], [`StatementError::Malformed`].
    pub fn statement(&self, key: &VerificationKey) -> Result<TokenStatement, StatementError> {
        verify_signature(key, self.signed.as_bytes(), &self.signature)
            .map_err(|_| StatementError::Signature)?;
        let payload = BASE64_URL_SAFE_NO_PAD.decode(self.payload).map_err(|_| StatementError::Malformed)?;
        serde_json::from_slice(&payload).map_err(|_| StatementError::Malformed)
    }
}

impl TokenStatement {
    /// Refuse a statement about other tokens than those of `scope`, and one outside of its validity.
    ///
    /// # Errors
    /// [`StatementError`] with the violated rule.
    pub fn check(&self, scope: &TokenScope, now: OffsetDateTime) -> Result<(), StatementError> {
        if (self.iss.as_str(), self.aud.as_str()) != (scope.issuer(), scope.audience()) {
            return Err(StatementError::Issuer { found: excerpt(&self.iss) });
        }
        if self.iat > now.unix_timestamp().saturating_add(LEEWAY) {
            return Err(StatementError::NotYetValid);
        }
        if self.exp <= now.unix_timestamp() {
            return Err(StatementError::Expired { at: self.expires() });
        }
        Ok(())
    }

    /// End of the statement.
    #[must_use]
    pub fn expires(&self) -> OffsetDateTime {
        time_of(self.exp)
    }

    /// Time of the signature.
    #[must_use]
    pub fn issued(&self) -> OffsetDateTime {
        time_of(self.iat)
    }

    /// Revoke the tokens of a user that were issued before this time. An earlier entry is not taken back.
    pub fn revoke_user(&mut self, org: &OrganizationName, user: &Name, before: OffsetDateTime) {
        let before = before.unix_timestamp();
        let same = |known: &&mut RevokedUser| known.org == org.as_str() && known.user == user.as_str();
        match self.users.iter_mut().find(same) {
            Some(known) => known.before = known.before.max(before),
            None => {
                self.users.push(RevokedUser { org: org.to_string(), user: user.to_string(), before });
            }
        }
    }

    /// Revoke the tokens under a name of an organization that were issued before this time.
    pub fn revoke_organization(&mut self, org: &OrganizationName, before: OffsetDateTime) {
        let before = before.unix_timestamp();
        match self.organizations.iter_mut().find(|known| known.org == org.as_str()) {
            Some(known) => known.before = known.before.max(before),
            None => self.organizations.push(RevokedOrganization { org: org.to_string(), before }),
        }
    }

    /// Revoke the tokens of a session, which all end before `until`.
    pub fn end_session(&mut self, sid: &str, until: OffsetDateTime) {
        if self.sessions.iter().all(|known| known.sid != sid) {
            self.sessions.push(EndedSession { sid: sid.to_owned(), until: until.unix_timestamp() });
        }
    }

    /// Leave out the entries whose last token has expired; `longest` is the longest lifetime of a token.
    pub fn forget_expired(&mut self, longest: time::Duration, now: OffsetDateTime) {
        let (now, longest) = (now.unix_timestamp(), longest.whole_seconds());
        self.users.retain(|entry| entry.before.saturating_add(longest) > now);
        self.organizations.retain(|entry| entry.before.saturating_add(longest) > now);
        self.sessions.retain(|entry| entry.until > now);
    }

    /// Sign the statement with a key whose certificate, followed by its issuers, is `certificates` (DER).
    pub(super) fn sign(&self, key: &JwsKey, certificates: &[&[u8]]) -> Result<String, StatementError> {
        let header = StatementHeader {
            alg: ALGORITHM.to_owned(),
            typ: TYPE.to_owned(),
            x5c: certificates.iter().map(|der| BASE64_STANDARD.encode(der)).collect(),
        };
        let [header, payload] = [serde_json::to_vec(&header), serde_json::to_vec(self)]
            .map(|json| json.map(|json| BASE64_URL_SAFE_NO_PAD.encode(json)));
        let failed = |_| StatementError::Signing;
        let signed = format!("{}.{}", header.map_err(failed)?, payload.map_err(failed)?);
        let signature = key.signature_of(signed.as_bytes()).map_err(|_| StatementError::Signing)?;
        Ok(format!("{signed}.{}\n", BASE64_URL_SAFE_NO_PAD.encode(signature)))
    }
}

/// Version of a statement. The newer certificate wins, then the larger number: a thief of a replaced key cannot sign
/// a newer statement, whatever its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatementVersion {
    /// Start of the validity of the signer's certificate, in seconds since 1970.
    pub certified: i64,
    /// Number of the statement.
    pub number: u64,
    /// SHA-256 of its text.
    pub sha256: Sha256,
}

impl StatementVersion {
    /// Compare with `next`. Returns true if it is newer, and false for the same statement.
    ///
    /// # Errors
    /// [`StatementError::Rollback`] for an older one, [`StatementError::NumberReused`] for another one of this number.
    pub fn superseded_by(&self, next: &Self) -> Result<bool, StatementError> {
        match (self.certified, self.number).cmp(&(next.certified, next.number)) {
            std::cmp::Ordering::Less => Ok(true),
            std::cmp::Ordering::Equal if self.sha256 == next.sha256 => Ok(false),
            std::cmp::Ordering::Equal => Err(StatementError::NumberReused { number: self.number }),
            std::cmp::Ordering::Greater => {
                Err(StatementError::Rollback { current: self.number, offered: next.number })
            }
        }
    }
}

fn time_of(seconds: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}
