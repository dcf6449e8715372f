//! `forecast`: upcoming expirations, for people, cron and Prometheus.

use std::fmt;
use std::path::PathBuf;

use clap::Args;
use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};

use crate::ca::{Cluster, Forecast, Gauges, Outage, OutageKind};
use crate::clock::{format_duration, parse_duration, parse_time, rfc3339};
use crate::error::{Coded, with_causes};
use crate::files::{self, Access, Placement};
use crate::gateway_client::{AcknowledgedCrl, AcknowledgedCrls};
use crate::keys::kms::{Configuration, KmsError, LoginEnd, ServiceLogin};
use crate::probe::Endpoint;

use super::gateways::listed;
use crate::cli::server_args::{ServerChoice, failure, refuse_on_server};
use crate::cli::session::CommandSession;
use crate::terminal::report::{CommandOutcome, CommandResult, Failure};

/// The arguments of `forecast`.
#[derive(Debug, Args)]
pub(crate) struct ShowForecast {
    /// Window of the forecast
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "30d")]
    within: Duration,

    /// Start of the window instead of now, such as 2027-01-31 or 2027-01-31T12:00:00Z
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    at: Option<OffsetDateTime>,

    /// Also write metrics to this file, for the textfile collector of node_exporter
    #[arg(long, value_name = "FILE")]
    prometheus: Option<PathBuf>,

    #[command(flatten)]
    server: ServerChoice,
}

impl ShowForecast {
    pub(crate) fn run(self, session: &CommandSession) -> CommandResult {
        if let Some(api) = self.server.open(session)? {
            refuse_on_server(&[("--at", self.at.is_some()), ("--prometheus", self.prometheus.is_some())])?;
            let path = format!("/forecast?within={}", format_duration(self.within));
            let forecast = api.get(&path).map_err(failure)?;
            return Ok(Box::new(ForecastReport { forecast, within: self.within }));
        }
        let cluster = Cluster::open(&session.home(), &session.context_at(self.at))?;
        let mut forecast = cluster.forecast(&session.profiles()?, self.within)?;
        let gateways = acknowledged(session)?;
        gateways
            .iter()
            .for_each(|(address, crl)| forecast.include(outage(address, crl.as_ref(), forecast.at)));
        let logins = Configuration::load(&session.home().kms())?.logins();
        for login in &logins {
            match login_outage(login, forecast.at) {
                Ok(outage) => outage.into_iter().for_each(|outage| forecast.include(outage)),
                Err(error) => session.note(format_args!(
                    "the end of the login to {} is not known: {}",
                    login.service.address(),
                    with_causes(error)
                )),
            }
        }
        if let Some(path) = &self.prometheus {
            let text = metrics(&forecast)
                + &gateway_metrics(&forecast, &gateways)
                + &login_metrics(&forecast, &logins);
            files::write(path, Access::Public, Placement::Replace, text.as_bytes())?;
        }
        Ok(Box::new(ForecastReport { forecast: forecast.into(), within: self.within }))
    }
}

/// The gateways in `gateways.yaml`, each with the CRL that it acknowledged last.
fn acknowledged(session: &CommandSession) -> Result<Vec<(Endpoint, Option<AcknowledgedCrl>)>, Failure> {
    let Some(listed) = listed(session)? else { return Ok(Vec::new()) };
    let known = AcknowledgedCrls::load(session.home().directory())?;
    Ok(listed
        .gateways
        .into_iter()
        .map(|gateway| {
            let crl = known.of(&gateway.address).cloned();
            (gateway.address, crl)
        })
        .collect())
}

/// End of the CRL at a gateway; now, for a gateway that has acknowledged none.
fn outage(address: &Endpoint, crl: Option<&AcknowledgedCrl>, now: OffsetDateTime) -> Outage {
    let (at, message) = match crl {
        Some(crl) => (
            crl.next_update,
            format!("CRL {} at gateway {address} expires: it refuses every client", crl.number),
        ),
        None => (now, format!("gateway {address} has acknowledged no CRL of this home")),
    };
    Outage { at, what: OutageKind::GatewayCrl, message }
}

/// End of the login to a key management service; now, for one that the service refuses. `None` without an end.
fn login_outage(login: &ServiceLogin, now: OffsetDateTime) -> Result<Option<Outage>, &KmsError> {
    let (kind, address) = (login.service.kind(), login.service.address());
    let (at, message) = match &login.end {
        Ok(LoginEnd::At { at, why }) => (*at, format!("the login to {kind} at {address} ends: {why}")),
        Ok(LoginEnd::Open) => return Ok(None),
        Ok(end @ LoginEnd::Unknown) => (now, format!("the end of the login to {kind} at {address} is {end}")),
        Err(error) => match error.code() {
            "kms.client_certificate_refused" | "kms.denied" | "kms.login_refused" | "kms.token_refused" => {
                (now, error.to_string())
            }
            _ => return Err(error),
        },
    };
    Ok(Some(Outage { at, what: OutageKind::Login, message }))
}

/// Outages expected within a window.
#[derive(Serialize, Deserialize)]
struct Expirations {
    #[serde(with = "time::serde::rfc3339")]
    at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    until: OffsetDateTime,
    outages: Vec<Outage>,
    /// Number of certificates that expire, listed or not.
    leaves: u64,
    /// The earliest outage, inside or after the window.
    first: Option<Outage>,
}

impl From<Forecast> for Expirations {
    fn from(forecast: Forecast) -> Self {
        let Forecast { at, until, outages, leaves, first, .. } = forecast;
        Self { at, until, outages, leaves, first }
    }
}

#[derive(Serialize)]
struct ForecastReport {
    #[serde(flatten)]
    forecast: Expirations,
    #[serde(skip)]
    within: Duration,
}

impl CommandOutcome for ForecastReport {
    fn json(&self) -> Result<serde_json::Value, serde_json::Error> {
        serde_json::to_value(self)
    }

    fn exit_code(&self) -> u8 {
        u8::from(!self.forecast.outages.is_empty())
    }
}

impl fmt::Display for ForecastReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let forecast = &self.forecast;
        let within = format_duration(self.within);
        if forecast.outages.is_empty() {
            writeln!(f, "Nothing expires within {within}")?;
            return match &forecast.first {
                Some(first) => writeln!(f, "  first  {}  {}", rfc3339(first.at), first.message),
                None => Ok(()),
            };
        }
        writeln!(f, "Expires within {within}, the earliest first:")?;
        let mut named = 0;
        for outage in &forecast.outages {
            let since = if outage.at < forecast.at { "  (in the past)" } else { "" };
            writeln!(f, "  {}  {}{since}", rfc3339(outage.at), outage.message)?;
            named += u64::from(outage.what == OutageKind::Leaf);
        }
        if named < forecast.leaves {
            writeln!(f, "  and {} more certificates", forecast.leaves - named)?;
        }
        writeln!(f)?;
        writeln!(f, "Next: {}", remedy(forecast.outages.first().map(|outage| outage.what)))
    }
}

/// Remedy that prevents the first outage.
fn remedy(first: Option<OutageKind>) -> &'static str {
    match first {
        Some(OutageKind::Root | OutageKind::Issuing) => "plan a new root before the first of these dates",
        Some(OutageKind::Crl) => "sign a new CRL: cluster-ca crl publish",
        Some(OutageKind::Login) => "give the service a new login: cluster-ca kms set",
        Some(OutageKind::GatewayCrl) => "sign a new CRL and push it: cluster-ca crl publish",
        _ => "renew the certificates that are still in use: cluster-ca renew --expires-within DURATION",
    }
}

/// Metrics of the gateways: number and end of the CRL that each acknowledged last.
fn gateway_metrics(forecast: &Forecast, gateways: &[(Endpoint, Option<AcknowledgedCrl>)]) -> String {
    let mut text = String::new();
    let cluster = &forecast.gauges.cluster;
    let mut gauge = |name: &str, help: &str, of: &dyn Fn(&AcknowledgedCrl) -> String| {
        text.push_str(&format!("# HELP cluster_ca_{name} {help}\n# TYPE cluster_ca_{name} gauge\n"));
        for (address, crl) in gateways {
            let value = crl.as_ref().map_or_else(|| "0".to_owned(), of);
            let labels = format!("cluster=\"{cluster}\",gateway=\"{address}\"");
            text.push_str(&format!("cluster_ca_{name}{{{labels}}} {value}\n"));
        }
    };
    if !gateways.is_empty() {
        gauge(
            "gateway_crl_number",
            "Number of the CRL that the gateway acknowledged last; 0 for none.",
            &|crl| crl.number.to_string(),
        );
        gauge(
            "gateway_crl_next_update_seconds",
            "Next update of the CRL that the gateway acknowledged last; 0 for none.",
            &|crl| crl.next_update.unix_timestamp().to_string(),
        );
    }
    text
}

/// Metrics of key management services: end of each login that has one.
fn login_metrics(forecast: &Forecast, logins: &[ServiceLogin]) -> String {
    let cluster = &forecast.gauges.cluster;
    let ends = logins.iter().filter_map(|login| match login.end {
        Ok(LoginEnd::At { at, .. }) => Some((login.service.address(), login.service.key(), at)),
        _ => None,
    });
    let samples: String = ends
        .map(|(address, key, at)| {
            let labels = format!("cluster=\"{cluster}\",service=\"{address}\",key=\"{key}\"");
            format!("cluster_ca_kms_login_end_seconds{{{labels}}} {}\n", at.unix_timestamp())
        })
        .collect();
    if samples.is_empty() {
        return samples;
    }
    format!(
        "# HELP cluster_ca_kms_login_end_seconds End of the login to a key management service.\n\
         # TYPE cluster_ca_kms_login_end_seconds gauge\n{samples}"
    )
}

/// Metrics in the text format of Prometheus; times are seconds since 1970.
fn metrics(forecast: &Forecast) -> String {
    let Gauges { cluster, counts, crl, root_not_after, first_leaf_not_after } = &forecast.gauges;
    let mut text = String::new();
    let mut gauge = |name: &str, help: &str, samples: &[(&str, Option<i64>)]| {
        text.push_str(&format!("# HELP cluster_ca_{name} {help}\n# TYPE cluster_ca_{name} gauge\n"));
        for (label, value) in samples {
            if let Some(value) = value {
                text.push_str(&format!("cluster_ca_{name}{{cluster=\"{cluster}\"{label}}} {value}\n"));
            }
        }
    };
    let count = |number: u64| i64::try_from(number).ok();
    let time = |time: OffsetDateTime| Some(time.unix_timestamp());
    gauge(
        "certificates",
        "Certificates in the inventory.",
        &[
            (",status=\"reserved\"", count(counts.reserved)),
            (",status=\"valid\"", count(counts.valid)),
            (",status=\"expired\"", count(counts.expired)),
            (",status=\"revoked\"", count(counts.revoked)),
        ],
    );
    gauge("root_not_after_seconds", "Expiry of the root.", &[("", time(*root_not_after))]);
    let crl_time = |of: fn(&crate::store::CurrentCrl) -> OffsetDateTime| crl.as_ref().map(of).and_then(time);
    gauge("crl_number", "Number of the newest CRL.", &[("", crl.and_then(|crl| count(crl.number)))]);
    gauge(
        "crl_this_update_seconds",
        "Issue time of the newest CRL.",
        &[("", crl_time(|crl| crl.this_update))],
    );
    gauge(
        "crl_next_update_seconds",
        "Next update of the newest CRL.",
        &[("", crl_time(|crl| crl.next_update))],
    );
    gauge(
        "first_leaf_not_after_seconds",
        "Earliest expiry of a certificate without a replacement.",
        &[("", first_leaf_not_after.and_then(time))],
    );
    gauge(
        "leaves_ending",
        "Certificates without a replacement that expire within the window of the forecast.",
        &[("", count(forecast.leaves))],
    );
    gauge(
        "first_outage_seconds",
        "Earliest expiry of all.",
        &[("", forecast.first.as_ref().and_then(|outage| time(outage.at)))],
    );
    gauge("forecast_seconds", "Time of this forecast.", &[("", time(forecast.at))]);
    text
}
