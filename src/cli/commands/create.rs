//! `create-control`, `create-node`, `create-api-user`.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;
use time::Duration;
use uuid::Uuid;

use crate::ca::{self, Authority, IssueRequest, IssuedCertificate, PlannedCertificate, SubjectKey};
use crate::clock::{parse_duration, rfc3339};
use crate::error::Code;
use crate::identity::{Host, Name, Recipient, Role};
use crate::x509::KeyAlgorithm;

use crate::cli::input;
use crate::cli::session::CommandSession;
use crate::terminal::progress;
use crate::terminal::report::{CommandOutcome, CommandResult, Failure, typed};

/// Most certificates that one command issues.
const MOST_CERTIFICATES: usize = 1_000_000;

/// Longest file of names, in bytes: a million names of 64 letters.
const NAMES_FILE_LIMIT: u64 = 64 << 20;

/// Options of the three commands.
#[derive(Debug, Args)]
pub(crate) struct IssueOptions {
    /// Directory for the certificate and its key [default: issued/ in the home]
    #[arg(long, short, value_name = "DIR", value_parser = input::output_path())]
    output: Option<PathBuf>,

    /// Type of the key to generate: ecdsa-p256, ecdsa-p384, ed25519, rsa-2048, rsa-3072 or rsa-4096
    #[arg(long, value_name = "TYPE", conflicts_with = "csr")]
    key_type: Option<KeyAlgorithm>,

    /// Validity of the certificate, such as 90d or 12h [default: the profile's]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    validity: Option<Duration>,

    /// Certify the key of this PKCS#10 CSR (`-`: standard input); no key is generated here
    #[arg(long, value_name = "FILE")]
    csr: Option<PathBuf>,

    /// Show what would be signed, and write nothing
    #[arg(long)]
    dry_run: bool,

    /// Reason for the audit log
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

/// `create-control HOST`.
#[derive(Debug, Args)]
pub(crate) struct CreateControl {
    /// Host name or IP address that clients use
    host: String,

    /// Another name or address of the same host; may be repeated
    #[arg(long, value_name = "NAME_OR_IP")]
    san: Vec<String>,

    #[command(flatten)]
    options: IssueOptions,
}

/// `create-node`.
#[derive(Debug, Args)]
pub(crate) struct CreateNode {
    /// UUIDs of the nodes (version 4) [default: a new random one]
    #[arg(value_name = "UUID", value_parser = node_uuid, conflicts_with = "count")]
    nodes: Vec<Uuid>,

    /// The node's UUID, as an option
    #[arg(long, value_parser = node_uuid, conflicts_with_all = ["count", "nodes"], hide = true)]
    uuid: Option<Uuid>,

    /// A name or address that the node also serves on; may be repeated
    #[arg(long, value_name = "NAME_OR_IP", conflicts_with = "count")]
    san: Vec<String>,

    /// Number of nodes
    #[arg(long, value_name = "N", conflicts_with = "csr")]
    count: Option<usize>,

    #[command(flatten)]
    options: IssueOptions,
}

/// `create-api-user NAME`.
#[derive(Debug, Args)]
pub(crate) struct CreateApiUser {
    /// The user's name: lower-case letters, digits and -._
    #[arg(required_unless_present = "from", conflicts_with = "from")]
    name: Option<String>,

    /// A file with one name a line (`-`: standard input); empty lines and # comments are skipped
    #[arg(long, value_name = "FILE", conflicts_with = "csr")]
    from: Option<PathBuf>,

    #[command(flatten)]
    options: IssueOptions,
}

impl CreateControl {
    pub(crate) fn run(self, session: &CommandSession) -> CommandResult {
        let host: Host = self.host.parse()?;
        let mut hosts = vec![host.clone()];
        hosts.extend(self.san.iter().map(|san| san.parse()).collect::<Result<Vec<Host>, _>>()?);
        self.options.run(session, Role::ControlService, false, |_| Ok(vec![(Name::of_host(&host), hosts)]))
    }
}

impl CreateNode {
    pub(crate) fn run(self, session: &CommandSession) -> CommandResult {
        let hosts = self.san.iter().map(|san| san.parse()).collect::<Result<Vec<Host>, _>>()?;
        if self.count == Some(0) || self.count.is_some_and(|count| count > MOST_CERTIFICATES) {
            return Err(Failure::new(
                Code::usage("usage.count"),
                format!("--count is from 1 to {MOST_CERTIFICATES}"),
            ));
        }
        let mut nodes = self.nodes;
        nodes.extend(self.uuid);
        let random = if nodes.is_empty() { self.count.unwrap_or(1) } else { 0 };
        let many = self.count.is_some() || nodes.len() > 1;
        self.options.run(session, Role::NodeAgent, many, |session| {
            let random = (0..random).map(|_| ca::random_uuid(session.context.entropy.as_ref()));
            let nodes = nodes.into_iter().map(Ok).chain(random);
            nodes.map(|uuid| Ok((Name::of_node(uuid?)?, hosts.clone()))).collect()
        })
    }
}

impl CreateApiUser {
    pub(crate) fn run(self, session: &CommandSession) -> CommandResult {
        let many = self.from.is_some();
        let names = match (&self.name, &self.from) {
            (Some(name), _) => vec![Name::of_user(name)?],
            (None, Some(file)) => names_in(file)?,
            (None, None) => return Err(Failure::new(Code::usage("usage.name"), "a user name is missing")),
        };
        self.options.run(session, Role::ApiUser, many, |_| {
            Ok(names.into_iter().map(|name| (name, Vec::new())).collect())
        })
    }
}

/// Parses the UUID of a node.
fn node_uuid(text: &str) -> Result<Uuid, String> {
    text.parse().map_err(|_| {
        "not a UUID, such as 6f1b1d3c-3a54-4b7e-9d1e-2f4c5b6a7d8e; without one, a random one is made"
            .to_owned()
    })
}

/// Reads user names, one a line; every invalid one is reported with its line.
fn names_in(file: &Path) -> Result<Vec<Name>, Failure> {
    let bytes = input::read(file, NAMES_FILE_LIMIT)?;
    let text = String::from_utf8(bytes).map_err(|_| {
        Failure::new(Code::usage("input.not_text"), format!("{} is not UTF-8 text", file.display()))
    })?;
    let mut names = Vec::new();
    let mut lines = HashMap::new();
    let mut wrong = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match Name::of_user(line) {
            Ok(name) => match lines.insert(name.clone(), number + 1) {
                None => names.push(name),
                Some(first) => {
                    wrong.push(format!(
                        "{}:{}: {name} is on line {first} already",
                        file.display(),
                        number + 1
                    ));
                }
            },
            Err(error) => wrong.push(format!("{}:{}: {error}", file.display(), number + 1)),
        }
    }
    if !wrong.is_empty() {
        return Err(Failure::new(Code::usage("input.names"), wrong.join("\n"))
            .with_hint("correct the file; nothing was issued"));
    }
    if names.is_empty() || names.len() > MOST_CERTIFICATES {
        return Err(Failure::new(
            Code::usage("input.names"),
            format!("{} names {} users; 1 to {MOST_CERTIFICATES} are expected", file.display(), names.len()),
        ));
    }
    Ok(names)
}

impl IssueOptions {
    /// Issues certificates for `identities`, or shows the plan.
    fn run(
        self,
        session: &CommandSession,
        role: Role,
        many: bool,
        identities: impl FnOnce(&CommandSession) -> Result<Vec<(Name, Vec<Host>)>, Failure>,
    ) -> CommandResult {
        let key = match &self.csr {
            Some(file) => SubjectKey::Csr(Box::new(input::certification_request(file)?)),
            None => SubjectKey::Generate(self.key_type),
        };
        let profiles = session.profiles()?;
        let orders = identities(session)?
            .into_iter()
            .map(|(name, hosts)| IssueRequest {
                role,
                name,
                hosts,
                key: key.clone(),
                validity: self.validity,
            })
            .collect::<Vec<_>>();
        if self.dry_run {
            let cluster = ca::Cluster::open(&session.home(), &session.context)?;
            return Ok(Box::new(IssuePreview { all: cluster.plan(&profiles, &orders)?, many }));
        }
        let home = session.home();
        let output = self.output.unwrap_or_else(|| home.issued());
        let mut authority = Authority::open(&home, &session.context)?;
        session.report_opened(&authority);
        let bar = progress::certificates(orders.len(), session.format());
        let begin = session.context.clock.monotonic();
        let issued =
            authority.issue(&profiles, &orders, &output, self.reason.as_deref(), &|count| bar.inc(count));
        let issued = issued.map_err(|error| Failure::from(error).or_elsewhere("--output DIR"))?;
        bar.finish_and_clear();
        session.detail(format_args!(
            "issued {} in {:.1?}",
            issued.len(),
            session.context.clock.monotonic() - begin
        ));
        for certificate in &issued {
            for mismatch in &certificate.not_granted {
                session.note(format_args!(
                    "the CSR asks for {} {}; the profile sets {}",
                    mismatch.field, mismatch.found, mismatch.planned
                ));
            }
        }
        Ok(Box::new(IssueReport { all: issued, many }))
    }
}

/// Issued certificates; a single one is printed in full.
struct IssueReport {
    all: Vec<IssuedCertificate>,
    many: bool,
}

impl fmt::Display for IssueReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let ([one], false) = (self.all.as_slice(), self.many) {
            return issued_text(one, f);
        }
        for one in &self.all {
            writeln!(f, "{}  {}", one.serial_number, typed(&one.certificate))?;
        }
        writeln!(f, "\nIssued {} certificates, each with its key (0600) beside it", self.all.len())?;
        writeln!(
            f,
            "\nNext: cluster-ca distribute --all    (hosts.yaml lists the destinations: cluster-ca distribute --help)"
        )
    }
}

impl CommandOutcome for IssueReport {
    fn json(&self) -> Result<serde_json::Value, serde_json::Error> {
        one_or_many(&self.all, self.many)
    }
}

/// Result of `--dry-run`.
struct IssuePreview {
    all: Vec<PlannedCertificate>,
    many: bool,
}

impl fmt::Display for IssuePreview {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.all.iter().try_for_each(|planned| plan_text(planned, f))
    }
}

impl CommandOutcome for IssuePreview {
    fn json(&self) -> Result<serde_json::Value, serde_json::Error> {
        one_or_many(&self.all, self.many)
    }
}

/// Serializes a single result as an object, and a bulk result as an array, even of one.
fn one_or_many<T: Serialize>(all: &[T], many: bool) -> Result<serde_json::Value, serde_json::Error> {
    match all {
        [one] if !many => serde_json::to_value(one),
        all => serde_json::to_value(all),
    }
}

fn issued_text(issued: &IssuedCertificate, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    writeln!(f, "Issued {}/{}", issued.role, issued.name)?;
    writeln!(f, "  certificate  {}", typed(&issued.certificate))?;
    match &issued.key {
        Some(key) => writeln!(f, "  key          {}  (0600)", typed(key))?,
        None => writeln!(f, "  key          not here: generated with the CSR")?,
    }
    writeln!(f, "  serial       {}", issued.serial_number)?;
    writeln!(f, "  identity     {}", issued.spiffe_id)?;
    if !issued.hosts.is_empty() {
        writeln!(f, "  hosts        {}", issued.hosts.join(", "))?;
    }
    writeln!(f, "  valid until  {}", rfc3339(issued.not_after))?;
    if let Some(superseded) = &issued.superseded {
        writeln!(f, "  superseded   {}  (revoked or expired)", typed(superseded))?;
    }
    write_next(issued, f)
}

/// Writes the command that copies certificate and key to their host or user.
pub(crate) fn write_next(issued: &IssuedCertificate, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let (role, name) = (issued.role, &issued.name);
    let host = match role.recipient() {
        Recipient::NamedHost => name.as_str(),
        Recipient::Machine(placeholder) => placeholder,
        Recipient::Person => return writeln!(f, "\nNext: cluster-ca bundle {role}/{name}"),
    };
    writeln!(f, "\nNext: cluster-ca distribute {role}/{name} --to root@{host}:/etc/cluster")
}

fn plan_text(planned: &PlannedCertificate, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let plan = &planned.plan;
    writeln!(f, "Would sign (nothing was written)")?;
    writeln!(f, "  subject      {}", plan.subject)?;
    writeln!(f, "  identity     {}", plan.identity)?;
    for (index, name) in plan.subject_alt_names.iter().enumerate() {
        writeln!(f, "  {:12} {name}", if index == 0 { "names" } else { "" })?;
    }
    writeln!(f, "  key          {}", plan.key_algorithm)?;
    let usages: Vec<&str> = plan.key_usage.names().collect();
    let purposes: Vec<String> = plan.extended_key_usage.iter().map(ToString::to_string).collect();
    writeln!(f, "  usage        {}; {}", usages.join(", "), purposes.join(", "))?;
    writeln!(f, "  valid        {} to {}", rfc3339(plan.not_before), rfc3339(plan.not_after))?;
    writeln!(f, "  serial       128 random bits, reserved when it is issued")?;
    writeln!(f, "  profile      sha256:{}", plan.profile)?;
    for mismatch in &planned.not_granted {
        writeln!(f, "  not granted  the CSR asks for: {mismatch}")?;
    }
    Ok(())
}
