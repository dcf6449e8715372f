//! Logins, refresh, logout, and what tokens permit.

use std::net::IpAddr;
use std::sync::Arc;

use serde_json::json;
use time::{Duration, OffsetDateTime};

use super::directory::{Accounts, organization, owner, user};
use super::error::AccountError;
use super::ldap_check::{Directories, follow_directory};
use super::lockout::after_failure;
use super::password_hash::{self, PasswordCheck};
use super::principal::Principal;
use super::security::{MINIMUM_LIFETIME, require_duration};
use super::token_key::TokenKeyHolder;
use super::users::{check_password, refuse_present_password, revoked_from};
use super::views::UserView;
use crate::audit::{Action, Outcome};
use crate::ca::{Context, Home, KeyProtection};
use crate::identity::{Identity, Name, OrganizationName};
use crate::secret::Secret;
use crate::store::{
    AccountSource, LoginSession, OrganizationRecord, SecuritySettings, Transaction, UnknownLogins, UserRecord,
};
use crate::tokens::{AccessClaims, CertificateBinding, RefreshToken, TokenScope, TokenVerifier};
use crate::x509::{Sha256, hex};

/// Most sessions of one user; a further login ends the oldest.
const MOST_SESSIONS: usize = 100;

/// Time between two audit entries about logins of unknown users.
const UNKNOWN_INTERVAL: Duration = Duration::MINUTE;

/// Default lifetime of a generated token.
const GENERATED_LIFETIME: Duration = Duration::days(30);

/// Client certificate that a request came with, verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedCertificate {
    /// Role and name that it was issued to.
    pub identity: Identity,
    /// Its SHA-256.
    pub fingerprint: Sha256,
}

/// Attempt to log in with a password.
#[derive(Debug)]
pub struct PasswordLogin<'a> {
    /// Name of the organization, as given.
    pub organization: &'a str,
    /// Name of the user, as given.
    pub user: &'a str,
    /// Password to verify.
    pub password: &'a Secret,
    /// Client certificate, if one was presented.
    pub certificate: Option<&'a VerifiedCertificate>,
    /// Address of the client.
    pub address: Option<IpAddr>,
}

/// Tokens of a session.
#[derive(Debug)]
pub struct IssuedTokens {
    /// JWT for the API and for gateways.
    pub access_token: Secret,
    /// Lifetime of the access token in seconds.
    pub expires_in: i64,
    /// Refresh token, valid once.
    pub refresh_token: Secret,
    /// True if only the password can be changed with the access token.
    pub password_change_required: bool,
}

/// Operation that a token is presented for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenUse {
    /// Any operation.
    Any,
    /// An operation that is permitted while the password must be changed: `whoami`, a new password, logout.
    BeforePasswordChange,
}

/// Caller that a token identifies.
#[derive(Clone, Debug)]
pub struct Authenticated {
    /// Rights of the caller.
    pub principal: Principal,
    /// The account.
    pub user: UserView,
    /// Claims of the token.
    pub claims: AccessClaims,
}

impl Authenticated {
    /// Refuse a caller whose password must be changed first.
    ///
    /// # Errors
    /// [`AccountError::PasswordChangeRequired`].
    pub fn require_password_changed(&self) -> Result<(), AccountError> {
        match self.user.must_change_password {
            true => Err(AccountError::PasswordChangeRequired),
            false => Ok(()),
        }
    }
}

/// Logins of a home: issues and verifies tokens.
#[derive(Debug)]
pub struct LoginService {
    pub(super) accounts: Accounts,
    token_key: Arc<TokenKeyHolder>,
    verifier: TokenVerifier,
    pub(super) directories: Directories,
}

/// Result of a reserved attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attempt {
    /// The password decides. `locks` if a wrong one locks the account.
    Open { failures: u32, locks: bool },
    /// The account is locked.
    Locked,
    /// There is no such user.
    Unknown,
}

impl LoginService {
    /// Open the home's key for tokens, and create it first if there is none.
    ///
    /// # Errors
    /// Errors of the home and the key.
    pub fn open(home: Home, context: Context) -> Result<Self, AccountError> {
        let mut protection = KeyProtection::open(&home, &context)?;
        let key = protection.token_key()?;
        let scope = TokenScope::of(protection.trust_domain());
        drop(protection);
        let token_key = Arc::new(TokenKeyHolder::new(&key)?);
        let verifier = TokenVerifier::new(scope, vec![token_key.signer.verification_key().clone()]);
        let accounts = Accounts { token_key: Some(Arc::clone(&token_key)), ..Accounts::new(home, context) };
        Ok(Self { accounts, token_key, verifier, directories: Directories::default() })
    }

    /// Key that signs the tokens.
    #[must_use]
    pub fn token_key(&self) -> &TokenKeyHolder {
        &self.token_key
    }

    /// The accounts of the home.
    #[must_use]
    pub fn accounts(&self) -> &Accounts {
        &self.accounts
    }

    /// Verifier of the access tokens that are issued.
    #[must_use]
    pub fn verifier(&self) -> &TokenVerifier {
        &self.verifier
    }

    /// Verify a password and start a session.
    ///
    /// An unknown user, a wrong password, a missing certificate and a locked account get the same answer, after the
    /// same work. The attempt is counted before the password is verified: parallel attempts do not evade the lock.
    ///
    /// # Errors
    /// [`AccountError::LoginRefused`], and errors of the home.
    pub fn login(
        &self,
        accounts: &Accounts,
        login: &PasswordLogin<'_>,
    ) -> Result<IssuedTokens, AccountError> {
        let names = login.organization.parse::<OrganizationName>().ok().zip(Name::of_user(login.user).ok());
        let (attempt, found) =
            accounts.change(|transaction| reserve_attempt(transaction, names.as_ref(), accounts.now()))?;
        let stored = match (&attempt, &found) {
            (Attempt::Open { .. }, Some((_, user))) => user.facts.password.as_ref().map(|(hash, _)| hash),
            _ => None,
        };
        let check = password_hash::verify(login.password, stored, login.user)?;
        let rehashed = match check {
            PasswordCheck::RightButOutdated => {
                Some(password_hash::hash(login.password, &*accounts.context.entropy)?)
            }
            _ => None,
        };
        let refresh = RefreshToken::generate(&*accounts.context.entropy)?;
        let token_id = accounts.random_id()?;
        let now = accounts.now();
        let logged_in = accounts.change(|transaction| {
            let failed = |transaction| {
                let named = found.as_ref().map(|(organization, user)| (organization, &user.facts.name));
                record_failure(transaction, &attempt, named, login.address, None, now)
            };
            let (true, Some((organization, user))) = (check != PasswordCheck::Wrong, &found) else {
                return Ok((failed(transaction)?, None));
            };
            // The account may have changed since.
            let current = transaction.accounts().user_by_id(user.id)?.filter(|current| {
                current.facts.password == user.facts.password
                    && has_required_certificate(current, login.certificate)
            });
            let Some(mut user) = current else { return Ok((failed(transaction)?, None)) };
            let mut transaction = transaction;
            if let (Some(hash), Some((_, changed_at))) = (rehashed, user.facts.password.take()) {
                user.facts.password = Some((hash, changed_at));
                transaction = transaction.change_user(organization, &mut user, Action::UserRehash)?;
            }
            let (transaction, session, settings) =
                start_session(transaction, organization, &user, login, &refresh, token_id, now)?;
            Ok((transaction, Some((organization.clone(), user, session, settings))))
        })?;
        let (organization, user, session, settings) = logged_in.ok_or(AccountError::LoginRefused)?;
        self.tokens(&organization, &user, &session, &settings, &refresh, now)
    }

    /// Continue a session with its refresh token, which is used up. The use of a former one ends the session.
    ///
    /// # Errors
    /// [`AccountError::RefreshRefused`], errors of the directory of a user, and errors of the home.
    pub fn refresh(
        &self,
        accounts: &Accounts,
        refresh_token: &str,
        certificate: Option<&VerifiedCertificate>,
    ) -> Result<IssuedTokens, AccountError> {
        let given = RefreshToken::parse(refresh_token).map_err(|_| AccountError::RefreshRefused)?;
        let next = given.successor(&*accounts.context.entropy)?;
        let now = accounts.now();
        let presented = certificate.map(|certificate| certificate.fingerprint.0);
        let found = self.directories.find_again(accounts, &given, presented, now)?;
        let continued = accounts.change(|transaction| {
            let rows = transaction.accounts();
            let Some(session) = rows.session(&given.selector_hash().0)? else {
                return Ok((transaction, None));
            };
            if session.certificate.is_some() && session.certificate != presented {
                return Ok((transaction, None));
            }
            let (organization, mut user) = owner(rows, session.user)?;
            if session.expires_at <= now {
                return Ok((transaction.end_session(session.id)?, None));
            }
            if session.secret != given.secret_hash().0 {
                let target = format!("{}/{}", organization.name, user.facts.name);
                let details = json!({ "session": hex(&session.token_id) });
                let transaction = transaction.end_session(session.id)?.record(
                    Action::TokenReuse,
                    target,
                    Outcome::Success,
                    details,
                )?;
                return Ok((transaction, None));
            }
            let settings = rows.security()?;
            let expires_at = now.saturating_add(settings.refresh_token);
            let transaction = match follow_directory(transaction, &organization, &mut user, found, now)? {
                (transaction, true) => transaction,
                (transaction, false) => return Ok((transaction, None)),
            };
            let transaction = transaction.rotate_session(session.id, &next.secret_hash().0, expires_at)?;
            Ok((transaction, Some((organization, user, session, settings))))
        })?;
        let (organization, user, session, settings) = continued.ok_or(AccountError::RefreshRefused)?;
        self.tokens(&organization, &user, &session, &settings, &next, now)
    }

    /// Identify the caller by an access token, and refuse a revoked one.
    ///
    /// # Errors
    /// [`AccountError::Token`], [`AccountError::TokenRevoked`], [`AccountError::PasswordChangeRequired`], and errors
    /// of the home.
    pub fn authenticate(
        &self,
        token: &str,
        certificate: Option<&VerifiedCertificate>,
        token_use: TokenUse,
    ) -> Result<Authenticated, AccountError> {
        let accounts = &self.accounts;
        let fingerprint = certificate.map(|certificate| certificate.fingerprint);
        let claims = self.verifier.verify(token, fingerprint, accounts.context.clock.now())?;
        let (organization, user, lockout) = accounts.read(|rows| {
            let revoked = || AccountError::TokenRevoked;
            let organization = rows.organization(&claims.org)?.ok_or_else(revoked)?;
            let user = rows.user(organization.id, &claims.user)?.ok_or_else(revoked)?;
            rows.check_user(&user)?;
            if let Some(sid) = &claims.sid {
                let id = session_id(sid).ok_or_else(revoked)?;
                let session = rows.session_by_token(&id)?;
                session.filter(|session| session.user == user.id).ok_or_else(revoked)?;
            }
            if claims.iat < user.facts.tokens_from.unix_timestamp() || claims.role != user.facts.role {
                return Err(revoked());
            }
            let lockout = rows.lockout(organization.id, &user.facts.name)?;
            Ok((organization, user, lockout))
        })?;
        if user.facts.must_change_password && token_use == TokenUse::Any {
            return Err(AccountError::PasswordChangeRequired);
        }
        let principal =
            Principal::User { user: user.id, organization: organization.id, role: user.facts.role };
        let view = UserView::new(&organization, &user, lockout, accounts.now());
        Ok(Authenticated { principal, user: view, claims })
    }

    /// End the session of a token.
    ///
    /// # Errors
    /// Errors of the home.
    pub fn logout(&self, accounts: &Accounts, caller: &Authenticated) -> Result<(), AccountError> {
        let Some(id) = caller.claims.sid.as_deref().and_then(session_id) else { return Ok(()) };
        accounts.change(|transaction| {
            let Some(session) = transaction.accounts().session_by_token(&id)? else {
                return Ok((transaction, ()));
            };
            let details = json!({ "session": hex(&id) });
            let transaction = transaction.end_session(session.id)?.record(
                Action::UserLogout,
                caller.claims.sub.clone(),
                Outcome::Success,
                details,
            )?;
            Ok((transaction, ()))
        })
    }

    /// Generate an access token for scripts, of the caller's own account. It is revoked with all tokens of the user.
    /// Users of a directory get none: nothing would look at the directory again.
    ///
    /// # Errors
    /// [`AccountError::NotLocal`], [`AccountError::Setting`] for a lifetime beyond the maximum, and errors of the home.
    pub fn generate_token(
        &self,
        accounts: &Accounts,
        caller: &Authenticated,
        lifetime: Option<Duration>,
    ) -> Result<(Secret, OffsetDateTime), AccountError> {
        let Principal::User { user: id, .. } = caller.principal else {
            return Err(AccountError::TokenRevoked);
        };
        let token_id = accounts.random_id()?;
        let now = accounts.now();
        let (organization, user, lifetime) = accounts.change(|transaction| {
            let rows = transaction.accounts();
            let (organization, user) = owner(rows, id)?;
            if user.facts.source != AccountSource::Local {
                return Err(AccountError::NotLocal { user: user.facts.name.to_string() });
            }
            let most = rows.security()?.access_token_maximum;
            let lifetime = lifetime.unwrap_or(GENERATED_LIFETIME.min(most));
            require_duration("lifetime of the token", lifetime, MINIMUM_LIFETIME, most)?;
            let target = format!("{}/{}", organization.name, user.facts.name);
            let details = json!({
                "token": hex(&token_id),
                "expires_at": crate::clock::rfc3339(issued_at(&user, now).saturating_add(lifetime)),
            });
            let transaction = transaction.record(Action::TokenGenerate, target, Outcome::Success, details)?;
            Ok((transaction, (organization, user, lifetime)))
        })?;
        let claims = AccessClaims {
            sid: None,
            cnf: caller.claims.cnf,
            ..claims(&self.verifier, &organization, &user, &token_id, now, lifetime)
        };
        let expires_at = issued_at(&user, now).saturating_add(lifetime);
        Ok((Secret::new(self.token_key.signer.sign(&claims)?.into_bytes()), expires_at))
    }

    /// Change the caller's own password, and revoke all of the caller's tokens.
    ///
    /// A wrong present password counts as a failed login: a stolen token gives no more guesses than a login.
    ///
    /// # Errors
    /// [`AccountError::LoginRefused`], [`AccountError::WeakPassword`], and errors of the home.
    pub fn change_own_password(
        &self,
        accounts: &Accounts,
        caller: &Authenticated,
        (of, name): (&OrganizationName, &Name),
        (present, new): (&Secret, &Secret),
        address: Option<IpAddr>,
    ) -> Result<UserView, AccountError> {
        if (of, name) != (&caller.user.organization, &caller.user.name) {
            let operation = "change the password of another user by the present one";
            return Err(AccountError::NotAllowed { role: caller.principal.role(), operation });
        }
        if caller.user.source != AccountSource::Local.as_str() {
            return Err(AccountError::NotLocal { user: name.to_string() });
        }
        check_password(new, name)?;
        let names = Some((of.clone(), name.clone()));
        let (attempt, found) =
            accounts.change(|transaction| reserve_attempt(transaction, names.as_ref(), accounts.now()))?;
        let stored = match (&attempt, &found) {
            (Attempt::Open { .. }, Some((_, user))) => user.facts.password.as_ref().map(|(hash, _)| hash),
            _ => None,
        };
        let now = accounts.now();
        if password_hash::verify(present, stored, name.as_str())? == PasswordCheck::Wrong {
            let named = found.as_ref().map(|(organization, user)| (organization, &user.facts.name));
            accounts.change(|transaction| {
                Ok((record_failure(transaction, &attempt, named, address, None, now)?, ()))
            })?;
            return Err(AccountError::LoginRefused);
        }
        let Some((_, user)) = &found else { return Err(AccountError::LoginRefused) };
        refuse_present_password(user, new)?;
        let hash = password_hash::hash(new, &*accounts.context.entropy)?;
        let view = accounts.change(|transaction| {
            let (organization, mut user) = owner(transaction.accounts(), user.id)?;
            user.facts.password = Some((hash, now));
            user.facts.must_change_password = false;
            user.facts.tokens_from = revoked_from(&user, now);
            let transaction = transaction
                .change_user(&organization, &mut user, Action::UserPassword)?
                .end_sessions(user.id)?
                .set_lockout(organization.id, &user.facts.name, Default::default())?;
            Ok((transaction, UserView::new(&organization, &user, Default::default(), now)))
        })?;
        accounts.forget_first_password(user)?;
        Ok(view)
    }

    pub(super) fn tokens(
        &self,
        organization: &OrganizationRecord,
        user: &UserRecord,
        session: &LoginSession,
        settings: &SecuritySettings,
        refresh: &RefreshToken,
        now: OffsetDateTime,
    ) -> Result<IssuedTokens, AccountError> {
        let claims = AccessClaims {
            sid: Some(hex(&session.token_id)),
            jti: hex(&self.accounts.random_id()?),
            cnf: session.certificate.map(|hash| CertificateBinding { certificate: Sha256(hash) }),
            ..claims(&self.verifier, organization, user, &session.token_id, now, settings.access_token)
        };
        Ok(IssuedTokens {
            access_token: Secret::new(self.token_key.signer.sign(&claims)?.into_bytes()),
            expires_in: settings.access_token.whole_seconds(),
            refresh_token: Secret::new(refresh.text().into_bytes()),
            password_change_required: user.facts.must_change_password,
        })
    }
}

impl Accounts {
    /// Revoke all tokens of a user: sessions, and tokens generated for scripts. Users may do so for themselves.
    ///
    /// # Errors
    /// [`AccountError`], above all [`AccountError::UnknownUser`].
    pub fn revoke_tokens(
        &self,
        by: Principal,
        of: &OrganizationName,
        name: &Name,
    ) -> Result<UserView, AccountError> {
        let now = self.now();
        self.change(|transaction| {
            let rows = transaction.accounts();
            let organization = organization(rows, by, of)?;
            let mut user = user(rows, by, &organization, name)?;
            if !by.is_user(user.id) {
                by.require_manager_of(&[user.facts.role], "revoke the tokens of such a user")?;
            }
            let lockout = rows.lockout(organization.id, name)?;
            user.facts.tokens_from = revoked_from(&user, now);
            let transaction = transaction
                .change_user(&organization, &mut user, Action::UserRevokeTokens)?
                .end_sessions(user.id)?;
            Ok((transaction, UserView::new(&organization, &user, lockout, now)))
        })
    }

    pub(super) fn random_id(&self) -> Result<[u8; 16], AccountError> {
        let mut id = [0; 16];
        self.context.entropy.fill(&mut id)?;
        Ok(id)
    }
}

fn session_id(text: &str) -> Option<[u8; 16]> {
    if text.len() != 32 {
        return None;
    }
    u128::from_str_radix(text, 16).ok().map(u128::to_be_bytes)
}

/// Tokens are dated after the last revocation, which may have been in the present second.
fn issued_at(user: &UserRecord, now: OffsetDateTime) -> OffsetDateTime {
    now.max(user.facts.tokens_from)
}

fn claims(
    verifier: &TokenVerifier,
    organization: &OrganizationRecord,
    user: &UserRecord,
    token_id: &[u8; 16],
    now: OffsetDateTime,
    lifetime: Duration,
) -> AccessClaims {
    let issued_at = issued_at(user, now);
    AccessClaims {
        iss: verifier.scope().issuer().to_owned(),
        aud: verifier.scope().audience().to_owned(),
        sub: format!("{}/{}", organization.name, user.facts.name),
        jti: hex(token_id),
        sid: None,
        iat: issued_at.unix_timestamp(),
        exp: issued_at.saturating_add(lifetime).unix_timestamp(),
        user: user.facts.name.clone(),
        org: organization.name.clone(),
        role: user.facts.role,
        password_change_required: user.facts.must_change_password,
        cnf: None,
    }
}

pub(super) fn has_required_certificate(user: &UserRecord, presented: Option<&VerifiedCertificate>) -> bool {
    let facts = &user.facts;
    !facts.certificate_required
        || facts.certificate.as_ref().zip(presented).is_some_and(|((role, name), presented)| {
            presented.identity.role == *role && presented.identity.name == *name
        })
}

/// The user that a login names, if it exists.
type FoundUser = Option<(OrganizationRecord, UserRecord)>;

/// Count an attempt as failed before its password is verified.
fn reserve_attempt<'a>(
    transaction: Transaction<'a>,
    names: Option<&(OrganizationName, Name)>,
    now: OffsetDateTime,
) -> Result<(Transaction<'a>, (Attempt, FoundUser)), AccountError> {
    let rows = transaction.accounts();
    let mut found = None;
    if let Some((organization, name)) = names
        && let Some(organization) = rows.organization(organization)?
        && let Some(user) = rows.user(organization.id, name)?
    {
        rows.check_user(&user)?;
        found = Some((organization, user));
    }
    let Some((organization, user)) = &found else {
        let unknown = rows.unknown_logins()?;
        let unknown = UnknownLogins { attempts: unknown.attempts.saturating_add(1), ..unknown };
        return Ok((transaction.set_unknown_logins(unknown)?, (Attempt::Unknown, None)));
    };
    let (transaction, attempt) = count_attempt(transaction, organization, &user.facts.name, now)?;
    Ok((transaction, (attempt, found)))
}

/// Count an attempt of a user as failed.
pub(super) fn count_attempt<'a>(
    transaction: Transaction<'a>,
    organization: &OrganizationRecord,
    name: &Name,
    now: OffsetDateTime,
) -> Result<(Transaction<'a>, Attempt), AccountError> {
    let rows = transaction.accounts();
    let before = rows.lockout(organization.id, name)?;
    let (after, attempt) = after_failure(before, &rows.security()?, now);
    let attempt = match attempt {
        None => Attempt::Locked,
        Some(locks) => Attempt::Open { failures: after.failures, locks },
    };
    Ok((transaction.set_lockout(organization.id, name, after)?, attempt))
}

/// Start the session of a login that succeeded.
pub(super) fn start_session<'a>(
    mut transaction: Transaction<'a>,
    organization: &OrganizationRecord,
    user: &UserRecord,
    login: &PasswordLogin<'_>,
    refresh: &RefreshToken,
    token_id: [u8; 16],
    now: OffsetDateTime,
) -> Result<(Transaction<'a>, LoginSession, SecuritySettings), AccountError> {
    let settings = transaction.accounts().security()?;
    let sessions = transaction.accounts().sessions(user.id)?;
    for oldest in sessions.iter().take((sessions.len() + 1).saturating_sub(MOST_SESSIONS)) {
        transaction = transaction.end_session(oldest.id)?;
    }
    let session = LoginSession {
        id: 0,
        selector: refresh.selector_hash().0,
        secret: refresh.secret_hash().0,
        token_id,
        user: user.id,
        certificate: login.certificate.map(|certificate| certificate.fingerprint.0),
        created_at: now,
        expires_at: now.saturating_add(settings.refresh_token),
    };
    let details = json!({
        "address": login.address,
        "session": hex(&token_id),
        "certificate": login.certificate.map(|certificate| certificate.identity.to_string()),
    });
    let target = format!("{}/{}", organization.name, user.facts.name);
    let transaction = transaction
        .set_lockout(organization.id, &user.facts.name, Default::default())?
        .add_session(&session)?
        .record(Action::UserLogin, target, Outcome::Success, details)?;
    Ok((transaction, session, settings))
}

/// Record a failed login. Attempts during a lock have no entry of their own, and those of unknown users one a
/// minute: an attacker cannot fill the disk. `reason` is that of a directory.
pub(super) fn record_failure<'a>(
    transaction: Transaction<'a>,
    attempt: &Attempt,
    named: Option<(&OrganizationRecord, &Name)>,
    address: Option<IpAddr>,
    reason: Option<&str>,
    now: OffsetDateTime,
) -> Result<Transaction<'a>, AccountError> {
    let rows = transaction.accounts();
    let Some((organization, name)) = named else {
        let unknown = rows.unknown_logins()?;
        if unknown.noted_at.saturating_add(UNKNOWN_INTERVAL) > now {
            return Ok(transaction.set_unknown_logins(unknown)?);
        }
        let details = json!({ "attempts": unknown.attempts, "address": address });
        return Ok(transaction.set_unknown_logins(UnknownLogins { attempts: 0, noted_at: now })?.record(
            Action::UserLogin,
            "unknown users".to_owned(),
            Outcome::Failure,
            details,
        )?);
    };
    let target = format!("{}/{name}", organization.name);
    match *attempt {
        Attempt::Open { failures, locks } => {
            let mut details = json!({ "failures": failures, "address": address });
            if let Some(reason) = reason {
                details["directory"] = json!(reason);
            }
            let transaction =
                transaction.record(Action::UserLogin, target.clone(), Outcome::Failure, details)?;
            if !locks {
                return Ok(transaction);
            }
            let details = json!({ "failures": failures });
            Ok(transaction.record(Action::UserLock, target, Outcome::Success, details)?)
        }
        Attempt::Locked | Attempt::Unknown => {
            let state = rows.lockout(organization.id, name)?;
            Ok(transaction.set_lockout(organization.id, name, state)?)
        }
    }
}
