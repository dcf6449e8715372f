//! `renew` and `rekey`: replace a certificate, with the same key or a new one.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;

use clap::Args;
use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};

use crate::ca::{Authority, CaError, Cluster, NotRenewed, PlannedRenewal, Renewal, Renewed, RenewedKey};
use crate::clock::{format_duration, parse_duration, rfc3339};
use crate::error::Coded;
use crate::identity::{Host, MachineLabel, Name, Role};
use crate::profile::{ProfileSet, RenewalKey};
use crate::revocation::RevocationReason;
use crate::store::Record;
use crate::x509::{KeyAlgorithm, SerialNumber};

use super::create::{write_machine, write_next};
use super::served::{ServedCertificate, path_of};
use crate::api_client::ApiSession;
use crate::cli::input;
use crate::cli::server_args::{ServerChoice, failure, refuse_on_server};
use crate::cli::session::CommandSession;
use crate::terminal::progress;
use crate::terminal::report::{CommandOutcome, CommandResult, Failure, Shown, typed};

/// Options of both commands.
#[derive(Debug, Args)]
pub(crate) struct RenewOptions {
    /// The certificate: its serial number, ROLE/NAME such as api-user/alice, or its file
    #[arg(
        value_name = "SERIAL|ROLE/NAME|FILE",
        required_unless_present_any = ["expires_within", "due"],
        conflicts_with_all = ["expires_within", "due"]
    )]
    target: Option<String>,

    /// All certificates past the renewal point of their profile, for a timer. `renew` makes a new key where the
    /// profile asks for one and the key was made here
    #[arg(long, conflicts_with = "expires_within")]
    due: bool,

    /// All valid certificates that expire within this time, such as 30d, and were not renewed yet
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    expires_within: Option<Duration>,

    /// Of these, only this role: control-service, node-agent or api-user
    #[arg(long, conflicts_with = "target")]
    role: Option<Role>,

    /// A name or address that the new certificate is for, in place of those of the old one; may be repeated. The host
    /// that a control service is named for stays
    #[arg(long, value_name = "NAME_OR_IP", conflicts_with_all = ["no_san", "expires_within", "due"])]
    san: Vec<Host>,

    /// Remove all names and addresses, except the host that a control service is named for
    #[arg(long, conflicts_with_all = ["expires_within", "due"])]
    no_san: bool,

    /// Text that tells which machine a node is, in place of that of the old certificate
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["expires_within", "due"])]
    label: Option<MachineLabel>,

    /// Validity of the new certificate, such as 90d or 12h [default: the profile's]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    validity: Option<Duration>,

    /// Directory for the new files [default: replace the old files]
    #[arg(long, short, value_name = "DIR", value_parser = input::output_path())]
    output: Option<PathBuf>,

    /// Show what would be renewed, and write nothing
    #[arg(long)]
    dry_run: bool,

    /// Reason for the audit log
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

/// Both forms of `renew` or `rekey`.
pub(crate) fn usage(command: &str) -> String {
    format!(
        "cluster-ca {command} [OPTIONS] <SERIAL|ROLE/NAME|FILE>\n       cluster-ca {command} [OPTIONS] --due\n       cluster-ca {command} [OPTIONS] --expires-within <DURATION>"
    )
}

/// `renew`.
#[derive(Debug, Args)]
pub(crate) struct Renew {
    #[command(flatten)]
    options: RenewOptions,

    #[command(flatten)]
    server: ServerChoice,
}

/// `rekey`.
#[derive(Debug, Args)]
pub(crate) struct Rekey {
    #[command(flatten)]
    options: RenewOptions,

    /// Type of the new key: ecdsa-p256, ecdsa-p384, ed25519, rsa-2048, rsa-3072 or rsa-4096 [default: as
    /// before]
    #[arg(long, value_name = "TYPE", conflicts_with = "csr")]
    key_type: Option<KeyAlgorithm>,

    /// Certify the key of this PKCS#10 CSR (`-`: standard input); no key is generated here
    #[arg(long, value_name = "FILE", conflicts_with_all = ["expires_within", "due"])]
    csr: Option<PathBuf>,
}

impl Renew {
    pub(crate) fn run(self, session: &CommandSession) -> CommandResult {
        if let Some(api) = self.server.open(session)? {
            return self.options.run_on(&api);
        }
        let key = if self.options.due { RenewedKey::ByProfile } else { RenewedKey::Same };
        self.options.run(session, key)
    }
}

impl Rekey {
    pub(crate) fn run(self, session: &CommandSession) -> CommandResult {
        let key = match &self.csr {
            Some(file) => RenewedKey::Csr(Box::new(input::certification_request(file)?)),
            None => RenewedKey::New(self.key_type),
        };
        self.options.run(session, key)
    }
}

impl RenewOptions {
    /// Renew one certificate on a server, whose home has its files.
    fn run_on(self, api: &ApiSession) -> CommandResult {
        refuse_on_server(&[
            ("--due", self.due),
            ("--expires-within", self.expires_within.is_some()),
            ("--role", self.role.is_some()),
            ("--san", !self.san.is_empty()),
            ("--no-san", self.no_san),
            ("--output", self.output.is_some()),
            ("--dry-run", self.dry_run),
        ])?;
        let target = input::target(self.target.as_deref().unwrap_or_default())?;
        let body = ServedRenewal {
            label: self.label.as_ref(),
            validity: self.validity.map(format_duration),
            reason: self.reason.as_deref(),
        };
        let IssuedOnServer { certificate } =
            api.post(&format!("{}/renew", path_of(&target)), &body).map_err(failure)?;
        Ok(Box::new(Shown(RenewedOnServer::from(certificate))))
    }

    fn run(self, session: &CommandSession, key: RenewedKey) -> CommandResult {
        let profiles = session.profiles()?;
        let many = self.target.is_none();
        let same_key = matches!(key, RenewedKey::Same);
        let done = if matches!(key, RenewedKey::New(_) | RenewedKey::Csr(_)) { "Rekeyed" } else { "Renewed" };
        let renewal = Renewal {
            key,
            validity: self.validity,
            output: self.output.clone(),
            hosts: (self.no_san || !self.san.is_empty()).then(|| self.san.clone()),
            label: self.label.clone(),
        };
        if self.dry_run {
            let cluster = Cluster::open(&session.home(), &session.context)?;
            let records = self.records(&cluster, &profiles, session.context.clock.now())?;
            let (planned, refused) = cluster.plan_renewals(&profiles, &records, &renewal);
            return Ok(Box::new(RenewPreview { all: planned, refused: refusals(refused, many)?, many }));
        }
        let mut authority = Authority::open(&session.home(), &session.context)?;
        session.report_opened(&authority);
        let records = self.records(authority.cluster(), &profiles, session.context.clock.now())?;
        if same_key {
            note_advice(&records, &profiles, session);
        }
        let bar = progress::certificates(records.len(), session.format());
        let (renewed, refused) =
            authority
                .renew(&profiles, &records, &renewal, self.reason.as_deref(), &|count| bar.inc(count))?;
        bar.finish_and_clear();
        Ok(Box::new(RenewReport { done, all: renewed, refused: refusals(refused, many)?, many }))
    }

    fn records(
        &self,
        cluster: &Cluster,
        profiles: &ProfileSet,
        now: OffsetDateTime,
    ) -> Result<Vec<Record>, Failure> {
        match (&self.target, self.expires_within) {
            (Some(target), _) => Ok(vec![cluster.find(&input::target(target)?)?]),
            (None, _) if self.due => Ok(cluster.due_by_profile(profiles, self.role)?),
            (None, within) => {
                Ok(cluster.due_for_renewal(now.saturating_add(within.unwrap_or_default()), self.role)?)
            }
        }
    }
}

/// Note the roles whose profile advises `rekey`. The advice is not enforced.
fn note_advice(records: &[Record], profiles: &ProfileSet, session: &CommandSession) {
    let roles: BTreeSet<Role> = records.iter().map(|record| record.reservation.role).collect();
    for role in roles {
        if profiles.leaf(role).renewal().key() == RenewalKey::Rekey {
            session.note(format_args!(
                "the profile of {role} advises a new key at each renewal; `cluster-ca rekey` makes one"
            ));
        }
    }
}

/// Body of a renewal on a server.
#[derive(Serialize)]
struct ServedRenewal<'a> {
    label: Option<&'a MachineLabel>,
    validity: Option<String>,
    reason: Option<&'a str>,
}

/// Answer of a server to a renewal.
#[derive(Deserialize)]
struct IssuedOnServer {
    certificate: ServedCertificate,
}

/// Certificate that a server has renewed.
#[derive(Serialize)]
struct RenewedOnServer {
    supersedes: Option<SerialNumber>,
    role: Role,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<MachineLabel>,
    serial_number: SerialNumber,
    spiffe_id: String,
    not_before: Option<String>,
    not_after: Option<String>,
}

impl From<ServedCertificate> for RenewedOnServer {
    fn from(served: ServedCertificate) -> Self {
        Self {
            supersedes: served.supersedes,
            role: served.role,
            name: served.name,
            label: served.label,
            serial_number: served.serial_number,
            spiffe_id: served.spiffe_id,
            not_before: served.not_before,
            not_after: served.not_after,
        }
    }
}

impl fmt::Display for RenewedOnServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Renewed {}/{}", self.role, self.name)?;
        match &self.supersedes {
            Some(old) => writeln!(f, "  serial       {}  (replaces {old})", self.serial_number)?,
            None => writeln!(f, "  serial       {}", self.serial_number)?,
        }
        if let Some(label) = &self.label {
            writeln!(f, "  label        {label}")?;
        }
        writeln!(f, "  valid until  {}", self.not_after.as_deref().unwrap_or_default())?;
        writeln!(f, "  the old one  stays valid until it expires or is revoked")?;
        writeln!(f, "\nThe new certificate is in the home of the CA, which distributes it.")
    }
}

/// Collect the refusals of a bulk renewal; for a single certificate, returns its error.
fn refusals(refused: Vec<NotRenewed>, many: bool) -> Result<Vec<Refused>, Failure> {
    let mut refusals = Vec::with_capacity(refused.len());
    for one in refused {
        if !many {
            return Err(match &one.error {
                CaError::IdentityRevoked { reason: RevocationReason::CertificateHold, .. } => {
                    Failure::of(&one.error).with_hint("lift the hold first: cluster-ca release")
                }
                error => Failure::of(error).or_elsewhere("--output DIR"),
            });
        }
        refusals.push(Refused {
            serial_number: one.serial_number,
            role: one.role,
            name: one.name,
            code: one.error.code(),
            message: one.error.to_string(),
        });
    }
    Ok(refusals)
}

/// Certificate that was not renewed.
#[derive(Serialize)]
struct Refused {
    serial_number: SerialNumber,
    role: Role,
    name: Name,
    code: &'static str,
    message: String,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { serial_number, role, name, code, message } = self;
        writeln!(f, "{serial_number}  {role}/{name}: not renewed: {message} [{code}]")
    }
}

fn complaint(refused: &[Refused]) -> Option<String> {
    (!refused.is_empty()).then(|| refused.iter().map(ToString::to_string).collect())
}

/// Result of `renew` and `rekey`.
struct RenewReport {
    /// `Renewed` or `Rekeyed`.
    done: &'static str,
    all: Vec<Renewed>,
    refused: Vec<Refused>,
    many: bool,
}

impl fmt::Display for RenewReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let ([one], false) = (self.all.as_slice(), self.many) {
            return renewed_text(self.done, one, f);
        }
        for Renewed { supersedes, issued } in &self.all {
            let (role, name, until) = (issued.role, &issued.name, rfc3339(issued.not_after));
            writeln!(f, "{supersedes} -> {}  {role}/{name}  until {until}", issued.serial_number)?;
        }
        self.refused.iter().try_for_each(|one| one.fmt(f))?;
        match (self.all.len(), self.refused.len()) {
            (0, 0) => writeln!(f, "No certificate is due."),
            (0, refused) => writeln!(f, "\nNot renewed: {refused}"),
            (done, refused) => {
                writeln!(f, "\n{}: {done}, not renewed: {refused}", self.done)?;
                writeln!(f, "\nNext: cluster-ca distribute --all    (hosts.yaml lists the destinations)")
            }
        }
    }
}

impl CommandOutcome for RenewReport {
    fn json(&self) -> Result<serde_json::Value, serde_json::Error> {
        json(&self.all, &self.refused, self.many)
    }

    fn exit_code(&self) -> u8 {
        u8::from(!self.refused.is_empty())
    }

    fn complaint(&self) -> Option<String> {
        complaint(&self.refused)
    }
}

/// Result of `--dry-run`.
struct RenewPreview {
    all: Vec<PlannedRenewal>,
    refused: Vec<Refused>,
    many: bool,
}

impl fmt::Display for RenewPreview {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for one in &self.all {
            let plan = &one.planned.plan;
            let (role, name) = (plan.identity.role, &plan.identity.name);
            writeln!(f, "{}  {role}/{name}  until {}", one.supersedes, rfc3339(plan.not_after))?;
            if !self.many {
                let names: Vec<String> = plan.subject_alt_names.iter().map(ToString::to_string).collect();
                writeln!(f, "  names        {}", names.join(", "))?;
            }
        }
        self.refused.iter().try_for_each(|one| one.fmt(f))?;
        writeln!(f, "\nWould renew {} (nothing was written)", self.all.len())
    }
}

impl CommandOutcome for RenewPreview {
    fn json(&self) -> Result<serde_json::Value, serde_json::Error> {
        json(&self.all, &self.refused, self.many)
    }

    fn exit_code(&self) -> u8 {
        u8::from(!self.refused.is_empty())
    }

    fn complaint(&self) -> Option<String> {
        complaint(&self.refused)
    }
}

/// Serialize a single renewal as an object, and a bulk renewal as two arrays.
fn json<T: Serialize>(
    all: &[T],
    refused: &[Refused],
    many: bool,
) -> Result<serde_json::Value, serde_json::Error> {
    match all {
        [one] if !many => serde_json::to_value(one),
        all => Ok(serde_json::json!({ "renewed": all, "not_renewed": refused })),
    }
}

fn renewed_text(done: &str, renewed: &Renewed, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let new = &renewed.issued;
    writeln!(f, "{done} {}/{}", new.role, new.name)?;
    writeln!(f, "  certificate  {}", typed(&new.certificate))?;
    match &new.key {
        Some(key) => writeln!(f, "  key          {}", typed(key))?,
        None => writeln!(f, "  key          not here")?,
    }
    writeln!(f, "  serial       {}  (replaces {})", new.serial_number, renewed.supersedes)?;
    write_machine(new, f)?;
    writeln!(f, "  valid until  {}", rfc3339(new.not_after))?;
    writeln!(f, "  the old one  stays valid until it expires or is revoked")?;
    write_next(new, f)
}
