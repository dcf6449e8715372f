//! Claims of access tokens.

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use time::OffsetDateTime;

use super::error::TokenError;
use crate::identity::{AccountRole, Name, OrganizationName, TrustDomain};
use crate::x509::Sha256;

/// Cluster that tokens are issued by and for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenScope {
    /// Claim `iss`.
    pub(super) issuer: String,
    /// Claim `aud`.
    pub(super) audience: String,
}

impl TokenScope {
    /// The tokens of the cluster with this trust domain.
    #[must_use]
    pub fn of(trust_domain: &TrustDomain) -> Self {
        Self {
            issuer: format!("spiffe://{trust_domain}/cluster-ca"),
            audience: format!("spiffe://{trust_domain}"),
        }
    }

    /// Claim `iss` of its tokens.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Claim `aud` of its tokens.
    #[must_use]
    pub fn audience(&self) -> &str {
        &self.audience
    }
}

/// Claims of an access token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccessClaims {
    /// Issuer.
    pub iss: String,
    /// Audience.
    pub aud: String,
    /// `ORGANIZATION/USER`.
    pub sub: String,
    /// Unique ID of the token.
    pub jti: String,
    /// ID of the login session; `None` for a token generated for scripts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sid: Option<String>,
    /// Time of issue, in seconds since 1970.
    pub iat: i64,
    /// End, in seconds since 1970.
    pub exp: i64,
    /// Name of the user.
    #[serde(deserialize_with = "user_name")]
    pub user: Name,
    /// Organization of the user.
    #[serde(deserialize_with = "organization_name")]
    pub org: OrganizationName,
    /// Role of the user.
    pub role: AccountRole,
    /// True if the password must be changed first.
    #[serde(default, skip_serializing_if = "is_false")]
    pub password_change_required: bool,
    /// Client certificate that the token is bound to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cnf: Option<CertificateBinding>,
}

impl AccessClaims {
    /// Tolerated difference between the clocks of issuer and verifier, in seconds.
    const LEEWAY: i64 = 5;

    /// Refuse a token outside of its validity.
    ///
    /// # Errors
    /// [`TokenError::Expired`], [`TokenError::NotYetValid`].
    pub fn check_time(&self, now: OffsetDateTime) -> Result<(), TokenError> {
        let now = now.unix_timestamp();
        if self.exp <= now {
            return Err(TokenError::Expired);
        }
        if self.iat > now.saturating_add(Self::LEEWAY) {
            return Err(TokenError::NotYetValid);
        }
        Ok(())
    }

    /// Refuse a token that is bound to another client certificate than this one, which was presented.
    ///
    /// # Errors
    /// [`TokenError::Certificate`].
    pub fn check_certificate(&self, presented: Option<Sha256>) -> Result<(), TokenError> {
        match self.cnf {
            Some(binding) if Some(binding.certificate) != presented => Err(TokenError::Certificate),
            _ => Ok(()),
        }
    }
}

/// Confirmation claim (RFC 8705, section 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CertificateBinding {
    /// SHA-256 of the certificate.
    #[serde(rename = "x5t#S256", serialize_with = "write_hash", deserialize_with = "read_hash")]
    pub certificate: Sha256,
}

// serde passes a reference.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_false(value: &bool) -> bool {
    !value
}

fn user_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Name, D::Error> {
    Name::of_user(&String::deserialize(deserializer)?).map_err(de::Error::custom)
}

fn organization_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<OrganizationName, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
}

fn write_hash<S: Serializer>(hash: &Sha256, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&BASE64_URL_SAFE_NO_PAD.encode(hash.0))
}

fn read_hash<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Sha256, D::Error> {
    let bytes =
        BASE64_URL_SAFE_NO_PAD.decode(String::deserialize(deserializer)?).map_err(de::Error::custom)?;
    bytes.try_into().map(Sha256).map_err(|_| de::Error::custom("not a SHA-256 digest"))
}
