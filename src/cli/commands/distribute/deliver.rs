//! `distribute`: delivery of certificates, keys, trust bundle and CRL by ssh.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal};
use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use time::Duration;

use crate::audit::{Action, Outcome};
use crate::ca::{Cluster, InventoryWriter, Target, TrustFiles};
use crate::clock::parse_duration;
use crate::distribute::{
    AccountName, Delivered, DeliveryError, DeliveryList, FileStem, Installation, KeyMode, Package,
    PrivilegeProgram, ReloadCommand, Ssh, SshDestination, in_parallel,
};
use crate::error::{Code, Coded};
use crate::files;
use crate::identity::Role;
use crate::store::{Record, StoreError};

use super::job::{DeliveryJob, PreparedDelivery};
use super::outcome::{DeliveryPlan, FailedPlan, Planned, Plans, Report, Summary};
use crate::cli::input;
use crate::cli::session::CommandSession;
use crate::terminal::progress;
use crate::terminal::report::{CommandResult, Failure, Shown};

/// The arguments of `distribute`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cluster-ca distribute node-agent/6f1b1d3c-3a54-4b7e-9d1e-2f4c5b6a7d8e --to root@node1:/etc/cluster
  cluster-ca distribute api-user/plugin --to root@node1:/etc/cluster --as plugin
  cluster-ca distribute --all --forget-key

hosts.yaml in the home lists the deliveries:
  deliveries:
    - identity: control-service/api.example.com
      to: root@api.example.com:/etc/cluster
      as: control-service                         # the default of its role
      owner: control-service                      # optional, as are group, mode (0640) and become
      reload: systemctl reload control-service    # optional")]
pub(crate) struct Distribute {
    /// The certificate: its serial number, ROLE/NAME such as api-user/alice, or its file
    #[arg(value_name = "SERIAL|ROLE/NAME|FILE", required_unless_present = "all", conflicts_with = "all")]
    target: Option<String>,

    /// Destination of the files [default: that of hosts.yaml in the home]
    #[arg(long, value_name = "[USER@]HOST[:PORT]:/DIRECTORY", conflicts_with = "all")]
    to: Option<SshDestination>,

    /// Base name of certificate and key there [default: control-service, node or user, by role]
    #[arg(long = "as", value_name = "NAME", requires = "to")]
    stem: Option<FileStem>,

    /// Account there that directory and files belong to [default: the owner of the directory]
    #[arg(long, value_name = "ACCOUNT", requires = "to")]
    owner: Option<AccountName>,

    /// Group of directory and files there [default: the group of the directory]
    #[arg(long, value_name = "GROUP", requires = "to")]
    group: Option<AccountName>,

    /// Mode of the private key there: 0600, 0400, 0640 or 0440 [default: 0600]
    #[arg(long, value_name = "MODE", requires = "to")]
    mode: Option<KeyMode>,

    /// Program that gives the login the rights of root there: sudo
    #[arg(long = "become", value_name = "PROGRAM", requires = "to")]
    privilege: Option<PrivilegeProgram>,

    /// Command to run there after the files are in place
    #[arg(long, value_name = "COMMAND", requires = "to")]
    reload: Option<ReloadCommand>,

    /// Make all deliveries listed in hosts.yaml in the home
    #[arg(long)]
    all: bool,

    /// Remove the private key from this machine after it arrived at all its destinations
    #[arg(long)]
    forget_key: bool,

    /// Show what would be sent, without connecting
    #[arg(long)]
    dry_run: bool,

    /// Number of concurrent deliveries
    #[arg(long, value_name = "N", default_value = "8")]
    parallel: NonZeroUsize,

    /// Timeout of each delivery, including the reload command
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = parse_duration)]
    timeout: Duration,

    /// Reason for the audit log
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

impl Distribute {
    pub(crate) fn run(self, session: &CommandSession) -> CommandResult {
        let cluster = Cluster::open(&session.home(), &session.context)?;
        let jobs = self.jobs(session, &cluster)?;
        let single = self.to.is_some();
        let trust = cluster.trust_files()?;
        let ready = jobs.iter().map(|job| self.prepare(&cluster, job, &trust));
        if self.dry_run {
            let mut plans = jobs.iter().zip(ready);
            if single && let Some((_, ready)) = plans.next() {
                return Ok(Box::new(Shown(DeliveryPlan::of(&ready?))));
            }
            let plans = plans.map(|(job, ready)| match ready {
                Ok(ready) => Planned::Ready(DeliveryPlan::of(&ready)),
                Err(failure) => Planned::Failed(FailedPlan::of(job, failure)),
            });
            return Ok(Box::new(plans.collect::<Plans>()));
        }
        // A certificate that cannot be exported fails alone; the other deliveries are made.
        let ready: Vec<_> = ready.collect();
        let mut reports: Vec<Report> =
            jobs.iter().zip(&ready).map(|(job, ready)| Report::begin(job, ready.as_ref().err())).collect();
        let ready: Vec<PreparedDelivery<'_>> = ready.into_iter().flatten().collect();
        let mut open: Vec<&mut Report> = reports.iter_mut().filter(|report| !report.has_failed()).collect();
        self.deliver(session, &ready, &mut open);
        if self.forget_key {
            self.forget_keys(session, &ready, &mut open);
        }
        match reports.pop() {
            Some(report) if single => report.into_result(),
            last => Ok(Box::new(Summary(reports.into_iter().chain(last).collect()))),
        }
    }

    /// Deliveries of the arguments, or of `hosts.yaml`.
    fn jobs(&self, session: &CommandSession, cluster: &Cluster) -> Result<Vec<DeliveryJob>, Failure> {
        let target = self.target.as_deref().map(input::target).transpose()?;
        if let (Some(target), Some(destination)) = (&target, &self.to) {
            return Ok(vec![DeliveryJob {
                target: target.clone(),
                destination: destination.clone(),
                stem: self.stem.clone(),
                reload: self.reload.clone(),
                installation: Installation {
                    owner: self.owner.clone(),
                    group: self.group.clone(),
                    key_mode: self.mode.unwrap_or_default(),
                    privilege: self.privilege,
                },
            }]);
        }
        let file = session.home().directory().join(DeliveryList::FILE);
        let bytes = files::read_write_protected(&file, DeliveryList::LIMIT).map_err(|error| {
            match error.is_missing() {
            true => Failure::from(error).with_hint(
                "give a destination with --to, or list it in hosts.yaml: see `cluster-ca distribute --help`",
            ),
            false => error.into(),
        }
        })?;
        let listed = DeliveryList::parse(&file.display().to_string(), &bytes)?;
        let jobs = listed.deliveries().iter().map(|delivery| DeliveryJob {
            target: Target::Identity(delivery.role, delivery.name.clone()),
            destination: delivery.destination.clone(),
            stem: Some(delivery.stem.clone()),
            reload: delivery.reload.clone(),
            installation: delivery.installation.clone(),
        });
        let Some(target) = target else { return Ok(jobs.collect()) };
        let listed = match &target {
            Target::Identity(..) => target.clone(),
            Target::Certificate(_) | Target::Serial(_) | Target::Label(_) => {
                let reservation = cluster.find(&target)?.reservation;
                Target::Identity(reservation.role, reservation.name)
            }
        };
        let jobs = jobs.filter(|job| job.target == listed);
        let jobs: Vec<DeliveryJob> = jobs.map(|job| DeliveryJob { target: target.clone(), ..job }).collect();
        if jobs.is_empty() {
            let message = format!("{} lists no destination for {target}", file.display());
            return Err(Failure::new(Code::usage("usage.destination"), message)
                .with_hint("give a destination with --to"));
        }
        Ok(jobs)
    }

    fn prepare<'a>(
        &self,
        cluster: &Cluster,
        job: &'a DeliveryJob,
        trust: &TrustFiles,
    ) -> Result<PreparedDelivery<'a>, Failure> {
        let leaf = cluster.export(&job.target)?;
        if self.forget_key && self.to.is_some() && leaf.key_pem.is_none() {
            let serial_number = leaf.record.reservation.serial_number;
            return Err(StoreError::NoKey { serial_number }.into());
        }
        let stem = job.stem.clone().unwrap_or_else(|| FileStem::of_role(leaf.record.reservation.role));
        let TrustFiles { bundle, crl, statement } = trust.clone();
        let package = Package::new(&stem, leaf.key_pem, leaf.certificate_pem, bundle, crl);
        let package = match statement {
            // Only gateways judge tokens.
            Some(statement) if leaf.record.reservation.role == Role::GATEWAY => {
                package.with_statement(statement)
            }
            _ => package,
        };
        Ok(PreparedDelivery { job, record: leaf.record, package })
    }

    /// Make the deliveries, and record each in the audit log; `reports` has one element for each.
    fn deliver(&self, session: &CommandSession, ready: &[PreparedDelivery<'_>], reports: &mut [&mut Report]) {
        let ssh = Ssh {
            program: PathBuf::from("ssh"),
            interactive: ready.len() == 1 && io::stdin().is_terminal(),
            timeout: self.timeout.unsigned_abs(),
        };
        let entropy = session.context.entropy.as_ref();
        let progress = progress::deliveries(ready.len(), session.format());
        let deliver = |PreparedDelivery { job, package, .. }: &PreparedDelivery<'_>| {
            ssh.deliver(package, &job.destination, &job.installation, job.reload.as_ref(), entropy)
        };
        in_parallel(ready, self.parallel, deliver, |at, ended| {
            progress.inc(1);
            if let (Some(ready), Some(report)) = (ready.get(at), reports.get_mut(at)) {
                let noted = self.note(session, ready, &ended);
                report.delivery_ended(ended, noted);
            }
        });
        progress.finish_and_clear();
    }

    fn note(
        &self,
        session: &CommandSession,
        ready: &PreparedDelivery<'_>,
        ended: &Result<Delivered, DeliveryError>,
    ) -> Result<(), Failure> {
        let reservation = &ready.record.reservation;
        let mut details = json!({
            "role": reservation.role,
            "name": reservation.name,
            "destination": ready.job.destination,
            "with_key": ready.package.has_key(),
        });
        let outcome = match ended {
            Ok(delivered) => {
                details["reload_status"] = json!(delivered.reload_status);
                Outcome::Success
            }
            Err(error) => {
                details["error"] = json!(error.code());
                Outcome::Failure
            }
        };
        // Nothing was changed there, so that a timer fills no log.
        if ended.as_ref().is_ok_and(|delivered| !delivered.changed) {
            return Ok(());
        }
        let mut inventory = InventoryWriter::open(&session.home(), &session.context)?;
        let reason = self.reason.as_deref();
        Ok(inventory.note(Action::CertificateDeliver, &ready.record, outcome, details, reason)?)
    }

    /// Remove each key that arrived at all its destinations.
    fn forget_keys(
        &self,
        session: &CommandSession,
        ready: &[PreparedDelivery<'_>],
        reports: &mut [&mut Report],
    ) {
        let mut sent: BTreeMap<_, Vec<(&PreparedDelivery<'_>, &mut Report)>> = BTreeMap::new();
        for (ready, report) in ready.iter().zip(reports) {
            if ready.package.has_key() {
                sent.entry(ready.record.reservation.serial_number).or_default().push((ready, report));
            }
        }
        for mut deliveries in sent.into_values() {
            if deliveries.iter().any(|(_, report)| report.has_failed()) {
                continue;
            }
            let destinations: Vec<_> = deliveries.iter().map(|(ready, _)| &ready.job.destination).collect();
            let Some((ready, _)) = deliveries.first() else { continue };
            let forgotten = self.forget(session, &ready.record, &destinations);
            for (_, report) in &mut deliveries {
                report.key_forgotten(&forgotten);
            }
        }
    }

    fn forget(
        &self,
        session: &CommandSession,
        record: &Record,
        destinations: &[&SshDestination],
    ) -> Result<PathBuf, Failure> {
        let details = json!({
            "role": record.reservation.role,
            "name": record.reservation.name,
            "key": record.reservation.key_path.as_ref().map(|path| path.to_string_lossy()),
            "destinations": destinations,
        });
        let mut inventory = InventoryWriter::open(&session.home(), &session.context)?;
        Ok(inventory.forget_key(record, details, self.reason.as_deref())?)
    }
}
