//! `doctor`: the whole home looked over, and repaired where that is safe.

use std::fmt;

use clap::Args;
use serde::Serialize;
use time::OffsetDateTime;

use crate::ca::doctor::{Examination, Finding, Severity, examine, examine_served, repair};
use crate::ca::{Cluster, Context, Home, Target};
use crate::clock::parse_time;
use crate::distribute::{Delivery, DeliveryList};
use crate::error::Coded;
use crate::files;
use crate::gateway_client::GatewayList;
use crate::probe::{self, ConnectionOutcome, Endpoint};

use crate::cli::session::Session;
use crate::terminal::hints::{Audience, hint};
use crate::terminal::progress;
use crate::terminal::report::{CommandResult, Outcome};

/// The arguments of `doctor`.
#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// Repair what can be repaired without losing anything: modes, leftovers, a revocation list
    /// that is owed, missing or damaged, files that were not placed
    #[arg(long)]
    fix: bool,

    /// Also look at what is really served at HOST:PORT; can be repeated
    #[arg(long, value_name = "HOST:PORT")]
    connect: Vec<String>,

    /// Judge as of this time instead of now, such as 2027-01-31 or 2027-01-31T12:00:00Z
    #[arg(long, value_name = "TIME", value_parser = parse_time, conflicts_with = "fix")]
    at: Option<OffsetDateTime>,
}

impl Doctor {
    pub(crate) fn run(self, session: &Session) -> CommandResult {
        let (home, profiles) = (session.home(), session.profiles()?);
        let context = session.context_at(self.at);
        let look = if self.fix { repair } else { examine };
        let endpoints: Vec<Endpoint> =
            self.connect.iter().map(|text| text.parse()).collect::<Result<_, _>>()?;
        let valid = Cluster::open(&home, &context)
            .and_then(|cluster| Ok(cluster.inventory().counts(context.clock.now())?.valid))
            .unwrap_or_default();
        let progress = progress::certificates(usize::try_from(valid).unwrap_or_default(), session.format());
        let mut examination = look(&home, &profiles, &context, &|count| progress.inc(count))?;
        progress.finish_and_clear();
        look_at_gateways(&home, &context, &mut examination);
        look_at_hosts(&home, &context, &mut examination);
        for endpoint in &endpoints {
            connect(session, &context, endpoint, &mut examination);
        }
        for recovered in &examination.recovered {
            session.note(recovered);
        }
        Ok(Box::new(Diagnosis { examination, fix: self.fix }))
    }
}

/// Looks at `gateways.yaml`, if it is there: on the day when somebody is revoked it has to be right.
fn look_at_gateways(home: &Home, context: &Context, found: &mut Examination) {
    let file = home.directory().join(GatewayList::FILE);
    let bytes = match files::read(&file, GatewayList::LIMIT) {
        Ok(bytes) => bytes,
        Err(error) if error.is_missing() => return,
        Err(error) => return found.add(Severity::Error, error.code(), error.to_string()),
    };
    let operator = match GatewayList::parse(&file.display().to_string(), &bytes) {
        Ok(listed) => listed.operator,
        Err(error) => return found.add(Severity::Error, error.code(), error.to_string()),
    };
    let Some((role, name)) = operator else { return };
    let who = format!("the operator {role}/{name} of {}", file.display());
    let leaf = Cluster::open(home, context).and_then(|cluster| cluster.export(&Target::Identity(role, name)));
    match leaf {
        Ok(leaf) if leaf.key_pem.is_none() => {
            let message = format!("{who} has no private key here: no gateway can be called as it");
            found.add(Severity::Error, "store.no_key", message);
        }
        Ok(_) => {}
        Err(error) => found.add(Severity::Error, error.code(), format!("{who}: {error}")),
    }
}

/// Looks at `hosts.yaml`, if it is there: whatever it sends somewhere has to be here.
fn look_at_hosts(home: &Home, context: &Context, found: &mut Examination) {
    let file = home.directory().join(DeliveryList::FILE);
    let bytes = match files::read(&file, DeliveryList::LIMIT) {
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

/// Looks at a live endpoint as a stranger; what keeps it from being judged is a finding, too.
fn connect(session: &Session, context: &Context, endpoint: &Endpoint, found: &mut Examination) {
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
        return found.add(Severity::Error, "doctor.no_certificate_served", message);
    }
    if let Err(error) = examine_served(&session.home(), context, chain, &endpoint.host, found) {
        found.add(Severity::Error, error.code(), format!("{endpoint} cannot be judged: {error}"));
    }
    if !seen.requests_certificate {
        let message = format!("{endpoint} asks no caller for a certificate");
        found.add(Severity::Error, "doctor.anonymous_callers", message);
    } else if let ConnectionOutcome::Responded(status @ (200..=399 | 404)) = seen.outcome {
        let message = format!("{endpoint} answers a caller without a certificate (status {status})");
        found.add(Severity::Warning, "doctor.anonymous_callers", message);
    }
}

struct Diagnosis {
    examination: Examination,
    fix: bool,
}

/// A finding with what to do about it.
#[derive(Serialize)]
struct Advised<'a> {
    #[serde(flatten)]
    finding: &'a Finding,
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<&'static str>,
}

impl<'a> From<&'a Finding> for Advised<'a> {
    fn from(finding: &'a Finding) -> Self {
        Self { finding, remedy: remedy(finding) }
    }
}

/// What to do about it; a note asks for nothing.
fn remedy(finding: &Finding) -> Option<&'static str> {
    match finding.severity {
        Severity::Note => None,
        _ => hint(Audience::Ca, finding.code).or(Some(match finding.is_repairable() {
            true => "cluster-ca doctor --fix does it",
            false => "put back from a backup what is damaged: cluster-ca backup --verify FILE, then restore",
        })),
    }
}

#[derive(Serialize)]
struct Body<'a> {
    healthy: bool,
    certificates: u64,
    findings: Vec<Advised<'a>>,
    repaired: &'a [Finding],
}

impl Outcome for Diagnosis {
    fn json(&self) -> Result<serde_json::Value, serde_json::Error> {
        serde_json::to_value(Body {
            healthy: self.examination.is_healthy(),
            certificates: self.examination.certificates,
            findings: self.examination.findings.iter().map(Advised::from).collect(),
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
            if let Some(remedy) = remedy(finding) {
                writeln!(f, "  remedy: {remedy}")?;
            }
        }
        if self.examination.is_healthy() {
            return writeln!(f, "Healthy: {certificates} valid certificates, and everything agrees");
        }
        if !self.fix && findings.iter().any(Finding::is_repairable) {
            writeln!(
                f,
                "\nNext: cluster-ca doctor --fix    (repairs what can be repaired without losing anything)"
            )?;
        }
        Ok(())
    }
}
