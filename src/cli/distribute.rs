//! `distribute`: files carried to the machines that use them, and a word on each machine.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, IsTerminal};
use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use serde_json::{Value, json};
use time::Duration;

use crate::audit::{Action, Outcome as AuditOutcome};
use crate::ca::{Cluster, Home, Registrar, Target, TrustFiles};
use crate::clock::parse_duration;
use crate::distribute::{
    Delivered, DeliveryError, Destination, FileStem, Hosts, Package, ReloadCommand, Ssh, in_parallel,
};
use crate::files;
use crate::store::Record;

use super::Session;
use super::report::{CommandResult, Failure, Outcome, Shown};

/// The arguments of `distribute`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cluster-ca distribute node-agent/6f1b1d3c-3a54-4b7e-9d1e-2f4c5b6a7d8e --to root@node1:/etc/cluster
  cluster-ca distribute api-user/plugin --to root@node1:/etc/cluster --as plugin
  cluster-ca distribute --all --forget-key

hosts.yaml in the home says what goes where:
  deliveries:
    - identity: control-service/api.example.com
      to: root@api.example.com:/etc/cluster
      as: control-service                         # the default of its role
      reload: systemctl reload control-service    # if anything is to be run")]
pub(super) struct Distribute {
    /// The certificate: ROLE/NAME such as api-user/alice, or its serial number
    #[arg(value_name = "ROLE/NAME|SERIAL", required_unless_present = "all", conflicts_with = "all")]
    target: Option<String>,

    /// Where its files go [default: where hosts.yaml in the home sends them]
    #[arg(long, value_name = "[USER@]HOST[:PORT]:/DIRECTORY", conflicts_with = "all")]
    to: Option<Destination>,

    /// What certificate and key are called there [default: control-service, node or user, by role]
    #[arg(long = "as", value_name = "NAME", requires = "to")]
    stem: Option<FileStem>,

    /// A command to run there once the files are in their places
    #[arg(long, value_name = "COMMAND", requires = "to")]
    reload: Option<ReloadCommand>,

    /// Everything that hosts.yaml in the home lists
    #[arg(long)]
    all: bool,

    /// Remove the private key from this machine once it has arrived everywhere it was sent to
    #[arg(long)]
    forget_key: bool,

    /// Show what would be sent, and connect to nobody
    #[arg(long)]
    dry_run: bool,

    /// How many machines at a time
    #[arg(long, value_name = "N", default_value = "8")]
    parallel: NonZeroUsize,

    /// The longest that one machine may take, the reload command included
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = parse_duration)]
    timeout: Duration,

    /// Why, for the audit log
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

/// One delivery to be made.
struct Job {
    target: Target,
    destination: Destination,
    stem: Option<FileStem>,
    reload: Option<ReloadCommand>,
}

/// A delivery with everything that it needs.
struct Ready {
    record: Record,
    package: Package,
}

impl Distribute {
    pub(super) fn run(self, session: &Session) -> CommandResult {
        let home = session.home();
        let jobs = self.jobs(session)?;
        let cluster = Cluster::open(&home, &session.context)?;
        let trust = cluster.trust_files()?;
        let ready: Vec<_> = jobs.iter().map(|job| self.prepare(&cluster, job, &trust)).collect();
        let single = self.to.is_some();
        if self.dry_run {
            let plans = jobs.iter().zip(ready).map(|(job, ready)| Plan::new(job, ready));
            return shown(single, plans.collect::<Result<_, _>>()?);
        }
        let mut reports = self.deliver_all(session, &jobs, &ready);
        if self.forget_key {
            self.forget_keys(session, &jobs, &ready, &mut reports);
        }
        match reports.pop() {
            Some(Report { failure: Some(failure), .. }) if single => Err(failure),
            Some(report) if single => Ok(Box::new(Shown(report))),
            last => {
                reports.extend(last);
                Ok(Box::new(Summary(reports)))
            }
        }
    }

    /// What is to be delivered: as the arguments say, or `hosts.yaml`.
    fn jobs(&self, session: &Session) -> Result<Vec<Job>, Failure> {
        let target = self.target.as_deref().map(str::parse::<Target>).transpose()?;
        if let (Some(target), Some(destination)) = (&target, &self.to) {
            return Ok(vec![Job {
                target: target.clone(),
                destination: destination.clone(),
                stem: self.stem.clone(),
                reload: self.reload.clone(),
            }]);
        }
        let file = hosts_file(&session.home());
        let listed = Hosts::parse(&file.display().to_string(), &files::read(&file, Hosts::LIMIT).map_err(
            |error| {
                let missing = error.is_missing();
                let failure = Failure::from(error);
                if missing {
                    failure.with_hint("say where to with --to, or list it in hosts.yaml: see `cluster-ca distribute --help`")
                } else {
                    failure
                }
            },
        )?)?;
        let jobs: Vec<Job> = listed
            .deliveries()
            .iter()
            .map(|delivery| Job {
                target: Target::Identity(delivery.role, delivery.name.clone()),
                destination: delivery.destination.clone(),
                stem: Some(delivery.stem.clone()),
                reload: delivery.reload.clone(),
            })
            .filter(|job| target.as_ref().is_none_or(|target| job.target == *target))
            .collect();
        match (jobs.is_empty(), &target) {
            (true, Some(target)) => {
                let message = format!("{} sends {target} nowhere", file.display());
                Err(Failure::new("usage.destination", message).with_hint("say where to with --to"))
            }
            _ => Ok(jobs),
        }
    }

    fn prepare(&self, cluster: &Cluster, job: &Job, trust: &TrustFiles) -> Result<Ready, Failure> {
        let leaf = cluster.hand_over(&job.target)?;
        if self.forget_key && self.to.is_some() && leaf.key_pem.is_none() {
            let serial_number = leaf.record.intent.serial_number;
            return Err(crate::store::StoreError::NoKey { serial_number }.into());
        }
        let stem = job.stem.clone().unwrap_or_else(|| FileStem::of_role(leaf.record.intent.role));
        let TrustFiles { bundle, crl } = trust.clone();
        let package = Package::new(&stem, leaf.key_pem, leaf.certificate_pem, bundle, crl);
        Ok(Ready { record: leaf.record, package })
    }

    /// Makes every delivery that can be made, and notes each in the audit chain as it ends.
    fn deliver_all(&self, session: &Session, jobs: &[Job], ready: &[Result<Ready, Failure>]) -> Vec<Report> {
        let ssh = Ssh {
            program: PathBuf::from("ssh"),
            may_ask: jobs.len() == 1 && io::stdin().is_terminal(),
            patience: self.timeout.unsigned_abs(),
        };
        let entropy = session.context.entropy.as_ref();
        let mut reports: Vec<Report> = jobs.iter().map(Report::new).collect();
        let (mut open, mut work) = (Vec::new(), Vec::new());
        for (report, (job, ready)) in reports.iter_mut().zip(jobs.iter().zip(ready)) {
            match ready {
                Ok(ready) => {
                    open.push(report);
                    work.push((job, ready));
                }
                Err(failure) => report.failure = Some(failure.clone()),
            }
        }
        let progress = progress_bar(work.len(), session);
        let deliver = |(job, ready): &(&Job, &Ready)| {
            ssh.deliver(&ready.package, &job.destination, job.reload.as_ref(), entropy)
        };
        in_parallel(&work, self.parallel, deliver, |at, ended| {
            progress.inc(1);
            if let (Some((job, ready)), Some(report)) = (work.get(at), open.get_mut(at)) {
                let noted = self.note(session, job, ready, &ended);
                report.close(job, ended, noted);
            }
        });
        progress.finish_and_clear();
        reports
    }

    fn note(
        &self,
        session: &Session,
        job: &Job,
        ready: &Ready,
        ended: &Result<Delivered, DeliveryError>,
    ) -> Result<(), Failure> {
        let intent = &ready.record.intent;
        let mut details = json!({
            "role": intent.role,
            "name": intent.name,
            "destination": job.destination,
            "with_key": ready.package.has_key(),
        });
        let (key, value, outcome) = match ended {
            Ok(delivered) => ("reload_status", json!(delivered.reload_status), AuditOutcome::Success),
            Err(error) => ("error", json!(error.code()), AuditOutcome::Failure),
        };
        if let Some(details) = details.as_object_mut() {
            details.insert(key.to_owned(), value);
        }
        let mut registrar = Registrar::open(&session.home(), &session.context)?;
        let reason = self.reason.as_deref();
        Ok(registrar.note(Action::CertificateDeliver, &ready.record, outcome, details, reason)?)
    }

    /// Removes each key that arrived everywhere it was sent to.
    fn forget_keys(
        &self,
        session: &Session,
        jobs: &[Job],
        ready: &[Result<Ready, Failure>],
        reports: &mut [Report],
    ) {
        let mut by_certificate: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (at, ready) in ready.iter().enumerate() {
            if let Ok(Ready { record, package }) = ready
                && package.has_key()
            {
                by_certificate.entry(record.intent.serial_number.to_string()).or_default().push(at);
            }
        }
        for positions in by_certificate.into_values() {
            let arrived = |at: &usize| reports.get(*at).is_some_and(|report| report.failure.is_none());
            if !positions.iter().all(arrived) {
                continue;
            }
            let destinations = positions.iter().filter_map(|at| jobs.get(*at)).map(|job| &job.destination);
            let destinations: Vec<_> = destinations.map(ToString::to_string).collect();
            let Some(Ok(first)) = positions.first().and_then(|at| ready.get(*at)) else { continue };
            let forgotten = self.forget(session, &first.record, &destinations);
            for at in positions {
                let Some(report) = reports.get_mut(at) else { continue };
                match &forgotten {
                    Ok(path) => report.key_forgotten = Some(path.clone()),
                    Err(failure) => report.failure = Some(failure.clone()),
                }
            }
        }
    }

    fn forget(
        &self,
        session: &Session,
        record: &Record,
        destinations: &[String],
    ) -> Result<PathBuf, Failure> {
        let intent = &record.intent;
        let mut details = serde_json::Map::new();
        details.insert("role".to_owned(), json!(intent.role));
        details.insert("name".to_owned(), json!(intent.name));
        details.insert("destinations".to_owned(), json!(destinations));
        let mut registrar = Registrar::open(&session.home(), &session.context)?;
        Ok(registrar.forget_key(record, details, self.reason.as_deref())?)
    }
}

/// Where the deliveries of a home are listed.
fn hosts_file(home: &Home) -> PathBuf {
    home.directory().join("hosts.yaml")
}

/// What became of one delivery.
#[derive(Serialize)]
struct Report {
    identity: String,
    destination: Destination,
    delivered: Option<Delivered>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reload: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_forgotten: Option<PathBuf>,
    #[serde(rename = "error", skip_serializing_if = "Option::is_none")]
    failure: Option<Failure>,
}

impl Report {
    fn new(job: &Job) -> Self {
        Self {
            identity: job.target.to_string(),
            destination: job.destination.clone(),
            delivered: None,
            reload: job.reload.as_ref().map(|reload| reload.as_str().to_owned()),
            key_forgotten: None,
            failure: None,
        }
    }

    /// A delivery counts as made when it arrived, was noted, and the service took it up.
    fn close(&mut self, job: &Job, ended: Result<Delivered, DeliveryError>, noted: Result<(), Failure>) {
        match ended {
            Err(error) => {
                let failure = Failure::of(error.code(), &error);
                self.failure = Some(failure.at(&job.destination));
            }
            Ok(delivered) => {
                if let Some(status) = delivered.reload_status
                    && status != 0
                {
                    let message =
                        format!("the files are in their places, but the reload command ended with {status}");
                    self.failure = Some(Failure::new("remote.reload", message).at(&job.destination));
                }
                self.delivered = Some(delivered);
            }
        }
        if let Err(failure) = noted {
            self.failure.get_or_insert(failure);
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Delivered {} to {}", self.identity, self.destination)?;
        for file in self.delivered.iter().flat_map(|delivered| &delivered.files) {
            writeln!(f, "  {}  {}", file.mode, file.name)?;
        }
        writeln!(f, "  read back and compared before they took their places")?;
        if let Some(reload) = &self.reload {
            writeln!(f, "  reloaded     {reload}")?;
        }
        if let Some(key) = &self.key_forgotten {
            writeln!(f, "  key          removed here: {}", key.display())?;
        }
        Ok(())
    }
}

/// What became of many.
#[derive(Serialize)]
#[serde(transparent)]
struct Summary(Vec<Report>);

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut failed = 0;
        for report in &self.0 {
            match &report.failure {
                None => write!(f, "delivered  {}  {}", report.identity, report.destination)?,
                Some(failure) => {
                    failed += 1;
                    write!(f, "FAILED     {}  {failure}", report.identity)?;
                }
            }
            writeln!(f, "{}", if report.key_forgotten.is_some() { "  (key removed here)" } else { "" })?;
        }
        writeln!(f, "\n{} delivered, {failed} failed", self.0.len().saturating_sub(failed))
    }
}

impl Outcome for Summary {
    fn json(&self) -> Result<Value, serde_json::Error> {
        serde_json::to_value(self)
    }

    fn exit_code(&self) -> u8 {
        self.0.iter().filter_map(|report| report.failure.as_ref()).map(Failure::exit_code).max().unwrap_or(0)
    }
}

/// A delivery that would be made.
#[derive(Serialize)]
struct Plan {
    identity: String,
    serial_number: String,
    destination: Destination,
    files: Vec<PlannedFile>,
    reload: Option<String>,
}

#[derive(Serialize)]
struct PlannedFile {
    name: String,
    mode: String,
    bytes: usize,
}

impl Plan {
    fn new(job: &Job, ready: Result<Ready, Failure>) -> Result<Self, Failure> {
        let Ready { record, package } = ready?;
        let files = package.files().iter().map(|file| PlannedFile {
            name: file.name.clone(),
            mode: format!("{:04o}", file.mode()),
            bytes: file.bytes().len(),
        });
        Ok(Self {
            identity: job.target.to_string(),
            serial_number: record.intent.serial_number.to_string(),
            destination: job.destination.clone(),
            files: files.collect(),
            reload: job.reload.as_ref().map(|reload| reload.as_str().to_owned()),
        })
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Would deliver {} to {} (nobody was connected to)", self.identity, self.destination)?;
        writeln!(f, "  serial       {}", self.serial_number)?;
        for file in &self.files {
            writeln!(f, "  {}  {:24}  {} bytes", file.mode, file.name, file.bytes)?;
        }
        match &self.reload {
            Some(reload) => writeln!(f, "  then         {reload}"),
            None => Ok(()),
        }
    }
}

#[derive(Serialize)]
#[serde(transparent)]
struct Plans(Vec<Plan>);

impl fmt::Display for Plans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|plan| write!(f, "{plan}"))
    }
}

/// One plan as an object, several as an array.
fn shown(single: bool, mut plans: Vec<Plan>) -> CommandResult {
    match plans.pop() {
        Some(plan) if single => Ok(Box::new(Shown(plan))),
        last => {
            plans.extend(last);
            Ok(Box::new(Shown(Plans(plans))))
        }
    }
}

fn progress_bar(count: usize, session: &Session) -> ProgressBar {
    // indicatif itself draws nothing when stderr is no terminal.
    if count < 2 || session.global.quiet || session.global.json {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(u64::try_from(count).unwrap_or(u64::MAX));
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} deliveries, {elapsed}") {
        bar.set_style(style);
    }
    bar
}
