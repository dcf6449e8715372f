//! `doctor`: checks of the whole home, and safe repairs.

use std::fmt;

use clap::Args;
use serde::Serialize;
use time::OffsetDateTime;

use crate::ca::doctor::{
    DoctorCode, Examination, Finding, Severity, Thoroughness, examination_size, examine, examine_served,
    repair,
};
use crate::ca::{Cluster, Context, Home, Target};
use crate::clock::parse_time;
use crate::distribute::{Delivery, DeliveryList};
use crate::error::{Coded, with_causes};
use crate::files;
use crate::gateway_client::{AcknowledgedCrls, GatewayEntry, GatewayList};
use crate::probe::{self, ConnectionOutcome, Endpoint};

use crate::cli::session::CommandSession;
use crate::terminal::hints::{Audience, hint};
use crate::terminal::progress;
use crate::terminal::report::{CommandOutcome, CommandResult};

/// The arguments of `doctor`.
#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// Repair without losing data: file modes, leftovers, files that were not placed, and a CRL that is
    /// pending, missing or damaged
    #[arg(long)]
    fix: bool,

    /// Check every signature and every file. Without it, a random 50,000 of a larger home
    #[arg(long)]
    full: bool,

    /// Also check the certificate served at HOST:PORT; can be repeated
    #[arg(long, value_name = "HOST:PORT")]
    connect: Vec<String>,

    /// Check as of this time instead of now, such as 2027-01-31 or 2027-01-31T12:00:00Z
    #[arg(long, value_name = "TIME", value_parser = parse_time, conflicts_with = "fix")]
    at: Option<OffsetDateTime>,
}

impl Doctor {
    pub(crate) fn run(self, session: &CommandSession) -> CommandResult {
        let (home, profiles) = (session.home(), session.profiles()?);
        let context = session.context_at(self.at);
        let check = if self.fix { repair } else { examine };
        let endpoints: Vec<Endpoint> =
            self.connect.iter().map(|text| text.parse()).collect::<Result<_, _>>()?;
        let size = examination_size(&home, &context);
        let progress = progress::checks(usize::try_from(size).unwrap_or_default(), session.format());
        let thoroughness = if self.full { Thoroughness::Full } else { Thoroughness::Standard };
        let mut examination = check(&home, &profiles, &context, thoroughness, &|count| progress.inc(count))?;
        progress.finish_and_clear();
        check_gateway_list(&home, &context, &mut examination);
        check_delivery_list(&home, &context, &mut examination);
        for endpoint in &endpoints {
            connect(session, &context, endpoint, &mut examination);
        }
        for recovered in &examination.recovered {
            session.note(recovered);
        }
        Ok(Box::new(Diagnosis { examination, fix: self.fix }))
    }
}

/// Check `gateways.yaml`, if it exists: an error in it would delay a revocation.
fn check_gateway_list(home: &Home, context: &Context, found: &mut Examination) {
    let file = home.directory().join(GatewayList::FILE);
    let bytes = match files::read_write_protected(&file, GatewayList::LIMIT) {
        Ok(bytes) => bytes,
        Err(error) if error.is_missing() => return,
        Err(error) => return found.add(Severity::Error, error.code(), error.to_string()),
    };
    let listed = match GatewayList::parse(&file.display().to_string(), &bytes) {
        Ok(listed) => listed,
        Err(error) => return found.add(Severity::Error, error.code(), error.to_string()),
    };
    check_acknowledged(home, context, &listed, found);
    let Some((role, name)) = listed.operator else { return };
    let who = format!("the operator {role}/{name} of {}", file.display());
    let leaf = Cluster::open(home, context).and_then(|cluster| cluster.export(&Target::Identity(role, name)));
    match leaf {
        Ok(leaf) if leaf.key_pem.is_none() => {
            let message = format!("{who} has no private key here, so that no gateway can be called");
            found.add(Severity::Error, DoctorCode::OperatorMissing.name(), message);
        }
        // A backup made without --with-issued has no certificates.
        Err(error) if error.code() == "file.missing" => {
            let message = format!("{who} cannot call any gateway: {error}");
            found.add(Severity::Error, DoctorCode::OperatorMissing.name(), message);
        }
        Ok(_) => {}
        Err(error) => found.add(Severity::Error, error.code(), format!("{who}: {error}")),
    }
}

/// Check that each gateway has acknowledged the newest CRL.
fn check_acknowledged(home: &Home, context: &Context, listed: &GatewayList, found: &mut Examination) {
    let known = match AcknowledgedCrls::load(home.directory()) {
        Ok(known) => known,
        Err(error) => return found.add(Severity::Warning, error.code(), with_causes(&error)),
    };
    let newest =
        Cluster::open(home, context).and_then(|cluster| Ok(cluster.newest_crl()?.map(|(crl, _)| crl)));
    // Examined already: a home that cannot be opened, or without a usable CRL.
    let Ok(Some(newest)) = newest else { return };
    for GatewayEntry { address, .. } in &listed.gateways {
        let message = match known.of(address) {
            Some(crl) if crl.issuer == newest.issuer && crl.number >= newest.number => continue,
            Some(crl) => format!(
                "gateway {address} has acknowledged CRL {} and not CRL {}, which is the newest",
                crl.number, newest.number
            ),
            None => format!("gateway {address} has acknowledged no CRL of this home"),
        };
        found.add(Severity::Warning, DoctorCode::GatewayOutdated.name(), message);
    }
}

/// Check that the certificates listed in `hosts.yaml`, if it exists, can be delivered.
fn check_delivery_list(home: &Home, context: &Context, found: &mut Examination) {
    let file = home.directory().join(DeliveryList::FILE);
    let bytes = match files::read_write_protected(&file, DeliveryList::LIMIT) {
        Ok(bytes) => bytes,
        Err(error) if error.is_missing() => return,
        Err(error) => return found.add(Severity::Error, error.code(), error.to_string()),
    };
    let listed = match DeliveryList::parse(&file.display().to_string(), &bytes) {
        Ok(listed) => listed,
        Err(error) => return found.add(Severity::Error, error.code(), error.to_string()),
    };
    let Ok(cluster) = Cluster::open(home, context) else { return };
    for Delivery { role, name, destination, .. } in listed.deliveries() {
        if let Err(error) = cluster.export(&Target::Identity(*role, name.clone())) {
            let message = format!("{role}/{name} cannot be delivered to {destination}: {error}");
            found.add(Severity::Warning, error.code(), message);
        }
    }
}

/// Check a live endpoint without a client certificate; a failure to connect is a finding, too.
fn connect(session: &CommandSession, context: &Context, endpoint: &Endpoint, found: &mut Examination) {
    let seen = match probe::observe(endpoint, None) {
        Ok(seen) => seen,
        Err(error) => return found.add(Severity::Error, error.code(), error.to_string()),
    };
    let chain = match &seen.chain {
        Ok(chain) => chain,
        Err(error) => {
            let message = format!("{endpoint} presents a certificate that cannot be read: {error}");
            return found.add(Severity::Error, error.code(), message);
        }
    };
    if chain.is_empty() {
        let message = format!("{endpoint} presents no certificate");
        return found.add(Severity::Error, DoctorCode::NoCertificateServed.name(), message);
    }
    if let Err(error) = examine_served(&session.home(), context, chain, &endpoint.host, found) {
        found.add(Severity::Error, error.code(), format!("{endpoint} cannot be checked: {error}"));
    }
    if !seen.requests_certificate {
        let message = format!("{endpoint} does not request a client certificate");
        found.add(Severity::Error, DoctorCode::AnonymousCallers.name(), message);
    } else if let ConnectionOutcome::Responded(status @ (200..=399 | 404)) = seen.outcome {
        let message = format!("{endpoint} answers a client without a certificate (status {status})");
        found.add(Severity::Warning, DoctorCode::AnonymousCallers.name(), message);
    }
}

struct Diagnosis {
    examination: Examination,
    fix: bool,
}

/// JSON of a finding, with the hint for it.
#[derive(Serialize)]
struct FindingWithRemedy<'a> {
    #[serde(flatten)]
    finding: &'a Finding,
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<&'static str>,
}

/// Remedy for a finding; a note has none. What `--fix` has left needs another remedy than `--fix`.
fn remedy(finding: &Finding, fixed: bool) -> Option<&'static str> {
    const RESTORE: &str =
        "restore the damaged files from a backup: cluster-ca backup --verify FILE, then restore";
    let of_code = hint(Audience::Ca, finding.code).filter(|hint| !fixed || !hint.contains("doctor --fix"));
    match finding.severity {
        Severity::Note => None,
        _ => of_code.or(Some(match finding.is_repairable() && !fixed {
            true => "run cluster-ca doctor --fix",
            false => RESTORE,
        })),
    }
}

#[derive(Serialize)]
struct DiagnosisBody<'a> {
    healthy: bool,
    certificates: u64,
    findings: Vec<FindingWithRemedy<'a>>,
    repaired: &'a [Finding],
}

impl CommandOutcome for Diagnosis {
    fn json(&self) -> Result<serde_json::Value, serde_json::Error> {
        serde_json::to_value(DiagnosisBody {
            healthy: self.examination.is_healthy(),
            certificates: self.examination.certificates,
            findings: (self.examination.findings.iter())
                .map(|finding| FindingWithRemedy { finding, remedy: remedy(finding, self.fix) })
                .collect(),
            repaired: &self.examination.repaired,
        })
    }

    fn exit_code(&self) -> u8 {
        u8::from(!self.examination.is_healthy())
    }
}

impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Examination { findings, repaired, certificates, .. } = &self.examination;
        for finding in repaired {
            writeln!(f, "repaired: {} [{}]", finding.message, finding.code)?;
        }
        for finding in findings {
            let word = match finding.severity {
                Severity::Error => "error",
                Severity::Warning => "warning",
                Severity::Note => "note",
            };
            writeln!(f, "{word}: {} [{}]", finding.message, finding.code)?;
            if let Some(remedy) = remedy(finding, self.fix) {
                writeln!(f, "  remedy: {remedy}")?;
            }
        }
        if self.examination.is_healthy() {
            // A note names what could not be checked, such as a root key whose passphrase is not given.
            let exceptions = if findings.is_empty() { "" } else { " but for the notes above" };
            return writeln!(
                f,
                "Healthy: {certificates} valid certificates, and everything agrees{exceptions}"
            );
        }
        if !self.fix && findings.iter().any(Finding::is_repairable) {
            writeln!(f, "\nNext: cluster-ca doctor --fix    (repairs without losing data)")?;
        }
        Ok(())
    }
}
