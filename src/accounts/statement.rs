//! Statement about tokens: composed from the accounts, signed, and written to the home.
//!
//! It is rewritten under the lock of the home, right after each change that revokes tokens. A gateway needs no other
//! evidence: it lists what is revoked, and holds the keys.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use time::{Duration, OffsetDateTime};

use super::directory::Accounts;
use super::error::AccountError;
use super::security::MAXIMUM_LIFETIME;
use super::token_key::TokenKeyHolder;
use crate::audit::{Action, AuditEntry};
use crate::ca::{CaError, Cluster, InventoryWriter};
use crate::clock::parse_time;
use crate::files::{self, Access, Placement};
use crate::identity::{Name, OrganizationName};
use crate::store::AccountRows;
use crate::tokens::{
    PublishedKey, STATEMENT_FILE, SignedStatement, StatementError, TokenScope, TokenStatement,
    VerificationKey,
};
use crate::x509::Certificate;

/// Validity of a statement. It is signed again after half of it.
const VALIDITY: Duration = Duration::days(30);

/// Least time that the end of a session is kept: its access tokens live shorter by default.
const LEAST_SESSION: Duration = Duration::HOUR;

/// Statement in the home.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishedStatement {
    /// Path of the file.
    pub path: PathBuf,
    /// Its place among the statements of the cluster.
    pub number: u64,
    /// End.
    pub expires: OffsetDateTime,
    /// True if it was signed now.
    pub is_new: bool,
}

impl Accounts {
    /// Sign the statement about tokens, unless that in the home is current. `None` without a certified key for
    /// tokens: no server has issued any.
    ///
    /// # Errors
    /// [`AccountError::TokenCertificate`], and errors of the home and the key.
    pub fn publish_statement(&self) -> Result<Option<PublishedStatement>, AccountError> {
        match self.has_token_key() {
            true => self.publish_in(&InventoryWriter::open(&self.home, &self.context)?).map(Some),
            false => Ok(None),
        }
    }

    /// The statement in the home with its text, if its key has a certificate of the root. `None` without one.
    ///
    /// # Errors
    /// Errors of the home; [`AccountError::Statement`] for one that this cluster has not signed.
    pub fn statement(&self) -> Result<Option<(PublishedStatement, Vec<u8>)>, AccountError> {
        let path = self.home.token_statement();
        let text = match files::read(&path, STATEMENT_FILE) {
            Err(error) if error.is_missing() => return Ok(None),
            read => read.map_err(CaError::from)?,
        };
        let cluster = Cluster::open(&self.home, &self.context)?;
        let signed = SignedStatement::parse(&text)?;
        let signer = signed.certificates().first().ok_or(StatementError::Malformed)?;
        let signer = Certificate::from_der(signer).map_err(|_| StatementError::Malformed)?;
        if cluster.token_certificate(&signer.public_key_info)?.is_none() {
            return Err(StatementError::Signer.into());
        }
        let key = VerificationKey::of_public_key_info(&signer.public_key_info)?;
        let statement = signed.statement(&key)?;
        let (number, expires) = (statement.number, statement.expires());
        Ok(Some((PublishedStatement { path, number, expires, is_new: false }, text)))
    }

    /// Sign the statement after a change that revokes tokens.
    pub(super) fn publish_after(&self, writer: &InventoryWriter) -> Result<(), AccountError> {
        if self.has_token_key()
            && let Err(source) = self.publish_in(writer)
        {
            return Err(AccountError::NotInStatement { source: Box::new(source) });
        }
        Ok(())
    }

    fn has_token_key(&self) -> bool {
        files::occupied(&self.home.token_key()) && files::occupied(&self.home.token_certificate())
    }

    /// Composes, signs and writes the statement. `writer` holds the lock of the home.
    fn publish_in(&self, writer: &InventoryWriter) -> Result<PublishedStatement, AccountError> {
        let holder = match &self.token_key {
            Some(holder) => Arc::clone(holder),
            None => Arc::new(TokenKeyHolder::open(&self.home, &self.context)?),
        };
        let (cluster, now, path) = (writer.cluster(), self.now(), self.home.token_statement());
        let certificate = cluster.token_certificate(holder.public_key_info())?;
        let certificate = certificate.ok_or(AccountError::TokenCertificate)?;
        let scope = TokenScope::of(cluster.trust_domain());
        let key = PublishedKey::of(holder.signer.verification_key())?;
        let previous = self.previous(&holder, &scope);
        let next = compose(
            cluster.inventory().accounts(),
            previous.as_ref().map(|(statement, _)| statement),
            (&scope, key),
            self.context.clock.now(),
        )?;
        if let Some((previous, signer)) = &previous
            && is_current(previous, &next, now)
            && *signer == certificate.der.as_ref()
        {
            let (number, expires) = (previous.number, previous.expires());
            return Ok(PublishedStatement { path, number, expires, is_new: false });
        }
        let expires = now.saturating_add(VALIDITY).min(certificate.not_after);
        let next = TokenStatement { exp: expires.unix_timestamp(), ..next };
        let text = sign(&holder, &next, &certificate)?;
        files::write(&path, Access::Public, Placement::Replace, text.as_bytes()).map_err(CaError::from)?;
        Ok(PublishedStatement { path, number: next.number, expires, is_new: true })
    }

    /// The statement in the home, with the certificate that it carries. `None` without one that this key has signed: a
    /// new one is composed from the whole audit chain.
    fn previous(&self, holder: &TokenKeyHolder, scope: &TokenScope) -> Option<(TokenStatement, Vec<u8>)> {
        let text = files::read(&self.home.token_statement(), STATEMENT_FILE).ok()?;
        let signed = SignedStatement::parse(&text).ok()?;
        let statement = signed.statement(holder.signer.verification_key()).ok()?;
        let is_ours = statement.iss == scope.issuer() && statement.aud == scope.audience();
        let signer = signed.certificates().first()?.clone();
        is_ours.then_some((statement, signer))
    }
}

fn sign(
    holder: &TokenKeyHolder,
    statement: &TokenStatement,
    certificate: &Certificate,
) -> Result<String, AccountError> {
    Ok(holder.signer.sign_statement(statement, &[&certificate.der])?)
}

/// True if `next` says nothing new, and `previous` is not past half of its validity.
fn is_current(previous: &TokenStatement, next: &TokenStatement, now: OffsetDateTime) -> bool {
    previous.keys == next.keys
        && previous.users == next.users
        && previous.organizations == next.organizations
        && previous.sessions == next.sessions
        && now < previous.issued() + (previous.expires() - previous.issued()) / 2
        && previous.issued() <= now
}

/// Statement of the accounts as they are now. What `previous` revokes stays revoked; audit entries since then add users
/// and organizations that are gone, and sessions.
fn compose(
    rows: AccountRows<'_>,
    previous: Option<&TokenStatement>,
    (scope, key): (&TokenScope, PublishedKey),
    now: OffsetDateTime,
) -> Result<TokenStatement, AccountError> {
    // In milliseconds, so that it is larger than that of a statement that was lost.
    let number = u64::try_from(now.unix_timestamp_nanos() / 1_000_000).unwrap_or_default();
    let now = now.replace_nanosecond(0).unwrap_or(now);
    let seconds = now.unix_timestamp();
    let last = rows.last_entry()?;
    // A restored home begins its audit chain again.
    let previous = previous.filter(|previous| previous.audit <= last);
    let mut statement = TokenStatement {
        iss: scope.issuer().to_owned(),
        aud: scope.audience().to_owned(),
        number: previous.map_or(number, |previous| number.max(previous.number.saturating_add(1))),
        iat: seconds,
        exp: seconds,
        audit: last,
        keys: vec![key],
        users: previous.map(|previous| previous.users.clone()).unwrap_or_default(),
        organizations: previous.map(|previous| previous.organizations.clone()).unwrap_or_default(),
        sessions: previous.map(|previous| previous.sessions.clone()).unwrap_or_default(),
    };
    let organizations: HashMap<u64, OrganizationName> =
        rows.organizations()?.into_iter().map(|one| (one.id, one.name)).collect();
    for user in rows.users(None)? {
        let facts = &user.facts;
        // A row that another program changed may hide a revocation.
        if rows.check_user(&user).is_err()
            && let Some(organization) = organizations.get(&facts.organization)
        {
            statement.revoke_user(organization, &facts.name, now.saturating_add(Duration::SECOND));
        }
        // A user whose tokens were never revoked needs no entry.
        if facts.tokens_from > facts.created_at.saturating_add(Duration::SECOND)
            && let Some(organization) = organizations.get(&facts.organization)
        {
            statement.revoke_user(organization, &facts.name, facts.tokens_from);
        }
    }
    let session = rows.security()?.access_token.max(LEAST_SESSION);
    for entry in rows.token_events_since(previous.map_or(0, |previous| previous.audit))? {
        add_event(&mut statement, &entry, session);
    }
    statement.forget_expired(MAXIMUM_LIFETIME, now);
    Ok(statement)
}

/// Add an audit entry. One that cannot be read names nothing that a token could carry.
fn add_event(statement: &mut TokenStatement, entry: &AuditEntry, session: Duration) {
    let event = &entry.event;
    let (at, text) =
        (event.provenance.at, |key: &str| event.details.get(key).and_then(|value| value.as_str()));
    match event.action {
        Action::UserDelete => {
            let names = event.target.split_once('/');
            let names = names.and_then(|(org, name)| org.parse().ok().zip(Name::of_user(name).ok()));
            // Tokens may be dated after the deletion: see `revoked_from`.
            let dated = text("tokens_from").and_then(|text| parse_time(text).ok()).unwrap_or(at);
            if let Some((org, name)) = names {
                statement.revoke_user(&org, &name, at.max(dated).saturating_add(Duration::SECOND));
            }
        }
        Action::OrganizationRename => {
            if let Some(former) = text("before").and_then(|name| name.parse::<OrganizationName>().ok()) {
                statement.revoke_organization(&former, at.saturating_add(Duration::SECOND));
            }
        }
        Action::TokenReuse | Action::UserLogout => {
            if let Some(sid) = text("session") {
                statement.end_session(sid, at.saturating_add(session));
            }
        }
        _ => {}
    }
}
