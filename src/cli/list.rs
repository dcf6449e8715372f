//! `list` and `show`: what the inventory knows.

use std::fmt;

use clap::Args;
use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;
use time::{Duration, OffsetDateTime};

use crate::ca::{Cluster, Target};
use crate::clock::{parse_duration, rfc3339};
use crate::identity::{Identity, Role};
use crate::revocation::RevocationReason;
use crate::store::{Filter, Record, Status, StoreError};
use crate::x509::inspect::{Inspected, inspect};

use super::Session;
use super::report::{CommandResult, Shown};

/// The arguments of `list`.
#[derive(Debug, Args)]
pub(super) struct List {
    /// Only this role: control-service, node-agent or api-user
    #[arg(long)]
    role: Option<Role>,

    /// Only names that match, with * and ? as in a shell
    #[arg(long, value_name = "GLOB")]
    name: Option<String>,

    /// Only this status: reserved, valid, expired or revoked
    #[arg(long)]
    status: Option<Status>,

    /// Only valid ones that expire within this time, such as 30d
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    expires_within: Option<Duration>,
}

/// The arguments of `show`.
#[derive(Debug, Args)]
pub(super) struct Show {
    /// The certificate: its serial number, or ROLE/NAME such as api-user/alice
    #[arg(value_name = "SERIAL|ROLE/NAME")]
    target: String,
}

/// One line of a listing.
#[derive(Serialize)]
struct Row {
    status: Status,
    serial_number: String,
    role: Role,
    name: String,
    spiffe_id: String,
    certificate: String,
    key: Option<String>,
    not_before: Option<String>,
    not_after: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revoked_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<RevocationReason>,
}

impl Row {
    fn new(record: &Record, cluster: &Cluster, now: OffsetDateTime) -> Self {
        let intent = &record.intent;
        let identity = Identity {
            trust_domain: cluster.trust_domain().clone(),
            role: intent.role,
            name: intent.name.clone(),
        };
        Self {
            status: record.status(now),
            serial_number: intent.serial_number.to_string(),
            role: intent.role,
            name: intent.name.to_string(),
            spiffe_id: identity.to_string(),
            certificate: intent.certificate_path.display().to_string(),
            key: intent.key_path.as_ref().map(|path| path.display().to_string()),
            not_before: record.issue.map(|issue| rfc3339(issue.not_before)),
            not_after: record.issue.map(|issue| rfc3339(issue.not_after)),
            revoked_at: record.revocation.map(|revocation| rfc3339(revocation.at)),
            reason: record.revocation.and_then(|revocation| RevocationReason::from_code(revocation.reason)),
        }
    }
}

#[derive(Serialize)]
#[serde(transparent)]
struct Listing(Vec<Row>);

impl fmt::Display for Listing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return writeln!(f, "No certificates.");
        }
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        table.set_header(["STATUS", "ROLE", "NAME", "SERIAL", "VALID UNTIL"]);
        for row in &self.0 {
            table.add_row([
                row.status.to_string(),
                row.role.to_string(),
                row.name.clone(),
                row.serial_number.clone(),
                row.not_after.clone().unwrap_or_default(),
            ]);
        }
        for line in table.to_string().lines() {
            writeln!(f, "{}", line.trim())?;
        }
        Ok(())
    }
}

impl List {
    pub(super) fn run(self, session: &Session) -> CommandResult {
        let cluster = Cluster::open(&session.home(), &session.context)?;
        let now = session.context.clock.now();
        let filter = Filter {
            role: self.role,
            name: self.name,
            // "Expires within" is about certificates that still hold.
            status: self.status.or(self.expires_within.map(|_| Status::Valid)),
            expires_before: self.expires_within.map(|within| now + within),
        };
        let mut rows = Vec::new();
        cluster.inventory().list(&filter, now, |record| {
            rows.push(Row::new(&record, &cluster, now));
            Ok::<_, StoreError>(())
        })?;
        Ok(Box::new(Shown(Listing(rows))))
    }
}

/// All that is known of one certificate.
#[derive(Serialize)]
struct Known {
    #[serde(flatten)]
    row: Row,
    fingerprint: Option<String>,
    profile: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_forgotten_at: Option<String>,
    reserved_at: String,
    issued_by: Option<String>,
    why: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    contents: Option<Inspected>,
}

impl fmt::Display for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let row = &self.row;
        writeln!(f, "{}/{}: {}", row.role, row.name, row.status)?;
        if let (Some(at), Some(reason)) = (&row.revoked_at, row.reason) {
            writeln!(f, "  revoked      {at} ({reason})")?;
        }
        writeln!(f, "  identity     {}", row.spiffe_id)?;
        writeln!(f, "  issued by    {}", self.issued_by.as_deref().unwrap_or("-"))?;
        if let Some(why) = &self.why {
            writeln!(f, "  reason       {why}")?;
        }
        writeln!(f, "  reserved     {}", self.reserved_at)?;
        writeln!(f, "  profile      sha256:{}", self.profile)?;
        writeln!(f, "  certificate  {}", row.certificate)?;
        match (&row.key, &self.key_forgotten_at) {
            (Some(key), _) => writeln!(f, "  key          {key}")?,
            (None, Some(at)) => writeln!(f, "  key          not here: delivered, and removed on {at}")?,
            (None, None) => writeln!(f, "  key          not here: made elsewhere")?,
        }
        match &self.contents {
            Some(contents) => writeln!(f, "\n{contents}"),
            None => writeln!(f, "  never signed: serial number {} stays unused", row.serial_number),
        }
    }
}

impl Show {
    pub(super) fn run(self, session: &Session) -> CommandResult {
        let cluster = Cluster::open(&session.home(), &session.context)?;
        let now = session.context.clock.now();
        let target: Target = self.target.parse()?;
        let record = cluster.find(&target)?;
        let entry = record.issue.map_or(record.reserve_entry, |issue| issue.entry);
        let provenance = cluster.inventory().audit_entry(entry)?.map(|entry| entry.event.provenance);
        let forgotten =
            record.key_forgotten.map(|entry| cluster.inventory().audit_entry(entry)).transpose()?;
        let contents = match record.issue {
            Some(_) => {
                let certificate =
                    cluster.inventory().certificate(&record.issuer, record.intent.serial_number)?;
                inspect(&certificate.der)?.into_iter().next()
            }
            None => None,
        };
        Ok(Box::new(Shown(Known {
            row: Row::new(&record, &cluster, now),
            fingerprint: record.issue.map(|issue| issue.fingerprint.to_string()),
            profile: record.intent.profile.to_string(),
            key_forgotten_at: forgotten.flatten().map(|entry| rfc3339(entry.event.provenance.at)),
            reserved_at: rfc3339(record.reserved_at),
            issued_by: provenance.as_ref().map(|provenance| provenance.actor.to_string()),
            why: provenance.and_then(|provenance| provenance.reason),
            contents,
        })))
    }
}
