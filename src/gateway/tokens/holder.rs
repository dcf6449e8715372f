//! User of a verified access token.

use http::header::{HeaderName, HeaderValue};

use crate::identity::AccountIdentity;
use crate::tokens::{SignedToken, TokenError};

/// Name of the user.
pub const X_CLUSTER_USER: HeaderName = HeaderName::from_static("x-cluster-user");
/// Organization of the user.
pub const X_CLUSTER_ORG: HeaderName = HeaderName::from_static("x-cluster-org");
/// Role of the user's account.
pub const X_CLUSTER_USER_ROLE: HeaderName = HeaderName::from_static("x-cluster-user-role");

/// User of a token, with what is said of it to upstreams and in the access log: worked out once per token.
#[derive(Debug)]
pub struct TokenHolder {
    /// Name, organization and role.
    pub account: AccountIdentity,
    /// Claims of the token, and its key.
    pub token: SignedToken,
    /// Members of a JSON object for the access log, each after a comma.
    pub log_fields: Box<str>,
    fields: [(HeaderName, HeaderValue); 3],
}

impl TokenHolder {
    /// The user of a verified token.
    ///
    /// # Errors
    /// [`TokenError::Malformed`] for a name that no header field can carry; no valid name is one.
    pub(super) fn new(token: SignedToken) -> Result<Self, TokenError> {
        let claims = &token.claims;
        let account = AccountIdentity {
            name: claims.user.clone(),
            organization: claims.org.clone(),
            role: claims.role,
        };
        let value = |text: &str| HeaderValue::from_str(text).map_err(|_| TokenError::Malformed);
        let fields = [
            (X_CLUSTER_USER, value(account.name.as_str())?),
            (X_CLUSTER_ORG, value(account.organization.as_str())?),
            (X_CLUSTER_USER_ROLE, HeaderValue::from_static(account.role.as_str())),
        ];
        // Valid names have no character that JSON escapes.
        let log_fields = format!(
            ",\"user\":\"{}\",\"org\":\"{}\",\"user_role\":\"{}\"",
            account.name, account.organization, account.role
        );
        Ok(Self { account, token, log_fields: log_fields.into_boxed_str(), fields })
    }

    /// Header fields that tell an upstream about the user.
    pub fn fields(&self) -> impl Iterator<Item = &(HeaderName, HeaderValue)> {
        self.fields.iter()
    }
}
