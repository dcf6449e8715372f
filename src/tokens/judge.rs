//! Judgement of access tokens by a statement.

use std::collections::{HashMap, HashSet};

use time::OffsetDateTime;

use super::access::TokenVerifier;
use super::claims::{AccessClaims, TokenScope};
use super::error::TokenError;
use super::statement::TokenStatement;
use super::statement_error::StatementError;

/// Keys and revocations of a verified statement, indexed.
#[derive(Debug)]
pub struct TokenJudge {
    verifier: TokenVerifier,
    /// By the name of the organization.
    organizations: HashMap<String, RevokedTokens>,
    sessions: HashSet<String>,
    expires: OffsetDateTime,
}

/// Token with a valid signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedToken {
    /// Contents, not judged by a statement yet.
    pub claims: AccessClaims,
    /// ID of the key that signed it.
    pub key: String,
}

/// Times before which the tokens of one organization are revoked, in seconds since 1970.
#[derive(Debug, Default)]
struct RevokedTokens {
    all: Option<i64>,
    users: HashMap<String, i64>,
}

impl TokenJudge {
    /// Judges by `statement`, which is verified, until `expires`.
    ///
    /// # Errors
    /// [`StatementError::Key`].
    pub fn new(
        statement: &TokenStatement,
        scope: TokenScope,
        expires: OffsetDateTime,
    ) -> Result<Self, StatementError> {
        let keys = statement.keys.iter().map(|key| key.verification_key()).collect::<Result<_, _>>()?;
        let mut organizations: HashMap<String, RevokedTokens> = HashMap::new();
        for entry in &statement.organizations {
            let revoked = organizations.entry(entry.org.clone()).or_default();
            revoked.all = revoked.all.max(Some(entry.before));
        }
        for entry in &statement.users {
            let revoked = organizations.entry(entry.org.clone()).or_default();
            let before = revoked.users.entry(entry.user.clone()).or_insert(entry.before);
            *before = entry.before.max(*before);
        }
        let sessions = statement.sessions.iter().map(|session| session.sid.clone()).collect();
        Ok(Self { verifier: TokenVerifier::new(scope, keys), organizations, sessions, expires })
    }

    /// Verify the signature of a token and the cluster that it is for. Its times, its certificate and its revocation
    /// are not judged.
    ///
    /// # Errors
    /// [`TokenError`] with the violated rule.
    pub fn read(&self, token: &str) -> Result<SignedToken, TokenError> {
        let (claims, key) = self.verifier.signed_claims(token)?;
        Ok(SignedToken { claims, key: key.id.clone() })
    }

    /// Refuse a token outside of its validity, a revoked one, and one whose user must change the password first. After
    /// the end of the statement, all are refused.
    ///
    /// # Errors
    /// [`TokenError`] with the violated rule.
    pub fn check(&self, token: &SignedToken, now: OffsetDateTime) -> Result<(), TokenError> {
        token.claims.check_time(now)?;
        self.check_revocation(token)?;
        if token.claims.password_change_required {
            return Err(TokenError::PasswordChange);
        }
        match now < self.expires {
            true => Ok(()),
            false => Err(TokenError::Statement),
        }
    }

    /// Refuse a revoked token, and one whose key is not in the statement: the token may have been read by an earlier
    /// one.
    ///
    /// # Errors
    /// [`TokenError::Revoked`], [`TokenError::UnknownKey`].
    pub fn check_revocation(&self, token: &SignedToken) -> Result<(), TokenError> {
        let SignedToken { claims, key } = token;
        if !self.verifier.has_key(key) {
            return Err(TokenError::UnknownKey);
        }
        if claims.sid.as_ref().is_some_and(|sid| self.sessions.contains(sid)) {
            return Err(TokenError::Revoked);
        }
        let Some(revoked) = self.organizations.get(claims.org.as_str()) else { return Ok(()) };
        let before = revoked.users.get(claims.user.as_str()).copied().max(revoked.all);
        match before.is_some_and(|before| claims.iat < before) {
            true => Err(TokenError::Revoked),
            false => Ok(()),
        }
    }
}
