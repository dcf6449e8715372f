//! Statement in force: verified when it was loaded, with the users whose tokens it has judged.

use std::sync::Arc;

use rustls_pki_types::CertificateDer;
use time::{Duration, OffsetDateTime};

use super::cache::TokenCache;
use super::error::TokenLoadError;
use super::holder::TokenHolder;
use crate::mtls::{Lapse, PeerVerifier};
use crate::tokens::{
    SignedStatement, StatementError, StatementVersion, TokenError, TokenJudge, TokenScope, VerificationKey,
};
use crate::x509::trust::VerifiedChain;
use crate::x509::{KeyIdentifier, Sha256, SubjectAltName};

/// Facts about a statement, for reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatementFacts {
    /// Place among the statements under one certificate.
    pub number: u64,
    /// Time of its signature.
    pub issued: OffsetDateTime,
    /// Time after which no token is accepted.
    pub expires: OffsetDateTime,
    /// Number of users, organizations and sessions with revoked tokens.
    pub revoked: usize,
    /// SHA-256 of its text.
    pub sha256: Sha256,
}

/// Verified statement about tokens.
#[derive(Debug)]
pub struct TokensInForce {
    /// Facts for reports.
    pub facts: StatementFacts,
    /// Version, by which the newer of two is found.
    pub version: StatementVersion,
    chain: VerifiedChain,
    judge: TokenJudge,
    cache: TokenCache,
}

impl TokensInForce {
    /// Verify the text of a statement: certificate, signature, cluster and times. `workers` is the number of workers
    /// that judge tokens by it.
    ///
    /// # Errors
    /// [`TokenLoadError`] with the violated rule.
    pub fn verify(
        text: &[u8],
        verifier: &PeerVerifier,
        workers: usize,
        at: OffsetDateTime,
    ) -> Result<Self, TokenLoadError> {
        let signed = SignedStatement::parse(text)?;
        let mut certificates = signed.certificates().iter().map(|der| CertificateDer::from(der.as_slice()));
        let leaf = certificates.next().ok_or(StatementError::Malformed)?;
        let others: Vec<_> = certificates.collect();
        let chain = verifier.verify_token_signer(&leaf, &others, at);
        let chain = chain.map_err(|source| TokenLoadError::Signer { source })?;
        let scope = TokenScope::of(verifier.trust_domain());
        let is_named = matches!(
            chain.leaf.subject_alt_names.as_slice(),
            [SubjectAltName::Uri(uri)] if uri.as_str() == scope.issuer()
        );
        if !is_named {
            return Err(StatementError::Signer.into());
        }
        let key = VerificationKey::of_public_key_info(&chain.leaf.public_key_info);
        let statement = signed.statement(&key.map_err(|_| StatementError::Key)?)?;
        statement.check(&scope, at)?;
        // The second of notAfter is still valid (RFC 5280, section 4.1.2.5).
        let expires = statement.expires().min(chain.expires.saturating_add(Duration::SECOND));
        let sha256 = Sha256::of(text);
        Ok(Self {
            facts: StatementFacts {
                number: statement.number,
                issued: statement.issued(),
                expires,
                revoked: statement.users.len() + statement.organizations.len() + statement.sessions.len(),
                sha256,
            },
            version: StatementVersion {
                certified: chain.leaf.not_before.unix_timestamp(),
                number: statement.number,
                sha256,
            },
            judge: TokenJudge::new(&statement, scope, expires)?,
            cache: TokenCache::new(workers),
            chain,
        })
    }

    /// Key identifier of the trust anchor that the certificate of the statement's key chains to.
    #[must_use]
    pub const fn anchor(&self) -> &KeyIdentifier {
        &self.chain.anchor
    }

    /// Check whether the certificate of the statement's key is still accepted by `verifier`.
    ///
    /// # Errors
    /// [`Lapse`] if it is not: then no token is accepted.
    pub fn recheck(&self, verifier: &PeerVerifier, at: OffsetDateTime) -> Result<(), Lapse> {
        verifier.recheck_token_signer(&self.chain, at)
    }

    /// User of `token`, for a request on worker number `worker`. The certificate that the token may be bound to is
    /// judged by the caller.
    ///
    /// # Errors
    /// [`TokenError`] with the violated rule.
    pub fn holder(
        &self,
        worker: usize,
        token: &str,
        at: OffsetDateTime,
    ) -> Result<Arc<TokenHolder>, TokenError> {
        let hash = Sha256::of(token.as_bytes());
        let holder = match self.cache.get(worker, &hash) {
            Some(known) => known,
            None => {
                let holder = Arc::new(TokenHolder::new(self.judge.read(token)?)?);
                self.cache.insert(worker, hash, Arc::clone(&holder));
                holder
            }
        };
        self.judge.check(&holder.token, at)?;
        Ok(holder)
    }

    /// Refuse all tokens after the end of the statement.
    ///
    /// # Errors
    /// [`TokenError::Statement`].
    pub fn check_end(&self, at: OffsetDateTime) -> Result<(), TokenError> {
        if at < self.facts.expires { Ok(()) } else { Err(TokenError::Statement) }
    }

    /// Check whether a token that was accepted, possibly under an earlier statement, is revoked. A request in flight
    /// outlives the expiry of its token.
    ///
    /// # Errors
    /// [`TokenError::Revoked`], [`TokenError::UnknownKey`].
    pub fn check_revocation(&self, holder: &TokenHolder) -> Result<(), TokenError> {
        self.judge.check_revocation(&holder.token)
    }
}
