//! `gateways status`: state of every gateway, compared with the home.

use std::fmt;

use clap::Args;
use comfy_table::{ContentArrangement, Table, presets};
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
use crate::terminal::progress;
use crate::terminal::report::{CommandOutcome, CommandResult, Failure};

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
        Ok(Box::new(StatusReport { crl_number: newest.number, gateways: rows }))
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
    #[serde(skip_serializing_if = "Option::is_none")]
    superseded_by: Option<SerialNumber>,
}

impl ServedCertificate {
    fn new(served: &Certificate, newest: &NewestCrl) -> Result<Self, Failure> {
        let records = newest.cluster.candidates(&Target::Certificate(Box::new(served.clone())))?;
        let identity = Identity::of_certificate(served, newest.cluster.trust_domain());
        let newer = |record: &Record| record.superseded_by.as_ref().map(|newer| newer.serial_number);
        Ok(Self {
            serial_number: served.serial_number,
            identity: identity.ok().map(|identity| format!("{}/{}", identity.role, identity.name)),
            not_after: served.not_after,
            fingerprint: served.fingerprint(),
            known: !records.is_empty(),
            superseded_by: records.iter().find_map(newer),
        })
    }

    fn problems(&self, at: OffsetDateTime) -> Vec<Failure> {
        let mut problems = Vec::new();
        let mut add = |code, message| problems.push(Failure::new(code, message));
        let serial_number = self.serial_number;
        if !self.known {
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

    fn cells(&self) -> [String; 10] {
        let report = |show: fn(&GatewayReport) -> String| self.report.as_ref().map(show).unwrap_or_default();
        let crl = |show: fn(&EnforcedCrlReport) -> String| {
            self.report.as_ref().and_then(|report| report.crl.as_ref()).map(show).unwrap_or_default()
        };
        [
            self.address.clone(),
            self.standing.to_string(),
            crl(|enforced| enforced.crl.number.to_string()),
            crl(|enforced| format_duration(Duration::seconds(enforced.age.max(0)))),
            crl(|enforced| rfc3339(enforced.crl.next_update)),
            report(|report| if report.trust.is_home { "same" } else { "OTHER" }.to_owned()),
            report(|report| report.certificate.identity.clone().unwrap_or_default()),
            report(|report| report.certificate.serial_number.to_string()),
            report(|report| rfc3339(report.certificate.not_after)),
            report(|report| report.version.to_string()),
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
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        table.set_header([
            "GATEWAY",
            "LIST",
            "CRL",
            "AGE",
            "NEXT UPDATE",
            "TRUST",
            "CERTIFICATE OF",
            "SERIAL",
            "VALID UNTIL",
            "VERSION",
        ]);
        for row in &self.gateways {
            table.add_row(row.cells());
        }
        for line in table.to_string().lines() {
            writeln!(f, "{}", line.trim())?;
        }
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
