//! `security lockout-config|login-banner|token-lifetimes|tls|ca-cert`: settings of logins, tokens and the server.

use std::fmt;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde::Serialize;
use time::Duration;

use crate::accounts::{
    Accounts, BannerView, LifetimeChange, LockoutChange, LockoutView, Principal, TlsCertificateView, TlsView,
    TokenLifetimesView,
};
use crate::cli::commands::ca_cert::CaCert;
use crate::cli::group::CommandGroup;
use crate::cli::input::output_path;
use crate::cli::session::CommandSession;
use crate::clock::{format_duration, parse_duration};
use crate::files::{self, Access, Placement};
use crate::terminal::report::{CommandResult, Failure, Shown, typed};

/// Groups of settings.
#[derive(Debug, Args)]
pub(crate) struct Security {
    #[command(subcommand)]
    setting: Option<Setting>,
}

#[derive(Debug, Subcommand)]
enum Setting {
    /// Lock accounts after failed logins
    LockoutConfig {
        #[command(subcommand)]
        command: Option<Lockout>,
    },
    /// Text that is shown before a login
    LoginBanner {
        #[command(subcommand)]
        command: Option<Banner>,
    },
    /// Lifetimes of access and refresh tokens
    TokenLifetimes {
        #[command(subcommand)]
        command: Option<Lifetimes>,
    },
    /// Certificate that the server presents
    Tls {
        #[command(subcommand)]
        command: Option<Tls>,
    },
    /// CA that is trusted for external services, as cluster-ca ca-cert
    CaCert(CommandGroup<CaCert>),
}

#[derive(Debug, Default, Subcommand)]
enum Tls {
    /// Present this certificate; connections stay open
    Set(SetTls),
    /// Present the server's own certificate again
    Unset,
    /// Show the certificate that was set (default)
    #[default]
    Status,
    /// Write the certificate chain that was set to a file
    Download {
        /// File to create
        #[arg(value_parser = output_path())]
        path: PathBuf,
    },
}

/// The arguments of `security tls set`.
#[derive(Debug, Args)]
#[command(after_help = "\
The key is stored as the root key is: wrapped by the key management service, with the passphrase, or by its mode.
Clients need the CA of this certificate: cluster-ca login --ca FILE.")]
struct SetTls {
    /// Certificate chain in PEM, the server's own first
    #[arg(long, value_name = "FILE")]
    certificate: PathBuf,

    /// Private key in PEM, not encrypted (0600)
    #[arg(long, value_name = "FILE")]
    private_key: PathBuf,
}

#[derive(Debug, Default, Subcommand)]
enum Lockout {
    /// Set the number of failed logins or the duration of a lock
    Set(SetLockout),
    /// Show the settings (default)
    #[default]
    Show,
    /// Restore the defaults, and unlock all accounts
    Reset,
}

/// The arguments of `security lockout-config set`.
#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
struct SetLockout {
    /// Consecutive failed logins that lock an account: 2 to 50
    #[arg(long, value_name = "N")]
    failed_attempts: Option<u32>,

    /// Time that an account stays locked: 30s to 60m
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    lockout_duration: Option<Duration>,
}

#[derive(Debug, Default, Subcommand)]
enum Banner {
    /// Set the text
    Set {
        /// The text, of at most 4096 bytes
        text: String,
    },
    /// Show the text, and whether it is shown before a login (default)
    #[default]
    Show,
    /// Show the text before a login
    Enable,
    /// Hide the text, and keep it
    Disable,
    /// Remove the text
    Reset,
}

#[derive(Debug, Default, Subcommand)]
enum Lifetimes {
    /// Set lifetimes of tokens that are issued from now on
    Set(SetLifetimes),
    /// Show the lifetimes (default)
    #[default]
    Show,
    /// Restore the defaults
    Reset,
}

/// The arguments of `security token-lifetimes set`.
#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
struct SetLifetimes {
    /// Lifetime of access tokens
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    access_token: Option<Duration>,

    /// Lifetime of refresh tokens
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    refresh_token: Option<Duration>,

    /// Longest lifetime of an access token that a user may ask for
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    access_token_max: Option<Duration>,

    /// Longest lifetime of a refresh token that a user may ask for
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    refresh_token_max: Option<Duration>,
}

impl Security {
    pub(crate) fn run(self, session: &CommandSession) -> CommandResult {
        let accounts = Accounts::new(session.home(), session.context.clone());
        let by = Principal::Operator;
        let Some(setting) = self.setting else {
            return Ok(Box::new(Shown(SecurityReport {
                lockout_config: LockoutReport(accounts.lockout(by)?),
                login_banner: BannerReport(accounts.banner()?),
                token_lifetimes: LifetimesReport(accounts.token_lifetimes(by)?),
                tls: TlsReport(accounts.tls(by)?),
            })));
        };
        match setting {
            Setting::LockoutConfig { command } => {
                let view = match command.unwrap_or_default() {
                    Lockout::Set(SetLockout { failed_attempts, lockout_duration }) => {
                        accounts.set_lockout(by, LockoutChange { failed_attempts, lockout_duration })?
                    }
                    Lockout::Show => accounts.lockout(by)?,
                    Lockout::Reset => accounts.reset_lockout(by)?,
                };
                Ok(Box::new(Shown(LockoutReport(view))))
            }
            Setting::LoginBanner { command } => {
                let view = match command.unwrap_or_default() {
                    Banner::Set { text } => accounts.set_banner(by, &text)?,
                    Banner::Show => accounts.banner()?,
                    Banner::Enable => accounts.enable_banner(by, true)?,
                    Banner::Disable => accounts.enable_banner(by, false)?,
                    Banner::Reset => accounts.reset_banner(by)?,
                };
                Ok(Box::new(Shown(BannerReport(view))))
            }
            Setting::TokenLifetimes { command } => {
                let view = match command.unwrap_or_default() {
                    Lifetimes::Set(set) => accounts.set_token_lifetimes(by, set.into())?,
                    Lifetimes::Show => accounts.token_lifetimes(by)?,
                    Lifetimes::Reset => accounts.reset_token_lifetimes(by)?,
                };
                Ok(Box::new(Shown(LifetimesReport(view))))
            }
            Setting::Tls { command } => {
                let view = match command.unwrap_or_default() {
                    Tls::Set(set) => set.run(&accounts)?,
                    Tls::Unset => accounts.unset_tls(by)?,
                    Tls::Status => accounts.tls(by)?,
                    Tls::Download { path } => {
                        let chain = accounts.tls_chain(by)?;
                        files::write(&path, Access::Public, Placement::New, chain.as_bytes())?;
                        return Ok(Box::new(Shown(DownloadedChain { certificate: files::absolute(&path)? })));
                    }
                };
                Ok(Box::new(Shown(TlsReport(view))))
            }
            Setting::CaCert(command) => command.run(session),
        }
    }
}

impl SetTls {
    fn run(self, accounts: &Accounts) -> Result<TlsView, Failure> {
        let chain = files::read(&self.certificate, files::SMALL_FILE)?;
        let key = files::read_private(&self.private_key)?;
        Ok(accounts.set_tls(Principal::Operator, &chain, &key)?)
    }
}

impl From<SetLifetimes> for LifetimeChange {
    fn from(set: SetLifetimes) -> Self {
        Self {
            access_token: set.access_token,
            refresh_token: set.refresh_token,
            access_token_maximum: set.access_token_max,
            refresh_token_maximum: set.refresh_token_max,
        }
    }
}

fn seconds(seconds: i64) -> String {
    format_duration(Duration::seconds(seconds))
}

/// All settings: result of `security` alone.
#[derive(Serialize)]
struct SecurityReport {
    lockout_config: LockoutReport,
    login_banner: BannerReport,
    token_lifetimes: LifetimesReport,
    tls: TlsReport,
}

impl fmt::Display for SecurityReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}{}{}", self.lockout_config, self.token_lifetimes, self.tls, self.login_banner)
    }
}

#[derive(Serialize)]
#[serde(transparent)]
struct LockoutReport(LockoutView);

impl fmt::Display for LockoutReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let LockoutView { failed_attempts, lockout_duration } = self.0;
        writeln!(f, "Failed logins lock an account")?;
        writeln!(f, "  failed attempts   {failed_attempts}")?;
        writeln!(f, "  lockout duration  {}", seconds(lockout_duration))
    }
}

#[derive(Serialize)]
#[serde(transparent)]
struct BannerReport(BannerView);

impl fmt::Display for BannerReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let BannerView { text, enabled } = &self.0;
        match (text.as_str(), enabled) {
            ("", _) => writeln!(f, "No login banner is set"),
            (text, true) => writeln!(f, "The login banner is shown before a login:\n{text}"),
            (text, false) => writeln!(f, "The login banner is disabled:\n{text}"),
        }
    }
}

#[derive(Serialize)]
#[serde(transparent)]
struct LifetimesReport(TokenLifetimesView);

impl fmt::Display for LifetimesReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let view = &self.0;
        writeln!(f, "Lifetimes of tokens")?;
        writeln!(
            f,
            "  access token   {}, at most {}",
            seconds(view.access_token),
            seconds(view.access_token_maximum)
        )?;
        writeln!(
            f,
            "  refresh token  {}, at most {}",
            seconds(view.refresh_token),
            seconds(view.refresh_token_maximum)
        )
    }
}

#[derive(Serialize)]
#[serde(transparent)]
struct TlsReport(TlsView);

impl fmt::Display for TlsReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(TlsCertificateView { subject, issuer, names, not_after, fingerprint, chain }) =
            &self.0.certificate
        else {
            return writeln!(f, "The server presents its own certificate, which it renews by itself");
        };
        writeln!(f, "The server presents a certificate that was set")?;
        writeln!(f, "  subject      {subject}")?;
        writeln!(f, "  issuer       {issuer}")?;
        writeln!(f, "  names        {}", names.join(", "))?;
        writeln!(f, "  valid until  {not_after}")?;
        writeln!(f, "  SHA-256      {fingerprint}")?;
        writeln!(f, "  chain        {chain} certificate{}", if *chain == 1 { "" } else { "s" })
    }
}

/// Result of `security tls download PATH`.
#[derive(Serialize)]
struct DownloadedChain {
    #[serde(serialize_with = "crate::files::as_text")]
    certificate: PathBuf,
}

impl fmt::Display for DownloadedChain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Wrote the certificate of the server\n  certificate  {}", typed(&self.certificate))
    }
}
