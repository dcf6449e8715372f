//! `list` and `show`: certificates in the inventory.

use std::fmt;

use clap::builder::PossibleValue;
use clap::{Args, ValueEnum};
use serde::Serialize;
use time::{Duration, OffsetDateTime};

use crate::ca::{CaError, CertificateStatus, Cluster, Target};
use crate::clock::{format_duration, parse_duration, parse_time, rfc3339};
use crate::identity::{Identity, MachineLabel, Role};
use crate::revocation::RevocationReason;
use crate::store::{Filter, ListOrder, Record, RecordStatus};
use crate::x509::SerialNumber;
use crate::x509::inspect::{InspectedObject, inspect};

use super::served::{CERTIFICATES, ServedCertificate, ServedDetails, find_served};
use crate::api_client::ApiSession;
use crate::cli::input;
use crate::cli::server_args::{ServerChoice, failure, refuse_on_server};
use crate::cli::session::CommandSession;
use crate::terminal::color::Color;
use crate::terminal::report::{CommandResult, Failure, Interruption, Shown};
use crate::terminal::rows::{ListingOutput, RowSource, StreamedListing};
use crate::terminal::table::{Cell, Column, Table, TableOutput, date};

/// The arguments of `list`.
#[derive(Debug, Args)]
pub(crate) struct ListCertificates {
    /// Only this role: control-service, node-agent or api-user
    #[arg(long)]
    role: Option<Role>,

    /// Only names that match, with * and ? as in a shell
    #[arg(long, value_name = "GLOB")]
    name: Option<String>,

    /// Only nodes whose label matches, with * and ? as in a shell
    #[arg(long, value_name = "GLOB")]
    label: Option<String>,

    /// Only this status: reserved, valid, renewed, expired, on-hold or revoked
    #[arg(long, value_enum, hide_possible_values = true)]
    status: Option<CertificateStatus>,

    /// Only valid ones that expire within this time, such as 30d; includes renewed ones
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    expires_within: Option<Duration>,

    /// Only certificates issued at this time or later, such as 2027-01-31 or 2027-01-31T12:00:00Z
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    issued_after: Option<OffsetDateTime>,

    /// Only certificates issued before this time
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    issued_before: Option<OffsetDateTime>,

    /// Only certificates revoked for this reason, such as key-compromise or certificate-hold
    #[arg(long)]
    reason: Option<RevocationReason>,

    /// Omit renewed certificates
    #[arg(long)]
    newest: bool,

    /// Order: by name, by expiry, oldest first or newest first
    #[arg(long, value_enum, value_name = "ORDER")]
    sort: Option<SortOrder>,

    /// At most NUMBER certificates
    #[arg(long, value_name = "NUMBER")]
    limit: Option<u64>,

    /// Print all columns in full, or only ROLE/NAME
    #[arg(long, value_enum, value_name = "FORM")]
    output: Option<ListingOutput>,

    #[command(flatten)]
    server: ServerChoice,
}

/// Values of `--sort`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum SortOrder {
    /// By name, then by role
    Name,
    /// By end of validity
    Expires,
    /// Oldest first
    Oldest,
    /// Newest first
    Newest,
}

impl From<SortOrder> for ListOrder {
    fn from(order: SortOrder) -> Self {
        match order {
            SortOrder::Name => Self::Name,
            SortOrder::Expires => Self::Expiry,
            SortOrder::Oldest => Self::Oldest,
            SortOrder::Newest => Self::Newest,
        }
    }
}

/// The arguments of `show`.
#[derive(Debug, Args)]
pub(crate) struct ShowCertificate {
    /// The certificate: its serial number, ROLE/NAME such as api-user/alice, its file, or the label of a node
    #[arg(value_name = "SERIAL|ROLE/NAME|FILE|LABEL")]
    target: String,

    #[command(flatten)]
    server: ServerChoice,
}

impl ValueEnum for CertificateStatus {
    fn value_variants<'a>() -> &'a [Self] {
        &Self::ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.as_str()))
    }
}

fn color(status: CertificateStatus) -> Color {
    match status {
        CertificateStatus::Valid => Color::Good,
        CertificateStatus::Renewed | CertificateStatus::Reserved => Color::Faint,
        CertificateStatus::OnHold => Color::Warning,
        CertificateStatus::Expired | CertificateStatus::Revoked => Color::Bad,
    }
}

/// One line of a listing.
#[derive(Serialize)]
pub(crate) struct Row {
    status: CertificateStatus,
    serial_number: String,
    role: Role,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<MachineLabel>,
    spiffe_id: String,
    /// Paths in the home; a server gives none.
    #[serde(flatten)]
    files: Option<RecordedPaths>,
    not_before: Option<String>,
    not_after: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revoked_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<RevocationReason>,
    #[serde(skip_serializing_if = "Option::is_none")]
    supersedes: Option<SerialNumber>,
    #[serde(skip_serializing_if = "Option::is_none")]
    superseded_by: Option<SerialNumber>,
}

/// Paths of a certificate and its key.
#[derive(Serialize)]
struct RecordedPaths {
    certificate: String,
    key: Option<String>,
}

impl Row {
    fn new(record: &Record, cluster: &Cluster, now: OffsetDateTime) -> Self {
        let reservation = &record.reservation;
        let identity = Identity {
            trust_domain: cluster.trust_domain().clone(),
            role: reservation.role,
            name: reservation.name.clone(),
        };
        Self {
            status: CertificateStatus::of(record, now),
            serial_number: reservation.serial_number.to_string(),
            role: reservation.role,
            name: reservation.name.to_string(),
            label: reservation.label.clone(),
            spiffe_id: identity.to_string(),
            files: Some(RecordedPaths {
                certificate: cluster.locate(&reservation.certificate_path).display().to_string(),
                key: reservation.key_path.as_ref().map(|path| cluster.locate(path).display().to_string()),
            }),
            not_before: record.issue.map(|issue| rfc3339(issue.not_before)),
            not_after: record.issue.map(|issue| rfc3339(issue.not_after)),
            revoked_at: record.revocation.map(|revocation| rfc3339(revocation.at)),
            reason: record.revocation.map(|revocation| revocation.reason),
            supersedes: reservation.supersedes.as_ref().map(|old| old.serial_number),
            superseded_by: record.superseded_by.as_ref().map(|new| new.serial_number),
        }
    }
}

/// Columns of a listing.
const COLUMNS: [Column; 10] = [
    Column::new("STATUS"),
    Column::new("ROLE"),
    Column::new("NAME").flexible(),
    Column::new("VALID UNTIL"),
    Column::new("VALID FROM").wide(),
    Column::new("SERIAL").wide(),
    Column::new("REVOKED").wide(),
    Column::new("REASON").wide(),
    Column::new("LABEL").wide(),
    Column::new("CERTIFICATE").wide(),
];

/// Columns of a selection, in which an identity may occur several times.
const SELECTED: [Column; 4] =
    [Column::new("STATUS"), Column::new("ROLE"), Column::new("NAME").flexible(), Column::new("SERIAL")];

impl Row {
    fn cells(&self, output: TableOutput) -> Vec<Cell> {
        let until = self.not_after.as_deref().unwrap_or_default();
        // The end of a long cell is left out: the label comes first.
        let name = match (&self.label, output) {
            (Some(label), TableOutput::Fitting) => format!("{label} ({})", self.name),
            _ => self.name.clone(),
        };
        vec![
            Cell::new(self.status).colored(Some(color(self.status))),
            self.role.into(),
            name.into(),
            if output == TableOutput::Wide { until.into() } else { date(until).into() },
            self.not_before.as_deref().unwrap_or_default().into(),
            self.serial_number.as_str().into(),
            self.revoked_at.as_deref().unwrap_or_default().into(),
            self.reason.map(|reason| reason.to_string()).unwrap_or_default().into(),
            self.label.as_ref().map(ToString::to_string).unwrap_or_default().into(),
            self.files.as_ref().map(|files| files.certificate.as_str()).unwrap_or_default().into(),
        ]
    }
}

/// Certificates that match a filter.
enum Listed {
    /// Those of an inventory.
    Home {
        cluster: Box<Cluster>,
        filter: Filter,
        /// Finer than that of the filter.
        status: Option<CertificateStatus>,
        now: OffsetDateTime,
    },
    /// Those that a server lists.
    Server {
        api: ApiSession,
        /// Conditions of the query.
        conditions: Vec<(&'static str, String)>,
        /// Maximum number of certificates.
        limit: Option<u64>,
    },
}

/// Most certificates on a page of a server.
const PAGE: u64 = 500;

impl RowSource for Listed {
    type Row = Row;

    const COLUMNS: &'static [Column] = &COLUMNS;
    const NONE: &'static str = NO_CERTIFICATES;

    fn read(&self, each: &mut dyn FnMut(Row) -> Result<(), Interruption>) -> Result<(), Interruption> {
        match self {
            Self::Home { cluster, filter, status, now } => cluster.inventory().list(filter, *now, |record| {
                let is_wanted = |status| status == CertificateStatus::of(&record, *now);
                if status.is_none_or(is_wanted) { each(Row::new(&record, cluster, *now)) } else { Ok(()) }
            }),
            Self::Server { api, conditions, limit } => {
                let limit = limit.map_or(PAGE, |limit| limit.clamp(1, PAGE));
                let failed = |error| Interruption::Source(failure(error));
                api.get_pages(CERTIFICATES, conditions, limit, failed, &mut |row: ServedCertificate| {
                    each(row.into())
                })
            }
        }
    }

    fn cells(row: &Row, output: TableOutput) -> Vec<Cell> {
        row.cells(output)
    }

    fn name(row: &Row) -> String {
        format!("{}/{}", row.role, row.name)
    }
}

const NO_CERTIFICATES: &str = "No certificates.";

/// Certificates as a table.
#[derive(Serialize)]
#[serde(transparent)]
pub(crate) struct Listing(Vec<Row>);

impl Listing {
    pub(crate) fn new(records: &[Record], cluster: &Cluster, now: OffsetDateTime) -> Self {
        Self(records.iter().map(|record| Row::new(record, cluster, now)).collect())
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Certificates with this status.
    pub(crate) fn count(&self, status: CertificateStatus) -> usize {
        self.0.iter().filter(|row| row.status == status).count()
    }

    /// Write the first `count` lines, and the count of the others.
    pub(crate) fn write_first(&self, count: usize, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return writeln!(f, "{NO_CERTIFICATES}");
        }
        let mut table = Table::new(&SELECTED, TableOutput::Fitting);
        for row in self.0.iter().take(count) {
            let status = Cell::new(row.status).colored(Some(color(row.status)));
            table.push([
                status,
                row.role.into(),
                row.name.as_str().into(),
                row.serial_number.as_str().into(),
            ]);
        }
        write!(f, "{table}")?;
        match self.0.len().saturating_sub(count) {
            0 => Ok(()),
            more => writeln!(f, "and {more} more"),
        }
    }
}

impl fmt::Display for Listing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_first(usize::MAX, f)
    }
}

impl ListCertificates {
    pub(crate) fn run(self, session: &CommandSession) -> CommandResult {
        if let Some(api) = self.server.open(session)? {
            refuse_on_server(&[("--sort", self.sort.is_some())])?;
            let conditions = self.conditions();
            let source = Listed::Server { api, conditions, limit: self.limit };
            return Ok(Box::new(StreamedListing { source, output: self.output, limit: self.limit }));
        }
        let cluster = Cluster::open(&session.home(), &session.context)?;
        let now = session.context.clock.now();
        let filter = Filter {
            role: self.role,
            name: self.name,
            label: self.label,
            // `--expires-within` implies valid certificates.
            status: self
                .status
                .map(CertificateStatus::recorded)
                .or(self.expires_within.map(|_| RecordStatus::Valid)),
            expires_before: self.expires_within.map(|within| now.saturating_add(within)),
            issued_after: self.issued_after,
            issued_before: self.issued_before,
            reason: self.reason,
            newest: self.newest,
            order: self.sort.map(ListOrder::from),
        };
        let source = Listed::Home { cluster: Box::new(cluster), filter, status: self.status, now };
        Ok(Box::new(StreamedListing { source, output: self.output, limit: self.limit }))
    }
}

impl ListCertificates {
    /// The conditions as a server takes them.
    fn conditions(&self) -> Vec<(&'static str, String)> {
        let text = |key, value: Option<String>| value.map(|value| (key, value));
        [
            text("role", self.role.map(|role| role.to_string())),
            text("name", self.name.clone()),
            text("label", self.label.clone()),
            text("status", self.status.map(|status| status.to_string())),
            text("expires_within", self.expires_within.map(format_duration)),
            text("issued_after", self.issued_after.map(rfc3339)),
            text("issued_before", self.issued_before.map(rfc3339)),
            text("reason", self.reason.map(|reason| reason.to_string())),
            text("newest", self.newest.then(|| true.to_string())),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

/// Result of `show`.
#[derive(Serialize)]
struct CertificateReport {
    #[serde(flatten)]
    row: Row,
    fingerprint: Option<String>,
    profile: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_forgotten_at: Option<String>,
    reserved_at: String,
    issued_by: Option<String>,
    why: Option<String>,
    /// Renewals of the certificate, the oldest first; empty without any.
    lineage: Listing,
    #[serde(skip_serializing_if = "Option::is_none")]
    contents: Option<InspectedObject>,
}

impl fmt::Display for CertificateReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let row = &self.row;
        writeln!(f, "{}/{}: {}", row.role, row.name, row.status)?;
        if let (Some(at), Some(reason)) = (&row.revoked_at, row.reason) {
            writeln!(f, "  revoked      {at} ({reason})")?;
        }
        if let Some(label) = &row.label {
            writeln!(f, "  label        {label}")?;
        }
        writeln!(f, "  identity     {}", row.spiffe_id)?;
        writeln!(f, "  issued by    {}", self.issued_by.as_deref().unwrap_or("-"))?;
        if let Some(why) = &self.why {
            writeln!(f, "  reason       {why}")?;
        }
        writeln!(f, "  reserved     {}", self.reserved_at)?;
        writeln!(f, "  profile      sha256:{}", self.profile)?;
        if let Some(RecordedPaths { certificate, .. }) = &row.files {
            writeln!(f, "  certificate  {certificate}")?;
        }
        match (&row.files, &self.key_forgotten_at) {
            (Some(RecordedPaths { key: Some(key), .. }), _) => writeln!(f, "  key          {key}")?,
            (_, Some(at)) => writeln!(f, "  key          not here: delivered, and removed on {at}")?,
            (Some(_), None) => writeln!(f, "  key          not here: generated elsewhere")?,
            (None, None) => {}
        }
        for (index, one) in self.lineage.0.iter().enumerate() {
            let label = if index == 0 { "lineage" } else { "" };
            let this = if one.serial_number == row.serial_number { "  (this one)" } else { "" };
            writeln!(f, "  {label:12} {}  {}{this}", one.serial_number, one.status)?;
        }
        match &self.contents {
            Some(contents) => writeln!(f, "\n{contents}"),
            None => writeln!(f, "  never signed: serial number {} stays unused", row.serial_number),
        }
    }
}

impl From<ServedCertificate> for Row {
    fn from(served: ServedCertificate) -> Self {
        Self {
            status: served.status,
            serial_number: served.serial_number.to_string(),
            role: served.role,
            name: served.name,
            label: served.label,
            spiffe_id: served.spiffe_id,
            files: None,
            not_before: served.not_before,
            not_after: served.not_after,
            revoked_at: served.revoked_at,
            reason: served.reason,
            supersedes: served.supersedes,
            superseded_by: served.superseded_by,
        }
    }
}

/// The same report, from a server.
fn served_report(api: &ApiSession, target: &str) -> Result<CertificateReport, Failure> {
    let ServedDetails { certificate, profile, reserved_at, issued_by, why, key_forgotten_at, lineage } =
        find_served(api, target)?;
    let (serial_number, fingerprint) = (certificate.serial_number, certificate.fingerprint.clone());
    let contents = match certificate.status {
        CertificateStatus::Reserved => None,
        _ => {
            let pem = api.get_text(&format!("{CERTIFICATES}/{serial_number}/pem")).map_err(failure)?;
            inspect(pem.as_bytes())?.into_iter().next()
        }
    };
    let mut rows = Vec::new();
    if lineage.len() > 1 {
        for one in lineage {
            let details: ServedDetails = api.get(&format!("{CERTIFICATES}/{one}")).map_err(failure)?;
            rows.push(details.certificate.into());
        }
    }
    let row = certificate.into();
    let lineage = Listing(rows);
    Ok(CertificateReport {
        row,
        fingerprint,
        profile,
        key_forgotten_at,
        reserved_at,
        issued_by,
        why,
        lineage,
        contents,
    })
}

/// Find a certificate as every command does, and a node by its label, which no change relies on.
fn find(cluster: &Cluster, text: &str) -> Result<Record, Failure> {
    let failure = match input::target(text).and_then(|target| Ok(cluster.find(&target)?)) {
        Ok(record) => return Ok(record),
        Err(failure) => failure,
    };
    let Ok(label) = text.parse::<MachineLabel>() else { return Err(failure) };
    match cluster.find(&Target::Label(label)) {
        Ok(record) => Ok(record),
        Err(CaError::UnknownCertificate { .. }) => Err(failure),
        Err(error) => Err(error.into()),
    }
}

impl ShowCertificate {
    pub(crate) fn run(self, session: &CommandSession) -> CommandResult {
        if let Some(api) = self.server.open(session)? {
            return Ok(Box::new(Shown(served_report(&api, &self.target)?)));
        }
        let cluster = Cluster::open(&session.home(), &session.context)?;
        let now = session.context.clock.now();
        let record = find(&cluster, &self.target)?;
        let details = cluster.details(&record)?;
        let contents = match record.issue {
            Some(_) => {
                let certificate =
                    cluster.inventory().certificate(&record.issuer, record.reservation.serial_number)?;
                inspect(&certificate.der)?.into_iter().next()
            }
            None => None,
        };
        let mut lineage = details.lineage;
        if lineage.len() == 1 {
            lineage.clear();
        }
        Ok(Box::new(Shown(CertificateReport {
            lineage: Listing::new(&lineage, &cluster, now),
            row: Row::new(&record, &cluster, now),
            fingerprint: record.issue.map(|issue| issue.fingerprint.to_string()),
            profile: record.reservation.profile.to_string(),
            key_forgotten_at: details.key_forgotten_at.map(rfc3339),
            reserved_at: rfc3339(record.reserved_at),
            issued_by: details.issued.as_ref().map(|issued| issued.actor.to_string()),
            why: details.issued.and_then(|issued| issued.reason),
            contents,
        })))
    }
}
