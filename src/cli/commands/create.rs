//! `create-control`, `create-node`, `create-api-user`.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;
use time::Duration;
use uuid::Uuid;

use crate::ca::{self, Authority, Cluster, IssueRequest, IssuedCertificate, PlannedCertificate, SubjectKey};
use crate::clock::{parse_duration, rfc3339};
use crate::error::Code;
use crate::identity::{Host, MachineLabel, Name, Recipient, Role};
use crate::store::RecordStatus;
use crate::x509::KeyAlgorithm;

use super::node_list::{ListedNode, NodeList};
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
#[command(after_help = "\
Examples:
  cluster-ca create-node --label web-1
  cluster-ca create-node --count 3
  cluster-ca create-node --from nodes.yaml

nodes.yaml lists nodes; every key is optional, and a node without a UUID gets a random one:
  nodes:
    - label: web-1
      hosts: [web-1.example.com, 10.0.0.5]
    - uuid: 6f1b1d3c-3a54-4b7e-9d1e-2f4c5b6a7d8e
      label: db-1")]
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

    /// Description of the machine, such as its host name; `list` and `show` find the node by it
    #[arg(long, value_name = "TEXT", conflicts_with = "count")]
    label: Option<MachineLabel>,

    /// A YAML file with the UUID, hosts and label of each node (`-`: standard input)
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = ["nodes", "uuid", "san", "count", "label", "csr"]
    )]
    from: Option<PathBuf>,

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

/// Holder of a certificate to issue.
struct Subject {
    name: Name,
    hosts: Vec<Host>,
    label: Option<MachineLabel>,
}

impl Subject {
    /// A listed node, with a random UUID if none is listed.
    fn of_node(node: ListedNode, session: &CommandSession) -> Result<Self, Failure> {
        let ListedNode { name, hosts, label } = node;
        let name = match name {
            Some(name) => name,
            None => Name::of_node(ca::random_uuid(session.context.entropy.as_ref())?)?,
        };
        Ok(Self { name, hosts, label })
    }
}

impl CreateControl {
    pub(crate) fn run(self, session: &CommandSession) -> CommandResult {
        let host: Host = self.host.parse()?;
        let mut hosts = vec![host.clone()];
        hosts.extend(self.san.iter().map(|san| san.parse()).collect::<Result<Vec<Host>, _>>()?);
        let subject = Subject { name: Name::of_host(&host), hosts, label: None };
        self.options.run(session, Role::ControlService, false, |_| Ok(vec![subject]))
    }
}

impl CreateNode {
    pub(crate) fn run(self, session: &CommandSession) -> CommandResult {
        let hosts = self.san.iter().map(|san| san.parse()).collect::<Result<Vec<Host>, _>>()?;
        if let Some(file) = &self.from {
            let listed = nodes_in(file)?;
            return self.options.run(session, Role::NodeAgent, true, |session| {
                listed.into_iter().map(|node| Subject::of_node(node, session)).collect()
            });
        }
        if self.count == Some(0) || self.count.is_some_and(|count| count > MOST_CERTIFICATES) {
            return Err(Failure::new(
                Code::usage("usage.count"),
                format!("--count is from 1 to {MOST_CERTIFICATES}"),
            ));
        }
        let mut nodes = self.nodes;
        nodes.extend(self.uuid);
        if self.label.is_some() && nodes.len() > 1 {
            let message = format!("--label names one machine, and {} nodes are given", nodes.len());
            return Err(Failure::new(Code::usage("usage.label"), message)
                .with_hint("list the nodes with their labels in a file: --from FILE; nothing was issued"));
        }
        let label = self.label;
        let random = if nodes.is_empty() { self.count.unwrap_or(1) } else { 0 };
        let many = self.count.is_some() || nodes.len() > 1;
        self.options.run(session, Role::NodeAgent, many, |session| {
            let random = (0..random).map(|_| ca::random_uuid(session.context.entropy.as_ref()));
            let nodes = nodes.into_iter().map(Ok).chain(random);
            let subject = |name| Subject { name, hosts: hosts.clone(), label: label.clone() };
            nodes.map(|uuid| Ok(subject(Name::of_node(uuid?)?))).collect()
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
            Ok(names.into_iter().map(|name| Subject { name, hosts: Vec::new(), label: None }).collect())
        })
    }
}

/// Parse the UUID of a node.
fn node_uuid(text: &str) -> Result<Uuid, String> {
    text.parse().map_err(|_| {
        "not a UUID, such as 6f1b1d3c-3a54-4b7e-9d1e-2f4c5b6a7d8e; without one, a random one is made"
            .to_owned()
    })
}

/// Read a list of nodes.
fn nodes_in(file: &Path) -> Result<Vec<ListedNode>, Failure> {
    let bytes = input::read(file, NodeList::LIMIT)?;
    let list = NodeList::parse(&file.display().to_string(), &bytes)
        .map_err(|error| Failure::of(&error).with_hint("correct the file; nothing was issued"))?;
    Ok(list.into_nodes())
}

/// Read user names, one a line; every invalid one is reported with its line.
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
    /// Issues certificates for the subjects, or shows the plan.
    fn run(
        self,
        session: &CommandSession,
        role: Role,
        many: bool,
        subjects: impl FnOnce(&CommandSession) -> Result<Vec<Subject>, Failure>,
    ) -> CommandResult {
        let key = match &self.csr {
            Some(file) => SubjectKey::Csr(Box::new(input::certification_request(file)?)),
            None => SubjectKey::Generate(self.key_type),
        };
        let profiles = session.profiles()?;
        let orders = subjects(session)?
            .into_iter()
            .map(|Subject { name, hosts, label }| IssueRequest {
                role,
                name,
                hosts,
                key: key.clone(),
                validity: self.validity,
                label,
            })
            .collect::<Vec<_>>();
        if self.dry_run {
            let cluster = Cluster::open(&session.home(), &session.context)?;
            return Ok(Box::new(IssuePreview { all: cluster.plan(&profiles, &orders)?, many }));
        }
        let home = session.home();
        let output = self.output.unwrap_or_else(|| home.issued());
        let mut authority = Authority::open(&home, &session.context)?;
        session.report_opened(&authority);
        // A bulk is not searched: its names are new, or their files are in the way.
        let second = match orders.as_slice() {
            [order] => valid_certificate(authority.cluster(), order),
            _ => None,
        };
        let bar = progress::certificates(orders.len(), session.format());
        let begin = session.context.clock.monotonic();
        let issued =
            authority.issue(&profiles, &orders, &output, self.reason.as_deref(), &|count| bar.inc(count));
        let issued = issued.map_err(|error| {
            let valid = orders.iter().find_map(|order| valid_certificate(authority.cluster(), order));
            match Failure::from(error).or_elsewhere("--output DIR") {
                failure if failure.is("file.exists") => match valid {
                    Some(identity) => failure.with_hint(instead_of_another(&identity)),
                    None => failure,
                },
                failure => failure,
            }
        })?;
        bar.finish_and_clear();
        if let Some(identity) = second {
            session
                .note(format_args!("{identity} has two valid certificates now; {}", told_apart(&identity)));
        }
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

/// The identity of a request that has a valid certificate, as ROLE/NAME.
fn valid_certificate(cluster: &Cluster, order: &IssueRequest) -> Option<String> {
    let now = cluster.now();
    let known = cluster.inventory().find_identity(order.role, &order.name).ok()?;
    let is_valid = known.iter().any(|record| record.status(now) == RecordStatus::Valid);
    is_valid.then(|| format!("{}/{}", order.role, order.name))
}

/// Commands that replace a valid certificate.
fn instead_of_another(identity: &str) -> String {
    format!(
        "{identity} has a valid certificate: `cluster-ca renew {identity}` replaces it and keeps its key, `cluster-ca \
         rekey {identity}` makes a new key, and --san HOST changes the hosts with either; --output DIR issues one \
         more beside it"
    )
}

/// Way to name one of several certificates.
fn told_apart(identity: &str) -> String {
    format!(
        "other commands take them by serial number. To replace one instead: cluster-ca renew {identity}, or cluster-ca \
         rekey {identity}"
    )
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
            write!(f, "{}  {}", one.serial_number, typed(&one.certificate))?;
            match &one.label {
                Some(label) => writeln!(f, "  {label}")?,
                None => writeln!(f)?,
            }
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

/// Serialize a single result as an object, and a bulk result as an array, even of one.
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
    write_machine(issued, f)?;
    writeln!(f, "  valid until  {}", rfc3339(issued.not_after))?;
    if let Some(superseded) = &issued.superseded {
        writeln!(f, "  superseded   {}  (revoked or expired)", typed(superseded))?;
    }
    write_next(issued, f)
}

/// Write label and hosts, if there are any.
pub(crate) fn write_machine(issued: &IssuedCertificate, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if let Some(label) = &issued.label {
        writeln!(f, "  label        {label}")?;
    }
    if !issued.hosts.is_empty() {
        writeln!(f, "  hosts        {}", issued.hosts.join(", "))?;
    }
    Ok(())
}

/// Write the command that copies certificate and key to their host or user.
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
