//! `login`, `logout` and `whoami`: a user of the CA's server.

use std::fmt;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;
use serde_json::Value;

use crate::api_client::ApiSession;
use crate::cli::password::{NewPasswordSource, PasswordSource};
use crate::cli::server_args::{ServerArgs, failure, token_file};
use crate::cli::session::CommandSession;
use crate::identity::OrganizationName;
use crate::terminal::report::{CommandResult, Shown};
use crate::terminal::stderr;

/// The arguments of `login`.
#[derive(Debug, Args)]
#[command(after_help = "\
The tokens are kept in ~/.config/cluster-ca/auth-token.json (0600), or in the file that the environment
variable CLUSTER_CA_TOKEN_FILE names. CLUSTER_CA_TOKEN replaces them by a token made for scripts.")]
pub(crate) struct LogIn {
    /// Name of the user
    #[arg(value_name = "USER")]
    user: String,

    /// Organization of the user
    #[arg(long, value_name = "ORG", default_value = OrganizationName::ROOT)]
    org: String,

    #[command(flatten)]
    server: ServerArgs,

    #[command(flatten)]
    password: PasswordSource,
}

/// `logout`.
#[derive(Debug, Args)]
pub(crate) struct LogOut {}

/// The arguments of `passwd`.
#[derive(Debug, Args)]
pub(crate) struct ChangeOwnPassword {
    #[command(flatten)]
    password: PasswordSource,

    #[command(flatten)]
    new: NewPasswordSource,
}

/// The arguments of `whoami`.
#[derive(Debug, Args)]
pub(crate) struct ShowAccount {
    #[command(flatten)]
    server: ServerArgs,
}

impl LogIn {
    pub(crate) fn run(self, session: &CommandSession) -> CommandResult {
        let (server, anchors) = self.server.open(session)?;
        let file = token_file()?;
        if let Some(banner) = ApiSession::banner(&server).map_err(failure)? {
            stderr::line(banner);
        }
        let password = self.password.enter(&format!("the user {}", self.user), session.passphrase())?;
        let clock = &*session.context.clock;
        let answer = ApiSession::log_in(&server, &anchors, (&self.org, &self.user, &password), &file, clock)
            .map_err(failure)?;
        Ok(Box::new(Shown(LoggedIn {
            user: self.user,
            organization: self.org,
            server: server.url().to_string(),
            token_file: file.path().to_owned(),
            password_change_required: answer.password_change_required,
        })))
    }
}

impl LogOut {
    pub(crate) fn run(self, session: &CommandSession) -> CommandResult {
        ApiSession::log_out(&token_file()?, &*session.context.clock).map_err(failure)?;
        Ok(Box::new(Shown(LoggedOut { logged_in: false })))
    }
}

impl ChangeOwnPassword {
    pub(crate) fn run(self, session: &CommandSession) -> CommandResult {
        let file = token_file()?;
        let present = self.password.enter("the user who is logged in", session.passphrase())?;
        let new = self.new.choose()?;
        let clock = &*session.context.clock;
        let account = ApiSession::change_password(&file, (&present, &new), clock).map_err(failure)?;
        Ok(Box::new(Shown(PasswordChanged { account })))
    }
}

impl ShowAccount {
    pub(crate) fn run(self, session: &CommandSession) -> CommandResult {
        let api = self.server.session(session)?;
        let account = api.whoami().map_err(failure)?;
        Ok(Box::new(Shown(WhoAmIReport { server: api.url().to_string(), account })))
    }
}

#[derive(Serialize)]
struct LoggedIn {
    user: String,
    organization: String,
    server: String,
    #[serde(serialize_with = "crate::files::as_text")]
    token_file: PathBuf,
    password_change_required: bool,
}

impl fmt::Display for LoggedIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Logged in to {} as {} of {}", self.server, self.user, self.organization)?;
        writeln!(f, "  tokens  {}", crate::terminal::report::typed(&self.token_file))?;
        if self.password_change_required {
            writeln!(f, "\nNext: cluster-ca passwd    (nothing else is permitted before)")?;
        }
        Ok(())
    }
}

#[derive(Serialize)]
struct LoggedOut {
    logged_in: bool,
}

impl fmt::Display for LoggedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Logged out")
    }
}

#[derive(Serialize)]
#[serde(transparent)]
struct PasswordChanged {
    account: Value,
}

impl fmt::Display for PasswordChanged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.account["name"].as_str().unwrap_or_default();
        writeln!(f, "Changed the password of {name}; all tokens are revoked")?;
        writeln!(f, "\nNext: cluster-ca login {name}")
    }
}

#[derive(Serialize)]
struct WhoAmIReport {
    server: String,
    #[serde(flatten)]
    account: Value,
}

impl fmt::Display for WhoAmIReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |key: &str| self.account[key].as_str().unwrap_or("-").to_owned();
        writeln!(f, "{} in organization {}", text("name"), text("organization"))?;
        writeln!(f, "  role    {}", text("role"))?;
        writeln!(f, "  source  {}", text("source"))?;
        writeln!(f, "  server  {}", self.server)
    }
}
