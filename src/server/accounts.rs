//! Accounts of the home: callers with a token, and operations that hash a password in their turn.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use super::home::ThreadEnded;
use crate::accounts::{
    AccountError, Accounts, Authenticated, IssuedTokens, LoginRoute, LoginService, PasswordLogin,
    PublishedStatement, TokenKeyHolder, TokenUse, VerifiedCertificate,
};
use crate::audit::Actor;
use crate::ca::{Context, Home};
use crate::clock::Clock;
use crate::error::{Code, Coded, with_causes};
use crate::secret::Secret;
use crate::serving::rate_limit::{Quota, RateLimiter, SourcePrefix};

/// Passwords that are hashed at once: each takes a core, and 19 MiB.
const HASHES_AT_ONCE: usize = 2;

/// Requests with a password that wait for their turn.
const MOST_WAITING: usize = 64;

/// Logins and refreshes at the same time that may wait for a directory.
const DIRECTORY_LOGINS: usize = 16;

/// A refused login is answered at a multiple of this time after its arrival, once a directory is in use. Otherwise the
/// time would tell a local account from one of the directory, and both from none.
const REFUSAL_TIME: Duration = Duration::from_secs(1);

/// Other operations at the same time; further ones wait.
const MOST_OPERATIONS: usize = 8;

/// Failed logins of one address in [`FAILURE_PERIOD`].
const FAILED_LOGINS: u32 = 20;

/// Time in which an address has its failed logins back.
const FAILURE_PERIOD: Duration = Duration::from_secs(60);

/// Accounts of the home, with the key for tokens.
#[derive(Debug)]
pub(super) struct AccountService {
    logins: LoginService,
    clock: Arc<dyn Clock>,
    /// Failed logins by address. An address that fails often waits, and no account is locked by it.
    failed_logins: RateLimiter,
    operations: Semaphore,
    hashing: Semaphore,
    directories: Semaphore,
    waiting: Semaphore,
}

/// Operation on accounts that failed, or was not tried.
#[derive(Debug, thiserror::Error)]
pub(super) enum AccountCallError {
    /// The accounts refuse it.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// The directory of the organization fails; the log has the cause.
    #[error("the directory of the organization cannot be used: try again in a minute")]
    Directory,
    /// Too many requests with a password are waiting.
    #[error("too many logins are waiting: try again in a few seconds")]
    Busy,
    /// The thread ended.
    #[error(transparent)]
    Ended(#[from] ThreadEnded),
    /// The address has failed too often.
    #[error("too many failed logins from this address: try again in a few seconds")]
    TooManyLogins,
}

impl Coded for AccountCallError {
    fn coded(&self) -> Code {
        match self {
            Self::Account(error) => error.coded(),
            Self::Directory => Code::unavailable("account.directory_unavailable"),
            Self::Busy => Code::unavailable("server.busy"),
            Self::Ended(error) => error.coded(),
            Self::TooManyLogins => Code::refused("account.too_many_logins"),
        }
    }
}

impl AccountService {
    /// Open the key for tokens, and create it first if there is none.
    pub(super) fn open(home: &Home, context: &Context) -> Result<Self, AccountError> {
        let clock = Arc::clone(&context.clock);
        Ok(Self {
            logins: LoginService::open(home.clone(), context.clone())?,
            failed_logins: RateLimiter::new(Quota::new(FAILED_LOGINS, FAILURE_PERIOD), clock.monotonic()),
            operations: Semaphore::new(MOST_OPERATIONS),
            hashing: Semaphore::new(HASHES_AT_ONCE),
            directories: Semaphore::new(DIRECTORY_LOGINS),
            waiting: Semaphore::new(MOST_WAITING),
            clock,
        })
    }

    /// Key that signs tokens.
    pub(super) fn token_key(&self) -> &TokenKeyHolder {
        self.logins.token_key()
    }

    /// Sign the statement about tokens, unless it is current. It blocks this thread.
    pub(super) fn publish_statement(&self) -> Result<Option<PublishedStatement>, AccountError> {
        self.logins.accounts().publish_statement()
    }

    /// Create the first administrator if there are no users. It blocks this thread.
    pub(super) fn create_first_administrator(&self) -> Result<Option<PathBuf>, AccountError> {
        self.logins.accounts().create_first_administrator()
    }

    /// Identify the caller by an access token. A caller whose password must be changed is not refused yet.
    pub(super) async fn authenticate(
        self: &Arc<Self>,
        token: Secret,
        certificate: Option<VerifiedCertificate>,
    ) -> Result<Authenticated, AccountCallError> {
        let _permit = self.operations.acquire().await.map_err(|_| ThreadEnded)?;
        let this = Arc::clone(self);
        blocking(move || {
            let text = std::str::from_utf8(token.expose()).unwrap_or_default();
            this.logins.authenticate(text, certificate.as_ref(), TokenUse::BeforePasswordChange)
        })
        .await
    }

    /// Run an operation, by `actor`, on a thread of its own.
    pub(super) async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        actor: Actor,
        operation: impl FnOnce(&LoginService, &Accounts) -> Result<T, AccountError> + Send + 'static,
    ) -> Result<T, AccountCallError> {
        let _permit = self.operations.acquire().await.map_err(|_| ThreadEnded)?;
        let this = Arc::clone(self);
        blocking(move || operation(&this.logins, &this.logins.accounts().acting_as(actor))).await
    }

    /// [`AccountService::run`] for an operation that hashes a password, in its turn.
    pub(super) async fn run_hashing<T: Send + 'static>(
        self: &Arc<Self>,
        actor: Actor,
        operation: impl FnOnce(&LoginService, &Accounts) -> Result<T, AccountError> + Send + 'static,
    ) -> Result<T, AccountCallError> {
        let _waiting = self.waiting.try_acquire().map_err(|_| AccountCallError::Busy)?;
        let _turn = self.hashing.acquire().await.map_err(|_| ThreadEnded)?;
        let this = Arc::clone(self);
        blocking(move || operation(&this.logins, &this.logins.accounts().acting_as(actor))).await
    }

    /// Log in. A refusal takes the same time with a directory and without one.
    pub(super) async fn log_in(
        self: &Arc<Self>,
        actor: Actor,
        login: ReceivedLogin,
    ) -> Result<IssuedTokens, AccountCallError> {
        let started = self.clock.monotonic();
        let source = SourcePrefix::from(login.address);
        if self.failed_logins.is_spent(source, started) {
            return Err(AccountCallError::TooManyLogins);
        }
        let login = Arc::new(login);
        let (this, routed) = (Arc::clone(self), Arc::clone(&login));
        let route = {
            let _permit = self.operations.acquire().await.map_err(|_| ThreadEnded)?;
            blocking(move || this.logins.route(&routed.organization, &routed.user)).await?
        };
        let result = match route {
            LoginRoute { is_by_directory: true, .. } => {
                self.run_waiting(actor, move |logins, accounts| {
                    logins.login_by_directory(accounts, &login.borrowed())
                })
                .await
            }
            LoginRoute { is_by_directory: false, .. } => {
                self.run_hashing(actor, move |logins, accounts| logins.login(accounts, &login.borrowed()))
                    .await
            }
        };
        let result = result.map_err(|error| match of_directory(error) {
            AccountCallError::Directory => AccountError::LoginRefused.into(),
            error => error,
        });
        if let Err(AccountCallError::Account(AccountError::LoginRefused)) = &result {
            self.failed_logins.spend(source, self.clock.monotonic());
            if route.needs_fixed_time {
                let taken = self.clock.monotonic().saturating_duration_since(started);
                let whole = taken.as_secs() / REFUSAL_TIME.as_secs() + 1;
                let rest = REFUSAL_TIME.saturating_mul(u32::try_from(whole).unwrap_or(u32::MAX));
                tokio::time::sleep(rest.saturating_sub(taken)).await;
            }
        }
        result
    }

    /// Run an operation that may wait for a directory, by `actor`.
    pub(super) async fn run_with_directory<T: Send + 'static>(
        self: &Arc<Self>,
        actor: Actor,
        operation: impl FnOnce(&LoginService, &Accounts) -> Result<T, AccountError> + Send + 'static,
    ) -> Result<T, AccountCallError> {
        self.run_waiting(actor, operation).await.map_err(of_directory)
    }

    /// The same, with the cause of a failed directory for an administrator.
    pub(super) async fn run_waiting<T: Send + 'static>(
        self: &Arc<Self>,
        actor: Actor,
        operation: impl FnOnce(&LoginService, &Accounts) -> Result<T, AccountError> + Send + 'static,
    ) -> Result<T, AccountCallError> {
        let _permit = self.directories.acquire().await.map_err(|_| ThreadEnded)?;
        let this = Arc::clone(self);
        blocking(move || operation(&this.logins, &this.logins.accounts().acting_as(actor))).await
    }
}

/// A login as it was received.
#[derive(Debug)]
pub(super) struct ReceivedLogin {
    pub(super) organization: String,
    pub(super) user: String,
    pub(super) password: Secret,
    pub(super) certificate: Option<VerifiedCertificate>,
    pub(super) address: IpAddr,
}

impl ReceivedLogin {
    fn borrowed(&self) -> PasswordLogin<'_> {
        PasswordLogin {
            organization: &self.organization,
            user: &self.user,
            password: &self.password,
            certificate: self.certificate.as_ref(),
            address: Some(self.address),
        }
    }
}

/// Log a failure of a directory, whose cause is not for the client.
fn of_directory(error: AccountCallError) -> AccountCallError {
    match error {
        AccountCallError::Account(cause @ (AccountError::Ldap(_) | AccountError::LdapReaderPassword)) => {
            tracing::error!(code = cause.code(), "a directory cannot be used: {}", with_causes(&cause));
            AccountCallError::Directory
        }
        error => error,
    }
}

async fn blocking<T: Send + 'static>(
    operation: impl FnOnce() -> Result<T, AccountError> + Send + 'static,
) -> Result<T, AccountCallError> {
    Ok(spawn_blocking(operation).await.map_err(|_| ThreadEnded)??)
}
