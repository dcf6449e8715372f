//! `revoke`, `hold` and `release`.

use std::collections::HashSet;
use std::fmt;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;

use clap::{ArgGroup, Args};
use serde::Serialize;
use time::OffsetDateTime;

use crate::ca::{Authority, BulkSelection, Cluster, PublishedCrl, Released, Revoked, Target};
use crate::clock::{parse_time, rfc3339};
use crate::error::Code;
use crate::identity::{Name, Role};
use crate::revocation::RevocationReason;
use crate::store::{Record, RecordStatus};
use crate::x509::SerialNumber;

use super::gateways::{FollowUp, PushReport, Wait};
use super::list::Listing;
use crate::cli::input;
use crate::cli::session::Session;
use crate::terminal::report::{CommandResult, Failure, Outcome, Shown, typed};

/// The arguments of `revoke`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cluster-ca revoke api-user/alice --reason key-compromise --wait
  cluster-ca revoke --role node-agent --issued-before 2027-01-31 --dry-run

With --wait, gateways.yaml in the home says which gateways there are: see cluster-ca crl push --help.
Exit code 4: it is revoked, and a gateway did not say that it enforces it; cluster-ca crl push goes on.")]
#[command(group(ArgGroup::new("which").required(true).multiple(true)
    .args(["target", "file", "public_key", "role", "issued_after", "issued_before"])))]
pub(crate) struct Revoke {
    /// The certificate: its serial number, ROLE/NAME such as api-user/alice, or its file
    #[arg(
        value_name = "SERIAL|ROLE/NAME|FILE",
        conflicts_with_all = ["file", "public_key", "role", "issued_after", "issued_before"]
    )]
    target: Option<String>,

    /// Every certificate that the identity ROLE/NAME ever had
    #[arg(long, requires = "target")]
    all_generations: bool,

    /// Every certificate in this file
    #[arg(long, value_name = "FILE", conflicts_with_all = ["public_key", "role", "issued_after", "issued_before"])]
    file: Option<PathBuf>,

    /// Every certificate for the key in this file: a public key, certificate, request or private key
    #[arg(long, value_name = "FILE", conflicts_with_all = ["role", "issued_after", "issued_before"])]
    public_key: Option<PathBuf>,

    /// In bulk: those of this role (control-service, node-agent or api-user)
    #[arg(long)]
    role: Option<Role>,

    /// In bulk: those issued at this time or later, such as 2027-01-31 or 2027-01-31T12:00:00Z
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    issued_after: Option<OffsetDateTime>,

    /// In bulk: those issued before this time
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    issued_before: Option<OffsetDateTime>,

    /// Why, in RFC 5280's words: unspecified, key-compromise, affiliation-changed, superseded,
    /// cessation-of-operation or privilege-withdrawn
    #[arg(long, value_name = "REASON", default_value = "unspecified")]
    reason: RevocationReason,

    /// More about it, for the audit log
    #[arg(long, value_name = "TEXT")]
    comment: Option<String>,

    /// Show who would be hit, and revoke nothing
    #[arg(long)]
    dry_run: bool,

    /// Do not ask before revoking in bulk
    #[arg(long, short)]
    yes: bool,

    #[command(flatten)]
    wait: Wait,
}

impl Revoke {
    pub(crate) fn run(self, session: &Session) -> CommandResult {
        if !RevocationReason::FOR_LEAVES.contains(&self.reason) {
            let message = format!("{} is not a reason for revoking a leaf certificate", self.reason);
            let failure = Failure::new(Code::usage("usage.reason"), message);
            return Err(match self.reason {
                RevocationReason::CertificateHold => failure.with_hint("use cluster-ca hold"),
                _ => failure,
            });
        }
        let plan = self.wait.plan(session)?;
        let mut confirmed = None;
        if self.dry_run || (self.is_bulk() && !self.yes) {
            let cluster = Cluster::open(&session.home(), &session.context)?;
            let records = self.records(&cluster)?;
            let hit = Hit(Listing::new(&records, &cluster, session.context.clock.now()));
            if self.dry_run {
                return Ok(Box::new(Shown(hit)));
            }
            confirm(&hit)?;
            confirmed = Some(records.iter().map(serial_number).collect::<HashSet<_>>());
        }
        let mut authority = Authority::open(&session.home(), &session.context)?;
        session.tell_opened(&authority);
        let mut records = self.records(authority.cluster())?;
        if let Some(confirmed) = &confirmed {
            // What was issued while somebody looked at the preview was not in it.
            records.retain(|record| confirmed.contains(&serial_number(record)));
        }
        if let Some(plan) = &plan {
            plan.refuse_among(&records)?;
        }
        let (certificates, crl) = authority.revoke(&records, self.reason, self.comment.as_deref())?;
        self.note_reasons_kept(session, &certificates);
        self.note_same_key(session, authority.cluster(), &records)?;
        // The next one need not wait until gateways have answered.
        drop(authority);
        let follow_up = FollowUp::of(session, plan.as_ref());
        Ok(Box::new(Ended { certificates, crl, many: !self.is_single(), hold: false, follow_up }))
    }

    /// Says of what was revoked before that it stays so for the reason that it was.
    fn note_reasons_kept(&self, session: &Session, certificates: &[Revoked]) {
        for kept in certificates.iter().filter(|one| one.already && one.reason != self.reason) {
            session.note(format_args!(
                "{}/{} ({}) was revoked on {} already ({}), and that stays so",
                kept.role,
                kept.name,
                kept.serial_number,
                rfc3339(kept.revoked_at),
                kept.reason
            ));
        }
    }

    /// Whoever has the key has it for every certificate: names those that still hold for it.
    fn note_same_key(&self, session: &Session, cluster: &Cluster, revoked: &[Record]) -> Result<(), Failure> {
        if self.reason != RevocationReason::KeyCompromise {
            return Ok(());
        }
        let now = session.context.clock.now();
        let mut told: HashSet<SerialNumber> = revoked.iter().map(serial_number).collect();
        for issue in revoked.iter().filter_map(|record| record.issue) {
            for other in cluster.inventory().find_public_key(&issue.public_key)? {
                let serial_number = serial_number(&other);
                if other.status(now) == RecordStatus::Valid && told.insert(serial_number) {
                    let (role, name) = (other.reservation.role, &other.reservation.name);
                    session.note(format_args!(
                        "{role}/{name} ({serial_number}) still holds for the same key: revoke --public-key FILE \
                         revokes every certificate for the key in FILE, which may be a certificate"
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
            // One that is in the file twice is revoked once.
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

/// Who would be hit.
#[derive(Serialize)]
#[serde(transparent)]
struct Hit(Listing);

impl fmt::Display for Hit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.write_first(20, f)?;
        writeln!(f, "\n{} certificates would be revoked (nothing is yet)", self.0.len())
    }
}

/// Asks whoever is at the terminal; nobody there is a no.
fn confirm(hit: &Hit) -> Result<(), Failure> {
    let refused = |why: &str| {
        Failure::new(Code::usage("usage.not_confirmed"), format!("{why}; nothing was revoked"))
            .with_hint("see who would be hit with --dry-run, then give --yes")
    };
    if !std::io::stdin().is_terminal() {
        return Err(refused("revoking in bulk has to be confirmed, and there is no terminal"));
    }
    // Nobody is left to ask when this fails; then nothing is read either.
    let _ = write!(std::io::stderr(), "{hit}\nRevoke them? Type yes: ");
    let mut answer = String::new();
    let read = std::io::stdin().read_line(&mut answer);
    match read {
        Ok(_) if answer.trim() == "yes" => Ok(()),
        _ => Err(refused("it was not confirmed")),
    }
}

/// What was revoked; one that was asked for by itself is told in full.
struct Ended {
    certificates: Vec<Revoked>,
    crl: PublishedCrl,
    many: bool,
    /// For the time being.
    hold: bool,
    follow_up: FollowUp,
}

impl Outcome for Ended {
    fn json(&self) -> Result<serde_json::Value, serde_json::Error> {
        json(&self.certificates, &self.crl, self.many, &self.follow_up)
    }

    fn exit_code(&self) -> u8 {
        self.follow_up.exit_code()
    }

    fn complaint(&self) -> Option<String> {
        self.follow_up.complaint()
    }
}

/// One object for a certificate that was asked for by itself, an array within it for many.
fn json<T: Serialize>(
    certificates: &[T],
    crl: &PublishedCrl,
    many: bool,
    follow_up: &FollowUp,
) -> Result<serde_json::Value, serde_json::Error> {
    #[derive(Serialize)]
    struct Ended<'a, C> {
        #[serde(flatten)]
        certificates: C,
        #[serde(flatten)]
        crl: &'a PublishedCrl,
        #[serde(skip_serializing_if = "Option::is_none")]
        pushed: Option<Pushed<'a>>,
    }
    #[derive(Serialize)]
    struct Many<'a, T> {
        certificates: &'a [T],
    }
    #[derive(Serialize)]
    #[serde(untagged)]
    enum Pushed<'a> {
        Failed { error: &'a Failure },
        Report(&'a PushReport),
    }
    let pushed = follow_up.pushed().map(|pushed| match pushed {
        Ok(report) => Pushed::Report(report),
        Err(error) => Pushed::Failed { error },
    });
    match certificates {
        [certificate] if !many => serde_json::to_value(Ended { certificates: certificate, crl, pushed }),
        certificates => serde_json::to_value(Ended { certificates: Many { certificates }, crl, pushed }),
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for one in &self.certificates {
            let (role, name, serial, reason) = (one.role, &one.name, one.serial_number, one.reason);
            let since = rfc3339(one.revoked_at);
            match (one.already, reason) {
                (true, RevocationReason::CertificateHold) => {
                    writeln!(f, "Was on hold already, since {since}: {role}/{name}")?;
                }
                (true, _) => writeln!(f, "Was revoked already, on {since}: {role}/{name} ({reason})")?,
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
        write_crl(&self.crl, changed > 0, &self.follow_up, f)
    }
}

fn write_crl(
    crl: &PublishedCrl,
    is_new: bool,
    follow_up: &FollowUp,
    f: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    let (file, until) = (typed(&crl.crl), rfc3339(crl.next_update));
    writeln!(f, "  CRL          {file}  (number {}, until {until})", crl.crl_number)?;
    match follow_up {
        FollowUp::Left { listed: true } if is_new => {
            writeln!(f, "\nNext: cluster-ca crl push    (no gateway knows of it yet)")
        }
        FollowUp::Left { listed: false } if is_new => {
            writeln!(f, "\nNext: copy the CRL to every gateway, for example")?;
            writeln!(f, "  scp {file} root@GATEWAY:/etc/cluster/")
        }
        follow_up => write!(f, "{follow_up}"),
    }
}

/// The arguments of `hold` and `release`.
#[derive(Debug, Args)]
#[command(after_help = "\
With --wait, gateways.yaml in the home says which gateways there are: see cluster-ca crl push --help.
Exit code 4: it is done here, and a gateway did not say that it enforces it; cluster-ca crl push goes on.")]
pub(crate) struct Hold {
    /// The certificate: its serial number, ROLE/NAME such as api-user/alice, or its file
    #[arg(value_name = "SERIAL|ROLE/NAME|FILE")]
    target: String,

    /// Every certificate that the identity ROLE/NAME ever had
    #[arg(long)]
    all_generations: bool,

    /// Why, for the audit log
    #[arg(long, value_name = "TEXT")]
    comment: Option<String>,

    #[command(flatten)]
    wait: Wait,
}

impl Hold {
    pub(crate) fn hold(self, session: &Session) -> CommandResult {
        let plan = self.wait.plan(session)?;
        let mut authority = Authority::open(&session.home(), &session.context)?;
        session.tell_opened(&authority);
        let cluster = authority.cluster();
        let records = match self.identity()? {
            Some((role, name)) => cluster.certificates_of(role, &name)?,
            None => vec![holdable(to_revoke(cluster, &input::target(&self.target)?)?)?],
        };
        if let Some(plan) = &plan {
            plan.refuse_among(&records)?;
        }
        let hold = RevocationReason::CertificateHold;
        let (certificates, crl) = authority.revoke(&records, hold, self.comment.as_deref())?;
        drop(authority);
        let follow_up = FollowUp::of(session, plan.as_ref());
        Ok(Box::new(Ended { certificates, crl, many: self.all_generations, hold: true, follow_up }))
    }

    pub(crate) fn release(self, session: &Session) -> CommandResult {
        let plan = self.wait.plan(session)?;
        let mut authority = Authority::open(&session.home(), &session.context)?;
        session.tell_opened(&authority);
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
        drop(authority);
        let follow_up = FollowUp::of(session, plan.as_ref());
        Ok(Box::new(HoldAgain { certificates, crl, many: self.all_generations, follow_up }))
    }

    /// The identity, when all of its certificates are meant.
    fn identity(&self) -> Result<Option<(Role, Name)>, Failure> {
        if self.all_generations { identity(input::target(&self.target)?).map(Some) } else { Ok(None) }
    }
}

/// The identity that a target is, for `--all-generations`.
fn identity(target: Target) -> Result<(Role, Name), Failure> {
    match target {
        Target::Identity(role, name) => Ok((role, name)),
        Target::Certificate(_) | Target::Serial(_) => {
            Err(Failure::new(Code::usage("usage.target"), "--all-generations takes an identity, ROLE/NAME"))
        }
    }
}

/// What is revoked for good cannot be put on hold: that would say it may come back.
fn holdable(record: Record) -> Result<Record, Failure> {
    match record.revocation {
        Some(revocation) if !record.is_on_hold() => {
            let since = rfc3339(revocation.at);
            let message = format!("certificate {} was revoked for good on {since}", serial_number(&record));
            Err(Failure::new(Code::refused("ca.revoked_for_good"), message))
        }
        _ => Ok(record),
    }
}

/// What was released; one that was asked for by itself is told in full.
struct HoldAgain {
    certificates: Vec<Released>,
    crl: PublishedCrl,
    many: bool,
    follow_up: FollowUp,
}

impl Outcome for HoldAgain {
    fn json(&self) -> Result<serde_json::Value, serde_json::Error> {
        json(&self.certificates, &self.crl, self.many, &self.follow_up)
    }

    fn exit_code(&self) -> u8 {
        self.follow_up.exit_code()
    }

    fn complaint(&self) -> Option<String> {
        self.follow_up.complaint()
    }
}

impl fmt::Display for HoldAgain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Released { serial_number, role, name, already } in &self.certificates {
            let what = if *already { "Was released already" } else { "Released" };
            writeln!(f, "{what}: {role}/{name}")?;
            writeln!(f, "  serial       {serial_number}")?;
        }
        write_crl(&self.crl, self.certificates.iter().any(|one| !one.already), &self.follow_up, f)
    }
}
