//! `forecast`: upcoming expirations.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use http::{StatusCode, Uri};
use serde::{Deserialize, Serialize};
use time::Duration;
use utoipa::{IntoParams, ToSchema};

use super::extract::{parsed, query, respond};
use super::problem::Problem;
use crate::ca::{Cluster, Outage};
use crate::clock::{parse_duration, rfc3339};
use crate::profile::ProfileSet;
use crate::server::shared::ServerShared;

/// Window of a forecast, unless the caller gives another one.
const DEFAULT_WINDOW: Duration = Duration::days(30);

/// Window of a forecast.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ForecastQuery {
    /// Window, such as `90d`; 30 days by default.
    within: Option<String>,
}

/// Outages expected within a window.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ForecastBody {
    /// Start of the window.
    #[schema(format = DateTime)]
    at: String,
    /// End of the window.
    #[schema(format = DateTime)]
    until: String,
    /// Outages in chronological order, with at most 100 certificates.
    outages: Vec<OutageBody>,
    /// Number of certificates that expire within the window, listed or not.
    leaves: u64,
    /// The earliest outage, inside or after the window.
    first: Option<OutageBody>,
}

/// One expected outage.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct OutageBody {
    /// Time at which it begins.
    #[schema(format = DateTime)]
    at: String,
    /// `root`, `crl`, `gateway-crl`, `issuing` or `leaf`.
    #[schema(value_type = String)]
    what: crate::ca::OutageKind,
    /// Cause and effect.
    message: String,
}

impl From<&Outage> for OutageBody {
    fn from(outage: &Outage) -> Self {
        Self { at: rfc3339(outage.at), what: outage.what, message: outage.message.clone() }
    }
}

/// Upcoming expirations.
pub(super) async fn show(State(shared): State<Arc<ServerShared>>, uri: Uri) -> Result<Response, Problem> {
    let asked: ForecastQuery = query(&uri)?;
    let within = parsed("within", asked.within.as_deref(), parse_duration)?.unwrap_or(DEFAULT_WINDOW);
    let forecast = shared.home.query(move |cluster: &Cluster, profiles: &ProfileSet| {
        let forecast = cluster.forecast(profiles, within)?;
        Ok::<_, Problem>(ForecastBody {
            at: rfc3339(forecast.at),
            until: rfc3339(forecast.until),
            outages: forecast.outages.iter().map(Into::into).collect(),
            leaves: forecast.leaves,
            first: forecast.first.as_ref().map(Into::into),
        })
    });
    respond(StatusCode::OK, &forecast.await?)
}
