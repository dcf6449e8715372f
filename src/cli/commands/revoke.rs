//! `revoke`, `hold` and `release`.

use std::collections::HashSet;
use std::fmt;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;

use clap::{ArgGroup, Args};
use serde::Serialize;
use time::OffsetDateTime;

use crate::ca::{
    Authority, BulkSelection, CertificateStatus, Cluster, PublishedCrl, Released, Revoked, Target,
};
use crate::clock::{parse_time, rfc3339};
use crate::error::Code;
use crate::identity::{Name, Role};
use crate::revocation::RevocationReason;
use crate::store::{Record, RecordStatus};
use crate::x509::crl::CrlNumber;
use crate::x509::{KeyIdentifier, SerialNumber};

use super::gateways::{FollowUp, PushedBody, Wait};
use super::list::Listing;
use super::served::{ServedCertificate, ServedChange, ServedCrlDates, path_of};
use crate::api_client::ApiSession;
use crate::cli::input;
use crate::cli::server_args::{ServerChoice, failure, refuse_on_server};
use crate::cli::session::CommandSession;
use crate::terminal::report::{CommandOutcome, CommandResult, Failure, Shown, typed};

/// The arguments of `revoke`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cluster-ca revoke api-user/alice --all-generations --reason key-compromise --wait
  cluster-ca revoke --role node-agent --issued-before 2027-01-31 --dry-run

With --wait, gateways.yaml in the home lists the gateways: see cluster-ca crl push --help.
Exit code 4: revoked, but a gateway did not confirm that it enforces the CRL; retry: cluster-ca crl push.")]
#[command(group(ArgGroup::new("which").required(true).multiple(true)
    .args(["target", "file", "public_key", "role", "issued_after", "issued_before"])))]
pub(crate) struct Revoke {
    /// The certificate: its serial number, ROLE/NAME such as api-user/alice, or its file
    #[arg(
        value_name = "SERIAL|ROLE/NAME|FILE",
        conflicts_with_all = ["file", "public_key", "role", "issued_after", "issued_before"]
    )]
    target: Option<String>,

    /// All certificates ever issued to the identity ROLE/NAME
    #[arg(long, requires = "target")]
    all_generations: bool,

    /// All certificates in this file
    #[arg(long, value_name = "FILE", conflicts_with_all = ["public_key", "role", "issued_after", "issued_before"])]
    file: Option<PathBuf>,

    /// All certificates for the key in this file: a public key, certificate, CSR or private key
    #[arg(long, value_name = "FILE", conflicts_with_all = ["role", "issued_after", "issued_before"])]
    public_key: Option<PathBuf>,

    /// In bulk: certificates of this role (control-service, node-agent or api-user)
    #[arg(long)]
    role: Option<Role>,

    /// In bulk: certificates issued at this time or later, such as 2027-01-31 or 2027-01-31T12:00:00Z
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    issued_after: Option<OffsetDateTime>,

    /// In bulk: certificates issued before this time
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    issued_before: Option<OffsetDateTime>,

    /// Reason code of RFC 5280: unspecified, key-compromise, affiliation-changed, superseded,
    /// cessation-of-operation or privilege-withdrawn
    #[arg(long, value_name = "REASON", default_value = "unspecified")]
    reason: RevocationReason,

    /// Comment for the audit log
    #[arg(long, value_name = "TEXT")]
    comment: Option<String>,

    /// Show the certificates that would be revoked, and revoke nothing
    #[arg(long)]
    dry_run: bool,

    /// Revoke in bulk without a confirmation prompt
    #[arg(long, short)]
    yes: bool,

    #[command(flatten)]
    wait: Wait,

    #[command(flatten)]
    server: ServerChoice,
}

impl Revoke {
    pub(crate) fn run(self, session: &CommandSession) -> CommandResult {
        if !RevocationReason::FOR_LEAVES.contains(&self.reason) {
            let message = format!("{} is not a reason for revoking a leaf certificate", self.reason);
            let failure = Failure::new(Code::usage("usage.reason"), message);
            return Err(match self.reason {
                RevocationReason::CertificateHold => failure.with_hint("use cluster-ca hold"),
                _ => failure,
            });
        }
        if let Some(api) = self.server.open(session)? {
            return self.run_on(&api);
        }
        let plan = self.wait.plan(session)?;
        let mut confirmed = None;
        if self.dry_run || (self.is_bulk() && !self.yes) {
            let cluster = Cluster::open(&session.home(), &session.context)?;
            let records = self.records(&cluster)?;
            let preview = RevocationPreview(Listing::new(&records, &cluster, session.context.clock.now()));
            if self.dry_run {
                return Ok(Box::new(Shown(preview)));
            }
            confirm(&preview)?;
            confirmed = Some(records.iter().map(serial_number).collect::<HashSet<_>>());
        }
        let mut authority = Authority::open(&session.home(), &session.context)?;
        session.report_opened(&authority);
        let mut records = self.records(authority.cluster())?;
        if let Some(confirmed) = &confirmed {
            // A certificate issued since the preview was not confirmed.
            records.retain(|record| confirmed.contains(&serial_number(record)));
        }
        if let Some(plan) = &plan {
            plan.refuse_among(&records, "revoked")?;
        }
        let (certificates, crl) = authority.revoke(&records, self.reason, self.comment.as_deref())?;
        session.report_left_out(&crl);
        self.note_reasons_kept(session, &certificates);
        self.note_same_key(session, authority.cluster(), &records)?;
        // Releases the home: another command need not wait for the gateways.
        drop(authority);
        let follow_up = Some(FollowUp::of(session, plan.as_ref()));
        let crl = crl.into();
        Ok(Box::new(RevokeReport { certificates, crl, many: !self.is_single(), hold: false, follow_up }))
    }

    /// Revoke one certificate on a server.
    fn run_on(&self, api: &ApiSession) -> CommandResult {
        refuse_on_server(&[
            ("--all-generations", self.all_generations),
            ("--file", self.file.is_some()),
            ("--public-key", self.public_key.is_some()),
            ("--role", self.role.is_some()),
            ("--issued-after", self.issued_after.is_some()),
            ("--issued-before", self.issued_before.is_some()),
            ("--dry-run", self.dry_run),
            ("--wait", self.wait.is_given()),
        ])?;
        let target = self.target.as_deref().unwrap_or_default();
        let body = ServedReason { reason: self.reason, comment: self.comment.as_deref() };
        let (one, crl) = change_served(api, target, "revoke", &body)?;
        let certificates = vec![one.revoked()?];
        Ok(Box::new(RevokeReport { certificates, crl, many: false, hold: false, follow_up: None }))
    }

    /// Note the certificates that keep an earlier revocation with another reason.
    fn note_reasons_kept(&self, session: &CommandSession, certificates: &[Revoked]) {
        for kept in certificates.iter().filter(|one| one.already && one.reason != self.reason) {
            session.note(format_args!(
                "{}/{} ({}) was already revoked on {} ({}); date and reason stay unchanged",
                kept.role,
                kept.name,
                kept.serial_number,
                rfc3339(kept.revoked_at),
                kept.reason
            ));
        }
    }

    /// Notes other valid certificates for a compromised key: its holder can use them, too.
    fn note_same_key(
        &self,
        session: &CommandSession,
        cluster: &Cluster,
        revoked: &[Record],
    ) -> Result<(), Failure> {
        if self.reason != RevocationReason::KeyCompromise {
            return Ok(());
        }
        let now = session.context.clock.now();
        let mut json: HashSet<SerialNumber> = revoked.iter().map(serial_number).collect();
        for issue in revoked.iter().filter_map(|record| record.issue) {
            for other in cluster.inventory().find_public_key(&issue.public_key)? {
                let serial_number = serial_number(&other);
                if other.status(now) == RecordStatus::Valid && json.insert(serial_number) {
                    let (role, name) = (other.reservation.role, &other.reservation.name);
                    session.note(format_args!(
                        "{role}/{name} ({serial_number}) is still valid for the same key: revoke --public-key FILE \
                         revokes all certificates for the key in FILE, which may be a certificate"
                    ));
                }
            }
        }
        Ok(())
    }

    fn is_bulk(&self) -> bool {
        self.role.is_some() || self.issued_after.is_some() || self.issued_before.is_some()
    }

    fn is_single(&self) -> bool {
        self.target.is_some() && !self.all_generations
    }

    fn records(&self, cluster: &Cluster) -> Result<Vec<Record>, Failure> {
        if let Some(target) = &self.target {
            let target = input::target(target)?;
            if self.all_generations {
                let (role, name) = identity(target)?;
                return Ok(cluster.certificates_of(role, &name)?);
            }
            return Ok(vec![to_revoke(cluster, &target)?]);
        }
        if let Some(file) = &self.file {
            let targets =
                input::certificates(file)?.into_iter().map(|one| Target::Certificate(Box::new(one)));
            let records = targets.map(|target| Ok(cluster.find_to_revoke(&target)?));
            let records = records.collect::<Result<Vec<Record>, Failure>>()?;
            // A certificate that is in the file twice is revoked once.
            let mut seen = HashSet::with_capacity(records.len());
            return Ok(records.into_iter().filter(|record| seen.insert(record.id())).collect());
        }
        if let Some(file) = &self.public_key {
            return Ok(cluster.certificates_for_key(&input::public_key_info(file)?)?);
        }
        let Self { role, issued_after, issued_before, .. } = *self;
        Ok(cluster.find_bulk(&BulkSelection { role, issued_after, issued_before })?)
    }
}

fn to_revoke(cluster: &Cluster, target: &Target) -> Result<Record, Failure> {
    cluster.find_to_revoke(target).map_err(|error| Failure::from(error).or_all_generations())
}

fn serial_number(record: &Record) -> SerialNumber {
    record.reservation.serial_number
}

/// Certificates that would be revoked.
#[derive(Serialize)]
#[serde(transparent)]
struct RevocationPreview(Listing);

impl fmt::Display for RevocationPreview {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.write_first(20, f)?;
        let already = self.0.count(CertificateStatus::Revoked);
        match self.0.len().saturating_sub(already) {
            0 => write!(f, "\nNo certificate would be revoked")?,
            1 => write!(f, "\n1 certificate would be revoked (none is yet)")?,
            several => write!(f, "\n{several} certificates would be revoked (none is yet)")?,
        }
        writeln!(f, "{}", if already == 0 { String::new() } else { format!("; {already} already revoked") })
    }
}

/// Prompt for a confirmation; without a terminal it is refused.
fn confirm(preview: &RevocationPreview) -> Result<(), Failure> {
    let refused = |why: &str| {
        Failure::new(Code::usage("usage.not_confirmed"), format!("{why}; nothing was revoked"))
            .with_hint("see the certificates with --dry-run, then give --yes")
    };
    if !std::io::stdin().is_terminal() {
        return Err(refused("bulk revocation needs a confirmation, and there is no terminal"));
    }
    // Without stderr the user sees no prompt and gives no confirmation.
    let _ = write!(std::io::stderr(), "{preview}\nRevoke them? Type yes: ");
    let mut answer = String::new();
    let read = std::io::stdin().read_line(&mut answer);
    match read {
        Ok(_) if answer.trim() == "yes" => Ok(()),
        _ => Err(refused("it was not confirmed")),
    }
}

/// Result of `revoke` and `hold`; a single certificate is printed in full.
struct RevokeReport {
    certificates: Vec<Revoked>,
    crl: ReportedCrl,
    many: bool,
    /// True for `hold`.
    hold: bool,
    /// `None` on a server.
    follow_up: Option<FollowUp>,
}

impl CommandOutcome for RevokeReport {
    fn json(&self) -> Result<serde_json::Value, serde_json::Error> {
        json(&self.certificates, &self.crl, self.many, self.follow_up.as_ref())
    }

    fn exit_code(&self) -> u8 {
        self.follow_up.as_ref().map_or(0, FollowUp::exit_code)
    }

    fn complaint(&self) -> Option<String> {
        self.follow_up.as_ref().and_then(FollowUp::complaint)
    }
}

/// Serialize a single certificate into the object itself, and several as an array in it.
fn json<T: Serialize>(
    certificates: &[T],
    crl: &ReportedCrl,
    many: bool,
    follow_up: Option<&FollowUp>,
) -> Result<serde_json::Value, serde_json::Error> {
    #[derive(Serialize)]
    struct RevokeReport<'a, C> {
        #[serde(flatten)]
        certificates: C,
        #[serde(flatten)]
        crl: &'a ReportedCrl,
        #[serde(skip_serializing_if = "Option::is_none")]
        pushed: Option<PushedBody<'a>>,
    }
    #[derive(Serialize)]
    struct Many<'a, T> {
        certificates: &'a [T],
    }
    let pushed = follow_up.and_then(FollowUp::body);
    match certificates {
        [certificate] if !many => {
            serde_json::to_value(RevokeReport { certificates: certificate, crl, pushed })
        }
        certificates => {
            serde_json::to_value(RevokeReport { certificates: Many { certificates }, crl, pushed })
        }
    }
}

impl fmt::Display for RevokeReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for one in &self.certificates {
            let (role, name, serial, reason) = (one.role, &one.name, one.serial_number, one.reason);
            let since = rfc3339(one.revoked_at);
            match (one.already, reason) {
                (true, RevocationReason::CertificateHold) => {
                    writeln!(f, "Already on hold since {since}: {role}/{name}")?;
                }
                (true, _) => writeln!(f, "Already revoked on {since}: {role}/{name} ({reason})")?,
                (false, RevocationReason::CertificateHold) => writeln!(f, "On hold: {role}/{name}")?,
                (false, _) => writeln!(f, "Revoked {role}/{name} ({reason})")?,
            }
            writeln!(f, "  serial       {serial}")?;
        }
        let already = self.certificates.iter().filter(|one| one.already).count();
        let changed = self.certificates.len() - already;
        if self.many {
            let what = if self.hold { "put on hold" } else { "revoked" };
            writeln!(f, "{changed} {what}, {already} were already")?;
        }
        write_crl(&self.crl, changed > 0, self.follow_up.as_ref(), f)
    }
}

/// CRL after a change.
#[derive(Serialize)]
struct ReportedCrl {
    /// Path in the home; a server gives none.
    #[serde(serialize_with = "crate::files::as_optional_text", skip_serializing_if = "Option::is_none")]
    crl: Option<PathBuf>,
    crl_number: CrlNumber,
    #[serde(with = "time::serde::rfc3339")]
    this_update: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    next_update: OffsetDateTime,
    /// Roots whose CRLs the file no longer has; a server gives none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    left_out: Vec<KeyIdentifier>,
}

impl From<PublishedCrl> for ReportedCrl {
    fn from(published: PublishedCrl) -> Self {
        let PublishedCrl { crl, crl_number, this_update, next_update, left_out } = published;
        Self { crl: Some(crl), crl_number: crl_number.into(), this_update, next_update, left_out }
    }
}

fn write_crl(
    crl: &ReportedCrl,
    is_new: bool,
    follow_up: Option<&FollowUp>,
    f: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    let until = rfc3339(crl.next_update);
    let file = crl.crl.as_deref().map(typed);
    let place = file.as_ref().map(|file| format!("{file}  ")).unwrap_or_default();
    writeln!(f, "  CRL          {place}(number {}, next update {until})", crl.crl_number)?;
    match follow_up {
        Some(FollowUp::NotPushed(route)) if is_new => route.write(&file.unwrap_or_default(), f),
        Some(follow_up) => write!(f, "{follow_up}"),
        None => Ok(()),
    }
}

/// Body of a revocation on a server.
#[derive(Serialize)]
struct ServedReason<'a> {
    reason: RevocationReason,
    comment: Option<&'a str>,
}

/// Body of a hold or a release on a server.
#[derive(Serialize)]
struct ServedComment<'a> {
    comment: Option<&'a str>,
}

/// Certificate that was changed on a server.
struct ChangedCertificate {
    certificate: ServedCertificate,
    already: bool,
}

impl ChangedCertificate {
    fn name(&self) -> Result<Name, Failure> {
        Ok(Name::parse(self.certificate.role, &self.certificate.name)?)
    }

    fn revoked(self) -> Result<Revoked, Failure> {
        let ServedCertificate { serial_number, role, reason, ref revoked_at, .. } = self.certificate;
        let unreadable = || {
            Failure::new(
                Code::unavailable("api.protocol"),
                "the server does not say when the certificate was revoked",
            )
        };
        let revoked_at = revoked_at.as_deref().and_then(|at| parse_time(at).ok()).ok_or_else(unreadable)?;
        let reason = reason.unwrap_or(RevocationReason::Unspecified);
        Ok(Revoked { serial_number, role, name: self.name()?, reason, revoked_at, already: self.already })
    }

    fn released(self) -> Result<Released, Failure> {
        let ServedCertificate { serial_number, role, .. } = self.certificate;
        Ok(Released { serial_number, role, name: self.name()?, already: self.already })
    }
}

/// Change the revocation of a certificate on a server.
fn change_served(
    api: &ApiSession,
    target: &str,
    change: &str,
    body: &impl Serialize,
) -> Result<(ChangedCertificate, ReportedCrl), Failure> {
    let path = format!("{}/{change}", path_of(&input::target(target)?));
    let answer = api.post(&path, body).map_err(failure)?;
    let ServedChange { certificate, already, crl } = answer;
    let ServedCrlDates { number, this_update, next_update } = crl;
    let crl = ReportedCrl { crl: None, crl_number: number, this_update, next_update, left_out: Vec::new() };
    Ok((ChangedCertificate { certificate, already }, crl))
}

/// The arguments of `hold` and `release`.
#[derive(Debug, Args)]
#[command(after_help = "\
`hold` suspends a certificate (CRL reason certificateHold); `revoke` is permanent.

With --wait, gateways.yaml in the home lists the gateways: see cluster-ca crl push --help.
Exit code 4: recorded, but a gateway did not confirm that it enforces the CRL; retry: cluster-ca crl push.")]
pub(crate) struct Hold {
    /// The certificate: its serial number, ROLE/NAME such as api-user/alice, or its file
    #[arg(value_name = "SERIAL|ROLE/NAME|FILE")]
    target: String,

    /// All certificates ever issued to the identity ROLE/NAME
    #[arg(long)]
    all_generations: bool,

    /// Comment for the audit log
    #[arg(long, value_name = "TEXT")]
    comment: Option<String>,

    #[command(flatten)]
    wait: Wait,

    #[command(flatten)]
    server: ServerChoice,
}

impl Hold {
    pub(crate) fn hold(self, session: &CommandSession) -> CommandResult {
        if let Some(api) = self.server.open(session)? {
            let (one, crl) = self.change(&api, "hold")?;
            let certificates = vec![one.revoked()?];
            return Ok(Box::new(RevokeReport {
                certificates,
                crl,
                many: false,
                hold: true,
                follow_up: None,
            }));
        }
        let plan = self.wait.plan(session)?;
        let mut authority = Authority::open(&session.home(), &session.context)?;
        session.report_opened(&authority);
        let cluster = authority.cluster();
        let records = match self.identity()? {
            Some((role, name)) => cluster.certificates_of(role, &name)?,
            None => vec![holdable(to_revoke(cluster, &input::target(&self.target)?)?)?],
        };
        if let Some(plan) = &plan {
            plan.refuse_among(&records, "suspended")?;
        }
        let hold = RevocationReason::CertificateHold;
        let (certificates, crl) = authority.revoke(&records, hold, self.comment.as_deref())?;
        session.report_left_out(&crl);
        drop(authority);
        let (crl, follow_up) = (crl.into(), Some(FollowUp::of(session, plan.as_ref())));
        Ok(Box::new(RevokeReport { certificates, crl, many: self.all_generations, hold: true, follow_up }))
    }

    pub(crate) fn release(self, session: &CommandSession) -> CommandResult {
        if let Some(api) = self.server.open(session)? {
            let (one, crl) = self.change(&api, "release")?;
            let certificates = vec![one.released()?];
            return Ok(Box::new(ReleaseReport { certificates, crl, many: false, follow_up: None }));
        }
        let plan = self.wait.plan(session)?;
        let mut authority = Authority::open(&session.home(), &session.context)?;
        session.report_opened(&authority);
        let cluster = authority.cluster();
        let records = match self.identity()? {
            Some((role, name)) => cluster.certificates_on_hold(role, &name)?,
            None => vec![
                cluster
                    .find_to_release(&input::target(&self.target)?)
                    .map_err(|error| Failure::from(error).or_all_generations())?,
            ],
        };
        let (certificates, crl) = authority.release(&records, self.comment.as_deref())?;
        session.report_left_out(&crl);
        drop(authority);
        let (crl, follow_up) = (crl.into(), Some(FollowUp::of(session, plan.as_ref())));
        Ok(Box::new(ReleaseReport { certificates, crl, many: self.all_generations, follow_up }))
    }

    /// Change the certificate on a server.
    fn change(&self, api: &ApiSession, change: &str) -> Result<(ChangedCertificate, ReportedCrl), Failure> {
        refuse_on_server(&[("--all-generations", self.all_generations), ("--wait", self.wait.is_given())])?;
        let body = ServedComment { comment: self.comment.as_deref() };
        change_served(api, &self.target, change, &body)
    }

    /// The identity, with `--all-generations`.
    fn identity(&self) -> Result<Option<(Role, Name)>, Failure> {
        if self.all_generations { identity(input::target(&self.target)?).map(Some) } else { Ok(None) }
    }
}

/// Require the target to be an identity, for `--all-generations`.
fn identity(target: Target) -> Result<(Role, Name), Failure> {
    match target {
        Target::Identity(role, name) => Ok((role, name)),
        Target::Certificate(_) | Target::Serial(_) | Target::Label(_) => {
            Err(Failure::new(Code::usage("usage.target"), "--all-generations takes an identity, ROLE/NAME"))
        }
    }
}

/// Refuse a hold on a revoked certificate: revocation is permanent, and a hold can be lifted.
fn holdable(record: Record) -> Result<Record, Failure> {
    match record.revocation {
        Some(revocation) if !record.is_on_hold() => {
            let since = rfc3339(revocation.at);
            let message =
                format!("certificate {} was revoked permanently on {since}", serial_number(&record));
            Err(Failure::new(Code::refused("ca.revocation_permanent"), message))
        }
        _ => Ok(record),
    }
}

/// Result of `release`.
struct ReleaseReport {
    certificates: Vec<Released>,
    crl: ReportedCrl,
    many: bool,
    /// `None` on a server.
    follow_up: Option<FollowUp>,
}

impl CommandOutcome for ReleaseReport {
    fn json(&self) -> Result<serde_json::Value, serde_json::Error> {
        json(&self.certificates, &self.crl, self.many, self.follow_up.as_ref())
    }

    fn exit_code(&self) -> u8 {
        self.follow_up.as_ref().map_or(0, FollowUp::exit_code)
    }

    fn complaint(&self) -> Option<String> {
        self.follow_up.as_ref().and_then(FollowUp::complaint)
    }
}

impl fmt::Display for ReleaseReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Released { serial_number, role, name, already } in &self.certificates {
            let what = if *already { "Already released" } else { "Released" };
            writeln!(f, "{what}: {role}/{name}")?;
            writeln!(f, "  serial       {serial_number}")?;
        }
        write_crl(&self.crl, self.certificates.iter().any(|one| !one.already), self.follow_up.as_ref(), f)
    }
}
