//! `ldap setup|setup-ad|show|update|enable|disable|test|reset`: the directory whose users may log in.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde::Serialize;
use time::Duration;

use crate::accounts::{
    Accounts, LdapChange, LdapTestUser, LdapTestView, LdapTrial, LdapView, NewLdap, Principal,
    active_directory_settings, ldap_settings,
};
use crate::cli::group::GroupedCommand;
use crate::cli::password::PasswordSource;
use crate::cli::session::CommandSession;
use crate::clock::parse_duration;
use crate::error::Code;
use crate::files;
use crate::identity::{AccountRole, Host, Name, OrganizationName};
use crate::store::LdapSettings;
use crate::terminal::report::{CommandResult, Failure, Shown};

/// Subcommands of `ldap`.
#[derive(Debug, Subcommand)]
pub(crate) enum Ldap {
    /// Set up an LDAP directory whose users may log in
    Setup(SetUp),
    /// Set up an Active Directory whose users may log in
    SetupAd(SetUpActiveDirectory),
    /// Show the settings (default)
    Show(OfOrganization),
    /// Change settings
    Update(Update),
    /// Let the users of the directory log in
    Enable(OfOrganization),
    /// Refuse logins of users of the directory, and revoke their tokens
    Disable(OfOrganization),
    /// Connect as the reader, and show what a login of a user finds
    Test(Test),
    /// Remove the directory, and the accounts of its users
    Reset(OfOrganization),
}

/// Organization of a directory.
#[derive(Clone, Debug, Args)]
pub(crate) struct OfOrganization {
    /// Organization of the users
    #[arg(long, value_name = "ORG", default_value = OrganizationName::ROOT)]
    org: OrganizationName,
}

/// Connection, and groups with a role.
#[derive(Debug, Args)]
struct LdapOptions {
    /// Start TLS on the connection by StartTLS
    #[arg(long, value_name = "true|false", num_args = 0..=1, default_missing_value = "true")]
    start_tls: Option<bool>,

    /// CA certificates that the directory is verified with, in PEM [default: those of the system]
    #[arg(long, value_name = "FILE")]
    ca_cert: Option<PathBuf>,

    /// Group whose members become cluster-admin; only in the organization Root
    #[arg(long, value_name = "GROUP")]
    cluster_admin_group: Option<String>,

    /// Group whose members become org-admin
    #[arg(long, value_name = "GROUP")]
    org_admin_group: Option<String>,

    /// Group whose members become regular
    #[arg(long, value_name = "GROUP")]
    regular_group: Option<String>,

    /// Group whose members become read-only
    #[arg(long, value_name = "GROUP")]
    read_only_group: Option<String>,

    /// Attribute of a user whose change revokes the tokens of the user
    #[arg(long, value_name = "ATTRIBUTE")]
    user_revocation_attribute: Option<String>,

    /// Time limit of one connection: 1s to 30s [default: 5s]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    server_timeout: Option<Duration>,

    /// Store the settings without a test
    #[arg(long)]
    no_test: bool,

    #[command(flatten)]
    password: PasswordSource,
}

/// Names of classes and attributes.
#[derive(Debug, Args)]
struct Schema {
    /// Object class of users [default: inetOrgPerson]
    #[arg(long, value_name = "CLASS")]
    user_object_class: Option<String>,

    /// Attribute of a user with its name [default: uid]
    #[arg(long, value_name = "ATTRIBUTE")]
    user_id_attribute: Option<String>,

    /// Object class of groups [default: groupOfNames]
    #[arg(long, value_name = "CLASS")]
    group_object_class: Option<String>,

    /// Attribute of a group with the names of its members [default: member]
    #[arg(long, value_name = "ATTRIBUTE")]
    group_membership_attribute: Option<String>,

    /// Attribute of a group with its name [default: cn]
    #[arg(long, value_name = "ATTRIBUTE")]
    group_id_attribute: Option<String>,
}

/// The arguments of `ldap setup`.
#[derive(Debug, Args)]
#[command(after_help = "\
Without TLS, the directory must be on this machine. The password of the reader comes from a file (0600), a file
descriptor or a prompt. A user needs a group with a role; the most powerful role counts.")]
pub(crate) struct SetUp {
    /// Address: ldaps://HOST, or ldap://HOST with --start-tls
    #[arg(value_name = "URI")]
    server_uri: String,

    /// Entry below which users and groups are searched, such as dc=example,dc=com
    #[arg(value_name = "BASE-DN")]
    base_dn: String,

    /// Name that the directory is searched as
    #[arg(value_name = "READER")]
    reader: String,

    #[command(flatten)]
    of: OfOrganization,

    #[command(flatten)]
    schema: Schema,

    #[command(flatten)]
    options: LdapOptions,
}

/// The arguments of `ldap setup-ad`.
#[derive(Debug, Args)]
#[command(after_help = "\
A user logs in with its sAMAccountName in lower case. Groups count for their direct members.")]
pub(crate) struct SetUpActiveDirectory {
    /// Address: ldaps://HOST, or ldap://HOST with --start-tls
    #[arg(value_name = "URI")]
    server_uri: String,

    /// DNS domain of the directory, such as corp.example.com
    #[arg(value_name = "DOMAIN")]
    domain: Host,

    /// Name that the directory is searched as: reader@corp.example.com, or its distinguished name
    #[arg(value_name = "READER")]
    reader: String,

    #[command(flatten)]
    of: OfOrganization,

    #[command(flatten)]
    options: LdapOptions,
}

/// The arguments of `ldap update`.
#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
#[command(after_help = "\
An empty group takes the role away, and an empty attribute stands for none. A new --reader needs its password.")]
pub(crate) struct Update {
    #[command(flatten)]
    of: OfOrganization,

    /// Address: ldaps://HOST, or ldap://HOST with --start-tls
    #[arg(long, value_name = "URI")]
    server_uri: Option<String>,

    /// Entry below which users and groups are searched
    #[arg(long, value_name = "DN")]
    base_dn: Option<String>,

    /// Name that the directory is searched as
    #[arg(long, value_name = "READER")]
    reader: Option<String>,

    /// Verify the directory with the CA certificates of the system
    #[arg(long, conflicts_with = "ca_cert")]
    no_ca_cert: bool,

    #[command(flatten)]
    schema: Schema,

    #[command(flatten)]
    options: LdapOptions,
}

/// The arguments of `ldap test`.
#[derive(Debug, Args)]
pub(crate) struct Test {
    /// User to look for
    #[arg(value_name = "USER")]
    user: Option<String>,

    #[command(flatten)]
    of: OfOrganization,

    #[command(flatten)]
    password: PasswordSource,
}

impl Default for Ldap {
    fn default() -> Self {
        Self::Show(OfOrganization { org: OrganizationName::root() })
    }
}

impl LdapOptions {
    fn trial(&self) -> LdapTrial {
        if self.no_test { LdapTrial::Omitted } else { LdapTrial::Required }
    }

    /// The change that options and schema describe, without the password.
    fn change(&self, schema: Option<Schema>) -> Result<LdapChange, Failure> {
        let groups = [
            (AccountRole::ClusterAdmin, &self.cluster_admin_group),
            (AccountRole::OrgAdmin, &self.org_admin_group),
            (AccountRole::Regular, &self.regular_group),
            (AccountRole::ReadOnly, &self.read_only_group),
        ];
        let named = |(role, group): (_, &Option<String>)| Some((role, group.clone()?));
        let ca = self.ca_cert.as_deref().map(|path| files::read(path, files::SMALL_FILE)).transpose()?;
        let ca = ca.map(String::from_utf8).transpose().map_err(|_| {
            Failure::new(Code::usage("input.ca_certificate"), "the CA certificates are not PEM")
        })?;
        let whole = |timeout: Duration| u32::try_from(timeout.whole_seconds()).unwrap_or_default();
        let change = LdapChange {
            start_tls: self.start_tls,
            ca_certificate: ca,
            role_groups: groups.into_iter().filter_map(named).collect::<BTreeMap<_, _>>(),
            user_revocation_attribute: self.user_revocation_attribute.clone(),
            server_timeout: self.server_timeout.map(whole),
            ..LdapChange::default()
        };
        Ok(match schema {
            Some(schema) => LdapChange {
                user_object_class: schema.user_object_class,
                user_id_attribute: schema.user_id_attribute,
                group_object_class: schema.group_object_class,
                group_membership_attribute: schema.group_membership_attribute,
                group_id_attribute: schema.group_id_attribute,
                ..change
            },
            None => change,
        })
    }

    fn set_up(
        &self,
        accounts: &Accounts,
        org: &OrganizationName,
        mut settings: LdapSettings,
        schema: Option<Schema>,
    ) -> Result<LdapView, Failure> {
        self.change(schema)?.apply(&mut settings);
        let password = self.password.enter_alone("the reader of the directory")?;
        let new = NewLdap { settings, reader_password: &password };
        Ok(accounts.set_ldap(Principal::Operator, org, new, self.trial())?)
    }
}

impl GroupedCommand for Ldap {
    fn run(self, session: &CommandSession) -> CommandResult {
        let accounts = Accounts::new(session.home(), session.context.clone());
        let by = Principal::Operator;
        let switched = |of: &OfOrganization, enabled| {
            let change = LdapChange { enabled: Some(enabled), ..LdapChange::default() };
            accounts.update_ldap(by, &of.org, &change, LdapTrial::Required)
        };
        let (view, done) = match self {
            Self::Setup(SetUp { server_uri, base_dn, reader, of, schema, options }) => {
                let settings = ldap_settings(server_uri, base_dn, reader);
                (options.set_up(&accounts, &of.org, settings, Some(schema))?, "Set up")
            }
            Self::SetupAd(SetUpActiveDirectory { server_uri, domain, reader, of, options }) => {
                let settings = active_directory_settings(server_uri, &domain, reader);
                (options.set_up(&accounts, &of.org, settings, None)?, "Set up")
            }
            Self::Show(of) => (accounts.ldap(by, &of.org)?, ""),
            Self::Update(update) => (update.run(&accounts)?, "Changed"),
            Self::Enable(of) => (switched(&of, true)?, "Enabled"),
            Self::Disable(of) => (switched(&of, false)?, "Disabled"),
            Self::Test(test) => return test.run(&accounts),
            Self::Reset(of) => (accounts.reset_ldap(by, &of.org)?, "Removed"),
        };
        Ok(Box::new(Shown(LdapReport { view, done })))
    }
}

impl Update {
    fn run(self, accounts: &Accounts) -> Result<LdapView, Failure> {
        let org = &self.of.org;
        let mut change = self.options.change(Some(self.schema))?;
        if self.no_ca_cert {
            change.ca_certificate = Some(String::new());
        }
        if self.reader.is_some() || self.options.password.is_given() {
            change.reader_password = Some(self.options.password.enter_alone("the reader of the directory")?);
        }
        change.server_uri = self.server_uri;
        change.base_dn = self.base_dn;
        change.reader = self.reader;
        Ok(accounts.update_ldap(Principal::Operator, org, &change, self.options.trial())?)
    }
}

impl Test {
    fn run(self, accounts: &Accounts) -> CommandResult {
        let name = self.user.as_deref().map(Name::of_user).transpose()?;
        let password = match &name {
            Some(name) if self.password.is_given() => {
                Some(self.password.enter_alone(&format!("the user {name}"))?)
            }
            _ => None,
        };
        let by = Principal::Operator;
        let view = accounts.test_ldap(by, &self.of.org, name.as_ref(), password.as_ref())?;
        Ok(Box::new(Shown(LdapTestReport(view))))
    }
}

#[derive(Serialize)]
#[serde(transparent)]
struct LdapReport {
    view: LdapView,
    #[serde(skip)]
    done: &'static str,
}

impl fmt::Display for LdapReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let LdapView { organization, settings, ca_fingerprints } = &self.view;
        match self.done {
            "" => writeln!(f, "Directory of the organization {organization}")?,
            done => writeln!(f, "{done} the directory of the organization {organization}")?,
        }
        let tls = match (settings.start_tls, settings.server_uri.starts_with("ldaps:")) {
            (true, _) => "StartTLS",
            (false, true) => "from the start",
            (false, false) => "none: this machine only",
        };
        let ca = match ca_fingerprints.len() {
            0 => "those of the system".to_owned(),
            count => format!("{count} of its own"),
        };
        let state = if settings.enabled { "enabled" } else { "disabled" };
        writeln!(f, "  state       {state}")?;
        writeln!(f, "  server      {}", settings.server_uri)?;
        writeln!(f, "  TLS         {tls}")?;
        writeln!(f, "  trusts      {ca}")?;
        writeln!(f, "  base        {}", settings.base_dn)?;
        writeln!(f, "  users       {} by {}", settings.user_object_class, settings.user_id_attribute)?;
        writeln!(
            f,
            "  groups      {} by {}, members in {}",
            settings.group_object_class, settings.group_id_attribute, settings.group_membership_attribute
        )?;
        writeln!(f, "  reader      {}", settings.reader)?;
        for (role, group) in &settings.role_groups {
            writeln!(f, "  role        {role}: {group}")?;
        }
        if let Some(attribute) = &settings.user_revocation_attribute {
            writeln!(f, "  revocation  {attribute}")?;
        }
        writeln!(f, "  timeout     {}s", settings.server_timeout)
    }
}

#[derive(Serialize)]
#[serde(transparent)]
struct LdapTestReport(LdapTestView);

impl fmt::Display for LdapTestReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let LdapTestView { organization, server_uri, user } = &self.0;
        writeln!(f, "The directory of the organization {organization} answers")?;
        writeln!(f, "  server    {server_uri}")?;
        let Some(LdapTestUser { name, dn, groups, role, disabled, password }) = user else { return Ok(()) };
        let Some(dn) = dn else { return writeln!(f, "  user      {name} does not exist") };
        writeln!(f, "  user      {dn}")?;
        writeln!(
            f,
            "  groups    {}",
            if groups.is_empty() { "none with a role".to_owned() } else { groups.join(", ") }
        )?;
        match role {
            Some(role) if !disabled => writeln!(f, "  role      {role}")?,
            Some(_) => writeln!(f, "  login     refused: the directory has disabled the account")?,
            None => writeln!(f, "  login     refused: no group with a role")?,
        }
        match password {
            Some(true) => writeln!(f, "  password  right"),
            Some(false) => writeln!(f, "  password  wrong"),
            None => Ok(()),
        }
    }
}
