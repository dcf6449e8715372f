//! How every gateway is, beside what the home says.

use std::fmt;

use clap::Args;
use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;
use time::{Duration, OffsetDateTime};

use crate::ca::Target;
use crate::clock::{format_duration, rfc3339};
use crate::error::Code;
use crate::gateway_client::{self, CallError, GatewayEntry, GatewayStatus, ReportedCrl, SanitizedText};
use crate::identity::Identity;
use crate::store::Record;
use crate::x509::{Certificate, SerialNumber, Sha256};

use super::push::failure;
use super::target_args::{Newest, Reach};
use crate::cli::session::Session;
use crate::terminal::progress;
use crate::terminal::report::{CommandResult, Failure, Outcome};

/// From how long before the end of a list or certificate on it is told of.
const EXPIRY_WARNING: Duration = Duration::days(30);

/// The arguments of `gateways status`.
#[derive(Debug, Args)]
#[command(after_help = "\
gateways.yaml says which gateways there are: see cluster-ca crl push --help.

Exit code 4: a gateway could not be asked.
Exit code 1: one enforces another list than the newest of this home, or there is something else to mend.")]
pub(crate) struct Status {
    #[command(flatten)]
    reach: Reach,
}

impl Status {
    pub(crate) fn run(self, session: &Session) -> CommandResult {
        let plan = self.reach.plan(session)?;
        let newest = Newest::of(session)?;
        let progress = progress::gateways(plan.gateways.len(), session.format());
        let answers =
            gateway_client::query_status(&plan.gateways, &plan.calling(&newest)?, || progress.inc(1))
                .map_err(|error| Failure::caused(Code::environment("system.network"), &error))?;
        progress.finish_and_clear();
        let rows = plan.gateways.iter().zip(answers);
        let rows =
            rows.map(|(gateway, answer)| Row::new(gateway, answer, &newest)).collect::<Result<_, _>>()?;
        Ok(Box::new(States { crl_number: newest.number, gateways: rows }))
    }
}

/// How the list that a gateway enforces stands to the home's newest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Standing {
    /// It is that one.
    Current,
    /// It is an older one.
    Behind,
    /// It is a newer one: the home is an old state.
    Ahead,
    /// It is another one of the same number.
    Differs,
    /// There is none.
    None,
    /// It could not be asked.
    Unknown,
}

impl fmt::Display for Standing {
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
    standing: Standing,
    #[serde(flatten)]
    told: Option<Told>,
    /// What is to be mended; of one that could not be asked, why not.
    problems: Vec<Failure>,
}

/// What a gateway that answered has told.
#[derive(Serialize)]
struct Told {
    version: SanitizedText,
    generation: u64,
    connections: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    crl: Option<Enforced>,
    trust: Trusted,
    certificate: Served,
}

#[derive(Serialize)]
struct Enforced {
    #[serde(flatten)]
    crl: ReportedCrl,
    /// Seconds since it was made.
    age: i64,
    /// Seconds until its successor is due; negative past that.
    left: i64,
}

#[derive(Serialize)]
struct Trusted {
    fingerprint: Sha256,
    /// Whether it is this home's bundle.
    is_home: bool,
}

/// The certificate that it proved to have.
#[derive(Serialize)]
struct Served {
    serial_number: SerialNumber,
    identity: Option<String>,
    #[serde(with = "time::serde::rfc3339")]
    not_after: OffsetDateTime,
    fingerprint: Sha256,
    /// Whether this home has issued it.
    known: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    superseded_by: Option<SerialNumber>,
}

impl Served {
    fn new(served: &Certificate, newest: &Newest) -> Result<Self, Failure> {
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
            let message = format!(
                "the root signed its certificate {serial_number}, but the inventory does not know it"
            );
            add(Code::refused("verify.not_in_inventory"), message);
        }
        if let Some(newer) = self.superseded_by {
            add(
                Code::refused("doctor.served_superseded"),
                format!("it serves certificate {serial_number}, which {newer} has replaced"),
            );
        }
        if self.not_after < at + EXPIRY_WARNING {
            add(
                Code::refused("doctor.served_ends_soon"),
                format!("its certificate ends at {}", rfc3339(self.not_after)),
            );
        }
        problems
    }
}

impl Row {
    fn new(
        gateway: &GatewayEntry,
        answer: Result<GatewayStatus, CallError>,
        newest: &Newest,
    ) -> Result<Self, Failure> {
        let address = gateway.address.to_string();
        let answered = match answer {
            Ok(answered) => answered,
            Err(fault) => {
                let problems = vec![failure(&fault)];
                return Ok(Self { address, standing: Standing::Unknown, told: None, problems });
            }
        };
        let (at, number) = (newest.trust.at(), newest.number);
        let mut problems = Vec::new();
        let crl = answered.crl(&newest.list.issuer).ok().cloned();
        let standing = match newest.list.is_enforced_by(&answered.report.crl) {
            Ok(true) => Standing::Current,
            Ok(false) => {
                let enforced = crl.as_ref().map(|crl| crl.number.to_string()).unwrap_or_default();
                let message =
                    format!("it enforces CRL {enforced}, and the newest of this home is CRL {number}");
                problems.push(Failure::new(Code::unavailable("gateways.outdated"), message));
                Standing::Behind
            }
            Err(fault) => {
                problems.push(failure(&fault));
                match fault {
                    CallError::Ahead { .. } => Standing::Ahead,
                    CallError::NumberReused { .. } => Standing::Differs,
                    _ => Standing::None,
                }
            }
        };
        if let Some(crl) = crl.as_ref().filter(|crl| crl.next_update < at + EXPIRY_WARNING) {
            let message =
                format!("the successor of the list that it enforces is due on {}", rfc3339(crl.next_update));
            problems.push(Failure::new(Code::unavailable("gateways.crl_ends_soon"), message));
        }
        let reported = answered.report;
        let trust = Trusted {
            fingerprint: reported.trust.fingerprint,
            is_home: reported.trust.fingerprint == newest.trust.bundle().fingerprint(),
        };
        if !trust.is_home {
            let message = "it trusts another bundle than cluster.crt of this home".to_owned();
            problems.push(Failure::new(Code::unavailable("gateways.other_bundle"), message));
        }
        let certificate = Served::new(&answered.certificate, newest)?;
        problems.extend(certificate.problems(at));
        if let Some(error) = reported.reload.last_error {
            let message = format!("its last reload failed: {} [{}]", error.message, error.code);
            problems.push(Failure::new(Code::unavailable("gateways.reload_failed"), message));
        }
        let crl = crl.map(|crl| Enforced {
            age: (at - crl.this_update).whole_seconds(),
            left: (crl.next_update - at).whole_seconds(),
            crl,
        });
        let (version, generation, connections) =
            (reported.version, reported.generation, reported.connections);
        let told = Told { version, generation, connections, crl, trust, certificate };
        Ok(Self { address, standing, told: Some(told), problems })
    }

    fn cells(&self) -> [String; 10] {
        let told = |show: fn(&Told) -> String| self.told.as_ref().map(show).unwrap_or_default();
        let crl = |show: fn(&Enforced) -> String| {
            self.told.as_ref().and_then(|told| told.crl.as_ref()).map(show).unwrap_or_default()
        };
        [
            self.address.clone(),
            self.standing.to_string(),
            crl(|enforced| enforced.crl.number.to_string()),
            crl(|enforced| format_duration(Duration::seconds(enforced.age.max(0)))),
            crl(|enforced| rfc3339(enforced.crl.next_update)),
            told(|told| if told.trust.is_home { "same" } else { "OTHER" }.to_owned()),
            told(|told| told.certificate.identity.clone().unwrap_or_default()),
            told(|told| told.certificate.serial_number.to_string()),
            told(|told| rfc3339(told.certificate.not_after)),
            told(|told| told.version.to_string()),
        ]
    }
}

/// Every gateway.
#[derive(Serialize)]
struct States {
    /// The number of the home's newest list.
    #[serde(serialize_with = "crate::x509::crl::serialize_crl_number")]
    crl_number: u64,
    gateways: Vec<Row>,
}

impl Outcome for States {
    fn json(&self) -> Result<serde_json::Value, serde_json::Error> {
        serde_json::to_value(self)
    }

    fn exit_code(&self) -> u8 {
        let code = |row: &Row| match row.standing {
            Standing::Unknown => 4,
            _ => u8::from(!row.problems.is_empty()),
        };
        self.gateways.iter().map(code).max().unwrap_or(0)
    }
}

impl fmt::Display for States {
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
        let current = self.gateways.iter().filter(|row| row.standing == Standing::Current).count();
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
