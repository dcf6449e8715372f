//! `gateways status`: state of every gateway, compared with the home.

use std::fmt;

use clap::Args;
use serde::Serialize;
use time::{Duration, OffsetDateTime};

use crate::ca::Target;
use crate::ca::doctor::DoctorCode;
use crate::clock::{format_duration, rfc3339};
use crate::error::Code;
use crate::gateway_client::{self, CallError, GatewayEntry, GatewayStatus, ReportedCrl, SanitizedText};
use crate::identity::Identity;
use crate::store::Record;
use crate::x509::{Certificate, SerialNumber, Sha256};

use super::push::failure;
use super::target_args::{GatewayTargets, NewestCrl};
use crate::cli::session::CommandSession;
use crate::terminal::color::Color;
use crate::terminal::progress;
use crate::terminal::report::{CommandOutcome, CommandResult, Failure};
use crate::terminal::table::{Cell, Column, Table, TableArgs, TableOutput, date_in};

/// Remaining validity of a CRL or certificate below which it is reported.
const EXPIRY_WARNING: Duration = Duration::days(30);

/// The arguments of `gateways status`.
#[derive(Debug, Args)]
#[command(after_help = "\
gateways.yaml in the home lists the gateways: see cluster-ca crl push --help.

Exit code 4: a gateway could not be queried.
Exit code 1: a gateway enforces another CRL than the newest of this home, or has another problem.")]
pub(crate) struct ShowGatewayStatus {
    #[command(flatten)]
    targets: GatewayTargets,

    #[command(flatten)]
    table: TableArgs,
}

impl ShowGatewayStatus {
    /// True if an option is given.
    pub(super) fn is_given(&self) -> bool {
        self.targets.given().is_some()
    }

    pub(crate) fn run(self, session: &CommandSession) -> CommandResult {
        let plan = self.targets.plan(session)?;
        let newest = NewestCrl::of(session)?;
        let progress = progress::gateways(plan.gateways.len(), session.format());
        let answers =
            gateway_client::query_status(&plan.gateways, &plan.call_context(&newest)?, || progress.inc(1))
                .map_err(|error| Failure::caused(Code::environment("system.network"), &error))?;
        progress.finish_and_clear();
        let rows = plan.gateways.iter().zip(answers);
        let rows =
            rows.map(|(gateway, answer)| Row::new(gateway, answer, &newest)).collect::<Result<_, _>>()?;
        Ok(Box::new(StatusReport { crl_number: newest.number, gateways: rows, output: self.table.output() }))
    }
}

/// CRL of a gateway, compared with the newest of the home.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum CrlState {
    /// The newest CRL.
    Current,
    /// An older CRL.
    Behind,
    /// A newer CRL: the home is an old state.
    Ahead,
    /// Another CRL with the same number.
    Differs,
    /// No CRL of this cluster.
    None,
    /// The gateway could not be queried.
    Unknown,
}

impl fmt::Display for CrlState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Current => "current",
            Self::Behind => "BEHIND",
            Self::Ahead => "AHEAD",
            Self::Differs => "DIFFERS",
            Self::None => "NO CRL",
            Self::Unknown => "UNKNOWN",
        })
    }
}

impl CrlState {
    const fn color(self) -> Color {
        match self {
            Self::Current => Color::Good,
            Self::Unknown => Color::Warning,
            Self::Behind | Self::Ahead | Self::Differs | Self::None => Color::Bad,
        }
    }
}

/// One gateway.
#[derive(Serialize)]
struct Row {
    address: String,
    standing: CrlState,
    #[serde(flatten)]
    report: Option<GatewayReport>,
    /// Problems of the gateway, or the failure of the query.
    problems: Vec<Failure>,
}

/// Answer of a gateway.
#[derive(Serialize)]
struct GatewayReport {
    version: SanitizedText,
    generation: u64,
    connections: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    crl: Option<EnforcedCrlReport>,
    trust: TrustReport,
    certificate: ServedCertificate,
}

#[derive(Serialize)]
struct EnforcedCrlReport {
    #[serde(flatten)]
    crl: ReportedCrl,
    /// Seconds since this update.
    age: i64,
    /// Seconds until the next update; negative if overdue.
    left: i64,
}

#[derive(Serialize)]
struct TrustReport {
    fingerprint: Sha256,
    /// True for this home's bundle.
    is_home: bool,
}

/// The gateway's certificate in the TLS handshake.
#[derive(Serialize)]
struct ServedCertificate {
    serial_number: SerialNumber,
    identity: Option<String>,
    #[serde(with = "time::serde::rfc3339")]
    not_after: OffsetDateTime,
    fingerprint: Sha256,
    /// True if the inventory of this home contains it.
    known: bool,
    /// True if another root of the trust bundle issued it, as during a change of roots.
    #[serde(skip)]
    of_other_root: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    superseded_by: Option<SerialNumber>,
}

impl ServedCertificate {
    fn new(served: &Certificate, newest: &NewestCrl) -> Result<Self, Failure> {
        let records = newest.cluster.candidates(&Target::Certificate(Box::new(served.clone())))?;
        let identity = Identity::of_certificate(served, newest.cluster.trust_domain());
        let issuer =
            served.authority_key_identifier.as_ref().and_then(|issuer| issuer.key_identifier.as_ref());
        let root = newest.cluster.root().subject_key_identifier.as_ref();
        let anchors = newest.trust.bundle().anchors();
        let of_other_root =
            issuer != root && anchors.iter().any(|anchor| Some(&anchor.key_identifier) == issuer);
        let newer = |record: &Record| record.superseded_by.as_ref().map(|newer| newer.serial_number);
        Ok(Self {
            serial_number: served.serial_number,
            identity: identity.ok().map(|identity| format!("{}/{}", identity.role, identity.name)),
            not_after: served.not_after,
            fingerprint: served.fingerprint(),
            known: !records.is_empty(),
            of_other_root,
            superseded_by: records.iter().find_map(newer),
        })
    }

    fn problems(&self, at: OffsetDateTime) -> Vec<Failure> {
        let mut problems = Vec::new();
        let mut add = |code, message| problems.push(Failure::new(code, message));
        let serial_number = self.serial_number;
        if !self.known && !self.of_other_root {
            let message =
                format!("its certificate {serial_number} is signed by the root, but is not in the inventory");
            add(Code::refused("verify.not_in_inventory"), message);
        }
        if let Some(newer) = self.superseded_by {
            add(
                Code::refused(DoctorCode::ServedSuperseded.name()),
                format!("it serves certificate {serial_number}, which was replaced by {newer}"),
            );
        }
        if self.not_after < at + EXPIRY_WARNING {
            add(
                Code::refused(DoctorCode::ServedEndsSoon.name()),
                format!("its certificate expires at {}", rfc3339(self.not_after)),
            );
        }
        problems
    }
}

impl Row {
    fn new(
        gateway: &GatewayEntry,
        answer: Result<GatewayStatus, CallError>,
        newest: &NewestCrl,
    ) -> Result<Self, Failure> {
        let address = gateway.address.to_string();
        let answered = match answer {
            Ok(answered) => answered,
            Err(fault) => {
                let problems = vec![failure(&fault)];
                return Ok(Self { address, standing: CrlState::Unknown, report: None, problems });
            }
        };
        let (at, number) = (newest.trust.at(), newest.number);
        let mut problems = Vec::new();
        let crl = answered.crl(&newest.list.issuer).ok().cloned();
        let standing = match newest.list.is_enforced_by(&answered.report.crl) {
            Ok(true) => CrlState::Current,
            Ok(false) => {
                let enforced = crl.as_ref().map(|crl| crl.number.to_string()).unwrap_or_default();
                let message = format!("it enforces CRL {enforced}; the newest of this home is CRL {number}");
                problems.push(Failure::new(Code::unavailable("gateways.outdated"), message));
                CrlState::Behind
            }
            Err(fault) => {
                problems.push(failure(&fault));
                match fault {
                    CallError::Ahead { .. } => CrlState::Ahead,
                    CallError::NumberReused { .. } => CrlState::Differs,
                    _ => CrlState::None,
                }
            }
        };
        if let Some(crl) = crl.as_ref().filter(|crl| crl.next_update < at + EXPIRY_WARNING) {
            let message = format!("the next update of its CRL is due on {}", rfc3339(crl.next_update));
            problems.push(Failure::new(Code::unavailable("gateways.crl_ends_soon"), message));
        }
        let reported = answered.report;
        let trust = TrustReport {
            fingerprint: reported.trust.fingerprint,
            is_home: reported.trust.fingerprint == newest.trust.bundle().fingerprint(),
        };
        if !trust.is_home {
            let message = "its trust bundle differs from cluster.crt of this home".to_owned();
            problems.push(Failure::new(Code::unavailable("gateways.other_bundle"), message));
        }
        let certificate = ServedCertificate::new(&answered.certificate, newest)?;
        problems.extend(certificate.problems(at));
        if let Some(error) = reported.reload.last_error {
            let message = format!("its last reload failed: {} [{}]", error.message, error.code);
            problems.push(Failure::new(Code::unavailable("gateways.reload_failed"), message));
        }
        let crl = crl.map(|crl| EnforcedCrlReport {
            age: (at - crl.this_update).whole_seconds(),
            left: (crl.next_update - at).whole_seconds(),
            crl,
        });
        let (version, generation, connections) =
            (reported.version, reported.generation, reported.connections);
        let report = GatewayReport { version, generation, connections, crl, trust, certificate };
        Ok(Self { address, standing, report: Some(report), problems })
    }

    fn cells(&self, output: TableOutput) -> [Cell; 10] {
        let report = self.report.as_ref();
        let crl = report.and_then(|report| report.crl.as_ref());
        let certificate = report.map(|report| &report.certificate);
        let trust = report.map(|report| if report.trust.is_home { "same" } else { "OTHER" });
        let [number, age, next_update] =
            crl.map_or_else(Default::default, |EnforcedCrlReport { crl, age, .. }| {
                [
                    crl.number.to_string(),
                    format_duration(Duration::seconds((*age).max(0))),
                    date_in(output, &rfc3339(crl.next_update)),
                ]
            });
        let of_certificate =
            |show: fn(&ServedCertificate) -> String| certificate.map(show).unwrap_or_default();
        let until = of_certificate(|certificate| rfc3339(certificate.not_after));
        [
            Cell::new(&self.address),
            Cell::new(self.standing).colored(Some(self.standing.color())),
            Cell::new(number),
            Cell::new(age),
            Cell::new(next_update),
            Cell::new(trust.unwrap_or_default()).colored((trust == Some("OTHER")).then_some(Color::Bad)),
            Cell::new(of_certificate(|certificate| certificate.identity.clone().unwrap_or_default())),
            Cell::new(of_certificate(|certificate| certificate.serial_number.to_string())),
            Cell::new(date_in(output, &until)),
            Cell::new(report.map(|report| report.version.to_string()).unwrap_or_default()),
        ]
    }
}

/// Every gateway.
#[derive(Serialize)]
struct StatusReport {
    /// Number of the home's newest CRL.
    #[serde(serialize_with = "crate::x509::crl::serialize_crl_number")]
    crl_number: u64,
    gateways: Vec<Row>,
    #[serde(skip)]
    output: TableOutput,
}

impl StatusReport {
    const COLUMNS: [Column; 10] = [
        Column::new("GATEWAY").flexible(),
        Column::new("STATUS"),
        Column::new("CRL").number(),
        Column::new("AGE").wide(),
        Column::new("NEXT UPDATE"),
        Column::new("TRUST"),
        Column::new("CERTIFICATE").flexible(),
        Column::new("SERIAL").wide(),
        Column::new("VALID UNTIL"),
        Column::new("VERSION").wide(),
    ];
}

impl CommandOutcome for StatusReport {
    fn json(&self) -> Result<serde_json::Value, serde_json::Error> {
        serde_json::to_value(self)
    }

    fn exit_code(&self) -> u8 {
        let code = |row: &Row| match row.standing {
            CrlState::Unknown => 4,
            _ => u8::from(!row.problems.is_empty()),
        };
        self.gateways.iter().map(code).max().unwrap_or(0)
    }
}

impl fmt::Display for StatusReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new(&Self::COLUMNS, self.output);
        for row in &self.gateways {
            table.push(row.cells(self.output));
        }
        write!(f, "{table}")?;
        let current = self.gateways.iter().filter(|row| row.standing == CrlState::Current).count();
        writeln!(
            f,
            "\n{current}/{} enforce CRL {}, the newest of this home",
            self.gateways.len(),
            self.crl_number
        )?;
        for row in &self.gateways {
            for problem in &row.problems {
                writeln!(f, "  {}: {problem}", row.address)?;
                if let Some(hint) = problem.hint() {
                    writeln!(f, "    hint: {hint}")?;
                }
            }
        }
        Ok(())
    }
}
