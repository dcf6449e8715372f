//! `user add|list|show|update|delete|passwd|unlock|revoke-tokens`: users who log in with a password.

use std::fmt;

use clap::{Args, Subcommand};
use serde::{Serialize, Serializer};

use crate::accounts::{Accounts, CertificateLink, NewUser, Principal, UserChange, UserView};
use crate::cli::commands::gateways::{StatementPushReport, StatementWait, push_statement};
use crate::cli::group::GroupedCommand;
use crate::cli::password::PasswordSource;
use crate::cli::session::CommandSession;
use crate::identity::{AccountRole, Name, OrganizationName, role_and_name};
use crate::terminal::color::Color;
use crate::terminal::report::{CommandOutcome, CommandResult, Failure, Shown};
use crate::terminal::table::{Cell, Column, Table, TableArgs, TableOutput};

/// Subcommands of `user`.
#[derive(Debug, Subcommand)]
pub(crate) enum User {
    /// Create a user
    Add(AddUser),
    /// List the users of one organization, or of all (default)
    List(ListUsers),
    /// Show one user
    Show(UserArgs),
    /// Change the role or the linked certificate of a user, and revoke its tokens
    Update(UpdateUser),
    /// Delete a user with its tokens
    Delete(UserArgs),
    /// Set the password of a user, and revoke its tokens
    Passwd(SetPassword),
    /// Clear the failed logins of a user, which ends a lock
    Unlock(UserArgs),
    /// Revoke all tokens of a user: sessions, and tokens generated for scripts
    RevokeTokens(RevokeTokens),
}

/// A user of an organization.
#[derive(Debug, Args)]
pub(crate) struct UserArgs {
    /// Name of the user
    #[arg(value_name = "USER")]
    name: String,

    /// Organization of the user
    #[arg(long, value_name = "ORG", default_value = OrganizationName::ROOT)]
    org: OrganizationName,
}

/// The arguments of `user add`.
#[derive(Debug, Args)]
#[command(after_help = "\
A password has 8 characters or more: an upper-case letter, a lower-case letter, and a digit or a special
character. It is not a common one and does not contain the user name.")]
pub(crate) struct AddUser {
    #[command(flatten)]
    user: UserArgs,

    /// Role: cluster-admin, org-admin, regular or read-only
    #[arg(long)]
    role: AccountRole,

    #[command(flatten)]
    password: PasswordSource,

    /// Do not require the user to change this password at the first login
    #[arg(long)]
    keep_password: bool,
}

/// The arguments of `user list`.
#[derive(Debug, Default, Args)]
pub(crate) struct ListUsers {
    /// Only this organization
    #[arg(long, value_name = "ORG")]
    org: Option<OrganizationName>,

    #[command(flatten)]
    table: TableArgs,
}

/// The arguments of `user update`.
#[derive(Debug, Args)]
pub(crate) struct UpdateUser {
    #[command(flatten)]
    user: UserArgs,

    /// New role: cluster-admin, org-admin, regular or read-only
    #[arg(long)]
    role: Option<AccountRole>,

    /// Certificate of the user, such as api-user/alice
    #[arg(long, value_name = "ROLE/NAME")]
    certificate: Option<String>,

    /// Link no certificate
    #[arg(long, conflicts_with_all = ["certificate", "require_certificate"])]
    no_certificate: bool,

    /// Require the linked certificate at login, or do not
    #[arg(long, value_name = "true|false")]
    require_certificate: Option<bool>,
}

/// The arguments of `user passwd`.
#[derive(Debug, Args)]
pub(crate) struct SetPassword {
    #[command(flatten)]
    user: UserArgs,

    #[command(flatten)]
    password: PasswordSource,

    /// Do not require the user to change this password at the next login
    #[arg(long)]
    keep_password: bool,
}

/// The arguments of `user revoke-tokens`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cluster-ca user revoke-tokens alice
  cluster-ca user revoke-tokens alice --wait

With --wait, exit code 4: a gateway did not confirm that it refuses the tokens. They are revoked nevertheless.")]
pub(crate) struct RevokeTokens {
    #[command(flatten)]
    user: UserArgs,

    #[command(flatten)]
    wait: StatementWait,
}

impl Default for User {
    fn default() -> Self {
        Self::List(ListUsers::default())
    }
}

impl UserArgs {
    fn name(&self) -> Result<Name, Failure> {
        Ok(Name::of_user(&self.name)?)
    }
}

impl GroupedCommand for User {
    fn run(self, session: &CommandSession) -> CommandResult {
        let accounts = Accounts::new(session.home(), session.context.clone());
        let by = Principal::Operator;
        let (view, done) = match self {
            Self::List(list) => {
                let (users, output) = (accounts.users(by, list.org.as_ref())?, list.table.output());
                return Ok(Box::new(Shown(UserTable { users, output })));
            }
            Self::Show(user) => (accounts.user(by, &user.org, &user.name()?)?, None),
            Self::Add(add) => (add.run(&accounts, session)?, Some(Done::Created)),
            Self::Update(update) => (update.run(&accounts)?, Some(Done::Changed)),
            Self::Delete(user) => (accounts.delete_user(by, &user.org, &user.name()?)?, Some(Done::Deleted)),
            Self::Passwd(set) => {
                let name = set.user.name()?;
                // Before the prompt: a wrong name is refused at once.
                accounts.user(by, &set.user.org, &name)?;
                let password =
                    set.password.choose(&format!("the user {name}"), Some(session.passphrase()))?;
                let view = accounts.set_password(by, &set.user.org, &name, &password, !set.keep_password)?;
                (view, Some(Done::PasswordSet))
            }
            Self::Unlock(user) => (accounts.unlock_user(by, &user.org, &user.name()?)?, Some(Done::Unlocked)),
            Self::RevokeTokens(revoke) => return revoke.run(session, &accounts),
        };
        Ok(Box::new(Shown(UserReport { view, done })))
    }
}

impl RevokeTokens {
    fn run(self, session: &CommandSession, accounts: &Accounts) -> CommandResult {
        let Self { user, wait } = self;
        let plan = wait.plan(session)?;
        let view = accounts.revoke_tokens(Principal::Operator, &user.org, &user.name()?)?;
        let report = UserReport { view, done: Some(Done::TokensRevoked) };
        match plan {
            None => Ok(Box::new(Shown(report))),
            Some(plan) => Ok(Box::new(RevokedAtGateways { pushed: push_statement(session, &plan), report })),
        }
    }
}

/// Result of a revocation of tokens that gateways were told of.
#[derive(Serialize)]
struct RevokedAtGateways {
    #[serde(flatten)]
    report: UserReport,
    #[serde(serialize_with = "pushed_json")]
    pushed: Result<StatementPushReport, Failure>,
}

fn pushed_json<S: Serializer>(
    pushed: &Result<StatementPushReport, Failure>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match pushed {
        Ok(report) => report.serialize(serializer),
        Err(failure) => serializer.collect_map([("error", failure)]),
    }
}

impl CommandOutcome for RevokedAtGateways {
    fn json(&self) -> Result<serde_json::Value, serde_json::Error> {
        serde_json::to_value(self)
    }

    fn exit_code(&self) -> u8 {
        match &self.pushed {
            Ok(report) => report.exit_code(),
            Err(failure) => failure.exit_code(),
        }
    }
}

impl fmt::Display for RevokedAtGateways {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.report)?;
        match &self.pushed {
            Ok(report) => write!(f, "{report}")?,
            Err(failure) => {
                writeln!(f, "No gateway was called: {failure}")?;
                if let Some(hint) = failure.hint() {
                    writeln!(f, "    hint: {hint}")?;
                }
            }
        }
        match self.exit_code() {
            0 => Ok(()),
            _ => writeln!(
                f,
                "\nThe tokens are revoked in cluster.tokens. Next: cluster-ca gateways push-tokens"
            ),
        }
    }
}

impl AddUser {
    fn run(self, accounts: &Accounts, session: &CommandSession) -> Result<UserView, Failure> {
        let name = self.user.name()?;
        let password = self.password.choose(&format!("the user {name}"), Some(session.passphrase()))?;
        let new = NewUser {
            organization: self.user.org,
            name,
            role: self.role,
            password: &password,
            must_change_password: !self.keep_password,
        };
        Ok(accounts.add_user(Principal::Operator, &new)?)
    }
}

impl UpdateUser {
    fn run(self, accounts: &Accounts) -> Result<UserView, Failure> {
        let certificate = match &self.certificate {
            Some(text) => {
                let (role, name) = role_and_name(text)?;
                Some(CertificateLink::Set(role, name))
            }
            None => self.no_certificate.then_some(CertificateLink::Remove),
        };
        let change =
            UserChange { role: self.role, certificate, certificate_required: self.require_certificate };
        Ok(accounts.update_user(Principal::Operator, &self.user.org, &self.user.name()?, &change)?)
    }
}

/// Change that a command made.
#[derive(Clone, Copy, Debug)]
enum Done {
    Created,
    Changed,
    Deleted,
    PasswordSet,
    Unlocked,
    TokensRevoked,
}

/// Result of a command about one user.
#[derive(Serialize)]
#[serde(transparent)]
struct UserReport {
    view: UserView,
    #[serde(skip)]
    done: Option<Done>,
}

impl fmt::Display for UserReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let view = &self.view;
        let who = format!("{} in organization {}", view.name, view.organization);
        match self.done {
            None => writeln!(f, "{who}")?,
            Some(Done::Created) => writeln!(f, "Created the user {who}")?,
            Some(Done::Changed) => writeln!(f, "Updated the user {who}")?,
            Some(Done::Deleted) => return writeln!(f, "Deleted the user {who}; its tokens are revoked"),
            Some(Done::PasswordSet) => {
                writeln!(f, "Set the password of the user {who}; its tokens are revoked")?;
            }
            Some(Done::Unlocked) => writeln!(f, "Cleared the failed logins of the user {who}")?,
            Some(Done::TokensRevoked) => return writeln!(f, "Revoked all tokens of the user {who}"),
        }
        writeln!(f, "  role         {}", view.role)?;
        writeln!(f, "  source       {}", view.source)?;
        match (&view.certificate, view.certificate_required) {
            (None, _) => writeln!(f, "  certificate  none")?,
            (Some(certificate), false) => writeln!(f, "  certificate  {certificate}")?,
            (Some(certificate), true) => writeln!(f, "  certificate  {certificate}, required at login")?,
        }
        if view.must_change_password {
            writeln!(f, "  password     to be changed at the next login")?;
        }
        match &view.locked_until {
            Some(until) => {
                writeln!(f, "  locked       until {until}, after {} failed logins", view.failed_logins)
            }
            None if view.failed_logins > 0 => writeln!(f, "  failed       {} logins", view.failed_logins),
            None => Ok(()),
        }
    }
}

#[derive(Serialize)]
#[serde(transparent)]
struct UserTable {
    users: Vec<UserView>,
    #[serde(skip)]
    output: TableOutput,
}

impl UserTable {
    const COLUMNS: [Column; 6] = [
        Column::new("ORG").flexible(),
        Column::new("USER").flexible(),
        Column::new("ROLE"),
        Column::new("SOURCE"),
        Column::new("STATE"),
        Column::new("CERTIFICATE").wide(),
    ];
}

impl fmt::Display for UserTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.users.is_empty() {
            return writeln!(f, "No users.");
        }
        let mut table = Table::new(&Self::COLUMNS, self.output);
        for user in &self.users {
            let (state, color) = match (&user.locked_until, user.must_change_password) {
                (Some(_), _) => ("locked", Some(Color::Bad)),
                (None, true) => ("must change password", Some(Color::Warning)),
                (None, false) => ("", None),
            };
            table.push([
                Cell::new(&user.organization),
                Cell::new(&user.name),
                Cell::new(user.role),
                Cell::new(user.source),
                Cell::new(state).colored(color),
                Cell::new(user.certificate.as_deref().unwrap_or_default()),
            ]);
        }
        write!(f, "{table}")
    }
}
