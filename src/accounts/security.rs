//! Settings: lockout, login banner, lifetimes of tokens.

use time::Duration;

use super::directory::Accounts;
use super::error::{AccountError, SettingRange};
use super::principal::Principal;
use super::views::{BannerView, LockoutView, TokenLifetimesView};
use crate::store::{SecuritySettings, Transaction};

/// Fewest failed logins that lock an account.
pub const MINIMUM_FAILED_ATTEMPTS: u32 = 2;
/// Most failed logins before an account is locked.
pub const MAXIMUM_FAILED_ATTEMPTS: u32 = 50;
/// Shortest lock.
pub const MINIMUM_LOCKOUT: Duration = Duration::seconds(30);
/// Longest lock.
pub const MAXIMUM_LOCKOUT: Duration = Duration::minutes(60);
/// Longest text of the login banner in bytes.
pub const MAXIMUM_BANNER: usize = 4096;

/// Shortest lifetime of a token.
pub(super) const MINIMUM_LIFETIME: Duration = Duration::minutes(1);
/// Longest lifetime that a maximum may permit.
pub(super) const MAXIMUM_LIFETIME: Duration = Duration::days(3650);

/// Change of the lockout; `None` leaves a value as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LockoutChange {
    /// Consecutive failed logins that lock an account.
    pub failed_attempts: Option<u32>,
    /// Time that an account stays locked.
    pub lockout_duration: Option<Duration>,
}

/// Change of the lifetimes of tokens; `None` leaves a value as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LifetimeChange {
    /// Lifetime of access tokens.
    pub access_token: Option<Duration>,
    /// Lifetime of refresh tokens.
    pub refresh_token: Option<Duration>,
    /// Longest lifetime of an access token that a user may ask for.
    pub access_token_maximum: Option<Duration>,
    /// Longest lifetime of a refresh token that a user may ask for.
    pub refresh_token_maximum: Option<Duration>,
}

impl Accounts {
    /// The lockout of accounts after failed logins.
    ///
    /// # Errors
    /// [`AccountError::NotAllowed`], and errors of the home.
    pub fn lockout(&self, by: Principal) -> Result<LockoutView, AccountError> {
        by.require_reader("read security settings")?;
        self.read(|rows| Ok(LockoutView::from(&rows.security()?)))
    }

    /// Change the lockout.
    ///
    /// # Errors
    /// [`AccountError::Setting`] for a value out of range, and errors of the home.
    pub fn set_lockout(&self, by: Principal, change: LockoutChange) -> Result<LockoutView, AccountError> {
        if let Some(given) = change.failed_attempts {
            let (least, most) = (MINIMUM_FAILED_ATTEMPTS, MAXIMUM_FAILED_ATTEMPTS);
            let range = SettingRange::Count { name: "number of failed attempts", given, least, most };
            refuse_unless((least..=most).contains(&given), range)?;
        }
        if let Some(given) = change.lockout_duration {
            require_duration("lockout duration", given, MINIMUM_LOCKOUT, MAXIMUM_LOCKOUT)?;
        }
        let settings = self.change_security(by, "lockout", |settings| {
            settings.failed_attempts = change.failed_attempts.unwrap_or(settings.failed_attempts);
            settings.lockout_duration = change.lockout_duration.unwrap_or(settings.lockout_duration);
            Ok(())
        })?;
        Ok(LockoutView::from(&settings))
    }

    /// Restore the default lockout, and unlock all accounts.
    ///
    /// # Errors
    /// [`AccountError::NotAllowed`], and errors of the home.
    pub fn reset_lockout(&self, by: Principal) -> Result<LockoutView, AccountError> {
        by.require_cluster_admin("change security settings")?;
        let defaults = SecuritySettings::default();
        self.change(|transaction| {
            let settings = SecuritySettings {
                failed_attempts: defaults.failed_attempts,
                lockout_duration: defaults.lockout_duration,
                ..transaction.accounts().security()?
            };
            let transaction = transaction.set_security("lockout", &settings)?.clear_lockouts()?;
            Ok((transaction, LockoutView::from(&settings)))
        })
    }

    /// The login banner. It is public.
    ///
    /// # Errors
    /// Errors of the home.
    pub fn banner(&self) -> Result<BannerView, AccountError> {
        self.read(|rows| Ok(BannerView::from(&rows.security()?)))
    }

    /// Set the text of the login banner.
    ///
    /// # Errors
    /// [`AccountError::BannerLength`], [`AccountError::BannerCharacter`], and errors of the home.
    pub fn set_banner(&self, by: Principal, text: &str) -> Result<BannerView, AccountError> {
        self.change_banner(by, Some(text), None)
    }

    /// Change the text of the login banner, whether it is shown, or both.
    ///
    /// # Errors
    /// See [`Accounts::set_banner`].
    pub fn change_banner(
        &self,
        by: Principal,
        text: Option<&str>,
        enabled: Option<bool>,
    ) -> Result<BannerView, AccountError> {
        text.map_or(Ok(()), check_banner)?;
        let settings = self.change_security(by, "banner", |settings| {
            if let Some(text) = text {
                text.clone_into(&mut settings.banner);
            }
            settings.banner_enabled = enabled.unwrap_or(settings.banner_enabled);
            Ok(())
        })?;
        Ok(BannerView::from(&settings))
    }

    /// Show or hide the login banner. Its text stays.
    ///
    /// # Errors
    /// [`AccountError::NotAllowed`], and errors of the home.
    pub fn enable_banner(&self, by: Principal, enabled: bool) -> Result<BannerView, AccountError> {
        self.change_banner(by, None, Some(enabled))
    }

    /// Restore the default banner: no text, and shown once there is one.
    ///
    /// # Errors
    /// [`AccountError::NotAllowed`], and errors of the home.
    pub fn reset_banner(&self, by: Principal) -> Result<BannerView, AccountError> {
        let settings = self.change_security(by, "banner", |settings| {
            let defaults = SecuritySettings::default();
            (settings.banner, settings.banner_enabled) = (defaults.banner, defaults.banner_enabled);
            Ok(())
        })?;
        Ok(BannerView::from(&settings))
    }

    /// The lifetimes of tokens.
    ///
    /// # Errors
    /// [`AccountError::NotAllowed`], and errors of the home.
    pub fn token_lifetimes(&self, by: Principal) -> Result<TokenLifetimesView, AccountError> {
        by.require_reader("read security settings")?;
        self.read(|rows| Ok(TokenLifetimesView::from(&rows.security()?)))
    }

    /// Change the lifetimes of tokens that are issued from now on.
    ///
    /// # Errors
    /// [`AccountError::Setting`] for a value out of range, and errors of the home.
    pub fn set_token_lifetimes(
        &self,
        by: Principal,
        change: LifetimeChange,
    ) -> Result<TokenLifetimesView, AccountError> {
        let settings = self.change_security(by, "token-lifetimes", |settings| {
            let maximum = |name, given| require_duration(name, given, MINIMUM_LIFETIME, MAXIMUM_LIFETIME);
            if let Some(given) = change.access_token_maximum {
                maximum("longest lifetime of access tokens", given)?;
                settings.access_token_maximum = given;
            }
            if let Some(given) = change.refresh_token_maximum {
                maximum("longest lifetime of refresh tokens", given)?;
                settings.refresh_token_maximum = given;
            }
            settings.access_token = change.access_token.unwrap_or(settings.access_token);
            settings.refresh_token = change.refresh_token.unwrap_or(settings.refresh_token);
            let (access, refresh) = (settings.access_token_maximum, settings.refresh_token_maximum);
            let lifetime = |name, given, most| require_duration(name, given, MINIMUM_LIFETIME, most);
            lifetime("lifetime of access tokens", settings.access_token, access)?;
            lifetime("lifetime of refresh tokens", settings.refresh_token, refresh)
        })?;
        Ok(TokenLifetimesView::from(&settings))
    }

    /// Restore the default lifetimes of tokens.
    ///
    /// # Errors
    /// [`AccountError::NotAllowed`], and errors of the home.
    pub fn reset_token_lifetimes(&self, by: Principal) -> Result<TokenLifetimesView, AccountError> {
        let settings = self.change_security(by, "token-lifetimes", |settings| {
            let defaults = SecuritySettings::default();
            settings.access_token = defaults.access_token;
            settings.refresh_token = defaults.refresh_token;
            settings.access_token_maximum = defaults.access_token_maximum;
            settings.refresh_token_maximum = defaults.refresh_token_maximum;
            Ok(())
        })?;
        Ok(TokenLifetimesView::from(&settings))
    }

    /// Changes settings, with an audit entry if one of them is different afterwards.
    fn change_security(
        &self,
        by: Principal,
        target: &'static str,
        change: impl FnOnce(&mut SecuritySettings) -> Result<(), AccountError>,
    ) -> Result<SecuritySettings, AccountError> {
        by.require_cluster_admin("change security settings")?;
        self.change(|transaction: Transaction<'_>| {
            let before = transaction.accounts().security()?;
            let mut settings = before.clone();
            change(&mut settings)?;
            let transaction =
                if settings == before { transaction } else { transaction.set_security(target, &settings)? };
            Ok((transaction, settings))
        })
    }
}

fn check_banner(text: &str) -> Result<(), AccountError> {
    if text.len() > MAXIMUM_BANNER {
        return Err(AccountError::BannerLength { length: text.len(), limit: MAXIMUM_BANNER });
    }
    match text.chars().find(|c| c.is_control() && *c != '\n') {
        Some(found) => Err(AccountError::BannerCharacter { found }),
        None => Ok(()),
    }
}

pub(super) fn require_duration(
    name: &'static str,
    given: Duration,
    least: Duration,
    most: Duration,
) -> Result<(), AccountError> {
    refuse_unless(given >= least && given <= most, SettingRange::Time { name, given, least, most })
}

fn refuse_unless(is_within: bool, range: SettingRange) -> Result<(), AccountError> {
    if is_within { Ok(()) } else { Err(AccountError::Setting { range }) }
}
