//! Reports of deliveries and of `--dry-run`, single or in bulk.

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

use crate::distribute::{Delivered, DeliveryError, SshDestination};
use crate::error::Code;

use super::job::{DeliveryJob, PreparedDelivery};
use crate::terminal::report::{CommandOutcome, CommandResult, Failure, Shown, typed};

/// Result of one delivery.
#[derive(Serialize)]
pub(crate) struct Report {
    identity: String,
    destination: SshDestination,
    delivered: Option<Delivered>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reload: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[serde(serialize_with = "crate::files::as_optional_text")]
    key_forgotten: Option<PathBuf>,
    #[serde(rename = "error", skip_serializing_if = "Option::is_none")]
    failure: Option<Failure>,
}

impl Report {
    /// Start the report of a delivery that is pending, or was refused here.
    pub(crate) fn begin(job: &DeliveryJob, refused: Option<&Failure>) -> Self {
        Self {
            identity: job.target.to_string(),
            destination: job.destination.clone(),
            delivered: None,
            reload: job.reload.as_ref().map(|reload| reload.as_str().to_owned()),
            key_forgotten: None,
            failure: refused.cloned(),
        }
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.failure.is_some()
    }

    fn is_unchanged(&self) -> bool {
        self.delivered.as_ref().is_some_and(|delivered| !delivered.changed)
    }

    /// Record the result: success means copied, reloaded and recorded in the audit log.
    pub(crate) fn delivery_ended(
        &mut self,
        ended: Result<Delivered, DeliveryError>,
        noted: Result<(), Failure>,
    ) {
        let failure = match ended {
            Err(error) => Some(Failure::of(&error)),
            Ok(delivered) => {
                let status = delivered.reload_status.filter(|status| *status != 0);
                let output = delivered.output.to_string();
                self.delivered = Some(delivered);
                status.map(|status| {
                    let message =
                        format!("the files are in place, but the reload command exited with {status}");
                    Failure::new(Code::unavailable("remote.reload"), message).with_causes(vec![output])
                })
            }
        };
        self.failure = failure.map(|failure| failure.at(&self.destination)).or(noted.err());
    }

    pub(crate) fn key_forgotten(&mut self, forgotten: &Result<PathBuf, Failure>) {
        match forgotten {
            Ok(path) => self.key_forgotten = Some(path.clone()),
            Err(failure) => self.failure = Some(failure.clone()),
        }
    }

    /// Convert the report of a single delivery into the result of the command.
    pub(crate) fn into_result(self) -> CommandResult {
        match self.failure {
            Some(failure) => Err(failure),
            None => Ok(Box::new(Shown(self))),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_unchanged() {
            writeln!(
                f,
                "Unchanged: {} has the files of {} already; nothing was changed or reloaded there",
                self.destination, self.identity
            )?;
        } else {
            self.write_changes(f)?;
        }
        if let Some(key) = &self.key_forgotten {
            writeln!(f, "  key          removed here: {}", typed(key))?;
        }
        Ok(())
    }
}

impl Report {
    fn write_changes(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Delivered {} to {}", self.identity, self.destination)?;
        for file in self.delivered.iter().flat_map(|delivered| &delivered.files) {
            writeln!(f, "  {}         {}", file.mode, file.name)?;
        }
        writeln!(f, "  verified     received files match those sent, before they were put in place")?;
        if let Some(reload) = &self.reload {
            writeln!(f, "  reloaded     {reload}")?;
        }
        Ok(())
    }
}

fn failed(identity: &str, failure: &Failure) -> String {
    format!("FAILED     {identity}  {failure}")
}

/// A line for each failure.
fn complaint<'a>(failures: impl Iterator<Item = (&'a str, &'a Failure)>) -> Option<String> {
    let lines: String = failures.map(|(identity, failure)| failed(identity, failure) + "\n").collect();
    (!lines.is_empty()).then_some(lines)
}

/// The worst exit code among failures.
fn worst<'a>(failures: impl Iterator<Item = &'a Failure>) -> u8 {
    failures.map(Failure::exit_code).max().unwrap_or(0)
}

/// Result of several deliveries.
#[derive(Serialize)]
#[serde(transparent)]
pub(crate) struct Summary(pub(crate) Vec<Report>);

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for report in &self.0 {
            match &report.failure {
                None if report.is_unchanged() => {
                    write!(f, "unchanged  {}  {}", report.identity, report.destination)?;
                }
                None => write!(f, "delivered  {}  {}", report.identity, report.destination)?,
                Some(failure) => f.write_str(&failed(&report.identity, failure))?,
            }
            writeln!(f, "{}", if report.key_forgotten.is_some() { "  (key removed here)" } else { "" })?;
        }
        let failed = self.0.iter().filter(|report| report.has_failed()).count();
        let unchanged = self.0.iter().filter(|report| report.is_unchanged()).count();
        let delivered = self.0.len().saturating_sub(failed + unchanged);
        write!(f, "\n{delivered} delivered, {failed} failed")?;
        if unchanged > 0 {
            write!(f, ", {unchanged} unchanged")?;
        }
        writeln!(f)
    }
}

impl CommandOutcome for Summary {
    fn json(&self) -> Result<serde_json::Value, serde_json::Error> {
        serde_json::to_value(self)
    }

    fn exit_code(&self) -> u8 {
        worst(self.0.iter().filter_map(|report| report.failure.as_ref()))
    }

    fn complaint(&self) -> Option<String> {
        complaint(self.0.iter().filter_map(|report| Some((&*report.identity, report.failure.as_ref()?))))
    }
}

/// A delivery that would be made.
#[derive(Serialize)]
pub(crate) struct DeliveryPlan {
    identity: String,
    serial_number: String,
    destination: SshDestination,
    files: Vec<PlannedFile>,
    reload: Option<String>,
}

#[derive(Serialize)]
struct PlannedFile {
    name: String,
    mode: String,
    bytes: usize,
}

impl DeliveryPlan {
    pub(crate) fn of(ready: &PreparedDelivery<'_>) -> Self {
        let files = ready.package.files().iter().map(|file| PlannedFile {
            name: file.name.clone(),
            mode: format!("{:04o}", file.mode(ready.job.installation.key_mode)),
            bytes: file.bytes().len(),
        });
        Self {
            identity: ready.job.target.to_string(),
            serial_number: ready.record.reservation.serial_number.to_string(),
            destination: ready.job.destination.clone(),
            files: files.collect(),
            reload: ready.job.reload.as_ref().map(|reload| reload.as_str().to_owned()),
        }
    }
}

impl fmt::Display for DeliveryPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Would deliver {} to {} (no connection was made)", self.identity, self.destination)?;
        writeln!(f, "  serial       {}", self.serial_number)?;
        for file in &self.files {
            writeln!(f, "  {}         {}, {} bytes", file.mode, file.name, file.bytes)?;
        }
        match &self.reload {
            Some(reload) => writeln!(f, "  then         {reload}"),
            None => Ok(()),
        }
    }
}

/// A delivery that cannot be made.
#[derive(Serialize)]
pub(crate) struct FailedPlan {
    identity: String,
    destination: SshDestination,
    #[serde(rename = "error")]
    failure: Box<Failure>,
}

impl FailedPlan {
    pub(crate) fn of(job: &DeliveryJob, failure: Failure) -> Self {
        Self {
            identity: job.target.to_string(),
            destination: job.destination.clone(),
            failure: Box::new(failure),
        }
    }
}

/// Deliveries that would be made, or could not be.
#[derive(Serialize)]
#[serde(transparent)]
pub(crate) struct Plans(Vec<Planned>);

#[derive(Serialize)]
#[serde(untagged)]
pub(crate) enum Planned {
    Ready(DeliveryPlan),
    Failed(FailedPlan),
}

impl FromIterator<Planned> for Plans {
    fn from_iter<T: IntoIterator<Item = Planned>>(plans: T) -> Self {
        Self(plans.into_iter().collect())
    }
}

impl Plans {
    fn failures(&self) -> impl Iterator<Item = (&str, &Failure)> {
        self.0.iter().filter_map(|plan| match plan {
            Planned::Ready(_) => None,
            Planned::Failed(FailedPlan { identity, failure, .. }) => Some((&**identity, &**failure)),
        })
    }
}

impl fmt::Display for Plans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|plan| match plan {
            Planned::Ready(plan) => plan.fmt(f),
            Planned::Failed(FailedPlan { identity, destination, failure }) => {
                writeln!(f, "CANNOT deliver {identity} to {destination}: {failure}")
            }
        })
    }
}

impl CommandOutcome for Plans {
    fn json(&self) -> Result<serde_json::Value, serde_json::Error> {
        serde_json::to_value(self)
    }

    fn exit_code(&self) -> u8 {
        worst(self.failures().map(|(_, failure)| failure))
    }

    fn complaint(&self) -> Option<String> {
        complaint(self.failures())
    }
}
